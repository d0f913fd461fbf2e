//! Whether what `tune` finds is right, where the right answer is known.

use std::fs;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use setpoint::config;
use setpoint::policy::{Capacity, Policy};
use setpoint::simulation::reference::Settings;
use setpoint::simulation::trace::Demand;
use setpoint::tuning::{Advice, Knob, Progress, Task, Verdict, knobs, tune};

const MIN: Capacity = Capacity::new(2);
const MAX: Capacity = Capacity::new(60);

fn policy(controller: &str, target: f64) -> Policy {
    let text = format!(
        "[prometheus]\nurl = \"http://127.0.0.1\"\n[[policy]]\nname = \"web\"\nasg = \"web\"\nmin = {MIN}\nmax = {MAX}\n\
         boot_time = \"2m\"\ncontroller = {{ kind = \"{controller}\" }}\n\
         [[policy.metric]]\nname = \"cpu\"\nkind = \"utilization\"\nquery = \"cpu\"\ntarget = {target}\n"
    );
    config::parse("t.toml", &text, []).unwrap().policies.remove(0)
}

fn task(demand: Demand, slo: f64, candidates: usize) -> Task {
    Task { settings: Settings::reference(MIN, MAX), demand, slo, candidates, seed: 7 }
}

/// Twenty instances' worth, always.
fn even(hours: f64) -> Demand {
    Demand::constant(20.0 * 200.0 * 0.93, hours * 3600.0, false, 3)
}

/// Half as much again and half as little, every two hours.
fn tides(hours: f64) -> Demand {
    let mut demand = even(hours);
    for (rates, step) in demand.arrived.iter_mut().zip(&mut demand.expected).zip(0_u32..) {
        let tide = 1.0 + 0.5 * (f64::from(step) * 3.0 / 7200.0 * std::f64::consts::TAU).sin();
        *rates.0 *= tide;
        *rates.1 *= tide;
    }
    demand
}

fn run(policy: &Policy, task: &Task) -> Advice {
    tune(policy, task, &AtomicBool::new(false), &|_| ())
}

fn changed(advice: &Advice, knob: Knob) -> Option<f64> {
    advice.changes.iter().find(|change| change.knob == knob).map(|change| change.to)
}

#[test]
fn a_target_that_wastes_is_raised() {
    let task = task(even(6.0), 1.0, 48);
    let advice = run(&policy("pid", 0.5), &task);
    assert_eq!(advice.verdict, Verdict::Change);
    let target = changed(&advice, Knob::Target(0)).expect("the target is the knob that matters");
    assert!((0.75..=0.95).contains(&target), "{target}");
    assert!(advice.saving.mean > 0.3, "{:?}", advice.saving);
    assert!(advice.best.training.over_objective <= 1.0, "{:?}", advice.best);
    assert!(advice.best.held_out.instance_hours < 0.7 * advice.present.held_out.instance_hours, "{:?}", advice.best);
}

#[test]
fn a_knob_that_does_not_matter_is_left_alone() {
    let advice = run(&policy("pid", 0.5), &task(even(6.0), 1.0, 48));
    let knobs: Vec<Knob> = advice.changes.iter().map(|change| change.knob).collect();
    assert!(knobs.len() <= 2 && knobs.contains(&Knob::Target(0)), "{knobs:?}");
}

#[test]
fn a_target_that_breaks_the_objective_is_lowered() {
    let task = task(tides(12.0), 0.5, 80);
    let advice = run(&policy("pid", 0.93), &task);
    assert!(advice.present.training.over_objective > 0.5, "{:?}", advice.present);
    assert_eq!(advice.verdict, Verdict::Change);
    assert!(changed(&advice, Knob::Target(0)).is_some_and(|target| target < 0.93), "{:?}", advice.changes);
    assert!(advice.best.training.over_objective <= 0.5, "{:?}", advice.best);
}

#[test]
fn what_is_as_good_as_the_best_is_kept() {
    let first = run(&policy("pid", 0.5), &task(even(6.0), 1.0, 48));
    let again = run(&first.policy, &task(even(6.0), 1.0, 24));
    assert_eq!(again.verdict, Verdict::Keep, "{:?} {:?}", again.saving, again.changes);
}

#[test]
fn an_objective_out_of_reach_is_said_to_be_and_the_nearest_is_named() {
    let mut policy = policy("pid", 0.7);
    policy.max = Capacity::new(10);
    let advice = run(&policy, &task(even(6.0), 1.0, 30));
    assert_eq!(advice.verdict, Verdict::OutOfReach);
    assert!(advice.best.training.over_objective > 50.0, "{:?}", advice.best);
}

#[test]
fn under_risk_the_share_is_turned_and_the_ceiling_is_not() {
    let of = |controller| knobs(&policy(controller, 0.85)).into_iter().map(|range| range.knob).collect::<Vec<_>>();
    let (risk, pid) = (of("risk"), of("pid"));
    assert!(risk.contains(&Knob::Risk) && !risk.contains(&Knob::Target(0)) && !risk.contains(&Knob::Ki), "{risk:?}");
    assert!(!pid.contains(&Knob::Risk) && pid.contains(&Knob::Target(0)) && pid.contains(&Knob::Ki), "{pid:?}");
}

#[test]
fn a_latency_is_the_objective_and_never_turned() {
    let mut policy = policy("pid", 0.7);
    policy.metrics[0].kind = setpoint::policy::MetricKind::Latency;
    assert!(knobs(&policy).iter().all(|range| !matches!(range.knob, Knob::Target(_))));
}

#[test]
fn a_knob_reads_what_was_set() {
    for controller in ["pid", "risk"] {
        let mut policy = policy(controller, 0.7);
        for range in knobs(&policy) {
            for place in [0.0, 0.37, 1.0] {
                let value = range.at(place);
                range.knob.set(&mut policy, value);
                assert!((range.knob.of(&policy) - value).abs() < 1e-9, "{range:?} at {value}");
                assert!(
                    (range.low..=range.high).contains(&value) && (range.at(range.place(value)) - value).abs() < 1e-9,
                    "{range:?}"
                );
            }
        }
    }
}

#[test]
fn the_same_seed_finds_the_same() {
    let task = task(tides(6.0), 1.0, 40);
    let found = |seed| run(&policy("pid", 0.7), &Task { seed, ..task.clone() });
    let (first, second, other) = (found(7), found(7), found(8));
    assert_eq!((&first.changes, first.best), (&second.changes, second.best));
    assert_ne!(first.changes, other.changes);
}

#[test]
fn a_search_that_is_stopped_answers_with_the_best_so_far() {
    let stop = AtomicBool::new(false);
    let last = Mutex::new(Progress { done: 0.0, best: None });
    let watch = |progress: Progress| {
        *last.lock().unwrap() = progress;
        stop.store(progress.done > 0.3, Ordering::Relaxed);
    };
    let advice = tune(&policy("pid", 0.5), &task(even(6.0), 1.0, 100), &stop, &watch);
    assert!(advice.stopped && advice.tried < 100, "{}", advice.tried);
    assert!(advice.best.training.instance_hours <= advice.present.training.instance_hours);
    assert!(last.lock().unwrap().done < 0.9);
}

#[test]
fn progress_ends_near_all_of_it() {
    let last = Mutex::new(0.0);
    let task = task(even(3.0), 1.0, 60);
    let advice =
        tune(&policy("pid", 0.5), &task, &AtomicBool::new(false), &|progress| *last.lock().unwrap() = progress.done);
    let done = *last.lock().unwrap();
    assert!(!advice.stopped && (0.7..=1.0).contains(&done), "{done}");
}

const FILE: &str = "[prometheus]\nurl = \"http://127.0.0.1\"\n[[policy]]\nname = \"web\"\nasg = \"web\"\nmin = 2\nmax = 30\n\
    # here\n[[policy.metric]]\nname = \"cpu\"\nkind = \"utilization\"\nquery = \"cpu\"\ntarget = 0.4\n";

/// What `setpoint tune` says of six hours that are all alike.
fn command(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let (file, workload) = (folder.path().join("t.toml"), folder.path().join("even.csv"));
    fs::write(&file, FILE).unwrap();
    let rows: Vec<String> = (0..360).map(|minute| format!("{},100", minute * 60)).collect();
    fs::write(&workload, format!("seconds,requests_per_second\n{}\n", rows.join("\n"))).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_setpoint"));
    command
        .args(["tune", "--policy", "web", "--candidates", "24", "--mean-instances", "10", "--config"])
        .arg(&file)
        .args(arguments);
    let output = command.arg("--workload").arg(&workload).output().unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), FILE, "no file is changed");
    output
}

#[test]
fn the_lines_that_are_printed_can_be_pasted() {
    let output = command(&["--output", "json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["verdict"], "change", "{found:#}");
    let toml = found["toml"].as_str().unwrap();
    let target = toml.lines().find(|line| line.starts_with("target = ")).unwrap();
    let policy: Vec<&str> = toml.lines().take_while(|line| !line.starts_with('#')).collect();
    let pasted = FILE.replace("# here", &policy.join("\n")).replace("target = 0.4", target);
    let tuned = config::parse("t.toml", &pasted, []).unwrap_or_else(|findings| panic!("{findings}\n{pasted}"));
    assert!(tuned.policies[0].metrics[0].target > 0.7, "{toml}");
    let [before, after] = ["present", "best"].map(|of| found[of]["held_out"]["instance_hours"].as_f64().unwrap());
    assert!(after < 0.7 * before, "{found:#}");
}

#[test]
fn what_is_printed_for_people_tells_both_parts_and_what_to_change() {
    let output = command(&["--slo", "0.5%"]);
    let said = String::from_utf8(output.stdout).unwrap();
    for expected in [
        "Policy web on even: ",
        "at most 0.5 % of the time over 500 ms",
        "training  instance-hours",
        "held out  % of time over",
        "less for the same objective. Change these lines, of [[policy]] web:",
        "# and of its [[policy.metric]] cpu:\ntarget = 0.",
        "No file was changed.",
    ] {
        assert!(said.contains(expected), "{expected:?} is not in\n{said}");
    }
}

#[test]
fn what_cannot_be_tuned_is_said_with_what_was_expected() {
    let check = |arguments: &[&str], code, expected: &str| {
        let output = command(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && said.contains(expected), "{expected:?} is not in\n{said}");
    };
    check(&["--slo", "1"], 2, "expected a percentage above 0 and at most 50, such as 1% or 0.1%");
    check(&["--policy", "wbe"], 2, "cannot be used multiple times");
    check(&["--duration", "soon"], 2, "expected a time of at most a year, such as 90s, 2m or 14d");
    check(&["--duration", "1m"], 1, "it lasts 60 s, expected at least 300 s");
}
