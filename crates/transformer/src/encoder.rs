//! The forward pass: embeddings, attention layers, and the step from the first token to the classes.
//!
//! Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding" (2019); Liu et
//! al., "RoBERTa" (2019); Sanh et al., "DistilBERT" (2019). Only steps with a known slope are used, so that the same
//! code can be trained.

use candle_core::{D, Device, Module, Result, Tensor};
use candle_nn::Linear;
use candle_nn::ops::{layer_norm_slow, softmax};

use crate::description::{Activation, Description, Family, Layer};
use crate::weights::Weights;

/// A model ready to answer.
pub(crate) struct Encoder {
    words: Tensor,
    positions: Tensor,
    /// The embedding of the first token type, where the family has types.
    kind: Option<Tensor>,
    norm: Norm,
    layers: Vec<Block>,
    dense: Linear,
    classes: Linear,
    family: Family,
    first_position: usize,
}

struct Norm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f32,
}

struct Block {
    query: Linear,
    key: Linear,
    value: Linear,
    attended: Linear,
    attended_norm: Norm,
    inner: Linear,
    outer: Linear,
    outer_norm: Norm,
    heads: usize,
    activation: Activation,
}

impl Encoder {
    /// Puts the tensors where they belong.
    ///
    /// # Errors
    /// When one is missing.
    pub(crate) fn new(description: &Description, weights: &Weights) -> Result<Encoder> {
        let names = description.embeddings();
        let [dense, classes] = description.ending();
        let norm = |at: &str| Norm::new(weights, at, description.epsilon);
        let kind = names.kinds.map(|name| weights.tensor(&name)?.narrow(0, 0, 1)).transpose()?;
        Ok(Encoder {
            words: weights.tensor(&names.words)?,
            positions: weights.tensor(&names.positions)?,
            kind,
            norm: norm(&names.norm)?,
            layers: (0..description.layers)
                .map(|number| Block::new(description, weights, &description.layer(number)))
                .collect::<Result<_>>()?,
            dense: weights.linear(dense)?,
            classes: weights.linear(classes)?,
            family: description.family,
            first_position: description.first_position,
        })
    }

    /// One score per class for each row of token numbers; all rows are of one length, so nothing is padded.
    pub(crate) fn scores(&self, rows: &[Vec<u32>]) -> Result<Tensor> {
        let tokens = rows.first().map_or(0, Vec::len);
        let numbers = Tensor::from_vec(rows.concat(), rows.len() * tokens, &Device::Cpu)?;
        let words = self.words.index_select(&numbers, 0)?.reshape((rows.len(), tokens, ()))?;
        let mut states = words.broadcast_add(&self.positions.narrow(0, self.first_position, tokens)?)?;
        if let Some(kind) = &self.kind {
            states = states.broadcast_add(kind)?;
        }
        states = self.norm.apply(&states)?;
        for layer in &self.layers {
            states = layer.apply(&states)?;
        }
        let first = states.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?;
        let dense = self.dense.forward(&first)?;
        let ready = match self.family {
            Family::Bert | Family::Roberta => dense.tanh()?,
            Family::Distilbert => dense.relu()?,
        };
        self.classes.forward(&ready)
    }
}

impl Block {
    fn new(description: &Description, weights: &Weights, names: &Layer) -> Result<Block> {
        let norm = |at: &str| Norm::new(weights, at, description.epsilon);
        Ok(Block {
            query: weights.linear(&names.query)?,
            key: weights.linear(&names.key)?,
            value: weights.linear(&names.value)?,
            attended: weights.linear(&names.attended)?,
            attended_norm: norm(&names.attended_norm)?,
            inner: weights.linear(&names.inner)?,
            outer: weights.linear(&names.outer)?,
            outer_norm: norm(&names.outer_norm)?,
            heads: description.heads,
            activation: description.activation,
        })
    }

    fn apply(&self, states: &Tensor) -> Result<Tensor> {
        let attended = self.attended.forward(&self.attend(states)?)?;
        let states = self.attended_norm.apply(&(attended + states)?)?;
        let inner = self.inner.forward(&states)?;
        let active = match self.activation {
            Activation::Gelu => inner.gelu_erf()?,
            Activation::GeluTanh => inner.gelu()?,
            Activation::Relu => inner.relu()?,
        };
        let outer = self.outer.forward(&active)?;
        self.outer_norm.apply(&(outer + states)?)
    }

    fn attend(&self, states: &Tensor) -> Result<Tensor> {
        let (rows, tokens, hidden) = states.dims3()?;
        let width = hidden / self.heads;
        let by_head = |step: &Linear| -> Result<Tensor> {
            step.forward(states)?.reshape((rows, tokens, self.heads, width))?.transpose(1, 2)?.contiguous()
        };
        let (query, key, value) = (by_head(&self.query)?, by_head(&self.key)?, by_head(&self.value)?);
        let nearness = (query.matmul(&key.t()?)? / (width as f64).sqrt())?;
        let mixed = softmax(&nearness, D::Minus1)?.matmul(&value)?;
        mixed.transpose(1, 2)?.contiguous()?.reshape((rows, tokens, hidden))
    }
}

impl Norm {
    fn new(weights: &Weights, at: &str, epsilon: f32) -> Result<Norm> {
        let (weight, bias) = weights.pair(at)?;
        Ok(Norm { weight, bias, epsilon })
    }

    fn apply(&self, states: &Tensor) -> Result<Tensor> {
        layer_norm_slow(states, &self.weight, &self.bias, self.epsilon)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;

    /// Weights that anybody can make again: a sine over each tensor's numbers, shifted by the tensor's place in the
    /// order of names; ones are added where numbers are scaled.
    fn weights(description: &Description) -> Weights {
        let shapes: BTreeMap<_, _> = description.tensors().into_iter().collect();
        let tensors = shapes.into_iter().enumerate().map(|(place, (name, shape))| {
            let base = if name.contains("orm.weight") || name.contains("_norm.weight") { 1.0 } else { 0.0 };
            let number = |i: usize| (base + 0.4 * (0.7 * i as f64 + place as f64).sin()) as f32;
            let numbers: Vec<f32> = (0..shape.iter().product()).map(number).collect();
            (name, Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap())
        });
        Weights::of(tensors.collect())
    }

    fn scores(config: &Value, row: &[u32]) -> Vec<f32> {
        let description = Description::read(config.to_string().as_bytes()).unwrap();
        let encoder = Encoder::new(&description, &weights(&description)).unwrap();
        encoder.scores(&[row.to_vec()]).unwrap().squeeze(0).unwrap().to_vec1().unwrap()
    }

    fn small(model_type: &str) -> Value {
        let labels = json!({"0": "negative", "1": "neutral", "2": "positive"});
        let mut config = match model_type {
            "distilbert" => {
                json!({"dim": 8, "n_layers": 2, "n_heads": 2, "hidden_dim": 12, "activation": "gelu"})
            }
            _ => {
                json!({"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12,
                        "hidden_act": "gelu"})
            }
        };
        config["model_type"] = json!(model_type);
        config["vocab_size"] = json!(20);
        config["max_position_embeddings"] = json!(10);
        config["type_vocab_size"] = json!(if model_type == "bert" { 2 } else { 1 });
        config["layer_norm_eps"] = json!(if model_type == "roberta" { 1e-5 } else { 1e-12 });
        config["pad_token_id"] = json!(1);
        config["id2label"] = labels;
        config
    }

    /// The expected numbers were computed by Hugging Face's transformers 4.46.3 (its JAX models, 32 bits) from the
    /// same weights.
    #[test]
    fn each_family_gives_the_scores_of_its_reference() {
        for (model_type, expected) in [
            ("bert", [-0.537_815, -0.901_217_5, -0.867_889_9]),
            ("roberta", [-0.796_561_24, 0.256_176_17, 1.190_257_8]),
            ("distilbert", [-0.631_223_1, 0.132_472_47, 0.831_178_6]),
        ] {
            let found = scores(&small(model_type), &[2, 5, 7, 19, 11, 3]);
            let is_near = found.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() < 2e-5);
            assert!(is_near, "{model_type}: {found:?}, not {expected:?}");
        }
    }

    #[test]
    fn rows_of_one_length_do_not_touch_each_other() {
        let description = Description::read(small("bert").to_string().as_bytes()).unwrap();
        let encoder = Encoder::new(&description, &weights(&description)).unwrap();
        let both = encoder.scores(&[vec![2, 5, 3], vec![2, 9, 3]]).unwrap().to_vec2::<f32>().unwrap();
        let alone = encoder.scores(&[vec![2, 9, 3]]).unwrap().to_vec2::<f32>().unwrap();
        assert!(both[1].iter().zip(&alone[0]).all(|(a, b)| (a - b).abs() < 1e-5));
        assert_ne!(both[0], both[1]);
    }
}
