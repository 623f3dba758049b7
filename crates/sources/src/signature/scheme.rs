/// What is signed, and how the signature travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheme {
    /// The name people type in a configuration.
    pub name: &'static str,
    /// The header with the signature.
    pub header: &'static str,
    /// What stands before the digest.
    pub prefix: &'static str,
    /// How the digest is written.
    pub encoding: Encoding,
    /// What the digest covers.
    pub signed: SignedText,
    /// The hash function.
    pub digest: Digest,
    /// How the secret becomes a key.
    pub key: Key,
    /// The header with the signed time, if one is signed.
    pub time_header: Option<&'static str>,
    /// How that time is written.
    pub time_form: TimeForm,
    /// How far the signed time may lie from now, in milliseconds.
    pub tolerance_ms: i64,
    /// The header with a signed delivery id.
    pub signed_id_header: Option<&'static str>,
    /// A header with a delivery id that is not signed but stable over retries.
    pub delivery_header: Option<&'static str>,
    /// The header may list several signatures, divided by spaces.
    pub several: bool,
}

/// How a digest is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Hexadecimal.
    Hex,
    /// Base64 with padding.
    Base64,
}

/// What the digest covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedText {
    /// `{body}`
    Body,
    /// `{time}{body}`
    TimeBody,
    /// `{time}.{body}`
    TimeDotBody,
    /// `v0:{time}:{body}`
    SlackV0,
    /// `{id}.{time}.{body}`
    IdDotTimeDotBody,
}

/// The hash function below the HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// SHA-256.
    Sha256,
    /// SHA-1; broken for documents, still sound in an HMAC.
    Sha1,
}

/// How the secret becomes a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Its bytes as they are.
    Text,
    /// Base64 after this prefix.
    Base64After(&'static str),
}

/// How a signed time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeForm {
    /// Whole seconds since 1970.
    UnixSeconds,
    /// RFC 3339.
    Iso,
}

const MINUTE_MS: i64 = 60_000;

const BODY_SHA256_HEX: Scheme = Scheme {
    name: "",
    header: "x-hub-signature-256",
    prefix: "sha256=",
    encoding: Encoding::Hex,
    signed: SignedText::Body,
    digest: Digest::Sha256,
    key: Key::Text,
    time_header: None,
    time_form: TimeForm::UnixSeconds,
    tolerance_ms: 5 * MINUTE_MS,
    signed_id_header: None,
    delivery_header: None,
    several: false,
};

impl Scheme {
    /// Slack's `v0`.
    pub const SLACK: Self = Self {
        name: "slack",
        header: "x-slack-signature",
        prefix: "v0=",
        signed: SignedText::SlackV0,
        time_header: Some("x-slack-request-timestamp"),
        ..BODY_SHA256_HEX
    };
    /// GitHub; the delivery's GUID is the same on a redelivery.
    pub const GITHUB: Self =
        Self { name: "github", delivery_header: Some("x-github-delivery"), ..BODY_SHA256_HEX };
    /// Facebook and Instagram; the key is the app secret.
    pub const META: Self = Self { name: "meta", ..BODY_SHA256_HEX };
    /// X webhooks; the key is the consumer secret.
    pub const X: Self = Self {
        name: "x",
        header: "x-twitter-webhooks-signature",
        encoding: Encoding::Base64,
        ..BODY_SHA256_HEX
    };
    /// Discourse.
    pub const DISCOURSE: Self = Self {
        name: "discourse",
        header: "x-discourse-event-signature",
        delivery_header: Some("x-discourse-event-id"),
        ..BODY_SHA256_HEX
    };
    /// Zendesk; leaves the tolerance to the receiver.
    pub const ZENDESK: Self = Self {
        name: "zendesk",
        header: "x-zendesk-webhook-signature",
        prefix: "",
        encoding: Encoding::Base64,
        signed: SignedText::TimeBody,
        time_header: Some("x-zendesk-webhook-signature-timestamp"),
        time_form: TimeForm::Iso,
        ..BODY_SHA256_HEX
    };
    /// Chatwoot since 4.11.2; its delivery header is not signed and no identity.
    pub const CHATWOOT: Self = Self {
        name: "chatwoot",
        header: "x-chatwoot-signature",
        signed: SignedText::TimeDotBody,
        time_header: Some("x-chatwoot-timestamp"),
        tolerance_ms: 5 * MINUTE_MS + 30_000,
        ..BODY_SHA256_HEX
    };
    /// Intercom; SHA-1, the key is the client secret.
    pub const INTERCOM: Self = Self {
        name: "intercom",
        header: "x-hub-signature",
        prefix: "sha1=",
        digest: Digest::Sha1,
        ..BODY_SHA256_HEX
    };
    /// Standard Webhooks `v1`.
    pub const STANDARD_WEBHOOKS: Self = Self {
        name: "standard-webhooks",
        header: "webhook-signature",
        prefix: "v1,",
        encoding: Encoding::Base64,
        signed: SignedText::IdDotTimeDotBody,
        key: Key::Base64After("whsec_"),
        time_header: Some("webhook-timestamp"),
        signed_id_header: Some("webhook-id"),
        several: true,
        ..BODY_SHA256_HEX
    };
    /// Mastodon's administrators' webhooks, as in WebSub.
    pub const WEBSUB: Self = Self { name: "websub", header: "x-hub-signature", ..BODY_SHA256_HEX };

    /// Every scheme.
    pub const ALL: [Self; 10] = [
        Self::SLACK,
        Self::GITHUB,
        Self::META,
        Self::X,
        Self::DISCOURSE,
        Self::ZENDESK,
        Self::CHATWOOT,
        Self::INTERCOM,
        Self::STANDARD_WEBHOOKS,
        Self::WEBSUB,
    ];

    /// The scheme with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name == name)
    }

    /// The scheme that the webhooks of `kind` use; none where the source signs nothing.
    pub const fn of(kind: model::SourceKind) -> Option<Self> {
        use model::SourceKind as K;
        match kind {
            K::Slack => Some(Self::SLACK),
            K::Github => Some(Self::GITHUB),
            K::FacebookWebhook | K::InstagramWebhook => Some(Self::META),
            K::XV1 | K::XV2 => Some(Self::X),
            K::Discourse => Some(Self::DISCOURSE),
            K::Zendesk => Some(Self::ZENDESK),
            K::Chatwoot => Some(Self::CHATWOOT),
            K::Intercom => Some(Self::INTERCOM),
            K::StandardWebhook => Some(Self::STANDARD_WEBHOOKS),
            K::Mastodon => Some(Self::WEBSUB),
            _ => None,
        }
    }

    /// The same scheme with another tolerance for the signed time, in milliseconds.
    #[must_use]
    pub const fn with_tolerance(mut self, tolerance_ms: i64) -> Self {
        self.tolerance_ms = tolerance_ms;
        self
    }
}
