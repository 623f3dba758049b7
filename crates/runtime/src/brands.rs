//! The brands we listen for, as settings every service shares.

use model::{BrandId, Invalid};
use serde::{Deserialize, Serialize};

/// One brand and how it is recognised.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Brand {
    /// The slug used everywhere, for example `acme`.
    pub id: String,
    /// Words and phrases that name it; a phrase is written in double quotes, for example `"acme air"`.
    #[serde(default)]
    pub words: Vec<String>,
    /// Its handles, without `@`.
    #[serde(default)]
    pub handles: Vec<String>,
    /// Author keys of its own accounts (`kind:instance:id`): what they write is the brand speaking.
    #[serde(default)]
    pub accounts: Vec<String>,
    /// IANA time zone of its care desk; `UTC` when empty.
    #[serde(default)]
    pub time_zone: String,
}

impl Brand {
    /// The checked id.
    ///
    /// # Errors
    /// When the id is no slug.
    pub fn brand_id(&self) -> Result<BrandId, Invalid> {
        BrandId::parse(&self.id)
    }

    /// The time zone, `UTC` when none was named.
    pub fn zone(&self) -> &str {
        if self.time_zone.is_empty() { "UTC" } else { &self.time_zone }
    }
}

/// Checks what no field can check alone.
///
/// # Errors
/// When an id is no slug, occurs twice, or a brand has nothing to be recognised by.
pub fn check(brands: &[Brand]) -> Result<(), Invalid> {
    for (place, brand) in brands.iter().enumerate() {
        brand.brand_id()?;
        if brands[..place].iter().any(|earlier| earlier.id == brand.id) {
            return Err(Invalid::new("brands", format!("'{}' occurs twice", brand.id)));
        }
        if brand.words.is_empty() && brand.handles.is_empty() && brand.accounts.is_empty() {
            return Err(Invalid::new("brands", format!("'{}' needs words, handles or accounts", brand.id)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brands_need_a_slug_of_their_own_and_a_way_to_be_heard() {
        let brand = |id: &str| Brand { id: id.into(), words: vec!["acme".into()], ..Brand::default() };
        assert!(check(&[brand("acme"), brand("globex")]).is_ok());
        assert!(check(&[brand("Acme")]).is_err());
        assert!(check(&[brand("acme"), brand("acme")]).unwrap_err().problem.contains("twice"));
        assert!(check(&[Brand { id: "mute".into(), ..Brand::default() }]).is_err());
        assert_eq!(brand("acme").zone(), "UTC");
    }
}
