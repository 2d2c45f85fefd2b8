//! One request, from its head to the head of its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;

use crate::answer::{Answer, Interface};
use crate::body::{Body, Ending, Pace};
use crate::directive::{Cut, Directives, HEADER};
use crate::encode;
use crate::events::{Events, Frame};
use crate::head::{Kind, request_id, respond};
use crate::out::Out;
use crate::prompt::Prompt;
use crate::refusal::Refusal;
use crate::route::{self, Endpoint, Provider};
use crate::seen::{Guard, Seen};
use crate::text::WORDS_DEFAULT;
use crate::{anthropic, echo, failure, openai};

/// The longest that `until` waits.
const WAIT_MS_MAX: u64 = 60_000;
/// How long `until` waits where nothing is said.
const WAIT_MS_DEFAULT: u64 = 5_000;
/// Bytes that a JSON answer takes, roughly.
const JSON_BYTES: usize = 1280;

/// What all requests share.
pub(crate) struct Context {
    pub(crate) seen: Arc<Seen>,
    pub(crate) body_bytes_max: usize,
    /// Requests so far, from which request ids follow.
    pub(crate) sequence: AtomicU64,
}

/// The connection shall close without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection was dropped, as the x-simulate header asked")]
pub(crate) struct Dropped;

/// What a request comes to: bytes of JSON, or events.
enum Written {
    Json(Vec<u8>),
    Events(Vec<u8>, Vec<Frame>, u64),
}

/// Answers a request. `reset` is the flag that makes its connection close with a reset.
pub(crate) async fn handle(
    context: Arc<Context>,
    reset: Arc<AtomicBool>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Dropped> {
    let (parts, body) = request.into_parts();
    let (provider, endpoint) = route::find(&parts.method, &parts.uri, &parts.headers);
    let request_id = request_id(context.sequence.fetch_add(1, Relaxed));
    if endpoint == Ok(Endpoint::Requests) {
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
            refusal.status(),
            Kind::Json,
            &request_id,
            asked,
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
    let written = endpoint
        .and_then(|endpoint| credential(provider, &parts.headers).map(|()| endpoint))
        .and_then(|endpoint| write(provider, &endpoint, &parts, &body, &asked));
    let (written, tokens) = match written {
        Ok(Written::Events(bytes, frames, tokens)) => (Ok((bytes, frames)), tokens),
        Ok(Written::Json(bytes)) => (Err(bytes), 0),
        Err(refusal) => return Ok(refuse(&refusal, &asked, Some(guard))),
    };
    let reset = (asked.cut == Cut::Reset).then_some(reset);
    match written {
        Ok((bytes, frames)) => {
            let body = stream(bytes, frames, tokens, &asked, reset, guard);
            Ok(respond(provider, StatusCode::OK, Kind::Events, &request_id, &asked, body))
        }
        Err(bytes) => {
            let wait = asked.first_token;
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            let bytes = compress(&asked, bytes, &mut []);
            let body = Body::whole(bytes, asked.cut_at.map(|at| (at, reset)), Some(guard));
            Ok(respond(provider, StatusCode::OK, Kind::Json, &request_id, &asked, body))
        }
    }
}

/// The status to fail with, if this attempt shall fail.
fn failing(asked: &Directives, attempt: u64) -> Option<StatusCode> {
    match asked.fail_times {
        Some(times) if attempt <= times => Some(asked.status.unwrap_or(StatusCode::TOO_MANY_REQUESTS)),
        Some(_) => None,
        None => asked.status,
    }
}

fn credential(provider: Provider, headers: &HeaderMap) -> Result<(), Refusal> {
    if !["authorization", "x-api-key"]
        .into_iter()
        .any(|name| headers.contains_key(name))
    {
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

/// Writes the answer of an endpoint.
fn write(provider: Provider, endpoint: &Endpoint, parts: &Parts, body: &[u8], asked: &Directives) -> Result<Written, Refusal> {
    let echo = || echo::text(asked.echo, parts, body);
    let mut out = Out::with_capacity(JSON_BYTES);
    match endpoint {
        Endpoint::Chat => {
            let prompt = openai::chat::prompt(body)?;
            let answer = Answer::new(Interface::Chat, &prompt, asked, echo())?;
            return written(&prompt, &answer, asked, out, openai::chat::json, openai::chat::stream);
        }
        Endpoint::Completions => {
            let prompt = openai::completions::prompt(body)?;
            let answer = Answer::new(Interface::Completions, &prompt, asked, echo())?;
            return written(
                &prompt,
                &answer,
                asked,
                out,
                openai::completions::json,
                openai::completions::stream,
            );
        }
        Endpoint::Responses => {
            let prompt = openai::responses::prompt(body)?;
            let answer = Answer::new(Interface::Responses, &prompt, asked, echo())?;
            return written(
                &prompt,
                &answer,
                asked,
                out,
                |answer, out| openai::responses::json(answer, &prompt, out),
                |answer, events| openai::responses_stream::stream(answer, &prompt, events),
            );
        }
        Endpoint::Messages => {
            let prompt = anthropic::messages::prompt(body, false)?;
            let answer = Answer::new(Interface::Messages, &prompt, asked, echo())?;
            return written(
                &prompt,
                &answer,
                asked,
                out,
                anthropic::messages::json,
                anthropic::messages::stream,
            );
        }
        Endpoint::CountTokens => anthropic::messages::count(&anthropic::messages::prompt(body, true)?, &mut out),
        Endpoint::Embeddings => openai::embeddings::json(body, asked, &mut out)?,
        Endpoint::Moderations => openai::moderations::json(body, &mut out)?,
        Endpoint::Models if provider == Provider::Anthropic => anthropic::models::list(&mut out),
        Endpoint::Models => openai::models::list(&mut out),
        Endpoint::Model(id) if provider == Provider::Anthropic => anthropic::models::one(id, &mut out)?,
        Endpoint::Model(id) => openai::models::one(id, &mut out)?,
        Endpoint::Requests => {}
    }
    Ok(Written::Json(out.0))
}

/// Writes an answer as the request wants it: whole or as a stream.
fn written<'a>(
    prompt: &Prompt<'_>,
    answer: &Answer<'a>,
    asked: &Directives,
    mut out: Out,
    json: impl FnOnce(&Answer<'a>, &mut Out),
    stream: impl FnOnce(&Answer<'a>, &mut Events),
) -> Result<Written, Refusal> {
    let kind = |key, reason| Err(Refusal::DirectiveConflict { key, reason });
    if !prompt.stream {
        for (key, value) in [
            ("cut_after", asked.cut_after),
            ("stall_after", asked.stall_after),
            ("error_after", asked.error_after),
        ] {
            if value.is_some() {
                return kind(key, "counts events, and this request does not ask for a stream");
            }
        }
        json(answer, &mut out);
        return Ok(Written::Json(out.0));
    }
    if asked.cut_at.is_some() {
        return kind("cut_at", "counts bytes of a whole answer, and this request asks for a stream");
    }
    let count = asked.chunks.unwrap_or(WORDS_DEFAULT) + 8;
    let mut events = Events::new(count, asked.crlf, asked.comments);
    stream(answer, &mut events);
    Ok(Written::Events(events.out.0, events.frames, answer.content.tokens()))
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
    let query = |name: &str| {
        let pairs = parts
            .uri
            .query()
            .unwrap_or("")
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    };
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
    respond(Provider::OpenAi, status, Kind::Json, request_id, &Directives::default(), body)
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
