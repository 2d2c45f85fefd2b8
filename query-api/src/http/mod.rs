//! `POST /api/query/v1/sql`: a statement as JSON in, rows in one of five formats out.
//!
//! An answer of up to [`HEAD_BYTES`] is sent whole, with its length, so that whatever goes wrong in it is an error with a status of its own.
//! A longer one is streamed; what goes wrong after its head aborts the body, so that no client takes what it has for all there is.

mod accept;
mod failure;
mod proof;
mod token;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use axum::routing::{get, post};
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use serde_json::Value;

use self::failure::Failure;
pub use self::token::Token;
use crate::{ByteStream, Engine, Error, Format, Params, Query};

/// Bytes of a request: a statement, its parameters, and room for escapes.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;
/// The longest that a request's body may take to come in.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are held back until its head is sent.
const HEAD_BYTES: usize = 64 << 10;
/// Names the query in the gateway's log.
const QUERY_ID: &str = "x-tollgate-query-id";

/// The endpoint, for a server of the caller's.
pub fn router(engine: Arc<Engine>, token: Token) -> Router {
    Router::new()
        .route("/api/query/v1/sql", post(sql))
        .route("/api/query/v1/budgets/{name}/proof", get(proof::proof))
        .with_state(Endpoint { engine, token })
}

#[derive(Clone)]
struct Endpoint {
    engine: Arc<Engine>,
    token: Token,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    sql: String,
    #[serde(default)]
    params: Value,
}

async fn sql(State(endpoint): State<Endpoint>, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    authorize(&endpoint.token, &parts.headers)?;
    let format = format(&parts.headers)?;
    is_json(&parts.headers)?;
    let statement = read(body).await?;
    let query = Query::new(statement.sql).with_params(Params::from_json(statement.params)?);

    let answer = endpoint.engine.query(query).await?;
    let id = answer.id();
    let body = body_of(id, answer.encode(format)?, format).await?;
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    headers.insert(QUERY_ID, HeaderValue::from(id));
    Ok(response)
}

fn authorize(token: &Token, headers: &HeaderMap) -> Result<(), Failure> {
    if token.is_in(headers) {
        Ok(())
    } else {
        Err(Failure::Unauthorized)
    }
}

fn format(headers: &HeaderMap) -> Result<Format, Failure> {
    let ranges: Vec<_> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    accept::negotiate(&ranges.join(",")).ok_or(Failure::NotAcceptable)
}

fn is_json(headers: &HeaderMap) -> Result<(), Failure> {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media = value.split(';').next().unwrap_or_default().trim();
    if media.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(Failure::NotJson)
    }
}

async fn read(body: Body) -> Result<Statement, Failure> {
    let bytes = match tokio::time::timeout(REQUEST_TIMEOUT, to_bytes(body, REQUEST_BYTES_MAX)).await {
        Ok(Ok(bytes)) => bytes,
        // What is not too large was cut off, and then nobody reads this.
        Ok(Err(_)) => return Err(Failure::TooLarge),
        Err(_) => return Err(Failure::TooSlow(REQUEST_TIMEOUT)),
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::BadBody(format!("the request's body is not what is read here: {error}")))
}

/// The whole answer if it is short, else its first bytes and the rest as it comes.
async fn body_of(id: u64, mut chunks: ByteStream, format: Format) -> Result<Body, Error> {
    let mut head = Vec::new();
    while head.len() < HEAD_BYTES {
        match chunks.next().await {
            Some(chunk) => head.extend_from_slice(&chunk?),
            None => return Ok(Body::from(head)),
        }
    }
    let head = stream::iter([Ok(Bytes::from(head))]);
    Ok(Body::from_stream(head.chain(rest(id, chunks, format))))
}

/// What is left of a streamed answer.
enum Rest {
    Chunks(ByteStream),
    /// An error that is still to end the body.
    Cut(Error),
    Over,
}

/// Hands chunks on. An error is logged, told where the format has room for it, and ends the body without an end.
fn rest(id: u64, chunks: ByteStream, format: Format) -> impl Stream<Item = Result<Bytes, Error>> {
    stream::unfold(Rest::Chunks(chunks), move |rest| async move {
        match rest {
            Rest::Chunks(mut chunks) => match chunks.next().await? {
                Ok(bytes) => Some((Ok(bytes), Rest::Chunks(chunks))),
                Err(error) => {
                    tracing::warn!(query = id, code = error.code(), error = %error, "answer was cut");
                    Some(match format {
                        Format::NdJson => (Ok(last_line(&error)), Rest::Cut(error)),
                        _ => (Err(error), Rest::Over),
                    })
                }
            },
            Rest::Cut(error) => {
                // While this waits the line is written; an error right behind it would discard it.
                tokio::task::yield_now().await;
                Some((Err(error), Rest::Over))
            }
            Rest::Over => None,
        }
    })
}

fn last_line(error: &Error) -> Bytes {
    let line = serde_json::json!({"error": {"code": error.code(), "message": error.to_string()}});
    Bytes::from(format!("{line}\n"))
}
