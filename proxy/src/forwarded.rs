//! Fourth phase: the upstream has begun to answer. Its head goes on at once for streams; a small JSON answer waits for its cost.

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Response, header};
use tollgate_codec::{Codec, End, Endpoint, Meter};
use tollgate_record::OpenCall;

use crate::admitted::Failed;
use crate::body::AnswerBody;
use crate::book::{self, Book, Metering};
use crate::fault::Fault;
use crate::live::{Collected, Framing, Live, Upstream};
use crate::presence::Presence;
use crate::results::Recording;
use crate::results_url::ResultsUrl;
use crate::{abandon, answer, headers};

/// A call whose upstream has begun to answer. Boxed wherever it goes: it is large, and moves often.
pub(crate) struct Forwarded {
    pub(crate) open: Box<dyn OpenCall>,
    pub(crate) codec: Codec,
    pub(crate) presence: Presence,
    pub(crate) book: Book,
    pub(crate) endpoint: Endpoint,
    pub(crate) asks: tollgate_codec::Request,
    pub(crate) body: Bytes,
    pub(crate) head: Parts,
    pub(crate) upstream: Upstream,
    pub(crate) results: Option<Box<Recording>>,
    pub(crate) results_url: Option<ResultsUrl>,
}

impl Forwarded {
    /// Passes the answer on.
    pub(crate) async fn answer(self: Box<Self>) -> Response<AnswerBody> {
        let Self {
            open,
            codec,
            presence,
            mut book,
            endpoint,
            asks,
            body,
            mut head,
            upstream,
            results,
            results_url,
        } = *self;
        let meter = Meter::new(&book.provider.codec, &endpoint, &asks, body, &head);
        headers::towards_client(&mut head.headers);
        let edits = asks.edits_stream();
        if edits {
            head.headers.remove(header::CONTENT_LENGTH);
        }
        let left = presence.left();
        book.status = (!left).then_some(head.status);
        // Dropping the answer of a client that left settles it, so it takes the way of streams.
        let collects = !left && (upstream.has_ended() || is_json(&head.headers));
        let until_close = upstream.framing() == Framing::UntilClose;
        let metering = Metering {
            open,
            meter,
            book,
            results,
        };
        let live = Live::new(upstream, Box::new(metering), edits);
        if !collects {
            return stream(head, live);
        }
        match live.collect(&presence).await {
            Collected::Whole(metering, bytes) => {
                let answer = whole(head, metering, bytes, &codec, until_close, &presence).await;
                match results_url {
                    Some(url) if answer.status().is_success() => answer.map(|body| body.edited(|bytes| url.replace_in(bytes))),
                    _ => answer,
                }
            }
            Collected::TooLarge(live) | Collected::Left(live) => stream(head, live),
            Collected::Failed(metering, fault) => {
                let book = &metering.book;
                tracing::warn!(call_id = %book.call_id, provider = %book.provider.name, code = fault.code().as_str(), "lost an upstream");
                Failed::midway(metering, codec, fault).answer().await
            }
        }
    }
}

fn stream(head: Parts, live: Box<Live>) -> Response<AnswerBody> {
    Response::from_parts(head, AnswerBody::live(live))
}

/// Settles an answer that was collected, and sends it with what it cost.
async fn whole(
    mut head: Parts,
    mut metering: Box<Metering>,
    bytes: Bytes,
    codec: &Codec,
    until_close: bool,
    presence: &Presence,
) -> Response<AnswerBody> {
    let call_id = metering.book.call_id;
    let fault = presence.left().then(|| {
        metering.book.was_sent_nothing();
        abandon::reason(&metering.book.gateway)
    });
    let Ok(settled) = book::settle(metering, End::Complete, fault).await else {
        return answer::of(&Fault::LedgerUnavailable, codec, call_id);
    };
    if until_close && !settled.complete && !bytes.is_empty() {
        return answer::of(&Fault::UpstreamCut, codec, call_id);
    }
    if let Some(cost) = settled.receipt.cost
        && let Ok(cost) = HeaderValue::try_from(cost.to_string())
    {
        head.headers.insert(headers::COST, cost);
    }
    // The answer to a HEAD keeps the length of what it stands for.
    if !bytes.is_empty() {
        head.headers.remove(header::CONTENT_LENGTH);
    }
    Response::from_parts(head, AnswerBody::whole(bytes))
}

/// Whether the answer is JSON, and so no stream.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return false;
    };
    let media_type = value
        .as_bytes()
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    media_type.eq_ignore_ascii_case(b"application/json") || media_type.to_ascii_lowercase().ends_with(b"+json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_told_from_streams() {
        for (value, json) in [
            ("application/json", true),
            ("application/json; charset=utf-8", true),
            ("Application/JSON", true),
            ("application/problem+json", true),
            ("text/event-stream", false),
            ("application/x-ndjson", false),
            ("application/vnd.amazon.eventstream", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(is_json(&headers), json, "{value}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
