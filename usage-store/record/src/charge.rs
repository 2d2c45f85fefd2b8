//! What a call cost, explained line by line.

use serde::{Deserialize, Serialize};

use crate::{Amount, Name};

/// What is counted for money. Durable: never renamed, reordered or reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Meter {
    /// Input tokens that no other meter counts.
    Input,
    /// Input tokens read from a cache.
    CacheRead,
    /// Input tokens written to a cache, of a lifetime that was not told.
    CacheWrite,
    /// Input tokens written to a cache for five minutes.
    CacheWrite5m,
    /// Input tokens written to a cache for an hour.
    CacheWrite1h,
    /// Output tokens that no other meter counts.
    Output,
    /// Reasoning tokens, where they have a price of their own.
    Reasoning,
    /// Audio input tokens.
    AudioIn,
    /// Audio output tokens.
    AudioOut,
    /// Images.
    Image,
    /// Web searches.
    WebSearch,
    /// The call itself.
    Request,
    /// Seconds of audio or video.
    Second,
    /// Characters of text.
    Character,
    /// Pages of a document.
    Page,
    /// Calls of a tool.
    ToolCall,
    /// A usage field that no codec knows; it has no price.
    Unknown,
}

/// One line of a call's bill: `amount = quantity * unit_price`, rounded once, half to even.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// What was counted.
    pub meter: Meter,
    /// The field's path, for [`Meter::Unknown`].
    pub field: Option<Box<str>>,
    /// How much.
    pub quantity: Amount,
    /// Price of one unit after discount; `None` is "no price is known".
    pub unit_price: Option<Amount>,
    /// Quantity times price; `None` is "no price is known".
    pub amount: Option<Amount>,
}

/// How sure a cost is. Durable: never reordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CostStatus {
    /// Reported usage at a known price.
    Priced,
    /// Estimated usage at a known price.
    Estimated,
    /// Something that was used has no known price: `cost` is absent or only the known part.
    Unpriced,
    /// Nothing was used that could cost: a refusal, a failed call, a free endpoint.
    Free,
}

/// What a call cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// How sure it is.
    pub status: CostStatus,
    /// What is owed: the sum of the charges that have an amount; `None` if none has.
    pub cost: Option<Amount>,
    /// What would be owed without discounts.
    pub list_cost: Option<Amount>,
    /// What a cache of the gateway saved.
    pub avoided_cost: Option<Amount>,
    /// ISO 4217 code of the amounts.
    pub currency: Option<Name>,
    /// Version of the price list that was applied.
    pub price_version: Option<Name>,
    /// The lines.
    pub charges: Vec<Charge>,
}

// === impl Meter ===

impl Meter {
    /// Every meter that can have a price.
    pub const PRICED: [Self; 16] = [
        Self::Input,
        Self::CacheRead,
        Self::CacheWrite,
        Self::CacheWrite5m,
        Self::CacheWrite1h,
        Self::Output,
        Self::Reasoning,
        Self::AudioIn,
        Self::AudioOut,
        Self::Image,
        Self::WebSearch,
        Self::Request,
        Self::Second,
        Self::Character,
        Self::Page,
        Self::ToolCall,
    ];

    /// The value as it stands in `charges.meter` and in price lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::CacheRead => "cache_read",
            Self::CacheWrite => "cache_write",
            Self::CacheWrite5m => "cache_write_5m",
            Self::CacheWrite1h => "cache_write_1h",
            Self::Output => "output",
            Self::Reasoning => "reasoning",
            Self::AudioIn => "audio_in",
            Self::AudioOut => "audio_out",
            Self::Image => "image",
            Self::WebSearch => "web_search",
            Self::Request => "request",
            Self::Second => "second",
            Self::Character => "character",
            Self::Page => "page",
            Self::ToolCall => "tool_call",
            Self::Unknown => "unknown",
        }
    }

    /// The unit of its quantity, as it stands in `charges.unit`.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::WebSearch => "search",
            Self::Request => "request",
            Self::Second => "second",
            Self::Character => "character",
            Self::Page => "page",
            Self::ToolCall => "call",
            Self::Unknown => "unknown",
            _ => "token",
        }
    }

    /// The meter of a name in a price list.
    pub fn parse(text: &str) -> Option<Self> {
        Self::PRICED.into_iter().find(|meter| meter.as_str() == text)
    }
}

impl Charge {
    /// The text of `charges.meter`: the meter's name, or `unknown:` and the field's path.
    pub fn meter_text(&self) -> std::borrow::Cow<'_, str> {
        match &self.field {
            Some(field) => format!("{}:{field}", self.meter.as_str()).into(),
            None => self.meter.as_str().into(),
        }
    }
}

// === impl CostStatus ===

impl CostStatus {
    /// The value as it stands in column `cost_status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Priced => "priced",
            Self::Estimated => "estimated",
            Self::Unpriced => "unpriced",
            Self::Free => "free",
        }
    }
}

// === impl Cost ===

impl Cost {
    /// The cost of a call that used nothing: zero, without charges.
    pub const fn free() -> Self {
        Self {
            status: CostStatus::Free,
            cost: Some(Amount::ZERO),
            list_cost: Some(Amount::ZERO),
            avoided_cost: None,
            currency: None,
            price_version: None,
            charges: Vec::new(),
        }
    }
}
