//! The bytes of a model file: a magic number, then parts, each with its spec, heads, biases and table.
//!
//! Everything is little-endian; nothing is compressed, so a shipped model is used where it lies.

use std::borrow::Cow;

use crate::features::Spec;
use crate::language::ROWS;
use crate::part::{Head, Part, Task, Twin};

const MAGIC: &[u8; 8] = b"rdrsnlp1";
const PARTS_MAX: usize = 8;
const HEADS_MAX: usize = 64;
const CLASSES_MAX: usize = 4096;
const NAME_BYTES_MAX: usize = 256;
/// The flag of a part with a twin; files without one look as they always did.
const TWIN: u8 = 8;
const NAMES: u8 = 16;

/// Why bytes are not a model.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ModelError {
    /// The first bytes are not ours.
    #[error("not a redress model (the first eight bytes differ)")]
    Magic,
    /// The file ends early.
    #[error("model file ends at byte {at} inside {what}")]
    Truncated {
        /// Where.
        at: usize,
        /// What was being read.
        what: &'static str,
    },
    /// A value no version of this program writes.
    #[error("model file has an impossible {what} at byte {at}")]
    Impossible {
        /// Where.
        at: usize,
        /// What was being read.
        what: &'static str,
    },
}

/// Writes parts.
pub fn write(parts: &[Part]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.push(parts.len() as u8);
    for part in parts {
        let spec = part.spec;
        out.extend([
            spec.chars_min,
            spec.chars_max,
            spec.dense_max,
            spec.reach,
            u8::from(spec.once)
                + 2 * u8::from(spec.by_language)
                + 4 * u8::from(spec.over_marks)
                + TWIN * u8::from(part.twin.is_some())
                + NAMES * spec.names.min(15),
            part.bits as u8,
        ]);
        out.extend((part.width as u16).to_le_bytes());
        out.extend(part.sure_from.to_le_bytes());
        if let Some(twin) = &part.twin {
            let languages = twin.languages.iter().fold(0u16, |bits, row| bits | (1 << row));
            out.extend((twin.column as u16).to_le_bytes());
            out.extend((twin.instead as u16).to_le_bytes());
            out.extend((twin.count as u16).to_le_bytes());
            out.extend(languages.to_le_bytes());
        }
        out.push(part.heads.len() as u8);
        for head in &part.heads {
            out.push(head.task as u8);
            out.extend((head.offset as u16).to_le_bytes());
            out.extend((head.classes.len() as u16).to_le_bytes());
            for class in &head.classes {
                out.push(class.len() as u8);
                out.extend(class.as_bytes());
            }
            floats(&mut out, &head.sharpness);
            floats(&mut out, &[head.lean]);
        }
        floats(&mut out, &part.scale);
        floats(&mut out, &part.bias);
        out.extend_from_slice(&part.table);
    }
    out
}

fn floats(out: &mut Vec<u8>, values: &[f32]) {
    for value in values {
        out.extend(value.to_le_bytes());
    }
}

/// Reads parts; the tables of static bytes are not copied.
#[allow(clippy::ptr_arg)] // a slice would forget that the bytes may be static
pub fn read(bytes: &Cow<'static, [u8]>) -> Result<Vec<Part>, ModelError> {
    let mut from = Cursor { bytes, at: 0 };
    if from.take(8, "magic").map_err(|_| ModelError::Magic)? != MAGIC {
        return Err(ModelError::Magic);
    }
    let count = usize::from(from.byte("part count")?);
    from.check((1..=PARTS_MAX).contains(&count), "part count")?;
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        parts.push(part(&mut from)?);
    }
    from.check(from.at == bytes.len(), "length")?;
    Ok(parts)
}

fn part(from: &mut Cursor<'_>) -> Result<Part, ModelError> {
    let mut spec = [0u8; 5];
    spec.copy_from_slice(from.take(5, "spec")?);
    let [chars_min, chars_max, dense_max, reach, flags] = spec;
    from.check((1..=8).contains(&chars_min) && chars_max <= 8 && dense_max <= 8, "spec")?;
    let bits = u32::from(from.byte("bits")?);
    from.check((1..=24).contains(&bits), "bits")?;
    let width = usize::from(from.short("width")?);
    from.check((1..=CLASSES_MAX).contains(&width), "width")?;
    let sure_from = from.float("threshold")?;
    let twin = match flags & TWIN {
        0 => None,
        _ => Some(twin(from, width)?),
    };
    let head_count = usize::from(from.byte("head count")?);
    from.check((1..=HEADS_MAX).contains(&head_count), "head count")?;
    let mut heads = Vec::with_capacity(head_count);
    for _ in 0..head_count {
        let number = usize::from(from.byte("task")?);
        from.check(number < Task::ALL.len(), "task")?;
        let offset = usize::from(from.short("offset")?);
        let classes = usize::from(from.short("class count")?);
        from.check(classes >= 1 && offset + classes <= width, "class count")?;
        let mut names = Vec::with_capacity(classes);
        for _ in 0..classes {
            let length = usize::from(from.byte("class name")?).min(NAME_BYTES_MAX);
            let name = std::str::from_utf8(from.take(length, "class name")?).ok().map(str::to_owned);
            from.check(name.is_some(), "class name")?;
            names.extend(name);
        }
        let sharpness = from.floats(ROWS, "sharpness")?;
        let lean = from.float("lean")?;
        heads.push(Head { task: Task::ALL[number], offset, classes: names, sharpness, lean });
    }
    let scale = from.floats(width, "scale")?;
    let bias = from.floats(width * ROWS, "bias")?;
    let size = width << bits;
    let at = from.at;
    from.take(size, "table")?;
    let table = match from.bytes {
        Cow::Borrowed(all) => Cow::Borrowed(&all[at..at + size]),
        Cow::Owned(all) => Cow::Owned(all[at..at + size].to_vec()),
    };
    Ok(Part {
        spec: Spec {
            chars_min,
            chars_max,
            dense_max,
            reach,
            once: flags & 1 != 0,
            by_language: flags & 2 != 0,
            over_marks: flags & 4 != 0,
            names: flags / NAMES,
        },
        bits,
        width,
        table,
        scale,
        bias,
        heads,
        sure_from,
        twin,
    })
}

fn twin(from: &mut Cursor<'_>, width: usize) -> Result<Twin, ModelError> {
    let column = usize::from(from.short("twin")?);
    let instead = usize::from(from.short("twin")?);
    let count = usize::from(from.short("twin")?);
    from.check(count >= 1 && column + count <= width && instead + count <= width, "twin")?;
    let languages = from.short("twin")?;
    Ok(Twin {
        column,
        instead,
        count,
        languages: (0..ROWS).filter(|row| (languages >> row) & 1 == 1).collect(),
    })
}

struct Cursor<'a> {
    bytes: &'a Cow<'static, [u8]>,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize, what: &'static str) -> Result<&'a [u8], ModelError> {
        let end = self.at.checked_add(n).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(ModelError::Truncated { at: self.bytes.len(), what })?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self, what: &'static str) -> Result<u8, ModelError> {
        Ok(self.take(1, what)?[0])
    }

    fn short(&mut self, what: &'static str) -> Result<u16, ModelError> {
        let taken = self.take(2, what)?;
        Ok(u16::from_le_bytes([taken[0], taken[1]]))
    }

    fn float(&mut self, what: &'static str) -> Result<f32, ModelError> {
        Ok(self.floats(1, what)?[0])
    }

    fn floats(&mut self, n: usize, what: &'static str) -> Result<Vec<f32>, ModelError> {
        let taken = self.take(4 * n, what)?;
        let values: Vec<f32> =
            taken.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        self.check(values.iter().all(|v| v.is_finite()), what)?;
        Ok(values)
    }

    fn check(&self, ok: bool, what: &'static str) -> Result<(), ModelError> {
        if ok { Ok(()) } else { Err(ModelError::Impossible { at: self.at, what }) }
    }
}
