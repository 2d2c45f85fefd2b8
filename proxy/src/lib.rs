//! The request path: from an accepted connection to one settled call.
//!
//! A request is identified by its gateway key, routed to a provider, admitted by the ledger, forwarded, and metered on its way back;
//! its last byte leaves when its row is written. `call.rs` has the order. What is not here: prices and rows (`tollgate-usage-store`
//! behind [`tollgate_record::Ledger`]), providers' dialects (`tollgate-codec`), and configuration files (`tollgate-controller`).
//!
//! [`bind`] a [`Config`] and a checked [`Snapshot`], keep the [`Handle`] for reloads, and [`Gateway::run`] it.

mod abandon;
mod access;
mod activity;
mod admitted;
mod answer;
mod body;
mod book;
mod call;
mod call_id;
mod caller;
mod config;
mod connection;
mod error;
mod fault;
mod forwarded;
mod gateway;
mod gathered;
mod headers;
mod hosts;
mod identified;
mod identity;
mod key;
mod listener;
mod live;
mod llm_proxy;
mod permitted;
mod presence;
mod provider;
mod read_body;
mod received;
mod refusal;
mod results;
mod results_url;
mod route;
mod rules;
mod sending;
mod signature;
mod signed;
mod snapshot;
mod stats;
mod stream_watch;
mod tls;
mod told;
mod traceparent;
mod transport;
mod upstream;
mod verification;
mod watched_io;

#[cfg(test)]
mod tests;

pub use access::{Access, AccessMode, Exception};
pub use config::{Config, Limits, Tls};
pub use error::Error;
pub use fault::Code;
pub use gateway::{Drained, Gateway, Handle, bind};
pub use key::{CallersMay, Key, KeyHash};
pub use llm_proxy::LlmProxy;
pub use provider::{Credential, Provider, Timeouts};
pub use signature::Signer;
pub use snapshot::Snapshot;
pub use stats::{Stats, Watcher};
pub use verification::AwsKey;
