//! The operator's commands: the real binary against a real daemon in the embedded world.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use serde_json::Value;
use setpoint::api::{Role, Server, Settings, Tls, Token, View};
use setpoint::clock::Clock;
use setpoint::config;
use setpoint::daemon::{Command, Daemon};
use setpoint::policy::Capacity;
use setpoint::simulation::{GroupSettings, Workload, World, WorldServer};
use setpoint::status::{Board, PolicyStatus, Snapshot};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

const VIEWER: &str = "viewer-0123456789abcdef0123456789";
const OPERATOR: &str = "operator-0123456789abcdef01234567";

// One evaluation an hour: whatever happens within a test is not the rhythm's doing.
const SLOW: &str = r#"
interval = "1h"
[prometheus]
url = "http://127.0.0.1:9090"
[aws]
region = "us-east-1"
[[policy]]
name = "web"
asg = "web"
mode = "active"
min = 1
max = 100
cooldown = { in = "1s", out = "0s" }
step = { out = "unlimited", in = "unlimited" }
[[policy.metric]]
name = "requests"
kind = "total"
query = 'sum(http_requests_per_second{asg="web"})'
target = 100
"#;

/// A daemon on a world of two instances and their load, with a socket, tokens and TLS.
struct Desk {
    board: Board,
    folder: TempDir,
    url: String,
    commands: mpsc::Sender<Command>,
    daemon: JoinHandle<()>,
    _world: WorldServer,
    _stop: oneshot::Sender<()>,
}

impl Desk {
    async fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("setpoint.toml"), SLOW).expect("a file");
        let world = world().await;
        let board = Board::new(Snapshot::new("setpoint.toml".into(), Clock::WALL.now()));
        let (commands, received) = mpsc::channel(4);
        let load = loader(&folder.path().join("setpoint.toml"), &world);
        let config = load().expect("a valid configuration");
        let credentials = Credentials::from_keys("trial", "trial", None);
        let daemon = Daemon::start(config, Clock::WALL, board.clone(), Some(credentials)).await.expect("a daemon");
        let history = daemon.history();
        let daemon = tokio::spawn(daemon.run(received, Box::new(load)));
        let server = Server::bind(&settings(folder.path())).await.expect("a server");
        let url = format!("https://localhost:{}", server.address().expect("an address").port());
        let (stop, stopped) = oneshot::channel::<()>();
        let view = View::new(board.reader(), history, commands.clone(), Clock::WALL);
        tokio::spawn(server.serve(view, async { drop(stopped.await) }));
        let desk = Self { board, folder, url, commands, daemon, _world: world, _stop: stop };
        desk.until("evaluated", |web| web.evaluation.is_some()).await;
        desk
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("a name in UTF-8").to_owned()
    }

    /// What the binary does over the socket.
    async fn run(&self, arguments: &[&str]) -> Output {
        setpoint(&[arguments, &["--socket", &self.path("socket")]].concat()).await
    }

    /// What it prints, and with success.
    async fn says(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Waits until the policy is as `expected`, which must be long before the next evaluation is due.
    async fn until(&self, what: &str, expected: impl Fn(&PolicyStatus) -> bool) {
        let mut reader = self.board.reader();
        let shown = reader.wait_for(|snapshot| snapshot.policies.get("web").is_some_and(|web| expected(web)));
        let shown = tokio::time::timeout(Duration::from_mins(1), shown).await.map(|shown| drop(shown.unwrap()));
        assert!(shown.is_ok(), "web is never {what}: {:#?}", self.board.reader().borrow().policies["web"]);
    }
}

fn loader(file: &Path, world: &WorldServer) -> impl Fn() -> Result<config::Config, config::Findings> + Send + use<> {
    let environment = [
        ("SETPOINT__PROMETHEUS__URL".to_owned(), world.prometheus_url.clone()),
        ("SETPOINT__AWS__ENDPOINT_URL".to_owned(), world.auto_scaling_url.clone()),
    ];
    let file = file.to_owned();
    move || config::load(&file, environment.clone())
}

async fn world() -> WorldServer {
    let settings = GroupSettings {
        name: "web".into(),
        min: Capacity::new(1),
        max: Capacity::new(100),
        desired: Capacity::new(2),
        boot: Duration::from_secs(5),
    };
    let world = World::new(1, Clock::WALL.now()).with_fleet(settings, Workload::constant(190.0));
    WorldServer::start(world, Clock::WALL).await.expect("loopback")
}

/// Tokens, and a certificate for `localhost`, in `folder`.
fn settings(folder: &Path) -> Settings {
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let write = |name: &str, text: &str| -> PathBuf {
        std::fs::write(folder.join(name), text).expect("a file");
        folder.join(name)
    };
    let certificate_file = write("cert.pem", &certificate.cert.pem());
    let key_file = write("key.pem", &certificate.signing_key.serialize_pem());
    let token = |name: &str, role, text: &str| Token { name: name.into(), role, file: write(name, text) };
    Settings {
        socket: Some(folder.join("socket")),
        tls: Some(Tls { certificate_file, key_file }),
        tokens: vec![token("viewer", Role::Viewer, VIEWER), token("operator", Role::Operator, OPERATOR)],
        ..Settings::loopback(0)
    }
}

async fn setpoint(arguments: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_setpoint"));
    command.args(arguments).env("USER", "alice").env_remove("SUDO_USER").output().await.expect("the binary")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_in_effect_at_once_and_is_shown() {
    let desk = Desk::open().await;
    let said = desk.says(&["pause", "web", "--for", "3h", "--reason", "a migration"]).await;
    assert!(said.starts_with("web is paused until ") && said.contains(", by alice (uid "), "{said}");
    let status = desk.says(&["status"]).await;
    assert!(status.contains("web     paused"), "{status}");
    for says in [&status, &desk.says(&["explain", "web"]).await] {
        assert!(says.contains("the policy is paused until ") && says.contains(": a migration"), "{says}");
    }
    // A floor does not get past a pause.
    let said = desk.says(&["override", "web", "--floor", "7", "--for", "7d", "--reason", "a sale"]).await;
    assert!(said.starts_with("web is overridden to at least 7 until "), "{said}");
    desk.until("evaluated with the floor", |web| web.because.as_ref().is_some_and(|why| why.contains("paused"))).await;
    let before = Instant::now();
    let said = desk.says(&["resume", "web", "--reason", "it is done"]).await;
    assert!(said.starts_with("web is resumed, by alice"), "{said}");
    desk.until("raised to the floor", |web| web.last_action.as_ref().is_some_and(|action| action.to.get() == 7)).await;
    println!("from the command's start to the new capacity: {:?}", before.elapsed());
    let said = desk.says(&["release", "web", "--reason", "sold out", "--output", "json"]).await;
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert!(said["by"].as_str().is_some_and(|by| by.starts_with("alice (uid ")), "{said}");
    desk.until("released", |web| web.evaluation.as_ref().is_some_and(|e| e.observation.ordered.is_none())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_is_on_top_of_the_status() {
    let desk = Desk::open().await;
    let said = desk.says(&["freeze", "--scope", "scale-in", "--for", "1h", "--reason", "incident 4711"]).await;
    assert!(said.starts_with("all policies are frozen for scale-in until "), "{said}");
    let status = desk.says(&["status"]).await;
    assert!(status.contains("Frozen until ") && status.contains(": incident 4711"), "{status}");
    desk.until("stopped", |web| web.evaluation.as_ref().is_some_and(|e| e.observation.paused.inward)).await;
    let said = desk.says(&["resume", "web", "--reason", "it is over"]).await;
    assert!(said.contains("; but the freeze of every policy lasts until "), "{said}");
    let said = desk.says(&["unfreeze", "--reason", "it is over"]).await;
    assert!(said.starts_with("the freeze is over, by alice") && !said.contains("; but"), "{said}");
    for (again, nothing) in [("unfreeze", "there was none"), ("release web", "no override was ordered for it")] {
        let arguments: Vec<&str> = again.split(' ').chain(["--reason", "it is over"]).collect();
        let said = desk.says(&arguments).await;
        assert!(said.ends_with(&format!("; but {nothing}\n")), "{said}");
    }
    desk.until("free", |web| web.evaluation.as_ref().is_some_and(|e| !e.observation.paused.inward)).await;
    assert!(!desk.says(&["status"]).await.contains("Frozen"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_says_what_is_wrong_and_leaves_the_old_configuration() {
    let desk = Desk::open().await;
    let said = desk.says(&["reload", "--reason", "nothing new"]).await;
    assert!(said.starts_with("the configuration is reloaded, by alice"), "{said}");
    let why = desk.says(&["explain", "web"]).await;
    assert!(why.contains("Policy web at"), "what did not change is as well known as before: {why}");
    std::fs::write(desk.path("setpoint.toml"), SLOW.replace("max = 100", "max = 0")).expect("a file");
    let output = desk.run(&["reload", "--reason", "a slip"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("setpoint.toml:12:"), "{}", stderr(&output));
    assert!(stderr(&output).contains("policy[web].max"), "{}", stderr(&output));
    let status = desk.says(&["status"]).await;
    assert!(status.contains("The last reload was refused: ") && status.contains("1-100"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_is_a_table_without_colour_where_nobody_sees_it() {
    let desk = Desk::open().await;
    let status = desk.says(&["status"]).await;
    let mut lines = status.lines();
    let head = lines.next().expect("a head");
    assert!(head.starts_with("Setpoint ") && head.ends_with(", 1 policy from setpoint.toml"), "{status}");
    let heading: Vec<&str> =
        lines.find(|line| line.starts_with("POLICY")).expect("a heading").split_whitespace().collect();
    assert_eq!(heading, ["POLICY", "STATE", "DESIRED", "READY", "WANTED", "BOUNDS", "METRICS", "WHY"]);
    let row = lines.next().expect("a row");
    assert!(row.starts_with("web  ") && row.contains("1-100   requests "), "{row}");
    assert!(!status.contains('\u{1b}'), "{status:?}");
    let json: Value = serde_json::from_str(&desk.says(&["status", "--output", "json"]).await).expect("JSON");
    assert_eq!((&json["policies"][0]["name"], &json["daemon"]["policies"]), (&"web".into(), &1.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_says_what_is_not_known() {
    let desk = Desk::open().await;
    let report = desk.says(&["report", "web", "--from", "2h"]).await;
    for said in ["At no known price; set instance_price", "\nalways at max", "Its size is unknown for", "An estimate: "]
    {
        assert!(report.contains(said), "{said} is not in\n{report}");
    }
    let json: Value = serde_json::from_str(&desk.says(&["report", "--output", "json"]).await).expect("JSON");
    assert_eq!((&json["policies"][0]["policy"], &json["policies"][0]["known_hours"]), (&"web".into(), &0.0.into()));
    let nobody = desk.run(&["report", "nobody"]).await;
    assert_eq!(nobody.status.code(), Some(1));
    let said = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(said.contains("no policy \"nobody\", it has: web"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_watched_live() {
    let desk = Desk::open().await;
    let mut watch = tokio::process::Command::new(env!("CARGO_BIN_EXE_setpoint"))
        .args(["watch", "--output", "json", "--socket", &desk.path("socket")])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary");
    let mut lines = BufReader::new(watch.stdout.take().expect("its output")).lines();
    let mut next = async || -> Value {
        let line = lines.next_line().await.expect("a line").expect("a line");
        serde_json::from_str(&line).expect("JSON")
    };
    assert_eq!(next().await["name"], "web");
    desk.says(&["pause", "web", "--for", "1h", "--reason", "x"]).await;
    while next().await["pause"].is_null() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_says_who_asks_and_the_exit_code_what_came_of_it() {
    let desk = Desk::open().await;
    let check = async |token: &str, arguments: &[&str], code: i32, fragment: &str| {
        let (token, authority) = (desk.path(token), desk.path("cert.pem"));
        let place = ["--url", &desk.url, "--token-file", &token, "--ca-file", &authority];
        let output = setpoint(&[arguments, &place].concat()).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
        assert!(said.contains(fragment), "{said}");
        assert!(!said.contains(VIEWER) && !said.contains(OPERATOR), "{said}");
    };
    let resume = ["resume", "web", "--reason", "x"];
    check("operator", &resume, 0, "web is resumed, by alice (operator)").await;
    check("operator", &["status"], 0, "web").await;
    check("viewer", &["explain", "web"], 0, "Policy web at").await;
    check("viewer", &resume, 77, "this needs an operator, and viewer is a viewer").await;
    check("setpoint.toml", &resume, 1, "holds no token").await;
    check("missing", &resume, 1, "can't read").await;
    check("operator", &["resume", "nobody", "--reason", "x"], 1, "the daemon has no policy \"nobody\", it has: web")
        .await;
    let beyond = |bound, number| ["override", "web", bound, number, "--for", "1h", "--reason", "x"];
    check("operator", &beyond("--floor", "5000"), 1, "is above the policy's max of").await;
    check("operator", &beyond("--cap", "0"), 1, "is below the policy's min of").await;
    check("operator", &["pause", "web", "--for", "31d", "--reason", "x"], 1, "within 30 days").await;
    check("operator", &["pause", "web", "--for", "3", "--reason", "x"], 2, "'--for <TIME>': expected a time").await;
    check("operator", &["pause", "web", "--until", "noon", "--reason", "x"], 2, "expected a moment such as").await;
    check("operator", &["pause", "web", "--reason", "x"], 2, "--for <TIME>|--until <MOMENT>").await;
    check("operator", &["override", "web", "--for", "1h", "--reason", "x"], 2, "--floor").await;
    check("operator", &["resume", "web"], 2, "--reason").await;
    // Not with the authorities of this system.
    let output = setpoint(&["status", "--url", &desk.url]).await;
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let orders = ["unfreeze", "--reason", "x", "--ca-file", &desk.path("cert.pem"), "--url", &desk.url];
    let output = setpoint(&orders).await;
    assert_eq!(output.status.code(), Some(77), "{output:?}");
    assert!(stderr(&output).contains("expected --socket, or --url with --token-file"), "{output:?}");
    let output = setpoint(&["status", "--url", "127.0.0.1:9480"]).await;
    assert!(stderr(&output).contains("expected the address of a daemon, such as http://"), "{output:?}");
    let output = setpoint(&["status", "--socket", &desk.path("elsewhere")]).await;
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let token = desk.path("operator");
    let output = setpoint(&["status", "--url", "http://setpoint.example", "--token-file", &token]).await;
    assert!(stderr(&output).contains("not sent to http://setpoint.example/ in clear text"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_stops_says_so_to_who_orders() {
    let desk = Desk::open().await;
    desk.commands.send(Command::Stop).await.expect("the daemon runs");
    let Desk { daemon, .. } = &desk;
    while !daemon.is_finished() {
        tokio::task::yield_now().await;
    }
    let output = desk.run(&["freeze", "--for", "1h", "--reason", "x"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("the daemon is stopping"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_and_manual_pages_are_made_for_every_command() {
    let help = String::from_utf8(setpoint(&["--help"]).await.stdout).expect("text");
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    for command in ["status", "watch", "pause", "resume", "override", "release", "freeze", "unfreeze", "reload"] {
        assert!(commands.contains(&command), "{command} in {commands:?}");
        let help = String::from_utf8(setpoint(&[command, "--help"]).await.stdout).expect("text");
        assert!(help.contains("Exit codes:") && help.contains("--socket <PATH>"), "{help}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = String::from_utf8(setpoint(&["completions", shell]).await.stdout).expect("text");
        assert!(commands.iter().all(|command| script.contains(command)), "{shell}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let output = setpoint(&["man", "--directory", folder.path().to_str().expect("UTF-8")]).await;
    assert!(output.status.success(), "{output:?}");
    for command in commands.iter().filter(|command| **command != "help") {
        let page = std::fs::read_to_string(folder.path().join(format!("setpoint-{command}.1"))).expect(command);
        assert!(page.contains(".TH"), "{command}");
    }
    let page = String::from_utf8(setpoint(&["man"]).await.stdout).expect("text");
    assert!(page.contains("setpoint"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_stand_in_the_order_in_which_one_meets_them() {
    let help = String::from_utf8(setpoint(&["--help"]).await.stdout).expect("text");
    let place = |command: &str| help.find(&format!("\n  {command} ")).unwrap_or_else(|| panic!("{command} in {help}"));
    let order =
        ["demo", "check", "run", "explain", "history", "pause", "simulate", "backtest", "tune", "iam-policy", "man"];
    assert!(order.map(place).is_sorted(), "{help}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_takes_the_order_that_it_prints_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut demo = tokio::process::Command::new(env!("CARGO_BIN_EXE_setpoint"))
        .args(["demo", "--once", "--port", "0"])
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary");
    let mut lines = BufReader::new(demo.stdout.take().expect("its output")).lines();
    let command = loop {
        let line = lines.next_line().await.expect("a line").expect("the command");
        if let Some(command) = line.trim().strip_prefix("setpoint ") {
            break command.replace("'a try'", "try");
        }
    };
    let output = setpoint(&command.split(' ').collect::<Vec<_>>()).await;
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("tickets is paused until "), "{output:?}");
    let process = demo.id().expect("it runs").to_string();
    tokio::process::Command::new("kill").arg(process).status().await.expect("SIGTERM");
    let ended = tokio::time::timeout(Duration::from_mins(1), demo.wait()).await.expect("an end");
    assert!(ended.is_ok_and(|status| status.success()));
    assert_eq!(folder.path().read_dir().expect("a folder").count(), 0);
}
