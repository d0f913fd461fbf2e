//! One policy's place in its lane: its state, and its turn in a cycle.

use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use futures_util::future::join_all;
use jiff::Timestamp;
use tracing::{Instrument, Span};

use super::absence::Missed;
use super::lane::Gathering;
use crate::account;
use crate::control::{self, ControllerState, Decision, Evaluation, Outcome, Reason, Rejection, ScaleEvent};
use crate::journal::{self, Entry, Event, Made, Memory, Record, Remembered};
use crate::metric::Answer;
use crate::observation::{Group, Measurement, Observation, Override, elapsed};
use crate::order::Standing;
use crate::policy::{Capacity, PerDirection, Policy};
use crate::status::{Action, Board, PolicyStatus};
use crate::target::{AutoScaling, Change, ErrorKind, TargetError};

/// How often what a controller remembers is written down: well within the gap after which it would count as newly started.
const SAVE: Duration = Duration::from_secs(30);

/// The same of a controller that learns, which remembers a whole day.
const SAVE_LEARNED: Duration = Duration::from_mins(5);

pub(super) struct Seat {
    policy: Arc<Policy>,
    state: ControllerState,
    status: PolicyStatus,
    /// What the end of the cycle writes down.
    news: Vec<Record>,
    /// When its state was written down last.
    saved: Option<Timestamp>,
    /// What was done since then and before the start, the group's own activities are to tell: a journal that failed has
    /// not, and without one nothing has. `None` once they have told.
    untold: Option<Timestamp>,
    /// It was here before the start, and what it has missed since is not looked for yet.
    returns: bool,
    /// Turns in a row that were lost to a fault of ours.
    faults: u32,
    /// Cycles to sit out before the next turn.
    rest: u32,
}

/// Turns are tried again after 1, 2, 4, ... cycles, at most two to this power.
const LONGEST_REST: u32 = 5;

impl Seat {
    /// A seat that begins with what a journal has kept of its policy, if anything.
    pub(super) fn new(policy: Policy, memory: Option<Memory>, now: Timestamp) -> Self {
        let mut status = PolicyStatus::new(&policy);
        let Memory { remembered, mut actions } = memory.unwrap_or_default();
        actions.retain(|action| action.asg == policy.asg && action.region == policy.region);
        let written = remembered.as_ref().map(|remembered| remembered.at);
        // How far the clock had come, which may have been set back since.
        let reached = written.or(actions.last().map(|action| action.at)).map_or(now, |reached| reached.max(now));
        actions.retain(|action| action.at <= reached);
        // A policy that is new is watched for a whole window, however much the past would tell.
        let returns = remembered.is_some() || !actions.is_empty();
        let done = actions.last().map(|action| action.at);
        let untold = Some(written.max(done).unwrap_or(Timestamp::MIN));
        let state = remembered.and_then(|remembered| remembered.serving(&policy)).unwrap_or_default();
        let mut state = actions.iter().fold(state, |state, action| {
            let decision = Decision::Scale { from: action.from, to: action.to };
            control::settle(state, &decision, &action.outcome.unwrap_or(Outcome::Unknown), action.at)
        });
        if now < reached {
            state.set_back(elapsed(now, reached));
        }
        status.last_action = actions.pop().map(shown);
        Self { untold, returns, ..Self::with(Arc::new(policy), state, status) }
    }

    fn with(policy: Arc<Policy>, state: ControllerState, status: PolicyStatus) -> Self {
        Self { policy, state, status, news: Vec::new(), saved: None, untold: None, returns: false, faults: 0, rest: 0 }
    }

    /// The same seat under a changed policy.
    pub(super) fn with_policy(self, policy: Policy) -> Self {
        if *self.policy == policy {
            // A reload that does not concern it must not look like a start. What rested is tried again.
            return Self { rest: 0, ..self };
        }
        let state = self.state.under_changed_policy(&self.policy, &policy);
        let signals = |policy: &Policy| policy.metrics.iter().map(|metric| metric.name.clone()).collect::<Vec<_>>();
        let same = self.policy.asg == policy.asg && signals(&self.policy) == signals(&policy);
        let PolicyStatus { last_action, counters, series, ledger, .. } = self.status;
        let mut status = PolicyStatus { last_action, counters, ..PolicyStatus::new(&policy) };
        let (mut news, untold, returns) = (self.news, self.untold, self.returns);
        if same {
            status.series = series;
        }
        if account_of(&self.policy) == account_of(&policy) {
            status.ledger = ledger;
        } else {
            news.extend(ledger.today().map(|today| Record::Stretch(account_of(&self.policy), today)));
        }
        Self { news, untold, returns, ..Self::with(Arc::new(policy), state, status) }
    }

    /// A seat whose turn was lost to a fault of ours, as were `faults` in a row with it.
    pub(super) fn after_a_fault(policy: Arc<Policy>, faults: u32, board: &Board) -> Self {
        let mut status = PolicyStatus::new(&policy);
        board.publish(|snapshot| {
            if let Some(shown) = snapshot.policies.get_mut(&policy.name) {
                status.counters = shown.counters.clone();
                status.last_action.clone_from(&shown.last_action);
                status.series = shown.series.clone();
                status.ledger = shown.ledger.clone();
                status.counters.failures += 1;
                status.because = Some("the last evaluation failed from a fault of Setpoint's own; see the log".into());
                *shown = Arc::new(status.clone());
            }
        });
        let rest = (1 << (faults - 1).min(LONGEST_REST)) - 1;
        // What was done before is in the group's activities.
        Self { untold: Some(Timestamp::MIN), faults, rest, ..Self::with(policy, ControllerState::default(), status) }
    }

    /// It has a turn in this cycle.
    pub(super) fn is_ready(&self) -> bool {
        self.rest == 0
    }

    /// Sits out a cycle.
    pub(super) fn rest(&mut self) {
        self.rest = self.rest.saturating_sub(1);
    }

    pub(super) fn faults(&self) -> u32 {
        self.faults
    }

    /// Whether something else is ordered now than what the last evaluation has heeded.
    pub(super) fn is_behind(&self, standing: &Standing, now: Timestamp) -> bool {
        self.is_ready()
            && self.status.evaluation.as_ref().is_some_and(|last| {
                let Observation { ordered, paused, .. } = last.observation;
                ordered != override_of(standing, &self.policy.name, now)
                    || paused != standing.stops(&self.policy.name, now)
            })
    }

    pub(super) fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// What is to be written down since the last time that this was asked for.
    pub(super) fn take_news(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.news)
    }

    /// What its controller remembers and what its group has come to, if it is time to write that down, or if that `must`
    /// be.
    pub(super) fn state_to_save(&mut self, must: bool, now: Timestamp) -> Vec<Record> {
        let period = if self.policy.learns() { SAVE_LEARNED } else { SAVE };
        let rested = self.saved.is_none_or(|saved| elapsed(saved, now) >= period || now < saved);
        if !must && !rested {
            return Vec::new();
        }
        self.saved = Some(now);
        let (name, remembered) = (&self.policy.name, Remembered::new(&self.policy, &self.state, now));
        let today = self.status.ledger.today().map(|today| Record::Stretch(account_of(&self.policy), today));
        [Record::State(name.clone(), Box::new(remembered))].into_iter().chain(today).collect()
    }

    pub(super) fn status(&self) -> Arc<PolicyStatus> {
        Arc::new(self.status.clone())
    }

    /// Sees, decides, acts, and publishes what came of it.
    pub(super) async fn turn(mut self, gathering: Gathering, board: Board) -> Self {
        let reads = self.policy.sources().map(|source| gathering.answer(source));
        let (answers, group, missed) =
            tokio::join!(join_all(reads), gathering.group(&self.policy.asg), self.missed(&gathering));
        let now = gathering.at;
        let mut observation = self.observe(answers, group, now);
        self.take_orders(&gathering.orders.borrow(), &mut observation, now);
        observation.unrecorded = gathering.journal.is_failing();
        self.recollect(&gathering.target, &observation);
        self.catch_up(missed, &gathering.target, &observation);
        let state = std::mem::take(&mut self.state);
        let (evaluation, state) =
            tracing::info_span!("evaluate").in_scope(|| control::evaluate(&self.policy, state, &observation, now));
        let span = match evaluation.decision {
            Decision::Scale { from, to } => tracing::info_span!("apply", %from, %to),
            Decision::Hold => Span::none(),
        };
        let (outcome, error) = apply(&gathering, &self.policy, &evaluation).instrument(span).await;
        self.state = control::settle(state, &evaluation.decision, &outcome, now);
        self.record(evaluation, outcome, error);
        Span::current().record("because", self.status.because.as_deref());
        self.status.series.add(&self.status);
        let ended = self.status.account(now);
        self.news.extend(ended.map(|ended| Record::Stretch(account_of(&self.policy), ended)));
        self.faults = 0;
        let (name, shown) = (self.policy.name.clone(), self.status());
        board.publish(|snapshot| drop(snapshot.policies.insert(name, shown)));
        self
    }

    fn observe(
        &mut self,
        answers: Vec<Option<Answer>>,
        group: Result<Group, TargetError>,
        now: Timestamp,
    ) -> Observation {
        // In the order of `Policy::sources`.
        let mut answers = answers.into_iter();
        let mut read = |max_age| {
            let answer = answers.next().flatten().unwrap_or(Measurement::NoData.into());
            (answer.measurement.within(max_age), answer.detail)
        };
        let (mut measurements, mut signals) = (ArrayVec::new(), ArrayVec::new());
        for (metric, status) in self.policy.metrics.iter().zip(&mut self.status.metrics) {
            let (measurement, detail) = read(metric.max_age);
            let measurement = group.as_ref().map_or(measurement, |group| group.in_units(metric.kind, measurement));
            if !measurement.has_number() {
                let count = (metric.name.clone(), measurement.label());
                *self.status.counters.invalid.entry(count).or_default() += 1;
            }
            (status.measurement, status.detail) = (Some(measurement), detail);
            measurements.push(measurement);
        }
        for (signal, status) in self.policy.hold_scale_in_while.iter().zip(&mut self.status.signals) {
            let (measurement, detail) = read(signal.max_age);
            (status.measurement, status.detail) = (Some(measurement), detail);
            signals.push(measurement);
        }
        let (group, detail) = match group {
            Ok(group) => (Some(group.status(self.policy.warm_up, now)), None),
            Err(error) => (None, Some(crate::telemetry::chain(&error))),
        };
        match &group {
            Some(group) => self.status.counters.saw(group, now),
            None => self.status.counters.describe_failures += 1,
        }
        (self.status.group, self.status.group_detail) = (group, detail);
        Observation { measurements, signals, group, ..Observation::default() }
    }

    /// Adds what operators have ordered, as it stands now that all else has been gathered.
    fn take_orders(&self, standing: &Standing, seen: &mut Observation, now: Timestamp) {
        seen.ordered = override_of(standing, &self.policy.name, now);
        seen.paused = standing.stops(&self.policy.name, now);
    }

    /// What was done before the start and is written nowhere, as the group's own activities tell it: the first time that
    /// there is anything to see of the group.
    fn recollect(&mut self, target: &AutoScaling, seen: &Observation) {
        let Some(since) = self.untold.filter(|_| seen.group.is_some()) else { return };
        let Some(changes) = target.changes(&self.policy.asg) else { return };
        self.untold = None;
        let missed = changes.into_iter().filter(|change| change.at > since);
        let events = missed.map(|Change { at, from, to }| ScaleEvent { at, from, to });
        self.state = std::mem::take(&mut self.state).reminded(events);
    }

    /// What it has missed, in its first turn after a restart that took so long that the watch would begin anew.
    async fn missed(&self, gathering: &Gathering) -> Option<Missed> {
        if !self.returns || !self.state.is_out_of_touch(&self.policy, gathering.at) {
            return None;
        }
        let reading = Missed::read(&gathering.sources, &self.policy, gathering.at);
        // It is worth a little of the first decision's time.
        tokio::time::timeout(gathering.patience, reading).await.ok()?
    }

    fn catch_up(&mut self, missed: Option<Missed>, target: &AutoScaling, seen: &Observation) {
        self.returns = false;
        let Some(((missed, group), changes)) = missed.zip(seen.group).zip(target.changes(&self.policy.asg)) else {
            return;
        };
        self.state = missed.into_memory(&self.policy, std::mem::take(&mut self.state), group, &changes);
    }

    fn record(&mut self, evaluation: Evaluation, outcome: Outcome, error: Option<String>) {
        let because = evaluation.because();
        self.status.counters.evaluated(&evaluation, outcome);
        let news = self.has_news(&evaluation);
        if news || evaluation.decision != Decision::Hold {
            self.news.push(entry(&evaluation, &because, outcome, error.clone()));
        }
        if let Decision::Scale { from, to } = evaluation.decision {
            let action = Action { at: evaluation.at, from, to, because: because.clone(), outcome, error };
            log_action(&self.policy, &action);
            self.news.push(Record::Action(kept(&self.policy, &action, true)));
            self.status.last_action = Some(action);
        } else if news {
            let details = self.details();
            tracing::info!(event = "hold", policy = %self.policy.name, asg = %self.policy.asg, because, details, "hold");
        }
        self.status.because = Some(because);
        self.status.evaluation = Some(evaluation);
    }

    /// The evaluation holds for another reason than the one before, or other metrics are invalid.
    fn has_news(&self, evaluation: &Evaluation) -> bool {
        let Some(last) = &self.status.evaluation else { return true };
        let word = |evaluation: &Evaluation| evaluation.last_word().map(Reason::kind);
        let label = |measurement: &Measurement| measurement.label();
        let labels = |evaluation: &Evaluation| -> Vec<_> {
            let Observation { measurements, signals, .. } = &evaluation.observation;
            measurements.iter().chain(signals).map(label).collect()
        };
        last.decision != evaluation.decision || word(last) != word(evaluation) || labels(last) != labels(evaluation)
    }

    /// What the sources and AWS had to say, for the log.
    fn details(&self) -> String {
        let metrics = self.status.metrics.iter().map(|metric| (&metric.name, &metric.detail));
        let signals = self.status.signals.iter().map(|signal| (&signal.name, &signal.detail));
        let told = metrics.chain(signals).filter_map(|(name, detail)| Some(format!("{name}: {}", detail.as_ref()?)));
        told.chain(self.status.group_detail.clone()).collect::<Vec<_>>().join("; ")
    }
}

fn account_of(policy: &Policy) -> Arc<str> {
    account::name(&policy.asg, policy.region.as_deref())
}

/// The override of `policy` at `now`, as the core takes it.
fn override_of(standing: &Standing, policy: &str, now: Timestamp) -> Option<Override> {
    let crate::order::Override { floor, cap, until, .. } = *standing.bounds(policy, now)?;
    Some(Override { floor, cap, until })
}

async fn apply(gathering: &Gathering, policy: &Policy, evaluation: &Evaluation) -> (Outcome, Option<String>) {
    let Decision::Scale { from, to } = evaluation.decision else { return (Outcome::NoOp, None) };
    let because = evaluation.because();
    let intent = Action { at: evaluation.at, from, to, because, outcome: Outcome::Unknown, error: None };
    let intent = Record::Action(kept(policy, &intent, false));
    let kept = gathering.journal.record(vec![intent], gathering.patience).await;
    if let Some(objection) = kept.err().filter(|_| to < from && !gathering.journal.is_off()) {
        return (Outcome::Rejected(Rejection::Other), Some(format!("the journal can't be written: {objection}")));
    }
    let target = &gathering.target;
    if let Some(objection) = objection(target, policy, from, to).await {
        return (Outcome::Rejected(Rejection::Contention), Some(objection));
    }
    // An order may have come since the decision, and whoever gave it has been told that it is in effect.
    let PerDirection { out, inward } = gathering.orders.borrow().stops(&policy.name, gathering.at);
    if if to > from { out } else { inward } {
        return (Outcome::Rejected(Rejection::Contention), Some("an operator has paused the policy meanwhile".into()));
    }
    match target.set_desired_capacity(&policy.asg, to).await {
        Ok(()) => (Outcome::Applied, None),
        Err(error) => (outcome_of(&error), Some(crate::telemetry::chain(&error))),
    }
}

/// What has changed since the group was described. The call to come sets an absolute number and compares nothing, so it
/// would undo whatever somebody else has set meanwhile.
async fn objection(target: &AutoScaling, policy: &Policy, from: Capacity, to: Capacity) -> Option<String> {
    if to < from
        && let Some(objection) = refresh(target, &policy.asg).await
    {
        return Some(objection);
    }
    match target.desired_capacity(&policy.asg).await {
        Ok(now) if now == from => None,
        Ok(now) => Some(format!("somebody else has set the desired capacity from {from} to {now}")),
        Err(error) => Some(crate::telemetry::chain(&error)),
    }
}

/// A description may not know of an instance refresh that began lately, so a scale-in asks once more just before.
async fn refresh(target: &AutoScaling, asg: &str) -> Option<String> {
    match target.refreshing(asg).await {
        Ok(false) => None,
        Ok(true) => Some("an instance refresh has begun".into()),
        Err(error) => Some(format!("an instance refresh can't be ruled out: {}", crate::telemetry::chain(&error))),
    }
}

fn outcome_of(error: &TargetError) -> Outcome {
    if error.outcome_unknown() {
        return Outcome::Unknown;
    }
    Outcome::Rejected(match error.kind() {
        ErrorKind::Validation => Rejection::Validation,
        ErrorKind::Contention | ErrorKind::ActivityInProgress => Rejection::Contention,
        ErrorKind::Throttled => Rejection::Throttled,
        ErrorKind::AccessDenied | ErrorKind::Credentials => Rejection::AccessDenied,
        ErrorKind::NotFound => Rejection::NotFound,
        _ => Rejection::Other,
    })
}

/// The decision for whoever asks later.
fn entry(evaluation: &Evaluation, because: &str, outcome: Outcome, error: Option<String>) -> Record {
    let (decision, because) = (evaluation.decision, because.to_owned());
    // Every part of an evaluation has a form in JSON, so this can't fail.
    let mut evaluation_seen = serde_json::to_value(evaluation).unwrap_or_default();
    // In words as well, since another version may find others.
    for (place, stated) in evaluation.reasons.iter().enumerate() {
        evaluation_seen["reasons"][place]["text"] = stated.reason.to_string().into();
    }
    let made = Made { decision, because, outcome, error, evaluation: evaluation_seen };
    Record::Entry(Entry { at: evaluation.at, policy: evaluation.policy.clone(), event: Event::Decision(made) })
}

/// The action as the journal keeps it; an intent while it is not `settled`.
fn kept(policy: &Policy, action: &Action, settled: bool) -> journal::Action {
    journal::Action {
        policy: policy.name.clone(),
        asg: policy.asg.clone(),
        region: policy.region.clone(),
        at: action.at,
        from: action.from,
        to: action.to,
        because: action.because.clone(),
        outcome: settled.then_some(action.outcome),
        error: action.error.clone(),
    }
}

/// The action as it is shown, from what the journal has kept.
fn shown(action: journal::Action) -> Action {
    let journal::Action { at, from, to, because, outcome, error, .. } = action;
    Action { at, from, to, because, outcome: outcome.unwrap_or(Outcome::Unknown), error }
}

fn log_action(policy: &Policy, action: &Action) {
    let Action { from, to, because, outcome, error, .. } = action;
    let (name, asg) = (&policy.name, &policy.asg);
    match error {
        None => tracing::info!(event = "scaled", policy = %name, %asg, %from, %to, because, "desired capacity set"),
        Some(error) => tracing::warn!(event = "scale-failed", policy = %name, %asg, %from, %to, because, error,
            outcome = outcome.label(), "desired capacity not set"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{GroupStatus, Rivals, Suspended};

    const POLICY: &str = "[aws]\nregion = \"eu-west-1\"\n[prometheus]\nurl = \"http://127.0.0.1:9090\"\n[[policy]]\nname = \"web\"\n\
        asg = \"web\"\nmode = \"active\"\nmin = 1\nmax = 9\ncooldown = { in = \"1h\", out = \"1h\" }\n[[policy.metric]]\n\
        name = \"cpu\"\nkind = \"utilization\"\nquery = \"cpu\"\ntarget = 0.5\n";

    #[test]
    fn a_clock_that_was_set_back_meanwhile_makes_no_cooldown_longer_or_shorter() {
        let policy = crate::config::parse("trial.toml", POLICY, []).unwrap().policies.remove(0);
        let four = Capacity::new(4);
        let group = GroupStatus {
            desired: four,
            min: Capacity::new(1),
            max: Capacity::new(9),
            in_service: four,
            warm: four,
            healthy: four,
            pending: Capacity::ZERO,
            suspended: Suspended::default(),
            refreshing: false,
            launch_failure: None,
            rivals: Rivals::None,
        };
        let measurements = [Measurement::Value { value: 0.9, age: None }].into_iter().collect();
        let seen = Observation { measurements, group: Some(group), ..Observation::default() };
        let at = |minutes: i64| Timestamp::from_second(1_800_000_000 + minutes * 60).unwrap();
        let action = Action {
            at: at(80),
            from: Capacity::new(2),
            to: four,
            because: "of its load".into(),
            outcome: Outcome::Applied,
            error: None,
        };
        let remembered = Remembered::new(&policy, &ControllerState::default(), at(90));
        let memory = Memory { remembered: Some(remembered), actions: vec![kept(&policy, &action, true)] };
        let seat = Seat::new(policy, Some(memory), at(30));
        let (evaluation, _) = control::evaluate(&seat.policy, seat.state, &seen, at(30));
        let rests = |reason: &Reason| matches!(reason, Reason::CoolingDown { remaining, .. } if *remaining == Duration::from_mins(50));
        assert!(evaluation.reasons.iter().any(|stated| rests(&stated.reason)), "{}", evaluation.because());
    }
}
