//! How well a controller did in the reference plant: how often too slow, at what cost, and with how much ado.

use super::plant::Reading;
use super::queue::OBJECTIVE;
use super::trace::{CEILING, STEP};
use crate::policy::Capacity;

/// Seconds of a day.
const DAY: f64 = 86_400.0;

/// What was counted in one run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Steps of the plant.
    pub steps: u32,
    /// Of these, those whose 99th percentile was over the objective.
    pub over_objective: u32,
    /// Of these, those whose utilization was over the ceiling.
    pub over_ceiling: u32,
    /// Changes of the desired capacity.
    pub actions: u32,
    /// Of these, those that went the other way than the one before.
    pub reversals: u32,
    /// Instance-seconds: from launch to termination, with the least that an instance is billed for.
    pub billed_seconds: f64,
    /// The last action added instances.
    outward: Option<bool>,
}

impl Tally {
    /// Counts one step.
    pub(super) fn step(&mut self, reading: &Reading) {
        self.steps += 1;
        self.over_objective += u32::from(reading.p99 > OBJECTIVE);
        self.over_ceiling += u32::from(reading.utilization > CEILING);
    }

    /// Counts an answer of the controller.
    pub(super) fn change(&mut self, from: Capacity, to: Capacity) {
        if from == to {
            return;
        }
        let outward = to > from;
        self.actions += 1;
        self.reversals += u32::from(self.outward.is_some_and(|before| before != outward));
        self.outward = Some(outward);
    }

    /// The run as shares, relative to the instance-seconds that the optimum needs.
    pub fn score(&self, optimum: f64) -> Score {
        let seconds = f64::from(self.steps) * STEP;
        let share = |steps: u32| 100.0 * f64::from(steps) / f64::from(self.steps);
        Score {
            over_objective: share(self.over_objective),
            over_ceiling: share(self.over_ceiling),
            relative_cost: self.billed_seconds / optimum,
            mean_size: self.billed_seconds / seconds,
            actions_a_day: f64::from(self.actions) * DAY / seconds,
            reversals_a_day: f64::from(self.reversals) * DAY / seconds,
        }
    }
}

/// One run in figures that compare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Percent of the time that the 99th percentile was over the objective.
    pub over_objective: f64,
    /// Percent of the time that the utilization was over the ceiling.
    pub over_ceiling: f64,
    /// Instance-time billed, relative to the clairvoyant optimum.
    pub relative_cost: f64,
    /// Instances billed at a time, on average.
    pub mean_size: f64,
    /// Changes of the desired capacity.
    pub actions_a_day: f64,
    /// Changes that went the other way than the one before.
    pub reversals_a_day: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_relates_what_was_counted_to_time_and_optimum() {
        let mut tally = Tally { billed_seconds: 3_000.0, ..Tally::default() };
        let step = |p99, utilization| Reading { utilization, arrival_rate: 0.0, p99 };
        (0..98).for_each(|_| tally.step(&step(0.2, 0.7)));
        tally.step(&step(0.51, 0.94));
        tally.step(&step(0.49, 0.931));
        for (from, to) in [(2, 4), (4, 4), (4, 5), (5, 3), (3, 4)] {
            tally.change(Capacity::new(from), Capacity::new(to));
        }
        let score = tally.score(2_000.0);
        let near = |measured: f64, expected: f64| assert!((measured - expected).abs() < 1e-9, "{score:?}");
        near(score.over_objective, 1.0);
        near(score.over_ceiling, 2.0);
        near(score.relative_cost, 1.5);
        near(score.mean_size, 10.0);
        near(score.actions_a_day, 4.0 * 288.0);
        assert_eq!((tally.actions, tally.reversals), (4, 2));
    }
}
