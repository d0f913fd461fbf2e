//! How commands reach the running daemon: over its Unix socket, or by URL.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{Certificate, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Where the daemon's socket is unless something else is said.
const SOCKET: &str = "/run/setpoint/setpoint.sock";

/// Where the daemon listens unless something else is said.
const URL: &str = "http://127.0.0.1:9480";

/// A daemon answers from memory; one that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// A reload lets the running cycles finish first.
const RELOAD_PATIENCE: Duration = Duration::from_mins(1);

/// What the commands that ask a daemon exit with.
pub(super) const EXIT_CODES: &str = "Exit codes:
  0   done
  1   the daemon refused, or something failed
  2   the command line is wrong
  69  no daemon answers
  77  the daemon does not know who asks, or whoever asks may not";

const EX_UNAVAILABLE: u8 = 69;
const EX_NOPERM: u8 = 77;

/// Where the daemon is, and how it is known who asks.
#[derive(Debug, clap::Args)]
pub(super) struct Connection {
    /// The daemon's Unix socket. Whoever may write to it is an operator. [default: /run/setpoint/setpoint.sock, where there
    /// is one].
    #[arg(long, value_name = "PATH", conflicts_with = "url")]
    socket: Option<PathBuf>,
    /// Where the daemon listens. [default: <http://127.0.0.1:9480>, where there is no socket].
    #[arg(long, value_name = "URL", value_parser = address)]
    url: Option<Url>,
    /// A file with the bearer token.
    #[arg(long, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
    /// Certificate authorities to trust in place of the system's, in PEM.
    #[arg(long, value_name = "FILE", requires = "url")]
    ca_file: Option<PathBuf>,
}

/// Why a daemon did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("no daemon answers at {0}; start one with `setpoint run`, or say with --socket or --url where it listens")]
    Unreachable(String),
    #[error("{0}")]
    Denied(String),
    #[error("{0}")]
    Refused(String),
    #[error("{0} answers, but not as a Setpoint daemon")]
    Foreign(String),
}

/// What a command that failed for this reason exits with.
pub(super) fn exit_code(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref() {
        Some(Refusal::Unreachable(_)) => EX_UNAVAILABLE.into(),
        Some(Refusal::Denied(_)) => EX_NOPERM.into(),
        Some(Refusal::Refused(_) | Refusal::Foreign(_)) | None => ExitCode::FAILURE,
    }
}

/// A daemon that can be asked.
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    authorization: Option<HeaderValue>,
    /// What people call the place.
    at: String,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(super) struct Reply {
    pub status: StatusCode,
    pub body: String,
}

#[derive(Deserialize)]
struct Problem {
    detail: String,
}

/// A page of them.
#[derive(Deserialize)]
struct List<T> {
    policies: Vec<T>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

impl Client {
    pub fn new(connection: &Connection) -> anyhow::Result<Self> {
        // The client asks for a provider even where it speaks plain HTTP only. One that is there already stays.
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        if let Some(file) = &connection.ca_file {
            let pem = std::fs::read(file).with_context(|| format!("can't read {}", file.display()))?;
            let authorities = Certificate::from_pem_bundle(&pem).unwrap_or_default();
            if authorities.is_empty() {
                bail!("{} holds no certificates, expected some in PEM", file.display());
            }
            builder = builder.tls_certs_only(authorities);
        }
        let socket = connection
            .socket
            .clone()
            .or_else(|| Some(PathBuf::from(SOCKET)).filter(|path| connection.url.is_none() && path.exists()));
        let (base, at) = match (socket, &connection.url) {
            (Some(path), _) => {
                let at = path.display().to_string();
                builder = builder.unix_socket(path);
                (Url::parse("http://localhost")?, at)
            }
            (None, Some(url)) => (url.clone(), url.to_string()),
            (None, None) => (Url::parse(URL)?, URL.to_owned()),
        };
        let authorization = connection.token_file.as_deref().map(|file| bearer(file, &base)).transpose()?;
        Ok(Self { http: builder.build()?, base, authorization, at })
    }

    /// The answer as text, of the type `accept`.
    pub async fn get(&self, path: &[&str], accept: &str) -> anyhow::Result<Reply> {
        let request = self.http.get(self.url(path)).header(ACCEPT, accept).timeout(PATIENCE);
        self.read(self.send(request).await?).await
    }

    /// The part of an answer that `query` asks for, as JSON.
    pub async fn get_part(&self, path: &[&str], query: &[(&str, String)]) -> anyhow::Result<Reply> {
        let request = self.http.get(self.url(path)).query(query).timeout(PATIENCE);
        self.read(self.send(request).await?).await
    }

    /// The answer as JSON.
    pub async fn read_json<T: DeserializeOwned>(&self, path: &[&str]) -> anyhow::Result<T> {
        let body = self.accept(self.get(path, "application/json").await?)?;
        self.parse(&body)
    }

    /// The answer to an order.
    pub async fn order(&self, path: &[&str], body: &Value) -> anyhow::Result<Reply> {
        let request = self.http.post(self.url(path)).json(body).timeout(RELOAD_PATIENCE);
        self.read(self.send(request).await?).await
    }

    /// An answer that is still coming in, without an end.
    pub async fn listen(&self, path: &[&str]) -> anyhow::Result<Response> {
        let response = self.send(self.http.get(self.url(path)).header(ACCEPT, "text/event-stream")).await?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let reply = self.read(response).await?;
        Err(self.refusal(&reply).into())
    }

    /// All policies in short, page by page.
    pub async fn policies<T: DeserializeOwned>(&self) -> anyhow::Result<Vec<T>> {
        let mut all = Vec::new();
        let mut part = Vec::new();
        loop {
            let reply = self.get_part(&["api", "v1", "policies"], &part).await?;
            let List { policies, next } = self.parse(&self.accept(reply)?)?;
            all.extend(policies);
            match next {
                Some(next) => part = vec![("after", next)],
                None => return Ok(all),
            }
        }
    }

    /// That there is no policy `name`, and which there are.
    pub async fn unknown(&self, name: &str) -> anyhow::Error {
        match self.policies::<Named>().await {
            Err(error) => error,
            Ok(policies) => {
                let names: Vec<String> = policies.into_iter().map(|policy| policy.name).collect();
                anyhow!("the daemon has no policy {name:?}, it has: {}", names.join(", "))
            }
        }
    }

    /// The body of an answer of success.
    pub fn accept(&self, reply: Reply) -> anyhow::Result<String> {
        if reply.status == StatusCode::OK { Ok(reply.body) } else { Err(self.refusal(&reply).into()) }
    }

    pub fn parse<T: DeserializeOwned>(&self, body: &str) -> anyhow::Result<T> {
        serde_json::from_str(body).with_context(|| Refusal::Foreign(self.at.clone()))
    }

    /// What the daemon says of a request that it could not fulfil.
    pub fn refusal(&self, reply: &Reply) -> Refusal {
        match (serde_json::from_str(&reply.body), reply.status) {
            (Err(_), _) => Refusal::Foreign(self.at.clone()),
            (Ok(Problem { detail }), StatusCode::UNAUTHORIZED) => {
                Refusal::Denied(format!("{detail}; expected --socket, or --url with --token-file"))
            }
            (Ok(Problem { detail }), StatusCode::FORBIDDEN) => Refusal::Denied(detail),
            (Ok(Problem { detail }), _) => Refusal::Refused(detail),
        }
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        // Checked as the command line was read: it can be a base.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    async fn send(&self, mut request: RequestBuilder) -> anyhow::Result<Response> {
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        self.reached(request.send().await)
    }

    async fn read(&self, response: Response) -> anyhow::Result<Reply> {
        Ok(Reply { status: response.status(), body: self.reached(response.text().await)? })
    }

    fn reached<T>(&self, result: reqwest::Result<T>) -> anyhow::Result<T> {
        result.map_err(|error| {
            let (error, at) = (anyhow::Error::new(error.without_url()), &self.at);
            let refusal = if is_denied(&error) {
                Refusal::Denied(format!("this user may not write to {at}, expected its owner or a member of its group"))
            } else {
                Refusal::Unreachable(at.clone())
            };
            error.context(refusal)
        })
    }
}

/// Whether the system lets this user not through, though somebody may well listen.
fn is_denied(error: &anyhow::Error) -> bool {
    let kind = |cause: &(dyn Error + 'static)| cause.downcast_ref::<io::Error>().map(io::Error::kind);
    error.chain().any(|cause| kind(cause) == Some(io::ErrorKind::PermissionDenied))
}

fn address(text: &str) -> Result<Url, String> {
    let fits = |url: &Url| !url.cannot_be_a_base() && ["http", "https"].contains(&url.scheme());
    text.parse().ok().filter(fits).ok_or_else(|| format!("expected the address of a daemon, such as {URL}"))
}

/// The header that presents the token in `file` to a daemon at `base`.
fn bearer(file: &Path, base: &Url) -> anyhow::Result<HeaderValue> {
    let host = base.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    if base.scheme() == "http" && !is_loopback {
        bail!("a token is not sent to {base} in clear text, expected an https URL");
    }
    let token = std::fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
    let mut header = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
        .map_err(|_| anyhow!("{} holds no token, expected letters, digits and signs", file.display()))?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_this_user_may_not_write_to_is_not_a_daemon_that_is_down() {
        let check = |kind: io::ErrorKind, denied| {
            let error = anyhow::Error::new(io::Error::from(kind)).context("tcp connect error");
            assert_eq!(is_denied(&error), denied, "{kind}");
        };
        check(io::ErrorKind::PermissionDenied, true);
        check(io::ErrorKind::ConnectionRefused, false);
        check(io::ErrorKind::NotFound, false);
    }
}
