//! Prices that change while calls are under way, and what is kept of them.

use arrow::array::AsArray;
use arrow::datatypes::{Decimal128Type, Int64Type};
use tempfile::TempDir;
use tollgate_record::{Adjustment, Amount, PriceList, Terms, Timestamp};

use super::{COST, config, open, sql};
use crate::testing::{ending, intent, name, prices};
use crate::{PriceBook, Store, Tables};

/// The list of [`prices`] at `times` its amounts.
fn times(times: i128) -> PriceList {
    let mut list = prices().lists().next().unwrap().0.clone();
    for price in &mut list.prices {
        price.price = Amount::from_units(price.price.units() * times).unwrap();
    }
    list
}

/// Texts of a query's first column.
async fn texts(tables: &dyn Tables, query: &str) -> Vec<String> {
    let batch = sql(tables, query).await;
    batch
        .column(0)
        .as_string::<i32>()
        .iter()
        .flatten()
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn a_call_is_priced_by_the_book_of_its_start_and_every_version_is_kept() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let (ledger, tables) = (store.ledger(), store.tables());
    let before = ledger.admit(intent(1)).await.unwrap();
    store.set_prices(PriceBook::new(vec![times(3)])).unwrap();
    let between = ledger.admit(intent(2)).await.unwrap();
    store.set_prices(PriceBook::new(vec![times(5)])).unwrap();
    let after = ledger.admit(intent(3)).await.unwrap();
    // They end in another order than they began, all of them after the changes.
    let mut costs = Vec::new();
    for open in [after, before, between] {
        costs.push(open.settle(ending()).await.unwrap().cost.unwrap().units());
    }
    assert_eq!(costs, [5 * COST, COST, 3 * COST]);

    let versions = "SELECT DISTINCT price_version FROM prices ORDER BY 1";
    assert_eq!(texts(&*tables, versions).await.len(), 3);
    let in_force = texts(&*tables, "SELECT DISTINCT price_version FROM prices WHERE in_force").await;
    let explained = "SELECT u.price_version FROM usage u JOIN prices p ON u.price_version = p.price_version AND p.meter = 'input' ORDER BY u.cost";
    let of_calls = texts(&*tables, explained).await;
    assert_eq!(
        of_calls.len(),
        3,
        "every call's version is in the table, and has one price of input"
    );
    assert_eq!(of_calls.last(), in_force.first());
    // Three calls of two meters, each at the unit price of its version.
    let explained = "SELECT count(*) FROM (SELECT price_version, unnest(charges) AS c FROM usage) u \
        JOIN prices p ON u.price_version = p.price_version AND u.c['meter'] = p.meter WHERE u.c['unit_price'] * p.per = p.price";
    let explained = sql(&*tables, explained).await;
    assert_eq!(explained.column(0).as_primitive::<Int64Type>().value(0), 6);
    drop((ledger, tables));
    store.close().await.unwrap();

    // A start with the first prices: the others are still explained.
    let store = open(&folder).await;
    assert_eq!(texts(&*store.tables(), versions).await.len(), 3);
    let now = texts(&*store.tables(), "SELECT DISTINCT price_version FROM prices WHERE in_force").await;
    assert_eq!(Some(&now[0]), of_calls.first());
    store.close().await.unwrap();
}

#[tokio::test]
async fn an_orgs_terms_are_applied_and_kept() {
    let folder = TempDir::new().unwrap();
    let mut org = (*intent(1).identity).clone();
    org.org = Some(name("initech"));
    let terms = PriceList {
        name: name("initech"),
        prices: Vec::new(),
        terms: Terms {
            org: Some(name("initech")),
            team: None,
            adjustments: vec![Adjustment {
                model: name("*"),
                meter: None,
                discount: "0.25".parse().unwrap(),
                effective_from: Timestamp::from_unix_us(0),
                effective_to: None,
                source: Some("contract 4711".into()),
            }],
        },
        ..times(1)
    };
    let book = PriceBook::new(vec![times(1), terms]);
    let store = Store::open(config(&folder), book).await.unwrap();
    let ledger = store.ledger();
    let mut theirs = intent(1);
    theirs.identity = org.into();
    for intent in [theirs, intent(2)] {
        ledger.admit(intent).await.unwrap().settle(ending()).await.unwrap();
    }
    drop(ledger);
    store.close().await.unwrap();

    let store = open(&folder).await;
    let batch = sql(&*store.tables(), "SELECT cost, list_cost FROM usage ORDER BY cost").await;
    let column = |index: usize| batch.column(index).as_primitive::<Decimal128Type>().values().to_vec();
    assert_eq!((column(0), column(1)), (vec![COST / 4 * 3, COST], vec![COST, COST]));
    let kept =
        "SELECT concat(for_org, ' ', model, ' ', source) FROM prices WHERE price IS NULL AND meter IS NULL AND discount = 0.25";
    assert_eq!(texts(&*store.tables(), kept).await, ["initech * contract 4711"]);
    let of_terms = texts(
        &*store.tables(),
        "SELECT DISTINCT price_version FROM prices WHERE for_org = 'initech'",
    )
    .await;
    let of_call = texts(&*store.tables(), "SELECT price_version FROM usage WHERE cost < list_cost").await;
    assert!(
        of_call[0].starts_with(&format!("{}+list@", of_terms[0])),
        "{of_call:?} {of_terms:?}"
    );
    store.close().await.unwrap();
}

#[tokio::test]
async fn price_files_of_the_first_format_are_read() {
    let folder = TempDir::new().unwrap();
    let list = times(2);
    let version = PriceBook::new(vec![list.clone()]).lists().next().unwrap().1.clone();
    let content = (
        &version,
        (&list.name, &list.provider, &list.currency, list.shipped, &list.prices),
    );
    let bytes = [b"TOLLPRC1".as_slice(), &postcard::to_stdvec(&content).unwrap()].concat();
    std::fs::create_dir_all(folder.path().join("prices")).unwrap();
    std::fs::write(folder.path().join("prices/old.prices"), bytes).unwrap();
    let store = open(&folder).await;
    let versions = texts(
        &*store.tables(),
        "SELECT price_version FROM prices GROUP BY price_version, in_force ORDER BY in_force",
    )
    .await;
    assert_eq!((versions.len(), &*versions[0]), (2, version.as_str()));
    store.close().await.unwrap();
    std::fs::write(folder.path().join("prices/new.prices"), b"TOLLPRC3 and more").unwrap();
    let error = Store::open(config(&folder), prices())
        .await
        .err()
        .expect("a later format is refused");
    assert!(error.to_string().contains("TOLLPRC3"), "{error}");
}
