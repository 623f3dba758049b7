//! Everybody else: people who talk about the brands of a story, and the brands' care teams.

use model::{BrandId, Timestamp};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::bodies::{self, MASTODON_HOST, Person, Skeet, Status, Tweet};
use super::texts::{self, Mood, Phrases};
use super::{Arrival, Brand};

/// Different people who talk.
const AUTHORS: u32 = 40_000;

/// One person says something about one of the brands. `number` is even and nobody else's: the brand's answer
/// has the next.
pub(super) fn say(rng: &mut StdRng, number: u64, at: Timestamp, brands: &[Brand]) -> Said {
    let brand = weighted(rng, &[40, 18, 16, 14, 12]);
    let phrases = texts::LANGUAGES[weighted(rng, &texts::LANGUAGES.map(|(_, weight)| weight))].0;
    let mood =
        [Mood::Chatter, Mood::Praise, Mood::Question, Mood::Complaint][weighted(rng, &[64, 15, 16, 5])];
    let author = rng.random_range(0..AUTHORS);
    let place = [Place::Mastodon, Place::Bluesky, Place::X][weighted(rng, &[5, 3, 2])];
    let post = Post { number, author, phrases, place, followers: followers(rng) };
    let arrival = post.say(at, &texts::write(rng, phrases, mood, brands[brand].name));
    Said { post, mood, brand, arrival }
}

/// What somebody said.
pub(super) struct Said {
    post: Post,
    pub(super) mood: Mood,
    brand: usize,
    pub(super) arrival: Arrival,
}

impl Said {
    /// The brand answers at `later`.
    pub(super) fn answer(&self, rng: &mut StdRng, later: Timestamp, brands: &[Brand]) -> Arrival {
        let brand = &brands[self.brand];
        let text = texts::write(rng, self.post.phrases, Mood::Answer, brand.name);
        self.post.answered_by(later, brand, &text)
    }
}

/// The brands that people talk about.
pub(super) fn brands() -> Vec<Brand> {
    let brand = |id: &str, name, handle: &'static str| Brand {
        id: BrandId::slugify(id),
        name,
        handle,
        accounts: vec![
            format!("mastodon:{MASTODON_HOST}:{handle}"),
            format!("bluesky-jetstream::did:plc:{handle}"),
            format!("x-v2::{}", x_account(handle)),
        ],
    };
    vec![
        brand("borealis-air", "Borealis Air", "borealisair"),
        brand("fjordbank", "Fjordbank", "fjordbank"),
        brand("casaverde", "Casaverde", "casaverde"),
        brand("zarya-mobile", "Zarya Mobile", "zaryamobile"),
        brand("tokitel", "Tokitel", "tokitel"),
    ]
}

/// The brand's number on X: far from everybody else's.
fn x_account(handle: &str) -> u64 {
    900_000_000 + handle.bytes().fold(0, |sum, b| sum * 31 % 99_991 + u64::from(b))
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Mastodon,
    Bluesky,
    X,
}

/// One post of the background; its answer has the next number.
struct Post {
    number: u64,
    author: u32,
    phrases: &'static Phrases,
    place: Place,
    followers: u64,
}

impl Post {
    fn say(&self, at: Timestamp, text: &str) -> Arrival {
        match self.place {
            Place::Mastodon => self.status(at, &person(self.author, self.followers), self.number, text, None),
            Place::Bluesky => self.skeet(at, &bodies::did(self.author), self.number, text, None),
            Place::X => {
                let username = format!("person{}", self.author);
                self.tweet(at, u64::from(self.author), &username, self.followers, self.number, text, None)
            }
        }
    }

    fn answered_by(&self, at: Timestamp, brand: &Brand, text: &str) -> Arrival {
        let number = self.number + 1;
        match self.place {
            Place::Mastodon => {
                let account = Person {
                    name: brand.handle.to_owned(),
                    display_name: brand.name.to_owned(),
                    followers: 20_000,
                };
                self.status(at, &account, number, text, Some(status_id(self.number)))
            }
            Place::Bluesky => {
                let asker = bodies::did(self.author);
                let own = format!("did:plc:{}", brand.handle);
                self.skeet(at, &own, number, text, Some((&asker, self.number)))
            }
            Place::X => {
                self.tweet(at, x_account(brand.handle), brand.handle, 20_000, number, text, Some(self.number))
            }
        }
    }

    fn status(
        &self,
        at: Timestamp,
        author: &Person,
        number: u64,
        text: &str,
        reply_to: Option<u64>,
    ) -> Arrival {
        let language = self.phrases.language;
        let status = Status { id: status_id(number), author, text, language, reply_to, is_direct: false };
        bodies::mastodon(at, &status)
    }

    fn skeet(
        &self,
        at: Timestamp,
        did: &str,
        number: u64,
        text: &str,
        reply_to: Option<(&str, u64)>,
    ) -> Arrival {
        bodies::bluesky(at, &Skeet { did, number, language: self.phrases.language, text, reply_to })
    }

    #[expect(clippy::too_many_arguments, reason = "each is one field of the post")]
    fn tweet(
        &self,
        at: Timestamp,
        author: u64,
        username: &str,
        followers: u64,
        number: u64,
        text: &str,
        reply_to: Option<u64>,
    ) -> Arrival {
        let language = self.phrases.language;
        bodies::x_v2(at, &Tweet { author, username, followers, number, language, text, reply_to })
    }
}

pub(super) fn person(number: u32, followers: u64) -> Person {
    const NAMES: [&str; 12] =
        ["Ada", "Bruno", "Chiara", "Dmitri", "Emi", "Farah", "Goran", "Hanna", "Ivo", "Jun", "Katya", "Luca"];
    let mut rng = StdRng::seed_from_u64(u64::from(number));
    let name = NAMES.choose(&mut rng).copied().unwrap_or("Ada");
    Person { name: format!("{}_{number}", name.to_lowercase()), display_name: name.to_owned(), followers }
}

/// Followers as they are spread among people: most have few, a few have many.
fn followers(rng: &mut StdRng) -> u64 {
    let u: f64 = rng.random_range(0.000_01..1.0);
    (60.0 * u.powf(-0.75)) as u64
}

fn status_id(number: u64) -> u64 {
    1_000_000_000 + number
}

pub(super) fn weighted<const N: usize>(rng: &mut StdRng, weights: &[u32; N]) -> usize {
    let mut left = rng.random_range(0..weights.iter().sum::<u32>());
    for (i, weight) in weights.iter().enumerate() {
        if left < *weight {
            return i;
        }
        left -= weight;
    }
    N - 1
}
