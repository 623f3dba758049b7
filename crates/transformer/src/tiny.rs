//! A tiny model made on the spot, for tests: a language of invented words, lines in it, and a BERT of one layer that
//! is trained on them with the shipped forward pass and written as the files users bring.
//!
//! A word of praise makes a line positive, one of blame negative, `nie` before it turns it round, a line without
//! either is neutral. The words mean nothing to the shipped model.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{AdamW, Optimizer, loss::cross_entropy};
use serde_json::{Value, json};

use crate::description::Description;
use crate::encoder::Encoder;
use crate::tokens::Tokens;
use crate::weights::Weights;

/// Words in a line; with a token at each end this is what the model reads.
pub const LINE_WORDS: usize = 8;
/// Most tokens the model reads of a text.
pub const TOKENS_MAX: usize = 16;
/// The classes, in order.
pub const CLASSES: [&str; 3] = ["negative", "neutral", "positive"];

const SPECIAL: [&str; 4] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];
const PRAISE: usize = 40;
const BLAME: usize = 40;
const PLAIN: usize = 160;
const TURN: &str = "nie";
const STEPS: usize = 250;
const BATCH: usize = 32;
const LEARNING_RATE: f64 = 4e-3;

/// A text and its class (number into `CLASSES`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The text.
    pub text: String,
    /// The truth.
    pub class: usize,
}

/// Lines of the invented language; the same seed gives the same lines.
pub fn lines(seed: u64, count: usize) -> Vec<Line> {
    let words = words();
    let mut dice = Dice(seed);
    (0..count).map(|_| line(&words, &mut dice)).collect()
}

/// How large a model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Numbers per token.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// Numbers per token inside the feed-forward step; usually four times `hidden`.
    pub inner: usize,
    /// Attention heads; they share `hidden`.
    pub heads: usize,
    /// Most tokens of a text.
    pub tokens_max: usize,
}

/// The size of the trained model.
const TINY: Size = Size { hidden: 32, inner: 64, layers: 1, heads: 4, tokens_max: TOKENS_MAX };

/// Whatever may go wrong while a model is made.
type Broken = Box<dyn std::error::Error + Send + Sync>;

/// Writes a model of any size that learned nothing, to time it.
///
/// # Errors
/// When the folder cannot be written, or the size makes no sense.
pub fn untrained(directory: &Path, size: Size) -> Result<(), Broken> {
    let config = config(size);
    let vars = first_weights(&Description::read(config.to_string().as_bytes())?)?;
    write(directory, &config, &vars)
}

/// Trains a model and writes its three files into a folder that exists.
///
/// # Errors
/// When the folder cannot be written, or the runtime breaks.
pub fn make(directory: &Path) -> Result<(), Broken> {
    let tokenizer = tokenizer().to_string().into_bytes();
    let config = config(TINY);
    let description = Description::read(config.to_string().as_bytes())?;
    let tokens = Tokens::read(&tokenizer, directory, description.vocabulary, TOKENS_MAX)?;
    let vars = first_weights(&description)?;
    let shared = vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
    let encoder = Encoder::new(&description, &Weights::of(shared))?;
    let mut teacher = AdamW::new_lr(vars.values().cloned().collect(), LEARNING_RATE)?;
    for step in 0..STEPS {
        let batch = lines(1_000 + step as u64, BATCH);
        let rows = batch.iter().map(|line| tokens.of(&line.text)).collect::<Result<Vec<_>, _>>()?;
        let truth: Vec<u32> = batch.iter().map(|line| line.class as u32).collect();
        let truth = Tensor::from_vec(truth, batch.len(), &Device::Cpu)?;
        teacher.backward_step(&cross_entropy(&encoder.scores(&rows)?, &truth)?)?;
    }
    write(directory, &config, &vars)
}

fn write(directory: &Path, config: &Value, vars: &BTreeMap<String, Var>) -> Result<(), Broken> {
    let weights: HashMap<&str, Tensor> =
        vars.iter().map(|(name, var)| (name.as_str(), var.as_tensor().clone())).collect();
    candle_core::safetensors::save(&weights, directory.join("model.safetensors"))?;
    std::fs::write(directory.join("tokenizer.json"), serde_json::to_vec_pretty(&tokenizer())?)?;
    std::fs::write(directory.join("config.json"), serde_json::to_vec_pretty(config)?)?;
    Ok(())
}

fn line(words: &Words, dice: &mut Dice) -> Line {
    let mut line: Vec<&str> = (0..LINE_WORDS).map(|_| dice.pick(&words.plain)).collect();
    let class = dice.below(CLASSES.len());
    if class != 1 {
        let is_turned = dice.below(3) == 0;
        let is_praise = (class == 2) != is_turned;
        let at = 1 + dice.below(LINE_WORDS - 1);
        line[at] = dice.pick(if is_praise { &words.praise } else { &words.blame });
        if is_turned {
            line[at - 1] = TURN;
        }
    }
    Line { text: line.join(" "), class }
}

struct Words {
    praise: Vec<String>,
    blame: Vec<String>,
    plain: Vec<String>,
}

fn words() -> Words {
    const BEGIN: [&str; 12] = ["bl", "kr", "zw", "fl", "dr", "gn", "pl", "tr", "sk", "vr", "sn", "br"];
    const MIDDLE: [&str; 10] =
        ["ambu", "elto", "irke", "ondi", "umpa", "atti", "enzo", "ilva", "orru", "usta"];
    const END: [&str; 2] = ["k", "m"];
    let mut all = BEGIN
        .iter()
        .flat_map(|b| MIDDLE.iter().flat_map(move |m| END.iter().map(move |e| format!("{b}{m}{e}"))));
    let mut some = |count| all.by_ref().take(count).collect();
    Words { praise: some(PRAISE), blame: some(BLAME), plain: some(PLAIN) }
}

/// `tokenizer.json`: whole words, lower case, `[CLS]` before and `[SEP]` after a text.
fn tokenizer() -> Value {
    let Words { praise, blame, plain } = words();
    let all = SPECIAL.into_iter().map(str::to_owned).chain([TURN.to_owned()]);
    let all = all.chain(praise).chain(blame).chain(plain);
    let vocabulary: serde_json::Map<_, _> = all.enumerate().map(|(at, word)| (word, json!(at))).collect();
    let added: Vec<_> = SPECIAL
        .iter()
        .enumerate()
        .map(|(id, content)| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        })
        .collect();
    let special = |id: usize| json!({"id": SPECIAL[id], "ids": [id], "tokens": [SPECIAL[id]]});
    let sequence = json!({"Sequence": {"id": "A", "type_id": 0}});
    let token = |id: usize| json!({"SpecialToken": {"id": SPECIAL[id], "type_id": 0}});
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token(2), sequence, token(3)],
            "pair": [token(2), sequence, token(3), {"Sequence": {"id": "B", "type_id": 1}}, token(3)],
            "special_tokens": {"[CLS]": special(2), "[SEP]": special(3)},
        },
        "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary},
    })
}

fn config(size: Size) -> Value {
    json!({
        "model_type": "bert",
        "vocab_size": SPECIAL.len() + 1 + PRAISE + BLAME + PLAIN,
        "hidden_size": size.hidden,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "intermediate_size": size.inner,
        "max_position_embeddings": size.tokens_max,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "hidden_act": "gelu",
        "problem_type": "single_label_classification",
        "id2label": {"0": CLASSES[0], "1": CLASSES[1], "2": CLASSES[2]},
    })
}

/// Small numbers everywhere, but ones and zeros where numbers are only shifted and scaled.
fn first_weights(description: &Description) -> candle_core::Result<BTreeMap<String, Var>> {
    let mut dice = Dice(7);
    let mut vars = BTreeMap::new();
    for (name, shape) in description.tensors() {
        let var = if name.ends_with("bias") {
            Var::zeros(shape, DType::F32, &Device::Cpu)?
        } else if name.ends_with("LayerNorm.weight") {
            Var::ones(shape, DType::F32, &Device::Cpu)?
        } else {
            let numbers: Vec<f32> = (0..shape.iter().product()).map(|_| 0.3 * (dice.part() - 0.5)).collect();
            Var::from_vec(numbers, shape, &Device::Cpu)?
        };
        vars.insert(name, var);
    }
    Ok(vars)
}

/// Numbers from a seed: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound as u64) as usize
    }

    fn pick<'a>(&mut self, from: &'a [String]) -> &'a str {
        &from[self.below(from.len())]
    }

    fn part(&mut self) -> f32 {
        (self.roll() >> 40) as f32 / (1 << 24) as f32
    }
}
