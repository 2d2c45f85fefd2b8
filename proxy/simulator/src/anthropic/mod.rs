//! Anthropic's interfaces, a file each.

pub(crate) mod batches;
pub(crate) mod messages;
pub(crate) mod models;
