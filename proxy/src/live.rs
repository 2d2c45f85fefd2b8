//! An answer on its way: frames pass from the upstream to the client, a meter looks at each, and the last one waits for the ledger.
//!
//! 1. Bytes pass in order and unchanged, but for what the meter takes out.
//! 2. The frame that ends the answer, be it the stream's terminal event, the last byte of a known length, or the end of the body,
//!    is released only when the call's row is written. If it cannot be written, the stream ends as an error.
//! 3. A stream that the upstream breaks off, or lets starve, ends as an error, never cleanly.
//! 4. Dropped before its end, the call is handed to a tracked task that settles it (`abandon.rs`).

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};
use tollgate_codec::End;
use tollgate_record::{BoxFuture, Unavailable};

use crate::abandon;
use crate::book::{self, Metering, Settled};
use crate::fault::{Broken, Code, Fault};
use crate::gateway::Shared;
use crate::gathered::{GATHERED_BYTES_MAX, Gathered};
use crate::presence::Presence;

/// Largest JSON answer that is held until it is settled, so that its cost can stand in a header; 1 MiB.
pub(crate) const COLLECTED_BYTES_MAX: usize = 1024 * 1024;

/// An answer on its way.
pub(crate) struct Live {
    upstream: Upstream,
    state: State,
    /// Bytes that were read already and go first.
    held: Bytes,
    gathered: Gathered,
    gateway: Arc<Shared>,
    call_id: tollgate_record::CallId,
    /// Whether bytes are taken out, so that the upstream's length says nothing.
    edits: bool,
}

/// The upstream's body with its time limit.
pub(crate) struct Upstream {
    body: Incoming,
    framing: Framing,
    idle: Duration,
    timer: Pin<Box<Sleep>>,
    last_frame: Instant,
    /// Whether it was not asked for more, and so cannot have starved.
    held_back: bool,
}

/// How the end of the upstream's body can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// By a length or a last chunk.
    Http1,
    /// By the connection's end, which looks the same if it was cut.
    UntilClose,
    /// By a flag.
    Http2,
}

enum State {
    Flowing(Box<Metering>),
    Closing(BoxFuture<'static, Result<Settled, Unavailable>>, Then),
    /// Settled; what the upstream still sends passes.
    Passing,
    Done,
}

/// What follows when the row is written.
enum Then {
    Release { bytes: Bytes, more: bool },
    Trailers(HeaderMap),
    Break(Fault),
}

/// What came of collecting an answer.
pub(crate) enum Collected {
    /// All of it.
    Whole(Box<Metering>, Bytes),
    /// It is too large to be held, and streams on.
    TooLarge(Box<Live>),
    /// The client left; dropping the answer settles it.
    Left(Box<Live>),
    /// The upstream failed before anything was sent on.
    Failed(Box<Metering>, Fault),
}

enum Next {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    Failed(Fault),
}

// === impl Upstream ===

impl Upstream {
    /// A body whose timer is armed from now on.
    pub(crate) fn new(body: Incoming, framing: Framing, idle: Duration, mut timer: Pin<Box<Sleep>>) -> Self {
        let last_frame = Instant::now();
        timer.as_mut().reset(last_frame + idle);
        Self {
            body,
            framing,
            idle,
            timer,
            last_frame,
            held_back: false,
        }
    }

    pub(crate) const fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether nothing follows what was read.
    pub(crate) fn has_ended(&self) -> bool {
        self.body.is_end_stream()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if std::mem::take(&mut self.held_back) {
            self.last_frame = Instant::now();
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => {
                ready!(self.poll_starved(cx));
                let seconds = self.idle.as_secs();
                Poll::Ready(Next::Failed(Fault::UpstreamIdleTimeout { seconds }))
            }
            Poll::Ready(Some(Ok(frame))) => {
                self.last_frame = Instant::now();
                Poll::Ready(match frame.into_data() {
                    Ok(bytes) => Next::Data(bytes),
                    Err(frame) => frame.into_trailers().map_or(Next::Data(Bytes::new()), Next::Trailers),
                })
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Next::Failed(Fault::UpstreamCut)),
            Poll::Ready(None) if self.is_short() => Poll::Ready(Next::Failed(Fault::UpstreamCut)),
            Poll::Ready(None) => Poll::Ready(Next::End),
        }
    }

    /// Ready when no frame came for the limit. The timer is set anew when it fires, not with every frame.
    fn poll_starved(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let deadline = self.last_frame + self.idle;
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(deadline);
        }
    }

    /// Whether a body that seems to have ended has not: hyper reports some resets as an end.
    fn is_short(&self) -> bool {
        match self.framing {
            Framing::Http2 => !self.body.is_end_stream(),
            Framing::Http1 | Framing::UntilClose => self.body.size_hint().lower() > 0,
        }
    }

    /// The next frame's bytes, for one who reads on without a client; `None` at the end.
    ///
    /// # Errors
    /// [`Fault`] if it was cut or starved.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        match std::future::poll_fn(|cx| self.poll_next(cx)).await {
            Next::Data(bytes) => Ok(Some(bytes)),
            Next::Trailers(_) | Next::End => Ok(None),
            Next::Failed(fault) => Err(fault),
        }
    }
}

// === impl Live ===

impl Live {
    pub(crate) fn new(upstream: Upstream, metering: Box<Metering>, edits: bool) -> Box<Self> {
        Box::new(Self {
            upstream,
            gateway: Arc::clone(&metering.book.gateway),
            call_id: metering.book.call_id,
            state: State::Flowing(metering),
            held: Bytes::new(),
            gathered: Gathered::default(),
            edits,
        })
    }

    /// Reads the answer whole, as long as it is small and the client is there.
    pub(crate) async fn collect(mut self: Box<Self>, presence: &Presence) -> Collected {
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        loop {
            let State::Flowing(metering) = &mut self.state else {
                return Collected::Left(self);
            };
            let upstream = &mut self.upstream;
            let next = std::future::poll_fn(|cx| match upstream.poll_next(cx) {
                Poll::Pending if presence.left() => Poll::Ready(None),
                next => next.map(Some),
            });
            let (bytes, ended) = match next.await {
                None => {
                    metering.book.was_sent_nothing();
                    return Collected::Left(self);
                }
                Some(Next::Data(bytes)) => {
                    metering.book.offered(bytes.len());
                    (metering.frame(bytes).bytes, upstream.has_ended())
                }
                Some(Next::Trailers(_) | Next::End) => (Bytes::new(), true),
                Some(Next::Failed(fault)) => return self.failed(fault),
            };
            append(&mut first, &mut rest, bytes);
            if ended {
                append(&mut first, &mut rest, metering.meter.finish());
                return self.collected(joined(first, rest));
            }
            if first.len() + rest.len() > COLLECTED_BYTES_MAX {
                // What is passed on is counted when it is.
                metering.book.response_bytes = 0;
                self.held = joined(first, rest);
                return Collected::TooLarge(self);
            }
        }
    }

    fn collected(mut self: Box<Self>, bytes: Bytes) -> Collected {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Flowing(mut metering) => {
                metering.book.response_bytes = bytes.len() as u64;
                Collected::Whole(metering, bytes)
            }
            state => {
                self.state = state;
                Collected::Left(self)
            }
        }
    }

    fn failed(mut self: Box<Self>, fault: Fault) -> Collected {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Flowing(metering) => Collected::Failed(metering, fault),
            state => {
                self.state = state;
                Collected::Left(self)
            }
        }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            match &mut self.state {
                State::Flowing(metering) => {
                    if !self.held.is_empty() {
                        let held = std::mem::take(&mut self.held);
                        metering.book.offered(held.len());
                        return Poll::Ready(Some(Ok(Frame::data(held))));
                    }
                    if self.gathered.bytes() >= GATHERED_BYTES_MAX {
                        return self.gathered.poll();
                    }
                    match metering.results.as_mut().map(|results| results.poll_ready(cx)) {
                        None | Some(Poll::Ready(Ok(()))) => {}
                        // Frames wait in the upstream's connection until results are recorded.
                        Some(Poll::Pending) => {
                            self.upstream.held_back = true;
                            return if self.gathered.bytes() > 0 {
                                self.gathered.poll()
                            } else {
                                Poll::Pending
                            };
                        }
                        Some(Poll::Ready(Err(unavailable))) => {
                            self.unrecorded(&unavailable);
                            continue;
                        }
                    }
                    match self.upstream.poll_next(cx) {
                        Poll::Ready(next) => {
                            if let Some(bytes) = self.metered(next) {
                                self.gathered.add(bytes);
                            }
                        }
                        Poll::Pending if self.gathered.waits(cx) => return Poll::Pending,
                        Poll::Pending => return self.gathered.poll(),
                    }
                }
                // What came before the terminal event need not wait for the ledger.
                State::Closing(..) if self.gathered.bytes() > 0 => return self.gathered.poll(),
                State::Closing(settling, _) => {
                    let settled = ready!(settling.as_mut().poll(cx));
                    if let Some(item) = self.closed(settled) {
                        return Poll::Ready(Some(item));
                    }
                }
                State::Passing => match ready!(self.upstream.poll_next(cx)) {
                    Next::Data(bytes) if bytes.is_empty() => {}
                    Next::Data(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                    Next::Trailers(trailers) => {
                        self.state = State::Done;
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                    // The client has the terminal event: an upstream that then neither sends nor closes has ended.
                    Next::End | Next::Failed(Fault::UpstreamIdleTimeout { .. }) => self.state = State::Done,
                    Next::Failed(fault) => {
                        self.state = State::Done;
                        return Poll::Ready(Some(Err(self.broken(fault))));
                    }
                },
                State::Done => return Poll::Ready(None),
            }
        }
    }

    /// Takes what the upstream sent: gives the bytes to send on, or begins to settle.
    fn metered(&mut self, next: Next) -> Option<Bytes> {
        let State::Flowing(metering) = &mut self.state else {
            return None;
        };
        let (then, end, fault) = match next {
            Next::Data(bytes) => {
                let step = metering.frame(bytes);
                let more = !self.upstream.has_ended();
                if more && !step.ended {
                    if step.bytes.is_empty() {
                        return None;
                    }
                    metering.book.offered(step.bytes.len());
                    return Some(step.bytes);
                }
                let bytes = concat(step.bytes, metering.meter.finish());
                metering.book.offered(bytes.len());
                (Then::Release { bytes, more }, End::Complete, None)
            }
            Next::Trailers(trailers) => (Then::Trailers(trailers), End::Complete, None),
            Next::End => {
                let bytes = metering.meter.finish();
                metering.book.offered(bytes.len());
                (Then::Release { bytes, more: false }, End::Complete, None)
            }
            Next::Failed(fault) => {
                let code = fault.code();
                tracing::warn!(call_id = %self.call_id, provider = %metering.book.provider.name, code = code.as_str(), "lost an upstream");
                (Then::Break(fault), End::Cut, Some(code))
            }
        };
        self.close(then, end, fault);
        None
    }

    /// Ends an answer whose results cannot be recorded.
    fn unrecorded(&mut self, unavailable: &Unavailable) {
        tracing::error!(call_id = %self.call_id, reason = %unavailable.reason, "failed to record results of a batch");
        if let State::Flowing(metering) = &mut self.state {
            metering.results = None;
        }
        self.close(
            Then::Break(Fault::LedgerUnavailable),
            End::Aborted,
            Some(Code::LedgerUnavailable),
        );
    }

    fn close(&mut self, then: Then, end: End, fault: Option<Code>) {
        let State::Flowing(metering) = std::mem::replace(&mut self.state, State::Done) else {
            return;
        };
        self.state = State::Closing(Box::pin(book::settle(metering, end, fault)), then);
    }

    fn closed(&mut self, settled: Result<Settled, Unavailable>) -> Option<Result<Frame<Bytes>, Broken>> {
        let State::Closing(_, then) = std::mem::replace(&mut self.state, State::Done) else {
            return None;
        };
        let Ok(settled) = settled else {
            return Some(Err(self.broken(Fault::LedgerUnavailable)));
        };
        if self.upstream.framing == Framing::UntilClose && !settled.complete {
            // A body that ends with its connection and lacks its terminal event was cut, though it seemed to end.
            return Some(Err(self.broken(Fault::UpstreamCut)));
        }
        match then {
            Then::Release { bytes, more } => {
                if more {
                    self.state = State::Passing;
                }
                (!bytes.is_empty()).then(|| Ok(Frame::data(bytes)))
            }
            Then::Trailers(trailers) => Some(Ok(Frame::trailers(trailers))),
            Then::Break(fault) => Some(Err(self.broken(fault))),
        }
    }

    fn broken(&self, fault: Fault) -> Broken {
        Broken {
            call_id: self.call_id,
            fault: Arc::new(fault),
        }
    }

    pub(crate) const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Flowing(_) if !self.edits => {
                let left = self.upstream.body.size_hint().exact();
                let here = (self.held.len() + self.gathered.bytes()) as u64;
                left.map_or_else(SizeHint::default, |left| SizeHint::with_exact(left + here))
            }
            _ => SizeHint::default(),
        }
    }

    /// The client left: the rest goes on in a tracked task.
    pub(crate) fn hand_on(self: Box<Self>) {
        let Self {
            upstream,
            state,
            gateway,
            ..
        } = *self;
        match state {
            State::Flowing(mut metering) => {
                metering.open.note(metering.meter.usage_so_far());
                drop(gateway.calls.spawn_on(abandon::finish(upstream, metering), &gateway.runtime));
            }
            State::Closing(settling, _) => drop(gateway.calls.spawn_on(settling, &gateway.runtime)),
            State::Passing | State::Done => {}
        }
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Live({})", self.call_id)
    }
}

/// Gathers pieces. Nearly always there is one only, and nothing is copied.
fn append(first: &mut Bytes, rest: &mut BytesMut, bytes: Bytes) {
    if first.is_empty() && rest.is_empty() {
        *first = bytes;
        return;
    }
    if !first.is_empty() {
        rest.extend_from_slice(&std::mem::take(first));
    }
    rest.extend_from_slice(&bytes);
}

fn joined(first: Bytes, rest: BytesMut) -> Bytes {
    concat(first, rest.freeze())
}

fn concat(first: Bytes, second: Bytes) -> Bytes {
    if second.is_empty() {
        return first;
    }
    if first.is_empty() {
        return second;
    }
    let mut both = BytesMut::with_capacity(first.len() + second.len());
    both.extend_from_slice(&first);
    both.extend_from_slice(&second);
    both.freeze()
}
