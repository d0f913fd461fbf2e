//! The API on sockets of its own, asked in plain bytes, and a fleet with one policy for each state to be told apart.
#![allow(dead_code, reason = "each test crate uses its own part")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use setpoint::api::{Server, Settings, View};
use setpoint::clock::Clock;
use setpoint::control::{ControllerState, Decision, Outcome, Rejection, evaluate};
use setpoint::journal::Reader;
use setpoint::observation::{Failure, GroupStatus, Measurement, Observation, Rivals};
use setpoint::order::{Command, Receipt};
use setpoint::policy::{Capacity, MetricKind, Policy};
use setpoint::status::{Action, Board, LaneStatus, PolicyStatus, Snapshot};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::fixture::{group, metric, policy, value};

/// What a server somewhere might answer, to get into the page.
pub const HOSTILE: &str = "<script>alert('1')</script>";

/// The API on a port of its own.
pub struct Site {
    pub address: SocketAddr,
    pub board: Board,
    /// Dropped to stop the server.
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

impl Site {
    pub async fn open(snapshot: Snapshot) -> Self {
        Self::with(&Settings::loopback(0), snapshot).await
    }

    pub async fn with(settings: &Settings, snapshot: Snapshot) -> Self {
        let server = Server::bind(settings).await.unwrap();
        let address = server.address().unwrap();
        let board = Board::new(snapshot);
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async { drop(stopped.await) };
        let (commands, received) = mpsc::channel(4);
        tokio::spawn(obey(board.clone(), received));
        let view = View::new(board.reader(), Reader::off(), commands, Clock::WALL);
        let server = tokio::spawn(server.serve(view, stopped));
        Self { address, board, stop: Some(stop), server }
    }

    /// Stops the server, and says how long that took.
    pub async fn end(&mut self) -> Duration {
        let started = Instant::now();
        drop(self.stop.take());
        let ended = timeout(Duration::from_mins(1), &mut self.server).await;
        ended.expect("the server ends").unwrap();
        started.elapsed()
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\n", self.address)).await
    }

    /// The answer to a request with this head.
    pub async fn ask(&self, head: &str) -> Answer {
        self.try_ask(head).await.unwrap_or_else(|| panic!("no answer to {head:?}"))
    }

    /// The answer, unless the server closes without one.
    pub async fn try_ask(&self, head: &str) -> Option<Answer> {
        send(self.connect().await, head, "").await
    }
}

/// Stands in for the daemon: checks orders as it does, and shows those that stand.
async fn obey(board: Board, mut commands: mpsc::Receiver<Command>) {
    while let Some(command) = commands.recv().await {
        // Whoever asked may have gone.
        match command {
            Command::Order(order, answer) => {
                let checked = order.check();
                if checked.is_ok() {
                    board.publish(|snapshot| Arc::make_mut(&mut snapshot.orders).take(order));
                }
                let _ = answer.send(checked.map(|()| Receipt::default()));
            }
            Command::Reload(answer) => _ = answer.send(Err("setpoint.toml:3:1: it is wrong".into())),
            Command::Stop => return,
        }
    }
}

/// Sends one request on a connection of its own.
pub async fn send(mut stream: impl AsyncRead + AsyncWrite + Unpin, head: &str, body: &str) -> Option<Answer> {
    // A server that refuses early may close before all is written.
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let _ = stream.write_all(format!("{head}{length}Connection: close\r\n\r\n{body}").as_bytes()).await;
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    Answer::parse(std::str::from_utf8(&bytes).unwrap())
}

pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    pub fn parse(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Some(Self { status, headers: lines.filter_map(header).collect(), body: body.to_owned() })
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub fn is_guarded(&self, path: &str) {
        assert!(self.header("content-security-policy").starts_with("default-src 'none'"), "{path}");
        assert_eq!(self.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(self.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(self.header("cache-control"), "no-store", "{path}");
        assert_eq!(self.header("access-control-allow-origin"), "", "{path}");
    }

    pub fn is_problem(&self, status: u16) {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        self.is_guarded("a problem");
    }
}

/// One policy for each state that a reader must be able to tell apart, in one lane.
pub fn fleet() -> Snapshot {
    let now = Timestamp::now();
    let mut snapshot = Snapshot::new("/etc/setpoint/setpoint.toml".into(), now);
    let lane = LaneStatus {
        region: None,
        interval: Duration::from_secs(15),
        policies: 10,
        started: now,
        finished: Some(now),
        took: Duration::from_millis(250),
        cycles: 12,
    };
    snapshot.lanes.insert("main".into(), lane);
    for status in vec![
        web(now),
        bad("empty", Measurement::NoData, now),
        counted(bad("nan", Measurement::NotFinite, now)),
        bad("twins", Measurement::ManySeries { count: 2 }, now),
        bad("old", Measurement::Stale { age: Duration::from_mins(10) }, now),
        lost(now),
        seen(&named("contested"), &[value(0.9)], Some(GroupStatus { rivals: Rivals::ScalingPolicy, ..group(4) }), now),
        refused(now),
        seen(&named("overdue"), &[value(0.7)], Some(warming()), now - Duration::from_mins(10)),
        PolicyStatus::new(&named("fresh")),
        PolicyStatus { because: Some("the last evaluation failed".into()), ..PolicyStatus::new(&named("faulty")) },
    ] {
        snapshot.policies.insert(status.name.clone(), Arc::new(status));
    }
    snapshot
}

/// A policy whose metric has been invalid before.
fn counted(mut status: PolicyStatus) -> PolicyStatus {
    status.counters.invalid.insert(("cpu".into(), "not-finite"), 7);
    status
}

/// That fleet with so many calm policies more.
pub fn large(policies: usize) -> Snapshot {
    let mut snapshot = fleet();
    for number in 0..policies {
        let name = format!("calm-{number:05}");
        let calm = seen(&named(&name), &[value(0.7)], Some(group(4)), snapshot.started);
        snapshot.policies.insert(calm.name.clone(), Arc::new(calm));
    }
    snapshot
}

pub fn named(name: &str) -> Policy {
    Policy { name: name.into(), ..policy() }
}

/// The status of a policy after one evaluation of what was seen.
pub fn seen(policy: &Policy, measurements: &[Measurement], group: Option<GroupStatus>, now: Timestamp) -> PolicyStatus {
    let observation =
        Observation { measurements: measurements.iter().copied().collect(), group, ..Observation::default() };
    let (evaluation, _) = evaluate(policy, ControllerState::default(), &observation, now);
    let mut status = PolicyStatus::new(policy);
    for (metric, measurement) in status.metrics.iter_mut().zip(measurements) {
        metric.measurement = Some(*measurement);
    }
    status.group = group;
    status.because = Some(evaluation.because());
    status.evaluation = Some(evaluation);
    status
}

/// Four in service, of which one is not warm yet.
pub fn warming() -> GroupStatus {
    GroupStatus { warm: Capacity::new(3), ..group(4) }
}

pub fn bad(name: &str, measurement: Measurement, now: Timestamp) -> PolicyStatus {
    seen(&named(name), &[measurement], Some(group(4)), now)
}

pub fn web(now: Timestamp) -> PolicyStatus {
    let mut rules = named("web");
    rules.metrics.push(metric("p99", MetricKind::Latency, 0.5));
    rules.metrics.push(metric("rare", MetricKind::Total, 0.25));
    let fresh = |value| Measurement::Value { value, age: Some(Duration::from_secs(3)) };
    let mut status = seen(&rules, &[fresh(0.9), fresh(0.41), fresh(0.5)], Some(group(4)), now);
    let Some(Decision::Scale { .. }) = status.decision() else { panic!("{:?}", status.because) };
    status.last_action = Some(action(Outcome::Applied, None, "2026-11-23T02:58:50Z".parse().unwrap()));
    status.counters.actions.insert(("out", "applied"), 3);
    status
}

pub fn lost(now: Timestamp) -> PolicyStatus {
    let failed = Measurement::Failed { failure: Failure::Timeout };
    let mut status = seen(&named("lost"), &[failed], None, now);
    status.group_detail = Some(format!("AccessDenied: {HOSTILE}"));
    status.metrics[0].detail = Some(HOSTILE.into());
    status
}

pub fn refused(now: Timestamp) -> PolicyStatus {
    let mut status = seen(&named("refused"), &[value(0.9)], Some(group(4)), now);
    status.last_action = Some(action(Outcome::Rejected(Rejection::AccessDenied), Some(HOSTILE), now));
    status
}

pub fn action(outcome: Outcome, error: Option<&str>, at: Timestamp) -> Action {
    let [from, to] = [3, 4].map(Capacity::new);
    Action { at, from, to, because: "cpu asks for 4".into(), outcome, error: error.map(Into::into) }
}
