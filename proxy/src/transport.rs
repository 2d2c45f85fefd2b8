//! Connections to upstreams: pooled HTTP/1.1, and HTTP/2 where TLS negotiates it. Says of a failure what kind it is.

use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiAddrs, GaiResolver, Name as HostName};
use hyper_util::client::legacy::{Client, Error as ClientError, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tower_service::Service;

use crate::fault::Fault;
use crate::{Error, tls};

/// Time that an idle connection to an upstream is kept.
pub(crate) const POOL_IDLE: Duration = Duration::from_secs(90);
/// Time after which a silent TCP connection to an upstream is probed.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
/// HTTP/2 windows towards upstreams, in bytes: of a stream and of a connection.
const HTTP2_WINDOWS: (u32, u32) = (2 * 1024 * 1024, 8 * 1024 * 1024);
/// Time after which an HTTP/2 upstream with open calls is sent a ping, and the time that it has to answer.
const HTTP2_PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

type BoxError = Box<dyn StdError + Send + Sync>;

/// What connections depend on; providers that agree in it share a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TransportKey {
    pub(crate) connect_timeout: Duration,
    pub(crate) extra_roots: Option<Vec<CertificateDer<'static>>>,
}

/// A pool of connections; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    key: Arc<TransportKey>,
    client: Client<Connect, Full<Bytes>>,
}

impl TransportKey {
    pub(crate) fn new(connect_timeout: Duration, extra_roots: Option<&PathBuf>) -> Result<Self, Error> {
        let extra_roots = extra_roots.map(|path| read_roots(path)).transpose()?;
        Ok(Self {
            connect_timeout,
            extra_roots,
        })
    }
}

impl Transport {
    pub(crate) fn new(key: TransportKey, system_roots: &RootCertStore) -> Self {
        let mut roots = system_roots.clone();
        // What is no certificate was refused when the file was read.
        roots.add_parsable_certificates(key.extra_roots.iter().flatten().cloned());
        let config = ClientConfig::builder_with_provider(tls::crypto())
            .with_safe_default_protocol_versions()
            .expect("ring supports the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();

        let mut tcp = HttpConnector::new_with_resolver(Resolver(GaiResolver::new()));
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(TCP_KEEPALIVE));
        tcp.enforce_http(false);
        let inner = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(tcp);
        let connect = Connect(Arc::new((inner, key.connect_timeout)));

        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(usize::MAX)
            .http2_initial_stream_window_size(HTTP2_WINDOWS.0)
            .http2_initial_connection_window_size(HTTP2_WINDOWS.1)
            .http2_keep_alive_interval(HTTP2_PING.0)
            .http2_keep_alive_timeout(HTTP2_PING.1)
            .build(connect);
        Self {
            key: Arc::new(key),
            client,
        }
    }

    pub(crate) fn key(&self) -> &TransportKey {
        &self.key
    }

    /// Sends a request; dropping the future gives it up.
    pub(crate) fn send(&self, request: Request<Full<Bytes>>) -> ResponseFuture {
        self.client.request(request)
    }
}

/// The system's trusted certificates; without any, only a provider's own are trusted.
pub(crate) fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _ignored) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::warn!("found no trusted certificates on this system");
    }
    roots
}

fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates = tls::read_certificates(path)?;
    let mut store = RootCertStore::empty();
    for certificate in &certificates {
        store.add(certificate.clone()).map_err(|error| Error::Pem {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
    }
    Ok(certificates)
}

// === Failures ===

/// What a failed request says about the upstream. No part of the error is shown to the client but its kind.
pub(crate) fn fault_of(error: &ClientError) -> Fault {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(link) = cause {
        // An io::Error passes over what it wraps when asked for its source.
        let wrapped = link.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(fault) = fault_of_link(link).or_else(|| fault_of_link(wrapped?)) {
            return fault;
        }
        cause = wrapped.map_or_else(|| link.source(), |wrapped| Some(wrapped));
    }
    if error.is_connect() {
        Fault::UpstreamConnectFailed
    } else {
        Fault::UpstreamReset
    }
}

fn fault_of_link(link: &(dyn StdError + 'static)) -> Option<Fault> {
    if link.is::<ConnectTimedOut>() {
        Some(Fault::UpstreamConnectTimeout)
    } else if link.is::<LookupFailed>() {
        Some(Fault::UpstreamLookupFailed)
    } else if link.is::<rustls::Error>() {
        Some(Fault::UpstreamTlsFailed)
    } else if link.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
        Some(Fault::UpstreamProtocol)
    } else {
        None
    }
}

/// The causes of an error in one line, for the log.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(link) = cause {
        line.push_str(": ");
        line.push_str(&link.to_string());
        cause = link.source();
    }
    line
}

#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the connection was not established within {0:?}")]
struct ConnectTimedOut(Duration);

#[derive(Debug, thiserror::Error)]
#[error("the host's name could not be looked up")]
struct LookupFailed(#[source] std::io::Error);

// === Connect: a connector with one time limit for lookup, TCP and TLS ===

/// Shared: the client clones its connector for every call, and needs one of its own for a new connection only.
#[derive(Clone, Debug)]
struct Connect(Arc<(HttpsConnector<HttpConnector<Resolver>>, Duration)>);

impl Service<Uri> for Connect {
    type Response = <HttpsConnector<HttpConnector<Resolver>> as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (mut inner, limit) = (self.0.0.clone(), self.0.1);
        Box::pin(async move {
            let connecting = async {
                std::future::poll_fn(|cx| inner.poll_ready(cx)).await?;
                inner.call(uri).await
            };
            match tokio::time::timeout(limit, connecting).await {
                Ok(connected) => connected,
                Err(_elapsed) => Err(ConnectTimedOut(limit).into()),
            }
        })
    }
}

// === Resolver: the system's, with failures that can be told from refused connections ===

#[derive(Clone, Debug)]
struct Resolver(GaiResolver);

impl Service<HostName> for Resolver {
    type Response = GaiAddrs;
    type Error = LookupFailed;
    type Future = Pin<Box<dyn Future<Output = Result<GaiAddrs, LookupFailed>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LookupFailed>> {
        self.0.poll_ready(cx).map_err(LookupFailed)
    }

    fn call(&mut self, name: HostName) -> Self::Future {
        let looking_up = self.0.call(name);
        Box::pin(async move { looking_up.await.map_err(LookupFailed) })
    }
}
