//! Target tracking of AWS Auto Scaling on average CPU utilization.
//!
//! What AWS publishes are examples and "proportional"; how its alarms evaluate is observed (three minutes out, fifteen
//! in), and how it sizes a scale-in is not known. Simplified: the self-tuning of late 2024, which is unpublished, is
//! left out, and of the high-resolution kind only the cadence is taken.

use std::collections::VecDeque;
use std::time::Duration;

use crate::policy::Capacity;
use crate::simulation::reference::Seen;

/// Datapoints above the target that raise the high alarm.
const POINTS_OUT: usize = 3;

/// Datapoints below the low threshold that raise the low alarm.
const POINTS_IN: usize = 15;

/// The low threshold, as a share of the target.
const LOW: f64 = 0.9;

/// The scaling policy, with the datapoints that its alarms look at.
#[derive(Clone, Debug)]
pub struct TargetTracking {
    target: f64,
    /// Newest last.
    datapoints: VecDeque<f64>,
}

impl TargetTracking {
    /// Period and delay of a metric of basic resolution.
    pub const CLASSIC: (Duration, Duration) = (Duration::from_mins(1), Duration::from_mins(1));

    /// Those of ten seconds, in whole steps.
    pub const HIGH_RESOLUTION: (Duration, Duration) = (Duration::from_secs(9), Duration::from_secs(9));

    /// Keeps the utilization at `target`, a share.
    pub fn new(target: f64) -> Self {
        Self { target, datapoints: VecDeque::new() }
    }

    /// The capacity that it asks for; to be asked once a period.
    pub fn decide(&mut self, seen: &Seen) -> Capacity {
        if self.datapoints.len() == POINTS_IN {
            self.datapoints.pop_front();
        }
        self.datapoints.push_back(seen.measured.utilization);
        let proportional = seen.in_service.as_f64() * seen.measured.utilization / self.target;
        let asked = Capacity::floor(proportional.ceil()).unwrap_or(seen.desired);
        // What warms up counts as capacity already when instances are added, and bars that any are removed.
        let warm = seen.pending == Capacity::ZERO && seen.warm == seen.in_service;
        if self.all(POINTS_OUT, |point| point > self.target) {
            asked.max(seen.desired)
        } else if warm && self.all(POINTS_IN, |point| point < LOW * self.target) {
            asked.min(seen.desired)
        } else {
            seen.desired
        }
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
}
