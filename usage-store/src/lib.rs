//! The ledger.

mod tables;

pub use tables::{Tables, VIEWS};
