//! The status page: files that are part of the binary. They hold no data; their scripts ask the API for it.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::problem;

/// Where the parts of the page are.
pub(super) const PARTS: &str = "/site/";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Each part: its name, its type and what it holds.
const FILES: [(&str, &str, &str); 15] = [
    ("api.js", SCRIPT, include_str!("site/api.js")),
    ("charts.js", SCRIPT, include_str!("site/charts.js")),
    ("cost.js", SCRIPT, include_str!("site/cost.js")),
    ("explanation.js", SCRIPT, include_str!("site/explanation.js")),
    ("fleet.js", SCRIPT, include_str!("site/fleet.js")),
    ("icon.svg", SVG, include_str!("site/icon.svg")),
    ("main.js", SCRIPT, include_str!("site/main.js")),
    ("orders.js", SCRIPT, include_str!("site/orders.js")),
    ("plain.css", CSS, include_str!("site/plain.css")),
    ("policy.js", SCRIPT, include_str!("site/policy.js")),
    ("style.css", CSS, include_str!("site/style.css")),
    ("timeline.js", SCRIPT, include_str!("site/timeline.js")),
    ("uPlot.iife.min.js", SCRIPT, include_str!("site/vendor/uPlot.iife.min.js")),
    ("uPlot.min.css", CSS, include_str!("site/vendor/uPlot.min.css")),
    ("words.js", SCRIPT, include_str!("site/words.js")),
];

/// The status page.
#[utoipa::path(get, path = "/", tag = "page", responses((status = OK, body = String, content_type = "text/html")))]
pub(super) async fn index() -> Response {
    ([(CONTENT_TYPE, HTML)], include_str!("site/index.html")).into_response()
}

/// A part of the status page: its looks, its scripts, its icon.
#[utoipa::path(get, path = "/site/{file}", tag = "page", params(("file" = String, Path, description = "The file.")),
    responses(
        (status = OK, content((String = "text/javascript"), (String = "text/css"), (String = "image/svg+xml"))),
        (status = NOT_FOUND, body = problem::Problem, content_type = "application/problem+json",
            description = "No such part."),
    )
)]
pub(super) async fn part(path: Result<Path<String>, PathRejection>) -> Response {
    // A name that is not even text is no part either.
    let file = path.map(|Path(file)| file).unwrap_or_default();
    match FILES.iter().find(|(name, ..)| *name == file) {
        Some((_, kind, content)) => ([(CONTENT_TYPE, *kind)], *content).into_response(),
        None => problem::not_found().await.into_response(),
    }
}
