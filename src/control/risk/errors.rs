//! How far demand has exceeded a prediction: a histogram that forgets, and its quantiles.

use serde::{Deserialize, Serialize};

use crate::control::array;
use crate::policy::Capacity;

/// Classes of relative error. The first holds predictions that were enough.
const CLASSES: usize = 128;

/// Demand may have been up to this many times what was predicted; more counts as this.
const LARGEST: f64 = 10.0;

/// Relative errors `demand / predicted - 1`, in classes of equal width of their logarithm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Errors {
    #[serde(with = "array")]
    classes: [f32; CLASSES],
    total: f64,
}

impl Default for Errors {
    fn default() -> Self {
        Self { classes: [0.0; CLASSES], total: 0.0 }
    }
}

/// Width of a class, in `ln(demand / predicted)`: 1.8 %.
fn width() -> f64 {
    let last = u32::try_from(CLASSES - 1).unwrap_or(u32::MAX);
    LARGEST.ln() / f64::from(last)
}

impl Errors {
    /// Counts that `demand` came where `predicted` was foretold. Both are finite, not negative; `predicted` is not zero.
    pub(super) fn count(&mut self, predicted: f64, demand: f64) {
        let excess = (demand / predicted).clamp(1.0, LARGEST).ln() / width();
        // The conversion of a capacity clamps, where a bare cast would take a number that is none for zero.
        let class = Capacity::floor(excess.ceil()).map_or(0, Capacity::get);
        let class = usize::try_from(class).unwrap_or(CLASSES).min(CLASSES - 1);
        if let Some(count) = self.classes.get_mut(class) {
            *count += 1.0;
            self.total += 1.0;
        }
    }

    /// How many errors it still remembers.
    pub(super) fn total(&self) -> f64 {
        self.total
    }

    /// Lets every count fade to `share` of itself.
    pub(super) fn fade(&mut self, share: f32) {
        self.classes.iter_mut().for_each(|count| *count *= share);
        self.total *= f64::from(share);
    }

    /// How many errors were too large to be told apart, so that no margin is known to cover them.
    pub(super) fn uncovered(&self) -> f64 {
        self.classes.last().map_or(0.0, |count| f64::from(*count))
    }

    /// The relative error that no more than `tail` of the errors of `self` and `other` exceed; zero where there are none.
    pub(super) fn exceeded_by(&self, other: Option<&Self>, tail: f64) -> f64 {
        let total = self.total + other.map_or(0.0, |other| other.total);
        let mut left = total * tail;
        for class in (1..CLASSES).rev() {
            let count_in = |errors: &Self| errors.classes.get(class).map_or(0.0, |count| f64::from(*count));
            let count = count_in(self) + other.map_or(0.0, count_in);
            if count > left {
                let upper = u32::try_from(class).map_or(0.0, f64::from);
                return ((upper - left / count) * width()).exp() - 1.0;
            }
            left -= count;
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Errors of 1 %, 2 %, … 100 %.
    fn ladder() -> Errors {
        let mut errors = Errors::default();
        (1..=100).for_each(|percent| errors.count(100.0, f64::from(100 + percent)));
        errors
    }

    fn check(errors: &Errors, tail: f64, expected: f64) {
        let found = errors.exceeded_by(None, tail);
        assert!((found - expected).abs() < 0.02, "{found} at {tail}, not {expected}");
    }

    #[test]
    fn a_quantile_is_exceeded_by_its_share() {
        check(&ladder(), 0.01, 0.99);
        check(&ladder(), 0.1, 0.9);
        check(&ladder(), 0.5, 0.5);
        check(&ladder(), 0.99, 0.01);
    }

    #[test]
    fn what_was_enough_is_no_error_and_what_was_hopeless_counts_as_nine() {
        let mut errors = Errors::default();
        check(&errors, 0.01, 0.0);
        (0..99).for_each(|_| errors.count(5.0, 4.0));
        errors.count(0.1, 1e300);
        check(&errors, 0.02, 0.0);
        assert!((errors.exceeded_by(None, 0.0) - 9.0).abs() < 1e-9);
        assert!((errors.uncovered() - 1.0).abs() < 1e-9);
        assert!(ladder().uncovered().abs() < 1e-9 && Errors::default().uncovered().abs() < 1e-9);
    }

    #[test]
    fn two_histograms_count_as_one() {
        let mut low = Errors::default();
        (0..100).for_each(|_| low.count(1.0, 1.0));
        let found = low.exceeded_by(Some(&ladder()), 0.05);
        assert!((found - 0.9).abs() < 0.02, "{found}");
    }

    #[test]
    fn what_fades_makes_room() {
        let mut errors = Errors::default();
        (0..100).for_each(|_| errors.count(1.0, 3.0));
        errors.fade(0.001);
        (0..100).for_each(|_| errors.count(1.0, 1.5));
        check(&errors, 0.01, 0.5);
        assert!((errors.total() - 100.1).abs() < 1e-6);
    }
}
