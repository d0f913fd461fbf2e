//! `setpoint explain NAME`: asks the running daemon why it decided as it did. It changes nothing there.

use std::process::ExitCode;

use anyhow::Context;
use reqwest::StatusCode;

use super::client::{Client, Connection};
use super::table::say;

/// Prints the explanation of the policy `name`, as JSON or as text.
pub(super) async fn run(name: &str, connection: &Connection, json: bool) -> anyhow::Result<ExitCode> {
    let client = Client::new(connection)?;
    let accept = if json { "application/json" } else { "text/plain" };
    let reply = client.get(&["api", "v1", "policies", name, "explain"], accept).await?;
    match reply.status {
        StatusCode::OK => {
            say(reply.body.trim_end());
            Ok(ExitCode::SUCCESS)
        }
        StatusCode::NOT_FOUND => Err(client.unknown(name).await),
        _ => Err(client.refusal(&reply)).with_context(|| format!("{name} can't be explained")),
    }
}
