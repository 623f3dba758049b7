use std::collections::{BTreeMap, BTreeSet};

use crate::{Episode, Policy};

/// Stable, low-cardinality facts about an episode that routing looks at: `rule`, `brand`, `topic`,
/// `trigger`, `urgency`, `severity` (0..4).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels(pub BTreeMap<String, String>);

impl Labels {
    /// The labels of an episode. A thread without a known topic has an empty one.
    pub fn of(episode: &Episode) -> Self {
        let topic = episode.topic.as_ref().map_or("", |topic| topic.as_str());
        let pairs = [
            ("rule", episode.rule.as_str()),
            ("brand", episode.brand().as_str()),
            ("topic", topic),
            ("trigger", episode.trigger.label()),
            ("urgency", episode.urgency.label()),
            ("severity", ["0", "1", "2", "3", "4"][usize::from(episode.severity.level())]),
        ];
        Self(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// Reads `name=value` pairs, as people type them.
    ///
    /// # Errors
    /// The word that is no pair.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let pair = |word: &str| {
            let (name, value) = word.split_once('=').ok_or_else(|| format!("'{word}' is no NAME=VALUE"))?;
            Ok((name.to_owned(), value.to_owned()))
        };
        words.into_iter().map(pair).collect::<Result<_, String>>().map(Self)
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

/// One line of the routing table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Route {
    /// Label to pattern; all must agree. A pattern is a value, `a|b` (either), `!a` (anything else) or
    /// `a*` (begins with). No pattern at all agrees with everything.
    pub when: BTreeMap<String, String>,
    /// Destinations told.
    pub to: Vec<String>,
    /// Later routes are looked at as well.
    pub goes_on: bool,
}

impl Route {
    fn agrees(&self, labels: &Labels) -> bool {
        self.when.iter().all(|(name, pattern)| agrees(pattern, labels.get(name)))
    }
}

fn agrees(pattern: &str, value: &str) -> bool {
    if let Some(not) = pattern.strip_prefix('!') {
        return !agrees(not, value);
    }
    pattern.split('|').any(|choice| match choice.strip_suffix('*') {
        Some(start) => value.starts_with(start),
        None => choice == value,
    })
}

impl Policy {
    /// The destinations for these labels: the first route that agrees, and those after it as long as each
    /// says that routing goes on. In the order of the table, each once.
    pub fn route(&self, labels: &Labels) -> Vec<String> {
        let mut told = BTreeSet::new();
        let mut destinations = Vec::new();
        for route in self.routes.iter().filter(|route| route.agrees(labels)) {
            destinations.extend(route.to.iter().filter(|name| told.insert((*name).clone())).cloned());
            if !route.goes_on {
                break;
            }
        }
        destinations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(when: &[(&str, &str)], to: &[&str], goes_on: bool) -> Route {
        Route {
            when: when.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            to: to.iter().map(|t| (*t).to_owned()).collect(),
            goes_on,
        }
    }

    #[test]
    fn labels_lead_to_the_expected_receivers() {
        let policy = Policy {
            routes: vec![
                route(&[("brand", "acme"), ("severity", "3|4")], &["pager"], true),
                route(&[("brand", "acme")], &["acme-chat", "pager"], false),
                route(&[("topic", "!refund"), ("rule", "spreading-*")], &["social"], false),
                route(&[], &["chat"], false),
            ],
            ..Policy::default()
        };
        for (labels, expected) in [
            ("brand=acme severity=4", "pager acme-chat"),
            ("brand=acme severity=1", "acme-chat pager"),
            ("brand=other rule=spreading-thread", "social"),
            ("brand=other rule=spreading-thread topic=refund", "chat"),
            ("", "chat"),
        ] {
            let labels = Labels::parse(labels.split_whitespace()).unwrap();
            assert_eq!(policy.route(&labels).join(" "), expected, "{labels:?}");
        }
    }

    #[test]
    fn a_word_that_is_no_pair_is_named() {
        assert_eq!(Labels::parse(["brand"]).unwrap_err(), "'brand' is no NAME=VALUE");
    }
}
