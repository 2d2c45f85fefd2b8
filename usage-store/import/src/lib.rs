//! Reads exports of other gateways into [`Record`]s: LiteLLM's spend logs, OpenRouter's activity, and CSV in the names of table `usage`.
//!
//! - A file is read row by row, in memory that does not grow with it; [`Rows`] gives each as a record, or says why it is none.
//! - A row's identity follows from the other system's request id alone, so that reading it again gives the same `call_id`.
//! - Money is read from its text, digit by digit; nothing passes through a float. What has more than twelve places is rounded once, half
//!   to even, and the row says so.
//! - What an export does not tell stays unknown. Prompts, answers, addresses and keys that it tells are not taken over.
//!
//! It writes nothing and knows no store.

mod cells;
mod columns;
mod decimal;
mod draft;
mod litellm;
mod openrouter;
pub mod price;
mod problem;
mod rows;
mod split;
#[cfg(test)]
mod tests;
mod time;

pub use columns::{COLUMNS, Column};
pub use problem::{Error, Problem};
pub use rows::{Format, Options, Rows};

#[cfg(doc)]
use tollgate_record::Record;
