//! How many posts a second models of usual sizes read on this machine:
//! `cargo run --release -p transformer --features tiny --example speed`.
//! `RAYON_NUM_THREADS=1` before it shows what one core does.

use std::error::Error;
use std::time::Instant;

use nlp::{Hint, Model, Scratch, SecondStage};
use transformer::tiny::{self, Size};
use transformer::{Settings, Transformer};

/// Lines of the invented language that make one post: 34 tokens with the two at its ends, as a tweet has.
const LINES_PER_POST: usize = 4;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let posts: Vec<String> = tiny::lines(3, 64 * LINES_PER_POST)
        .chunks(LINES_PER_POST)
        .map(|lines| lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>().join(" "))
        .collect();
    let first = Model::shipped().understand(&mut Scratch::default(), "", Hint::default());
    let asked: Vec<_> = posts.iter().map(|post| (post.as_str(), first)).collect();
    for (name, hidden, layers, heads) in [
        ("tiny, 4 layers of 312", 312, 4, 12),
        ("small, 6 of 384", 384, 6, 12),
        ("base, 12 of 768", 768, 12, 12),
    ] {
        let folder = std::env::temp_dir().join(format!("redress-speed-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        tiny::untrained(&folder, Size { hidden, inner: 4 * hidden, layers, heads, tokens_max: 128 })?;
        let settings =
            Settings { directory: Some(folder.clone()), look_ms_max: 60_000, ..Settings::default() };
        let mut stage = Transformer::open(&settings)?;
        std::fs::remove_dir_all(&folder)?;
        stage.look_again(&asked[..4])?;
        let began = Instant::now();
        let read = stage.look_again(&asked)?.len();
        let posts_per_s = read as f64 / began.elapsed().as_secs_f64();
        println!("{name}: {posts_per_s:.0} posts/s");
    }
    Ok(())
}
