//! Who may ask, and for what.
//!
//! The `Host` header is checked on every request, so that a web page elsewhere whose name was made to point here (DNS
//! rebinding) gets nothing, and a foreign `Origin` is refused. Whatever is not a mere reading needs an operator.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::settings::{Role, Settings};
use super::tokens::{self, Caller};

/// On every answer: nothing is loaded from elsewhere, nothing is guessed, nothing is kept. A page may run the scripts
/// that are served here, may ask here, and can't make markup of what it was answered (trusted types).
const HEADERS: [(HeaderName, &str); 5] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'none'; \
         frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (CACHE_CONTROL, "no-store"),
];

/// Answered to anybody who reaches the port: whether it is open, and the page without anything in it, which asks for a
/// token.
fn is_open(path: &str) -> bool {
    matches!(path, "/" | "/healthz") || path.starts_with(super::page::PARTS)
}

/// How a request came in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Transport {
    /// By TCP, at this address of ours.
    Tcp { local: IpAddr, tls: bool },
    /// By the Unix socket, from a process of this user.
    Socket { uid: u32 },
}

/// Passes on what may be asked, with the [`Caller`] where it is known who asks.
pub(super) async fn check(
    State(settings): State<Arc<Settings>>,
    Extension(transport): Extension<Transport>,
    request: Request,
    next: Next,
) -> Response {
    let (mut head, body) = request.into_parts();
    let passed = match objection(&head.uri, &head.headers, transport, &settings) {
        Some(objection) => Err(Problem::new(StatusCode::FORBIDDEN, objection)),
        None => admit(&head, transport, &settings).await,
    };
    let mut response = match passed {
        Ok(caller) => {
            if let Some(caller) = caller {
                head.extensions.insert(caller);
            }
            next.run(Request::from_parts(head, body)).await
        }
        Err(problem) => problem.into_response(),
    };
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"setpoint\""));
    }
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Who asks, if that is known, unless they may not ask for this.
async fn admit(head: &Parts, transport: Transport, settings: &Settings) -> Result<Option<Caller>, Problem> {
    let caller = identify(&head.headers, transport, settings).await?;
    let Some(needed) = needed(&head.method, head.uri.path(), settings) else { return Ok(caller) };
    match &caller {
        Some(known) if known.role >= needed => Ok(caller),
        Some(Caller { name, .. }) => {
            Err(Problem::new(StatusCode::FORBIDDEN, format!("this needs an operator, and {name} is a viewer")))
        }
        None if needed == Role::Viewer => Err(Problem::new(StatusCode::UNAUTHORIZED, "this needs a bearer token")),
        None => Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "this needs an operator: ask over the Unix socket (http.socket), or with an operator's bearer token",
        )),
    }
}

/// What one must be to ask for this; `None` where it is open to everybody.
fn needed(method: &Method, path: &str, settings: &Settings) -> Option<Role> {
    if ![Method::GET, Method::HEAD].contains(method) {
        return Some(Role::Operator);
    }
    let open = settings.listen.ip().is_loopback() || is_open(path);
    (!open).then_some(Role::Viewer)
}

async fn identify(headers: &HeaderMap, transport: Transport, settings: &Settings) -> Result<Option<Caller>, Problem> {
    if let Transport::Socket { uid } = transport {
        return Ok(Some(Caller { role: Role::Operator, name: format!("uid {uid}").into() }));
    }
    if !headers.contains_key(AUTHORIZATION) {
        return Ok(None);
    }
    let presented = only(headers, AUTHORIZATION).and_then(|value| value.split_once(' '));
    let presented = presented.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((_, token)) = presented else {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "the Authorization header is not of the form: Bearer TOKEN",
        ));
    };
    match tokens::owner(&settings.tokens, token.trim()).await {
        Some(caller) => Ok(Some(caller)),
        None => Err(Problem::new(StatusCode::UNAUTHORIZED, "the bearer token is nobody's")),
    }
}

fn objection(target: &Uri, headers: &HeaderMap, transport: Transport, settings: &Settings) -> Option<&'static str> {
    let host = only(headers, HOST);
    let is_own = |host: &str| is_own(host, transport, &settings.hosts);
    // A request line may name a host too, and then that one counts.
    let named = target.authority().is_none_or(|authority| is_own(authority.as_str()));
    if !named || !host.is_some_and(is_own) {
        return Some("the Host header must be localhost, this server's own address, or one of http.hosts");
    }
    let scheme = if matches!(transport, Transport::Tcp { tls: true, .. }) { "https://" } else { "http://" };
    let own = || only(headers, ORIGIN).and_then(|origin| origin.strip_prefix(scheme)) == host;
    (headers.contains_key(ORIGIN) && !own()).then_some("the Origin header names another site")
}

/// The value of a header that comes once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().and_then(|value| value.to_str().ok());
    value.filter(|_| values.next().is_none())
}

/// Whether `host`, with or without a port, is `localhost`, a loopback address, the address that was connected to, or one
/// of `names`. It is parsed, because `127.evil.com` begins like an address.
fn is_own(host: &str, transport: Transport, names: &[String]) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return false;
    }
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let connected = |address: IpAddr| matches!(transport, Transport::Tcp { local, .. } if local == address);
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback() || connected(address))
        || names.iter().any(|own| own.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: Transport = Transport::Tcp { local: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), tls: false };

    #[test]
    fn only_loopback_and_what_was_connected_to_and_named_hosts_are_known() {
        let names = ["setpoint.example".to_owned()];
        let reached = Transport::Tcp { local: "10.0.0.5".parse().unwrap(), tls: true };
        let socket = Transport::Socket { uid: 0 };
        let everywhere = ["localhost", "LOCALHOST:9480", "127.0.0.1", "127.0.0.1:9480", "127.9.9.9", "[::1]:9480"];
        for host in everywhere.iter().chain(&["[::1]", "setpoint.example", "Setpoint.Example:443"]) {
            assert!([LOOPBACK, reached, socket].iter().all(|transport| is_own(host, *transport, &names)), "{host}");
        }
        assert!(is_own("10.0.0.5:9480", reached, &names) && !is_own("10.0.0.5:9480", LOOPBACK, &names));
        for host in
            ["127.evil.com", "evil.com:9480", "", ":80", "10.0.0.1", "localhost.evil.com", "127.0.0.1:x", "[::2]"]
        {
            let known = [LOOPBACK, reached, socket].iter().any(|transport| is_own(host, *transport, &names));
            assert!(!known, "{host}");
        }
    }

    #[test]
    fn a_foreign_origin_is_refused() {
        let check = |tls, origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("localhost:9480"));
            if let Some(origin) = origin {
                headers.insert(ORIGIN, HeaderValue::from_static(origin));
            }
            let transport = Transport::Tcp { local: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), tls };
            objection(&Uri::from_static("/"), &headers, transport, &Settings::loopback(9480))
        };
        assert_eq!(check(false, None), None);
        assert_eq!(check(false, Some("http://localhost:9480")), None);
        assert_eq!(check(true, Some("https://localhost:9480")), None);
        for origin in ["http://evil.com", "https://localhost:9480", "http://localhost:80", "null", ""] {
            assert!(check(false, Some(origin)).is_some(), "{origin}");
        }
        assert!(check(true, Some("http://localhost:9480")).is_some());
    }
}
