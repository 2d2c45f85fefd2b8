//! Alerts of budgets: when someone is to be told, and the durable list of what is told.
//!
//! - [`Alert`] is what is told. Its id follows from what it is, so that it is told once however often it comes up.
//! - [`passed`], [`projection`] and [`anomaly`] say when: pure functions of numbers.
//! - [`Book`] keeps alerts, and which webhooks have taken them. It is the [`tollgate_record::notice::Outbox`] of who sends them.
//! - [`alerts_schema`] is that of table `alerts`, [`ALERTS`] what its columns mean.
//!
//! Nothing here sums up rows or sends anything.

#![forbid(unsafe_code)]

mod alert;
pub mod anomaly;
mod book;
mod entry;
mod error;
mod lines;
pub mod projection;
mod table;
#[cfg(test)]
mod testing;
mod written;

pub use alert::{Alert, Cause, passed};
pub use book::{ALERTS_MAX, Book, KEPT_DAYS, Subscriber};
pub use error::Error;
pub use table::{ALERTS, alerts_schema};
