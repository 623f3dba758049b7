//! A second, slower look at texts by a transformer of the user's own: a folder with `config.json`, `tokenizer.json`
//! and `model.safetensors` as the usual hubs have them (BERT, RoBERTa, XLM-RoBERTa, CamemBERT, DistilBERT with a
//! classification head), run on the processor in plain Rust.
//!
//! The crate decides what such files mean and how their answers join the first ones; it stays ignorant of which texts
//! are worth a second look (`nlp::Budget`), of the log and of services. The runtime is behind the feature `candle`;
//! without it `Transformer::open` says so, and callers need no conditions of their own.

#[cfg(any(feature = "candle", test))]
mod blend;
mod error;
#[cfg(any(feature = "candle", test))]
mod labels;
mod settings;

#[cfg(feature = "candle")]
mod description;
#[cfg(feature = "candle")]
mod encoder;
#[cfg(feature = "candle")]
mod files;
#[cfg(feature = "candle")]
mod stage;
#[cfg(feature = "tiny")]
pub mod tiny;
#[cfg(feature = "candle")]
mod tokens;
#[cfg(feature = "candle")]
mod weights;
#[cfg(not(feature = "candle"))]
mod without;

pub use error::Error;
pub use settings::Settings;
#[cfg(feature = "candle")]
pub use stage::Transformer;
#[cfg(not(feature = "candle"))]
pub use without::Transformer;

/// Whether this program has the runtime inside.
pub const IS_BUILT: bool = cfg!(feature = "candle");
