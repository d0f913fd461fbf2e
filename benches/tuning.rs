//! What a search costs: `cargo bench --bench tuning`. A thousand settings of `pid` and of `risk` on two weeks at 15 s.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use setpoint::policy::{Capacity, Controller, MetricKind, Policy, Risk};
use setpoint::simulation::generator::Generator;
use setpoint::simulation::reference::Settings;
use setpoint::tuning::{Task, tune};

#[path = "../tests/fixture/mod.rs"]
mod fixture;

const FORTNIGHT: Duration = Duration::from_hours(14 * 24);
const MIN: Capacity = Capacity::new(2);
const MAX: Capacity = Capacity::new(60);

/// Requests per second: 20 instances' worth.
const BASE: f64 = 3700.0;

fn main() {
    // `cargo bench` adds this; `cargo test --all-targets` does not, and a thousand settings take long.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    for (controller, target) in [(fixture::PID, 0.7), (Controller::Risk(Risk::default()), 0.93)] {
        search(Generator::Weekly, controller, target);
    }
}

fn search(generator: Generator, controller: Controller, target: f64) {
    let metric = fixture::metric("utilization", MetricKind::Utilization, target);
    let policy = Policy { min: MIN, max: MAX, ..fixture::untuned(controller, vec![metric]) };
    let demand = generator.demand(BASE, FORTNIGHT, 1);
    let task = Task { settings: Settings::reference(MIN, MAX), demand, slo: 1.0, candidates: 1000, seed: 1 };
    let begin = Instant::now();
    let advice = tune(&policy, &task, &AtomicBool::new(false), &|_| ());
    let seconds = begin.elapsed().as_secs_f64();
    let (present, best) = (advice.present, advice.best);
    println!("{} {:?}: {seconds:.1} s for {} settings", generator.name(), policy.controller, advice.tried);
    for (part, present, best) in
        [("training", present.training, best.training), ("held out", present.held_out, best.held_out)]
    {
        println!(
            "  {part}: {:.2} % / {:.3} before, {:.2} % / {:.3} after",
            present.over_objective, present.relative_cost, best.over_objective, best.relative_cost
        );
    }
    println!("  {:?} {:?}", advice.verdict, advice.saving);
    println!("  {:?}", advice.changes);
}
