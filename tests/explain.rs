//! `setpoint explain`: the real binary asks a daemon, and says what to do where there is none.

mod fixture;

use std::net::{SocketAddr, TcpListener as StdListener};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use fixture::{group, metric, policy};
use jiff::Timestamp;
use serde_json::Value;
use setpoint::api::{Server, Settings, View};
use setpoint::clock::Clock;
use setpoint::control::{ControllerState, evaluate};
use setpoint::journal::Reader;
use setpoint::observation::{Measurement, Observation};
use setpoint::policy::{HoldSignal, MetricKind, Policy, Source, Threshold};
use setpoint::simulation::{World, WorldServer};
use setpoint::status::{Board, PolicyStatus, Snapshot};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

const DEMO: &str = include_str!("../config/demo.toml");
const README: &str = include_str!("../README.md");

async fn setpoint(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_setpoint")).args(arguments).output().await.expect("the binary")
}

/// What `setpoint explain` prints, and with success.
async fn explained(arguments: &[&str]) -> String {
    let output = setpoint(&[&["explain"], arguments].concat()).await;
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// What `setpoint explain` says where it fails.
async fn refused(arguments: &[&str]) -> String {
    failed(1, arguments).await
}

async fn failed(code: i32, arguments: &[&str]) -> String {
    let output = setpoint(&[&["explain"], arguments].concat()).await;
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(code), &b""[..]), "{output:?}");
    String::from_utf8(output.stderr).expect("text")
}

/// The API with a policy `web` that was evaluated, and one `fresh` that was not.
async fn open() -> String {
    let mut rules = policy();
    rules.metrics.push(metric("p99", MetricKind::Latency, 0.5));
    let fresh = Policy { name: "fresh".into(), ..policy() };
    let mut snapshot = Snapshot::new("setpoint.toml".into(), moment());
    for status in [Arc::new(evaluated(&rules)), Arc::new(PolicyStatus::new(&fresh))] {
        snapshot.policies.insert(status.name.clone(), status);
    }
    let server = Server::bind(&Settings::loopback(0)).await.expect("loopback");
    let url = format!("http://{}", server.address().expect("an address"));
    let view = View::new(Board::new(snapshot).reader(), Reader::off(), mpsc::channel(1).0, Clock::WALL);
    tokio::spawn(server.serve(view, std::future::pending()));
    url
}

fn moment() -> Timestamp {
    "2026-11-23T02:58:50Z".parse().expect("a moment")
}

/// CPU over its target, and no p99.
fn evaluated(rules: &Policy) -> PolicyStatus {
    let measurements = [Measurement::of(0.9, Some(Duration::from_secs(3))), Measurement::NoData];
    let seen = Observation {
        measurements: measurements.into_iter().collect(),
        group: Some(group(4)),
        ..Observation::default()
    };
    let (evaluation, _) = evaluate(rules, ControllerState::default(), &seen, moment());
    let mut status = PolicyStatus::new(rules);
    status.metrics[1].detail = Some("the query found no series".into());
    status.evaluation = Some(evaluation);
    status
}

const EXPLANATION: &str = "\
Policy web at 2026-11-23 02:58:50 UTC

  Measured                    value         target          age
  cpu                         0.900          0.700          3 s
  p99                          none        0.500 s            -
    no data
    the query found no series
  The group: 4 desired, 4 in service (4 warm, 4 healthy), 0 pending; its bounds
  are 0 to 1000.

  Recommended                demand       capacity      rounded
  cpu                         5.143          5.143            6

  Stage                          in            out
  validity                        4              4
    p99 has no valid value: no data
  controller                      4              6
    cpu at 0.900 against 0.700 asks for 6
  floors                          6              6
  tolerance                       6              6
  stabilization                   6              6
  step                            6              6
  bounds                          6              6
  cooldown                        6              6
  guards                          6              6
  mode                            6              6

Decision: scale out from 4 to 6
Last word (controller): cpu at 0.900 against 0.700 asks for 6.
";

#[tokio::test(flavor = "multi_thread")]
async fn it_says_everything_from_top_to_bottom() {
    let url = open().await;
    assert_eq!(explained(&["web", "--url", &url]).await, EXPLANATION);
    // However the URL ends.
    assert_eq!(explained(&["web", "--url", &format!("{url}/")]).await, EXPLANATION);
    let json: Value = serde_json::from_str(&explained(&["web", "--url", &url, "--output", "json"]).await).unwrap();
    assert_eq!(json["decision"]["to"], 6);
    assert_eq!(json["reasons"][0]["text"], "p99 has no valid value: no data");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_says_what_to_do() {
    let url = open().await;
    let says = refused(&["nobody", "--url", &url]).await;
    assert_eq!(says, "setpoint: the daemon has no policy \"nobody\", it has: fresh, web\n");
    assert!(refused(&["../web", "--url", &url]).await.contains("it has: fresh, web"));
    let says = refused(&["fresh", "--url", &url]).await;
    assert_eq!(says, "setpoint: fresh can't be explained: this policy has not been evaluated yet; it is every 15 s\n");
    let says = failed(69, &["web", "--url", "http://127.0.0.1:1"]).await;
    assert!(says.contains("no daemon answers at http://127.0.0.1:1/; start one with `setpoint run`, or say with --"));
    let says = failed(2, &["web", "--url", "ftp://127.0.0.1:1"]).await;
    assert!(says.contains("expected the address of a daemon, such as http://127.0.0.1:9480"), "{says}");
}

/// The daemon that `setpoint run` is, killed when dropped.
struct Running {
    address: SocketAddr,
    _folder: tempfile::TempDir,
    _process: tokio::process::Child,
}

impl Running {
    fn start(world: &WorldServer) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("setpoint.toml");
        std::fs::write(&file, DEMO.replace(r#"name = "tickets""#, r#"name = "web""#)).expect("a file");
        // Free a moment ago; nobody else on this machine is told of it.
        let free = StdListener::bind("127.0.0.1:0").expect("loopback");
        let address = free.local_addr().expect("an address");
        drop(free);
        let process = Command::new(env!("CARGO_BIN_EXE_setpoint"))
            .args(["run", "--config"])
            .arg(&file)
            .env("SETPOINT__PROMETHEUS__URL", &world.prometheus_url)
            .env("SETPOINT__AWS__ENDPOINT_URL", &world.auto_scaling_url)
            .env("SETPOINT__HTTP__LISTEN", address.to_string())
            .env("AWS_ACCESS_KEY_ID", "trial")
            .env("AWS_SECRET_ACCESS_KEY", "trial")
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary");
        Self { address, _folder: folder, _process: process }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_in_the_readme_explains_a_running_daemon() {
    let line = README.lines().find_map(|line| line.strip_prefix("$ setpoint explain"));
    assert_eq!(line, Some(" web"));
    let start = Timestamp::now();
    let world = WorldServer::start(World::ticket_sale(1, start), Clock::WALL).await.expect("loopback");
    let running = Running::start(&world);
    let url = format!("http://{}", running.address);
    let evaluated = async {
        loop {
            let output = setpoint(&["explain", "web", "--url", &url]).await;
            if output.status.success() {
                return String::from_utf8(output.stdout).expect("text");
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    let text = timeout(Duration::from_mins(1), evaluated).await.expect("an evaluation within a minute");
    println!("{text}");
    for says in ["Policy web at ", "Measured", "The group: ", "Recommended", "Stage", "Decision: ", "Last word ("] {
        assert!(text.contains(says), "{says} in {text}");
    }
}

#[tokio::test]
async fn the_help_teaches_by_an_example() {
    let help = String::from_utf8(setpoint(&["explain", "--help"]).await.stdout).expect("text");
    assert!(help.contains("$ setpoint explain web\n"), "{help}");
}

#[test]
fn every_signal_is_shown_and_whether_it_burns() {
    let signal = |name: &str, threshold| HoldSignal {
        name: name.into(),
        threshold,
        max_age: Duration::from_secs(90),
        source: Source::Prometheus { query: name.into(), per_instance: None },
    };
    let above = Threshold::Above(0.01);
    let hold_scale_in_while =
        vec![signal("errors", above), signal("saturation", Threshold::Below(3.0)), signal("queue", above)];
    let rules = Policy { hold_scale_in_while, ..policy() };
    let signals = [Measurement::of(0.2, None), Measurement::of(3.0, None), Measurement::NoData].into_iter().collect();
    let seen = Observation { signals, group: Some(group(4)), ..Observation::default() };
    let (evaluation, _) = evaluate(&rules, ControllerState::default(), &seen, moment());
    let text = evaluation.explanation([], None).to_string();
    let shown = "
  errors                      0.200              -            -
    It burns: it is above 0.01.
  saturation                  3.000              -            -
    It would burn below 3.
  queue                        none              -            -
    no data
";
    assert!(text.contains(shown), "{text}");
}
