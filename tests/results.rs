//! What the controllers come to on the reference plant: three days of two recorded workloads, one calm, one of extreme
//! flash crowds. The figures are those of this code; a change that moves them says so here. `cargo bench --bench traces`
//! has all traces in full.

mod fixture;

use fixture::{metric, untuned};
#[cfg(feature = "daemon")]
use setpoint::policy::Metric;
use setpoint::policy::{Capacity, Controller, MetricKind, Policy, Risk};
use setpoint::simulation::bound;
use setpoint::simulation::contest::{Arena, Contestant};
use setpoint::simulation::reference::Settings;
use setpoint::simulation::trace::{CEILING, Trace};

const MIN: Capacity = Capacity::new(2);

/// The first `days` of a trace: percent of the time over 500 ms, instance-time relative to the optimum, actions.
fn steered(csv: &str, bin: usize, days: usize, rules: &Policy) -> (f64, f64, u64) {
    let lines: Vec<&str> = csv.lines().take(1 + days * 86_400 / bin).collect();
    let demand = Trace::read(&lines.join("\n")).unwrap().scaled_to(20.0).demand(7);
    let needs = bound::needs(&bound::loads(&demand.expected), MIN);
    let max = Capacity::new(2 * needs.iter().max().unwrap());
    let rules = Policy { min: MIN, max, ..rules.clone() };
    let arena = Arena::new(Settings::reference(MIN, max), demand);
    let tally = arena.tally(&Contestant::Policy(Box::new(rules)));
    let score = tally.score(arena.optimum());
    (score.over_objective, score.relative_cost, u64::from(tally.actions))
}

fn calm(rules: &Policy) -> (f64, f64, u64) {
    steered(include_str!("traces/nyc_taxi.csv"), 1800, 3, rules)
}

fn wild(rules: &Policy) -> (f64, f64, u64) {
    steered(include_str!("traces/tweets_aapl.csv"), 300, 3, rules)
}

fn pid() -> Policy {
    untuned(fixture::PID, vec![metric("utilization", MetricKind::Utilization, 0.7)])
}

fn risk() -> Policy {
    untuned(Controller::Risk(Risk { share: 0.01 }), vec![metric("utilization", MetricKind::Utilization, CEILING)])
}

fn latency() -> Policy {
    let mut rules = risk();
    rules.metrics.push(metric("p99", MetricKind::Latency, 0.5));
    rules
}

fn check((over, cost, actions): (f64, f64, u64), expected: (f64, f64, u64)) {
    let near = (over - expected.0).abs() < 0.005 && (cost - expected.1).abs() < 0.0005;
    assert!(near && actions == expected.2, "({over:.2}, {cost:.3}, {actions}), not {expected:?}");
}

#[test]
fn pid_untuned() {
    check(calm(&pid()), (0.0, 1.393, 258));
    check(wild(&pid()), (2.47, 1.714, 1539));
}

#[test]
fn risk_untuned() {
    check(calm(&risk()), (0.28, 1.114, 237));
    check(wild(&risk()), (2.23, 1.890, 957));
}

#[test]
fn latency_by_load() {
    check(calm(&latency()), (0.11, 1.143, 250));
    check(wild(&latency()), (2.07, 1.966, 919));
}

/// The defaults above are those of a configuration.
#[cfg(feature = "daemon")]
#[test]
fn untuned_is_what_a_configuration_gives() {
    for (kind, rules) in [("pid", pid()), ("risk", risk())] {
        let text = format!(
            r#"
            [prometheus]
            url = "http://127.0.0.1"
            [[policy]]
            name = "web"
            asg = "web-prod"
            mode = "active"
            min = 2
            max = 10
            controller = {{ kind = "{kind}" }}
            [[policy.metric]]
            name = "utilization"
            kind = "utilization"
            query = "utilization"
            target = {target}
            "#,
            target = rules.metrics[0].target
        );
        let config = setpoint::config::parse("the test", &text, []).unwrap();
        let given = &config.policies[0];
        let metrics = vec![Metric { max_age: given.metrics[0].max_age, ..rules.metrics[0].clone() }];
        assert_eq!(*given, Policy { metrics, ..rules });
    }
}
