//! The Nomad Autoscaler with its `target-value` strategy, with its default behaviour.
//!
//! Simplified: it ticks every 9 s rather than every 10 s, and a scale action returns at once, though in truth it waits
//! for the instances to be listed.

use std::time::Duration;

use jiff::Timestamp;

use crate::observation::elapsed;
use crate::policy::Capacity;
use crate::simulation::reference::Seen;

/// A factor this near to one changes nothing.
const THRESHOLD: f64 = 0.01;

/// Rest after an action.
const COOLDOWN: Duration = Duration::from_mins(5);

/// The autoscaler, with when it acted.
#[derive(Clone, Debug)]
pub struct TargetValue {
    target: f64,
    acted: Option<Timestamp>,
}

impl TargetValue {
    /// The interval that it is to be asked at.
    pub const INTERVAL: Duration = Duration::from_secs(9);

    /// Keeps the utilization at `target`, a share.
    pub fn new(target: f64) -> Self {
        Self { target, acted: None }
    }

    /// The count that it asks for: of all instances, whether they serve or not.
    pub fn decide(&mut self, seen: &Seen) -> Capacity {
        let factor = seen.measured.utilization / self.target;
        let rests = self.acted.is_some_and(|acted| elapsed(acted, seen.at) < COOLDOWN);
        if rests || (factor - 1.0).abs() <= THRESHOLD {
            return seen.desired;
        }
        let count = if seen.desired == Capacity::ZERO { factor } else { seen.desired.as_f64() * factor };
        let asked = Capacity::floor(count.ceil()).unwrap_or(seen.desired).clamp(seen.min, seen.max);
        if asked != seen.desired {
            self.acted = Some(seen.at);
        }
        asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::peers::tests::seen;

    #[test]
    fn it_multiplies_all_instances_by_the_factor() {
        let check = |utilization, in_service, pending, expected| {
            let asked = TargetValue::new(0.7).decide(&seen(0, utilization, in_service, pending));
            assert_eq!(asked.get(), expected, "{utilization} on {in_service} and {pending} pending");
        };
        check(0.91, 10, 0, 13);
        check(0.91, 10, 2, 16);
        check(0.35, 10, 0, 5);
        check(0.706, 10, 0, 10);
        check(0.71, 10, 0, 11);
        check(0.694, 10, 0, 10);
        check(1.0, 0, 0, 2);
    }

    #[test]
    fn it_rests_for_five_minutes_after_an_action() {
        let mut nomad = TargetValue::new(0.7);
        let mut check = |second, utilization, expected| {
            assert_eq!(nomad.decide(&seen(second, utilization, 10, 0)).get(), expected, "at {second} s");
        };
        check(0, 0.70, 10);
        check(9, 0.91, 13);
        check(18, 1.0, 10);
        check(308, 1.0, 10);
        check(309, 1.0, 15);
    }
}
