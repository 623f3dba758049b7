use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A Standard Webhooks secret: `whsec_` and 24 to 64 bytes in base64. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// Why a secret was refused; never shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Wrong shape.
    #[error("a webhook secret is 'whsec_' and base64")]
    Shape,
    /// Too short or too long.
    #[error("a webhook secret has 24 to 64 bytes, this one has {0}")]
    Length(usize),
}

impl Secret {
    /// Reads `whsec_...`.
    ///
    /// # Errors
    /// When it is no base64, or decodes to fewer than 24 or more than 64 bytes.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let body = text.trim().strip_prefix("whsec_").ok_or(SecretError::Shape)?;
        let bytes = STANDARD.decode(body).map_err(|_| SecretError::Shape)?;
        match bytes.len() {
            24..=64 => Ok(Self(bytes)),
            other => Err(SecretError::Length(other)),
        }
    }

    fn sign(&self, id: &str, timestamp_s: i64, body: &[u8]) -> String {
        // A key of any length is a valid HMAC key (RFC 2104), so this cannot fail.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        mac.update(id.as_bytes());
        mac.update(b".");
        mac.update(timestamp_s.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The `webhook-signature` header over `id.timestamp.body` (Standard Webhooks): one signature per secret,
/// newest first, so that a receiver may hold either while secrets are exchanged.
pub fn signature_header(secrets: &[Secret], id: &str, timestamp_s: i64, body: &[u8]) -> String {
    let signatures: Vec<String> = secrets.iter().map(|secret| secret.sign(id, timestamp_s, body)).collect();
    signatures.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "whsec_YWxlcnRzLWRlbW8tc2VjcmV0LTMyLWJ5dGVzLWxvbmc=";
    const OLD: &str = "whsec_b2xkLWFsZXJ0cy1zZWNyZXQtYWxzby0zMi1ieXRlcyE=";

    #[test]
    fn two_secrets_give_the_known_signatures() {
        let body =
            br#"{"type":"alert.group.fired","timestamp":"2026-01-02T03:04:05Z","data":{"group_id":"g1"}}"#;
        assert_eq!(body.len(), 88);
        let secrets = [Secret::parse(NEW).unwrap(), Secret::parse(OLD).unwrap()];
        assert_eq!(
            signature_header(&secrets, "msg_g1_slack0_e7", 1_767_323_045, body),
            "v1,eQG2/rMDREJB0NuP4qcXrowMoQSS/mpx9EBn0wYQ0ws= v1,GiF6YHNrSvvGa7+g6ErEVR0pL9O7QgtLZPh/YF2JoDU="
        );
    }

    #[test]
    fn bad_secrets_are_refused_and_none_is_printed() {
        assert_eq!(Secret::parse("YWxl"), Err(SecretError::Shape));
        assert_eq!(Secret::parse("whsec_!"), Err(SecretError::Shape));
        assert_eq!(Secret::parse("whsec_YWJj"), Err(SecretError::Length(3)));
        assert_eq!(format!("{:?}", Secret::parse(NEW).unwrap()), "***");
    }
}
