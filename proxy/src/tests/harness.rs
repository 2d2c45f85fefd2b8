//! A gateway, a ledger in memory, upstreams and clients, each test its own, on ports of their own.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tollgate_codec::Codec;
use tollgate_record::admission::{Admission, Bounds, Hold, Pending, Permit};
use tollgate_record::{
    Amount, BoxFuture, CallId, CostStatus, Ending, FetchedResults, Intent, Ledger, Name, OpenCall, Outcome, Receipt, Unavailable,
    Usage,
};
use url::Url;

use crate::key::tests::key;
use crate::{Access, Config, Credential, Drained, Handle, Key, Limits, LlmProxy, Provider, Snapshot, Timeouts, Tls, bind};

pub(crate) const SECRET: &str = "tg-secret";
pub(crate) const PROVIDER_SECRET: &str = "Bearer sk-provider";

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

// === Ledger ===

#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) intent: Intent,
    pub(crate) ending: Ending,
    pub(crate) refused: bool,
}

/// A ledger in memory, whose steps can be made to wait or fail.
pub(crate) struct Memory {
    rows: Mutex<Vec<Row>>,
    count: watch::Sender<usize>,
    /// Calls that asked to be admitted, and calls that asked to be settled.
    pub(crate) admitting: watch::Sender<usize>,
    pub(crate) settling: watch::Sender<usize>,
    /// Waits for shares of budgets, and how many of them may end.
    pub(crate) granting: watch::Sender<usize>,
    pub(crate) grant_gate: Arc<Semaphore>,
    /// Writes of a batch's results that were asked for.
    pub(crate) recording: watch::Sender<usize>,
    /// A write of results takes a permit each.
    pub(crate) results_gate: Semaphore,
    pub(crate) results_fail: AtomicBool,
    /// Results as they were given.
    pub(crate) fetched: Mutex<Vec<FetchedResults>>,
    pub(crate) admit_fails: AtomicBool,
    pub(crate) settle_fails: AtomicBool,
    /// Settling takes a permit each; tests that do not care have many.
    pub(crate) settle_gate: Semaphore,
    pub(crate) admit_gate: Semaphore,
    pub(crate) cost: Option<Amount>,
    /// Decides whether calls pass; all do where it is not set.
    pub(crate) reserving: Mutex<Option<Reserving>>,
    /// Of each call that was admitted, whether something was set aside for it.
    pub(crate) held: Mutex<Vec<bool>>,
    /// What was given back before its call was admitted.
    pub(crate) given_back: Arc<AtomicUsize>,
}

pub(crate) type Reserving = Box<dyn Fn(&Intent, &Bounds) -> Admission + Send>;

/// Something that was set aside.
pub(crate) struct Held(Option<Arc<AtomicUsize>>);

impl Hold for Held {
    fn keep(mut self: Box<Self>) {
        self.0 = None;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(given_back) = &self.0 {
            given_back.fetch_add(1, Ordering::SeqCst);
        }
    }
}

struct Open {
    ledger: Arc<Memory>,
    intent: Option<Intent>,
    noted: Usage,
}

impl Memory {
    pub(crate) fn new() -> Arc<Self> {
        Self::gated(Semaphore::MAX_PERMITS, Semaphore::MAX_PERMITS)
    }

    pub(crate) fn gated(admit: usize, settle: usize) -> Arc<Self> {
        Arc::new(Self {
            rows: Mutex::default(),
            count: watch::Sender::new(0),
            admitting: watch::Sender::new(0),
            settling: watch::Sender::new(0),
            recording: watch::Sender::new(0),
            granting: watch::Sender::new(0),
            grant_gate: Arc::new(Semaphore::new(0)),
            results_gate: Semaphore::new(Semaphore::MAX_PERMITS),
            results_fail: AtomicBool::new(false),
            fetched: Mutex::default(),
            admit_fails: AtomicBool::new(false),
            settle_fails: AtomicBool::new(false),
            settle_gate: Semaphore::new(settle),
            admit_gate: Semaphore::new(admit),
            cost: Some("0.0123".parse().unwrap()),
            reserving: Mutex::default(),
            held: Mutex::default(),
            given_back: Arc::default(),
        })
    }

    /// Has every call decided by a function of it and of what it can use at most.
    pub(crate) fn reserves(&self, decide: impl Fn(&Intent, &Bounds) -> Admission + Send + 'static) {
        *self.reserving.lock().unwrap() = Some(Box::new(decide));
    }

    /// Lets every call pass with a copy of this permit, for which something is set aside.
    pub(crate) fn permits(&self, make: impl Fn() -> Permit + Send + 'static) {
        let given_back = Arc::clone(&self.given_back);
        self.reserves(move |_, _| {
            Ok(Permit {
                hold: Some(Box::new(Held(Some(Arc::clone(&given_back))))),
                ..make()
            })
        });
    }

    fn write(&self, row: Row) -> Receipt {
        let call_id = row.intent.call_id;
        let mut rows = self.rows.lock().unwrap();
        rows.push(row);
        self.count.send_replace(rows.len());
        Receipt {
            call_id,
            cost: self.cost,
            cost_status: CostStatus::Priced,
        }
    }

    fn unavailable() -> Unavailable {
        Unavailable {
            reason: "full disk".into(),
        }
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        self.rows.lock().unwrap().clone()
    }

    /// Waits until a first call asks to be settled.
    pub(crate) async fn first_settling(&self) {
        self.settling.subscribe().wait_for(|calls| *calls > 0).await.unwrap();
    }

    /// The only row, once it is there.
    pub(crate) async fn row(&self) -> Row {
        self.count.subscribe().wait_for(|count| *count > 0).await.unwrap();
        let rows = self.rows();
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows[0].clone()
    }
}

/// The ledger as the gateway sees it.
pub(crate) struct Shared(pub(crate) Arc<Memory>);

impl Ledger for Shared {
    fn reserve(&self, intent: &Intent, bounds: &dyn Fn() -> Bounds) -> Admission {
        match &*self.0.reserving.lock().unwrap() {
            Some(decide) => decide(intent, &bounds()),
            None => Ok(Permit::free()),
        }
    }

    fn granted(&self, _pending: &Pending) -> BoxFuture<'static, ()> {
        let ledger = Arc::clone(&self.0);
        Box::pin(async move {
            ledger.granting.send_modify(|waits| *waits += 1);
            ledger.grant_gate.acquire().await.unwrap().forget();
        })
    }

    fn admit_held(&self, intent: Intent, hold: Option<Box<dyn Hold>>) -> BoxFuture<'_, Result<Box<dyn OpenCall>, Unavailable>> {
        let ledger = Arc::clone(&self.0);
        Box::pin(async move {
            if ledger.admit_fails.load(Ordering::SeqCst) {
                return Err(Memory::unavailable());
            }
            ledger.held.lock().unwrap().push(hold.is_some());
            if let Some(hold) = hold {
                // It is the ledger's now.
                hold.keep();
            }
            ledger.admitting.send_modify(|calls| *calls += 1);
            ledger.admit_gate.acquire().await.unwrap().forget();
            let open = Open {
                ledger,
                intent: Some(intent),
                noted: Usage::default(),
            };
            Ok(Box::new(open) as Box<dyn OpenCall>)
        })
    }

    fn refuse(&self, intent: Intent, ending: Ending) -> BoxFuture<'_, Result<Receipt, Unavailable>> {
        Box::pin(async move {
            if self.0.admit_fails.load(Ordering::SeqCst) {
                return Err(Memory::unavailable());
            }
            Ok(self.0.write(Row {
                intent,
                ending,
                refused: true,
            }))
        })
    }

    fn record_results(&self, fetched: FetchedResults) -> BoxFuture<'static, Result<(), Unavailable>> {
        let ledger = Arc::clone(&self.0);
        Box::pin(async move {
            ledger.recording.send_modify(|calls| *calls += 1);
            ledger.results_gate.acquire().await.unwrap().forget();
            if ledger.results_fail.load(Ordering::SeqCst) {
                return Err(Memory::unavailable());
            }
            ledger.fetched.lock().unwrap().push(fetched);
            Ok(())
        })
    }
}

impl OpenCall for Open {
    fn call_id(&self) -> CallId {
        self.intent.as_ref().unwrap().call_id
    }

    fn note(&mut self, usage: &Usage) {
        self.noted = usage.clone();
    }

    fn settle(mut self: Box<Self>, ending: Ending) -> BoxFuture<'static, Result<Receipt, Unavailable>> {
        let intent = self.intent.take().unwrap();
        let ledger = Arc::clone(&self.ledger);
        Box::pin(async move {
            ledger.settling.send_modify(|calls| *calls += 1);
            ledger.settle_gate.acquire().await.unwrap().forget();
            if ledger.settle_fails.load(Ordering::SeqCst) {
                return Err(Memory::unavailable());
            }
            Ok(ledger.write(Row {
                intent,
                ending,
                refused: false,
            }))
        })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(intent) = self.intent.take() {
            let mut ending = Ending::of(Outcome::ClientAborted);
            ending.error_type = Some(name("dropped"));
            self.ledger.write(Row {
                intent,
                ending,
                refused: false,
            });
        }
    }
}

// === Gateway ===

pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) providers: Vec<Provider>,
    pub(crate) proxies: Vec<LlmProxy>,
    pub(crate) keys: Vec<Key>,
    pub(crate) ledger: Arc<Memory>,
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    /// Whether spans of calls are exported.
    pub(crate) traced: bool,
}

pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    pub(crate) tls_addr: Option<SocketAddr>,
    pub(crate) handle: Handle,
    pub(crate) ledger: Arc<Memory>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) ended: tokio::task::JoinHandle<Drained>,
}

impl Setup {
    pub(crate) fn new(providers: Vec<Provider>) -> Self {
        Self {
            limits: Limits::default(),
            providers,
            proxies: Vec::new(),
            keys: vec![key("bot", SECRET)],
            ledger: Memory::new(),
            tls: None,
            traced: false,
        }
    }

    pub(crate) async fn start(self) -> Running {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let tls = self.tls.map(|(certificates, key)| Tls {
            addr: loopback,
            certificates,
            key,
        });
        let config = Config {
            http: loopback,
            tls,
            limits: self.limits,
        };
        let snapshot = Snapshot::new(self.providers, self.keys, None)
            .and_then(|snapshot| snapshot.with_proxies(self.proxies))
            .unwrap()
            .with_traced_attempts(self.traced);
        let gateway = bind(config, snapshot, Arc::new(Shared(Arc::clone(&self.ledger))))
            .await
            .unwrap();
        let shutdown = CancellationToken::new();
        Running {
            addr: gateway.http_addr(),
            tls_addr: gateway.tls_addr(),
            handle: gateway.handle(),
            ledger: self.ledger,
            ended: tokio::spawn(gateway.run(shutdown.clone())),
            shutdown,
        }
    }
}

/// A provider `openai` below `/openai`.
pub(crate) fn openai(upstream: SocketAddr) -> Provider {
    provider("openai", Codec::openai(), &format!("http://{upstream}"))
}

/// A provider below a context of its own name.
pub(crate) fn provider(named: &str, codec: Codec, upstream: &str) -> Provider {
    Provider {
        name: name(named),
        openai_compatible: codec.name().as_str() == "openai",
        codec,
        context: format!("/{named}"),
        upstreams: vec![(Url::parse(upstream).unwrap(), 1)],
        region: None,
        key_in_query: false,
        credential: Some(Credential::header(
            header::AUTHORIZATION,
            HeaderValue::from_static(PROVIDER_SECRET),
        )),
        access: Access::default(),
        timeouts: Timeouts::default(),
        extra_roots: None,
    }
}

impl Running {
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        client().request(request).await.unwrap()
    }

    pub(crate) async fn call(&self, request: Request<Full<Bytes>>) -> (http::response::Parts, Bytes) {
        let (head, body) = self.send(request).await.into_parts();
        (head, body.collect().await.unwrap().to_bytes())
    }

    /// A chat with the gateway's key.
    pub(crate) fn chat(&self, path: &str, body: &'static str) -> Request<Full<Bytes>> {
        self.request(Method::POST, path, body)
    }

    pub(crate) fn request(&self, method: Method, path: &str, body: &'static str) -> Request<Full<Bytes>> {
        Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.addr))
            .header(header::AUTHORIZATION, format!("Bearer {SECRET}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from_static(body.as_bytes())))
            .unwrap()
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// A chat as text, for clients that write their own.
    pub(crate) fn raw_chat(&self, body: &str) -> String {
        format!(
            "POST /openai/v1/chat/completions HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {SECRET}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.addr,
            body.len()
        )
    }
}

pub(crate) fn client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

pub(crate) fn client_h2() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).http2_only(true).build_http()
}

pub(crate) fn error_code(body: &Bytes) -> String {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_else(|_| panic!("{body:?}"));
    body["error"]["code"]
        .as_str()
        .or(body["error"]["type"].as_str())
        .unwrap_or_else(|| panic!("{body}"))
        .to_owned()
}

// === Upstreams ===

/// What an upstream was sent.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: Arc<http::request::Parts>,
    pub(crate) body: Bytes,
}

pub(crate) struct Upstream {
    pub(crate) addr: SocketAddr,
    pub(crate) seen: mpsc::UnboundedReceiver<Seen>,
}

pub(crate) type Answering = Pin<Box<dyn Future<Output = Response<TestBody>> + Send>>;

impl Upstream {
    /// An upstream that answers with what the function makes of each request.
    pub(crate) async fn start<F>(answer: F) -> Self
    where
        F: Fn(Seen) -> Answering + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (tx, seen) = mpsc::unbounded_channel();
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (tx, answer) = (tx.clone(), Arc::clone(&answer));
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| respond(request, tx.clone(), Arc::clone(&answer)));
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        Self { addr, seen }
    }

    /// An upstream that gives every request the same JSON.
    pub(crate) async fn json(status: StatusCode, body: &'static str) -> Self {
        Self::start(move |_| Box::pin(async move { json(status, body) })).await
    }

    /// An upstream that streams what is sent to the channel; one call only.
    pub(crate) async fn stream(content_type: &'static str) -> (Self, mpsc::Sender<Bytes>) {
        let (tx, rx) = mpsc::channel(1);
        let body = Mutex::new(Some(TestBody::Channel(rx)));
        let upstream = Self::start(move |_| {
            let body = body.lock().unwrap().take().unwrap();
            Box::pin(async move {
                let mut response = Response::new(body);
                response
                    .headers_mut()
                    .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
                response
            })
        });
        (upstream.await, tx)
    }

    pub(crate) async fn next(&mut self) -> Seen {
        self.seen.recv().await.unwrap()
    }

    pub(crate) fn was_asked(&mut self) -> bool {
        self.seen.try_recv().is_ok()
    }
}

async fn respond<F>(
    request: Request<Incoming>,
    seen: mpsc::UnboundedSender<Seen>,
    answer: Arc<F>,
) -> Result<Response<TestBody>, std::convert::Infallible>
where
    F: Fn(Seen) -> Answering + Send + Sync + 'static,
{
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let request = Seen {
        head: Arc::new(head),
        body,
    };
    let _ = seen.send(request.clone());
    Ok(answer(request).await)
}

/// An upstream that speaks its own bytes.
pub(crate) async fn raw_upstream<F, R>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(socket));
        }
    });
    addr
}

pub(crate) fn json(status: StatusCode, body: &'static str) -> Response<TestBody> {
    let mut response = Response::new(TestBody::Whole(Some(Bytes::from_static(body.as_bytes()))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(HeaderName::from_static("x-request-id"), HeaderValue::from_static("req-1"));
    response
}

/// A body of one piece, or of what comes through a channel.
pub(crate) enum TestBody {
    Whole(Option<Bytes>),
    Channel(mpsc::Receiver<Bytes>),
}

impl Body for TestBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Channel(rx) => rx.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Self::Whole(bytes) => http_body::SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Channel(_) => http_body::SizeHint::default(),
        }
    }
}

/// The next data frame of a body.
pub(crate) async fn frame(body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
    body.frame()
        .await
        .map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default()))
}

/// A call that asks for something.
pub(crate) fn intent() -> Intent {
    let call_id = CallId::from_parts(1, [1; 10]);
    let key = key("bot", SECRET);
    Intent {
        call_id,
        request_id: call_id.as_request(),
        attempt: 1,
        start_time: tollgate_record::Timestamp::from_unix_us(1000),
        identity: Arc::clone(&key.identity),
        caller: crate::caller::unnamed(&key),
        call: tollgate_record::Call {
            operation_name: name("/"),
            proxy: None,
            provider_name: None,
            template: None,
            upstream: None,
            region: None,
            request_model: None,
            stream: false,
            route_rule: None,
            cache: None,
        },
        request_bytes: 0,
        bears_usage: false,
    }
}
