//! What is a change between two versions of a list.

use tollgate_record::{Adjustment, Meter, Price};

use super::{day, list, name, price};
use crate::price::{Change, Content, Entry, diff};

#[test]
fn a_difference_is_a_price_that_is_new_gone_or_another() {
    let old = list(vec![
        price("a", Meter::Input, "1"),
        price("b", Meter::Input, "2.5"),
        price("c", Meter::Input, "3"),
        price("d", Meter::Input, "4"),
    ]);
    let mut new = list(vec![
        price("a", Meter::Input, "1"),
        // The same price of a unit, in another list and from another source.
        Price {
            per: 1000,
            source: Some("elsewhere".into()),
            ..price("b", Meter::Input, "0.0025")
        },
        Price {
            effective_to: Some(day("2026-12-01")),
            ..price("c", Meter::Input, "3")
        },
        Price {
            effective_from: day("2026-12-01"),
            ..price("c", Meter::Input, "6")
        },
    ]);
    new.name = name("acme-2");
    let changes = diff(std::slice::from_ref(&old), std::slice::from_ref(&new));
    let text: Vec<String> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(
        text,
        [
            "openai: c, input: 3 per 1000000 from 2026-01-01 to 2026-12-01, was 3 per 1000000 from 2026-01-01",
            "openai: c, input: new, 6 per 1000000 from 2026-12-01",
            "openai: d, input: gone, was 4 per 1000000 from 2026-01-01",
        ]
    );
    assert_eq!(diff(&[], std::slice::from_ref(&old)).len(), old.prices.len());
    let first = Change {
        provider: name("openai"),
        org: None,
        team: None,
        old: None,
        new: Some(Entry {
            place: (0, 0),
            content: Content::Price(old.prices[0].clone()),
        }),
    };
    assert_eq!(diff(&[], &[old])[0], first);
}

#[test]
fn what_was_negotiated_is_compared_with_what_was_negotiated_with_the_same() {
    let terms = |org: &str, discount: &str| {
        let mut list = list(vec![price("a", Meter::Input, "1")]);
        list.terms.org = Some(name(org));
        list.terms.adjustments = vec![Adjustment {
            model: name("*"),
            meter: None,
            discount: discount.parse().unwrap(),
            effective_from: day("2026-01-01"),
            effective_to: None,
            source: None,
        }];
        list
    };
    let changes = diff(
        &[terms("x", "0.15"), terms("y", "0.1")],
        &[terms("x", "-0.03"), terms("y", "0.1")],
    );
    let text: Vec<String> = changes.iter().map(ToString::to_string).collect();
    let expected =
        "openai: org x: *, every meter: list price plus 0.03 of it from 2026-01-01, was list price less 0.15 of it from 2026-01-01";
    assert_eq!(text, [expected]);
    assert_eq!(
        diff(&[terms("x", "0.1")], &[terms("z", "0.1")]).len(),
        4,
        "another org, another entry"
    );
}
