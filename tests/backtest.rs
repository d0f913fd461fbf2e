//! `setpoint backtest` on what a real Prometheus remembers of two weeks of a recorded workload.

mod support;

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use setpoint::config;
use setpoint::simulation::contest::{Contestant, Course};
use setpoint::simulation::scenario::{Level, Origin, Scenario, Terms};
use setpoint::simulation::trace::Trace;
use support::Prometheus;

/// When the two weeks begin: a Monday at midnight.
const START: i64 = 1_772_409_600;

const FORTNIGHT: Duration = Duration::from_hours(14 * 24);

const TRACE: &str = "tests/traces/worldcup98.csv";

fn configuration(prometheus: &str) -> String {
    format!(
        r#"
        [prometheus]
        url = "{prometheus}"

        [[policy]]
        name = "web"
        asg = "web-prod"
        min = 2
        max = 60
        boot_time = "2m"

        [[policy.metric]]
        name = "cpu"
        kind = "utilization"
        query = "cpu"
        target = 0.70
        "#
    )
}

/// What the policy would have done on the trace, in its first run.
fn first_run(text: &str) -> Course {
    let policy = config::parse("t.toml", text, []).expect("a configuration").policies.remove(0);
    let terms = Terms { boot: None, instance_rate: None, level: Level::OfPolicy, duration: None, seed: 1 };
    let scenario = Scenario::new(&policy, terms).expect("a scenario");
    let trace = Trace::read(&std::fs::read_to_string(TRACE).expect("a file")).expect("a trace");
    let bout = scenario.bout(&Origin::Recorded(trace), &[]).expect("a bout");
    bout.arena.watch(&Contestant::Policy(Box::new(scenario.policy.clone())))
}

/// What a Prometheus would have scraped of it.
fn samples(course: &Course) -> String {
    let mut text = String::from("# TYPE cpu gauge\n");
    let began = course.moments[0].at.as_second() - 15;
    let second = |at: Timestamp| START + at.as_second() - began;
    for moment in &course.moments {
        writeln!(text, "cpu {} {}", moment.utilization, second(moment.at)).expect("a string grows");
    }
    text.push_str("# TYPE instances gauge\n");
    for moment in &course.moments {
        writeln!(text, "instances {} {}", moment.in_service, second(moment.at)).expect("a string grows");
    }
    text.push_str("# EOF\n");
    text
}

fn setpoint(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_setpoint"));
    command.args(arguments).args(["--config", "setpoint.toml", "--policy", "web"]).current_dir(folder);
    command.output().expect("setpoint runs")
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn hours(report: &Value, contestant: usize) -> f64 {
    report["runs"][0]["contestants"][contestant]["score"]["instance_hours"].as_f64().expect("a number")
}

#[test]
fn a_replay_of_what_prometheus_remembers_agrees_with_the_simulation_of_it() {
    let course = first_run(&configuration("http://127.0.0.1"));
    let Some(prometheus) = Prometheus::with_past(&samples(&course)) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("setpoint.toml"), configuration(&prometheus.url())).expect("a file");
    let trace = std::fs::canonicalize(TRACE).expect("a file");
    let trace = trace.to_str().expect("a path in UTF-8");
    let simulate = ["simulate", "--workload", trace, "--against", "none", "--output", "json"];
    let simulated = json(&setpoint(folder.path(), &simulate));
    let [from, to] = [START, START + FORTNIGHT.as_secs().cast_signed()];
    let [from, to] = [from, to].map(|second| Timestamp::from_second(second).expect("a moment").to_string());
    let span = ["backtest", "--from", &from, "--to", &to, "--cache", "cache", "--against", "none", "--output", "json"];
    let replay = [&span[..], &["--capacity-query", "instances"]].concat();
    let replayed = json(&setpoint(folder.path(), &replay));
    let (expected, found) = (hours(&simulated, 0), hours(&replayed, 0));
    let apart = found / expected - 1.0;
    println!("simulated {expected:.1} instance-hours, replayed {found:.1}: {:.2} % apart", 100.0 * apart);
    assert!(apart.abs() < 0.02, "{expected} simulated, {found} replayed");
    // What happened was that very simulation, without the boots.
    let happened = hours(&replayed, 1);
    assert!((happened / expected - 1.0).abs() < 0.02, "{expected} simulated, {happened} happened");

    // All of it is in the cache now.
    drop(prometheus);
    let again = json(&setpoint(folder.path(), &replay));
    assert_eq!(again, replayed, "another answer from the cache");
    let refused = setpoint(folder.path(), &[&span[..5], &["--no-cache"]].concat());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("cpu can't be read from"), "{said}");
}

#[test]
fn what_can_not_be_replayed_says_why() {
    let text = "# TYPE cpu gauge\ncpu{instance=\"a\"} 0.5 1772409600\ncpu{instance=\"b\"} 0.5 1772409600\n# EOF\n";
    let Some(prometheus) = Prometheus::with_past(text) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("setpoint.toml"), configuration(&prometheus.url())).expect("a file");
    let check = |arguments: &[&str], fragment: &str| {
        let arguments = [&["backtest", "--no-cache"], arguments].concat();
        let output = setpoint(folder.path(), &arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(fragment), "{arguments:?}: {said}");
    };
    let day = ["--from", "2026-03-01T12:00:00Z", "--to", "2026-03-02T12:00:00Z"];
    check(&day, "cpu can't be read");
    check(&day, "gives 2 series, not one; aggregate");
    check(&["--from", "2026-03-02T00:00:00Z", "--to", "2026-03-01T00:00:00Z"], "--from is not before --to");
    check(&["--from", "yesterday"], "expected a time of at most a year ago such as 14d");
    let earlier = ["--from", "2026-02-01T00:00:00Z", "--to", "2026-02-02T00:00:00Z"];
    check(&earlier, "--capacity-query");
    check(&[&earlier[..], &["--capacity-query", "vector(3)"]].concat(), "cpu was measured at 0 of");
}
