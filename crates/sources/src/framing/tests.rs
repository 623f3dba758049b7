use proptest::prelude::*;

use super::*;

/// The pieces as text, with the input cut into chunks of `step` bytes.
fn pieces(kind: SourceKind, input: &[u8], step: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut framer = Framer::new(kind);
    let mut each = |piece: Piece<'_>| {
        found.push(match piece {
            Piece::Record(r) => {
                let event = r.event.map(|e| format!("{e} ")).unwrap_or_default();
                format!("{}: {event}{}", r.line, String::from_utf8_lossy(r.bytes))
            }
            Piece::TooLong { line, .. } => format!("{line}: too long"),
            Piece::CutOff { line, .. } => format!("{line}: cut off"),
            Piece::NoElement { line, .. } => format!("{line}: no element"),
            Piece::Heartbeat => "heartbeat".into(),
        });
    };
    for chunk in input.chunks(step.max(1)) {
        framer.push(chunk, &mut each);
    }
    framer.finish(&mut each);
    found
}

fn check(kind: SourceKind, input: &str, expected: &[&str]) {
    for step in [1, 2, 3, 7, 1_000] {
        assert_eq!(pieces(kind, input.as_bytes(), step), expected, "{input:?} in chunks of {step}");
    }
}

#[test]
fn json_in_any_packing_is_cut_into_records() {
    let k = SourceKind::Ndjson;
    check(k, "", &[]);
    check(k, "\n \n", &[]);
    check(k, "{\"a\":1}\n\n{\"a\":2}", &["1: {\"a\":1}", "3: {\"a\":2}"]);
    check(k, "\u{feff}{\"a\":1}", &["1: {\"a\":1}"]);
    check(k, "{\n \"a\": \"}\"\n}\n", &["1: {\n \"a\": \"}\"\n}"]);
    check(k, "[\n {\"a\":1},\n {\"a\":2}\n]\n", &["2: {\"a\":1}", "3: {\"a\":2}"]);
    check(k, "[{\"a\":1},{\"a\":2}]", &["1: [{\"a\":1},{\"a\":2}]"]);
    check(k, "[\n{\"a\":1},\n]", &["2: {\"a\":1}", "2: no element"]);
    check(k, "[\n{\"a\":1},\n{\"b", &["2: {\"a\":1}", "2: cut off"]);
    check(k, "[\n]\n", &[]);
}

#[test]
fn damaged_first_line_does_not_swallow_the_rest() {
    let k = SourceKind::Ndjson;
    check(k, "{\"a\":\"cut\n{\"a\":2}", &["1: {\"a\":\"cut", "2: {\"a\":2}"]);
    check(k, "{\"a\":1,\n{\"a\":2}", &["1: {\"a\":1,", "2: {\"a\":2}"]);
    check(k, "[{\"a\":1\n{\"a\":2}", &["1: [{\"a\":1", "2: {\"a\":2}"]);
    check(k, "rubbish\n{\"a\":2}", &["1: rubbish", "2: {\"a\":2}"]);
    check(k, "{\"a\":{\n\"b\":1", &["1: cut off"]);
}

#[test]
fn event_streams_are_cut_at_blank_lines() {
    let input = ":)\n\nevent: update\ndata: {\"a\":\ndata: 1}\n\nevent: filters_changed\n\n:thump\ndata: 7";
    check(
        SourceKind::Mastodon,
        input,
        &["heartbeat", "4: update {\"a\":\n1}", "8: filters_changed ", "heartbeat", "10: 7"],
    );
}

#[test]
fn rows_may_span_lines_and_bare_returns_do_not_end_them() {
    let k = SourceKind::Csv;
    check(k, "a,b\r\n1,\"x\ny\"\r\n2,z\r\rw\n\n3,", &["1: a,b", "2: 1,\"x\ny\"", "4: 2,z\r\rw", "6: 3,"]);
    check(k, "a,b\n1,\"open\n2,fine\n", &["1: a,b", "2: cut off", "3: 2,fine"]);
    check(
        k,
        "a,b\n1,5\" disk\n2,\"say \"\"hi\"\"\"\n",
        &["1: a,b", "2: 1,5\" disk", "3: 2,\"say \"\"hi\"\"\""],
    );
}

#[test]
fn line_over_the_limit_is_refused_and_the_rest_goes_on() {
    let mut input = b"{\"a\":1}\n".to_vec();
    input.extend(vec![b'x'; RECORD_BYTES_MAX + 1]);
    input.extend(b"\n{\"a\":2}\n");
    for step in [65_536, usize::MAX] {
        assert_eq!(pieces(SourceKind::Ndjson, &input, step), ["1: {\"a\":1}", "2: too long", "3: {\"a\":2}"]);
    }
    assert_eq!(pieces(SourceKind::Csv, &input, 65_536).len(), 3);
}

proptest! {
    #[test]
    fn chunks_do_not_change_the_records(input in "[\\[\\]{}\",:a1\n\r ;]{0,60}", step in 1_usize..9) {
        for kind in [SourceKind::Ndjson, SourceKind::Csv, SourceKind::Mastodon, SourceKind::Feed] {
            let whole = pieces(kind, input.as_bytes(), usize::MAX);
            prop_assert_eq!(pieces(kind, input.as_bytes(), step), whole);
        }
    }
}
