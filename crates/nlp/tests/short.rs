//! The language of a few words: what people type in a hurry is read in the language it is in.

use nlp::{Hint, Model, Scratch};

const ENGLISH: [&str; 47] = [
    "hi",
    "hello",
    "hey there",
    "acme refund",
    "waiting for my parcel",
    "parcel late again",
    "refund please",
    "where is my order",
    "help me please",
    "app down",
    "is the app down?",
    "card blocked",
    "broken phone",
    "hotel was fine",
    "great service",
    "bad service",
    "train late",
    "bus 12 please",
    "I am home",
    "good night all",
    "see you soon",
    "what a day",
    "my order is late",
    "order number 1234",
    "delivery today?",
    "still no parcel",
    "my bag is lost",
    "lost my bag",
    "price went up",
    "too expensive",
    "cancel my account",
    "unsubscribe",
    "any news?",
    "driver was rude",
    "pay me back",
    "the food was cold",
    "internet down again",
    "never again",
    "love this song",
    "best phone ever",
    "my mum likes it",
    "acme app",
    "acme card",
    "kiteline flight delayed",
    "support is useless",
    "send me a mail",
    "meeting at nine",
];
const HINDI: [&str; 16] = [
    "kya hua",
    "bahut accha",
    "mera parcel kahan hai",
    "paisa wapas karo",
    "kab aayega",
    "bhai kya baat hai",
    "nahi mila",
    "mera order nahi aaya",
    "refund kab milega",
    "app nahi chal raha",
    "bekar service",
    "theek hai",
    "koi jawab nahi deta",
    "aaj bhi late",
    "phone kharab ho gaya",
    "sab chor hain",
];

fn read_otherwise(texts: &[&'static str], language: &str) -> Vec<(&'static str, String)> {
    let (model, mut scratch) = (Model::shipped(), Scratch::default());
    let read = |text: &'static str| {
        let found = model.understand(&mut scratch, text, Hint::default()).language;
        (text, found.as_str().to_owned())
    };
    texts.iter().copied().map(read).filter(|(_, found)| found != language).collect()
}

#[test]
fn short_plain_english_is_not_taken_for_romanised_hindi() {
    let wrong = read_otherwise(&ENGLISH, "en");
    assert!(wrong.len() <= 2, "{wrong:?}");
}

#[test]
fn short_romanised_hindi_is_not_taken_for_english() {
    let wrong = read_otherwise(&HINDI, "hi-Latn");
    assert!(wrong.len() <= 1, "{wrong:?}");
}
