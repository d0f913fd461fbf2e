//! One HTTP exchange with a bounded answer. It never follows a redirect, uses no proxy, and never retries.

use std::error::Error;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, RequestBuilder, Response, StatusCode, header, redirect};

use super::{Answer, root_cause};
use crate::observation::Failure;

/// Most bytes of a body. An instant query answers with a few hundred; large `/metrics` pages are about 1 MiB.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// A server's answer, whatever its status.
pub(super) struct Reply {
    pub status: StatusCode,
    pub content_type: String,
    /// The protocol told where the body ends. Without it a connection that was cut looks like one that was done.
    pub framed: bool,
    pub body: Vec<u8>,
}

impl Reply {
    /// The failure that the status stands for, unless it is one of success.
    pub fn failure(&self) -> Option<Failure> {
        match self.status {
            status if status.is_success() => None,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Some(Failure::Denied),
            status if status.is_redirection() => Some(Failure::Redirected),
            status => Some(Failure::Status { code: status.as_u16() }),
        }
    }
}

/// Makes ring the crypto provider of this process. Another one that is there already stays.
pub(super) fn install_crypto() {
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
}

/// A client that talks to the named server and to no one else.
pub(super) fn client() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("setpoint/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .no_proxy()
}

/// What `work` comes to, or a failure once `timeout` has passed.
pub(super) async fn within<T>(timeout: Duration, work: impl Future<Output = Result<T, Answer>>) -> Result<T, Answer> {
    let late = |_| Answer::failed(Failure::Timeout, format!("no answer within {} s", timeout.as_secs_f64()));
    tokio::time::timeout(timeout, work).await.map_err(late)?
}

/// Sends `request` and reads the whole answer.
pub(super) async fn fetch(request: RequestBuilder) -> Result<Reply, Answer> {
    let response = request.send().await.map_err(|error| unreachable(&error))?;
    let has = |name| response.headers().contains_key(name);
    let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    Ok(Reply {
        status: response.status(),
        content_type: content_type.unwrap_or_default().to_owned(),
        framed: has(header::CONTENT_LENGTH) || has(header::TRANSFER_ENCODING),
        body: read_body(response).await?,
    })
}

async fn read_body(mut response: Response) -> Result<Vec<u8>, Answer> {
    let too_large = || Answer::failed(Failure::TooLarge, format!("the answer is larger than {MAX_BODY} bytes"));
    if response.content_length().is_some_and(|length| length > MAX_BODY as u64) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&error))? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The innermost cause says what happened and, unlike the error itself, never holds the URL, of which only the host and
/// the port are told: the rest may hold a password.
fn unreachable(error: &reqwest::Error) -> Answer {
    let cause = error.source().map_or_else(|| "the request failed".to_owned(), |source| root_cause(source).to_string());
    let at = error.url().and_then(|url| Some(format!(" from {}:{}", url.host_str()?, url.port_or_known_default()?)));
    Answer::failed(Failure::Unreachable, format!("no answer{}: {cause}", at.unwrap_or_default()))
}
