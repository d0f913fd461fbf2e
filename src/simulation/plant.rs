//! Identical instances that serve arrivals in fixed steps: utilization, backlog, response times, and their counts.
//!
//! A fluid model: requests are not whole. Pure; it never knows what an Auto Scaling group is.

use std::collections::VecDeque;
use std::time::Duration;

use super::queue::{INSTANCE_RATE, LONGEST_WAIT, OBJECTIVE, Queue};

/// The share of its full capacity that an instance has when it goes into service.
pub const COLD_SHARE: f64 = 0.6;

/// How long an instance takes from [`COLD_SHARE`] to its full capacity.
pub const WARM_UP: Duration = Duration::from_mins(1);

/// Upper bounds of the response time histogram in seconds; the last bucket has none.
pub const BUCKETS: [f64; 12] = [0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0];

/// Steps that a gauge is the mean of, so that it says what a rate over 15 s would.
pub const GAUGE_STEPS: usize = 15;

/// The share of its full capacity that an instance has this long after it went into service.
pub fn share_of_capacity(in_service: Duration) -> f64 {
    share_warmed(in_service, WARM_UP)
}

/// The same of one that takes `warm_up` to its full capacity.
pub fn share_warmed(in_service: Duration, warm_up: Duration) -> f64 {
    if in_service >= warm_up {
        return 1.0;
    }
    COLD_SHARE + (1.0 - COLD_SHARE) * in_service.div_duration_f64(warm_up)
}

/// What one step was like.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Busy share of the workers, 0..=1.
    pub utilization: f64,
    /// Requests per second that arrived.
    pub arrival_rate: f64,
    /// 99th percentile of the response time, in seconds.
    pub p99: f64,
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Requests that arrived.
    pub requests: f64,
    /// Of these, those that took longer than [`OBJECTIVE`] or were dropped.
    pub over_objective: f64,
    /// Of these, those that were dropped.
    pub dropped: f64,
    /// Requests by response time: how many took at most as long as each of [`BUCKETS`].
    pub within: [f64; BUCKETS.len()],
}

/// The fleet as one queue.
#[derive(Clone, Debug, Default)]
pub struct Plant {
    backlog: f64,
    recent: VecDeque<Reading>,
    counts: Counts,
}

impl Plant {
    /// Serves `arrivals` requests in `seconds` with `capacity` instances (each in shares of its full capacity).
    pub fn serve(&mut self, arrivals: f64, capacity: f64, seconds: f64) {
        let able = capacity * INSTANCE_RATE * seconds;
        let work = self.backlog + arrivals;
        let waiting = (work - able).max(0.0);
        self.backlog = waiting.min(capacity * INSTANCE_RATE * LONGEST_WAIT);
        let dropped = waiting - self.backlog;
        let (utilization, delay) = if able > 0.0 {
            ((work / able).min(1.0), self.backlog / (capacity * INSTANCE_RATE))
        } else {
            (1.0, LONGEST_WAIT)
        };
        let queue = Queue::at(utilization, delay);
        self.count(arrivals, dropped.min(arrivals), queue);
        if self.recent.len() == GAUGE_STEPS {
            self.recent.pop_front();
        }
        self.recent.push_back(Reading { utilization, arrival_rate: arrivals / seconds, p99: queue.p99() });
    }

    fn count(&mut self, arrivals: f64, dropped: f64, queue: Queue) {
        let answered = arrivals - dropped;
        self.counts.requests += arrivals;
        self.counts.dropped += dropped;
        self.counts.over_objective += dropped + answered * queue.share_over(OBJECTIVE);
        for (count, bound) in self.counts.within.iter_mut().zip(BUCKETS) {
            *count += answered * (1.0 - queue.share_over(bound));
        }
    }

    /// The mean of the last [`GAUGE_STEPS`] steps; `None` before the first.
    pub fn reading(&self) -> Option<Reading> {
        let steps = u32::try_from(self.recent.len()).ok().filter(|steps| *steps > 0)?;
        let mean = |of: fn(&Reading) -> f64| self.recent.iter().map(of).sum::<f64>() / f64::from(steps);
        Some(Reading {
            utilization: mean(|r| r.utilization),
            arrival_rate: mean(|r| r.arrival_rate),
            p99: mean(|r| r.p99),
        })
    }

    /// What was counted since the start.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(measured: f64, expected: f64) {
        assert!((measured - expected).abs() < 1e-6, "{measured} is not {expected}");
    }

    fn after(steps: u32, arrivals: f64, capacity: f64) -> Plant {
        let mut plant = Plant::default();
        (0..steps).for_each(|_| plant.serve(arrivals, capacity, 1.0));
        plant
    }

    #[test]
    fn utilization_is_arrivals_over_capacity() {
        let reading = after(20, 720.0, 4.0).reading().unwrap();
        near(reading.utilization, 0.9);
        near(reading.arrival_rate, 720.0);
        assert!((after(20, 0.9305 * 800.0, 4.0).reading().unwrap().p99 - 0.5).abs() < 0.002);
    }

    #[test]
    fn what_cannot_be_served_waits_and_beyond_ten_seconds_is_dropped() {
        let overloaded = after(10, 1000.0, 4.0);
        near(overloaded.backlog, 2000.0);
        near(overloaded.counts().dropped, 0.0);
        let drowned = after(100, 1000.0, 4.0);
        near(drowned.backlog, 8000.0);
        near(drowned.counts().dropped, 100.0 * 200.0 - 8000.0);
        assert!(drowned.reading().unwrap().p99 > LONGEST_WAIT);
    }

    #[test]
    fn no_capacity_drops_everything() {
        let dead = after(3, 100.0, 0.0);
        near(dead.counts().dropped, 300.0);
        near(dead.counts().over_objective, 300.0);
        near(dead.reading().unwrap().utilization, 1.0);
    }

    #[test]
    fn a_backlog_drains_before_utilization_falls() {
        let mut plant = after(10, 1000.0, 4.0);
        (0..4).for_each(|_| plant.serve(300.0, 4.0, 1.0));
        near(plant.backlog, 0.0);
        near(plant.recent.back().unwrap().utilization, 1.0);
        plant.serve(300.0, 4.0, 1.0);
        near(plant.recent.back().unwrap().utilization, 300.0 / 800.0);
    }

    #[test]
    fn capacity_grows_while_an_instance_warms_up() {
        near(share_of_capacity(Duration::ZERO), 0.6);
        near(share_of_capacity(Duration::from_secs(30)), 0.8);
        near(share_of_capacity(Duration::from_secs(90)), 1.0);
    }

    #[test]
    fn the_histogram_counts_every_answered_request() {
        let counts = *after(10, 400.0, 4.0).counts();
        assert!(counts.within.is_sorted());
        near(counts.within[BUCKETS.len() - 1], 4000.0);
    }
}
