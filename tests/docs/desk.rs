//! One who does what the docs say: in a folder with the README's configuration, on a machine where the daemon runs on it, with a
//! real Prometheus that remembers two weeks.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use setpoint::cli;
use setpoint::clock::Clock;
use setpoint::policy::Capacity;
use setpoint::simulation::{GroupSettings, Workload, World, WorldServer};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::command::{self, Command as Shown};
use super::configuration;
use super::page::{self, Page, Place};
use super::support::Prometheus;

/// The daemon as the docs start it.
const RUN: [&str; 3] = ["run", "--config", "setpoint.toml"];

/// The longest wait for anything on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(2);

const FORTNIGHT: i64 = 14 * 24 * 3600;

struct Desk {
    folder: TempDir,
    daemon: Child,
    environment: Vec<(&'static str, String)>,
    _prometheus: Prometheus,
    _world: WorldServer,
}

impl Desk {
    /// `None`: there is no Prometheus, and the test is left out.
    async fn open(pages: &[Page]) -> Option<Self> {
        let prometheus = Prometheus::with_past(&past())?;
        let folder = tempfile::tempdir().expect("a folder");
        furnish(folder.path(), pages);
        let world = WorldServer::start(world(), Clock::WALL).await.expect("loopback");
        let environment = environment(folder.path(), &prometheus.url(), &world.auto_scaling_url);
        let mut daemon = setpoint();
        daemon.args(RUN).current_dir(folder.path()).envs(environment.iter().cloned());
        let log = fs::File::create(folder.path().join("log")).expect("a file");
        let daemon = daemon.stdout(Stdio::null()).stderr(log).kill_on_drop(true).spawn().expect("the binary");
        Some(Self { folder, daemon, environment, _prometheus: prometheus, _world: world })
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// What a command of the docs does here, given the socket where it asks the daemon.
    async fn follow(&self, command: &Shown) -> Output {
        let line = command.text.split("  #").next().expect("a part");
        let mut line = line.replace("/var/lib/setpoint", &self.path("state")).replace("/etc/setpoint/", &self.path(""));
        if command.of_setpoint().iter().any(|words| asks(words)) {
            write!(line, " --socket {}", self.path("setpoint.sock")).expect("a string grows");
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).current_dir(self.folder.path()).envs(self.environment.iter().cloned());
        tokio::time::timeout(PATIENCE, shell.stdin(Stdio::null()).output()).await.expect("an end").expect("a shell")
    }

    /// Waits until the daemon has evaluated, which it has not at once.
    async fn until_it_explains(&self) {
        let explain = Shown { place: Place { page: "tests".into(), line: 0 }, text: "setpoint explain web".into() };
        let explained = async {
            while !self.follow(&explain).await.status.success() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let explained = tokio::time::timeout(PATIENCE, explained).await;
        assert!(explained.is_ok(), "{}", fs::read_to_string(self.path("log")).expect("a log"));
    }
}

/// Whether a command asks the daemon where nothing else is said.
fn asks(words: &[String]) -> bool {
    let definition = cli::definition();
    let command = words.first().and_then(|name| definition.find_subcommand(name));
    let takes_a_socket =
        command.is_some_and(|command| command.get_arguments().any(|option| option.get_id() == "socket"));
    takes_a_socket && !words.iter().any(|word| matches!(word.as_str(), "--state" | "--url" | "--socket"))
}

pub fn setpoint() -> Command {
    Command::new(env!("CARGO_BIN_EXE_setpoint"))
}

fn environment(folder: &Path, prometheus: &str, auto_scaling: &str) -> Vec<(&'static str, String)> {
    let binary = Path::new(env!("CARGO_BIN_EXE_setpoint")).parent().expect("a folder");
    let in_folder = |name: &str| folder.join(name).display().to_string();
    vec![
        ("PATH", format!("{}:{}", binary.display(), std::env::var("PATH").expect("a path"))),
        ("SETPOINT__PROMETHEUS__URL", prometheus.to_owned()),
        ("SETPOINT__AWS__ENDPOINT_URL", auto_scaling.to_owned()),
        // Without a configuration.
        ("AWS_ENDPOINT_URL_AUTO_SCALING", auto_scaling.to_owned()),
        ("SETPOINT__HTTP__LISTEN", "127.0.0.1:0".to_owned()),
        // As systemd does.
        ("RUNTIME_DIRECTORY", in_folder("")),
        ("STATE_DIRECTORY", in_folder("state")),
        ("XDG_CACHE_HOME", in_folder("cache")),
        ("AWS_ACCESS_KEY_ID", "desk".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "desk".to_owned()),
    ]
}

/// The files that the commands name.
fn furnish(folder: &Path, pages: &[Page]) {
    let mut blocks = pages.iter().flat_map(|page| &page.blocks);
    let tests = blocks.find(|block| block.text.contains("[[test]]")).expect("policy tests");
    // So calm that what was tuned on a part of it holds on the rest.
    let mut hour = String::from("seconds,requests_per_second\n");
    for minute in 0..60 {
        writeln!(hour, "{},{}", minute * 60, 300 + minute % 2).expect("a string grows");
    }
    for name in ["traces", "state"] {
        fs::create_dir(folder.join(name)).expect("a folder");
    }
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("a file");
    write("setpoint.toml", &configuration::of_the_readme());
    let old = configuration::of_the_readme().replace("\nmax = ", "\nmax = 1");
    write("old.toml", &old);
    write("web.tests.toml", &tests.text);
    write("web.yaml", include_str!("../manifests/web.yaml"));
    write("orders.yaml", include_str!("../manifests/orders.yaml"));
    for name in ["monday.csv", "march.csv", "traces/monday.csv"] {
        write(name, &hour);
    }
}

/// The group that the README scales.
fn world() -> World {
    let settings = GroupSettings {
        name: "web-prod".into(),
        min: Capacity::new(1),
        max: Capacity::new(20),
        desired: Capacity::new(2),
        boot: Duration::from_secs(5),
    };
    World::new(1, Clock::WALL.now()).with_fleet(settings, Workload::constant(190.0))
}

/// What a Prometheus has scraped of that group every 30 s, until some minutes from now.
fn past() -> String {
    let now = Clock::WALL.now().as_second() / 30 * 30;
    let moments = (0..=FORTNIGHT + 600).step_by(30);
    let mut text = String::from("# TYPE node_cpu_seconds counter\n");
    for since in moments.clone() {
        // Half idle.
        let labels = r#"{mode="idle",asg="web-prod",instance="a"}"#;
        writeln!(text, "node_cpu_seconds_total{labels} {} {}", since / 2, now - FORTNIGHT + since)
            .expect("a string grows");
    }
    text.push_str("# TYPE up gauge\n");
    for since in moments {
        writeln!(text, "up{{asg=\"web-prod\",instance=\"a\"}} 1 {}", now - FORTNIGHT + since).expect("a string grows");
    }
    text.push_str("# EOF\n");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_does_what_it_is_shown_for() {
    let pages = page::all();
    let Some(mut desk) = Desk::open(&pages).await else { return };
    desk.until_it_explains().await;
    let mut commands: Vec<_> = pages.iter().flat_map(|page| &page.blocks).flat_map(command::commands).collect();
    let mut known = BTreeSet::new();
    commands.retain(|command| known.insert(command.text.clone()));
    let mut afterwards = Vec::new();
    let mut followed = 0;
    for command in commands {
        let calls = command.of_setpoint();
        match calls.first().and_then(|arguments| arguments.first()).map(String::as_str) {
            None | Some("demo") => continue,
            Some("run") => assert_eq!(calls[0], RUN, "{command} is not what runs here"),
            _ if calls[0].contains(&"--state".into()) => afterwards.push(command),
            _ => succeeds(&desk, &command).await,
        }
        followed += 1;
    }
    end(&mut desk.daemon, "TERM").await;
    for command in &afterwards {
        succeeds(&desk, command).await;
    }
    assert!(followed > 20, "{followed}");
}

async fn succeeds(desk: &Desk, command: &Shown) {
    let output = desk.follow(command).await;
    assert!(output.status.success(), "{command}: {output:?}");
}

/// Ends by itself, and well.
pub async fn end(process: &mut Child, signal: &str) {
    let pid = process.id().expect("a running process").to_string();
    assert!(Command::new("kill").args(["-s", signal, &pid]).status().await.expect("kill").success());
    let status = tokio::time::timeout(PATIENCE, process.wait()).await.expect("an end").expect("a status");
    assert!(status.success(), "{status}");
}
