use crate::{Invalid, SourceKind, Timestamp};

/// Who wrote something, as far as the source tells. Everything may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Author {
    /// The source's own id of the account.
    pub native_id: Option<String>,
    /// The handle people type, without a leading `@`.
    pub handle: Option<String>,
    /// The name shown.
    pub display_name: Option<String>,
    /// Followers at `observed_at`; absent is not zero.
    pub followers: Option<u64>,
    /// The source vouches for the identity.
    pub is_verified: Option<bool>,
    /// The source says the account belongs to the place's staff.
    pub is_staff: Option<bool>,
    /// The source says a machine writes.
    pub is_bot: Option<bool>,
    /// A page about the account; http or https only.
    pub profile_url: Option<String>,
    /// When these facts were seen.
    pub observed_at: Option<Timestamp>,
}

/// Names one author across posts: source kind, instance and native id (or handle), in one text.
///
/// Erasure, distinct counting and cases all use this key; it says nothing readable about the person
/// beyond what the source made public.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorKey(String);

impl AuthorKey {
    /// The key of `author` on `kind` and `instance`; absent when the source names nobody.
    pub fn of(kind: SourceKind, instance: &str, author: &Author) -> Option<Self> {
        Self::of_names(kind.name(), instance, author.native_id.as_deref(), author.handle.as_deref())
    }

    /// As [`AuthorKey::of`], where the kind and the author are known by their names alone.
    pub fn of_names(
        kind: &str,
        instance: &str,
        native_id: Option<&str>,
        handle: Option<&str>,
    ) -> Option<Self> {
        native_id.or(handle).map(|who| Self(format!("{kind}:{instance}:{who}")))
    }

    /// Reads a key that was written before.
    ///
    /// # Errors
    /// When it is empty or longer than 1,024 bytes.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        Self::check(text).map(|()| Self(text.to_owned()))
    }

    /// Whether [`AuthorKey::parse`] would accept it.
    ///
    /// # Errors
    /// As [`AuthorKey::parse`].
    pub fn check(text: &str) -> Result<(), Invalid> {
        if text.is_empty() || text.len() > 1_024 {
            return Err(Invalid::new("author key", "needs 1 to 1024 bytes"));
        }
        Ok(())
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
