//! No call within its bounds costs more than was said before it was made.

use proptest::prelude::*;
use tollgate_record::admission::Bounds;
use tollgate_record::limits::Limits;
use tollgate_record::{Adjustment, Amount, Call, Meter, Name, Payer, Price, PriceList, Terms, Timestamp, Usage, UsageSource};

use super::super::worst::{Tokens, tokens};
use super::super::{Dearest, PriceBook, rate, worst};
use super::{amount, call, list, name, now, price, reported};

const LIMITS: Limits = Limits {
    input_tokens: 200_000,
    output_tokens: 8_000,
    input_known: true,
};

fn bounds(input_tokens: u64, output_tokens: Option<u64>) -> Bounds {
    Bounds {
        input_tokens,
        passes: 1,
        output_tokens,
        answers: 1,
        ..Bounds::default()
    }
}

fn claude() -> PriceBook {
    let tier = |price: Price, tier: &str| Price {
        service_tier: Some(name(tier)),
        ..price
    };
    PriceBook::new(vec![list(
        "openai",
        true,
        vec![
            price("m", Meter::Input, "3"),
            price("m", Meter::CacheRead, "0.30"),
            price("m", Meter::CacheWrite1h, "6"),
            price("m", Meter::Output, "15"),
            price("m", Meter::AudioIn, "40"),
            tier(price("m", Meter::Output, "30"), "fast"),
            Price {
                per: 1000,
                ..price("m", Meter::WebSearch, "10")
            },
        ],
    )])
}

fn cost_of(book: &PriceBook, bounds: &Bounds) -> Result<Amount, String> {
    let found = worst(book, &LIMITS, &call("m"), Payer::default(), bounds, now());
    found.map(|worst| worst.cost).map_err(|missing| missing.to_string())
}

#[test]
fn the_dearest_meter_and_tier_count_for_every_token() {
    let book = claude();
    // 1,000 tokens written for an hour and 100 in the fast tier: 1000 * 6 + 100 * 30 millionths.
    assert_eq!(cost_of(&book, &bounds(1000, Some(100))), Ok(amount("0.009")));
    // Without a limit the model's: 1000 * 6 + 2 * 8000 * 30.
    let open = Bounds {
        answers: 2,
        ..bounds(1000, None)
    };
    assert_eq!(cost_of(&book, &open), Ok(amount("0.486")));
    // A body of a million bytes is no more than the window: 200,000 * 6 + 100 * 30.
    assert_eq!(cost_of(&book, &bounds(1_000_000, Some(100))), Ok(amount("1.203")));
    // Sound may be in what is open, and is read once more after each of two searches: 3 * 200,000 * 40 + 100 * 30 + 2 * 10,000.
    let searching = Bounds {
        input_open: true,
        passes: 3,
        tool_calls: 2,
        ..bounds(1000, Some(100))
    };
    assert_eq!(cost_of(&book, &searching), Ok(amount("24.023")));
}

#[test]
fn reasoning_counts_where_it_is_dearer_than_the_answer() {
    let prices = vec![
        price("m", Meter::Input, "1"),
        price("m", Meter::Output, "2"),
        price("m", Meter::Reasoning, "7"),
    ];
    let book = PriceBook::new(vec![list("openai", true, prices)]);
    assert_eq!(cost_of(&book, &bounds(0, Some(1_000_000))), Ok(amount("7")));
}

#[test]
fn tokens_are_told_without_prices() {
    let of = |bounds: &Bounds, limits: &Limits| {
        let Tokens { input, output } = tokens(bounds, limits);
        (input, output)
    };
    assert_eq!(of(&bounds(900_000, None), &Limits::UNKNOWN), (900_000, 131_072));
    let embedded = Bounds {
        answers: 0,
        ..bounds(900_000, None)
    };
    assert_eq!(of(&embedded, &LIMITS), (900_000, 0), "many texts have many windows");
    assert_eq!(of(&Bounds::default(), &LIMITS), (0, 0));
}

#[test]
fn what_has_no_price_is_named() {
    let half = PriceBook::new(vec![list("openai", true, vec![price("m", Meter::Input, "3")])]);
    let other = PriceBook::new(vec![list("openai", true, vec![price("x", Meter::Input, "3")])]);
    let chat = bounds(10, Some(10));
    let cost = |book: &PriceBook, bounds: &Bounds| cost_of(book, bounds).unwrap_err();
    assert_eq!(cost(&half, &chat), "model m of acme-openai has no price for meter output");
    assert_eq!(cost(&other, &chat), "no price list for acme-openai names model m");
    let drawn = Bounds {
        images: 1,
        ..Bounds::default()
    };
    assert_eq!(cost(&half, &drawn), "model m of acme-openai has no price for meter image");
    let searching = Bounds {
        tool_calls: 1,
        ..bounds(10, Some(10))
    };
    let both = vec![price("m", Meter::Input, "3"), price("m", Meter::Output, "3")];
    let both = PriceBook::new(vec![list("openai", true, both)]);
    assert_eq!(
        cost(&both, &searching),
        "model m of acme-openai has no price for meter web_search"
    );
    let embedded = Bounds {
        answers: 0,
        ..bounds(1_000_000, None)
    };
    assert_eq!(
        cost_of(&half, &embedded),
        Ok(amount("3")),
        "what has no answer needs no price of one"
    );
    let nobody = Call {
        request_model: None,
        ..call("m")
    };
    let missing = worst(&half, &LIMITS, &nobody, Payer::default(), &chat, now()).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "the request names no model, and so no price of acme-openai is known"
    );
}

#[test]
fn images_alone_need_no_price_of_tokens() {
    let image = Price {
        per: 1,
        ..price("m", Meter::Image, "0.04")
    };
    let book = PriceBook::new(vec![list("openai", true, vec![image])]);
    let drawn = Bounds {
        images: 3,
        answers: 3,
        ..bounds(500, None)
    };
    assert_eq!(cost_of(&book, &drawn), Ok(amount("0.12")));
}

#[test]
fn a_dated_name_counts_with_the_model_that_was_asked_for() {
    let dated = |model: &str| {
        PriceBook::new(vec![list(
            "openai",
            true,
            vec![
                price("m", Meter::Input, "3"),
                price("m", Meter::Output, "3"),
                price(model, Meter::Output, "90"),
            ],
        )])
    };
    let chat = bounds(0, Some(1_000_000));
    for (model, expected) in [
        ("m-2026-01-01", "90"),
        ("m-20260101", "90"),
        ("m-*", "90"),
        ("m-mini", "3"),
        ("n-2026-01-01", "3"),
    ] {
        assert_eq!(cost_of(&dated(model), &chat), Ok(amount(expected)), "{model}");
    }
}

#[test]
fn the_calls_region_counts_and_without_one_every_region() {
    let regional = Price {
        region: Some(name("us")),
        ..price("m", Meter::Output, "9")
    };
    let prices = vec![price("m", Meter::Input, "1"), price("m", Meter::Output, "8"), regional];
    let book = PriceBook::new(vec![list("openai", true, prices)]);
    let of = |region: Option<&str>| {
        let call = Call {
            region: region.map(name),
            ..call("m")
        };
        worst(&book, &LIMITS, &call, Payer::default(), &bounds(0, Some(1_000_000)), now())
            .unwrap()
            .cost
    };
    assert_eq!(
        (of(None), of(Some("us")), of(Some("eu"))),
        (amount("9"), amount("9"), amount("8"))
    );
}

#[test]
fn prices_are_stale_when_the_next_one_begins() {
    let at = |seconds: i64| Timestamp::from_unix_us(now().unix_us() + seconds * 1_000_000);
    let begins = |from: i64, to: Option<i64>| Price {
        effective_from: at(from),
        effective_to: to.map(at),
        ..price("m", Meter::Input, "1")
    };
    let of = |prices| {
        let book = PriceBook::new(vec![list("openai", true, prices)]);
        Dearest::of(&book, &call("m"), Payer::default(), now()).unwrap().until
    };
    assert_eq!(of(vec![begins(-5, None)]), None);
    assert_eq!(of(vec![begins(-5, Some(7)), begins(7, None)]), Some(at(7)));
    assert_eq!(of(vec![begins(-5, None), begins(3, Some(4))]), Some(at(3)));
    assert_eq!(of(vec![begins(-5, Some(0)), begins(0, None)]), None, "it has begun");
}

const METERS: [Meter; 22] = [
    Meter::Input,
    Meter::CacheRead,
    Meter::CacheReadAudio,
    Meter::CacheReadImage,
    Meter::CacheWrite,
    Meter::CacheWrite5m,
    Meter::CacheWrite1h,
    Meter::AudioIn,
    Meter::ImageIn,
    Meter::VideoIn,
    Meter::ToolUseIn,
    Meter::Output,
    Meter::Reasoning,
    Meter::AudioOut,
    Meter::ImageOut,
    Meter::WebSearch,
    Meter::SearchQuery,
    Meter::MapsGrounding,
    Meter::Image,
    Meter::Second,
    Meter::Character,
    Meter::Page,
];
const MODELS: [&str; 4] = ["m", "m-2026-01-01", "m*", "*"];
const TIERS: [&str; 2] = ["flex", "fast"];
const REGIONS: [&str; 2] = ["us", "eu"];

fn some_of(texts: &'static [&'static str]) -> impl Strategy<Value = Option<Name>> {
    prop::option::of(prop::sample::select(texts)).prop_map(|text| text.map(name))
}

/// Whatever a list may say, with no order among its prices.
fn prices(count: usize) -> impl Strategy<Value = Vec<Price>> {
    let one = (
        (prop::sample::select(&MODELS[..]), 0..METERS.len()),
        (some_of(&TIERS), some_of(&REGIONS), prop::option::of(1_u64..100_000)),
        (0_i128..1_000_000_000_000_000, 1_u64..3_000_000, 0_i128..1_000_000_000_000),
    );
    let one = one.prop_map(
        |((model, meter), (service_tier, region, context_above), (units, per, discount))| Price {
            service_tier,
            region,
            context_above,
            per,
            price: Amount::from_units(units).unwrap(),
            discount: Amount::from_units(discount).unwrap(),
            ..price(model, METERS[meter], "0")
        },
    );
    prop::collection::vec(one, 0..count)
}

fn adjustments() -> impl Strategy<Value = Vec<Adjustment>> {
    let one = (
        prop::sample::select(&MODELS[..]),
        prop::option::of(0..METERS.len()),
        -2_000_000_000_000_i128..=1_000_000_000_000,
    );
    let one = one.prop_map(|(model, meter, discount)| Adjustment {
        model: name(model),
        meter: meter.map(|meter| METERS[meter]),
        discount: Amount::from_units(discount).unwrap(),
        effective_from: Timestamp::from_unix_us(0),
        effective_to: None,
        source: None,
    });
    prop::collection::vec(one, 0..4)
}

/// List prices for everyone, shipped and of the operator's own, and what an organisation and everyone negotiated.
fn books() -> impl Strategy<Value = PriceBook> {
    (prices(40), prices(4), prices(6), adjustments(), adjustments()).prop_map(|(shipped, own, acme, of_acme, of_all)| {
        let terms = |org: Option<&str>, adjustments| Terms {
            org: org.map(name),
            team: None,
            adjustments,
        };
        PriceBook::new(vec![
            list("openai", true, shipped),
            list("acme-openai", false, own),
            PriceList {
                terms: terms(Some("acme"), of_acme),
                ..list("openai", false, acme)
            },
            PriceList {
                terms: terms(None, of_all),
                ..list("openai", false, Vec::new())
            },
        ])
    })
}

/// A count of each meter, in the order of [`METERS`]; of few at a time, so that none hides behind a dearer one.
fn counts() -> impl Strategy<Value = [u64; 22]> {
    let count = prop_oneof![20 => Just(0), 2 => 0_u64..10_000, 1 => 0_u64..50_000_000];
    prop::collection::vec(count, 22).prop_map(|counts| counts.try_into().unwrap())
}

fn usage(counts: &[u64; 22], service_tier: Option<Name>, region: Option<Name>) -> Usage {
    let sum = |range: std::ops::RangeInclusive<usize>| counts[range].iter().sum::<u64>();
    let read = sum(1..=3);
    let written = sum(4..=6);
    Usage {
        input: Some(sum(0..=10)),
        cache_read: Some(read),
        cache_read_audio: Some(counts[2]),
        cache_read_image: Some(counts[3]),
        cache_creation: Some(written),
        cache_creation_5m: Some(counts[5]),
        cache_creation_1h: Some(counts[6]),
        audio_in: Some(counts[7]),
        image_in: Some(counts[8]),
        video_in: Some(counts[9]),
        tool_use_in: Some(counts[10]),
        output: Some(sum(11..=14)),
        reasoning: Some(counts[12]),
        audio_out: Some(counts[13]),
        image_out: Some(counts[14]),
        web_search: Some(counts[15]),
        search_query: Some(counts[16]),
        maps_grounding: Some(counts[17]),
        images: Some(counts[18]),
        media_us: Some(counts[19]),
        characters: Some(counts[20]),
        pages: Some(counts[21]),
        service_tier,
        region,
        source: UsageSource::Reported,
        ..Usage::default()
    }
}

/// The smallest bounds that hold a usage; sound and images are in it only where the input is open.
fn holding(usage: &Usage, answers: u64) -> (Bounds, Limits) {
    let of = |count: Option<u64>| count.unwrap_or(0);
    let media = [
        usage.audio_in,
        usage.image_in,
        usage.video_in,
        usage.cache_read_audio,
        usage.cache_read_image,
    ];
    let input_open = media.into_iter().any(|count| of(count) > 0);
    let bounds = Bounds {
        input_tokens: of(usage.input),
        input_open,
        passes: 1,
        output_tokens: Some(of(usage.output).div_ceil(answers)),
        answers,
        images: of(usage.images),
        characters: of(usage.characters),
        seconds: of(usage.media_us).div_ceil(1_000_000),
        tool_calls: of(usage.web_search).max(of(usage.search_query)) + of(usage.maps_grounding),
        pages: of(usage.pages),
        takes_limit: false,
        takes_model: false,
        later: false,
    };
    let limits = Limits {
        input_tokens: of(usage.input),
        output_tokens: 1,
        input_known: true,
    };
    (bounds, limits)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_call_within_its_bounds_costs_more(
        book in books(),
        counts in counts(),
        tier in some_of(&["flex", "fast", "other"]),
        (of_call, told) in (some_of(&["us", "asia"]), some_of(&["us", "eu", "asia"])),
        answers in 1_u64..4,
        answered in some_of(&["m", "m-2026-01-01", "m-20261231"]),
        pays in any::<bool>(),
        kept in any::<bool>(),
    ) {
        // A call with a region is in that one.
        let told = told.filter(|_| of_call.is_none());
        let mut counts = counts;
        if !kept {
            for media in [2, 3, 7, 8, 9] {
                counts[media] = 0;
            }
        }
        let usage = usage(&counts, tier, told);
        let (bounds, limits) = holding(&usage, answers);
        let acme = name("acme");
        let payer = Payer { org: pays.then_some(&acme), team: None };
        let call = Call { region: of_call, ..call("m") };
        let cost = rate(&book, &call, payer, answered.as_ref(), &usage, now()).unwrap();
        match Dearest::of(&book, &call, payer, now()) {
            Ok(dearest) => {
                let lenient = Bounds { images: bounds.images.max(1), ..bounds };
                let found = dearest.cost(&bounds, &limits).or_else(|_| dearest.cost(&lenient, &limits));
                if let Ok(found) = found && cost.currency.as_ref() == Some(&found.currency) {
                    let paid = cost.cost.unwrap_or(Amount::ZERO);
                    prop_assert!(paid <= found.cost, "{paid} of {:?} is more than {found:?}", cost.charges);
                }
            }
            // Only a model that answered under another name can have a price then; nothing costs nothing without one.
            Err(_) => prop_assert!(cost.cost.is_none_or(|cost| cost.is_zero()) || answered.is_some()),
        }
    }

    #[test]
    fn more_of_anything_is_never_bounded_by_less(book in books(), input in 0_u64..100_000, output in 0_u64..100_000, more in 1_u64..1000) {
        let (less, larger) = (bounds(input, Some(output)), bounds(input + more, Some(output + more)));
        if let (Ok(less), Ok(larger)) = (cost_of(&book, &less), cost_of(&book, &larger)) {
            prop_assert!(less <= larger);
        }
    }
}

#[test]
fn the_cost_of_a_usage_at_its_bounds_is_the_bound_where_there_is_one_price() {
    let book = PriceBook::new(vec![list(
        "openai",
        true,
        vec![price("m", Meter::Input, "2.5"), price("m", Meter::Output, "10")],
    )]);
    let cost = rate(&book, &call("m"), Payer::default(), None, &reported(1234, 567), now()).unwrap();
    assert_eq!(cost_of(&book, &bounds(1234, Some(567))).ok(), cost.cost);
}
