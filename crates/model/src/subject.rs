use std::fmt;
use std::str::FromStr;

use crate::{BrandId, Invalid, MentionId, Topic};

/// What is counted and watched: complaints about one topic of one brand, one thread, or whether a source is heard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// Everything said about one topic of one brand.
    Topic {
        /// Whose.
        brand: BrandId,
        /// About what.
        topic: Topic,
    },
    /// One post and all that answers, quotes or repeats it, as far as it concerns one brand.
    Thread {
        /// Whose.
        brand: BrandId,
        /// The post that started it.
        root: MentionId,
    },
    /// A source as far as one brand is heard through it.
    Source {
        /// Whose.
        brand: BrandId,
        /// The configured connector; never empty.
        connector: String,
    },
}

impl Subject {
    /// The brand concerned.
    pub const fn brand(&self) -> &BrandId {
        match self {
            Self::Topic { brand, .. } | Self::Thread { brand, .. } | Self::Source { brand, .. } => brand,
        }
    }

    /// The key of records about this subject; [`Subject::from_str`] reads it back.
    pub fn key(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic { brand, topic } => write!(f, "topic/{brand}/{topic}"),
            Self::Thread { brand, root } => write!(f, "thread/{brand}/{root}"),
            Self::Source { brand, connector } => write!(f, "source/{brand}/{connector}"),
        }
    }
}

impl FromStr for Subject {
    type Err = Invalid;
    fn from_str(key: &str) -> Result<Self, Invalid> {
        let mut parts = key.splitn(3, '/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some("topic"), Some(brand), Some(topic)) => {
                Ok(Self::Topic { brand: brand.parse()?, topic: topic.parse()? })
            }
            (Some("thread"), Some(brand), Some(root)) => {
                Ok(Self::Thread { brand: brand.parse()?, root: root.parse()? })
            }
            (Some("source"), Some(brand), Some(connector)) if !connector.is_empty() => {
                Ok(Self::Source { brand: brand.parse()?, connector: connector.to_owned() })
            }
            _ => Err(Invalid::new(
                "subject",
                "needs topic/BRAND/TOPIC, thread/BRAND/ID or source/BRAND/CONNECTOR",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_read_back() {
        let topic = Subject::Topic { brand: BrandId::slugify("acme"), topic: Topic::slugify("refund") };
        let thread = Subject::Thread { brand: BrandId::slugify("acme"), root: MentionId::derive(&["x"]) };
        let source = Subject::Source { brand: BrandId::slugify("acme"), connector: "hook/a".into() };
        for subject in [topic, thread, source] {
            assert_eq!(subject.key().parse::<Subject>().unwrap(), subject);
        }
        for broken in ["topic/acme", "source/acme/", "elsewhere/acme/x"] {
            assert!(broken.parse::<Subject>().is_err(), "{broken}");
        }
    }
}
