//! Starts the lanes of a configuration, replaces them on reload, and stops them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::keeping::{recall, watch_over};
use super::lane::{Lane, Surroundings, lane_name};
use super::seat::Seat;
use crate::clock::Clock;
use crate::config::{Config, Findings};
use crate::journal::{EVERY_POLICY, Entry, Event, Journal, Memory, OpenError, Openings, Reader, Recalled, Record};
use crate::metric::{SourceError, Sources};
use crate::notification::Notifier;
use crate::order::{Command, Order, Receipt, Refusal, Standing};
use crate::status::Board;
use crate::target::{AutoScaling, TargetError};

/// What a lane may take at shutdown or reload beyond the deadlines of its calls.
const MARGIN: Duration = Duration::from_secs(5);

/// How long an order, or the end, waits for the journal.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reads the configuration anew.
pub type Loader = Box<dyn Fn() -> Result<Config, Findings> + Send + Sync>;

/// Why a configuration that is valid in itself can't be put in force.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A metric source can't be set up.
    #[error("can't set up the metric sources")]
    Source(#[from] SourceError),
    /// Where the API listens, or who may ask, was changed.
    #[error("[http] can't change while Setpoint runs, expected the same or a restart")]
    Listen,
    /// The settings of the journal were changed.
    #[error("[state] can't change while Setpoint runs, expected the same or a restart")]
    State,
    /// Another daemon has the journal open, and so would scale the same groups.
    #[error("can't use the state directory")]
    Journal(#[source] OpenError),
    /// The Auto Scaling client can't be set up.
    #[error("can't set up the Auto Scaling client")]
    Target(#[from] TargetError),
}

/// A running daemon.
pub struct Daemon {
    clock: Clock,
    board: Board,
    /// Only the embedded world hands out credentials of its own.
    credentials: Option<Credentials>,
    config: Config,
    sources: Arc<Sources>,
    targets: Targets,
    lanes: Vec<Running>,
    orders: watch::Sender<Arc<Standing>>,
    journal: Journal,
    notifier: Notifier,
    openings: Openings,
    /// The orders that the journal has kept are in force.
    recalled: bool,
}

type Region = Option<Arc<str>>;
type Targets = HashMap<Region, Arc<AutoScaling>>;

struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<Vec<Seat>>,
}

impl Daemon {
    /// Starts the lanes of `config`.
    ///
    /// # Errors
    /// A file that the configuration names can't be used.
    pub async fn start(
        config: Config,
        clock: Clock,
        board: Board,
        credentials: Option<Credentials>,
    ) -> Result<Self, StartError> {
        let journal = Journal::start(&config.state, clock);
        Self::start_with(config, clock, board, credentials, journal).await
    }

    /// The same with a journal that is there already.
    ///
    /// # Errors
    /// A file that the configuration names can't be used.
    pub async fn start_with(
        config: Config,
        clock: Clock,
        board: Board,
        credentials: Option<Credentials>,
        (journal, mut openings): (Journal, Openings),
    ) -> Result<Self, StartError> {
        let sources = Arc::new(Sources::new(config.prometheus.as_ref())?);
        let targets = Box::pin(connect(&config, credentials.as_ref(), &HashMap::new())).await?;
        let orders = watch::Sender::new(Arc::new(Standing::default()));
        let recalled = recall(&journal, &mut openings).await?;
        let notifier = Notifier::start(&config.notifications, &board, clock);
        let lanes = Vec::new();
        let mut daemon = Self {
            clock,
            board,
            credentials,
            config,
            sources,
            targets,
            lanes,
            orders,
            journal,
            notifier,
            openings,
            recalled: false,
        };
        let journal = daemon.journal.status().borrow().clone();
        daemon.board.publish(|snapshot| snapshot.journal = journal);
        tokio::spawn(watch_over(daemon.journal.status(), daemon.board.clone()));
        let mut policies = HashMap::new();
        if let Some(recalled) = recalled {
            policies = recalled.policies;
            daemon.resume(recalled.orders).await;
        }
        daemon.start_lanes(HashMap::new(), policies);
        Ok(daemon)
    }

    /// Whoever wants to know what happened.
    pub fn history(&self) -> Reader {
        self.journal.reader()
    }

    /// Runs until it is told to stop, or nobody is left to tell it.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>, load: Loader) {
        let watchdog = tokio::spawn(super::watchdog::feed(self.board.reader(), self.clock));
        loop {
            let end = self.orders.borrow().next_end();
            let command = tokio::select! {
                command = commands.recv() => command,
                () = reached(end, self.clock) => {
                    self.expire().await;
                    continue;
                }
                Some(opened) = self.openings.recv() => {
                    // Failures are in its status.
                    if let Ok(Recalled { orders, .. }) = opened {
                        self.resume(orders).await;
                    }
                    continue;
                }
            };
            // Whoever asked may have gone; the outcome is on the board all the same.
            match command {
                Some(Command::Reload(answer)) => _ = answer.send(self.reload(&load).await),
                Some(Command::Order(order, answer)) => _ = answer.send(self.obey(order).await),
                Some(Command::Stop) | None => break,
            }
        }
        watchdog.abort();
        super::watchdog::stopping();
        tracing::info!(event = "stopping", "finishing the running cycles");
        let mut seats = self.stop_lanes().await;
        let now = self.clock.now();
        let states: Vec<Record> = seats.iter_mut().flat_map(|seat| seat.state_to_save(true, now)).collect();
        if !self.journal.is_off() {
            // What is lost by that is learned again.
            let _ = self.journal.record(states, PATIENCE).await;
            self.journal.close(PATIENCE).await;
        }
    }

    /// Puts orders into effect that the journal has kept from a time when they could not be read here yet. Those that
    /// were given since stay.
    async fn resume(&mut self, kept: Standing) {
        if !std::mem::replace(&mut self.recalled, true) {
            self.orders.send_modify(|standing| Arc::make_mut(standing).resume(kept));
            self.expire().await;
            self.show_orders();
        }
        // Orders may have been given while the journal could not be written.
        let standing = self.orders.borrow().clone();
        let _ = self.journal.record(vec![Record::Orders(Standing::clone(&standing))], PATIENCE).await;
    }

    /// Puts an order into effect: every lane that it concerns is woken.
    async fn obey(&mut self, order: Order) -> Result<Receipt, Refusal> {
        order.check()?;
        let concerned = match order.policy() {
            Some(name) => {
                let known = self.config.policies.iter().find(|policy| policy.name == *name);
                Some(known.ok_or_else(|| Refusal::UnknownPolicy(name.clone()))?)
            }
            None => None,
        };
        if let (Order::Override { bounds, .. }, Some(policy)) = (&order, concerned) {
            bounds.fits(policy)?;
        }
        let but = self.orders.borrow().objection(&order, concerned, self.clock.now());
        let (what, policy, author) = (order.label(), order.policy().map_or("*", |name| &**name), order.author());
        let (by, reason) = (&author.by, &author.reason);
        tracing::warn!(event = "ordered", order = what, policy, by, reason, "an operator has given an order");
        let policy = order.policy().cloned().unwrap_or_else(|| EVERY_POLICY.into());
        let entry = Entry { at: self.clock.now(), policy, event: Event::Order { given: order.clone() } };
        self.orders.send_modify(|standing| Arc::make_mut(standing).take(order));
        self.show_orders();
        let standing = Standing::clone(&self.orders.borrow());
        let kept = self.journal.record(vec![Record::Orders(standing), Record::Entry(entry)], PATIENCE).await;
        Ok(Receipt { but, not_kept_because: kept.err().map(|why| why.to_string()) })
    }

    async fn expire(&mut self) {
        let now = self.clock.now();
        if self.orders.send_if_modified(|standing| Arc::make_mut(standing).expire(now)) {
            tracing::warn!(event = "order-expired", "an operator's order has ended by itself");
            self.show_orders();
            let standing = Standing::clone(&self.orders.borrow());
            let _ = self.journal.record(vec![Record::Orders(standing)], PATIENCE).await;
        }
    }

    fn show_orders(&self) {
        let orders = self.orders.borrow().clone();
        self.board.publish(|snapshot| snapshot.orders = orders);
    }

    /// All or nothing: the new configuration is in force when this returns, or the old one still is.
    async fn reload(&mut self, load: &Loader) -> Result<(), String> {
        let outcome = match load() {
            Ok(config) => self.replace(config).await.map_err(|error| crate::telemetry::chain(&error)),
            Err(findings) => Err(findings.to_string()),
        };
        let now = self.clock.now();
        match &outcome {
            Ok(()) => {
                let policies = self.config.policies.len();
                tracing::info!(event = "reloaded", policies, "configuration reloaded");
            }
            Err(error) => {
                tracing::error!(
                    event = "reload-refused",
                    error,
                    "reload refused, the old configuration stays in force"
                );
            }
        }
        self.board.publish(|snapshot| match &outcome {
            Ok(()) => {
                snapshot.configuration.loaded = now;
                snapshot.configuration.reload_error = None;
            }
            Err(error) => {
                snapshot.configuration.reload_error = Some(error.clone());
                snapshot.configuration.reloads_refused += 1;
            }
        });
        outcome
    }

    async fn replace(&mut self, config: Config) -> Result<(), StartError> {
        if config.http != self.config.http {
            return Err(StartError::Listen);
        }
        if config.state != self.config.state {
            return Err(StartError::State);
        }
        // Sources and targets remember samples and instances, so the ones that still serve are kept.
        let sources = if config.prometheus == self.config.prometheus {
            self.sources.clone()
        } else {
            Arc::new(Sources::new(config.prometheus.as_ref())?)
        };
        let kept = if config.aws == self.config.aws { self.targets.clone() } else { HashMap::new() };
        let targets = connect(&config, self.credentials.as_ref(), &kept).await?;
        if config.notifications != self.config.notifications {
            self.notifier = Notifier::start(&config.notifications, &self.board, self.clock);
        }
        let mut seats = self.stop_lanes().await;
        if config.aws != self.config.aws {
            // Another account or region may have other groups of the same names.
            seats.clear();
        }
        (self.config, self.sources, self.targets) = (config, sources, targets);
        self.start_lanes(seats.into_iter().map(|seat| (seat.policy().name.clone(), seat)).collect(), HashMap::new());
        Ok(())
    }

    /// Seats that a policy had before keep their state, as long as they are for the same group.
    fn start_lanes(&mut self, mut before: HashMap<Arc<str>, Seat>, mut kept: HashMap<Arc<str>, Memory>) {
        let now = self.clock.now();
        let mut lanes: BTreeMap<Arc<str>, Lane> = BTreeMap::new();
        for policy in &self.config.policies {
            let region = region_of(&self.config, policy.region.as_ref());
            let target = self.targets[&policy.region].clone();
            let same = |seat: &Seat| seat.policy().asg == policy.asg && seat.policy().region == policy.region;
            let seat = match before.remove(&policy.name).filter(same) {
                Some(seat) => seat.with_policy(policy.clone()),
                None => Seat::new(policy.clone(), kept.remove(&policy.name), now),
            };
            let name = lane_name(region.as_deref(), policy.interval);
            let new = || Lane::new(name.clone(), region, policy.interval, self.sources.clone(), target);
            lanes.entry(name.clone()).or_insert_with(new).seats.push(seat);
        }
        self.board.publish(|snapshot| {
            let seats = lanes.values().flat_map(|lane| &lane.seats);
            snapshot.policies = seats.map(|seat| (seat.policy().name.clone(), seat.status())).collect();
            snapshot.lanes = lanes.values().map(|lane| (lane.name.clone(), lane.status(now))).collect();
        });
        self.lanes = lanes.into_values().map(|lane| self.spawn(lane)).collect();
    }

    fn spawn(&self, lane: Lane) -> Running {
        let (stop, stopped) = watch::channel(false);
        let around = Surroundings {
            clock: self.clock,
            board: self.board.clone(),
            orders: self.orders.subscribe(),
            journal: self.journal.clone(),
            stop: stopped,
        };
        let task = tokio::spawn(lane.run(around));
        Running { stop, task }
    }

    async fn stop_lanes(&mut self) -> Vec<Seat> {
        for lane in &self.lanes {
            lane.stop.send_replace(true);
        }
        // Reads, or a description; a last look; the call itself.
        let reads = self.config.prometheus.as_ref().map_or(Duration::ZERO, |prometheus| prometheus.timeout);
        let longest = reads.max(self.config.aws.timeout) + self.config.aws.timeout * 3 + MARGIN;
        let mut seats = Vec::new();
        for mut lane in self.lanes.drain(..) {
            match tokio::time::timeout(longest, &mut lane.task).await {
                Ok(Ok(back)) => seats.extend(back),
                Ok(Err(error)) => tracing::error!(event = "lane-lost", %error, "a lane ended by itself"),
                Err(_) => lane.task.abort(),
            }
        }
        seats
    }
}

/// Waits until `end`, or for ever where there is none.
async fn reached(end: Option<Timestamp>, clock: Clock) {
    match end {
        Some(end) => clock.sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// One client for each region that a policy names, reusing those of `kept`.
async fn connect(config: &Config, credentials: Option<&Credentials>, kept: &Targets) -> Result<Targets, TargetError> {
    let mut targets = Targets::new();
    for policy in &config.policies {
        if targets.contains_key(&policy.region) {
            continue;
        }
        let target = match kept.get(&policy.region) {
            Some(target) => target.clone(),
            None => Arc::new(AutoScaling::connect(&config.aws, policy.region.as_deref(), credentials.cloned()).await?),
        };
        targets.insert(policy.region.clone(), target);
    }
    Ok(targets)
}

fn region_of(config: &Config, policy: Option<&Arc<str>>) -> Region {
    policy.cloned().or_else(|| config.aws.region.as_deref().map(Arc::from))
}
