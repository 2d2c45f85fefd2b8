//! Reads a request's body whole, within a size and a time.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::fault::Fault;

/// What is read of a body that is refused, so that the client can read why before the connection closes; 8 MiB.
const LINGER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long that may take.
const LINGER: Duration = Duration::from_secs(5);
/// What is set aside for a body on the word of its Content-Length; 1 MiB.
const TRUSTED_BYTES_MAX: u64 = 1024 * 1024;

/// Reads a body; `read_bytes` counts what arrived, also of a body that is refused.
///
/// # Errors
/// [`Fault::BodyTooLarge`] (before reading, if the length is told), [`Fault::BodyTimeout`],
/// [`Fault::BrokenBody`] if it is malformed, or [`Fault::ClientLeft`].
pub(crate) async fn read(body: &mut Incoming, bytes_max: u64, limit: Duration, read_bytes: &mut u64) -> Result<Bytes, Fault> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let told = body.size_hint();
    if told.lower() > bytes_max {
        return Err(Fault::BodyTooLarge { bytes_max });
    }
    let reading = gather(body, bytes_max, read_bytes);
    let bytes = tokio::time::timeout(limit, reading)
        .await
        .map_err(|_elapsed| Fault::BodyTimeout {
            seconds: limit.as_secs(),
        })??;
    // A connection that is dropped looks like an end where chunks are counted, so a told length is held against what came.
    if told.exact().is_some_and(|told| told != bytes.len() as u64) {
        return Err(Fault::ClientLeft);
    }
    Ok(bytes)
}

/// Malformed chunks are told apart from a connection that ended or a stream that was reset in the middle of the body.
fn broken(error: &hyper::Error) -> Fault {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match io.map(io::Error::kind) {
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => Fault::BrokenBody,
        _ => Fault::ClientLeft,
    }
}

async fn gather(body: &mut Incoming, bytes_max: u64, read_bytes: &mut u64) -> Result<Bytes, Fault> {
    let told = body.size_hint().lower().min(TRUSTED_BYTES_MAX);
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(&error))?;
        let Ok(bytes) = frame.into_data() else { continue };
        *read_bytes += bytes.len() as u64;
        if *read_bytes > bytes_max {
            return Err(Fault::BodyTooLarge { bytes_max });
        }
        if first.is_empty() && rest.is_empty() {
            first = bytes;
        } else {
            if !first.is_empty() {
                rest.reserve(usize::try_from(told).unwrap_or(0).max(first.len() + bytes.len()));
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&bytes);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

/// Reads on and forgets, within limits: a connection that is closed on unread bytes is reset, and the client may lose the answer.
pub(crate) async fn linger(mut body: Incoming) {
    let mut bytes_left = LINGER_BYTES_MAX;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            match bytes_left.checked_sub(bytes) {
                Some(left) => bytes_left = left,
                None => return,
            }
        }
    };
    // Whether it came to its end does not matter.
    let _ = tokio::time::timeout(LINGER, reading).await;
}
