//! Plainly severe complaints are found in every language, and talk that uses such words is not called one.

use std::collections::BTreeMap;

use nlp::{Hint, Model, Scratch};

/// Lines of `yes` or `no`, language, text.
const TEXTS: &str = include_str!("severe.txt");

struct Checked {
    severe: bool,
    language: &'static str,
    text: &'static str,
    right: bool,
}

fn checked() -> Vec<Checked> {
    let (model, mut scratch) = (Model::shipped(), Scratch::default());
    let lines = TEXTS.lines().filter(|line| !line.starts_with('#'));
    let fields = lines.filter_map(|line| {
        let mut fields = line.splitn(3, '\t');
        Some((fields.next()?, fields.next()?, fields.next()?))
    });
    fields
        .map(|(sign, language, text)| {
            let answer = model.understand(&mut scratch, text, Hint::default());
            let severe = sign == "yes";
            let right = match severe {
                true => answer.complaint >= 0.5 && answer.severity.level >= 2,
                false => answer.complaint < 0.5,
            };
            Checked { severe, language, text, right }
        })
        .collect()
}

fn wrong<'a>(all: &'a [Checked], severe: bool) -> Vec<&'a str> {
    all.iter().filter(|one| one.severe == severe && !one.right).map(|one| one.text).collect()
}

#[test]
fn severe_complaints_are_found_and_chatter_about_harm_is_not_one() {
    let all = checked();
    assert!(all.len() >= 120, "{} texts", all.len());
    let (missed, called) = (wrong(&all, true), wrong(&all, false));
    let (severe, other): (Vec<&Checked>, Vec<&Checked>) = all.iter().partition(|one| one.severe);
    assert!(missed.len() * 10 <= severe.len(), "over one in ten missed: {missed:#?}");
    assert!(called.len() * 12 <= other.len(), "over one in twelve called a complaint: {called:#?}");
}

#[test]
fn no_language_misses_more_than_one_in_four() {
    let mut by_language: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for one in checked().iter().filter(|one| one.severe) {
        let (found, all) = by_language.entry(one.language).or_default();
        *found += usize::from(one.right);
        *all += 1;
    }
    assert_eq!(by_language.len(), 12, "twelve language variants");
    for (language, (found, all)) in by_language {
        assert!(found * 4 >= all * 3, "{language}: {found} of {all}");
    }
}
