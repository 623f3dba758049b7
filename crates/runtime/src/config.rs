//! Settings: one TOML file, the environment over it, the command line over both.
//!
//! Every settings struct derives `Deserialize` with `#[serde(deny_unknown_fields)]`, so that a typing
//! error is refused with the nearest known name; it derives `Serialize` so that [`render`] can print
//! what is in force, with every [`crate::Secret`] hidden.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use crate::file;

/// Variables that begin with this are settings; two underscores go one level down:
/// `REDRESS__INGEST__LISTEN` is `ingest.listen`.
pub const ENVIRONMENT_PREFIX: &str = "REDRESS__";
/// Every section there is. One file may serve all processes of an installation: a process leaves out the
/// sections of others, while any other unknown name is refused.
pub const SECTIONS: [&str; 10] =
    ["process", "bus", "store", "tenant", "brands", "ingest", "classify", "alert", "response", "console"];
/// The largest settings file, in bytes.
pub const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why settings were refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read settings {}: {cause}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// The file is no TOML.
    #[error("{place}: not TOML: {cause}")]
    Syntax {
        /// File and line.
        place: String,
        /// What the parser said.
        cause: String,
    },
    /// A name nobody knows.
    #[error("{place}: unknown setting '{name}'{}", Hint(nearest.as_deref(), known))]
    Unknown {
        /// Where it was written.
        place: String,
        /// The name, with the names above it.
        name: String,
        /// What was probably meant.
        nearest: Option<String>,
        /// What is known there.
        known: Vec<String>,
    },
    /// A value that does not fit.
    #[error("{place}: setting '{name}': {problem}")]
    Value {
        /// Where it was written.
        place: String,
        /// The setting, with the names above it.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

struct Hint<'a>(Option<&'a str>, &'a [String]);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (Some(nearest), _) => write!(f, ", did you mean '{nearest}'?"),
            (None, []) => Ok(()),
            (None, known) => write!(f, "; known here: {}", known.join(", ")),
        }
    }
}

/// Reads `path` (none: no file), then the process's environment, then `overrides` (dotted name, text).
///
/// # Errors
/// See [`ConfigError`].
pub fn load<T: DeserializeOwned>(
    path: Option<&Path>,
    overrides: &[(String, String)],
) -> Result<T, ConfigError> {
    let file = match path {
        None => None,
        Some(path) => Some((path.display().to_string(), read(path)?)),
    };
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX))
        .collect::<Vec<_>>();
    parse(file.as_ref().map(|(name, text)| (name.as_str(), text.as_str())), &environment, overrides)
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |cause: String| ConfigError::Unreadable { path: path.to_owned(), cause };
    let bytes = file::read(path, FILE_BYTES_MAX).map_err(|e| unreadable(e.to_string()))?;
    String::from_utf8(bytes).map_err(|_| unreadable("stream did not contain valid UTF-8".to_owned()))
}

/// As [`load`], from values: `file` is its name and text, `environment` variables with their full name.
///
/// # Errors
/// See [`ConfigError`].
pub fn parse<T: DeserializeOwned>(
    file: Option<(&str, &str)>,
    environment: &[(String, String)],
    overrides: &[(String, String)],
) -> Result<T, ConfigError> {
    let mut table = match file {
        None => Table::new(),
        Some((name, text)) => text.parse::<Table>().map_err(|e| ConfigError::Syntax {
            place: e.span().map_or_else(|| name.to_owned(), |s| format!("{name}:{}", line_of(text, s.start))),
            cause: e.message().to_owned(),
        })?,
    };
    let mut texts = Vec::new();
    for (name, value) in environment {
        let Some(rest) = name.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
        let keys: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
        texts.push(Text { keys, origin: format!("environment variable {name}"), value });
    }
    for (name, value) in overrides {
        let keys: Vec<String> = name.split('.').map(str::to_owned).collect();
        texts.push(Text { keys, origin: format!("option {name}"), value });
    }
    for text in &texts {
        text.put(&mut table, Value::String(text.value.to_owned()))?;
    }
    // A text that a setting does not take as text is read as TOML (a number, a list) and tried again, and
    // sections of other processes are left out; each round settles one of them, so this ends.
    let mut as_text: Vec<&Text<'_>> = texts.iter().collect();
    loop {
        let problem = match serde_path_to_error::deserialize(Value::Table(table.clone())) {
            Ok(settings) => return Ok(settings),
            Err(problem) => problem,
        };
        let path = path_of(problem.path());
        if let Some(others) = section_of_others(&path, problem.inner().message()) {
            table.remove(others);
            continue;
        }
        let again = as_text.iter().rposition(|text| text.keys == path);
        let parsed = again.and_then(|at| Some((at, as_text[at].as_toml()?)));
        match parsed {
            Some((at, value)) => as_text.remove(at).put(&mut table, value)?,
            None => return Err(explain(&path, problem.inner().message(), file, &texts)),
        }
    }
}

/// The section that made trouble, when it is one that another process knows.
fn section_of_others(path: &[String], message: &str) -> Option<&'static str> {
    let (name, _) = unknown_field(message.trim())?;
    let at_top = path.is_empty() || path == [name.clone()];
    SECTIONS.into_iter().find(|section| at_top && *section == name)
}

/// A setting given as text, from outside the file.
struct Text<'a> {
    keys: Vec<String>,
    origin: String,
    value: &'a str,
}

impl Text<'_> {
    fn put(&self, table: &mut Table, value: Value) -> Result<(), ConfigError> {
        let mut here = table;
        let (last, above) = match self.keys.split_last() {
            Some(split) if self.keys.iter().all(|k| !k.is_empty()) => split,
            _ => return Err(self.refused("an empty name".to_owned())),
        };
        for key in above {
            here = match here.entry(key.clone()).or_insert_with(|| Value::Table(Table::new())) {
                Value::Table(next) => next,
                _ => return Err(self.refused(format!("'{key}' is a value, not a section"))),
            };
        }
        here.insert(last.clone(), value);
        Ok(())
    }

    fn as_toml(&self) -> Option<Value> {
        let mut table = format!("value = {}", self.value).parse::<Table>().ok()?;
        // More than one key means that the text carried lines of its own.
        if table.len() == 1 { table.remove("value") } else { None }
    }

    fn refused(&self, problem: String) -> ConfigError {
        ConfigError::Value { place: self.origin.clone(), name: self.keys.join("."), problem }
    }
}

fn path_of(path: &serde_path_to_error::Path) -> Vec<String> {
    use serde_path_to_error::Segment;
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Map { key } => Some(key.clone()),
            Segment::Enum { variant } => Some(variant.clone()),
            Segment::Unknown => None,
        })
        .collect()
}

fn explain(path: &[String], message: &str, file: Option<(&str, &str)>, texts: &[Text<'_>]) -> ConfigError {
    let message = message.trim();
    if let Some((name, known)) = unknown_field(message) {
        let mut full: Vec<String> = path.to_vec();
        if full.last() != Some(&name) {
            full.push(name.clone());
        }
        let nearest = known
            .iter()
            .map(|k| (strsim::damerau_levenshtein(k, &name), k))
            .filter(|(distance, k)| *distance <= 1 + k.len().max(name.len()) / 3)
            .min()
            .map(|(_, k)| k.clone());
        let place = place_of(&full, file, texts);
        return ConfigError::Unknown { place, name: full.join("."), nearest, known };
    }
    ConfigError::Value {
        place: place_of(path, file, texts),
        name: path.join("."),
        problem: message.to_owned(),
    }
}

/// Takes serde's own sentence apart: "unknown field `a`, expected one of `b`, `c`".
fn unknown_field(message: &str) -> Option<(String, Vec<String>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (name, rest) = rest.split_once('`')?;
    let known = rest.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Some((name.to_owned(), known))
}

fn place_of(path: &[String], file: Option<(&str, &str)>, texts: &[Text<'_>]) -> String {
    // The innermost text that set this name or one below or above it.
    let set_by = texts.iter().rev().find(|t| t.keys.starts_with(path) || path.starts_with(&t.keys));
    if let Some(text) = set_by {
        return text.origin.clone();
    }
    match file {
        None => "settings".to_owned(),
        Some((name, text)) => match line_in(text, path) {
            Some(line) => format!("{name}:{line}"),
            None => name.to_owned(),
        },
    }
}

/// The line where the deepest existing part of `path` is written, from 1.
fn line_in(text: &str, path: &[String]) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut at = None;
    let mut here: Option<&DeValue<'_>> = None;
    for (depth, key) in path.iter().enumerate() {
        let table = match here {
            None if depth == 0 => Some(root.get_ref()),
            Some(DeValue::Table(table)) => Some(table),
            _ => None,
        };
        if let Some((name, value)) = table.and_then(|t| t.iter().find(|(k, _)| k.get_ref() == key.as_str())) {
            at = Some(name.span().start);
            here = Some(value.get_ref());
        } else if let Some(DeValue::Array(items)) = here {
            let item = items.get(key.parse::<usize>().ok()?)?;
            at = Some(item.span().start);
            here = Some(item.get_ref());
        } else {
            break;
        }
    }
    at.map(|byte| line_of(text, byte))
}

fn line_of(text: &str, byte: usize) -> usize {
    1 + text.as_bytes()[..byte.min(text.len())].iter().filter(|b| **b == b'\n').count()
}

/// The settings in force as TOML, secrets hidden: print it at the start.
pub fn render<T: Serialize>(settings: &T) -> String {
    toml::to_string_pretty(settings).unwrap_or_else(|error| format!("# settings cannot be shown: {error}\n"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::Secret;
    use crate::brands::Brand;

    #[derive(Debug, Default, Serialize, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Settings {
        listen: String,
        workers: usize,
        ratio: Option<f64>,
        verbose: bool,
        alert: Alert,
        brands: Vec<Brand>,
        labels: BTreeMap<String, String>,
    }

    #[derive(Debug, Default, Serialize, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Alert {
        webhook_url: String,
        token: Secret<String>,
        repeat_after_s: u32,
    }

    fn read(
        file: &str,
        environment: &[(&str, &str)],
        overrides: &[(&str, &str)],
    ) -> Result<Settings, String> {
        let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
        };
        parse(Some(("redress.toml", file)), &own(environment), &own(overrides)).map_err(|e| e.to_string())
    }

    #[test]
    fn environment_goes_over_the_file_and_options_over_both() {
        let file = "listen = 'a'\nworkers = 1\n[alert]\nrepeat_after_s = 5\n";
        let env = [("REDRESS__LISTEN", "b"), ("REDRESS__WORKERS", "2"), ("REDRESS__ALERT__TOKEN", "12345")];
        let settings = read(file, &env, &[("workers", "3"), ("verbose", "true"), ("ratio", "0.5")]).unwrap();
        assert_eq!((settings.listen.as_str(), settings.workers, settings.verbose), ("b", 3, true));
        assert_eq!(settings.ratio, Some(0.5));
        assert_eq!(settings.alert.token.expose(), "12345", "a text setting takes digits as text");
        assert_eq!(settings.alert.repeat_after_s, 5);
    }

    #[test]
    fn lists_and_maps_come_from_one_variable() {
        let env =
            [("REDRESS__BRANDS", "[{id = 'acme', words = ['acme']}]"), ("REDRESS__LABELS__TEAM", "care")];
        let settings = read("", &env, &[]).unwrap();
        assert_eq!(settings.brands[0].id, "acme");
        assert_eq!(settings.labels["team"], "care");
    }

    #[test]
    fn unknown_names_are_refused_with_place_and_nearest_name() {
        for (file, env, expected) in [
            (
                "listen = 'a'\n\n[alert]\nwebhok_url = 'x'\n",
                None,
                "redress.toml:4: unknown setting 'alert.webhok_url', did you mean 'webhook_url'?",
            ),
            (
                "",
                Some(("REDRESS__ALERT__REPEAT_AFTER", "3")),
                "environment variable REDRESS__ALERT__REPEAT_AFTER: unknown setting 'alert.repeat_after', did you mean 'repeat_after_s'?",
            ),
            (
                "[[brands]]\nid = 'a'\n[[brands]]\nidd = 'b'\nwords=['b']\n",
                None,
                "redress.toml:4: unknown setting 'brands.1.idd', did you mean 'id'?",
            ),
        ] {
            let env: Vec<_> = env.into_iter().collect();
            assert_eq!(read(file, &env, &[]).unwrap_err(), expected);
        }
        let far = read("zzzzzzzz = 1\n", &[], &[]).unwrap_err();
        assert!(far.starts_with("redress.toml:1: unknown setting 'zzzzzzzz'; known here: listen, "), "{far}");
    }

    #[test]
    fn sections_of_other_processes_are_left_out() {
        let file = "tenant = 'main'\n[classify]\nanything = 1\n[alert]\nrepeat_after_s = 5\n";
        let env = [("REDRESS__STORE__URL", "postgres://db")];
        assert_eq!(read(file, &env, &[]).unwrap().alert.repeat_after_s, 5);
        assert!(read("[alert]\nclassify = 1\n", &[], &[]).is_err(), "only at the top");
    }

    #[test]
    fn wrong_values_name_the_setting_and_the_place() {
        let error = read("\nworkers = 'many'\n", &[], &[]).unwrap_err();
        assert!(error.starts_with("redress.toml:2: setting 'workers': invalid type"), "{error}");
        let error = read("", &[("REDRESS__WORKERS", "many")], &[]).unwrap_err();
        assert!(error.starts_with("environment variable REDRESS__WORKERS: setting 'workers'"), "{error}");
        let error = read("workers = \n", &[], &[]).unwrap_err();
        assert!(error.starts_with("redress.toml:1: not TOML"), "{error}");
        let error = read("listen = 'a'", &[("REDRESS__LISTEN__PORT", "1")], &[]).unwrap_err();
        assert!(error.contains("'listen' is a value, not a section"), "{error}");
    }

    #[test]
    fn what_is_printed_hides_secrets_and_can_be_read_again() {
        let settings = read("[alert]\ntoken = 'hush'\n", &[], &[]).unwrap();
        let shown = render(&settings);
        assert!(shown.contains("token = \"***\"") && !shown.contains("hush"), "{shown}");
        assert!(!format!("{settings:?}").contains("hush"));
        assert!(read(&shown, &[], &[]).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(file in "\\PC*", name in "[A-Z_]{0,20}", value in "\\PC*") {
            let env = [(format!("{ENVIRONMENT_PREFIX}{name}"), value)];
            let _ = parse::<Settings>(Some(("f", &file)), &env, &[]);
        }
    }
}
