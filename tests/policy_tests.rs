//! Policy tests: how they are read, what they find, and what is said about wrong ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use setpoint::config::{self, Position, WrittenTest};
use setpoint::policy::Policy;

const POLICY: &str = r#"
[prometheus]
url = "http://127.0.0.1:9090"
[[policy]]
name = "web"
asg = "web-prod"
min = 2
max = 10
[[policy.metric]]
name = "cpu"
kind = "utilization"
target = 0.70
query = "cpu"
[[policy.metric]]
name = "jobs"
kind = "total"
target = 20
query = "jobs"
"#;

const TEST: &str = r#"[[test]]
name = "a doubled load doubles the fleet"
policy = "web"
group = { desired = 4 }
series = { jobs = "0x80" }
load = { cpu = "2.8x40 5.6x40" }
expect = [
  { at = "10m", desired = 4, decision = "hold" },
  { at = "10m15s", desired = 8, decision = "scale_out", because = "recommended" },
  { at = "12m", because = "saturated" },
]
"#;

fn policies(text: &str) -> Vec<Policy> {
    config::parse("policies.toml", text, []).unwrap().policies
}

fn with(old: &str, new: &str) -> String {
    assert_eq!(TEST.matches(old).count(), 1, "{old:?} stands once in the test");
    TEST.replacen(old, new, 1)
}

/// Which of its expectations the only test of `text` does not meet, by their lines.
fn failures(text: &str) -> Vec<usize> {
    let tests = config::parse_tests("t.toml", text, &policies(POLICY)).unwrap_or_else(|findings| panic!("{findings}"));
    let [WrittenTest { test, locations }] = &tests[..] else { panic!("{} tests", tests.len()) };
    let met = test.run().into_iter().zip(&test.expectations).map(|(moment, expected)| moment.meets(expected));
    let lines = locations.iter().map(|location| location.position.unwrap().line);
    met.zip(lines).filter(|(met, _)| !met).map(|(_, line)| line).collect()
}

fn check(old: &str, new: &str, failing: &[usize]) {
    assert_eq!(failures(&with(old, new)), failing, "{new}");
}

#[test]
fn an_expectation_is_held_against_the_evaluation_of_its_moment() {
    check("because = \"saturated\"", "desired = 10", &[]);
    check("because = \"saturated\"", "desired = { max = 10 }", &[]);
    check("because = \"saturated\"", "desired = { min = 11 }", &[10]);
    check("because = \"saturated\"", "desired = { min = 3, max = 10 }", &[]);
    check("because = \"saturated\"", "because = \"coverage-low\"", &[10]);
    check("at = \"10m\", desired = 4, decision = \"hold\"", "at = \"10m\", desired = 4, decision = \"scale_in\"", &[8]);
    check("at = \"10m15s\", desired = 8", "at = \"10m15s\", desired = 7", &[9]);
    check("at = \"10m\", desired = 4", "at = \"10m30s\", desired = 8", &[]);
}

#[test]
fn a_load_is_shared_by_what_serves_and_a_series_does_not_follow_the_capacity() {
    let ends = |text: &str, desired: &str| {
        let (head, _) = text.split_once("expect").unwrap();
        let expect = format!("{head}expect = [{{ at = \"19m45s\", desired = {desired} }}]");
        assert_eq!(failures(&expect), Vec::<usize>::new(), "{text}");
    };
    let load = with("5.6x40", "3.5x40");
    ends(&load, "{ min = 5, max = 9 }");
    let series =
        load.replace("load = { cpu = \"2.8x40 3.5x40\" }", "").replace("0x80\"", "0x80\", cpu = \"0.7x40 0.875x40\"");
    ends(&series, "10");
}

#[test]
fn what_boots_later_than_the_default_serves_later() {
    let recovered = with("12m\", because = \"saturated\"", "14m\", because = \"recommended\"");
    assert_eq!(failures(&recovered), Vec::<usize>::new());
    assert_eq!(failures(&recovered.replace("{ desired = 4 }", "{ desired = 4, boot_time = \"10m\" }")), [10]);
}

#[test]
fn the_bounds_of_the_group_hold_where_they_are_stated() {
    let bounded = with("{ desired = 4 }", "{ desired = 4, max = 6 }").replace("desired = 8", "desired = 6");
    let bounded = bounded.replace("because = \"recommended\"", "because = \"lowered-to-max\"");
    assert_eq!(failures(&bounded), Vec::<usize>::new());
}

fn finding(text: &str, expected: &str) {
    let findings = config::parse_tests("t.toml", text, &policies(POLICY)).expect_err(expected);
    let said: Vec<String> = findings.0.iter().map(ToString::to_string).collect();
    assert!(said.iter().any(|finding| finding.contains(expected)), "{expected:?} is not in {said:#?}");
}

#[test]
fn what_is_wrong_with_a_test_is_said_with_its_place_and_what_was_meant() {
    let wrong = |old, new, expected| finding(&with(old, new), expected);
    finding("", "t.toml:1:1: test: is missing, expected at least one [[test]]");
    wrong(
        "policy = \"web\"",
        "policy = \"wbe\"",
        "t.toml:3:1: test[1].policy: expected one of \"web\", found \"wbe\"; did you mean \"web\"?",
    );
    wrong("saturated", "saturate", "found \"saturate\"; did you mean \"saturated\"?");
    wrong(
        "\"hold\"",
        "\"held\"",
        "expected one of \"scale_out\", \"scale_in\", \"hold\", found \"held\"; did you mean \"hold\"?",
    );
    wrong("load = { cpu", "load = { cpus", "test[1].load.cpus: unknown key; did you mean \"cpu\"?");
    wrong("load = { cpu = \"2.8x40 5.6x40\" }", "", "lacks the metric cpu, expected a series of it");
    wrong("0x80\" }", "0x80\", cpu = \"1\" }", "t.toml:6:10: test[1].load.cpu: has a series also");
    wrong("series = { jobs", "load = { jobs", "is not TOML");
    wrong("2.8x40", "2.8*40", "\"2.8*40\" is no sample");
    wrong(
        "jobs = \"0x80\"",
        "jobs = \"0x20\"",
        "at: is after the shortest series, whose 21 samples, one each 15s, end at 5m",
    );
    wrong("\"10m15s\"", "\"10m10s\"", "is between two evaluations, expected a multiple of the policy's interval, 15s");
    wrong("because = \"saturated\"", "", "expects nothing, expected desired, decision or because");
    wrong("desired = 8", "desired = { min = 9, max = 8 }", "has a min of 9 above its max of 8");
    wrong("{ desired = 4 }", "{ max = 4 }", "test[1].group.desired: is missing");
    wrong("group", "start = \"Monday\"\ngroup", "t.toml:4:1: test[1].start: is no moment with its offset from UTC");
    finding(&format!("{TEST}{TEST}"), "this name is taken at t.toml:2:1, expected another");
    let jobs_as_load = with("series = { jobs = \"0x80\" }", "").replace("load = {", "load = { jobs = \"0x80\",");
    finding(&jobs_as_load, "is no utilization, so its series does not depend on the fleet");
}

#[test]
fn a_policy_with_schedules_needs_to_know_what_day_it_is() {
    let schedule = "[[policy.schedule]]\ncron = \"0 8 * * *\"\nduration = \"1h\"\nmin = 5\n";
    let policies = policies(&format!("{POLICY}{schedule}"));
    let findings = config::parse_tests("t.toml", TEST, &policies).expect_err("there is no start");
    assert_eq!(findings.0[0].location.position, Some(Position { line: 1, column: 1 }));
    assert!(findings.to_string().contains("has no start, and web has schedules"), "{findings}");
    let started = with("group", "start = \"2026-03-02T07:50:00Z\"\ngroup");
    let opened = started.replace("desired = 4, decision = \"hold\"", "desired = 5, because = \"raised-to-min\"");
    let tests = config::parse_tests("t.toml", &opened, &policies).unwrap();
    let first = &tests[0].test.run()[0];
    assert!(first.meets(&tests[0].test.expectations[0]), "{first:?}");
}

#[test]
fn all_findings_of_a_file_are_reported_at_once() {
    let wrong = with("\"hold\"", "\"held\"").replace("saturated", "cold").replace("desired = 4 }", "desired = -4 }");
    let findings = config::parse_tests("t.toml", &wrong, &policies(POLICY)).expect_err("three are wrong");
    let lines: Vec<usize> = findings.0.iter().map(|finding| finding.location.position.unwrap().line).collect();
    assert_eq!(lines, [4, 8, 10]);
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples")
}

fn setpoint(arguments: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_setpoint")).arg("check").args(arguments).output().unwrap()
}

#[test]
fn the_tests_beside_the_examples_pass() {
    for name in ["cpu", "business-hours"] {
        let (policies, tests) =
            (examples().join(format!("{name}.toml")), examples().join(format!("{name}.tests.toml")));
        let output = setpoint(&[&policies, Path::new("--tests"), &tests]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && said.ends_with(" tests passed\n"), "{name}: {said}");
    }
}

#[test]
fn a_test_that_fails_says_where_and_why_and_ends_with_one() {
    let folder = tempfile::tempdir().unwrap();
    let (policies, tests) = (folder.path().join("p.toml"), folder.path().join("t.toml"));
    fs::write(&policies, POLICY).unwrap();
    fs::write(&tests, with("10m15s\", desired = 8", "10m15s\", desired = 7")).unwrap();
    let output = setpoint(&[&policies, Path::new("--tests"), &tests]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let place = format!("{}:9:3: at 10m15s:", tests.display());
    for expected in [
        "FAILED: a doubled load doubles the fleet",
        &place,
        "expected desired = 7, got 8",
        "| Decision: scale out from 4 to 8",
        "1 of 1 tests failed",
    ] {
        assert!(said.contains(expected), "{expected:?} is not in {said}");
    }
    let output = setpoint(&[&policies, Path::new("--output"), Path::new("json"), Path::new("--tests"), &tests]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let failure = &report["tests"][0]["failures"][0];
    assert_eq!((&failure["location"]["line"], &failure["got"]["desired"]), (&9.into(), &8.into()));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_file_of_tests_that_cannot_be_read_ends_as_a_wrong_configuration_does() {
    let folder = tempfile::tempdir().unwrap();
    let (policies, absent) = (folder.path().join("p.toml"), folder.path().join("absent.toml"));
    fs::write(&policies, POLICY).unwrap();
    let output = setpoint(&[&policies, Path::new("--tests"), &absent]);
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8(output.stderr).unwrap().contains("absent.toml: can't be read"));
}

#[test]
fn the_test_that_the_help_shows_passes_on_the_policy_of_the_readme() {
    let help = Command::new(env!("CARGO_BIN_EXE_setpoint")).args(["check", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, test) = help.split_once("with web.tests.toml:\n").expect("an example");
    let (_, readme) = include_str!("../README.md").split_once("```toml\n").expect("a configuration");
    let (configuration, _) = readme.split_once("```").expect("its end");
    let policies = policies(&configuration.lines().map(str::trim_start).collect::<Vec<_>>().join("\n"));
    let tests = config::parse_tests("web.tests.toml", test, &policies).unwrap_or_else(|findings| panic!("{findings}"));
    for WrittenTest { test, .. } in &tests {
        for (moment, expected) in test.run().into_iter().zip(&test.expectations) {
            assert!(moment.meets(expected), "{}: {expected:?}", test.name);
        }
    }
    assert_eq!(tests.len(), 1);
}

#[test]
fn a_signal_is_quiet_unless_the_test_says_otherwise() {
    let signal = "[[policy.hold_scale_in_while]]\nname = \"errors\"\nquery = \"errors\"\nabove = 0.01\n";
    let policies = policies(&format!("{POLICY}{signal}"));
    let parsed = |signals: &str| {
        let test = with("2.8x40 5.6x40", "0.7x80").replacen("expect = [", &format!("{signals}expect = ["), 1);
        let (start, _) = test.split_once("expect = [").unwrap();
        let expect =
            "expect = [{ at = \"8m\", decision = \"scale_in\" }, { at = \"8m15s\", because = \"signal-burning\" }]";
        config::parse_tests("t.toml", &format!("{start}{expect}\n"), &policies)
    };
    let met = |signals: &str| -> Vec<bool> {
        let tests = parsed(signals).unwrap_or_else(|findings| panic!("{findings}"));
        let test = &tests[0].test;
        test.run().iter().zip(&test.expectations).map(|(moment, expected)| moment.meets(expected)).collect()
    };
    assert_eq!(met(""), met("signals = { errors = \"0.01x80\" }\n"));
    let burns_from_the_beginning = met("signals = { errors = \"1x80\" }\n");
    assert_eq!(burns_from_the_beginning, [false, true]);
    let finding = |signals: &str| parsed(signals).unwrap_err().to_string();
    assert!(finding("signals = { erors = \"1\" }\n").contains("did you mean \"errors\"?"));
    assert!(finding("signals = { errors = \"a\" }\n").contains("is no sample"));
    assert!(finding("signals = { errors = \"1x3\" }\n").contains("is after the shortest series, whose 4 samples"));
}
