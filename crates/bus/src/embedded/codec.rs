//! The bytes of a row of the embedded log: some records of one partition, one after the other.

use bytes::Bytes;
use model::Timestamp;

use crate::{Headers, Partition, Position, Received, Record, headers, varint};

/// The layout below. Another layout gets another number.
const LAYOUT: u8 = 1;
/// Layout, first offset, time the records' times are relative to.
const PREFIX_BYTES: usize = 1 + 8 + 8;

/// A row whose bytes are not what was written.
#[derive(Debug, thiserror::Error)]
#[error("batch is damaged at byte {at}: {what}")]
pub(super) struct Damaged {
    at: usize,
    what: &'static str,
}

/// Collects records of one partition, in rising offset order, into the bytes of a row.
#[derive(Debug)]
pub(super) struct RowWriter {
    bytes: Vec<u8>,
    base_offset: i64,
    base_at: i64,
    last_offset: i64,
    max_at: i64,
    count: usize,
}

/// A finished row.
#[derive(Debug)]
pub(super) struct Row {
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
    /// Offset of the last record in it.
    pub(super) last_offset: i64,
    /// The latest of its records' times, in microseconds.
    pub(super) max_at: i64,
}

impl RowWriter {
    pub(super) fn new(base_offset: i64, base_at: Timestamp) -> Self {
        let base_at = base_at.as_micros();
        let mut bytes = Vec::with_capacity(4096);
        bytes.push(LAYOUT);
        bytes.extend_from_slice(&base_offset.to_le_bytes());
        bytes.extend_from_slice(&base_at.to_le_bytes());
        Self { bytes, base_offset, base_at, last_offset: base_offset, max_at: i64::MIN, count: 0 }
    }

    pub(super) fn push(&mut self, offset: i64, record: &Record) {
        let at = record.at.as_micros();
        varint::put(&mut self.bytes, offset.abs_diff(self.base_offset));
        varint::put(&mut self.bytes, zigzag(at.wrapping_sub(self.base_at)));
        varint::put_slice(&mut self.bytes, &record.key);
        match &record.value {
            None => varint::put(&mut self.bytes, 0),
            Some(value) => {
                varint::put(&mut self.bytes, value.len() as u64 + 1);
                self.bytes.extend_from_slice(value);
            }
        }
        varint::put(&mut self.bytes, record.headers.iter().count() as u64);
        self.bytes.extend_from_slice(record.headers.as_bytes());
        self.last_offset = offset;
        self.max_at = self.max_at.max(at);
        self.count += 1;
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn finish(self) -> Row {
        Row { bytes: self.bytes, last_offset: self.last_offset, max_at: self.max_at }
    }
}

/// Appends the records of `row` from offset `from` on to `into`, as many as `records_max` allows.
pub(super) fn read_row(
    partition: Partition,
    row: Vec<u8>,
    from: i64,
    records_max: usize,
    into: &mut Vec<Received>,
) -> Result<(), Damaged> {
    let bytes = Bytes::from(row);
    let mut cursor = Cursor { bytes: &bytes, at: 0 };
    if cursor.byte()? != LAYOUT {
        return Err(cursor.damaged("unknown layout"));
    }
    let base_offset = cursor.i64()?;
    let base_at = cursor.i64()?;
    debug_assert_eq!(cursor.at, PREFIX_BYTES);
    let mut taken = 0;
    while cursor.at < bytes.len() && taken < records_max {
        let offset = base_offset.wrapping_add_unsigned(cursor.varint()?);
        let at = base_at.wrapping_add(unzigzag(cursor.varint()?));
        let skipped = offset < from;
        let key = cursor.slice()?;
        let value = match cursor.varint()? {
            0 => None,
            length => Some(cursor.take(length - 1)?),
        };
        let count = cursor.varint()?;
        let headers = cursor.headers(count)?;
        if !skipped {
            let record = Record { key, value, headers, at: Timestamp::from_micros(at) };
            into.push(Received { position: Position::new(partition, offset), record });
            taken += 1;
        }
    }
    Ok(())
}

struct Cursor<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Cursor<'_> {
    fn damaged(&self, what: &'static str) -> Damaged {
        Damaged { at: self.at, what }
    }

    fn byte(&mut self) -> Result<u8, Damaged> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.damaged("ends early"))?;
        self.at += 1;
        Ok(byte)
    }

    fn i64(&mut self) -> Result<i64, Damaged> {
        let mut out = [0; 8];
        for byte in &mut out {
            *byte = self.byte()?;
        }
        Ok(i64::from_le_bytes(out))
    }

    fn varint(&mut self) -> Result<u64, Damaged> {
        let mut rest = &self.bytes[self.at..];
        let value = varint::take(&mut rest).ok_or_else(|| self.damaged("a number without an end"))?;
        self.at = self.bytes.len() - rest.len();
        Ok(value)
    }

    fn take(&mut self, length: u64) -> Result<Bytes, Damaged> {
        let end = usize::try_from(length)
            .ok()
            .and_then(|l| self.at.checked_add(l))
            .filter(|end| *end <= self.bytes.len())
            .ok_or_else(|| self.damaged("a length beyond the end"))?;
        let slice = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(slice)
    }

    fn slice(&mut self) -> Result<Bytes, Damaged> {
        let length = self.varint()?;
        self.take(length)
    }

    fn headers(&mut self, count: u64) -> Result<Headers, Damaged> {
        let begin = self.at;
        let mut rest = &self.bytes[begin..];
        let mut bytes = 0;
        for _ in 0..count {
            let Some(more) = headers::skip(&mut rest) else {
                self.at = self.bytes.len() - rest.len();
                return Err(self.damaged("no header where one should be"));
            };
            bytes += more;
        }
        self.at = self.bytes.len() - rest.len();
        Ok(Headers::lying_in(self.bytes.slice(begin..self.at), bytes))
    }
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

const fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Topic;

    const PARTITION: Partition = Partition { topic: Topic::Cases, number: 3 };

    fn any_record() -> impl Strategy<Value = Record> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
        let name = prop_oneof!["[a-z_]{0,9}", Just("ce_id".to_owned()), Just("ce_type".to_owned())];
        let headers = proptest::collection::vec((name, bytes()), 0..4);
        (bytes(), proptest::option::of(bytes()), headers, any::<i64>()).prop_map(|(key, value, pairs, at)| {
            let mut headers = Headers::new();
            for (name, value) in pairs {
                headers.push(name, value);
            }
            Record { key, value, headers, at: Timestamp::from_micros(at) }
        })
    }

    fn written(records: &[(i64, Record)]) -> Vec<u8> {
        let mut writer = RowWriter::new(records[0].0, records[0].1.at);
        for (offset, record) in records {
            writer.push(*offset, record);
        }
        writer.finish().bytes
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            records in proptest::collection::vec(any_record(), 1..20), base in 0..1_i64 << 50, skip in 0..20_i64
        ) {
            let records: Vec<_> = records.into_iter().enumerate().map(|(i, r)| (base + 2 * i as i64, r)).collect();
            let mut read = Vec::new();
            read_row(PARTITION, written(&records), base + skip, usize::MAX, &mut read).unwrap();
            let expected: Vec<_> = records.into_iter().filter(|(offset, _)| *offset >= base + skip).collect();
            let read: Vec<_> = read.into_iter().map(|r| (r.position.offset, r.record)).collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn damaged_bytes_are_an_error_or_other_records_never_a_panic(
            records in proptest::collection::vec(any_record(), 1..5), place in any::<prop::sample::Index>(), byte: u8
        ) {
            let records: Vec<_> = records.into_iter().enumerate().map(|(i, r)| (i as i64, r)).collect();
            let mut bytes = written(&records);
            let place = place.index(bytes.len());
            bytes[place] = byte;
            let mut read = Vec::new();
            let _ = read_row(PARTITION, bytes.clone(), 0, 100, &mut read);
            bytes.truncate(place);
            let _ = read_row(PARTITION, bytes, 0, 100, &mut read);
        }
    }

    #[test]
    fn no_more_records_than_asked_for() {
        let record = |at| Record {
            key: Bytes::from_static(b"k"),
            value: None,
            headers: Headers::new(),
            at: Timestamp::from_seconds(at),
        };
        let mut read = Vec::new();
        read_row(PARTITION, written(&[(5, record(1)), (6, record(2)), (7, record(3))]), 6, 1, &mut read)
            .unwrap();
        assert_eq!(read.iter().map(|r| r.position.offset).collect::<Vec<_>>(), [6]);
    }
}
