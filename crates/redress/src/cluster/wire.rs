//! What the gRPC commands share: connecting, ids as people type them, and messages as people read them.

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use model::Timestamp;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, ReflectMessage as _, Value as Field};
use runtime::net::Link;
use runtime::{Net, NetConfig, Secret};
use serde_json::{Map, Value};
use uuid::Uuid;

/// How to reach a service.
#[derive(Debug, Clone, Args)]
pub struct Peer {
    /// Token to show, where the service asks for one
    #[arg(long, env = "REDRESS_TOKEN", hide_env_values = true, global = true)]
    token: Option<String>,
    /// How results are written
    #[arg(long, value_enum, default_value_t = Format::Table, global = true)]
    pub format: Format,
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One document.
    Json,
    /// One object a line.
    Jsonl,
}

impl Peer {
    /// A connection to `uri`; nothing is sent yet.
    ///
    /// # Errors
    /// When `uri` is no address.
    pub fn link(&self, uri: &str) -> anyhow::Result<Link> {
        let config = NetConfig { token: self.token.clone().map(Secret::new), ..NetConfig::default() };
        Net::new(config)?.channel(uri).with_context(|| format!("'{uri}' is no address such as http://localhost:7703"))
    }
}

/// Says what a service answered, in one line.
pub fn refused(status: tonic::Status) -> anyhow::Error {
    anyhow::anyhow!("{}: {}", status.code(), status.message())
}

/// Reads an id as people copy it: a UUID.
///
/// # Errors
/// When it is none.
pub fn id(text: &str) -> anyhow::Result<Vec<u8>> {
    match Uuid::parse_str(text) {
        Ok(uuid) => Ok(uuid.as_bytes().to_vec()),
        Err(_) => bail!("'{text}' is no id; ids look like 0b7c6a7e-55c1-5a0e-8f5e-3d2f6f1d2a10"),
    }
}

/// An id as people copy it; empty for none.
pub fn id_text(bytes: &[u8]) -> String {
    Uuid::from_slice(bytes).map(|u| u.to_string()).unwrap_or_default()
}

/// A time for a table, to the second.
pub fn time(us: i64) -> String {
    let at = Timestamp::from_micros(us / 1_000_000 * 1_000_000);
    at.to_string().replace('T', " ").replace('Z', "")
}

/// Turns a message into what people and scripts read: ids as UUIDs, `_us` fields as RFC 3339 under the name
/// without `_us`, enums as their short name in lower case.
pub struct Readable(DescriptorPool);

impl Readable {
    /// Knows every message of the contracts.
    ///
    /// # Errors
    /// When the descriptors built into this binary cannot be read.
    pub fn new() -> anyhow::Result<Self> {
        DescriptorPool::decode(contracts::DESCRIPTOR_SET).map(Self).context("cannot read the built-in contracts")
    }

    /// `message`, whose full name is `name`.
    ///
    /// # Errors
    /// When no such message exists.
    pub fn json(&self, name: &str, message: &impl Message) -> anyhow::Result<Value> {
        let descriptor = self.0.get_message_by_name(name).with_context(|| format!("no message '{name}'"))?;
        let bytes = message.encode_to_vec();
        let dynamic = DynamicMessage::decode(descriptor, bytes.as_slice()).with_context(|| format!("cannot read back a {name}"))?;
        Ok(object(&dynamic))
    }
}

fn object(message: &DynamicMessage) -> Value {
    let mut map = Map::new();
    for field in message.descriptor().fields() {
        if field.supports_presence() && !message.has_field(&field) {
            continue;
        }
        let value = message.get_field(&field);
        let name = field.name();
        match name.strip_suffix("_us") {
            Some(short) => map.insert(short.to_owned(), instant(&value)),
            None => map.insert(name.to_owned(), plain(&value, &field)),
        };
    }
    Value::Object(map)
}

fn instant(value: &Field) -> Value {
    match value.as_i64() {
        Some(0) | None => Value::Null,
        Some(us) => Value::String(Timestamp::from_micros(us).to_string()),
    }
}

fn plain(value: &Field, field: &FieldDescriptor) -> Value {
    match value {
        Field::Bool(b) => Value::from(*b),
        Field::I32(n) => Value::from(*n),
        Field::I64(n) => Value::from(*n),
        Field::U32(n) => Value::from(*n),
        Field::U64(n) => Value::from(*n),
        // Through text, so that 0.1 stays 0.1 and does not become 0.10000000149.
        Field::F32(n) => n.to_string().parse::<f64>().map_or(Value::Null, Value::from),
        Field::F64(n) => Value::from(*n),
        Field::String(s) => Value::from(s.as_str()),
        Field::Bytes(bytes) if bytes.is_empty() => Value::Null,
        Field::Bytes(bytes) => match Uuid::from_slice(bytes) {
            Ok(uuid) => Value::from(uuid.to_string()),
            Err(_) => Value::from(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()),
        },
        Field::EnumNumber(number) => enum_name(*number, field),
        Field::Message(message) => object(message),
        Field::List(items) => items.iter().map(|item| plain(item, field)).collect(),
        Field::Map(entries) => {
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by(|a, b| format!("{:?}", a.0).cmp(&format!("{:?}", b.0)));
            let text = |key: &prost_reflect::MapKey| match key {
                prost_reflect::MapKey::String(s) => s.clone(),
                other => format!("{other:?}"),
            };
            Value::Object(sorted.into_iter().map(|(k, v)| (text(k), plain(v, field))).collect())
        }
    }
}

fn enum_name(number: i32, field: &FieldDescriptor) -> Value {
    let Kind::Enum(kind) = field.kind() else { return Value::from(number) };
    let Some(value) = kind.get_value(number) else { return Value::from(number) };
    // EPISODE_STATE_FIRING of EpisodeState reads as "firing".
    let mut prefix = String::new();
    for (i, c) in kind.name().chars().enumerate() {
        if c.is_uppercase() && i > 0 {
            prefix.push('_');
        }
        prefix.extend(c.to_uppercase());
    }
    prefix.push('_');
    Value::from(value.name().strip_prefix(&prefix).unwrap_or(value.name()).to_lowercase())
}

/// Writes rows under headings, columns aligned; for terminals.
pub fn table(headings: &[&str], rows: &[Vec<String>]) {
    let width = |s: &str| s.chars().count();
    let mut widths: Vec<usize> = headings.iter().map(|h| width(h)).collect();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            widths[column] = widths[column].max(width(cell));
        }
    }
    let line = |cells: Vec<&str>| {
        let mut text = String::new();
        for (column, cell) in cells.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < cells.len() {
                text.push_str(&" ".repeat(widths[column] - width(cell) + 2));
            }
        }
        println!("{text}");
    };
    line(headings.to_vec());
    for row in rows {
        line(row.iter().map(String::as_str).collect());
    }
}

/// Writes `items` as asked; `row` is used for tables.
///
/// # Errors
/// When an item cannot be written.
pub fn write<M: Message>(
    format: Format,
    name: &str,
    items: &[M],
    headings: &[&str],
    row: impl Fn(&M) -> Vec<String>,
) -> anyhow::Result<()> {
    let readable = Readable::new()?;
    match format {
        Format::Table if items.is_empty() => eprintln!("none"),
        Format::Table => table(headings, &items.iter().map(row).collect::<Vec<_>>()),
        Format::Json => {
            let all = items.iter().map(|m| readable.json(name, m)).collect::<anyhow::Result<Vec<_>>>()?;
            println!("{}", serde_json::to_string_pretty(&all)?);
        }
        Format::Jsonl => {
            for item in items {
                println!("{}", readable.json(name, item)?);
            }
        }
    }
    Ok(())
}

/// Cuts at `chars` characters, with an ellipsis where something was cut.
pub fn cut(text: &str, chars: usize) -> String {
    let text = text.replace(['\n', '\t'], " ");
    if text.chars().count() <= chars {
        return text;
    }
    let mut short: String = text.chars().take(chars.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_as_people_expect() {
        use contracts::alert::v1::{Episode, EpisodeState, Reason};
        let episode = Episode {
            episode_id: vec![7; 16].into(),
            state: EpisodeState::Firing.into(),
            opened_at_us: 1_000_000,
            severity: 3,
            reason: Some(Reason { numbers: [("posts".to_owned(), 4.0)].into(), ..Reason::default() }),
            ..Episode::default()
        };
        let json = Readable::new().unwrap().json("redress.alert.v1.Episode", &episode).unwrap();
        assert_eq!(json["episode_id"], "07070707-0707-0707-0707-070707070707");
        assert_eq!(json["state"], "firing");
        assert_eq!(json["opened_at"], "1970-01-01T00:00:01Z");
        assert_eq!(json["reason"]["numbers"]["posts"], 4.0);
        assert!(json.get("resolved_at").is_none(), "absent is not shown as a time");
    }

    #[test]
    fn ids_are_checked_with_an_example() {
        assert!(id("x").unwrap_err().to_string().contains("ids look like"));
        assert_eq!(id_text(&id("07070707-0707-0707-0707-070707070707").unwrap()), "07070707-0707-0707-0707-070707070707");
    }
}
