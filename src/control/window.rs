//! The extreme of the last while, in amortised constant time.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::observation::elapsed;

/// Values that could still be the highest of a sliding window, oldest first. Its length is bounded by the window
/// divided by the interval between pushes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Highest<T>(VecDeque<(Timestamp, T)>);

impl<T> Default for Highest<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: PartialOrd + Copy> Highest<T> {
    /// Takes `value` in, and returns the highest of the last `window`, which includes `value`.
    pub fn push(&mut self, now: Timestamp, value: T, window: Duration) -> T {
        while self.0.back().is_some_and(|(_, last)| *last <= value) {
            self.0.pop_back();
        }
        self.0.push_back((now, value));
        while self.0.front().is_some_and(|(at, _)| elapsed(*at, now) > window) {
            self.0.pop_front();
        }
        self.0.front().map_or(value, |(_, highest)| *highest)
    }

    /// The highest of the last `window` without a new value; `None` when it is empty.
    pub fn peek(&self, now: Timestamp, window: Duration) -> Option<T> {
        let within = |(at, _): &&(Timestamp, T)| elapsed(*at, now) <= window;
        self.0.iter().find(within).map(|(_, highest)| *highest)
    }

    /// The highest as of the last push.
    pub fn last_extreme(&self) -> Option<T> {
        self.0.front().map(|(_, highest)| *highest)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_leaves_with_its_age() {
        let mut window = Highest::default();
        let mut push =
            |second, value| window.push(Timestamp::from_second(second).unwrap(), value, Duration::from_secs(30));
        assert_eq!(push(0, 5), 5);
        assert_eq!(push(10, 3), 5);
        assert_eq!(push(20, 4), 5);
        assert_eq!(push(30, 1), 5);
        assert_eq!(push(31, 1), 4);
        assert_eq!(push(51, 2), 2);
    }

    #[test]
    fn a_look_without_a_new_value_leaves_out_what_is_too_old() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let window = Duration::from_secs(30);
        let mut highest = Highest::default();
        assert_eq!(highest.peek(at(0), window), None);
        highest.push(at(0), 5, window);
        highest.push(at(20), 3, window);
        assert_eq!(highest.peek(at(30), window), Some(5));
        assert_eq!(highest.peek(at(31), window), Some(3));
        assert_eq!(highest.peek(at(51), window), None);
    }
}
