//! Budgets and rate limits as counters: what calls may still use, decided before they are made.
//!
//! A budget is `SELECT sum(cost) FROM usage WHERE <when> AND <window> GROUP BY <per>` that refuses. Here that sum is kept as counters, beside what is set
//! aside for calls that have not ended. Which rules a call is for is told by a [`Matcher`], what it can come to by a [`Pricing`]: this crate knows neither
//! SQL nor prices.
//!
//! [`backtest`] tells what a rule would have refused of calls that were made.
//!
//! # Invariants
//! 1. `spent` of a counter is the sum over the rows that were given to [`Engine::post`] or [`Engine::load`], each once; [`Engine::post`] is called
//!    for a row at the instant at which queries begin to see it. So a query of that instant has the same sum.
//! 2. What is set aside for a call on all of its counters is set aside at once, or on none.
//! 3. It is given back when its row is posted, not before: what a call came to is never missing from both sums.
//! 4. Under a budget with a worst case, `spent + reserved <= limit` after every admission. If rows cost no more than the worst case they were admitted
//!    with, `spent <= limit` always.
//! 5. Where gateways [share](pool) budgets, each holds calls against what it was granted of a counter: `own + reserved <= granted`, and the sum of
//!    all that is granted is within the limit, whatever the others do and however late their rows are seen.
//! 6. One lock guards all counters. It is held for as long as a few counters take, never for I/O.

pub mod backtest;
mod bucket;
mod counter;
mod decide;
mod engine;
mod facts;
mod lease;
mod packed;
pub mod pool;
mod recent;
mod rules;
mod sharing;
#[cfg(test)]
mod tests;
mod window;

pub use counter::{Standing, Sum};
pub use decide::{Pricing, WorstCase};
pub use engine::{Crossing, Engine, Leases, Seen};
pub use facts::Facts;
pub use rules::{BudgetRule, Matcher, RateRule, RuleId, Rules, measured};
pub use window::{Span, span, step_us};
