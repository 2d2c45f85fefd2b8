//! Second phase: a call of a known key. Finds out what it asks of whom, and refuses what may not be asked; each refusal leaves a row.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use tollgate_codec::{Codec, Endpoint};
use tollgate_record::{Decision, Ending, Intent, Name, Timestamp};

use crate::admitted::Admitted;
use crate::body::AnswerBody;
use crate::book::{self, micros_since};
use crate::fault::Fault;
use crate::key::Key;
use crate::permitted::{Asking, Permitted};
use crate::read_body;
use crate::received::{self, Body, Context};
use crate::results::Recording;
use crate::results_url::ResultsUrl;
use crate::route::{self, Route};
use crate::sending::{Draft, Outgoing};
use crate::upstream::Upstream;
use crate::{abandon, answer, caller, headers, traceparent};

/// A call of a known key. Boxed wherever it goes: it is large, and moves often. Not `Debug`: the head holds the gateway key.
pub(crate) struct Identified {
    pub(crate) context: Context,
    pub(crate) head: Parts,
    pub(crate) body: Body,
    pub(crate) route: Route,
    /// In whose shape errors are told.
    pub(crate) codec: Codec,
    pub(crate) key: Arc<Key>,
    /// What the row will say, filled in as it becomes known.
    pub(crate) intent: Intent,
    /// What budgets and rate limits decided of a call that is refused all the same.
    pub(crate) decided: Vec<Decision>,
}

/// A call of which is known what it asks of whom. Boxed likewise.
pub(crate) struct Asked {
    pub(crate) provider: Arc<Upstream>,
    pub(crate) endpoint: Endpoint,
    pub(crate) asks: tollgate_codec::Request,
    /// The client's body, for the meter.
    pub(crate) body: Bytes,
    /// What the upstream is sent.
    pub(crate) request: Outgoing,
    /// When the request had arrived whole.
    pub(crate) complete: Instant,
    /// Where results of a batch go, if it asks for such.
    pub(crate) results: Option<Box<Recording>>,
    /// What stands for the address of results, if the answer may tell it.
    pub(crate) results_url: Option<ResultsUrl>,
    /// What budgets and rate limits say to it.
    pub(crate) permitted: Permitted,
}

impl Identified {
    /// A call whose key is known.
    pub(crate) fn new(
        context: Context,
        start_time: Timestamp,
        head: Parts,
        body: Body,
        route: Route,
        codec: Codec,
        key: Arc<Key>,
    ) -> Self {
        let intent = Intent {
            call_id: context.call_id,
            request_id: context.call_id.as_request(),
            attempt: 1,
            start_time,
            identity: Arc::clone(&key.identity),
            caller: caller::unnamed(&key),
            call: received::unanswered(head.uri.path(), route.proxy().map(|proxy| proxy.name.clone())),
            request_bytes: 0,
            bears_usage: false,
        };
        Self {
            context,
            head,
            body,
            route,
            codec,
            key,
            intent,
            decided: Vec::new(),
        }
    }

    /// Reads the request and finds its provider.
    ///
    /// # Errors
    /// The [`Fault`] to refuse it with.
    pub(crate) async fn ask(&mut self) -> Result<Box<Asked>, Fault> {
        caller::describe(&mut self.intent.caller, &self.head.headers, &self.key)?;
        if headers::asks_for_websocket(&self.head.headers) {
            return Err(Fault::UpgradeUnsupported);
        }
        if matches!(self.head.method, Method::CONNECT | Method::TRACE) {
            // A TRACE would show the provider's credential to the client.
            let method = self.head.method.as_str().into();
            return Err(Fault::MethodNotAllowed { method });
        }
        let (mut provider, start) = self.provider()?;
        let path = self.head.uri.path().get(start..).unwrap_or_default();
        let plain = route::normalize(path)?.into_owned();
        let mut endpoint = self.endpoint(&provider, &plain);
        if !matches!(self.route, Route::Default) {
            self.allow(&provider, &plain)?;
        }

        let body = self.read_body().await?;
        let complete = Instant::now();
        let mut asks = self.read(&provider, &endpoint, start, &body)?;
        let mut renamed = None;
        if matches!(self.route, Route::Default) {
            if let Some((named, model)) = self.named_by_model(asks.model.as_ref())? {
                if !Arc::ptr_eq(&named, &provider) {
                    provider = named;
                    endpoint = self.endpoint(&provider, &plain);
                    asks = self.read(&provider, &endpoint, start, &body)?;
                }
                asks.model = Some(model.clone());
                renamed = Some(model);
            }
            self.allow(&provider, &plain)?;
        }
        self.complete(&provider, &endpoint, start, &body, &mut asks);
        self.intent.call.request_model.clone_from(&asks.model);
        self.intent.call.stream = asks.stream;
        let asking = Asking {
            provider: &provider,
            endpoint: &endpoint,
            start,
            body: &body,
        };
        self.allow_call(&asking, &asks, renamed.as_ref())?;
        let permitted = self.permit(&asking, &mut asks).await?;
        if permitted.downgraded_to.is_some() {
            renamed.clone_from(&permitted.downgraded_to);
        }

        let results_url = endpoint
            .tells_results_url
            .then(|| ResultsUrl::new(&self.head, start, self.context.is_tls, provider.hosts.base_paths()))
            .flatten();
        let sent = asks.upstream_body(&body, renamed.as_ref().map(Name::as_str));
        let edits = asks.edits_stream() || results_url.is_some();
        let request = self.request(&provider, start, sent, &endpoint, edits)?;
        self.intent.call.upstream = request.address(&provider);
        let ledger = &self.context.gateway.ledger;
        let results = endpoint.results.as_ref();
        let results = results.map(|id| Recording::new(ledger, id, provider.hosts.place(), self.intent.clone()));
        Ok(Box::new(Asked {
            provider,
            endpoint,
            asks,
            body,
            request,
            complete,
            results,
            results_url,
            permitted,
        }))
    }

    /// Asks the ledger to open the call.
    ///
    /// # Errors
    /// The answer to a call that cannot be recorded.
    pub(crate) async fn admit(self: Box<Self>, mut asked: Box<Asked>) -> Result<Admitted, Box<Response<AnswerBody>>> {
        let Self {
            context, intent, codec, ..
        } = *self;
        match context.gateway.ledger.admit_held(intent, asked.permitted.hold.take()).await {
            Ok(open) => Ok(Admitted {
                open,
                codec,
                context,
                asked,
            }),
            Err(unavailable) => {
                tracing::error!(call_id = %context.call_id, reason = %unavailable.reason, "failed to admit a call");
                Err(Box::new(answer::of(&Fault::LedgerUnavailable, &codec, context.call_id)))
            }
        }
    }

    /// Answers with a fault, and records that.
    pub(crate) async fn refuse(self: Box<Self>, fault: Fault) -> Response<AnswerBody> {
        let Self {
            context,
            head,
            body,
            codec,
            intent,
            mut decided,
            ..
        } = *self;
        decided.extend(decision(&fault));
        let left = context.presence.left() || matches!(fault, Fault::ClientLeft);
        if let Body::Arriving(body) = body
            && !left
        {
            received::linger(&context.gateway, &head, body);
        }
        let code = if left {
            abandon::reason(&context.gateway)
        } else {
            fault.code()
        };
        let refusal = answer::of(&fault, &codec, context.call_id);
        tracing::debug!(call_id = %context.call_id, key = %intent.identity.key_id, code = code.as_str(), "refused a call");
        let ending = Ending {
            status_code: (!left).then(|| refusal.status().as_u16()),
            error_type: Some(code.name()),
            decisions: decided,
            duration_us: micros_since(context.started),
            response_bytes: if left { 0 } else { refusal.body().whole_bytes() },
            ..Ending::of(book::outcome_of(code))
        };
        match context.gateway.ledger.refuse(intent, ending).await {
            Ok(_receipt) => refusal,
            Err(unavailable) => {
                tracing::error!(call_id = %context.call_id, reason = %unavailable.reason, "failed to record a refusal");
                answer::of(&Fault::LedgerUnavailable, &codec, context.call_id)
            }
        }
    }

    /// The provider that the path leads to, and where the rest of the path starts.
    fn provider(&self) -> Result<(Arc<Upstream>, usize), Fault> {
        let snapshot = &self.context.snapshot;
        let contexts = || -> Box<str> {
            let contexts: Vec<_> = snapshot.contexts().map(|context| format!("{context}/")).collect();
            if contexts.is_empty() {
                "nothing yet".into()
            } else {
                contexts.join(", ").into()
            }
        };
        match &self.route {
            Route::Provider(provider, start) => Ok((Arc::clone(provider), *start)),
            Route::Proxy(proxy, start) => Ok((Arc::clone(&proxy.provider), *start)),
            Route::Default => match snapshot.default_provider() {
                Some(provider) => Ok((Arc::clone(provider), 0)),
                None => Err(Fault::NoDefaultProvider { contexts: contexts() }),
            },
            Route::Unknown => Err(Fault::UnknownPath {
                path: self.head.uri.path().chars().take(Name::MAX_BYTES).collect::<String>().into(),
                contexts: contexts(),
            }),
        }
    }

    /// The provider that a model of the default route names before its first slash, and the model's name there.
    fn named_by_model(&self, model: Option<&Name>) -> Result<Option<(Arc<Upstream>, Name)>, Fault> {
        let Some((named, model)) = model.and_then(|model| model.as_str().split_once('/')) else {
            return Ok(None);
        };
        let (Some(provider), Ok(model)) = (self.context.snapshot.by_name(named), Name::new(model)) else {
            return Ok(None);
        };
        if !provider.openai_compatible {
            return Err(Fault::ProviderNotCompatible {
                provider: provider.name.clone(),
                context: provider.context.clone(),
            });
        }
        Ok(Some((Arc::clone(provider), model)))
    }

    /// What the path is for, noted for the row together with whose it is.
    fn endpoint(&mut self, provider: &Upstream, path: &str) -> Endpoint {
        let endpoint = provider.codec.endpoint(&self.head.method, path);
        let call = &mut self.intent.call;
        call.operation_name.clone_from(&endpoint.operation_name);
        call.provider_name = Some(provider.name.clone());
        call.template = Some(provider.template.clone());
        // Of several, one is chosen when the request is to be sent.
        call.upstream = provider.hosts.only().map(|host| host.address.clone());
        call.region = provider.region.clone().or_else(|| endpoint.region.clone());
        self.intent.bears_usage = endpoint.bears_usage;
        endpoint
    }

    /// Holds a path against the access control of the provider and of the proxy: both must allow it.
    fn allow(&self, provider: &Upstream, path: &str) -> Result<(), Fault> {
        let proxy = self.route.proxy().map(|proxy| ("proxy", &proxy.name, &proxy.access));
        let rules = std::iter::once(("provider", &provider.name, &provider.access)).chain(proxy);
        let mut refusing = rules.filter(|(.., access)| !access.allows(&self.head.method, path));
        match refusing.next() {
            None => Ok(()),
            Some((kind, name, _)) => Err(Fault::PathNotAllowed {
                kind,
                name: name.clone(),
                method: self.head.method.as_str().into(),
                path: path.chars().take(Name::MAX_BYTES).collect::<String>().into(),
            }),
        }
    }

    /// Gives the request what a proxy gives to those that say nothing themselves.
    fn complete(&self, provider: &Upstream, endpoint: &Endpoint, start: usize, body: &Bytes, asks: &mut tollgate_codec::Request) {
        if let Some(defaults) = self.route.proxy().and_then(|proxy| proxy.defaults.as_ref()) {
            provider.codec.complete(endpoint, self.target(start), body, asks, defaults);
        }
    }

    /// Path and query behind the context.
    pub(crate) fn target(&self, start: usize) -> &str {
        let target = self.head.uri.path_and_query().map_or("", |target| target.as_str());
        target.get(start..).unwrap_or_default()
    }

    async fn read_body(&mut self) -> Result<Bytes, Fault> {
        let body = match &mut self.body {
            Body::Arriving(body) => body,
            Body::Read(bytes) => return Ok(std::mem::take(bytes)),
            Body::Taken => return Ok(Bytes::new()),
        };
        let limits = &self.context.gateway.limits;
        let reading = read_body::read(
            body,
            limits.request_body_bytes_max,
            limits.request_body_read,
            &mut self.intent.request_bytes,
        );
        let bytes = reading.await?;
        if self.context.presence.left() {
            return Err(Fault::ClientLeft);
        }
        self.body = Body::Taken;
        Ok(bytes)
    }

    fn read(&self, provider: &Upstream, endpoint: &Endpoint, start: usize, body: &Bytes) -> Result<tollgate_codec::Request, Fault> {
        provider
            .codec
            .read(endpoint, self.target(start), &self.head.headers, body)
            .map_err(Fault::BadBody)
    }

    /// The request for the upstream; takes the headers.
    fn request(
        &mut self,
        provider: &Upstream,
        start: usize,
        body: Bytes,
        endpoint: &Endpoint,
        edits: bool,
    ) -> Result<Outgoing, Fault> {
        let mut sent: HeaderMap = std::mem::take(&mut self.head.headers);
        headers::towards_upstream(&mut sent, provider.credential.as_ref());
        if self.context.snapshot.traces_attempts() {
            traceparent::continue_at(&mut sent, &self.intent);
        }
        if edits {
            // An answer can only be changed where it is not compressed.
            sent.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        } else if endpoint.results.is_some() {
            headers::ask_for_all(&mut sent);
        } else if endpoint.bears_usage || endpoint.tells_batch() {
            headers::accept_readable(&mut sent);
        }
        let draft = Draft {
            method: self.head.method.clone(),
            target: self.head.uri.clone(),
            start,
            headers: sent,
            body,
        };
        Outgoing::new(provider, draft, Instant::now())
    }
}

/// What the row says of a fault that is some rule's doing.
fn decision(fault: &Fault) -> Option<Decision> {
    let policy = match fault {
        Fault::PathNotAllowed { .. } => "access_control",
        Fault::ModelNotAllowed { .. } | Fault::ModelNotNamed { .. } => "models",
        Fault::OperationNotAllowed { .. } => "operations",
        Fault::ProxyNotAllowed { .. } => "proxies",
        Fault::Refused(refused) => return Some(refused.decision()),
        _ => return None,
    };
    Some(Decision {
        policy: policy.into(),
        action: "refuse".into(),
        detail: Some(fault.to_string().into()),
    })
}
