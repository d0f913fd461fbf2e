//! How much of a group is warm, from how what is in service grows.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use crate::observation::{DEFAULT_WARM_UP, elapsed};
use crate::policy::Capacity;

/// What is in service, by when it appeared there.
#[derive(Clone, Debug)]
pub struct Warming {
    takes: Duration,
    /// `None` until the group is seen, as what is in service then has been there for nobody knows how long.
    warm: Option<Capacity>,
    /// What warms up, oldest first.
    young: VecDeque<(Timestamp, Capacity)>,
}

impl Warming {
    /// Of a group that has not been seen yet; `None`: [`DEFAULT_WARM_UP`].
    pub fn new(takes: Option<Duration>) -> Self {
        Self { takes: takes.unwrap_or(DEFAULT_WARM_UP), warm: None, young: VecDeque::new() }
    }

    /// How much is warm at `now`, with `in_service` in service. Where that has fallen, the newest have left.
    pub fn see(&mut self, in_service: Capacity, now: Timestamp) -> Capacity {
        let mut warm = self.warm.unwrap_or(in_service);
        // Of a clock that was set back; what appeared at a time that has not come yet would never be warm.
        self.young.iter_mut().for_each(|(since, _)| *since = now.min(*since));
        while let Some((_, count)) = self.young.pop_front_if(|(since, _)| elapsed(*since, now) >= self.takes) {
            warm = warm.plus(count);
        }
        let before = self.young.iter().fold(warm, |sum, (_, count)| sum.plus(*count));
        if in_service > before {
            self.young.push_back((now, in_service.minus(before)));
        }
        warm = warm.minus(self.leave(before.minus(in_service)));
        self.warm = Some(warm);
        warm
    }

    /// Lets the newest leave; returns how many of `leaving` are left over.
    fn leave(&mut self, mut leaving: Capacity) -> Capacity {
        while leaving > Capacity::ZERO
            && let Some((since, count)) = self.young.pop_back()
        {
            if count > leaving {
                self.young.push_back((since, count.minus(leaving)));
            }
            leaving = leaving.minus(count);
        }
        leaving
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_appears_is_warm_after_the_warm_up_and_the_newest_leave_first() {
        let mut warming = Warming::new(Some(Duration::from_secs(30)));
        let mut check = |second: i64, in_service: u32, expected: u32| {
            let warm = warming.see(Capacity::new(in_service), Timestamp::from_second(second).unwrap());
            assert_eq!(warm.get(), expected, "of {in_service} at {second}");
        };
        check(100, 4, 4);
        check(110, 6, 4);
        check(120, 9, 4);
        check(139, 9, 4);
        check(140, 7, 6);
        check(150, 7, 7);
        check(160, 5, 5);
        check(170, 6, 5);
        // The clock is set back: what appeared before counts from now.
        check(60, 6, 5);
        check(89, 6, 5);
        check(90, 6, 6);
        check(100, 0, 0);
        check(110, 2, 0);
        check(140, 2, 2);
    }
}
