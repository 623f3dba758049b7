//! One file per wire format, all of the same shape: a record comes in, and what it holds goes to `Out`.

use model::SourceKind as K;
use serde_json::Value;

use crate::decoded::RefusalReason;
use crate::framing::Record;
use crate::json;
use crate::out::Out;

mod appstore;
mod bluesky;
mod chatwoot;
mod cloudevents;
pub(crate) mod csv;
mod discourse;
mod email;
mod facebook;
mod feed;
mod form;
mod github;
mod google_play;
mod hackernews;
mod instagram;
mod intercom;
mod mastodon;
mod ndjson;
mod panel;
mod reddit;
mod slack;
mod standard_webhook;
mod trustpilot;
mod x_v1;
mod x_v2;
mod youtube;
mod zendesk;

/// The most items that one page or batch may hold.
pub(crate) const ITEMS_MAX: usize = 100_000;

/// Decodes one record. False when it was no record of data (a table's header).
pub(crate) fn record(record: Record<'_>, columns: &mut csv::Columns, out: &mut Out<'_>) -> bool {
    match out.kind {
        K::Csv => return csv::row(record, columns, out),
        K::Feed => feed::document(record.bytes, out),
        K::BlueskyJetstream => each_typed(record.bytes, out, bluesky::event),
        K::Ndjson => each_typed(record.bytes, out, ndjson::line),
        K::Mastodon => mastodon::record(record, out),
        K::Email => email::message(record.bytes, out),
        K::Form => form::record(record.bytes, out),
        K::AppstoreRss => appstore::document_of(record.bytes, out),
        K::XV2 => each_value(record.bytes, out, x_v2::document),
        K::XV1 => each_value(record.bytes, out, x_v1::document),
        K::Reddit => each_value(record.bytes, out, reddit::document),
        K::YoutubeComments => each_value(record.bytes, out, youtube::document),
        K::FacebookWebhook => each_value(record.bytes, out, facebook::document),
        K::InstagramWebhook => each_value(record.bytes, out, instagram::document),
        K::GooglePlay => each_value(record.bytes, out, google_play::document),
        K::Trustpilot => each_value(record.bytes, out, trustpilot::document),
        K::Discourse => each_value(record.bytes, out, discourse::document),
        K::Zendesk => each_value(record.bytes, out, zendesk::document),
        K::Chatwoot => each_value(record.bytes, out, chatwoot::document),
        K::Intercom => each_value(record.bytes, out, intercom::document),
        K::Github => each_value(record.bytes, out, github::document),
        K::Slack => each_value(record.bytes, out, slack::document),
        K::Hackernews => each_value(record.bytes, out, hackernews::document),
        K::Cloudevents => each_value(record.bytes, out, cloudevents::document),
        K::StandardWebhook => each_value(record.bytes, out, standard_webhook::document),
        K::Panel => each_value(record.bytes, out, panel::document),
    }
    true
}

/// Reads one document and hands its elements, or itself when it is no array, to `item`.
pub(crate) fn each_value(bytes: &[u8], out: &mut Out<'_>, mut item: impl FnMut(&Value, &mut Out<'_>)) {
    let value = match json::parse(bytes) {
        Ok(value) => value,
        Err(reason) => match json::repair(bytes).map(|fixed| json::parse(&fixed)) {
            Some(Ok(value)) => {
                out.repaired = true;
                value
            }
            _ => return out.refuse(reason),
        },
    };
    match &value {
        Value::Array(list) if list.is_empty() => out.ignore("empty_page"),
        Value::Array(list) => each_item(list, out, item),
        value => item(value, out),
    }
}

/// Hands every element of a page to `item`, with its number for refusals.
pub(crate) fn each_item(list: &[Value], out: &mut Out<'_>, mut item: impl FnMut(&Value, &mut Out<'_>)) {
    if list.len() > ITEMS_MAX {
        out.refuse(RefusalReason::TooMany { limit: ITEMS_MAX });
    }
    for (i, value) in list.iter().take(ITEMS_MAX).enumerate() {
        out.at_item(i);
        item(value, out);
    }
}

/// The same for kinds that are read straight into a type, because they come by the hundred thousand.
/// `item` gets the bytes of one document and refuses it by returning the reason.
fn each_typed(
    bytes: &[u8],
    out: &mut Out<'_>,
    item: impl Fn(&[u8], &mut Out<'_>) -> Result<(), RefusalReason>,
) {
    let one = |bytes: &[u8], out: &mut Out<'_>| {
        let Err(reason) = item(bytes, out) else { return };
        if let Some(fixed) = json::repair(bytes) {
            out.repaired = true;
            if item(&fixed, out).is_ok() {
                return;
            }
        }
        out.refuse(reason);
    };
    if bytes.first() != Some(&b'[') {
        return one(bytes, out);
    }
    match json::typed::<Vec<&serde_json::value::RawValue>>(bytes) {
        Ok(list) if list.is_empty() => out.ignore("empty_page"),
        Ok(list) if list.len() > ITEMS_MAX => out.refuse(RefusalReason::TooMany { limit: ITEMS_MAX }),
        Ok(list) => {
            for (i, raw) in list.into_iter().enumerate() {
                out.at_item(i);
                one(raw.get().as_bytes(), out);
            }
        }
        Err(reason) => out.refuse(reason),
    }
}
