//! A seeded world with known truth: threads that excite themselves, rhythms, campaigns, outages, holidays, gaps and onsets.
//!
//! The same seed and parameters give the same events on every machine with the same floating-point library.

mod background;
mod crowd;
mod traffic;

pub use background::{Fault, Rhythmic, background, poisson};
pub use crowd::{Reaction, ThreadParams, campaign};
pub use traffic::{three_sigma_step, zipf_tallies};

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

/// The generator of a seed; `stream` keeps independent parts of one world apart.
pub fn generator(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(stream);
    generator
}
