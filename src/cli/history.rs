//! `setpoint history`: what the running daemon decided and was told, or what the journal of one that is down has kept.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::client::{Client, Connection};
use crate::control::Decision;
use crate::journal::{Entry, Event, MOST_ENTRIES, Page, Query, Reader};
use crate::order::{Order, Scope};

/// What is asked for.
pub(super) struct Question<'a> {
    pub policy: Option<&'a str>,
    pub from: Option<SignedDuration>,
    pub limit: usize,
    pub json: bool,
}

#[derive(Deserialize)]
struct Answer {
    decisions: Vec<Entry>,
    #[serde(default)]
    unreadable: usize,
}

/// Asks the running daemon.
pub(super) async fn ask(question: &Question<'_>, connection: &Connection) -> anyhow::Result<ExitCode> {
    let client = Client::new(connection)?;
    let mut query = vec![("limit", question.limit.to_string())];
    query.extend(question.since(Timestamp::now())?.map(|from| ("from", from.to_string())));
    let path = match question.policy {
        Some(policy) => vec!["api", "v1", "policies", policy, "decisions"],
        None => vec!["api", "v1", "decisions"],
    };
    let reply = client.get_part(&path, &query).await?;
    match (reply.status, question.policy) {
        (StatusCode::OK, _) if question.json => print(&[reply.body.trim_end()]),
        (StatusCode::OK, _) => client.parse::<Answer>(&reply.body)?.print(),
        (StatusCode::NOT_FOUND, Some(policy)) if !reply.body.contains("journal") => {
            return Err(client.unknown(policy).await);
        }
        _ => return Err(client.refusal(&reply)).context("there is no history"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the journal in the state directory of a daemon that is down.
pub(super) fn read(question: &Question<'_>, directory: &Path) -> anyhow::Result<ExitCode> {
    let from = question.since(Timestamp::now())?;
    let query = Query { policy: question.policy.map(Into::into), from, before: None, limit: question.limit };
    let page = Reader::page_in(directory, &query).with_context(|| {
        format!("no history can be read in {}; a daemon that runs is asked without --state", directory.display())
    })?;
    if question.json {
        let Page { entries, unreadable, next } = page;
        print(&[json!({ "decisions": entries, "unreadable": unreadable, "next": next }).to_string().as_str()]);
    } else {
        Answer { decisions: page.entries, unreadable: page.unreadable }.print();
    }
    Ok(ExitCode::SUCCESS)
}

/// A time span such as `24h`, `7d` or `1h30m`.
pub(super) fn span(text: &str) -> Result<SignedDuration, String> {
    let span = text.parse::<Span>().and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
    span.ok().filter(SignedDuration::is_positive).ok_or_else(|| "expected a time such as 24h, 7d or 1h30m".into())
}

/// How many entries.
pub(super) fn limit(text: &str) -> Result<usize, String> {
    let within = |limit: &usize| (1..=MOST_ENTRIES).contains(limit);
    text.parse().ok().filter(within).ok_or_else(|| format!("expected a number from 1 to {MOST_ENTRIES}"))
}

impl Question<'_> {
    fn since(&self, now: Timestamp) -> anyhow::Result<Option<Timestamp>> {
        let since = |from: SignedDuration| now.checked_sub(from).map_err(|_| anyhow!("--from is before all time"));
        self.from.map(since).transpose()
    }
}

impl Answer {
    /// The newest last, next to the prompt.
    fn print(&self) {
        print(&self.decisions.iter().rev().map(Line).collect::<Vec<_>>());
        if self.unreadable > 0 {
            eprintln!("{} more can't be read by this version of Setpoint; a newer one may", self.unreadable);
        }
    }
}

fn print(lines: &[impl fmt::Display]) {
    let mut out = io::stdout().lock();
    // Whoever reads may stop reading.
    let _ = lines.iter().try_for_each(|line| writeln!(out, "{line}"));
}

struct Line<'a>(&'a Entry);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { at, policy, event } = self.0;
        write!(f, "{at:.0}  {policy}  ")?;
        match event {
            Event::Decision(made) => {
                match made.decision {
                    Decision::Scale { from, to } => write!(f, "{from} -> {to} ({})", made.outcome.label())?,
                    Decision::Hold => f.write_str("hold")?,
                }
                write!(f, ": {}", made.because)?;
                made.error.iter().try_for_each(|error| write!(f, "; {error}"))
            }
            Event::Order { given: order } => {
                let author = order.author();
                write!(f, "{}{} by {}: {}", order.label(), Terms(order), author.by, author.reason)
            }
        }
    }
}

/// What an order sets and when it ends, where it says either.
struct Terms<'a>(&'a Order);

impl fmt::Display for Terms<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let until = match self.0 {
            Order::Pause { pause, .. } | Order::Freeze(pause) => {
                f.write_str(match pause.scope {
                    Scope::Both => "",
                    Scope::ScaleIn => " of scale-in",
                    Scope::ScaleOut => " of scale-out",
                })?;
                pause.until
            }
            Order::Override { bounds, .. } => {
                bounds.floor.iter().try_for_each(|floor| write!(f, " at least {floor}"))?;
                bounds.cap.iter().try_for_each(|cap| write!(f, " at most {cap}"))?;
                bounds.until
            }
            Order::Resume { .. } | Order::Release { .. } | Order::Unfreeze(_) => return Ok(()),
        };
        write!(f, " until {until:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::{Author, Override, Pause};
    use crate::policy::Capacity;

    #[test]
    fn a_span_is_a_number_with_a_unit() {
        let check = |text, hours| assert_eq!(span(text).ok(), Some(SignedDuration::from_hours(hours)), "{text}");
        check("24h", 24);
        check("7d", 168);
        check("1h60m", 2);
        for wrong in ["", "24", "-1h", "0h", "yesterday"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_order_is_told_with_what_it_sets_and_when_it_ends() {
        let (since, until) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH + SignedDuration::from_hours(3));
        let author = Author { by: "alice".into(), reason: "a sale".into() };
        let check = |given: Order, said: &str| {
            let entry = Entry { at: since, policy: "web".into(), event: Event::Order { given } };
            assert_eq!(Line(&entry).to_string(), format!("1970-01-01T00:00:00Z  web  {said} by alice: a sale"));
        };
        let ordered = |floor: Option<u32>, cap: Option<u32>| {
            let (floor, cap) = (floor.map(Capacity::new), cap.map(Capacity::new));
            let bounds = Override { floor, cap, author: author.clone(), since, until };
            Order::Override { policy: "web".into(), bounds }
        };
        check(ordered(Some(5), None), "override at least 5 until 1970-01-01T03:00:00Z");
        check(ordered(Some(5), Some(8)), "override at least 5 at most 8 until 1970-01-01T03:00:00Z");
        let pause = |scope| Pause { scope, author: author.clone(), since, until };
        check(Order::Freeze(pause(Scope::Both)), "freeze until 1970-01-01T03:00:00Z");
        check(Order::Freeze(pause(Scope::ScaleIn)), "freeze of scale-in until 1970-01-01T03:00:00Z");
        check(Order::Release { policy: "web".into(), author: author.clone() }, "release");
    }
}
