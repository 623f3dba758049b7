use std::path::PathBuf;

/// Why a transformer cannot be opened or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This program was built without the runtime.
    #[error("this program has no second stage inside: build it with `--features transformer`")]
    NotBuilt,
    /// A setting is no good.
    #[error("second stage setting '{name}': {problem}")]
    Setting {
        /// Which.
        name: &'static str,
        /// What it needs.
        problem: String,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {problem}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// The description of the model is wrong, or asks for what is not known here.
    #[error("cannot use {}: {problem}", path.display())]
    Description {
        /// `config.json`.
        path: PathBuf,
        /// What and where.
        problem: String,
    },
    /// The tokenizer is broken or belongs to another model.
    #[error("cannot use {}: {problem}", path.display())]
    Tokenizer {
        /// `tokenizer.json`.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The weights lack a tensor.
    #[error("cannot use {}: tensor '{name}' is missing", path.display())]
    MissingTensor {
        /// `model.safetensors`.
        path: PathBuf,
        /// Its name there.
        name: String,
    },
    /// A tensor is not as large as the description says.
    #[error("cannot use {}: tensor '{name}' has shape {found:?}, config.json asks for {expected:?}", path.display())]
    WrongShape {
        /// `model.safetensors`.
        path: PathBuf,
        /// Its name there.
        name: String,
        /// By the description.
        expected: Vec<usize>,
        /// In the file.
        found: Vec<usize>,
    },
    /// A tensor holds no floating point numbers.
    #[error("cannot use {}: tensor '{name}' holds {found}, not F32, F16 or BF16", path.display())]
    WrongNumbers {
        /// `model.safetensors`.
        path: PathBuf,
        /// Its name there.
        name: String,
        /// Its type in the file.
        found: String,
    },
    /// The model broke on a text.
    #[error("the second stage cannot answer: {0}")]
    Answer(String),
}
