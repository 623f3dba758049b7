//! From a text to the numbers of its tokens.

use std::path::Path;

use tokenizers::{Tokenizer, TruncationParams};

use crate::Error;
use crate::weights::first_line;

/// Bytes of a text that are looked at per token asked for: nearly no token is longer, and a text of a megabyte costs
/// no more than a long one.
const BYTES_PER_TOKEN: usize = 32;

/// A tokenizer that never gives more than so many tokens, nor numbers the model does not have.
pub(crate) struct Tokens {
    tokenizer: Tokenizer,
    bytes_max: usize,
}

impl Tokens {
    /// Reads `tokenizer.json`; `path` is for messages only, `vocabulary` the rows of the word embeddings.
    ///
    /// # Errors
    /// When the file is broken, or made for another model.
    pub(crate) fn read(
        bytes: &[u8],
        path: &Path,
        vocabulary: usize,
        tokens_max: usize,
    ) -> Result<Tokens, Error> {
        let unusable = |problem: String| Error::Tokenizer { path: path.to_owned(), problem };
        let mut tokenizer = Tokenizer::from_bytes(bytes)
            .map_err(|e| unusable(format!("it is broken: {}", first_line(&e))))?;
        let highest = tokenizer.get_vocab(true).into_values().max();
        if let Some(highest) = highest.filter(|highest| *highest as usize >= vocabulary) {
            return Err(unusable(format!(
                "it knows token {highest}, the model has word embeddings up to {}: is it of another model?",
                vocabulary - 1
            )));
        }
        tokenizer.with_padding(None);
        let cannot = |e: tokenizers::Error| unusable(first_line(&e));
        tokenizer.with_truncation(None).map_err(cannot)?;
        // Classification reads the token that stands before every text.
        let around = tokenizer.encode("", true).map_err(cannot)?.len();
        if around == 0 {
            return Err(unusable("it puts no token before a text (post_processor is missing)".to_owned()));
        }
        if around >= tokens_max {
            return Err(unusable(format!(
                "it puts {around} tokens round a text, the model takes {tokens_max}"
            )));
        }
        let cut = TruncationParams { max_length: tokens_max, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(cut)).map_err(cannot)?;
        Ok(Tokens { tokenizer, bytes_max: tokens_max * BYTES_PER_TOKEN })
    }

    /// The numbers of a text's tokens; a long text is cut.
    pub(crate) fn of(&self, text: &str) -> Result<Vec<u32>, Error> {
        let text = &text[..text.floor_char_boundary(self.bytes_max)];
        let encoded = self.tokenizer.encode_fast(text, true);
        let encoded = encoded.map_err(|e| Error::Answer(format!("tokenizer: {}", first_line(&e))))?;
        Ok(encoded.get_ids().to_vec())
    }
}
