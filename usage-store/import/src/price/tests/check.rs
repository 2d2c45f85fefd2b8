//! Each kind of mistake, planted in a list that has none otherwise.

use tollgate_record::{Meter, Price};

use super::{day, list, name, price};
use crate::price::{Kind, check, diff};

/// The findings in a list of two good prices and these.
fn findings(prices: Vec<Price>) -> Vec<String> {
    let good = [price("good", Meter::Input, "2"), price("good", Meter::Output, "8")];
    let findings = check(&[list(good.into_iter().chain(prices).collect())]);
    findings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_good_list_has_no_findings() {
    let history = vec![
        Price {
            effective_to: Some(day("2026-05-01")),
            ..price("m", Meter::Input, "5")
        },
        Price {
            effective_from: day("2026-05-01"),
            ..price("m", Meter::Input, "1")
        },
        // As much as the largest known ratio of input to cached input.
        price("m", Meter::CacheRead, "0.0421"),
        price("m", Meter::Output, "25"),
        Price {
            per: 1000,
            ..price("m", Meter::WebSearch, "10")
        },
        price("free", Meter::Input, "0"),
        price("free", Meter::Output, "0"),
    ];
    assert_eq!(findings(history), [""; 0]);
}

#[test]
fn two_prices_at_one_time_are_found_and_the_same_twice_is_told_apart() {
    let later = |amount| Price {
        effective_from: day("2026-03-01"),
        ..price("m", Meter::Input, amount)
    };
    assert_eq!(
        findings(vec![price("m", Meter::Input, "3"), later("4")]),
        ["acme: m, input: two prices hold from 2026-03-01 on"]
    );
    assert_eq!(
        findings(vec![price("m", Meter::Input, "3"), later("3")]),
        ["acme: m, input: the same price stands there twice from 2026-03-01 on"]
    );
    // 3 for a million is 0.003 for a thousand.
    let thousand = Price {
        per: 1000,
        ..later("0.003")
    };
    assert_eq!(
        findings(vec![price("m", Meter::Input, "3"), thousand]),
        ["acme: m, input: the same price stands there twice from 2026-03-01 on"]
    );
}

#[test]
fn lists_of_a_provider_are_looked_at_together_and_shipped_ones_apart() {
    let one = list(vec![price("m", Meter::Input, "3")]);
    let mut other = list(vec![price("m", Meter::Input, "4")]);
    assert_eq!(check(&[one.clone(), other.clone()]).len(), 1);
    other.shipped = true;
    assert_eq!(check(&[one.clone(), other.clone()]), []);
    other.shipped = false;
    other.terms.org = Some(name("acme"));
    assert_eq!(
        check(&[one.clone(), other.clone()]),
        [],
        "what was negotiated differs on purpose"
    );
    other.terms.org = None;
    let found = check(&[one.clone(), other.clone()]);
    assert_eq!(found.iter().map(|finding| finding.place).collect::<Vec<_>>(), [(1, 0)]);
    other.provider = name("another");
    assert_eq!(check(&[one, other]), []);
}

#[test]
fn a_time_without_a_price_is_found_between_prices() {
    let prices = vec![
        Price {
            effective_to: Some(day("2026-03-01")),
            ..price("m", Meter::Input, "3")
        },
        Price {
            effective_from: day("2026-03-02"),
            ..price("m", Meter::Input, "3")
        },
    ];
    assert_eq!(findings(prices), ["acme: m, input: no price from 2026-03-01 to 2026-03-02"]);
}

#[test]
fn jumps_are_found_over_time_and_between_siblings() {
    let prices = vec![
        Price {
            effective_to: Some(day("2026-03-01")),
            ..price("m", Meter::Input, "2.5")
        },
        Price {
            effective_from: day("2026-03-01"),
            ..price("m", Meter::Input, "2500")
        },
    ];
    assert_eq!(
        findings(prices),
        ["acme: m, input: 2500 per 1000000 from 2026-03-01 on, after 2.5 per 1000000"]
    );
    assert_eq!(
        findings(vec![price("m", Meter::Input, "3"), price("m", Meter::Output, "15000")]),
        [
            "acme: m, output: 15000 per 1000000 looks like the price of a million",
            "acme: m, output: 15000 per 1000000, while input is 3 per 1000000",
        ]
    );
    assert_eq!(
        findings(vec![price("m", Meter::Input, "3"), price("m", Meter::CacheRead, "0.015")]),
        ["acme: m, cache_read: 0.015 per 1000000, while input is 3 per 1000000"]
    );
    assert_eq!(
        findings(vec![price("m", Meter::Input, "3"), price("m", Meter::CacheRead, "0.0151")]),
        [""; 0]
    );
}

#[test]
fn prices_the_wrong_way_round_are_found() {
    assert_eq!(
        findings(vec![price("m", Meter::Input, "15"), price("m", Meter::Output, "3")]),
        ["acme: m, output: 3 per 1000000, less than input at 15 per 1000000"]
    );
    assert_eq!(
        findings(vec![price("m", Meter::Input, "3"), price("m", Meter::CacheRead, "3.01")]),
        ["acme: m, cache_read: 3.01 per 1000000, more than input at 3 per 1000000"]
    );
    assert_eq!(
        findings(vec![
            price("m", Meter::AudioIn, "1"),
            price("m", Meter::CacheReadAudio, "1.1")
        ]),
        ["acme: m, cache_read_audio: 1.1 per 1000000, more than audio_in at 1 per 1000000"]
    );
    // Input became dearer than output was all along.
    let raised = vec![
        Price {
            effective_to: Some(day("2026-03-01")),
            ..price("m", Meter::Input, "1")
        },
        Price {
            effective_from: day("2026-03-01"),
            ..price("m", Meter::Input, "5")
        },
        price("m", Meter::Output, "4"),
    ];
    assert_eq!(
        findings(raised),
        ["acme: m, output: 4 per 1000000, less than input at 5 per 1000000"]
    );
    // Prices of different times, tiers or thresholds are not compared.
    let apart = vec![
        Price {
            effective_to: Some(day("2026-03-01")),
            ..price("m", Meter::Input, "15")
        },
        Price {
            effective_from: day("2026-03-01"),
            ..price("m", Meter::Output, "3")
        },
        Price {
            service_tier: Some(name("batch")),
            ..price("m", Meter::Output, "3")
        },
    ];
    assert_eq!(findings(apart), [""; 0]);
}

#[test]
fn a_price_of_one_token_is_found_where_one_of_a_million_should_be() {
    assert_eq!(
        findings(vec![price("m", Meter::Input, "0.0000025")]),
        ["acme: m, input: 0.0000025 per 1000000 looks like the price of one token"]
    );
    let each = |amount| Price {
        per: 1,
        ..price("m", Meter::Input, amount)
    };
    assert_eq!(
        findings(vec![each("2.5")]),
        ["acme: m, input: 2.5 per 1 looks like the price of a million"]
    );
    assert_eq!(findings(vec![each("0.0000025")]), [""; 0]);
    let found = check(&[list(vec![each("2.5")])]);
    assert!(matches!(found[0].kind, Kind::LooksPerMillion { .. }));
}

#[test]
fn no_amount_is_too_large_to_be_looked_at() {
    let largest = "9999999999999999.999999999999";
    let prices = vec![
        Price {
            per: 1,
            ..price("m", Meter::Input, largest)
        },
        Price {
            per: 1_000_000_000_000,
            ..price("m", Meter::Output, largest)
        },
    ];
    let list = list(prices);
    assert!(!check(std::slice::from_ref(&list)).is_empty());
    assert_eq!(diff(std::slice::from_ref(&list), std::slice::from_ref(&list)), []);
}
