//! A long life at full speed: memory, descriptors and threads of a daemon that is watched, ordered about, reloaded and let
//! down stay as they are.
//!
//! Twenty seconds by default, of which nothing but a gross leak can be told. `SETPOINT_SOAK=2h` takes two hours.
#![cfg(target_os = "linux")]

mod drawn;
mod process;

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use drawn::Rng;
use jiff::{SignedDuration, Timestamp};
use process::{Process, Usage};
use setpoint::clock::Clock;
use setpoint::policy::Capacity;
use setpoint::simulation::{
    AutoScalingFault, Fault, Faults, GroupSettings, PrometheusFault, Workload, World, WorldServer,
};
use tokio::time::{Instant, sleep, sleep_until};

const POLICIES: u32 = 100;
const SHORT: Duration = Duration::from_secs(20);
/// Samples that the comparison is made of, at least.
const SAMPLES: u32 = 40;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Growth from the second quarter to the last that is still taken for flat. In the first minutes caches fill and a fault
/// leaves connections behind, so less than this can't be told from a short soak.
fn flat(length: Duration) -> f64 {
    if length < Duration::from_mins(10) { 1.5 } else { 1.1 }
}

const LANE: &str = r#"
interval = "1s"
[prometheus]
url = "http://127.0.0.1:9090"
timeout = "900ms"
[aws]
region = "us-east-1"
timeout = "900ms"
[state]
max_size = "16MB"
"#;

const POLICY: &str = r#"
[[policy]]
name = "NAME"
asg = "NAME"
mode = "active"
min = 1
max = 20
boot_time = "5s"
warm_up = "1s"
controller = { kind = "CONTROLLER" }
cooldown = { in = "5s", out = "1s" }
stabilization = { in = "10s", out = "0s" }
step = { out = "unlimited", in = "unlimited" }
[[policy.metric]]
name = "requests"
kind = "total"
query = 'sum(http_requests_per_second{asg="NAME"})'
target = 100
[[policy.metric]]
name = "p99"
kind = "latency"
query = 'max(http_request_p99_seconds{asg="NAME"})'
target = "500ms"
"#;

fn name(number: u32) -> String {
    format!("web-{number}")
}

fn configuration(policies: u32) -> String {
    let controller = |number| if number % 2 == 0 { "pid" } else { "risk" };
    let policy = |number| POLICY.replace("NAME", &name(number)).replace("CONTROLLER", controller(number));
    LANE.to_owned() + &(0..policies).map(policy).collect::<String>()
}

async fn world() -> WorldServer {
    let settings = |number| GroupSettings {
        name: name(number),
        min: Capacity::new(1),
        max: Capacity::new(20),
        desired: Capacity::new(2),
        boot: Duration::from_secs(2),
    };
    let empty = World::new(1, Timestamp::now() - Duration::from_mins(1));
    let add = |world: World, number| world.with_fleet(settings(number), Workload::constant(190.0));
    WorldServer::start((0..POLICIES).fold(empty, add), Clock::WALL).await.expect("loopback")
}

/// Whoever changes the load, reads, watches, orders, reloads and breaks what the daemon depends on.
struct Trouble {
    rng: Rng,
    world: Arc<WorldServer>,
    daemon: Arc<Process>,
    /// What was asked for, and what was refused: a soak that nobody answers proves nothing.
    asked: u32,
    refused: Vec<String>,
}

impl Trouble {
    async fn go_on(mut self, folder: PathBuf, end: Instant) -> Self {
        while Instant::now() < end {
            self.change_the_load();
            self.be_watched();
            self.be_read().await;
            self.order().await;
            if self.rng.chance(0.05) {
                let policies = POLICIES - self.rng.below(10);
                process::configure(&folder, &configuration(policies));
                self.post("/api/v1/reload", r#"{"reason": "a soak"}"#).await;
            }
            if self.rng.chance(0.3) {
                self.fail();
            }
            sleep(Duration::from_millis(self.rng.below(600).into())).await;
        }
        self
    }

    fn change_the_load(&mut self) {
        let (group, rate) = (name(self.rng.below(POLICIES)), self.rng.between(50.0, 900.0));
        self.world.with(|world| world.fleet_mut(&group).expect("a fleet").workload = Workload::constant(rate));
    }

    /// A watcher that leaves at any moment.
    fn be_watched(&mut self) {
        let (daemon, time) = (self.daemon.clone(), Duration::from_millis(self.rng.below(8000).into()));
        tokio::spawn(async move { daemon.watch(time).await });
    }

    async fn be_read(&mut self) {
        let policy = name(self.rng.below(POLICIES - 10));
        let paths = [
            "/".to_owned(),
            "/metrics".to_owned(),
            "/readyz".to_owned(),
            "/api/v1/status".to_owned(),
            "/api/v1/policies".to_owned(),
            format!("/api/v1/policies/{policy}"),
            format!("/api/v1/policies/{policy}/explain"),
            format!("/api/v1/policies/{policy}/decisions"),
        ];
        let path = &paths[self.rng.below(8) as usize];
        let answer = self.daemon.get(path).await;
        self.note(path, answer.as_ref());
    }

    async fn order(&mut self) {
        let policy = format!("/api/v1/policies/{}", name(self.rng.below(POLICIES - 10)));
        let (path, more) = match self.rng.below(12) {
            0 => (policy + "/pause", r#""expires": "3s", "#),
            1 => (policy + "/resume", ""),
            2 => (policy + "/override", r#""expires": "5s", "floor": 4, "#),
            3 => (policy + "/release", ""),
            4 => ("/api/v1/freeze".to_owned(), r#""expires": "2s", "scope": "scale-in", "#),
            5 => ("/api/v1/unfreeze".to_owned(), ""),
            _ => return,
        };
        self.post(&path, &format!(r#"{{{more}"reason": "a soak"}}"#)).await;
    }

    async fn post(&mut self, path: &str, body: &str) {
        let answer = self.daemon.post(path, body).await;
        self.note(path, answer.as_ref());
    }

    fn note(&mut self, path: &str, answer: Option<&(u16, String)>) {
        self.asked += 1;
        // Whoever asks for readiness in the middle of a fault is told of it.
        if !(answer.is_some_and(|(status, _)| *status == 200) || path == "/readyz" && answer.is_some()) {
            self.refused.push(format!("{path}: {answer:?}"));
        }
    }

    /// Most of the time, nothing is wrong.
    fn fail(&mut self) {
        let prometheus = [
            PrometheusFault::Unavailable,
            PrometheusFault::Disconnected,
            PrometheusFault::Malformed,
            PrometheusFault::Slow(Duration::from_secs(2)),
        ];
        let auto_scaling = [
            AutoScalingFault::Throttling,
            AutoScalingFault::NoCode,
            AutoScalingFault::AnswerLost,
            AutoScalingFault::Slow(Duration::from_secs(2)),
        ];
        let mut faults = Faults::default();
        match self.rng.below(16) {
            0 => faults.prometheus = Some(Fault::everywhere(self.rng.pick(&prometheus))),
            1 => faults.auto_scaling = Some(Fault::everywhere(self.rng.pick(&auto_scaling))),
            _ => {}
        }
        self.world.with(|world| world.faults = faults);
    }
}

/// How long the soak takes.
fn length() -> Duration {
    let Ok(text) = std::env::var("SETPOINT_SOAK") else { return SHORT };
    let length: SignedDuration = text.parse().expect("SETPOINT_SOAK: a time such as \"2h\"");
    length.try_into().expect("SETPOINT_SOAK: a time that passes")
}

type Figure = fn(&Usage) -> u64;

fn median(samples: &[Usage], of: Figure) -> f64 {
    let mut figures: Vec<u64> = samples.iter().map(of).collect();
    figures.sort_unstable();
    u32::try_from(figures[figures.len() / 2]).expect("a small figure").into()
}

/// What has grown from the second quarter to the last.
fn grown(samples: &[Usage], flat: f64) -> Vec<String> {
    const FIGURES: [(&str, Figure); 3] = [
        ("resident memory, KiB", |usage| usage.resident),
        ("descriptors", |usage| usage.descriptors),
        ("threads", |usage| usage.threads),
    ];
    let quarter = samples.len() / 4;
    let (second, last) = (&samples[quarter..2 * quarter], &samples[3 * quarter..]);
    let mut grown = Vec::new();
    for (what, of) in FIGURES {
        let (before, after) = (median(second, of), median(last, of));
        println!("{what}: {before} in the second quarter, {after} in the last");
        if after > before * flat {
            grown.push(format!("{what} grew from {before} to {after}"));
        }
    }
    grown
}

#[tokio::test]
async fn memory_descriptors_and_threads_stay_flat() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = Arc::new(world().await);
    let mut daemon =
        Process::start(folder.path(), &configuration(POLICIES), &world.prometheus_url, &world.auto_scaling_url);
    daemon.until_it_listens().await;
    let daemon = Arc::new(daemon);
    let (start, length) = (Instant::now(), length());
    let rng = Rng::new(1);
    let trouble = Trouble { rng, world: world.clone(), daemon: daemon.clone(), asked: 0, refused: Vec::new() };
    let trouble = tokio::spawn(trouble.go_on(folder.path().to_owned(), start + length));
    let pause = (length / SAMPLES).min(LONGEST_PAUSE);
    let mut samples = Vec::new();
    println!("seconds  resident KiB  descriptors  threads  CPU s  state KiB");
    for number in 1.. {
        let at = start + pause * number;
        if at > start + length {
            break;
        }
        sleep_until(at).await;
        let usage = daemon.usage();
        println!("{}", line(&daemon, usage, start));
        samples.push(usage);
    }
    let trouble = trouble.await.expect("no panic");
    let calls = world.with(|world| world.calls().count());
    println!("{} requests, of which {} refused; {calls} calls at least", trouble.asked, trouble.refused.len());
    trouble.refused.iter().take(20).for_each(|refused| println!("{refused}"));
    let grown = grown(&samples, flat(length));
    assert!(grown.is_empty(), "{grown:?}");
    assert!(calls > 0 && trouble.refused.is_empty(), "{calls} calls, {:?}, {}", trouble.refused, daemon.log());
}

fn line(daemon: &Process, Usage { resident, descriptors, threads }: Usage, start: Instant) -> String {
    let (passed, cpu, state) = (start.elapsed().as_secs(), daemon.ticks() / 100, daemon.state_size() / 1024);
    let mut line = String::new();
    write!(line, "{passed:7}  {resident:12}  {descriptors:11}  {threads:7}  {cpu:5}  {state:9}").expect("a String");
    line
}
