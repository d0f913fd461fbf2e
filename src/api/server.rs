//! The accept loop: bounded connections, and a time limit on headers.
//!
//! `axum::serve` installs no timer, without which hyper's own header timeout never fires.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::router;
use crate::clock::Clock;
use crate::status::Snapshot;

/// Connections that are served at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 256;

/// How long a client may take to send its headers, which is also how long a connection may idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long open connections get to finish at the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// Rest after a failed accept: out of file descriptors, most likely.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves until `stop` is done, then lets the open requests finish.
///
/// # Errors
/// None today; a listener that fails to accept is tried again.
pub async fn serve(
    listener: TcpListener,
    reader: watch::Receiver<Snapshot>,
    clock: Clock,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = router(reader, clock);
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (ending, ended) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let (stream, seat) = tokio::select! {
            accepted = accept(&listener, &seats) => accepted,
            Some(_) = connections.join_next() => continue,
            () = &mut stop => break,
        };
        connections.spawn(converse(stream, seat, router.clone(), ended.clone()));
    }
    ending.send_replace(true);
    // Whoever is still here after the farewell is cut off when the set is dropped.
    let _ = tokio::time::timeout(FAREWELL, async { while connections.join_next().await.is_some() {} }).await;
    Ok(())
}

async fn accept(listener: &TcpListener, seats: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    // The semaphore is never closed, so this waits for a seat and cannot fail.
    let seat = loop {
        if let Ok(seat) = seats.clone().acquire_owned().await {
            break seat;
        }
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, seat),
            Err(error) => {
                tracing::warn!(event = "accept-failed", %error, "can't accept a connection");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, seat: OwnedSemaphorePermit, router: Router, mut ended: watch::Receiver<bool>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = async { drop(ended.wait_for(|ended| *ended).await) };
    // A client that breaks off or is too slow is its own affair.
    let finished = tokio::select! {
        _ = &mut connection => true,
        () = ended => false,
    };
    if !finished {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
    drop(seat);
}
