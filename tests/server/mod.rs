//! A server on a real socket that does to a client whatever a test wants, with or without TLS.

#![allow(dead_code, reason = "every test file uses its own part of this")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;
use tokio_rustls::TlsAcceptor;

/// What the server does once it has a request.
pub enum Act {
    /// Sends these bytes and closes the connection.
    Send(Vec<u8>),
    /// Waits until as many requests are here as the barrier wants, then sends these bytes.
    Meet(Arc<Barrier>, Vec<u8>),
    /// Sends these bytes and then nothing.
    Hang(Vec<u8>),
    /// Sends these bytes and then one more from time to time, for ever.
    Drip(Vec<u8>),
}

/// A running server; it lives as long as the runtime of the test.
pub struct Server {
    pub url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// A server that answers every request as `act` says. `act` is given the head and the body of the request.
    pub async fn start(act: impl Fn(&str) -> Act + Send + Sync + 'static) -> Self {
        Self::listen(None, act).await
    }

    /// The same with TLS.
    pub async fn start_tls(tls: TlsAcceptor, act: impl Fn(&str) -> Act + Send + Sync + 'static) -> Self {
        Self::listen(Some(tls), act).await
    }

    async fn listen(tls: Option<TlsAcceptor>, act: impl Fn(&str) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let (act, seen) = (Arc::new(act), Arc::clone(&requests));
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (act, seen, tls) = (Arc::clone(&act), Arc::clone(&seen), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => converse(connection, &*act, &seen).await,
                        Some(tls) => match tls.accept(connection).await {
                            Ok(connection) => converse(connection, &*act, &seen).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self { url, requests }
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// An URL that nobody listens on.
pub async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// A URL whose server resets every connection once the first byte of a request is there.
pub async fn reset() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            drop_unread(connection).await;
        }
    });
    url
}

/// Without lingering, the kernel resets the connection instead of closing it.
async fn drop_unread(connection: TcpStream) {
    connection.peek(&mut [0]).await.ok();
    connection.set_zero_linger().ok();
}

/// A whole answer with its length.
pub fn http(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} Whatever\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}").into()
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut connection: S,
    act: &(impl Fn(&str) -> Act + ?Sized),
    seen: &Mutex<Vec<String>>,
) -> Option<()> {
    let request = read_request(&mut connection).await?;
    seen.lock().unwrap().push(request.clone());
    match act(&request) {
        Act::Send(bytes) => {
            connection.write_all(&bytes).await.ok()?;
            connection.shutdown().await.ok()
        }
        Act::Meet(barrier, bytes) => {
            barrier.wait().await;
            connection.write_all(&bytes).await.ok()
        }
        Act::Hang(bytes) => {
            connection.write_all(&bytes).await.ok()?;
            std::future::pending().await
        }
        Act::Drip(bytes) => {
            connection.write_all(&bytes).await.ok()?;
            loop {
                connection.write_all(b" ").await.ok()?;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

async fn read_request(connection: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut request = String::new();
    loop {
        let mut chunk = [0; 4096];
        let read = connection.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        request += std::str::from_utf8(&chunk[..read]).ok()?;
        let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        if body.len() >= length.parse().ok()? {
            return Some(request);
        }
    }
}
