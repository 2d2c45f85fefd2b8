//! Expected amounts are worked out by hand from the prices in each test.

use tollgate_record::{
    Amount, Call, CostStatus, Meter, Name, Payer, Price, PriceList, Terms, Timestamp, UnknownUsage, Usage, UsageSource,
};

use super::{PriceBook, rate};

mod negotiated;
mod parts;
mod properties;
mod worst;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn amount(text: &str) -> Amount {
    text.parse().unwrap()
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
        effective_from: Timestamp::from_unix_us(0),
        effective_to: None,
        source: None,
    }
}

fn list(provider: &str, shipped: bool, prices: Vec<Price>) -> PriceList {
    let list_name = format!("{provider}-{}", if shipped { "shipped" } else { "own" });
    PriceList {
        name: name(&list_name),
        provider: name(provider),
        currency: name("USD"),
        shipped,
        prices,
        terms: Terms::default(),
    }
}

fn call(model: &str) -> Call {
    Call {
        operation_name: name("chat"),
        proxy: None,
        provider_name: Some(name("acme-openai")),
        template: Some(name("openai")),
        upstream: None,
        region: None,
        request_model: Some(name(model)),
        stream: false,
        route_rule: None,
        cache: None,
    }
}

fn reported(input: u64, output: u64) -> Usage {
    Usage {
        source: UsageSource::Reported,
        input: Some(input),
        output: Some(output),
        ..Usage::default()
    }
}

fn now() -> Timestamp {
    Timestamp::from_unix_us(1_800_000_000_000_000)
}

fn cost(book: &PriceBook, model: &str, usage: &Usage) -> tollgate_record::Cost {
    rate(book, &call(model), Payer::default(), None, usage, now()).unwrap()
}

#[test]
fn every_token_class_is_charged_once_at_its_own_price() {
    let book = PriceBook::new(vec![list(
        "openai",
        true,
        vec![
            price("m", Meter::Input, "3"),
            price("m", Meter::CacheRead, "0.30"),
            price("m", Meter::CacheWrite5m, "3.75"),
            price("m", Meter::CacheWrite1h, "6"),
            price("m", Meter::Output, "15"),
        ],
    )]);
    let usage = Usage {
        cache_read: Some(1000),
        cache_creation: Some(300),
        cache_creation_5m: Some(100),
        cache_creation_1h: Some(200),
        reasoning: Some(50),
        ..reported(2000, 400)
    };
    let cost = cost(&book, "m", &usage);
    // 700 * 3 + 1000 * 0.30 + 100 * 3.75 + 200 * 6 + 400 * 15 = 2100 + 300 + 375 + 1200 + 6000 = 9975 millionths.
    assert_eq!(cost.cost, Some(amount("0.009975")));
    assert_eq!(cost.status, CostStatus::Priced);
    let sum = cost.charges.iter().map(|charge| charge.amount.unwrap().units()).sum::<i128>();
    assert_eq!(sum, cost.cost.unwrap().units());
    for charge in &cost.charges {
        assert_eq!(
            charge.quantity.checked_mul(charge.unit_price.unwrap()).unwrap(),
            charge.amount.unwrap()
        );
    }
}

#[test]
fn a_model_without_a_price_is_unpriced_and_never_zero() {
    let cost = cost(&PriceBook::default(), "m", &reported(10, 10));
    assert_eq!((cost.cost, cost.status), (None, CostStatus::Unpriced));
    assert_eq!(cost.charges.len(), 2);
}

#[test]
fn an_unknown_usage_field_is_kept_and_marks_the_row() {
    let book = PriceBook::new(vec![list(
        "openai",
        true,
        vec![price("m", Meter::Input, "1"), price("m", Meter::Output, "1")],
    )]);
    let usage = Usage {
        unknown: vec![UnknownUsage {
            field: "video_tokens".into(),
            quantity: 7,
        }],
        ..reported(10, 10)
    };
    let cost = cost(&book, "m", &usage);
    assert_eq!((cost.cost, cost.status), (Some(amount("0.00002")), CostStatus::Unpriced));
    assert_eq!(cost.charges.last().unwrap().meter_text(), "unknown:video_tokens");
}

#[test]
fn explicit_zeros_cost_nothing_and_need_no_price() {
    let cost = cost(&PriceBook::default(), "m", &reported(0, 0));
    assert_eq!((cost.cost, cost.status), (Some(Amount::ZERO), CostStatus::Free));
}

#[test]
fn a_context_tier_reprices_the_whole_call() {
    let tier = Price {
        context_above: Some(272_000),
        ..price("m", Meter::Input, "5")
    };
    let book = PriceBook::new(vec![list("openai", true, vec![price("m", Meter::Input, "2.5"), tier])]);
    assert_eq!(cost(&book, "m", &reported(272_000, 0)).cost, Some(amount("0.68")));
    assert_eq!(cost(&book, "m", &reported(272_001, 0)).cost, Some(amount("1.360005")));
}

#[test]
fn a_token_meter_without_a_price_of_its_tier_is_unpriced() {
    let flex = Price {
        service_tier: Some(name("flex")),
        ..price("m", Meter::Input, "1")
    };
    let search = Price {
        per: 1000,
        ..price("m", Meter::WebSearch, "10")
    };
    let book = PriceBook::new(vec![list(
        "openai",
        true,
        vec![price("m", Meter::Input, "2"), flex, price("m", Meter::Output, "4"), search],
    )]);
    let usage = Usage {
        service_tier: Some(name("flex")),
        web_search: Some(3),
        ..reported(1_000_000, 5)
    };
    let cost = cost(&book, "m", &usage);
    // Input at the flex rate, searches at the only rate there is, output at none.
    assert_eq!((cost.cost, cost.status), (Some(amount("1.03")), CostStatus::Unpriced));
}

#[test]
fn an_operators_list_wins_for_the_models_it_names() {
    let own = list("acme-openai", false, vec![price("gpt-x", Meter::Input, "1")]);
    let shipped = list(
        "openai",
        true,
        vec![
            price("gpt-x-2026-01-01", Meter::Input, "2"),
            price("gpt-y", Meter::Input, "3"),
        ],
    );
    let book = PriceBook::new(vec![shipped, own]);
    let answered = name("gpt-x-2026-01-01");
    let own_price = rate(
        &book,
        &call("gpt-x"),
        Payer::default(),
        Some(&answered),
        &reported(1_000_000, 0),
        now(),
    )
    .unwrap();
    assert_eq!(own_price.cost, Some(amount("1")));
    assert_eq!(cost(&book, "gpt-y", &reported(1_000_000, 0)).cost, Some(amount("3")));
}

#[test]
fn the_model_that_answered_is_priced_before_the_one_that_was_asked_for() {
    let book = PriceBook::new(vec![list(
        "openai",
        true,
        vec![price("alias", Meter::Input, "1"), price("real", Meter::Input, "5")],
    )]);
    for answered in ["real", "real-2026-01-01", "real-20260101"] {
        let cost = rate(
            &book,
            &call("alias"),
            Payer::default(),
            Some(&name(answered)),
            &reported(1_000_000, 0),
            now(),
        )
        .unwrap();
        assert_eq!(cost.cost, Some(amount("5")), "{answered}");
    }
    let fallback = rate(
        &book,
        &call("alias"),
        Payer::default(),
        Some(&name("other")),
        &reported(1_000_000, 0),
        now(),
    )
    .unwrap();
    assert_eq!(fallback.cost, Some(amount("1")));
}

#[test]
fn exact_names_beat_globs_and_longer_globs_beat_shorter() {
    let prices = vec![
        price("*", Meter::Input, "1"),
        price("gpt-*", Meter::Input, "2"),
        price("gpt-5*", Meter::Input, "3"),
        price("gpt-5", Meter::Input, "4"),
        price("meta/llama-?", Meter::Input, "6"),
    ];
    let book = PriceBook::new(vec![list("openai", false, prices)]);
    for (model, expected) in [
        ("x", "1"),
        ("gpt-4", "2"),
        ("gpt-5-mini", "3"),
        ("gpt-5", "4"),
        ("meta/llama-3", "6"),
    ] {
        assert_eq!(
            cost(&book, model, &reported(1_000_000, 0)).cost,
            Some(amount(expected)),
            "{model}"
        );
    }
}

#[test]
fn the_price_in_force_at_the_start_of_the_call_holds() {
    let day = |number: i64| Timestamp::from_unix_us(number * Timestamp::DAY_US);
    let old = Price {
        effective_to: Some(day(10)),
        ..price("m", Meter::Input, "1")
    };
    let new = Price {
        effective_from: day(10),
        ..price("m", Meter::Input, "2")
    };
    let book = PriceBook::new(vec![list("openai", true, vec![old, new])]);
    let before = Timestamp::from_unix_us(day(10).unix_us() - 1);
    for (at, expected) in [(before, "1"), (day(10), "2")] {
        let cost = rate(&book, &call("m"), Payer::default(), None, &reported(1_000_000, 0), at).unwrap();
        assert_eq!(cost.cost, Some(amount(expected)));
    }
}

#[test]
fn a_discount_leaves_the_list_cost() {
    let discounted = Price {
        discount: amount("0.15"),
        ..price("m", Meter::Input, "2")
    };
    let book = PriceBook::new(vec![list("openai", false, vec![discounted])]);
    let cost = cost(&book, "m", &reported(1_000_000, 0));
    assert_eq!((cost.cost, cost.list_cost), (Some(amount("1.7")), Some(amount("2"))));
}

#[test]
fn a_price_of_one_token_is_not_taken_for_a_million() {
    let each = Price {
        per: 1,
        ..price("m", Meter::Input, "0.0000025")
    };
    let book = PriceBook::new(vec![list("openai", false, vec![each])]);
    assert_eq!(cost(&book, "m", &reported(1_000_000, 0)).cost, Some(amount("2.5")));
}

#[test]
fn every_modality_is_charged_once_at_its_own_price() {
    let prices = [
        (Meter::Input, "1"),
        (Meter::CacheRead, "0.1"),
        (Meter::CacheReadAudio, "0.3"),
        (Meter::AudioIn, "3"),
        (Meter::ImageIn, "2"),
        (Meter::VideoIn, "4"),
        (Meter::Output, "10"),
        (Meter::ImageOut, "30"),
    ];
    let prices = prices.map(|(meter, per_million)| price("m", meter, per_million)).to_vec();
    let book = PriceBook::new(vec![list("openai", true, prices)]);
    let usage = Usage {
        cache_read: Some(500),
        cache_read_audio: Some(200),
        audio_in: Some(100),
        image_in: Some(258),
        video_in: Some(42),
        tool_use_in: Some(50),
        unbilled_in: Some(25),
        image_out: Some(1290),
        ..reported(2000, 1500)
    };
    let cost = cost(&book, "m", &usage);
    // Input: 2000 - 500 - 100 - 258 - 42 - 50 - 25 = 1025 at 1, 300 of the cache at 0.1 and 200 of its audio at 0.3, audio 100 at 3, images 258 at 2,
    // video 42 at 4, results of tools 50 at 1; output: 210 at 10 and 1290 at 30.
    // 1025 + 30 + 60 + 300 + 516 + 168 + 50 + 2100 + 38700 = 42949 millionths.
    assert_eq!((cost.cost, cost.status), (Some(amount("0.042949")), CostStatus::Priced));
    let tokens = cost.charges.iter().map(|charge| charge.quantity.units()).sum::<i128>();
    assert_eq!(tokens, (2000 - 25 + 1500) * Amount::ONE.units());
}

#[test]
fn images_and_video_in_the_input_without_a_price_of_their_own_are_input_and_others_are_unpriced() {
    let list_of = |prices| PriceBook::new(vec![list("openai", true, prices)]);
    let book = list_of(vec![
        price("m", Meter::Input, "1"),
        price("m", Meter::CacheRead, "0.5"),
        price("m", Meter::Output, "10"),
    ]);
    let usage = Usage {
        cache_read: Some(8),
        cache_read_image: Some(8),
        image_in: Some(100),
        video_in: Some(100),
        tool_use_in: Some(100),
        ..reported(1008, 0)
    };
    // 1000 * 1 + 8 * 0.5.
    assert_eq!(cost(&book, "m", &usage).cost, Some(amount("0.001004")));
    for usage in [
        Usage {
            audio_in: Some(1),
            ..reported(1, 0)
        },
        Usage {
            cache_read: Some(1),
            cache_read_audio: Some(1),
            ..reported(1, 0)
        },
        Usage {
            image_out: Some(1),
            ..reported(0, 1)
        },
    ] {
        let cost = cost(&book, "m", &usage);
        assert_eq!((cost.cost, cost.status), (None, CostStatus::Unpriced), "{usage:?}");
    }
    // A price of the standard tier says that images have a price of their own: that of text in another tier is not theirs.
    let flex = |meter, per_million| Price {
        service_tier: Some(name("flex")),
        ..price("m", meter, per_million)
    };
    let book = list_of(vec![price("m", Meter::ImageIn, "2"), flex(Meter::Input, "1")]);
    let usage = Usage {
        image_in: Some(10),
        service_tier: Some(name("flex")),
        ..reported(10, 0)
    };
    assert_eq!(cost(&book, "m", &usage).status, CostStatus::Unpriced);
}

#[test]
fn seconds_are_charged_to_the_microsecond() {
    let minute = Price {
        per: 60,
        ..price("whisper-1", Meter::Second, "0.006")
    };
    let book = PriceBook::new(vec![list("openai", true, vec![minute])]);
    let usage = Usage {
        source: UsageSource::Reported,
        media_us: Some(8_470_000),
        ..Usage::default()
    };
    let cost = cost(&book, "whisper-1", &usage);
    // 8.47 s at 0.006 a minute: 8.47 * 0.0001.
    assert_eq!(cost.cost, Some(amount("0.000847")));
    let [charge] = &cost.charges[..] else { panic!("one line") };
    assert_eq!((charge.quantity, charge.meter.unit()), (amount("8.47"), "second"));
}

#[test]
fn searches_are_billed_by_the_query_or_by_the_answer_and_never_by_both() {
    let per_thousand = |model, meter, text| Price {
        per: 1000,
        ..price(model, meter, text)
    };
    let book = PriceBook::new(vec![list(
        "openai",
        true,
        vec![
            per_thousand("by-query", Meter::SearchQuery, "14"),
            per_thousand("by-answer", Meter::WebSearch, "35"),
            price("neither", Meter::Input, "1"),
        ],
    )]);
    let usage = Usage {
        web_search: Some(1),
        search_query: Some(3),
        ..reported(0, 0)
    };
    let charged = |model: &str| {
        let cost = cost(&book, model, &usage);
        let meters: Vec<_> = cost.charges.iter().map(|charge| charge.meter).collect();
        (cost.cost, meters)
    };
    assert_eq!(charged("by-query"), (Some(amount("0.042")), vec![Meter::SearchQuery]));
    assert_eq!(charged("by-answer"), (Some(amount("0.035")), vec![Meter::WebSearch]));
    assert_eq!(charged("neither"), (None, vec![Meter::WebSearch]));
    // A provider that tells queries only.
    let usage = Usage {
        web_search: None,
        ..usage
    };
    assert_eq!(cost(&book, "neither", &usage).charges[0].meter, Meter::SearchQuery);
}

#[test]
fn what_is_no_token_is_charged_by_its_unit() {
    let each = |meter, text| Price {
        per: 1,
        ..price("m", meter, text)
    };
    let meters = [
        Meter::Image,
        Meter::Character,
        Meter::Page,
        Meter::MapsGrounding,
        Meter::FileSearch,
        Meter::CodeInterpreter,
    ];
    let prices = ["0.04", "0.000015", "0.001", "0.025", "0.0025", "0.03"];
    let prices = meters
        .into_iter()
        .zip(prices)
        .map(|(meter, text)| each(meter, text))
        .collect();
    let book = PriceBook::new(vec![list("openai", true, prices)]);
    let usage = Usage {
        source: UsageSource::Reported,
        images: Some(2),
        characters: Some(1000),
        pages: Some(3),
        maps_grounding: Some(1),
        file_search: Some(2),
        code_interpreter: Some(1),
        service_tier: Some(name("flex")),
        ..Usage::default()
    };
    // 0.08 + 0.015 + 0.003 + 0.025 + 0.005 + 0.03; meters that are no tokens fall back to the standard tier.
    assert_eq!(cost(&book, "m", &usage).cost, Some(amount("0.158")));
}
