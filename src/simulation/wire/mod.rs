//! The wire face of the world: the HTTP API of Prometheus and the query protocol of Auto Scaling, on loopback.
//!
//! It never listens on another address, and never decides anything: what it answers is what the world is.

mod autoscaling;
mod describe;
mod prometheus;
mod xml;

use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::stream;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::world::{STEP, World};
use crate::clock::Clock;

/// The shortest pause between two moves of the world when nobody asks.
const SHORTEST_TICK: Duration = Duration::from_millis(20);

/// The world, and the clock that moves it.
#[derive(Debug)]
struct Shared {
    world: Mutex<World>,
    clock: Clock,
}

impl Shared {
    /// The world as it is now.
    fn now(&self) -> MutexGuard<'_, World> {
        // A test that panics with the world in its hands leaves it whole: every change of it is complete by itself.
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.advance(self.clock.now());
        world
    }
}

/// A world that answers on loopback; stops when it is dropped.
#[derive(Debug)]
pub struct WorldServer {
    /// Where Prometheus answers: `http://127.0.0.1:PORT`.
    pub prometheus_url: String,
    /// Where Auto Scaling answers, for `aws.endpoint_url`: `http://127.0.0.1:PORT`.
    pub auto_scaling_url: String,
    shared: Arc<Shared>,
    /// Every task ends when this is dropped.
    _running: watch::Sender<()>,
}

impl WorldServer {
    /// Serves `world`, whose time is what `clock` shows, on two free ports.
    ///
    /// # Errors
    ///
    /// When loopback can't be listened on.
    pub async fn start(world: World, clock: Clock) -> io::Result<Self> {
        let shared = Arc::new(Shared { world: Mutex::new(world), clock });
        let (running, stopped) = watch::channel(());
        let prometheus_url = serve(prometheus::router(Arc::clone(&shared)), stopped.clone()).await?;
        let auto_scaling_url = serve(autoscaling::router(Arc::clone(&shared)), stopped.clone()).await?;
        tokio::spawn(tick(Arc::clone(&shared), stopped));
        Ok(Self { prometheus_url, auto_scaling_url, shared, _running: running })
    }

    /// Looks at the world as it is now, or changes it.
    pub fn with<R>(&self, look: impl FnOnce(&mut World) -> R) -> R {
        look(&mut self.shared.now())
    }
}

async fn serve(router: Router, stopped: watch::Receiver<()>) -> io::Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, router).with_graceful_shutdown(until(stopped)).into_future());
    Ok(url)
}

/// Moves the world while nobody asks, so that a long silence costs no long catching up.
async fn tick(shared: Arc<Shared>, stopped: watch::Receiver<()>) {
    let pause = shared.clock.on_the_wall(STEP).max(SHORTEST_TICK);
    let ticking = async {
        loop {
            tokio::time::sleep(pause).await;
            drop(shared.now());
        }
    };
    tokio::select! {
        () = ticking => (),
        () = until(stopped) => (),
    }
}

/// Waits until the server is dropped.
async fn until(mut stopped: watch::Receiver<()>) {
    // The sender never sends; the only news is that it is gone.
    let _ = stopped.changed().await;
}

/// An answer that breaks off, and the connection with it.
fn broken_off() -> Response {
    let pieces = [Ok(Bytes::from_static(b"<")), Err(io::Error::from(io::ErrorKind::ConnectionReset))];
    Response::new(Body::from_stream(stream::iter(pieces)))
}
