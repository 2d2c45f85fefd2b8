//! Headers that tell how rate limits stand, in the shape of each provider's own.
//!
//! - Anthropic's ("Rate limits", response headers, November 2026): `anthropic-ratelimit-requests-limit`, `-remaining`, and `-reset`, the time at which the
//!   limit is whole again, by RFC 3339; the same of tokens.
//! - OpenAI's ("Rate limits in headers", November 2026): `x-ratelimit-limit-requests`, `-remaining-`, and `-reset-`, the time until it is whole again, such
//!   as `6m0s`; the same of tokens. Those who have no such headers of their own get these.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use http::{HeaderName, HeaderValue};
use tollgate_record::admission::{RateKind, RateState};

use crate::Codec;

impl Codec {
    /// How rate limits stand; calls at once have no header.
    pub fn rate_headers(&self, rates: &[RateState], now: SystemTime) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let is_anthropic = self.speaks_anthropic();
        rates.iter().flat_map(move |rate| {
            let names = names(rate.of, is_anthropic);
            let reset = if is_anthropic {
                // Anthropic tells whole seconds, and at none of them less is free than was said.
                let whole = now + Duration::from_micros(rate.reset_us.saturating_add(999_999));
                DateTime::<Utc>::from(whole).to_rfc3339_opts(SecondsFormat::Secs, true)
            } else {
                until(rate.reset_us)
            };
            let values = [rate.limit.to_string(), rate.remaining.to_string(), reset];
            let told = names.into_iter().flat_map(move |names| names.into_iter().zip(values.clone()));
            told.filter_map(|(name, value)| Some((HeaderName::from_static(name), HeaderValue::try_from(value).ok()?)))
        })
    }
}

/// Limit, what is left of it, and when it is whole again.
const fn names(of: RateKind, is_anthropic: bool) -> Option<[&'static str; 3]> {
    Some(match (of, is_anthropic) {
        (RateKind::Requests, true) => [
            "anthropic-ratelimit-requests-limit",
            "anthropic-ratelimit-requests-remaining",
            "anthropic-ratelimit-requests-reset",
        ],
        (RateKind::Tokens, true) => [
            "anthropic-ratelimit-tokens-limit",
            "anthropic-ratelimit-tokens-remaining",
            "anthropic-ratelimit-tokens-reset",
        ],
        (RateKind::Requests, false) => [
            "x-ratelimit-limit-requests",
            "x-ratelimit-remaining-requests",
            "x-ratelimit-reset-requests",
        ],
        (RateKind::Tokens, false) => [
            "x-ratelimit-limit-tokens",
            "x-ratelimit-remaining-tokens",
            "x-ratelimit-reset-tokens",
        ],
        (RateKind::Concurrency, _) => return None,
    })
}

/// As OpenAI writes durations, which is Go's way: `17ms`, `1.5s`, `6m0s`, `1h0m0s`; rounded up to a millisecond.
fn until(us: u64) -> String {
    let ms = us.div_ceil(1000);
    if ms < 1000 {
        return format!("{ms}ms");
    }
    let (minutes, ms) = (ms / 60_000, ms % 60_000);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    let mut seconds = (ms / 1000).to_string();
    if !ms.is_multiple_of(1000) {
        seconds.push('.');
        seconds.push_str(format!("{:03}", ms % 1000).trim_end_matches('0'));
    }
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tollgate_record::Name;

    use super::*;

    fn told(codec: &Codec) -> Vec<(String, String)> {
        let rate = |of, limit, remaining, reset_us| RateState {
            name: Name::new("r").unwrap(),
            of,
            limit,
            remaining,
            reset_us,
        };
        let rates = [
            rate(RateKind::Requests, 60, 59, 1_000_000),
            rate(RateKind::Tokens, 150_000, 149_984, 360_000_000),
            rate(RateKind::Concurrency, 5, 4, 0),
        ];
        // 2026-11-30T00:00:00.5Z
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_996_800_500);
        let headers = codec.rate_headers(&rates, now);
        headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn openai_tells_how_long_it_takes() {
        let expected = pairs(&[
            ("x-ratelimit-limit-requests", "60"),
            ("x-ratelimit-remaining-requests", "59"),
            ("x-ratelimit-reset-requests", "1s"),
            ("x-ratelimit-limit-tokens", "150000"),
            ("x-ratelimit-remaining-tokens", "149984"),
            ("x-ratelimit-reset-tokens", "6m0s"),
        ]);
        for codec in [Codec::openai(), Codec::azure_openai(), Codec::gemini(), Codec::mistral()] {
            assert_eq!(told(&codec), expected);
        }
    }

    #[test]
    fn anthropic_tells_the_second() {
        let expected = pairs(&[
            ("anthropic-ratelimit-requests-limit", "60"),
            ("anthropic-ratelimit-requests-remaining", "59"),
            ("anthropic-ratelimit-requests-reset", "2026-11-30T00:00:02Z"),
            ("anthropic-ratelimit-tokens-limit", "150000"),
            ("anthropic-ratelimit-tokens-remaining", "149984"),
            ("anthropic-ratelimit-tokens-reset", "2026-11-30T00:06:01Z"),
        ]);
        assert_eq!(told(&Codec::anthropic()), expected);
    }

    #[test]
    fn durations_are_written_as_go_does() {
        for (us, expected) in [
            (0, "0ms"),
            (1, "1ms"),
            (17_000, "17ms"),
            (999_001, "1s"),
            (1_500_000, "1.5s"),
            (59_999_000, "59.999s"),
            (60_000_000, "1m0s"),
            (360_020_000, "6m0.02s"),
            (3_600_000_000, "1h0m0s"),
            (86_400_000_000, "24h0m0s"),
        ] {
            assert_eq!(until(us), expected, "{us}");
        }
    }
}
