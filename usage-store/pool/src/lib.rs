//! Shares of budgets among gateways, through Valkey or Redis.
//!
//! What is granted to whom, and why never too much, is written at [`tollgate_budget::pool`]; here is how it is asked for over a network.
//!
//! # Invariants
//! 1. Questions of one instant travel together, as one run of one script: so an answer of the server is whole or none.
//! 2. Connecting and every answer have a limit of time. When it has passed, the connection is given up: an answer that comes late is nobody's.
//! 3. A server that may evict keys is not used: what is granted would be forgotten.
//! 4. Neither errors nor the log have anything of the address but its scheme, host and port.
//!
//! # How a gateway uses it
//! 1. Before the first rules are taken over, [`Member::new`] makes the engine share its budgets, and [`Member::run`] is spawned.
//! 2. `Ledger::granted` is [`Engine::granted`](tollgate_budget::Engine::granted).
//! 3. Whenever a budget's sums were read out of the table, at the load and at every comparison, what others spent is told by gateway:
//!    [`Engine::saw`](tollgate_budget::Engine::saw).
//! 4. When no call is under way any more, the member is stopped and waited for.

mod config;
mod error;
mod link;
mod member;
#[cfg(test)]
mod tests;

pub use config::Config;
pub use error::Error;
pub use member::{Member, Stats};
