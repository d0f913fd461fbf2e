//! Target tracking of AWS Auto Scaling on average CPU utilization.
//!
//! What AWS publishes are examples and "proportional"; how its alarms evaluate is observed (three minutes out, fifteen
//! in), and how it sizes a scale-in is not known. Simplified: the self-tuning of late 2024, which is unpublished, is
//! left out, and of the high-resolution kind only the cadence is taken.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use crate::observation::elapsed;
use crate::policy::Capacity;
use crate::simulation::reference::Seen;

/// Datapoints above the target that raise the high alarm.
const POINTS_OUT: usize = 3;

/// Datapoints below the low threshold that raise the low alarm.
const POINTS_IN: usize = 15;

/// The low threshold, as a share of the target.
const LOW: f64 = 0.9;

/// An instance warms up for so long after it went into service: the default cooldown, where nothing is said.
const WARM_UP: Duration = Duration::from_mins(5);

/// The scaling policy, with the datapoints that its alarms look at.
#[derive(Clone, Debug)]
pub struct TargetTracking {
    target: f64,
    /// Newest last.
    datapoints: VecDeque<f64>,
    /// Instances in service with when, newest last, for a warm-up.
    served: VecDeque<(Timestamp, Capacity)>,
}

impl TargetTracking {
    /// Period and delay of a metric of basic resolution.
    pub const CLASSIC: (Duration, Duration) = (Duration::from_mins(1), Duration::from_mins(1));

    /// Those of ten seconds, in whole steps.
    pub const HIGH_RESOLUTION: (Duration, Duration) = (Duration::from_secs(9), Duration::from_secs(9));

    /// Keeps the utilization at `target`, a share.
    pub fn new(target: f64) -> Self {
        Self { target, datapoints: VecDeque::new(), served: VecDeque::new() }
    }

    /// The capacity that it asks for; to be asked once a period.
    pub fn decide(&mut self, seen: &Seen) -> Capacity {
        if self.datapoints.len() == POINTS_IN {
            self.datapoints.pop_front();
        }
        self.datapoints.push_back(seen.measured.utilization);
        // A datapoint ended when it was asked the last time, and is of those that served then.
        let then = self.served.back().map_or(seen.in_service, |(_, served)| *served);
        let warmed = self.warmed(seen);
        let proportional = |instances: Capacity| {
            let asked = instances.as_f64() * seen.measured.utilization / self.target;
            Capacity::floor(asked.ceil()).unwrap_or(seen.desired)
        };
        if self.all(POINTS_OUT, |point| point > self.target) {
            // What warms up is left out of the metric and counts as capacity that is there.
            proportional(warmed.min(then)).max(seen.desired)
        } else if warmed == seen.desired && self.all(POINTS_IN, |point| point < LOW * self.target) {
            proportional(then).min(seen.desired)
        } else {
            seen.desired
        }
    }

    /// The instances that have been in service for a warm-up.
    fn warmed(&mut self, seen: &Seen) -> Capacity {
        self.served.push_back((seen.at, seen.in_service));
        while self.served.get(1).is_some_and(|(at, _)| elapsed(*at, seen.at) >= WARM_UP) {
            self.served.pop_front();
        }
        self.served.iter().map(|(_, served)| *served).min().unwrap_or_default()
    }

    /// Whether the newest `points` are all there and all such.
    fn all(&self, points: usize, such: impl Fn(f64) -> bool) -> bool {
        self.datapoints.len() >= points && self.datapoints.iter().rev().take(points).all(|point| such(*point))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::peers::tests::seen;

    fn answers(utilization: &[f64], in_service: u32, pending: u32) -> Vec<u32> {
        let mut tracking = TargetTracking::new(0.7);
        let ask = |(minute, utilization): (i64, &f64)| {
            tracking.decide(&seen(60 * minute, *utilization, in_service, pending)).get()
        };
        (0..).zip(utilization).map(ask).collect()
    }

    #[test]
    fn three_datapoints_above_the_target_add_in_proportion() {
        // 10 × 91 / 70 = 13.
        assert_eq!(answers(&[0.91, 0.91, 0.91, 0.91], 10, 0), [10, 10, 13, 13]);
        assert_eq!(answers(&[0.91, 0.70, 0.91, 0.91], 10, 0), [10; 4]);
    }

    #[test]
    fn what_is_on_its_way_counts() {
        assert_eq!(answers(&[0.91; 3], 10, 2), [12, 12, 13]);
        assert_eq!(answers(&[0.91; 3], 10, 5), [15; 3]);
    }

    #[test]
    fn fifteen_datapoints_a_tenth_below_the_target_remove_in_proportion() {
        let after = |points: usize, utilization, pending| answers(&vec![utilization; points], 10, pending)[points - 1];
        assert_eq!(after(14, 0.35, 0), 10);
        assert_eq!(after(15, 0.35, 0), 5);
        assert_eq!(after(15, 0.64, 0), 10, "0.63 is a tenth below");
        assert_eq!(after(15, 0.62, 0), 9);
        assert_eq!(after(15, 0.35, 1), 11, "while any is on its way, none is removed");
    }

    #[test]
    fn an_instance_counts_five_minutes_after_it_went_into_service() {
        let mut tracking = TargetTracking::new(0.7);
        let mut ask = |minute: i64, utilization, in_service| {
            tracking.decide(&seen(60 * minute, utilization, in_service, 0)).get()
        };
        ask(0, 0.91, 10);
        ask(1, 0.91, 10);
        // 13 asked for; 12 came into service at the fourth minute.
        assert_eq!(ask(2, 0.91, 10), 13);
        assert_eq!((ask(3, 0.91, 10), ask(4, 0.83, 12)), (13, 12), "10 × 83 / 70 = 11.9");
        assert_eq!((5..9).map(|minute| ask(minute, 0.83, 12)).collect::<Vec<_>>(), [12; 4]);
        assert_eq!(ask(9, 0.83, 12), 15, "12 × 83 / 70 = 14.2");
    }
}
