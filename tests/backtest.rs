//! `setpoint backtest` on what a real Prometheus remembers of two weeks of a recorded workload.

mod server;
mod support;

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use server::{Act, Server, http};
use setpoint::clock::Clock;
use setpoint::config;
use setpoint::policy::Capacity;
use setpoint::simulation::contest::{Contestant, Course};
use setpoint::simulation::group::GroupSettings;
use setpoint::simulation::scenario::{Level, Origin, Scenario, Terms};
use setpoint::simulation::trace::Trace;
use setpoint::simulation::{Workload, World, WorldServer};
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
    command.envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")]);
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

    // All of it is in the cache now, for a search as well.
    drop(prometheus);
    let search = ["tune", "--from", &from, "--to", &to, "--cache", "cache", "--capacity-query", "instances"];
    let tuned = json(&setpoint(folder.path(), &[&search[..], &["--candidates", "3", "--output", "json"]].concat()));
    assert_eq!((&tuned["workload"], &tuned["policy"]), (&"its own history".into(), &"web".into()));
    let present = &tuned["present"];
    let present = ["training", "held_out"].map(|part| present[part]["instance_hours"].as_f64().expect("a number"));
    assert!((present.iter().sum::<f64>() / found - 1.0).abs() < 0.01, "{present:?} of {found}");
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

/// What a Prometheus answers to a range query where four instances are always half busy, up to now.
fn half_busy(request: &str) -> Act {
    let (_, form) = request.split_once("\r\n\r\n").expect("a body");
    let field = |name: &str| {
        let text = form.split('&').find_map(|field| field.strip_prefix(name)?.strip_prefix('=')).expect("a field");
        text.parse::<i64>().expect("a number")
    };
    let value = if form.contains("query=cpu") { "0.5" } else { "4" };
    let (step, end) = (usize::try_from(field("step")).expect("a step"), Timestamp::now().as_second().min(field("end")));
    let values: Vec<_> = (field("start")..=end).step_by(step).map(|second| json!([second, value])).collect();
    let series = json!([{ "metric": {}, "values": values }]);
    let answer = json!({ "status": "success", "data": { "resultType": "matrix", "result": series } });
    Act::Send(http(200, "", &answer.to_string()))
}

/// The second of three days.
const SECOND_DAY: &str = "start=1772496000";

const THREE_DAYS: [&str; 4] = ["--from", "2026-03-01T23:59:50Z", "--to", "2026-03-04T23:59:50Z"];

fn replay_three_days(folder: &Path) -> Output {
    let more = ["--cache", "cache", "--capacity-query", "vector(4)", "--against", "none", "--output", "json"];
    setpoint(folder, &[&["backtest"], &THREE_DAYS[..], &more].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_fails_for_a_moment_is_asked_for_again() {
    let failures = AtomicUsize::new(2);
    let fewer = |left: usize| left.checked_sub(1);
    let prometheus = Server::start(move |request| {
        let fails =
            request.contains(SECOND_DAY) && failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer).is_ok();
        if fails { Act::Send(http(503, "", "overloaded")) } else { half_busy(request) }
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("setpoint.toml"), configuration(&prometheus.url)).expect("a file");
    let report = json(&replay_three_days(folder.path()));
    // Four instances for three days, half busy.
    assert!((hours(&report, 1) - 288.0).abs() < 0.5, "{report:#}");
    assert_eq!(prometheus.requests().len(), 2 * 3 + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_is_refused_ends_the_replay_and_what_was_read_is_kept() {
    let refusal =
        r#"{"status":"error","errorType":"execution","error":"query processing would load too many samples"}"#;
    let prometheus = Server::start(move |request| {
        if request.contains(SECOND_DAY) { Act::Send(http(422, "", refusal)) } else { half_busy(request) }
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("setpoint.toml"), configuration(&prometheus.url)).expect("a file");
    for requests in [2, 3] {
        let output = replay_three_days(folder.path());
        let said = String::from_utf8_lossy(&output.stderr);
        let (what, why) = ("cpu can't be read from 2026-03-03T00:00:00Z on: cpu", "would load too many samples");
        assert!(!output.status.success() && said.contains(what) && said.contains(why), "{said}");
        // The first chunk is asked for once, the refused one by each replay, and nothing after it.
        assert_eq!(prometheus.requests().len(), requests);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_activities_of_the_group_tell_what_a_utilization_alone_does_not() {
    let began = Timestamp::now() - Duration::from_hours(6);
    let group = GroupSettings {
        name: "web-prod".to_owned(),
        min: Capacity::new(2),
        max: Capacity::new(10),
        desired: Capacity::new(4),
        boot: Duration::from_secs(150),
    };
    let mut world = World::new(1, began).with_fleet(group, Workload::constant(400.0));
    world.advance(began + Duration::from_hours(3));
    let (now, fleet) = (world.now(), world.fleet_mut("web-prod").expect("a fleet"));
    fleet.group.set_desired(Capacity::new(8), false, now).expect("within the bounds");
    world.advance(began + Duration::from_hours(6));
    let aws = WorldServer::start(world, Clock::WALL).await.expect("a server");
    let prometheus = Server::start(half_busy).await;
    let folder = tempfile::tempdir().expect("a folder");
    let section = format!("[aws]\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\n", aws.auto_scaling_url);
    let text = configuration(&prometheus.url).replace("boot_time = \"2m\"", "") + &section;
    std::fs::write(folder.path().join("setpoint.toml"), text).expect("a file");
    let span = ["backtest", "--no-cache", "--from", "5h", "--against", "none", "--output", "json"];
    let report = json(&setpoint(folder.path(), &[&span[..], &["--activities"]].concat()));
    // Two hours at four and three at eight, less what booted.
    assert!((hours(&report, 1) - 32.0).abs() < 0.5, "{report:#}");
    let text = report.to_string();
    assert!(text.contains("in service 2m 30s after their launch, the median of 4 launches"), "{report:#}");
    let refused = setpoint(folder.path(), &span);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("or --activities"), "{refused:?}");
}
