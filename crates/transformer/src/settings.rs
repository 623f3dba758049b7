//! What a user decides about a second stage.

use std::path::PathBuf;

use nlp::Budget;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The second stage: whose files, how much it may do, how its answers count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A folder with `config.json`, `tokenizer.json` and `model.safetensors`; without it there is no second stage.
    pub directory: Option<PathBuf>,
    /// Posts a second it may see on average.
    pub posts_per_s: f64,
    /// Share of all posts it may see at most, 0..1.
    pub share: f64,
    /// Most posts in one look.
    pub texts_max: usize,
    /// Milliseconds after which a look ends; posts not reached keep their first answer.
    pub look_ms_max: u64,
    /// Tokens read of a text; the model's own bound, where it is lower, holds.
    pub tokens_max: usize,
    /// What its scores are divided by before they become probabilities; above 1 makes it less sure.
    pub temperature: f32,
    /// Its say beside the first stage, 0..1.
    pub weight: f32,
    /// An answer at least this probable after the second look is `sure`.
    pub sure_from: f32,
    /// What its classes mean, in order; empty: as `config.json` names them.
    pub labels: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            directory: None,
            posts_per_s: 20.0,
            share: 0.05,
            texts_max: 64,
            look_ms_max: 1_000,
            tokens_max: 128,
            temperature: 1.0,
            weight: 0.7,
            sure_from: 0.6,
            labels: Vec::new(),
        }
    }
}

impl Settings {
    /// Checks what no type can check.
    ///
    /// # Errors
    /// With the name of the setting and what it needs.
    pub fn check(&self) -> Result<(), Error> {
        let needs = |name, holds: bool, problem: &str| match holds {
            true => Ok(()),
            false => Err(Error::Setting { name, problem: format!("needs {problem}") }),
        };
        needs("posts_per_s", (0.0..=100_000.0).contains(&self.posts_per_s), "0 to 100000")?;
        needs("share", (0.0..=1.0).contains(&self.share), "0 to 1")?;
        needs("texts_max", (1..=10_000).contains(&self.texts_max), "1 to 10000")?;
        needs("look_ms_max", (1..=3_600_000).contains(&self.look_ms_max), "1 to 3600000")?;
        needs("tokens_max", (8..=4_096).contains(&self.tokens_max), "8 to 4096")?;
        needs("temperature", (0.05..=20.0).contains(&self.temperature), "0.05 to 20")?;
        needs("weight", (0.0..=1.0).contains(&self.weight), "0 to 1")?;
        needs("sure_from", (0.0..=1.0).contains(&self.sure_from), "0 to 1")
    }

    /// What the second stage may see: so many posts a second, a share of all posts, so many at once.
    pub fn budget(&self) -> Budget {
        Budget::new(self.posts_per_s, self.texts_max as f64).within_share(self.share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_hold_and_each_setting_out_of_range_is_named() {
        Settings::default().check().unwrap();
        let good = Settings::default;
        for (bad, name) in [
            (Settings { posts_per_s: f64::NAN, ..good() }, "posts_per_s"),
            (Settings { share: 1.5, ..good() }, "share"),
            (Settings { texts_max: 0, ..good() }, "texts_max"),
            (Settings { look_ms_max: 0, ..good() }, "look_ms_max"),
            (Settings { tokens_max: 2, ..good() }, "tokens_max"),
            (Settings { temperature: 0.0, ..good() }, "temperature"),
            (Settings { weight: -0.1, ..good() }, "weight"),
            (Settings { sure_from: f32::NAN, ..good() }, "sure_from"),
        ] {
            let told = bad.check().unwrap_err().to_string();
            assert!(told.contains(&format!("'{name}': needs")), "{told}");
        }
    }
}
