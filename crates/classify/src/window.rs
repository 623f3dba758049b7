use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// The newest event ids of one partition: an id seen twice within the window is a repeat.
#[derive(Debug, Default)]
pub(crate) struct Window {
    known: HashSet<u128, BuildHasherDefault<IdHasher>>,
    order: VecDeque<u128>,
    max: usize,
}

/// Ids are hashes already (UUIDv5), so their low half is as good a hash as any.
#[derive(Debug, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u128(&mut self, id: u128) {
        // The variant bits of a UUID sit on top of the low half; the hash table reads the top bits.
        self.0 = (id as u64) ^ (id >> 64) as u64;
    }
}

impl Window {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, ..Self::default() }
    }

    /// Remembers `id`; false when it was there already. Forgets the oldest beyond the limit.
    pub(crate) fn insert(&mut self, id: u128) -> bool {
        if !self.known.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeat_within_window_is_recognised_and_forgotten_beyond_it() {
        let mut window = Window::new(3);
        assert!([1, 2, 3].into_iter().all(|id| window.insert(id)));
        assert!(!window.insert(1));
        assert!(window.insert(4), "pushes 1 out");
        assert!(window.insert(1));
        assert!(!window.insert(4) && window.known.len() == 3);
    }
}
