//! A row that rating made is rated again as if its usage had been kept whole.

use proptest::prelude::*;
use tollgate_record::{Cost, CostStatus, Price, PriceList};

use super::*;
use crate::rate;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A list that prices the meters of a mask, each at an amount of its own; output above 150 input tokens at three times as much.
fn list(mask: u32, step: u64) -> PriceList {
    let price = |place: usize, meter: Meter| Price {
        model: name("m*"),
        region: None,
        service_tier: None,
        context_above: None,
        meter,
        per: 1_000,
        price: Amount::from_integer(place as u64 * step + 1).unwrap(),
        discount: Amount::ZERO,
        effective_from: Timestamp::from_unix_us(0),
        effective_to: None,
        source: None,
    };
    let priced = Meter::PRICED
        .into_iter()
        .enumerate()
        .filter(|(place, _)| mask >> place & 1 == 1);
    let mut prices: Vec<_> = priced.map(|(place, meter)| price(place, meter)).collect();
    let above: Vec<_> = prices
        .iter()
        .filter(|price| price.meter == Meter::Output)
        .map(|price| Price {
            context_above: Some(150),
            price: price.price.mul_ratio(3, 1).unwrap(),
            ..price.clone()
        })
        .collect();
    prices.extend(above);
    PriceList {
        name: name("list"),
        provider: name("openai"),
        currency: name("USD"),
        shipped: false,
        prices,
        terms: tollgate_record::Terms::default(),
    }
}

fn call() -> Call {
    Call {
        operation_name: name("chat"),
        proxy: None,
        provider_name: Some(name("openai")),
        template: None,
        upstream: None,
        region: None,
        request_model: Some(name("m-1")),
        stream: false,
        route_rule: None,
        cache: None,
    }
}

const AT: Timestamp = Timestamp::from_unix_us(1_800_000_000_000_000);

/// What a row keeps of a call.
fn kept<'a>(usage: &Usage, cost: &'a Cost, meters: &'a [String]) -> Row<'a> {
    let lines = cost.charges.iter().zip(meters).map(|(charge, meter)| Line {
        meter,
        quantity: charge.quantity,
        priced: charge.unit_price.is_some(),
    });
    Row {
        org: None,
        team: None,
        request_model: Some(name("m-1")),
        response_model: None,
        region: usage.region.clone(),
        service_tier: usage.service_tier.clone(),
        start_time: AT,
        imported: false,
        source: usage.source,
        input: usage.input,
        cache_read: usage.cache_read,
        cache_creation: usage.cache_creation,
        output: usage.output,
        reasoning: usage.reasoning,
        free: cost.status == CostStatus::Free,
        charges: Some(lines.collect()),
    }
}

fn meters(cost: &Cost) -> Vec<String> {
    cost.charges.iter().map(|charge| charge.meter_text().into_owned()).collect()
}

/// Rates by the first list, and what is kept of it by the second.
fn again(usage: &Usage, first: &PriceList, second: &PriceList) -> (Result<Cost, Unratable>, Cost) {
    let book = |list: &PriceList| PriceBook::new(vec![list.clone()]);
    let cost = rate(&book(first), &call(), Payer::default(), None, usage, AT).unwrap();
    let meters = meters(&cost);
    let second_book = book(second);
    let again = rate_again(&second_book, &[name("openai")], &kept(usage, &cost, &meters));
    (again, rate(&second_book, &call(), Payer::default(), None, usage, AT).unwrap())
}

fn usage() -> impl Strategy<Value = Usage> {
    // Parts may exceed their whole, as a provider's mistake has it.
    prop::collection::vec(prop::option::weighted(0.4, 0..200_u64), 25).prop_map(|counts| {
        let mut counts = counts.into_iter();
        let mut next = || counts.next().flatten();
        Usage {
            source: UsageSource::Reported,
            input: next(),
            cache_read: next(),
            cache_read_audio: next(),
            cache_read_image: next(),
            cache_creation: next(),
            cache_creation_5m: next(),
            cache_creation_1h: next(),
            audio_in: next(),
            image_in: next(),
            video_in: next(),
            tool_use_in: next(),
            unbilled_in: next(),
            output: next(),
            reasoning: next(),
            audio_out: next(),
            image_out: next(),
            web_search: next(),
            search_query: next(),
            maps_grounding: next(),
            file_search: next(),
            code_interpreter: next(),
            images: next(),
            media_us: next(),
            characters: next(),
            pages: next(),
            ..Usage::default()
        }
    })
}

proptest! {
    #[test]
    fn what_a_row_keeps_is_rated_like_what_was_used(usage in usage(), first in any::<u32>(), second in any::<u32>()) {
        let (again, expected) = again(&usage, &list(first, 3), &list(second, 7));
        match again {
            Ok(cost) => prop_assert_eq!(cost, expected),
            // Refused only where searches of either kind were told.
            Err(reason) => {
                prop_assert_eq!(reason, Unratable::Searches);
                prop_assert!(usage.web_search.unwrap_or(0) + usage.search_query.unwrap_or(0) > 0);
            }
        }
    }
}

fn all() -> u32 {
    u32::MAX
}

fn without(meter: Meter) -> u32 {
    let place = Meter::PRICED.iter().position(|other| *other == meter).unwrap();
    !(1 << place)
}

#[test]
fn searches_of_which_the_other_count_matters_are_refused() {
    let usage = Usage {
        web_search: Some(1),
        search_query: Some(5),
        ..Usage::default()
    };
    // Five queries were billed, and that there was one grounded answer is lost: a list without a price of queries bills that.
    let (refused, _) = again(&usage, &list(all(), 1), &list(without(Meter::SearchQuery), 1));
    assert_eq!(refused, Err(Unratable::Searches));
    let (rated, expected) = again(&usage, &list(all(), 1), &list(all(), 2));
    assert_eq!(rated, Ok(expected));
    // And the other way round.
    let (refused, _) = again(&usage, &list(without(Meter::SearchQuery), 1), &list(all(), 1));
    assert_eq!(refused, Err(Unratable::Searches));
}

#[test]
fn what_the_columns_and_the_lines_tell_apart_is_refused() {
    let usage = Usage {
        input: Some(100),
        output: Some(10),
        ..Usage::default()
    };
    let list = list(all(), 1);
    let book = PriceBook::new(vec![list.clone()]);
    let cost = rate(&book, &call(), Payer::default(), None, &usage, AT).unwrap();
    let meters = meters(&cost);
    let row = kept(&usage, &cost, &meters);
    let refused = |row: Row<'_>| rate_again(&book, &[name("openai")], &row).unwrap_err();
    assert_eq!(rate_again(&book, &[name("openai")], &row), Ok(cost.clone()));
    assert_eq!(
        refused(Row {
            imported: true,
            ..row.clone()
        }),
        Unratable::Imported
    );
    assert_eq!(
        refused(Row {
            input: Some(99),
            ..row.clone()
        }),
        Unratable::Counts
    );
    assert_eq!(
        refused(Row {
            output: None,
            ..row.clone()
        }),
        Unratable::Counts
    );
    assert_eq!(
        refused(Row {
            charges: Some(Vec::new()),
            ..row.clone()
        }),
        Unratable::NoCharges
    );
    let line = |meter| Line {
        meter,
        quantity: Amount::ONE,
        priced: true,
    };
    let with = |line| {
        let mut row = row.clone();
        row.charges.as_mut().unwrap().push(line);
        row
    };
    assert_eq!(refused(with(line("request"))), Unratable::Meter { meter: "request".into() });
    assert_eq!(refused(with(line("input"))), Unratable::Counts);
    assert_eq!(refused(with(line("cache_read"))), Unratable::Counts);
    let half = Line {
        quantity: Amount::from_units(500_000_000_000).unwrap(),
        ..line("page")
    };
    assert_eq!(refused(with(half)), Unratable::Counts);
}

#[test]
fn a_call_that_was_never_made_uses_its_tokens() {
    let list = list(all(), 1);
    let book = PriceBook::new(vec![list.clone()]);
    let usage = Usage {
        input: Some(100),
        cache_read: Some(40),
        output: Some(10),
        ..Usage::default()
    };
    let cost = rate(&book, &call(), Payer::default(), None, &usage, AT).unwrap();
    let row = Row {
        charges: None,
        ..kept(&usage, &cost, &[])
    };
    assert_eq!(rate_again(&book, &[name("openai")], &row), Ok(cost));
}

/// Two attempts of the model that was asked for, one of another.
fn attempted(sizes: [u64; 2]) -> Usage {
    let part = |model: Option<&str>, input: u64, read: u64, output: u64| Part {
        model: model.map(name),
        usage: Usage {
            input: Some(input),
            cache_read: Some(read),
            output: Some(output),
            ..Usage::default()
        },
    };
    let parts = vec![
        part(None, sizes[0], 10, 5),
        part(Some("m-2"), 40, 0, 7),
        part(None, sizes[1], 20, 0),
    ];
    let mut usage = Usage {
        source: UsageSource::Reported,
        file_search: Some(3),
        reasoning: Some(4),
        ..Usage::default()
    };
    parts.iter().for_each(|part| usage.add(&part.usage));
    Usage { parts, ..usage }
}

#[test]
fn what_several_models_took_is_rated_again_by_model() {
    let (again, fresh) = again(&attempted([60, 50]), &list(u32::MAX, 1), &list(u32::MAX, 7));
    assert_eq!(again, Ok(fresh.clone()));
    let meters = meters(&fresh);
    assert_eq!(
        meters,
        [
            "input:m-1",
            "cache_read:m-1",
            "output:m-1",
            "input:m-2",
            "output:m-2",
            "file_search"
        ]
    );
}

#[test]
fn parts_whose_sizes_matter_are_refused() {
    // Output costs more above 150 tokens of input: neither attempt is that large, both together are.
    let first = list(u32::MAX, 1);
    let flat = PriceList {
        prices: first
            .prices
            .iter()
            .filter(|price| price.context_above.is_none())
            .cloned()
            .collect(),
        ..first.clone()
    };
    let small = attempted([100, 90]);
    assert_eq!(again(&small, &first, &first).0, Err(Unratable::Sizes));
    let (flat_again, fresh) = again(&small, &first, &flat);
    assert_eq!(flat_again, Ok(fresh));
    // Lines of one model at two prices are one quantity.
    let large = attempted([200, 90]);
    let (flat_again, fresh) = again(&large, &first, &flat);
    assert_eq!(flat_again, Ok(fresh));
}

#[test]
fn what_an_attempt_used_and_nobody_bills_is_kept() {
    let mut usage = attempted([60, 50]);
    let refused = Usage {
        input: Some(30),
        unbilled_in: Some(30),
        output: Some(0),
        ..Usage::default()
    };
    usage.add(&refused);
    usage.parts.push(Part {
        model: Some(name("m-3")),
        usage: refused,
    });
    let (again, fresh) = again(&usage, &list(u32::MAX, 1), &list(u32::MAX, 7));
    assert_eq!(again, Ok(fresh));
}
