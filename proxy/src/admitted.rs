//! Third phase: a call that the ledger has opened. From here on it ends by settling, whatever happens.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use http::{Response, header};
use hyper::body::Incoming;
use hyper_util::client::legacy::Error as ClientError;
use tokio::time::{Instant, Sleep};
use tollgate_codec::{Codec, End, Meter};
use tollgate_record::{BoxFuture, OpenCall};

use crate::abandon;
use crate::answer;
use crate::body::AnswerBody;
use crate::book::{self, Book, Metering, micros_since};
use crate::fault::{Code, Fault};
use crate::forwarded::Forwarded;
use crate::identified::Asked;
use crate::live::{Framing, Upstream as LiveUpstream};
use crate::received::Context;
use crate::sending::Sending;
use crate::transport;

/// A call that the ledger has opened.
pub(crate) struct Admitted {
    pub(crate) open: Box<dyn OpenCall>,
    pub(crate) codec: Codec,
    pub(crate) context: Context,
    pub(crate) asked: Box<Asked>,
}

/// A call whose upstream gave no answer, or lost it before any of it was sent on.
pub(crate) struct Failed {
    codec: Codec,
    fault: Fault,
    work: Work,
}

/// What the upstream may have done.
enum Work {
    /// Nothing that it could bill.
    None(Box<dyn OpenCall>, Box<Book>),
    /// It had the request, and may have worked on it.
    Possible(Box<Metering>),
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
    pub(crate) async fn forward(self) -> Result<Box<Forwarded>, Failed> {
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
            mut results,
            results_url,
            permitted,
        } = *asked;
        let mut book = Book {
            gateway: Arc::clone(&context.gateway),
            call_id: context.call_id,
            started: context.started,
            reads_on: abandon::reads_on(provider.codec.abort_rule_of(&asks), endpoint.bears_usage),
            overhead_us: micros_since(complete),
            first_us: None,
            response_bytes: 0,
            status: None,
            upstream: None,
            downgraded_to: permitted.downgraded_to,
            decisions: permitted.decisions,
            provider,
        };
        let unasked = |open, book, fault| Failed {
            codec: codec.clone(),
            fault,
            work: Work::None(open, Box::new(book)),
        };
        if context.presence.left() {
            return Err(unasked(open, book, Fault::ClientLeft));
        }

        let provider = Arc::clone(&book.provider);
        let mut timer = Box::pin(tokio::time::sleep(provider.timeouts.first_byte));
        let mut sending = Sending::new(Arc::clone(&context.gateway), Arc::clone(&provider), request);
        let mut waited = wait(&mut sending, timer.as_mut(), || context.presence.left()).await;
        if matches!(waited, Waited::Left) && book.reads_on {
            let limit = timer.deadline().min(Instant::now() + context.gateway.limits.abandoned_read);
            timer.as_mut().reset(limit);
            waited = tokio::select! {
                waited = wait(&mut sending, timer.as_mut(), || false) => waited,
                () = context.gateway.cut.cancelled() => Waited::Left,
            };
        }

        sending.note(&mut book);
        if let (Some(results), Some(upstream)) = (&mut results, &book.upstream) {
            results.went_to(upstream);
        }
        let fault = match waited {
            Waited::Answered(Ok(answer)) => {
                let (head, upstream) = answer.into_parts();
                let upstream = LiveUpstream::new(upstream, framing(&head), provider.timeouts.idle, timer);
                return Ok(Box::new(Forwarded {
                    open,
                    codec,
                    presence: context.presence,
                    book,
                    endpoint,
                    asks,
                    body,
                    head,
                    upstream,
                    results,
                    results_url,
                }));
            }
            Waited::Answered(Err(error)) => {
                let (fault, detail) = (transport::fault_of(&error), transport::chain(&error));
                tracing::warn!(
                    call_id = %context.call_id, provider = %provider.name, upstream = sending.address(),
                    code = fault.code().as_str(), %detail, "failed to call an upstream"
                );
                return Err(unasked(open, book, fault));
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
        let metering = Metering {
            open,
            meter: Meter::unanswered(&endpoint, &asks, body),
            book,
            results: None,
        };
        Err(Failed::midway(Box::new(metering), codec, fault))
    }
}

impl Failed {
    /// A call whose answer was lost before any of it was sent on.
    pub(crate) const fn midway(metering: Box<Metering>, codec: Codec, fault: Fault) -> Self {
        Self {
            codec,
            fault,
            work: Work::Possible(metering),
        }
    }

    /// Settles the call and answers with the fault. Boxed: what is rare shall not make every call's future larger.
    pub(crate) fn answer(self) -> BoxFuture<'static, Response<AnswerBody>> {
        Box::pin(async move {
            let Self { codec, fault, mut work } = self;
            let book = match &mut work {
                Work::None(_, book) => book,
                Work::Possible(metering) => &mut metering.book,
            };
            let answer = answer::of(&fault, &codec, book.call_id);
            let (call_id, code) = match fault.code() {
                Code::ClientLeft => (book.call_id, abandon::reason(&book.gateway)),
                code => {
                    book.status = Some(answer.status());
                    book.response_bytes = answer.body().whole_bytes();
                    (book.call_id, code)
                }
            };
            let end = if book.status.is_none() { End::Aborted } else { End::Cut };
            let settled = match work {
                Work::None(open, mut book) => book::settle_unmetered(open, &mut book, code).await.map(|_receipt| ()),
                Work::Possible(metering) => book::settle(metering, end, Some(code)).await.map(|_settled| ()),
            };
            match settled {
                Ok(()) => answer,
                Err(_unavailable) => answer::of(&Fault::LedgerUnavailable, &codec, call_id),
            }
        })
    }
}

/// Waits for the answer, the time limit, or the client's leave; the latter is looked at in every poll (`presence.rs`).
async fn wait(sending: &mut Sending, mut timer: Pin<&mut Sleep>, left: impl Fn() -> bool) -> Waited {
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
