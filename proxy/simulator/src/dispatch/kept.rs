//! Files and batches: what is kept, and the requests of a batch, which are dispatched as if they had come alone.

use http::Method;
use http::request::Parts;

use super::{JSON_BYTES, Written};
use crate::directive::Directives;
use crate::head::Kind;
use crate::out::Out;
use crate::refusal::Refusal;
use crate::route::{Endpoint, Provider, Route};
use crate::store::Store;
use crate::{anthropic, openai};

/// Writes the answer of an endpoint of files or batches.
pub(super) fn write(
    store: &Store,
    provider: Provider,
    endpoint: Endpoint,
    parts: &Parts,
    body: &[u8],
    asked: &Directives,
) -> Result<Written, Refusal> {
    let mut out = Out::with_capacity(JSON_BYTES);
    let method = &parts.method;
    match endpoint {
        Endpoint::Files if method == Method::POST => openai::files::create(store, &parts.headers, body, asked, &mut out)?,
        Endpoint::Files => openai::files::list(store, &mut out),
        Endpoint::File(id) if method == Method::DELETE => openai::files::delete(store, &id, &mut out)?,
        Endpoint::File(id) => openai::files::one(store, &id, &mut out)?,
        Endpoint::FileContent(id) => {
            let content = openai::files::get(store, &id)?.content;
            return Ok(lines("application/octet-stream", &content));
        }
        Endpoint::Batches if method == Method::POST => {
            let answer = |url: &str, body: &[u8]| line(store, provider, url, parts, body, asked);
            openai::batches::create(store, provider, body, asked, answer, &mut out)?;
        }
        Endpoint::Batches => openai::batches::list(store, &mut out),
        Endpoint::Batch(id) => openai::batches::one(store, &id, &mut out)?,
        Endpoint::CancelBatch(id) => openai::batches::cancel(store, &id, &mut out)?,
        Endpoint::MessageBatches if method == Method::POST => {
            let tier = asked.service_tier.clone().unwrap_or_else(|| "batch".into());
            let asked = Directives {
                service_tier: Some(tier),
                ..asked.clone()
            };
            let answer = |body: &[u8]| line(store, provider, "/v1/messages", parts, body, &asked);
            anthropic::batches::create(store, parts, body, &asked, answer, &mut out)?;
        }
        Endpoint::MessageBatches => anthropic::batches::list(store, parts, &mut out),
        Endpoint::MessageBatch(id) if method == Method::DELETE => anthropic::batches::delete(store, &id, &mut out)?,
        Endpoint::MessageBatch(id) => anthropic::batches::one(store, &id, parts, &mut out)?,
        Endpoint::CancelMessageBatch(id) => anthropic::batches::cancel(store, &id, parts, &mut out)?,
        Endpoint::MessageBatchResults(id) => {
            let results = anthropic::batches::results(store, &id)?;
            return Ok(lines("application/x-jsonl", &results));
        }
        _ => {}
    }
    Ok(Written::json(out))
}

/// A file as it is.
fn lines(media_type: &'static str, content: &[u8]) -> Written {
    Written {
        kind: Kind::Other(media_type),
        ..Written::json(Out(content.to_vec()))
    }
}

/// Answers one request of a batch, which is not streamed and is no batch itself.
fn line(store: &Store, provider: Provider, url: &str, parts: &Parts, body: &[u8], asked: &Directives) -> Result<Vec<u8>, Refusal> {
    let endpoint = match url.strip_prefix("/v1").unwrap_or(url) {
        "/chat/completions" => Endpoint::Chat,
        "/completions" => Endpoint::Completions,
        "/responses" => Endpoint::Responses,
        "/embeddings" => Endpoint::Embeddings,
        "/messages" if provider == Provider::Anthropic => Endpoint::Messages,
        _ => {
            let (name, reason) = ("url", "is not one that a batch can be for");
            return Err(Refusal::FieldInvalid { name, reason });
        }
    };
    let route = Route {
        provider,
        model: None,
        endpoint: Ok(endpoint),
    };
    // How the batch's own answer is handed over does not concern its lines.
    let asked = Directives {
        cut_at: None,
        ..asked.clone()
    };
    let written = super::write(store, route, parts, body, &asked)?;
    if written.frames.is_some() {
        let (name, reason) = ("stream", "is not supported in batches");
        return Err(Refusal::FieldInvalid { name, reason });
    }
    Ok(written.bytes)
}
