//! What a call used, as people write it: the columns of table `usage` where there is one, else the names of meters.

use anyhow::{Context, ensure};
use serde::Deserialize;
use tollgate_record::{Amount, Usage, UsageSource};

/// Parts stand inside their totals, as in table `usage`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Used {
    input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_read_audio: Option<u64>,
    cache_read_image: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_write_5m: Option<u64>,
    cache_write_1h: Option<u64>,
    audio_in: Option<u64>,
    image_in: Option<u64>,
    video_in: Option<u64>,
    tool_use_in: Option<u64>,
    output_tokens: Option<u64>,
    reasoning_tokens: Option<u64>,
    audio_out: Option<u64>,
    image_out: Option<u64>,
    web_search: Option<u64>,
    search_query: Option<u64>,
    maps_grounding: Option<u64>,
    file_search: Option<u64>,
    code_interpreter: Option<u64>,
    image: Option<u64>,
    second: Option<Seconds>,
    character: Option<u64>,
    page: Option<u64>,
}

/// A whole number, or a decimal in quotes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Seconds {
    Whole(u64),
    Decimal(String),
}

// === impl Used ===

impl Used {
    /// What rating works with.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        let sum = |parts: &[Option<u64>]| parts.iter().flatten().try_fold(0_u64, |sum, part| sum.checked_add(*part));
        let inside = |whole: Option<u64>, name: &str, parts: &[Option<u64>], names: &str| {
            let parts = sum(parts);
            ensure!(
                parts.is_some_and(|parts| parts <= whole.unwrap_or(0)),
                "{name} is {}, less than {names}, which are inside it",
                whole.map_or_else(|| "missing".to_owned(), |whole| whole.to_string())
            );
            Ok(())
        };
        let written = [self.cache_write_5m, self.cache_write_1h];
        let cache_creation = self
            .cache_creation_input_tokens
            .or_else(|| sum(&written).filter(|_| written.iter().any(Option::is_some)));
        inside(
            cache_creation,
            "cache_creation_input_tokens",
            &written,
            "cache_write_5m and cache_write_1h",
        )?;
        let read = [self.cache_read_audio, self.cache_read_image];
        inside(
            self.cache_read_input_tokens,
            "cache_read_input_tokens",
            &read,
            "cache_read_audio and cache_read_image",
        )?;
        let input = [
            self.cache_read_input_tokens,
            cache_creation,
            self.audio_in,
            self.image_in,
            self.video_in,
            self.tool_use_in,
        ];
        inside(
            self.input_tokens,
            "input_tokens",
            &input,
            "its parts (cached, written, audio_in and so on)",
        )?;
        inside(
            self.output_tokens,
            "output_tokens",
            &[self.reasoning_tokens],
            "reasoning_tokens",
        )?;
        inside(
            self.output_tokens,
            "output_tokens",
            &[self.audio_out, self.image_out],
            "audio_out and image_out",
        )?;
        Ok(Usage {
            source: UsageSource::Reported,
            input: self.input_tokens,
            cache_read: self.cache_read_input_tokens,
            cache_read_audio: self.cache_read_audio,
            cache_read_image: self.cache_read_image,
            cache_creation,
            cache_creation_5m: self.cache_write_5m,
            cache_creation_1h: self.cache_write_1h,
            audio_in: self.audio_in,
            image_in: self.image_in,
            video_in: self.video_in,
            tool_use_in: self.tool_use_in,
            output: self.output_tokens,
            reasoning: self.reasoning_tokens,
            audio_out: self.audio_out,
            image_out: self.image_out,
            web_search: self.web_search,
            search_query: self.search_query,
            maps_grounding: self.maps_grounding,
            file_search: self.file_search,
            code_interpreter: self.code_interpreter,
            images: self.image,
            media_us: self.second.as_ref().map(Seconds::microseconds).transpose()?,
            characters: self.character,
            pages: self.page,
            ..Usage::default()
        })
    }
}

// === impl Seconds ===

impl Seconds {
    fn microseconds(&self) -> anyhow::Result<u64> {
        /// Units of an amount in a microsecond.
        const UNITS: i128 = Amount::ONE.units() / 1_000_000;
        let seconds = match self {
            Self::Whole(whole) => Amount::from_integer(*whole)?,
            Self::Decimal(text) => text.parse().context("second")?,
        };
        ensure!(
            seconds.units() % UNITS == 0,
            "second has more than six digits behind the point"
        );
        u64::try_from(seconds.units() / UNITS).context("second is negative or too large")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(json: &str) -> anyhow::Result<Usage> {
        serde_json::from_str::<Used>(json)?.usage()
    }

    #[test]
    fn parts_are_inside_their_totals() {
        let usage = read(r#"{"input_tokens": 10, "cache_read_input_tokens": 4, "cache_write_5m": 6, "second": "8.47"}"#).unwrap();
        assert_eq!(
            (usage.input, usage.cache_creation, usage.cache_creation_5m),
            (Some(10), Some(6), Some(6))
        );
        assert_eq!(usage.media_us, Some(8_470_000));
        for (json, told) in [
            (r#"{"input_tokens": 10, "cache_read_input_tokens": 11}"#, "input_tokens is 10"),
            (r#"{"audio_in": 1}"#, "input_tokens is missing"),
            (r#"{"output_tokens": 1, "reasoning_tokens": 2}"#, "reasoning_tokens"),
            (r#"{"second": "0.0000001"}"#, "six digits"),
            (r#"{"second": "1e3"}"#, "second"),
            (r#"{"input": 1}"#, "input_tokens"),
            (r#"{"input_tokens": -1}"#, "-1"),
        ] {
            let error = format!("{:#}", read(json).unwrap_err());
            assert!(error.contains(told), "{json}: {error}");
        }
    }
}
