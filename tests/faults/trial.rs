//! The whole daemon against the world, with a proxy before each of its faces, in virtual time: on one thread whose clock
//! stands while anything is ready, so that a day passes in seconds and the same twice gives the same twice.
#![allow(dead_code, reason = "each test crate uses its own part")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_credential_types::Credentials;
use jiff::Timestamp;
use setpoint::clock::Clock;
use setpoint::config;
use setpoint::control::{Decision, Evaluation, Outcome};
use setpoint::daemon::{Command, Daemon};
use setpoint::policy::{Capacity, Policy};
use setpoint::simulation::{GroupSettings, World, WorldServer};
use setpoint::status::{Board, PolicyStatus, Snapshot};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::checker::{Case, Checker};
use crate::proxy::Proxy;

/// The world is this old when the daemon starts, so that every query finds a past.
const PAST: Duration = Duration::from_mins(2);

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
}

/// A daemon on a world, until it is stopped.
pub struct Trial {
    pub world: WorldServer,
    pub prometheus: Proxy,
    pub auto_scaling: Proxy,
    pub board: Board,
    started: Instant,
    ahead: &'static AtomicI64,
    record: Arc<Mutex<Record>>,
    text: Arc<Mutex<String>>,
    commands: mpsc::Sender<Command>,
    daemon: JoinHandle<()>,
    recorder: JoinHandle<()>,
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
        let prometheus = Proxy::start(&world.prometheus_url).await;
        let auto_scaling = Proxy::start(&world.auto_scaling_url).await;
        let clock = clock.ahead_by(ahead);
        let board = Board::new(Snapshot::new("trial".into(), clock.now()));
        let environment = [
            ("SETPOINT__PROMETHEUS__URL".to_owned(), prometheus.url.clone()),
            ("SETPOINT__AWS__ENDPOINT_URL".to_owned(), auto_scaling.url.clone()),
        ];
        let text = Arc::new(Mutex::new(text.to_owned()));
        let load = {
            let text = Arc::clone(&text);
            move || config::parse("trial.toml", &text.lock().expect("no panic"), environment.clone())
        };
        let config = load().unwrap_or_else(|findings| panic!("{findings}"));
        let record = Arc::new(Mutex::new(Record { policies: policies(&config), steps: Vec::new() }));
        let credentials = Credentials::from_keys("trial", "trial", None);
        let daemon = Daemon::start(config, clock, board.clone(), Some(credentials)).await.expect("a daemon");
        let (commands, received) = mpsc::channel(4);
        let started = Instant::now();
        let recorder = tokio::spawn(record_all(board.clone(), Arc::clone(&record), started));
        let daemon = tokio::spawn(daemon.run(received, Box::new(load)));
        Self { world, prometheus, auto_scaling, board, started, ahead, record, text, commands, daemon, recorder }
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
        text.clone_into(&mut *self.text.lock().expect("no panic"));
        let (answer, outcome) = oneshot::channel();
        self.commands.send(Command::Reload(answer)).await.expect("the daemon runs");
        let outcome = outcome.await.expect("an answer");
        if outcome.is_ok() {
            let config = config::parse("trial.toml", text, []).expect("it was loaded just now");
            self.record.lock().expect("no panic").policies = policies(&config);
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
        self.commands.send(Command::Stop).await.expect("the daemon runs");
        self.daemon.await.expect("the daemon ends by itself");
        self.recorder.abort();
        drop(self.recorder.await);
        let mut record = self.record.lock().expect("no panic");
        std::mem::take(&mut record.steps)
    }
}

fn policies(config: &config::Config) -> Policies {
    config.policies.iter().map(|policy| (policy.name.clone(), Arc::new(policy.clone()))).collect()
}

/// Writes down every evaluation as it is published.
async fn record_all(board: Board, record: Arc<Mutex<Record>>, started: Instant) {
    let mut reader = board.reader();
    let mut seen: BTreeMap<Arc<str>, u64> = BTreeMap::new();
    loop {
        let published: Vec<_> = reader.borrow_and_update().policies.values().cloned().collect();
        for status in published {
            let Some(evaluation) = status.evaluation.clone() else { continue };
            let before = seen.insert(status.name.clone(), status.counters.evaluations);
            if before == Some(status.counters.evaluations) {
                continue;
            }
            let acted = status.last_action.as_ref().filter(|action| action.at == evaluation.at);
            let outcome = acted.map_or(Outcome::NoOp, |action| action.outcome);
            let mut record = record.lock().expect("no panic");
            let policy = Arc::clone(&record.policies[&status.name]);
            let number = status.counters.evaluations;
            record.steps.push(Step { at: started.elapsed(), policy, evaluation, outcome, number });
        }
        if reader.changed().await.is_err() {
            return;
        }
    }
}

/// What a checker that shares no code with the core has to say of every step.
pub fn check(steps: &[Step]) -> Vec<String> {
    let mut checkers: BTreeMap<Arc<str>, (u64, Checker)> = BTreeMap::new();
    let mut broken = Vec::new();
    for step in steps {
        let Step { policy, evaluation, .. } = step;
        let (number, checker) = checkers.entry(policy.name.clone()).or_default();
        if step.number == 1 {
            checker.restart();
        } else if step.number != *number + 1 {
            broken.push(format!("{} at {:?}: an evaluation was not seen", policy.name, step.at));
        }
        *number = step.number;
        let (seen, decision, now) = (&evaluation.observation, evaluation.decision, evaluation.at);
        if let Err(rule) = checker.check(Case { policy, seen, decision, now }) {
            broken.push(format!("{} at {:?}: {rule}: {evaluation:?}", policy.name, step.at));
        }
        checker.settled(decision, step.outcome, now);
    }
    broken
}
