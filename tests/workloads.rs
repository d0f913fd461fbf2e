//! Four workloads that people come with, each with the figures that it requires. Policies have the defaults of a
//! configuration and what an owner sets: bounds, target, and what the text of a test says. The plant is the reference
//! plant: instances of 200 requests per second that boot in two minutes and then warm up for one.

mod fixture;

use std::time::Duration;

use fixture::{PID, metric, untuned};
use setpoint::observation::elapsed;
use setpoint::policy::{Capacity, Controller, MetricKind, Policy, Risk, Schedule};
use setpoint::simulation::contest::{Arena, Contestant, Course};
use setpoint::simulation::generator::Generator;
use setpoint::simulation::peers::Peer;
use setpoint::simulation::reference::{Boot, Moment, Settings};
use setpoint::simulation::trace::CEILING;

const SEED: u64 = 11;

/// What an instance serves in a second at full load.
const INSTANCE: f64 = 200.0;

/// A policy on utilization.
fn keeping(controller: Controller, target: f64, min: u32, max: u32) -> Policy {
    let metrics = vec![metric("cpu", MetricKind::Utilization, target)];
    Policy { min: Capacity::new(min), max: Capacity::new(max), ..untuned(controller, metrics) }
}

fn risk() -> Controller {
    Controller::Risk(Risk::default())
}

/// A plant with the bounds of `policy`.
fn plant(policy: &Policy) -> Settings {
    Settings::reference(policy.min, policy.max)
}

fn steered(settings: Settings, workload: Generator, base: f64, duration: Duration, policy: Policy) -> Course {
    let arena = Arena::new(settings, workload.demand(base, duration, SEED));
    arena.watch(&Contestant::Policy(Box::new(policy)))
}

/// The fewest and the most instances in service.
fn sizes(course: &Course) -> (u32, u32) {
    let sizes = || course.moments.iter().map(|moment| moment.in_service.get());
    (sizes().min().unwrap(), sizes().max().unwrap())
}

/// From the first moment with a mean response over 150 ms to the last one.
fn slow(course: &Course) -> Duration {
    let slow = |moment: &&Moment| moment.mean_response > 0.150;
    let (first, last) = (course.moments.iter().find(slow), course.moments.iter().rfind(slow));
    first.zip(last).map_or(Duration::ZERO, |(first, last)| elapsed(first.at, last.at) + Duration::from_secs(15))
}

/// From the last moment with at most so `few` in service before there are thirty, to that.
fn to_thirty(course: &Course, few: u32) -> Duration {
    let full = course.moments.iter().position(|moment| moment.in_service.get() == 30).expect("thirty in service");
    let before = course.moments[..full].iter().rfind(|moment| moment.in_service.get() <= few);
    elapsed(before.expect("so few before").at, course.moments[full].at)
}

/// Five instances are busy to 70 % with the quiet rate, thirty with the crowd: 50,000 people with a click in twelve
/// seconds each.
const QUIET: f64 = 5.0 * INSTANCE * 0.7;

/// Day and night, with `pid` as it comes: the objective is never missed, the bounds hold, and the fleet follows the day
/// without ado.
#[test]
fn cpu_at_70_percent_between_2_and_10() {
    let policy = keeping(PID, 0.70, 2, 10);
    let course = steered(plant(&policy), Generator::Diurnal, 5.5 * INSTANCE * 0.7, Duration::from_hours(72), policy);
    let busy = course.moments.iter().map(|moment| moment.utilization);
    let most = busy.clone().fold(0.0, f64::max);
    let mean = busy.sum::<f64>() / f64::from(u32::try_from(course.moments.len()).unwrap());
    assert!((0.55..=0.72).contains(&mean) && most < 0.85, "{mean} on average, {most} at most");
    let (least, most) = sizes(&course);
    assert!(least <= 3 && (9..=10).contains(&most), "{least} to {most} instances");
    let score = course.score;

    assert!(score.over_objective == 0.0 && score.actions_a_day < 30.0 && score.reversals_a_day < 8.0, "{score:?}");
}

/// A week of a shop, with `risk` as it comes: well within its one percent, for less than a tenth over the optimum, and
/// far cheaper than the HPA of Kubernetes at its 70 %.
#[test]
fn an_e_commerce_front_page_at_3_to_15() {
    let policy = keeping(risk(), CEILING, 3, 15);
    let arena = Arena::new(plant(&policy), Generator::Weekly.demand(1200.0, Duration::from_hours(168), SEED));
    let score = |contestant| arena.tally(&contestant).score(arena.optimum());
    let ours = score(Contestant::Policy(Box::new(policy)));
    assert!(ours.over_objective < 1.0 && ours.requests_dropped == 0.0, "{ours:?}");
    assert!(ours.mean_response < 0.100 && ours.relative_cost < 1.10 && ours.actions_a_day < 40.0, "{ours:?}");
    let theirs = score(Contestant::Peer { peer: Peer::Hpa, target: 0.70 });
    assert!(ours.relative_cost < 0.9 * theirs.relative_cost, "{ours:?}, {theirs:?}");
}

/// Whoever sells tickets knows when, and says so in a schedule: thirty instances from eight minutes before. Then nobody
/// waits, though they boot in two minutes; and an hour later it is five or six again.
#[test]
fn a_ticket_sale_for_50_000_users_that_was_announced() {
    let mut sale = Schedule::new("5 0 * * *", "UTC", Duration::from_mins(45)).unwrap();
    sale.min = Some(Capacity::new(30));
    let policy = Policy { schedules: vec![sale], ..keeping(PID, 0.70, 5, 30) };
    let course = steered(plant(&policy), Generator::TicketSale, QUIET, Duration::from_hours(2), policy);
    let score = course.score;

    assert!(to_thirty(&course, 6) <= Duration::from_mins(4), "{:?}", to_thirty(&course, 6));
    assert_eq!(slow(&course), Duration::ZERO, "the mean response stays below 150 ms");
    assert!(score.requests_over_objective < 0.01, "99.99 % within 500 ms: {score:?}");
    assert!(course.moments.last().unwrap().in_service.get() <= 6);
}

/// Nobody knew: six times as much within three minutes, most of it within one. No controller serves that from instances
/// that boot in two minutes. What makes it possible is a warm pool of running instances, with a quarter of a minute from
/// launch to service, and a target of 50 %, which has seven in the quiet and so the spare for that time. All are answered
/// then, though for a minute and a half they wait, for up to ten seconds; within two minutes the mean response is back under
/// 150 ms.
#[test]
fn a_ticket_sale_for_50_000_users_that_comes_as_a_surprise() {
    let policy = keeping(PID, 0.50, 5, 30);
    let sale = |boot| {
        let settings = Settings { boot: Boot::Constant(boot), ..plant(&policy) };
        steered(settings, Generator::TicketSale, QUIET, Duration::from_hours(1), policy.clone())
    };
    let course = sale(Duration::from_secs(15));
    let score = course.score;

    assert!(to_thirty(&course, 8) <= Duration::from_mins(5), "{:?}", to_thirty(&course, 8));
    assert!(slow(&course) <= Duration::from_mins(2), "slow for {:?}", slow(&course));
    assert!(score.requests_dropped < 0.01, "99.99 % answered: {score:?}");
    let cold = sale(Duration::from_mins(2)).score;
    assert!(cold.requests_dropped > 1.0, "a boot of two minutes is too long for this: {cold:?}");
}

/// An application for people, in a world as it is: boots differ, one launch in fifty fails, measurements are 30 s old
/// and off by 3 %. `risk` keeps the 99th percentile of the response time, which it sees beside the utilization.
#[test]
fn p99_under_500_ms_for_a_user_facing_application() {
    let mut policy = keeping(risk(), CEILING, 2, 40);
    policy.metrics.push(metric("p99", MetricKind::Latency, 0.5));
    let boot = Boot::LogNormal { median: Duration::from_mins(2), sigma: 0.3 };
    let lag = Duration::from_secs(30);
    let settings = Settings { boot, launch_failures: 0.02, noise: 0.03, lag, seed: SEED, ..plant(&policy) };
    let score = steered(settings, Generator::Weekly, 1500.0, Duration::from_hours(168), policy).score;
    assert!(score.over_objective < 1.0 && score.requests_over_objective < 0.1, "{score:?}");
    assert!(score.relative_cost < 1.20 && score.actions_a_day < 60.0, "{score:?}");
}
