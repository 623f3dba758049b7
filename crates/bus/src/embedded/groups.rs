//! Who owns which partition. Pure: the writer thread alone changes it, between two commits.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Partition, Topic};

/// Every group of the log.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: BTreeMap<String, BTreeMap<String, Member>>,
    /// The last epoch and incarnation handed out; never reused, so that old ones are recognised.
    last: u64,
}

/// One place in a group, taken by one handle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seat {
    pub(super) group: String,
    pub(super) member: String,
    /// Differs for each handle that took the place.
    pub(super) incarnation: u64,
}

#[derive(Debug)]
pub(super) struct Member {
    incarnation: u64,
    topics: BTreeSet<Topic>,
    /// Raised when `owned` changes and when a commit was aborted.
    pub(super) epoch: u64,
    pub(super) owned: BTreeSet<Partition>,
}

impl Groups {
    /// Takes the place `member`, from whoever had it, and shares the partitions out anew.
    pub(super) fn join(
        &mut self,
        group: &str,
        member: &str,
        topics: &[Topic],
        partitions: impl Fn(Topic) -> i32,
    ) -> Seat {
        let incarnation = self.next();
        let topics = topics.iter().copied().collect();
        let newcomer = Member { incarnation, topics, epoch: incarnation, owned: BTreeSet::new() };
        self.groups.entry(group.to_owned()).or_default().insert(member.to_owned(), newcomer);
        self.share_out(group, partitions);
        Seat { group: group.to_owned(), member: member.to_owned(), incarnation }
    }

    /// Gives the place up, if it is still this handle's.
    pub(super) fn leave(&mut self, seat: &Seat, partitions: impl Fn(Topic) -> i32) {
        if self.member(seat).is_none() {
            return;
        }
        if let Some(members) = self.groups.get_mut(&seat.group) {
            members.remove(&seat.member);
            if members.is_empty() {
                self.groups.remove(&seat.group);
            }
        }
        self.share_out(&seat.group, partitions);
    }

    /// The member on that seat; `None` when another handle took the place or it was given up.
    pub(super) fn member(&self, seat: &Seat) -> Option<&Member> {
        self.groups.get(&seat.group)?.get(&seat.member).filter(|m| m.incarnation == seat.incarnation)
    }

    /// Every partition that somebody reads, with the group that does.
    pub(super) fn read(&self) -> impl Iterator<Item = (&str, Partition)> {
        self.groups.iter().flat_map(|(group, members)| {
            let owned = members.values().flat_map(|m| m.owned.iter());
            owned.map(move |partition| (group.as_str(), *partition))
        })
    }

    /// Begins a new epoch: what was handed out before is void.
    pub(super) fn void(&mut self, seat: &Seat) {
        let epoch = self.next();
        if self.member(seat).is_some()
            && let Some(member) = self.groups.get_mut(&seat.group).and_then(|g| g.get_mut(&seat.member))
        {
            member.epoch = epoch;
        }
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn share_out(&mut self, group: &str, partitions: impl Fn(Topic) -> i32) {
        let Some(members) = self.groups.get_mut(group) else { return };
        let topics: BTreeSet<Topic> = members.values().flat_map(|m| m.topics.iter().copied()).collect();
        let mut shares: BTreeMap<String, BTreeSet<Partition>> = BTreeMap::new();
        for topic in topics {
            let subscribed: Vec<(&str, BTreeSet<Partition>)> = members
                .iter()
                .filter(|(_, m)| m.topics.contains(&topic))
                .map(|(name, m)| {
                    (name.as_str(), m.owned.iter().filter(|p| p.topic == topic).copied().collect())
                })
                .collect();
            for (name, share) in share_topic(topic, partitions(topic), subscribed) {
                shares.entry(name.to_owned()).or_default().extend(share);
            }
        }
        for (name, member) in members {
            let share = shares.remove(name).unwrap_or_default();
            if share != member.owned {
                member.owned = share;
                self.last += 1;
                member.epoch = self.last;
            }
        }
    }
}

/// Even shares that differ by at most one; everyone keeps as much of what it had as its share allows.
fn share_topic(
    topic: Topic,
    partitions: i32,
    mut members: Vec<(&str, BTreeSet<Partition>)>,
) -> Vec<(&str, BTreeSet<Partition>)> {
    // Those who have most get the larger shares: less moves.
    members.sort_by_key(|(name, owned)| (std::cmp::Reverse(owned.len()), *name));
    let count = members.len();
    let (small, larger) = (partitions as usize / count, partitions as usize % count);
    let mut free: BTreeSet<Partition> = (0..partitions).map(|number| Partition { topic, number }).collect();
    for (place, (_, owned)) in members.iter_mut().enumerate() {
        let share = small + usize::from(place < larger);
        *owned = owned.iter().filter(|p| free.contains(p)).take(share).copied().collect();
        free.retain(|p| !owned.contains(p));
    }
    for (place, (_, owned)) in members.iter_mut().enumerate() {
        let share = small + usize::from(place < larger);
        while owned.len() < share
            && let Some(partition) = free.pop_first()
        {
            owned.insert(partition);
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOPICS: [Topic; 2] = [Topic::Mentions, Topic::Verdicts];

    fn count(topic: Topic) -> i32 {
        if topic == Topic::Mentions { 7 } else { 4 }
    }

    proptest! {
        #[test]
        fn each_partition_has_one_owner_and_shares_are_even(
            moves in proptest::collection::vec((0..5_usize, any::<bool>()), 1..40)
        ) {
            let mut groups = Groups::default();
            let mut seats: BTreeMap<usize, Seat> = BTreeMap::new();
            for (who, joins) in moves {
                if joins {
                    seats.insert(who, groups.join("g", &format!("m{who}"), &TOPICS, count));
                } else if let Some(seat) = seats.remove(&who) {
                    groups.leave(&seat, count);
                }
                let owned: Vec<_> = seats.values().map(|s| groups.member(s).unwrap().owned.clone()).collect();
                for topic in TOPICS {
                    let shares: Vec<usize> =
                        owned.iter().map(|o| o.iter().filter(|p| p.topic == topic).count()).collect();
                    if let (Some(most), Some(least)) = (shares.iter().max(), shares.iter().min()) {
                        prop_assert!(most - least <= 1, "{:?}", shares);
                        prop_assert_eq!(shares.iter().sum::<usize>() as i32, count(topic));
                    }
                }
                let all: BTreeSet<_> = owned.iter().flatten().collect();
                prop_assert_eq!(all.len(), owned.iter().map(BTreeSet::len).sum::<usize>());
            }
        }
    }

    #[test]
    fn a_newcomer_takes_only_its_share() {
        let mut groups = Groups::default();
        let one = groups.join("g", "one", &[Topic::Mentions], count);
        let before = groups.member(&one).unwrap().owned.clone();
        let two = groups.join("g", "two", &[Topic::Mentions], count);
        assert_eq!(groups.member(&two).unwrap().owned.len(), 3);
        assert!(groups.member(&one).unwrap().owned.is_subset(&before));
    }

    #[test]
    fn a_member_of_the_same_name_takes_the_place() {
        let mut groups = Groups::default();
        let old = groups.join("g", "one", &TOPICS, count);
        let new = groups.join("g", "one", &TOPICS, count);
        assert!(groups.member(&old).is_none());
        assert_eq!(groups.member(&new).unwrap().owned.len(), 11);
        groups.leave(&old, count);
        assert!(groups.member(&new).is_some());
    }

    #[test]
    fn an_untouched_member_keeps_its_epoch() {
        let mut groups = Groups::default();
        let one = groups.join("g", "one", &[Topic::Mentions], count);
        let epoch = groups.member(&one).unwrap().epoch;
        groups.join("g", "other", &[Topic::Verdicts], count);
        assert_eq!(groups.member(&one).unwrap().epoch, epoch);
        groups.void(&one);
        assert!(groups.member(&one).unwrap().epoch > epoch);
    }
}
