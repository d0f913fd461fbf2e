//! Policy tests: series of measurements go in, and what the policy decides is held against what was expected.
//!
//! Pure and deterministic: the decisions are those of [`control`](crate::control), the group is a simulated one, and time
//! is what the test says. It reads no file; `config` reads the tests.

mod because;
mod group;
mod series;
mod warming;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

pub use self::because::Because;
pub use self::series::{MAX_SAMPLES, Sample, SeriesError, expand};
pub use self::warming::Warming;

use self::group::Fleet;
use crate::control::{ControllerState, Decision, Evaluation, Outcome, evaluate, settle};
use crate::observation::{GroupStatus, Measurement, Observation};
use crate::policy::{Capacity, Metric, Mode, Policy};

/// One test of one policy.
#[derive(Clone, Debug)]
pub struct Test {
    /// What it shows, in words.
    pub name: Arc<str>,
    /// What decides. [`Mode::Observe`] counts as [`Mode::Active`], since nothing is touched.
    pub policy: Policy,
    /// When the first evaluation is.
    pub start: Timestamp,
    /// The group at the start.
    pub group: Group,
    /// What each metric of the policy measures, in its order.
    pub feeds: Vec<Feed>,
    /// What each signal reads that may hold the policy's scale-in, in its order; `None`: it never burns.
    pub signals: Vec<Option<Vec<Sample>>>,
    /// What is expected of the evaluations.
    pub expectations: Vec<Expectation>,
}

/// How the simulated group begins and behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Desired capacity at the start; all of it is in service and warm.
    pub desired: Capacity,
    /// The group's own `MinSize`.
    pub min: Capacity,
    /// The group's own `MaxSize`.
    pub max: Capacity,
    /// Launch to in service.
    pub boot_time: Duration,
}

/// What a metric measures: one sample an evaluation, and no data beyond the last.
#[derive(Clone, Debug, PartialEq)]
pub enum Feed {
    /// The measurement itself, whatever the capacity.
    Series(Vec<Sample>),
    /// Of a utilization: the work in fully busy instances, which those that serve share evenly. Each is busy at most
    /// fully.
    Load(Vec<Sample>),
}

/// What is expected of one evaluation. What is `None` may be anything.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    /// Since the start, a multiple of the policy's interval.
    pub at: Duration,
    /// The desired capacity after the decision.
    pub desired: Option<RangeInclusive<Capacity>>,
    /// What is decided.
    pub decision: Option<Verdict>,
    /// One of the reasons that the evaluation gives.
    pub because: Option<Because>,
}

/// A decision in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Instances are added.
    ScaleOut,
    /// Instances are removed.
    ScaleIn,
    /// The capacity is kept.
    Hold,
}

impl Verdict {
    /// The word that a test has for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ScaleOut => "scale_out",
            Self::ScaleIn => "scale_in",
            Self::Hold => "hold",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl From<Decision> for Verdict {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Hold => Self::Hold,
            Decision::Scale { from, to } if to > from => Self::ScaleOut,
            Decision::Scale { .. } => Self::ScaleIn,
        }
    }
}

/// What an evaluation came to, in the terms of an [`Expectation`].
#[derive(Clone, Debug)]
pub struct Moment {
    /// The desired capacity after the decision.
    pub desired: Capacity,
    /// What was decided.
    pub decision: Verdict,
    /// From top to bottom.
    pub evaluation: Evaluation,
}

impl Moment {
    /// Every kind of reason that the evaluation gives, in its order.
    pub fn reasons(&self) -> impl Iterator<Item = Because> {
        self.evaluation.reasons.iter().map(|stated| Because::of(&stated.reason))
    }

    /// Whether it is as expected.
    pub fn meets(&self, expected: &Expectation) -> bool {
        expected.desired.as_ref().is_none_or(|range| range.contains(&self.desired))
            && expected.decision.is_none_or(|decision| decision == self.decision)
            && expected.because.is_none_or(|because| self.reasons().any(|reason| reason == because))
    }
}

impl Test {
    /// Runs the test. One moment for each expectation, in its order.
    pub fn run(&self) -> Vec<Moment> {
        let evaluation = |expected: &Expectation| expected.at.as_nanos() / self.policy.interval.as_nanos();
        let wanted: BTreeSet<u128> = self.expectations.iter().map(evaluation).collect();
        let evaluations = wanted.last().map_or(0, |last| last + 1);
        let mut course = Course::of(self);
        let mut moments = BTreeMap::new();
        for place in 0..evaluations {
            let moment = course.next();
            if wanted.contains(&place) {
                moments.insert(place, moment);
            }
        }
        self.expectations.iter().filter_map(|expected| moments.get(&evaluation(expected)).cloned()).collect()
    }
}

/// A test that is running.
struct Course<'a> {
    test: &'a Test,
    policy: Policy,
    fleet: Fleet,
    state: ControllerState,
    /// How many evaluations there were.
    place: usize,
    now: Timestamp,
}

impl<'a> Course<'a> {
    fn of(test: &'a Test) -> Self {
        let mut policy = test.policy.clone();
        if policy.mode == Mode::Observe {
            policy.mode = Mode::Active;
        }
        let fleet = Fleet::new(test.group, policy.warm_up);
        Self { test, policy, fleet, state: ControllerState::default(), place: 0, now: test.start }
    }

    /// One evaluation; its decision is applied at once.
    fn next(&mut self) -> Moment {
        let (now, status) = (self.now, self.fleet.at(self.now));
        let (evaluation, state) = evaluate(&self.policy, std::mem::take(&mut self.state), &self.seen(&status), now);
        self.state = settle(state, &evaluation.decision, &Outcome::Applied, now);
        if let Decision::Scale { to, .. } = evaluation.decision {
            self.fleet.set_desired(to, now);
        }
        self.place += 1;
        // Beyond the calendar time stands still; `config` lets no test begin so late.
        self.now = now.saturating_add(self.policy.interval).unwrap_or(now);
        Moment { desired: self.fleet.desired(), decision: evaluation.decision.into(), evaluation }
    }

    fn seen(&self, group: &GroupStatus) -> Observation {
        let interval = self.policy.interval;
        let measured = |(metric, feed): (&Metric, &Feed)| feed.measurement(self.place, metric, group, interval);
        let measurements = self.policy.metrics.iter().zip(&self.test.feeds).map(measured).collect();
        let signals = self.policy.hold_scale_in_while.iter().zip(&self.test.signals);
        let signals = signals.map(|(signal, samples)| match samples {
            Some(samples) => sampled(samples, self.place, signal.max_age + interval),
            None => Measurement::of(signal.threshold.quiet(), None),
        });
        Observation { measurements, signals: signals.collect(), group: Some(*group), ..Observation::default() }
    }
}

impl Feed {
    /// One for each evaluation, as far as they go.
    pub fn samples(&self) -> &[Sample] {
        match self {
            Self::Series(samples) | Self::Load(samples) => samples,
        }
    }

    fn measurement(&self, index: usize, metric: &Metric, group: &GroupStatus, interval: Duration) -> Measurement {
        let serving = group.serving();
        // The first evaluation that finds the newest sample too old.
        match (sampled(self.samples(), index, metric.max_age + interval), self) {
            (Measurement::Value { .. }, Self::Load(_)) if serving == Capacity::ZERO => Measurement::NoData,
            (Measurement::Value { value: load, .. }, Self::Load(_)) => {
                Measurement::of((load / serving.as_f64()).min(1.0) * metric.full_scale(), None)
            }
            (measurement, _) => measurement,
        }
    }
}

/// The sample at `index`; `stale` is the age of one that is too old.
fn sampled(samples: &[Sample], index: usize, stale: Duration) -> Measurement {
    match samples.get(index).copied().unwrap_or(Sample::Missing) {
        Sample::Missing => Measurement::NoData,
        Sample::Stale => Measurement::Stale { age: stale },
        Sample::Value(value) => Measurement::of(value, None),
    }
}
