//! What a call can use at most, and how its request is given a limit.
//!
//! MERGE: stands in for `Codec::bounds` and `Codec::limit_to`, which count what the request tells; remove this file and call those. Until then every bound
//! is zero, and a limit is given only to requests that name none.

use bytes::Bytes;
use http::HeaderMap;
use tollgate_codec::{Codec, Defaults, Endpoint, Request};
use tollgate_record::admission::Bounds;

/// See [`crate::bounds`].
pub(crate) fn of(
    _codec: &Codec,
    endpoint: &Endpoint,
    _path_and_query: &str,
    _headers: &HeaderMap,
    _body: &Bytes,
    _request: &Request,
) -> Bounds {
    Bounds {
        answers: u64::from(endpoint.bears_usage),
        takes_limit: endpoint.bears_usage,
        takes_model: endpoint.needs_json,
        ..Bounds::default()
    }
}

/// See [`crate::bounds`].
pub(crate) fn limit_to(codec: &Codec, endpoint: &Endpoint, path_and_query: &str, body: &[u8], request: &mut Request, tokens: u64) {
    // The model stands in the body, unless it was given by default before.
    let defaults = Defaults {
        model: request.model.clone(),
        max_tokens: Some(tokens),
    };
    codec.complete(endpoint, path_and_query, body, request, &defaults);
}
