//! Who may ask: only somebody who knows that this is a loopback server.
//!
//! The `Host` header is checked on every request, so that a web page elsewhere whose name was made to point here (DNS
//! rebinding) gets nothing, and a foreign `Origin` is refused.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;

use super::problem;

/// On every answer: nothing is loaded from elsewhere, nothing is guessed, nothing is kept.
const HEADERS: [(HeaderName, &str); 4] = [
    (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
];

pub(super) async fn check(request: Request, next: Next) -> Response {
    let mut response = match objection(request.uri(), request.headers()) {
        None => next.run(request).await,
        Some(objection) => problem::response(StatusCode::FORBIDDEN, objection),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn objection(target: &Uri, headers: &HeaderMap) -> Option<&'static str> {
    let host = only(headers, HOST);
    // A request line may name a host too, and then that one counts.
    let named = target.authority().is_none_or(|authority| is_loopback(authority.as_str()));
    if !named || !host.is_some_and(is_loopback) {
        return Some("the Host header must be localhost or a loopback address");
    }
    let own = || only(headers, ORIGIN).and_then(|origin| origin.strip_prefix("http://")) == host;
    (headers.contains_key(ORIGIN) && !own()).then_some("the Origin header names another site")
}

/// The value of a header that is there once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().and_then(|value| value.to_str().ok());
    value.filter(|_| values.next().is_none())
}

/// Whether `host`, with or without a port, is `localhost` or a loopback address. It is parsed, because `127.evil.com`
/// begins like one.
fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return false;
    }
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_hosts_are_known() {
        for host in ["localhost", "LOCALHOST:9480", "127.0.0.1", "127.0.0.1:9480", "127.9.9.9", "[::1]", "[::1]:9480"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["127.evil.com", "evil.com:9480", "", ":80", "10.0.0.1", "localhost.evil.com", "127.0.0.1:x", "[::2]"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_foreign_origin_is_refused() {
        let check = |origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("localhost:9480"));
            if let Some(origin) = origin {
                headers.insert(ORIGIN, HeaderValue::from_static(origin));
            }
            objection(&Uri::from_static("/"), &headers)
        };
        assert_eq!(check(None), None);
        assert_eq!(check(Some("http://localhost:9480")), None);
        for origin in ["http://evil.com", "https://localhost:9480", "http://localhost:80", "null", ""] {
            assert!(check(Some(origin)).is_some(), "{origin}");
        }
    }
}
