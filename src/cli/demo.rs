//! `setpoint demo`: the unmodified daemon against the embedded world, 15 times as fast as life.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::table::say;
use super::view;
use crate::api::{Role, Server, Settings, Token, View};
use crate::clock::Clock;
use crate::config::{self, Config, Findings};
use crate::daemon::{Command, Daemon};
use crate::simulation::workload::TICKET_SALE;
use crate::simulation::{Phase, Score, World, WorldServer};
use crate::status::{Board, PolicyStatus, Snapshot};

/// The configuration of the demo, which is an example for its owner as well.
const CONFIGURATION: &str = include_str!("../../config/demo.toml");

/// How much faster than the wall clock the demo's clock runs.
const SPEED: f64 = 15.0;

/// Whoever has it may order about a world that is not real.
const TOKEN: &str = "nobody-is-hurt-in-the-demo-world";

/// Between two frames of the live view, on the wall clock.
const FRAME: Duration = Duration::from_millis(500);

/// Between two plain lines where nobody watches, on the demo's clock.
const PLAIN_LINES: Duration = Duration::from_secs(30);

pub(super) struct Options {
    pub once: bool,
    pub port: u16,
    pub seed: u64,
}

pub(super) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let start = jiff::Timestamp::now();
    let clock = Clock::accelerated(start, SPEED);
    let world = WorldServer::start(World::ticket_sale(options.seed, start), clock).await?;
    let folder = tempfile::Builder::new().prefix("setpoint-demo-").tempdir()?;
    let config = configure(&world, folder.path())?;
    let server = listen(options.port, folder.path()).await?;
    let address = server.address()?;
    let board = Board::new(Snapshot::new("the demo".into(), clock.now()));
    let credentials = Credentials::from_keys("demo", "demo", None);
    let daemon = Daemon::start(config.clone(), clock, board.clone(), Some(credentials)).await?;
    let history = daemon.history();
    let (commands, received) = mpsc::channel(1);
    let daemon = tokio::spawn(daemon.run(received, Box::new(move || Ok(config.clone()))));
    let (stop, mut stopped) = watch::channel(false);
    let stopped = async move { drop(stopped.wait_for(|stop| *stop).await) };
    let server = tokio::spawn(server.serve(View::new(board.reader(), history, commands.clone(), clock), stopped));

    say(&format!("A ticket sale, {SPEED} times as fast as life: 90 seconds here are 22 minutes there."));
    say(&format!("Status page: http://{address}/"));
    say(&format!("Orders: on the page with the token {TOKEN}, or by a command such as"));
    let socket = socket(folder.path());
    say(&format!("  setpoint pause tickets --for 10m --reason 'a try' --socket {}\n", socket.display()));
    let mut show = Show::new();
    let mut ended = ended()?;
    tokio::select! {
        () = watch_the_sale(&world, &board, clock, &mut show) => {
            summarize(&world.with(|world| world.score()));
            if !options.once && show.live {
                say("The status page stays up; Ctrl-C ends it.");
                ended.recv().await;
            }
        }
        _ = ended.recv() => {}
    }
    // Either may have ended already; both are awaited below.
    let _ = commands.send(Command::Stop).await;
    stop.send_replace(true);
    daemon.await?;
    server.await?;
    Ok(ExitCode::SUCCESS)
}

/// Told once it is to end, by Ctrl-C or by whoever supervises it.
fn ended() -> std::io::Result<mpsc::Receiver<()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (end, ended) = mpsc::channel(1);
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        // It may have ended by itself meanwhile.
        let _ = end.send(()).await;
    });
    Ok(ended)
}

/// The example's configuration, pointed at the embedded world in the way in which any daemon is: by the environment. The
/// journal is kept for as long as the demo lasts, so that its page can tell what was decided.
fn configure(world: &WorldServer, journal: &Path) -> Result<Config, Findings> {
    let environment = [
        ("SETPOINT__PROMETHEUS__URL", world.prometheus_url.clone()),
        ("SETPOINT__AWS__ENDPOINT_URL", world.auto_scaling_url.clone()),
        ("SETPOINT__STATE__PATH", journal.display().to_string()),
    ];
    config::parse("demo.toml", CONFIGURATION, environment.map(|(name, value)| (name.to_owned(), value)))
}

/// Anybody may read, and whoever sees what is printed may give orders.
async fn listen(port: u16, folder: &Path) -> anyhow::Result<Server> {
    let file = folder.join("token");
    std::fs::write(&file, TOKEN)?;
    let token = Token { name: "the demo".into(), role: Role::Operator, file };
    let at = |port| Settings { socket: Some(socket(folder)), tokens: vec![token.clone()], ..Settings::loopback(port) };
    match Server::bind(&at(port)).await {
        Ok(server) => Ok(server),
        Err(_) => Ok(Server::bind(&at(0)).await?),
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("setpoint.sock")
}

async fn watch_the_sale(world: &WorldServer, board: &Board, clock: Clock, show: &mut Show) {
    loop {
        let since_start = world.with(|world| world.since_start());
        let policies: Vec<Arc<PolicyStatus>> = board.reader().borrow().policies.values().cloned().collect();
        show.frame(since_start, &policies);
        if since_start >= TICKET_SALE {
            return;
        }
        let frame = if show.live { FRAME } else { clock.on_the_wall(Duration::from_secs(1)) };
        tokio::time::sleep(frame).await;
    }
}

/// The view: redrawn in place on a terminal, plain lines elsewhere.
struct Show {
    live: bool,
    drawn: usize,
    next_line: Duration,
    last_action: Option<jiff::Timestamp>,
}

impl Show {
    fn new() -> Self {
        Self { live: std::io::stdout().is_terminal(), drawn: 0, next_line: Duration::ZERO, last_action: None }
    }

    fn frame(&mut self, since_start: Duration, policies: &[Arc<PolicyStatus>]) {
        if self.live {
            self.redraw(since_start, policies);
        } else {
            self.print(since_start, policies);
        }
    }

    fn redraw(&mut self, since_start: Duration, policies: &[Arc<PolicyStatus>]) {
        // A line longer than the terminal is wide would wrap, and the count of lines be wrong: no wrapping meanwhile.
        let mut frame = format!("{}\x1b[?7l{}\n", back(self.drawn), heading(since_start));
        for policy in policies {
            frame.push_str(&view::line(policy));
            frame.push('\n');
        }
        self.drawn = 1 + policies.len();
        // A terminal that is gone is noticed by the signal that comes with it.
        let _ = write!(std::io::stdout(), "{frame}\x1b[?7h").and_then(|()| std::io::stdout().flush());
    }

    /// A line now and then, and one for every action.
    fn print(&mut self, since_start: Duration, policies: &[Arc<PolicyStatus>]) {
        let acted = policies.iter().filter_map(|policy| policy.last_action.as_ref()).map(|action| action.at).max();
        if since_start < self.next_line && acted == self.last_action {
            return;
        }
        self.last_action = acted;
        self.next_line = since_start + PLAIN_LINES;
        for policy in policies {
            say(&format!("{}  {}", heading(since_start), view::line(policy)));
        }
    }
}

/// Moves the cursor back over `lines` lines and clears what is below it.
fn back(lines: usize) -> String {
    if lines == 0 { String::new() } else { format!("\x1b[{lines}A\x1b[J") }
}

fn heading(since_start: Duration) -> String {
    let seconds = since_start.as_secs();
    format!("{:>2}:{:02} {:<9}", seconds / 60, seconds % 60, phase(Phase::at(since_start)))
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Quiet => "quiet",
        Phase::Ramp => "ramp",
        Phase::Arrival => "arrival",
        Phase::Crowd => "crowd",
        Phase::Decay => "decay",
        Phase::Aftermath => "aftermath",
    }
}

fn summarize(score: &Score) {
    say("\nThe sale is over.");
    let (over, requests) = (score.over_objective * 100.0, score.requests);
    say(&format!("  requests over 500 ms   {over:.2} % of {requests:.0}"));
    say(&format!(
        "  instance-hours         {:.2}, against {:.2} of a static fleet of {} sized for the peak ({:.0} %)",
        score.instance_hours,
        score.static_instance_hours,
        score.static_capacity,
        100.0 * score.instance_hours / score.static_instance_hours
    ));
}
