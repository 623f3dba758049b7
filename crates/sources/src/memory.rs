use std::collections::{BTreeMap, VecDeque};

/// At most this many recent ids are remembered per stream.
pub const MEMORY_MAX: usize = 65_536;

/// Longer ids than this are not remembered: they are no ids.
const ID_BYTES_MAX: usize = 512;

/// What a decoder remembers of one stream, because later records of that stream name earlier ones by
/// a local id only: a deleted Mastodon status, an undone like.
///
/// Inputs that arrive in pieces (one post per request) keep it between them: see
/// [`crate::StreamDecoder::remembering`].
#[derive(Debug, Clone, Default)]
pub struct Memory {
    known: BTreeMap<String, String>,
    order: VecDeque<String>,
}

impl Memory {
    /// Remembers what a local id stands for; the oldest is forgotten beyond [`MEMORY_MAX`].
    pub(crate) fn learn(&mut self, local: String, global: String) {
        if local.len() > ID_BYTES_MAX || global.len() > ID_BYTES_MAX {
            return;
        }
        if self.known.insert(local.clone(), global).is_none() {
            self.order.push_back(local);
            let over = self.order.len() > MEMORY_MAX;
            if let Some(oldest) = over.then(|| self.order.pop_front()).flatten() {
                self.known.remove(&oldest);
            }
        }
    }

    /// What it stands for, if it was seen.
    pub(crate) fn recall(&self, local: &str) -> Option<&str> {
        self.known.get(local).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_is_forgotten_at_the_bound() {
        let mut memory = Memory::default();
        for i in 0..=MEMORY_MAX {
            memory.learn(i.to_string(), "x".into());
        }
        assert_eq!(memory.recall("0"), None);
        assert_eq!(memory.recall("1"), Some("x"));
    }
}
