//! Versions, tables as of a version, and what of the table a query reads.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, Int64Type};
use arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::{SessionConfig, SessionContext};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use tollgate_record::{Record, Seq, Timestamp};
use url::Url;
use uuid::Uuid;

use super::{functions, tables};
use crate::location::Location;
use crate::table::Table;
use crate::table::lake::Stamp;
use crate::testing::{name, plain, record};
use crate::usage_batch;

const DAY_US: i64 = 86_400_000_000;
/// 2026-11-01T00:00:00Z.
const START_US: i64 = 1_793_491_200_000_000;

/// Row `number`, at noon of a day of November 2026 (0 is the first).
fn row(number: u64, day: i64) -> Record {
    let mut record = record(number);
    record.seq = Seq::new(number);
    record.start_time = Timestamp::from_unix_us(START_US + day * DAY_US + DAY_US / 2 + i64::try_from(number).unwrap());
    record
}

fn stamp(minute: i64) -> Stamp {
    Stamp {
        now: Timestamp::from_unix_us(START_US + minute * 60_000_000),
        id: Uuid::from_u128(minute as u128 + 1),
    }
}

async fn open() -> (Table, Arc<InMemory>) {
    let store = Arc::new(InMemory::new());
    let location = Location::new(
        Url::parse("memory:///lake/usage/").unwrap(),
        Arc::clone(&store) as Arc<dyn ObjectStore>,
    );
    (Table::open(&location).await.unwrap(), store)
}

/// Ten commits, a minute apart, of ten rows each, a day each; row N costs N millionths.
async fn ten_days() -> (Table, Arc<InMemory>) {
    let (mut table, store) = open().await;
    for day in 0..10 {
        let first = u64::try_from(day).unwrap() * 10 + 1;
        let rows: Vec<_> = (first..first + 10).map(|number| row(number, day)).collect();
        table = table
            .append(
                vec![usage_batch(&rows).unwrap()],
                &name("gw"),
                Seq::new(first + 9),
                stamp(day + 1),
            )
            .await
            .unwrap();
    }
    (table, store)
}

fn context(table: &Table, hot: Vec<RecordBatch>) -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(2).with_information_schema(true);
    let context = SessionContext::new_with_config(config);
    let prices = RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty()));
    for (table, provider) in tables(hot, Some(table), None, prices).unwrap() {
        context.register_table(table, provider).unwrap();
    }
    for (name, function) in functions(Some(table)) {
        context.register_udtf(name, function);
    }
    context
}

async fn sql(context: &SessionContext, query: &str) -> RecordBatch {
    let batches = context.sql(query).await.unwrap().collect().await.unwrap();
    plain(&arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap())
}

async fn explain(context: &SessionContext, query: &str) -> String {
    let batches = context.sql(query).await.unwrap().collect().await.unwrap();
    pretty_format_batches(&batches).unwrap().to_string()
}

/// Rows and their exact sum, in millionths.
async fn totals(context: &SessionContext, from: &str) -> (i64, i128) {
    let batch = sql(context, &format!("SELECT count(*), sum(cost) FROM {from}")).await;
    let cost = batch.column(1).as_primitive::<Decimal128Type>().value(0);
    (batch.column(0).as_primitive::<Int64Type>().value(0), cost / 1_000_000)
}

fn sum(rows: i64) -> (i64, i128) {
    (rows, i128::from(rows) * i128::from(rows + 1) / 2)
}

#[tokio::test]
async fn a_version_is_listed_with_what_it_brought() {
    let (table, _) = ten_days().await;
    let context = context(&table, Vec::new());
    let query = "SELECT version, rows_added, files_added, files_removed, last_seq, instance, operation, \
                 CAST(time AS VARCHAR) AS time FROM versions WHERE version > 0 ORDER BY version";
    let versions = sql(&context, query).await;
    let numbers = |column: usize| versions.column(column).as_primitive::<Int64Type>().values().to_vec();
    assert_eq!(numbers(0), (1..=10).collect::<Vec<_>>());
    assert_eq!((numbers(1), numbers(2), numbers(3)), (vec![10; 10], vec![1; 10], vec![0; 10]));
    assert_eq!(numbers(4), (1..=10).map(|day| day * 10).collect::<Vec<_>>());
    assert_eq!(versions.column(5).as_string::<i32>().value(0), "gw");
    assert_eq!(versions.column(6).as_string::<i32>().value(0), "WRITE");
    assert_eq!(versions.column(7).as_string::<i32>().value(9), "2026-11-01T00:10:00Z");
}

#[tokio::test]
async fn a_pinned_version_reads_the_same_whatever_comes_later() {
    let (table, _) = ten_days().await;
    let hot = vec![usage_batch(&[row(101, 9)]).unwrap()];
    let context = context(&table, hot);
    assert_eq!(
        totals(&context, "usage").await,
        sum(101),
        "rows in memory are part of the table"
    );
    assert_eq!(totals(&context, "usage_at(10)").await, sum(100), "and of no version");
    assert_eq!(totals(&context, "usage_at(3)").await, sum(30));
    assert_eq!(totals(&context, "usage_at('2026-11-01T00:03:00Z')").await, sum(30));
    assert_eq!(totals(&context, "usage_at('2026-11-01T00:03:59Z')").await, sum(30));
    assert_eq!(totals(&context, "usage_at(TIMESTAMP '2026-11-01T00:04:00')").await, sum(40));
    assert_eq!(totals(&context, "usage_at('2027-01-01')").await, sum(100));
    // Pinned tables are filtered and pruned as any other.
    let filtered = "usage_at(5) WHERE start_time >= '2026-11-04T00:00:00Z' AND team = 'even'";
    assert_eq!(
        totals(&context, filtered).await,
        (10, (31..=50).filter(|number| number % 2 == 0).sum())
    );
    let plan = explain(
        &context,
        "EXPLAIN SELECT sum(cost) FROM usage_at(5) WHERE start_date = DATE '2026-11-02'",
    )
    .await;
    assert!(plan.contains("version=5, files=1 of 5"), "{plan}");
}

#[tokio::test]
async fn a_version_that_is_not_there_is_an_error_that_names_those_that_are() {
    let (table, store) = ten_days().await;
    let context = context(&table, Vec::new());
    let failed = async |query: &str| {
        let failed = match context.sql(query).await {
            Ok(frame) => frame.collect().await.map(|_| ()),
            Err(error) => Err(error),
        };
        failed.unwrap_err().strip_backtrace()
    };
    let error = failed("SELECT * FROM usage_at(11)").await;
    assert!(
        error.contains("no version 11") && error.contains("versions 0 to 10"),
        "{error}"
    );
    let error = failed("SELECT * FROM usage_at('2026-10-01')").await;
    assert!(error.contains("versions 0 to 10"), "{error}");
    for wrong in [
        "usage_at()",
        "usage_at('soon')",
        "usage_at(1, 2)",
        "usage_at(-1)",
        "usage_at(seq)",
    ] {
        let error = failed(&format!("SELECT * FROM {wrong}")).await;
        assert!(error.contains("usage_at"), "{wrong}: {error}");
    }
    // The history was cleaned up: commits before version 4 are gone, and there is no checkpoint.
    for version in 0..4 {
        let path = format!("lake/usage/_delta_log/{version:020}.json");
        store.delete(&path.as_str().into()).await.unwrap();
    }
    let error = failed("SELECT * FROM usage_at(2)").await;
    assert!(error.contains("no version 2"), "{error}");
}

#[tokio::test]
async fn a_version_whose_files_were_deleted_is_an_error_and_not_fewer_rows() {
    let (table, store) = ten_days().await;
    // Another writer takes the first day's file out of the table, and vacuum deletes it.
    let file = table
        .lake()
        .files()
        .unwrap()
        .into_iter()
        .find(|file| file.path.contains("2026-11-01"))
        .unwrap();
    let path = format!("lake/usage/{}", file.path);
    let change = crate::table::lake::Change {
        operation: deltalake_core::protocol::DeltaOperation::Delete { predicate: None },
        adds: Vec::new(),
        removes: vec![file],
        moves: Vec::new(),
        data_change: true,
    };
    table.lake().commit(&change, stamp(20)).await.unwrap();
    let table = table.newest().await.unwrap();
    let context = context(&table, Vec::new());
    assert_eq!(totals(&context, "usage").await.0, 90);
    assert_eq!(totals(&context, "usage_at(10)").await, sum(100));
    store.delete(&path.as_str().into()).await.unwrap();
    let error = context
        .sql("SELECT sum(cost) FROM usage_at(10)")
        .await
        .unwrap()
        .collect()
        .await
        .unwrap_err();
    let error = error.strip_backtrace();
    assert!(error.contains("version 10") && error.contains("retention"), "{error}");
    assert_eq!(totals(&context, "usage_at(11)").await.0, 90);
}

#[tokio::test]
async fn files_are_left_out_by_every_column_that_the_log_knows_and_the_plan_says_so() {
    let (table, _) = ten_days().await;
    let hot = vec![usage_batch(&[row(101, 9)]).unwrap()];
    let context = context(&table, hot);
    let cases = [
        ("true", 10, 101),
        ("start_date = DATE '2026-11-03'", 1, 10),
        ("start_date >= DATE '2026-11-03' AND start_date < DATE '2026-11-05'", 2, 20),
        ("start_time >= '2026-11-09T00:00:00Z'", 2, 21),
        (
            "start_time >= '2026-11-09T00:00:00Z' AND start_time < '2026-11-10T00:00:00Z'",
            1,
            10,
        ),
        ("start_time BETWEEN '2026-11-02T00:00:00Z' AND '2026-11-02T23:00:00Z'", 1, 10),
        ("start_date IN (DATE '2026-11-02', DATE '2026-11-07')", 2, 20),
        ("seq > 75 AND seq <= 85", 2, 10),
        ("team = 'zeta'", 0, 0),
        ("start_time >= '2027-01-01T00:00:00Z'", 0, 0),
        ("start_date = DATE '2026-11-03' OR seq = 95", 2, 11),
    ];
    for (filter, files, rows) in cases {
        let query = format!("SELECT count(*), sum(cost) FROM usage WHERE {filter}");
        let plan = explain(&context, &format!("EXPLAIN {query}")).await;
        assert!(plan.contains(&format!("files={files} of 10")), "{filter}: {plan}");
        let count = sql(&context, &query).await.column(0).as_primitive::<Int64Type>().value(0);
        assert_eq!(count, rows, "{filter}");
        let analyzed = explain(&context, &format!("EXPLAIN ANALYZE {query}")).await;
        assert!(analyzed.contains(&format!("files={files} of 10")), "{filter}: {analyzed}");
    }
}

#[tokio::test]
async fn a_time_filter_that_a_whole_file_passes_is_not_looked_at() {
    let (table, _) = ten_days().await;
    let context = context(&table, Vec::new());
    let month = "start_time >= '2026-11-01T00:00:00Z' AND start_time < '2026-12-01T00:00:00Z'";
    let plan = explain(
        &context,
        &format!("EXPLAIN SELECT team, sum(cost) FROM usage WHERE {month} GROUP BY team"),
    )
    .await;
    assert!(plan.contains("files=10 of 10, whole=10"), "{plan}");
    let physical = &plan[plan.find("physical_plan").unwrap()..];
    assert!(!physical.contains("start_time") && !physical.contains("FilterExec"), "{plan}");
    // The first half of the third day is of the file that is looked into; seven files are whole.
    let half = "start_time >= '2026-11-03T12:00:00.000025Z'";
    let plan = explain(&context, &format!("EXPLAIN SELECT sum(cost) FROM usage WHERE {half}")).await;
    assert!(plan.contains("files=8 of 10, whole=7"), "{plan}");
    assert_eq!(totals(&context, &format!("usage WHERE {half}")).await, (76, (25..=100).sum()));
}

#[tokio::test]
async fn counting_rows_reads_no_column_and_only_columns_that_are_asked_for_are_read() {
    let (table, _) = ten_days().await;
    let hot = vec![usage_batch(&[row(101, 9)]).unwrap()];
    let context = context(&table, hot);
    let plan = explain(&context, "EXPLAIN SELECT count(*) FROM usage").await;
    assert!(
        plan.contains("PlaceholderRowExec"),
        "the log knows the number of rows: {plan}"
    );
    assert_eq!(totals(&context, "usage").await.0, 101);
    let plan = explain(
        &context,
        "EXPLAIN SELECT team, sum(cost) FROM usage WHERE outcome = 'ok' GROUP BY team",
    )
    .await;
    let scan = &plan[plan.find("DataSourceExec: file_groups").unwrap()..];
    let scan = &scan[..scan.find('|').unwrap()];
    assert!(
        scan.contains("projection=[team, cost]"),
        "a filter's column is not handed on: {plan}"
    );
    assert!(scan.contains("predicate=outcome"), "{plan}");
}

#[tokio::test]
async fn rows_of_memory_and_of_files_have_one_type() {
    let (table, _) = ten_days().await;
    let hot = vec![usage_batch(&[row(101, 9)]).unwrap()];
    let context = context(&table, hot);
    let rows = sql(&context, "SELECT * FROM usage ORDER BY seq").await;
    let stored: Vec<_> = (1..=101)
        .map(|number| row(number, i64::try_from((number - 1).min(99) / 10).unwrap()))
        .collect();
    let expected = usage_batch(&stored).unwrap();
    for (index, field) in expected.schema().fields().iter().enumerate() {
        assert_eq!(rows.schema().field(index).name(), field.name());
        assert_eq!(
            rows.column(index).as_ref(),
            expected.column(index).as_ref(),
            "{}",
            field.name()
        );
    }
}

#[tokio::test]
async fn a_filter_on_the_time_of_calls_is_one_on_their_corrections_too() {
    let (mut table, _) = open().await;
    for day in 0..4 {
        let first = u64::try_from(day).unwrap() * 2 + 1;
        let call = row(first, day);
        let mut correction = row(first + 1, day);
        correction.corrects = Some(call.call_id);
        correction.start_time = call.start_time;
        let batches = vec![usage_batch(&[call, correction]).unwrap()];
        table = table
            .append(batches, &name("gw"), Seq::new(first + 1), stamp(day + 1))
            .await
            .unwrap();
    }
    let context = context(&table, Vec::new());
    let usage = context.table_provider("usage").await.unwrap();
    for (name, view) in super::corrected::views(&usage) {
        context.register_table(name, view).unwrap();
    }
    // The call and its correction of the third day cost 5 and 6 millionths.
    for filter in [
        "start_date = DATE '2026-11-03'",
        "start_time >= '2026-11-03T00:00:00Z' AND start_time < '2026-11-04T00:00:00Z'",
    ] {
        assert_eq!(
            totals(&context, &format!("usage_corrected WHERE {filter}")).await,
            (1, 11),
            "{filter}"
        );
        let plan = explain(
            &context,
            &format!("EXPLAIN SELECT sum(cost) FROM usage_corrected WHERE {filter}"),
        )
        .await;
        assert_eq!(plan.matches("files=1 of 4").count(), 2, "{filter}: {plan}");
    }
    assert_eq!(totals(&context, "usage_corrected").await, (4, sum(8).1));
    assert_eq!(totals(&context, "usage_original").await, (4, 1 + 3 + 5 + 7));
}
