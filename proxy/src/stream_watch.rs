//! Resets HTTP/2 streams whose client takes nothing of what it is offered. The socket cannot tell: it goes on for other streams.
//!
//! hyper asks a body for its next frame only when the window took the last. So a frame that was handed out and not followed by
//! another question is a client that does not read; after the limit the stream's task ends, which resets the stream.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use hyper::rt::Executor;
use tokio_util::task::TaskTracker;

tokio::task_local! {
    static STREAM: Arc<StreamWatch>;
}

/// Whether the body of this stream has handed out a frame and not been asked for another.
#[derive(Debug, Default)]
pub(crate) struct StreamWatch {
    /// Rises with every frame handed out and every question: odd while a frame is out.
    turn: AtomicU64,
}

/// Runs hyper's HTTP/2 streams.
#[derive(Clone, Debug)]
pub(crate) struct StreamExecutor {
    pub(crate) stall: Duration,
    pub(crate) tasks: TaskTracker,
}

impl StreamWatch {
    /// The watch of the stream whose task this is; HTTP/1 has none.
    pub(crate) fn current() -> Option<Arc<Self>> {
        STREAM.try_with(Arc::clone).ok()
    }

    /// Notes that the body is asked for a frame.
    pub(crate) fn asked(&self) {
        // Only the stream's own task writes, so this needs no atomic addition.
        let turn = self.turn.load(Ordering::Relaxed);
        self.turn.store((turn | 1) + 1, Ordering::Relaxed);
    }

    /// Notes that the body hands out a frame.
    pub(crate) fn offered(&self) {
        let turn = self.turn.load(Ordering::Relaxed);
        self.turn.store(turn | 1, Ordering::Relaxed);
    }
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let stall = self.stall;
        let watch = Arc::new(StreamWatch::default());
        self.tasks.spawn(async move {
            let mut stream = pin!(STREAM.scope(Arc::clone(&watch), stream));
            let mut timer = pin!(None::<tokio::time::Sleep>);
            let mut timed_turn = 0;
            std::future::poll_fn(|cx| {
                if stream.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                let turn = watch.turn.load(Ordering::Relaxed);
                if turn % 2 == 0 {
                    timer.set(None);
                    return Poll::Pending;
                }
                if timer.is_none() || timed_turn != turn {
                    timed_turn = turn;
                    timer.set(Some(tokio::time::sleep(stall)));
                }
                let stalled = timer.as_mut().as_pin_mut().is_some_and(|timer| timer.poll(cx).is_ready());
                if stalled {
                    tracing::info!(reason = "client stopped reading", "cut off an HTTP/2 stream");
                    return Poll::Ready(());
                }
                Poll::Pending
            })
            .await;
        });
    }
}
