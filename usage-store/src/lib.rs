//! The ledger: a write-ahead log, rows in memory, a Delta Lake table, prices, and the SQL tables over them.
//!
//! - [`Store::open`] recovers a data directory; [`Store::ledger`] is what the request path records calls with.
//! - [`Store::tables`] and [`Offline`] are what SQL reads: one snapshot of everything.
//! - [`rollup`] keeps table `usage_hourly`: calls of an hour added up.
//! - Prices come from crate `tollgate-rating`, a pure function of usage and price lists.
//!
//! It serves no protocol and compiles no query: that is `query-api`.

// Records are large and wander from list to list; boxed, they are not copied when a list grows.
#![allow(clippy::vec_box)]

mod anchor;
mod batch;
pub mod budgets;
pub mod clock;
pub mod contract;
mod date_trunc;
mod dialect;
pub mod disk;
mod error;
pub mod exports;
mod history;
mod hot;
mod ledger;
mod location;
pub mod parquet;
pub mod priority;
mod recovery;
pub mod reference;
mod repair;
pub mod rerate;
mod results;
pub mod rollup;
mod scan;
mod schema;
#[cfg(test)]
mod simulation;
mod stats;
mod store;
pub mod synthetic;
mod table;
mod tables;
#[cfg(test)]
mod testing;
mod upkeep;
mod wal;

pub use batch::usage_batch;
pub use date_trunc::date_trunc;
pub use dialect::dialect;
pub use error::Error;
pub use location::Location;
pub use location::access::{Access, Credentials, Hidden};
pub use repair::{Loss, Repair, repair};
pub use schema::usage_schema;
pub use stats::Stats;
pub use store::import::{Imported, imported, open_calls};
pub use store::{Config, OnRow, Store};
pub use tables::beside::{Beside, Cell, Shown, beside};
pub use tables::{Functions, Named, Offline, Tables, VIEWS, derived};
pub use tollgate_alerts as alerts;
pub use tollgate_rating::{self as rating, LimitBook, PriceBook, Unlisted};
pub use upkeep::Upkeep;
pub use wal::Durability;
