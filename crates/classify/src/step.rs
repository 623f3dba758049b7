use bus::{Headers, Outgoing, Received, Record, Topic};
use contracts::classify::v1::VerdictEvent;
use contracts::envelope::{self, Seal};
use contracts::ingest::v1 as wire;
use contracts::{Glance, Subject, carried_verdict};
use model::{MentionOp, Timestamp, Verdict};
use nlp::{Hint, Scratch};
use prost::Message as _;

use crate::second::Doubt;
use crate::understand::{Reader, WhyPolicy, family, title_and_text};

/// Who writes, in `ce_source`.
const SOURCE: &str = "redress/classify";
/// How much of a refused record is kept, in bytes.
const REFUSED_BODY_BYTES_MAX: usize = 256 * 1024;
/// Headers of a mention that its verdict carries on.
const CARRIED: [&str; 2] = ["traceparent", "tracestate"];

/// What all verdicts of a batch have in common; its time is when they were classified.
pub(crate) type VerdictSeal = Seal<VerdictEvent>;

/// The seal of what is classified now.
pub(crate) fn sealed_at(now: Timestamp) -> VerdictSeal {
    Seal::new(SOURCE, now)
}

/// What becomes of one record of the mentions topic.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A mention event: `id` tells repeats, `verdict` goes out.
    Verdict { id: u128, verdict: Outgoing },
    /// How complete a source is: nothing to understand, handed on as it came.
    Coverage(Outgoing),
    /// Not what it should be: kept for a person.
    Refused { reason: &'static str, letter: Outgoing },
}

/// How far one look at a record came.
#[derive(Debug)]
pub(crate) enum Begun {
    /// There was nothing to understand.
    Wordless(Answer),
    /// Understood, and nobody need look again.
    Understood(Answer),
    /// Understood, but not surely: a second stage may look again.
    Unsure(Box<Unsure>),
}

impl Begun {
    /// What a second stage may look at again.
    pub(crate) fn doubt(&mut self) -> Option<&mut Doubt> {
        match self {
            Self::Unsure(unsure) => Some(&mut unsure.doubt),
            Self::Wordless(_) | Self::Understood(_) => None,
        }
    }

    /// The answer, whoever gave it.
    pub(crate) fn end(self, reader: &Reader, seal: &VerdictSeal) -> Answer {
        match self {
            Self::Wordless(answer) | Self::Understood(answer) => answer,
            Self::Unsure(unsure) => unsure.end(reader, seal),
        }
    }
}

/// A mention that was understood, but not surely.
#[derive(Debug)]
pub(crate) struct Unsure {
    received: Received,
    subject: Subject,
    doubt: Doubt,
}

/// Decides what becomes of `received`: one verdict per mention event, on the same partition; whatever
/// cannot be read becomes a dead letter with its bytes. Where there is a second stage, mentions that are
/// not surely understood wait for `Begun::end`.
pub(crate) fn begin(
    reader: &Reader,
    scratch: &mut Scratch,
    received: &Received,
    seal: &VerdictSeal,
    why: WhyPolicy,
    has_second_stage: bool,
) -> Begun {
    let ce_type = received.record.headers.text(envelope::CE_TYPE);
    let refused = |reason, detail: &str| Begun::Wordless(refuse(received, reason, detail, seal.at()));
    if envelope::is::<wire::Coverage>(ce_type) {
        return match envelope::open::<wire::Coverage>(ce_type, received.record.value.as_ref()) {
            Ok(_) => Begun::Wordless(Answer::Coverage(onwards(received))),
            Err(error) => refused(error.label(), &error.to_string()),
        };
    }
    let event = match Glance::open(ce_type, received.record.value.as_ref()) {
        Ok(event) => event,
        Err(error) => return refused(error.label(), &error.to_string()),
    };
    let read = event.words.as_ref().filter(|_| carries_words(event.op)).and_then(|words| {
        let text = title_and_text(words)?;
        let hint =
            Hint { source_family: family(event.kind), claimed_language: words.language_claimed.as_deref() };
        let understood = reader.look(scratch, &text, hint, why);
        let looks_again = has_second_stage && !understood.found.sure;
        Some((understood, looks_again.then(|| text.into_owned())))
    });
    let subject = event.subject;
    match read {
        None => Begun::Wordless(end(received, subject, None, seal)),
        Some((understood, Some(text))) => {
            let received = received.clone();
            Begun::Unsure(Box::new(Unsure { received, subject, doubt: Doubt::new(text, understood) }))
        }
        Some((understood, None)) => {
            Begun::Understood(end(received, subject, Some(reader.verdict(understood)), seal))
        }
    }
}

impl Unsure {
    fn end(self, reader: &Reader, seal: &VerdictSeal) -> Answer {
        end(&self.received, self.subject, Some(self.doubt.verdict(reader)), seal)
    }
}

/// The verdict event of a mention, ready to be written.
fn end(received: &Received, subject: Subject, verdict: Option<Verdict>, seal: &VerdictSeal) -> Answer {
    let bytes = received.record.value.as_deref().unwrap_or_default();
    let value = match carried_verdict(subject, bytes, verdict.as_ref(), seal.at()) {
        Ok(value) => value,
        Err(error) => return refuse(received, "malformed_protobuf", &error.to_string(), seal.at()),
    };
    let mut event_id = [0; 36];
    let event_id = subject.event_id.as_uuid().hyphenated().encode_lower(&mut event_id);
    let carried = received.record.headers.iter().filter(|(name, _)| CARRIED.contains(name));
    let headers: Headers = seal.headers(event_id).into_iter().chain(carried).collect();
    let key = contracts::id(subject.mention_id.as_bytes());
    let record = Record { key, value: Some(value.into()), headers, at: received.record.at };
    if let Err(reason) = record.check_size() {
        return refuse(received, reason, "its verdict is larger than a record may be", seal.at());
    }
    let partition = Some(received.position.partition.number);
    let verdict = Outgoing { topic: Topic::Verdicts, partition, record };
    Answer::Verdict { id: subject.event_id.as_uuid().as_u128(), verdict }
}

fn refuse(received: &Received, reason: &'static str, detail: &str, now: Timestamp) -> Answer {
    Answer::Refused { reason, letter: dead_letter(received, reason, detail, now) }
}

/// The record as it came, on the same partition: what it is about lies there, too.
fn onwards(received: &Received) -> Outgoing {
    let partition = Some(received.position.partition.number);
    Outgoing { topic: Topic::Verdicts, partition, record: received.record.clone() }
}

/// Likes, renamed accounts and withdrawals say nothing that could be understood.
fn carries_words(op: MentionOp) -> bool {
    matches!(op, MentionOp::Created | MentionOp::Edited | MentionOp::Restored)
}

fn dead_letter(received: &Received, reason: &str, detail: &str, now: Timestamp) -> Outgoing {
    let bus::Position { partition, offset } = received.position;
    let body = received.record.value.clone().unwrap_or_default();
    let kept = body.slice(..body.len().min(REFUSED_BODY_BYTES_MAX));
    let letter = wire::DeadLetter {
        service: "classify".into(),
        reason: reason.into(),
        detail: detail.into(),
        topic: partition.topic.name().into(),
        partition: partition.number,
        offset,
        is_cut: kept.len() < body.len(),
        body: kept,
        refused_at_us: now.as_micros(),
        attempt: 1,
        key: received.record.key.slice(..received.record.key.len().min(1_024)),
        ..wire::DeadLetter::default()
    };
    // The place in the log names the letter, so that the same refusal has the same id.
    let id = format!("{}/{}/{offset}", partition.topic, partition.number);
    let sealed = envelope::seal(&id, SOURCE, now, &letter);
    let headers = sealed.headers.into_iter().collect();
    let key = format!("{}/{}", partition.topic, partition.number).into();
    let record = Record { key, value: Some(sealed.value), headers, at: now };
    Outgoing { topic: Topic::DeadLetter, partition: None, record }
}

/// The event id of a verdict written before; none when the record is no verdict.
pub(crate) fn verdict_id(received: &Received) -> Option<u128> {
    let ce_type = received.record.headers.text(envelope::CE_TYPE);
    if !envelope::is::<VerdictEvent>(ce_type) {
        return None;
    }
    let event = VerdictEvent::decode(received.record.value.clone()?).ok()?;
    Some(u128::from_be_bytes(event.event_id.as_ref().try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{coverage, created, received};
    use bytes::Bytes;
    use contracts::Classified;
    use proptest::prelude::*;

    const WHY: WhyPolicy = WhyPolicy { from: 0.5, max: 4 };
    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn ask(record: &Received) -> Answer {
        let reader = Reader::built_in();
        let seal = sealed_at(NOW);
        begin(&reader, &mut Scratch::default(), record, &seal, WHY, false).end(&reader, &seal)
    }

    fn opened(answer: &Answer) -> Classified {
        let Answer::Verdict { verdict, .. } = answer else { panic!("no verdict: {answer:?}") };
        let ce_type = verdict.record.headers.text("ce_type");
        let event: VerdictEvent = envelope::open(ce_type, verdict.record.value.as_ref()).unwrap();
        Classified::try_from(event).unwrap()
    }

    #[test]
    fn complaint_gets_a_verdict_on_its_own_partition() {
        let event = created("1", "Your airline lost my luggage and nobody answers, worst service ever!");
        let answer = ask(&received(3, 7, &event));
        let Answer::Verdict { id, verdict } = &answer else { panic!("{answer:?}") };
        assert_eq!(*id, event.event_id.as_uuid().as_u128());
        assert_eq!((verdict.topic, verdict.partition), (Topic::Verdicts, Some(3)));
        assert_eq!(verdict.record.key.as_ref(), event.mention_id.as_bytes());
        let classified = opened(&answer);
        let said = classified.verdict.unwrap();
        assert!(said.complaint.get() > 0.5, "{said:?}");
        assert!(!said.why.is_empty() && said.why.len() <= 4);
        assert_eq!(classified.thread_root, event.mention_id);
    }

    #[test]
    fn withdrawal_passes_without_words_and_without_verdict() {
        let mut event = created("1", "text");
        (event.op, event.mention) = (model::MentionOp::Deleted, None);
        let classified = opened(&ask(&received(0, 0, &event)));
        assert!(classified.verdict.is_none() && classified.event.mention.is_none());
    }

    #[test]
    fn what_cannot_be_read_becomes_a_dead_letter_with_its_bytes() {
        let good = received(0, 5, &created("1", "x"));
        let with = |change: &dyn Fn(&mut Record)| {
            let mut bad = good.clone();
            change(&mut bad.record);
            bad
        };
        let other =
            |r: &mut Record| r.headers.set("ce_type", Bytes::from_static(b"redress.ingest.v1.RawRecord"));
        for (bad, expected) in [
            (with(&|r| r.value = Some(Bytes::from_static(&[0xff; 40]))), "malformed_protobuf"),
            (with(&|r| r.value = Some(Bytes::new())), "invalid_mention"),
            (with(&|r| r.value = None), "empty_record"),
            (with(&|r| r.headers = Headers::new()), "untyped_record"),
            (with(&other), "unexpected_type"),
        ] {
            let Answer::Refused { reason, letter } = ask(&bad) else { panic!("{expected} was not refused") };
            assert_eq!(reason, expected);
            let letter: wire::DeadLetter =
                envelope::open(letter.record.headers.text("ce_type"), letter.record.value.as_ref()).unwrap();
            assert_eq!((letter.reason.as_str(), letter.offset), (expected, 5));
            assert_eq!(letter.body, bad.record.value.unwrap_or_default());
        }
    }

    #[test]
    fn trace_context_goes_on_to_the_verdict() {
        let mut record = received(0, 0, &created("1", "x"));
        record.record.headers.push("traceparent", "00-aa");
        let Answer::Verdict { verdict, .. } = ask(&record) else { panic!() };
        assert_eq!(verdict.record.headers.text("traceparent"), Some("00-aa"));
    }

    #[test]
    fn what_a_source_says_about_itself_is_handed_on_as_it_came() {
        let said = coverage("live", wire::CoverageState::Gap);
        let told = Received { position: received(2, 7, &created("1", "x")).position, record: said.clone() };
        let Answer::Coverage(onwards) = ask(&told) else { panic!("not handed on") };
        assert_eq!((onwards.topic, onwards.partition), (Topic::Verdicts, Some(2)));
        assert_eq!(onwards.record, said);
        let mut broken = told;
        broken.record.value = Some(Bytes::from_static(&[0xff; 9]));
        assert!(matches!(ask(&broken), Answer::Refused { reason: "malformed_protobuf", .. }));
    }

    #[test]
    fn long_text_travels_cut_but_is_understood_whole() {
        let event = created("1", &"good ".repeat(10_000));
        let classified = opened(&ask(&received(0, 0, &event)));
        assert_eq!(classified.event.mention.unwrap().text.as_str().chars().count(), 2_000);
        assert!(classified.verdict.is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut record = received(0, 0, &created("1", "x"));
            record.record.value = Some(bytes.into());
            ask(&record);
        }

        #[test]
        fn every_text_gets_a_verdict_that_can_be_read_back(text in "\\PC{0,80}") {
            let answer = ask(&received(0, 0, &created("1", &text)));
            prop_assert_eq!(opened(&answer).verdict.is_some(), !text.trim().is_empty());
        }
    }
}
