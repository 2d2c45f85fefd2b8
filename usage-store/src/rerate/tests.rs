//! A call of these tests uses 100 input tokens and 20 output tokens ([`crate::testing::ending`]).

mod negotiated;

use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, Int64Type};
use datafusion::prelude::{SessionConfig, SessionContext};
use tempfile::TempDir;
use tollgate_record::{Amount, CallId, Ledger, Meter, Outcome, Price, PriceList, Timestamp, Usage};

use super::{INSTANCE, Rerate, Rerated};
use crate::clock::System;
use crate::testing::{ending, intent, list, name, plain, price, record};
use crate::{Config, Error, Location, Offline, PriceBook, Store, VIEWS, derived};

/// The first call's start is a millisecond later, and each next one's a millisecond behind.
const START_US: i64 = 1_700_000_000_000_000;

/// Prices of a million tokens; none is no price.
fn book(provider: &str, model: &str, currency: &str, input: Option<&str>, output: Option<&str>) -> PriceBook {
    let price = |meter, text: &str| Price {
        model: name(model),
        ..price(meter, text)
    };
    let input = input.map(|input| price(Meter::Input, input));
    let output = output.map(|output| price(Meter::Output, output));
    PriceBook::new(vec![PriceList {
        provider: name(provider),
        currency: name(currency),
        ..list(input.into_iter().chain(output).collect())
    }])
}

/// The same book once more.
fn same(book: &PriceBook) -> PriceBook {
    PriceBook::new(book.lists().map(|(list, _)| list.clone()).collect())
}

fn version(book: &PriceBook) -> String {
    let (_, version) = book.lists().next().unwrap();
    version.to_string()
}

/// 100 * 2 + 20 * 10 = 400 millionths a call.
fn dear() -> PriceBook {
    book("openai", "m", "USD", Some("2"), Some("10"))
}

/// 100 * 1.5 + 20 * 5 = 250 millionths a call.
fn cheap() -> PriceBook {
    book("openai", "m", "USD", Some("1.5"), Some("5"))
}

fn config(dir: &Path, table: &Path) -> Config {
    let mut config = Config::new(dir, name("gw")).unwrap();
    config.table = location(table);
    config
}

fn location(table: &Path) -> Location {
    Location::parse(&format!("file:{}", table.join("usage").display())).unwrap()
}

async fn call(ledger: &dyn Ledger, number: u64, usage: Usage) {
    let mut ending = ending();
    ending.usage = usage;
    ledger.admit(intent(number)).await.unwrap().settle(ending).await.unwrap();
}

/// A directory in which calls 1 to `calls` were priced by the first list, and the others were in force later.
async fn stopped(dir: &TempDir, calls: u64, books: Vec<PriceBook>) {
    let mut books = books.into_iter();
    let store = Store::open(config(dir.path(), dir.path()), books.next().unwrap())
        .await
        .unwrap();
    for number in 1..=calls {
        call(&*store.ledger(), number, ending().usage).await;
    }
    for book in books {
        store.set_prices(book).unwrap();
    }
    store.close().await.unwrap();
}

async fn open(dir: &TempDir) -> Offline {
    Offline::open(dir.path(), &location(dir.path())).await.unwrap()
}

fn order(book: &PriceBook) -> Rerate {
    Rerate {
        from: Timestamp::from_unix_us(START_US),
        to: Timestamp::from_unix_us(START_US + Timestamp::DAY_US),
        provider: None,
        model: None,
        price_version: version(book),
    }
}

async fn rerate(dir: &TempDir, order: &Rerate) -> Rerated {
    open(dir).await.rerate(order, &System).await.unwrap()
}

async fn rows(tables: &dyn crate::Tables, sql: &str) -> RecordBatch {
    // As the query engine has it.
    let config = SessionConfig::new().set_bool("datafusion.optimizer.enable_leaf_expression_pushdown", false);
    let context = SessionContext::new_with_config(config);
    context.register_udf(tables.rate().as_ref().clone());
    for (table, provider) in tables.snapshot().await.unwrap() {
        if table == "usage" {
            let (views, functions) = derived(&provider, tables.rate());
            for (view, provider) in views {
                context.register_table(view, provider).unwrap();
            }
            for (name, function) in functions {
                context.register_udtf(name, function);
            }
        }
        context.register_table(table, provider).unwrap();
    }
    for (view, _, definition) in VIEWS {
        context.sql(&format!("CREATE VIEW {view} AS {definition}")).await.unwrap();
    }
    let frame = context.sql(sql).await.unwrap();
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let batches = frame.collect().await.unwrap();
    plain(&arrow::compute::concat_batches(&schema, &batches).unwrap())
}

/// A whole number, or an amount in millionths.
async fn number(dir: &TempDir, sql: &str) -> i128 {
    let offline = open(dir).await;
    let batch = rows(&offline, sql).await;
    let column = batch.column(0);
    match column.as_primitive_opt::<Decimal128Type>() {
        Some(amounts) => amounts.value(0) / 1_000_000,
        None => i128::from(column.as_primitive::<Int64Type>().value(0)),
    }
}

/// The one answer of several questions.
async fn all(dir: &TempDir, expected: &[(&str, i128)]) {
    for (sql, expected) in expected {
        assert_eq!(number(dir, sql).await, *expected, "{sql}");
    }
}

fn usd(amount: &str) -> std::collections::BTreeMap<String, Amount> {
    std::collections::BTreeMap::from([("USD".to_owned(), amount.parse().unwrap())])
}

#[tokio::test(flavor = "multi_thread")]
async fn rerating_corrects_each_call_once_and_a_second_time_changes_nothing() {
    let dir = TempDir::new().unwrap();
    stopped(&dir, 10, vec![dear(), cheap()]).await;
    let done = rerate(&dir, &order(&cheap())).await;
    // 10 * 400 and 10 * 250 millionths.
    let expected = Rerated {
        calls: 10,
        before: usd("0.004"),
        after: usd("0.0025"),
    };
    assert_eq!(done, expected);
    let corrected = [
        ("SELECT sum(cost) FROM usage", 2500),
        ("SELECT sum(list_cost) FROM usage", 2500),
        ("SELECT sum(cost) FROM usage_original", 4000),
        ("SELECT sum(cost) FROM usage_corrected", 2500),
        ("SELECT sum(cost) FROM usage_hourly", 2500),
        ("SELECT sum(cost) FROM requests", 2500),
        (
            "SELECT sum(line['amount']) FROM (SELECT unnest(charges) AS line FROM usage)",
            2500,
        ),
        (
            "SELECT sum(line['amount']) FROM (SELECT unnest(charges) AS line FROM usage_corrected)",
            2500,
        ),
        ("SELECT sum(cost) FROM usage WHERE team = 'even'", 1250),
        ("SELECT count(*) FROM usage", 30),
        ("SELECT count(DISTINCT call_id) FROM usage", 30),
        ("SELECT count(*) FROM usage WHERE corrects IS NULL", 10),
        ("SELECT count(*) FROM usage_original", 10),
        ("SELECT count(*) FROM usage_corrected", 10),
        ("SELECT count(*) FROM requests", 10),
        ("SELECT sum(calls) FROM usage_hourly", 10),
        ("SELECT sum(corrections) FROM usage_hourly", 20),
        ("SELECT sum(input_tokens_calls) FROM usage_hourly", 10),
        ("SELECT sum(input_tokens) FROM usage", 1000),
        ("SELECT sum(output_tokens) FROM usage_hourly", 200),
        ("SELECT sum(input_tokens) FROM usage_corrected", 1000),
        ("SELECT count(DISTINCT corrects) FROM usage", 10),
        // Members of maps and lists, below the join with corrections.
        (
            "SELECT count(*) FROM usage_corrected WHERE tags['env'] = 'prod' AND tags['number'] <> tags['env']",
            10,
        ),
        (
            "SELECT sum(calls) FROM (SELECT tags['env'], team, count(*) AS calls FROM usage_corrected WHERE cost > 0 GROUP BY tags['env'], team)",
            10,
        ),
        (
            "SELECT count(*) FROM usage_corrected WHERE decisions[1]['policy'] = 'p' AND charges[1]['amount'] > 0",
            10,
        ),
    ];
    all(&dir, &corrected).await;
    // By the columns that a correction changes, too.
    let by_version = format!("SELECT sum(cost) FROM usage WHERE price_version = '{}'", version(&dear()));
    all(&dir, &[(by_version.as_str(), 0)]).await;
    let of_instance = format!("SELECT max(seq) FROM usage WHERE instance = '{INSTANCE}'");
    all(&dir, &[(of_instance.as_str(), 20)]).await;
    assert_eq!(rerate(&dir, &order(&cheap())).await, Rerated::default());
    all(&dir, &corrected).await;
    // Back again: what was booked is taken back.
    let back = rerate(&dir, &order(&dear())).await;
    assert_eq!((back.calls, back.before, back.after), (10, usd("0.0025"), usd("0.004")));
    all(
        &dir,
        &[
            ("SELECT sum(cost) FROM usage", 4000),
            ("SELECT sum(cost) FROM usage_corrected", 4000),
            ("SELECT count(*) FROM usage", 50),
            ("SELECT count(DISTINCT call_id) FROM usage", 50),
            ("SELECT count(*) FROM usage_corrected WHERE corrected_by IS NOT NULL", 10),
        ],
    )
    .await;
    assert_eq!(rerate(&dir, &order(&dear())).await, Rerated::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_goes_on_over_corrections() {
    let dir = TempDir::new().unwrap();
    stopped(&dir, 4, vec![dear(), cheap()]).await;
    rerate(&dir, &order(&cheap())).await;
    let store = Store::open(config(dir.path(), dir.path()), dear()).await.unwrap();
    call(&*store.ledger(), 5, ending().usage).await;
    store.close().await.unwrap();
    // Four at 250 and one at 400.
    all(
        &dir,
        &[
            ("SELECT sum(cost) FROM usage", 1400),
            ("SELECT sum(cost) FROM usage_hourly", 1400),
            ("SELECT max(seq) FROM usage WHERE instance = 'gw'", 5),
        ],
    )
    .await;
    assert_eq!(rerate(&dir, &order(&cheap())).await.calls, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rerating_that_was_cut_off_is_completed_by_the_next() {
    let dir = TempDir::new().unwrap();
    stopped(&dir, 10, vec![dear(), cheap()]).await;
    // What a first run had committed when it was killed: calls 1 to 3.
    let begun = Rerate {
        to: Timestamp::from_unix_us(START_US + 4_000),
        ..order(&cheap())
    };
    assert_eq!(rerate(&dir, &begun).await.calls, 3);
    all(&dir, &[("SELECT sum(cost) FROM usage", 3 * 250 + 7 * 400)]).await;
    assert_eq!(rerate(&dir, &order(&cheap())).await.calls, 7);
    all(
        &dir,
        &[
            ("SELECT sum(cost) FROM usage", 2500),
            ("SELECT count(*) FROM usage", 30),
            ("SELECT count(DISTINCT seq) FROM usage WHERE corrects IS NOT NULL", 20),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_rerate_at_once_correct_every_call_once() {
    let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    stopped(&dir, 60, vec![dear(), cheap()]).await;
    // Another gateway's directory, over the same table.
    let mut config = config(other.path(), dir.path());
    config.instance = name("gw-2");
    Store::open(config, cheap()).await.unwrap().close().await.unwrap();
    let first = open(&dir).await;
    let second = Offline::open(other.path(), &location(dir.path())).await.unwrap();
    let order = order(&cheap());
    let (one, two) = tokio::join!(first.rerate(&order, &System), second.rerate(&order, &System));
    drop((first, second));
    assert_eq!(one.unwrap().calls + two.unwrap().calls, 60);
    all(
        &dir,
        &[
            ("SELECT count(*) FROM usage", 180),
            ("SELECT count(DISTINCT call_id) FROM usage", 180),
            ("SELECT sum(cost) FROM usage", 60 * 250),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_list_does_not_price_and_what_cannot_be_rebuilt_stays_as_it_is() {
    let dir = TempDir::new().unwrap();
    let nothing = book("openai", "other", "USD", Some("1"), Some("1"));
    let half = book("openai", "m", "USD", Some("9"), None);
    let euro = book("openai", "m", "EUR", Some("1"), Some("5"));
    let elsewhere = book("elsewhere", "m", "USD", Some("3"), Some("5"));
    let store = Store::open(config(dir.path(), dir.path()), same(&nothing)).await.unwrap();
    call(&*store.ledger(), 1, ending().usage).await;
    let unpriced = "SELECT count(*) FROM usage WHERE cost IS NULL AND cost_status = 'unpriced' AND corrects IS NULL";
    let mut imported = record(2);
    imported.call_id = CallId::from_digest([7; 16]);
    imported.outcome = Outcome::Imported;
    store.import(vec![imported]).await.unwrap();
    for book in [&half, &euro, &elsewhere] {
        store.set_prices(same(book)).unwrap();
    }
    store.close().await.unwrap();
    all(&dir, &[(unpriced, 1)]).await;
    for stays in [&nothing, &half, &elsewhere] {
        assert_eq!(rerate(&dir, &order(stays)).await, Rerated::default());
    }
    let reasons = format!(
        "SELECT count(*) FROM usage_rated('{}') WHERE NOT rated_differs AND rated_reason LIKE 'the row was imported%'",
        version(&half)
    );
    all(&dir, &[(reasons.as_str(), 1)]).await;
    // 100 * 1 + 20 * 5 = 200 millionths of a euro; the row said no currency before.
    let done = rerate(&dir, &order(&euro)).await;
    assert_eq!(
        (done.calls, done.after.get("EUR").copied()),
        (1, Some("0.0002".parse().unwrap()))
    );
    all(
        &dir,
        &[
            ("SELECT sum(cost) FROM usage WHERE currency = 'EUR'", 200),
            ("SELECT sum(input_tokens) FROM usage WHERE cost_status = 'unpriced'", 0),
            (
                "SELECT sum(input_tokens) FROM usage WHERE cost_status = 'priced' AND currency = 'EUR'",
                100,
            ),
            ("SELECT count(*) FROM usage_corrected WHERE cost_status = 'unpriced'", 0),
            ("SELECT count(*) FROM usage_original WHERE cost_status = 'unpriced'", 1),
        ],
    )
    .await;
    // The operator says that the list is for them. 100 * 3 + 20 * 5 = 400 millionths.
    let said = Rerate {
        provider: Some(name("openai")),
        ..order(&elsewhere)
    };
    let done = rerate(&dir, &said).await;
    assert_eq!((done.calls, done.after), (1, usd("0.0004")));
    all(
        &dir,
        &[
            ("SELECT coalesce(sum(cost), 0) FROM usage WHERE currency = 'EUR'", 0),
            ("SELECT sum(cost) FROM usage WHERE currency = 'USD' AND outcome = 'ok'", 400),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_calls_that_are_asked_for_are_corrected() {
    let dir = TempDir::new().unwrap();
    stopped(&dir, 10, vec![dear(), cheap()]).await;
    for nothing in [
        Rerate {
            model: Some(name("n")),
            ..order(&cheap())
        },
        Rerate {
            provider: Some(name("anthropic")),
            ..order(&cheap())
        },
        Rerate {
            to: Timestamp::from_unix_us(START_US + 1_000),
            ..order(&cheap())
        },
    ] {
        assert_eq!(rerate(&dir, &nothing).await, Rerated::default());
    }
    let some = Rerate {
        // Calls 3 and 4: the end is not in the period.
        from: Timestamp::from_unix_us(START_US + 3_000),
        to: Timestamp::from_unix_us(START_US + 5_000),
        model: Some(name("m")),
        provider: Some(name("openai")),
        // The version in force.
        price_version: version(&cheap()),
    };
    assert_eq!(rerate(&dir, &some).await.calls, 2);
    // Of several lists the first that names the model prices it: the two calls are what they were.
    let several = Rerate {
        price_version: format!("{}+{}", version(&dear()), version(&cheap())),
        ..order(&cheap())
    };
    assert_eq!(rerate(&dir, &several).await.calls, 2);
    let as_before = format!(
        "SELECT count(*) FROM usage_corrected WHERE cost = 0.0004 AND price_version = '{}'",
        version(&dear())
    );
    all(&dir, &[(as_before.as_str(), 10)]).await;
    let unknown = Rerate {
        price_version: "list@000000000000".to_owned(),
        ..order(&cheap())
    };
    let error = open(&dir).await.rerate(&unknown, &System).await.unwrap_err();
    assert!(
        matches!(error, Error::Unlisted(_)) && error.to_string().contains("list@000000000000"),
        "{error}"
    );
    // Two versions, and no gateway runs that would have one of them in force.
    let ambiguous = Rerate {
        price_version: "list".to_owned(),
        ..order(&cheap())
    };
    let error = open(&dir).await.rerate(&ambiguous, &System).await.unwrap_err().to_string();
    assert!(
        error.contains(&version(&cheap())) && error.contains(&version(&dear())),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proposal_says_is_what_is_done() {
    let dir = TempDir::new().unwrap();
    stopped(&dir, 10, vec![dear(), cheap()]).await;
    let proposal = order(&cheap()).proposal();
    let offline = open(&dir).await;
    let batch = rows(&offline, &proposal).await;
    let text = |column: &str, row: usize| batch.column_by_name(column).unwrap().as_string::<i32>().value(row).to_owned();
    let amount = |column: &str, row: usize| {
        batch
            .column_by_name(column)
            .unwrap()
            .as_primitive::<Decimal128Type>()
            .value(row)
            / 1_000_000
    };
    let lines: Vec<_> = (0..batch.num_rows())
        .map(|row| {
            (
                text("result", row),
                text("team", row),
                text("model", row),
                amount("cost", row),
                amount("rerated_cost", row),
                amount("difference", row),
            )
        })
        .collect();
    let line = |team: &str| ("corrected".to_owned(), team.to_owned(), "m".to_owned(), 2000, 1250, -750);
    assert_eq!(lines, [line("even"), line("odd")]);
    drop(offline);
    rerate(&dir, &order(&cheap())).await;
    assert_eq!(rows(&open(&dir).await, &proposal).await.num_rows(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_might_be_made_is_rated_in_sql() {
    let dir = TempDir::new().unwrap();
    stopped(&dir, 1, vec![dear()]).await;
    let rate = |call: &str| format!("SELECT rate('list', named_struct({call}))['cost']");
    let call = "'provider_name', 'openai', 'request_model', 'm', 'start_time', now(), 'input_tokens', 1000, 'output_tokens', 10";
    // 1,000 * 2 + 10 * 10 = 2,100 millionths.
    all(&dir, &[(rate(call).as_str(), 2100)]).await;
    // Of this list, the row's own price.
    all(
        &dir,
        &[(
            "SELECT count(*) FROM usage_rated('list') WHERE rated_cost = cost AND NOT rated_differs",
            1,
        )],
    )
    .await;
    let offline = open(&dir).await;
    let context = SessionContext::new();
    context.register_udf(crate::Tables::rate(&offline).as_ref().clone());
    let problem = async |sql: &str| match context.sql(sql).await {
        Ok(frame) => frame.collect().await.unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    for (sql, expected) in [
        (
            "SELECT rate('lists', named_struct('start_time', now()))",
            "there is no price list",
        ),
        (
            "SELECT rate('list', named_struct('provider_name', 'openai'))",
            "rate needs the start_time",
        ),
        (
            "SELECT rate('list', named_struct('provider', 'openai'))",
            "rate knows no \"provider\"",
        ),
        ("SELECT rate('list', 1)", "a struct of columns"),
        (
            "SELECT rate('list', named_struct('provider_name', 'openai', 'start_time', now(), 'input_tokens', -1))",
            "input_tokens is -1",
        ),
    ] {
        let problem = problem(sql).await;
        assert!(problem.contains(expected), "{sql}: {problem}");
    }
}
