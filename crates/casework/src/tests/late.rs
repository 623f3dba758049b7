use model::Timestamp;
use proptest::prelude::*;

use super::{answer, asks_for_private_message, at, complaint, policy};
use crate::{Answered, Case, ClockView, Input, Said, decide};

const START: &str = "2026-03-27T08:00:00Z";

#[derive(Debug, Clone)]
enum Post {
    Customer(i64),
    Answer(i64, bool),
}

impl Post {
    fn input(&self, seen_at: Timestamp) -> Input {
        let when = |ms: &i64| at(START).plus_millis(*ms).to_string();
        match self {
            // Heard at once, as far as clocks go: only the arrival differs.
            Self::Customer(ms) => Input::Said(Said { ..complaint(&format!("c{ms}"), &when(ms)) }),
            Self::Answer(ms, waits) => {
                let name = format!("a{ms}");
                let made = if *waits {
                    asks_for_private_message(&name, &when(ms))
                } else {
                    answer(&name, &when(ms))
                };
                Input::Answered(Answered { seen_at, ..made })
            }
        }
    }
}

fn run(posts: &[Post]) -> Case {
    let now = at("2026-06-01T00:00:00Z");
    let mut policy = policy();
    policy.close_when_silent_ms = 0;
    let mut case = None;
    for post in posts {
        case = decide(case.as_ref(), &post.input(now), now, &policy).next;
    }
    case.unwrap()
}

fn views(case: &Case) -> Vec<ClockView> {
    let mut views = case.clocks_at(at("2026-06-01T00:00:00Z"), &policy());
    views.sort_by_key(|v| (v.kind, v.side, v.started_at));
    views
}

fn posts() -> impl Strategy<Value = Vec<Post>> {
    let post = (1..500_000_000_i64, any::<Option<bool>>()).prop_map(|(ms, answer)| match answer {
        None => Post::Customer(ms),
        Some(waits) => Post::Answer(ms, waits),
    });
    let others = prop::collection::btree_map(any::<u16>(), post, 0..12)
        .prop_map(|m| m.into_values().collect::<Vec<_>>());
    others.prop_map(|mut others| {
        others.insert(0, Post::Customer(0));
        let key = |p: &Post| match p {
            Post::Customer(ms) | Post::Answer(ms, _) => *ms,
        };
        others.sort_by_key(key);
        others.dedup_by_key(|p| key(p));
        others
    })
}

proptest! {
    /// Whatever the order in which posts arrive, the clocks end up the same.
    #[test]
    fn clocks_do_not_depend_on_the_order_of_arrival(
        in_order in posts(),
        opener in any::<prop::sample::Index>(),
        shuffle in any::<u64>(),
    ) {
        let mut shuffled = in_order.clone();
        let customers: Vec<_> = (0..shuffled.len()).filter(|i| matches!(shuffled[*i], Post::Customer(_))).collect();
        let first = shuffled.remove(customers[opener.index(customers.len())]);
        let mut state = shuffle;
        for i in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(i, (state >> 33) as usize % (i + 1));
        }
        shuffled.insert(0, first);
        let (a, b) = (run(&in_order), run(&shuffled));
        prop_assert_eq!(views(&a), views(&b));
        prop_assert_eq!((a.state, a.waiting_since, a.answered_at), (b.state, b.waiting_since, b.answered_at));
        prop_assert_eq!(a.opened_at, b.opened_at);
    }

    /// The same inputs give the same case and the same words to the world: a replay repeats itself.
    #[test]
    fn deciding_twice_is_deciding_the_same(posts in posts()) {
        prop_assert_eq!(run(&posts), run(&posts));
    }
}
