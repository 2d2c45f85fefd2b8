//! The meter beside an answer's body.

use bytes::Bytes;
use tollgate_record::{Name, Usage};

use crate::{Codec, Endpoint, Request};

/// What to do with one frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Bytes to send now; may be empty.
    pub bytes: Bytes,
    /// The terminal event of the stream is in these bytes: hold them until the call is settled.
    pub ended: bool,
}

/// How the body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its transport ended cleanly.
    Complete,
    /// The upstream broke off.
    Cut,
    /// The client left.
    Aborted,
}

/// What an answer was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metered {
    /// What was used.
    pub usage: Usage,
    /// Model that answered.
    pub response_model: Option<Name>,
    /// Why the model stopped.
    pub finish_reason: Option<Name>,
    /// The provider's code of the error.
    pub error_type: Option<Name>,
    /// Whether the answer is whole: a stream without its terminal event is not, even if its transport ended cleanly.
    pub complete: bool,
}

/// Reads an answer beside its way to the client.
#[derive(Debug)]
pub struct Meter {
    usage: Usage,
}

impl Meter {
    /// A meter for the answer with this head.
    pub fn new(codec: &Codec, endpoint: &Endpoint, request: &Request, request_body: Bytes, head: &http::response::Parts) -> Self {
        let _ = (codec, endpoint, request, request_body, head);
        Self { usage: Usage::default() }
    }
    /// Takes a frame of the body.
    pub fn frame(&mut self, frame: Bytes) -> Step {
        Step {
            bytes: frame,
            ended: false,
        }
    }
    /// Bytes that are still held at the end of the body.
    pub fn finish(&mut self) -> Bytes {
        Bytes::new()
    }
    /// What is known so far.
    pub fn usage_so_far(&self) -> &Usage {
        &self.usage
    }
    /// Whether [`Self::metered`] would have to count tokens, which takes milliseconds.
    pub fn needs_estimate(&self) -> bool {
        false
    }
    /// What the answer was.
    pub fn metered(&mut self, how: End) -> Metered {
        let _ = how;
        Metered {
            usage: self.usage.clone(),
            ..Metered::default()
        }
    }
}
