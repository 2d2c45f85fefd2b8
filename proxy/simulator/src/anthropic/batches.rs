//! `/v1/messages/batches`: many messages, each answered as a request of its own.
//!
//! Answers are made at once, and shown when the batch has ended: after as many looks at it as `polls` asks for. Until then
//! all requests count as processing. Each message's usage names the tier `batch`.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::directive::Directives;
use crate::failure;
use crate::out::{Out, Seed, id};
use crate::prompt::{Str, parse};
use crate::refusal::Refusal;
use crate::route::Provider;
use crate::store::{MessageBatch, Progress, Stage, Store};

/// The most requests of a batch (Anthropic's limit).
const REQUESTS_MAX: usize = 100_000;
/// The most bytes that the results of a batch may take.
const RESULTS_BYTES_MAX: usize = 64 * 1024 * 1024;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    requests: Option<Vec<Line<'a>>>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    custom_id: Str<'a>,
    #[serde(borrow)]
    params: &'a RawValue,
}

/// Creates a batch; `answer` answers one request.
///
/// # Errors
/// A refusal where it is not JSON, or has no requests or too many.
pub(crate) fn create(
    store: &Store,
    parts: &Parts,
    body: &[u8],
    asked: &Directives,
    mut answer: impl FnMut(&[u8]) -> Result<Vec<u8>, Refusal>,
    out: &mut Out,
) -> Result<(), Refusal> {
    let request: Request<'_> = parse(body)?;
    let requests = request.requests.ok_or(Refusal::FieldMissing { name: "requests" })?;
    let refused = |reason| Refusal::FieldInvalid {
        name: "requests",
        reason,
    };
    if !(1..=REQUESTS_MAX).contains(&requests.len()) {
        return Err(refused("expected 1 to 100000 requests"));
    }
    let mut seed = Seed::new();
    seed.add(body);
    seed.add(asked.id.as_deref().unwrap_or("").as_bytes());
    let (mut results, mut canceled) = (Out::default(), Out::default());
    let (mut succeeded, mut errored) = (0, 0);
    for line in &requests {
        for out in [&mut results, &mut canceled] {
            out.raw(r#"{"custom_id":"#).string(&line.custom_id.0);
        }
        canceled.raw(",\"result\":{\"type\":\"canceled\"}}\n");
        match answer(line.params.get().as_bytes()) {
            Ok(message) => {
                results.raw(r#","result":{"type":"succeeded","message":"#);
                results.0.extend_from_slice(&message);
                succeeded += 1;
            }
            Err(refusal) => {
                results.raw(r#","result":{"type":"errored","error":"#);
                failure::json(Provider::Anthropic, &refusal, &id("req_01", seed.0, 22), &mut results);
                errored += 1;
            }
        }
        results.raw("}}\n");
        if results.0.len() > RESULTS_BYTES_MAX {
            return Err(refused("the results are over 67108864 bytes"));
        }
    }
    let batch = MessageBatch {
        progress: Progress::new(asked.polls.unwrap_or(0)),
        results: Bytes::from(results.0),
        canceled: Bytes::from(canceled.0),
        succeeded,
        errored,
    };
    let id = id("msgbatch_01", seed.0, 22);
    write(&id, &batch, parts, out);
    store.kept().message_batches.put(id, batch);
    Ok(())
}

/// Looks at a batch, by which it moves on.
///
/// # Errors
/// `Unknown` where it is not kept.
pub(crate) fn one(store: &Store, id: &str, parts: &Parts, out: &mut Out) -> Result<(), Refusal> {
    change(store, id, parts, Progress::look, out)
}

/// Cancels a batch.
///
/// # Errors
/// `Unknown` where it is not kept.
pub(crate) fn cancel(store: &Store, id: &str, parts: &Parts, out: &mut Out) -> Result<(), Refusal> {
    change(store, id, parts, Progress::cancel, out)
}

fn change(store: &Store, id: &str, parts: &Parts, change: impl FnOnce(&mut Progress), out: &mut Out) -> Result<(), Refusal> {
    let mut kept = store.kept();
    let batch = kept.message_batches.get_mut(id).ok_or_else(|| unknown(id))?;
    change(&mut batch.progress);
    write(id, batch, parts, out);
    Ok(())
}

/// Forgets a batch.
///
/// # Errors
/// `Unknown` where it is not kept.
pub(crate) fn delete(store: &Store, id: &str, out: &mut Out) -> Result<(), Refusal> {
    store.kept().message_batches.remove(id).ok_or_else(|| unknown(id))?;
    out.raw(r#"{"id":"#).string(id).raw(r#","type":"message_batch_deleted"}"#);
    Ok(())
}

/// The results, a line each.
///
/// # Errors
/// `Unknown` where it is not kept or has not ended.
pub(crate) fn results(store: &Store, id: &str) -> Result<Bytes, Refusal> {
    let kept = store.kept();
    let batch = kept.message_batches.get(id).ok_or_else(|| unknown(id))?;
    match batch.progress.stage {
        Stage::Ended => Ok(batch.results.clone()),
        Stage::Cancelled => Ok(batch.canceled.clone()),
        _ => Err(Refusal::Unknown {
            kind: "results, since the batch has not ended",
            id: id.to_owned(),
        }),
    }
}

/// Writes the list, which has one page. It is no look at the batches.
pub(crate) fn list(store: &Store, parts: &Parts, out: &mut Out) {
    let kept = store.kept();
    out.raw(r#"{"data":["#);
    for (index, (id, batch)) in kept.message_batches.all().enumerate() {
        write(id, batch, parts, out.raw(if index == 0 { "" } else { "," }));
    }
    out.raw(r#"],"has_more":false"#);
    for (name, id) in [
        ("first_id", kept.message_batches.all().next()),
        ("last_id", kept.message_batches.all().last()),
    ] {
        out.raw(",").string(name).raw(":");
        match id {
            Some((id, _)) => out.string(id),
            None => out.raw("null"),
        };
    }
    out.raw("}");
}

fn unknown(id: &str) -> Refusal {
    Refusal::Unknown {
        kind: "message batch",
        id: id.to_owned(),
    }
}

fn write(id: &str, batch: &MessageBatch, parts: &Parts, out: &mut Out) {
    let total = batch.succeeded + batch.errored;
    let stage = batch.progress.stage;
    let ended = matches!(stage, Stage::Ended | Stage::Cancelled);
    let (processing, succeeded, errored, canceled) = match stage {
        Stage::Ended => (0, batch.succeeded, batch.errored, 0),
        Stage::Cancelled => (0, 0, 0, total),
        _ => (total, 0, 0, 0),
    };
    out.raw(r#"{"id":"#).string(id);
    out.raw(r#","type":"message_batch","processing_status":"#)
        .string(match stage {
            Stage::Created | Stage::Running => "in_progress",
            Stage::Cancelling => "canceling",
            Stage::Ended | Stage::Cancelled => "ended",
        });
    out.raw(r#","request_counts":{"processing":"#).number(processing);
    out.raw(r#","succeeded":"#).number(succeeded);
    out.raw(r#","errored":"#).number(errored);
    out.raw(r#","canceled":"#).number(canceled);
    out.raw(r#","expired":0},"created_at":"2026-01-01T00:00:00Z","expires_at":"2026-01-02T00:00:00Z","archived_at":null"#);
    let time = |reached: bool, time| if reached { time } else { "null" };
    out.raw(r#","ended_at":"#).raw(time(ended, r#""2026-01-01T00:01:00Z""#));
    let cancelling = matches!(stage, Stage::Cancelling | Stage::Cancelled);
    out.raw(r#","cancel_initiated_at":"#)
        .raw(time(cancelling, r#""2026-01-01T00:00:20Z""#));
    out.raw(r#","results_url":"#);
    if ended {
        out.string(&results_url(id, parts));
    } else {
        out.raw("null");
    }
    out.raw("}");
}

/// Where the results are, for whoever asked in this way: SDKs follow the address as it is.
fn results_url(id: &str, parts: &Parts) -> String {
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = parts.uri.authority().map(|authority| authority.as_str());
    let path = parts.uri.path();
    let collection = path.find("/batches").map_or(path, |at| path.get(..at).unwrap_or(path));
    let mut url = String::from("http://");
    write!(
        url,
        "{}{collection}/batches/{id}/results",
        host.or(authority).unwrap_or("localhost")
    )
    .expect("a string takes every write");
    url
}
