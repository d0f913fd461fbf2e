//! What a group has cost of late, in instance-hours.
//!
//! Between two looks the larger of the two sizes counts, launched or in service: that is what is billed where the group
//! grew right after the first, and errs towards more where nobody looked for long. What was before the first look is not
//! known, and counts as nothing.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::observation::{GroupStatus, elapsed};
use crate::policy::Capacity;

/// For how long a fleet is taken to stay as large as it becomes: time for people to act in.
pub(super) const AHEAD: Duration = Duration::from_hours(6);

/// What is left of a day beside that.
pub(super) const BEHIND: Duration = Duration::from_hours(18);

/// Looks within this time count together; what lasts longer stands alone, so that every two lasted this long at least.
const STRETCH: Duration = Duration::from_hours(1);

/// Enough for [`BEHIND`], with the newest and with the one that began before it.
const STRETCHES: usize = 2 * 18 + 2;

const HOUR: f64 = 3600.0;

/// The instance-hours of the last while.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Spending {
    /// When the group was seen last, and its size then.
    seen: Option<(Timestamp, Capacity)>,
    /// Oldest first.
    stretches: VecDeque<Stretch>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Stretch {
    from: Timestamp,
    to: Timestamp,
    instance_hours: f64,
}

impl Spending {
    /// Takes the size of `group` at `now` in.
    pub(super) fn see(&mut self, group: &GroupStatus, now: Timestamp) {
        let size = group.in_service.plus(group.pending);
        let Some((from, before)) = self.seen.replace((now, size)) else { return };
        let since = elapsed(from, now);
        let instance_hours = before.max(size).as_f64() * since.as_secs_f64() / HOUR;
        let short = |last: &&mut Stretch| since < STRETCH && elapsed(last.from, last.to) < STRETCH;
        match self.stretches.back_mut().filter(short) {
            Some(last) => {
                last.to = now;
                last.instance_hours += instance_hours;
            }
            None => self.begin(Stretch { from, to: now, instance_hours }),
        }
    }

    fn begin(&mut self, stretch: Stretch) {
        self.stretches.reserve(STRETCHES.saturating_sub(self.stretches.len()));
        while self.stretches.front().is_some_and(|oldest| elapsed(oldest.to, stretch.to) >= BEHIND) {
            self.stretches.pop_front();
        }
        self.stretches.push_back(stretch);
    }

    /// The instance-hours of the time [`BEHIND`] `now`.
    pub(super) fn spent(&self, now: Timestamp) -> f64 {
        // A `sum` of nothing would be -0.0.
        self.stretches.iter().fold(0.0, |sum, stretch| sum + stretch.instance_hours * stretch.share_behind(now))
    }

    /// The clock was set back by as much; what was spent stays as old as it was.
    pub(super) fn set_back(&mut self, by: Duration) {
        let earlier = |at: Timestamp| at.saturating_sub(by).unwrap_or(Timestamp::MIN);
        self.seen = self.seen.map(|(at, size)| (earlier(at), size));
        for stretch in &mut self.stretches {
            (stretch.from, stretch.to) = (earlier(stretch.from), earlier(stretch.to));
        }
    }
}

impl Stretch {
    /// The share of it that lies no further back than [`BEHIND`] `now`.
    fn share_behind(&self, now: Timestamp) -> f64 {
        let (oldest, newest) = (elapsed(self.from, now), elapsed(self.to, now));
        let length = oldest.saturating_sub(newest).as_secs_f64();
        // Moments before all time, after a clock was set far back, are all the same one.
        if length > 0.0 { BEHIND.saturating_sub(newest).as_secs_f64().min(length) / length } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
    }

    fn group(in_service: u32, pending: u32) -> GroupStatus {
        let [in_service, pending] = [in_service, pending].map(Capacity::new);
        GroupStatus { in_service, pending, ..GroupStatus::default() }
    }

    /// Sees (minute, in service, pending), and holds what was spent at the last of them to `expected` instance-hours.
    fn check(seen: &[(i64, u32, u32)], expected: f64) {
        let mut spending = Spending::default();
        for &(minute, in_service, pending) in seen {
            spending.see(&group(in_service, pending), at(minute));
        }
        let spent = spending.spent(at(seen.last().map_or(0, |(minute, ..)| *minute)));
        assert!((spent - expected).abs() < 1e-9, "{spent} of {seen:?}");
    }

    /// The same size every so many minutes.
    fn steady(minutes: std::ops::Range<i64>, every: usize, size: u32) -> Vec<(i64, u32, u32)> {
        minutes.step_by(every).map(|minute| (minute, size, 0)).collect()
    }

    #[test]
    fn what_runs_and_what_boots_is_paid_for() {
        check(&[(0, 4, 0)], 0.0);
        check(&[(0, 4, 0), (30, 4, 0)], 2.0);
        check(&[(0, 4, 2), (30, 6, 0), (60, 6, 0)], 6.0);
        check(&[(0, 4, 0), (0, 9, 0)], 0.0);
    }

    #[test]
    fn between_two_looks_the_larger_size_counts() {
        check(&[(0, 4, 0), (15, 8, 0)], 2.0);
        check(&[(0, 8, 0), (15, 4, 0)], 2.0);
    }

    #[test]
    fn what_is_older_than_eighteen_hours_is_forgotten() {
        check(&steady(0..18 * 60 + 1, 15, 2), 36.0);
        for every in [1, 15, 31, 60, 61] {
            let mut seen = steady(0..30 * 60, every, 10);
            let end = seen.last().unwrap().0;
            seen.push((end + 1, 10, 0));
            check(&seen, 180.0);
        }
        let quiet = [steady(0..600, 15, 10), steady(600..600 + 12 * 60 + 1, 15, 0)].concat();
        // The last look at ten of them is at 585 minutes, and the first at none at 600.
        check(&quiet, 60.0);
        check(&[quiet, vec![(3000, 0, 0)]].concat(), 0.0);
    }

    #[test]
    fn a_long_gap_counts_as_far_as_it_reaches() {
        check(&[(0, 3, 0), (24 * 60, 3, 0)], 54.0);
        check(&[(0, 3, 0), (24 * 60, 3, 0), (27 * 60, 1, 0)], 54.0);
        check(&[(0, 3, 0), (100 * 24 * 60, 6, 0)], 108.0);
    }

    #[test]
    fn an_hour_is_told_from_the_next_and_from_a_longer_one() {
        let spent = |seen: &[(i64, u32)], minute: i64| {
            let mut spending = Spending::default();
            for &(minute, size) in seen {
                spending.see(&group(size, 0), at(minute));
            }
            spending.spent(at(18 * 60 + minute))
        };
        let hour = [(0, 2), (15, 2), (30, 2), (45, 2), (60, 2), (75, 10)];
        assert!((spent(&hour, 30) - 3.5).abs() < 1e-9, "half an hour of two, and a quarter of ten");
        let gap = [(0, 2), (30, 2), (90, 10)];
        assert!((spent(&gap, 45) - 7.5).abs() < 1e-9, "three quarters of an hour of ten");
    }

    #[test]
    fn what_was_spent_stays_as_old_as_it_was_when_the_clock_is_set_back() {
        let mut spending = Spending::default();
        for (minute, size, _) in steady(0..121, 15, 3) {
            spending.see(&group(size, 0), at(minute));
        }
        spending.set_back(Duration::from_hours(1));
        assert!((spending.spent(at(60)) - 6.0).abs() < 1e-9);
        spending.see(&group(3, 0), at(60));
        spending.see(&group(3, 0), at(80));
        assert!((spending.spent(at(80)) - 7.0).abs() < 1e-9);
        assert!((spending.spent(at(60 + 18 * 60)) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn no_clock_makes_it_more_than_it_can_be() {
        let mut spending = Spending::default();
        for moment in [Timestamp::MIN, at(0), Timestamp::MAX] {
            spending.see(&group(1_000_000, 0), moment);
            assert!((0.0..=18e6 + 1.0).contains(&spending.spent(moment)));
            spending.set_back(Duration::from_hours(24 * 365 * 9000));
        }
    }

    #[test]
    fn however_often_it_is_looked_at_little_is_remembered() {
        for every in [1, 15, 59, 60] {
            let mut spending = Spending::default();
            for (minute, size, _) in steady(0..48 * 60, every, 10) {
                spending.see(&group(size, 0), at(minute));
            }
            assert!(spending.stretches.len() < STRETCHES, "{} every {every} minutes", spending.stretches.len());
        }
        assert!(AHEAD + BEHIND == Duration::from_hours(24), "the two are a day");
    }
}
