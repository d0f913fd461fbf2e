//! What operators order from the command line: `pause`, `resume`, `override`, `release`, `freeze`, `unfreeze`, `reload`.

use std::process::ExitCode;

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, Connection};
use super::history;
use super::table::say;

/// Who orders, and why.
#[derive(Debug, clap::Args)]
pub(super) struct Signature {
    /// Why, in a sentence for whoever reads the log and the history.
    #[arg(long, short, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    author: Author,
}

/// Who orders.
#[derive(Debug, clap::Args)]
pub(super) struct Author {
    /// Who, beside whoever the token or the socket says. [default: the user of this shell].
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
}

/// For how long.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Term {
    /// For this long, such as 90m, 3h or 7d; 30 days at most.
    #[arg(long = "for", value_name = "TIME", value_parser = lasting)]
    lasting: Option<String>,
    /// Until this moment, such as 2026-11-23T18:00:00Z.
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    until: Option<String>,
}

/// What a pause stops.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub(super) enum Scope {
    /// Scaling out and in.
    #[default]
    Both,
    /// Removing instances.
    ScaleIn,
    /// Adding instances.
    ScaleOut,
}

/// Of a pause or a freeze.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Pause {
    /// What stops.
    #[arg(long, value_enum, default_value_t)]
    scope: Scope,
    #[command(flatten)]
    term: Term,
    #[command(flatten)]
    signature: Signature,
}

/// Of an override.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(group = clap::ArgGroup::new("bounds").required(true).multiple(true).args(["floor", "cap", "exact"]))]
pub(super) struct Override {
    /// The least capacity.
    #[arg(long, value_name = "N", conflicts_with = "exact")]
    floor: Option<u32>,
    /// The most capacity.
    #[arg(long, value_name = "N", conflicts_with = "exact")]
    cap: Option<u32>,
    /// Both at once.
    #[arg(long, value_name = "N")]
    exact: Option<u32>,
    #[command(flatten)]
    term: Term,
    #[command(flatten)]
    signature: Signature,
}

/// One order.
pub(super) enum Order {
    Pause(String, Pause),
    Resume(String, Signature),
    Override(String, Override),
    Release(String, Signature),
    Freeze(Pause),
    Unfreeze(Signature),
    Reload(Signature),
}

#[derive(Deserialize)]
struct Accepted {
    by: String,
    until: Option<jiff::Timestamp>,
    but: Option<String>,
    not_kept_because: Option<String>,
}

/// Gives the order to the daemon, and says what came of it.
pub(super) async fn run(order: Order, connection: &Connection, json: bool) -> anyhow::Result<ExitCode> {
    let client = Client::new(connection)?;
    let (policy, action, body, done) = request(order);
    let mut path = vec!["api", "v1"];
    path.extend(policy.iter().flat_map(|name| ["policies", name.as_str()]));
    path.push(action);
    let reply = client.order(&path, &body).await?;
    if let (StatusCode::NOT_FOUND, Some(name)) = (reply.status, &policy) {
        return Err(client.unknown(name).await);
    }
    let answer = client.accept(reply)?;
    if json {
        say(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    let Accepted { by, until, but, not_kept_because } = client.parse(&answer)?;
    let until = until.map(|until| format!(" until {}", until.strftime("%Y-%m-%d %H:%M:%S UTC"))).unwrap_or_default();
    let but = but.map(|but| format!("; but {but}")).unwrap_or_default();
    say(&format!("{done}{until}, by {by}{but}"));
    if let Some(why) = not_kept_because {
        eprintln!("setpoint: a restart of the daemon will forget this: {why}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The policy, what to do with it, the body, and what is said when it is done.
fn request(order: Order) -> (Option<String>, &'static str, Value, String) {
    match order {
        Order::Pause(name, pause) => {
            let done = format!("{name} is paused{}", directions(pause.scope));
            (Some(name), "pause", pausing(pause), done)
        }
        Order::Resume(name, signature) => {
            let done = format!("{name} is resumed");
            (Some(name), "resume", signed(signature), done)
        }
        Order::Override(name, bounds) => {
            let done = format!("{name} is overridden to {}", limits(&bounds));
            (Some(name), "override", overriding(bounds), done)
        }
        Order::Release(name, signature) => {
            let done = format!("{name} is released");
            (Some(name), "release", signed(signature), done)
        }
        Order::Freeze(pause) => {
            let done = format!("all policies are frozen{}", directions(pause.scope));
            (None, "freeze", pausing(pause), done)
        }
        Order::Unfreeze(signature) => (None, "unfreeze", signed(signature), "the freeze is over".into()),
        Order::Reload(signature) => (None, "reload", signed(signature), "the configuration is reloaded".into()),
    }
}

fn lasting(text: &str) -> Result<String, String> {
    history::span(text).map(|_| text.to_owned())
}

fn moment(text: &str) -> Result<String, String> {
    let wrong = |_| "expected a moment such as 2026-11-23T18:00:00Z".to_owned();
    text.parse::<jiff::Timestamp>().map(|_| text.to_owned()).map_err(wrong)
}

fn limits(Override { floor, cap, exact, .. }: &Override) -> String {
    let words = [("at least", floor), ("at most", cap), ("exactly", exact)];
    let said = words.iter().filter_map(|(word, bound)| bound.map(|bound| format!("{word} {bound}")));
    said.collect::<Vec<_>>().join(", ")
}

fn directions(scope: Scope) -> &'static str {
    match scope {
        Scope::Both => "",
        Scope::ScaleIn => " for scale-in",
        Scope::ScaleOut => " for scale-out",
    }
}

fn pausing(Pause { scope, term, signature }: Pause) -> Value {
    let scope = match scope {
        Scope::Both => "both",
        Scope::ScaleIn => "scale-in",
        Scope::ScaleOut => "scale-out",
    };
    let mut body = signed(signature);
    (body["scope"], body["expires"]) = (scope.into(), expires(term));
    body
}

fn overriding(Override { floor, cap, exact, term, signature }: Override) -> Value {
    let mut body = signed(signature);
    (body["floor"], body["cap"], body["exact"]) = (floor.into(), cap.into(), exact.into());
    body["expires"] = expires(term);
    body
}

fn expires(Term { lasting, until }: Term) -> Value {
    // The command line demands one of them.
    lasting.or(until).into()
}

fn signed(Signature { reason, author: Author { author } }: Signature) -> Value {
    let user = || ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    json!({ "reason": reason, "author": author.or_else(user) })
}
