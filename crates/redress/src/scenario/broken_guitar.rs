//! The story of the broken guitar: twenty-six hours in which a complaint nobody answered becomes a song.

use detect::simulate::{self, Rhythmic, ThreadParams};
use detect::thread::Thread;
use model::{BrandId, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::bodies::{self, Person, Status};
use super::crowd::{self, person, weighted};
use super::texts::{self, Mood};
use super::{Arrival, Brand, Scenario};

const HOUR_S: i64 = 3_600;
pub(super) const SPAN_S: i64 = 26 * HOUR_S;
/// Background posts over the whole story.
const BACKGROUND_POSTS: usize = 36_000;

/// The customer's moments, in seconds from the beginning (which is six in the morning).
mod moment {
    use super::HOUR_S;
    pub(super) const WRITES_PRIVATELY: i64 = 2 * HOUR_S + 640;
    pub(super) const WRITES_AGAIN: i64 = 5 * HOUR_S;
    /// After the four hours in which somebody should have answered.
    pub(super) const PUBLISHES: i64 = 7 * HOUR_S + 900;
    pub(super) const BRAND_ANSWERS: i64 = PUBLISHES + 75 * 60;
    pub(super) const CUSTOMER_REPLIES: i64 = BRAND_ANSWERS + 35 * 60;
    pub(super) const WON_BACK: i64 = BRAND_ANSWERS + 6 * HOUR_S;
}

/// After the brand has answered, this share of the reactions that would have come still comes.
const SHARE_AFTER_ANSWER: f64 = 0.3;

pub(super) fn build(starts_at: Timestamp, seed: u64) -> Scenario {
    let mut rng = StdRng::seed_from_u64(seed);
    let brands = crowd::brands();
    let mut arrivals = background(&mut rng, seed, starts_at, &brands);
    arrivals.extend(story(&mut rng, seed, starts_at));
    // A stable sort: two posts of one instant keep the order in which they were told.
    arrivals.sort_by_key(|a| a.at);
    let protagonist = BrandId::slugify("borealis-air");
    Scenario { starts_at, ends_at: starts_at.plus_millis(SPAN_S * 1_000), brands, protagonist, arrivals }
}

fn background(rng: &mut StdRng, seed: u64, starts_at: Timestamp, brands: &[Brand]) -> Vec<Arrival> {
    let per_second = BACKGROUND_POSTS as f64 / SPAN_S as f64;
    let rhythm = Rhythmic { day: 0.6, wander: 0.15, ..Rhythmic::default() };
    let times = simulate::background(seed, per_second, starts_at.as_seconds(), SPAN_S, &rhythm, &[]);
    let mut told = Vec::new();
    for (number, at_s) in times.into_iter().enumerate() {
        let at = Timestamp::from_micros(at_s * 1_000_000 + rng.random_range(0..1_000_000));
        let said = crowd::say(rng, number as u64 * 2, at, brands);
        // Care teams are at work: most complaints are answered within the hour, some never.
        let answered = said.mood == Mood::Complaint && rng.random_bool(0.85);
        let answer = answered.then(|| {
            let later = at.plus_millis(rng.random_range(4 * 60_000..26 * 60_000));
            said.answer(rng, later, brands)
        });
        told.push(said.arrival);
        told.extend(answer);
    }
    told
}

/// A song that people pass on: slow at first, thousands in a day if nobody does anything.
fn spreading(root_followers: u64) -> ThreadParams {
    ThreadParams {
        root_followers,
        infectiousness: 0.006,
        freshness_s: 2.0 * 3_600.0,
        waiting: 0.6,
        followers_median: 100.0,
        rhythm: 0.0,
        span_s: SPAN_S - moment::PUBLISHES,
        reactions_max: 6_000,
        ..ThreadParams::default()
    }
}

/// The customer, the brand, and everybody who joins in.
fn story(rng: &mut StdRng, seed: u64, starts_at: Timestamp) -> Vec<Arrival> {
    let at = |s: i64| starts_at.plus_millis(s * 1_000);
    let marek = Person { name: "marek_strings".into(), display_name: "Marek Holt".into(), followers: 2_900 };
    let brand = Person { name: "borealisair".into(), display_name: "Borealis Air".into(), followers: 48_200 };
    let say = |id, author, text, reply_to, is_direct| Status {
        id,
        author,
        text,
        language: "en",
        reply_to,
        is_direct,
    };

    let letter = say(
        9_000_001,
        &marek,
        "@borealisair Hello Borealis Air, on flight BA 212 yesterday your baggage \
        handlers threw my guitar case and the neck is broken. It is my work instrument. I reported it at the desk and \
        was sent away. Please tell me how you will repair this.",
        None,
        true,
    );
    let reminder = say(
        9_000_002,
        &marek,
        "@borealisair Three hours and no answer at all. I need this guitar on Friday. \
        Will anybody at Borealis Air reply to me?",
        Some(letter.id),
        true,
    );
    let song = say(
        9_000_003,
        &marek,
        "Borealis Air broke my guitar and refuses to pay for it. I have been ignored for \
        hours, nobody answers. You are to blame, this is unacceptable. So I wrote a song about it. Please share: \
        https://song.example/borealis-breaks-guitars",
        None,
        false,
    );
    let answer = say(
        9_000_004,
        &brand,
        "@marek_strings Marek, we are sorry. Our team damaged your guitar and then \
        left you without an answer. We will pay for a new one: Lena from our care team is calling you now and the \
        money will be with you today.",
        Some(song.id),
        false,
    );
    let hopeful = say(
        9_000_005,
        &marek,
        "@borealisair Lena called me. I am waiting for the money now and will tell everybody here how this ends.",
        Some(song.id),
        false,
    );
    let ending = say(
        9_000_006,
        &marek,
        "@borealisair The money for a new guitar arrived today, with an honest apology. \
        Thank you Lena! All settled, I am happy and I will fly with Borealis Air again.",
        Some(song.id),
        false,
    );

    let mut arrivals = vec![
        bodies::mastodon(at(moment::WRITES_PRIVATELY), &letter),
        bodies::mastodon(at(moment::WRITES_AGAIN), &reminder),
        bodies::mastodon(at(moment::PUBLISHES), &song),
        bodies::mastodon(at(moment::BRAND_ANSWERS), &answer),
        bodies::mastodon(at(moment::CUSTOMER_REPLIES), &hopeful),
        bodies::mastodon(at(moment::WON_BACK), &ending),
    ];
    for (i, reaction) in Thread::generate(seed, &spreading(marek.followers)).into_iter().enumerate() {
        let after_s = moment::PUBLISHES + reaction.at_s;
        if after_s >= SPAN_S || (after_s > moment::BRAND_ANSWERS && !rng.random_bool(SHARE_AFTER_ANSWER)) {
            continue;
        }
        let when = at(after_s).plus_millis(rng.random_range(0..1_000));
        let who = person(100_000 + i as u32, reaction.followers);
        let id = 9_100_000 + i as u64;
        arrivals.push(if rng.random_bool(0.55) {
            bodies::boost(when, id, &who, &song, at(moment::PUBLISHES))
        } else {
            let phrases = texts::LANGUAGES[weighted(rng, &texts::LANGUAGES.map(|(_, weight)| weight))].0;
            let text = texts::write(rng, phrases, Mood::JoiningIn, "Borealis Air");
            let reply = Status {
                id,
                author: &who,
                text: &text,
                language: phrases.language,
                reply_to: Some(song.id),
                is_direct: false,
            };
            bodies::mastodon(when, &reply)
        });
    }
    arrivals
}
