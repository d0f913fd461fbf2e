//! What one evaluation costs: `cargo bench`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Bencher, Criterion, criterion_group, criterion_main};
use setpoint::control::{ControllerState, evaluate};
use setpoint::observation::{Measurement, Observation};
use setpoint::policy::{Capacity, Controller, Gains, MetricKind, Policy, Risk};

#[path = "../tests/fixture/mod.rs"]
mod fixture;

const INTERVAL: i64 = 15;
const DAY: i64 = 86_400;

/// Two metrics under a load that goes up and down; `DAY` is fed first, and not timed.
fn evaluations(bencher: &mut Bencher, controller: Controller) {
    let mut policy = Policy { controller, max: Capacity::new(100), ..fixture::policy() };
    policy.metrics.push(fixture::metric("requests", MetricKind::Total, 140.0));
    let mut state = ControllerState::default();
    let mut second = 0;
    let mut sample = || {
        second += INTERVAL;
        let hour = f64::from(i32::try_from(second % 3600).expect("an hour")) / 3600.0;
        let busy = 12.0 + 4.0 * (hour * std::f64::consts::TAU).sin();
        let measured = |value| Measurement::Value { value, age: Some(Duration::from_secs(3)) };
        let seen = Observation {
            measurements: [measured(busy / 20.0), measured(busy * 180.0)].into_iter().collect(),
            group: Some(fixture::group(20)),
            ..Observation::default()
        };
        let now = fixture::Fleet::moment(second);
        let (evaluation, next) = evaluate(&policy, std::mem::take(&mut state), black_box(&seen), now);
        state = next;
        evaluation.decision
    };
    (0..DAY / INTERVAL).for_each(|_| _ = sample());
    bencher.iter(sample);
}

fn control(criterion: &mut Criterion) {
    let pid = Controller::Pid(Gains { kp: 0.0, ki: 1.0, kd: None });
    criterion.bench_function("evaluate, two metrics, pid", |bencher| evaluations(bencher, pid.clone()));
    // Each of the two metrics has a memory of its own.
    let risk = Controller::Risk(Risk { share: 0.01 });
    criterion.bench_function("evaluate, two metrics, risk", |bencher| evaluations(bencher, risk.clone()));
}

criterion_group!(benches, control);
criterion_main!(benches);
