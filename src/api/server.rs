//! The accept loop: bounded connections, and a time limit on headers.
//!
//! `axum::serve` installs no timer, without which hyper's own header timeout never fires.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::router;
use crate::clock::Clock;
use crate::status::Snapshot;

/// Connections that are served at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 256;

/// How long a client may take to send its headers, which is also how long a connection may idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest request head, and the most of an answer that is kept for a client that reads slowly.
const BUFFER: usize = 16 * 1024;

/// How long a connection may last, so that nobody who keeps asking, or never reads, keeps a place for ever.
const LIFETIME: Duration = Duration::from_mins(1);

/// How long a connection gets to finish its last answer.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves until `stop` is done, then lets the open requests finish.
///
/// # Errors
/// None today; a listener that fails to accept is tried again.
pub async fn serve(
    mut listener: TcpListener,
    reader: watch::Receiver<Snapshot>,
    clock: Clock,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = router(reader, clock);
    let (ending, ended) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => {}
            // By the trait, which tries again after an error and rests when file descriptors have run out.
            (stream, _) = Listener::accept(&mut listener), if connections.len() < MAX_CONNECTIONS => {
                connections.spawn(converse(stream, router.clone(), ended.clone()));
            }
        }
    }
    drop((listener, ending));
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Answers one client, until it leaves, its time is up, or the sender of `ended` is gone.
async fn converse(stream: TcpStream, router: Router, mut ended: watch::Receiver<()>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(BUFFER);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    // A client that breaks off or is too slow is its own affair.
    tokio::select! {
        _ = &mut connection => return,
        _ = ended.changed() => {}
        () = sleep(LIFETIME) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(FAREWELL, connection).await;
}
