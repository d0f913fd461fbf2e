//! A lane: the policies that share a Prometheus, an AWS account and region, and an interval.
//!
//! One cycle reads every distinct source once and describes all groups in batches; each policy decides and acts as soon
//! as its own inputs are there, so a slow source holds up nobody else.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use jiff::Timestamp;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::seat::Seat;
use crate::clock::Clock;
use crate::journal::{Journal, Record};
use crate::metric::{Answer, Sources};
use crate::observation::{Group, Rivals, elapsed};
use crate::order::Standing;
use crate::policy::Source;
use crate::status::{Board, LaneStatus};
use crate::target::{AutoScaling, TargetError};

/// The longest that a cycle waits for the journal.
const MOST_PATIENCE: Duration = Duration::from_secs(2);

/// How often a lane looks again for what else would scale its groups.
const INSPECTION: Duration = Duration::from_mins(15);

pub(super) struct Lane {
    pub name: Arc<str>,
    region: Option<Arc<str>>,
    interval: Duration,
    sources: Arc<Sources>,
    target: Arc<AutoScaling>,
    pub seats: Vec<Seat>,
    cycles: u64,
}

/// What a cycle gathers, each part once, for all who need it.
#[derive(Clone)]
pub(super) struct Gathering {
    answers: Arc<HashMap<Source, Shared<BoxFuture<'static, Answer>>>>,
    groups: Shared<BoxFuture<'static, Arc<Groups>>>,
    /// When the cycle was due or ordered, which is what every part of it takes for now: the rhythm is exact, the wake-ups
    /// are not.
    pub at: Timestamp,
    pub target: Arc<AutoScaling>,
    /// What operators have ordered, as it stands at any moment of the cycle.
    pub orders: Orders,
    pub journal: Journal,
    /// How long an intent may take to be written.
    pub patience: Duration,
}

/// What operators have ordered.
pub(super) type Orders = watch::Receiver<Arc<Standing>>;

type Groups = HashMap<Arc<str>, Result<Group, TargetError>>;

/// The name of the lane for a region and an interval.
pub(super) fn lane_name(region: Option<&str>, interval: Duration) -> Arc<str> {
    format!("{}/{interval:?}", region.unwrap_or("default")).into()
}

impl Lane {
    pub(super) fn new(
        name: Arc<str>,
        region: Option<Arc<str>>,
        interval: Duration,
        sources: Arc<Sources>,
        target: Arc<AutoScaling>,
    ) -> Self {
        Self { name, region, interval, sources, target, seats: Vec::new(), cycles: 0 }
    }

    pub(super) fn status(&self, started: Timestamp) -> LaneStatus {
        LaneStatus {
            region: self.region.clone(),
            interval: self.interval,
            policies: self.seats.len(),
            started,
            finished: None,
            took: Duration::ZERO,
            cycles: 0,
        }
    }

    /// Runs one cycle an interval until it is told to stop, then hands back the seats with their states.
    pub(super) async fn run(
        mut self,
        clock: Clock,
        board: Board,
        mut orders: Orders,
        journal: Journal,
        mut stop: watch::Receiver<bool>,
    ) -> Vec<Seat> {
        let (first, inspected) = oneshot::channel();
        let mut inspection = JoinSet::new();
        inspection.spawn(inspect(self.target.clone(), self.names(), clock, first));
        // Until it is known what else scales the groups they are only observed, so the first cycle waits for that, but
        // not for longer than an interval.
        let limit = tokio::time::sleep(clock.on_the_wall(self.interval));
        let stopped = tokio::select! {
            _ = inspected => false,
            () = limit => false,
            _ = stop.wait_for(|stop| *stop) => true,
        };
        if stopped {
            return self.seats;
        }
        let mut due = clock.now();
        let mut at = due;
        loop {
            let known = orders.borrow_and_update().clone();
            self.cycle(clock, self.gather(at, clock, &orders, &journal), &board).await;
            due = next(due, self.interval, clock.now());
            tokio::select! {
                () = clock.sleep_until(due) => {
                    due = punctual(due, self.interval, clock.now());
                    at = due;
                }
                // An order does not wait for the rhythm, and does not disturb it.
                () = self.news(&mut orders, &known) => at = clock.now(),
                // An error means that the daemon itself is gone.
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        self.seats
    }

    fn names(&self) -> Vec<Arc<str>> {
        self.seats.iter().map(|seat| seat.policy().asg.clone()).collect()
    }

    /// Waits until something else is ordered of one of the policies than what is `known`.
    async fn news(&self, orders: &mut Orders, known: &Standing) {
        let concerns = |standing: &Arc<Standing>| {
            let differs = |name: &Arc<str>| {
                standing.pauses.get(name) != known.pauses.get(name)
                    || standing.overrides.get(name) != known.overrides.get(name)
            };
            standing.freeze != known.freeze || self.seats.iter().any(|seat| differs(&seat.policy().name))
        };
        if orders.wait_for(concerns).await.is_err() {
            // Nobody is left to order anything.
            std::future::pending::<()>().await;
        }
    }

    async fn cycle(&mut self, clock: Clock, gathering: Gathering, board: &Board) {
        let started = clock.now();
        let mut turns = JoinSet::new();
        let mut away = HashMap::new();
        for seat in self.seats.drain(..) {
            let policy = seat.policy().clone();
            let turn = turns.spawn(seat.turn(gathering.clone(), board.clone()));
            away.insert(turn.id(), policy);
        }
        while let Some(ended) = turns.join_next_with_id().await {
            match ended {
                Ok((_, seat)) => self.seats.push(seat),
                // A fault of ours in one policy must not end the others. Without its state it starts as after a
                // restart, which bars scale-in until a full window has been seen.
                Err(error) => {
                    let Some(policy) = away.remove(&error.id()) else { continue };
                    tracing::error!(event = "evaluation-failed", policy = %policy.name, %error, "the evaluation failed");
                    self.seats.push(Seat::after_a_fault(policy, board));
                }
            }
        }
        let states = self.seats.iter_mut().filter_map(|seat| seat.state_to_save(false, gathering.at)).collect();
        let news: Vec<Record> = self.seats.iter_mut().flat_map(Seat::take_news).chain::<Vec<_>>(states).collect();
        if !news.is_empty() {
            // What is wrong with the journal is logged by whoever watches it.
            let _ = gathering.journal.record(news, gathering.patience).await;
        }
        self.cycles += 1;
        self.publish(started, clock.now(), board);
    }

    fn gather(&self, now: Timestamp, clock: Clock, orders: &Orders, journal: &Journal) -> Gathering {
        let metrics = self.seats.iter().flat_map(|seat| &seat.policy().metrics);
        let distinct: HashSet<&Source> = metrics.map(|metric| &metric.source).collect();
        let read = |source: &Source| {
            let (sources, source) = (self.sources.clone(), source.clone());
            async move { sources.read(&source, now).await }.boxed().shared()
        };
        let answers = distinct.into_iter().map(|source| (source.clone(), read(source))).collect();
        let (target, names) = (self.target.clone(), self.names());
        let groups = async move { Arc::new(target.describe(&names, now).await) }.boxed().shared();
        Gathering {
            answers: Arc::new(answers),
            groups,
            at: now,
            target: self.target.clone(),
            orders: orders.clone(),
            journal: journal.clone(),
            patience: patience(clock.on_the_wall(self.interval)),
        }
    }

    fn publish(&self, started: Timestamp, finished: Timestamp, board: &Board) {
        board.publish(|snapshot| {
            if let Some(lane) = snapshot.lanes.get_mut(&self.name) {
                lane.finished = Some(finished);
                lane.took = elapsed(started, finished);
                lane.cycles = self.cycles;
            }
        });
    }
}

impl Gathering {
    /// The answer of `source`, read once a cycle.
    pub(super) async fn answer(&self, source: &Source) -> Option<Answer> {
        match self.answers.get(source) {
            Some(answer) => Some(answer.clone().await),
            None => None,
        }
    }

    /// The group `name`, described once a cycle.
    pub(super) async fn group(&self, name: &str) -> Option<Result<Group, TargetError>> {
        self.groups.clone().await.get(name).cloned()
    }
}

/// How long a cycle waits for the journal, on the wall: a disk that hangs must not make the next decision late.
fn patience(interval: Duration) -> Duration {
    (interval / 4).min(MOST_PATIENCE)
}

/// The first moment after `now` that is a whole number of intervals after `due`: a late cycle is skipped, not made up.
fn next(due: Timestamp, interval: Duration, now: Timestamp) -> Timestamp {
    // A clock that was set back would make the next cycle wait until it is right again.
    let mut due = due.min(now).saturating_add(interval).unwrap_or(Timestamp::MAX);
    if due <= now {
        let late = elapsed(due, now).as_millis() / interval.as_millis().max(1);
        let skipped = u32::try_from(late + 1).unwrap_or(u32::MAX);
        due = due.saturating_add(interval.saturating_mul(skipped)).unwrap_or(Timestamp::MAX);
    }
    due
}

/// `due`, unless the machine slept or its clock was set, so that it is no longer about now.
fn punctual(due: Timestamp, interval: Duration, now: Timestamp) -> Timestamp {
    if elapsed(due, now) < interval && elapsed(now, due) < interval { due } else { now }
}

/// Looks at the start, and now and then, for what else would scale the groups; after a failure again a minute later.
/// Says when it has looked for the `first` time.
async fn inspect(target: Arc<AutoScaling>, names: Vec<Arc<str>>, clock: Clock, first: oneshot::Sender<()>) {
    let mut first = Some(first);
    loop {
        let found = target.preflight(&names, clock.now()).await;
        // Whoever waited may have gone on.
        let _ = first.take().map(|first| first.send(()));
        found.iter().for_each(log_inspection);
        let pause = if found.values().any(Result::is_err) { Duration::from_mins(1) } else { INSPECTION };
        clock.sleep_until(clock.now().saturating_add(pause).unwrap_or(Timestamp::MAX)).await;
    }
}

fn log_inspection((group, result): (&Arc<str>, &Result<Rivals, TargetError>)) {
    match result {
        Ok(Rivals::None) => tracing::debug!(event = "inspected", %group, "nothing else scales the group"),
        Ok(rivals) => tracing::warn!(event = "contested", %group, %rivals, "something else scales the group"),
        Err(error) => {
            let error = crate::telemetry::chain(error);
            tracing::warn!(event = "inspection-failed", %group, error, "can't tell what else scales the group");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_cycle_is_skipped_and_the_rhythm_is_kept() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let interval = Duration::from_secs(15);
        assert_eq!(next(at(0), interval, at(1)), at(15));
        assert_eq!(next(at(0), interval, at(15)), at(30));
        assert_eq!(next(at(0), interval, at(44)), at(45));
        assert_eq!(next(at(0), interval, at(45)), at(60));
    }
}
