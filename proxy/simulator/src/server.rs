//! The listener and its connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::handler::{Context, handle};
use crate::seen::Seen;
use crate::socket::Socket;
use crate::store::Store;

/// Where the simulator listens unless told otherwise.
pub const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9801);
/// The largest request body that is read, in bytes.
pub const BODY_BYTES_MAX_DEFAULT: usize = 64 * 1024 * 1024;
/// How long running answers may take to end at shutdown.
pub const DRAIN_DEFAULT: Duration = Duration::from_secs(2);
/// How long to wait before accepting again where accepting failed (the process has too many files open).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What can go wrong outside a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: choose another address with --listen")]
    Bind {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
}

/// How a simulator runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address to listen on; port 0 lets the operating system choose one.
    pub listen: SocketAddr,
    /// The largest request body that is read, in bytes; beyond it the answer is 413.
    pub body_bytes_max: usize,
    /// How long running answers may take to end at shutdown; then their connections are closed.
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: LISTEN_DEFAULT,
            body_bytes_max: BODY_BYTES_MAX_DEFAULT,
            drain: DRAIN_DEFAULT,
        }
    }
}

/// A simulator that listens; [`Server::run`] makes it answer.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    config: Config,
}

/// Listens on the configured address.
///
/// # Errors
/// [`Error::Bind`] where the address is taken or not ours.
pub async fn bind(config: Config) -> Result<Server, Error> {
    let address = config.listen;
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let local_addr = listener.local_addr()?;
        Ok((listener, local_addr))
    };
    let (listener, local_addr) = bound.await.map_err(|source| Error::Bind { address, source })?;
    Ok(Server {
        listener,
        local_addr,
        config,
    })
}

impl Server {
    /// The address that is listened on, with the port that was chosen.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Answers requests until `shutdown` completes, then lets running answers end within the configured time.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listener and every connection at once.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { listener, config, .. } = self;
        let context = Arc::new(Context {
            seen: Seen::new(),
            store: Store::default(),
            body_bytes_max: config.body_bytes_max,
            sequence: AtomicU64::new(0),
        });
        let (stop, stopped) = watch::channel(());
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(serve(stream, Arc::clone(&context), stopped.clone()));
                    }
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
        drop((listener, stop));
        let ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(config.drain, ended).await.is_err() {
            connections.shutdown().await;
        }
    }
}

/// Serves one connection until it closes; when `stopped` closes, until its running answers have ended.
async fn serve(stream: TcpStream, context: Arc<Context>, mut stopped: watch::Receiver<()>) {
    // An event must not wait for the one after it; where this fails the connection is gone already.
    let _ = stream.set_nodelay(true);
    let reset = Arc::new(AtomicBool::new(false));
    let io = TokioIo::new(Socket::new(stream, Arc::clone(&reset)));
    let service = service_fn(move |request| handle(Arc::clone(&context), Arc::clone(&reset), request));
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut connection = std::pin::pin!(builder.serve_connection(io, service));
    // How a connection ends is the peer's matter: cut, reset and broken ones are what this server is for.
    let ended = tokio::select! {
        _ = connection.as_mut() => true,
        _ = stopped.changed() => false,
    };
    if !ended {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}
