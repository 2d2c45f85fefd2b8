//! Why the pool could not be asked.

use std::time::Duration;

use redis::RedisError;

/// Why the pool could not be asked. It names the server by scheme, host and port.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is none.
    #[error("{address} is no address of a Redis or Valkey server: {source}")]
    Address {
        /// The server.
        address: String,
        /// Why.
        source: RedisError,
    },
    /// No connection.
    #[error("{address} cannot be connected to: {source}")]
    Connect {
        /// The server.
        address: String,
        /// Why.
        source: RedisError,
    },
    /// No answer.
    #[error("{address} did not answer within {} ms", timeout.as_millis())]
    Slow {
        /// The server.
        address: String,
        /// The limit.
        timeout: Duration,
    },
    /// An error for an answer.
    #[error("{address} answered with an error: {source}")]
    Answer {
        /// The server.
        address: String,
        /// The error.
        source: RedisError,
    },
    /// An answer that is none.
    #[error("{address} answered what it was not asked; is it Redis or Valkey, and is the prefix no one else's?")]
    Malformed {
        /// The server.
        address: String,
    },
    /// The server may forget what was granted.
    #[error(
        "{address} may evict keys (maxmemory-policy {policy}), and with them what gateways were granted; set maxmemory-policy noeviction"
    )]
    Evicts {
        /// The server.
        address: String,
        /// Its policy.
        policy: String,
    },
}
