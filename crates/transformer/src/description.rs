//! What `config.json` says a model is made of, and which tensors that needs under which names.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Most layers, and most of anything along one side of a tensor, that a description may ask for.
const LAYERS_MAX: usize = 200;
const SIDE_MAX: usize = 4_000_000;

/// How a family names its tensors, counts positions and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Bert,
    /// RoBERTa, XLM-RoBERTa, CamemBERT.
    Roberta,
    Distilbert,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// With the error function.
    Gelu,
    /// With its approximation by the hyperbolic tangent.
    GeluTanh,
    Relu,
}

/// The shape of a model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Description {
    pub family: Family,
    /// Rows of the word embeddings.
    pub vocabulary: usize,
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    /// Width of the feed-forward step.
    pub inner: usize,
    /// Rows of the position embeddings.
    pub positions: usize,
    /// The row of the first token's position.
    pub first_position: usize,
    /// Rows of the token type embeddings; 0: there are none.
    pub kinds: usize,
    pub epsilon: f32,
    pub activation: Activation,
    /// Class names, in order.
    pub labels: Vec<String>,
}

/// `config.json` as it is written; other fields do not matter here.
#[derive(Deserialize)]
struct Written {
    model_type: Option<String>,
    vocab_size: Option<usize>,
    #[serde(alias = "dim")]
    hidden_size: Option<usize>,
    #[serde(alias = "n_layers")]
    num_hidden_layers: Option<usize>,
    #[serde(alias = "n_heads")]
    num_attention_heads: Option<usize>,
    #[serde(alias = "hidden_dim")]
    intermediate_size: Option<usize>,
    max_position_embeddings: Option<usize>,
    type_vocab_size: Option<usize>,
    pad_token_id: Option<usize>,
    layer_norm_eps: Option<f32>,
    #[serde(alias = "activation")]
    hidden_act: Option<String>,
    position_embedding_type: Option<String>,
    problem_type: Option<String>,
    id2label: Option<BTreeMap<String, String>>,
}

impl Description {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// With the field, when one is missing or asks for what is not known here.
    pub(crate) fn read(bytes: &[u8]) -> Result<Description, String> {
        let written: Written = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        let family = match written.model_type.as_deref() {
            Some("bert") => Family::Bert,
            Some("roberta" | "xlm-roberta" | "camembert") => Family::Roberta,
            Some("distilbert") => Family::Distilbert,
            other => {
                let other = other.unwrap_or("missing");
                return Err(format!(
                    "model_type is {other}; bert, roberta, xlm-roberta, camembert and distilbert are known"
                ));
            }
        };
        match written.position_embedding_type.as_deref() {
            None | Some("absolute") => {}
            Some(other) => return Err(format!("position_embedding_type is {other}; only absolute is known")),
        }
        match written.problem_type.as_deref() {
            None | Some("single_label_classification") => {}
            Some(other) => {
                return Err(format!("problem_type is {other}; only single_label_classification is known"));
            }
        }
        let activation = match written.hidden_act.as_deref() {
            None | Some("gelu") => Activation::Gelu,
            Some("gelu_new" | "gelu_pytorch_tanh") => Activation::GeluTanh,
            Some("relu") => Activation::Relu,
            Some(other) => return Err(format!("activation is {other}; gelu, gelu_new and relu are known")),
        };
        let hidden = side("hidden_size", written.hidden_size)?;
        let heads = side("num_attention_heads", written.num_attention_heads)?;
        if hidden % heads != 0 {
            return Err(format!("hidden_size {hidden} cannot be shared among num_attention_heads {heads}"));
        }
        let layers = side("num_hidden_layers", written.num_hidden_layers)?;
        if layers > LAYERS_MAX {
            return Err(format!("num_hidden_layers is {layers}, at most {LAYERS_MAX} are read"));
        }
        let positions = side("max_position_embeddings", written.max_position_embeddings)?;
        // This family counts from the row after the one of the padding sign.
        let first_position = match family {
            Family::Roberta => written.pad_token_id.unwrap_or(1).saturating_add(1),
            Family::Bert | Family::Distilbert => 0,
        };
        if first_position >= positions {
            return Err(format!("max_position_embeddings {positions} leaves no position for a token"));
        }
        let kinds = match family {
            Family::Distilbert => 0,
            Family::Bert | Family::Roberta => side("type_vocab_size", written.type_vocab_size)?,
        };
        Ok(Description {
            family,
            vocabulary: side("vocab_size", written.vocab_size)?,
            hidden,
            layers,
            heads,
            inner: side("intermediate_size", written.intermediate_size)?,
            positions,
            first_position,
            kinds,
            epsilon: written.layer_norm_eps.filter(|e| *e > 0.0).unwrap_or(1e-12),
            activation,
            labels: labels(written.id2label)?,
        })
    }

    /// Most tokens of one text.
    pub(crate) fn tokens_max(&self) -> usize {
        self.positions - self.first_position
    }

    /// Where the tensors before the layers are.
    pub(crate) fn embeddings(&self) -> Embeddings {
        let root = match self.family {
            Family::Bert => "bert.embeddings",
            Family::Roberta => "roberta.embeddings",
            Family::Distilbert => "distilbert.embeddings",
        };
        Embeddings {
            words: format!("{root}.word_embeddings.weight"),
            positions: format!("{root}.position_embeddings.weight"),
            kinds: (self.kinds > 0).then(|| format!("{root}.token_type_embeddings.weight")),
            norm: format!("{root}.LayerNorm"),
        }
    }

    /// Where the tensors of a layer are.
    pub(crate) fn layer(&self, number: usize) -> Layer {
        let (root, names) = match self.family {
            Family::Bert => (format!("bert.encoder.layer.{number}"), BERT_LAYER),
            Family::Roberta => (format!("roberta.encoder.layer.{number}"), BERT_LAYER),
            Family::Distilbert => (format!("distilbert.transformer.layer.{number}"), DISTILBERT_LAYER),
        };
        let [query, key, value, attended, attended_norm, inner, outer, outer_norm] =
            names.map(|name| format!("{root}.{name}"));
        Layer { query, key, value, attended, attended_norm, inner, outer, outer_norm }
    }

    /// Where the two steps from the first token to the classes are.
    pub(crate) fn ending(&self) -> [&'static str; 2] {
        match self.family {
            Family::Bert => ["bert.pooler.dense", "classifier"],
            Family::Roberta => ["classifier.dense", "classifier.out_proj"],
            Family::Distilbert => ["pre_classifier", "classifier"],
        }
    }

    /// Every tensor needed, by name, with its shape.
    pub(crate) fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let Description { hidden, inner, .. } = *self;
        let mut all = Vec::new();
        let mut pair = |at: &str, weight: &[usize]| {
            all.push((format!("{at}.weight"), weight.to_vec()));
            all.push((format!("{at}.bias"), weight[..1].to_vec()));
        };
        for number in 0..self.layers {
            let layer = self.layer(number);
            for square in [&layer.query, &layer.key, &layer.value, &layer.attended] {
                pair(square, &[hidden, hidden]);
            }
            pair(&layer.attended_norm, &[hidden]);
            pair(&layer.inner, &[inner, hidden]);
            pair(&layer.outer, &[hidden, inner]);
            pair(&layer.outer_norm, &[hidden]);
        }
        let [dense, out] = self.ending();
        pair(dense, &[hidden, hidden]);
        pair(out, &[self.labels.len(), hidden]);
        let before = self.embeddings();
        pair(&before.norm, &[hidden]);
        all.push((before.words, vec![self.vocabulary, hidden]));
        all.push((before.positions, vec![self.positions, hidden]));
        all.extend(before.kinds.map(|kinds| (kinds, vec![self.kinds, hidden])));
        all
    }
}

/// Names of the embedding tensors; `norm` lacks its `.weight` and `.bias`.
pub(crate) struct Embeddings {
    pub words: String,
    pub positions: String,
    pub kinds: Option<String>,
    pub norm: String,
}

/// Names of a layer's tensors, without their `.weight` and `.bias`.
pub(crate) struct Layer {
    pub query: String,
    pub key: String,
    pub value: String,
    pub attended: String,
    pub attended_norm: String,
    pub inner: String,
    pub outer: String,
    pub outer_norm: String,
}

const BERT_LAYER: [&str; 8] = [
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
];
const DISTILBERT_LAYER: [&str; 8] = [
    "attention.q_lin",
    "attention.k_lin",
    "attention.v_lin",
    "attention.out_lin",
    "sa_layer_norm",
    "ffn.lin1",
    "ffn.lin2",
    "output_layer_norm",
];

fn side(name: &str, written: Option<usize>) -> Result<usize, String> {
    match written {
        Some(side) if (1..=SIDE_MAX).contains(&side) => Ok(side),
        Some(side) => Err(format!("{name} is {side}, 1 to {SIDE_MAX} are read")),
        None => Err(format!("{name} is missing")),
    }
}

/// Class names in order of their numbers.
fn labels(written: Option<BTreeMap<String, String>>) -> Result<Vec<String>, String> {
    let mut written = written.ok_or("id2label is missing: how many classes there are is not known")?;
    (0..written.len())
        .map(|class| {
            written.remove(&class.to_string()).ok_or_else(|| format!("id2label has no class {class}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn bert() -> Value {
        json!({
            "model_type": "bert", "vocab_size": 100, "hidden_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 40, "type_vocab_size": 2,
            "layer_norm_eps": 1e-12, "hidden_act": "gelu", "id2label": {"1": "POS", "0": "NEG"}, "unknown": [1]
        })
    }

    fn with(field: &str, value: Value) -> Result<Description, String> {
        let mut written = bert();
        written[field] = value;
        Description::read(written.to_string().as_bytes())
    }

    #[test]
    fn classes_come_in_order_of_their_numbers() {
        let read = with("hidden_size", json!(16)).unwrap();
        assert_eq!(read.labels, ["NEG", "POS"]);
        let many: BTreeMap<_, _> = (0..12).map(|n| (n.to_string(), format!("c{n}"))).collect();
        assert_eq!(with("id2label", json!(many)).unwrap().labels[10], "c10");
    }

    #[test]
    fn positions_of_one_family_begin_after_the_padding_sign() {
        assert_eq!(with("model_type", json!("bert")).unwrap().tokens_max(), 40);
        assert_eq!(with("model_type", json!("xlm-roberta")).unwrap().tokens_max(), 38);
    }

    #[test]
    fn what_is_not_known_is_refused_by_its_field() {
        for (field, value, part) in [
            ("model_type", json!("gpt2"), "model_type is gpt2"),
            ("model_type", Value::Null, "model_type is missing"),
            ("hidden_size", Value::Null, "hidden_size is missing"),
            ("hidden_size", json!(0), "hidden_size is 0"),
            ("hidden_size", json!("x"), "expected usize"),
            ("num_attention_heads", json!(3), "cannot be shared"),
            ("num_hidden_layers", json!(1_000_000), "at most 200"),
            ("vocab_size", json!(1_u64 << 60), "vocab_size is"),
            ("hidden_act", json!("swish"), "activation is swish"),
            ("position_embedding_type", json!("relative_key"), "only absolute"),
            ("problem_type", json!("regression"), "problem_type is regression"),
            ("id2label", Value::Null, "id2label is missing"),
            ("id2label", json!({"0": "a", "2": "b"}), "no class 1"),
        ] {
            let told = with(field, value).unwrap_err();
            assert!(told.contains(part), "{field}: {told}");
        }
        assert!(Description::read(b"{").is_err() && Description::read(b"[]").is_err());
    }
}
