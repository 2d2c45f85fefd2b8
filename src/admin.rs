//! Health and readiness, on the admin listener. They need no credential and tell nothing but this.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tollgate_usage_store::Store;

/// `GET /health`: the process answers. `GET /ready`: calls can be recorded.
pub(crate) fn router(store: Arc<Store>) -> Router {
    Router::new()
        .route("/health", get(|| async { "ok\n" }))
        .route("/ready", get(ready))
        .with_state(store)
}

async fn ready(State(store): State<Arc<Store>>) -> (StatusCode, String) {
    match store.unavailable() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("calls cannot be recorded: {reason}\n"),
        ),
    }
}
