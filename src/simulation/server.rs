//! The fleet of the reference plant as one queue: what waits, how long requests take, and what its gauges show.
//!
//! A balancer gives each instance its share of the work by its speed, so that all are equally busy. Pure; it never knows
//! an instance.

use std::collections::VecDeque;
use std::time::Duration;

use super::plant::Reading;
use super::queue::{LONGEST_WAIT, Queue, Service};
use super::reference::STEP;
use super::trace::count;

/// A client waits so long, in seconds, and then sends its request again where the demand says so. What it gave up on is
/// served nevertheless.
const PATIENCE: f64 = 5.0;

/// What became of the requests of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Served {
    pub reading: Reading,
    /// Requests that arrived.
    pub requests: f64,
    /// Of these, those that took longer than the objective or were dropped.
    pub over_objective: f64,
    /// Requests that were dropped.
    pub dropped: f64,
    /// Mean response time of the others, in seconds.
    pub mean_response: f64,
}

impl Served {
    /// Requests that were not dropped.
    pub fn answered(&self) -> f64 {
        (self.requests - self.dropped).max(0.0)
    }
}

/// The queue, and its gauges of late.
#[derive(Debug)]
pub(super) struct Server {
    service: Service,
    /// Steps that a measurement is the mean of.
    window: usize,
    /// Steps by which it is late.
    lag: usize,
    /// See [`Demand::retried`](super::trace::Demand::retried).
    retried: f64,
    /// Requests.
    backlog: f64,
    /// Requests that are sent again with the next step.
    again: f64,
    /// A window and a lag, at most.
    recent: VecDeque<Gauges>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Gauges {
    pub reading: Reading,
    /// Requests that are served or wait in the backlog.
    pub in_flight: f64,
}

impl Server {
    /// Nothing waits.
    pub fn new(service: Service, interval: Duration, lag: Duration, retried: f64) -> Self {
        let (window, lag) = (steps(interval).max(1), steps(lag));
        let (backlog, again) = (0.0, 0.0);
        Self { service, window, lag, retried, backlog, again, recent: VecDeque::new() }
    }

    /// One step at `rate` requests per second with the `capacity` of that many instances.
    pub fn serve(&mut self, rate: f64, capacity: f64) -> Served {
        let seconds = STEP.as_secs_f64();
        let rate = rate + self.again / seconds;
        let able = capacity * self.service.rate;
        let work = rate + self.backlog / seconds;
        let waiting = (work - able).max(0.0) * seconds;
        self.backlog = waiting.min(able * LONGEST_WAIT);
        let (utilization, delay) =
            if able > 0.0 { ((work / able).min(1.0), self.backlog / able) } else { (1.0, LONGEST_WAIT) };
        let queue = Queue::of(&self.service, utilization, delay);
        let reading = Reading { utilization, arrival_rate: rate, p99: queue.p99() };
        let in_flight = capacity * self.in_system(utilization, &queue) + self.backlog;
        self.note(Gauges { reading, in_flight });
        self.served(reading, rate * seconds, waiting - self.backlog, queue)
    }

    /// Requests that one instance serves or lets wait, by Little's law. No more wait than there are workers: towards full
    /// load the formula has no bound, and the backlog tells.
    fn in_system(&self, utilization: f64, queue: &Queue) -> f64 {
        let workers = f64::from(self.service.workers);
        utilization * workers + (utilization * self.service.rate * queue.mean_wait()).min(workers)
    }

    fn served(&mut self, reading: Reading, requests: f64, dropped: f64, queue: Queue) -> Served {
        let answered = (requests - dropped).max(0.0);
        if self.retried > 0.0 {
            self.again = self.retried * (requests - answered * (1.0 - queue.share_over(PATIENCE)));
        }
        Served {
            reading,
            requests,
            over_objective: requests - answered * (1.0 - queue.share_over(self.service.objective)),
            dropped,
            mean_response: queue.mean(),
        }
    }

    fn note(&mut self, gauges: Gauges) {
        if self.recent.len() == self.window + self.lag {
            self.recent.pop_front();
        }
        self.recent.push_back(gauges);
    }

    /// The mean of one interval, ended a lag ago; `None` before there is one.
    pub fn measured(&self) -> Option<Gauges> {
        let scraped = (self.recent.len() == self.window + self.lag).then(|| self.recent.range(..self.window))?;
        let mean = |of: fn(&Gauges) -> f64| scraped.clone().map(of).sum::<f64>() / count(self.window);
        let reading = Reading {
            utilization: mean(|gauges| gauges.reading.utilization),
            arrival_rate: mean(|gauges| gauges.reading.arrival_rate),
            p99: mean(|gauges| gauges.reading.p99),
        };
        Some(Gauges { reading, in_flight: mean(|gauges| gauges.in_flight) })
    }
}

/// How many whole steps there are in this time.
pub(super) fn steps(time: Duration) -> usize {
    usize::try_from(time.as_nanos() / STEP.as_nanos()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::trace::CEILING;

    fn near(measured: f64, expected: f64) {
        assert!((measured - expected).abs() < 1e-6, "{measured} is not {expected}");
    }

    fn server(retried: f64) -> Server {
        Server::new(Service::REFERENCE, Duration::from_secs(15), STEP, retried)
    }

    #[test]
    fn a_measurement_is_the_mean_of_an_interval_that_ended_a_step_ago() {
        let mut server = server(0.0);
        for rate in [900.0, 100.0, 200.0, 300.0, 400.0, 500.0] {
            assert_eq!(server.measured(), None);
            server.serve(rate, 10.0);
        }
        near(server.measured().unwrap().reading.arrival_rate, (900.0 + 100.0 + 200.0 + 300.0 + 400.0) / 5.0);
        server.serve(0.0, 10.0);
        near(server.measured().unwrap().reading.utilization, 1500.0 / 5.0 / 2000.0);
    }

    #[test]
    fn what_cannot_be_served_waits_and_beyond_ten_seconds_is_dropped() {
        let mut server = server(0.0);
        near(server.serve(CEILING * 800.0, 4.0).reading.utilization, CEILING);
        let first = server.serve(1000.0, 4.0);
        near(first.reading.utilization, 1.0);
        near(server.backlog, 600.0);
        near(first.dropped, 0.0);
        let drowned = (0..100).map(|_| server.serve(1000.0, 4.0)).last().unwrap();
        near(server.backlog, 8000.0);
        assert!(drowned.reading.p99 > LONGEST_WAIT && drowned.mean_response > LONGEST_WAIT);
        near(drowned.dropped, 600.0);
        near(drowned.over_objective, drowned.requests);
    }

    #[test]
    fn requests_over_the_objective_are_counted_by_the_queue() {
        let served = server(0.0).serve(160.0, 1.0);
        near(served.requests, 480.0);
        near(served.over_objective, 480.0 * Queue::at(0.8, 0.0).share_over(0.5));
        near(served.mean_response, Queue::at(0.8, 0.0).mean());
    }

    #[test]
    fn clients_that_give_up_send_again_and_keep_the_fleet_busy() {
        let after_the_burst = |retried| {
            let mut server = server(retried);
            for _ in 0..40 {
                server.serve(1600.0, 4.0);
            }
            (0..100).map(|_| server.serve(500.0, 4.0)).last().unwrap().reading.utilization
        };
        near(after_the_burst(0.0), 500.0 / 800.0);
        near(after_the_burst(0.9), 1.0);
    }
}
