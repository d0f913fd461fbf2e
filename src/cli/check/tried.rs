//! How a policy test went, in words and in JSON.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;

use serde_json::{Value, json};

use crate::config::{Location, WrittenTest, duration};
use crate::control::{Explanation, Subject};
use crate::policy::{Capacity, Metric, Policy};
use crate::rehearsal::{Expectation, Moment};

/// A policy test that has run.
pub(super) struct Tried {
    written: WrittenTest,
    /// What was not as expected: the number of the expectation, and what it came to.
    failures: Vec<(usize, Moment)>,
}

impl Tried {
    /// Runs the test.
    pub fn new(written: WrittenTest) -> Self {
        let moments = written.test.run().into_iter().enumerate();
        let failures = moments.filter(|(place, moment)| !moment.meets(&written.test.expectations[*place])).collect();
        Self { written, failures }
    }

    pub fn failed(&self) -> bool {
        !self.failures.is_empty()
    }

    pub fn json(&self) -> Value {
        let failures: Vec<Value> = self.failures().map(|failure| failure.json()).collect();
        json!({
            "name": *self.written.test.name,
            "policy": *self.written.test.policy.name,
            "passed": !self.failed(),
            "failures": failures,
        })
    }

    fn failures(&self) -> impl Iterator<Item = Failure<'_>> {
        let WrittenTest { test, locations } = &self.written;
        self.failures.iter().map(|(place, moment)| Failure {
            policy: &test.policy,
            expected: &test.expectations[*place],
            location: &locations[*place],
            moment,
        })
    }
}

impl Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.failed() { "FAILED" } else { "passed" };
        writeln!(f, "{verdict}: {}", self.written.test.name)?;
        self.failures().try_for_each(|failure| failure.fmt(f))
    }
}

/// An expectation that was not met.
struct Failure<'a> {
    policy: &'a Policy,
    expected: &'a Expectation,
    location: &'a Location,
    moment: &'a Moment,
}

impl<'a> Failure<'a> {
    fn explanation(&self) -> Explanation<'a> {
        let subject = |m: &'a Metric| Subject { name: &m.name, kind: m.kind, target: m.target, detail: None };
        self.moment.evaluation.explanation(self.policy.metrics.iter().map(subject), None)
    }

    fn json(&self) -> Value {
        let Expectation { at, desired, decision, because } = self.expected;
        let range = |range: &RangeInclusive<Capacity>| json!({ "min": range.start(), "max": range.end() });
        json!({
            "location": self.location,
            "at": at.as_secs_f64(),
            "expected": { "desired": desired.as_ref().map(range), "decision": decision, "because": because },
            "got": {
                "desired": self.moment.desired,
                "decision": self.moment.decision,
                "because": self.moment.reasons().collect::<Vec<_>>(),
            },
            "explanation": self.explanation().to_string(),
        })
    }
}

impl Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Expectation { at, desired, decision, because }, got) = (self.expected, self.moment);
        writeln!(f, "  {}: at {}:", self.location, duration::text(*at))?;
        if let Some(desired) = desired.as_ref().filter(|desired| !desired.contains(&got.desired)) {
            writeln!(f, "    expected desired = {}, got {}", Wanted(desired), got.desired)?;
        }
        if let Some(decision) = decision.filter(|decision| *decision != got.decision) {
            writeln!(f, "    expected decision = \"{decision}\", got \"{}\"", got.decision)?;
        }
        if let Some(because) = because.filter(|because| !got.reasons().any(|reason| reason == *because)) {
            let given: Vec<String> = got.reasons().map(|reason| format!("\"{reason}\"")).collect();
            let given = if given.is_empty() { "no reason".into() } else { given.join(", ") };
            writeln!(f, "    expected because = \"{because}\", got {given}")?;
        }
        let explanation = self.explanation().to_string();
        explanation.lines().try_for_each(|line| writeln!(f, "{}", format!("    | {line}").trim_end()))
    }
}

/// A range as a test has it.
struct Wanted<'a>(&'a RangeInclusive<Capacity>);

impl Display for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (min, max) = (self.0.start(), self.0.end());
        match (*min == Capacity::ZERO, *max == Capacity::MAX) {
            _ if min == max => min.fmt(f),
            (false, true) => write!(f, "{{ min = {min} }}"),
            (true, false) => write!(f, "{{ max = {max} }}"),
            _ => write!(f, "{{ min = {min}, max = {max} }}"),
        }
    }
}
