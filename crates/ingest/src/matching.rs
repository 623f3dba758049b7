use std::collections::BTreeMap;

use anyhow::Context as _;
use model::{BrandId, MentionEvent, MentionOp};
use runtime::brands::Brand;
use sources::brandmatch::{BrandRule, Matcher};

use crate::known::View;

/// Why an event was left out.
pub(crate) const NO_BRAND: &str = "no_brand";

/// Decides which of our brands an event concerns.
pub(crate) struct Matching {
    matcher: Matcher,
    /// Author keys of the brands' own accounts.
    own: BTreeMap<String, BrandId>,
    has_rules: bool,
}

impl Matching {
    /// Builds the rules of `brands`.
    ///
    /// # Errors
    /// When a word would match everything, or there are too many.
    pub(crate) fn new(brands: &[Brand]) -> anyhow::Result<Self> {
        let mut rules = Vec::new();
        let mut own = BTreeMap::new();
        for brand in brands {
            let id = brand.brand_id()?;
            for account in &brand.accounts {
                own.insert(account.clone(), id.clone());
            }
            rules.push(BrandRule {
                brand: id,
                words: brand.words.iter().map(|word| word.trim_matches('"').to_owned()).collect(),
                handles: brand.handles.clone(),
                own_accounts: Vec::new(),
            });
        }
        Ok(Self { matcher: Matcher::new(&rules).context("brands")?, own, has_rules: !rules.is_empty() })
    }

    /// Sets the event's brands: those it names, else `everything_concerns`, else those of the post it
    /// answers, repeats or reacts to. Withdrawals always pass, because what they name must go wherever it
    /// lies.
    ///
    /// # Errors
    /// The label [`NO_BRAND`] when it concerns none; without any rules everything passes.
    pub(crate) fn apply(
        &self,
        event: &mut MentionEvent,
        everything_concerns: Option<&BrandId>,
        known: &View<'_>,
    ) -> Result<(), &'static str> {
        self.matcher.apply(event);
        if let Some(key) = event.author_key()
            && let Some(brand) = self.own.get(key.as_str())
        {
            event.by_brand = Some(brand.clone());
            add(event, brand);
        }
        if let Some(brand) = everything_concerns {
            add(event, brand);
        }
        if event.brands.is_empty() {
            event.brands = inherited(event, known);
        }
        let passes = !event.brands.is_empty() || !self.has_rules || must_go(event.op);
        if passes { Ok(()) } else { Err(NO_BRAND) }
    }
}

fn add(event: &mut MentionEvent, brand: &BrandId) {
    if !event.brands.contains(brand) {
        event.brands.push(brand.clone());
    }
}

fn must_go(op: MentionOp) -> bool {
    op.withdraws() || op == MentionOp::Restored
}

fn inherited(event: &MentionEvent, known: &View<'_>) -> Vec<BrandId> {
    let refs = event.mention.as_ref().map(|m| &m.refs);
    let pointed_at = refs.into_iter().flat_map(|r| [r.reply_to, r.root, r.quote_of, r.repost_of]).flatten();
    std::iter::once(event.mention_id)
        .chain(pointed_at)
        .find_map(|id| known.brands_of(&id))
        .map(|brands| brands.to_vec())
        .unwrap_or_default()
}
