//! The body of an answer, as hyper reads it: one piece, or a metered stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::activity::InFlight;
use crate::fault::Broken;
use crate::live::Live;
use crate::stream_watch::StreamWatch;

/// An answer's body. Dropping one that has not ended means that the client left.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    content: Content,
    flight: Option<InFlight>,
    watch: Option<Arc<StreamWatch>>,
}

#[derive(Debug)]
enum Content {
    Nothing,
    Whole(Bytes),
    Live(Box<Live>),
}

impl AnswerBody {
    /// A body of one piece.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        let content = if bytes.is_empty() {
            Content::Nothing
        } else {
            Content::Whole(bytes)
        };
        Self::of(content)
    }

    /// A stream.
    pub(crate) fn live(live: Box<Live>) -> Self {
        Self::of(Content::Live(live))
    }

    const fn of(content: Content) -> Self {
        Self {
            content,
            flight: None,
            watch: None,
        }
    }

    /// The body with its bytes changed, if it is of one piece.
    pub(crate) fn edited(mut self, edit: impl FnOnce(Bytes) -> Bytes) -> Self {
        if let Content::Whole(bytes) = &mut self.content {
            *bytes = edit(std::mem::take(bytes));
        }
        self
    }

    /// Ties the body to the connection that it is sent on; called in the stream's task.
    pub(crate) fn attach(&mut self, flight: Option<InFlight>) {
        self.flight = flight;
        if matches!(self.content, Content::Live(_)) {
            self.watch = StreamWatch::current();
        }
    }

    /// Length in bytes, of a body of one piece.
    pub(crate) fn whole_bytes(&self) -> u64 {
        match &self.content {
            Content::Whole(bytes) => bytes.len() as u64,
            Content::Nothing | Content::Live(_) => 0,
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        match std::mem::replace(&mut this.content, Content::Nothing) {
            Content::Nothing => Poll::Ready(None),
            Content::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Content::Live(mut live) => {
                if let Some(watch) = &this.watch {
                    watch.asked();
                }
                let frame = live.poll_frame(cx);
                this.content = Content::Live(live);
                if let (Some(watch), Poll::Ready(Some(_))) = (&this.watch, &frame) {
                    watch.offered();
                }
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Nothing => true,
            Content::Whole(_) => false,
            Content::Live(live) => live.is_done(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Nothing => SizeHint::with_exact(0),
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Live(live) => live.size_hint(),
        }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if let Content::Live(live) = std::mem::replace(&mut self.content, Content::Nothing) {
            live.hand_on();
        }
    }
}
