//! The reference plant: a fleet under a [`Demand`], in steps of 3 s, with any controller in charge.
//!
//! Pure and deterministic, and apart from the [world](super::world), which is for people to watch: here two weeks pass
//! in a fraction of a second. A fluid model of one service behind one balancer, with metrics that are never missing.
//! Figures from here are to be quoted with that.

use std::time::Duration;

use jiff::Timestamp;

use super::fleet::{Fleet, Serving};
use super::noise::{Noise, scramble};
use super::plant::Reading;
use super::score::{Provision, Tally};
use super::server::{Gauges, Served, Server, steps};
pub use super::settings::{BOOT, Boot, INTERVAL, Removed, STEP, Settings, Speeds};
use super::trace::{Demand, count};
use crate::policy::Capacity;

/// What a controller sees when it is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Now.
    pub at: Timestamp,
    /// The mean over one interval that ended a lag ago, as a scrape would give it.
    pub measured: Reading,
    /// Requests that were served or waited, on average over the same interval.
    pub in_flight: f64,
    /// Age of the newest sample.
    pub age: Duration,
    /// Desired capacity.
    pub desired: Capacity,
    /// In service.
    pub in_service: Capacity,
    /// In service and past warm-up.
    pub warm: Capacity,
    /// Launched, not yet in service.
    pub pending: Capacity,
    /// The least that the group allows.
    pub min: Capacity,
    /// The most that the group allows.
    pub max: Capacity,
}

/// One resolution of a run, at its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// When it ended.
    pub at: Timestamp,
    /// Requests per second that arrived, on average.
    pub demand: f64,
    /// The fewest instances that keep the objective at the highest rate that was to be expected in it.
    pub needed: Capacity,
    /// Desired capacity.
    pub desired: Capacity,
    /// In service.
    pub in_service: Capacity,
    /// Launched, not yet in service.
    pub pending: Capacity,
    /// Busy share of the workers, on average.
    pub utilization: f64,
    /// 99th percentile of the response time in seconds, on average.
    pub p99: f64,
    /// Response time of the requests that were answered in seconds, on average.
    pub mean_response: f64,
    /// Share of it that the 99th percentile was over the objective.
    pub over_objective: f64,
}

/// Lets `decide` steer a fleet through `demand`: it is asked once an interval, and answers the desired capacity, which
/// is held to the bounds. `watch` is shown each [`Moment`].
pub fn run(
    settings: &Settings,
    demand: &Demand,
    mut decide: impl FnMut(&Seen) -> Capacity,
    mut watch: impl FnMut(&Moment),
) -> Tally {
    let mut fleet = Fleet::start(settings, demand.expected.first().copied().unwrap_or_default());
    let mut server = Server::new(settings.service, settings.interval, settings.lag, demand.retried);
    let mut blur = Noise::new(scramble(settings.seed));
    let mut tally = Tally::default();
    let mut span = Span::default();
    let [interval, resolution] = [settings.interval, settings.resolution].map(|time| steps(time).max(1));
    for (step, (rate, expected)) in demand.arrived.iter().zip(&demand.expected).enumerate() {
        if step.is_multiple_of(interval)
            && let Some(measured) = server.measured()
        {
            let desired = fleet.desired();
            let seen = seen(settings, &mut fleet, blurred(measured, settings.noise, &mut blur));
            let wanted = decide(&seen).clamp(settings.min, settings.max);
            fleet.set_desired(wanted);
            tally.change(desired, wanted);
        }
        let serving = fleet.serving();
        let outcome = server.serve(*rate, serving.capacity);
        let needed = settings.needed(*expected);
        tally.step(&outcome, &settings.service, Provision { needed, in_service: serving.in_service });
        span.add(&outcome, needed, settings.service.objective);
        fleet.step();
        if (step + 1).is_multiple_of(resolution) {
            watch(&std::mem::take(&mut span).moment(settings, &fleet, serving));
        }
    }
    tally.billed_seconds = fleet.billed_seconds();
    tally
}

fn seen(settings: &Settings, fleet: &mut Fleet, measured: Gauges) -> Seen {
    let Serving { in_service, warm, .. } = fleet.serving();
    let (desired, pending) = (fleet.desired(), fleet.desired().minus(in_service));
    let Settings { min, max, lag: age, .. } = *settings;
    let Gauges { reading: measured, in_flight } = measured;
    Seen { at: time(settings, fleet), measured, in_flight, age, desired, in_service, warm, pending, min, max }
}

fn time(settings: &Settings, fleet: &Fleet) -> Timestamp {
    settings.start.saturating_add(fleet.since_start()).unwrap_or(settings.start)
}

/// The same with an error of this relative `deviation` on each of its numbers.
fn blurred(exact: Gauges, deviation: f64, noise: &mut Noise) -> Gauges {
    if deviation <= 0.0 {
        return exact;
    }
    let mut blur = |exact: f64| (exact * (1.0 + deviation * noise.normal())).max(0.0);
    let reading = Reading {
        utilization: blur(exact.reading.utilization).min(1.0),
        arrival_rate: blur(exact.reading.arrival_rate),
        p99: blur(exact.reading.p99),
    };
    Gauges { reading, in_flight: blur(exact.in_flight) }
}

/// Sums over one resolution.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    steps: usize,
    arrival_rate: f64,
    utilization: f64,
    p99: f64,
    answered: f64,
    response: f64,
    over_objective: usize,
    needed: Capacity,
}

impl Span {
    fn add(&mut self, served: &Served, needed: Capacity, objective: f64) {
        self.steps += 1;
        self.arrival_rate += served.reading.arrival_rate;
        self.utilization += served.reading.utilization;
        self.p99 += served.reading.p99;
        self.answered += served.answered();
        self.response += served.answered() * served.mean_response;
        self.over_objective += usize::from(served.reading.p99 > objective);
        self.needed = self.needed.max(needed);
    }

    fn moment(self, settings: &Settings, fleet: &Fleet, serving: Serving) -> Moment {
        let steps = count(self.steps);
        Moment {
            at: time(settings, fleet),
            demand: self.arrival_rate / steps,
            needed: self.needed,
            desired: fleet.desired(),
            in_service: serving.in_service,
            pending: fleet.desired().minus(serving.in_service),
            utilization: self.utilization / steps,
            p99: self.p99 / steps,
            mean_response: if self.answered > 0.0 { self.response / self.answered } else { 0.0 },
            over_objective: count(self.over_objective) / steps,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::trace::CEILING;

    fn settings(min: u32, max: u32) -> Settings {
        Settings::reference(Capacity::new(min), Capacity::new(max))
    }

    fn near(measured: f64, expected: f64) {
        assert!((measured - expected).abs() < 1e-6, "{measured} is not {expected}");
    }

    /// A demand without noise.
    fn even(rate: f64, steps: usize) -> Demand {
        Demand { expected: vec![rate; steps], arrived: vec![rate; steps], retried: 0.0 }
    }

    #[test]
    fn a_controller_is_asked_every_interval_and_held_to_the_bounds() {
        let mut asked = Vec::new();
        let decide = |seen: &Seen| {
            asked.push((seen.at.as_second(), seen.desired.get(), seen.pending.get()));
            Capacity::new(9)
        };
        let tally = run(&settings(2, 6), &even(500.0, 40), decide, |_| {});
        assert_eq!(asked[..2], [(30, 4, 0), (45, 6, 2)]);
        assert_eq!(asked.len(), 6);
        assert_eq!((tally.steps, tally.actions, tally.over_objective), (40, 1, 0));
        near(tally.billed_seconds, 4.0 * 120.0 + 2.0 * 90.0);
    }

    #[test]
    fn too_small_a_fleet_misses_its_objective() {
        let check = |rate, expected| {
            let tally = run(&settings(2, 2), &even(rate, 100), |seen| seen.desired, |_| {});
            assert_eq!((tally.over_objective, tally.over_ceiling), (expected, expected));
        };
        check(CEILING * 400.0 + 2.0, 100);
        check(CEILING * 400.0 - 0.1, 0);
    }

    #[test]
    fn a_moment_tells_of_the_resolution_that_ended() {
        let mut moments = Vec::new();
        let mut demand = even(300.0, 20);
        demand.arrived[7] = 600.0;
        demand.expected[7] = 600.0;
        run(&settings(3, 6), &demand, |seen| seen.desired, |moment| moments.push(*moment));
        assert_eq!(moments.iter().map(|moment| moment.at.as_second()).collect::<Vec<_>>(), [15, 30, 45, 60]);
        near(moments[0].demand, 300.0);
        near(moments[0].utilization, 0.5);
        near(moments[1].demand, 360.0);
        near(moments[1].over_objective, 0.2);
        assert_eq!((moments[0].needed.get(), moments[1].needed.get(), moments[1].in_service.get()), (3, 4, 3));
        assert!(moments[1].p99 > moments[0].p99 && moments[1].mean_response > moments[0].mean_response);
    }

    #[test]
    fn a_measurement_is_as_late_and_as_noisy_as_the_settings_say() {
        let mut demand = even(300.0, 200);
        demand.arrived[..40].fill(100.0);
        let first_high = |lag, noise| {
            let mut high = None;
            let settings = Settings { lag: Duration::from_secs(lag), noise, ..settings(3, 6) };
            let decide = |seen: &Seen| {
                let rate = seen.measured.arrival_rate;
                high = high.or((rate > 270.0).then_some((seen.at.as_second(), rate)));
                seen.desired
            };
            run(&settings, &demand, decide, |_| {});
            high.unwrap()
        };
        assert_eq!(first_high(0, 0.0), (135, 300.0));
        assert_eq!(first_high(3, 0.0), (150, 300.0));
        assert_eq!(first_high(60, 0.0), (195, 300.0));
        let (_, noisy) = first_high(0, 0.05);
        assert!((noisy - 300.0).abs() > 0.1, "{noisy}");
    }

    #[test]
    fn the_same_seed_runs_the_same() {
        let boot = Boot::LogNormal { median: BOOT, sigma: 0.3 };
        let run = |seed| {
            let settings = Settings { boot, launch_failures: 0.1, noise: 0.05, seed, ..settings(2, 20) };
            let ratio = |seen: &Seen| {
                Capacity::ceil(seen.measured.utilization * seen.in_service.as_f64() / 0.7).unwrap_or(seen.desired)
            };
            let demand = Demand::constant(1500.0, 36_000.0, true, 4);
            run(&settings, &demand, ratio, |_| {}).billed_seconds.to_bits()
        };
        assert_eq!(run(5), run(5));
        assert_ne!(run(5), run(6));
    }
}
