use std::fmt;

use bytes::Bytes;

use crate::varint;

/// Header names that most records have: one byte each. Their places are part of the layout: only append.
const KNOWN: [&str; 12] = [
    "ce_specversion",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_time",
    "content-type",
    "traceparent",
    "tracestate",
    "ce_subject",
    "ce_dataschema",
    "baggage",
    "ce_datacontenttype",
];
/// Room made for a header whose length is not known yet: most take less.
pub(crate) const LIKELY_BYTES: usize = 40;
/// Stands before a name that is written out.
const WRITTEN_OUT: u8 = 0;

/// Names and values that travel beside a record: CloudEvents attributes (`ce_id`, `ce_type`, ...) and W3C
/// trace context. A name may occur more than once; the last one counts.
///
/// They lie in one stretch of bytes, as the embedded log keeps them: a record is read with one allocation and
/// handed on with one reference. What they hold is counted as they are put there: every hop asks.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    lying: Bytes,
    bytes: usize,
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Extend<(N, V)> for Headers {
    fn extend<T: IntoIterator<Item = (N, V)>>(&mut self, more: T) {
        let more = more.into_iter();
        let mut lying = Vec::from(std::mem::take(&mut self.lying));
        lying.reserve(more.size_hint().0 * LIKELY_BYTES);
        for (name, value) in more {
            self.bytes += put(&mut lying, name.as_ref(), value.as_ref());
        }
        self.lying = lying.into();
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(all: T) -> Self {
        let mut headers = Self::new();
        headers.extend(all);
        headers
    }
}

impl Headers {
    /// None yet.
    pub const fn new() -> Self {
        Self { lying: Bytes::new(), bytes: 0 }
    }

    /// Those that lie there, each as [`put`] writes it and [`skip`] finds it whole, with the sum of what these told.
    pub(crate) const fn lying_in(lying: Bytes, bytes: usize) -> Self {
        Self { lying, bytes }
    }

    /// The bytes that [`Headers::lying_in`] takes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.lying
    }

    /// Adds one more.
    pub fn push(&mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) {
        self.extend([(name, value)]);
    }

    /// Replaces all of that name by one.
    pub fn set(&mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) {
        let others = self.iter().filter(|(other, _)| *other != name.as_ref());
        let others: Self = others.collect();
        *self = others;
        self.push(name, value);
    }

    /// The last value of that name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().filter(|(other, _)| *other == name).last().map(|(_, value)| value)
    }

    /// The last value of that name, if it is UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut rest = &self.lying[..];
        std::iter::from_fn(move || take(&mut rest))
    }

    /// Bytes of all names and values.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(name, value)| (name, value.escape_ascii().to_string())))
            .finish()
    }
}

/// Appends one header; the bytes of its name and value.
pub(crate) fn put(bytes: &mut Vec<u8>, name: &str, value: &[u8]) -> usize {
    match KNOWN.iter().position(|known| *known == name) {
        Some(place) => bytes.push(place as u8 + 1),
        None => {
            bytes.push(WRITTEN_OUT);
            varint::put_slice(bytes, name.as_bytes());
        }
    }
    varint::put_slice(bytes, value);
    name.len() + value.len()
}

/// Takes one header off the front; `None` at the end, and where there is none.
fn take<'a>(rest: &mut &'a [u8]) -> Option<(&'a str, &'a [u8])> {
    let (place, mut after) = rest.split_first()?;
    let name = match *place {
        WRITTEN_OUT => std::str::from_utf8(varint::take_slice(&mut after)?).ok()?,
        place => KNOWN.get(usize::from(place) - 1)?,
    };
    let value = varint::take_slice(&mut after)?;
    *rest = after;
    Some((name, value))
}

/// Steps over one header; the bytes of its name and value, if there was one.
pub(crate) fn skip(rest: &mut &[u8]) -> Option<usize> {
    take(rest).map(|(name, value)| name.len() + value.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_name_counts_and_all_keep_their_order() {
        let mut headers: Headers =
            [("ce_id", "one"), ("own name", "x"), ("ce_id", "two")].into_iter().collect();
        assert_eq!(headers.text("ce_id"), Some("two"));
        assert_eq!(headers.get("ce_type"), None);
        headers.push("", b"\xff\x00");
        let all: Vec<_> = headers.iter().collect();
        let expected: [(&str, &[u8]); 4] =
            [("ce_id", b"one"), ("own name", b"x"), ("ce_id", b"two"), ("", b"\xff\x00")];
        assert_eq!(all, expected);
        assert_eq!((headers.text(""), headers.bytes()), (None, 5 + 3 + 8 + 1 + 5 + 3 + 2));
    }

    #[test]
    fn one_that_is_set_takes_the_place_of_all_of_its_name() {
        let mut headers: Headers = [("ce_id", "one"), ("own", "x"), ("ce_id", "two")].into_iter().collect();
        headers.set("ce_id", "three");
        let all: Vec<_> = headers.iter().collect();
        let expected: [(&str, &[u8]); 2] = [("own", b"x"), ("ce_id", b"three")];
        assert_eq!(all, expected);
        assert_eq!(headers.bytes(), 3 + 1 + 5 + 5);
    }

    #[test]
    fn what_is_shared_stays_as_it_was_when_a_copy_grows() {
        let headers: Headers = [("ce_id", "one")].into_iter().collect();
        let mut copy = headers.clone();
        copy.push("ce_id", "two");
        assert_eq!((headers.text("ce_id"), copy.text("ce_id")), (Some("one"), Some("two")));
    }
}
