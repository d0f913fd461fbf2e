//! Starts the lanes of a configuration, replaces them on reload, and stops them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::lane::{Lane, Orders, lane_name};
use super::seat::Seat;
use crate::clock::Clock;
use crate::config::{Config, Findings};
use crate::metric::{SourceError, Sources};
use crate::order::{Command, Order, Receipt, Refusal, Standing};
use crate::status::Board;
use crate::target::{AutoScaling, TargetError};

/// What a lane may take at shutdown or reload beyond the deadlines of its calls.
const MARGIN: Duration = Duration::from_secs(5);

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
        let sources = Arc::new(Sources::new(config.prometheus.as_ref())?);
        let targets = connect(&config, credentials.as_ref(), &HashMap::new()).await?;
        let orders = watch::Sender::new(Arc::new(Standing::default()));
        let mut daemon = Self { clock, board, credentials, config, sources, targets, lanes: Vec::new(), orders };
        daemon.start_lanes(HashMap::new());
        Ok(daemon)
    }

    /// Runs until it is told to stop, or nobody is left to tell it.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>, load: Loader) {
        let watchdog = tokio::spawn(super::watchdog::feed(self.board.reader(), self.clock));
        loop {
            let command = tokio::select! {
                command = commands.recv() => command,
                () = self.next_end() => {
                    self.expire();
                    continue;
                }
            };
            // Whoever asked may have gone; the outcome is on the board all the same.
            match command {
                Some(Command::Reload(answer)) => _ = answer.send(self.reload(&load).await),
                Some(Command::Order(order, answer)) => _ = answer.send(self.obey(order)),
                Some(Command::Stop) | None => break,
            }
        }
        watchdog.abort();
        super::watchdog::stopping();
        tracing::info!(event = "stopping", "finishing the running cycles");
        self.stop_lanes().await;
    }

    /// Puts an order into effect: every lane that it concerns is woken.
    fn obey(&mut self, order: Order) -> Result<Receipt, Refusal> {
        order.check()?;
        let known = |name: &&Arc<str>| self.config.policies.iter().any(|policy| policy.name == **name);
        if let Some(name) = order.policy().filter(|name| !known(name)) {
            return Err(Refusal::UnknownPolicy(name.clone()));
        }
        let (what, policy, author) = (order.label(), order.policy().map_or("*", |name| &**name), order.author());
        let (by, reason) = (&author.by, &author.reason);
        tracing::warn!(event = "ordered", order = what, policy, by, reason, "an operator has given an order");
        self.orders.send_modify(|standing| Arc::make_mut(standing).take(order));
        self.show_orders();
        Ok(Receipt { not_kept_because: Some("this daemon keeps no journal".into()) })
    }

    /// Waits until the first standing order ends by itself.
    async fn next_end(&self) {
        let end = self.orders.borrow().next_end();
        match end {
            Some(end) => self.clock.sleep_until(end).await,
            None => std::future::pending().await,
        }
    }

    fn expire(&mut self) {
        let now = self.clock.now();
        if self.orders.send_if_modified(|standing| Arc::make_mut(standing).expire(now)) {
            tracing::warn!(event = "order-expired", "an operator's order has ended by itself");
            self.show_orders();
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
        // Sources and targets remember samples and instances, so the ones that still serve are kept.
        let sources = if config.prometheus == self.config.prometheus {
            self.sources.clone()
        } else {
            Arc::new(Sources::new(config.prometheus.as_ref())?)
        };
        let kept = if config.aws == self.config.aws { self.targets.clone() } else { HashMap::new() };
        let targets = connect(&config, self.credentials.as_ref(), &kept).await?;
        let mut seats = self.stop_lanes().await;
        if config.aws != self.config.aws {
            // Another account or region may have other groups of the same names.
            seats.clear();
        }
        (self.config, self.sources, self.targets) = (config, sources, targets);
        self.start_lanes(seats.into_iter().map(|seat| (seat.policy().name.clone(), seat)).collect());
        Ok(())
    }

    /// Seats that a policy had before keep their state, as long as they are for the same group.
    fn start_lanes(&mut self, mut before: HashMap<Arc<str>, Seat>) {
        let now = self.clock.now();
        let mut lanes: BTreeMap<Arc<str>, Lane> = BTreeMap::new();
        for policy in &self.config.policies {
            let region = region_of(&self.config, policy.region.as_ref());
            let target = self.targets[&policy.region].clone();
            let same = |seat: &Seat| seat.policy().asg == policy.asg && seat.policy().region == policy.region;
            let seat = match before.remove(&policy.name).filter(same) {
                Some(seat) => seat.with_policy(policy.clone()),
                None => Seat::new(policy.clone()),
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
        let orders: Orders = self.orders.subscribe();
        let task = tokio::spawn(lane.run(self.clock, self.board.clone(), orders, stopped));
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
