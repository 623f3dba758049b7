//! Labelled lines as training reads them: JSON objects, plain or gzipped.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::lines::{Input, Line};

/// Reads every object of a file; the first bad line is an error with its number.
pub(crate) fn read(path: &Path) -> Result<Vec<Value>> {
    let mut rows = Vec::new();
    let mut input = Input::open(path)?;
    while let Some((number, line)) = input.next_line()? {
        match line {
            Line::Text(bytes) => {
                let row: Value = serde_json::from_slice(bytes)
                    .with_context(|| format!("{}:{number}: not a JSON object", path.display()))?;
                rows.push(row);
            }
            Line::TooLong => anyhow::bail!("{}:{number}: line over 8 MiB", path.display()),
        }
    }
    Ok(rows)
}

/// The file itself or its gzipped twin, whichever is there.
pub(crate) fn find(folder: &Path, name: &str) -> Result<PathBuf> {
    for candidate in [folder.join(format!("{name}.jsonl")), folder.join(format!("{name}.jsonl.gz"))] {
        if candidate.exists() {
            return Ok(candidate);
        }
    }
    anyhow::bail!("no {name}.jsonl or {name}.jsonl.gz in {}", folder.display())
}

/// A field as text: numbers and booleans by their digits, absent and null as nothing.
pub(crate) fn field(row: &Value, name: &str) -> Option<String> {
    match row.get(name)? {
        Value::String(s) => Some(s.clone()),
        Value::Number(n) => Some(n.to_string()),
        Value::Bool(b) => Some(u8::from(*b).to_string()),
        _ => None,
    }
}

/// A field as a list of texts; a single value is a list of one, an absent field an empty list.
pub(crate) fn list(row: &Value, name: &str) -> Vec<String> {
    match row.get(name) {
        Some(Value::Array(items)) => items.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect(),
        _ => field(row, name).into_iter().collect(),
    }
}
