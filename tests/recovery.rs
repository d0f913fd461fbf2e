//! How long it takes until Setpoint is itself again, once it was killed and once its state is lost as well. Figures are printed;
//! what is held is that the fleet stays as it is meanwhile. `SETPOINT_RECOVERY=1` takes the demo's own windows, half an
//! hour in all, and is where the figures in docs/operations.md come from.

mod process;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use process::{PATIENCE, Process};
use setpoint::clock::Clock;
use setpoint::policy::Capacity;
use setpoint::simulation::{GroupSettings, Workload, World, WorldServer};

const DEMO: &str = include_str!("../config/demo.toml");

/// The demo's world at rest, with a past, and a daemon on it that is not the demo's own.
struct Trial {
    world: WorldServer,
    folder: tempfile::TempDir,
    configuration: String,
    window: Duration,
}

impl Trial {
    async fn begin() -> Self {
        // A scale-in needs no more than its window here, so that seconds suffice.
        let quick = [
            ("interval = \"15s\"", "interval = \"1s\""),
            ("in = \"4m\"", "in = \"3s\""),
            ("in = { percent = 25, per = \"1m\" }", "in = \"unlimited\""),
            ("in = \"30s\", out = \"15s\"", "in = \"1s\", out = \"1s\""),
        ];
        let (window, changes) = if thorough() { (240, &quick[..0]) } else { (3, &quick[..]) };
        let change = |text: String, (old, new): &(&str, &str)| {
            assert!(text.contains(old), "{old} is in the demo's configuration");
            text.replacen(old, new, 1)
        };
        let configuration = changes.iter().fold(DEMO.to_owned(), change);
        let settings = GroupSettings {
            name: "ticket-sale".into(),
            min: Capacity::new(2),
            max: Capacity::new(16),
            desired: Capacity::new(12),
            boot: Duration::from_mins(1),
        };
        let world = World::new(1, Timestamp::now() - Duration::from_mins(10)).with_fleet(settings, load(9));
        let world = WorldServer::start(world, Clock::WALL).await.expect("loopback");
        let folder = tempfile::tempdir().expect("a folder");
        Self { world, folder, configuration, window: Duration::from_secs(window) }
    }

    fn state(&self) -> std::path::PathBuf {
        self.folder.path().join("state")
    }

    fn start(&self) -> Process {
        let Self { world, folder, configuration, .. } = self;
        Process::start(folder.path(), configuration, &world.prometheus_url, &world.auto_scaling_url)
    }

    fn desired(&self) -> u32 {
        self.world.with(|world| world.fleet("ticket-sale").expect("the fleet").group.desired().get())
    }

    /// From now on so many instances suffice.
    fn need(&self, instances: u32) {
        self.world.with(|world| world.fleet_mut("ticket-sale").expect("the fleet").workload = load(instances));
    }

    /// A life from its start: until it has decided, and until it has removed something.
    async fn lives(&self, daemon: &Process) -> (Duration, Duration) {
        let (began, before) = (Instant::now(), self.desired());
        until("a decision", PATIENCE, async || {
            daemon.get("/api/v1/policies/tickets/explain").await.is_some_and(|(status, _)| status == 200)
        })
        .await;
        let decided = began.elapsed();
        assert_eq!(self.desired(), before, "a start changes nothing by itself");
        until("a scale-in", 3 * self.window + PATIENCE, async || self.desired() < before).await;
        (decided, began.elapsed())
    }
}

fn thorough() -> bool {
    std::env::var("SETPOINT_RECOVERY").is_ok_and(|value| value == "1")
}

/// What so many instances bear with ease; the demo's policy wants 150 requests a second of each.
fn load(instances: u32) -> Workload {
    Workload::constant(f64::from(instances) * 110.0)
}

async fn until(what: &str, patience: Duration, come: impl AsyncFn() -> bool) {
    let comes = async {
        while !come().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(patience, comes).await.is_ok(), "{what} does not come");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_recovers_with_its_state_and_without() {
    let trial = Trial::begin().await;
    let mut daemon = trial.start();
    let (decided, removed) = trial.lives(&daemon).await;
    tell("a first start", decided, removed);
    for (name, need, lost) in [("kill -9", 6, false), ("kill -9, and the state directory lost", 4, true)] {
        // Settled, and the new load seen for half a window.
        tokio::time::sleep(trial.window).await;
        trial.need(need);
        tokio::time::sleep(trial.window / 2).await;
        let before = trial.desired();
        daemon.kill().await;
        if lost {
            fs::remove_dir_all(trial.state()).expect("a state directory");
        }
        daemon = trial.start();
        let (decided, removed) = trial.lives(&daemon).await;
        tell(name, decided, removed);
        let full = removed >= trial.window;
        assert!(
            full || !lost,
            "{name}: {before} became less after {removed:?}, before a window of {:?} was seen",
            trial.window
        );
    }
    assert!(Path::new(&trial.state()).join("journal.redb").is_file(), "a new journal is begun");
}

fn tell(name: &str, decided: Duration, removed: Duration) {
    println!("{name}: the first decision after {decided:.2?}, the first scale-in after {removed:.1?}");
}
