//! Exporters: deliver rows of table `usage` elsewhere, each at least once, without slowing or failing a call.
//!
//! - [`Source`] is where rows come from: the ledger, by place (instance, seq). The backlog is the table itself; nothing is queued in memory.
//! - [`Destination`] is where they go, one kind each. It is given a batch and says what became of it.
//! - [`moesif`] and [`otlp`] are such kinds.

// The rows that tests write out as JSON have more columns than the macro's default depth.
#![cfg_attr(test, recursion_limit = "256")]

mod client;
mod destination;
#[cfg(test)]
mod fixture;
mod gzip;
pub mod moesif;
pub mod otlp;
mod row;
mod source;

pub use client::{ClientError, Tls};
pub use destination::{Delivery, Destination};
pub use row::RowError;
pub use source::{Cursor, Page, Source, SourceError};
