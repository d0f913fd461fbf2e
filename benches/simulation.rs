//! How long two weeks take in the reference plant, asked every 15 s, on one core: `cargo bench --bench simulation`.
//!
//! Prints a time for each controller, the best of five, and judges nothing.

#[path = "../tests/fixture/mod.rs"]
mod fixture;

use std::time::{Duration, Instant};

use setpoint::policy::{Capacity, Controller, Gains, MetricKind, Policy, Risk};
use setpoint::simulation::contest::{Arena, Contestant};
use setpoint::simulation::peers::Peer;
use setpoint::simulation::reference::Settings;
use setpoint::simulation::trace::{CEILING, Trace};

/// The best of so many runs counts.
const RUNS: usize = 5;

fn policy(controller: Controller, target: f64, max: Capacity) -> Contestant {
    let metrics = vec![fixture::metric("utilization", MetricKind::Utilization, target)];
    Contestant::Policy(Box::new(Policy { controller, metrics, max, ..fixture::policy() }))
}

fn main() {
    // `cargo bench` adds this; `cargo test --all-targets` does not, and two weeks take long without optimization.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let trace = Trace::read(include_str!("../tests/traces/worldcup98.csv")).expect("a trace").scaled_to(20.0);
    let max = Capacity::new(400);
    let arena = Arena::new(Settings::reference(Capacity::new(2), max), trace.demand(1998));
    let contestants = [
        ("pid", policy(Controller::Pid(Gains { kp: 0.0, ki: 1.0, kd: None }), 0.7, max)),
        ("risk", policy(Controller::Risk(Risk::default()), CEILING, max)),
        ("static fleet", Contestant::Peer { peer: Peer::Static, target: 0.7 }),
        ("clairvoyant", Contestant::Peer { peer: Peer::Clairvoyant, target: 0.7 }),
    ];
    println!("{:.1} days of worldcup98", f64::from(arena.tally(&contestants[2].1).steps) * 3.0 / 86_400.0);
    for (name, contestant) in contestants {
        let best = (0..RUNS).map(|_| timed(&arena, &contestant)).min().unwrap_or_default();
        println!("{name:>14}: {:.0} ms", best.as_secs_f64() * 1000.0);
    }
}

fn timed(arena: &Arena, contestant: &Contestant) -> Duration {
    let start = Instant::now();
    std::hint::black_box(arena.tally(contestant));
    start.elapsed()
}
