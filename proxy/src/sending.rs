//! One request on its way to a provider: to the first of its URLs that can be connected to.
//!
//! 1. Another URL is tried only where no connection could be established. The client hands a request to a connection after that, so no byte of it has left,
//!    and no provider can bill it twice.
//! 2. Once there was a connection, whatever happens is the call's end.
//! 3. Each URL is tried once a call; the time for the first byte of the answer bounds all tries together.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Error as ClientError, ResponseFuture};
use tollgate_record::{Decision, Name};

use crate::book::Book;
use crate::fault::Fault;
use crate::gateway::Shared;
use crate::hosts::{Host, Tried};
use crate::identity;
use crate::provider::Credential;
use crate::transport;
use crate::upstream::Upstream;

/// What is sent, whichever URL it goes to.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) method: Method,
    /// What the client asked for.
    pub(crate) target: Uri,
    /// Where the part of its path starts that goes on.
    pub(crate) start: usize,
    /// Not signed yet: a signature holds for one host.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A request for one URL, ready to be sent.
pub(crate) struct Outgoing {
    host: usize,
    request: Request<Full<Bytes>>,
    /// `None` where there is no other URL.
    spare: Option<Box<Spare>>,
}

/// What it takes to go to another URL.
struct Spare {
    draft: Draft,
    tried: Tried,
}

/// A request on its way; dropping it gives it up.
pub(crate) struct Sending {
    gateway: Arc<Shared>,
    provider: Arc<Upstream>,
    host: usize,
    answer: ResponseFuture,
    spare: Option<Box<Spare>>,
    passed_over: Vec<Decision>,
}

// === impl Draft ===

impl Draft {
    fn into_request(self, provider: &Upstream, host: &Host) -> Result<Request<Full<Bytes>>, Fault> {
        let Self {
            method,
            target,
            start,
            mut headers,
            body,
        } = self;
        let path = target.path().get(start..).unwrap_or_default();
        let path = if path.is_empty() { "/" } else { path };
        let uri = if provider.key_in_query {
            host.uri(path, target.query().and_then(identity::without_key).as_deref())
        } else {
            host.uri(path, target.query())
        };
        let uri = uri.map_err(|_| Fault::BadPath)?;
        if let Some(Credential::Signature(signer)) = &provider.credential {
            let signed = signer.sign(&method, &uri, &mut headers, &body, SystemTime::now());
            signed.map_err(|_cannot| Fault::BadHeader {
                header: "x-amz-*",
                reason: "it cannot be signed: it must be printable ASCII".into(),
            })?;
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

// === impl Outgoing ===

impl Outgoing {
    /// Chooses a URL and makes the request for it.
    ///
    /// # Errors
    /// The [`Fault`] of a request that cannot be made.
    pub(crate) fn new(provider: &Upstream, draft: Draft, now: Instant) -> Result<Self, Fault> {
        let mut tried = Tried::default();
        let chosen = provider.hosts.choose(&mut tried, now);
        let (index, host) = chosen.expect("a call that has tried no URL can try one");
        let spare = provider.hosts.are_several().then(|| {
            let draft = draft.clone();
            Box::new(Spare { draft, tried })
        });
        Ok(Self {
            host: index,
            request: draft.into_request(provider, host)?,
            spare,
        })
    }

    /// The host that it goes to first.
    pub(crate) fn address(&self, provider: &Upstream) -> Option<Name> {
        provider.hosts.get(self.host).map(|host| host.address.clone())
    }
}

// === impl Sending ===

impl Sending {
    /// Sends a request.
    pub(crate) fn new(gateway: Arc<Shared>, provider: Arc<Upstream>, outgoing: Outgoing) -> Self {
        let Outgoing { host, request, spare } = outgoing;
        Self {
            answer: provider.transport.send(request),
            gateway,
            provider,
            host,
            spare,
            passed_over: Vec::new(),
        }
    }

    /// The host that it went to last.
    pub(crate) fn address(&self) -> &str {
        self.provider.hosts.get(self.host).map_or("", |host| host.address.as_str())
    }

    /// Notes for the row which URLs were passed over.
    pub(crate) fn note(&mut self, book: &mut Book) {
        if !self.passed_over.is_empty() {
            book.upstream = self.provider.hosts.get(self.host).map(|host| host.address.clone());
            book.decisions.append(&mut self.passed_over);
        }
    }

    /// Goes to another URL after the last could not be connected to; whether there is one.
    fn goes_on(&mut self, error: &ClientError, now: Instant) -> bool {
        let Some(spare) = &mut self.spare else { return false };
        let Some((next, host)) = self.provider.hosts.choose(&mut spare.tried, now) else {
            return false;
        };
        // It could be made for the first, so it can for any.
        let Ok(request) = spare.draft.clone().into_request(&self.provider, host) else {
            return false;
        };
        let (code, detail) = (transport::fault_of(error).code().as_str(), transport::chain(error));
        tracing::warn!(
            provider = %self.provider.name, upstream = self.address(), next = %host.address, code, %detail,
            "passed over an upstream that could not be connected to"
        );
        self.passed_over.push(Decision {
            policy: "upstream".into(),
            action: "passed_over".into(),
            detail: Some(format!("{}: {code}", self.address()).into()),
        });
        self.gateway.counters.went_on();
        self.host = next;
        self.answer = self.provider.transport.send(request);
        true
    }
}

impl Future for Sending {
    type Output = Result<Response<Incoming>, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            let answered = ready!(Pin::new(&mut this.answer).poll(cx));
            match &answered {
                Err(error) if error.is_connect() => {
                    let now = Instant::now();
                    this.provider.hosts.failed(this.host, now);
                    this.gateway.counters.connect_failed();
                    if this.goes_on(error, now) {
                        continue;
                    }
                }
                _ => this.provider.hosts.connected(this.host),
            }
            return Poll::Ready(answered);
        }
    }
}
