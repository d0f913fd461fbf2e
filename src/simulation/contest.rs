//! Who is compared in the reference plant, on what, and with what result.

use jiff::Timestamp;

use super::bound;
use super::driver::Driver;
use super::peers::Peer;
use super::reference::{self, Moment, Seen, Settings};
use super::score::{Score, Tally};
use super::trace::Demand;
use crate::control::Decision;
use crate::policy::{Capacity, MetricKind, Policy};

/// The target of a peer beside a policy that does not tell one: what most people set.
const USUAL_TARGET: f64 = 0.7;

/// A plant and what comes upon it.
#[derive(Clone, Debug)]
pub struct Arena {
    settings: Settings,
    demand: Demand,
    optimum: f64,
}

/// Who decides.
#[derive(Clone, Debug)]
pub enum Contestant {
    /// A policy of ours, as it stands: its own bounds hold beside those of the arena.
    Policy(Box<Policy>),
    /// Another autoscaler.
    Peer {
        /// Which.
        peer: Peer,
        /// The utilization that it is to keep, a share.
        target: f64,
    },
}

/// What happened to one contestant.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// Of the contestant.
    pub name: String,
    /// How well it did.
    pub score: Score,
    /// Everything, by the resolution of the settings.
    pub moments: Vec<Moment>,
    /// What it changed.
    pub actions: Vec<Deed>,
}

/// A change of the desired capacity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// When.
    pub at: Timestamp,
    /// Desired capacity before.
    pub from: Capacity,
    /// Desired capacity after.
    pub to: Capacity,
    /// Why, in the words of the policy; empty for a peer.
    pub because: String,
}

impl Contestant {
    /// Of the policy or of the product.
    pub fn name(&self) -> &str {
        match self {
            Self::Policy(policy) => &policy.name,
            Self::Peer { peer, .. } => peer.name(),
        }
    }

    /// `peer` at the target of `policy`: that of its first utilization, else what its first total makes of an instance
    /// of this `rate` in requests per second, else 0.7.
    pub fn beside(policy: &Policy, peer: Peer, rate: f64) -> Self {
        let first = |kind| policy.metrics.iter().find(|metric| metric.kind == kind);
        let utilization = first(MetricKind::Utilization).map(|metric| metric.target / metric.full_scale());
        let total = || first(MetricKind::Total).map(|metric| (metric.target / rate).min(1.0));
        Self::Peer { peer, target: utilization.or_else(total).unwrap_or(USUAL_TARGET) }
    }
}

impl Arena {
    /// Everything is known beforehand but what the contestants do.
    pub fn new(settings: Settings, demand: Demand) -> Self {
        let needs: Vec<u32> =
            demand.expected.iter().map(|rate| settings.needed(*rate).min(settings.max).get()).collect();
        let optimum = bound::clairvoyant(&needs, settings.boot.mean());
        Self { settings, demand, optimum }
    }

    /// The plant.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What comes upon it.
    pub fn demand(&self) -> &Demand {
        &self.demand
    }

    /// Instance-seconds of one who knows the future: as few as keep the objective, or all there may be. See
    /// [`bound::clairvoyant`].
    pub fn optimum(&self) -> f64 {
        self.optimum
    }

    /// What is counted of a contestant; nothing is recorded.
    pub fn tally(&self, contestant: &Contestant) -> Tally {
        match contestant {
            Contestant::Policy(policy) => {
                let mut driver = Driver::new(policy).with_totals_at(self.settings.totals_at);
                reference::run(&self.settings, &self.demand, |seen| driver.decide(seen), |_| ())
            }
            Contestant::Peer { peer, target } => {
                let settings = peer.placed(&self.settings);
                reference::run(&settings, &self.demand, peer.decider(*target, &settings, &self.demand), |_| ())
            }
        }
    }

    /// The same, with what happened meanwhile.
    pub fn watch(&self, contestant: &Contestant) -> Course {
        let (mut moments, mut actions) = (Vec::new(), Vec::new());
        let record = |moment: &Moment| moments.push(*moment);
        let tally = match contestant {
            Contestant::Policy(policy) => {
                let mut driver = Driver::new(policy).with_totals_at(self.settings.totals_at);
                let decide = |seen: &Seen| {
                    let evaluation = driver.evaluate(seen);
                    let Decision::Scale { to, .. } = evaluation.decision else {
                        return seen.desired;
                    };
                    note(&mut actions, seen, to, || evaluation.because());
                    to
                };
                reference::run(&self.settings, &self.demand, decide, record)
            }
            Contestant::Peer { peer, target } => {
                let settings = peer.placed(&self.settings);
                let mut decider = peer.decider(*target, &settings, &self.demand);
                let decide = |seen: &Seen| {
                    let to = decider(seen);
                    note(&mut actions, seen, to, String::new);
                    to
                };
                reference::run(&settings, &self.demand, decide, record)
            }
        };
        Course { name: contestant.name().to_owned(), score: tally.score(self.optimum), moments, actions }
    }
}

/// Notes what becomes of a decision within the bounds.
fn note(actions: &mut Vec<Deed>, seen: &Seen, to: Capacity, because: impl FnOnce() -> String) {
    let (from, to) = (seen.desired, to.clamp(seen.min, seen.max));
    if from != to {
        actions.push(Deed { at: seen.at, from, to, because: because() });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::policy::{Brake, Controller, Gains, MaxSpend, Metric, Mode, PerDirection, Source};
    use crate::simulation::generator::Generator;

    fn policy(kind: MetricKind, target: f64) -> Policy {
        let query: Arc<str> = "up".into();
        let metric = Metric {
            name: "load".into(),
            kind,
            target,
            max_age: Duration::from_mins(1),
            controller: None,
            min_coverage: 0.75,
            source: Source::Prometheus { query, per_instance: None },
        };
        Policy {
            name: "web".into(),
            asg: "web".into(),
            region: None,
            interval: Duration::from_secs(15),
            mode: Mode::Active,
            takeover: false,
            min: Capacity::new(2),
            max: Capacity::new(20),
            boot_time: None,
            warm_up: None,
            controller: Controller::Pid(Gains { kp: 0.0, ki: 1.0, kd: None }),
            tolerance: PerDirection::default(),
            stabilization: PerDirection::default(),
            step: PerDirection::default(),
            cooldown: PerDirection::default(),
            max_drop: None,
            instance_price: None,
            max_spend: MaxSpend::default(),
            brake: Some(Brake::default()),
            hold_scale_in_while: Vec::new(),
            schedules: Vec::new(),
            fallback: None,
            metrics: vec![metric],
        }
    }

    fn arena() -> Arena {
        let settings = Settings::reference(Capacity::new(2), Capacity::new(20));
        Arena::new(settings, Generator::Spikes.demand(700.0, Duration::from_hours(8), 2))
    }

    #[test]
    fn to_watch_changes_nothing() {
        let arena = arena();
        let peers = Peer::ALL.map(|peer| Contestant::Peer { peer, target: 0.7 });
        let ours = Contestant::Policy(Box::new(policy(MetricKind::Utilization, 0.7)));
        for contestant in peers.into_iter().chain([ours]) {
            let (tally, course) = (arena.tally(&contestant), arena.watch(&contestant));
            assert_eq!(course.score, tally.score(arena.optimum()), "{}", course.name);
            assert_eq!(course.actions.len(), usize::try_from(tally.actions).unwrap(), "{}", course.name);
            assert_eq!(course.moments.len(), 8 * 240, "{}", course.name);
        }
    }

    #[test]
    fn what_a_policy_did_has_its_reason() {
        let course = arena().watch(&Contestant::Policy(Box::new(policy(MetricKind::Utilization, 0.7))));
        assert_eq!(course.name, "web");
        assert!(course.actions.iter().all(|deed| deed.from != deed.to && !deed.because.is_empty()));
        assert!(course.actions.is_sorted_by_key(|deed| deed.at));
    }

    #[test]
    fn nobody_is_cheaper_than_the_optimum_without_missing_the_objective() {
        let arena = arena();
        let clairvoyant = Contestant::Peer { peer: Peer::Clairvoyant, target: 0.7 };
        let score = arena.tally(&clairvoyant).score(arena.optimum());
        assert!((1.0..1.15).contains(&score.relative_cost) && score.over_objective < 0.5, "{score:?}");
    }

    #[test]
    fn a_peer_stands_at_the_target_of_the_policy() {
        let check = |kind, target, expected: f64| {
            let beside = Contestant::beside(&policy(kind, target), Peer::Hpa, 200.0);
            let Contestant::Peer { target, .. } = beside else { panic!("{beside:?} is no peer") };
            assert!((target - expected).abs() < 1e-9, "{kind:?}: {target}");
        };
        check(MetricKind::Utilization, 0.6, 0.6);
        check(MetricKind::Utilization, 65.0, 0.65);
        check(MetricKind::Total, 150.0, 0.75);
        check(MetricKind::Latency, 0.5, 0.7);
    }
}
