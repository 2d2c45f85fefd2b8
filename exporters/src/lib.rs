//! Exporters: deliver rows of table `usage` elsewhere, each at least once, without slowing or failing a call.
//!
//! - [`Source`] is where rows come from: the ledger, by place (instance, seq). The backlog is the table itself; nothing is queued in memory.
//! - [`Destination`] is where they go, one kind each. It is given a batch and says what became of it.
//! - [`open`] makes an [`Exporter`], which is told what to do and asked how it is ([`Status`]), and a [`Runner`], which delivers.
//! - [`Settings`] say how, whatever the kind: [`Start`], [`BatchLimits`], [`Shape`] (sample, columns, redaction), [`Backoff`], [`BreakerLimits`].
//! - [`DeadLetter`] is a row that the far side will never take.
//! - [`notice`] sends alerts to webhooks: no rows, no cursor, but the same clients, signatures and waits.
//! - [`webhook`], [`files`], [`moesif`] and [`otlp`] are kinds.

#![forbid(unsafe_code)]
// The rows that tests write out as JSON have more columns than the macro's default depth.
#![cfg_attr(test, recursion_limit = "256")]

mod ambient;
mod backoff;
mod batch;
mod breaker;
mod client;
#[cfg(test)]
mod conformance;
mod cursor;
mod dead;
mod destination;
mod durable;
mod error;
mod exporter;
pub mod files;
#[cfg(test)]
mod fixture;
mod flight;
mod gzip;
mod http;
mod json;
pub mod moesif;
pub mod notice;
pub mod otlp;
pub mod prometheus;
mod replay;
mod row;
mod rows;
mod runner;
mod schema;
mod settings;
mod shape;
mod source;
mod split;
mod status;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod webhook;

pub use ambient::{Ambient, System};
pub use backoff::{Backoff, RETRY_AFTER_MAX};
pub use breaker::BreakerLimits;
pub use client::{ClientError, Tls};
pub use dead::{DEAD_BYTES_MAX, DeadLetter};
pub use destination::{Delivery, Destination};
pub use error::Error;
pub use exporter::{Exporter, open};
pub use row::RowError;
pub use runner::Runner;
pub use schema::usage_schema;
pub use settings::{BatchLimits, Settings, Start};
pub use shape::{ALWAYS, Part, Redaction, Shape, Share};
pub use source::{Cursor, Page, Source, SourceError};
pub use status::{State, Status};
