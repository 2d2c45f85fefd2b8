//! How much a model reads and writes at most. Reading the declarations is the controller's work, looking them up that of rating.

use crate::Name;

/// How much a model reads and writes in one call, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Input tokens: the context window.
    pub input_tokens: u64,
    /// Output tokens of one answer.
    pub output_tokens: u64,
    /// Whether the window was declared, and is not that of models of which nothing is known.
    pub input_known: bool,
}

/// Limits of a provider's models, under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelLimits {
    /// Name of the resource.
    pub name: Name,
    /// Provider or template whose models they are.
    pub provider: Name,
    /// Whether they came with the gateway; those of the operator's own win over them.
    pub shipped: bool,
    /// The models, in the order of the file.
    pub models: Vec<ModelLimit>,
}

/// Limits of one model, or of those that a glob means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelLimit {
    /// Model's name, or a glob of `*` and `?`.
    pub model: Name,
    /// The context window.
    pub input_tokens: Option<u64>,
    /// Output tokens of one answer.
    pub output_tokens: Option<u64>,
    /// Where it was read.
    pub source: Option<Box<str>>,
}

// === impl Limits ===

impl Limits {
    /// Of a model of which nothing is known: the largest window that many models have, and the largest answer that most have (November 2026).
    pub const UNKNOWN: Self = Self {
        input_tokens: 1_048_576,
        output_tokens: 131_072,
        input_known: false,
    };
}
