//! What stands between the daemon and one wire face of the world, and spoils what passes. It never decides when.
#![allow(dead_code, reason = "each test crate uses its own part")]

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// An answer of the world, to be spoilt.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status line and headers, without the empty line.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn new(status: &str, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { head: format!("HTTP/1.1 {status}\r\ncontent-type: {kind}"), body: body.into() }
    }

    pub fn with(mut self, header: &str) -> Self {
        self.head = format!("{}\r\n{header}", self.head);
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn framed(&self, length: usize) -> Vec<u8> {
        [format!("{}\r\ncontent-length: {length}\r\n\r\n", self.head).as_bytes(), &self.body].concat()
    }

    fn unframed(&self) -> Vec<u8> {
        [format!("{}\r\nconnection: close\r\n\r\n", self.head).as_bytes(), &self.body].concat()
    }
}

/// What the wire does to an exchange.
#[derive(Clone, Copy, Debug)]
pub enum Wire {
    /// Nobody listens.
    Refused,
    /// The connection is reset once the request is there.
    Reset,
    /// The request is taken and never answered.
    Hang,
    /// The answer is another.
    Edit(fn(Answer) -> Answer),
    /// The answer that the same request had when the fault began.
    Replay,
    /// The answer that the request before it had.
    Crossed,
    /// The answer comes later.
    Late(Duration),
    /// A byte a second.
    Drip,
    /// Half of the answer, then the connection ends.
    Cut,
    /// The same where nothing says how long the answer is.
    CutUnframed,
    /// The whole answer, and nothing says how long it is.
    Unframed,
    /// A body that never ends.
    Endless,
    /// The answer twice.
    Twice,
}

#[derive(Default)]
struct State {
    faults: Vec<(Wire, &'static str)>,
    /// The answers before the fault, by what was asked.
    replies: HashMap<String, Answer>,
    last: Option<Answer>,
    requests: usize,
}

pub struct Proxy {
    pub url: String,
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
    /// Ends with this.
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// In front of `upstream`, an URL on loopback.
    pub async fn start(upstream: &str) -> Self {
        let upstream = upstream.strip_prefix("http://").and_then(|address| address.parse().ok()).expect("loopback");
        // Bound and never listening: it keeps the port while nobody listens.
        let keeper = socket("127.0.0.1:0".parse().expect("an address"));
        let address = keeper.local_addr().expect("bound");
        let (state, changed) = (Arc::default(), Arc::new(Notify::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(keeper, upstream, Arc::clone(&state), Arc::clone(&changed)));
        Self { url: format!("http://{address}"), state, changed, _tasks: tasks }
    }

    /// From now on this happens to requests that mention the text; nothing, if there is none.
    pub fn set(&self, faults: Vec<(Wire, &'static str)>) {
        lock(&self.state).faults = faults;
        self.changed.notify_one();
    }
}

impl Proxy {
    /// How many requests have come so far.
    pub fn requests(&self) -> usize {
        lock(&self.state).requests
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("no panic while it is held")
}

fn socket(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseport(true).expect("an option of every Linux");
    socket.bind(address).expect("a free port");
    socket
}

fn refuses(state: &Mutex<State>) -> bool {
    lock(state).faults.iter().any(|(wire, only)| matches!(wire, Wire::Refused) && only.is_empty())
}

async fn accept(keeper: TcpSocket, upstream: SocketAddr, state: Arc<Mutex<State>>, changed: Arc<Notify>) {
    let address = keeper.local_addr().expect("bound");
    let mut connections = JoinSet::new();
    loop {
        while refuses(&state) {
            changed.notified().await;
        }
        let listener: TcpListener = socket(address).listen(1024).expect("a port of our own");
        while !refuses(&state) {
            tokio::select! {
                connection = listener.accept() => {
                    let (connection, _) = connection.expect("a connection");
                    let state = Arc::clone(&state);
                    connections.spawn(async move { drop(carry(connection, upstream, &state).await) });
                }
                () = changed.notified() => {}
                _ = connections.join_next(), if !connections.is_empty() => {}
            }
        }
    }
}

/// One exchange after the other, until an end of the connection is done with it.
async fn carry(mut client: TcpStream, upstream: SocketAddr, state: &Mutex<State>) -> io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut client, &mut buffer).await? {
        let asked = String::from_utf8_lossy(&request).into_owned();
        let faults: Vec<Wire> = {
            let mut state = lock(state);
            state.requests += 1;
            state.faults.iter().filter(|(_, only)| asked.contains(only)).map(|(wire, _)| *wire).collect()
        };
        if faults.iter().any(|wire| matches!(wire, Wire::Refused | Wire::Reset)) {
            client.set_zero_linger()?;
            return Ok(());
        }
        if faults.iter().any(|wire| matches!(wire, Wire::Hang)) {
            return until_closed(&mut client).await;
        }
        let Some(answer) = ask(upstream, &asked).await? else { return Ok(()) };
        let answer = spoil(state, &asked, answer, &faults).await;
        if !deliver(&mut client, &answer, &faults).await? {
            return Ok(());
        }
    }
    Ok(())
}

async fn until_closed(client: &mut TcpStream) -> io::Result<()> {
    while client.read(&mut [0; 64]).await? > 0 {}
    Ok(())
}

fn split(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn length(head: &str) -> Option<usize> {
    let header = |line: &str| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok();
    head.lines().find_map(header)
}

async fn read_request(client: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(head) = split(buffer) {
            let whole = head + length(&String::from_utf8_lossy(&buffer[..head])).unwrap_or(0);
            if buffer.len() >= whole {
                let rest = buffer.split_off(whole);
                return Ok(Some(std::mem::replace(buffer, rest)));
            }
        }
        if client.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// What the world answers; `None` where it breaks off.
async fn ask(upstream: SocketAddr, asked: &str) -> io::Result<Option<Answer>> {
    let mut server = TcpStream::connect(upstream).await?;
    let (line, rest) = asked.split_once("\r\n").expect("a request line");
    server.write_all(format!("{line}\r\nconnection: close\r\n{rest}").as_bytes()).await?;
    let mut reply = Vec::new();
    if server.read_to_end(&mut reply).await.is_err() {
        return Ok(None);
    }
    let Some(at) = split(&reply) else { return Ok(None) };
    let body = reply.split_off(at);
    let head = String::from_utf8_lossy(&reply[..at - 4]).into_owned();
    if length(&head) != Some(body.len()) {
        return Ok(None);
    }
    let ours = |line: &&str| !line.starts_with("content-length") && !line.starts_with("connection");
    Ok(Some(Answer { head: head.split("\r\n").filter(ours).collect::<Vec<_>>().join("\r\n"), body }))
}

async fn spoil(state: &Mutex<State>, asked: &str, mut answer: Answer, faults: &[Wire]) -> Answer {
    // The signature and its time differ; what is asked stands in the body.
    let question = asked.split_once("\r\n\r\n").map_or(asked, |(_, body)| body).to_owned();
    let (old, last) = {
        let mut state = lock(state);
        let old = if state.faults.is_empty() {
            state.replies.insert(question, answer.clone());
            None
        } else {
            state.replies.get(&question).cloned()
        };
        (old, state.last.replace(answer.clone()))
    };
    for fault in faults {
        answer = match fault {
            Wire::Edit(edit) => edit(answer),
            Wire::Replay => old.clone().unwrap_or(answer),
            Wire::Crossed => last.clone().unwrap_or(answer),
            Wire::Late(late) => {
                tokio::time::sleep(*late).await;
                answer
            }
            _ => answer,
        };
    }
    answer
}

/// Whether the connection goes on.
async fn deliver(client: &mut TcpStream, answer: &Answer, faults: &[Wire]) -> io::Result<bool> {
    let whole = answer.framed(answer.body.len());
    let how =
        faults.iter().find(|fault| !matches!(fault, Wire::Edit(_) | Wire::Replay | Wire::Crossed | Wire::Late(_)));
    match how {
        Some(Wire::Drip) => {
            for byte in whole {
                client.write_all(&[byte]).await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        Some(Wire::Cut) => client.write_all(&whole[..whole.len() - answer.body.len() / 2 - 1]).await?,
        Some(Wire::CutUnframed) => {
            let all = answer.unframed();
            client.write_all(&all[..all.len() - answer.body.len() / 2 - 1]).await?;
        }
        Some(Wire::Unframed) => client.write_all(&answer.unframed()).await?,
        Some(Wire::Endless) => {
            client.write_all(format!("{}\r\n\r\n", answer.head).as_bytes()).await?;
            loop {
                client.write_all(&answer.body).await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Some(Wire::Twice) => {
            client.write_all(&[whole.as_slice(), &whole].concat()).await?;
            return Ok(true);
        }
        _ => {
            client.write_all(&whole).await?;
            return Ok(true);
        }
    }
    Ok(false)
}
