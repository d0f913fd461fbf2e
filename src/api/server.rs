//! The accept loop: bounded connections, those of the socket apart from the rest, and a time limit on handshakes and headers.
//!
//! `axum::serve` installs no timer, without which hyper's own header timeout never fires.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::access::Transport;
use super::events::Leave;
use super::places::{Places, Turn};
use super::settings::Settings;
use super::tls::Handshake;
use super::{View, router, socket, tokens};

/// How long a client may take to send its headers, which is also how long a connection may idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest request head, and the most of an answer that is kept for a client that reads slowly.
const BUFFER: usize = 16 * 1024;

/// Connections that may wait to be accepted, where the system lets so many. One that finds no place comes again a second later.
const BACKLOG: u32 = 4096;

/// How long a connection may last, so that nobody who keeps asking, or never reads, keeps a place for ever.
const LIFETIME: Duration = Duration::from_mins(1);

/// How long a connection gets to finish its last answer.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why the API can't listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The TCP address can't be used.
    #[error("can't listen on {0} (http.listen)")]
    Listen(SocketAddr, #[source] io::Error),
    /// The Unix socket can't be used.
    #[error("can't listen on {0} (http.socket)")]
    Socket(String, #[source] io::Error),
    /// A certificate, key or token can't be read.
    #[error("can't secure {0}: {1}")]
    File(SocketAddr, String),
}

/// A server that listens and does not answer yet.
#[derive(Debug)]
pub struct Server {
    tcp: TcpListener,
    socket: Option<socket::Listener>,
    handshake: Option<Arc<Handshake>>,
    settings: Arc<Settings>,
}

impl Server {
    /// Listens where the settings say.
    ///
    /// # Errors
    /// An address is taken, or a file can't be used.
    pub async fn bind(settings: &Settings) -> Result<Self, BindError> {
        let listen = settings.listen;
        let unusable = |why| BindError::File(listen, why);
        tokens::check(&settings.tokens).await.map_err(unusable)?;
        let handshake = match &settings.tls {
            Some(files) => Some(Arc::new(Handshake::new(files).await.map_err(unusable)?)),
            None => None,
        };
        let socket = match &settings.socket {
            Some(path) => Some(
                socket::Listener::bind(path)
                    .await
                    .map_err(|error| BindError::Socket(path.display().to_string(), error))?,
            ),
            None => None,
        };
        let tcp = bind(listen).map_err(|error| BindError::Listen(listen, error))?;
        Ok(Self { tcp, socket, handshake, settings: Arc::new(settings.clone()) })
    }

    /// The TCP address, with the port that was found where 0 was asked for.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Serves until `stop` is done, then lets the open requests finish.
    pub async fn serve(mut self, view: View, stop: impl Future<Output = ()> + Send + 'static) {
        let router = router(view, self.settings.clone());
        let (ending, ended) = watch::channel(());
        // Whoever fills the one does not keep operators out of the other.
        let (mut on_tcp, mut on_socket) = (Places::default(), Places::default());
        let mut stop = std::pin::pin!(stop);
        loop {
            let (tcp_room, socket_room) = (on_tcp.room(), on_socket.room());
            // By axum's trait, which tries again after an error and rests when file descriptors have run out.
            tokio::select! {
                () = &mut stop => break,
                Some(()) = on_tcp.end() => {}
                Some(()) = on_socket.end() => {}
                (stream, _) = after(tcp_room, Listener::accept(&mut self.tcp)) => {
                    on_tcp.seat(|turn| tcp(stream, self.handshake.clone(), router.clone(), turn, ended.clone()));
                }
                stream = after(socket_room, next(self.socket.as_mut())) => {
                    on_socket.seat(|turn| unix(stream, router.clone(), turn, ended.clone()));
                }
            }
        }
        drop((self, ending));
        while on_tcp.end().await.is_some() {}
        while on_socket.end().await.is_some() {}
    }
}

fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = if listen.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart need not wait until the last connection is forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(listen)?;
    socket.listen(BACKLOG)
}

/// `then`, which is not begun before `first` is done.
async fn after<T>(first: impl Future<Output = ()>, then: impl Future<Output = T>) -> T {
    first.await;
    then.await
}

/// The next connection to the socket; never, where there is none.
async fn next(socket: Option<&mut socket::Listener>) -> UnixStream {
    match socket {
        Some(socket) => Listener::accept(&mut socket.listener).await.0,
        None => std::future::pending().await,
    }
}

async fn tcp(
    stream: TcpStream,
    handshake: Option<Arc<Handshake>>,
    router: Router,
    turn: Turn,
    ended: watch::Receiver<()>,
) {
    // A client that is gone has no address, and needs none.
    let Ok(local) = stream.local_addr().map(|address| address.ip().to_canonical()) else { return };
    let transport = Transport::Tcp { local, tls: handshake.is_some() };
    match handshake {
        None => converse(stream, transport, router, turn, ended).await,
        Some(handshake) => {
            // A client that breaks off or is too slow is its own affair, here and below.
            if let Ok(Ok(stream)) = timeout(HEADER_TIMEOUT, handshake.accept(stream)).await {
                converse(stream, transport, router, turn, ended).await;
            }
        }
    }
}

async fn unix(stream: UnixStream, router: Router, turn: Turn, ended: watch::Receiver<()>) {
    // Without knowing who is there nothing can be put down to anybody.
    let Ok(peer) = stream.peer_cred() else { return };
    converse(stream, Transport::Socket { uid: peer.uid() }, router, turn, ended).await;
}

/// Answers one client, until it leaves, its time is up, or the sender of `ended` is gone.
async fn converse<S>(stream: S, transport: Transport, router: Router, turn: Turn, mut ended: watch::Receiver<()>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(BUFFER);
    let router = TowerToHyperService::new(router);
    // Answers without an end, such as events, hear from it that they must come to one.
    let (leaving, leave) = watch::channel(());
    let leave = Leave(leave);
    let answer = service_fn(move |mut request: Request<Incoming>| {
        turn.ask();
        request.extensions_mut().insert(transport);
        request.extensions_mut().insert(leave.clone());
        router.call(request)
    });
    let connection = http.serve_connection(TokioIo::new(stream), answer);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = &mut connection => return,
        _ = ended.changed() => {}
        () = sleep(LIFETIME) => {}
    }
    drop(leaving);
    connection.as_mut().graceful_shutdown();
    let _ = timeout(FAREWELL, connection).await;
}
