use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use model::{BrandId, EventId, MentionEvent, MentionId};

/// What was published lately: event ids, so that a repeat is recognised, and mentions with their brands,
/// so that an answer to a known post concerns the same brand. Both forget the oldest beyond a limit.
#[derive(Debug)]
pub(crate) struct Known {
    events: Recent<()>,
    mentions: Recent<Arc<[BrandId]>>,
    /// Lists of brands that occur, so that each is kept once.
    lists: Vec<Arc<[BrandId]>>,
}

#[derive(Debug)]
struct Recent<T> {
    by_id: HashMap<u128, T>,
    order: VecDeque<u128>,
    max: usize,
}

impl<T> Recent<T> {
    fn new(max: usize) -> Self {
        Self { by_id: HashMap::new(), order: VecDeque::new(), max }
    }

    fn insert(&mut self, id: u128, value: T) {
        if self.by_id.insert(id, value).is_none() {
            self.order.push_back(id);
            if self.order.len() > self.max
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_id.remove(&oldest);
            }
        }
    }
}

impl Known {
    pub(crate) fn new(max: usize) -> Self {
        Self { events: Recent::new(max), mentions: Recent::new(max), lists: Vec::new() }
    }

    /// Was this very event published before?
    pub(crate) fn has_event(&self, id: &EventId) -> bool {
        self.events.by_id.contains_key(&id.as_uuid().as_u128())
    }

    /// The brands a published mention concerns.
    pub(crate) fn brands_of(&self, id: &MentionId) -> Option<&Arc<[BrandId]>> {
        self.mentions.by_id.get(&id.as_uuid().as_u128())
    }

    /// Remembers what the log has confirmed.
    pub(crate) fn published(&mut self, event: &MentionEvent) {
        self.remember(event.event_id, event.mention_id, &event.brands);
    }

    pub(crate) fn remember(&mut self, event: EventId, mention: MentionId, brands: &[BrandId]) {
        self.events.insert(event.as_uuid().as_u128(), ());
        if brands.is_empty() {
            return;
        }
        let list = match self.lists.iter().find(|list| ***list == *brands) {
            Some(list) => list.clone(),
            None => {
                let list: Arc<[BrandId]> = brands.into();
                // Bodies may name brands of their own; a handful of lists is normal, thousands are not.
                if self.lists.len() < 4_096 {
                    self.lists.push(list.clone());
                }
                list
            }
        };
        self.mentions.insert(mention.as_uuid().as_u128(), list);
    }
}

/// What was published lately, and what is about to be: an answer often comes together with its post.
pub(crate) struct View<'a> {
    known: &'a Known,
    events: BTreeSet<u128>,
    mentions: BTreeMap<u128, Vec<BrandId>>,
}

impl<'a> View<'a> {
    pub(crate) fn of(known: &'a Known) -> Self {
        Self { known, events: BTreeSet::new(), mentions: BTreeMap::new() }
    }

    /// Was this very event published before, or is it about to be?
    pub(crate) fn has_event(&self, id: &EventId) -> bool {
        self.known.has_event(id) || self.events.contains(&id.as_uuid().as_u128())
    }

    /// The brands a mention concerns; none when it is not known.
    pub(crate) fn brands_of(&self, id: &MentionId) -> Option<&[BrandId]> {
        let fresh = self.mentions.get(&id.as_uuid().as_u128()).map(Vec::as_slice);
        fresh.or_else(|| self.known.brands_of(id).map(AsRef::as_ref))
    }

    /// Notes an event that is about to be published.
    pub(crate) fn add(&mut self, event: &MentionEvent) {
        self.events.insert(event.event_id.as_uuid().as_u128());
        if !event.brands.is_empty() {
            self.mentions.insert(event.mention_id.as_uuid().as_u128(), event.brands.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_are_remembered_and_the_oldest_forgotten() {
        let mut known = Known::new(2);
        let ids: Vec<_> = (0..3)
            .map(|n| (EventId::derive(&[&n.to_string()]), MentionId::derive(&[&n.to_string()])))
            .collect();
        let acme = [BrandId::slugify("acme")];
        for (event, mention) in &ids {
            known.remember(*event, *mention, &acme);
        }
        assert!(!known.has_event(&ids[0].0) && known.has_event(&ids[2].0));
        assert_eq!(known.brands_of(&ids[1].1).map(|b| b.len()), Some(1));
        assert!(known.brands_of(&ids[0].1).is_none());
        assert_eq!(known.lists.len(), 1);
    }
}
