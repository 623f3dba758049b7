//! Did this delivery really come from the source that it names?
//!
//! One verifier and a table of schemes. The check runs over the raw bytes, before anything is parsed,
//! in constant time, and with two live secrets so that they can be rotated. Most sources sign the body
//! alone: there nothing in the signature stops a replay, and the caller's store of seen deliveries is
//! the only guard; [`Verified::delivery_id`] is what to remember.

mod scheme;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use model::Timestamp;
use subtle::ConstantTimeEq;

use crate::when;
pub use scheme::{Digest, Encoding, Key, Scheme, SignedText, TimeForm};

/// The most secrets that are tried for one delivery: the current one and the one before.
pub const SECRETS_MAX: usize = 2;
/// The most signatures that one header may list.
pub const SIGNATURES_MAX: usize = 8;

/// A shared secret; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps the secret as the source shows it, with any prefix such as `whsec_`.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// A delivery that its source signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The delivery's own id where the scheme has one; repeats of the delivery carry the same.
    pub delivery_id: Option<String>,
    /// When it was signed, where the scheme signs a time.
    pub signed_at: Option<Timestamp>,
}

/// Why a delivery is not believed. The text says nothing that would help to forge one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A header that the scheme needs is not there.
    #[error("header '{0}' is missing")]
    Missing(&'static str),
    /// A header stands there twice; two readers could pick two.
    #[error("header '{0}' stands twice")]
    Doubled(&'static str),
    /// A header is there, but not in the scheme's form.
    #[error("header '{0}' has another form")]
    Form(&'static str),
    /// Signed too long ago or too far ahead.
    #[error("signed outside the accepted time")]
    Stale,
    /// No secret gives this signature.
    #[error("signature does not match")]
    Mismatch,
    /// No usable secret is configured; nothing is believed without one.
    #[error("no usable secret is configured")]
    NoSecret,
}

/// Checks one delivery: `headers` as received (names in any case), the raw `body`, the time `now`.
///
/// # Errors
/// When the delivery must not be believed; see [`SignatureError`].
pub fn verify<'h>(
    scheme: &Scheme,
    secrets: &[Secret],
    headers: impl IntoIterator<Item = (&'h str, &'h str)>,
    body: &[u8],
    now: Timestamp,
) -> Result<Verified, SignatureError> {
    let headers: Vec<(&str, &str)> = headers.into_iter().collect();
    let signature = one_header(&headers, scheme.header)?;
    let time_text = scheme.time_header.map(|name| one_header(&headers, name)).transpose()?;
    let id = scheme.signed_id_header.map(|name| one_header(&headers, name)).transpose()?;
    let signed_at = time_text.map(|text| signed_time(scheme, text, now)).transpose()?;
    let offered = offered_signatures(scheme, signature)?;
    let mut usable = 0;
    let mut matched = subtle::Choice::from(0);
    for secret in secrets.iter().take(SECRETS_MAX) {
        let Some(key) = key_bytes(scheme, secret) else { continue };
        usable += 1;
        let expected = digest(scheme, &key, id, time_text, body);
        // Every pair is compared, so that the time taken does not tell which one matched.
        for candidate in &offered {
            matched |= expected.ct_eq(candidate);
        }
    }
    if usable == 0 {
        return Err(SignatureError::NoSecret);
    }
    if !bool::from(matched) {
        return Err(SignatureError::Mismatch);
    }
    let delivery_id = match (id, scheme.delivery_header) {
        (Some(id), _) => Some(id.to_owned()),
        (None, Some(name)) => one_header(&headers, name).ok().map(str::to_owned),
        (None, None) => None,
    };
    Ok(Verified { delivery_id, signed_at })
}

/// The answer to X's challenge (`GET ?crc_token=`): `sha256=` and the token's HMAC in base64.
pub fn crc_answer(consumer_secret: &Secret, crc_token: &str) -> String {
    let mac = hmac_of(Digest::Sha256, consumer_secret.0.as_bytes(), &[crc_token.as_bytes()]);
    format!("sha256={}", STANDARD.encode(mac))
}

/// Signs a delivery of our own, or one of a test, as `scheme` would: the value of its signature header.
/// None when the secret is not of the scheme's form.
pub fn sign(
    scheme: &Scheme,
    secret: &Secret,
    id: Option<&str>,
    time: Option<&str>,
    body: &[u8],
) -> Option<String> {
    let mac = digest(scheme, &key_bytes(scheme, secret)?, id, time, body);
    let written = match scheme.encoding {
        Encoding::Hex => mac.iter().map(|b| format!("{b:02x}")).collect(),
        Encoding::Base64 => STANDARD.encode(mac),
    };
    Some(format!("{}{written}", scheme.prefix))
}

fn one_header<'h>(headers: &[(&'h str, &'h str)], name: &'static str) -> Result<&'h str, SignatureError> {
    let mut found =
        headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
    match (found.next(), found.next()) {
        (None, _) | (Some(""), None) => Err(SignatureError::Missing(name)),
        (Some(value), None) => Ok(value),
        (Some(_), Some(_)) => Err(SignatureError::Doubled(name)),
    }
}

fn signed_time(scheme: &Scheme, text: &str, now: Timestamp) -> Result<Timestamp, SignatureError> {
    let form = SignatureError::Form(scheme.time_header.unwrap_or(scheme.header));
    let at = match scheme.time_form {
        TimeForm::UnixSeconds => text.parse().ok().filter(|s: &i64| *s > 0).map(Timestamp::from_seconds),
        TimeForm::Iso => when::parse(text),
    };
    let at = at.ok_or(form)?;
    let age_ms = now.millis_since(at);
    if age_ms > scheme.tolerance_ms || age_ms < -scheme.tolerance_ms {
        return Err(SignatureError::Stale);
    }
    Ok(at)
}

/// The signatures that the header offers in this scheme's version, decoded.
fn offered_signatures(scheme: &Scheme, header: &str) -> Result<Vec<Vec<u8>>, SignatureError> {
    let form = SignatureError::Form(scheme.header);
    let listed: Vec<&str> = if scheme.several { header.split(' ').collect() } else { vec![header] };
    if listed.len() > SIGNATURES_MAX {
        return Err(form);
    }
    let decode = |written: &str| match scheme.encoding {
        Encoding::Hex => unhex(written),
        Encoding::Base64 => STANDARD.decode(written).ok(),
    };
    // Others are of versions that we do not speak.
    let ours = listed.iter().filter_map(|s| s.strip_prefix(scheme.prefix));
    let offered: Option<Vec<Vec<u8>>> = ours.map(decode).collect();
    offered.filter(|o| !o.is_empty()).ok_or(form)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| (b as char).to_digit(16);
    let b = text.as_bytes();
    if !b.len().is_multiple_of(2) {
        return None;
    }
    b.chunks_exact(2).map(|p| Some((digit(p[0])? * 16 + digit(p[1])?) as u8)).collect()
}

fn key_bytes(scheme: &Scheme, secret: &Secret) -> Option<Vec<u8>> {
    let key = match scheme.key {
        Key::Text => secret.0.as_bytes().to_vec(),
        Key::Base64After(prefix) => {
            STANDARD.decode(secret.0.strip_prefix(prefix).unwrap_or(&secret.0)).ok()?
        }
    };
    (!key.is_empty()).then_some(key)
}

fn digest(scheme: &Scheme, key: &[u8], id: Option<&str>, time: Option<&str>, body: &[u8]) -> Vec<u8> {
    let id = id.unwrap_or_default().as_bytes();
    let time = time.unwrap_or_default().as_bytes();
    let parts: Vec<&[u8]> = match scheme.signed {
        SignedText::Body => vec![body],
        SignedText::TimeBody => vec![time, body],
        SignedText::TimeDotBody => vec![time, b".", body],
        SignedText::SlackV0 => vec![b"v0:", time, b":", body],
        SignedText::IdDotTimeDotBody => vec![id, b".", time, b".", body],
    };
    hmac_of(scheme.digest, key, &parts)
}

fn hmac_of(digest: Digest, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    fn run<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        // HMAC takes a key of any length; a refusal would be a broken invariant of the crate.
        let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else { return Vec::new() };
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().to_vec()
    }
    match digest {
        Digest::Sha256 => run::<Hmac<sha2::Sha256>>(key, parts),
        Digest::Sha1 => run::<Hmac<sha1::Sha1>>(key, parts),
    }
}

#[cfg(test)]
mod tests;
