use std::collections::BTreeMap;

/// What a column of a table can mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CsvField {
    /// The post's id; always read as text.
    Id,
    /// The words.
    Text,
    /// The author's handle.
    Author,
    /// The author's id at the source.
    AuthorId,
    /// The author's shown name.
    AuthorName,
    /// The author's followers.
    Followers,
    /// When it was written.
    CreatedAt,
    /// When a platform witnessed it.
    ObservedAt,
    /// When it was edited.
    EditedAt,
    /// The brand it is about.
    Brand,
    /// Title of a review, subject of a mail.
    Title,
    /// Stars.
    Rating,
    /// The language claimed.
    Language,
    /// The id of the post that it answers.
    ReplyTo,
    /// The id of the post that it repeats.
    RepostOf,
    /// The conversation's id.
    Conversation,
    /// The place it stands under.
    Place,
    /// Likes so far.
    Likes,
    /// Reposts so far.
    Reposts,
    /// Answers so far.
    Replies,
    /// Views so far.
    Views,
    /// The page where people read it.
    Url,
    /// What happened: `created` when the column is absent or empty.
    Op,
}

impl CsvField {
    const NAMES: [(Self, &'static str); 23] = [
        (Self::Id, "id"),
        (Self::Text, "text"),
        (Self::Author, "author"),
        (Self::AuthorId, "author_id"),
        (Self::AuthorName, "author_name"),
        (Self::Followers, "followers"),
        (Self::CreatedAt, "created_at"),
        (Self::ObservedAt, "observed_at"),
        (Self::EditedAt, "edited_at"),
        (Self::Brand, "brand"),
        (Self::Title, "title"),
        (Self::Rating, "rating"),
        (Self::Language, "lang"),
        (Self::ReplyTo, "reply_to"),
        (Self::RepostOf, "repost_of"),
        (Self::Conversation, "conversation"),
        (Self::Place, "place"),
        (Self::Likes, "likes"),
        (Self::Reposts, "reposts"),
        (Self::Replies, "replies"),
        (Self::Views, "views"),
        (Self::Url, "url"),
        (Self::Op, "op"),
    ];

    /// The name people type after `column=`.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(f, _)| *f == self).map_or("", |(_, name)| name)
    }

    fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, n)| *n == name).map(|(f, _)| *f)
    }

    /// What a header most likely means when nobody says.
    pub(crate) fn guess(header: &str) -> Option<Self> {
        let header = header.trim().to_lowercase().replace([' ', '-'], "_");
        Self::parse(&header).or(match header.as_str() {
            "tweet_id" | "post_id" | "comment_id" | "review_id" | "message_id" | "mention_id" => {
                Some(Self::Id)
            }
            "body" | "message" | "content" | "comment" | "review" | "tweet" => Some(Self::Text),
            "username" | "user" | "handle" | "screen_name" => Some(Self::Author),
            "user_id" => Some(Self::AuthorId),
            "name" | "display_name" => Some(Self::AuthorName),
            "date" | "time" | "timestamp" | "created" | "created_utc" | "published_at" => {
                Some(Self::CreatedAt)
            }
            "company" => Some(Self::Brand),
            "subject" | "headline" => Some(Self::Title),
            "stars" | "score" => Some(Self::Rating),
            "language" => Some(Self::Language),
            "in_reply_to" | "parent_id" | "in_response_to_tweet_id" => Some(Self::ReplyTo),
            "like_count" | "favorites" => Some(Self::Likes),
            "retweet_count" | "retweets" => Some(Self::Reposts),
            "reply_count" => Some(Self::Replies),
            "link" | "permalink" => Some(Self::Url),
            _ => None,
        })
    }
}

/// Which column means what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CsvMap {
    columns: BTreeMap<CsvField, String>,
}

/// Why a column map cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsvMapError {
    /// Not of the form `column=field`.
    #[error("'{0}' is not of the form column=field")]
    Form(String),
    /// No such field.
    #[error("unknown field '{field}'; known are {known}")]
    UnknownField {
        /// As typed.
        field: String,
        /// All names.
        known: String,
    },
    /// Two columns for one field.
    #[error("field '{0}' is named twice")]
    Twice(&'static str),
}

impl CsvMap {
    /// Reads `column=field,column=field`; the field names are those of [`CsvField::name`].
    ///
    /// # Errors
    /// On an unknown field, a field named twice, or text of another form.
    pub fn parse(text: &str) -> Result<Self, CsvMapError> {
        let mut columns = BTreeMap::new();
        for pair in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (column, name) = pair.rsplit_once('=').ok_or_else(|| CsvMapError::Form(pair.to_owned()))?;
            let (column, name) = (column.trim(), name.trim());
            let field = CsvField::parse(name).ok_or_else(|| CsvMapError::UnknownField {
                field: name.to_owned(),
                known: CsvField::NAMES.map(|(_, n)| n).join(", "),
            })?;
            if columns.insert(field, column.to_owned()).is_some() {
                return Err(CsvMapError::Twice(field.name()));
            }
        }
        Ok(Self { columns })
    }

    /// The column that carries `field`, if the map names one.
    pub fn column(&self, field: CsvField) -> Option<&str> {
        self.columns.get(&field).map(String::as_str)
    }

    /// Every field the map names, with its column.
    pub fn iter(&self) -> impl Iterator<Item = (CsvField, &str)> {
        self.columns.iter().map(|(f, c)| (*f, c.as_str()))
    }

    /// True when it names no column.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn map_is_read_and_wrong_ones_are_explained() {
        let map = CsvMap::parse("tweet_id=id, text=text,airline=brand").unwrap();
        assert_eq!(map.column(CsvField::Brand), Some("airline"));
        assert!(CsvMap::parse("a=nonsense").unwrap_err().to_string().contains("created_at"));
        assert_eq!(CsvMap::parse("a=id,b=id"), Err(CsvMapError::Twice("id")));
        assert!(matches!(CsvMap::parse("abc"), Err(CsvMapError::Form(_))));
    }
}
