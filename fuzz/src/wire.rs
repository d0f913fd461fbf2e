//! A server on loopback that answers with whatever is put up, for the clients that the daemon reads with.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

type Answers = Arc<Mutex<Box<dyn Fn(&str) -> Vec<u8> + Send>>>;

/// The server and the runtime that it shares with its client, on the thread that checks.
pub(crate) struct Wire {
    pub url: String,
    answers: Answers,
    runtime: Runtime,
}

impl Wire {
    /// Nothing really waits here: what a client would wait for between two attempts passes at once.
    pub fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let answers: Answers = Arc::new(Mutex::new(Box::new(|_| Vec::new())));
        runtime.spawn(serve(listener, answers.clone()));
        Self { url, answers, runtime }
    }

    /// Does `work` while the server answers with what `answer` makes of each request.
    pub fn while_answering<T>(
        &self,
        answer: impl Fn(&str) -> Vec<u8> + Send + 'static,
        work: impl Future<Output = T>,
    ) -> T {
        *self.answers.lock().expect("no panic while answering") = Box::new(answer);
        self.runtime.block_on(work)
    }
}

async fn serve(listener: TcpListener, answers: Answers) {
    while let Ok((connection, _)) = listener.accept().await {
        tokio::spawn(converse(connection, answers.clone()));
    }
}

/// Answers request after request, until the client leaves.
async fn converse(mut connection: TcpStream, answers: Answers) -> Option<()> {
    let mut received = String::new();
    loop {
        let length = loop {
            if let Some(length) = whole(&received) {
                break length;
            }
            let mut chunk = [0; 4096];
            let read = connection.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
            received.push_str(str::from_utf8(&chunk[..read]).ok()?);
        };
        let request: String = received.drain(..length).collect();
        let answer = answers.lock().ok()?(&request);
        connection.write_all(&answer).await.ok()?;
    }
}

/// How long the first request is, once all of it is there.
fn whole(received: &str) -> Option<usize> {
    let (head, rest) = received.split_once("\r\n\r\n")?;
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let body: usize = length.unwrap_or("0").parse().ok()?;
    (rest.len() >= body).then(|| received.len() - rest.len() + body)
}

/// An answer with its length.
pub(crate) fn http(status: u16, content_type: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} Whatever\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}
