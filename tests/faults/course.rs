//! The course of one trial: calm, one or several faults while load rises, stays and falls, and recovery.

use std::time::Duration;

use setpoint::observation::elapsed;
use setpoint::simulation::{Workload, World};

use crate::disk::Ill;
use crate::proxy::Wire;
use crate::table::{Fault, Meanwhile, Switch};
use crate::trial::{self, Step, Trial};

pub const GROUPS: [&str; 3] = ["rising", "steady", "falling"];
pub const BOOT: Duration = Duration::from_secs(30);
pub const INTERVAL: Duration = Duration::from_secs(30);

/// The faults begin and end between two cycles, so that nothing depends on which of two is quicker.
const ON: Duration = Duration::from_secs(260);
const OFF: Duration = Duration::from_secs(500);
const LATER: Duration = Duration::from_mins(1);
/// From the beginning of a fault to the next cycle, with what the journal is given to answer.
const BEFORE: Duration = Duration::from_secs(15);
/// Converged this long after the faults, at the latest.
const ENOUGH: Duration = Duration::from_mins(15);

const POLICIES: &str = r#"
interval = "30s"
[prometheus]
url = "http://127.0.0.1:9090"
timeout = "2s"
[aws]
region = "us-east-1"
timeout = "3s"
"#;

const POLICY: &str = r#"
[[policy]]
name = "NAME"
asg = "NAME"
mode = "active"
min = 2
max = 50
boot_time = "30s"
warm_up = "15s"
stabilization = { in = "2m", out = "0s" }
cooldown = { in = "1m", out = "15s" }
step = { out = { percent = 100, count = 4, per = "1m" }, in = { percent = 50, per = "1m" } }
[[policy.metric]]
name = "load"
QUERY
"#;

fn query(name: &str) -> String {
    match name {
        "steady" => {
            format!("kind = \"utilization\"\ntarget = 0.5\nquery = 'avg(instance_cpu_ratio{{asg=\"{name}\"}})'")
        }
        "falling" => {
            format!("kind = \"total\"\ntarget = 100\nquery = 'sum(rate(http_requests_total{{asg=\"{name}\"}}[1m]))'")
        }
        _ => format!("kind = \"total\"\ntarget = 100\nquery = 'sum(http_requests_per_second{{asg=\"{name}\"}})'"),
    }
}

pub fn configuration(names: &[&str]) -> String {
    let policy = |name: &&str| POLICY.replace("NAME", name).replace("QUERY", &query(name));
    POLICIES.to_owned() + &names.iter().map(policy).collect::<String>()
}

/// Requests per second, at last and at first, of each group.
pub fn rates(name: &str) -> (f64, f64) {
    match name {
        "rising" => (300.0, 900.0),
        "falling" => (900.0, 300.0),
        _ => (600.0, 600.0),
    }
}

pub fn load(name: &str) -> Workload {
    let (from, to) = rates(name);
    let (begins, ends) = (ON + Duration::from_mins(2), OFF + Duration::from_mins(1));
    Workload::through(vec![(begins, from), (ends, to)])
}

pub fn world(seed: u64, names: &[&str]) -> World {
    names.iter().fold(trial::world(seed), |world, name| {
        let (rate, _) = rates(name);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small fleet")]
        let fitting = (rate / 100.0) as u32;
        world.with_fleet(trial::group(name, fitting, BOOT), load(name))
    })
}

/// Puts every wire and the world into the state in which these faults are on.
pub async fn switch(
    trial: &mut Trial,
    faults: &[Fault],
    changed: &Fault,
    on: bool,
    groups: &[&str],
    only: &'static str,
) {
    let wires = |of: fn(&Switch) -> Option<Wire>| {
        faults.iter().filter_map(|fault| of(&fault.switch)).map(|wire| (wire, only)).collect()
    };
    match changed.switch {
        Switch::Prometheus(_) => {
            trial.prometheus.set(wires(|s| if let Switch::Prometheus(wire) = s { Some(*wire) } else { None }));
        }
        Switch::AutoScaling(_) => {
            trial.auto_scaling.set(wires(|s| if let Switch::AutoScaling(wire) = s { Some(*wire) } else { None }));
        }
        Switch::Group(act) => trial.world.with(|world| groups.iter().for_each(|group| act(world, group, on))),
        Switch::World(act) => trial.world.with(|world| act(world, on)),
        Switch::Clock(ahead) => trial.set_clock(if on { ahead } else { 0 }),
        Switch::Disk(ill) => {
            if matches!(ill, Ill::Dies(_)) && !on {
                trial.disk.lose_power();
            }
            let ill = |fault: &Fault| if let Switch::Disk(ill) = fault.switch { Some(ill) } else { None };
            trial.disk.set(faults.iter().filter_map(ill).collect());
        }
        Switch::Kill { empty } => {
            if empty && on {
                trial.wipe();
            }
        }
    }
    // What replaces the journal does so while nobody has it open, and power that fails comes back.
    let dies = matches!(changed.switch, Switch::Disk(Ill::Dies(_)));
    if changed.restarts() && on != dies {
        let cycles = trial.since_start().div_duration_f64(INTERVAL).floor();
        trial.restart(INTERVAL.mul_f64(cycles + 1.0)).await;
    }
}

/// What a trial came to.
pub struct Outcome {
    pub broken: Vec<String>,
    pub simulated: Duration,
    pub cycles: usize,
}

impl Outcome {
    pub fn panicked() -> Self {
        Self { broken: vec!["the trial panicked".into()], simulated: Duration::ZERO, cycles: 0 }
    }
}

/// Runs the course with these faults, each a minute after the one before.
pub fn run(faults: &[Fault]) -> Outcome {
    trial::runtime().block_on(async {
        let mut trial = Trial::start(world(1, &GROUPS), &configuration(&GROUPS)).await;
        let mut on = Vec::new();
        for (fault, after) in faults.iter().zip(0..) {
            trial.until(ON + after * LATER).await;
            on.push(*fault);
            switch(&mut trial, &on, fault, true, &GROUPS, "").await;
        }
        let mut over = OFF;
        trial.until(over).await;
        let untold = untold(&trial, faults);
        for (fault, after) in faults.iter().zip(0..) {
            over = OFF + after * LATER;
            trial.until(over).await;
            on.remove(0);
            switch(&mut trial, &on, fault, false, &GROUPS, "").await;
        }
        let converged = converge(&trial, over.max(OFF + Duration::from_secs(70))).await;
        let misled = faults.iter().any(|fault| fault.meanwhile == Meanwhile::Misled);
        let mut broken = if misled { Vec::new() } else { truth(&trial) };
        if !trial.journal_writes() {
            broken.push("the journal has not recovered".into());
        }
        let simulated = trial.since_start();
        let (steps, silent) = trial.end().await;
        broken.extend(untold.into_iter().chain(silent).chain(grows(faults, &steps)));
        broken.extend(converged);
        broken.extend(trial::check(&steps));
        broken.extend(during(faults, &steps));
        broken.extend(after(&steps, over));
        broken.extend(unsound(&steps));
        Outcome { broken, simulated, cycles: steps.len() }
    })
}

/// Waits until every group has the size that its load needs, and a little longer.
pub async fn converge(trial: &Trial, over: Duration) -> Option<String> {
    let fits = |name: &str| {
        let needed = rates(name).1 / 100.0;
        trial.desired(name).is_some_and(|desired| (needed..=needed * 1.2 + 1.0).contains(&f64::from(desired)))
    };
    let mut fitting = 0;
    let mut at = over;
    while fitting < 4 {
        if at > over + ENOUGH {
            let sizes: Vec<_> =
                GROUPS.iter().map(|name| (name, trial.desired(name), trial.policy(name).because)).collect();
            return Some(format!("the fleets never come to fit their loads: {sizes:?}"));
        }
        at += INTERVAL;
        trial.until(at).await;
        fitting = if GROUPS.iter().all(|name| fits(name)) { fitting + 1 } else { 0 };
    }
    None
}

/// No call took capacity from a group that its decision did not mean to take.
pub fn truth(trial: &Trial) -> Vec<String> {
    let steps = trial.steps();
    trial.world.with(|world| {
        let mut broken = Vec::new();
        for call in world.calls().filter(|call| call.refused.is_none()) {
            let Some(fleet) = world.fleet(&call.group) else { continue };
            let before = fleet.group.desired_history().take_while(|(at, _)| *at < call.at).last();
            let Some((_, before)) = before.filter(|(_, before)| *before > call.desired) else { continue };
            let meant = steps.iter().any(|step| {
                *step.policy.asg == *call.group
                    && step.change().is_some_and(|change| change == (before.get(), call.desired.get()))
                    && elapsed(trial::origin(), call.at).abs_diff(step.at) < INTERVAL
            });
            if !meant {
                broken.push(format!("{} went from {before} to {} at {} unmeant", call.group, call.desired, call.at));
            }
        }
        broken
    })
}

/// Of which fault another leaves nothing to be seen, and by what.
const HIDDEN: [(&str, &str, &str); 4] = [
    ("the daemon's clock is an hour ahead", "Prometheus' clock is an hour ahead", "they agree"),
    ("Prometheus' clock is an hour ahead", "the daemon's clock is an hour ahead", "they agree"),
    ("scraping stops", "the value is zero", "the last that was scraped is a lie, and for 90 s it is fresh"),
    ("an instance refresh runs", "Auto Scaling answers what it did before", "of a time before the refresh"),
];

/// Two of the same wire may.
fn undo_each_other(faults: &[Fault]) -> bool {
    let [first, second] = faults else { return false };
    first.face() == second.face() && first.face() != "the disk"
}

fn is_hidden(fault: &Fault, faults: &[Fault]) -> bool {
    HIDDEN.iter().any(|(hidden, by, _)| fault.name == *hidden && faults.iter().any(|other| other.name == *by))
}

/// A journal that fails is told of at the door.
fn untold(trial: &Trial, faults: &[Fault]) -> Option<String> {
    let [fault] = faults else { return None };
    let told = trial.unready().is_some_and(|why| why.contains("nothing is removed while the journal can't be written"));
    (fault.meanwhile == Meanwhile::Unrecorded && !told).then(|| format!("{:?} is said of it", trial.unready()))
}

/// No disk keeps a fleet from growing.
fn grows(faults: &[Fault], steps: &[Step]) -> Option<String> {
    let [fault] = faults else { return None };
    let lasts = |step: &&Step| &*step.policy.name == "rising" && (ON..OFF).contains(&step.at);
    let grown = steps.iter().filter(lasts).any(|step| step.change().is_some_and(|(from, to)| to > from));
    (fault.face() == "the disk" && !grown).then(|| "nothing was added".into())
}

/// What must hold while the faults last.
fn during(faults: &[Fault], steps: &[Step]) -> Vec<String> {
    let mut broken = Vec::new();
    for (fault, after) in faults.iter().zip(0..) {
        let lasts = |step: &&Step| (ON + after * LATER..OFF + after * LATER).contains(&step.at);
        for step in steps.iter().filter(lasts) {
            let change = step.change();
            let right = match fault.meanwhile {
                _ if undo_each_other(faults) => true,
                _ if is_hidden(fault, faults) => true,
                Meanwhile::Blind if faults.len() > 1 => change.is_none_or(|(from, to)| to > from),
                Meanwhile::Blind => change.is_none() && !step.sees(),
                Meanwhile::NeverLowers => change.is_none_or(|(from, to)| to > from),
                Meanwhile::Unrecorded => {
                    let told =
                        step.at < ON + after * LATER + INTERVAL + BEFORE || step.evaluation.observation.unrecorded;
                    told && change.is_none_or(|(from, to)| to > from)
                }
                Meanwhile::Follows => faults.len() > 1 || step.sees(),
                Meanwhile::Obeys | Meanwhile::Misled => true,
            };
            if !right {
                let because = step.evaluation.because();
                broken.push(format!(
                    "{} {change:?} at {:?} ({because}) during \"{}\"",
                    step.policy.name, step.at, fault.name
                ));
            }
        }
    }
    broken
}

/// The first decision after the faults comes within one interval and sees everything.
pub fn after(steps: &[Step], over: Duration) -> Vec<String> {
    let first = |name: &&str| steps.iter().find(|step| &*step.policy.name == *name && step.at > over);
    let late = |name: &&str| !first(name).is_some_and(|step| step.at <= over + INTERVAL && step.sees());
    let blind = GROUPS.iter().filter(|name| late(name));
    blind.map(|name| format!("the first decision after the fault is not right: {name} {:?}", first(name))).collect()
}

/// In a calm, virtual time stands still while a cycle runs; otherwise the trial itself would be unsound.
fn unsound(steps: &[Step]) -> Vec<String> {
    let late = |step: &&Step| step.at < ON && !step.at.as_millis().is_multiple_of(INTERVAL.as_millis());
    steps.iter().filter(late).map(|step| format!("the trial is unsound: {:?}", step.at)).collect()
}
