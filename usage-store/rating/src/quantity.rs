//! How much of each meter a call used.

use tollgate_record::{Amount, AmountError, Meter, Usage};

/// How much of a meter's unit: `count` of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quantity {
    pub(super) count: u64,
    /// Parts of one unit.
    parts: u64,
}

/// Splits the totals into what each meter counts. Explicit zeros are no charge.
pub(super) fn quantities(usage: &Usage) -> Vec<(Meter, Quantity)> {
    let of = |count: Option<u64>| count.unwrap_or(0);
    let rest = |whole: Option<u64>, parts: &[u64]| parts.iter().fold(of(whole), |rest, part| rest.saturating_sub(*part));
    let (read, created) = (of(usage.cache_read), of(usage.cache_creation));
    let (read_audio, read_image) = (of(usage.cache_read_audio), of(usage.cache_read_image));
    let (short, long) = (of(usage.cache_creation_5m), of(usage.cache_creation_1h));
    let (audio_in, image_in, video_in) = (of(usage.audio_in), of(usage.image_in), of(usage.video_in));
    let (tool_use_in, unbilled_in) = (of(usage.tool_use_in), of(usage.unbilled_in));
    let (audio_out, image_out) = (of(usage.audio_out), of(usage.image_out));
    let input_parts = [read, created, audio_in, image_in, video_in, tool_use_in, unbilled_in];
    let whole = [
        // Parts that exceed their whole would be a provider's mistake; saturating keeps the parts, which are what is billed.
        (Meter::Input, rest(usage.input, &input_parts)),
        (Meter::CacheRead, rest(usage.cache_read, &[read_audio, read_image])),
        (Meter::CacheReadAudio, read_audio),
        (Meter::CacheReadImage, read_image),
        (Meter::CacheWrite5m, short),
        (Meter::CacheWrite1h, long),
        (Meter::CacheWrite, rest(usage.cache_creation, &[short, long])),
        (Meter::AudioIn, audio_in),
        (Meter::ImageIn, image_in),
        (Meter::VideoIn, video_in),
        (Meter::ToolUseIn, tool_use_in),
        (Meter::Output, rest(usage.output, &[audio_out, image_out])),
        (Meter::AudioOut, audio_out),
        (Meter::ImageOut, image_out),
        (Meter::Image, of(usage.images)),
        (Meter::Character, of(usage.characters)),
        (Meter::Page, of(usage.pages)),
        (Meter::WebSearch, of(usage.web_search)),
        (Meter::SearchQuery, of(usage.search_query)),
        (Meter::MapsGrounding, of(usage.maps_grounding)),
        (Meter::FileSearch, of(usage.file_search)),
        (Meter::CodeInterpreter, of(usage.code_interpreter)),
    ];
    let seconds = Quantity {
        count: of(usage.media_us),
        parts: 1_000_000,
    };
    whole
        .into_iter()
        .map(|(meter, count)| (meter, Quantity::whole(count)))
        .chain([(Meter::Second, seconds)])
        .filter(|(_, quantity)| quantity.count > 0)
        .collect()
}

// === impl Quantity ===

impl Quantity {
    pub(super) const fn whole(count: u64) -> Self {
        Self { count, parts: 1 }
    }

    /// Exact, as the parts of a unit divide the 10^12 of an amount.
    pub(super) fn amount(self) -> Result<Amount, AmountError> {
        Amount::ONE.mul_ratio(i128::from(self.count), i128::from(self.parts))
    }

    /// What a share of a price for `per` units comes to, rounded once, half to even.
    ///
    /// # Errors
    /// [`AmountError::Overflow`] beyond 28 digits.
    pub(super) fn cost(self, price: Amount, per: u64, share: Amount) -> Result<Amount, AmountError> {
        let numerator = i128::from(self.count) * share.units();
        let whole = i128::from(per)
            .checked_mul(i128::from(self.parts))
            .ok_or(AmountError::Overflow)?;
        let denominator = whole.checked_mul(Amount::ONE.units()).ok_or(AmountError::Overflow)?;
        // Reduced, so that a share of one needs no more digits than no share.
        let common = greatest_common_divisor(numerator, denominator);
        price.mul_ratio(numerator / common, denominator / common)
    }
}

/// Of a number that is not negative and one that is positive.
const fn greatest_common_divisor(mut left: i128, mut right: i128) -> i128 {
    while left != 0 {
        (left, right) = (right % left, left);
    }
    right
}
