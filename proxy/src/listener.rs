//! Accepts connections, as many as the limit allows; further ones wait in the kernel's queue.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsAcceptor;

use crate::connection::Connections;

/// Pause after a failed accept, such as for want of file descriptors: trying again at once would only burn time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound socket.
pub(crate) struct Listener {
    socket: TcpListener,
    addr: SocketAddr,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    pub(crate) fn new(socket: TcpListener, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        let addr = socket.local_addr()?;
        Ok(Self { socket, addr, tls })
    }

    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Listener({})", self.addr)
    }
}

/// Accepts connections until the gateway stops.
pub(crate) async fn accept(listener: Listener, connections: Arc<Connections>) {
    let shared = Arc::clone(connections.shared());
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            accepted = next(&listener.socket, &connections) => accepted,
        };
        match accepted {
            Some(Ok((socket, permit))) => {
                let (connections, tls) = (Arc::clone(&connections), listener.tls.clone());
                shared.connections.spawn(async move {
                    serve(socket, tls, &connections).await;
                    drop(permit);
                });
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            None => return,
        }
    }
}

async fn next(socket: &TcpListener, connections: &Connections) -> Option<io::Result<(TcpStream, OwnedSemaphorePermit)>> {
    let permit = Arc::clone(&connections.shared().permits).acquire_owned().await.ok()?;
    Some(socket.accept().await.map(|(socket, _peer)| (socket, permit)))
}

async fn serve(socket: TcpStream, tls: Option<TlsAcceptor>, connections: &Arc<Connections>) {
    // Without it small frames of a stream would wait for the client's acknowledgements.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "failed to set up a connection");
        return;
    }
    let Some(acceptor) = tls else {
        connections.serve(socket, false).await;
        return;
    };
    let shared = connections.shared();
    let handshake = tokio::select! {
        handshake = tokio::time::timeout(shared.limits.tls_handshake, acceptor.accept(socket)) => handshake,
        () = shared.stop.cancelled() => return,
    };
    match handshake {
        Ok(Ok(stream)) => connections.serve(stream, true).await,
        Ok(Err(error)) => tracing::debug!(%error, "failed a TLS handshake"),
        Err(_elapsed) => tracing::debug!("timed out in a TLS handshake"),
    }
}
