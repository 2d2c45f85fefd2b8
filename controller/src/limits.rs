//! `spec.limits` of a Gateway: what one client, and all of them, may take. The names are those of the request path.

use std::time::Duration;

use crate::field::Fields;

const CONNECTIONS_MAX: u64 = 16_384;
const TLS_HANDSHAKE: Duration = Duration::from_secs(10);
const HEADER_READ: Duration = Duration::from_secs(10);
const HEADER_BYTES_MAX: u64 = 64 << 10;
const HEADER_COUNT_MAX: u64 = 100;
const REQUEST_BODY_BYTES_MAX: u64 = 64 << 20;
const REQUEST_BODY_READ: Duration = Duration::from_secs(120);
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(90);
const CLIENT_STALL: Duration = Duration::from_secs(60);
const HTTP2_STREAMS_MAX: u64 = 256;
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(30);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);
const ABANDONED_READ: Duration = Duration::from_secs(120);
const ABANDONED_BYTES_MAX: u64 = 16 << 20;
const SHUTDOWN: Duration = Duration::from_secs(30);

/// Shortest and longest of these times.
const TIME_MIN: Duration = Duration::from_millis(10);
const TIME_MAX: Duration = Duration::from_secs(3600);

/// What clients are allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections held at once.
    pub connections_max: usize,
    /// Time for a TLS handshake.
    pub tls_handshake: Duration,
    /// Time for the head of a request.
    pub header_read: Duration,
    /// Bytes of a request's target and headers; beyond it 431.
    pub header_bytes_max: usize,
    /// Headers of a request; beyond it 431.
    pub header_count_max: usize,
    /// Bytes of a request's body; beyond it 413.
    pub request_body_bytes_max: u64,
    /// Time for the body of a request.
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
    /// Time that calls have to end after a signal to stop.
    pub shutdown: Duration,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: count(CONNECTIONS_MAX),
            tls_handshake: TLS_HANDSHAKE,
            header_read: HEADER_READ,
            header_bytes_max: count(HEADER_BYTES_MAX),
            header_count_max: count(HEADER_COUNT_MAX),
            request_body_bytes_max: REQUEST_BODY_BYTES_MAX,
            request_body_read: REQUEST_BODY_READ,
            keep_alive_idle: KEEP_ALIVE_IDLE,
            client_stall: CLIENT_STALL,
            http2_streams_max: small(HTTP2_STREAMS_MAX),
            http2_ping_interval: HTTP2_PING_INTERVAL,
            http2_ping_timeout: HTTP2_PING_TIMEOUT,
            abandoned_read: ABANDONED_READ,
            abandoned_bytes_max: ABANDONED_BYTES_MAX,
            shutdown: SHUTDOWN,
        }
    }
}

impl Limits {
    pub(crate) fn read(mut fields: Fields<'_>) -> Self {
        let times = TIME_MIN..=TIME_MAX;
        let limits = Self {
            connections_max: count(fields.integer("connections_max", CONNECTIONS_MAX, 1..=1_000_000)),
            tls_handshake: fields.duration("tls_handshake", TLS_HANDSHAKE, times.clone()),
            header_read: fields.duration("header_read", HEADER_READ, times.clone()),
            // The lower bound is the least that hyper reads at a time.
            header_bytes_max: count(fields.size("header_bytes_max", HEADER_BYTES_MAX, 8 << 10..=1 << 20)),
            header_count_max: count(fields.integer("header_count_max", HEADER_COUNT_MAX, 16..=1000)),
            request_body_bytes_max: fields.size("request_body_bytes_max", REQUEST_BODY_BYTES_MAX, 1 << 10..=1 << 30),
            request_body_read: fields.duration("request_body_read", REQUEST_BODY_READ, times.clone()),
            keep_alive_idle: fields.duration("keep_alive_idle", KEEP_ALIVE_IDLE, times.clone()),
            client_stall: fields.duration("client_stall", CLIENT_STALL, times.clone()),
            http2_streams_max: small(fields.integer("http2_streams_max", HTTP2_STREAMS_MAX, 1..=10_000)),
            http2_ping_interval: fields.duration("http2_ping_interval", HTTP2_PING_INTERVAL, times.clone()),
            http2_ping_timeout: fields.duration("http2_ping_timeout", HTTP2_PING_TIMEOUT, times.clone()),
            abandoned_read: fields.duration("abandoned_read", ABANDONED_READ, times.clone()),
            abandoned_bytes_max: fields.size("abandoned_bytes_max", ABANDONED_BYTES_MAX, 1 << 10..=1 << 30),
            shutdown: fields.duration("shutdown", SHUTDOWN, times),
        };
        fields.finish();
        limits
    }
}

/// A count, which its range keeps far below what a `usize` holds.
pub(crate) fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A count, which its range keeps far below what a `u32` holds.
fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
