use std::fmt;
use std::str::FromStr;

use crate::Invalid;

macro_rules! kinds {
    ($($variant:ident = $name:literal, $family:ident, $doc:literal;)*) => {
        /// The wire formats Redress hears; the name is what people type after `--as`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum SourceKind { $(#[doc = $doc] $variant,)* }

        impl SourceKind {
            /// Every kind, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name people type and records carry.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The register of language to expect; understanding keeps a bias per family.
            pub const fn family(self) -> SourceFamily {
                match self { $(Self::$variant => SourceFamily::$family,)* }
            }
        }
    };
}

kinds! {
    BlueskyJetstream = "bluesky-jetstream", Social, "Bluesky's Jetstream events (v1 JSON)";
    Mastodon = "mastodon", Social, "Mastodon statuses and streams";
    XV2 = "x-v2", Social, "X API v2 objects, pages and streams";
    XV1 = "x-v1", Social, "X API v1.1 tweets";
    Reddit = "reddit", Social, "Reddit things and listings";
    YoutubeComments = "youtube-comments", Social, "YouTube comment threads";
    FacebookWebhook = "facebook-webhook", Social, "Facebook page webhooks and Graph pages";
    InstagramWebhook = "instagram-webhook", Social, "Instagram webhooks and Graph pages";
    AppstoreRss = "appstore-rss", Review, "App Store customer-review feeds";
    GooglePlay = "google-play", Review, "Google Play reviews";
    Trustpilot = "trustpilot", Review, "Trustpilot review events";
    Discourse = "discourse", Social, "Discourse webhooks";
    Zendesk = "zendesk", Support, "Zendesk events";
    Chatwoot = "chatwoot", Support, "Chatwoot webhooks";
    Intercom = "intercom", Support, "Intercom notifications";
    Github = "github", Support, "GitHub issue webhooks";
    Slack = "slack", Support, "Slack events";
    Hackernews = "hackernews", Social, "Hacker News items";
    Feed = "feed", Social, "RSS, Atom and JSON feeds";
    Email = "email", Mail, "Internet mail messages";
    Cloudevents = "cloudevents", Unknown, "CloudEvents 1.0";
    StandardWebhook = "standard-webhook", Unknown, "Standard Webhooks bodies";
    Ndjson = "ndjson", Unknown, "Redress's own JSON lines";
    Csv = "csv", Unknown, "Comma-separated values with a column map";
    Panel = "panel", Review, "Notes of a customer panel";
    Form = "form", Support, "A contact form";
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SourceKind {
    type Err = Invalid;
    fn from_str(name: &str) -> Result<Self, Invalid> {
        Self::ALL.iter().copied().find(|k| k.name() == name).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|k| k.name()).collect();
            Invalid::new("source kind", format!("unknown kind '{name}'; known are {}", known.join(", ")))
        })
    }
}

/// The register of language a source carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum SourceFamily {
    /// Short public posts and comments.
    Social,
    /// Reviews with a rating.
    Review,
    /// Letters.
    Mail,
    /// Conversations with a care desk.
    Support,
    /// Anything may come.
    #[default]
    Unknown,
}

/// How a mention reached us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// A connection we keep open.
    Stream,
    /// Pushed to us.
    Webhook,
    /// Fetched by us.
    Poll,
    /// History, read from files or pages.
    Backfill,
}

/// Where exactly a mention came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The wire format.
    pub kind: SourceKind,
    /// Host, page id, app id or mailbox; empty where the network is one.
    pub instance: String,
    /// The configured connector that heard it; empty for ad-hoc files.
    pub connector: String,
    /// How it reached us.
    pub transport: Transport,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        for kind in SourceKind::ALL {
            assert_eq!(kind.name().parse::<SourceKind>().unwrap(), *kind);
        }
        let error = "blusky".parse::<SourceKind>().unwrap_err().to_string();
        assert!(error.contains("bluesky-jetstream"), "{error}");
    }
}
