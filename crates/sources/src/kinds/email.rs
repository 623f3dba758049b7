//! Internet mail.

use std::borrow::Cow;

use mail_parser::{Address, HeaderValue, Message, MessageParser, MimeHeaders};
use model::{Author, Flag, MentionOp, TimeQuality, Timestamp, Visibility};

use crate::decoded::RefusalReason;
use crate::html;
use crate::out::{Draft, Out, Words};

pub(crate) fn message(bytes: &[u8], out: &mut Out<'_>) {
    if bytes.trim_ascii().is_empty() {
        return;
    }
    let Some(mail) = MessageParser::default().parse(bytes) else {
        return out.refuse(RefusalReason::UnknownShape("no mail"));
    };
    let words = words(&mail);
    let addressed = mail.from().is_some() || mail.subject().is_some() || mail.date().is_some();
    let described = mail.message_id().is_some() || mail.content_type().is_some();
    if !(addressed || described && !words.trim().is_empty()) {
        return out.refuse(RefusalReason::UnknownShape("no mail: no sender, subject or date, and no words"));
    }
    let digest = blake3::hash(bytes).to_hex();
    // A Message-ID may be missing; it is taken at its word, since answers refer to it.
    let named = mail.message_id().filter(|id| !id.trim().is_empty() && id.len() <= 1_000);
    let id = named.map_or_else(|| format!("blake3:{}", &digest[..32]), str::to_owned);
    let mut draft = Draft::new(MentionOp::Created, id, Words::Plain(&words));
    draft.native_rev = Some(format!("b{}", &digest[..16]));
    draft.author = author(&mail);
    draft.title = mail.subject();
    // The sender writes `Date`; the servers on the way write `Received`, the last one first.
    draft.created = mail.date().and_then(time).map(|at| (at, TimeQuality::Claimed));
    draft.witnessed_at = mail.received().and_then(|r| r.date()).as_ref().and_then(time);
    let answered = ids(mail.in_reply_to());
    let thread = ids(mail.references());
    draft.refs.reply_to = answered.first().or(thread.last()).map(|id| out.mention_id(id));
    draft.refs.root = thread.first().or(answered.first()).map(|id| out.mention_id(id));
    draft.refs.conversation = thread.first().or(answered.first()).cloned();
    draft.refs.place = (!out.ctx.instance.is_empty()).then(|| out.ctx.instance.to_owned());
    draft.visibility = Visibility::Private;
    if by_machine(&mail) {
        draft.flags.insert(Flag::AutoSubmitted);
    }
    if words.contains('\u{fffd}') {
        draft.flags.insert(Flag::DecodeReplaced);
    }
    out.publish(draft);
}

/// Plain text where the mail has it, else what its HTML says.
fn words<'m>(mail: &'m Message<'m>) -> Cow<'m, str> {
    let has_text = mail.text_part(0).is_some_and(|p| p.is_text() && !p.is_text_html());
    if has_text {
        return mail.body_text(0).unwrap_or_default();
    }
    match mail.body_html(0) {
        Some(markup) => Cow::Owned(html::to_text(&markup)),
        None => mail.body_text(0).unwrap_or_default(),
    }
}

fn author(mail: &Message<'_>) -> Author {
    // Forms send from an address of their own and name the customer in Reply-To.
    let first = |address: Option<&Address<'_>>| {
        let addr = address?.first()?;
        let mailbox = addr.address.as_deref().map(str::trim).filter(|a| !a.is_empty() && a.len() <= 320);
        Some((mailbox.map(str::to_lowercase), addr.name.as_deref().map(str::to_owned)))
    };
    let from = first(mail.from());
    let reply_to = first(mail.reply_to());
    let (mailbox, name) = match (from, reply_to) {
        (Some((Some(mailbox), name)), _) if !is_no_reply(&mailbox) => (Some(mailbox), name),
        (_, Some((Some(mailbox), name))) => (Some(mailbox), name),
        (from, _) => from.unwrap_or_default(),
    };
    Author { native_id: mailbox.clone(), handle: mailbox, display_name: name, ..Author::default() }
}

fn is_no_reply(mailbox: &str) -> bool {
    let local = mailbox.split('@').next().unwrap_or_default();
    matches!(local, "noreply" | "no-reply" | "donotreply" | "do-not-reply" | "wordpress")
}

/// Out of office, bounces, lists: said by a machine, whoever's name it bears.
fn by_machine(mail: &Message<'_>) -> bool {
    let text = |name: &str| match mail.header(name) {
        Some(HeaderValue::Text(text)) => Some(text.to_lowercase()),
        Some(HeaderValue::TextList(list)) => list.first().map(|t| t.to_lowercase()),
        _ => None,
    };
    let submitted = text("Auto-Submitted").is_some_and(|v| !v.trim().starts_with("no"));
    let bulk =
        text("Precedence").is_some_and(|v| matches!(v.trim(), "bulk" | "list" | "junk" | "auto_reply"));
    let list = ["List-Id", "List-Unsubscribe", "X-Auto-Response-Suppress", "X-Autoreply"]
        .into_iter()
        .any(|name| mail.header(name).is_some());
    let bounce = mail.return_path().as_text().is_some_and(|p| p.trim().trim_matches(['<', '>']).is_empty());
    submitted || bulk || list || bounce
}

fn ids(value: &HeaderValue<'_>) -> Vec<String> {
    let list = match value {
        HeaderValue::Text(id) => vec![id.as_ref()],
        HeaderValue::TextList(list) => list.iter().map(Cow::as_ref).collect(),
        _ => Vec::new(),
    };
    list.into_iter().filter(|id| !id.is_empty() && id.len() <= 1_000).take(100).map(str::to_owned).collect()
}

fn time(date: &mail_parser::DateTime) -> Option<Timestamp> {
    // A date of the year 0 or with a 13th month is none.
    let fine = date.year > 1970 && (1..=12).contains(&date.month) && (1..=31).contains(&date.day);
    (fine && date.is_valid()).then(|| Timestamp::from_seconds(date.to_timestamp()))
}
