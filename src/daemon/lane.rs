//! A lane: the policies that share a Prometheus, an AWS account and region, and an interval.
//!
//! One cycle reads every distinct source once and describes all groups in batches; each policy decides and acts as soon
//! as its own inputs are there, so a slow source holds up nobody else.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use jiff::Timestamp;
use tokio::sync::{oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::inspection::inspect;
use super::seat::Seat;
use crate::clock::Clock;
use crate::journal::{Journal, Record};
use crate::metric::{Answer, Sources};
use crate::observation::{Group, elapsed};
use crate::order::Standing;
use crate::policy::{Policy, Source};
use crate::status::{Board, LaneStatus};
use crate::target::{AutoScaling, Survey, TargetError};

/// The longest that anybody waits for the journal.
const MOST_PATIENCE: Duration = Duration::from_secs(2);

/// Intervals that a turn takes at most: a description or the reads, two last looks, and the call, each of which has a
/// deadline below the interval; and one to spare.
const LONGEST_TURN: u32 = 5;

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
    survey: Shared<BoxFuture<'static, Arc<Survey>>>,
    /// When the cycle was due or ordered, which is what every part of it takes for now: the rhythm is exact, the wake-ups
    /// are not.
    pub at: Timestamp,
    pub sources: Arc<Sources>,
    pub target: Arc<AutoScaling>,
    /// What operators have ordered, as it stands at any moment of the cycle.
    pub orders: Orders,
    pub journal: Journal,
    /// How long an intent may take to be written.
    pub patience: Duration,
}

/// What operators have ordered.
pub(super) type Orders = watch::Receiver<Arc<Standing>>;

/// What a lane runs in.
pub(super) struct Surroundings {
    pub clock: Clock,
    pub board: Board,
    pub orders: Orders,
    pub journal: Journal,
    pub stop: watch::Receiver<bool>,
}

/// What comes after a cycle.
enum Next {
    /// The next one, in its rhythm.
    Due,
    /// One more at once, since something was ordered.
    Ordered,
    Stop,
}

/// The turns that are under way.
#[derive(Default)]
struct Turns {
    running: JoinSet<Seat>,
    away: HashMap<Id, Away>,
}

/// Whose turn it is, and since when.
struct Away {
    policy: Arc<Policy>,
    /// Faults of ours in a row before this turn.
    faults: u32,
    begun: Timestamp,
}

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
    pub(super) async fn run(mut self, mut around: Surroundings) -> Vec<Seat> {
        let clock = around.clock;
        let (first, inspected) = oneshot::channel();
        let mut inspection = JoinSet::new();
        inspection.spawn(inspect(self.target.clone(), self.names(), clock, first));
        // Until it is known what else scales the groups they are only observed, so the first cycle waits for that, but
        // not for longer than an interval.
        let limit = tokio::time::sleep(clock.on_the_wall(self.interval));
        let stopped = tokio::select! {
            _ = inspected => false,
            () = limit => false,
            _ = around.stop.wait_for(|stop| *stop) => true,
        };
        if stopped {
            return self.seats;
        }
        let (mut due, mut turns) = (clock.now(), Turns::default());
        let mut at = due;
        loop {
            // An order does not wait for the rhythm, and does not disturb it.
            match self.cycle(at, due, &mut turns, &mut around).await {
                Next::Due => due = punctual(next(due, self.interval, due), self.interval, clock.now()),
                Next::Ordered => {
                    at = clock.now();
                    continue;
                }
                Next::Stop => break,
            }
            at = due;
        }
        while let Some(ended) = turns.running.join_next_with_id().await {
            self.take_back(ended, &mut turns, &around.board);
        }
        // The states follow when every lane has stopped.
        let news = self.seats.iter_mut().flat_map(Seat::take_news).collect();
        let _ = around.journal.record(news, self.patience(clock)).await;
        self.seats
    }

    fn names(&self) -> Vec<Arc<str>> {
        self.seats.iter().map(|seat| seat.policy().asg.clone()).collect()
    }

    /// Gives every policy that is there its turn, and takes the seats back until the next cycle is due. A turn that takes
    /// longer goes on, and only its own policy misses a cycle.
    async fn cycle(&mut self, at: Timestamp, due: Timestamp, turns: &mut Turns, around: &mut Surroundings) -> Next {
        let clock = around.clock;
        let started = clock.now();
        self.begin(at, turns, around);
        // Where all of them rest, this was it: what fails in a lane must not make the daemon seem to hang.
        let mut finished = turns.away.is_empty();
        if finished {
            self.finish([at, started], &around.journal, &around.board, clock);
        }
        let mut pause = pin!(clock.sleep_until(next(due, self.interval, started)));
        loop {
            tokio::select! {
                biased;
                Some(ended) = turns.running.join_next_with_id() => {
                    self.take_back(ended, turns, &around.board);
                    if !finished && turns.done(at, self.interval) {
                        finished = true;
                        self.finish([at, started], &around.journal, &around.board, clock);
                    }
                }
                () = &mut pause => return Next::Due,
                () = self.news(&mut around.orders, clock) => return Next::Ordered,
                // An error means that the daemon itself is gone.
                _ = around.stop.wait_for(|stop| *stop) => return Next::Stop,
            }
        }
    }

    fn finish(&mut self, [at, started]: [Timestamp; 2], journal: &Journal, board: &Board, clock: Clock) {
        self.cycles += 1;
        self.write_down(at, journal, clock);
        self.publish(started, clock.now(), board);
    }

    /// Waits until something else is ordered of a policy that is here than what it has heeded.
    async fn news(&self, orders: &mut Orders, clock: Clock) {
        let behind = |standing: &Arc<Standing>| self.seats.iter().any(|seat| seat.is_behind(standing, clock.now()));
        if orders.wait_for(behind).await.is_err() {
            // Nobody is left to order anything.
            std::future::pending::<()>().await;
        }
    }

    /// What has come of the cycle goes to the journal together; nobody waits for it.
    fn write_down(&mut self, at: Timestamp, journal: &Journal, clock: Clock) {
        let mut records: Vec<Record> = self.seats.iter_mut().flat_map(Seat::take_news).collect();
        if journal.is_off() {
            return;
        }
        records.extend(self.seats.iter_mut().flat_map(|seat| seat.state_to_save(false, at)));
        if !records.is_empty() {
            // What is wrong with the journal is logged by whoever watches it.
            tokio::spawn(journal.record(records, self.patience(clock)));
        }
    }

    /// How long anybody waits for the journal, on the wall: a disk that hangs must not make the next decision late.
    fn patience(&self, clock: Clock) -> Duration {
        (clock.on_the_wall(self.interval) / 4).min(MOST_PATIENCE)
    }

    fn begin(&mut self, at: Timestamp, turns: &mut Turns, around: &Surroundings) {
        let (ready, resting) = self.seats.drain(..).partition(Seat::is_ready);
        self.seats = ready;
        // It ends with the last of its children.
        let span = tracing::info_span!(parent: None, "cycle", lane = %self.name, policies = self.seats.len());
        let gathering = self.gather(at, around, &span);
        let ready = std::mem::replace(&mut self.seats, resting);
        self.seats.iter_mut().for_each(Seat::rest);
        for seat in ready {
            let away = Away { policy: seat.policy().clone(), faults: seat.faults(), begun: at };
            let turn = tracing::info_span!(parent: &span, "policy", policy = %away.policy.name, because = Empty);
            let turn = turns.running.spawn(seat.turn(gathering.clone(), around.board.clone()).instrument(turn));
            turns.away.insert(turn.id(), away);
        }
    }

    fn take_back(&mut self, ended: Result<(Id, Seat), JoinError>, turns: &mut Turns, board: &Board) {
        match ended {
            Ok((id, seat)) => {
                turns.away.remove(&id);
                self.seats.push(seat);
            }
            // A fault of ours in one policy must not end the others. Without its state it starts as after a restart,
            // which bars scale-in until a full window has been seen.
            Err(error) => {
                let Some(Away { policy, faults, .. }) = turns.away.remove(&error.id()) else { return };
                tracing::error!(event = "evaluation-failed", policy = %policy.name, %error, "the evaluation failed");
                self.seats.push(Seat::after_a_fault(policy, faults + 1, board));
            }
        }
    }

    fn gather(&self, now: Timestamp, around: &Surroundings, span: &Span) -> Gathering {
        let distinct: HashSet<&Source> = self.seats.iter().flat_map(|seat| seat.policy().sources()).collect();
        let read = |source: &Source| {
            let (sources, source) = (self.sources.clone(), source.clone());
            let span = tracing::info_span!(parent: span, "query", source = label(&source));
            async move { sources.read(&source, now).await }.instrument(span).boxed().shared()
        };
        let answers = distinct.into_iter().map(|source| (source.clone(), read(source))).collect();
        let (target, names) = (self.target.clone(), self.names());
        let describe = tracing::info_span!(parent: span, "describe", groups = names.len());
        let survey = async move { Arc::new(target.survey(&names).await) }.instrument(describe).boxed().shared();
        Gathering {
            answers: Arc::new(answers),
            survey,
            at: now,
            sources: self.sources.clone(),
            target: self.target.clone(),
            orders: around.orders.clone(),
            journal: around.journal.clone(),
            patience: self.patience(around.clock),
        }
    }

    fn publish(&self, started: Timestamp, finished: Timestamp, board: &Board) {
        board.publish(|snapshot| {
            if let Some(lane) = snapshot.lanes.get_mut(&self.name) {
                lane.finished = Some(finished);
                lane.took = elapsed(started, finished);
                lane.cycles = self.cycles;
            }
            snapshot.answers = self.sources.answers();
            let region = self.region.clone().unwrap_or_else(|| "default".into());
            snapshot.calls.insert(region, self.target.calls());
        });
    }
}

impl Turns {
    /// The turns that began at `due` have ended, and none hangs.
    fn done(&self, due: Timestamp, interval: Duration) -> bool {
        let open = |away: &Away| away.begun == due || elapsed(away.begun, due) > interval * LONGEST_TURN;
        !self.away.values().any(open)
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

    /// The group `name`, described once a cycle with all the others.
    pub(super) async fn group(&self, name: &Arc<str>) -> Result<Group, TargetError> {
        let survey = self.survey.clone().await;
        self.target.complete(&survey, name, self.at).await
    }
}

/// What a trace calls it.
fn label(source: &Source) -> &str {
    match source {
        Source::Prometheus { query, .. } => query,
        Source::Exposition(scrape) => &scrape.selector,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Snapshot;

    #[test]
    fn a_late_cycle_is_skipped_and_the_rhythm_is_kept() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let interval = Duration::from_secs(15);
        assert_eq!(next(at(0), interval, at(1)), at(15));
        assert_eq!(next(at(0), interval, at(15)), at(30));
        assert_eq!(next(at(0), interval, at(44)), at(45));
        assert_eq!(next(at(0), interval, at(45)), at(60));
    }

    /// An answer to every call: two groups.
    const GROUPS: &str = "<DescribeAutoScalingGroupsResponse><DescribeAutoScalingGroupsResult><AutoScalingGroups>\
        <member><AutoScalingGroupName>sick</AutoScalingGroupName><MinSize>1</MinSize><MaxSize>9</MaxSize>\
        <DesiredCapacity>2</DesiredCapacity></member>\
        <member><AutoScalingGroupName>well</AutoScalingGroupName><MinSize>1</MinSize><MaxSize>9</MaxSize>\
        <DesiredCapacity>2</DesiredCapacity></member>\
        </AutoScalingGroups></DescribeAutoScalingGroupsResult></DescribeAutoScalingGroupsResponse>";

    async fn lane() -> Lane {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, axum::Router::new().fallback(async || GROUPS)).into_future());
        let policy = |name| {
            format!(
                "[[policy]]\nname = \"{name}\"\nasg = \"{name}\"\nmin = 1\nmax = 9\n[[policy.metric]]\nname = \"cpu\"\n\
                 kind = \"utilization\"\nquery = \"cpu\"\ntarget = 0.5\n"
            )
        };
        let text = format!("[prometheus]\nurl = \"{url}\"\n[aws]\nregion = \"us-east-1\"\nendpoint_url = \"{url}\"\n");
        let config = crate::config::parse("test.toml", &(text + &policy("sick") + &policy("well")), []).unwrap();
        let sources = Arc::new(Sources::new(config.prometheus.as_ref()).unwrap());
        let credentials = aws_credential_types::Credentials::from_keys("test", "test", None);
        let target = Arc::new(AutoScaling::connect(&config.aws, None, Some(credentials)).await.unwrap());
        let mut lane = Lane::new("lane".into(), None, Duration::from_secs(15), sources, target);
        lane.seats = config.policies.into_iter().map(|policy| Seat::new(policy, None, Timestamp::UNIX_EPOCH)).collect();
        lane
    }

    /// Runs it for forty cycles with the first policy sick; shows what it has published.
    async fn forty_cycles(mut lane: Lane) -> Snapshot {
        let mut policy = Policy::clone(lane.seats[0].policy());
        policy.interval = Duration::MAX; // More than the core can reckon with, and than the configuration allows.
        lane.seats[0] = Seat::new(policy, None, Timestamp::UNIX_EPOCH);
        let clock = Clock::accelerated(Timestamp::UNIX_EPOCH, 1.0);
        let board = Board::new(Snapshot::new("test".into(), clock.now()));
        board.publish(|snapshot| {
            snapshot.policies = lane.seats.iter().map(|seat| (seat.policy().name.clone(), seat.status())).collect();
            snapshot.lanes = [(lane.name.clone(), lane.status(clock.now()))].into();
        });
        let (stop, stopped) = watch::channel(false);
        let journal = Journal::start(&crate::journal::Settings::default(), clock).0;
        let (_standing, orders) = watch::channel(Arc::default());
        let around = Surroundings { clock, board: board.clone(), orders, journal, stop: stopped };
        let seats = lane.seats.len();
        let running = tokio::spawn(lane.run(around));
        tokio::time::sleep(Duration::from_secs(40 * 15 + 7)).await;
        stop.send_replace(true);
        assert_eq!(running.await.unwrap().len(), seats);
        board.reader().borrow().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn a_policy_whose_evaluation_fails_is_shown_so_tried_ever_less_often_and_disturbs_no_other() {
        let shown = forty_cycles(lane().await).await.policies;
        assert_eq!((shown["well"].counters.evaluations, shown["well"].counters.failures), (41, 0));
        // In the cycles 0, 1, 3, 7, 15 and 31.
        assert_eq!((shown["sick"].counters.evaluations, shown["sick"].counters.failures), (0, 6));
        assert!(shown["sick"].because.as_ref().unwrap().contains("fault of Setpoint's own"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_in_which_everybody_rests_is_alive() {
        let mut lane = lane().await;
        lane.seats.truncate(1);
        let shown = forty_cycles(lane).await;
        assert_eq!((shown.lanes["lane"].cycles, shown.policies["sick"].counters.failures), (41, 6));
    }
}
