//! How long this group's launches take, learned from its own counts.
//!
//! Capacity that is asked for and not yet in service waits in a queue; what comes into service has waited longest. The
//! median of the last launches is taken, so that one that failed for hours moves nothing.

use std::collections::VecDeque;
use std::time::Duration;

use arrayvec::ArrayVec;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::observation::{GroupStatus, elapsed};
use crate::policy::Capacity;

/// Launches that the median is taken over.
const LAUNCHES: usize = 9;

/// Most batches of launches that are told apart; later ones count as part of the last.
const BATCHES: usize = 64;

/// The longest boot that is believed: with a longer one, a trend says nothing any more.
const LONGEST: Duration = Duration::from_hours(1);

/// What is on its way, and how long the last launches took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct BootTimes {
    /// Capacity in service when last seen; `None` before that.
    in_service: Option<Capacity>,
    waiting: VecDeque<Batch>,
    /// Newest last.
    launches: ArrayVec<Duration, LAUNCHES>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Batch {
    /// `None` where it was on its way before anybody looked.
    since: Option<Timestamp>,
    size: Capacity,
}

impl BootTimes {
    /// Takes the counts of `group` at `now` in, and returns how much has come into service since the last look.
    pub(super) fn see(&mut self, group: &GroupStatus, now: Timestamp) -> Capacity {
        let known = self.in_service.replace(group.in_service);
        let arrived = known.map_or(Capacity::ZERO, |before| group.in_service.minus(before));
        self.arrive(arrived, now);
        // What waits because AWS can't launch says nothing about how long a launch takes.
        if group.launch_failure.is_some() || group.suspended.launch {
            self.waiting.iter_mut().for_each(|batch| batch.since = None);
        }
        let missing = group.desired.minus(group.in_service);
        self.cancel(self.waiting().minus(missing));
        let new = missing.minus(self.waiting());
        if new > Capacity::ZERO {
            let since = known.map(|_| now);
            let full = self.waiting.len() == BATCHES;
            match self.waiting.back_mut().filter(|_| full) {
                Some(last) => last.size = last.size.plus(new),
                None => self.waiting.push_back(Batch { since, size: new }),
            }
        }
        arrived
    }

    /// Forgets what is on its way, after a time without a look at the group; what was learned stays.
    pub(super) fn look_away(&mut self) {
        self.in_service = None;
        self.waiting.clear();
    }

    /// The median of the last launches; `None` before the first.
    pub(super) fn typical(&self) -> Option<Duration> {
        let mut launches = self.launches.clone();
        launches.sort_unstable();
        launches.get(launches.len() / 2).copied()
    }

    fn waiting(&self) -> Capacity {
        self.waiting.iter().fold(Capacity::ZERO, |sum, batch| sum.plus(batch.size))
    }

    /// The oldest `count` have come into service.
    fn arrive(&mut self, mut count: Capacity, now: Timestamp) {
        while count > Capacity::ZERO {
            let Some(batch) = self.waiting.front_mut() else { return };
            let arrived = count.min(batch.size);
            if let Some(since) = batch.since {
                if self.launches.is_full() {
                    self.launches.remove(0);
                }
                self.launches.push(elapsed(since, now).min(LONGEST));
            }
            batch.size = batch.size.minus(arrived);
            count = count.minus(arrived);
            if batch.size == Capacity::ZERO {
                self.waiting.pop_front();
            }
        }
    }

    /// The newest `count` are not wanted any more.
    fn cancel(&mut self, mut count: Capacity) {
        while count > Capacity::ZERO {
            let Some(batch) = self.waiting.back_mut() else { return };
            let cancelled = count.min(batch.size);
            batch.size = batch.size.minus(cancelled);
            count = count.minus(cancelled);
            if batch.size == Capacity::ZERO {
                self.waiting.pop_back();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{LaunchFailure, Suspended};

    /// Sees (second, desired, in service), and returns the typical boot time in seconds.
    fn check(seen: &[(i64, u32, u32)], expected: Option<u64>) {
        let mut boots = BootTimes::default();
        for &(second, desired, in_service) in seen {
            let [desired, in_service] = [desired, in_service].map(Capacity::new);
            let group = GroupStatus { desired, in_service, ..GroupStatus::default() };
            boots.see(&group, Timestamp::from_second(second).unwrap());
        }
        assert_eq!(boots.typical(), expected.map(Duration::from_secs), "{seen:?}");
        let missing = seen.last().map_or(0, |(_, desired, in_service)| desired.saturating_sub(*in_service));
        assert_eq!(boots.waiting().get(), missing);
    }

    #[test]
    fn a_launch_takes_from_being_asked_for_to_being_in_service() {
        check(&[(0, 4, 4), (15, 6, 4), (90, 6, 5), (105, 6, 6)], Some(90));
        check(&[(0, 4, 4), (15, 6, 4), (105, 6, 6)], Some(90));
    }

    #[test]
    fn what_was_on_its_way_before_says_nothing() {
        check(&[(0, 6, 4), (15, 6, 6)], None);
        check(&[(0, 6, 4), (15, 8, 4), (30, 8, 6), (75, 8, 8)], Some(60));
    }

    #[test]
    fn a_scale_in_cancels_the_newest() {
        check(&[(0, 4, 4), (15, 6, 4), (30, 9, 4), (45, 6, 4), (75, 6, 6)], Some(60));
        check(&[(0, 4, 4), (15, 6, 4), (30, 4, 4), (45, 4, 4)], None);
    }

    #[test]
    fn a_replacement_is_a_launch() {
        check(&[(0, 4, 4), (15, 4, 3), (60, 4, 4)], Some(45));
    }

    #[test]
    fn one_launch_that_failed_for_hours_moves_nothing() {
        let mut seen = vec![(0, 1, 1)];
        for k in 0..6 {
            seen.extend([(1000 * i64::from(k) + 10, k + 2, k + 1), (1000 * i64::from(k) + 70, k + 2, k + 2)]);
        }
        seen.extend([(10_000, 9, 7), (90_000, 9, 9)]);
        check(&seen, Some(60));
    }

    #[test]
    fn what_waits_for_a_launch_that_can_not_be_says_nothing() {
        let check = |hindered: GroupStatus| {
            let mut boots = BootTimes::default();
            let mut see = |second, desired, in_service, of: GroupStatus| {
                let [desired, in_service] = [desired, in_service].map(Capacity::new);
                boots.see(&GroupStatus { desired, in_service, ..of }, Timestamp::from_second(second).unwrap())
            };
            see(0, 4, 4, GroupStatus::default());
            see(15, 6, 4, GroupStatus::default());
            see(30, 6, 4, hindered);
            see(900, 6, 4, GroupStatus::default());
            see(960, 6, 6, GroupStatus::default());
            assert_eq!(boots.typical(), None, "{hindered:?}");
        };
        let failure = LaunchFailure { at: Timestamp::UNIX_EPOCH, insufficient_capacity: true };
        check(GroupStatus { launch_failure: Some(failure), ..GroupStatus::default() });
        let suspended = Suspended { launch: true, ..Suspended::default() };
        check(GroupStatus { suspended, ..GroupStatus::default() });
    }

    #[test]
    fn what_happened_while_nobody_looked_says_nothing() {
        let mut boots = BootTimes::default();
        let see = |boots: &mut BootTimes, second, desired, in_service| {
            let [desired, in_service] = [desired, in_service].map(Capacity::new);
            let group = GroupStatus { desired, in_service, ..GroupStatus::default() };
            boots.see(&group, Timestamp::from_second(second).unwrap())
        };
        see(&mut boots, 0, 4, 4);
        see(&mut boots, 15, 6, 4);
        boots.look_away();
        assert_eq!(see(&mut boots, 9000, 6, 6), Capacity::ZERO, "nobody saw them arrive");
        assert_eq!(boots.typical(), None);
    }
}
