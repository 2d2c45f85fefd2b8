//! The body of an answer: prepared bytes, handed out frame by frame, at the pace and to the end that were asked for.
//!
//! A stream's event is one frame. Between two frames of a stream the body yields once, which makes hyper write what it
//! has: an event is a write of its own, as with a provider, and no timer is set unless a speed was asked for.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame as HttpFrame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::events::Frame;
use crate::seen::Guard;

/// The body ended before its end, as was asked.
#[derive(Debug, thiserror::Error)]
#[error("the answer was cut off, as the x-simulate header asked")]
pub(crate) struct Cut;

/// What hyper gets when it asks for a frame.
type Polled = Poll<Option<Result<HttpFrame<Bytes>, Cut>>>;

/// How a body ends.
#[derive(Debug)]
pub(crate) enum Ending {
    /// With its last frame.
    Whole,
    /// After so many frames the connection breaks; the flag says that it shall do so with a reset.
    CutAfter(usize, Option<Arc<AtomicBool>>),
    /// After so many frames nothing more comes.
    StallAfter(usize),
}

/// The pace of a stream.
#[derive(Debug)]
pub(crate) struct Pace {
    first: Duration,
    interval: Duration,
    /// Paced frames handed out.
    done: u32,
    started: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    /// `first` before the first frame, `interval` before each paced frame after the first of them.
    pub(crate) fn new(first: Duration, interval: Duration) -> Self {
        Self {
            first,
            interval,
            done: 0,
            started: None,
            sleep: None,
        }
    }

    /// Waits for a frame's turn. Turns are counted from the start, so that lateness does not add up.
    fn poll(&mut self, paced: bool, cx: &mut Context<'_>) -> Poll<()> {
        let started = *self.started.get_or_insert_with(Instant::now);
        let due = started + self.due(paced);
        match &mut self.sleep {
            Some(sleep) if sleep.deadline() != due => sleep.as_mut().reset(due),
            Some(_) => {}
            None => self.sleep = Some(Box::pin(sleep_until(due))),
        }
        if let Some(sleep) = &mut self.sleep {
            ready!(sleep.as_mut().poll(cx));
        }
        self.done += u32::from(paced);
        Poll::Ready(())
    }

    /// When the next frame's turn is, counted from the start.
    fn due(&self, paced: bool) -> Duration {
        let turns = if paced { self.done } else { self.done.saturating_sub(1) };
        self.first + self.interval.saturating_mul(turns)
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Bytes,
    /// Where each frame ends; none for a body of one frame and known length.
    frames: Vec<Frame>,
    next: usize,
    start: usize,
    /// The length that is announced, where one is.
    length: Option<u64>,
    yields: bool,
    yielded: bool,
    pace: Option<Pace>,
    ending: Ending,
    guard: Option<Guard>,
}

impl Body {
    /// A body of one frame, whose length is announced. With `cut_at` only so many bytes of it are sent.
    pub(crate) fn whole(bytes: Vec<u8>, cut_at: Option<(usize, Option<Arc<AtomicBool>>)>, guard: Option<Guard>) -> Self {
        let length = Some(bytes.len() as u64);
        let mut bytes = Bytes::from(bytes);
        let ending = match cut_at {
            Some((at, reset)) if at < bytes.len() => {
                bytes.truncate(at);
                Ending::CutAfter(usize::from(at > 0), reset)
            }
            _ => Ending::Whole,
        };
        let frames = Vec::new();
        Self {
            bytes,
            frames,
            next: 0,
            start: 0,
            length,
            yields: true,
            yielded: true,
            pace: None,
            ending,
            guard,
        }
    }

    /// A stream.
    pub(crate) fn stream(
        bytes: Vec<u8>,
        frames: Vec<Frame>,
        yields: bool,
        pace: Option<Pace>,
        ending: Ending,
        guard: Option<Guard>,
    ) -> Self {
        let bytes = Bytes::from(bytes);
        Self {
            bytes,
            frames,
            next: 0,
            start: 0,
            length: None,
            yields,
            yielded: true,
            pace,
            ending,
            guard,
        }
    }

    fn total(&self) -> usize {
        match self.length {
            Some(_) => usize::from(!self.bytes.is_empty()),
            None => self.frames.len(),
        }
    }

    fn finish(&mut self) {
        if let Some(guard) = &mut self.guard {
            guard.completed();
        }
    }

    /// The end by which frames stop before the last one, if it is reached.
    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Option<Polled> {
        match &self.ending {
            Ending::CutAfter(limit, reset) if self.next >= *limit => {
                if !self.yielded {
                    self.yielded = true;
                    cx.waker().wake_by_ref();
                    return Some(Poll::Pending);
                }
                if let Some(reset) = reset {
                    reset.store(true, Relaxed);
                }
                if let Some(guard) = &mut self.guard {
                    guard.cut();
                }
                Some(Poll::Ready(Some(Err(Cut))))
            }
            // Nothing wakes this body again; hyper still notices when the peer goes away.
            Ending::StallAfter(limit) if self.next >= *limit => Some(Poll::Pending),
            _ => None,
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let this = &mut *self;
        if let Some(end) = this.poll_ending(cx) {
            return end;
        }
        if this.next >= this.total() {
            this.finish();
            return Poll::Ready(None);
        }
        let frame = this.frames.get(this.next).copied().unwrap_or(Frame {
            end: this.bytes.len(),
            paced: false,
        });
        if this.yields && !this.yielded {
            this.yielded = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(pace) = &mut this.pace {
            ready!(pace.poll(frame.paced, cx));
        }
        this.yielded = false;
        let bytes = this.bytes.slice(this.start..frame.end);
        this.start = frame.end;
        this.next += 1;
        if let Some(guard) = &this.guard {
            guard.chunk();
        }
        if http_body::Body::is_end_stream(this) {
            this.finish();
        }
        Poll::Ready(Some(Ok(HttpFrame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.next >= self.total() && matches!(self.ending, Ending::Whole)
    }

    fn size_hint(&self) -> SizeHint {
        match self.length {
            Some(length) if self.next == 0 => SizeHint::with_exact(length),
            _ => SizeHint::default(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    fn two() -> (Vec<u8>, Vec<Frame>) {
        (
            b"abcd".to_vec(),
            vec![Frame { end: 2, paced: true }, Frame { end: 4, paced: true }],
        )
    }

    async fn frames(mut body: Body) -> (Vec<Bytes>, bool) {
        let mut frames = Vec::new();
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => frames.push(frame.into_data().unwrap()),
                Err(Cut) => return (frames, true),
            }
        }
        (frames, false)
    }

    #[tokio::test]
    async fn every_event_is_a_frame() {
        let (bytes, ends) = two();
        let body = Body::stream(bytes, ends, true, None, Ending::Whole, None);
        assert_eq!(frames(body).await, (vec![Bytes::from("ab"), Bytes::from("cd")], false));
    }

    #[tokio::test]
    async fn a_cut_stream_ends_with_an_error_even_after_its_last_event() {
        for (limit, count) in [(0, 0), (1, 1), (2, 2)] {
            let (bytes, ends) = two();
            let reset = Arc::new(AtomicBool::new(false));
            let ending = Ending::CutAfter(limit, Some(Arc::clone(&reset)));
            let (sent, cut) = frames(Body::stream(bytes, ends, false, None, ending, None)).await;
            assert_eq!((sent.len(), cut, reset.load(Relaxed)), (count, true, true));
        }
        let (bytes, ends) = two();
        let beyond = Body::stream(bytes, ends, false, None, Ending::CutAfter(3, None), None);
        assert!(!frames(beyond).await.1);
    }

    #[tokio::test]
    async fn a_cut_body_announces_its_whole_length() {
        let body = Body::whole(b"abcdef".to_vec(), Some((2, None)), None);
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(6));
        assert_eq!(frames(body).await, (vec![Bytes::from("ab")], true));
    }

    #[test]
    fn the_pace_is_kept_without_drift() {
        let mut pace = Pace::new(Duration::from_millis(50), Duration::from_millis(7));
        assert_eq!(pace.due(true), Duration::from_millis(50));
        for turn in 1..100 {
            pace.done = turn;
            assert_eq!(pace.due(true), Duration::from_millis(50 + 7 * u64::from(turn)));
            // What is not paced comes with the frame before it.
            assert_eq!(pace.due(false), Duration::from_millis(50 + 7 * u64::from(turn - 1)));
        }
    }
}
