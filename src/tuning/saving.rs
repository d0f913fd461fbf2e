//! Whether one setting is cheaper than another, or only happened to be.

use crate::policy::Policy;
use crate::simulation::contest::Arena;

use super::contestant;

/// Parts that the time is cut into; each is one comparison.
const PARTS: usize = 10;

/// A smaller saving is not worth a change, as a share.
const WORTH: f64 = 0.005;

/// What one setting costs less than another, as a share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Saving {
    /// Over the whole time.
    pub mean: f64,
    /// The standard error of the mean, from how much the parts of the time differ.
    pub error: f64,
}

impl Saving {
    /// Of `best` over `present`.
    pub fn of(arena: &Arena, present: &Policy, best: &Policy) -> Self {
        let sizes = |policy: &Policy| -> Vec<f64> {
            arena.watch(&contestant(policy)).moments.iter().map(|moment| moment.desired.as_f64()).collect()
        };
        Self::between(&sizes(present), &sizes(best))
    }

    fn between(before: &[f64], after: &[f64]) -> Self {
        let total: f64 = before.iter().sum();
        let length = before.len().div_ceil(PARTS).max(1);
        let parts = before.chunks(length).zip(after.chunks(length));
        let saved: Vec<f64> =
            parts.map(|(before, after)| before.iter().sum::<f64>() - after.iter().sum::<f64>()).collect();
        let count = saved.iter().map(|_| 1.0).sum::<f64>();
        if total <= 0.0 || count < 2.0 {
            return Self { mean: 0.0, error: 0.0 };
        }
        let mean = saved.iter().sum::<f64>() / count;
        let variance = saved.iter().map(|part| (part - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Self { mean: mean * count / total, error: (variance / count).sqrt() * count / total }
    }

    /// True where it is less than two standard errors, or not worth a change.
    pub fn may_be_chance(&self) -> bool {
        self.mean <= WORTH.max(2.0 * self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saving_in_every_part_is_one_and_a_saving_in_one_part_may_be_chance() {
        let before = vec![10.0; 100];
        let everywhere = Saving::between(&before, &[9.0; 100]);
        assert!((everywhere.mean - 0.1).abs() < 1e-12 && !everywhere.may_be_chance(), "{everywhere:?}");
        let mut once = before.clone();
        once[..10].fill(5.0);
        let once = Saving::between(&before, &once);
        assert!((once.mean - 0.05).abs() < 1e-12 && once.may_be_chance(), "{once:?}");
        assert!(Saving::between(&before, &[9.99; 100]).may_be_chance());
        assert!(Saving::between(&before, &[11.0; 100]).may_be_chance());
        assert!(Saving::between(&[], &[]).may_be_chance());
    }
}
