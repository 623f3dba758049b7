use std::path::PathBuf;
use std::time::{Duration, Instant};

use nlp::{SecondStage, Understanding};
use xxhash_rust::xxh3::Xxh3;

use crate::blend::blend;
use crate::description::Description;
use crate::encoder::Encoder;
use crate::files::Files;
use crate::labels::Labels;
use crate::tokens::Tokens;
use crate::weights::{Weights, first_line};
use crate::{Error, Settings};

/// A transformer of the user's own as second stage.
///
/// Texts are read one by one: a text's answer never depends on those beside it, nothing is padded, and memory is
/// bounded by one text.
pub struct Transformer {
    tokens: Tokens,
    encoder: Encoder,
    labels: Labels,
    settings: Settings,
    version: String,
}

impl Transformer {
    /// Reads the folder named in the settings.
    ///
    /// # Errors
    /// When a setting is no good, a file is missing, broken or does not fit the others, or a class says nothing we know.
    pub fn open(settings: &Settings) -> Result<Self, Error> {
        settings.check()?;
        let directory: &PathBuf = settings
            .directory
            .as_ref()
            .ok_or_else(|| Error::Setting { name: "directory", problem: "is missing".to_owned() })?;
        let files = Files::of(directory);
        let mut hash = Xxh3::new();
        let bytes = files.read_description()?;
        hash.update(&bytes);
        let unusable = |problem| Error::Description { path: files.description.clone(), problem };
        let description = Description::read(&bytes).map_err(unusable)?;
        let labels = read_labels(settings, &description, unusable)?;
        let bytes = files.read_tokenizer()?;
        hash.update(&bytes);
        let tokens_max = settings.tokens_max.min(description.tokens_max());
        let tokens = Tokens::read(&bytes, &files.tokenizer, description.vocabulary, tokens_max)?;
        let bytes = files.read_weights()?;
        hash.update(&bytes);
        let weights = Weights::read(bytes, &description, &files.weights)?;
        let encoder = Encoder::new(&description, &weights).map_err(broken)?;
        let version = format!("{:016x}", hash.digest());
        Ok(Transformer { tokens, encoder, labels, settings: settings.clone(), version })
    }

    /// A short hash of its files.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// One score per class.
    fn scores(&self, text: &str) -> Result<Vec<f32>, Error> {
        let tokens = self.tokens.of(text)?;
        let scores = self.encoder.scores(&[tokens]).and_then(|scores| scores.squeeze(0)?.to_vec1());
        let scores: Vec<f32> = scores.map_err(broken)?;
        if scores.iter().any(|score| !score.is_finite()) {
            return Err(Error::Answer("its scores are no numbers: are the weights broken?".to_owned()));
        }
        Ok(scores)
    }
}

impl SecondStage for Transformer {
    type Error = Error;

    fn look_again(&mut self, texts: &[(&str, Understanding)]) -> Result<Vec<Understanding>, Error> {
        let began = Instant::now();
        let longest = Duration::from_millis(self.settings.look_ms_max);
        let mut answers = Vec::with_capacity(texts.len());
        for (text, first) in texts {
            if began.elapsed() >= longest {
                break;
            }
            answers.push(blend(first, &self.scores(text)?, &self.labels, &self.settings));
        }
        Ok(answers)
    }
}

/// What the classes mean: as the settings say, else as the model says.
fn read_labels(
    settings: &Settings,
    description: &Description,
    unusable: impl Fn(String) -> Error,
) -> Result<Labels, Error> {
    if settings.labels.is_empty() {
        return Labels::read(&description.labels).map_err(unusable);
    }
    let refused = |problem| Error::Setting { name: "labels", problem };
    let (given, there) = (settings.labels.len(), description.labels.len());
    if given != there {
        return Err(refused(format!("names {given} classes, the model has {there}")));
    }
    Labels::read(&settings.labels).map_err(refused)
}

fn broken(error: candle_core::Error) -> Error {
    Error::Answer(first_line(&error))
}
