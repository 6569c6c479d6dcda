//! `/healthz` and `/metrics` on a plain HTTP address of their own: for the orchestrator and Prometheus, not for the world. The
//! payment gateway's webhooks come in here too, signed: let a reverse proxy that speaks TLS pass on that one path.

mod webhook;

pub use webhook::Webhooks;

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::registry::Registry;

use crate::health::Health;

#[derive(Clone)]
struct Shown {
    health: Arc<Health>,
    registry: Arc<Registry>,
}

/// What is served on these paths.
pub fn router(health: Arc<Health>, registry: Arc<Registry>, webhooks: Option<Webhooks>) -> Router {
    let shown = Shown { health, registry };
    let router =
        Router::new().route("/healthz", get(healthz)).route("/metrics", get(metrics)).with_state(shown);
    match webhooks {
        Some(webhooks) => router.merge(webhooks.router()),
        None => router,
    }
}

/// 200 while calls are served (also degraded), 503 while they are not: what gRPC health says.
async fn healthz(State(shown): State<Shown>) -> Response {
    let report = shown.health.report();
    let code = if report.is_serving() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match serde_json::to_string(&report) {
        Ok(json) => (code, [(CONTENT_TYPE, "application/json")], json).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn metrics(State(shown): State<Shown>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &shown.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
