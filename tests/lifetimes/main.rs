//! Lifetimes of random policies on random fleets with random faults, from one seed, held to the core's promises after
//! every step by a checker that shares no code with the core.
//!
//! `SETPOINT_LIFETIMES_YEARS` is the time to simulate, `SETPOINT_LIFETIMES_SEED` the seed of the first life; the others
//! follow it by ones. A violation names the seed of its life, which is then the first.

mod checker;
#[path = "../drawn/mod.rs"]
mod drawn;
mod fleet;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, thread};

use checker::{Case, Checker, Verdict};
use drawn::{Rng, number};
use fleet::Fleet;
use jiff::Timestamp;
use setpoint::control::{ControllerState, Decision, Evaluation, Outcome, Rejection, Subject, evaluate, settle};
use setpoint::observation::{Measurement, Observation, Override};
use setpoint::policy::{
    Capacity, Controller, MaxSpend, Metric, MetricKind, Mode, PERCENT_ABOVE, PerDirection, Policy, StepLimit,
};

const YEAR: u64 = 365 * 86_400;
/// Steps of one life, more or less.
const STEPS: u64 = 6000;

fn moment(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("a second of this century")
}

/// What a policy and its fleet have been through.
struct Life {
    rng: Rng,
    policy: Policy,
    state: ControllerState,
    fleet: Fleet,
    checker: Checker,
    ordered: Option<Override>,
    paused: PerDirection<bool>,
    unrecorded: bool,
    interval: i64,
    /// The true second, and by how much the clock is behind it.
    second: i64,
    behind: i64,
    step: u64,
    /// Nothing goes wrong, since this second.
    calm: bool,
    calm_since: i64,
    /// The bounds that hold, and since which second.
    bounds_since: (i64, (u32, u32)),
}

/// A broken rule, and the evaluation that broke it.
type Lived<T> = Result<T, (String, Box<Evaluation>)>;

impl Life {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        // Most of the simulated time goes by in long steps.
        let interval = rng.pick(&[15, 30, 60, 300, 300, 300, 300, 300, 300, 300]);
        let policy = drawn::policy(&mut rng, interval);
        let fleet = Fleet::new(&mut rng, &policy);
        Self {
            policy,
            fleet,
            state: ControllerState::default(),
            checker: Checker::default(),
            ordered: None,
            paused: PerDirection::default(),
            unrecorded: false,
            interval: i64::from(interval),
            second: i64::from(rng.below(86_400)),
            behind: 0,
            step: 0,
            calm: false,
            calm_since: 0,
            bounds_since: (0, (0, 0)),
            rng,
        }
    }

    fn now(&self) -> Timestamp {
        moment(self.second - self.behind)
    }

    /// Trouble and calm by turns.
    fn live(&mut self) -> Lived<()> {
        while self.step < STEPS {
            self.calm = false;
            for _ in 0..100 + self.rng.below(1500) {
                self.meddle();
                self.evaluate()?;
            }
            self.calm_down();
            let enough = self.second + self.time_to_converge() + 50 * self.interval;
            while self.second < enough {
                self.second += self.interval;
                let evaluation = self.evaluate()?;
                self.converges(&evaluation).map_err(|rule| (rule, Box::new(evaluation)))?;
            }
        }
        Ok(())
    }

    /// One step in which something may go wrong.
    fn meddle(&mut self) {
        let rng = &mut self.rng;
        self.second += match rng.below(200) {
            0 => 0,
            1 => i64::from(rng.below(6 * 3600)),
            2..6 => self.interval * i64::from(rng.below(6)),
            6..40 => self.interval + i64::from(rng.below(3)),
            _ => self.interval,
        };
        self.fleet.trouble(rng);
        match rng.below(1000) {
            0 => self.behind += i64::from(rng.below(7200)),
            1 => self.behind = 0,
            2..5 => {
                let until = moment(self.second - self.behind + i64::from(rng.below(40_000)));
                self.ordered = Some(drawn::ordered(rng, until));
            }
            5 => self.ordered = None,
            6 => {
                self.state = ControllerState::default();
                self.checker.restart();
            }
            7 => {
                let next = drawn::policy(rng, self.policy.interval.as_secs().try_into().expect("some minutes"));
                self.change_policy(next);
            }
            8..10 => {
                let mode = rng.pick(&[Mode::Observe, Mode::Paused, Mode::ScaleOutOnly, Mode::Active, Mode::Active]);
                self.change_policy(Policy { mode, ..self.policy.clone() });
            }
            10..12 => self.paused = PerDirection { out: rng.chance(0.5), inward: rng.chance(0.5) },
            12..14 => self.paused = PerDirection::default(),
            14..16 => self.unrecorded = !self.unrecorded,
            _ => {}
        }
    }

    fn change_policy(&mut self, next: Policy) {
        let before = std::mem::replace(&mut self.policy, next);
        self.state = std::mem::take(&mut self.state).under_changed_policy(&before, &self.policy);
    }

    fn calm_down(&mut self) {
        self.fleet.calm_down(&mut self.rng);
        (self.ordered, self.paused, self.unrecorded) = (None, PerDirection::default(), false);
        // What may be spent would keep a fleet too small, and what a day has cost changes for as long as it goes by.
        let max_spend = MaxSpend::default();
        if self.policy.mode != Mode::Active || self.policy.max_spend != max_spend {
            self.change_policy(Policy { mode: Mode::Active, max_spend, ..self.policy.clone() });
        }
        self.calm = true;
        self.calm_since = self.second;
    }

    fn evaluate(&mut self) -> Lived<Evaluation> {
        self.step += 1;
        let now = self.now();
        self.fleet.run(&mut self.rng, self.second);
        let seen = self.observe();
        let before = self.rng.chance(0.01).then(|| self.state.clone());
        let (evaluation, next) = evaluate(&self.policy, std::mem::take(&mut self.state), &seen, now);
        self.state = next;
        let decision = evaluation.decision;
        let verdict = self.checker.check(Case { policy: &self.policy, seen: &seen, decision, now });
        let verdict =
            verdict.and_then(|()| before.map_or(Ok(()), |before| self.is_repeatable(before, &seen, &evaluation)));
        self.apply(decision, now);
        match verdict {
            Ok(()) => Ok(evaluation),
            Err(rule) => Err((rule, Box::new(evaluation))),
        }
    }

    fn observe(&mut self) -> Observation {
        let metrics = self.policy.metrics.iter().enumerate();
        let measured = metrics.map(|(index, metric)| self.fleet.measured(&mut self.rng, metric, index, self.second));
        let measurements = measured.collect();
        let read = |value| Measurement::Value { value, age: None };
        let signals = self.policy.hold_scale_in_while.iter();
        let signals = signals.map(|signal| match self.rng.below(12) {
            _ if self.calm => read(signal.threshold.quiet()),
            0 => Measurement::NoData,
            1 | 2 => read(self.rng.between(0.0, 1.0)),
            _ => read(signal.threshold.quiet()),
        });
        Observation {
            measurements,
            signals: signals.collect(),
            group: self.fleet.described(self.second),
            ordered: self.ordered,
            paused: self.paused,
            unrecorded: self.unrecorded,
        }
    }

    fn is_repeatable(&self, before: ControllerState, seen: &Observation, first: &Evaluation) -> Verdict {
        let (second, state) = evaluate(&self.policy, before, seen, self.now());
        // In words, since a number that is none differs from itself.
        let same = format!("{second:?}") == format!("{first:?}") && state == self.state;
        if same { Ok(()) } else { Err("the same state and observation give the same evaluation".into()) }
    }

    fn apply(&mut self, decision: Decision, now: Timestamp) {
        let (outcome, done) = match (decision, self.rng.below(20)) {
            (Decision::Hold, _) => (Outcome::NoOp, false),
            (_, 18) if !self.calm => (Outcome::Unknown, self.rng.chance(0.5)),
            (_, 19) if !self.calm => (Outcome::Rejected(Rejection::Contention), false),
            _ => (Outcome::Applied, true),
        };
        if let (Decision::Scale { to, .. }, true) = (decision, done) {
            self.fleet.desired = to.get();
        }
        self.state = settle(std::mem::take(&mut self.state), &decision, &outcome, now);
        self.checker.settled(decision, outcome, now);
    }

    /// Seconds, by far enough, in which a healthy fleet under constant load comes to rest: as though each instance came or
    /// went alone.
    fn time_to_converge(&self) -> i64 {
        let Policy { cooldown, stabilization, step, max_drop, .. } = &self.policy;
        let per = |limit: Option<StepLimit>| limit.map_or(0, |limit| limit.per.as_secs());
        let a_move = cooldown.out.as_secs() + cooldown.inward.as_secs() + per(step.out) + per(step.inward);
        let once = 2 * stabilization.inward.as_secs() + stabilization.out.as_secs();
        let peak = max_drop.map_or(0, |limit| limit.per.as_secs());
        (60 * a_move + once + peak).cast_signed() + 400 * self.interval + 4 * 3600
    }

    /// After faults have ended, the fleet comes to rest where its metrics are at their targets.
    fn converges(&mut self, evaluation: &Evaluation) -> Verdict {
        let group = evaluation.observation.group.ok_or("a calm group is described")?;
        let bounds = drawn::bounds(&self.policy, None, &group, self.now());
        if self.bounds_since.1 != bounds {
            self.bounds_since = (self.second, bounds);
        }
        let since = self.bounds_since.0.max(self.calm_since);
        if self.second - since < self.time_to_converge() {
            return Ok(());
        }
        let all_pid = self.policy.metrics.iter().all(|metric| self.follows_demand(metric) == Some(true));
        if all_pid && evaluation.decision != Decision::Hold {
            return Err("constant load comes to rest".into());
        }
        let needs = || {
            self.policy.metrics.iter().zip(&evaluation.observation.measurements).filter_map(|(metric, seen)| {
                let share = if metric.kind == MetricKind::Total { 1.0 } else { group.in_service.as_f64() };
                self.follows_demand(metric).and(number(metric, seen)).map(|number| number / metric.target * share)
            })
        };
        let need = needs().fold(0.0, f64::max).clamp(f64::from(bounds.0), f64::from(bounds.1));
        let (tolerance, desired) = (self.policy.tolerance, group.desired);
        // Rounding leaves out a fiftieth of an instance; noise of the time before fades.
        if desired.get() < bounds.1 && need > (desired.as_f64() + 0.03) * (1.0 + tolerance.out + 0.01) {
            return Err(format!("no fleet stays too small: {need} are needed"));
        }
        let enough = Capacity::ceil(need).unwrap_or(desired).as_f64().max(need / (1.0 - tolerance.inward) + 0.1);
        // A percentage that may be a share keeps what is there.
        let unclear = self.policy.metrics.iter().zip(&evaluation.observation.measurements).any(|(metric, seen)| {
            metric.is_percent() && number(metric, seen).is_some_and(|value| value <= PERCENT_ABOVE)
        });
        if all_pid && !unclear && desired.get() > bounds.0 && desired.as_f64() > enough.max(need * 1.01 + 1.0) {
            return Err(format!("no fleet stays too large: {need} are needed"));
        }
        Ok(())
    }

    /// Whether the metric's controller goes by demand, and if so, whether without margins that it learns.
    fn follows_demand(&self, metric: &Metric) -> Option<bool> {
        match metric.controller.as_ref().unwrap_or(&self.policy.controller) {
            _ if metric.kind == MetricKind::Latency => None,
            Controller::Pid(_) => Some(true),
            Controller::Risk(_) => Some(false),
            Controller::Step(_) => None,
        }
    }
}

/// Lives the life of `seed`; returns its seconds, or what went wrong.
fn life(seed: u64) -> Result<u64, String> {
    let mut life = Life::new(seed);
    let begin = life.second;
    let lived = catch_unwind(AssertUnwindSafe(|| life.live()));
    let replay = format!("SETPOINT_LIFETIMES_SEED={seed}, step {}", life.step);
    match lived {
        Ok(Ok(())) => Ok((life.second - begin).unsigned_abs()),
        Ok(Err((rule, evaluation))) => {
            Err(format!("{replay}: {rule}\n{}\n{:?}", explain(&life.policy, &evaluation), life.policy))
        }
        Err(_) => Err(format!("{replay}: panicked\n{:?}", life.policy)),
    }
}

fn explain(policy: &Policy, evaluation: &Evaluation) -> String {
    let subjects = policy.metrics.iter().map(|Metric { name, kind, target, .. }| Subject {
        name,
        kind: *kind,
        target: *target,
        detail: None,
    });
    evaluation.explanation(subjects, None).to_string()
}

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no whole number: {text}")))
}

#[test]
fn the_promises_hold_for_lifetimes() {
    let years = setting("SETPOINT_LIFETIMES_YEARS", 1);
    let seed = AtomicU64::new(setting("SETPOINT_LIFETIMES_SEED", 1));
    let (lived, broken) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let work = || {
        while lived.load(Ordering::Relaxed) < years * YEAR && broken.lock().unwrap().is_empty() {
            match life(seed.fetch_add(1, Ordering::Relaxed)) {
                Ok(seconds) => _ = lived.fetch_add(seconds, Ordering::Relaxed),
                Err(violation) => broken.lock().unwrap().push(violation),
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let broken = broken.into_inner().unwrap();
    println!("{} years, seeds up to {}", lived.into_inner() / YEAR, seed.into_inner() - 1);
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
}
