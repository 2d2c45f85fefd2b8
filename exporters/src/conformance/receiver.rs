//! A far side over TLS on the loopback: over HTTP/1.1 down to the bytes, so that it can also answer what is no HTTP; over gRPC as in [`super::grpc`].

use std::collections::VecDeque;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flate2::read::GzDecoder;
use rcgen::generate_simple_self_signed;
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::testing::Virtual;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// As it was before compression.
    pub(crate) body: Vec<u8>,
}

/// What it answers.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

/// What it does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Answer(Response),
    /// Cuts the connection before it has looked at the request.
    Cut,
    Hang,
    /// Hands the request on, and answers byte by byte.
    Slow,
    /// Hands the request on, and cuts the connection.
    TakeAndCut,
    Garbage,
}

/// How it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Http1,
    Grpc,
}

type Handler = Arc<dyn Fn(&Request) -> Response + Send + Sync>;

/// A server. It ends when it is dropped.
pub(crate) struct Receiver {
    address: SocketAddr,
    ca: String,
    acts: Arc<Mutex<VecDeque<Act>>>,
    trusted: Arc<Mutex<bool>>,
    accepting: JoinHandle<()>,
}

pub(super) struct Server {
    wire: Wire,
    acts: Arc<Mutex<VecDeque<Act>>>,
    is_aside: fn(&Request) -> bool,
    pub(super) handler: Handler,
    pub(super) clock: Arc<Virtual>,
}

// === impl Request ===

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }
}

// === impl Response ===

impl Response {
    pub(crate) fn of(status: u16, body: &str) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    pub(crate) fn retry_after(status: u16, after: Duration) -> Self {
        Self::of(status, "later").with("retry-after", after.as_secs())
    }

    fn bytes(&self) -> Vec<u8> {
        let headers: String = self
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let head = format!(
            "HTTP/1.1 {} Said\r\n{headers}content-length: {}\r\n\r\n",
            self.status,
            self.body.len()
        );
        [head.as_bytes(), &self.body].concat()
    }
}

// === impl Receiver ===

impl Receiver {
    /// Listens; `handler` answers what no act is set for, and what is aside.
    pub(crate) async fn start(clock: &Arc<Virtual>, wire: Wire, is_aside: fn(&Request) -> bool, handler: Handler) -> Self {
        let (ca, trusted_acceptor) = acceptor(wire);
        let (_, untrusted_acceptor) = acceptor(wire);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (acts, trusted) = (Arc::new(Mutex::default()), Arc::new(Mutex::new(true)));
        let server = Arc::new(Server {
            wire,
            acts: Arc::clone(&acts),
            is_aside,
            handler,
            clock: Arc::clone(clock),
        });
        let is_trusted = Arc::clone(&trusted);
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = if *locked(&is_trusted) {
                    trusted_acceptor.clone()
                } else {
                    untrusted_acceptor.clone()
                };
                connections.spawn(Arc::clone(&server).connection(stream, acceptor));
            }
        });
        Self {
            address,
            ca,
            acts,
            trusted,
            accepting,
        }
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// What to trust, in PEM.
    pub(crate) fn ca(&self) -> &str {
        &self.ca
    }

    /// Does this with the next requests.
    pub(crate) fn next(&self, times: usize, act: &Act) {
        locked(&self.acts).extend(std::iter::repeat_n(act.clone(), times));
    }

    /// Whether new connections are given the certificate that [`Receiver::ca`] is of.
    pub(crate) fn trusted(&self, trusted: bool) {
        *locked(&self.trusted) = trusted;
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

// === impl Server ===

impl Server {
    /// What is done with a request; `None` is what the handler says.
    pub(super) fn act(&self, request: &Request) -> Option<Act> {
        if (self.is_aside)(request) {
            return None;
        }
        locked(&self.acts).pop_front()
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, acceptor: TlsAcceptor) {
        let Ok(mut stream) = acceptor.accept(stream).await else {
            return;
        };
        if self.wire == Wire::Grpc {
            return super::grpc::serve(self, stream).await;
        }
        while let Some(request) = read_request(&mut stream).await {
            let answer = match self.act(&request) {
                None => (self.handler)(&request).bytes(),
                Some(Act::Answer(response)) => response.bytes(),
                Some(Act::Cut) => return,
                Some(Act::Hang) => {
                    let _hung = self.clock.hung();
                    // Until the client goes.
                    let _ = stream.read(&mut [0]).await;
                    return;
                }
                Some(Act::Slow) => {
                    for byte in (self.handler)(&request).bytes() {
                        if stream.write_all(&[byte]).await.is_err() || stream.flush().await.is_err() {
                            return;
                        }
                        tokio::task::yield_now().await;
                    }
                    continue;
                }
                Some(Act::TakeAndCut) => {
                    drop((self.handler)(&request));
                    return;
                }
                Some(Act::Garbage) => b"\x00\xff this is no HTTP \r\n\r\n".to_vec(),
            };
            if stream.write_all(&answer).await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
    }
}

async fn read_request(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let mut request = Request {
        path,
        headers,
        body: Vec::new(),
    };
    // A GET has no body and says no length.
    let length: usize = request.header("content-length").unwrap_or("0").parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    if request.header("content-encoding") == Some("gzip") {
        GzDecoder::new(body.as_slice()).read_to_end(&mut request.body).ok()?;
    } else {
        request.body = body;
    }
    Some(request)
}

/// A certificate for the loopback in PEM, and what serves with it.
fn acceptor(wire: Wire) -> (String, TlsAcceptor) {
    let made = generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    if wire == Wire::Grpc {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    (made.cert.pem(), TlsAcceptor::from(Arc::new(config)))
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
