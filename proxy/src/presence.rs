//! A call that outlives its client: while the client is there hyper polls it, and when the client leaves, the rest of it goes on in
//! a tracked task. Nothing is spawned for a client that stays.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use http::Response;
use tokio_util::task::TaskTracker;

use crate::activity::InFlight;
use crate::body::AnswerBody;

/// A call that goes on whether or not it is waited for.
pub(crate) type Call = Pin<Box<dyn Future<Output = Response<AnswerBody>> + Send>>;

/// Whether the client is still there. Set before the call moves to its own task, which polls it at once: so a call that looks at
/// this in every poll learns of it without being woken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Presence(Arc<AtomicBool>);

/// The service's future: hyper drops it when the client leaves.
pub(crate) struct Exchange {
    call: Option<Call>,
    presence: Presence,
    flight: Option<InFlight>,
    tasks: TaskTracker,
    runtime: tokio::runtime::Handle,
}

impl Presence {
    /// Whether the client has left.
    pub(crate) fn left(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn leave(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Exchange {
    pub(crate) fn new(
        call: Call,
        presence: Presence,
        flight: InFlight,
        tasks: TaskTracker,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        Self {
            call: Some(call),
            presence,
            flight: Some(flight),
            tasks,
            runtime,
        }
    }
}

impl Future for Exchange {
    type Output = Result<Response<AnswerBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(call) = self.call.as_mut() else {
            return Poll::Pending;
        };
        let Poll::Ready(mut answer) = call.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        self.call = None;
        let flight = self.flight.take();
        answer.body_mut().attach(flight);
        Poll::Ready(Ok(answer))
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // A call that panicked cannot go on; unwinding has dropped its OpenCall, which settles it.
        if let Some(call) = self.call.take()
            && !std::thread::panicking()
        {
            self.presence.leave();
            drop(self.tasks.spawn_on(call, &self.runtime));
        }
    }
}
