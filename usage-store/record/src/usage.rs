//! What a call used, as its provider reported it, in one convention.
//!
//! Providers disagree on whether cached, written and reasoning tokens stand inside or beside the totals. Codecs translate into this
//! convention, and nothing behind them has to know: `input` holds everything that was sent (cache reads and writes inside),
//! `output` everything that was generated (reasoning inside). `None` is "not reported", `Some(0)` is "reported as zero".

use serde::{Deserialize, Serialize};

use crate::Name;

/// Where the counts come from. Durable: never reordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum UsageSource {
    /// Nothing is known, or the call cannot use tokens.
    #[default]
    None,
    /// The provider said so.
    Reported,
    /// The gateway counted or guessed, at least in part.
    Estimated,
}

/// A usage field that no codec knows: kept, shown, and never priced silently at zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownUsage {
    /// Path of the field inside the provider's usage object.
    pub field: Box<str>,
    /// Its value; fields that are zero or null are not kept.
    pub quantity: u64,
}

/// Token counts and other billable quantities of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Where the counts come from.
    pub source: UsageSource,
    /// All input tokens: uncached, read from cache, written to cache, of every modality.
    pub input: Option<u64>,
    /// Input tokens read from a cache; inside `input`.
    pub cache_read: Option<u64>,
    /// Input tokens written to a cache, of every lifetime; inside `input`.
    pub cache_creation: Option<u64>,
    /// Tokens written with a lifetime of five minutes; inside `cache_creation`.
    pub cache_creation_5m: Option<u64>,
    /// Tokens written with a lifetime of one hour; inside `cache_creation`.
    pub cache_creation_1h: Option<u64>,
    /// Audio tokens that are neither read from nor written to a cache; inside `input`.
    pub audio_in: Option<u64>,
    /// All output tokens, reasoning and audio included.
    pub output: Option<u64>,
    /// Reasoning tokens; inside `output`.
    pub reasoning: Option<u64>,
    /// Audio tokens generated; inside `output`.
    pub audio_out: Option<u64>,
    /// Web searches that the provider made and bills by the call.
    pub web_search: Option<u64>,
    /// Tokens that the provider says are left in its own rate limit.
    pub remaining: Option<u64>,
    /// Service tier that the provider says it used, where that is not its standard one.
    pub service_tier: Option<Name>,
    /// Region that the provider says it used, where its price depends on it.
    pub region: Option<Name>,
    /// Fields that no codec knows.
    pub unknown: Vec<UnknownUsage>,
}

// === impl UsageSource ===

impl UsageSource {
    /// The value as it stands in column `usage_source`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Reported => "reported",
            Self::Estimated => "estimated",
        }
    }
}

// === impl Usage ===

impl Usage {
    /// Most unknown fields kept of one call.
    pub const MAX_UNKNOWN: usize = 16;

    /// Whether the provider or the gateway counted anything.
    pub const fn is_known(&self) -> bool {
        self.input.is_some() || self.output.is_some()
    }
}
