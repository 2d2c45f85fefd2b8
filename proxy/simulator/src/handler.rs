//! One request, from its head to the head of its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;

use crate::body::{Body, Ending, Pace};
use crate::directive::{Cut, Directives, HEADER};
use crate::events::Frame;
use crate::head::{Kind, request_id, respond};
use crate::out::Out;
use crate::refusal::Refusal;
use crate::route::{self, Endpoint, Provider};
use crate::seen::{Guard, Seen};
use crate::store::Store;
use crate::{dispatch, encode, failure};

/// The longest that `until` waits.
const WAIT_MS_MAX: u64 = 60_000;
/// How long `until` waits where nothing is said.
const WAIT_MS_DEFAULT: u64 = 5_000;
/// What all requests share.
pub(crate) struct Context {
    pub(crate) seen: Arc<Seen>,
    pub(crate) store: Store,
    pub(crate) body_bytes_max: usize,
    /// Requests so far, from which request ids follow.
    pub(crate) sequence: AtomicU64,
}

/// The connection shall close without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection was dropped, as the x-simulate header asked")]
pub(crate) struct Dropped;

/// Answers a request. `reset` is the flag that makes its connection close with a reset.
pub(crate) async fn handle(
    context: Arc<Context>,
    reset: Arc<AtomicBool>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Dropped> {
    let (parts, body) = request.into_parts();
    let route = route::find(&parts.method, &parts.uri, &parts.headers);
    let provider = route.provider;
    let request_id = request_id(provider, context.sequence.fetch_add(1, Relaxed));
    if route.endpoint == Ok(Endpoint::Requests) {
        return Ok(requests(&context, &parts, &request_id).await);
    }
    let refuse = |refusal: &Refusal, asked: &Directives, guard: Option<Guard>| {
        if let Some(mut guard) = guard {
            guard.failed();
        }
        let mut out = Out::with_capacity(256);
        failure::json(provider, refusal, &request_id, &mut out);
        let asked = &Directives {
            encoding: None,
            retry_after: asked.retry_after.clone(),
            ..Directives::default()
        };
        respond(
            provider,
            refusal.status(provider),
            Kind::Json,
            &request_id,
            asked,
            failure::headers(provider, refusal),
            Body::whole(out.0, None, None),
        )
    };
    let asked = if parts.headers.contains_key(HEADER) {
        match Directives::of(&parts.headers) {
            Ok(asked) => asked,
            Err(refusal) => return Ok(refuse(&refusal, &Directives::default(), Some(context.seen.begin(None)))),
        }
    } else {
        Directives::default()
    };
    let mut guard = context.seen.begin(asked.id.as_deref());
    let body = match read(body, context.body_bytes_max).await {
        Ok(body) => body,
        Err(refusal) => return Ok(refuse(&refusal, &asked, Some(guard))),
    };
    if !asked.delay.is_zero() {
        tokio::time::sleep(asked.delay).await;
    }
    if asked.drop {
        guard.cut();
        reset.store(asked.cut == Cut::Reset, Relaxed);
        return Err(Dropped);
    }
    if let Some(status) = failing(&asked, guard.attempt) {
        return Ok(refuse(&Refusal::Asked { status }, &asked, Some(guard)));
    }
    let allowed = match route.endpoint {
        Ok(_) => credential(provider, &parts),
        Err(_) => Ok(()),
    };
    let written = allowed.and_then(|()| dispatch::write(&context.store, route, &parts, &body, &asked));
    let written = match written {
        Ok(written) => written,
        Err(refusal) => return Ok(refuse(&refusal, &asked, Some(guard))),
    };
    let reset = (asked.cut == Cut::Reset).then_some(reset);
    let body = match written.frames {
        Some(frames) => stream(written.bytes, frames, written.tokens, &asked, reset, guard),
        None => {
            if !asked.first_token.is_zero() {
                tokio::time::sleep(asked.first_token).await;
            }
            let bytes = compress(&asked, written.bytes, &mut []);
            Body::whole(bytes, asked.cut_at.map(|at| (at, reset)), Some(guard))
        }
    };
    Ok(respond(
        provider,
        StatusCode::OK,
        written.kind,
        &request_id,
        &asked,
        written.headers,
        body,
    ))
}

/// The status to fail with, if this attempt shall fail.
fn failing(asked: &Directives, attempt: u64) -> Option<StatusCode> {
    match asked.fail_times {
        Some(times) if attempt <= times => Some(asked.status.unwrap_or(StatusCode::TOO_MANY_REQUESTS)),
        Some(_) => None,
        None => asked.status,
    }
}

/// A credential must be where the provider looks for one; which one it is does not matter.
fn credential(provider: Provider, parts: &Parts) -> Result<(), Refusal> {
    let headers = &parts.headers;
    let places: &[&str] = match provider {
        Provider::OpenAi | Provider::Anthropic => &["authorization", "x-api-key"],
        Provider::Azure => &["authorization", "api-key"],
        Provider::Gemini | Provider::Vertex => &["authorization", "x-goog-api-key"],
        Provider::Mistral | Provider::VertexAnthropic | Provider::Bedrock => &["authorization"],
    };
    let in_query = matches!(provider, Provider::Gemini | Provider::Vertex) && route::query(&parts.uri, "key").is_some();
    if !in_query && !places.iter().any(|name| headers.contains_key(*name)) {
        return Err(Refusal::CredentialMissing);
    }
    if provider == Provider::Anthropic && !headers.contains_key("anthropic-version") {
        return Err(Refusal::VersionMissing);
    }
    Ok(())
}

async fn read(body: Incoming, limit_bytes: usize) -> Result<Bytes, Refusal> {
    match Limited::new(body, limit_bytes).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Refusal::BodyTooLarge { limit_bytes }),
        Err(_) => Err(Refusal::BodyBroken),
    }
}

/// Makes a body of events.
fn stream(
    bytes: Vec<u8>,
    mut frames: Vec<Frame>,
    tokens: u64,
    asked: &Directives,
    reset: Option<Arc<AtomicBool>>,
    guard: Guard,
) -> Body {
    let paced = frames.iter().filter(|frame| frame.paced).count().max(1) as u64;
    let interval = asked.tokens_per_second.map_or(Duration::ZERO, |per_second| {
        Duration::from_micros(tokens.saturating_mul(1_000_000) / per_second.saturating_mul(paced).max(1))
    });
    let timed = !(interval.is_zero() && asked.first_token.is_zero());
    let pace = timed.then(|| Pace::new(asked.first_token, interval));
    let bytes = compress(asked, bytes, &mut frames);
    let ending = match (asked.cut_after, asked.stall_after) {
        (Some(after), _) => Ending::CutAfter(after, reset),
        (None, Some(after)) => Ending::StallAfter(after),
        (None, None) => Ending::Whole,
    };
    Body::stream(bytes, frames, !asked.unflushed, pace, ending, Some(guard))
}

fn compress(asked: &Directives, bytes: Vec<u8>, frames: &mut [Frame]) -> Vec<u8> {
    match asked.encoding {
        None => bytes,
        Some(encoding) => {
            let mut whole = [Frame {
                end: bytes.len(),
                paced: false,
            }];
            let frames = if frames.is_empty() { &mut whole } else { frames };
            encode::frames(encoding, &bytes, frames).expect("a buffer takes every write")
        }
    }
}

/// `GET /simulator/requests?id=ID&until=NAME:COUNT&within_ms=N` shows counts, once they have come so far;
/// `DELETE` forgets them.
async fn requests(context: &Context, parts: &Parts, request_id: &str) -> Response<Body> {
    if parts.method == Method::DELETE {
        context.seen.clear();
    }
    let query = |name: &str| route::query(&parts.uri, name);
    let mut out = Out::default();
    let id = query("id");
    let status = match query("until") {
        None => {
            context.seen.json(id, None, &mut out);
            StatusCode::OK
        }
        Some(until) => {
            let wanted = until
                .split_once(':')
                .and_then(|(name, count)| Some((name, count.parse::<u64>().ok()?)));
            let within = query("within_ms").map_or(Some(WAIT_MS_DEFAULT), |within| within.parse().ok());
            match (id, wanted, within.filter(|within| *within <= WAIT_MS_MAX)) {
                (Some(id), Some((name, count)), Some(within)) if context.seen.count(id, name).is_some() => {
                    let reached = wait(&context.seen, id, name, count, Duration::from_millis(within)).await;
                    context.seen.json(Some(id), Some(reached), &mut out);
                    StatusCode::OK
                }
                _ => {
                    out.raw(r#"{"error":"until needs an id, NAME:COUNT with one of the counts' names, "#);
                    out.raw(r#"and within_ms of at most 60000"}"#);
                    StatusCode::BAD_REQUEST
                }
            }
        }
    };
    let body = Body::whole(out.0, None, None);
    let asked = Directives::default();
    respond(Provider::OpenAi, status, Kind::Json, request_id, &asked, Vec::new(), body)
}

/// Waits until a count of an id has come so far; false where time is up first.
async fn wait(seen: &Seen, id: &str, name: &str, count: u64, within: Duration) -> bool {
    let mut changes = seen.changes();
    let come = async {
        while seen.count(id, name).is_none_or(|now| now < count) {
            if changes.changed().await.is_err() {
                break;
            }
        }
    };
    tokio::time::timeout(within, come).await.is_ok()
}
