//! SQL over the ledger: an engine that is read-only and bounded, its HTTP endpoint, and the reports that are SQL.
//!
//! - [`Engine`] runs one statement at a time per slot, on threads and memory of its own, and answers with [`Answer`].
//! - [`Format`] writes an answer as JSON, CSV, Arrow, Parquet or text, as it comes.
//! - [`router`] is `POST /api/query/v1/sql`.
//! - [`report`] makes the SQL of the chargeback report.
//!
//! The crate knows tables only through [`tollgate_usage_store::Tables`]; it writes nothing but spill files.

mod answer;
mod check;
mod engine;
mod error;
mod format;
mod http;
mod limits;
mod memory;
mod params;
mod plain;
pub mod report;
mod session;
mod spill;
mod stats;
#[cfg(test)]
mod tests;

pub use answer::{Answer, ByteStream};
pub use engine::{Engine, Query};
pub use error::{Error, Position};
pub use format::{Format, UnknownFormat};
pub use http::{REQUEST_BYTES_MAX, Token, router};
pub use limits::{Limits, memory_bytes};
pub use params::Params;
pub use stats::Stats;
