//! `redress classify`: one line of understanding per line of text.

use std::borrow::Cow;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use nlp::{Hint, Model, Scratch, Understanding, Why};

use super::json::{read_row, write_number, write_string};
use super::second::{Second, Waiting};
use crate::lines::{Input, LINE_BYTES_MAX, Line, Refusals};

/// Stretches told per text.
const WHY_MAX: usize = 3;
const OUTPUT_BYTES: usize = 1 << 16;

/// Arguments of `redress classify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  redress classify posts.jsonl > understood.jsonl
  zcat posts.jsonl.gz | redress classify --model topics.rdm
  echo '{\"id\":\"1\",\"text\":\"three weeks and still no refund\"}' | redress classify --all
  redress classify --second-stage my-model/ --second-stage-share 0.1 posts.jsonl

Every line is an object with \"text\" and, if it has one, \"id\"; other fields are ignored.
Lines that are no such object are named on standard error and left out; the exit code is then 1.")]
pub(crate) struct Args {
    /// Files of JSON lines, plain or gzipped; `-` or none is standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A model made by `redress train`: its answers replace the shipped ones, the others stay
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Also tell thanks, won-back, threats, "nobody answers" and what a brand's reply does
    #[arg(long)]
    all: bool,
    /// Leave out the stretches of text that weighed most (faster)
    #[arg(long)]
    no_why: bool,
    /// A folder with config.json, tokenizer.json and model.safetensors of a BERT, RoBERTa, XLM-RoBERTa or DistilBERT
    /// for sentiment or complaints: it looks again at the least sure texts (needs a build with `--features transformer`)
    #[arg(long, value_name = "DIRECTORY")]
    second_stage: Option<PathBuf>,
    /// Share of the texts it may see; answers then come some hundred lines at a time
    #[arg(long, value_name = "0..1", default_value_t = 0.05, requires = "second_stage")]
    second_stage_share: f64,
}

/// Reads lines, writes lines.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let model = load(args.model.as_deref())?;
    let mut refusals = Refusals::default();
    let mut out = Output { to: std::io::stdout().lock(), bytes: Vec::with_capacity(2 * OUTPUT_BYTES) };
    let files = if args.files.is_empty() { vec![PathBuf::from("-")] } else { args.files.clone() };
    let mut reader = Reader {
        model: &model,
        args: &args,
        scratch: Scratch::default(),
        text: String::new(),
        why: Vec::new(),
        second: args
            .second_stage
            .as_deref()
            .map(|at| Second::open(at, args.second_stage_share))
            .transpose()?,
    };
    for file in &files {
        let mut input = Input::open(file)?;
        let name = input.name().to_owned();
        loop {
            if out.bytes.len() >= OUTPUT_BYTES || input.drained() {
                match out.flush() {
                    // The reader of our output has gone: nothing is left to do, and that is no fault.
                    Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                        return Ok(refusals.exit_code());
                    }
                    other => other.context("cannot write to standard output")?,
                }
            }
            match input.next_line()? {
                None => break,
                Some((number, Line::TooLong)) => {
                    refusals.line(&name, number, format_args!("line over {} MiB", LINE_BYTES_MAX >> 20))
                }
                Some((number, Line::Text(line))) => {
                    if let Err(refused) = reader.line(line, number, &mut out.bytes) {
                        refusals.line(&name, number, refused);
                    }
                    if reader.second.as_ref().is_some_and(Second::is_full) {
                        reader.settle(&mut out.bytes)?;
                    }
                }
            }
        }
    }
    reader.settle(&mut out.bytes)?;
    match out.flush() {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(refusals.exit_code()),
    }
}

/// The shipped model, with the heads of a file over it.
pub(crate) fn load(path: Option<&Path>) -> Result<Model> {
    let Some(path) = path else { return Ok(Model::shipped().clone()) };
    let bytes = std::fs::read(path).with_context(|| format!("cannot read model {}", path.display()))?;
    let own = Model::from_bytes(&bytes).with_context(|| format!("cannot use model {}", path.display()))?;
    Ok(Model::shipped().overlay(own))
}

struct Output<W: Write> {
    to: W,
    bytes: Vec<u8>,
}

impl<W: Write> Output<W> {
    fn flush(&mut self) -> std::io::Result<()> {
        self.to.write_all(&self.bytes)?;
        self.bytes.clear();
        self.to.flush()
    }
}

struct Reader<'a> {
    model: &'a Model,
    args: &'a Args,
    scratch: Scratch,
    text: String,
    why: Vec<Why>,
    second: Option<Second>,
}

/// What is told of one text.
struct Told<'a> {
    id: &'a str,
    text: &'a str,
    answer: &'a Understanding,
    why: &'a [Why],
    /// Whether a second stage had its say; none where there is no second stage.
    looked_again: Option<bool>,
}

impl Reader<'_> {
    fn line(&mut self, line: &[u8], number: u64, out: &mut Vec<u8>) -> Result<(), super::json::Refused> {
        let id = read_row(line, &mut self.text)?;
        let answer = self.model.understand(&mut self.scratch, &self.text, Hint::default());
        if !self.args.no_why {
            self.model.explain_last(&mut self.scratch, &self.text, &answer, WHY_MAX, &mut self.why);
        }
        let id = id.map_or_else(|| Cow::Owned(number.to_string()), String::from_utf8_lossy);
        match &mut self.second {
            Some(second) => {
                let (text, why) = (std::mem::take(&mut self.text), std::mem::take(&mut self.why));
                second.wait(Waiting { id: id.into_owned(), text, answer, why });
            }
            None => {
                let told =
                    Told { id: &id, text: &self.text, answer: &answer, why: &self.why, looked_again: None };
                self.write(&told, out);
            }
        }
        Ok(())
    }

    /// Writes what waited for the second stage.
    fn settle(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let Some(second) = &mut self.second else { return Ok(()) };
        for (waited, looked_again) in second.look_again()? {
            let Waiting { id, text, answer, why } = &waited;
            self.write(&Told { id, text, answer, why, looked_again: Some(looked_again) }, out);
        }
        Ok(())
    }

    fn write(&self, told: &Told<'_>, out: &mut Vec<u8>) {
        let answer = told.answer;
        out.extend_from_slice(b"{\"id\":");
        out.extend_from_slice(told.id.as_bytes());
        out.extend_from_slice(b",\"language\":");
        write_string(answer.language.as_str(), out);
        let [negative, neutral, positive] = answer.sentiment;
        out.extend_from_slice(b",\"sentiment\":{");
        fields(&[("negative", negative), ("neutral", neutral), ("positive", positive)], out);
        out.extend_from_slice(b"},");
        fields(&[("complaint", answer.complaint)], out);
        out.extend_from_slice(b",\"severity\":{\"level\":");
        out.push(b'0' + answer.severity.level);
        out.extend_from_slice(b",\"probabilities\":[");
        for (i, p) in answer.severity.probabilities.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            write_number(*p, out);
        }
        out.extend_from_slice(b"]},");
        fields(&[("arousal", answer.arousal)], out);
        out.extend_from_slice(b",\"topics\":[");
        for (i, (topic, p)) in answer.topics.as_slice().iter().enumerate() {
            out.extend_from_slice(if i > 0 { b",{\"name\":" } else { b"{\"name\":" });
            write_string(self.model.topics().get(usize::from(*topic)).map_or("", String::as_str), out);
            out.push(b',');
            fields(&[("probability", *p)], out);
            out.push(b'}');
        }
        out.extend_from_slice(b"],");
        fields(&[("spam", answer.spam)], out);
        if self.args.all {
            out.extend_from_slice(b",\"signals\":{");
            fields(
                &[
                    ("thanks", answer.thanks),
                    ("won_back", answer.won_back),
                    ("threat_leave", answer.threat_leave),
                    ("threat_sue", answer.threat_sue),
                    ("threat_publish", answer.threat_publish),
                    ("unanswered", answer.unanswered),
                ],
                out,
            );
            out.extend_from_slice(b"},\"reply\":{");
            let reply = &answer.reply;
            fields(
                &[
                    ("apology", reply.apology),
                    ("explanation", reply.explanation),
                    ("offer", reply.offer),
                    ("channel_move", reply.channel_move),
                ],
                out,
            );
            out.push(b'}');
        }
        out.extend_from_slice(if answer.sure { b",\"sure\":true" } else { b",\"sure\":false" });
        if let Some(looked_again) = told.looked_again {
            out.extend_from_slice(if looked_again {
                b",\"looked_again\":true"
            } else {
                b",\"looked_again\":false"
            });
        }
        if !self.args.no_why {
            write_why(told, out);
        }
        out.extend_from_slice(b"}\n");
    }
}

fn write_why(told: &Told<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"why\":[");
    let mut first = true;
    for why in told.why {
        let Some(stretch) = told.text.get(why.start..why.end) else { continue };
        out.extend_from_slice(if first { b"{\"text\":" } else { b",{\"text\":" });
        first = false;
        write_string(stretch, out);
        out.push(b',');
        fields(&[("weight", why.weight)], out);
        out.push(b'}');
    }
    out.push(b']');
}

fn fields(pairs: &[(&str, f32)], out: &mut Vec<u8>) {
    for (i, (name, value)) in pairs.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        write_number(*value, out);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn answer(line: &str, all: bool) -> Result<Value, super::super::json::Refused> {
        let args = Args {
            files: Vec::new(),
            model: None,
            all,
            no_why: false,
            second_stage: None,
            second_stage_share: 0.0,
        };
        let mut reader = Reader {
            model: Model::shipped(),
            args: &args,
            scratch: Scratch::default(),
            text: String::new(),
            why: Vec::new(),
            second: None,
        };
        let mut out = Vec::new();
        reader.line(line.as_bytes(), 7, &mut out)?;
        assert_eq!(out.pop(), Some(b'\n'));
        Ok(serde_json::from_slice(&out).unwrap())
    }

    #[test]
    fn an_answer_has_every_promised_field() {
        let told = answer(
            r#"{"id":"a\"1","text":"three weeks and \"still\" no refund, shame on you","lang":"xx"}"#,
            false,
        )
        .unwrap();
        assert_eq!(told["id"], "a\"1");
        assert_eq!(told["language"], "en");
        let sum: f64 = ["negative", "neutral", "positive"]
            .iter()
            .map(|name| told["sentiment"][name].as_f64().unwrap())
            .sum();
        assert!((sum - 1.0).abs() < 1e-3);
        assert_eq!(told["severity"]["probabilities"].as_array().map(Vec::len), Some(5));
        for number in ["complaint", "arousal", "spam"] {
            assert!((0.0..=1.0).contains(&told[number].as_f64().unwrap()), "{number}");
        }
        assert!(told["topics"][0]["name"].is_string() && told["topics"][0]["probability"].is_number());
        assert!(told["sure"].is_boolean());
        assert!(told["why"][0]["text"].is_string() && told["why"][0]["weight"].is_number());
        assert!(told.get("signals").is_none());
    }

    #[test]
    fn an_id_is_echoed_as_given_and_a_missing_one_is_the_line_number() {
        assert_eq!(answer(r#"{"id":12.50,"text":""}"#, false).unwrap()["id"], 12.5);
        assert_eq!(answer(r#"{"id":null,"text":""}"#, false).unwrap()["id"], Value::Null);
        assert_eq!(answer(r#"{"text":"x"}"#, false).unwrap()["id"], 7);
    }

    #[test]
    fn why_is_text_as_written() {
        let text = "Ihr habt doppelt abgebucht 😡 NIE WIEDER!!";
        let told = answer(&format!("{{\"text\":\"{text}\"}}"), true).unwrap();
        for why in told["why"].as_array().unwrap() {
            assert!(text.contains(why["text"].as_str().unwrap()), "{why}");
        }
        assert!(told["signals"]["threat_leave"].is_number() && told["reply"]["apology"].is_number());
    }

    #[test]
    fn odd_texts_give_valid_json() {
        for text in [r"\ud83d", r"\ude21x", "", r"\u0000", "😡", r"\u200b\u202e", r#"\"\\"#, "مرحبا"] {
            answer(&format!("{{\"text\":\"{text}\"}}"), true).unwrap();
        }
        assert!(answer("{\"id\":1}", false).is_err());
    }
}
