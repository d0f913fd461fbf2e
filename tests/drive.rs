//! `setpoint drive`: a line in, a decision out; through the library and through the real binary.

mod fixture;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fixture::{metric, policy};
use serde_json::{Value, json};
use setpoint::cli::drive;
use setpoint::policy::{HoldSignal, MetricKind, Mode, Policy, Source, Threshold};

const README: &str = include_str!("../README.md");

/// CPU at 70 % and a p99 under 500 ms, with little in the way.
fn quick() -> Policy {
    let mut policy = policy();
    policy.metrics.push(metric("p99", MetricKind::Latency, 0.5));
    policy.cooldown.out = Duration::ZERO;
    policy
}

/// What the lines are answered with.
fn driven(policy: &Policy, lines: &str) -> Vec<Value> {
    let mut answers = Vec::new();
    drive::run(lines.as_bytes(), &mut answers, policy.clone()).expect("memory");
    let answers = String::from_utf8(answers).expect("text");
    answers.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// A line of a group of four, all in service, with `cpu` of CPU.
fn line(at: f64, cpu: f64) -> Value {
    json!({
        "at": at,
        "metrics": { "cpu": cpu, "p99": null },
        "group": { "desired": 4, "in_service": 4, "pending": 0, "min": 2, "max": 10 },
    })
}

#[test]
fn an_answer_says_what_is_decided_and_why() {
    let answers = driven(&quick(), &line(0.0, 0.9).to_string());
    let [answer] = &answers[..] else { panic!("{answers:?}") };
    let fields: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["because", "decision", "desired", "reasons", "recommendations", "stages"]);
    assert_eq!((&answer["desired"], &answer["decision"]), (&json!(6), &json!("scale_out")));
    assert_eq!(answer["because"], "cpu at 0.900 against 0.700 asks for 6");
    assert_eq!(answer["recommendations"]["cpu"]["rounded"], 6);
    assert_eq!(answer["recommendations"]["p99"], Value::Null);
    assert_eq!(answer["stages"][1], json!({ "stage": "controller", "in": 4, "out": 6 }));
    assert_eq!(
        answer["reasons"][0],
        json!({ "stage": "validity", "code": "metric-invalid", "metric": "p99", "measurement": { "state": "no-data" },
            "text": "p99 has no valid value: no data" })
    );
}

#[test]
fn every_fault_of_a_line_has_its_field_named() {
    let check = |lines: &str, field: Value, says: &str| {
        let answers = driven(&quick(), lines);
        let error = &answers[0]["error"];
        assert_eq!((&error["line"], &error["field"]), (&json!(1), &field), "{lines}: {answers:?}");
        assert!(error["message"].as_str().is_some_and(|message| message.contains(says)), "{lines}: {error}");
    };
    // Of a line that is whole, what stands at the path is replaced; without a value it is removed.
    let with = |path: &[&str], value: Option<Value>| {
        let mut line = line(0.0, 0.9);
        let (last, outer) = path.split_last().unwrap();
        let object = outer.iter().fold(&mut line, |object, name| &mut object[*name]).as_object_mut().unwrap();
        match value {
            Some(value) => drop(object.insert((*last).into(), value)),
            None => drop(object.remove(*last)),
        }
        line.to_string()
    };
    for path in [
        &["at"][..],
        &["metrics"],
        &["group"],
        &["metrics", "cpu"],
        &["metrics", "p99"],
        &["group", "desired"],
        &["group", "in_service"],
        &["group", "pending"],
        &["group", "min"],
        &["group", "max"],
    ] {
        let field = json!(path.join("."));
        check(&with(path, None), field.clone(), "is missing, expected ");
        check(&with(path, Some(json!("4"))), field.clone(), "is a string, expected ");
        check(&with(path, Some(json!([]))), field.clone(), "is an array, expected ");
        check(&with(path, Some(json!(true))), field.clone(), "is true, expected ");
        if path[0] != "metrics" {
            check(&with(path, Some(json!(null))), field.clone(), "is null, expected ");
            check(&with(path, Some(json!(-1))), field, "is -1, expected ");
        }
    }
    for (path, value) in [
        (&["at"][..], json!(1e12)),
        (&["group", "desired"], json!(4.5)),
        (&["group", "max"], json!(1_000_001)),
        (&["group", "warm"], json!("all")),
        (&["group", "healthy"], json!({})),
        (&["group", "refreshing"], json!(1)),
        (&["override"], json!(3)),
        (&["override"], json!([])),
    ] {
        check(&with(path, Some(value)), json!(path.join(".")), "expected ");
    }
    check(&with(&["metrics", "cpu"], Some(json!({ "i-1": 0.5, "i-2": "x" }))), json!("metrics.cpu.i-2"), "a string");
    check(&with(&["override"], Some(json!({ "floor": 3 }))), json!("override.until"), "is missing");
    check(&with(&["override"], Some(json!({ "until": 9, "flor": 3 }))), json!("override.flor"), "floor, cap, until");
    check(
        &with(&["extra"], Some(json!(1))),
        json!("extra"),
        "is unknown, expected one of: at, metrics, group, override",
    );
    check(&with(&["metrics", "cpus"], Some(json!(1))), json!("metrics.cpus"), "expected one of: cpu, p99");
    check(&with(&["group", "maxi"], Some(json!(1))), json!("group.maxi"), "desired, min, max");
    let twice = line(0.0, 0.9).to_string().replace(r#""min":2"#, r#""min":2,"min":3"#);
    check(&twice, json!("group.min"), "twice");
    check(r#"{"at": 1e999}"#, json!("at"), "1e999");
    for (lines, says) in [
        ("\n", "empty"),
        ("nonsense", "nonsense"),
        ("[1, 2]", "an array"),
        ("7", "7"),
        (r#"{"at": 1"#, "at column 8"),
        (r#"{"at": 1} {}"#, "trailing"),
        ("{'at': 1}", "at column 2"),
    ] {
        check(lines, Value::Null, says);
    }
}

#[test]
fn signals_are_told_by_the_lines_of_a_policy_that_has_some() {
    let source = Source::Prometheus { query: "errors".into(), per_instance: None };
    let (name, threshold) = ("errors".into(), Threshold::Above(0.01));
    let mut policy = quick();
    policy.stabilization.inward = Duration::ZERO;
    policy.hold_scale_in_while = vec![HoldSignal { name, threshold, max_age: Duration::from_secs(90), source }];
    let answer = |signals: Value| {
        let mut line = line(0.0, 0.1);
        line["metrics"]["p99"] = json!(0.1);
        if !signals.is_null() {
            line["signals"] = signals;
        }
        driven(&policy, &line.to_string()).remove(0)
    };
    assert_eq!(answer(json!({ "errors": 0.01 }))["decision"], "scale_in");
    for (burning, says) in [(json!(0.02), "errors is 0.020, above 0.01"), (json!(null), "errors has no valid value")] {
        let answer = answer(json!({ "errors": burning }));
        assert_eq!(answer["decision"], "hold");
        assert!(answer["because"].as_str().unwrap().ends_with(says), "{answer}");
    }
    assert_eq!(answer(Value::Null)["error"]["field"], "signals");
    assert_eq!(answer(json!({}))["error"]["field"], "signals.errors");
    assert_eq!(answer(json!({ "errors": 0.0, "erors": 0.0 }))["error"]["field"], "signals.erors");
}

#[test]
fn what_is_no_text_or_too_long_is_refused_and_the_next_line_is_heard() {
    let check = |bad: &[u8], says: &str| {
        let good = line(0.0, 0.9).to_string();
        let lines = [bad, b"\n", good.as_bytes()].concat();
        // In pieces as small as a pipe may have them, and at once.
        for size in [1000, 1 << 24] {
            let mut answers = Vec::new();
            drive::run(BufReader::with_capacity(size, &lines[..]), &mut answers, quick()).expect("memory");
            let answers: Vec<Value> =
                answers.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
            assert!(answers[0]["error"]["message"].as_str().unwrap().contains(says), "{says}: {answers:?}");
            assert_eq!((answers.len(), &answers[1]["desired"]), (2, &json!(6)), "{says}");
        }
    };
    check(b"{\"at\": \"\xff\"}", "UTF-8");
    check(&vec![b' '; (1 << 20) + 1], "longer than 1048576 bytes");
    check(&vec![b'x'; 5 << 20], "longer than 1048576 bytes");
    let mut longest = line(0.0, 0.9).to_string();
    longest.push_str(&" ".repeat((1 << 20) - longest.len()));
    assert_eq!(driven(&quick(), &longest)[0]["desired"], 6);
}

#[test]
fn an_error_leaves_the_state_as_it_was() {
    let lines: Vec<String> = (0..120)
        .map(|k| {
            let mut line = line(f64::from(k) * 15.0, if k < 60 { 0.9 } else { 0.1 });
            line["metrics"]["p99"] = json!(0.1);
            line["group"]["in_service"] = json!(4 + k % 3);
            line.to_string()
        })
        .collect();
    let faulty = r#"{"at": 1e9, "metrics": {"cpu": 0.1, "p99": 0.1}, "group": {"desired": 9, "in_service": 9, "pending": 0, "min": 1, "max": "9"}}"#;
    let alone = driven(&quick(), &lines.join("\n"));
    let among_faults = driven(&quick(), &lines.join(&format!("\n{faulty}\n")));
    let good: Vec<&Value> = among_faults.iter().filter(|answer| answer["error"] == Value::Null).collect();
    assert_eq!(among_faults.len(), 2 * lines.len() - 1);
    assert_eq!(good, alone.iter().collect::<Vec<_>>());
    assert!(alone.iter().any(|answer| answer["decision"] == "scale_in"), "something happens at all");
}

/// Of those that serve in a utilization's demand, those that warm up count half, and those that came since the line before
/// not at all; so that tells how many those are.
#[test]
fn what_is_warm_is_derived_unless_it_is_said() {
    let mut seconds = 0;
    let steps = [
        // Seconds since the last line, in service, stated warm, expected serving, expected warm.
        (0, 4, None, 4, 4),
        (15, 6, None, 4, 4),
        (15, 7, None, 6, 4),
        (44, 7, None, 7, 4),
        (1, 7, None, 7, 6),
        (15, 7, Some(5), 7, 5),
        (15, 7, None, 7, 7),
        (15, 10, None, 7, 7),
        (15, 8, None, 8, 7),
        (45, 8, None, 8, 8),
        (15, 5, None, 5, 5),
    ];
    let lines = steps.map(|(pause, in_service, warm, ..)| {
        seconds += pause;
        let mut line = line(f64::from(seconds), 0.35);
        line["group"]["in_service"] = json!(in_service);
        line["group"]["desired"] = json!(in_service);
        line["group"]["warm"] = json!(warm);
        line.to_string()
    });
    for (answer, step) in driven(&quick(), &lines.join("\n")).iter().zip(steps) {
        let demand = answer["recommendations"]["cpu"]["demand"].as_f64().unwrap();
        let carry = f64::midpoint(f64::from(step.3), f64::from(step.4));
        assert!((demand - carry * 0.5).abs() < 1e-9, "{step:?}: {answer}");
    }
}

#[test]
fn a_new_policy_decides_as_though_it_were_active_and_a_paused_one_holds() {
    for (mode, out, desired) in
        [(Mode::Active, 0.9, 6), (Mode::Observe, 0.9, 6), (Mode::ScaleOutOnly, 0.9, 6), (Mode::Paused, 0.9, 4)]
    {
        let answers = driven(&Policy { mode, ..quick() }, &line(0.0, out).to_string());
        assert_eq!(answers[0]["desired"], desired, "{mode}");
    }
}

#[test]
fn a_decision_counts_as_applied() {
    let mut policy = quick();
    policy.cooldown.out = Duration::from_mins(1);
    let lines = [0.0, 59.5, 60.0].map(|at| line(at, 0.9).to_string()).join("\n");
    let decisions: Vec<Value> = driven(&policy, &lines).into_iter().map(|answer| answer["decision"].clone()).collect();
    assert_eq!(decisions, ["scale_out", "hold", "scale_out"]);
}

#[test]
fn any_time_is_a_time_and_one_that_goes_back_is_too() {
    let lines = [0.25, 4e9, 3.0, 0.0].map(|at| line(at, 0.9).to_string()).join("\n");
    let answers = driven(&quick(), &lines);
    assert_eq!(answers.len(), 4);
    assert!(answers.iter().all(|answer| answer["error"].is_null()), "{answers:?}");
}

#[test]
fn one_value_an_instance_is_a_measurement_and_none_is_no_data() {
    let state = |cpu: Value| {
        let mut line = line(0.0, 0.9);
        line["metrics"]["cpu"] = cpu;
        let answer = driven(&quick(), &line.to_string()).remove(0);
        answer["reasons"].as_array().unwrap().iter().any(|reason| reason["text"] == "cpu has no valid value: no data")
    };
    assert!(state(json!({ "i-1": null })) && state(json!({})) && state(json!(null)));
    assert!(!state(json!({ "i-1": 0.8, "i-2": null })));
}

/// Everything that was flushed.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<(Vec<u8>, usize)>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.lock().unwrap().1 += 1;
        Ok(())
    }
}

#[test]
fn lines_that_came_together_are_answered_together() {
    let sink = Sink::default();
    let lines = (0..100).map(|k| line(f64::from(k), 0.7).to_string() + "\n").collect::<String>();
    drive::run(lines.as_bytes(), sink.clone(), quick()).unwrap();
    let (bytes, flushes) = &*sink.0.lock().unwrap();
    assert_eq!(bytes.lines().count(), 100);
    assert!(*flushes <= 2, "{flushes}");
}

/// The binary on the README's configuration, in a folder of its own.
struct Driven {
    _folder: tempfile::TempDir,
    process: Child,
}

impl Driven {
    fn start(policy: &str) -> Self {
        let folder = readme_folder();
        let process = Command::new(env!("CARGO_BIN_EXE_setpoint"))
            .args(["drive", "--config", "setpoint.toml", "--policy", policy])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        Self { _folder: folder, process }
    }
}

/// A folder with the `setpoint.toml` of the README.
fn readme_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let (_, rest) = README.split_once("```toml").expect("a configuration");
    fs::write(folder.path().join("setpoint.toml"), rest.split_once("```").expect("its end").0).expect("a file");
    folder
}

/// A fleet of which each instance can do 100 requests a second, booting in 30 s, closed around the binary.
#[test]
fn a_peer_that_waits_for_each_answer_closes_the_loop() {
    let mut driven = Driven::start("web");
    let mut to = driven.process.stdin.take().unwrap();
    let mut from = BufReader::new(driven.process.stdout.take().unwrap());
    let mut boots: BTreeMap<u32, u32> = BTreeMap::new();
    let (mut desired, mut serving, mut history) = (2_u32, 2_u32, Vec::new());
    for second in (0..10_800).step_by(15) {
        serving += boots.remove(&second).unwrap_or(0);
        let load = if second < 1200 { 130.0 } else { 550.0 };
        let cpu = (load / (f64::from(serving) * 100.0)).min(1.0);
        let pending: u32 = boots.values().sum();
        let group = json!({ "desired": desired, "in_service": serving, "pending": pending, "min": 2, "max": 10 });
        writeln!(to, "{}", json!({ "at": second, "metrics": { "cpu": cpu }, "group": group })).unwrap();
        let mut answer = String::new();
        from.read_line(&mut answer).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let next: u32 = answer["desired"].as_u64().and_then(|next| next.try_into().ok()).expect("a capacity");
        if next > desired {
            *boots.entry(second + 30).or_default() += next - desired;
        } else {
            serving -= desired - next;
        }
        desired = next;
        history.push(desired);
    }
    drop(to);
    assert!(driven.process.wait().unwrap().success());
    assert!(history[..80].iter().all(|desired| *desired == 2), "{history:?}");
    assert_eq!(history.last(), Some(&8), "550 of 700 at 70 %: {history:?}");
}

#[test]
fn a_policy_that_is_not_there_is_named_with_those_that_are() {
    let mut driven = Driven::start("webb");
    assert_eq!(driven.process.wait().unwrap().code(), Some(78));
    let mut says = String::new();
    driven.process.stderr.take().unwrap().read_to_string(&mut says).unwrap();
    assert_eq!(says, "setpoint: setpoint.toml has no policy \"webb\", it has: web\n");
}

#[test]
fn the_command_in_the_readme_works() {
    let blocks = README.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    let command = blocks.into_iter().find(|block| block.contains("setpoint drive")).expect("a command");
    let command = command.trim().strip_prefix("$ ").expect("a prompt");
    let folder = readme_folder();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_setpoint")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let output =
        Command::new("sh").args(["-c", command]).env("PATH", path).current_dir(folder.path()).output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(answer["decision"], "scale_out");
    // The help teaches the same.
    let help = Command::new(env!("CARGO_BIN_EXE_setpoint")).args(["drive", "--help"]).output().unwrap();
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let help = plain(&String::from_utf8(help.stdout).unwrap());
    assert!(help.contains(&plain(command)), "{help}");
    assert!(help.contains("decides here as though it were active"), "{help}");
}
