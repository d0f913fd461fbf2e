//! Errors as problem details (RFC 9457).

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// A problem of this status; `detail` is a sentence for people.
pub(super) fn response(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
    (status, [(CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

pub(super) async fn not_found() -> Response {
    response(StatusCode::NOT_FOUND, "there is nothing here; the API is under /api/v1/")
}

pub(super) async fn method_not_allowed() -> Response {
    response(StatusCode::METHOD_NOT_ALLOWED, "this version only answers GET and HEAD")
}
