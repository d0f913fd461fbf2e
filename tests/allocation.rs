//! In its steady state the core takes no memory from the heap, so that it can neither leak nor stutter.

mod fixture;

use std::time::Duration;

use fixture::{Fleet, group, metric, policy};
use setpoint::control::{ControllerState, Decision, Outcome, evaluate, settle};
use setpoint::observation::{Measurement, Observation};
use setpoint::policy::{Capacity, Controller, Gains, HoldSignal, MaxDrop, MetricKind, Policy, Risk, Source, Threshold};

const INTERVAL: i64 = 15;

/// A policy of three metrics, with every guard, under a load that goes up and down and sometimes hides, with its fleet.
struct Running {
    policy: Policy,
    state: ControllerState,
    seen: Observation,
    second: i64,
    moves: u32,
}

impl Running {
    fn new(controller: Controller) -> Self {
        let max_drop = Some(MaxDrop { ratio: 0.9, per: Duration::from_mins(10) });
        let mut policy = Policy { controller, max_drop, max: Capacity::new(100), ..policy() };
        policy.metrics.push(metric("requests", MetricKind::Total, 140.0));
        policy.metrics.push(metric("p99", MetricKind::Latency, 0.2));
        policy.instance_price = Some(0.1);
        policy.max_spend.per_day = Some(60.0);
        policy.hold_scale_in_while = vec![HoldSignal {
            name: "errors".into(),
            threshold: Threshold::Above(0.01),
            max_age: Duration::from_secs(90),
            source: Source::Prometheus { query: "errors".into(), per_instance: None },
        }];
        let seen = Observation {
            measurements: [Measurement::NoData; 3].into_iter().collect(),
            signals: [Measurement::NoData].into_iter().collect(),
            ..Observation::default()
        };
        let group = Some(group(20));
        Self { policy, state: ControllerState::default(), seen: Observation { group, ..seen }, second: 0, moves: 0 }
    }

    fn run(&mut self, hours: i64) {
        let end = self.second + hours * 3600;
        while self.second < end {
            self.second += INTERVAL;
            self.step();
        }
    }

    fn step(&mut self) {
        let phase = f64::from(i32::try_from(self.second % 3600).unwrap()) / 3600.0 * std::f64::consts::TAU;
        let busy = 12.0 + 4.0 * phase.sin() + 0.2 * (phase * 97.0).sin();
        let desired = self.seen.group.map_or(Capacity::ZERO, |group| group.desired);
        let age = Some(Duration::from_secs(3));
        self.seen.measurements[0] = Measurement::Value { value: busy / desired.as_f64(), age };
        self.seen.measurements[1] = Measurement::Value { value: busy * 180.0, age };
        let load = (busy / desired.as_f64()).min(0.95);
        self.seen.measurements[2] = Measurement::Value { value: 0.05 + 0.02 / (1.0 - load), age };
        self.seen.signals[0] = Measurement::Value { value: if self.second % 7000 < 300 { 0.5 } else { 0.0 }, age };
        if self.second % 3000 < 60 {
            self.seen.measurements[1] = Measurement::NoData;
        }
        let now = Fleet::moment(self.second);
        let (evaluation, next) = evaluate(&self.policy, std::mem::take(&mut self.state), &self.seen, now);
        self.state = settle(next, &evaluation.decision, &Outcome::Applied, now);
        if let Decision::Scale { to, .. } = evaluation.decision {
            self.moves += 1;
            self.seen.group = Some(group(to.get()));
        }
    }
}

#[test]
fn an_evaluation_in_the_steady_state_allocates_nothing() {
    let boxed = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1))));
    assert_eq!(boxed.count_total, 1, "nobody counts");
    let check = |controller, hours| {
        let mut running = Running::new(controller);
        running.run(hours);
        running.moves = 0;
        let taken = allocation_counter::measure(|| running.run(12));
        assert_eq!(taken.count_total, 0, "{taken:?} under {:?}", running.policy.controller);
        assert!(running.moves > 12, "only {} moves", running.moves);
    };
    check(Controller::Pid(Gains { kp: 0.0, ki: 1.0, kd: None }), 6);
    check(Controller::Risk(Risk { share: 0.01 }), 36);
}
