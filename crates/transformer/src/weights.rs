//! The tensors of a model, checked against its description before any of them is used.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::safetensors::BufferedSafetensors;
use candle_core::{DType, Device, Tensor};
use candle_nn::Linear;

use crate::Error;
use crate::description::Description;

/// Named tensors of 32-bit numbers: exactly those a description asks for.
pub(crate) struct Weights(BTreeMap<String, Tensor>);

impl Weights {
    /// Reads `model.safetensors`; `path` is for messages only.
    ///
    /// # Errors
    /// With the tensor, when one is missing, has another shape or holds no floating point numbers.
    pub(crate) fn read(bytes: Vec<u8>, description: &Description, path: &Path) -> Result<Weights, Error> {
        let unreadable = |problem: String| Error::Unreadable {
            path: path.to_owned(),
            problem: format!("it is no safetensors file: {problem}"),
        };
        let file = BufferedSafetensors::new(bytes).map_err(|e| unreadable(first_line(&e)))?;
        let mut tensors = BTreeMap::new();
        for (name, expected) in description.tensors() {
            let missing = || Error::MissingTensor { path: path.to_owned(), name: name.clone() };
            let there = names(&name).find(|name| file.get(name).is_ok()).ok_or_else(missing)?;
            let tensor = file.load(&there, &Device::Cpu).map_err(|e| unreadable(first_line(&e)))?;
            if tensor.dims() != expected {
                let found = tensor.dims().to_vec();
                return Err(Error::WrongShape { path: path.to_owned(), name, expected, found });
            }
            if !matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::BF16) {
                let found = tensor.dtype().as_str().to_uppercase();
                return Err(Error::WrongNumbers { path: path.to_owned(), name, found });
            }
            let tensor = tensor.to_dtype(DType::F32).map_err(|e| unreadable(first_line(&e)))?;
            tensors.insert(name, tensor);
        }
        Ok(Weights(tensors))
    }

    /// Tensors made elsewhere.
    #[cfg(any(feature = "tiny", test))]
    pub(crate) fn of(tensors: BTreeMap<String, Tensor>) -> Weights {
        Weights(tensors)
    }

    /// A tensor by its name.
    pub(crate) fn tensor(&self, name: &str) -> candle_core::Result<Tensor> {
        let missing = || candle_core::Error::CannotFindTensor { path: name.to_owned() };
        self.0.get(name).cloned().ok_or_else(missing)
    }

    /// The weight and bias of a step.
    pub(crate) fn linear(&self, at: &str) -> candle_core::Result<Linear> {
        let (weight, bias) = self.pair(at)?;
        Ok(Linear::new(weight, Some(bias)))
    }

    /// Two tensors that go together.
    pub(crate) fn pair(&self, at: &str) -> candle_core::Result<(Tensor, Tensor)> {
        Ok((self.tensor(&format!("{at}.weight"))?, self.tensor(&format!("{at}.bias"))?))
    }
}

/// A tensor's name, and what old files call it.
fn names(name: &str) -> impl Iterator<Item = String> {
    let old = match name.rsplit_once('.') {
        Some((at, "weight")) => Some(format!("{at}.gamma")),
        Some((at, "bias")) => Some(format!("{at}.beta")),
        _ => None,
    };
    std::iter::once(name.to_owned()).chain(old)
}

/// What an error says, without the backtrace it may carry.
pub(crate) fn first_line(error: &impl std::fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
