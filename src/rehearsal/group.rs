//! The simulated group: it does what it is told, and what it launches is in service one boot time later.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use super::{Group, Warming};
use crate::observation::{GroupStatus, Rivals, Suspended, elapsed};
use crate::policy::Capacity;

/// A group and what is on its way.
pub(super) struct Fleet {
    group: Group,
    in_service: Capacity,
    /// By when they were launched, oldest first.
    launched: VecDeque<(Timestamp, Capacity)>,
    warming: Warming,
}

impl Fleet {
    pub fn new(group: Group, warm_up: Option<Duration>) -> Self {
        Self { group, in_service: group.desired, launched: VecDeque::new(), warming: Warming::new(warm_up) }
    }

    pub fn desired(&self) -> Capacity {
        self.group.desired
    }

    /// How it stands at `now`, with what has booted since.
    pub fn at(&mut self, now: Timestamp) -> GroupStatus {
        while let Some((_, count)) =
            self.launched.pop_front_if(|(since, _)| elapsed(*since, now) >= self.group.boot_time)
        {
            self.in_service = self.in_service.plus(count);
        }
        GroupStatus {
            desired: self.group.desired,
            min: self.group.min,
            max: self.group.max,
            in_service: self.in_service,
            warm: self.warming.see(self.in_service, now),
            pending: self.group.desired.minus(self.in_service),
            healthy: self.in_service,
            suspended: Suspended::default(),
            refreshing: false,
            launch_failure: None,
            rivals: Rivals::None,
        }
    }

    /// Launches, or terminates: one in service before one that boots.
    pub fn set_desired(&mut self, desired: Capacity, now: Timestamp) {
        let added = desired.minus(self.group.desired);
        if added > Capacity::ZERO {
            self.launched.push_back((now, added));
        }
        let removed = self.group.desired.minus(desired);
        let mut booting = removed.minus(self.in_service);
        self.in_service = self.in_service.minus(removed);
        while booting > Capacity::ZERO
            && let Some((since, count)) = self.launched.pop_back()
        {
            if count > booting {
                self.launched.push_back((since, count.minus(booting)));
            }
            booting = booting.minus(count);
        }
        self.group.desired = desired;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_is_in_service_after_the_boot_time_and_warm_after_the_warm_up() {
        let group = Group {
            desired: Capacity::new(2),
            min: Capacity::ZERO,
            max: Capacity::MAX,
            boot_time: Duration::from_mins(1),
        };
        let mut fleet = Fleet::new(group, Some(Duration::from_secs(30)));
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut check = |second, set: Option<u32>, expected: [u32; 3]| {
            let status = fleet.at(at(second));
            let counts = [status.pending, status.in_service, status.warm].map(Capacity::get);
            assert_eq!(counts, expected, "at {second}");
            if let Some(desired) = set {
                fleet.set_desired(Capacity::new(desired), at(second));
            }
        };
        check(0, Some(5), [0, 2, 2]);
        check(15, Some(6), [3, 2, 2]);
        check(60, None, [1, 5, 2]);
        check(75, None, [0, 6, 2]);
        check(90, None, [0, 6, 5]);
        check(105, Some(7), [0, 6, 6]);
        check(120, Some(0), [1, 6, 6]);
        check(300, None, [0, 0, 0]);
    }
}
