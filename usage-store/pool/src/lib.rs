//! Shares of budgets among gateways, through Valkey or Redis.
//!
//! What is granted to whom, and why never too much, is written at [`tollgate_budget::pool`]; here is how it is asked for over a network.
//!
//! # Invariants
//! 1. Questions of one instant travel together, as one run of one script: so an answer of the server is whole or none.
//! 2. Connecting and every answer have a limit of time. When it has passed, the connection is given up: an answer that comes late is nobody's.
//! 3. A server that may evict keys is not used: what is granted would be forgotten.
//! 4. Neither errors nor the log have anything of the address but its scheme, host and port.

mod config;
mod error;
mod link;
mod member;
#[cfg(test)]
mod tests;

pub use config::Config;
pub use error::Error;
pub use member::{Member, Stats};
