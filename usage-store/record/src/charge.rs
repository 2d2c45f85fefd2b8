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
    /// Audio input tokens read from a cache.
    CacheReadAudio,
    /// Image input tokens read from a cache.
    CacheReadImage,
    /// Image input tokens.
    ImageIn,
    /// Image output tokens.
    ImageOut,
    /// Video input tokens.
    VideoIn,
    /// Input tokens that the provider's own tools brought in.
    ToolUseIn,
    /// Queries of web searches, where these are billed one by one.
    SearchQuery,
    /// Answers grounded in maps.
    MapsGrounding,
    /// Searches in files that the provider keeps.
    FileSearch,
    /// Containers in which the provider ran code.
    CodeInterpreter,
}

/// One line of a call's bill: `amount = quantity * unit_price`, rounded once, half to even. Where a discount leaves the unit price more than
/// twelve places, `unit_price` is rounded, and `amount` is still made of the exact one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// What was counted.
    pub meter: Meter,
    /// The field's path, for [`Meter::Unknown`]; else the model that used it, where a call is billed in parts.
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
    /// What would be owed at list prices, without discounts.
    pub list_cost: Option<Amount>,
    /// What a cache of the gateway saved.
    pub avoided_cost: Option<Amount>,
    /// ISO 4217 code of the amounts.
    pub currency: Option<Name>,
    /// Version of the price list that was applied; of several, those with negotiated prices first and `+` between them.
    pub price_version: Option<Name>,
    /// The lines.
    pub charges: Vec<Charge>,
}

// === impl Meter ===

impl Meter {
    /// Every meter that can have a price.
    pub const PRICED: [Self; 26] = [
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
        Self::CacheReadAudio,
        Self::CacheReadImage,
        Self::ImageIn,
        Self::ImageOut,
        Self::VideoIn,
        Self::ToolUseIn,
        Self::SearchQuery,
        Self::MapsGrounding,
        Self::FileSearch,
        Self::CodeInterpreter,
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
            Self::CacheReadAudio => "cache_read_audio",
            Self::CacheReadImage => "cache_read_image",
            Self::ImageIn => "image_in",
            Self::ImageOut => "image_out",
            Self::VideoIn => "video_in",
            Self::ToolUseIn => "tool_use_in",
            Self::SearchQuery => "search_query",
            Self::MapsGrounding => "maps_grounding",
            Self::FileSearch => "file_search",
            Self::CodeInterpreter => "code_interpreter",
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
            Self::ToolCall | Self::MapsGrounding | Self::FileSearch => "call",
            Self::SearchQuery => "query",
            Self::CodeInterpreter => "container",
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
    /// The text of `charges.meter`: the meter's name, and behind a `:` the unknown field's path, or the model of a call that is billed in parts.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_meter_but_the_unknown_is_found_by_its_name() {
        for (place, meter) in Meter::PRICED.into_iter().enumerate() {
            assert_eq!(Meter::parse(meter.as_str()), Some(meter));
            // The durable order: `Unknown` stands in it, before the meters that came later.
            assert_eq!(meter as usize, place + usize::from(meter > Meter::Unknown));
        }
        assert_eq!(Meter::parse(Meter::Unknown.as_str()), None);
    }
}
