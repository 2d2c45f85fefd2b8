//! First phase: a request whose head has arrived, from nobody known yet.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use http_body::Body as _;
use hyper::body::Incoming;
use tollgate_codec::Codec;
use tollgate_record::{Call, CallId, Name, Timestamp};

use crate::answer;
use crate::body::AnswerBody;
use crate::fault::Fault;
use crate::gateway::Shared;
use crate::identified::Identified;
use crate::identity::Who;
use crate::presence::Presence;
use crate::route::{self, Route};
use crate::signed::Signed;
use crate::snapshot::Snapshot;
use crate::{call_id, headers, identity, read_body, verification};

/// What all phases of a call share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) gateway: Arc<Shared>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) presence: Presence,
    pub(crate) started: Instant,
    pub(crate) call_id: CallId,
    /// Whether the client came by TLS.
    pub(crate) is_tls: bool,
}

/// A request whose head has arrived. Not `Debug`: the head holds the gateway key.
pub(crate) struct Received {
    context: Context,
    start_time: Timestamp,
    head: Parts,
    body: Incoming,
}

/// The body of a request.
pub(crate) enum Body {
    /// It is still to be read.
    Arriving(Incoming),
    /// It was read, to verify a signature.
    Read(Bytes),
    /// It was taken.
    Taken,
}

/// What a request's head says of its caller.
pub(crate) enum Recognized {
    /// Whose call it is.
    Identified(Box<Identified>),
    /// Whose call it is if the signature holds.
    Signed(Box<Signed>),
}

impl Received {
    pub(crate) fn new(gateway: Arc<Shared>, presence: Presence, request: http::Request<Incoming>, is_tls: bool) -> Self {
        let start_time = Timestamp::from(SystemTime::now());
        let (head, body) = request.into_parts();
        let context = Context {
            snapshot: gateway.snapshot.load_full(),
            gateway,
            presence,
            started: Instant::now(),
            call_id: call_id::next(start_time),
            is_tls,
        };
        Self {
            context,
            start_time,
            head,
            body,
        }
    }

    pub(crate) const fn call_id(&self) -> CallId {
        self.context.call_id
    }

    /// Finds out whose call it is; what cannot be told is refused and leaves no row.
    ///
    /// # Errors
    /// The answer to a call from nobody, or with too large a head.
    pub(crate) fn identify(self) -> Result<Recognized, Box<Response<AnswerBody>>> {
        let Self {
            context,
            start_time,
            head,
            body,
        } = self;
        let route = route::find(&context.snapshot, head.uri.path());
        let provider = match &route {
            Route::Default => context.snapshot.default_provider(),
            named => named.provider(),
        };
        let codec = provider.map_or_else(Codec::openai, |provider| provider.codec.clone());
        let query = route.provider().filter(|provider| provider.key_in_query);
        let query = query.and_then(|_| head.uri.query());
        let (key, claim) = match Self::known(&context, &head, query, start_time) {
            Ok(Who::Holder(key)) => (key, None),
            Ok(Who::Signer(key, claim)) => (key, Some(claim)),
            Err(fault) => return Err(refuse(&context, &head, Some(body), &codec, &fault)),
        };
        if let Some(claim) = claim {
            return Ok(Recognized::Signed(Box::new(Signed {
                context,
                start_time,
                head,
                body: Some(body),
                route,
                codec,
                key,
                claim,
            })));
        }
        let identified = Identified::new(context, start_time, head, Body::Arriving(body), route, codec, key);
        Ok(Recognized::Identified(Box::new(identified)))
    }

    fn known(context: &Context, head: &Parts, query: Option<&str>, now: Timestamp) -> Result<Who, Fault> {
        let (bytes_max, count_max) = (
            context.gateway.limits.header_bytes_max,
            context.gateway.limits.header_count_max,
        );
        let target_bytes = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
        if !headers::fit(target_bytes, &head.headers, bytes_max, count_max) {
            return Err(Fault::HeadersTooLarge { bytes_max, count_max });
        }
        if head.uri.query().is_some_and(verification::is_presigned) {
            return Err(verification::presigned());
        }
        identity::identify(&head.headers, query, context.snapshot.keys(), now)
    }
}

/// Answers a call from nobody known, without a row; `body` is what of it is unread.
pub(crate) fn refuse(
    context: &Context,
    head: &Parts,
    body: Option<Incoming>,
    codec: &Codec,
    fault: &Fault,
) -> Box<Response<AnswerBody>> {
    tracing::debug!(call_id = %context.call_id, code = fault.code().as_str(), "refused a call from nobody known");
    if let Some(body) = body {
        linger(&context.gateway, head, body);
    }
    // What signs is an SDK of AWS's, wherever it was pointed.
    let answer = if fault.is_of_signature() {
        answer::of(fault, &Codec::bedrock(), context.call_id)
    } else {
        answer::of(fault, codec, context.call_id)
    };
    Box::new(answer)
}

/// Lets the client read its refusal although its body is not wanted.
pub(crate) fn linger(gateway: &Shared, head: &Parts, body: Incoming) {
    // One that waits to be told to go on has sent nothing, and reading would tell it to.
    if body.is_end_stream() || head.headers.contains_key(http::header::EXPECT) {
        return;
    }
    let cut = gateway.cut.clone();
    drop(gateway.connections.spawn_on(
        async move {
            tokio::select! {
                () = read_body::linger(body) => {}
                () = cut.cancelled() => {}
            }
        },
        &gateway.runtime,
    ));
}

/// What a row says of a call before a provider is found: the start of its path stands for what was asked.
pub(crate) fn unanswered(path: &str, proxy: Option<Name>) -> Call {
    let mut end = path.len().min(Name::MAX_BYTES);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    let operation_name = path.get(..end).and_then(|path| Name::new(path).ok());
    Call {
        operation_name: operation_name.unwrap_or_else(|| Name::new("/").expect("a slash is a name")),
        proxy,
        provider_name: None,
        template: None,
        upstream: None,
        region: None,
        request_model: None,
        stream: false,
        route_rule: None,
        cache: None,
    }
}
