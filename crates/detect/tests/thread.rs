//! What a forecast promises for any thread, and that fitting is repeatable.

use detect::{
    simulate::ThreadParams,
    thread::{AGES_S, CascadeModel, FitError, HORIZON_S, ModelError, Thread, ThreadState},
};
use proptest::prelude::*;
use std::sync::OnceLock;

fn shipped() -> &'static CascadeModel {
    static MODEL: OnceLock<CascadeModel> = OnceLock::new();
    MODEL.get_or_init(CascadeModel::shipped)
}

#[test]
fn the_shipped_model_is_read_and_written_back() {
    assert_eq!(&CascadeModel::from_bytes(&shipped().to_bytes()).unwrap(), shipped());
}

#[test]
fn a_live_thread_is_96_bytes() {
    assert_eq!(size_of::<ThreadState>(), 96);
}

#[test]
fn simulated_threads_repeat_and_parents_come_first() {
    let params = ThreadParams::drawn(3);
    let thread = Thread::generate(3, &params);
    assert_eq!(thread, Thread::generate(3, &params));
    assert!(thread.is_sorted_by_key(|reaction| reaction.at_s));
    for (index, reaction) in thread.iter().enumerate() {
        assert!(
            reaction.parent.is_none_or(
                |parent| thread[parent as usize].at_s <= reaction.at_s && parent as usize != index
            )
        );
    }
}

#[test]
fn a_fit_repeats_knows_its_kind_and_refuses_too_few() {
    let threads: Vec<Thread> =
        (0..160).map(|seed| Thread::simulated(seed, &ThreadParams::drawn(seed))).collect();
    assert_eq!(CascadeModel::fit(&threads[..5]), Err(FitError::TooFew(5)));
    let (model, scores) = CascadeModel::fit_scored(&threads[..80]).unwrap();
    assert_eq!(CascadeModel::fit(&threads[..80]).unwrap().to_bytes(), model.to_bytes());
    assert_eq!(scores.len(), AGES_S.len());
    // On threads it has not seen, it is nearer than taking the count so far for the end.
    let error = |guess: &dyn Fn(&ThreadState) -> f32| -> f32 {
        let mut sum = 0.0;
        for thread in &threads[80..] {
            let mut state = ThreadState::new(0, thread.root_followers);
            thread
                .reactions
                .iter()
                .take_while(|r| r.0 <= 3600)
                .for_each(|r| state.reaction(i64::from(r.0), r.1));
            sum += ((guess(&state) + 1.0) / (thread.reactions.len() as f32 + 1.0)).ln().abs();
        }
        sum
    };
    let (forecast, count) = (error(&|s| model.forecast(s, 3600).expected_final), error(&|s| s.seen() as f32));
    assert!(forecast < 0.9 * count, "{forecast} {count}");
}

#[test]
fn a_thread_that_took_off_is_told_from_one_that_died() {
    let mut hot = ThreadState::new(0, 50_000);
    (1..=400).for_each(|i| hot.reaction(i * 9, 300));
    let mut dead = ThreadState::new(0, 50_000);
    (1..=12).for_each(|i| dead.reaction(i * 20, 300));
    let (hot, dead) = (shipped().forecast(&hot, 3600), shipped().forecast(&dead, 3600));
    assert!(hot.p_at_least(1000.0) > 0.5, "{}", hot.p_at_least(1000.0));
    assert!(dead.p_at_least(1000.0) < 0.1, "{}", dead.p_at_least(1000.0));
    assert!(hot.answer_within_s(1.0) == Some(0.0) && hot.doubling_s.is_some());
}

#[test]
fn the_time_left_counts_the_authors_followers_once_and_those_of_each_reaction() {
    let mut thread = ThreadState::new(0, 100_000);
    (1..=400).for_each(|i| thread.reaction(i * 9, 300));
    let forecast = shipped().forecast(&thread, 3600);
    assert!((thread.reach() - 220_000.0).abs() < 100.0, "{}", thread.reach());
    // A hundred more reactions bring thirty thousand more people.
    let left_s = forecast.answer_within_s(250_000.0).unwrap();
    assert!((forecast.expected_at(left_s) - 500.0).abs() < 5.0, "{}", forecast.expected_at(left_s));
    assert_eq!(forecast.answer_within_s(220_000.0 - 100.0), Some(0.0));
    assert_eq!(forecast.answer_within_s(1e9), None);
    let times: Vec<f32> =
        (0..20).map_while(|k| forecast.answer_within_s(220_000.0 + k as f32 * 1e4)).collect();
    assert!(times.len() > 5 && times.is_sorted(), "{times:?}");
    // Where no followers are told, a hundred each are assumed.
    let mut unknown = ThreadState::new(0, 0);
    (1..=400).for_each(|i| unknown.reaction(i * 9, 0));
    let left_s = shipped().forecast(&unknown, 3600).answer_within_s(45_000.0);
    assert!(left_s.is_some_and(|left_s| left_s > 0.0), "{left_s:?}");
}

#[test]
fn damaged_models_are_refused() {
    let bytes = shipped().to_bytes();
    assert_eq!(CascadeModel::from_bytes(b"something else"), Err(ModelError::NotAModel));
    assert_eq!(CascadeModel::from_bytes(&bytes[..bytes.len() - 1]), Err(ModelError::Damaged));
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(CascadeModel::from_bytes(&longer), Err(ModelError::Damaged));
}

fn any_thread() -> impl Strategy<Value = (u64, Vec<(i64, u64)>)> {
    let followers = prop_oneof![Just(0u64), 1u64..1000, any::<u64>()];
    let gap = prop_oneof![5 => 0i64..600, 1 => -5000i64..2_000_000];
    (followers.clone(), prop::collection::vec((gap, followers), 0..150)).prop_map(|(root, all)| {
        let mut now_s = 0;
        (
            root,
            all.into_iter()
                .map(|(gap, followers)| {
                    now_s += gap;
                    (now_s, followers)
                })
                .collect(),
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn forecasts_are_finite_and_consistent((root, reactions) in any_thread(), now_s in -10i64..3_000_000) {
        let mut state = ThreadState::new(0, root);
        reactions.iter().for_each(|r| state.reaction(r.0, r.1));
        prop_assert_eq!(ThreadState::from_bytes(&state.to_bytes()), Some(state));
        let f = shipped().forecast(&state, now_s);
        prop_assert!([f.expected_final, f.low, f.high].iter().all(|v| v.is_finite()));
        prop_assert!(f.seen as f32 <= f.low && f.low <= f.expected_final && f.expected_final <= f.high);
        prop_assert!(f.doubling_s.is_none_or(|s| (0.0..=HORIZON_S as f32).contains(&s)));
        let mut before = 1.0;
        for size in [0.0, 1.0, 10.0, 100.0, 500.0, 1000.0, 1e4, 1e6] {
            let p = f.p_at_least(size);
            prop_assert!((0.0..=1.0).contains(&p) && p <= before + 1e-6, "{} {}", p, before);
            before = p;
        }
        let mut seen = f.seen as f32;
        for after_s in [0.0, 60.0, 3600.0, 86_400.0, 1e9] {
            let expected = f.expected_at(after_s);
            prop_assert!(expected.is_finite() && expected >= seen - 0.01 * seen.abs() - 1e-3);
            seen = expected;
        }
        prop_assert!(f.answer_within_s(1e4).is_none_or(|s| s.is_finite() && s >= 0.0));
    }

    #[test]
    fn no_bytes_make_a_model_panic(at in 0usize..150_000, byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut bytes = shipped().to_bytes();
        let index = at.min(bytes.len() - 1);
        bytes[index] = byte;
        if let Ok(model) = CascadeModel::from_bytes(&bytes) {
            let mut state = ThreadState::new(0, 10);
            state.reaction(30, 5);
            let f = model.forecast(&state, 600);
            prop_assert!(f.expected_final.is_finite() && f.high.is_finite());
        }
        let _ = CascadeModel::from_bytes(&bytes[..cut.index(bytes.len())]);
    }
}
