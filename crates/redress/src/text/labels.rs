//! Labelled lines of the tasks people can train and score.

use std::path::{Path, PathBuf};

use anyhow::Result;
use nlp::Task;
use serde_json::Value;

use super::corpus;
use super::evaluate::Line;
use crate::lines::{Input, Line as Read, Refusals};

/// The tasks with labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TextTask {
    /// `sentiment`: negative, neutral, positive (or neg, neu, pos)
    Sentiment,
    /// `complaint`: 0 or 1
    Complaint,
    /// `severity_n`: 0 (none) to 4 (blame)
    Severity,
    /// `topic`: any names
    Topic,
    /// `lang`: BCP 47 tags
    Language,
    /// `emotion`: any names; told as topics
    Emotion,
}

impl TextTask {
    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            TextTask::Sentiment => "sentiment",
            TextTask::Complaint => "complaint",
            TextTask::Severity => "severity",
            TextTask::Topic => "topic",
            TextTask::Language => "language",
            TextTask::Emotion => "emotion",
        }
    }

    /// The head it trains.
    pub(crate) fn head(self) -> Task {
        match self {
            TextTask::Sentiment => Task::Sentiment,
            TextTask::Complaint => Task::Complaint,
            TextTask::Severity => Task::Severity,
            TextTask::Topic | TextTask::Emotion => Task::Topic,
            TextTask::Language => Task::Language,
        }
    }

    fn field(self) -> &'static str {
        match self {
            TextTask::Severity => "severity_n",
            TextTask::Language => "lang",
            other => other.name(),
        }
    }

    /// The classes in order, where the task fixes them.
    pub(crate) fn fixed_classes(self) -> Option<&'static [&'static str]> {
        match self {
            TextTask::Sentiment => Some(&nlp::understanding::SENTIMENTS),
            TextTask::Complaint => Some(&["0", "1"]),
            TextTask::Severity => Some(&["0", "1", "2", "3", "4"]),
            _ => None,
        }
    }

    /// The class a written label means; none for one the task does not know.
    pub(crate) fn class(self, written: &str) -> Option<String> {
        let written = written.trim();
        let class = match (self, written) {
            (TextTask::Sentiment, "neg") => "negative",
            (TextTask::Sentiment, "neu") => "neutral",
            (TextTask::Sentiment, "pos") => "positive",
            (TextTask::Complaint, "true") => "1",
            (TextTask::Complaint, "false") => "0",
            _ => written,
        };
        let known = self.fixed_classes().is_none_or(|classes| classes.contains(&class))
            && !class.is_empty()
            && class.len() <= 255;
        known.then(|| class.to_owned())
    }

    /// Labels that are scored as one: Hindi in either script.
    pub(crate) fn same_as(self, label: &str) -> String {
        match (self, label) {
            (TextTask::Language, "hi-Latn") => "hi".to_owned(),
            _ => label.to_owned(),
        }
    }
}

/// Reads labelled lines. Lines whose label is absent or null are not for this task and are passed over;
/// lines that are no objects, have no text or an unknown label are refused by name.
pub(crate) fn read_lines(files: &[PathBuf], task: TextTask, refusals: &mut Refusals) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for file in files {
        read_file(file, task, refusals, &mut lines)?;
    }
    Ok(lines)
}

fn read_file(file: &Path, task: TextTask, refusals: &mut Refusals, lines: &mut Vec<Line>) -> Result<()> {
    let mut input = Input::open(file)?;
    let name = input.name().to_owned();
    while let Some((number, line)) = input.next_line()? {
        let Read::Text(bytes) = line else {
            refusals.line(&name, number, "line over 8 MiB");
            continue;
        };
        let row: Value = match serde_json::from_slice(bytes) {
            Ok(row @ Value::Object(_)) => row,
            Ok(_) => {
                refusals.line(&name, number, "not a JSON object");
                continue;
            }
            Err(error) => {
                refusals.line(&name, number, format_args!("not a JSON object: {error}"));
                continue;
            }
        };
        let Some(written) = written(&row, task) else { continue };
        let Some(text) = row.get("text").and_then(Value::as_str) else {
            refusals.line(&name, number, "field \"text\" is missing or no string");
            continue;
        };
        match task.class(&written) {
            Some(label) => lines.push(Line {
                text: text.to_owned(),
                label,
                language: corpus::field(&row, "lang").unwrap_or_default(),
                source: corpus::field(&row, "source").unwrap_or_default(),
            }),
            None => refusals.line(&name, number, format_args!("unknown {} label \"{written}\"", task.name())),
        }
    }
    Ok(())
}

/// The label of a line. A correction by a person (`redress.feedback.v1` with the text of its mention) is a training
/// line too: it says `severity` and `language` where labelled sets say `severity_n` and `lang`.
fn written(row: &Value, task: TextTask) -> Option<String> {
    let corrected = match task {
        TextTask::Severity => row.get("severity").filter(|value| value.is_number()).map(Value::to_string),
        TextTask::Language => corpus::field(row, "language"),
        _ => None,
    };
    corpus::list(row, task.field()).into_iter().next().or(corrected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corrections_from_people_are_training_lines() {
        let row = serde_json::json!({"mention_id": "a", "text": "t", "complaint": false, "severity": 2, "language": "it", "useful": true});
        assert_eq!(written(&row, TextTask::Complaint).as_deref(), Some("0"));
        assert_eq!(written(&row, TextTask::Severity).as_deref(), Some("2"));
        assert_eq!(written(&row, TextTask::Language).as_deref(), Some("it"));
        assert_eq!(written(&row, TextTask::Sentiment), None);
        let named = serde_json::json!({"severity": "blame", "severity_n": 4});
        assert_eq!(written(&named, TextTask::Severity).as_deref(), Some("4"));
    }

    #[test]
    fn written_labels_become_classes_and_unknown_ones_none() {
        assert_eq!(TextTask::Sentiment.class("neg").as_deref(), Some("negative"));
        assert_eq!(TextTask::Sentiment.class("positive").as_deref(), Some("positive"));
        assert_eq!(TextTask::Sentiment.class("mixed"), None);
        assert_eq!(TextTask::Complaint.class("true").as_deref(), Some("1"));
        assert_eq!(TextTask::Severity.class("5"), None);
        assert_eq!(TextTask::Topic.class("any thing").as_deref(), Some("any thing"));
        assert_eq!(TextTask::Topic.class(" "), None);
    }
}
