//! A life of the whole daemon from one seed: faults, those of its journal's disk among them, restarts, reloads of policies
//! with every guard, and rates, in a random order; then peace.

use std::time::Duration;

use setpoint::control::{Decision, Evaluation, Guard, Outcome, Reason};
use setpoint::simulation::Workload;

use crate::course::{self, GROUPS, INTERVAL};
use crate::drawn::Rng;
use crate::table::{FAULTS, Fault, Meanwhile, Switch};
use crate::trial::{self, Step, Trial};

/// From a cycle to what happens before the next: longer than any turn takes.
const BETWEEN: Duration = Duration::from_secs(20);

/// How fast the policies of the course may grow.
const QUICK: &str = "percent = 100, count = 4, per = \"1m\" }, in";

/// What a life came to.
pub struct Life {
    pub broken: Vec<String>,
    pub simulated: Duration,
    pub steps: Vec<Step>,
}

/// What was decided and done, and for when; how often the daemon had been started, and whether its journal failed. When it
/// was published depends on how long the SDK of AWS rested before it tried again.
type Deed = (u32, jiff::Timestamp, String, Decision, Outcome, bool);

/// What only a life that meets it can be right about: restarts, and evaluations in which each guard has spoken.
pub const MET: [&str; 6] = ["restarts", "journal fails", "brake", "spending", "collapse", "signal burns"];

impl Life {
    /// How often each of [`MET`] was.
    pub fn met(&self) -> [usize; 6] {
        let said = |speaks: fn(&Reason) -> bool| {
            let spoke = |step: &&Step| step.evaluation.reasons.iter().any(|stated| speaks(&stated.reason));
            self.steps.iter().filter(spoke).count()
        };
        [
            self.steps.last().map_or(0, |step| step.life as usize),
            self.steps.iter().filter(|step| step.evaluation.observation.unrecorded).count(),
            said(|reason| matches!(reason, Reason::ScaleOutNotHelping { .. })),
            said(|reason| matches!(reason, Reason::SpendLimited { .. })),
            said(|reason| matches!(reason, Reason::Vetoed { guard: Guard::DemandCollapsed { .. } })),
            said(|reason| matches!(reason, Reason::Vetoed { guard: Guard::SignalBurning { .. } })),
        ]
    }

    pub fn deeds(&self) -> Vec<Deed> {
        let deed = |step: &Step| {
            let Step { policy, evaluation, outcome, life, .. } = step;
            let Evaluation { at, decision, observation, .. } = evaluation;
            (*life, *at, policy.name.to_string(), *decision, *outcome, observation.unrecorded)
        };
        let mut deeds: Vec<_> = self.steps.iter().map(deed).collect();
        deeds.sort_by(|a, b| (a.0, a.1, &a.2).cmp(&(b.0, b.1, &b.2)));
        deeds
    }
}

struct Living {
    rng: Rng,
    trial: Trial,
    /// A moment between two cycles.
    at: Duration,
    /// What goes wrong, and for how many intervals yet.
    wrong: Vec<(Fault, u32)>,
    misled: bool,
}

/// A life of about `hours` of trouble.
pub fn live(seed: u64, hours: u32) -> Life {
    trial::runtime().block_on(async {
        let trial = Trial::start(course::world(seed, &GROUPS), &priced(&GROUPS)).await;
        let mut living = Living { rng: Rng::new(seed), trial, at: BETWEEN, wrong: Vec::new(), misled: false };
        for _ in 0..hours * 120 {
            living.trial.until(living.at).await;
            living.at += INTERVAL;
            living.meddle().await;
        }
        living.rest().await
    })
}

/// Policies that know what an instance costs: what was spent is only known as long as that is.
fn priced(names: &[&str]) -> String {
    course::configuration(names).replace("boot_time", "instance_price = 0.1\nboot_time")
}

/// The same, with each of the guards or without it.
fn guarded(rng: &mut Rng, names: &[&str]) -> String {
    let daemon = priced(&[]);
    let policy = |name: &&str| {
        let policy = priced(&[name])[daemon.len()..].to_owned();
        // A fleet that grows at its leisure shows whether that helps before it is as large as may be.
        let steps = if rng.chance(0.5) { "count = 1, per = \"1m\" }, in" } else { QUICK };
        policy.replace(QUICK, steps).replace("boot_time", &(limits(rng) + "boot_time")) + &signals(rng, name)
    };
    daemon.clone() + &names.iter().map(policy).collect::<String>()
}

fn limits(rng: &mut Rng) -> String {
    let most_drop = |rng: &mut Rng| {
        format!("max_drop = {{ ratio = {:.2}, per = \"{}m\" }}\n", rng.between(0.2, 0.8), 1 + rng.below(10))
    };
    let per_hour = |rng: &mut Rng| format!("max_spend_per_hour = {:.2}\n", rng.between(0.5, 2.0));
    let per_day = |rng: &mut Rng| format!("max_spend_per_day = {:.2}\n", rng.between(6.0, 40.0));
    [maybe(rng, most_drop), maybe(rng, per_hour), maybe(rng, per_day)].concat()
}

/// A signal that bars scale-in, and a latency with its brake.
fn signals(rng: &mut Rng, name: &str) -> String {
    let busy = |rng: &mut Rng| {
        let above = rng.between(50.0, 2000.0);
        format!(
            "[[policy.hold_scale_in_while]]\nname = \"busy\"\nabove = {above:.0}\n\
             query = 'sum(http_requests_per_second{{asg=\"{name}\"}})'\n"
        )
    };
    let latency = |rng: &mut Rng| {
        let target = 10 + rng.below(90);
        format!(
            "[[policy.metric]]\nname = \"latency\"\nkind = \"latency\"\ntarget = \"{target}ms\"\nquery = 'histogram_quantile(0.5, \
             sum by (le) (rate(http_request_duration_seconds_bucket{{asg=\"{name}\"}}[1m])))'\n"
        )
    };
    [maybe(rng, busy), maybe(rng, latency)].concat()
}

fn maybe(rng: &mut Rng, text: impl FnOnce(&mut Rng) -> String) -> String {
    if rng.chance(0.5) { text(rng) } else { String::new() }
}

impl Living {
    async fn meddle(&mut self) {
        let mut wrong = std::mem::take(&mut self.wrong);
        while let Some((fault, left)) = wrong.pop() {
            if left > 0 || fault.restarts() && self.is_unforeseen(&wrong) {
                self.wrong.push((fault, left.saturating_sub(1)));
            } else {
                self.switch(fault, false, &wrong).await;
            }
        }
        let blocked = self.is_unforeseen(&[]);
        match self.rng.below(60) {
            0..8 if self.wrong.len() < 3 => {
                let fault = self.rng.pick(FAULTS);
                let long = if self.rng.chance(0.1) { 60 } else { 8 };
                let new = self.wrong.iter().all(|(other, _)| other.name != fault.name);
                if new && !(fault.restarts() && blocked) {
                    self.wrong.push((fault, 1 + self.rng.below(long)));
                    self.misled |= fault.meanwhile == Meanwhile::Misled;
                    self.switch(fault, true, &[]).await;
                }
            }
            8..11 => {
                let (name, rate) = (self.rng.pick(&GROUPS), self.rng.between(50.0, 2000.0));
                self.set_rate(name, rate);
            }
            11 if !blocked => self.reload().await,
            _ => {}
        }
    }

    /// Whether something is wrong, here or among those `left`, under which the end of the first look at the groups would
    /// not be foreseen: new lanes begin with one.
    fn is_unforeseen(&self, left: &[(Fault, u32)]) -> bool {
        let unforeseen = |fault: &Fault| matches!(fault.switch, Switch::AutoScaling(_) | Switch::Clock(_));
        self.wrong.iter().chain(left).any(|(fault, _)| unforeseen(fault))
    }

    /// Switches a fault, beside which all those `left` are on as well.
    async fn switch(&mut self, fault: Fault, on: bool, left: &[(Fault, u32)]) {
        let faults: Vec<Fault> = self.wrong.iter().chain(left).map(|(fault, _)| *fault).collect();
        let before = self.trial.since_start();
        course::switch(&mut self.trial, &faults, &fault, on, &GROUPS, "").await;
        if self.trial.since_start() != before {
            self.at = self.trial.since_start() + BETWEEN;
        }
    }

    fn set_rate(&self, name: &str, rate: f64) {
        self.trial.world.with(|world| {
            if let Some(fleet) = world.fleet_mut(name) {
                fleet.workload = Workload::constant(rate);
            }
        });
    }

    /// Puts changed policies in force, or tries what is not valid.
    async fn reload(&mut self) {
        let rng = &mut self.rng;
        let mut known: Vec<&str> = GROUPS.into_iter().filter(|_| rng.chance(0.9)).collect();
        if known.is_empty() {
            // A configuration without a policy is refused.
            known.push(GROUPS[0]);
        }
        let mut text = guarded(rng, &known);
        let minutes = format!("in = \"{}m\"", 1 + rng.below(5));
        let mode = format!("\"{}\"", rng.pick(&["active", "scale-out-only", "observe", "paused"]));
        let brake = rng.pick(&["brake = \"off\"", "brake = { factor = 1.5 }", "brake = { factor = 2.0 }"]);
        text = text.replace("in = \"2m\"", &minutes).replace("max = 50", &format!("max = 50\n{brake}")).replacen(
            "\"active\"",
            &mode,
            1,
        );
        if rng.chance(0.2) {
            assert!(self.trial.reload(&(text + "mni = 3\n")).await.is_err(), "a key that is not known");
        } else {
            self.put(&text).await;
        }
    }

    async fn put(&mut self, text: &str) {
        self.trial.reload(text).await.expect("a valid configuration");
        self.at = self.trial.since_start() + BETWEEN;
    }

    /// Peace: everything is right again, and every fleet comes to fit its load.
    async fn rest(mut self) -> Life {
        let mut wrong = std::mem::take(&mut self.wrong);
        // A start at which nothing else is wrong any more.
        wrong.sort_by_key(|(fault, _)| !fault.restarts());
        while let Some((fault, _)) = wrong.pop() {
            self.switch(fault, false, &wrong).await;
        }
        for name in GROUPS {
            self.set_rate(name, course::rates(name).1);
        }
        self.put(&priced(&GROUPS)).await;
        let over = self.trial.since_start();
        let unhappy = course::converge(&self.trial, over).await;
        let mut broken: Vec<String> = unhappy.into_iter().collect();
        if !self.misled {
            broken.extend(course::truth(&self.trial));
        }
        if !self.trial.journal_writes() {
            broken.push("the journal has not recovered".into());
        }
        let simulated = self.trial.since_start();
        let (steps, silent) = self.trial.end().await;
        broken.extend(silent);
        broken.extend(trial::check(&steps));
        broken.extend(course::after(&steps, over));
        Life { broken, simulated, steps }
    }
}
