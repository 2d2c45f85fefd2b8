//! The gateway as a whole: binds its listeners, serves until it is told to stop, and then ends in order.
//!
//! 1. Stops accepting; idle connections close, HTTP/2 clients are told to go away, calls in flight go on.
//! 2. At the deadline what still runs is cut off.
//! 3. Returns when every accounting task has ended: no row is lost to a shutdown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollgate_record::Ledger;

use crate::config::{Config, Limits};
use crate::connection::Connections;
use crate::listener::{self, Listener};
use crate::snapshot::Snapshot;
use crate::stats::{Counters, Watcher};
use crate::{Error, signed, tls};

/// What all connections and calls share.
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) snapshot: ArcSwap<Snapshot>,
    pub(crate) ledger: Arc<dyn Ledger>,
    /// Calls that go on without their client. Their rows are what shutdown waits for.
    pub(crate) calls: TaskTracker,
    /// Connections and what belongs to them.
    pub(crate) connections: TaskTracker,
    /// Calls whose client is there.
    pub(crate) open: Arc<AtomicUsize>,
    pub(crate) permits: Arc<Semaphore>,
    /// Memory for bodies of callers who have proven nothing yet, in KiB.
    pub(crate) unproven: Semaphore,
    /// No more connections, and no more calls on those there are.
    pub(crate) stop: CancellationToken,
    /// The deadline has passed.
    pub(crate) cut: CancellationToken,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) counters: Counters,
}

/// A gateway that listens and does not serve yet.
#[derive(Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
    plain: Listener,
    tls: Option<Listener>,
}

/// What can be done to a gateway while it runs; cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// How a gateway ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Calls that had not ended by the deadline and were cut off; each has its row.
    pub calls_cut: usize,
}

/// Binds the listeners; connections wait in the kernel's queue until [`Gateway::run`].
///
/// # Errors
/// [`Error`] if a limit is zero, a certificate cannot be read or an address cannot be listened on.
pub async fn bind(config: Config, snapshot: Snapshot, ledger: Arc<dyn Ledger>) -> Result<Gateway, Error> {
    let Config { http, tls, limits } = config;
    check(&limits)?;
    let acceptor = match &tls {
        Some(tls) => Some(tokio_rustls::TlsAcceptor::from(tls::server_config(tls)?)),
        None => None,
    };
    let plain = Listener::new(listen(http).await?, None).map_err(|source| Error::Listen { addr: http, source })?;
    let tls = match tls.zip(acceptor) {
        Some((tls, acceptor)) => {
            let listener = Listener::new(listen(tls.addr).await?, Some(acceptor));
            Some(listener.map_err(|source| Error::Listen { addr: tls.addr, source })?)
        }
        None => None,
    };
    let shared = Shared {
        snapshot: ArcSwap::from_pointee(snapshot),
        ledger,
        calls: TaskTracker::new(),
        connections: TaskTracker::new(),
        open: Arc::default(),
        permits: Arc::new(Semaphore::new(limits.connections_max.min(Semaphore::MAX_PERMITS))),
        unproven: Semaphore::new(signed::UNPROVEN_KIB_MAX as usize),
        stop: CancellationToken::new(),
        cut: CancellationToken::new(),
        runtime: tokio::runtime::Handle::current(),
        counters: Counters::default(),
        limits,
    };
    Ok(Gateway {
        shared: Arc::new(shared),
        plain,
        tls,
    })
}

// === impl Gateway ===

impl Gateway {
    /// Address of the plain listener.
    pub const fn http_addr(&self) -> SocketAddr {
        self.plain.addr()
    }

    /// Address of the TLS listener, if there is one.
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls.as_ref().map(Listener::addr)
    }

    /// What can be done to the gateway while it runs.
    pub fn handle(&self) -> Handle {
        Handle {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Swaps providers and keys; see [`Handle::replace`].
    pub fn replace(&self, snapshot: Snapshot) {
        self.handle().replace(snapshot);
    }

    /// Serves until `shutdown` is cancelled, then ends in order. Returns when every call has its row.
    ///
    /// # Cancel safety
    /// None: a future dropped half way leaves connections and calls running in their tasks.
    pub async fn run(self, shutdown: CancellationToken) -> Drained {
        let Self { shared, plain, tls } = self;
        let connections = Arc::new(Connections::new(&shared));
        let listeners = TaskTracker::new();
        for listener in std::iter::once(plain).chain(tls) {
            tracing::info!(addr = %listener.addr(), tls = listener.is_tls(), "began to listen");
            listeners.spawn(listener::accept(listener, Arc::clone(&connections)));
        }
        listeners.close();

        shutdown.cancelled().await;
        tracing::info!(calls_open = shared.open.load(Ordering::Relaxed), "began to shut down");
        shared.stop.cancel();
        listeners.wait().await;
        shared.connections.close();
        shared.calls.close();
        let ending = async {
            shared.connections.wait().await;
            shared.calls.wait().await;
        };
        let calls_cut = match tokio::time::timeout(shared.limits.shutdown, ending).await {
            Ok(()) => 0,
            Err(_elapsed) => {
                let calls_cut = shared.open.load(Ordering::Relaxed);
                shared.cut.cancel();
                shared.connections.wait().await;
                shared.calls.wait().await;
                calls_cut
            }
        };
        tracing::info!(calls_cut, "shut down");
        Drained { calls_cut }
    }
}

// === impl Handle ===

impl Handle {
    /// Swaps providers and keys as a whole. Calls that have begun end with those they began with; connections to upstreams that both
    /// snapshots can use stay open.
    pub fn replace(&self, mut snapshot: Snapshot) {
        snapshot.adopt_connections(&self.shared.snapshot.load());
        self.shared.snapshot.store(Arc::new(snapshot));
        tracing::info!("replaced providers and keys");
    }

    /// What can be asked for figures without holding the gateway back from ending.
    pub fn watcher(&self) -> Watcher {
        Watcher(Arc::downgrade(&self.shared))
    }

    /// Calls in flight whose client is there.
    pub fn calls_open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Calls that go on without their client, until they are settled.
    pub fn calls_abandoned(&self) -> usize {
        self.shared.calls.len()
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

async fn listen(addr: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(addr).await.map_err(|source| Error::Listen { addr, source })
}

fn check(limits: &Limits) -> Result<(), Error> {
    let times = [
        ("tls_handshake", limits.tls_handshake),
        ("header_read", limits.header_read),
        ("request_body_read", limits.request_body_read),
        ("keep_alive_idle", limits.keep_alive_idle),
        ("client_stall", limits.client_stall),
        ("http2_ping_interval", limits.http2_ping_interval),
        ("http2_ping_timeout", limits.http2_ping_timeout),
    ];
    let sizes = [
        ("connections_max", limits.connections_max),
        ("header_bytes_max", limits.header_bytes_max),
        ("header_count_max", limits.header_count_max),
        ("http2_streams_max", limits.http2_streams_max as usize),
    ];
    let zero_time = times.iter().find(|(_, time)| time.is_zero()).map(|(limit, _)| limit);
    let zero_size = sizes.iter().find(|(_, size)| *size == 0).map(|(limit, _)| limit);
    zero_time
        .or(zero_size)
        .map_or(Ok(()), |limit| Err(Error::ZeroLimit { limit }))
}
