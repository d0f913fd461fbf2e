//! Requests to the API, as an operator over the socket: any path, any method, any body.
//!
//! The first line of the input is the method and the path, the rest is the body. What an order makes of it is put in
//! force as the daemon does it.

use std::path::PathBuf;
use std::sync::Arc;

use setpoint::api::{Server, Settings, View};
use setpoint::clock::Clock;
use setpoint::config;
use setpoint::journal::Reader;
use setpoint::order::{Command, Order, Receipt};
use setpoint::status::{Board, PolicyStatus, Snapshot};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

thread_local! {
    static SITE: Site = Site::open();
}

struct Site {
    folder: TempDir,
    runtime: Runtime,
}

/// The answer is one of success, or a problem that says what is wrong. Only hyper's own refusals have no body.
pub fn check(input: &[u8]) {
    let (asked, body) = input.split_at(input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len()));
    // Everything after the first word but for what ends the line.
    let asked: Vec<u8> = asked.iter().copied().filter(|byte| *byte >= b' ').collect();
    let (method, path) = asked.split_at(asked.iter().position(|byte| *byte == b' ').unwrap_or(asked.len()));
    let body = body.get(1..).unwrap_or_default();
    if path.starts_with(b" /api/v1/events") {
        return; // An answer without an end.
    }
    let length = body.len();
    let head = format!(
        " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    let answer = SITE.with(|site| site.send(&[method, path, head.as_bytes(), body].concat()));
    let answer = String::from_utf8(answer).expect("answers are text");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let head = head.to_ascii_lowercase();
    let status: u16 = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let problem = head.contains("content-type: application/problem+json");
    let bare = body.is_empty() && (matches!(status, 304 | 400 | 414 | 431) || method == b"HEAD");
    assert!((200..300).contains(&status) || problem || bare || status == 503 && path == b" /readyz", "{answer}");
    if problem && method != b"HEAD" {
        let told: serde_json::Value = serde_json::from_str(body).expect("a problem is JSON");
        assert!(told["status"] == status && told["title"].is_string() && told["detail"].is_string(), "{answer}");
    }
}

impl Site {
    fn open() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let folder = tempfile::tempdir().expect("a folder");
        let settings = Settings { socket: Some(folder.path().join("socket")), ..Settings::loopback(0) };
        let board = Board::new(snapshot());
        let (commands, received) = mpsc::channel(4);
        let view = View::new(board.reader(), Reader::off(), commands, Clock::WALL);
        let server = runtime.block_on(Server::bind(&settings)).expect("a socket");
        runtime.spawn(server.serve(view, std::future::pending()));
        runtime.spawn(obey(board, received));
        Self { folder, runtime }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn send(&self, request: &[u8]) -> Vec<u8> {
        self.runtime.block_on(async {
            let mut stream = UnixStream::connect(self.socket()).await.expect("a server");
            // One that refuses early may close before all is written.
            let _ = stream.write_all(request).await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            answer
        })
    }
}

fn snapshot() -> Snapshot {
    let config = config::parse("api.toml", include_str!("drive.toml"), []).expect("a valid configuration");
    let mut snapshot = Snapshot::new("api.toml".into(), super::now());
    let statuses = config.policies.iter().map(|policy| (policy.name.clone(), Arc::new(PolicyStatus::new(policy))));
    snapshot.policies = statuses.collect();
    snapshot
}

/// Stands in for the daemon. What it is told must be what the journal can give back.
async fn obey(board: Board, mut commands: mpsc::Receiver<Command>) {
    while let Some(command) = commands.recv().await {
        // Whoever asked may have gone.
        match command {
            Command::Order(order, answer) => {
                let checked = order.check();
                if checked.is_ok() {
                    let kept = serde_json::to_string(&order).expect("an order can be kept");
                    assert_eq!(serde_json::from_str::<Order>(&kept).ok().as_ref(), Some(&order), "{kept}");
                    board.publish(|snapshot| Arc::make_mut(&mut snapshot.orders).take(order));
                }
                let _ = answer.send(checked.map(|()| Receipt::default()));
            }
            Command::Reload(answer) => _ = answer.send(Err("setpoint.toml:3:1: it is wrong".into())),
            Command::Stop => return,
        }
    }
}
