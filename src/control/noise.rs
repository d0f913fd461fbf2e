//! How much a measured demand scatters around its own recent course.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::pid::log;
use crate::observation::elapsed;

/// What lasts longer than this is the course, not the scatter.
const COURSE: Duration = Duration::from_mins(2);

/// The scatter is an average over about this long.
const MEMORY: Duration = Duration::from_mins(30);

/// No more than this counts as scatter: a flash crowd is none.
const MOST: f64 = 0.04;

/// Scatter of the logarithm of one metric's demand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Scatter(Option<Seen>);

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Seen {
    at: Timestamp,
    course: f64,
    /// How far the course lags behind a steady rise or fall, which is no scatter either.
    #[serde(default)]
    lag: f64,
    variance: f64,
}

impl Scatter {
    /// Takes `demand` in, and returns the standard deviation around its course, as a share of demand.
    pub(super) fn see(&mut self, demand: f64, now: Timestamp) -> f64 {
        let x = log(demand);
        // After a gap, another level is no scatter.
        let known = self.0.filter(|seen| elapsed(seen.at, now) <= COURSE);
        let before = known.unwrap_or(Seen { at: now, course: x, lag: 0.0, variance: 0.0 });
        let seconds = elapsed(before.at, now).as_secs_f64();
        let share = |constant: Duration| seconds / (constant.as_secs_f64() + seconds);
        let behind = x - before.course;
        let off = (behind - before.lag).clamp(-2.0 * MOST, 2.0 * MOST);
        let course = before.course + share(COURSE) * behind;
        let lag = before.lag + share(COURSE) * off;
        let variance = before.variance + share(MEMORY) * (off * off - before.variance);
        self.0 = Some(Seen { at: now, course, lag, variance });
        variance.sqrt().min(MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_either_way_counts_for_no_more_than_twice_the_most() {
        let after = |demand: f64| {
            let mut scatter = Scatter::default();
            scatter.see(10.0, Timestamp::UNIX_EPOCH);
            scatter.see(demand, Timestamp::UNIX_EPOCH + Duration::from_secs(15))
        };
        let most = 2.0 * MOST * (15.0_f64 / 1815.0).sqrt();
        for demand in [100.0, 1.0] {
            assert!((after(demand) - most).abs() < 1e-9, "{} after a jump to {demand}", after(demand));
        }
    }
}
