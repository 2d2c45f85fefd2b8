//! Frames that arrived together leave together.
//!
//! The upstream's connection hands over one frame at a time, and the client's connection writes whatever it has when it finds none
//! waiting: a system call for every event, also where one segment brought a hundred. So a frame waits for a few turns of the scheduler, in
//! which the upstream's connection can hand over the next; when none comes, what was gathered leaves. It never waits for the network.

use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::Frame;

use crate::fault::Broken;

/// Bytes that are gathered before they leave: what fits well into one write.
pub(crate) const GATHERED_BYTES_MAX: usize = 16 * 1024;

/// Turns for which a frame waits: hyper's connection takes more than one to see that there is room, and to fill it. With one, nothing was
/// gathered; with three, a core passed on four times as many streams whose events arrive together.
const TURNS_MAX: u8 = 3;

/// Frames that wait to leave.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// The only frame, as it came; nearly always there is no other.
    first: Bytes,
    /// This and further frames, once there are two.
    rest: BytesMut,
    /// Turns that have passed since the last frame came.
    turns: u8,
}

impl Gathered {
    /// How much waits.
    pub(crate) fn bytes(&self) -> usize {
        self.first.len() + self.rest.len()
    }

    /// Adds a frame behind those that wait.
    pub(crate) fn add(&mut self, bytes: Bytes) {
        self.turns = 0;
        if self.bytes() == 0 {
            self.first = bytes;
            return;
        }
        if !self.first.is_empty() {
            self.rest.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.rest.extend_from_slice(&bytes);
    }

    /// Whether to wait, as no frame is there now: for the upstream if nothing was gathered, else for a few turns.
    pub(crate) fn waits(&mut self, cx: &Context<'_>) -> bool {
        if self.bytes() == 0 {
            return true;
        }
        if self.turns >= TURNS_MAX {
            return false;
        }
        self.turns += 1;
        cx.waker().wake_by_ref();
        true
    }

    /// What was gathered, as one frame.
    pub(crate) fn poll(&mut self) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.turns = 0;
        let bytes = if self.rest.is_empty() {
            std::mem::take(&mut self.first)
        } else {
            self.rest.split().freeze()
        };
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn taken(gathered: &mut Gathered) -> Bytes {
        match gathered.poll() {
            Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn frames_that_come_together_leave_together_and_in_order() {
        let mut gathered = Gathered::default();
        for part in ["a", "b", "c"] {
            gathered.add(Bytes::from_static(part.as_bytes()));
        }
        assert_eq!(taken(&mut gathered), "abc");
        gathered.add(Bytes::from_static(b"d"));
        assert_eq!(taken(&mut gathered), "d");
        assert_eq!(gathered.bytes(), 0);
    }

    #[test]
    fn a_frame_waits_for_a_few_turns_and_nothing_for_the_upstream() {
        let cx = Context::from_waker(Waker::noop());
        let mut gathered = Gathered::default();
        assert!((0..10).all(|_| gathered.waits(&cx)), "nothing is there yet");
        for part in ["a", "b"] {
            gathered.add(Bytes::from_static(part.as_bytes()));
            assert!((0..TURNS_MAX).all(|_| gathered.waits(&cx)), "another may come");
        }
        assert!(!gathered.waits(&cx));
        assert_eq!(taken(&mut gathered), "ab");
    }
}
