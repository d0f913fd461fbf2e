//! `setpoint explain NAME`: asks the running daemon why it decided as it did. It changes nothing there.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use reqwest::header::ACCEPT;
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;

/// A daemon on this machine answers from memory; one that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// Prints the explanation of the policy `name` by the daemon at `url`, as JSON or as text.
pub(super) async fn run(name: &str, url: &Url, json: bool) -> anyhow::Result<ExitCode> {
    let daemon = Daemon::at(url)?;
    let accept = if json { "application/json" } else { "text/plain" };
    let (status, body) = daemon.get(&["api", "v1", "policies", name, "explain"], &[], accept).await?;
    match status {
        StatusCode::OK => {
            // Whoever reads may stop reading.
            let _ = writeln!(io::stdout(), "{}", body.trim_end());
            Ok(ExitCode::SUCCESS)
        }
        StatusCode::NOT_FOUND => Err(daemon.unknown(name).await),
        _ => Err(problem(&body).context(format!("{name} can't be explained"))),
    }
}

/// A daemon that answers on loopback.
pub(super) struct Daemon<'a> {
    url: &'a Url,
    client: Client,
}

#[derive(Deserialize)]
struct Problem {
    detail: String,
}

#[derive(Deserialize)]
struct List {
    policies: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

impl<'a> Daemon<'a> {
    pub(super) fn at(url: &'a Url) -> anyhow::Result<Self> {
        if url.cannot_be_a_base() || url.scheme() != "http" {
            bail!("{url} is no address of a daemon, expected one such as http://127.0.0.1:9480");
        }
        // The client asks for a provider even where it speaks plain HTTP only. One that is there already stays.
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE);
        Ok(Self { url, client: client.build()? })
    }

    pub(super) async fn get(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        accept: &str,
    ) -> anyhow::Result<(StatusCode, String)> {
        let mut url = self.url.clone();
        // Checked above: it can be a base.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let answer = async {
            let answer = self.client.get(url).query(query).header(ACCEPT, accept).send().await?;
            Ok::<_, reqwest::Error>((answer.status(), answer.text().await?))
        };
        answer.await.map_err(reqwest::Error::without_url).with_context(|| {
            let at = self.url;
            format!("no daemon answers at {at}; start one with `setpoint run`, or say with --url where it listens")
        })
    }

    /// That there is no policy `name`, and which there are.
    pub(super) async fn unknown(&self, name: &str) -> anyhow::Error {
        let list = self.get(&["api", "v1", "policies"], &[], "application/json").await;
        match list.map(|(_, body)| serde_json::from_str::<List>(&body)) {
            Err(error) => error,
            Ok(Err(_)) => anyhow!("{} answers, but not as a Setpoint daemon", self.url),
            Ok(Ok(List { policies })) => {
                let names: Vec<String> = policies.into_iter().map(|policy| policy.name).collect();
                anyhow!("the daemon has no policy {name:?}, it has: {}", names.join(", "))
            }
        }
    }
}

/// What the daemon says of a request that it could not fulfil.
pub(super) fn problem(body: &str) -> anyhow::Error {
    match serde_json::from_str::<Problem>(body) {
        Ok(Problem { detail }) => anyhow!(detail),
        Err(_) => anyhow!("the answer is not one of a Setpoint daemon"),
    }
}
