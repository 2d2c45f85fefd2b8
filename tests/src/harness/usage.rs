//! What the usage that an SDK shows means, by the conventions of each provider, and what it must cost.
//!
//! Written from the providers' documentation and SDK types, not from the gateway's codecs. OpenAI writes details inside its totals
//! (openai-python `types/completion_usage.py`, `types/responses/response_usage.py`); Anthropic writes cache reads and writes beside
//! `input_tokens`, and the split by lifetime inside the writes (anthropic-sdk-python `types/usage.py`).

use serde_json::Value;

use super::call::Api;
use super::money::Decimal;
use super::prices;

/// Token counts with everything inside the totals; `None` is "not reported".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) input: Option<i64>,
    pub(crate) cache_read: Option<i64>,
    pub(crate) cache_creation: Option<i64>,
    pub(crate) cache_creation_5m: Option<i64>,
    pub(crate) cache_creation_1h: Option<i64>,
    pub(crate) audio_in: Option<i64>,
    pub(crate) output: Option<i64>,
    pub(crate) reasoning: Option<i64>,
    pub(crate) audio_out: Option<i64>,
    pub(crate) web_search: Option<i64>,
}

impl Tokens {
    /// Reads the usage that an SDK showed.
    pub(crate) fn of(api: Api, usage: &Value) -> Self {
        let at = |path: &str| usage.pointer(path).and_then(Value::as_i64);
        match api {
            Api::Chat | Api::Completions | Api::Embeddings => Self {
                input: at("/prompt_tokens"),
                cache_read: at("/prompt_tokens_details/cached_tokens"),
                cache_creation: at("/prompt_tokens_details/cache_write_tokens"),
                audio_in: at("/prompt_tokens_details/audio_tokens"),
                output: at("/completion_tokens"),
                reasoning: at("/completion_tokens_details/reasoning_tokens"),
                audio_out: at("/completion_tokens_details/audio_tokens"),
                ..Self::default()
            },
            Api::Responses => Self {
                input: at("/input_tokens"),
                cache_read: at("/input_tokens_details/cached_tokens"),
                cache_creation: at("/input_tokens_details/cache_write_tokens"),
                output: at("/output_tokens"),
                reasoning: at("/output_tokens_details/reasoning_tokens"),
                ..Self::default()
            },
            Api::Messages => {
                let (read, written) = (at("/cache_read_input_tokens"), at("/cache_creation_input_tokens"));
                Self {
                    input: at("/input_tokens").map(|uncached| uncached + read.unwrap_or(0) + written.unwrap_or(0)),
                    cache_read: read,
                    cache_creation: written,
                    cache_creation_5m: at("/cache_creation/ephemeral_5m_input_tokens"),
                    cache_creation_1h: at("/cache_creation/ephemeral_1h_input_tokens"),
                    output: at("/output_tokens"),
                    reasoning: at("/output_tokens_details/thinking_tokens"),
                    web_search: at("/server_tool_use/web_search_requests"),
                    ..Self::default()
                }
            }
        }
    }

    /// How much each meter counts; no token is counted twice, and meters that counted nothing are left out.
    pub(crate) fn meters(&self) -> Vec<(&'static str, i64)> {
        let of = |count: Option<i64>| count.unwrap_or(0);
        let untold = of(self.cache_creation) - of(self.cache_creation_5m) - of(self.cache_creation_1h);
        let mut all = vec![
            (
                "input",
                of(self.input) - of(self.cache_read) - of(self.cache_creation) - of(self.audio_in),
            ),
            ("cache_read", of(self.cache_read)),
            ("cache_write", untold),
            ("cache_write_5m", of(self.cache_creation_5m)),
            ("cache_write_1h", of(self.cache_creation_1h)),
            ("audio_in", of(self.audio_in)),
            ("output", of(self.output) - of(self.reasoning) - of(self.audio_out)),
            ("reasoning", of(self.reasoning)),
            ("audio_out", of(self.audio_out)),
            ("web_search", of(self.web_search)),
        ];
        all.retain(|(_, quantity)| *quantity != 0);
        all
    }

    /// What this costs, worked out from the tests' own prices; panics if a meter has none.
    #[track_caller]
    pub(crate) fn cost(&self, provider: &str, models: &[&str], tier: Option<&str>) -> Decimal {
        let price = |meter| {
            let price = prices::unit_price(provider, models, tier, self.input.unwrap_or(0), meter);
            price.unwrap_or_else(|| panic!("the tests have no price for {meter} of {models:?}"))
        };
        self.meters()
            .into_iter()
            .map(|(meter, quantity)| price(meter).times(quantity))
            .sum()
    }
}
