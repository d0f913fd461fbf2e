//! The whole daemon against the world, with a proxy before each of its faces, in virtual time: on one thread whose clock
//! stands while anything is ready, so that a day passes in seconds and the same twice gives the same twice.
#![allow(dead_code, reason = "each test crate uses its own part")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_credential_types::Credentials;
use jiff::Timestamp;
use setpoint::clock::Clock;
use setpoint::config;
use setpoint::control::{Decision, Evaluation, Outcome};
use setpoint::daemon::{Command, Daemon};
use setpoint::journal::{Health, Journal, Recalled};
use setpoint::policy::{Capacity, Policy};
use setpoint::simulation::{GroupSettings, World, WorldServer};
use setpoint::status::{Board, PolicyStatus, Snapshot};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::checker::{Case, Checker};
use crate::disk::MemoryDisk;
use crate::proxy::Proxy;

/// The world is this old when the daemon starts, so that every query finds a past.
const PAST: Duration = Duration::from_mins(2);

/// After this long everything that is known has been written down again.
const WRITTEN: Duration = Duration::from_secs(90);

/// One evaluation, as it was published.
#[derive(Clone, Debug)]
pub struct Step {
    /// When it was published, in true time since the start.
    pub at: Duration,
    pub policy: Arc<Policy>,
    pub evaluation: Evaluation,
    pub outcome: Outcome,
    /// How many evaluations its policy has had, since it is known.
    pub number: u64,
    /// How often the daemon had been started before.
    pub life: u32,
    /// The daemon had a memory of its policy when it was started.
    pub remembered: bool,
    /// The journal was failing when it was published.
    pub journal_failing: bool,
}

impl Step {
    pub fn sees(&self) -> bool {
        let observation = &self.evaluation.observation;
        observation.group.is_some()
            && observation.measurements.iter().all(setpoint::observation::Measurement::has_number)
    }

    /// A change of capacity that was made, or may have been.
    pub fn change(&self) -> Option<(u32, u32)> {
        match (self.evaluation.decision, self.outcome) {
            (Decision::Scale { from, to }, Outcome::Applied | Outcome::Unknown) => Some((from.get(), to.get())),
            _ => None,
        }
    }
}

type Policies = BTreeMap<Arc<str>, Arc<Policy>>;

#[derive(Default)]
struct Record {
    steps: Vec<Step>,
    policies: Policies,
    life: u32,
    /// What the daemon had a memory of when it was started.
    remembered: BTreeSet<Arc<str>>,
}

type Load = Arc<dyn Fn() -> Result<config::Config, config::Findings> + Send + Sync>;

/// A daemon, from its start to its end.
struct Running {
    commands: mpsc::Sender<Command>,
    daemon: JoinHandle<()>,
    recorder: JoinHandle<()>,
}

/// A daemon on a world, until it is stopped.
pub struct Trial {
    pub world: WorldServer,
    pub prometheus: Proxy,
    pub auto_scaling: Proxy,
    pub disk: MemoryDisk,
    pub board: Board,
    clock: Clock,
    started: Instant,
    ahead: &'static AtomicI64,
    record: Arc<Mutex<Record>>,
    text: Arc<Mutex<String>>,
    load: Load,
    /// When the disk was emptied last.
    wiped: Option<Duration>,
    running: Running,
}

pub fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().expect("a runtime")
}

/// A group at the start of a world, with room to grow.
pub fn group(name: &str, desired: u32, boot: Duration) -> GroupSettings {
    let (min, max, desired) = (Capacity::ZERO, Capacity::new(100), Capacity::new(desired));
    GroupSettings { name: name.into(), min, max, desired, boot }
}

/// When every world begins.
pub fn origin() -> Timestamp {
    "2026-03-02T09:00:00Z".parse().expect("a time")
}

/// A world with nothing in it, whose past the daemon finds.
pub fn world(seed: u64) -> World {
    World::new(seed, origin() - PAST)
}

impl Trial {
    pub async fn start(world: World, text: &str) -> Self {
        let ahead: &'static AtomicI64 = Box::leak(Box::default());
        let clock = Clock::accelerated(origin(), 1.0);
        let world = WorldServer::start(world, clock).await.expect("loopback");
        let prometheus = Proxy::start(&world.prometheus_url);
        let auto_scaling = Proxy::start(&world.auto_scaling_url);
        let clock = clock.ahead_by(ahead);
        let board = Board::new(Snapshot::new("trial".into(), clock.now()));
        let environment = [
            ("SETPOINT__PROMETHEUS__URL".to_owned(), prometheus.url.clone()),
            ("SETPOINT__AWS__ENDPOINT_URL".to_owned(), auto_scaling.url.clone()),
        ];
        let text = Arc::new(Mutex::new(text.to_owned()));
        let load: Load = {
            let text = Arc::clone(&text);
            Arc::new(move || config::parse("trial.toml", &text.lock().expect("no panic"), environment.clone()))
        };
        let config = load().unwrap_or_else(|findings| panic!("{findings}"));
        let record = Arc::new(Mutex::new(Record { policies: policies(&config), ..Record::default() }));
        let (disk, started) = (MemoryDisk::default(), Instant::now());
        let running = run(&disk, clock, &board, &load, &record, started).await;
        Self {
            world,
            prometheus,
            auto_scaling,
            disk,
            board,
            clock,
            started,
            ahead,
            record,
            text,
            load,
            wiped: None,
            running,
        }
    }

    /// Empties the disk.
    pub fn wipe(&mut self) {
        self.disk.wipe();
        self.wiped = Some(self.since_start());
    }

    /// Ends the daemon as a kill would, and starts it again at `at`.
    pub async fn restart(&mut self, at: Duration) {
        self.disk.detach();
        self.running.daemon.abort();
        self.running.recorder.abort();
        self.until(at).await;
        {
            let mut record = self.record.lock().expect("no panic");
            record.life += 1;
            // What the journal has missed is in the groups' activities and in Prometheus, but not without a journal.
            let kept = self.wiped.is_none_or(|wiped| wiped + WRITTEN < at);
            record.remembered = record.policies.keys().filter(|_| kept).cloned().collect();
        }
        self.board = Board::new(Snapshot::new("trial".into(), self.clock.now()));
        self.running = run(&self.disk, self.clock, &self.board, &self.load, &self.record, self.started).await;
        if !self.journal_writes() {
            self.record.lock().expect("no panic").remembered.clear();
        }
    }

    pub fn journal_writes(&self) -> bool {
        self.board.reader().borrow().journal.health == Health::Writable
    }

    /// What readiness says is wrong.
    pub fn unready(&self) -> Option<String> {
        self.board.reader().borrow().readiness(self.clock.now()).err()
    }

    /// Until this long after the start.
    pub async fn until(&self, since_start: Duration) {
        tokio::time::sleep_until(self.started + since_start).await;
    }

    pub fn since_start(&self) -> Duration {
        self.started.elapsed()
    }

    /// Sets the clock of the daemon wrong by these seconds.
    pub fn set_clock(&self, ahead: i64) {
        self.ahead.store(ahead * 1000, Ordering::Relaxed);
    }

    pub async fn reload(&self, text: &str) -> Result<(), String> {
        let before = std::mem::replace(&mut *self.text.lock().expect("no panic"), text.to_owned());
        let (answer, outcome) = oneshot::channel();
        self.running.commands.send(Command::Reload(answer)).await.expect("the daemon runs");
        let outcome = outcome.await.expect("an answer");
        if outcome.is_ok() {
            let config = config::parse("trial.toml", text, []).expect("it was loaded just now");
            self.record.lock().expect("no panic").policies = policies(&config);
        } else {
            // Nobody leaves a file behind with which the daemon would not start.
            *self.text.lock().expect("no panic") = before;
        }
        outcome
    }

    pub fn policy(&self, name: &str) -> PolicyStatus {
        PolicyStatus::clone(&self.board.reader().borrow().policies[name])
    }

    pub fn desired(&self, group: &str) -> Option<u32> {
        self.world.with(|world| world.fleet(group).map(|fleet| fleet.group.desired().get()))
    }

    pub fn steps(&self) -> Vec<Step> {
        self.record.lock().expect("no panic").steps.clone()
    }

    pub fn steps_of(&self, policy: &str) -> Vec<Step> {
        self.steps().into_iter().filter(|step| &*step.policy.name == policy).collect()
    }

    /// Ends the daemon and returns all that it did.
    pub async fn stop(self) -> Vec<Step> {
        self.end().await.0
    }

    /// Ends the daemon and returns all that it did, and of that what should be in its journal and is not.
    pub async fn end(self) -> (Vec<Step>, Vec<String>) {
        self.running.commands.send(Command::Stop).await.expect("the daemon runs");
        self.running.daemon.await.expect("the daemon ends by itself");
        self.running.recorder.abort();
        drop(self.running.recorder.await);
        let steps = std::mem::take(&mut self.record.lock().expect("no panic").steps);
        let silent = unrecorded(&steps, &recall(&self.disk).await, self.wiped);
        (steps, silent)
    }
}

fn policies(config: &config::Config) -> Policies {
    config.policies.iter().map(|policy| (policy.name.clone(), Arc::new(policy.clone()))).collect()
}

async fn run(
    disk: &MemoryDisk,
    clock: Clock,
    board: &Board,
    load: &Load,
    record: &Arc<Mutex<Record>>,
    started: Instant,
) -> Running {
    let config = load().unwrap_or_else(|findings| panic!("{findings}"));
    let credentials = Credentials::from_keys("trial", "trial", None);
    let journal = Journal::start_on(Arc::new(disk.clone()), clock);
    let starting = Box::pin(Daemon::start_with(config, clock, board.clone(), Some(credentials), journal));
    let daemon = starting.await.expect("a daemon");
    let (commands, received) = mpsc::channel(4);
    let recorder = tokio::spawn(record_all(board.clone(), Arc::clone(record), started));
    let load = Arc::clone(load);
    let daemon = tokio::spawn(daemon.run(received, Box::new(move || load())));
    Running { commands, daemon, recorder }
}

/// What a daemon would recall that started on this disk now.
async fn recall(disk: &MemoryDisk) -> Recalled {
    let clock = Clock::accelerated(origin() + Duration::from_hours(1), 1.0);
    let (_journal, mut openings) = Journal::start_on(Arc::new(disk.clone()), clock);
    openings.recv().await.expect("an attempt").expect("a journal that opens")
}

/// What was done while the journal could be written is in it.
fn unrecorded(steps: &[Step], recalled: &Recalled, wiped: Option<Duration>) -> Vec<String> {
    let known = |step: &&Step| {
        let actions = recalled.policies.get(&step.policy.name).map(|memory| &memory.actions[..]).unwrap_or_default();
        actions.iter().any(|action| {
            action.at == step.evaluation.at && step.change() == Some((action.from.get(), action.to.get()))
        })
    };
    let excused = |step: &&Step| {
        let wiped = wiped.is_some_and(|wiped| step.at <= wiped);
        // The oldest of a day are forgotten.
        let old = steps.last().is_some_and(|last| step.at + Duration::from_hours(20) < last.at);
        wiped || old || step.journal_failing || step.evaluation.observation.unrecorded
    };
    let silent = steps.iter().filter(|step| step.change().is_some() && !known(step) && !excused(step));
    silent.map(|step| format!("{} {:?} at {:?} is in no journal", step.policy.name, step.change(), step.at)).collect()
}

/// Writes down every evaluation as it is published.
async fn record_all(board: Board, record: Arc<Mutex<Record>>, started: Instant) {
    let mut reader = board.reader();
    let mut seen = BTreeMap::new();
    loop {
        let (published, journal_failing) = {
            let snapshot = reader.borrow_and_update();
            let failing = matches!(snapshot.journal.health, Health::Failing { .. });
            (snapshot.policies.values().cloned().collect::<Vec<_>>(), failing)
        };
        for status in published {
            let Some(evaluation) = status.evaluation.clone() else { continue };
            // A policy that was away for a while counts anew.
            let shown = (status.counters.evaluations, evaluation.at);
            if seen.insert(status.name.clone(), shown) == Some(shown) {
                continue;
            }
            let acted = status.last_action.as_ref().filter(|action| action.at == evaluation.at);
            let outcome = acted.map_or(Outcome::NoOp, |action| action.outcome);
            let mut record = record.lock().expect("no panic");
            let policy = Arc::clone(&record.policies[&status.name]);
            let number = status.counters.evaluations;
            let (life, remembered) = (record.life, record.remembered.contains(&status.name));
            let at = started.elapsed();
            record.steps.push(Step { at, policy, evaluation, outcome, number, life, remembered, journal_failing });
        }
        if reader.changed().await.is_err() {
            return;
        }
    }
}

/// What a checker that shares no code with the core has to say of every step.
pub fn check(steps: &[Step]) -> Vec<String> {
    let mut checkers: BTreeMap<Arc<str>, (u32, u64, Checker)> = BTreeMap::new();
    let mut broken = Vec::new();
    for step in steps {
        let Step { policy, evaluation, .. } = step;
        let (life, number, checker) = checkers.entry(policy.name.clone()).or_default();
        // A restart is no event, as long as the journal is there.
        let goes_on = std::mem::replace(life, step.life) != step.life && step.remembered;
        if step.number == 1 {
            if goes_on {
                checker.resume(evaluation.at);
            } else {
                checker.restart();
            }
        } else if step.number != *number + 1 {
            broken.push(format!("{} at {:?}: an evaluation was not seen", policy.name, step.at));
        }
        *number = step.number;
        let (seen, decision, now) = (&evaluation.observation, evaluation.decision, evaluation.at);
        if let Err(rule) = checker.check(Case { policy, seen, decision, now }) {
            broken.push(format!("{} at {:?}: {rule}: {evaluation:?}", policy.name, step.at));
        }
        // What no journal tells, the group's activities do, by a clock that the daemon's may be ahead of.
        let told = origin().saturating_add(step.at).expect("a moment");
        checker.settled(decision, step.outcome, if step.journal_failing { now.min(told) } else { now });
    }
    broken
}
