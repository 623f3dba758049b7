//! What the counting step publishes for one subject and one second.

use crate::sketch::DistinctSketch;

/// The posts about one subject witnessed in one second, summed.
///
/// Every field adds, or unites, or takes the larger, so partial tallies merge to the same result
/// in any grouping and order. Sums saturate instead of wrapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The second the posts were witnessed in, unix seconds; a merge keeps the later one.
    pub at_s: i64,
    /// How many posts.
    pub posts: u32,
    /// Sum of each post's probability of being a complaint, in thousandths.
    pub complaints_milli: u64,
    /// Sum of each post's severity (0 none to 4 blame) times its complaint probability, in thousandths.
    pub severity_milli: u64,
    /// Sum of each post's arousal (0..1) times its complaint probability, in thousandths.
    pub arousal_milli: u64,
    /// Sum of the authors' followers.
    pub reach: u64,
    /// Which authors wrote, by hash of the author id.
    pub authors: DistinctSketch,
    /// Which texts were written, by hash of the near-copy fingerprint: copies set the same bit.
    pub texts: DistinctSketch,
    /// The largest complaint probability among the posts, in thousandths.
    pub max_complaint_milli: u16,
}

/// One post as the counting step sees it; see [`Tally::add`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Post {
    /// Probability of being a complaint, 0..1.
    pub complaint: f32,
    /// Severity, 0 (none) to 4 (blame).
    pub severity: f32,
    /// Arousal, 0..1.
    pub arousal: f32,
    /// The author's followers, 0 if unknown.
    pub followers: u64,
    /// A hash of the author's id.
    pub author: u64,
    /// A hash that near-copies of a text share.
    pub text: u64,
}

impl Tally {
    /// An empty tally for one second.
    pub fn at(at_s: i64) -> Self {
        Self { at_s, ..Self::default() }
    }

    /// Adds one post. Values out of range are brought into it, NaN counts as 0.
    pub fn add(&mut self, post: Post) {
        let complaint = unit(post.complaint);
        let severity = if post.severity > 0.0 { post.severity.min(4.0) } else { 0.0 };
        let milli = |value: f32| (value * 1000.0).round() as u64;
        let mut one = Self {
            at_s: self.at_s,
            posts: 1,
            complaints_milli: milli(complaint),
            severity_milli: milli(severity * complaint),
            arousal_milli: milli(unit(post.arousal) * complaint),
            reach: post.followers,
            max_complaint_milli: milli(complaint) as u16,
            ..Self::default()
        };
        one.authors.add(post.author);
        one.texts.add(post.text);
        self.merge(&one);
    }

    /// Adds the other tally's posts to this one.
    pub fn merge(&mut self, other: &Self) {
        self.at_s = self.at_s.max(other.at_s);
        self.posts = self.posts.saturating_add(other.posts);
        self.complaints_milli = self.complaints_milli.saturating_add(other.complaints_milli);
        self.severity_milli = self.severity_milli.saturating_add(other.severity_milli);
        self.arousal_milli = self.arousal_milli.saturating_add(other.arousal_milli);
        self.reach = self.reach.saturating_add(other.reach);
        self.authors.merge(other.authors);
        self.texts.merge(other.texts);
        self.max_complaint_milli = self.max_complaint_milli.max(other.max_complaint_milli);
    }
}

/// A probability: NaN and negatives become 0, more than one becomes 1.
fn unit(value: f32) -> f32 {
    if value > 0.0 { value.min(1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn post() -> impl Strategy<Value = Post> {
        (any::<f32>(), any::<f32>(), any::<f32>(), any::<u64>(), 0u64..50, 0u64..50).prop_map(
            |(complaint, severity, arousal, followers, author, text)| Post {
                complaint,
                severity,
                arousal,
                followers,
                author,
                text,
            },
        )
    }

    proptest! {
        #[test]
        fn any_grouping_and_order_merges_to_the_same(
            posts in prop::collection::vec((0i64..5, post()), 1..40),
            groups in prop::collection::vec(0usize..4, 40),
            reversed in any::<bool>(),
        ) {
            let single = |(at_s, post): &(i64, Post)| { let mut t = Tally::at(*at_s); t.add(*post); t };
            let mut whole = Tally::at(0);
            posts.iter().for_each(|p| whole.merge(&single(p)));
            let mut parts = [Tally::at(0); 4];
            posts.iter().zip(&groups).for_each(|(p, &g)| parts[g].merge(&single(p)));
            if reversed { parts.reverse(); }
            let mut merged = Tally::at(0);
            parts.iter().for_each(|part| merged.merge(part));
            prop_assert_eq!(merged, whole);
            prop_assert!(whole.complaints_milli <= 1000 * u64::from(whole.posts));
        }
    }
}
