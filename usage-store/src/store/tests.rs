//! The store as its users see it: what was recorded is what SQL returns, once, whatever happened in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, Int64Type};
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult,
};
use tempfile::TempDir;
use tollgate_record::{Amount, Ledger, Outcome, Usage};

use crate::testing::{ending, intent, name, plain, prices};
use crate::{Config, Error, Location, Offline, Store, Tables};

mod prices;

fn config(folder: &TempDir) -> Config {
    Config::new(folder.path(), name("gw")).unwrap()
}

async fn open(folder: &TempDir) -> Store {
    Store::open(config(folder), prices()).await.unwrap()
}

async fn call(ledger: &dyn Ledger, number: u64) {
    let open = ledger.admit(intent(number)).await.unwrap();
    open.settle(ending()).await.unwrap();
}

pub(crate) async fn sql(tables: &dyn Tables, query: &str) -> RecordBatch {
    let context = SessionContext::new();
    for (table, provider) in tables.snapshot().await.unwrap() {
        context.register_table(table, provider).unwrap();
    }
    for (view, _, definition) in crate::VIEWS {
        context.sql(&format!("CREATE VIEW {view} AS {definition}")).await.unwrap();
    }
    let batches = context.sql(query).await.unwrap().collect().await.unwrap();
    plain(&arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap())
}

/// Rows and their exact sum, in units of 10^-12.
async fn totals(tables: &dyn Tables) -> (i64, i128) {
    let batch = sql(tables, "SELECT count(DISTINCT call_id), count(*), sum(cost) FROM usage").await;
    let (distinct, rows) = (
        batch.column(0).as_primitive::<Int64Type>().value(0),
        batch.column(1).as_primitive::<Int64Type>().value(0),
    );
    assert_eq!(distinct, rows, "no row stands twice");
    let sum = batch.column(2).as_primitive::<Decimal128Type>();
    (rows, if sum.is_null(0) { 0 } else { sum.value(0) })
}

const COST: i128 = 400_000_000;

#[tokio::test]
async fn a_settled_call_is_queryable_before_and_after_the_flush() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let (ledger, tables) = (store.ledger(), store.tables());
    for number in 0..10 {
        call(&*ledger, number).await;
    }
    assert_eq!(totals(&*tables).await, (10, 10 * COST));
    store.flush().await.unwrap();
    assert_eq!(totals(&*tables).await, (10, 10 * COST));
    call(&*ledger, 10).await;
    assert_eq!(totals(&*tables).await, (11, 11 * COST));
    store.close().await.unwrap();
}

#[tokio::test]
async fn rows_survive_a_crash_at_any_point_around_a_flush() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    for number in 0..5 {
        call(&*store.ledger(), number).await;
    }
    drop(store); // As a crash: nothing is flushed.
    let store = open(&folder).await;
    assert_eq!(totals(&*store.tables()).await, (5, 5 * COST));
    store.flush().await.unwrap();
    call(&*store.ledger(), 5).await;
    drop(store);
    let store = open(&folder).await;
    assert_eq!(totals(&*store.tables()).await, (6, 6 * COST));
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_commit_whose_log_was_not_yet_forgotten_is_not_replayed() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    for number in 0..5 {
        call(&*store.ledger(), number).await;
    }
    // The crash comes after the commit and before the old segments are deleted: put back what the flush deletes.
    let wal = folder.path().join("wal");
    let saved: Vec<_> = std::fs::read_dir(&wal)
        .unwrap()
        .map(|item| item.unwrap().path())
        .map(|path| (std::fs::read(&path).unwrap(), path))
        .collect();
    store.flush().await.unwrap();
    drop(store);
    for (bytes, path) in saved {
        std::fs::write(path, bytes).unwrap();
    }
    let store = open(&folder).await;
    assert_eq!(totals(&*store.tables()).await, (5, 5 * COST));
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_call_that_was_open_at_the_crash_becomes_interrupted_once() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let open_call = store.ledger().admit(intent(1)).await.unwrap();
    std::mem::forget(open_call); // A crash runs no destructors.
    drop(store);
    for _ in 0..2 {
        let store = open(&folder).await;
        let batch = sql(&*store.tables(), "SELECT outcome, cost_status, input_tokens, cost FROM usage").await;
        assert_eq!(batch.num_rows(), 1);
        assert_eq!(batch.column(0).as_string::<i32>().value(0), "interrupted");
        assert_eq!(batch.column(1).as_string::<i32>().value(0), "estimated");
        // 1001 bytes are 251 tokens at four bytes each, at 2 a million.
        assert_eq!(batch.column(2).as_primitive::<Int64Type>().value(0), 251);
        assert_eq!(batch.column(3).as_primitive::<Decimal128Type>().value(0), 502_000_000);
        drop(store);
    }
}

#[tokio::test]
async fn a_dropped_call_is_settled_as_aborted_with_what_was_noted() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let mut call = store.ledger().admit(intent(1)).await.unwrap();
    call.note(&Usage { ..ending().usage });
    drop(call);
    // The next entry is written after the one of the drop.
    let refused = store
        .ledger()
        .refuse(intent(2), tollgate_record::Ending::of(Outcome::RefusedPolicy))
        .await
        .unwrap();
    assert_eq!(refused.cost, Some(Amount::ZERO));
    let batch = sql(&*store.tables(), "SELECT outcome, cost FROM usage ORDER BY seq").await;
    let outcomes: Vec<_> = batch.column(0).as_string::<i32>().iter().flatten().collect();
    assert_eq!(outcomes, ["client_aborted", "refused_policy"]);
    assert_eq!(batch.column(1).as_primitive::<Decimal128Type>().value(0), COST);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_query_sees_a_gap_or_an_overlap_while_flushes_commit() {
    const CALLS: u64 = 300;
    let folder = TempDir::new().unwrap();
    let store = Arc::new(open(&folder).await);
    let tables = store.tables();
    let (begun, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let writer = {
        let (store, begun, ended) = (Arc::clone(&store), Arc::clone(&begun), Arc::clone(&ended));
        tokio::spawn(async move {
            let ledger = store.ledger();
            for number in 0..CALLS {
                begun.store(number + 1, Ordering::SeqCst);
                call(&*ledger, number).await;
                ended.store(number + 1, Ordering::SeqCst);
                if number % 20 == 19 {
                    store.flush().await.unwrap();
                }
            }
        })
    };
    // Both sides of one statement are of one snapshot: the rows, and what the rollup makes of them.
    let query = "SELECT * FROM (SELECT count(*), coalesce(max(seq), 0), coalesce(sum(cost), 0) FROM usage) \
                 CROSS JOIN (SELECT coalesce(sum(calls), 0), coalesce(sum(cost), 0) FROM usage_hourly)";
    let mut looks = 0;
    while !writer.is_finished() || looks < 3 {
        let settled = ended.load(Ordering::SeqCst);
        let batch = sql(&*tables, query).await;
        let admitted = begun.load(Ordering::SeqCst);
        let count = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(0);
        let money = |column: usize| batch.column(column).as_primitive::<Decimal128Type>().value(0);
        let (rows, last) = (count(0), count(1));
        // Places have no gaps, so the number of rows is the last place, always.
        assert_eq!(rows, last, "the rows are a prefix of what was settled");
        assert!(
            rows as u64 >= settled,
            "what was settled before the query began is seen: {rows} of {settled}"
        );
        assert!(rows as u64 <= admitted, "what was admitted after the query ended is not");
        assert_eq!(money(2), i128::from(rows) * COST);
        assert_eq!((count(3), money(4)), (rows, money(2)), "the rollup is of the same instant");
        looks += 1;
    }
    writer.await.unwrap();
    assert_eq!(totals(&*tables).await, (CALLS as i64, i128::from(CALLS) * COST));
}

#[tokio::test]
async fn a_second_process_is_refused_and_the_directory_can_be_read_offline() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    call(&*store.ledger(), 1).await;
    assert!(matches!(
        Store::open(config(&folder), prices()).await,
        Err(Error::InUse { .. })
    ));
    assert!(matches!(
        Offline::open(folder.path(), &config(&folder).table).await,
        Err(Error::InUse { .. })
    ));
    store.flush().await.unwrap();
    call(&*store.ledger(), 2).await;
    drop(store);
    let offline = Offline::open(folder.path(), &config(&folder).table).await.unwrap();
    assert_eq!(totals(&offline).await, (2, 2 * COST));
    let batch = sql(&offline, "SELECT count(*) FROM prices WHERE price_list = 'list'").await;
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(0), 2);
}

#[tokio::test]
async fn a_renamed_gateway_takes_its_old_rows_along() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    call(&*store.ledger(), 1).await;
    std::mem::forget(store.ledger().admit(intent(2)).await.unwrap());
    drop(store);
    let renamed = Config {
        instance: name("gw-2"),
        ..config(&folder)
    };
    let store = Store::open(renamed.clone(), prices()).await.unwrap();
    call(&*store.ledger(), 3).await;
    drop(store);
    let store = Store::open(renamed, prices()).await.unwrap();
    let batch = sql(
        &*store.tables(),
        "SELECT instance, seq, outcome FROM usage ORDER BY instance, seq",
    )
    .await;
    let column = |at: usize| {
        batch
            .column(at)
            .as_string::<i32>()
            .iter()
            .flatten()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(column(0), ["gw", "gw", "gw-2"]);
    assert_eq!(column(2), ["ok", "interrupted", "ok"]);
    assert_eq!(batch.column(1).as_primitive::<Int64Type>().values().to_vec(), [1, 2, 1]);
}

#[tokio::test]
async fn the_view_requests_has_a_row_per_client_request() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let first = intent(1);
    let mut second = intent(2);
    (second.request_id, second.attempt) = (first.request_id, 2);
    let failed = tollgate_record::Ending {
        status_code: Some(500),
        ..tollgate_record::Ending::of(Outcome::UpstreamError)
    };
    store.ledger().admit(first).await.unwrap().settle(failed).await.unwrap();
    store.ledger().admit(second).await.unwrap().settle(ending()).await.unwrap();
    let batch = sql(&*store.tables(), "SELECT attempts, outcome, cost FROM requests").await;
    assert_eq!(batch.num_rows(), 1);
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(0), 2);
    assert_eq!(batch.column(1).as_string::<i32>().value(0), "ok");
    assert_eq!(batch.column(2).as_primitive::<Decimal128Type>().value(0), COST);
}

#[tokio::test]
async fn charges_unnest_and_add_up_to_the_cost() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    call(&*store.ledger(), 1).await;
    store.flush().await.unwrap();
    call(&*store.ledger(), 2).await;
    let query = "SELECT sum(charge['amount']), sum(charge['quantity'] * charge['unit_price']) \
                 FROM (SELECT unnest(charges) AS charge FROM usage WHERE tags['env'] = 'prod')";
    let batch = sql(&*store.tables(), query).await;
    assert_eq!(batch.column(0).as_primitive::<Decimal128Type>().value(0), 2 * COST);
    store.close().await.unwrap();
}

/// The store of a table that can be taken away.
#[derive(Debug, Default)]
pub(crate) struct Switch {
    inner: InMemory,
    pub(crate) down: AtomicBool,
}

impl std::fmt::Display for Switch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("switch")
    }
}

impl Switch {
    fn check(&self) -> object_store::Result<()> {
        match self.down.load(Ordering::SeqCst) {
            true => Err(object_store::Error::Generic {
                store: "switch",
                source: "it is down".into(),
            }),
            false => Ok(()),
        }
    }
}

#[async_trait::async_trait]
impl ObjectStore for Switch {
    async fn put_opts(&self, path: &Path, bytes: PutPayload, options: PutOptions) -> object_store::Result<PutResult> {
        self.check()?;
        self.inner.put_opts(path, bytes, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.check()?;
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.check()?;
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        match self.check() {
            Ok(()) => self.inner.list(prefix),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.check()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.check()?;
        self.inner.copy_opts(from, to, options).await
    }
}

/// A configuration whose table lies in a store, and whose flushes come when they are asked for.
pub(crate) fn config_of(folder: &std::path::Path, store: &Arc<Switch>) -> Config {
    let mut config = Config::new(folder, name("gw")).unwrap();
    config.table = Location::new(
        url::Url::parse("memory:///usage/").unwrap(),
        Arc::clone(store) as Arc<dyn ObjectStore>,
    );
    config
}

async fn count(tables: &dyn Tables, table: &str) -> Result<i64, String> {
    let context = SessionContext::new();
    for (table, provider) in tables.snapshot().await.map_err(|error| error.to_string())? {
        context.register_table(table, provider).unwrap();
    }
    let query = context.sql(&format!("SELECT count(*) FROM {table}")).await.unwrap();
    let batches = query.collect().await.map_err(|error| error.to_string())?;
    Ok(batches[0].column(0).as_primitive::<Int64Type>().value(0))
}

#[tokio::test]
async fn a_start_without_the_table_records_calls_and_commits_them_once_when_it_is_back() {
    let (folder, switch) = (TempDir::new().unwrap(), Arc::<Switch>::default());
    switch.down.store(true, Ordering::SeqCst);
    let first = Store::open(config_of(folder.path(), &switch), prices()).await;
    assert!(
        matches!(first, Err(Error::Table(_))),
        "places are not known before the table was seen once"
    );
    switch.down.store(false, Ordering::SeqCst);

    let store = Store::open(config_of(folder.path(), &switch), prices()).await.unwrap();
    for number in 1..=3 {
        call(&*store.ledger(), number).await;
    }
    store.flush().await.unwrap();
    call(&*store.ledger(), 4).await;
    drop(store);
    switch.down.store(true, Ordering::SeqCst);
    // Twice, so that one start without the table follows another.
    for number in [5, 6] {
        let store = Store::open(config_of(folder.path(), &switch), prices()).await.unwrap();
        call(&*store.ledger(), number).await;
        assert!(store.flush().await.is_err());
        assert_eq!(count(&*store.tables(), "hot").await, Ok(i64::try_from(number).unwrap() - 3));
        let refused = count(&*store.tables(), "usage").await.unwrap_err();
        assert!(refused.contains("cannot be reached"), "{refused}");
        drop(store);
    }
    let store = Store::open(config_of(folder.path(), &switch), prices()).await.unwrap();
    switch.down.store(false, Ordering::SeqCst);
    store.flush().await.unwrap();
    assert_eq!(count(&*store.tables(), "hot").await, Ok(0));
    assert_eq!(totals(&*store.tables()).await, (6, 6 * COST));
    let places = sql(&*store.tables(), "SELECT min(seq), max(seq), count(DISTINCT seq) FROM usage").await;
    let place = |column: usize| places.column(column).as_primitive::<Int64Type>().value(0);
    assert_eq!((place(0), place(1), place(2)), (1, 6, 6));
}

#[tokio::test]
async fn an_old_copy_of_a_data_directory_flushes_nothing_that_it_recorded_without_the_table() {
    let (folder, switch) = (TempDir::new().unwrap(), Arc::<Switch>::default());
    let (data, copy) = (folder.path().join("data"), folder.path().join("copy"));
    let store = Store::open(config_of(&data, &switch), prices()).await.unwrap();
    call(&*store.ledger(), 1).await;
    store.close().await.unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .arg(&data)
        .arg(&copy)
        .status()
        .unwrap();
    assert!(copied.success());
    let store = Store::open(config_of(&data, &switch), prices()).await.unwrap();
    call(&*store.ledger(), 2).await;
    store.close().await.unwrap();

    switch.down.store(true, Ordering::SeqCst);
    let store = Store::open(config_of(&copy, &switch), prices()).await.unwrap();
    call(&*store.ledger(), 3).await;
    switch.down.store(false, Ordering::SeqCst);
    let diverged = |error: Error| {
        matches!(
            error,
            Error::Diverged {
                committed: 2,
                last: 1,
                ..
            }
        )
    };
    assert!(diverged(store.flush().await.unwrap_err()));
    assert_eq!(count(&*store.tables(), "hot").await, Ok(1), "the row is still there");
    drop(store);
    assert!(diverged(
        Store::open(config_of(&copy, &switch), prices()).await.err().unwrap()
    ));
    // To a table of its own they go, whatever their places.
    let elsewhere = Arc::<Switch>::default();
    let mut config = config_of(&copy, &elsewhere);
    config.table = Location::new(
        url::Url::parse("memory:///other/").unwrap(),
        elsewhere as Arc<dyn ObjectStore>,
    );
    let store = Store::open(config, prices()).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(totals(&*store.tables()).await, (1, COST));
}
