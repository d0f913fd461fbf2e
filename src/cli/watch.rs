//! `setpoint watch`: the fleet, live, from the daemon's events.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::client::{Client, Connection};
use super::status::{Policy, fleet};
use super::table::{self, say};

/// Between two attempts to reach a daemon that has gone.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest event; a policy in short has a few thousand bytes.
const MAX_EVENT: usize = 1 << 20;

const EVENTS: [&str; 3] = ["api", "v1", "events"];

/// Shows the fleet until it is interrupted. With `json`, each event is a line.
pub(super) async fn run(connection: &Connection, json: bool) -> anyhow::Result<ExitCode> {
    let client = Client::new(connection)?;
    let mut policies = BTreeMap::new();
    let mut response = client.listen(&EVENTS).await?;
    loop {
        let mut events = Events::default();
        // A stream that ends, as each does after a minute, is begun again; so is one that breaks off.
        while let Ok(Some(chunk)) = response.chunk().await {
            let news = events.push(&chunk)?;
            if json {
                for event in &news {
                    say(&event.data);
                }
            } else if take(&client, &mut policies, &news)? {
                show(&policies);
            }
        }
        response = again(&client).await;
    }
}

/// A stream that begins by telling everything once more.
async fn again(client: &Client) -> reqwest::Response {
    loop {
        match client.listen(&EVENTS).await {
            Ok(response) => return response,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// True where there is something to show.
fn take(client: &Client, policies: &mut BTreeMap<String, Policy>, news: &[Event]) -> anyhow::Result<bool> {
    for event in news {
        if event.name == "removed" {
            let gone: Value = client.parse(&event.data)?;
            policies.remove(gone["name"].as_str().unwrap_or_default());
        } else {
            let policy: Policy = client.parse(&event.data)?;
            policies.insert(policy.name.clone(), policy);
        }
    }
    Ok(!news.is_empty())
}

/// In place on a terminal, one below the other elsewhere.
fn show(policies: &BTreeMap<String, Policy>) {
    if std::io::stdout().is_terminal() {
        // From the top, and what is left of a longer table is cleared.
        let _ = write!(std::io::stdout(), "\x1b[H\x1b[2J");
    }
    say(&fleet(policies.values(), table::width()));
}

/// One server-sent event.
#[derive(Debug, PartialEq)]
struct Event {
    name: String,
    data: String,
}

/// Puts events together from what comes in.
#[derive(Default)]
struct Events(Vec<u8>);

impl Events {
    /// The events that are whole now.
    fn push(&mut self, bytes: &[u8]) -> anyhow::Result<Vec<Event>> {
        self.0.extend_from_slice(bytes);
        let mut found = Vec::new();
        while let Some(end) = self.0.windows(2).position(|pair| pair == b"\n\n") {
            let rest = self.0.split_off(end + 2);
            let block = std::mem::replace(&mut self.0, rest);
            found.extend(event(&String::from_utf8_lossy(&block)));
        }
        anyhow::ensure!(self.0.len() <= MAX_EVENT, "an event is longer than {MAX_EVENT} bytes");
        Ok(found)
    }
}

/// `None` for a comment, which only keeps the connection alive.
fn event(block: &str) -> Option<Event> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
    Some(Event { name: field("event: ")?.to_owned(), data: field("data: ")?.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_put_together_however_they_are_cut() {
        let stream = b"event: policy\ndata: {\"name\":\"a\"}\n\n:\n\nevent: removed\ndata: {\"name\":\"b\"}\n\n";
        let event = |name: &str, data: &str| Event { name: name.into(), data: data.into() };
        let expected = [event("policy", "{\"name\":\"a\"}"), event("removed", "{\"name\":\"b\"}")];
        for size in 1..stream.len() {
            let mut events = Events::default();
            let found: Vec<Event> = stream.chunks(size).flat_map(|chunk| events.push(chunk).unwrap()).collect();
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn an_event_without_an_end_is_given_up() {
        assert!(Events::default().push(&vec![b'x'; MAX_EVENT + 1]).is_err());
    }
}
