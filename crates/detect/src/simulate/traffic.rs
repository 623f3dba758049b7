use rand_chacha::rand_core::RngCore;

use super::generator;
use crate::{Post, Tally};

/// The first second of the traffic.
const BEGINS_S: i64 = 1_700_000_000;
/// Tallies of one second.
const PER_SECOND: i64 = 1_000;
/// Weight of the newest value of a rolling mean.
const NEWEST: f32 = 1.0 / 288.0;

/// Subject and tally of each step: Zipf's law over `subjects`, a thousand tallies a second, one weighted complaint
/// each.
pub fn zipf_tallies(subjects: u32, tallies: usize, seed: u64) -> Vec<(u32, Tally)> {
    let mut random = generator(seed, 0);
    (0..tallies)
        .map(|i| {
            let u = (f64::from(random.next_u32()) + 0.5) / 4_294_967_296.0;
            // The inverse of the Zipf distribution with exponent 1.
            let rank = (f64::from(subjects).powf(u) - 1.0) as u32;
            let mut tally = Tally::at(BEGINS_S + i as i64 / PER_SECOND);
            let (author, text) = (random.next_u64(), random.next_u64());
            tally.add(Post { complaint: 0.6, severity: 1.0, arousal: 0.4, followers: 300, author, text });
            // Neighbouring ranks must not be neighbours in memory.
            (rank.wrapping_mul(2_654_435_761) % subjects.max(1), tally)
        })
        .collect()
}

/// The rule that people would write instead: a value more than three deviations above the rolling mean. `moments`
/// are the rolling mean and mean square.
pub fn three_sigma_step(moments: &mut (f32, f32), value: f32) -> bool {
    let (mean, square) = *moments;
    let deviation = (square - mean * mean).max(0.0).sqrt().max(1.0);
    *moments = (mean + NEWEST * (value - mean), square + NEWEST * (value * value - square));
    value - mean > 3.0 * deviation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_subjects_have_most_of_the_traffic() {
        let traffic = zipf_tallies(1_000, 20_000, 1);
        let mut counts = vec![0; 1_000];
        traffic.iter().for_each(|(subject, _)| counts[*subject as usize] += 1);
        counts.sort_unstable_by(|a, b| b.cmp(a));
        assert!(counts[..100].iter().sum::<i32>() > 10_000, "{:?}", &counts[..5]);
        assert!(traffic.is_sorted_by_key(|(_, tally)| tally.at_s));
    }

    #[test]
    fn three_sigma_calls_a_leap_and_no_calm() {
        let mut moments = (0.0, 0.0);
        let calm = (0..2_000).filter(|i| three_sigma_step(&mut moments, (i % 3) as f32)).count();
        assert_eq!(calm, 0);
        assert!(three_sigma_step(&mut moments, 30.0));
    }
}
