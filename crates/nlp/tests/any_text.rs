//! Any text is answered: no panic, numbers in their ranges, the same answer every time.

use nlp::{Hint, Model, Scratch, Understanding};
use proptest::prelude::*;

fn answer(text: &str) -> Understanding {
    let mut scratch = Scratch::default();
    let model = Model::shipped();
    let answer = model.understand(&mut scratch, text, Hint::default());
    check(&answer);
    for why in model.explain(&mut scratch, text, Hint::default(), &answer, 3) {
        assert!(
            text.get(why.start..why.end).is_some_and(|stretch| !stretch.is_empty()),
            "{why:?} in {text:?}"
        );
        assert!(why.weight.is_finite());
    }
    answer
}

fn check(answer: &Understanding) {
    let close = |sum: f32| (sum - 1.0).abs() < 1e-3;
    assert!(close(answer.sentiment.iter().sum()), "{answer:?}");
    assert!(close(answer.severity.probabilities.iter().sum()), "{answer:?}");
    assert!(answer.severity.level <= 4);
    assert!(!answer.topics.as_slice().is_empty());
    let reply = answer.reply;
    for p in [
        answer.complaint,
        answer.arousal,
        answer.spam,
        answer.thanks,
        answer.won_back,
        answer.threat_leave,
        answer.threat_sue,
        answer.threat_publish,
        answer.unanswered,
        reply.apology,
        reply.explanation,
        reply.offer,
        reply.channel_move,
    ] {
        assert!((0.0..=1.0).contains(&p), "{answer:?}");
    }
}

#[test]
fn odd_texts_are_answered() {
    for text in [
        "",
        " ",
        "😡",
        "👩‍👩‍👧‍👦",
        "\u{200b}\u{200d}\u{feff}",
        "\u{202e}diap ton dnufer\u{202c}",
        "مرحبا، أين طلبي؟ 😡",
        "e\u{301}\u{301}\u{301}",
        "\0\u{1}\u{7f}",
        "#",
        "@",
        "&amp",
        "http",
        "''''",
        ":D",
        "\u{fffd}\u{fffd}",
        "ﷺ ﷽",
        "①②③ Ⅷ ½",
        "\u{10ffff}",
        "ﾞﾟ",
    ] {
        answer(text);
    }
}

#[test]
fn an_invisible_text_has_no_language() {
    assert_eq!(answer("\u{200b}\u{200d}").language, nlp::Language::UNKNOWN);
}

#[test]
fn zero_width_characters_change_nothing() {
    let (plain, spread) =
        (answer("never again, refund now"), answer("ne\u{200b}ver again, re\u{2060}fund now"));
    assert_eq!(plain, spread);
}

#[test]
fn a_megabyte_is_answered_in_bounded_memory() {
    for unit in ["broken again!! ", "壊れた", "😡", "a", "ъ", "@a", "e\u{301}"] {
        answer(&unit.repeat(1_000_000 / unit.len()));
    }
}

#[test]
fn the_answer_is_the_same_with_a_used_scratch_and_on_any_thread() {
    let texts = ["where is my refund??", "grazie mille, tutto risolto", "快递太慢了", ""];
    let model = Model::shipped();
    let mut used = Scratch::default();
    for text in texts.iter().chain(&texts) {
        let again = model.understand(&mut used, text, Hint::default());
        assert_eq!(again, answer(text));
        let elsewhere = std::thread::scope(|scope| scope.spawn(|| answer(text)).join().unwrap());
        assert_eq!(again, elsewhere);
    }
}

#[test]
fn a_clear_complaint_and_clear_praise_are_told_apart() {
    for (bad, good) in [
        (
            "still waiting for my refund after three weeks, nobody answers, shame on you",
            "thanks, solved in five minutes, great service",
        ),
        (
            "aspetto il rimborso da tre settimane e nessuno risponde, vergogna",
            "grazie, servizio ottimo e veloce",
        ),
        (
            "warte seit drei Wochen auf die Erstattung, keiner antwortet, unverschämt",
            "danke, super Service und schnelle Hilfe",
        ),
        (
            "жду возврат денег три недели, никто не отвечает, позор",
            "спасибо, отличный сервис, все быстро решили",
        ),
        ("返金を3週間待っているのに誰も返事をしない、ひどい", "とても親切で大満足です、ありがとう"),
        ("退款等了三个星期没人回，太差了", "很满意，服务很好，谢谢"),
    ] {
        let (bad, good) = (answer(bad), answer(good));
        assert!(bad.complaint > good.complaint + 0.3, "{bad:?} {good:?}");
        assert!(bad.sentiment[0] > good.sentiment[0] && bad.sentiment[2] < good.sentiment[2]);
    }
}

#[test]
fn a_damaged_model_is_refused() {
    let bytes = Model::shipped().to_bytes();
    assert!(Model::from_bytes(&bytes[..bytes.len() - 1]).is_err());
    assert!(Model::from_bytes(&bytes[..200]).is_err());
    assert!(Model::from_bytes(b"").is_err());
    assert!(Model::from_bytes(b"rdrsnlp1").is_err());
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(Model::from_bytes(&longer).is_err());
    assert_eq!(Model::from_bytes(&bytes).unwrap().version(), Model::shipped().version());
}

#[test]
fn the_shipped_model_fits_its_bound() {
    assert!(Model::shipped().to_bytes().len() <= 6 << 20);
}

proptest! {
    #[test]
    fn any_string_is_answered(text in "\\PC{0,300}") {
        answer(&text);
    }

    #[test]
    fn any_characters_are_answered(text in proptest::collection::vec(any::<char>(), 0..200)) {
        answer(&text.into_iter().collect::<String>());
    }

    #[test]
    fn any_bytes_are_answered_once_read_as_text(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        answer(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_bytes_are_a_model_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _refused_or_read = Model::from_bytes(&bytes);
        let mut framed = b"rdrsnlp1".to_vec();
        framed.extend(bytes);
        let _refused_or_read = Model::from_bytes(&framed);
    }
}

/// Found by the property above: one character that folds to two made a stretch of nothing.
#[test]
fn a_character_that_folds_to_several_is_pointed_at_whole() {
    answer("㌔\u{324b4}?\u{2d47c}0慨");
}
