use std::fmt;
use std::str::FromStr;

use compact_str::CompactString;

use crate::Invalid;

/// The longest slug, in bytes.
pub const SLUG_BYTES_MAX: usize = 64;

macro_rules! slug {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(CompactString);

        impl $name {
            /// Accepts 1 to [`SLUG_BYTES_MAX`] characters of `a-z`, `0-9`, `-`, `_`, `.`.
            ///
            /// # Errors
            /// On any other text; the error shows what is allowed.
            pub fn parse(text: &str) -> Result<Self, Invalid> {
                Self::check(text).map(|()| Self(text.into()))
            }

            /// Whether [`Self::parse`] would accept it.
            ///
            /// # Errors
            /// As [`Self::parse`].
            pub fn check(text: &str) -> Result<(), Invalid> {
                let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
                if text.is_empty() || text.len() > SLUG_BYTES_MAX || !text.bytes().all(fine) {
                    return Err(Invalid::new(
                        $field,
                        format!("needs 1 to {SLUG_BYTES_MAX} characters of a-z, 0-9, '-', '_', '.'"),
                    ));
                }
                Ok(())
            }

            /// Turns free text into a slug: lower case, anything else becomes one '-'. Text without a
            /// usable character gives `other`.
            pub fn slugify(text: &str) -> Self {
                let mut slug = CompactString::with_capacity(text.len().min(SLUG_BYTES_MAX));
                for c in text.chars().flat_map(char::to_lowercase) {
                    let c = if c.is_ascii_alphanumeric() || c == '_' || c == '.' { c } else { '-' };
                    if c == '-' && (slug.is_empty() || slug.ends_with('-')) {
                        continue;
                    }
                    if slug.len() == SLUG_BYTES_MAX {
                        break;
                    }
                    slug.push(c);
                }
                while slug.ends_with('-') {
                    slug.pop();
                }
                if slug.is_empty() { Self("other".into()) } else { Self(slug) }
            }

            /// The slug.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = Invalid;
            fn from_str(text: &str) -> Result<Self, Invalid> {
                Self::parse(text)
            }
        }
    };
}

slug!(
    /// A brand we listen for, as named in the configuration.
    BrandId, "brand");
slug!(
    /// The company whose data this is; set by the connector, never by a body.
    TenantId, "tenant");
slug!(
    /// What a complaint is about, for example `refund` or `delivery`.
    Topic, "topic");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_text_becomes_a_valid_slug() {
        for (text, slug) in [
            ("Virgin America", "virgin-america"),
            ("  US--Airways! ", "us-airways"),
            ("日本", "other"),
            ("", "other"),
        ] {
            let made = BrandId::slugify(text);
            assert_eq!(made.as_str(), slug);
            assert_eq!(BrandId::parse(made.as_str()).unwrap(), made);
        }
        assert!(BrandId::slugify(&"x".repeat(300)).as_str().len() <= SLUG_BYTES_MAX);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "A", "a b", "ü", &"x".repeat(65)] {
            assert!(Topic::parse(text).is_err(), "{text}");
        }
    }
}
