//! The reference plant: identical instances under a [`Demand`], in steps of 3 s, with any controller in charge.
//!
//! Pure and deterministic, and apart from the [world](super::world), which is for people to watch: here two weeks pass
//! in a fraction of a second. A fluid model: one plant, alike instances, launches that never fail, metrics that are
//! never missing. Figures from here are to be quoted with that.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use super::group::LEAST_BILLED;
use super::plant::{Reading, WARM_UP, share_of_capacity};
use super::queue::{INSTANCE_RATE, LONGEST_WAIT, Queue};
use super::score::Tally;
use super::trace::{Demand, count};
use crate::control::{ControllerState, Decision, Outcome, evaluate, settle};
use crate::observation::{GroupStatus, Measurement, Observation, Rivals, Suspended};
use crate::policy::{Capacity, Metric, MetricKind, Policy};

/// One step of the plant.
pub const STEP: Duration = Duration::from_secs(3);

/// How often the controller is asked.
pub const INTERVAL: Duration = Duration::from_secs(15);

/// Steps between two questions, and steps that a measurement is the mean of.
const STEPS_AN_INTERVAL: usize = 5;

/// The utilization that the fleet starts at.
const FIRST_UTILIZATION: f64 = 0.7;

/// What a plant is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Launch to in service.
    pub boot: Duration,
    /// Least capacity.
    pub min: Capacity,
    /// Most capacity.
    pub max: Capacity,
}

/// What a controller sees when it is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Now; the run began at the Unix epoch.
    pub at: Timestamp,
    /// The mean over one interval that ended a step ago, as a scrape would give it.
    pub measured: Reading,
    /// Desired capacity.
    pub desired: Capacity,
    /// In service.
    pub in_service: Capacity,
    /// In service and past warm-up.
    pub warm: Capacity,
    /// Launched, not yet in service.
    pub pending: Capacity,
    /// The bounds of the group.
    pub settings: Settings,
}

/// Lets `decide` steer a fleet through `demand`: it is asked every [`INTERVAL`], and answers the desired capacity,
/// which is held to the bounds.
pub fn run(settings: Settings, demand: &Demand, mut decide: impl FnMut(&Seen) -> Capacity) -> Tally {
    let mut fleet = Fleet::start(settings, demand.expected.first().copied().unwrap_or_default());
    let mut server = Server::default();
    let mut tally = Tally::default();
    for (step, rate) in demand.arrived.iter().enumerate() {
        if let Some(measured) = server.measured().filter(|_| step % STEPS_AN_INTERVAL == 0) {
            let desired = fleet.desired();
            let wanted = decide(&fleet.seen(measured)).clamp(settings.min, settings.max);
            fleet.set_desired(wanted);
            tally.change(desired, wanted);
        }
        let reading = server.serve(*rate, fleet.capacity());
        tally.step(&reading);
        fleet.now += STEP;
    }
    tally.billed_seconds = fleet.billed_seconds();
    tally
}

/// What `policy` decides, by the library's own code; every decision is applied at once.
pub fn by_policy(policy: &Policy) -> impl FnMut(&Seen) -> Capacity {
    let mut state = ControllerState::default();
    move |seen| {
        let measurements = policy.metrics.iter().map(|metric| seen.measurement_of(metric)).collect();
        let observation = Observation { measurements, group: Some(seen.group()), ..Observation::default() };
        let (evaluation, next) = evaluate(policy, std::mem::take(&mut state), &observation, seen.at);
        state = settle(next, &evaluation.decision, &Outcome::Applied, seen.at);
        match evaluation.decision {
            Decision::Scale { to, .. } => to,
            Decision::Hold => seen.desired,
        }
    }
}

impl Seen {
    fn measurement_of(&self, metric: &Metric) -> Measurement {
        let value = match metric.kind {
            MetricKind::Utilization => self.measured.utilization * metric.full_scale(),
            MetricKind::Total => self.measured.arrival_rate,
            MetricKind::Latency => self.measured.p99,
        };
        Measurement::of(value, Some(STEP))
    }

    fn group(&self) -> GroupStatus {
        GroupStatus {
            desired: self.desired,
            min: self.settings.min,
            max: self.settings.max,
            in_service: self.in_service,
            warm: self.warm,
            pending: self.pending,
            healthy: self.in_service,
            suspended: Suspended::default(),
            refreshing: false,
            launch_failure: None,
            rivals: Rivals::None,
        }
    }
}

/// The instances, by when they were launched.
struct Fleet {
    settings: Settings,
    /// Since long enough before the start that the first instances are warm.
    now: Duration,
    /// Of each instance, oldest first.
    launched: VecDeque<Duration>,
    /// Instance-seconds of those that are gone.
    billed: f64,
}

impl Fleet {
    /// A warm fleet for `rate` requests per second.
    fn start(settings: Settings, rate: f64) -> Self {
        let needed = Capacity::ceil(rate / (INSTANCE_RATE * FIRST_UTILIZATION)).unwrap_or_default();
        let first = needed.clamp(settings.min, settings.max);
        let launched = (0..first.get()).map(|_| Duration::ZERO).collect();
        Self { settings, now: settings.boot + WARM_UP, launched, billed: 0.0 }
    }

    fn desired(&self) -> Capacity {
        capacity(self.launched.len())
    }

    /// Launches, or terminates the oldest: one that boots only when none is in service.
    fn set_desired(&mut self, desired: Capacity) {
        while self.desired() < desired {
            self.launched.push_back(self.now);
        }
        while self.desired() > desired {
            let age = self.launched.pop_front().map_or(Duration::ZERO, |launched| self.billable(launched));
            self.billed += age.max(LEAST_BILLED).as_secs_f64();
        }
    }

    /// How long an instance has been billed for; what was before the start does not count.
    fn billable(&self, launched: Duration) -> Duration {
        self.now.saturating_sub(launched.max(self.settings.boot + WARM_UP))
    }

    fn billed_seconds(&self) -> f64 {
        self.billed + self.launched.iter().map(|launched| self.billable(*launched).as_secs_f64()).sum::<f64>()
    }

    /// How many instances were launched at least this long ago.
    fn as_old_as(&self, age: Duration) -> usize {
        self.launched.partition_point(|launched| self.now.saturating_sub(*launched) >= age)
    }

    /// What those in service carry, in shares of one warm instance.
    fn capacity(&self) -> f64 {
        let warm = self.as_old_as(self.settings.boot + WARM_UP);
        let warming = self.launched.range(warm..self.as_old_as(self.settings.boot));
        let shares = warming.map(|launched| share_of_capacity(self.now.saturating_sub(*launched + self.settings.boot)));
        count(warm) + shares.sum::<f64>()
    }

    fn seen(&self, measured: Reading) -> Seen {
        let start = Timestamp::UNIX_EPOCH;
        let since_start = self.now.saturating_sub(self.settings.boot + WARM_UP);
        let in_service = capacity(self.as_old_as(self.settings.boot));
        Seen {
            at: start.saturating_add(since_start).unwrap_or(start),
            measured,
            desired: self.desired(),
            in_service,
            warm: capacity(self.as_old_as(self.settings.boot + WARM_UP)),
            pending: self.desired().minus(in_service),
            settings: self.settings,
        }
    }
}

fn capacity(instances: usize) -> Capacity {
    u32::try_from(instances).map_or(Capacity::MAX, Capacity::new)
}

/// The fleet as one queue, and what its gauges showed.
#[derive(Default)]
struct Server {
    /// Requests.
    backlog: f64,
    /// One more than a measurement is the mean of: the newest is not scraped yet.
    recent: VecDeque<Reading>,
}

impl Server {
    /// One step at `rate` requests per second with the `capacity` of that many instances.
    fn serve(&mut self, rate: f64, capacity: f64) -> Reading {
        let able = capacity * INSTANCE_RATE;
        let work = rate + self.backlog / STEP.as_secs_f64();
        self.backlog = ((work - able).max(0.0) * STEP.as_secs_f64()).min(able * LONGEST_WAIT);
        let (utilization, delay) =
            if able > 0.0 { ((work / able).min(1.0), self.backlog / able) } else { (1.0, LONGEST_WAIT) };
        let reading = Reading { utilization, arrival_rate: rate, p99: Queue::at(utilization, delay).p99() };
        if self.recent.len() > STEPS_AN_INTERVAL {
            self.recent.pop_front();
        }
        self.recent.push_back(reading);
        reading
    }

    /// The mean of one interval, ended a step ago; `None` before there is one.
    fn measured(&self) -> Option<Reading> {
        let scraped = (self.recent.len() > STEPS_AN_INTERVAL).then(|| self.recent.range(..STEPS_AN_INTERVAL))?;
        let mean = |of: fn(&Reading) -> f64| scraped.clone().map(of).sum::<f64>() / count(STEPS_AN_INTERVAL);
        Some(Reading {
            utilization: mean(|reading| reading.utilization),
            arrival_rate: mean(|reading| reading.arrival_rate),
            p99: mean(|reading| reading.p99),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::trace::CEILING;

    fn settings(min: u32, max: u32) -> Settings {
        Settings { boot: Duration::from_mins(2), min: Capacity::new(min), max: Capacity::new(max) }
    }

    fn near(measured: f64, expected: f64) {
        assert!((measured - expected).abs() < 1e-6, "{measured} is not {expected}");
    }

    /// A demand without noise.
    fn even(rate: f64, steps: usize) -> Demand {
        Demand { expected: vec![rate; steps], arrived: vec![rate; steps] }
    }

    fn fleet(size: u32) -> Fleet {
        Fleet::start(settings(size, 100), 0.0)
    }

    #[test]
    fn an_instance_boots_and_then_warms_up() {
        let mut fleet = fleet(2);
        fleet.set_desired(Capacity::new(5));
        let mut check = |seconds: u64, in_service, warm, capacity| {
            fleet.now = Duration::from_secs(180 + seconds);
            let reading = Reading { utilization: 0.0, arrival_rate: 0.0, p99: 0.0 };
            let seen = fleet.seen(reading);
            assert_eq!(
                (seen.in_service.get(), seen.warm.get(), seen.pending.get()),
                (in_service, warm, 5 - in_service)
            );
            near(fleet.capacity(), capacity);
        };
        check(0, 2, 2, 2.0);
        check(117, 2, 2, 2.0);
        check(120, 5, 2, 2.0 + 3.0 * 0.6);
        check(150, 5, 2, 2.0 + 3.0 * 0.8);
        check(180, 5, 5, 5.0);
    }

    #[test]
    fn an_instance_is_billed_from_launch_and_for_a_minute_at_least() {
        let mut fleet = fleet(2);
        let mut at = |seconds: u64, desired| {
            fleet.now = Duration::from_secs(180 + seconds);
            fleet.set_desired(Capacity::new(desired));
            fleet.billed_seconds()
        };
        near(at(0, 2), 0.0);
        near(at(30, 4), 60.0);
        near(at(90, 3), 90.0 + 90.0 + 60.0 + 60.0);
        near(at(99, 1), 90.0 + 99.0 + 69.0 + 69.0);
        let mut brief = Fleet::start(settings(0, 100), 0.0);
        brief.set_desired(Capacity::new(3));
        brief.now += Duration::from_secs(15);
        brief.set_desired(Capacity::new(1));
        near(brief.billed_seconds(), 60.0 + 60.0 + 15.0);
    }

    #[test]
    fn a_scale_in_takes_the_oldest() {
        let mut fleet = fleet(2);
        fleet.set_desired(Capacity::new(3));
        fleet.set_desired(Capacity::new(1));
        assert_eq!(fleet.launched, [Duration::from_mins(3)]);
    }

    #[test]
    fn a_measurement_is_the_mean_of_an_interval_that_ended_a_step_ago() {
        let mut server = Server::default();
        for rate in [900.0, 100.0, 200.0, 300.0, 400.0, 500.0] {
            assert_eq!(server.measured(), None);
            server.serve(rate, 10.0);
        }
        near(server.measured().unwrap().arrival_rate, (900.0 + 100.0 + 200.0 + 300.0 + 400.0) / 5.0);
        server.serve(0.0, 10.0);
        near(server.measured().unwrap().utilization, 1500.0 / 5.0 / 2000.0);
    }

    #[test]
    fn what_cannot_be_served_waits_and_beyond_ten_seconds_is_dropped() {
        let mut server = Server::default();
        near(server.serve(CEILING * 800.0, 4.0).utilization, CEILING);
        near(server.serve(1000.0, 4.0).utilization, 1.0);
        near(server.backlog, 600.0);
        let drowned = (0..100).map(|_| server.serve(1000.0, 4.0)).last().unwrap();
        near(server.backlog, 8000.0);
        assert!(drowned.p99 > LONGEST_WAIT);
    }

    #[test]
    fn a_controller_is_asked_every_interval_and_held_to_the_bounds() {
        let mut asked = Vec::new();
        let tally = run(settings(2, 6), &even(500.0, 40), |seen| {
            asked.push((seen.at.as_second(), seen.desired.get(), seen.pending.get()));
            Capacity::new(9)
        });
        assert_eq!(asked[..2], [(30, 4, 0), (45, 6, 2)]);
        assert_eq!(asked.len(), 6);
        assert_eq!((tally.steps, tally.actions, tally.over_objective), (40, 1, 0));
        near(tally.billed_seconds, 4.0 * 120.0 + 2.0 * 90.0);
    }

    #[test]
    fn too_small_a_fleet_misses_its_objective() {
        let tally = run(settings(2, 2), &even(CEILING * 400.0 + 2.0, 100), |seen| seen.desired);
        assert_eq!((tally.over_objective, tally.over_ceiling), (100, 100));
        let tally = run(settings(2, 2), &even(CEILING * 400.0 - 0.1, 100), |seen| seen.desired);
        assert_eq!((tally.over_objective, tally.over_ceiling), (0, 0));
    }
}
