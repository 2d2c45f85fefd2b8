//! Expected amounts are worked out by hand.

mod check;
mod diff;
mod import;

use tollgate_record::{Amount, Meter, Name, Price, PriceList, Terms, Timestamp};

use super::Options;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

fn day(text: &str) -> Timestamp {
    let day: chrono::NaiveDate = text.parse().unwrap();
    Timestamp::from_unix_us(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros())
}

fn options() -> Options<'static> {
    Options {
        source: "a file of 2026-11-25",
        effective_from: day("2026-01-01"),
    }
}

fn price(model: &str, meter: Meter, per_million: &str) -> Price {
    Price {
        model: name(model),
        region: None,
        service_tier: None,
        context_above: None,
        meter,
        per: 1_000_000,
        price: amount(per_million),
        discount: Amount::ZERO,
        effective_from: day("2026-01-01"),
        effective_to: None,
        source: None,
    }
}

fn list(prices: Vec<Price>) -> PriceList {
    PriceList {
        name: name("acme"),
        provider: name("openai"),
        currency: name("USD"),
        shipped: false,
        prices,
        terms: Terms::default(),
    }
}
