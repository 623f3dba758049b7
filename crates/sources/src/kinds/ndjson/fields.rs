//! The fields of a line, in whichever form they are written.

use std::borrow::Cow;
use std::fmt;

use model::{Author, Rating, Timestamp};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::bare_handle;
use crate::when;

/// One line in either form; every field may be missing.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Line<'a> {
    pub(super) mention_id: Option<String>,
    pub(super) event_id: Option<String>,
    #[serde(borrow)]
    pub(super) op: Option<Cow<'a, str>>,
    #[serde(alias = "id")]
    pub(super) native_id: Option<IdText>,
    #[serde(alias = "revision")]
    pub(super) native_rev: Option<String>,
    #[serde(borrow)]
    pub(super) text: Option<Cow<'a, str>>,
    pub(super) author: Option<AuthorIn>,
    pub(super) author_id: Option<IdText>,
    pub(super) author_key: Option<String>,
    pub(super) followers: Option<u64>,
    pub(super) created_at: Option<When>,
    pub(super) created_at_quality: Option<String>,
    pub(super) observed_at: Option<When>,
    pub(super) edited_at: Option<When>,
    pub(super) brand: Option<String>,
    pub(super) brands: Option<Vec<String>>,
    pub(super) by_brand: Option<String>,
    pub(super) title: Option<String>,
    pub(super) rating: Option<RatingIn>,
    pub(super) lang: Option<String>,
    pub(super) lang_claimed: Option<Vec<String>>,
    pub(super) reply_to: Option<IdText>,
    pub(super) repost_of: Option<IdText>,
    pub(super) quote_of: Option<IdText>,
    pub(super) root: Option<IdText>,
    pub(super) conversation: Option<String>,
    pub(super) place: Option<String>,
    pub(super) refs: Option<RefsIn>,
    pub(super) likes: Option<i64>,
    pub(super) reposts: Option<i64>,
    pub(super) replies: Option<i64>,
    pub(super) views: Option<i64>,
    pub(super) engagement: Option<EngagementIn>,
    #[serde(alias = "url")]
    pub(super) permalink: Option<String>,
    pub(super) entities: Option<EntitiesIn>,
    pub(super) visibility: Option<String>,
    pub(super) flags: Option<Vec<String>>,
    pub(super) source: Option<SourceIn>,
}

#[derive(Deserialize)]
pub(super) struct SourceIn {
    pub(super) kind: String,
    #[serde(default)]
    pub(super) instance: String,
    pub(super) connector: Option<String>,
    pub(super) transport: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct RefsIn {
    pub(super) root: Option<String>,
    pub(super) reply_to: Option<String>,
    pub(super) quote_of: Option<String>,
    pub(super) repost_of: Option<String>,
    pub(super) conversation: Option<String>,
    pub(super) place: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct EngagementIn {
    pub(super) likes: Option<i64>,
    pub(super) reposts: Option<i64>,
    pub(super) replies: Option<i64>,
    pub(super) quotes: Option<i64>,
    pub(super) views: Option<i64>,
    pub(super) score: Option<i64>,
    pub(super) as_of: Option<When>,
    pub(super) kind: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct EntitiesIn {
    pub(super) mentions: Vec<MentionedIn>,
    pub(super) hashtags: Vec<String>,
    pub(super) urls: Vec<UrlIn>,
    pub(super) media: Vec<MediaIn>,
}

#[derive(Deserialize)]
pub(super) struct MentionedIn {
    pub(super) handle: String,
    pub(super) id: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct UrlIn {
    pub(super) url: String,
    pub(super) expanded: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct MediaIn {
    pub(super) kind: String,
    pub(super) url: Option<String>,
    pub(super) alt: Option<String>,
}

/// An id as text or whole number; a float is refused, because it may be another post's id.
pub(super) struct IdText(pub(super) String);

impl<'de> Deserialize<'de> for IdText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = IdText;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id as text or whole number")
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<IdText, E> {
                Ok(IdText(v.to_owned()))
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<IdText, E> {
                Ok(IdText(v.to_string()))
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<IdText, E> {
                Ok(IdText(v.to_string()))
            }
        }
        deserializer.deserialize_any(V)
    }
}

/// A time as text in any form of [`when::parse`], or a number; none when it is no time.
#[derive(Clone, Copy)]
pub(super) struct When(pub(super) Option<Timestamp>);

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = When;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time")
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<When, E> {
                Ok(When(when::parse(v)))
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<When, E> {
                Ok(When(when::from_number(v as f64)))
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<When, E> {
                Ok(When(when::from_number(v as f64)))
            }
            fn visit_f64<E: de::Error>(self, v: f64) -> Result<When, E> {
                Ok(When(when::from_number(v)))
            }
        }
        deserializer.deserialize_any(V)
    }
}

/// A handle, or the whole author.
pub(super) struct AuthorIn(pub(super) Author);

impl<'de> Deserialize<'de> for AuthorIn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Whole {
            #[serde(alias = "id")]
            native_id: Option<IdText>,
            #[serde(alias = "username")]
            handle: Option<String>,
            #[serde(alias = "name")]
            display_name: Option<String>,
            followers: Option<u64>,
            is_verified: Option<bool>,
            is_staff: Option<bool>,
            is_bot: Option<bool>,
            profile_url: Option<String>,
            observed_at: Option<When>,
        }
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = AuthorIn;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a handle or an author object")
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<AuthorIn, E> {
                Ok(AuthorIn(Author { handle: bare_handle(v), ..Author::default() }))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AuthorIn, A::Error> {
                let a = Whole::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(AuthorIn(Author {
                    native_id: a.native_id.map(|id| id.0).filter(|id| !id.is_empty()),
                    handle: a.handle.as_deref().and_then(bare_handle),
                    display_name: a.display_name,
                    followers: a.followers,
                    is_verified: a.is_verified,
                    is_staff: a.is_staff,
                    is_bot: a.is_bot,
                    profile_url: a.profile_url,
                    observed_at: a.observed_at.and_then(|w| w.0),
                }))
            }
        }
        deserializer.deserialize_any(V)
    }
}

/// Stars of five, or the whole rating.
pub(super) struct RatingIn(pub(super) Option<Rating>);

impl<'de> Deserialize<'de> for RatingIn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Whole {
            value: f32,
            max: f32,
        }
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = RatingIn;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("stars of five or a rating object")
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<RatingIn, E> {
                self.visit_f64(v as f64)
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<RatingIn, E> {
                self.visit_f64(v as f64)
            }
            fn visit_f64<E: de::Error>(self, v: f64) -> Result<RatingIn, E> {
                Ok(RatingIn(Rating::new(v as f32, 5.0).ok()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RatingIn, A::Error> {
                let r = Whole::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(RatingIn(Rating::new(r.value, r.max).ok()))
            }
        }
        deserializer.deserialize_any(V)
    }
}
