//! Resources: what a configuration declares, read from YAML, checked whole, and handed on as typed values.
//!
//! - [`load()`] reads a file or folder into [`Resources`], or says everything that is wrong with it ([`Problems`]).
//! - [`Watch`] notices that it has changed. A change is taken whole or not at all.
//! - [`Condition`] is SQL that is still to be read, and knows where it stands.
//! - [`price_lists`] reads the price lists of a file alone.
//! - [`shipped_prices`] reads the price lists that come with the gateway, [`shipped_limits`] the limits of models.
//!
//! `docs/configuration.md` is the reference of every field; a test loads its examples and holds its defaults against this code.
//! Nothing here listens, forwards or stores: the data plane and the ledger get plain values, and the binary wires them.

pub mod access;
mod alert_webhook;
mod ambiguous;
mod budget;
pub mod condition;
mod cross;
mod dimension;
pub mod exporter;
mod field;
pub mod gateway;
pub mod hierarchy;
mod interpolate;
mod key;
pub mod ledger;
pub mod limits;
pub mod llm_proxy;
mod load;
mod model_limits;
mod names;
mod nearest;
mod places;
pub mod pool;
mod price;
mod problem;
pub mod provider;
mod quantity;
mod rate_limit;
mod secret;
mod source;
pub mod table;
pub mod template;
mod terms;
pub mod upstream;
mod value;
mod watch;
mod window;
mod yaml;

#[cfg(test)]
mod tests;

pub use alert_webhook::AlertWebhook;
pub use condition::{Condition, ConditionOf};
pub use exporter::Exporter;
pub use gateway::Gateway;
pub use hierarchy::Hierarchy;
pub use key::{ApiKey, AwsCredentials, CallersMay, KEY_CHARS_MAX, KEY_CHARS_MIN, SECRET_ACCESS_KEY_CHARS_MIN};
pub use llm_proxy::LlmProxy;
pub use load::{DeclaredPrices, Resources, load, price_lists, shipped_limits, shipped_prices};
pub use problem::{Problem, Problems};
pub use provider::LlmProvider;
pub use secret::{KeyHash, Pem, Secret};
pub use source::{FILE_BYTES_MAX, FILES_MAX, Fingerprint, REFERENCE_BYTES_MAX};
pub use template::LlmProviderTemplate;
pub use watch::{Environment, Watch};
