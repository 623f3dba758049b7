//! What the classes of somebody else's model mean to us.

/// What a class says. Sentiment classes and complaint classes do not mix in one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    Negative,
    Neutral,
    Positive,
    NoComplaint,
    Complaint,
}

impl Meaning {
    /// Reads a class name as models on the usual hubs write it, in any case and with any signs between the words.
    fn of(name: &str) -> Option<Meaning> {
        let mut words = String::new();
        for c in name.chars() {
            match c.is_alphanumeric() {
                true => words.extend(c.to_lowercase()),
                false if words.ends_with(' ') || words.is_empty() => {}
                false => words.push(' '),
            }
        }
        Some(match words.trim_end() {
            "negative" | "neg" | "very negative" | "1 star" | "2 stars" => Meaning::Negative,
            "neutral" | "neu" | "3 stars" => Meaning::Neutral,
            "positive" | "pos" | "very positive" | "4 stars" | "5 stars" => Meaning::Positive,
            "no complaint" | "not complaint" | "non complaint" | "not a complaint" => Meaning::NoComplaint,
            "complaint" => Meaning::Complaint,
            _ => return None,
        })
    }

    fn is_sentiment(self) -> bool {
        matches!(self, Meaning::Negative | Meaning::Neutral | Meaning::Positive)
    }
}

/// Which question a model answers, and the answer each of its classes counts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Labels {
    /// Class to place in `Understanding::sentiment`; several classes may share one.
    Sentiment(Vec<usize>),
    /// Class to 0 (no complaint) or 1 (complaint).
    Complaint(Vec<usize>),
}

impl Labels {
    /// Reads the class names of a model.
    ///
    /// # Errors
    /// When a name says nothing we know, or all classes say the same.
    pub(crate) fn read<S: AsRef<str>>(names: &[S]) -> Result<Labels, String> {
        let mut meanings = Vec::with_capacity(names.len());
        for (class, name) in names.iter().enumerate() {
            let name = name.as_ref();
            meanings.push(Meaning::of(name).ok_or_else(|| {
                format!(
                    "class {class} is called '{name}', which says nothing: name it negative, neutral, positive, \
                     complaint or no complaint (in the setting 'labels' or in id2label)"
                )
            })?);
        }
        let sentiments = meanings.iter().filter(|meaning| meaning.is_sentiment()).count();
        if sentiments != 0 && sentiments != meanings.len() {
            return Err("the classes are partly of sentiment, partly of complaint".to_owned());
        }
        if meanings.iter().all(|meaning| *meaning == meanings[0]) {
            return Err(format!("{} classes that differ are needed, there are fewer", 2));
        }
        let places = meanings.iter().map(|meaning| match meaning {
            Meaning::Negative | Meaning::NoComplaint => 0,
            Meaning::Neutral | Meaning::Complaint => 1,
            Meaning::Positive => 2,
        });
        let places = places.collect();
        Ok(if sentiments > 0 { Labels::Sentiment(places) } else { Labels::Complaint(places) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_usual_hubs_are_known() {
        use Labels::{Complaint, Sentiment};
        for (names, expected) in [
            (&["negative", "neutral", "positive"][..], Sentiment(vec![0, 1, 2])),
            (&["POS", "NEU", "NEG"], Sentiment(vec![2, 1, 0])),
            (&["NEGATIVE", "POSITIVE"], Sentiment(vec![0, 2])),
            (&["1 star", "2 stars", "3 stars", "4 stars", "5 stars"], Sentiment(vec![0, 0, 1, 2, 2])),
            (&["Very_Negative", "Neutral", "Very-Positive"], Sentiment(vec![0, 1, 2])),
            (&["Not a complaint", "Complaint"], Complaint(vec![0, 1])),
        ] {
            assert_eq!(Labels::read(names), Ok(expected));
        }
    }

    #[test]
    fn names_that_say_nothing_are_refused_with_the_class() {
        for (names, part) in [
            (&["LABEL_0", "LABEL_1"][..], "class 0 is called 'LABEL_0'"),
            (&["negative", "joy"], "class 1 is called 'joy'"),
            (&["negative", "complaint"], "partly"),
            (&["neg", "negative"], "differ"),
            (&[""], "class 0"),
        ] {
            let told = Labels::read(names).unwrap_err();
            assert!(told.contains(part), "{told}");
        }
        assert!(Labels::read::<&str>(&[]).is_err());
    }
}
