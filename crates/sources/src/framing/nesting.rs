//! What a reader must know of the bytes so far to see where a record ends.

/// How many brackets are open at the end of `text`.
pub(super) fn depth_of(text: &[u8]) -> u64 {
    let mut nesting = Nesting::default();
    text.iter().for_each(|b| nesting.step(*b));
    nesting.depth
}

/// How deep a JSON text is nested after the bytes seen so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Nesting {
    pub(super) depth: u64,
    pub(super) in_string: bool,
    escaped: bool,
    pub(super) innermost: Option<u8>,
    outer: Vec<u8>,
}

impl Nesting {
    /// Which brackets are open is only remembered to this depth: it is asked of first lines only.
    const REMEMBERED_MAX: usize = 256;

    pub(super) fn step(&mut self, b: u8) {
        if self.in_string {
            match b {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return;
        }
        match b {
            b'"' => self.in_string = true,
            b'{' | b'[' => {
                self.depth += 1;
                if self.outer.len() < Self::REMEMBERED_MAX {
                    self.outer.push(b);
                }
                self.innermost = Some(b);
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if (self.outer.len() as u64) > self.depth {
                    self.outer.pop();
                }
                self.innermost = self.outer.last().copied();
            }
            _ => {}
        }
    }
}

/// Where in a table row the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quoting {
    FieldStart,
    Outside,
    Inside,
    /// After a quote inside a quoted field: its end, or half of a doubled quote.
    QuoteSeen,
}

impl Quoting {
    /// True when the row ends with this byte. Every byte that separates fields counts, whichever of
    /// them the table uses: after it a quote opens a field.
    pub(super) fn step(&mut self, b: u8) -> bool {
        *self = match (*self, b) {
            (Self::Inside, b'"') => Self::QuoteSeen,
            (Self::Inside, _) | (Self::QuoteSeen | Self::FieldStart, b'"') => Self::Inside,
            (_, b'\n') => {
                *self = Self::FieldStart;
                return true;
            }
            (_, b',' | b';' | b'\t') => Self::FieldStart,
            _ => Self::Outside,
        };
        false
    }
}
