//! How many different things were seen, in eight bytes.

/// A distinct counter of 64 bits (linear counting: Whang, Vander-Zanden and Taylor 1990).
///
/// Each thing sets one bit chosen by its hash, so merging is a union: in any grouping, any order
/// and any number of repeats the result is the same. The estimate is within about 10 % up to 60
/// things and saturates at [`DistinctSketch::MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DistinctSketch(u64);

impl DistinctSketch {
    /// The largest estimate; a full sketch means "at least this many".
    pub const MAX: u32 = 266;

    /// Adds one thing by a hash of its identity (any well-mixed or sequential 64-bit number).
    pub fn add(&mut self, hash: u64) {
        self.0 |= 1 << (mix(hash) >> 58);
    }

    /// Adds everything the other sketch has seen.
    pub fn merge(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// How many different things were added, estimated; exact for 0 and 1.
    pub fn estimate(self) -> f32 {
        LINEAR[self.0.count_ones() as usize]
    }

    /// How many bits are set.
    pub(crate) fn bits(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether enough bits are free to tell what is new.
    pub(crate) fn can_tell(self) -> bool {
        64 - self.bits() >= FREE_MIN
    }

    /// The same things with other bits, so that two kinds of things can share a sketch.
    pub(crate) fn mirrored(self) -> Self {
        Self(self.0.reverse_bits())
    }

    /// The share of `other`'s things that this sketch has not seen, estimated from bits; 0 to 4.
    ///
    /// A fuller sketch hides new things behind chance collisions, so those it does not hide stand
    /// for the hidden ones too (inverse probability: Cohen 2015): one thing answers 0 or more than 1,
    /// and over many new things the mean is 1. With less than a quarter of the bits free it is 1:
    /// no judgement.
    pub fn unseen_share(self, other: Self) -> f32 {
        let theirs = other.bits();
        let free = 64 - self.bits();
        if theirs == 0 || !self.can_tell() {
            return 1.0;
        }
        let fresh = (other.0 & !self.0).count_ones() as f32 / theirs as f32;
        fresh * 64.0 / free as f32
    }

    /// The raw bits, for the wire and for snapshots.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// A sketch from [`DistinctSketch::to_bits`].
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

/// Free bits from which a sketch can tell what is new.
const FREE_MIN: u32 = 16;

/// `-64 ln(free / 64)` by the number of set bits; the last entry is the saturated estimate.
static LINEAR: [f32; 65] = linear_counting();

const fn linear_counting() -> [f32; 65] {
    // ln(64/free) as the sum of ln(1 + 1/k): a series keeps this a constant, with no build step.
    let mut table = [0.0f32; 65];
    let mut set = 1;
    while set < 64 {
        let k = (64 - set) as f64;
        let y = 1.0 / (2.0 * k + 1.0);
        let (mut power, mut sum, mut n) = (y, 0.0f64, 1);
        while n < 60 {
            sum += power / n as f64;
            power *= y * y;
            n += 2;
        }
        table[set] = table[set - 1] + (64.0 * 2.0 * sum) as f32;
        set += 1;
    }
    table[64] = DistinctSketch::MAX as f32;
    // One thing sets one bit: say exactly one.
    table[1] = 1.0;
    table
}

/// The finaliser of SplitMix64: spreads sequential ids over all bits.
fn mix(hash: u64) -> u64 {
    let mut z = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ids: std::ops::Range<u64>) -> DistinctSketch {
        let mut sketch = DistinctSketch::default();
        ids.for_each(|id| sketch.add(id));
        sketch
    }

    #[test]
    fn estimate_is_near_the_truth() {
        assert_eq!(of(0..0).estimate(), 0.0);
        assert_eq!(of(7..8).estimate(), 1.0);
        for n in [3u64, 10, 20, 40, 60] {
            let mean = (0..200).map(|k| of(k * 1000..k * 1000 + n).estimate()).sum::<f32>() / 200.0;
            assert!((mean / n as f32 - 1.0).abs() < 0.08, "{n} things estimated as {mean}");
        }
        assert!(of(0..100_000).estimate() <= DistinctSketch::MAX as f32);
    }

    #[test]
    fn repeats_are_not_counted_and_unseen_share_sees_them() {
        let seen = of(0..10);
        let mut again = seen;
        again.merge(of(0..10));
        assert_eq!(again, seen);
        assert_eq!(seen.unseen_share(of(0..5)), 0.0);
        let share =
            (0..100).map(|k| seen.unseen_share(of(1000 + k * 10..1010 + k * 10))).sum::<f32>() / 100.0;
        assert!((share - 1.0).abs() < 0.1, "{share}");
    }

    #[test]
    fn new_things_one_by_one_count_in_full_on_the_average() {
        for known in [0, 10, 30, 60] {
            let of_one = |k: u64| of(k * 1000..k * 1000 + known).unseen_share(of(k + 500..k + 501));
            let mean = (0..2000).map(of_one).sum::<f32>() / 2000.0;
            assert!((mean - 1.0).abs() < 0.1, "beside {known} known ones: {mean}");
        }
    }
}
