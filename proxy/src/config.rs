//! What the gateway listens on and the limits it keeps. Read once at start; what can be reloaded is in [`crate::Snapshot`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where the gateway listens, and its limits.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address of plain HTTP/1.1 and HTTP/2 with prior knowledge; port 0 takes a free one.
    pub http: SocketAddr,
    /// TLS listener, if one is wanted.
    pub tls: Option<Tls>,
    /// Limits against slow, greedy and absent peers.
    pub limits: Limits,
}

/// The TLS listener: HTTP/1.1 and HTTP/2, chosen by ALPN.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Address; port 0 takes a free one.
    pub addr: SocketAddr,
    /// Certificate chain, PEM, leaf first.
    pub certificates: PathBuf,
    /// Private key of the leaf, PEM.
    pub key: PathBuf,
}

/// Limits of the request path. [`Limits::default`] has the named constants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections held at once; further ones wait in the kernel's queue.
    pub connections_max: usize,
    /// Time for a TLS handshake.
    pub tls_handshake: Duration,
    /// Time from the first byte of a request's head to its last; noticed at most once more this time later.
    pub header_read: Duration,
    /// Bytes of a request's target and headers.
    pub header_bytes_max: usize,
    /// Headers of a request.
    pub header_count_max: usize,
    /// Bytes of a request's body.
    pub request_body_bytes_max: u64,
    /// Time from a request's head to the end of its body.
    pub request_body_read: Duration,
    /// Time that a connection without a call is kept.
    pub keep_alive_idle: Duration,
    /// Time that a client may go without reading what it is sent.
    pub client_stall: Duration,
    /// HTTP/2 streams of one connection.
    pub http2_streams_max: u32,
    /// Time after which a silent HTTP/2 client is sent a ping.
    pub http2_ping_interval: Duration,
    /// Time that it has to answer.
    pub http2_ping_timeout: Duration,
    /// Time that the gateway reads on for a client that left.
    pub abandoned_read: Duration,
    /// Bytes that the gateway reads on for a client that left.
    pub abandoned_bytes_max: u64,
    /// Time that calls have to end after shutdown was asked for.
    pub shutdown: Duration,
}

impl Limits {
    /// Default of [`Limits::connections_max`].
    pub const CONNECTIONS_MAX: usize = 16_384;
    /// Default of [`Limits::tls_handshake`].
    pub const TLS_HANDSHAKE: Duration = Duration::from_secs(10);
    /// Default of [`Limits::header_read`].
    pub const HEADER_READ: Duration = Duration::from_secs(10);
    /// Default of [`Limits::header_bytes_max`].
    pub const HEADER_BYTES_MAX: usize = 64 * 1024;
    /// Default of [`Limits::header_count_max`]; up to this hyper parses without allocating.
    pub const HEADER_COUNT_MAX: usize = 100;
    /// Default of [`Limits::request_body_bytes_max`].
    pub const REQUEST_BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;
    /// Default of [`Limits::request_body_read`].
    pub const REQUEST_BODY_READ: Duration = Duration::from_secs(120);
    /// Default of [`Limits::keep_alive_idle`].
    pub const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(90);
    /// Default of [`Limits::client_stall`].
    pub const CLIENT_STALL: Duration = Duration::from_secs(60);
    /// Default of [`Limits::http2_streams_max`].
    pub const HTTP2_STREAMS_MAX: u32 = 256;
    /// Default of [`Limits::http2_ping_interval`].
    pub const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(30);
    /// Default of [`Limits::http2_ping_timeout`].
    pub const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);
    /// Default of [`Limits::abandoned_read`].
    pub const ABANDONED_READ: Duration = Duration::from_secs(120);
    /// Default of [`Limits::abandoned_bytes_max`].
    pub const ABANDONED_BYTES_MAX: u64 = 16 * 1024 * 1024;
    /// Default of [`Limits::shutdown`].
    pub const SHUTDOWN: Duration = Duration::from_secs(30);
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: Self::CONNECTIONS_MAX,
            tls_handshake: Self::TLS_HANDSHAKE,
            header_read: Self::HEADER_READ,
            header_bytes_max: Self::HEADER_BYTES_MAX,
            header_count_max: Self::HEADER_COUNT_MAX,
            request_body_bytes_max: Self::REQUEST_BODY_BYTES_MAX,
            request_body_read: Self::REQUEST_BODY_READ,
            keep_alive_idle: Self::KEEP_ALIVE_IDLE,
            client_stall: Self::CLIENT_STALL,
            http2_streams_max: Self::HTTP2_STREAMS_MAX,
            http2_ping_interval: Self::HTTP2_PING_INTERVAL,
            http2_ping_timeout: Self::HTTP2_PING_TIMEOUT,
            abandoned_read: Self::ABANDONED_READ,
            abandoned_bytes_max: Self::ABANDONED_BYTES_MAX,
            shutdown: Self::SHUTDOWN,
        }
    }
}
