use std::fmt;

use crate::Invalid;

/// The longest text a mention carries, in bytes.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// A probability in 0..=1, never NaN.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Probability(f32);

impl Probability {
    /// Certainly not.
    pub const ZERO: Self = Self(0.0);
    /// Certain.
    pub const ONE: Self = Self(1.0);

    /// Accepts a finite number in 0..=1.
    ///
    /// # Errors
    /// On NaN or a number outside.
    pub fn new(value: f32) -> Result<Self, Invalid> {
        if (0.0..=1.0).contains(&value) {
            Ok(Self(value))
        } else {
            Err(Invalid::new("probability", format!("needs a number in 0..1, is {value}")))
        }
    }

    /// The nearest probability; NaN becomes 0.
    pub fn clamped(value: f32) -> Self {
        if value.is_nan() { Self::ZERO } else { Self(value.clamp(0.0, 1.0)) }
    }

    /// The number, in 0..=1.
    pub const fn get(self) -> f32 {
        self.0
    }
}

/// How hard a complaint accuses, from no reproach to blame (the scale of Jin and Aletras, NAACL 2021).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Severity {
    /// No complaint.
    #[default]
    None = 0,
    /// A complaint without explicit reproach.
    NoReproach = 1,
    /// Disapproval.
    Disapproval = 2,
    /// Accusation.
    Accusation = 3,
    /// Blame, with consequences.
    Blame = 4,
}

impl Severity {
    /// All levels in order.
    pub const ALL: [Self; 5] =
        [Self::None, Self::NoReproach, Self::Disapproval, Self::Accusation, Self::Blame];

    /// Reads 0..=4.
    ///
    /// # Errors
    /// On any other number.
    pub fn from_level(level: u32) -> Result<Self, Invalid> {
        usize::try_from(level)
            .ok()
            .and_then(|i| Self::ALL.get(i).copied())
            .ok_or_else(|| Invalid::new("severity", format!("needs a level in 0..4, is {level}")))
    }

    /// 0..=4.
    pub const fn level(self) -> u8 {
        self as u8
    }

    /// The word people say.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::NoReproach => "no reproach",
            Self::Disapproval => "disapproval",
            Self::Accusation => "accusation",
            Self::Blame => "blame",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Plain text of at most [`TEXT_BYTES_MAX`] bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text(String);

impl Text {
    /// Accepts text that fits.
    ///
    /// # Errors
    /// When it is longer than [`TEXT_BYTES_MAX`] bytes.
    pub fn new(text: impl Into<String>) -> Result<Self, Invalid> {
        let text = text.into();
        if text.len() > TEXT_BYTES_MAX {
            return Err(Invalid::new(
                "text",
                format!("has {} bytes, at most {TEXT_BYTES_MAX} fit", text.len()),
            ));
        }
        Ok(Self(text))
    }

    /// Cuts at the last character that fits; tells whether something was cut.
    pub fn truncated(mut text: String) -> (Self, bool) {
        if text.len() <= TEXT_BYTES_MAX {
            return (Self(text), false);
        }
        let mut end = TEXT_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        (Self(text), true)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, owned.
    pub fn into_string(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probability_refuses_what_is_none() {
        for bad in [f32::NAN, -0.1, 1.1, f32::INFINITY] {
            assert!(Probability::new(bad).is_err());
        }
        assert_eq!(Probability::clamped(f32::NAN), Probability::ZERO);
        assert_eq!(Probability::clamped(7.0), Probability::ONE);
    }

    #[test]
    fn text_is_cut_on_a_character() {
        let (text, cut) = Text::truncated("ü".repeat(TEXT_BYTES_MAX));
        assert!(cut && text.as_str().len() <= TEXT_BYTES_MAX);
        assert!(Text::new("x".repeat(TEXT_BYTES_MAX + 1)).is_err());
    }
}
