//! What of a surprise is new: a rise is told once, and again when it has clearly grown.

use crate::tuning::Tuning;

/// The surprise that a reader was told of, fading.
///
/// Evidence of a rise stays high for hours. Were all those rows as surprising as the first, a second
/// rise on top of the first would start nothing: at a low level, where episodes are long, fewer rises
/// would be found than at a high one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct News {
    /// The largest surprise told, fading.
    told: f32,
    /// When the latest rise began.
    began_s: Option<i64>,
    /// What was told before it.
    before: f32,
    /// Whether it was an alarm.
    alarmed: bool,
    last_s: i64,
}

/// One row's news.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Told {
    /// The surprise, less where it says nothing new.
    pub(crate) surprise: f32,
    /// By how much the rise that goes on surpasses what was told before it; 0 where
    /// none goes on, or it was an alarm already.
    pub(crate) beyond: f32,
}

impl News {
    /// Takes the surprise of a row at `at_s`, never earlier than the row before.
    pub(crate) fn tell(&mut self, surprise: f32, at_s: i64, tuning: &Tuning) -> Told {
        let hours = at_s.saturating_sub(self.last_s).max(0) as f32 / 3600.0;
        self.last_s = at_s;
        self.told = (self.told - tuning.told_fade * hours).max(0.0);
        let rising = self.began_s.is_some_and(|at| at_s.saturating_sub(at) < tuning.told_rise_s as i64);
        if !rising && surprise >= self.told + tuning.told_step {
            (self.before, self.began_s, self.alarmed) = (self.told, Some(at_s), false);
        } else if !rising {
            return Told { surprise: (surprise - tuning.told_less).max(0.0), beyond: 0.0 };
        }
        // Whatever a rise reaches in its first hours is part of the same news.
        self.told = self.told.max(surprise);
        Told { surprise, beyond: if self.alarmed { 0.0 } else { surprise - self.before } }
    }

    /// The row just told was an alarm.
    pub(crate) fn alarm(&mut self) {
        self.alarmed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of surprises ten minutes apart.
    fn tell(surprises: &[f32]) -> Vec<Told> {
        let mut news = News::default();
        let told = |(row, surprise): (usize, &f32)| news.tell(*surprise, row as i64 * 600, &Tuning::SHIPPED);
        surprises.iter().enumerate().map(told).collect()
    }

    #[test]
    fn a_rise_is_told_in_full_and_its_long_rest_is_no_news() {
        let rows: Vec<f32> = [1.0, 3.0, 4.0, 5.0].into_iter().chain([4.5; 30]).collect();
        let told = tell(&rows);
        assert!(told[..12].iter().zip(&rows).all(|(told, row)| told.surprise == *row));
        assert!(told[14..].iter().all(|told| told.surprise <= 3.5));
    }

    #[test]
    fn what_grows_on_top_of_a_rise_is_news_again() {
        let mut rows = vec![3.5; 30];
        (rows[20], rows[21]) = (4.0, 4.6);
        let told = tell(&rows);
        assert!(told[19].surprise < 3.0 && told[20].surprise == 4.0 && told[21].surprise == 4.6, "{told:?}");
        assert!(told[19].beyond == 0.0 && told[20].beyond < 1.0 && told[21].beyond > 1.0, "{told:?}");
    }

    #[test]
    fn what_was_told_long_ago_is_news_when_it_comes_back() {
        let mut rows = vec![0.0; 100];
        (rows[3], rows[99]) = (4.0, 4.0);
        assert_eq!(tell(&rows)[99].surprise, 4.0);
    }
}
