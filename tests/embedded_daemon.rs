//! The whole daemon against the embedded world, over the real protocols.

use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use setpoint::clock::Clock;
use setpoint::config;
use setpoint::daemon::{Command, Daemon};
use setpoint::observation::elapsed;
use setpoint::policy::Capacity;
use setpoint::simulation::{Fault, GroupSettings, LaunchFault, Phase, PrometheusFault, Workload, World, WorldServer};
use setpoint::status::{Board, PolicyStatus, Snapshot};
use tokio::sync::{mpsc, oneshot};

const DEMO: &str = include_str!("../config/demo.toml");

/// A daemon on a world, until it is dropped or stopped.
struct Trial {
    world: WorldServer,
    board: Board,
    commands: mpsc::Sender<Command>,
    daemon: tokio::task::JoinHandle<()>,
}

impl Trial {
    async fn start(world: World, clock: Clock, text: &str) -> Self {
        Self::start_after(Duration::ZERO, world, clock, text).await
    }

    /// The daemon starts `pause` after the world, so that its cycles lie that much after the world's scrapes.
    async fn start_after(pause: Duration, world: World, clock: Clock, text: &str) -> Self {
        let world = WorldServer::start(world, clock).await.expect("loopback");
        tokio::time::sleep(pause).await;
        let board = Board::new(Snapshot::new("trial".into(), clock.now()));
        let environment = [
            ("SETPOINT__PROMETHEUS__URL".to_owned(), world.prometheus_url.clone()),
            ("SETPOINT__AWS__ENDPOINT_URL".to_owned(), world.auto_scaling_url.clone()),
        ];
        let text = text.to_owned();
        let load = move || config::parse("trial.toml", &text, environment.clone());
        let credentials = Credentials::from_keys("trial", "trial", None);
        let config = load().expect("a valid configuration");
        let daemon = Box::pin(Daemon::start(config, clock, board.clone(), Some(credentials))).await.expect("a daemon");
        let (commands, received) = mpsc::channel(4);
        let daemon = tokio::spawn(daemon.run(received, Box::new(load)));
        Self { world, board, commands, daemon }
    }

    fn policy(&self, name: &str) -> PolicyStatus {
        PolicyStatus::clone(&self.board.reader().borrow().policies[name])
    }

    /// Waits until the policy's status is as `expected`, for a minute at most.
    async fn until(&self, name: &str, what: &str, expected: impl Fn(&PolicyStatus) -> bool) -> PolicyStatus {
        let mut reader = self.board.reader();
        let shown = async {
            loop {
                let status = reader.borrow_and_update().policies[name].clone();
                if expected(&status) {
                    return PolicyStatus::clone(&status);
                }
                reader.changed().await.expect("the daemon runs");
            }
        };
        let shown = tokio::time::timeout(Duration::from_mins(1), shown).await;
        shown.unwrap_or_else(|_| panic!("{name} is never {what}: {:#?}", self.policy(name)))
    }

    async fn stop(self) {
        self.commands.send(Command::Stop).await.expect("the daemon runs");
        self.daemon.await.expect("the daemon ends by itself");
    }
}

/// The README's demo, with its promises.
#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_follows_a_ticket_sale() {
    let start = jiff::Timestamp::now();
    let clock = Clock::accelerated(start, 15.0);
    let trial = Trial::start(World::ticket_sale(1, start), clock, DEMO).await;
    clock.sleep_until(start + Duration::from_secs(1350)).await;

    let history: Vec<(Duration, u32)> = trial.world.with(|world| {
        let fleet = world.fleet("ticket-sale").expect("the sale's fleet");
        fleet.group.desired_history().map(|(at, capacity)| (elapsed(start, at), capacity.get())).collect()
    });
    let by = |time: Duration| history.iter().rev().find(|(at, _)| *at <= time).map_or(2, |(_, capacity)| *capacity);
    // The crowd is counted from the moment that it begins to arrive.
    let grown = Phase::Arrival.begins() + Duration::from_secs(90);
    assert!(by(grown) >= 12, "desired in time to be in service a boot later: {history:?}");
    let in_crowd = |time: &Duration| (Phase::Arrival.begins()..Phase::Decay.begins()).contains(time);
    let crowd: Vec<u32> = history.iter().filter(|(at, _)| in_crowd(at)).map(|(_, capacity)| *capacity).collect();
    assert!(crowd.is_sorted(), "nothing is removed while the crowd is there: {history:?}");
    assert!(by(Duration::from_secs(1350)) < crowd[crowd.len() - 1], "it shrinks afterwards: {history:?}");
    let score = trial.world.with(|world| world.score());
    println!("{history:?}: {score:?}");
    assert!(score.instance_hours < score.static_instance_hours * 1.1, "{score:?}");
    trial.stop().await;
}

const QUICK: &str = r#"
interval = "1s"
[prometheus]
url = "http://127.0.0.1:9090"
timeout = "900ms"
[aws]
region = "us-east-1"
timeout = "900ms"
[[policy]]
name = "web"
asg = "web"
mode = "active"
min = 1
max = 1000
controller = { kind = "pid", kd = "0s" }
cooldown = { in = "1s", out = "0s" }
stabilization = { in = "2s", out = "0s" }
step = { out = "unlimited", in = "unlimited" }
[[policy.metric]]
name = "requests"
kind = "total"
query = 'sum(http_requests_per_second{asg="web"})'
target = 100
"#;

fn web(desired: u32, rate: f64, start: jiff::Timestamp) -> World {
    let settings = GroupSettings {
        name: "web".into(),
        min: Capacity::new(1),
        max: Capacity::new(1000),
        desired: Capacity::new(desired),
        boot: Duration::from_secs(5),
    };
    World::new(1, start).with_fleet(settings, Workload::constant(rate))
}

#[tokio::test(flavor = "multi_thread")]
async fn insufficient_capacity_neither_ratchets_nor_lowers() {
    let start = jiff::Timestamp::now();
    let clock = Clock::accelerated(start, 15.0);
    let mut world = web(2, 200.0, start);
    world.faults.launches = Some(LaunchFault::InsufficientCapacity { at_most: Capacity::new(2) });
    let trial = Trial::start(world, clock, QUICK).await;
    trial.until("web", "served", |status| status.group.is_some_and(|group| group.warm.get() == 2)).await;
    set_rate(&trial, 390.0);
    trial.until("web", "scaled out", |status| status.last_action.is_some()).await;
    set_rate(&trial, 5000.0);
    let status = trial
        .until("web", "held", |status| status.because.as_ref().is_some_and(|why| why.contains("insufficient capacity")))
        .await;
    assert_eq!(status.group.map(|group| group.desired.get()), Some(4), "{status:#?}");
    set_rate(&trial, 1.0);
    clock.sleep_until(clock.now() + Duration::from_mins(2)).await;
    assert_eq!(trial.policy("web").group.map(|group| group.desired.get()), Some(4), "never lowered to clean up");
    trial.stop().await;
}

/// `SetDesiredCapacity` compares nothing, so what somebody else sets during a cycle must be seen before it is called.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_sets_during_a_cycle_is_not_undone() {
    // A world with a past, so that the first query finds a value.
    let mut world = web(4, 980.0, jiff::Timestamp::now() - Duration::from_mins(1));
    // The group is described at once; the decision waits for the slow answer.
    world.faults.prometheus = Some(Fault::everywhere(PrometheusFault::Slow(Duration::from_millis(600))));
    let out_only = QUICK.replace(r#"mode = "active""#, r#"mode = "scale-out-only""#);
    let trial = Trial::start(world, Clock::WALL, &out_only).await;
    tokio::time::sleep(Duration::from_millis(350)).await;
    let operator = |world: &mut World| {
        let now = world.now();
        world.fleet_mut("web").expect("the fleet").group.set_desired(Capacity::new(50), false, now)
    };
    trial.world.with(operator).expect("within the bounds");
    trial.until("web", "evaluated a few times", |status| status.counters.evaluations > 3).await;
    let desired = trial.world.with(|world| world.fleet("web").map(|fleet| fleet.group.desired()));
    assert_eq!(desired, Some(Capacity::new(50)), "{:#?}", trial.policy("web").last_action);
    trial.stop().await;
}

fn set_rate(trial: &Trial, rate: f64) {
    trial.world.with(|world| world.fleet_mut("web").expect("the fleet").workload = Workload::constant(rate));
}

/// A decision follows its sample within one interval, wherever in the interval the sample comes. The machine may be
/// busy, so one late answer is let pass; the figures are printed.
#[tokio::test(flavor = "multi_thread")]
async fn a_sample_is_acted_on_within_one_interval() {
    let after = |milliseconds| delays(Duration::from_millis(milliseconds));
    let (a, b, c, d) = tokio::join!(after(50), after(300), after(550), after(800));
    let delays = [a, b, c, d].concat();
    println!("from sample to SetDesiredCapacity: {delays:?}");
    let limit = Duration::from_millis(1100);
    assert!(delays.iter().filter(|delay| **delay >= limit).count() <= 1, "{delays:?}");
}

/// From a sample's being queryable to `SetDesiredCapacity`, a few times over.
async fn delays(pause: Duration) -> Vec<Duration> {
    let trial = Trial::start_after(pause, web(1, 90.0, jiff::Timestamp::now()), Clock::WALL, QUICK).await;
    trial.until("web", "evaluated", |status| status.evaluation.is_some()).await;
    let mut delays = Vec::new();
    for step in 2..5_u32 {
        set_rate(&trial, f64::from(step) * 100.0 - 20.0);
        // From here on, one instance at 100 requests per second asks for `step`.
        queryable(&trial, f64::from(step - 1) * 100.0 + 3.0).await;
        let sample = Instant::now();
        let expected = Capacity::new(step);
        trial.until("web", "scaled", |s| s.last_action.as_ref().is_some_and(|action| action.to >= expected)).await;
        let received =
            |world: &mut World| world.calls().find(|call| call.desired >= expected).map(|call| call.received);
        delays.push(trial.world.with(received).expect("a call").saturating_duration_since(sample));
    }
    trial.stop().await;
    delays
}

/// Waits until a query sees at least this rate.
async fn queryable(trial: &Trial, rate: f64) {
    let url = format!("{}/api/v1/query", trial.world.prometheus_url);
    let client = reqwest::Client::new();
    for _ in 0..10_000 {
        let query = [("query", "sum(http_requests_per_second{asg=\"web\"})")];
        let body = client.get(&url).query(&query).send().await.expect("an answer").text().await.expect("a body");
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let value = body["data"]["result"][0]["value"][1].as_str().and_then(|value| value.parse::<f64>().ok());
        if value.is_some_and(|value| value >= rate) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    panic!("the world never shows {rate} requests per second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_is_all_or_nothing_and_a_stop_is_clean() {
    let trial = Trial::start(web(2, 190.0, jiff::Timestamp::now()), Clock::WALL, QUICK).await;
    trial.until("web", "evaluated", |status| status.evaluation.is_some()).await;
    let (answer, outcome) = oneshot::channel();
    trial.commands.send(Command::Reload(answer)).await.expect("the daemon runs");
    assert_eq!(outcome.await.expect("an answer"), Ok(()));
    trial.until("web", "evaluated again", |status| status.counters.evaluations > 1).await;
    trial.stop().await;
}
