//! The calls that are recorded: what the gateway makes of a chat completion with a cached prompt, which three prices apply to.

use std::sync::Arc;

use tollgate_record::{
    Amount, Call, CallId, Caller, Ending, Identity, Intent, Meter, Name, Outcome, Price, PriceList, Tags, Terms, Timestamp, Usage,
    UsageSource,
};
use tollgate_usage_store::PriceBook;

/// 2026-11-02 08:00 UTC.
pub(crate) const START_US: i64 = 1_793_606_400_000_000;
/// From one call to the next.
const STEP_US: i64 = 1_000;

/// What calls of one key share, as they do in a gateway.
pub(crate) struct Shared {
    identity: Arc<Identity>,
    tags: Arc<Tags>,
    call: Call,
    response_model: Name,
    finish_reason: Name,
}

fn name(text: &str) -> Name {
    Name::new(text).expect("the name is valid")
}

/// The prices of `tests/bench/gateway.yaml`.
pub(crate) fn prices() -> PriceBook {
    let price = |meter, price: &str| Price {
        model: name("gpt-4o-mini"),
        region: None,
        service_tier: None,
        context_above: None,
        meter,
        per: 1_000_000,
        price: price.parse().expect("the price is a decimal"),
        discount: Amount::ZERO,
        effective_from: Timestamp::from_unix_us(0),
        effective_to: None,
        source: None,
    };
    PriceBook::new(vec![PriceList {
        name: name("bench"),
        provider: name("openai"),
        currency: name("USD"),
        shipped: false,
        prices: vec![
            price(Meter::Input, "0.15"),
            price(Meter::CacheRead, "0.075"),
            price(Meter::Output, "0.60"),
        ],
        terms: Terms::default(),
    }])
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            identity: Arc::new(Identity {
                key_id: name("bench-bot"),
                org: Some(name("acme")),
                team: Some(name("growth")),
                project: Some(name("ads")),
                service: Some(name("bot")),
                user: None,
            }),
            tags: Arc::new(Tags::from_pairs([("env", "bench")])),
            call: Call {
                operation_name: name("chat"),
                proxy: None,
                provider_name: Some(name("openai")),
                template: Some(name("openai")),
                upstream: Some(name("api.openai.com:443")),
                region: None,
                request_model: Some(name("gpt-4o-mini")),
                stream: false,
                route_rule: None,
                cache: None,
            },
            response_model: name("gpt-4o-mini-2024-07-18"),
            finish_reason: name("stop"),
        }
    }

    pub(crate) fn intent(&self, number: u64) -> Intent {
        let start_us = START_US + i64::try_from(number).expect("a count fits") * STEP_US;
        let mut random = [0; 10];
        if let Some(low) = random.last_chunk_mut::<8>() {
            *low = number.to_be_bytes();
        }
        let call_id = CallId::from_parts(start_us.unsigned_abs() / 1000, random);
        Intent {
            call_id,
            request_id: call_id.as_request(),
            attempt: 1,
            start_time: Timestamp::from_unix_us(start_us),
            identity: Arc::clone(&self.identity),
            caller: Caller {
                tags: Arc::clone(&self.tags),
                ..Caller::default()
            },
            call: self.call.clone(),
            request_bytes: 1024,
            bears_usage: true,
        }
    }

    pub(crate) fn ending(&self, number: u64) -> Ending {
        Ending {
            status_code: Some(200),
            finish_reason: Some(self.finish_reason.clone()),
            response_model: Some(self.response_model.clone()),
            usage: Usage {
                source: UsageSource::Reported,
                input: Some(212 + number % 1000),
                cache_read: Some(128),
                output: Some(100 + number % 300),
                reasoning: Some(0),
                ..Usage::default()
            },
            duration_us: 1_234_567,
            time_to_first_token_us: Some(345_678),
            gateway_overhead_us: Some(123),
            response_bytes: 1024,
            ..Ending::of(Outcome::Ok)
        }
    }
}
