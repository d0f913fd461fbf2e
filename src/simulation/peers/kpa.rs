//! The Knative Pod Autoscaler on concurrency, with its default behaviour.
//!
//! It counts the requests in flight, those that wait included, so that saturation hides nothing from it. Simplified: it
//! ticks every 3 s rather than every 2 s, averages are linear, and no activator holds requests back.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use crate::observation::elapsed;
use crate::policy::Capacity;
use crate::simulation::reference::{STEP, Seen};
use crate::simulation::server::steps;
use crate::simulation::trace::count;

/// What the fleet is sized for in calm.
const STABLE_WINDOW: Duration = Duration::from_mins(1);

/// What it is sized for in panic: a tenth of that.
const PANIC_WINDOW: Duration = Duration::from_secs(6);

/// It panics when the short window asks for so many times what is ready.
const PANIC_THRESHOLD: f64 = 2.0;

/// The most that is asked for, in times of what is ready.
const MOST_UP: f64 = 1000.0;

/// The least is what is ready divided by this.
const MOST_DOWN: f64 = 2.0;

/// The autoscaler, with what it saw of late.
#[derive(Clone, Debug)]
pub struct KnativePodAutoscaler {
    /// Requests in flight for each instance.
    target: f64,
    /// Requests in flight, newest last, for a stable window.
    in_flight: VecDeque<f64>,
    panic: Option<Panic>,
    started: bool,
}

#[derive(Clone, Copy, Debug)]
struct Panic {
    renewed: Timestamp,
    highest: f64,
}

impl KnativePodAutoscaler {
    /// The interval that it is to be asked at.
    pub const INTERVAL: Duration = STEP;

    /// Keeps `target` of the `workers` of each instance busy.
    pub fn new(target: f64, workers: u32) -> Self {
        Self { target: target * f64::from(workers), in_flight: VecDeque::new(), panic: None, started: false }
    }

    /// The pods that it asks for.
    pub fn decide(&mut self, seen: &Seen) -> Capacity {
        if self.in_flight.len() == steps(STABLE_WINDOW) {
            self.in_flight.pop_front();
        }
        self.in_flight.push_back(seen.in_flight);
        let ready = seen.in_service.as_f64().max(1.0);
        // A start, or restart, with several pods is a panic at their number, so that nothing is removed rashly.
        if !std::mem::replace(&mut self.started, true) && ready > 1.0 {
            self.panic = Some(Panic { renewed: seen.at, highest: ready });
        }
        let [stable, panic] = [STABLE_WINDOW, PANIC_WINDOW].map(|window| self.pods(window));
        self.see(panic / ready >= PANIC_THRESHOLD, seen.at);
        let bounded = |pods: f64| pods.clamp((ready / MOST_DOWN).floor(), (MOST_UP * ready).ceil());
        let wanted = match &mut self.panic {
            Some(panicking) => {
                panicking.highest = panicking.highest.max(bounded(stable)).max(bounded(panic));
                panicking.highest
            }
            None => bounded(stable),
        };
        Capacity::floor(wanted).unwrap_or(seen.desired)
    }

    /// What the newest `window` needs, before any bound.
    fn pods(&self, window: Duration) -> f64 {
        let samples = self.in_flight.len().min(steps(window));
        let sum: f64 = self.in_flight.iter().rev().take(samples).sum();
        (sum / count(samples) / self.target).ceil()
    }

    /// Enters panic, renews it, or leaves it after a stable window without cause.
    fn see(&mut self, over: bool, now: Timestamp) {
        match &mut self.panic {
            Some(panic) if over => panic.renewed = now,
            Some(panic) if elapsed(panic.renewed, now) > STABLE_WINDOW => self.panic = None,
            None if over => self.panic = Some(Panic { renewed: now, highest: 0.0 }),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::peers::tests::seen;

    /// Its answers, 3 s apart, to these requests in flight on `ready` pods with a target of 7 each.
    fn answers(ready: u32, in_flight: &[f64]) -> Vec<u32> {
        let mut kpa = KnativePodAutoscaler::new(0.7, 10);
        let ask = |(tick, in_flight): (i64, &f64)| {
            let seen = Seen { in_flight: *in_flight, ..seen(3 * tick, 0.0, ready, 0) };
            kpa.decide(&seen).get()
        };
        (0..).zip(in_flight).map(ask).collect()
    }

    #[test]
    fn it_sizes_for_the_mean_of_a_minute() {
        // One pod does not panic at the start. 14 of 7 each: 2 pods, which is no more than twice what is ready.
        let mut load = [7.0; 40];
        load[20..].fill(13.0);
        let answers = answers(1, &load);
        assert_eq!(answers[..20], [1; 20]);
        assert_eq!(answers[39], 2);
    }

    #[test]
    fn a_short_burst_of_twice_the_pods_is_a_panic_in_which_nothing_is_removed() {
        let mut load = [70.0; 60];
        load[30..32].fill(210.0);
        let answers = answers(10, &load);
        assert_eq!(answers[29], 10);
        // One sample of 210 makes a mean of 140 over 6 s: 20 pods, twice what is ready. Two make 30 pods.
        assert_eq!(answers[30..32], [20, 30]);
        assert_eq!(answers[32..53], [30; 21], "for a minute after the last cause");
        assert_eq!(answers[59], 10, "all of the burst has left the minute");
    }

    #[test]
    fn it_halves_at_most_and_a_start_removes_nothing() {
        let answers = answers(10, &[7.0; 30]);
        assert_eq!(answers[..21], [10; 21]);
        assert_eq!(answers[21..], [5; 9]);
    }
}
