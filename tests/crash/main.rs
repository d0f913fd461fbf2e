//! `kill -9` at random moments and at every step between intent, call, outcome and commit: nothing that the daemon has
//! acknowledged is lost, and no action is repeated.
//!
//! Twenty kills by default; `SETPOINT_KILLS=1000` makes a thousand.
#![cfg(target_os = "linux")]

#[path = "../drawn/mod.rs"]
mod drawn;
mod gate;
mod ledger;
#[path = "../process/mod.rs"]
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use drawn::Rng;
use gate::{Call, Gate, MOMENTS, Moment};
use jiff::{SignedDuration, Timestamp};
use ledger::{Ledger, Order};
use process::Process;
use serde_json::Value;
use setpoint::clock::Clock;
use setpoint::policy::Capacity;
use setpoint::simulation::{GroupSettings, Workload, World, WorldServer};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const KILLS: u32 = 20;
/// Daemons at a time, each with a world of its own.
const DAEMONS: u32 = 8;
/// A life that sees no moment of its kind come is ended after so long.
const LONGEST_LIFE: Duration = Duration::from_millis(3500);
/// How far back each restart is asked about the history; the end asks about all of it.
const LOOKED_BACK: SignedDuration = SignedDuration::from_secs(20);

/// These want one more instance at every evaluation, or one fewer, so that only the cooldown keeps them from it.
const RISING: [&str; 4] = ["rising-0", "rising-1", "rising-2", "rising-3"];
const FALLING: [&str; 2] = ["falling-0", "falling-1"];
const COOLDOWN: SignedDuration = SignedDuration::from_secs(2);

const LANE: &str = r#"
interval = "1s"
[prometheus]
url = "http://127.0.0.1:9090"
timeout = "900ms"
[aws]
region = "us-east-1"
timeout = "900ms"
"#;

const POLICY: &str = r#"
[[policy]]
name = "NAME"
asg = "NAME"
mode = "active"
min = 1
max = 1000
boot_time = "1s"
warm_up = "1s"
controller = { kind = "pid" }
cooldown = { in = "2s", out = "2s" }
stabilization = { in = "1s", out = "0s" }
step = { out = { count = 1, per = "1s" }, in = { count = 1, per = "1s" } }
[[policy.metric]]
name = "requests"
kind = "total"
query = 'sum(http_requests_per_second{asg="NAME"})'
target = 100
"#;

fn policies() -> Vec<&'static str> {
    [&RISING[..], &FALLING].concat()
}

fn configuration() -> String {
    LANE.to_owned() + &policies().iter().map(|name| POLICY.replace("NAME", name)).collect::<String>()
}

async fn world() -> WorldServer {
    let fleet = |name: &str, desired| GroupSettings {
        name: name.into(),
        min: Capacity::new(1),
        max: Capacity::new(1000),
        desired: Capacity::new(desired),
        boot: Duration::from_secs(1),
    };
    let empty = World::new(1, Timestamp::now() - Duration::from_mins(1));
    let rising = |world: World, name: &&str| world.with_fleet(fleet(name, 2), Workload::constant(1e5));
    let falling = |world: World, name: &&str| world.with_fleet(fleet(name, 200), Workload::constant(10.0));
    let world = FALLING.iter().fold(RISING.iter().fold(empty, rising), falling);
    WorldServer::start(world, Clock::WALL).await.expect("loopback")
}

/// When a daemon is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kill {
    /// At any moment of the start or after it.
    Anywhen,
    /// While an order is under way.
    Ordering,
    At(Moment),
}

/// One daemon after the other on one state directory.
struct Lives {
    name: String,
    life: u32,
    rng: Rng,
    folder: TempDir,
    world: WorldServer,
    gate: Gate,
    ledger: Ledger,
    kills: BTreeMap<Kill, u32>,
    /// Policies that were paused from before a life began until its end, by life.
    paused: BTreeMap<u32, BTreeSet<&'static str>>,
}

impl Lives {
    async fn begin(name: String) -> Self {
        let world = world().await;
        let gate = Gate::start(&world.auto_scaling_url).await;
        let rng = Rng::new(name.bytes().map(u64::from).sum());
        let folder = tempfile::tempdir().expect("a folder");
        let (ledger, kills, paused) = (Ledger::default(), BTreeMap::new(), BTreeMap::new());
        Self { name, rng, folder, world, gate, ledger, kills, paused, life: 0 }
    }

    /// One life, up to its kill.
    async fn live(&mut self) {
        let kill = match self.rng.below(10) {
            0 | 1 => Kill::Anywhen,
            2 => Kill::Ordering,
            _ => Kill::At(self.rng.pick(&MOMENTS)),
        };
        let mut daemon = self.start();
        // In every second life the moment may come before anybody has looked: in the very first cycle.
        if kill == Kill::Ordering || self.rng.chance(0.5) {
            self.look(&mut daemon).await;
        }
        let moment = self.moment(kill);
        let as_meant = tokio::select! {
            come = moment => come,
            never = self.act(&mut daemon) => match never {},
        };
        daemon.kill().await;
        *self.kills.entry(if as_meant { kill } else { Kill::Anywhen }).or_default() += 1;
    }

    fn start(&mut self) -> Process {
        self.life += 1;
        self.gate.begin(self.life);
        self.paused.insert(self.life, self.ledger.paused());
        Process::start(self.folder.path(), &configuration(), &self.world.prometheus_url, &self.gate.url)
    }

    /// Waits for the moment of the kill; gives whether it was of its kind.
    fn moment(&mut self, kill: Kill) -> impl Future<Output = bool> + use<> {
        let come = if let Kill::At(moment) = kill { Some(self.gate.arm(moment)) } else { None };
        let (longest, held) = match kill {
            Kill::Anywhen => (1_500_000, false),
            Kill::Ordering => (8000, false),
            Kill::At(moment) => (10_000, moment.is_held()),
        };
        let delay = Duration::from_micros(self.rng.below(longest).into());
        async move {
            let as_meant = match come {
                Some(come) => timeout(LONGEST_LIFE, come).await.is_ok(),
                None => true,
            };
            // Whatever is held stays so.
            if !held {
                sleep(delay).await;
            }
            as_meant
        }
    }

    /// Looks whether all is still known, and gives orders until the kill.
    async fn act(&mut self, daemon: &mut Process) -> Infallible {
        self.look(daemon).await;
        loop {
            self.order(daemon).await;
            sleep(Duration::from_millis(self.rng.below(500).into())).await;
        }
    }

    async fn look(&mut self, daemon: &mut Process) {
        daemon.until_it_listens().await;
        self.ledger.check(daemon, Timestamp::now() - LOOKED_BACK).await;
    }

    async fn order(&mut self, daemon: &Process) {
        let order = Order::draw(&mut self.rng, &mut self.ledger, &policies(), &self.name);
        if let Some(policy) = order.resumes() {
            self.paused.entry(self.life).or_default().remove(policy);
        }
        self.ledger.sent(&order);
        let answer = daemon.post(&order.path, &order.body).await;
        self.ledger.answered(&order, answer.as_ref());
    }

    /// What is broken in the end, when everything is read once more.
    async fn end(mut self) -> Figures {
        let mut daemon = self.start();
        daemon.until_it_listens().await;
        self.ledger.check(&daemon, Timestamp::MIN).await;
        let history = ledger::history(&daemon, Timestamp::MIN).await.expect("a history");
        daemon.kill().await;
        let mut broken = std::mem::take(&mut self.ledger.broken);
        broken.extend(self.ledger.orders_lost(&history));
        // What is called after the history was read is not in it yet.
        let calls: Vec<_> = self.gate.calls().into_iter().filter(|call| call.life < self.life).collect();
        let actions = actions(&history);
        broken.extend(repeated(&calls, &actions));
        let in_a_pause = calls.iter().filter(|call| self.paused[&call.life].contains(&*call.group));
        broken.extend(in_a_pause.map(|call| format!("{call:?} came in a pause")));
        let (orders, told) = self.ledger.figures();
        Figures { kills: self.kills, broken, checks: self.ledger.checks, calls: calls.len(), orders, told }
    }
}

/// What the lives of one state directory came to.
#[derive(Default)]
struct Figures {
    kills: BTreeMap<Kill, u32>,
    broken: Vec<String>,
    checks: u32,
    calls: usize,
    orders: usize,
    told: usize,
}

/// An action that may have taken effect, as the history has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Action {
    policy: String,
    at: Timestamp,
    to: u32,
}

fn actions(history: &[Value]) -> Vec<Action> {
    let action = |entry: &Value| {
        let in_effect = ["applied", "unknown"].contains(&entry["outcome"]["outcome"].as_str()?);
        let to = entry["decision"]["to"].as_u64().filter(|_| in_effect)?;
        let policy = entry["policy"].as_str()?.to_owned();
        Some(Action { policy, at: ledger::at(entry), to: u32::try_from(to).expect("a capacity") })
    };
    let mut actions: Vec<_> = history.iter().filter_map(action).collect();
    actions.sort_unstable();
    actions
}

/// Actions that were repeated, followed another within the cooldown, or are not in the history.
fn repeated(calls: &[Call], actions: &[Action]) -> Vec<String> {
    let mut broken = Vec::new();
    let mut carried_out = BTreeSet::new();
    for call in calls {
        if !carried_out.insert((&*call.group, call.desired)) {
            broken.push(format!("{call:?} was carried out before"));
        }
        if !actions.iter().any(|action| action.policy == call.group && action.to == call.desired) {
            broken.push(format!("{call:?} is not in the history"));
        }
    }
    for pair in actions.windows(2) {
        if pair[0].policy == pair[1].policy && pair[1].at.duration_since(pair[0].at) < COOLDOWN {
            broken.push(format!("{pair:?} came within the cooldown"));
        }
    }
    broken
}

#[tokio::test(flavor = "multi_thread")]
async fn after_any_kill_nothing_is_lost_and_no_action_is_repeated() {
    let kills = std::env::var("SETPOINT_KILLS").map_or(KILLS, |text| text.parse().expect("SETPOINT_KILLS: a number"));
    let daemons = DAEMONS.min(kills.div_ceil(10));
    let mut running = JoinSet::new();
    for number in 0..daemons {
        running.spawn(async move {
            let mut lives = Lives::begin(format!("daemon {number}")).await;
            for _ in 0..kills.div_ceil(daemons) {
                lives.live().await;
            }
            lives.end().await
        });
    }
    let mut all = Figures::default();
    while let Some(ended) = running.join_next().await {
        let Figures { kills, broken, checks, calls, orders, told } = ended.expect("no panic");
        for (kill, count) in kills {
            *all.kills.entry(kill).or_default() += count;
        }
        all.broken.extend(broken);
        (all.checks, all.calls, all.orders, all.told) =
            (all.checks + checks, all.calls + calls, all.orders + orders, all.told + told);
    }
    println!("{} kills: {:?}", all.kills.values().sum::<u32>(), all.kills);
    println!("{} looks, {} calls, {} orders, {} entries of the history", all.checks, all.calls, all.orders, all.told);
    assert!(all.broken.is_empty(), "{} broken: {:#?}", all.broken.len(), &all.broken[..all.broken.len().min(20)]);
    assert!(all.calls > 0 && all.orders > 0 && all.checks > 0, "too little happens");
}
