//! A restart is a non-event: cooldowns, orders and windows go on, and what was under way is accounted for.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use jiff::Timestamp;
use setpoint::clock::Clock;
use setpoint::config;
use setpoint::control::Outcome;
use setpoint::daemon::{Command, Daemon, StartError};
use setpoint::journal::{Health, Query, Reader};
use setpoint::order::{Author, Order, Override, Pause, Receipt, Refusal, Scope};
use setpoint::policy::Capacity;
use setpoint::simulation::{AutoScalingFault, Fault, GroupSettings, Workload, World, WorldServer};
use setpoint::status::{Board, PolicyStatus, Snapshot};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

/// An hour's rest after every change, so that a test sees whether it is kept.
const CONFIGURATION: &str = r#"
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
warm_up = "1s"
controller = { kind = "pid", kd = "0s" }
cooldown = { in = "1h", out = "1h" }
stabilization = { in = "1s", out = "0s" }
step = { out = "unlimited", in = "unlimited" }
[[policy.metric]]
name = "requests"
kind = "total"
query = 'sum(http_requests_per_second{asg="web"})'
target = 100
"#;

/// A world with a past, so that the first query finds a value.
async fn world(desired: u32, rate: f64) -> Arc<WorldServer> {
    let settings = GroupSettings {
        name: "web".into(),
        min: Capacity::new(1),
        max: Capacity::new(1000),
        desired: Capacity::new(desired),
        boot: Duration::from_secs(2),
    };
    let start = Timestamp::now() - Duration::from_mins(1);
    let world = World::new(1, start).with_fleet(settings, Workload::constant(rate));
    Arc::new(WorldServer::start(world, Clock::WALL).await.expect("loopback"))
}

fn set_rate(world: &WorldServer, rate: f64) {
    world.with(|world| world.fleet_mut("web").expect("the fleet").workload = Workload::constant(rate));
}

fn desired(world: &WorldServer) -> u32 {
    world.with(|world| world.fleet("web").expect("the fleet").group.desired().get())
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A daemon on a world, with a state directory or without.
struct Trial {
    board: Board,
    history: Reader,
    commands: mpsc::Sender<Command>,
    daemon: tokio::task::JoinHandle<()>,
}

async fn daemon(
    clock: Clock,
    world: &WorldServer,
    state: Option<&Path>,
    text: &str,
) -> Result<(Board, Daemon), StartError> {
    let board = Board::new(Snapshot::new("trial".into(), Timestamp::now()));
    let environment = [
        ("SETPOINT__PROMETHEUS__URL".to_owned(), world.prometheus_url.clone()),
        ("SETPOINT__AWS__ENDPOINT_URL".to_owned(), world.auto_scaling_url.clone()),
    ];
    let path = state.map(|path| ("SETPOINT__STATE__PATH".to_owned(), path.display().to_string()));
    let config = config::parse("trial.toml", text, environment.into_iter().chain(path)).expect("a valid configuration");
    let credentials = Credentials::from_keys("trial", "trial", None);
    let daemon = Daemon::start(config, clock, board.clone(), Some(credentials)).await?;
    Ok((board, daemon))
}

impl Trial {
    async fn start(world: &WorldServer, state: Option<&Path>, text: &str) -> Self {
        Self::start_at(Clock::WALL, world, state, text).await
    }

    async fn start_at(clock: Clock, world: &WorldServer, state: Option<&Path>, text: &str) -> Self {
        let (board, daemon) = daemon(clock, world, state, text).await.expect("a daemon");
        let history = daemon.history();
        let (commands, received) = mpsc::channel(4);
        let daemon = tokio::spawn(daemon.run(received, Box::new(|| panic!("nothing reloads"))));
        Self { board, history, commands, daemon }
    }

    fn policy(&self) -> PolicyStatus {
        PolicyStatus::clone(&self.board.reader().borrow().policies["web"])
    }

    /// Waits until the snapshot is as `expected`, for a minute at most.
    async fn shows(&self, what: &str, expected: impl Fn(&Snapshot) -> bool) {
        let mut reader = self.board.reader();
        let shown = tokio::time::timeout(Duration::from_mins(1), reader.wait_for(expected)).await;
        assert!(shown.is_ok(), "it is never {what}: {:#?}", self.policy());
    }

    async fn until(&self, what: &str, expected: impl Fn(&PolicyStatus) -> bool) -> PolicyStatus {
        self.shows(what, |snapshot| expected(&snapshot.policies["web"])).await;
        self.policy()
    }

    async fn until_it_says(&self, words: &str) -> PolicyStatus {
        let says = |status: &PolicyStatus| {
            status.evaluation.as_ref().is_some_and(|e| e.reasons.iter().any(|r| r.reason.to_string().contains(words)))
        };
        self.until(words, says).await
    }

    async fn order(&self, order: Order) -> Result<Receipt, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::Order(order, answer)).await.expect("the daemon runs");
        answered.await.expect("an answer")
    }

    async fn stop(self) {
        self.commands.send(Command::Stop).await.expect("the daemon runs");
        self.daemon.await.expect("the daemon ends by itself");
    }
}

fn author() -> Author {
    Author { by: "mara".into(), reason: "a migration".into() }
}

fn pause() -> Pause {
    let now = Timestamp::now();
    Pause { scope: Scope::Both, author: author(), since: now, until: now + Duration::from_hours(1) }
}

/// Scales out once, writing to `before`, restarts with what is written in `after`, and asks for more: the cooldown must
/// still hold.
async fn a_cooldown_is_kept(world: &WorldServer, before: Option<&Path>, after: Option<&Path>) -> Trial {
    let trial = Trial::start(world, before, CONFIGURATION).await;
    set_rate(world, 390.0);
    trial.until("scaled out", |status| status.last_action.is_some()).await;
    set_rate(world, 890.0);
    trial.until_it_says("scale-out rests").await;
    let before = desired(world);
    trial.stop().await;
    let trial = Trial::start(world, after, CONFIGURATION).await;
    trial.until_it_says("scale-out rests for another").await;
    assert_eq!(desired(world), before, "{:#?}", trial.policy().last_action);
    trial
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_the_middle_of_a_cooldown_keeps_it() {
    let folder = folder();
    let state = Some(folder.path());
    let trial = a_cooldown_is_kept(&*world(2, 190.0).await, state, state).await;
    let action = trial.policy().last_action.expect("the action before the restart");
    assert_eq!(action.outcome, Outcome::Applied);
    let page = trial.history.page(Query { policy: Some("web".into()), from: None, before: None, limit: 100 }).await;
    let told = serde_json::to_string(&page.expect("a journal").entries).expect("JSON");
    assert!(told.contains("\"outcome\":\"applied\"") && told.contains("cooling-down"), "{told}");
    trial.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_group_came_to_survives_and_the_absence_is_no_part_of_it() {
    let (world, folder) = (world(4, 400.0).await, folder());
    let counted = |web: &PolicyStatus| web.ledger.all().is_some_and(|all| all.sums.known > 0.0);
    let trial = Trial::start(&world, Some(folder.path()), CONFIGURATION).await;
    trial.until("an account", counted).await;
    trial.stop().await;
    let trial = Trial::start(&world, Some(folder.path()), CONFIGURATION).await;
    let now = trial.until("an account", counted).await.ledger.today().expect("an account");
    let kept = trial.history.stretches(setpoint::account::name("web", None)).await.expect("a journal");
    let before = kept.iter().find(|stretch| stretch.to < now.from).expect("what was before");
    assert!(before.sums.known >= 1.0 && before.sums.instances >= 4.0 * before.sums.known, "{before:?}");
    trial.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_journal_the_groups_own_activities_tell_of_the_cooldown() {
    a_cooldown_is_kept(&*world(2, 190.0).await, None, None).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_journal_has_missed_the_groups_own_activities_tell() {
    let (world, folder) = (world(2, 190.0).await, folder());
    let trial = Trial::start(&world, Some(folder.path()), CONFIGURATION).await;
    trial.until("evaluated", |status| status.evaluation.is_some()).await;
    trial.stop().await;
    a_cooldown_is_kept(&world, None, Some(folder.path())).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_survives_and_its_end_takes_effect() {
    let folder = folder();
    let world = world(2, 190.0).await;
    let trial = Trial::start(&world, Some(folder.path()), CONFIGURATION).await;
    let paused = trial.order(Order::Pause { policy: "web".into(), pause: pause() }).await;
    assert_eq!(paused, Ok(Receipt::default()));
    set_rate(&world, 590.0);
    trial.until_it_says("the policy is paused; it would set 6").await;
    trial.stop().await;
    let trial = Trial::start(&world, Some(folder.path()), CONFIGURATION).await;
    trial.until_it_says("the policy is paused; it would set 6").await;
    assert_eq!(desired(&world), 2);
    let unknown = trial.order(Order::Resume { policy: "wbe".into(), author: author() }).await;
    assert_eq!(unknown, Err(Refusal::UnknownPolicy("wbe".into())));
    trial.order(Order::Resume { policy: "web".into(), author: author() }).await.expect("an order that makes sense");
    trial.until("scaled out", |status| status.last_action.is_some()).await;
    trial.stop().await;
}

/// With ten minutes between evaluations, whatever happens within the minute that a test waits was not their turn.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_does_not_wait_for_the_interval() {
    let world = world(2, 190.0).await;
    let text = CONFIGURATION.replacen(r#"interval = "1s""#, r#"interval = "10m""#, 1);
    let trial = Trial::start(&world, None, &text).await;
    trial.until("evaluated", |status| status.evaluation.is_some()).await;
    let now = Timestamp::now();
    let until = now + Duration::from_hours(1);
    let bounds = Override { floor: Some(Capacity::new(5)), cap: None, author: author(), since: now, until };
    let receipt = trial.order(Order::Override { policy: "web".into(), bounds }).await.expect("a receipt");
    assert_eq!(receipt.not_kept_because.as_deref(), Some("this daemon keeps no journal"));
    let status = trial.until("scaled out", |status| status.last_action.is_some()).await;
    assert_eq!(status.last_action.map(|action| action.to.get()), Some(5));
    trial.order(Order::Freeze(pause())).await.expect("a receipt");
    trial.until("frozen", |s| s.evaluation.as_ref().is_some_and(|e| e.observation.paused.out)).await;
    trial.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_journal_fails_nothing_is_removed_and_all_else_goes_on() {
    let folder = folder();
    let world = world(2, 190.0).await;
    let text = CONFIGURATION.replace("in = \"1h\", out = \"1h\"", "in = \"0s\", out = \"0s\"");
    let state = folder.path().join("state");
    std::fs::write(&state, "in the way").expect("a file");
    let trial = Trial::start(&world, Some(&state), &text).await;
    set_rate(&world, 390.0);
    trial.until("scaled out", |s| s.last_action.as_ref().is_some_and(|action| action.to.get() == 4)).await;
    let readiness = trial.board.reader().borrow().readiness(Timestamp::now());
    assert!(readiness.is_err_and(|why| why.starts_with("nothing is removed while the journal can't be written")));
    set_rate(&world, 90.0);
    trial.until_it_says("no scale-in while the journal can't be written").await;
    assert_eq!(desired(&world), 4);
    let receipt = trial.order(Order::Unfreeze(author())).await.expect("a receipt");
    assert!(receipt.not_kept_because.is_some());
    std::fs::remove_file(&state).expect("out of the way");
    trial.shows("written again", |snapshot| snapshot.journal.health == Health::Writable).await;
    trial.until("scaled in", |s| s.last_action.as_ref().is_some_and(|action| action.to < action.from)).await;
    trial.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_on_the_same_state_is_refused() {
    let folder = folder();
    let world = world(2, 190.0).await;
    let trial = Trial::start(&world, Some(folder.path()), CONFIGURATION).await;
    let second = daemon(Clock::WALL, &world, Some(folder.path()), CONFIGURATION).await.map(drop);
    let error = second.expect_err("a refusal");
    assert!(setpoint::telemetry::chain(&error).contains("is in use by another Setpoint"), "{error:?}");
    trial.stop().await;
}

/// The binary, killed as nobody can be prepared for.
fn start_binary(world: &WorldServer, folder: &Path, text: &str) -> (tokio::process::Child, SocketAddr) {
    let file = folder.join("setpoint.toml");
    std::fs::write(&file, text).expect("a file");
    let free = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = free.local_addr().expect("an address");
    drop(free);
    let child = tokio::process::Command::new(env!("CARGO_BIN_EXE_setpoint"))
        .args(["run", "--config"])
        .arg(&file)
        .env("SETPOINT__PROMETHEUS__URL", &world.prometheus_url)
        .env("SETPOINT__AWS__ENDPOINT_URL", &world.auto_scaling_url)
        .env("SETPOINT__HTTP__LISTEN", address.to_string())
        .env("STATE_DIRECTORY", folder.join("state"))
        .env("AWS_ACCESS_KEY_ID", "trial")
        .env("AWS_SECRET_ACCESS_KEY", "trial")
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary");
    (child, address)
}

async fn setpoint(arguments: &[&str]) -> Output {
    tokio::process::Command::new(env!("CARGO_BIN_EXE_setpoint")).args(arguments).output().await.expect("the binary")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_is_durable_before_the_call_and_counts_as_unknown_after_a_crash() {
    let folder = folder();
    let world = world(2, 390.0).await;
    world.with(|world| {
        let slow = AutoScalingFault::Slow(Duration::from_secs(50));
        world.faults.auto_scaling = Some(Fault::only(slow, "SetDesiredCapacity"));
    });
    let patient = CONFIGURATION.replacen(r#"interval = "1s""#, r#"interval = "2m""#, 1);
    let patient =
        patient.replace("region = \"us-east-1\"\ntimeout = \"900ms\"", "region = \"us-east-1\"\ntimeout = \"50s\"");
    let (mut child, _) = start_binary(&world, folder.path(), &patient);
    let called = async {
        while world.with(|world| world.calls().next().is_none()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), called).await.expect("a call within a minute");
    child.kill().await.expect("a kill");
    world.with(|world| world.faults.auto_scaling = None);
    set_rate(&world, 890.0);

    let state = folder.path().join("state");
    let trial = Trial::start(&world, Some(&state), CONFIGURATION).await;
    let action = trial.policy().last_action.expect("the intent");
    assert_eq!((action.to.get(), action.outcome), (4, Outcome::Unknown), "{action:?}");
    trial.until_it_says("scale-out rests for another").await;
    assert!(desired(&world) <= 4);
    trial.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_tells_of_a_daemon_that_runs_and_of_one_that_is_down() {
    let folder = folder();
    let world = world(2, 390.0).await;
    let (mut child, address) = start_binary(&world, folder.path(), CONFIGURATION);
    let url = format!("http://{address}");
    let told = async {
        loop {
            let output = setpoint(&["history", "web", "--from", "1h", "--url", &url]).await;
            let text = String::from_utf8(output.stdout).expect("text");
            if text.contains("  web  2 -> 4 (applied): requests at ") {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    println!("{}", tokio::time::timeout(Duration::from_mins(1), told).await.expect("a decision within a minute"));
    let json = setpoint(&["history", "--limit", "1", "--output", "json", "--url", &url]).await.stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(json["decisions"].as_array().map(Vec::len), Some(1), "{json}");
    let refused = String::from_utf8(setpoint(&["history", "wbe", "--url", &url]).await.stderr).expect("text");
    assert!(refused.contains("the daemon has no policy \"wbe\", it has: web"), "{refused}");
    let client = reqwest::Client::new();
    let asked = |part: &str| client.get(format!("{url}/api/v1/policies/web/decisions?{part}")).send();
    for wrong in ["limit=0", "limit=1001", "from=yesterday", "form=2026-01-01T00:00:00Z"] {
        assert_eq!(asked(wrong).await.expect("an answer").status(), 400, "{wrong}");
    }
    let page = client.get(format!("{url}/metrics")).send().await.expect("an answer").text().await.expect("a page");
    assert!(page.contains("\nsetpoint_journal_writable 1"), "{page}");

    let state = folder.path().join("state").display().to_string();
    let busy = String::from_utf8(setpoint(&["history", "--state", &state]).await.stderr).expect("text");
    assert!(busy.contains("is in use by another Setpoint"), "{busy}");
    child.kill().await.expect("a kill");
    let after = String::from_utf8(setpoint(&["history", "--state", &state]).await.stdout).expect("text");
    assert!(after.contains("  web  2 -> 4 (applied): requests at "), "{after}");
}

/// What the guard of the watch says.
const UNTIL_SEEN: &str = "until a full window has been seen";

/// Scale-in waits for five minutes' worth of recommendations and for nothing else.
fn watchful() -> String {
    let text = CONFIGURATION.replacen(r#"interval = "1s""#, r#"interval = "10s""#, 1);
    let text = text.replace(r#"in = "1s", out = "0s""#, r#"in = "5m", out = "0s""#);
    text.replace(r#"in = "1h", out = "1h""#, r#"in = "0s", out = "0s""#)
}

/// Half an hour of six instances under little load; `meanwhile` is done to it four minutes before `now`, and any load
/// that it brings is gone two minutes later.
async fn idle(now: Timestamp, meanwhile: impl FnOnce(&mut World)) -> WorldServer {
    let settings = GroupSettings {
        name: "web".into(),
        min: Capacity::new(1),
        max: Capacity::new(1000),
        desired: Capacity::new(6),
        boot: Duration::from_secs(2),
    };
    let mut world = World::new(1, now - Duration::from_mins(30)).with_fleet(settings, Workload::constant(150.0));
    world.advance(now - Duration::from_mins(4));
    meanwhile(&mut world);
    world.advance(now - Duration::from_mins(2));
    world.fleet_mut("web").expect("the fleet").workload = Workload::constant(150.0);
    WorldServer::start(world, Clock::accelerated(now, 1.0)).await.expect("loopback")
}

/// What the first evaluation comes to, of a daemon that was away for ten minutes, or is `new`.
async fn first_evaluation(new: bool, meanwhile: impl FnOnce(&mut World)) -> PolicyStatus {
    let (folder, now) = (folder(), Timestamp::now());
    if !new {
        let before = now - Duration::from_mins(10);
        let (clock, world) = (Clock::accelerated(before, 1.0), idle(before, |_| {}).await);
        let trial = Trial::start_at(clock, &world, Some(folder.path()), &watchful()).await;
        trial.until_it_says(UNTIL_SEEN).await;
        trial.stop().await;
    }
    let (clock, world) = (Clock::accelerated(now, 1.0), idle(now, meanwhile).await);
    let trial = Trial::start_at(clock, &world, Some(folder.path()), &watchful()).await;
    let first = trial.until("evaluated", |status| status.evaluation.is_some()).await;
    trial.stop().await;
    first
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_absence_the_window_comes_from_prometheus() {
    let calm = first_evaluation(false, |_| {}).await;
    let action = calm.last_action.as_ref().unwrap_or_else(|| panic!("no scale-in: {calm:#?}"));
    assert_eq!((action.from.get(), action.to.get()), (6, 2), "{calm:#?}");
    // Of the last five minutes, two were busy, and only the range API knows.
    let rush = |world: &mut World| {
        world.fleet_mut("web").expect("the fleet").workload = Workload::constant(420.0);
    };
    let busy = first_evaluation(false, rush).await;
    let action = busy.last_action.as_ref().unwrap_or_else(|| panic!("no scale-in: {busy:#?}"));
    assert_eq!((action.from.get(), action.to.get()), (6, 5), "{busy:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_policy_and_one_whose_group_was_changed_are_watched_live() {
    let check = async |what, new, meanwhile: fn(&mut World)| {
        let first = first_evaluation(new, meanwhile).await;
        let reasons = first.evaluation.iter().flat_map(|evaluation| &evaluation.reasons);
        let says = reasons.into_iter().any(|stated| stated.reason.to_string().contains(UNTIL_SEEN));
        assert!(says && first.last_action.is_none(), "{what}: {first:#?}");
    };
    let change = |world: &mut World| {
        let now = world.now();
        let group = &mut world.fleet_mut("web").expect("the fleet").group;
        group.set_desired(Capacity::new(7), false, now).expect("within the bounds");
    };
    tokio::join!(check("a new policy", true, |_| {}), check("a group that was changed", false, change));
}
