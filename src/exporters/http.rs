//! What an operator tells a running exporter: `POST /api/exporters/v1/{name}/pause`, `resume`, `reset`, `replay`, `dead/clear`, and `GET .../preview`.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use tollgate_exporters::{Error, Exporter, Start};
use tollgate_query_api::Token;
use tollgate_record::Timestamp;
use tollgate_usage_store::rerate::instant;

use super::Exporters;

#[derive(Clone)]
struct Endpoint {
    exporters: Arc<Exporters>,
    token: Token,
}

#[derive(Deserialize)]
struct To {
    to: String,
}

#[derive(Deserialize)]
struct Range {
    from: String,
    to: String,
}

/// Why a command was not done.
enum Failure {
    Unauthorized,
    Unknown(String, Vec<String>),
    BadTime(String),
    Exporter(Error),
}

/// The endpoints, for a server of the caller's.
pub(crate) fn router(exporters: Arc<Exporters>, token: Token) -> Router {
    Router::new()
        .route("/api/exporters/v1/{name}/pause", post(pause))
        .route("/api/exporters/v1/{name}/resume", post(resume))
        .route("/api/exporters/v1/{name}/reset", post(reset))
        .route("/api/exporters/v1/{name}/replay", post(replay))
        .route("/api/exporters/v1/{name}/dead/clear", post(clear))
        .route("/api/exporters/v1/{name}/preview", get(preview))
        .with_state(Endpoint { exporters, token })
}

impl Endpoint {
    fn find(&self, name: &str, headers: &HeaderMap) -> Result<Exporter, Failure> {
        if !self.token.is_in(headers) {
            return Err(Failure::Unauthorized);
        }
        self.exporters
            .of(name)
            .ok_or_else(|| Failure::Unknown(name.to_owned(), self.exporters.names()))
    }
}

async fn pause(
    State(endpoint): State<Endpoint>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Json<serde_json::Value>, Failure> {
    endpoint.find(&name, &headers)?.pause().await?;
    Ok(Json(json!({"exporter": name, "done": "paused"})))
}

async fn resume(
    State(endpoint): State<Endpoint>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Json<serde_json::Value>, Failure> {
    endpoint.find(&name, &headers)?.resume().await?;
    Ok(Json(json!({"exporter": name, "done": "resumed"})))
}

async fn reset(
    State(endpoint): State<Endpoint>,
    Path(name): Path<String>,
    Query(to): Query<To>,
    headers: HeaderMap,
) -> Result<Json<serde_json::Value>, Failure> {
    let exporter = endpoint.find(&name, &headers)?;
    let start = match to.to.as_str() {
        "now" => Start::Now,
        "beginning" => Start::Beginning,
        text => Start::At(time(text)?),
    };
    exporter.reset(start).await?;
    Ok(Json(json!({"exporter": name, "done": "reset", "to": to.to})))
}

async fn replay(
    State(endpoint): State<Endpoint>,
    Path(name): Path<String>,
    Query(range): Query<Range>,
    headers: HeaderMap,
) -> Result<Json<serde_json::Value>, Failure> {
    let exporter = endpoint.find(&name, &headers)?;
    let rows = exporter.replay(time(&range.from)?, time(&range.to)?).await?;
    Ok(Json(json!({"exporter": name, "done": "replayed", "rows": rows})))
}

async fn clear(
    State(endpoint): State<Endpoint>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Json<serde_json::Value>, Failure> {
    endpoint.find(&name, &headers)?.clear_dead_letters().await?;
    Ok(Json(json!({"exporter": name, "done": "dead letters cleared"})))
}

async fn preview(
    State(endpoint): State<Endpoint>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Json<serde_json::Value>, Failure> {
    let shown = endpoint.find(&name, &headers)?.preview().await?;
    Ok(Json(json!({"exporter": name, "preview": shown})))
}

fn time(text: &str) -> Result<Timestamp, Failure> {
    instant(text).ok_or_else(|| Failure::BadTime(text.to_owned()))
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Exporter(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, code, message) = match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "a valid token is needed".to_owned()),
            Self::Unknown(name, known) => (
                StatusCode::NOT_FOUND,
                "unknown_exporter",
                format!(
                    "there is no exporter {name:?}; there is {}",
                    if known.is_empty() {
                        "none".to_owned()
                    } else {
                        known.join(", ")
                    }
                ),
            ),
            Self::BadTime(text) => (
                StatusCode::BAD_REQUEST,
                "bad_request",
                format!("{text:?} is no time; write a day, such as 2026-11-01, or an instant, such as 2026-11-01T12:00:00Z"),
            ),
            Self::Exporter(error) => (
                StatusCode::CONFLICT,
                "exporter_failed",
                format!("{:#}", anyhow::Error::from(error)),
            ),
        };
        (status, Json(json!({"error": {"code": code, "message": message}}))).into_response()
    }
}
