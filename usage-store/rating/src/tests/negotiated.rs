//! What an org or a team negotiated. Expected amounts are worked out by hand.

use tollgate_record::{Adjustment, Amount, Cost, CostStatus, Meter, Payer, Price, PriceList, Terms, Timestamp, Usage, UsageSource};

use super::super::{PriceBook, explain, rate, stored};
use super::{amount, call, list, name, now, price, reported};

fn adjustment(model: &str, meter: Option<Meter>, discount: &str) -> Adjustment {
    Adjustment {
        model: name(model),
        meter,
        discount: amount(discount),
        effective_from: Timestamp::from_unix_us(0),
        effective_to: None,
        source: None,
    }
}

/// A list of the operator for a payer.
fn terms(
    list_name: &str,
    (org, team): (Option<&str>, Option<&str>),
    prices: Vec<Price>,
    adjustments: Vec<Adjustment>,
) -> PriceList {
    PriceList {
        name: name(list_name),
        terms: Terms {
            org: org.map(name),
            team: team.map(name),
            adjustments,
        },
        ..list("openai", false, prices)
    }
}

const ACME: (Option<&str>, Option<&str>) = (Some("acme"), None);
const GROWTH: (Option<&str>, Option<&str>) = (None, Some("growth"));
const ACME_GROWTH: (Option<&str>, Option<&str>) = (Some("acme"), Some("growth"));
const EVERYONE: (Option<&str>, Option<&str>) = (None, None);

/// Input 3, cached 0.3, output 15 a million.
fn shipped() -> PriceList {
    let prices = [(Meter::Input, "3"), (Meter::CacheRead, "0.30"), (Meter::Output, "15")];
    list("openai", true, prices.map(|(meter, text)| price("m", meter, text)).to_vec())
}

fn paid(book: &PriceBook, (org, team): (Option<&str>, Option<&str>), usage: &Usage) -> Cost {
    let (org, team) = (org.map(name), team.map(name));
    let payer = Payer {
        org: org.as_ref(),
        team: team.as_ref(),
    };
    let cost = rate(book, &call("m"), payer, None, usage, now()).unwrap();
    let explained = explain(book, &call("m"), payer, None, usage, now()).unwrap();
    assert_eq!(explained.cost, cost, "what is explained is what is charged");
    let charges: Vec<_> = explained.lines.into_iter().map(|line| line.charge).collect();
    assert_eq!(charges, cost.charges);
    cost
}

/// `cost` and `list_cost`.
fn both(cost: &Cost) -> (String, String) {
    let text = |amount: Option<Amount>| amount.unwrap().to_string();
    (text(cost.cost), text(cost.list_cost))
}

#[test]
fn cost_is_what_was_negotiated_and_list_cost_what_was_not() {
    let book = PriceBook::new(vec![
        shipped(),
        terms("acme", ACME, vec![], vec![adjustment("*", None, "0.15")]),
    ]);
    let usage = Usage {
        cache_read: Some(500_000),
        ..reported(1_500_000, 1_000_000)
    };
    // 1,000,000 at 3, 500,000 at 0.30, 1,000,000 at 15: 3 + 0.15 + 15 = 18.15; less 15 %: 15.4275.
    let cost = paid(&book, ACME, &usage);
    assert_eq!(both(&cost), ("15.4275".into(), "18.15".into()));
    assert_eq!((cost.status, cost.charges.len()), (CostStatus::Priced, 3));
    assert_eq!(cost.charges[0].unit_price, Some(amount("0.00000255")));
    // Nobody else pays less.
    for payer in [EVERYONE, (Some("other"), None), (Some("other"), Some("growth"))] {
        assert_eq!(
            both(&paid(&book, payer, &usage)),
            ("18.15".into(), "18.15".into()),
            "{payer:?}"
        );
    }
}

#[test]
fn a_price_of_its_own_holds_for_its_meter_and_the_rest_costs_the_list_price() {
    let own = vec![price("m", Meter::Input, "1.80")];
    let book = PriceBook::new(vec![shipped(), terms("acme", ACME, own, vec![])]);
    let cost = paid(&book, ACME, &reported(1_000_000, 1_000_000));
    assert_eq!(both(&cost), ("16.8".into(), "18".into()));
    let version = cost.price_version.unwrap();
    let parts: Vec<&str> = version
        .as_str()
        .split('+')
        .map(|part| part.split('@').next().unwrap())
        .collect();
    assert_eq!(parts, ["acme", "openai-shipped"]);
}

#[test]
fn the_narrowest_list_wins_and_shares_do_not_add_up() {
    let all = |discount: &str| vec![adjustment("*", None, discount)];
    let everyone = terms("everyone", EVERYONE, vec![], all("0.05"));
    let org = terms("org", ACME, vec![], all("0.1"));
    let team = terms("team", GROWTH, vec![], all("0.2"));
    let both_of = terms("both", ACME_GROWTH, vec![], all("0.4"));
    // The order of the documents says nothing.
    let book = PriceBook::new(vec![everyone, org, shipped(), team, both_of]);
    for (payer, expected) in [
        (ACME_GROWTH, "1.8"),
        ((Some("other"), Some("growth")), "2.4"),
        (GROWTH, "2.4"),
        ((Some("acme"), Some("other")), "2.7"),
        (ACME, "2.7"),
        (EVERYONE, "2.85"),
        ((Some("other"), None), "2.85"),
    ] {
        assert_eq!(
            both(&paid(&book, payer, &reported(1_000_000, 0))),
            (expected.into(), "3".into()),
            "{payer:?}"
        );
    }
}

#[test]
fn of_a_lists_adjustments_the_most_specific_holds() {
    let adjustments = vec![
        adjustment("*", None, "0.1"),
        adjustment("*", Some(Meter::Output), "0.2"),
        adjustment("m*", None, "0.3"),
        adjustment("x", None, "0.9"),
    ];
    let book = PriceBook::new(vec![shipped(), terms("acme", ACME, vec![], adjustments.clone())]);
    // A longer glob beats a meter: 3 * 0.7 + 15 * 0.7.
    assert_eq!(paid(&book, ACME, &reported(1_000_000, 1_000_000)).cost, Some(amount("12.6")));
    let exact = [adjustments, vec![adjustment("m", Some(Meter::Input), "0.5")]].concat();
    let book = PriceBook::new(vec![shipped(), terms("acme", ACME, vec![], exact)]);
    // 3 * 0.5 + 15 * 0.7.
    assert_eq!(paid(&book, ACME, &reported(1_000_000, 1_000_000)).cost, Some(amount("12")));
}

#[test]
fn a_price_beats_the_adjustments_of_its_list() {
    let own = vec![price("m", Meter::Input, "1")];
    let book = PriceBook::new(vec![shipped(), terms("acme", ACME, own, vec![adjustment("*", None, "0.5")])]);
    // 1 + 15 * 0.5.
    assert_eq!(paid(&book, ACME, &reported(1_000_000, 1_000_000)).cost, Some(amount("8.5")));
}

#[test]
fn a_markup_is_owed_on_top() {
    let book = PriceBook::new(vec![
        shipped(),
        terms("acme", ACME, vec![], vec![adjustment("*", None, "-0.03")]),
    ]);
    let cost = paid(&book, ACME, &reported(1_000_000, 0));
    assert_eq!(both(&cost), ("3.09".into(), "3".into()));
}

#[test]
fn a_share_is_rounded_once_and_half_to_even() {
    // A unit costs 0.000000000001, the least there is.
    let least = Price {
        per: 1,
        ..price("m", Meter::Input, "0.000000000001")
    };
    let shipped = list("openai", true, vec![least]);
    let of = |discount: &str, count: u64| {
        let acme = terms("acme", ACME, vec![], vec![adjustment("*", None, discount)]);
        let cost = paid(&PriceBook::new(vec![shipped.clone(), acme]), ACME, &reported(count, 0));
        cost.cost.unwrap().units()
    };
    // Half of one is none, half of three is one and a half, which is two; a million halves are half a million: the unit is not rounded first.
    assert_eq!((of("0.5", 1), of("0.5", 3), of("0.5", 1_000_000)), (0, 2, 500_000));
    assert_eq!(of("0.999999999999", 1_000_000_000_000), 1);
    assert_eq!(of("-10", 7), 77);
}

#[test]
fn a_discount_beside_a_price_is_rounded_once_too() {
    let half = Price {
        per: 1,
        discount: amount("0.5"),
        ..price("m", Meter::Input, "0.000000000001")
    };
    let book = PriceBook::new(vec![list("openai", false, vec![half])]);
    assert_eq!(paid(&book, EVERYONE, &reported(1_000_000, 0)).cost, Some(amount("0.0000005")));
}

#[test]
fn a_share_for_everyone_leaves_alone_what_has_a_discount_of_its_own() {
    let discounted = Price {
        discount: amount("0.5"),
        ..price("m", Meter::Input, "2")
    };
    let own = PriceList {
        terms: Terms {
            adjustments: vec![adjustment("*", None, "0.1")],
            ..Terms::default()
        },
        ..list("openai", false, vec![discounted, price("m", Meter::Output, "10")])
    };
    let cost = paid(&PriceBook::new(vec![own]), EVERYONE, &reported(1_000_000, 1_000_000));
    // 2 * 0.5 + 10 * 0.9.
    assert_eq!(both(&cost), ("10".into(), "12".into()));
    assert!(!cost.price_version.unwrap().as_str().contains('+'), "one list");
}

#[test]
fn the_price_of_another_meter_stands_in_only_where_it_does_in_the_list_prices() {
    let mut shipped = shipped();
    shipped.prices.push(price("m", Meter::ImageIn, "8"));
    let own = vec![price("m", Meter::Input, "1")];
    let book = PriceBook::new(vec![shipped, terms("acme", ACME, own, vec![])]);
    let usage = Usage {
        image_in: Some(500_000),
        video_in: Some(500_000),
        ..reported(1_000_000, 0)
    };
    // Images have a list price, 8, of their own; video is input, at what was negotiated for that.
    assert_eq!(both(&paid(&book, ACME, &usage)), ("4.5".into(), "5.5".into()));
}

#[test]
fn reasoning_is_split_off_where_a_price_of_it_was_negotiated() {
    let own = vec![price("m", Meter::Reasoning, "5")];
    let org = terms("acme", ACME, own, vec![]);
    let usage = Usage {
        reasoning: Some(400_000),
        ..reported(0, 1_000_000)
    };
    // 600,000 at 15 and 400,000 at 5; by the list all of it is output.
    let cost = paid(&PriceBook::new(vec![shipped(), org.clone()]), ACME, &usage);
    assert_eq!(both(&cost), ("11".into(), "15".into()));
    // A team's share of everything comes before it, and reasoning is output to that.
    let team = terms("team", GROWTH, vec![], vec![adjustment("*", None, "0.1")]);
    let cost = paid(&PriceBook::new(vec![shipped(), org, team]), ACME_GROWTH, &usage);
    assert_eq!((both(&cost), cost.charges.len()), (("13.5".into(), "15".into()), 1));
}

#[test]
fn what_only_a_negotiated_list_prices_counts_as_its_list_price() {
    let own = terms("acme", ACME, vec![price("m", Meter::Input, "2")], vec![]);
    let book = PriceBook::new(vec![own]);
    let cost = paid(&book, ACME, &reported(1_000_000, 10));
    assert_eq!((both(&cost), cost.status), (("2".into(), "2".into()), CostStatus::Unpriced));
    assert_eq!(paid(&book, EVERYONE, &reported(1_000_000, 10)).cost, None);
    // A share of a price that is not known is not known either.
    let shares = terms("acme", ACME, vec![], vec![adjustment("*", None, "0.1")]);
    assert_eq!(paid(&PriceBook::new(vec![shares]), ACME, &reported(10, 10)).cost, None);
}

#[test]
fn currencies_are_not_mixed() {
    let own = vec![price("m", Meter::Input, "2")];
    let euro = PriceList {
        currency: name("EUR"),
        ..terms("acme", ACME, own, vec![])
    };
    let book = PriceBook::new(vec![shipped(), euro]);
    let cost = paid(&book, ACME, &reported(1_000_000, 10));
    // Output has a price in dollars only.
    assert_eq!((both(&cost), cost.status), (("2".into(), "2".into()), CostStatus::Unpriced));
    assert_eq!(cost.currency, Some(name("EUR")));
    assert_eq!(paid(&book, EVERYONE, &reported(1_000_000, 0)).currency, Some(name("USD")));
}

#[test]
fn terms_hold_from_their_first_day_until_their_last() {
    let day = |number: i64| Timestamp::from_unix_us(number * Timestamp::DAY_US);
    let dated = Adjustment {
        effective_from: day(10),
        effective_to: Some(day(20)),
        ..adjustment("*", None, "0.5")
    };
    let book = PriceBook::new(vec![shipped(), terms("acme", ACME, vec![], vec![dated])]);
    let acme = name("acme");
    let payer = Payer {
        org: Some(&acme),
        team: None,
    };
    for (at, expected) in [(9, "3"), (10, "1.5"), (19, "1.5"), (20, "3")] {
        let cost = rate(&book, &call("m"), payer, None, &reported(1_000_000, 0), day(at)).unwrap();
        assert_eq!(cost.cost, Some(amount(expected)), "day {at}");
    }
}

#[test]
fn estimated_usage_stays_estimated() {
    let book = PriceBook::new(vec![
        shipped(),
        terms("acme", ACME, vec![], vec![adjustment("*", None, "0.1")]),
    ]);
    let usage = Usage {
        source: UsageSource::Estimated,
        ..reported(10, 10)
    };
    assert_eq!(paid(&book, ACME, &usage).status, CostStatus::Estimated);
}

#[test]
fn versions_that_are_too_long_together_keep_their_hashes() {
    let long = |list_name: &str, payer, meter| {
        let own = vec![price("m", meter, "1")];
        terms(&format!("{list_name}{}", "x".repeat(127)), payer, own, vec![])
    };
    let lists = vec![shipped(), long("a", ACME, Meter::Input), long("b", GROWTH, Meter::Output)];
    let book = PriceBook::new(lists);
    let version = paid(&book, ACME_GROWTH, &reported(1, 1)).price_version.unwrap();
    assert!(version.as_str().len() <= tollgate_record::Name::MAX_BYTES);
    for (_, whole) in book.lists() {
        let hash = whole.as_str().rsplit('@').next().unwrap();
        assert!(version.as_str().contains(hash), "{version} lacks {hash}");
    }
}

#[test]
fn a_list_without_terms_is_stored_as_it_was_before_there_were_terms() {
    let plain = shipped();
    let before = (&plain.name, &plain.provider, &plain.currency, plain.shipped, &plain.prices);
    assert_eq!(stored::content(&plain), postcard::to_stdvec(&before).unwrap());
    assert_eq!(stored::plain(&stored::content(&plain)), Some(plain.clone()));
    let negotiated = terms("acme", ACME, plain.prices.clone(), vec![adjustment("*", None, "0.1")]);
    assert_eq!(stored::with_terms(&stored::content(&negotiated)), Some(negotiated.clone()));
    let version = |list: &PriceList| PriceBook::new(vec![list.clone()]).lists().next().unwrap().1.clone();
    let other = PriceList {
        terms: Terms {
            org: Some(name("other")),
            ..negotiated.terms.clone()
        },
        ..negotiated.clone()
    };
    assert_ne!(version(&negotiated), version(&other), "other terms are another version");
}

#[test]
fn an_explanation_names_every_list_that_was_asked() {
    let lists = vec![
        shipped(),
        terms("acme", ACME, vec![price("other", Meter::Input, "1")], vec![]),
        terms("team", GROWTH, vec![], vec![adjustment("m", None, "0.1")]),
        list("acme-openai", false, vec![price("other", Meter::Input, "1")]),
    ];
    let book = PriceBook::new(lists);
    let (acme, growth) = (name("acme"), name("growth"));
    let payer = Payer {
        org: Some(&acme),
        team: Some(&growth),
    };
    let answered = name("m-2026-01-01");
    let explained = explain(&book, &call("alias"), payer, Some(&answered), &reported(1, 1), now()).unwrap();
    let tries: Vec<String> = explained
        .tries
        .iter()
        .map(|tried| {
            let found = tried
                .found
                .as_ref()
                .map_or(if tried.adjusts { "adjusts" } else { "-" }, |found| found.as_str());
            format!("{} {} {found}", tried.list, tried.model)
        })
        .collect();
    assert_eq!(
        tries,
        [
            "team m-2026-01-01 -",
            "team m adjusts",
            "acme m-2026-01-01 -",
            "acme m -",
            "acme alias -",
            "acme-openai-own m-2026-01-01 -",
            "acme-openai-own m -",
            "acme-openai-own alias -",
            "openai-shipped m-2026-01-01 -",
            "openai-shipped m m",
        ]
    );
    // Three of its own; images, video and results of tools are input, cached images cached input.
    assert_eq!(explained.prices.len(), 3 + 4);
}
