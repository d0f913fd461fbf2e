//! JSON with an `ETag`, so that whoever has it already is told so instead of being sent it again.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, ETAG, HeaderMap, IF_NONE_MATCH};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem::Problem;

/// `body` as JSON, or 304 where the request's `If-None-Match` names what it would be.
pub(super) fn json(request: &HeaderMap, body: &impl Serialize) -> Response {
    let Ok(body) = serde_json::to_vec(body) else {
        return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the answer can't be written").into_response();
    };
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    if is_known(request, &tag) {
        return (StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response();
    }
    ([(ETAG, tag), (CONTENT_TYPE, "application/json".to_owned())], body).into_response()
}

fn is_known(request: &HeaderMap, tag: &str) -> bool {
    let known = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut known = known.flat_map(|value| value.split(',')).map(str::trim);
    // Compared weakly, as RFC 9110 has it for this header.
    known.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}
