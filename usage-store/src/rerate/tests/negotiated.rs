//! Corrections of calls that were priced with what somebody negotiated.

use tollgate_record::{Adjustment, Terms};

use super::*;

/// The dear list, and half of it for team `even`.
fn dear_and_half() -> PriceBook {
    let list = dear().lists().map(|(list, _)| list.clone()).next().unwrap();
    let half = Adjustment {
        model: name("*"),
        meter: None,
        discount: "0.5".parse().unwrap(),
        effective_from: Timestamp::from_unix_us(0),
        effective_to: None,
        source: None,
    };
    let terms = PriceList {
        name: name("half"),
        prices: Vec::new(),
        terms: Terms {
            org: None,
            team: Some(name("even")),
            adjustments: vec![half],
        },
        ..list.clone()
    };
    PriceBook::new(vec![terms, list])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_price_alone_does_not_take_a_discount_away() {
    let dir = TempDir::new().unwrap();
    let book = dear_and_half();
    let half = book
        .lists()
        .find(|(list, _)| list.name.as_str() == "half")
        .unwrap()
        .1
        .to_string();
    stopped(&dir, 10, vec![book, cheap()]).await;
    // 5 * 400 of the others, 5 * 200 of team even.
    assert_eq!(number(&dir, "SELECT sum(cost) FROM usage").await, 3000);

    let others = Rerated {
        calls: 5,
        before: usd("0.002"),
        after: usd("0.00125"),
    };
    assert_eq!(rerate(&dir, &order(&cheap())).await, others);
    let reason = format!(
        "SELECT count(*) FROM usage_rated('{}') WHERE team = 'even' AND rated_reason LIKE '%{half}%name both%'",
        version(&cheap())
    );
    assert_eq!(number(&dir, &reason).await, 5);

    // With both lists named the discount holds on the cheap prices: 5 * 125.
    let both = Rerate {
        price_version: format!("{half}+{}", version(&cheap())),
        ..order(&cheap())
    };
    let even = Rerated {
        calls: 5,
        before: usd("0.001"),
        after: usd("0.000625"),
    };
    assert_eq!(rerate(&dir, &both).await, even);
    all(
        &dir,
        &[
            ("SELECT sum(cost) FROM usage", 1875),
            ("SELECT sum(list_cost) FROM usage", 2500),
            ("SELECT sum(cost) FROM usage_original", 3000),
        ],
    )
    .await;
}
