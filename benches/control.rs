//! What one evaluation costs: `cargo bench`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use setpoint::control::{ControllerState, evaluate};
use setpoint::observation::{Measurement, Observation};
use setpoint::policy::MetricKind;

#[path = "../tests/fixture/mod.rs"]
mod fixture;

/// An hour of a policy with two metrics, one evaluation at a time.
fn two_metrics(criterion: &mut Criterion) {
    let mut policy = fixture::policy();
    policy.metrics.push(fixture::metric("requests", MetricKind::Total, 140.0));
    let measured = |value| Measurement::Value { value, age: Some(Duration::from_secs(3)) };
    let seen = Observation {
        measurements: [measured(0.66), measured(520.0)].into_iter().collect(),
        group: Some(fixture::group(4)),
        ordered: None,
    };
    let mut state = ControllerState::default();
    let mut second = 0;
    criterion.bench_function("evaluate, two metrics", |bencher| {
        bencher.iter(|| {
            second += 15;
            let now = fixture::Fleet::moment(second % 3600);
            let (evaluation, next) = evaluate(&policy, std::mem::take(&mut state), black_box(&seen), now);
            state = next;
            evaluation.decision
        });
    });
}

criterion_group!(benches, two_metrics);
criterion_main!(benches);
