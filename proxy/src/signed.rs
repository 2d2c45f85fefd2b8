//! Between the first phase and the second: a request that is signed with a known access key. Whose it is is proven when its body is there,
//! since the body is part of what is signed; until then it leaves no row.

use std::sync::Arc;
use std::time::SystemTime;

use aws_sigv4::http_request::SignableBody;
use bytes::Bytes;
use http::Response;
use http::request::Parts;
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tollgate_codec::Codec;
use tollgate_record::Timestamp;

use crate::body::AnswerBody;
use crate::config::Limits;
use crate::fault::Fault;
use crate::identified::Identified;
use crate::key::Key;
use crate::received::{self, Body, Context};
use crate::route::Route;
use crate::verification::Claim;
use crate::{identity, read_body};

/// Bodies that are held for callers who have proven nothing yet, in KiB; 256 MiB. Further ones wait, within the time that a body has.
pub(crate) const UNPROVEN_KIB_MAX: u32 = 256 * 1024;

/// A request that is signed with a known access key. Boxed like the phases around it. Not `Debug`: the head holds the signature.
pub(crate) struct Signed {
    pub(crate) context: Context,
    pub(crate) start_time: Timestamp,
    pub(crate) head: Parts,
    /// Until it is read.
    pub(crate) body: Option<Incoming>,
    pub(crate) route: Route,
    pub(crate) codec: Codec,
    /// Whose it is, if the claim holds.
    pub(crate) key: Arc<Key>,
    pub(crate) claim: Claim,
}

impl Signed {
    /// Reads the body and verifies the signature.
    ///
    /// # Errors
    /// The answer to a call whose signature does not hold, or whose key no longer does.
    pub(crate) async fn verify(mut self: Box<Self>) -> Result<Box<Identified>, Box<Response<AnswerBody>>> {
        let proven = self.prove().await;
        let Self {
            context,
            start_time,
            head,
            body,
            route,
            codec,
            key,
            claim: _,
        } = *self;
        match proven {
            Ok(bytes) => {
                let request_bytes = bytes.len() as u64;
                let mut identified = Identified::new(context, start_time, head, Body::Read(bytes), route, codec, key);
                identified.intent.request_bytes = request_bytes;
                Ok(Box::new(identified))
            }
            Err(fault) => Err(received::refuse(&context, &head, body, &codec, &fault)),
        }
    }

    /// The body, if the signature holds. Where the head tells the body's hash, the signature is checked before the body is read.
    async fn prove(&mut self) -> Result<Bytes, Fault> {
        let Some(key) = &self.key.aws else {
            return Err(Fault::UnknownAccessKey);
        };
        let examined = self.claim.examine(&self.head, SystemTime::now())?;
        if let Some(told) = examined.told_hash {
            examined.verify(key, SignableBody::Precomputed(told.to_owned()))?;
        }
        let shared = &self.context.gateway;
        let unproven = examined.told_hash.is_none().then_some(&shared.unproven);
        let bytes = read(&mut self.body, &shared.limits, unproven).await?;
        match examined.told_hash {
            Some(_) => examined.is_told(&bytes)?,
            None => examined.verify(key, SignableBody::Bytes(&bytes))?,
        }
        identity::standing(&self.key, self.start_time)?;
        Ok(bytes)
    }
}

/// Reads a body; it is taken when it is read to its end. One that is `unproven` waits for its share of memory first.
async fn read(body: &mut Option<Incoming>, limits: &Limits, unproven: Option<&Semaphore>) -> Result<Bytes, Fault> {
    let Some(incoming) = body.as_mut() else {
        return Ok(Bytes::new());
    };
    let _held = match unproven {
        None => None,
        Some(memory) => {
            let share = share_kib(incoming.size_hint().upper(), limits.request_body_bytes_max);
            let waiting = tokio::time::timeout(limits.request_body_read, memory.acquire_many(share));
            let seconds = limits.request_body_read.as_secs();
            let held = waiting.await.map_err(|_elapsed| Fault::BodyTimeout { seconds })?;
            // The semaphore is never closed.
            held.ok()
        }
    };
    let mut arrived = 0;
    let bytes = read_body::read(
        incoming,
        limits.request_body_bytes_max,
        limits.request_body_read,
        &mut arrived,
    )
    .await?;
    *body = None;
    Ok(bytes)
}

/// What a body may take, in KiB: its length as it is told, else the most that is read.
fn share_kib(told_bytes: Option<u64>, bytes_max: u64) -> u32 {
    let bytes = told_bytes.unwrap_or(bytes_max).min(bytes_max);
    u32::try_from(bytes.div_ceil(1024)).map_or(UNPROVEN_KIB_MAX, |kib| kib.min(UNPROVEN_KIB_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_takes_what_it_tells_and_never_more_than_there_is() {
        let mib = |count: u64| count * 1024 * 1024;
        assert_eq!(share_kib(Some(0), mib(64)), 0);
        assert_eq!(share_kib(Some(1025), mib(64)), 2);
        assert_eq!(share_kib(None, mib(64)), 64 * 1024);
        // Larger than the limit is refused before it is read.
        assert_eq!(share_kib(Some(mib(65)), mib(64)), 64 * 1024);
        assert_eq!(share_kib(None, mib(1024)), UNPROVEN_KIB_MAX);
        assert_eq!(share_kib(Some(u64::MAX), u64::MAX), UNPROVEN_KIB_MAX);
    }
}
