//! `setpoint run`: the daemon.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

use super::check::EX_CONFIG;
use crate::api::{Server, View};
use crate::clock::Clock;
use crate::config::{self, Config, Findings};
use crate::daemon::{Command, Daemon};
use crate::status::{Board, Snapshot};
use crate::telemetry::{self, LogFormat};

/// Commands that may wait; more signals than this at once say nothing new.
const COMMANDS: usize = 16;

pub(super) async fn run(file: PathBuf, log_format: LogFormat) -> anyhow::Result<ExitCode> {
    let _telemetry = telemetry::start(log_format);
    let config = match load(&file) {
        Ok(config) => config,
        Err(findings) => {
            eprintln!("{findings}");
            return Ok(ExitCode::from(EX_CONFIG));
        }
    };
    let server = Server::bind(&config.http).await?;
    let clock = Clock::WALL;
    let board = Board::new(Snapshot::new(file.display().to_string(), clock.now()));
    let policies = config.policies.len();
    let daemon = Daemon::start(config, clock, board.clone(), None).await?;
    let history = daemon.history();
    tracing::info!(event = "started", version = env!("CARGO_PKG_VERSION"), config = %file.display(), policies,
        listen = %server.address()?, "setpoint is running");
    let (commands, received) = mpsc::channel(COMMANDS);
    tokio::spawn(forward_signals(commands.clone())?);
    let (stop, mut stopped) = watch::channel(false);
    let stopped = async move { drop(stopped.wait_for(|stop| *stop).await) };
    let server = tokio::spawn(server.serve(View::new(board.reader(), history, commands, clock), stopped));
    Box::pin(daemon.run(received, Box::new(move || load(&file)))).await;
    stop.send_replace(true);
    server.await.context("the HTTP server failed")?;
    tracing::info!(event = "stopped", "setpoint has stopped");
    Ok(ExitCode::SUCCESS)
}

fn load(file: &Path) -> Result<Config, Findings> {
    let mut config = config::load(file, config::environment())?;
    config.state.directory = config.state.directory.take().or_else(|| given("STATE_DIRECTORY"));
    let socket = || given("RUNTIME_DIRECTORY").map(|directory| directory.join("setpoint.sock"));
    config.http.socket = config.http.socket.take().or_else(socket);
    Ok(config)
}

/// The first of the directories that the service manager lists in this variable of the environment.
fn given(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).as_deref().and_then(first_directory)
}

fn first_directory(listed: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(listed).next().filter(|path| path.is_absolute())
}

/// Turns SIGHUP into a reload, and SIGTERM and SIGINT into a stop.
fn forward_signals(commands: mpsc::Sender<Command>) -> std::io::Result<impl Future<Output = ()>> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        loop {
            let command = tokio::select! {
                _ = hangup.recv() => Command::Reload(oneshot::channel().0),
                _ = terminate.recv() => Command::Stop,
                _ = interrupt.recv() => Command::Stop,
            };
            if commands.send(command).await.is_err() {
                return;
            }
        }
    })
}
