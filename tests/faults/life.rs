//! A life of the whole daemon from one seed: faults, reloads and rates in a random order, then peace.

use std::time::Duration;

use setpoint::control::{Decision, Outcome};
use setpoint::simulation::Workload;

use crate::course::{self, GROUPS, INTERVAL};
use crate::drawn::Rng;
use crate::table::{FAULTS, Fault, Meanwhile, Switch};
use crate::trial::{self, Step, Trial};

/// From a cycle to what happens before the next: longer than any turn takes.
const BETWEEN: Duration = Duration::from_secs(20);

/// What a life came to.
pub struct Life {
    pub broken: Vec<String>,
    pub simulated: Duration,
    pub steps: Vec<Step>,
}

impl Life {
    /// What was decided and done, and when.
    pub fn deeds(&self) -> Vec<(Duration, String, jiff::Timestamp, Decision, Outcome)> {
        let deed = |step: &Step| {
            let Step { at, policy, evaluation, outcome, .. } = step;
            (*at, policy.name.to_string(), evaluation.at, evaluation.decision, *outcome)
        };
        let mut deeds: Vec<_> = self.steps.iter().map(deed).collect();
        deeds.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
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
        let trial = Trial::start(course::world(seed, &GROUPS), &course::configuration(&GROUPS)).await;
        let mut living = Living { rng: Rng::new(seed), trial, at: BETWEEN, wrong: Vec::new(), misled: false };
        for _ in 0..hours * 120 {
            living.trial.until(living.at).await;
            living.meddle().await;
            living.at += INTERVAL;
        }
        living.rest().await
    })
}

impl Living {
    async fn meddle(&mut self) {
        for (fault, left) in std::mem::take(&mut self.wrong) {
            if left > 0 {
                self.wrong.push((fault, left - 1));
            } else {
                self.switch(fault, false);
            }
        }
        match self.rng.below(60) {
            0..8 if self.wrong.len() < 3 => {
                let fault = self.rng.pick(FAULTS);
                let long = if self.rng.chance(0.1) { 60 } else { 8 };
                if self.wrong.iter().all(|(other, _)| other.name != fault.name) {
                    self.wrong.push((fault, 1 + self.rng.below(long)));
                    self.misled |= fault.meanwhile == Meanwhile::Misled;
                    self.switch(fault, true);
                }
            }
            8..11 => {
                let (name, rate) = (self.rng.pick(&GROUPS), self.rng.between(50.0, 2000.0));
                self.set_rate(name, rate);
            }
            11 => self.reload().await,
            _ => {}
        }
    }

    fn switch(&self, fault: Fault, on: bool) {
        let faults: Vec<Fault> = self.wrong.iter().map(|(fault, _)| *fault).collect();
        course::switch(&self.trial, &faults, &fault, on, &GROUPS, "");
    }

    fn set_rate(&self, name: &str, rate: f64) {
        self.trial.world.with(|world| {
            if let Some(fleet) = world.fleet_mut(name) {
                fleet.workload = Workload::constant(rate);
            }
        });
    }

    /// Puts changed policies in force, or tries what is not valid. New lanes begin with a look at what else scales their
    /// groups, whose end would not be foreseen while Auto Scaling fails.
    async fn reload(&mut self) {
        if self.wrong.iter().any(|(fault, _)| matches!(fault.switch, Switch::AutoScaling(_) | Switch::Clock(_))) {
            return;
        }
        let rng = &mut self.rng;
        let known: Vec<&str> = GROUPS.into_iter().filter(|_| rng.chance(0.9)).collect();
        let mut text = course::configuration(&known);
        let minutes = format!("in = \"{}m\"", 1 + rng.below(5));
        let mode = format!("\"{}\"", rng.pick(&["active", "scale-out-only", "observe", "paused"]));
        text = text.replace("in = \"2m\"", &minutes).replacen("\"active\"", &mode, 1);
        if rng.chance(0.2) {
            assert!(self.trial.reload(&(text + "mni = 3\n")).await.is_err(), "a key that is not known");
        } else {
            self.put(&text).await;
        }
    }

    async fn put(&mut self, text: &str) {
        self.trial.reload(text).await.expect("a valid configuration");
        self.at = self.trial.since_start() + BETWEEN - INTERVAL;
    }

    /// Peace: everything is right again, and every fleet comes to fit its load.
    async fn rest(mut self) -> Life {
        for (fault, _) in std::mem::take(&mut self.wrong) {
            self.switch(fault, false);
        }
        GROUPS.iter().for_each(|name| self.set_rate(name, course::rates(name).1));
        self.put(&course::configuration(&GROUPS)).await;
        let over = self.trial.since_start();
        let unhappy = course::converge(&self.trial, over).await;
        let mut broken: Vec<String> = unhappy.into_iter().collect();
        if !self.misled {
            broken.extend(course::truth(&self.trial));
        }
        let simulated = self.trial.since_start();
        let steps = self.trial.stop().await;
        broken.extend(trial::check(&steps));
        broken.extend(course::after(&steps, over));
        Life { broken, simulated, steps }
    }
}
