//! A fault of one policy's source, group or region changes nothing for the others, not even when they decide.

use std::time::Duration;

use setpoint::control::Decision;
use setpoint::simulation::Workload;

use crate::course::{self, BOOT};
use crate::table::{FAULTS, Fault, Switch};
use crate::trial::{self, Trial};

/// The one that is hit, one of its lane, and one of another region.
const NAMES: [&str; 3] = ["hit", "neighbour", "abroad"];
const ON: Duration = Duration::from_secs(66);
const OFF: Duration = Duration::from_secs(186);
const END: Duration = Duration::from_mins(4);

/// What is compared: when it was published, for when it was decided, what.
type Decided = Vec<(Duration, jiff::Timestamp, Decision)>;

fn configuration() -> String {
    // The longest deadlines that the interval allows.
    let text = course::configuration(&NAMES).replace("30s\"\n[prom", "10s\"\n[prom");
    let text = text.replace("timeout = \"2s\"", "timeout = \"9s\"").replace("timeout = \"3s\"", "timeout = \"9s\"");
    text.replace("name = \"abroad\"\nasg", "name = \"abroad\"\nregion = \"eu-west-1\"\nasg")
}

/// What each policy decided while this fault hit what mentions `only`.
fn decided(fault: Option<&Fault>, only: &'static str) -> Vec<Decided> {
    trial::runtime().block_on(async {
        let load = || Workload::through(vec![(Duration::from_secs(190), 300.0), (Duration::from_mins(5), 1500.0)]);
        let world =
            NAMES.iter().fold(trial::world(1), |world, name| world.with_fleet(trial::group(name, 3, BOOT), load()));
        let mut trial = Trial::start(world, &configuration()).await;
        for (at, on) in [(ON, true), (OFF, false)] {
            trial.until(at).await;
            let Some(fault) = fault else { continue };
            let changed = [*fault];
            course::switch(&mut trial, if on { &changed } else { &[] }, fault, on, &["hit"], only).await;
        }
        trial.until(END).await;
        let steps = trial.stop().await;
        let of = |name: &&str| {
            let steps = steps.iter().filter(|step| &*step.policy.name == *name);
            steps.map(|step| (step.at, step.evaluation.at, step.evaluation.decision)).collect()
        };
        NAMES.iter().map(of).collect()
    })
}

/// The texts that limit a fault to one policy, each with the first of [`NAMES`] that must not be touched by it.
fn limits(fault: &Fault) -> &'static [(&'static str, usize)] {
    match fault.switch {
        Switch::Prometheus(_) => &[("hit", 1)],
        Switch::AutoScaling(_) => &[("us-east-1", 2), ("AutoScalingGroupName=hit", 1)],
        Switch::Group(_) => &[("", 1)],
        Switch::World(_) | Switch::Clock(_) | Switch::Disk(_) | Switch::Kill { .. } => &[],
    }
}

pub fn trials() -> Vec<(Fault, &'static str, usize)> {
    let limited = |fault: &Fault| limits(fault).iter().map(|(only, first)| (*fault, *only, *first)).collect::<Vec<_>>();
    FAULTS.iter().flat_map(limited).collect()
}

pub fn undisturbed() -> Vec<Decided> {
    decided(None, "")
}

/// What is different for those who must not be touched.
pub fn disturbed((fault, only, first): &(Fault, &'static str, usize), undisturbed: &[Decided]) -> Option<String> {
    let seen = decided(Some(fault), only);
    let differs = (*first..NAMES.len()).find(|other| seen[*other] != undisturbed[*other])?;
    let pairs = seen[differs].iter().zip(&undisturbed[differs]).find(|(seen, expected)| seen != expected);
    let counts = (seen[differs].len(), undisturbed[differs].len());
    Some(format!("{} of \"{only}\" disturbs {}: {pairs:?} {counts:?}", fault.name, NAMES[differs]))
}
