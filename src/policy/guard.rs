//! What keeps a policy from running away: a ceiling on what it may spend, a brake on scale-out that does not help, and
//! signals that bar scale-in while they burn.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Policy, Source};

/// Most signals that may hold the scale-in of one policy, so that an evaluation has a fixed size.
pub const MAX_SIGNALS: usize = 4;

/// The most that a group may cost, in the money of [`Policy::instance_price`].
///
/// A ceiling holds back scale-out alone: nothing is removed to keep it, and a minimum is restored whatever that costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct MaxSpend {
    /// The price of an hour at the desired capacity. Above zero.
    pub per_hour: Option<f64>,
    /// The price of 24 hours: of the 18 that have passed, and of six to come at the desired capacity. So there are six
    /// hours to act in before the ceiling is passed, if the fleet should stay as large as it has become. Above zero.
    pub per_day: Option<f64>,
}

/// Stops adding for a latency that more capacity has been shown not to help.
///
/// Shown means: since the latency went over its target, what serves has grown to `factor` times what it was, in no less
/// than three boot times and warm-ups, and the last of them at that size; each instance has a quarter less to do than
/// before, and no more than its own target; and the latency is still over its target, and not a tenth better than at its
/// worst. A crowd that grows as fast as the fleet leaves each instance as much to do, and is never taken for that. So the
/// brake needs a utilization or a total beside the latency, and never holds what those ask for themselves.
///
/// While it holds, the latency asks for what there is; once in ten boot times and warm-ups it may add a fifth, to see.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Brake {
    /// How many times what served at the beginning, `1.5..=10`.
    pub factor: f64,
}

impl Default for Brake {
    fn default() -> Self {
        Self { factor: 2.0 }
    }
}

/// A signal that is no metric with a target, and that bars scale-in while it burns or can't be read.
#[derive(Clone, Debug, PartialEq)]
pub struct HoldSignal {
    /// Unique within the policy.
    pub name: Arc<str>,
    /// Where it begins to burn.
    pub threshold: Threshold,
    /// The oldest sample that still counts.
    pub max_age: Duration,
    /// Where the number comes from.
    pub source: Source,
}

/// Where a signal begins to burn. Finite.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Threshold {
    /// It burns above this.
    Above(f64),
    /// It burns below this.
    Below(f64),
}

impl Threshold {
    /// Whether a signal that reads `value` burns. A number that is none burns.
    pub fn burns(self, value: f64) -> bool {
        match self {
            Self::Above(most) => value.is_nan() || value > most,
            Self::Below(least) => value.is_nan() || value < least,
        }
    }

    /// The last value at which it does not burn.
    pub fn quiet(self) -> f64 {
        match self {
            Self::Above(edge) | Self::Below(edge) => edge,
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Above(most) => write!(f, "above {most}"),
            Self::Below(least) => write!(f, "below {least}"),
        }
    }
}

impl Policy {
    /// Every source that is read for it, of its metrics and of the signals that hold its scale-in.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        let signals = self.hold_scale_in_while.iter().map(|signal| &signal.source);
        self.metrics.iter().map(|metric| &metric.source).chain(signals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_burns_beyond_its_threshold_and_not_at_it() {
        let check = |threshold: Threshold, quiet: &[f64], burning: &[f64]| {
            assert!(quiet.iter().all(|value| !threshold.burns(*value)), "{threshold}");
            assert!(burning.iter().all(|value| threshold.burns(*value)), "{threshold}");
        };
        check(Threshold::Above(0.01), &[0.0, -1.0, 0.01], &[0.011, f64::INFINITY, f64::NAN]);
        check(Threshold::Below(3.0), &[3.0, 4.0], &[2.9, f64::NEG_INFINITY, f64::NAN]);
    }
}
