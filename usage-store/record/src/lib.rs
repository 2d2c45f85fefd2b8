//! The vocabulary of the ledger: what one call is, what it used, what it cost, and which columns that becomes.
//!
//! Types only. No I/O, no runtime, no query engine: the data plane, the store and the controller all speak in these words,
//! and none of them compiles the others to do so.
//!
//! - [`Intent`] is a call that asks to be admitted, [`Ending`] how it ended, [`Record`] the row that both become.
//! - [`Ledger`] and [`OpenCall`] are the boundary between the request path and the store.
//! - [`FetchedResults`] are results of a batch, each a row of its own, once.
//! - [`Amount`] is money, [`Usage`] is tokens, [`Charge`] is quantity times price.
//! - [`admission`] is what is decided before a call is made, [`rule`] by what: budgets and rate limits.
//! - [`notice`] is what webhooks are told, and where that is kept until they have taken it.
//! - [`ModelRules`] say which models may be called, [`AccessRules`] what the calls of a key, a service or a team may be.
//! - [`limits`] are how much models read and write at most.
//! - [`ModelRules`] say which models may be called.
//! - [`column::USAGE`] declares every column of table `usage` once.

mod access;
pub mod admission;
mod amount;
pub mod batch;
pub mod charge;
pub mod column;
mod id;
mod identity;
mod ledger;
pub mod limits;
mod model_rules;
mod name;
pub mod notice;
mod outcome;
pub mod price;
mod record;
pub mod rule;
mod usage;

pub use access::{AccessRules, Holder};
pub use amount::{Amount, AmountError};
pub use batch::{BatchResult, FetchedResults, ResultsId};
pub use charge::{Charge, Cost, CostStatus, Meter};
pub use id::{CallId, RequestId, Seq, Timestamp};
pub use identity::{Caller, Identity, Tags};
pub use ledger::{BoxFuture, Ending, Intent, Ledger, OpenCall, Receipt, Unavailable};
pub use model_rules::{ModelGlob, ModelGlobError, ModelRules};
pub use name::{Name, NameError};
pub use outcome::{Decision, Outcome};
pub use price::{Adjustment, Payer, Precedence, Price, PriceList, Terms};
pub use record::{Call, Record};
pub use usage::{Part, UnknownUsage, Usage, UsageSource};
