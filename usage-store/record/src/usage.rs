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
///
/// Everything that a provider reports as tokens is inside `input` or `output`; the quantities after them are no tokens. Where a provider tells
/// one consumption in two units (an image by its tokens, sound by tokens and by its length), the one that it bills is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Where the counts come from.
    pub source: UsageSource,
    /// All input tokens: uncached, read from cache, written to cache, of every modality, results of the provider's own tools included.
    pub input: Option<u64>,
    /// Input tokens read from a cache; inside `input`.
    pub cache_read: Option<u64>,
    /// Audio tokens read from a cache; inside `cache_read`.
    pub cache_read_audio: Option<u64>,
    /// Image tokens read from a cache; inside `cache_read`.
    pub cache_read_image: Option<u64>,
    /// Input tokens written to a cache, of every lifetime; inside `input`.
    pub cache_creation: Option<u64>,
    /// Tokens written with a lifetime of five minutes; inside `cache_creation`.
    pub cache_creation_5m: Option<u64>,
    /// Tokens written with a lifetime of one hour; inside `cache_creation`.
    pub cache_creation_1h: Option<u64>,
    /// Audio tokens that are neither read from nor written to a cache; inside `input`.
    pub audio_in: Option<u64>,
    /// Image tokens that are neither read from nor written to a cache; inside `input`.
    pub image_in: Option<u64>,
    /// Video tokens that are neither read from nor written to a cache; inside `input`.
    pub video_in: Option<u64>,
    /// Results of the provider's own tools that the model read, where the provider tells them apart and bills them; inside `input`.
    pub tool_use_in: Option<u64>,
    /// Input tokens that the provider reports and does not bill, such as the results of a search it grounded an answer in; inside `input`.
    pub unbilled_in: Option<u64>,
    /// All output tokens, reasoning, audio and images included.
    pub output: Option<u64>,
    /// Reasoning tokens; inside `output`.
    pub reasoning: Option<u64>,
    /// Audio tokens generated; inside `output`.
    pub audio_out: Option<u64>,
    /// Image tokens generated; inside `output`.
    pub image_out: Option<u64>,
    /// Web searches that the provider made and bills by the call, or answers that it grounded in searches.
    pub web_search: Option<u64>,
    /// Queries that those searches were made of, where the provider tells them; it bills the one or the other.
    pub search_query: Option<u64>,
    /// Answers that were grounded in maps.
    pub maps_grounding: Option<u64>,
    /// Searches in files that the provider keeps.
    pub file_search: Option<u64>,
    /// Containers in which the provider ran code.
    pub code_interpreter: Option<u64>,
    /// Images, where they are not told as tokens.
    pub images: Option<u64>,
    /// Microseconds of audio or video, where they are not told as tokens; providers tell up to six decimals of a second.
    pub media_us: Option<u64>,
    /// Characters of text, where they are billed in place of tokens: Unicode code points.
    pub characters: Option<u64>,
    /// Pages of documents.
    pub pages: Option<u64>,
    /// Tokens that the provider says are left in its own rate limit.
    pub remaining: Option<u64>,
    /// Service tier that the provider says it used, where that is not its standard one.
    pub service_tier: Option<Name>,
    /// Region that the provider says it used, where its price depends on it.
    pub region: Option<Name>,
    /// Fields that no codec knows.
    pub unknown: Vec<UnknownUsage>,
    /// Parts of the above that are billed one by one, each at its own model's price and by its own size; what no part has is billed with the
    /// call. Not kept in the log: the call is rated before it is written there, and its charges name the models.
    #[serde(skip)]
    pub parts: Vec<Part>,
}

/// A part of what a call used that one model took by itself: an attempt that was declined, the attempt that answered, an advisor's advice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The model; `None` is the one that answered.
    pub model: Option<Name>,
    /// Its counts, inside those of the call. The tier and the region are those of the call.
    pub usage: Usage,
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
    /// Most parts kept of one call; codecs add what is more to those.
    pub const MAX_PARTS: usize = 64;

    /// Whether the provider or the gateway counted anything that the call consists of: tokens, images, time, characters or pages. Calls of tools
    /// come on top of those.
    pub const fn is_known(&self) -> bool {
        self.input.is_some()
            || self.output.is_some()
            || self.images.is_some()
            || self.media_us.is_some()
            || self.characters.is_some()
            || self.pages.is_some()
    }

    /// Takes off what a part has, count by count; what was not reported stays so.
    pub fn take_off(&mut self, part: &Self) {
        for (count, taken) in self.counts_mut().into_iter().zip(part.counts()) {
            *count = count.map(|count| count.saturating_sub(taken.unwrap_or(0)));
        }
    }

    /// Adds what a part has, count by count; what neither reports stays so.
    pub fn add(&mut self, part: &Self) {
        for (count, added) in self.counts_mut().into_iter().zip(part.counts()) {
            *count = match (*count, added) {
                (None, None) => None,
                (count, added) => Some(count.unwrap_or(0).saturating_add(added.unwrap_or(0))),
            };
        }
    }

    /// Everything that is counted and may be billed.
    const fn counts(&self) -> [Option<u64>; 25] {
        [
            self.input,
            self.cache_read,
            self.cache_read_audio,
            self.cache_read_image,
            self.cache_creation,
            self.cache_creation_5m,
            self.cache_creation_1h,
            self.audio_in,
            self.image_in,
            self.video_in,
            self.tool_use_in,
            self.unbilled_in,
            self.output,
            self.reasoning,
            self.audio_out,
            self.image_out,
            self.web_search,
            self.search_query,
            self.maps_grounding,
            self.file_search,
            self.code_interpreter,
            self.images,
            self.media_us,
            self.characters,
            self.pages,
        ]
    }

    /// As [`Self::counts`], in the same order.
    const fn counts_mut(&mut self) -> [&mut Option<u64>; 25] {
        [
            &mut self.input,
            &mut self.cache_read,
            &mut self.cache_read_audio,
            &mut self.cache_read_image,
            &mut self.cache_creation,
            &mut self.cache_creation_5m,
            &mut self.cache_creation_1h,
            &mut self.audio_in,
            &mut self.image_in,
            &mut self.video_in,
            &mut self.tool_use_in,
            &mut self.unbilled_in,
            &mut self.output,
            &mut self.reasoning,
            &mut self.audio_out,
            &mut self.image_out,
            &mut self.web_search,
            &mut self.search_query,
            &mut self.maps_grounding,
            &mut self.file_search,
            &mut self.code_interpreter,
            &mut self.images,
            &mut self.media_us,
            &mut self.characters,
            &mut self.pages,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_stand_in_one_order() {
        let mut usage = Usage::default();
        for (place, count) in usage.counts_mut().into_iter().enumerate() {
            *count = Some(place as u64);
        }
        let places: Vec<_> = (0..25).map(Some).collect();
        assert_eq!(usage.counts().as_slice(), places);
    }

    #[test]
    fn what_is_taken_off_can_be_added_again() {
        let whole = Usage {
            input: Some(10),
            output: Some(7),
            ..Usage::default()
        };
        let part = Usage {
            input: Some(4),
            cache_read: Some(1),
            ..Usage::default()
        };
        let mut rest = whole.clone();
        rest.take_off(&part);
        assert_eq!((rest.input, rest.cache_read, rest.output), (Some(6), None, Some(7)));
        rest.add(&part);
        assert_eq!(
            (rest.input, rest.cache_read, rest.output),
            (whole.input, Some(1), whole.output)
        );
    }
}
