//! Threads speak to their subject: repeats, order, fading, and what it does to an alarm.

use detect::{LIVE_THREADS_MAX, LiveThreads, ThreadPrior, ThreadWord, worth_telling};
use proptest::prelude::*;

const NOW_S: i64 = 1_700_000_000;

fn word(thread: u64, at_s: i64, p_spread: f32) -> ThreadWord {
    ThreadWord { thread, at_s, prior: ThreadPrior { p_spread, expected_final: 1000.0 * p_spread } }
}

fn heard(words: &[ThreadWord]) -> LiveThreads {
    let mut live = LiveThreads::new();
    words.iter().for_each(|word| live.hear(*word));
    live
}

fn p_spread(words: &[ThreadWord], now_s: i64) -> f32 {
    heard(words).prior(now_s).map_or(0.0, |prior| prior.p_spread)
}

#[test]
fn two_threads_say_more_than_one_and_silence_says_nothing() {
    assert_eq!(p_spread(&[], NOW_S), 0.0);
    let (one, other) = (word(1, NOW_S, 0.5), word(2, NOW_S, 0.5));
    assert_eq!(p_spread(&[one], NOW_S), 0.5);
    assert_eq!(p_spread(&[one, other], NOW_S), 0.75);
    assert_eq!(
        heard(&[word(1, NOW_S, 0.1), word(2, NOW_S, 0.7)]).prior(NOW_S).unwrap().expected_final,
        700.0
    );
}

#[test]
fn a_thread_that_stops_spreading_takes_its_word_back() {
    assert_eq!(p_spread(&[word(1, NOW_S, 0.8), word(1, NOW_S + 60, 0.001)], NOW_S + 60), 0.0);
}

#[test]
fn a_word_that_is_not_renewed_fades_and_is_forgotten() {
    let words = [word(1, NOW_S, 0.8)];
    assert!((p_spread(&words, NOW_S + 3600) - 0.4).abs() < 1e-6);
    let mut live = heard(&words);
    assert!(!live.forget(NOW_S + 3600));
    assert!(live.forget(NOW_S + 6 * 3600));
    assert_eq!(live.prior(NOW_S), None);
}

#[test]
fn the_least_lively_makes_room() {
    let words: Vec<ThreadWord> = (0..10).map(|k| word(k, NOW_S, 0.05 + 0.05 * k as f32)).collect();
    let live = heard(&words);
    assert_eq!(live, heard(&words[10 - LIVE_THREADS_MAX..]));
    // And an old one before a fresh one.
    let mut words: Vec<ThreadWord> = (0..LIVE_THREADS_MAX as u64).map(|k| word(k, NOW_S, 0.5)).collect();
    words[0].at_s -= 4 * 3600;
    words.push(word(99, NOW_S, 0.4));
    assert_eq!(heard(&words), heard(&words[1..]));
}

#[test]
fn what_is_no_probability_is_not_heard() {
    for p in [f32::NAN, f32::INFINITY, -0.1, 1.5] {
        assert_eq!(heard(&[word(1, NOW_S, p)]), LiveThreads::new());
    }
}

#[test]
fn a_thread_speaks_when_it_has_news() {
    let told = word(1, NOW_S, 0.2);
    for (expected, told, p, after_s) in [
        (false, None, 0.01, 0),
        (true, None, 0.05, 0),
        (false, Some(&told), 0.3, 60),
        (true, Some(&told), 0.45, 60),
        (true, Some(&told), 0.08, 60),
        (true, Some(&told), 0.2, 900),
        (true, Some(&told), 0.0, 60),
    ] {
        assert_eq!(worth_telling(told, &word(1, NOW_S + after_s, p)), expected, "{told:?} {p} {after_s}");
    }
    // Once taken back it stays silent, however long.
    assert!(!worth_telling(Some(&word(1, NOW_S, 0.0)), &word(1, NOW_S + 90_000, 0.0)));
}

proptest! {
    #[test]
    fn order_and_repeats_do_not_matter(
        words in prop::collection::vec((0..LIVE_THREADS_MAX as u64, 0i64..20_000, 0.0f32..=1.0), 0..40),
        turn in 0usize..40,
        now_s in 0i64..60_000,
    ) {
        let words: Vec<ThreadWord> = words.into_iter().map(|(t, at_s, p)| word(t, NOW_S + at_s, p)).collect();
        let live = heard(&words);
        let mut other = words.clone();
        other.rotate_left(turn % words.len().max(1));
        other.reverse();
        other.extend(&words);
        prop_assert_eq!(&live, &heard(&other));
        let p = p_spread(&words, NOW_S + now_s);
        prop_assert!((0.0..=1.0).contains(&p), "{}", p);
        prop_assert_eq!(LiveThreads::from_bytes(&live.to_bytes()), Some(live));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(live) = LiveThreads::from_bytes(&bytes) {
            prop_assert_eq!(live.to_bytes(), bytes);
        }
    }
}
