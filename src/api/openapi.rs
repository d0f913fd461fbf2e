//! The routes and their description, which are one list, so that neither lacks what the other has.

use std::sync::LazyLock;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Response as Described};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{View, cost, events, history, metrics, orders, page, plain, policies, series};

const INTRODUCTION: &str = "What Setpoint sees, decides and has done, and what operators may order. Reading on loopback is \
open; elsewhere it needs a viewer's token. Orders need an operator's token, or the Unix socket. Every order says why, and is \
in effect when it is answered.";

/// The answers that any request may get, and those that one with a body may get.
const ALWAYS: [(&str, &str); 2] =
    [("401", "It is not known who asks."), ("403", "Whoever asks may not, or the Host or Origin is foreign.")];
const WITH_BODY: [(&str, &str); 6] = [
    ("400", "The body is no JSON."),
    ("404", "No such policy."),
    ("413", "The body is too large."),
    ("415", "The body is not said to be JSON."),
    ("422", "It makes no sense, which is explained."),
    ("503", "The daemon is stopping or busy."),
];

/// Every route.
pub(super) fn routes() -> Router<View> {
    all().split_for_parts().0
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "own", responses((status = OK, body = Object)))]
async fn openapi() -> Response {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_json().unwrap_or_default());
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

fn all() -> OpenApiRouter<View> {
    OpenApiRouter::new()
        .routes(routes!(page::index))
        .routes(routes!(page::part))
        .routes(routes!(plain::index))
        .routes(routes!(super::healthz))
        .routes(routes!(super::readyz))
        .routes(routes!(metrics::expose))
        .routes(routes!(openapi))
        .routes(routes!(policies::status))
        .routes(routes!(policies::list))
        .routes(routes!(policies::one))
        .routes(routes!(policies::explain))
        .routes(routes!(series::of_policy))
        .routes(routes!(cost::of_policy))
        .routes(routes!(history::of_policy))
        .routes(routes!(history::of_all))
        .routes(routes!(events::events))
        .routes(routes!(orders::pause))
        .routes(routes!(orders::resume))
        .routes(routes!(orders::overrule))
        .routes(routes!(orders::release))
        .routes(routes!(orders::freeze))
        .routes(routes!(orders::unfreeze))
        .routes(routes!(orders::reload))
}

fn document() -> OpenApi {
    let described = all().into_openapi();
    let info = InfoBuilder::new().title("Setpoint").version(env!("CARGO_PKG_VERSION")).description(Some(INTRODUCTION));
    let mut document = OpenApiBuilder::from(described).info(info.build()).build();
    let token = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    document.components.get_or_insert_default().add_security_scheme("token", token);
    for item in document.paths.paths.values_mut() {
        item.get.iter_mut().for_each(|operation| complete(operation, &[]));
        item.post.iter_mut().for_each(|operation| complete(operation, &WITH_BODY));
    }
    document
}

/// Adds what holds for every operation.
fn complete(operation: &mut Operation, with_body: &[(&str, &str)]) {
    // The empty one: on loopback, and over the socket, none is needed.
    operation.security = Some(vec![SecurityRequirement::default(), SecurityRequirement::new("token", [""; 0])]);
    for (status, description) in ALWAYS.iter().chain(with_body) {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let mut response = Described::new(*description);
        response.content.insert("application/problem+json".into(), RefOr::T(content));
        operation.responses.responses.insert((*status).into(), RefOr::T(response));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_has_a_body() {
        let document = document();
        for (path, item) in &document.paths.paths {
            assert!(item.post.as_ref().is_none_or(|operation| operation.request_body.is_some()), "{path}");
        }
    }

    #[test]
    fn every_reference_leads_to_a_schema() {
        let document: serde_json::Value = serde_json::from_str(&document().to_json().unwrap()).unwrap();
        let text = document.to_string();
        let references = text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next());
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let missing: Vec<&str> = references.filter(|name| !schemas.contains_key(*name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert!(schemas.len() > 30, "{:?}", schemas.keys().collect::<Vec<_>>());
    }
}
