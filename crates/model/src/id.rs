use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::{Invalid, SourceKind};

/// Every deterministic id of Redress is a UUIDv5 below this namespace.
const NAMESPACE: Uuid = Uuid::from_u128(0x6c1d_9f52_7a0e_5b43_9c11_0d5e_ed5e_0001);

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps an id that was made elsewhere.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The id as a UUID.
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }

            /// The 16 bytes, as used for keys of records.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// Reads 16 bytes.
            ///
            /// # Errors
            /// When there are more or fewer than 16.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, Invalid> {
                Uuid::from_slice(bytes)
                    .map(Self)
                    .map_err(|_| Invalid::new($field, format!("needs 16 bytes, has {}", bytes.len())))
            }

            /// The same parts always give the same id. Parts are joined so that no two lists collide.
            pub fn derive(parts: &[&str]) -> Self {
                Self(derive($field, parts))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = Invalid;
            fn from_str(text: &str) -> Result<Self, Invalid> {
                Uuid::parse_str(text).map(Self).map_err(|e| Invalid::new($field, e.to_string()))
            }
        }
    };
}

uuid_id!(
    /// One public post, review, message or comment, for its whole life: edits and withdrawals keep it.
    MentionId, "mention id");
uuid_id!(
    /// One thing that happened to a mention (published, edited, withdrawn, counted). The same input
    /// always has the same id, so a repeat is recognised.
    EventId, "event id");
uuid_id!(
    /// One span from opened to resolved of one alert rule on one subject.
    EpisodeId, "episode id");
uuid_id!(
    /// One customer's one matter.
    CaseId, "case id");
uuid_id!(
    /// One thing that was promised to a customer.
    PromiseId, "promise id");

impl MentionId {
    /// The id of a post: its source's kind, the instance (host, page, app; empty where the network is
    /// one), and the id the source itself uses.
    pub fn of(kind: SourceKind, instance: &str, native_id: &str) -> Self {
        Self::derive(&[kind.name(), instance, native_id])
    }
}

fn derive(space: &str, parts: &[&str]) -> Uuid {
    let mut name = Vec::with_capacity(parts.iter().map(|p| p.len() + 9).sum::<usize>() + space.len());
    name.extend_from_slice(space.as_bytes());
    for part in parts {
        // The length before each part keeps ("ab","c") and ("a","bc") apart.
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part.as_bytes());
    }
    Uuid::new_v5(&NAMESPACE, &name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_post_has_same_id_and_parts_do_not_run_together() {
        let a = MentionId::of(SourceKind::Mastodon, "a.example", "1");
        assert_eq!(a, MentionId::of(SourceKind::Mastodon, "a.example", "1"));
        assert_ne!(a, MentionId::of(SourceKind::Mastodon, "a.example1", ""));
        assert_ne!(CaseId::derive(&["x"]).as_uuid(), EpisodeId::derive(&["x"]).as_uuid());
    }

    #[test]
    fn text_and_bytes_round_trip() {
        let a = CaseId::derive(&["x"]);
        assert_eq!(a.to_string().parse::<CaseId>().unwrap(), a);
        assert_eq!(CaseId::from_slice(a.as_bytes()).unwrap(), a);
        assert!(CaseId::from_slice(&[1, 2]).is_err());
    }
}
