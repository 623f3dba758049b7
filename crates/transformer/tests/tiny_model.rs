//! A model trained on the spot and written as users' files goes through the shipped loader and the budget.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic like tests")]

use std::path::Path;
use std::sync::OnceLock;

use nlp::{Budget, Hint, Model, Scratch, SecondStage, Understanding, second::refine};
use serde_json::Value;
use tempfile::TempDir;
use transformer::{Settings, Transformer, tiny};

const FILES: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];

/// The folder of the model, trained once.
fn trained() -> &'static Path {
    static MADE: OnceLock<TempDir> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        tiny::make(folder.path()).unwrap();
        folder
    });
    made.path()
}

fn settings(directory: &Path) -> Settings {
    Settings { directory: Some(directory.to_owned()), look_ms_max: 60_000, ..Settings::default() }
}

fn open() -> Transformer {
    Transformer::open(&settings(trained())).unwrap()
}

fn first_answers(texts: &[&str]) -> Vec<Understanding> {
    let mut scratch = Scratch::default();
    texts.iter().map(|text| Model::shipped().understand(&mut scratch, text, Hint::default())).collect()
}

fn look(stage: &mut Transformer, texts: &[&str]) -> Vec<Understanding> {
    let asked: Vec<_> = texts.iter().copied().zip(first_answers(texts)).collect();
    stage.look_again(&asked).unwrap()
}

fn texts(lines: &[tiny::Line]) -> Vec<&str> {
    lines.iter().map(|line| line.text.as_str()).collect()
}

/// Share of lines whose class is the likeliest sentiment.
fn accuracy(lines: &[tiny::Line], answers: &[Understanding]) -> f64 {
    let likeliest = |answer: &Understanding| {
        (0..3).max_by(|a, b| answer.sentiment[*a].total_cmp(&answer.sentiment[*b])).unwrap()
    };
    let right = lines.iter().zip(answers).filter(|(line, answer)| likeliest(answer) == line.class).count();
    right as f64 / lines.len() as f64
}

#[test]
fn the_trained_model_knows_lines_it_never_saw_and_the_first_stage_does_not() {
    let lines = tiny::lines(5, 300);
    let before = accuracy(&lines, &first_answers(&texts(&lines)));
    let second = look(&mut open(), &texts(&lines));
    let after = accuracy(&lines, &second);
    println!("right of 300 lines: first stage {before:.3}, second {after:.3}");
    assert!(before < 0.55 && after > 0.9, "first {before}, second {after}");
    assert!(second.iter().filter(|answer| answer.sure).count() > 200);
}

#[test]
fn only_the_least_sure_go_the_budget_is_kept_and_answers_change_for_them_alone() {
    let clear = ["I love it, thank you, great service!", "worst airline ever, terrible, I hate you"];
    let unclear = tiny::lines(6, 60);
    let all: Vec<&str> = clear.into_iter().cycle().take(140).chain(texts(&unclear)).collect();
    let mut first = first_answers(&all);
    assert!(first[0].sure && first[1].sure);
    // The later a line, the less sure is what is said of it.
    for (at, answer) in first[140..].iter_mut().enumerate() {
        let top = 0.55 - 0.001 * at as f32;
        *answer = Understanding { sentiment: [top, 0.9 - top, 0.1], complaint: 0.1, sure: false, ..*answer };
    }
    let mut budget = Budget::of_share(0.1);
    budget.see(all.len());
    let mut answers = first.clone();
    let chosen = refine(&mut open(), &mut budget, &all, &mut answers).unwrap();
    assert_eq!(chosen, (180..200).rev().collect::<Vec<_>>(), "a tenth of 200, the least sure first");
    for at in 0..all.len() {
        assert_eq!(answers[at] != first[at], chosen.contains(&at), "text {at}");
    }
    assert!(refine(&mut open(), &mut budget, &all, &mut answers).unwrap().is_empty(), "all is spent");
}

#[test]
fn a_text_is_answered_alike_alone_in_company_and_by_another_copy() {
    let lines = tiny::lines(8, 40);
    let together = look(&mut open(), &texts(&lines));
    let mut other = open();
    for (line, expected) in lines.iter().zip(together) {
        assert_eq!(look(&mut other, &[&line.text])[0], expected);
    }
    assert_eq!(open().version(), other.version());
}

#[test]
fn any_text_is_answered_and_a_long_one_is_cut() {
    let line = &tiny::lines(9, 1)[0].text;
    let long = format!("{line} ").repeat(20_000);
    let odd = ["", "😡", "\u{202e}\u{200b}", "مرحبا", "\0\u{fffd}", &long, line];
    let answers = look(&mut open(), &odd);
    assert_eq!(answers.len(), odd.len());
    for answer in &answers {
        assert!((answer.sentiment.iter().sum::<f32>() - 1.0).abs() < 1e-3);
    }
    // What is beyond the cut does not matter.
    let words: Vec<&str> = long.split_whitespace().collect();
    let start = words[..tiny::TOKENS_MAX].join(" ");
    let mut all = first_answers(&[&start]);
    all.push(all[0]);
    let asked = [(long.as_str(), all[0]), (start.as_str(), all[1])];
    let [whole, cut] = open().look_again(&asked).unwrap().try_into().unwrap();
    assert_eq!(whole, cut);
}

#[test]
fn a_look_ends_when_its_time_is_up() {
    let lines = tiny::lines(10, 5_000);
    let hurried = Settings { look_ms_max: 1, ..settings(trained()) };
    let mut stage = Transformer::open(&hurried).unwrap();
    let asked: Vec<_> = texts(&lines).into_iter().map(|text| (text, first_answers(&[""])[0])).collect();
    let reached = stage.look_again(&asked).unwrap().len();
    assert!((1..lines.len()).contains(&reached), "{reached} of {}", lines.len());
}

#[test]
fn labels_given_in_the_settings_hold() {
    let given = |labels: &[&str]| Settings {
        labels: labels.iter().map(|&l| l.to_owned()).collect(),
        weight: 1.0,
        ..settings(trained())
    };
    let mut turned = Transformer::open(&given(&["positive", "neutral", "negative"])).unwrap();
    let mut straight = Transformer::open(&given(&[])).unwrap();
    let line = &tiny::lines(11, 1)[0].text;
    let [a, b] = [look(&mut straight, &[line])[0].sentiment, look(&mut turned, &[line])[0].sentiment];
    assert_eq!(a, [b[2], b[1], b[0]]);
    for (labels, part) in
        [(&["negative", "positive"][..], "the model has 3"), (&["a", "b", "c"], "called 'a'")]
    {
        let told = refusal(Transformer::open(&given(labels)));
        assert!(told.contains("setting 'labels'") && told.contains(part), "{told}");
    }
}

fn refusal(opened: Result<Transformer, transformer::Error>) -> String {
    match opened {
        Ok(_) => panic!("was not refused"),
        Err(error) => error.to_string(),
    }
}

/// Opens a copy of the model with one file changed; none removes it.
fn opened_with(file: &str, change: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>) -> String {
    let copy = tempfile::tempdir().unwrap();
    for name in FILES {
        std::fs::copy(trained().join(name), copy.path().join(name)).unwrap();
    }
    let path = copy.path().join(file);
    match change(std::fs::read(&path).unwrap()) {
        Some(bytes) => std::fs::write(&path, bytes).unwrap(),
        None => std::fs::remove_file(&path).unwrap(),
    }
    refusal(Transformer::open(&settings(copy.path())))
}

fn json(bytes: &[u8], change: impl FnOnce(&mut Value)) -> Option<Vec<u8>> {
    let mut value = serde_json::from_slice(bytes).unwrap();
    change(&mut value);
    Some(value.to_string().into_bytes())
}

/// Renames a tensor in the header of a safetensors file.
fn renamed(bytes: Vec<u8>, from: &str, to: &str) -> Option<Vec<u8>> {
    assert_eq!(from.len(), to.len());
    let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
    let mut bytes = bytes;
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    Some(bytes)
}

#[test]
fn what_is_wrong_with_the_files_is_named() {
    for name in FILES {
        let told = opened_with(name, |_| None);
        assert!(told.contains(name) && told.contains("cannot read"), "{told}");
        let told = opened_with(name, |_| Some(b"{ broken".to_vec()));
        assert!(told.contains(name), "{told}");
        let told = opened_with(name, |bytes| Some(bytes[..bytes.len() / 2].to_vec()));
        assert!(told.contains(name), "{told}");
    }
    let weights = "model.safetensors";
    let told = opened_with(weights, |bytes| {
        renamed(bytes, "layer.0.output.dense.bias", "layer.0.outpud.dense.bias")
    });
    assert!(told.contains("tensor 'bert.encoder.layer.0.output.dense.bias' is missing"), "{told}");
    let told = opened_with("config.json", |bytes| json(&bytes, |c| c["intermediate_size"] = 65.into()));
    assert!(told.contains("has shape [64, 32], config.json asks for [65, 32]"), "{told}");
    let told = opened_with("config.json", |bytes| json(&bytes, |c| c["num_hidden_layers"] = 2.into()));
    assert!(told.contains("tensor 'bert.encoder.layer.1.") && told.contains("is missing"), "{told}");
    let told = opened_with("config.json", |bytes| json(&bytes, |c| c["id2label"]["1"] = "LABEL_1".into()));
    assert!(told.contains("config.json") && told.contains("class 1 is called 'LABEL_1'"), "{told}");
    let told =
        opened_with("tokenizer.json", |bytes| json(&bytes, |t| t["model"]["vocab"]["more"] = 999.into()));
    assert!(told.contains("it knows token 999, the model has word embeddings up to 244"), "{told}");
    let told = opened_with("tokenizer.json", |bytes| json(&bytes, |t| t["post_processor"] = Value::Null));
    assert!(told.contains("puts no token before a text"), "{told}");
}

#[test]
fn broken_numbers_are_an_error_and_no_answer() {
    let copy = tempfile::tempdir().unwrap();
    for name in FILES {
        std::fs::copy(trained().join(name), copy.path().join(name)).unwrap();
    }
    let path = copy.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for number in bytes[8 + header..].chunks_exact_mut(4) {
        number.copy_from_slice(&f32::NAN.to_le_bytes());
    }
    std::fs::write(&path, bytes).unwrap();
    let mut stage = Transformer::open(&settings(copy.path())).unwrap();
    let told = stage.look_again(&[("x", first_answers(&["x"])[0])]).unwrap_err().to_string();
    assert!(told.contains("no numbers"), "{told}");
}
