//! Clients that mean harm, against the whole daemon: while they do their worst, others are answered and decisions are on time.

mod fixture;
mod site;

use std::fmt;
use std::time::Duration;

use aws_credential_types::Credentials;
use jiff::Timestamp;
use setpoint::api::{Server, Settings, View};
use setpoint::clock::Clock;
use setpoint::config;
use setpoint::daemon::Daemon;
use setpoint::observation::elapsed;
use setpoint::policy::Capacity;
use setpoint::simulation::{GroupSettings, Workload, World, WorldServer};
use setpoint::status::{Board, Snapshot};
use site::{Site, fleet, send};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

/// Between two evaluations.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long each of the two states lasts that are compared.
const SPELL: Duration = Duration::from_secs(6);

/// Connections that drip.
const SLOW: usize = 1000;

/// The longest that anybody waits for an answer here: that of a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(4);

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
max = 100
[[policy.metric]]
name = "requests"
kind = "total"
query = 'sum(http_requests_per_second{asg="web"})'
target = 100
"#;

/// A daemon on a world, listening on a port and at a socket.
struct Post {
    board: Board,
    folder: TempDir,
    address: std::net::SocketAddr,
    _world: WorldServer,
    _stop: oneshot::Sender<()>,
}

impl Post {
    async fn open() -> Self {
        let start = Timestamp::now();
        let [min, max, desired] = [1, 100, 2].map(Capacity::new);
        let group = GroupSettings { name: "web".into(), min, max, desired, boot: Duration::from_secs(5) };
        let world = World::new(1, start).with_fleet(group, Workload::constant(150.0));
        let world = WorldServer::start(world, Clock::WALL).await.expect("loopback");
        let environment = [
            ("SETPOINT__PROMETHEUS__URL".to_owned(), world.prometheus_url.clone()),
            ("SETPOINT__AWS__ENDPOINT_URL".to_owned(), world.auto_scaling_url.clone()),
        ];
        let load = move || config::parse("hostile.toml", QUICK, environment.clone());
        let board = Board::new(Snapshot::new("hostile.toml".into(), start));
        let credentials = Credentials::from_keys("trial", "trial", None);
        let config = load().expect("a valid configuration");
        let daemon = Daemon::start(config, Clock::WALL, board.clone(), Some(credentials)).await.expect("a daemon");
        let history = daemon.history();
        let (commands, received) = mpsc::channel(4);
        tokio::spawn(daemon.run(received, Box::new(load)));
        let folder = tempfile::tempdir().expect("a folder");
        let settings = Settings { socket: Some(folder.path().join("socket")), ..Settings::loopback(0) };
        let server = Server::bind(&settings).await.expect("a server");
        let address = server.address().expect("an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let view = View::new(board.reader(), history, commands, Clock::WALL);
        tokio::spawn(server.serve(view, async { drop(stopped.await) }));
        let mut reader = board.reader();
        let evaluated = |snapshot: &Snapshot| snapshot.policies.get("web").is_some_and(|web| web.evaluation.is_some());
        timeout(Duration::from_mins(1), reader.wait_for(evaluated)).await.expect("an evaluation").expect("a daemon");
        Self { board, folder, address, _world: world, _stop: stop }
    }

    /// What honest clients and the operator see for [`SPELL`], and when decisions are made meanwhile.
    async fn spell(&self) -> Spell {
        let mut reader = self.board.reader();
        let (mut waits, mut decided) = (Vec::new(), Vec::new());
        let until = Instant::now() + SPELL;
        while Instant::now() < until {
            let asked = Instant::now();
            assert_eq!(self.status().await, 200);
            waits.push(asked.elapsed());
            assert_eq!(self.status_of_the_operator().await, 200);
            let at = reader.borrow_and_update().policies["web"].evaluation.as_ref().map(|evaluation| evaluation.at);
            decided.extend(at);
            sleep(Duration::from_millis(20)).await;
        }
        decided.dedup();
        waits.sort_unstable();
        Spell { waits, decided }
    }

    /// Asks as any client does: again, where it is turned away unheard.
    async fn status(&self) -> u16 {
        let asked = async {
            loop {
                let stream = TcpStream::connect(self.address).await.expect("a port");
                if let Some(status) = ask(stream).await {
                    return status;
                }
            }
        };
        timeout(PATIENCE, asked).await.expect("an answer in time")
    }

    async fn status_of_the_operator(&self) -> u16 {
        let stream = UnixStream::connect(self.folder.path().join("socket")).await.expect("a socket");
        timeout(PATIENCE, ask(stream)).await.expect("an answer in time").expect("an answer")
    }
}

/// The status of the answer to an honest question; `None`: the server has closed without one.
async fn ask(stream: impl AsyncRead + AsyncWrite + Unpin) -> Option<u16> {
    send(stream, "GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n", "").await.map(|answer| answer.status)
}

struct Spell {
    /// The shortest first.
    waits: Vec<Duration>,
    decided: Vec<Timestamp>,
}

impl Spell {
    /// The wait that so many of a hundred do not exceed.
    fn wait(&self, percent: usize) -> Duration {
        self.waits[(self.waits.len() - 1) * percent / 100]
    }

    /// The longest time between two decisions.
    fn longest_gap(&self) -> Duration {
        self.decided.windows(2).map(|pair| elapsed(pair[0], pair[1])).max().expect("several decisions")
    }
}

impl fmt::Display for Spell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most, all] = [50, 99, 100].map(|percent| self.wait(percent));
        let (answers, gap) = (self.waits.len(), self.longest_gap());
        write!(
            f,
            "{answers} answers, half within {half:?}, 99 % within {most:?}, all within {all:?}; decisions {gap:?} apart"
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_slow_clients_and_an_abusive_one_delay_neither_answers_nor_decisions() {
    let post = Post::open().await;
    let calm = post.spell().await;
    let siege = besiege(post.address);
    let besieged = post.spell().await;
    siege.shutdown_background();
    for (name, spell) in [("calm", &calm), ("besieged", &besieged)] {
        println!("{name}: {spell}");
    }
    assert!(besieged.longest_gap() < calm.longest_gap() + INTERVAL, "a decision was left out");
    assert!(besieged.decided.len() + 1 >= calm.decided.len(), "decisions are as many");
}

/// A thousand clients that drip and one that is abusive, on a thread of their own: elsewhere in the world they would not
/// take the processor of those who ask and answer.
fn besiege(address: std::net::SocketAddr) -> Runtime {
    let hostile = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    for _ in 0..SLOW {
        hostile.spawn(drip(address));
    }
    hostile.spawn(abuse(address));
    hostile
}

/// Half a head, then a byte from time to time; and again, once the server has had enough.
async fn drip(address: std::net::SocketAddr) {
    loop {
        if let Ok(mut stream) = TcpStream::connect(address).await {
            let mut piece: &[u8] = b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
            while stream.write_all(piece).await.is_ok() {
                piece = b"a";
                sleep(Duration::from_millis(500)).await;
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// All that is wrong with a request, one after the other, without end.
async fn abuse(address: std::net::SocketAddr) {
    loop {
        for (request, _) in abuses() {
            drop(answers(address, &request).await);
        }
    }
}

/// Requests that mean harm, and the statuses that they may have; none at all is a connection that is closed.
fn abuses() -> Vec<(Vec<u8>, &'static [u16])> {
    let get = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n").into_bytes();
    let post = |more: &str, body: &str| {
        format!("POST /api/v1/freeze HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{more}\r\n{body}")
            .into_bytes()
    };
    let long = "a".repeat(64 * 1024);
    let paths =
        ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/%00", "/api/v1/policies/..%2f..%2fetc", "//evil.example/"];
    let mut abuses: Vec<(Vec<u8>, &'static [u16])> = paths.iter().map(|path| (get(path, ""), &[404][..])).collect();
    abuses.extend([
        (get(&format!("/{long}"), ""), &[414, 431][..]),
        (get("/", &format!("X-Long: {long}\r\n")), &[431]),
        (get("/", &"X-Many: a\r\n".repeat(500)), &[431]),
        (get("/", "Host: evil.example\r\n"), &[403]),
        (get("/", "Origin: http://evil.example\r\n"), &[403]),
        (get("/", "Bad Header\r\n"), &[400]),
        (get("/", "X-Null: \0\r\n"), &[400]),
        (get("/api/v1/policies/web", "Content-Length: 5\r\nContent-Length: 6\r\n"), &[400]),
        (get("/api/v1/policies/web", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), &[200, 400]),
        (b"GET / HTTP/1.1\r\nHost: rebound.example\r\n\r\n".to_vec(), &[403]),
        (b"GET /\r\n\r\n".to_vec(), &[400]),
        (b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n".to_vec(), &[400, 505]),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[400, 505]),
        (b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), &[401]),
        (b"CONNECT evil.example:80 HTTP/1.1\r\nHost: evil.example:80\r\n\r\n".to_vec(), &[403]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), &[400]),
        (vec![0; 4096], &[400]),
        (post("Content-Length: 99999999999999999999\r\n", ""), &[400]),
        (post("Content-Length: 1000000\r\n", &long), &[401]),
        (post("Transfer-Encoding: chunked\r\n", "zz\r\n"), &[401]),
        (post("Transfer-Encoding: chunked\r\n", "ffffffffffffffff1\r\n"), &[401]),
        (post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"), &[400, 401]),
    ]);
    abuses
}

/// The statuses of all answers to `request`, until the server closes or waits for more.
async fn answers(address: std::net::SocketAddr, request: &[u8]) -> Vec<u16> {
    let mut bytes = Vec::new();
    if let Ok(mut stream) = TcpStream::connect(address).await {
        // A server that refuses early may close before all is written.
        let _ = stream.write_all(request).await;
        let _ = stream.shutdown().await;
        let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    }
    let text = String::from_utf8_lossy(&bytes);
    text.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer.get(..3)?.parse().ok()).collect()
}

#[tokio::test]
async fn a_request_that_means_harm_gets_a_refusal_and_nothing_else() {
    let site = Site::open(fleet()).await;
    for (request, expected) in abuses() {
        let shown = String::from_utf8_lossy(&request[..request.len().min(100)]).into_owned();
        let statuses = answers(site.address, &request).await;
        println!("{statuses:?} {shown:?}");
        // One that is closed while bytes are on the way may lose its answer.
        assert!(
            statuses.len() <= 1 && statuses.iter().all(|status| expected.contains(status)),
            "{shown:?}: {statuses:?}"
        );
        assert_eq!(site.get("/healthz").await.status, 200, "after {shown:?}");
    }
}

#[tokio::test]
async fn requests_in_one_go_are_answered_in_their_order() {
    let site = Site::open(fleet()).await;
    let one = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let many =
        [one("/healthz"), one("/nothing"), one("/healthz"), "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".into()];
    assert_eq!(answers(site.address, many.concat().as_bytes()).await, [200, 404, 200, 403]);
}

/// Asked in plain where TLS is spoken, the server says nothing.
#[tokio::test]
async fn a_port_that_speaks_tls_tells_nothing_in_plain() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let [certificate_file, key_file] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(&certificate_file, certificate.cert.pem()).unwrap();
    std::fs::write(&key_file, certificate.signing_key.serialize_pem()).unwrap();
    let tls = Some(setpoint::api::Tls { certificate_file, key_file });
    let site = Site::with(&Settings { tls, ..Settings::loopback(0) }, fleet()).await;
    for (request, _) in abuses() {
        assert_eq!(answers(site.address, &request).await, [0_u16; 0]);
    }
}
