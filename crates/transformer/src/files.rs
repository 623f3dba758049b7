//! The three files of a model, read within bounds.

use std::path::{Path, PathBuf};

use crate::Error;

const DESCRIPTION_BYTES_MAX: u64 = 1 << 20;
const TOKENIZER_BYTES_MAX: u64 = 256 << 20;
const WEIGHTS_BYTES_MAX: u64 = 8 << 30;

/// Where the files of a model are.
pub(crate) struct Files {
    pub description: PathBuf,
    pub tokenizer: PathBuf,
    pub weights: PathBuf,
}

impl Files {
    /// The usual names in a folder.
    pub(crate) fn of(directory: &Path) -> Files {
        Files {
            description: directory.join("config.json"),
            tokenizer: directory.join("tokenizer.json"),
            weights: directory.join("model.safetensors"),
        }
    }

    pub(crate) fn read_description(&self) -> Result<Vec<u8>, Error> {
        read(&self.description, DESCRIPTION_BYTES_MAX)
    }

    pub(crate) fn read_tokenizer(&self) -> Result<Vec<u8>, Error> {
        read(&self.tokenizer, TOKENIZER_BYTES_MAX)
    }

    pub(crate) fn read_weights(&self) -> Result<Vec<u8>, Error> {
        read(&self.weights, WEIGHTS_BYTES_MAX)
    }
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Error> {
    let unreadable = |problem: String| Error::Unreadable { path: path.to_owned(), problem };
    let bytes = std::fs::metadata(path).map_err(|e| unreadable(e.to_string()))?.len();
    if bytes > bytes_max {
        return Err(unreadable(format!("it has {bytes} bytes, at most {bytes_max} are read")));
    }
    std::fs::read(path).map_err(|e| unreadable(e.to_string()))
}
