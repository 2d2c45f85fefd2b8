#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, Int64Type};
use datafusion::prelude::SessionContext;
use tempfile::TempDir;
use tollgate_record::{
    Adjustment, BatchResult, CallId, Ending, FetchedResults, Identity, Intent, Ledger, Meter, Outcome, Price, PriceList, ResultsId,
    Tags, Terms, Timestamp, batch,
};

use crate::store::tests::{Switch, config_of};
use crate::testing::{ending, intent, list, name, plain, price};
use crate::{Config, Location, PriceBook, Store};

const SET: [u8; 6] = [7; 6];

/// Input at 2, output at 10 a million, half of that in batches: a result of [`ending`] costs 100 * 1 + 20 * 5 = 200 millionths.
fn prices() -> PriceBook {
    let price = |tier: Option<&str>, meter, text: &str| Price {
        service_tier: tier.map(name),
        ..price(meter, text)
    };
    let prices = vec![
        price(None, Meter::Input, "2"),
        price(None, Meter::Output, "10"),
        price(Some("batch"), Meter::Input, "1"),
        price(Some("batch"), Meter::Output, "5"),
    ];
    PriceBook::new(vec![list(prices)])
}

const COST: i128 = 200_000_000;

fn result(number: u8) -> BatchResult {
    let mut ending = ending();
    ending.decisions.clear();
    ending.response_model = Some(name("m"));
    ending.usage.service_tier = Some(name("batch"));
    BatchResult {
        call_id: CallId::of_result(SET, [number; 8]),
        operation_name: name("chat"),
        ending,
    }
}

/// What a call that is told apart by its number fetches.
fn fetched(number: u64, results: impl IntoIterator<Item = u8>) -> FetchedResults {
    let mut fetch = intent(number);
    fetch.call.operation_name = name("/v1/files/{id}/content");
    fetch.call.request_model = None;
    FetchedResults {
        id: ResultsId::File("file-1".into()),
        fetch: Arc::new(fetch),
        results: results.into_iter().map(result).collect(),
    }
}

fn config(folder: &TempDir, instance: &str) -> Config {
    Config::new(folder.path().join(instance), name(instance)).unwrap()
}

async fn open(config: Config) -> Store {
    Store::open(config, prices()).await.unwrap()
}

async fn sql(store: &Store, query: &str) -> RecordBatch {
    let context = SessionContext::new();
    for (table, provider) in store.tables().snapshot().await.unwrap() {
        context.register_table(table, provider).unwrap();
    }
    let batches = context.sql(query).await.unwrap().collect().await.unwrap();
    plain(&arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap())
}

/// Rows of results, the ids among them, and their cost.
async fn totals(store: &Store, table: &str) -> (i64, i64, i128) {
    let query = format!("SELECT count(*), count(DISTINCT call_id), coalesce(sum(cost), 0) FROM {table} WHERE call_id LIKE 'ba7c%'");
    let batch = sql(store, &query).await;
    let count = |at: usize| batch.column(at).as_primitive::<Int64Type>().value(0);
    (count(0), count(1), batch.column(2).as_primitive::<Decimal128Type>().value(0))
}

async fn record(store: &Store, fetched: FetchedResults) {
    store.ledger().record_results(fetched).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_added_once_however_often_it_is_fetched() {
    let folder = TempDir::new().unwrap();
    let store = open(config(&folder, "gw")).await;
    // By two keys, in parts, twice in one fetch, and all of it at the same time.
    record(&store, fetched(1, [1, 2, 2])).await;
    record(&store, fetched(2, [2, 3])).await;
    assert_eq!(totals(&store, "usage").await, (3, 3, 3 * COST));
    let fetches = (0..8).map(|number| record(&store, fetched(number, 0..10)));
    futures::future::join_all(fetches).await;
    assert_eq!(totals(&store, "usage").await, (10, 10, 10 * COST));
    // When it is in the table, and when the gateway has started again.
    store.flush().await.unwrap();
    record(&store, fetched(3, 5..12)).await;
    assert_eq!(totals(&store, "usage").await, (12, 12, 12 * COST));
    drop(store); // As a crash: what was not flushed is in the log only.
    let store = open(config(&folder, "gw")).await;
    record(&store, fetched(4, 0..13)).await;
    assert_eq!(totals(&store, "usage").await, (13, 13, 13 * COST));
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sets_are_told_apart_and_others_rows_are_left_alone() {
    let folder = TempDir::new().unwrap();
    let store = open(config(&folder, "gw")).await;
    let ledger = store.ledger();
    ledger.admit(intent(1)).await.unwrap().settle(ending()).await.unwrap();
    for set in 0..40_u8 {
        let mut fetched = fetched(2, [1, 2]);
        for (result, number) in fetched.results.iter_mut().zip(1..) {
            result.call_id = CallId::of_result([set; 6], [number; 8]);
        }
        for _ in 0..2 {
            ledger.record_results(fetched.clone()).await.unwrap();
        }
    }
    assert_eq!(totals(&store, "usage").await, (80, 80, 80 * COST));
    store.close().await.unwrap();
}

/// A call about a batch, with what its answer told.
async fn batch_call(ledger: &dyn Ledger, intent: Intent, operation: &str, told: tollgate_record::Decision) -> CallId {
    let mut intent = intent;
    intent.call.operation_name = name(operation);
    let id = intent.call_id;
    let ending = Ending {
        decisions: vec![told],
        ..Ending::of(Outcome::Ok)
    };
    ledger.admit(intent).await.unwrap().settle(ending).await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn who_submitted_a_batch_is_charged_whoever_fetches_its_results_and_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let store = open(config(&folder, "gw")).await;
    let ledger = store.ledger();
    let mut submits = intent(1);
    submits.identity = Arc::new(Identity {
        key_id: name("submitter"),
        org: Some(name("acme")),
        team: Some(name("research")),
        project: None,
        service: Some(name("labels")),
        user: Some(name("ada")),
    });
    submits.caller.agent = Some(name("planner"));
    submits.caller.session_id = Some(name("s1"));
    submits.caller.tags = Arc::new(Tags::from_pairs([("env", "prod"), ("job", "7")]));
    let submission = batch_call(&*ledger, submits, "/v1/batches", batch::submitted("batch_9")).await;
    // Another's batch, and a poll by another key that is told of the file.
    batch_call(&*ledger, intent(2), "/v1/batches", batch::submitted("batch_8")).await;
    batch_call(&*ledger, intent(3), "/v1/batches/{id}", batch::output("file-1", "batch_9")).await;
    store.flush().await.unwrap();
    store.close().await.unwrap();
    let store = open(config(&folder, "gw")).await;
    record(&store, fetched(500, [1])).await;
    let query = "SELECT parent_call_id, key_id, team, service, user_id, agent, session_id, tags['job'] AS job, service_tier, project, outcome, \
         arrow_cast(start_time, 'Int64') AS start, duration_us, CAST(cost AS VARCHAR) AS cost FROM usage WHERE call_id LIKE 'ba7c%'";
    let row = sql(&store, query).await;
    let text = |column: &str| {
        row.column_by_name(column)
            .unwrap()
            .as_string::<i32>()
            .iter()
            .next()
            .unwrap()
            .map(str::to_owned)
    };
    let number = |column: &str| row.column_by_name(column).unwrap().as_primitive::<Int64Type>().value(0);
    assert_eq!(row.num_rows(), 1);
    assert_eq!(text("parent_call_id"), Some(submission.to_string()));
    for (column, value) in [
        ("key_id", "submitter"),
        ("team", "research"),
        ("service", "labels"),
        ("user_id", "ada"),
        ("agent", "planner"),
        ("session_id", "s1"),
        ("job", "7"),
        ("service_tier", "batch"),
        ("outcome", "ok"),
        ("cost", "0.000200000000"),
    ] {
        assert_eq!(text(column).as_deref(), Some(value), "{column}");
    }
    assert_eq!(text("project"), None);
    // It starts with the submission, call 1, and was fetched by call 500: a millisecond each.
    assert_eq!(number("start"), intent(1).start_time.unix_us());
    assert_eq!(number("duration_us"), 499_000);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fetches_first_is_charged_if_nobody_is_known_to_have_submitted() {
    let folder = TempDir::new().unwrap();
    let store = open(config(&folder, "gw")).await;
    // One of the same name at another provider's upstream.
    let mut elsewhere = intent(1);
    elsewhere.call.upstream = Some(name("elsewhere:443"));
    elsewhere.call.provider_name = Some(name("elsewhere"));
    batch_call(&*store.ledger(), elsewhere, "/v1/batches", batch::submitted("batch_9")).await;
    let mut fetch = fetched(2, [1]);
    fetch.id = ResultsId::Batch("batch_9".into());
    record(&store, fetch).await;
    let row = sql(
        &store,
        "SELECT parent_call_id, team, duration_us FROM usage WHERE call_id LIKE 'ba7c%'",
    )
    .await;
    assert!(row.column(0).is_null(0));
    assert_eq!(row.column(1).as_string::<i32>().value(0), "even");
    assert_eq!(row.column(2).as_primitive::<Int64Type>().value(0), 0);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn results_have_the_prices_of_who_submitted_them_by_whichever_url_of_the_provider() {
    let folder = TempDir::new().unwrap();
    let list = prices().lists().map(|(list, _)| list.clone()).next().unwrap();
    // The submitter's team pays a quarter less.
    let less = Adjustment {
        model: name("*"),
        meter: None,
        discount: "0.25".parse().unwrap(),
        effective_from: Timestamp::from_unix_us(0),
        effective_to: None,
        source: None,
    };
    let negotiated = PriceList {
        name: name("negotiated"),
        prices: Vec::new(),
        terms: Terms {
            org: None,
            team: Some(name("odd")),
            adjustments: vec![less],
        },
        ..list.clone()
    };
    let book = PriceBook::new(vec![negotiated, list]);
    let store = Store::open(config(&folder, "gw"), book).await.unwrap();
    let mut submitter = intent(1);
    submitter.call.upstream = Some(name("other.openai.com:443"));
    batch_call(&*store.ledger(), submitter, "/v1/batches", batch::submitted("batch_9")).await;
    let mut fetch = fetched(2, [1]);
    fetch.id = ResultsId::Batch("batch_9".into());
    record(&store, fetch).await;
    let row = sql(
        &store,
        "SELECT team, CAST(cost AS VARCHAR), CAST(list_cost AS VARCHAR) FROM usage WHERE call_id LIKE 'ba7c%'",
    )
    .await;
    let text = |at: usize| row.column(at).as_string::<i32>().value(0).to_owned();
    assert_eq!(
        (text(0), text(1), text(2)),
        ("odd".into(), "0.000150000000".into(), "0.000200000000".into())
    );
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_result_that_two_gateways_recorded_the_table_takes_the_first() {
    let folder = TempDir::new().unwrap();
    let table = Location::parse(&format!("file:{}", folder.path().join("shared").display())).unwrap();
    let shared = |instance: &str| Config {
        table: table.clone(),
        ..config(&folder, instance)
    };
    let (first, second) = (open(shared("gw-1")).await, open(shared("gw-2")).await);
    record(&first, fetched(1, 0..6)).await;
    // Neither has flushed: the second cannot know.
    record(&second, fetched(2, 3..9)).await;
    second
        .ledger()
        .admit(intent(3))
        .await
        .unwrap()
        .settle(ending())
        .await
        .unwrap();
    first.flush().await.unwrap();
    second.flush().await.unwrap();
    for store in [&first, &second] {
        store.shared().refresh().await.unwrap();
        assert_eq!(totals(store, "usage").await, (9, 9, 9 * COST));
        let whole = sql(store, "SELECT count(*), CAST(sum(cost) AS VARCHAR) FROM usage").await;
        // Nine results at 0.0002, and a call at 0.0004.
        assert_eq!(whole.column(0).as_primitive::<Int64Type>().value(0), 10);
        assert_eq!(whole.column(1).as_string::<i32>().value(0), "0.002200000000");
        let hourly = sql(store, "SELECT sum(calls), CAST(sum(cost) AS VARCHAR) FROM usage_hourly").await;
        assert_eq!(hourly.column(0).as_primitive::<Int64Type>().value(0), 10);
        assert_eq!(hourly.column(1).as_string::<i32>().value(0), "0.002200000000");
    }
    // What one has in the table, the other knows of.
    record(&second, fetched(4, 0..10)).await;
    record(&first, fetched(5, 0..6)).await;
    second.flush().await.unwrap();
    first.flush().await.unwrap();
    second.shared().refresh().await.unwrap();
    assert_eq!(totals(&second, "usage").await, (10, 10, 10 * COST));
    first.close().await.unwrap();
    second.close().await.unwrap();
    // The log of one that was left out is forgotten, and not replayed.
    let second = open(shared("gw-2")).await;
    assert_eq!(totals(&second, "usage").await, (10, 10, 10 * COST));
    second.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_results_cost_nothing_and_keep_why() {
    let folder = TempDir::new().unwrap();
    let store = open(config(&folder, "gw")).await;
    let mut fetched = fetched(1, [1]);
    fetched.results[0].ending = Ending {
        error_type: Some(name("batch_expired")),
        ..Ending::of(Outcome::Timeout)
    };
    record(&store, fetched).await;
    let row = sql(&store, "SELECT outcome, error_type, cost_status FROM usage").await;
    let text = |at: usize| row.column(at).as_string::<i32>().value(0).to_owned();
    assert_eq!(
        (text(0), text(1), text(2)),
        ("timeout".into(), "batch_expired".into(), "free".into())
    );
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_table_no_result_is_recorded_and_afterwards_each_is_once() {
    let (folder, switch) = (TempDir::new().unwrap(), Arc::<Switch>::default());
    let store = open(config_of(folder.path(), &switch)).await;
    record(&store, fetched(1, 0..3)).await;
    switch.down.store(true, Ordering::SeqCst);
    // Those that are known are known.
    record(&store, fetched(2, 0..3)).await;
    let refused = store.ledger().record_results(fetched(3, 2..5)).await.unwrap_err();
    assert!(refused.reason.contains("cannot be read"), "{}", refused.reason);
    switch.down.store(false, Ordering::SeqCst);
    record(&store, fetched(4, 0..5)).await;
    assert_eq!(totals(&store, "usage").await, (5, 5, 5 * COST));
    store.close().await.unwrap();
}
