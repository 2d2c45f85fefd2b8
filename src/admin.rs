//! Health, readiness and metrics, on the admin listener. Health and readiness need no credential and tell nothing but this; metrics need the
//! admin token.

use std::sync::{Arc, Weak};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tollgate_query_api::Token;
use tollgate_usage_store::Store;

use crate::metrics::{MEDIA_TYPE, Metrics};

/// What a connection is told that outlives the ledger: the store is not held by those who ask it, or it could not be closed.
const STOPPING: &str = "the gateway is stopping\n";

/// What metrics are asked of, and the token for it.
#[derive(Clone)]
struct Guarded {
    metrics: Arc<Metrics>,
    token: Token,
}

/// `GET /health`: the process answers. `GET /ready`: calls can be recorded. `GET /metrics`: what the parts count.
pub(crate) fn router(store: &Arc<Store>, metrics: Metrics, token: Token) -> Router {
    let guarded = Guarded {
        metrics: Arc::new(metrics),
        token,
    };
    Router::new()
        .route("/health", get(|| async { "ok\n" }))
        .route("/ready", get(ready))
        .with_state(Arc::downgrade(store))
        .merge(Router::new().route("/metrics", get(metered)).with_state(guarded))
}

async fn ready(State(store): State<Weak<Store>>) -> (StatusCode, String) {
    let Some(store) = store.upgrade() else {
        return (StatusCode::SERVICE_UNAVAILABLE, STOPPING.to_owned());
    };
    match store.unavailable() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("calls cannot be recorded: {reason}\n"),
        ),
    }
}

async fn metered(State(guarded): State<Guarded>, headers: HeaderMap) -> Response {
    if !guarded.token.is_in(&headers) {
        let ask = [(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))];
        let hint = "metrics need the admin token: Authorization: Bearer TOKEN\n";
        return (StatusCode::UNAUTHORIZED, ask, hint).into_response();
    }
    let Some(text) = guarded.metrics.text().await else {
        return (StatusCode::SERVICE_UNAVAILABLE, STOPPING).into_response();
    };
    let head = [
        (header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (head, text).into_response()
}
