//! Third phase: a call that the ledger has opened. From here on it ends by settling, whatever happens.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use http::{Response, header};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Error as ClientError, ResponseFuture};
use tokio::time::{Instant, Sleep};
use tollgate_codec::{Codec, End, Meter};
use tollgate_record::OpenCall;

use crate::abandon;
use crate::answer;
use crate::body::AnswerBody;
use crate::book::{self, Book, micros_since};
use crate::fault::{Code, Fault};
use crate::forwarded::Forwarded;
use crate::identified::Asked;
use crate::live::{Framing, Upstream as LiveUpstream};
use crate::received::Context;
use crate::transport;

/// A call that the ledger has opened.
pub(crate) struct Admitted {
    pub(crate) open: Box<dyn OpenCall>,
    pub(crate) codec: Codec,
    pub(crate) context: Context,
    pub(crate) asked: Asked,
}

/// A call whose upstream gave no answer.
pub(crate) struct Failed {
    open: Box<dyn OpenCall>,
    codec: Codec,
    book: Book,
    fault: Fault,
    /// Present if the upstream was at work and given up, and may bill what it did.
    meter: Option<Meter>,
}

/// What came of waiting for the answer's head.
enum Waited {
    Answered(Result<Response<Incoming>, ClientError>),
    TimedOut,
    Left,
}

impl Admitted {
    /// Sends the request and waits for the head of the answer.
    ///
    /// # Errors
    /// [`Failed`] if none came.
    pub(crate) async fn forward(self) -> Result<Forwarded, Failed> {
        let Self {
            open,
            codec,
            context,
            asked,
        } = self;
        let Asked {
            provider,
            endpoint,
            asks,
            body,
            request,
            complete,
        } = asked;
        let book = Book {
            gateway: Arc::clone(&context.gateway),
            call_id: context.call_id,
            started: context.started,
            bears_usage: endpoint.bears_usage,
            overhead_us: micros_since(complete),
            first_us: None,
            response_bytes: 0,
            status: None,
            provider,
        };
        let failed = |open, book, fault, meter| Failed {
            open,
            codec: codec.clone(),
            book,
            fault,
            meter,
        };
        if context.presence.left() {
            return Err(failed(open, book, Fault::ClientLeft, None));
        }

        let provider = Arc::clone(&book.provider);
        let mut timer = Box::pin(tokio::time::sleep(provider.timeouts.first_byte));
        let mut sending = provider.transport.send(request);
        let mut waited = wait(&mut sending, timer.as_mut(), || context.presence.left()).await;
        if matches!(waited, Waited::Left) && abandon::reads_on(provider.codec.abort_rule(), endpoint.bears_usage) {
            let limit = timer.deadline().min(Instant::now() + context.gateway.limits.abandoned_read);
            timer.as_mut().reset(limit);
            waited = tokio::select! {
                waited = wait(&mut sending, timer.as_mut(), || false) => waited,
                () = context.gateway.cut.cancelled() => Waited::Left,
            };
        }

        let fault = match waited {
            Waited::Answered(Ok(answer)) => {
                let (head, upstream) = answer.into_parts();
                let upstream = LiveUpstream::new(upstream, framing(&head), provider.timeouts.idle, timer);
                return Ok(Forwarded {
                    open,
                    codec,
                    presence: context.presence,
                    book,
                    endpoint,
                    asks,
                    body,
                    head,
                    upstream,
                });
            }
            Waited::Answered(Err(error)) => {
                let (fault, detail) = (transport::fault_of(&error), transport::chain(&error));
                tracing::warn!(
                    call_id = %context.call_id, provider = %provider.name, upstream = %provider.address,
                    code = fault.code().as_str(), %detail, "failed to call an upstream"
                );
                return Err(failed(open, book, fault, None));
            }
            Waited::TimedOut => {
                let seconds = provider.timeouts.first_byte.as_secs();
                tracing::warn!(call_id = %context.call_id, provider = %provider.name, seconds, "gave up waiting for an upstream");
                Fault::UpstreamFirstByteTimeout { seconds }
            }
            Waited::Left => Fault::ClientLeft,
        };
        // Closed before the tokens are counted.
        drop(sending);
        // It had the request and may have worked on it: what was sent is estimated rather than recorded as free.
        let meter = Meter::unanswered(&endpoint, &asks, body);
        Err(failed(open, book, fault, Some(meter)))
    }
}

impl Failed {
    /// Settles the call and answers with the fault.
    pub(crate) async fn answer(self) -> Response<AnswerBody> {
        let Self {
            open,
            codec,
            mut book,
            fault,
            meter,
        } = self;
        let mut answer = answer::of(&fault, &codec, book.call_id);
        let code = match fault.code() {
            Code::ClientLeft => abandon::reason(&book.gateway),
            code => {
                book.status = Some(answer.status());
                book.response_bytes = answer.body().whole_bytes();
                code
            }
        };
        let call_id = book.call_id;
        let settled = match meter {
            Some(meter) => {
                let end = if book.status.is_none() { End::Aborted } else { End::Cut };
                book::settle(open, meter, book, end, Some(code)).await.map(|_settled| ())
            }
            None => book::settle_unmetered(open, book, code).await.map(|_receipt| ()),
        };
        if settled.is_err() {
            answer = answer::of(&Fault::LedgerUnavailable, &codec, call_id);
        }
        answer
    }

    /// A call whose answer was lost before any of it was sent on.
    pub(crate) const fn midway(open: Box<dyn OpenCall>, codec: Codec, book: Book, fault: Fault, meter: Meter) -> Self {
        Self {
            open,
            codec,
            book,
            fault,
            meter: Some(meter),
        }
    }
}

/// Waits for the answer, the time limit, or the client's leave; the latter is looked at in every poll (`presence.rs`).
async fn wait(sending: &mut ResponseFuture, mut timer: Pin<&mut Sleep>, left: impl Fn() -> bool) -> Waited {
    std::future::poll_fn(|cx| {
        if let Poll::Ready(answered) = Pin::new(&mut *sending).poll(cx) {
            return Poll::Ready(Waited::Answered(answered));
        }
        if left() {
            return Poll::Ready(Waited::Left);
        }
        timer.as_mut().poll(cx).map(|()| Waited::TimedOut)
    })
    .await
}

fn framing(head: &http::response::Parts) -> Framing {
    if head.version == http::Version::HTTP_2 {
        return Framing::Http2;
    }
    let framed = head.headers.contains_key(header::CONTENT_LENGTH) || head.headers.contains_key(header::TRANSFER_ENCODING);
    if framed { Framing::Http1 } else { Framing::UntilClose }
}
