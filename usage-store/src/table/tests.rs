//! The table by itself: commits happen once, whatever the store answers, and files say what is in them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::{Decimal128Type, Int64Type};
use bytes::Bytes;
use datafusion::prelude::SessionContext;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult,
};
use tollgate_record::{Record, Timestamp};
use url::Url;
use uuid::Uuid;

use super::*;
use crate::synthetic::Traffic;
use crate::testing::name;
use crate::usage_batch;

/// 2026-09-21 14:13:20 UTC.
const START: Timestamp = Timestamp::from_unix_us(1_790_000_000_000_000);

fn traffic(instance: &str, count: usize, calls_per_second: u64) -> Vec<Box<Record>> {
    Traffic::new(3, name(instance), START, calls_per_second).take(count).collect()
}

fn stamp(number: u64) -> Stamp {
    Stamp {
        now: Timestamp::from_unix_us(START.unix_us() + i64::try_from(number).unwrap() * 60_000_000),
        id: Uuid::from_u128(u128::from(number)),
    }
}

fn memory(store: Arc<dyn ObjectStore>) -> Location {
    Location::new(Url::parse("memory:///usage/").unwrap(), store)
}

async fn append(table: &Table, rows: &[Box<Record>], number: u64) -> Result<Table, Error> {
    let instance = rows[0].instance.clone();
    let batches = rows.chunks(100).map(|rows| usage_batch(rows).unwrap()).collect();
    table
        .append(batches, &instance, rows.last().unwrap().seq, stamp(number))
        .await
}

async fn sql(table: &Table, query: &str) -> RecordBatch {
    let context = SessionContext::new();
    context.register_table("usage", table.provider().await.unwrap()).unwrap();
    let batches = context.sql(query).await.unwrap().collect().await.unwrap();
    arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
}

/// Rows, rows that differ, and the exact sum of their costs.
async fn totals(table: &Table) -> (i64, i64, i128) {
    let batch = sql(table, "SELECT count(*), count(DISTINCT call_id), sum(cost) FROM usage").await;
    let count = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(0);
    (count(0), count(1), batch.column(2).as_primitive::<Decimal128Type>().value(0))
}

fn expected(rows: &[Box<Record>]) -> (i64, i64, i128) {
    let cost = rows.iter().filter_map(|row| row.cost.cost).map(|cost| cost.units()).sum();
    (rows.len() as i64, rows.len() as i64, cost)
}

/// A store whose writes succeed and report failure, every so many times.
#[derive(Debug)]
struct Liar {
    inner: InMemory,
    every: usize,
    writes: AtomicUsize,
}

impl Liar {
    fn new(every: usize) -> Arc<Self> {
        Arc::new(Self {
            inner: InMemory::new(),
            every,
            writes: AtomicUsize::new(0),
        })
    }
}

impl fmt::Display for Liar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a store that lies")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Liar {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> object_store::Result<PutResult> {
        let written = self.inner.put_opts(location, payload, options).await?;
        let number = self.writes.fetch_add(1, Ordering::Relaxed) + 1;
        if number.is_multiple_of(self.every) {
            return Err(object_store::Error::Generic {
                store: "liar",
                source: "the answer was lost".into(),
            });
        }
        Ok(written)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn an_append_whose_answer_was_lost_is_found_when_it_is_repeated() {
    let rows = traffic("gw", 2000, 100);
    for every in [2, 3] {
        let location = memory(Liar::new(every));
        let mut table = None;
        // The answer to the creation may be lost too.
        for _ in 0..3 {
            table = Table::open(&location).await.ok().or(table);
        }
        let mut table = table.unwrap();
        let mut failures = 0;
        for (number, part) in (0..).zip(rows.chunks(500)) {
            for attempt in 0..10 {
                match append(&table, part, number * 10 + attempt).await {
                    Ok(newer) => {
                        table = newer;
                        break;
                    }
                    Err(_) => failures += 1,
                }
            }
        }
        assert!(failures > 0);
        assert_eq!(totals(&table).await, expected(&rows));
        assert_eq!(table.committed(&name("gw")).await.unwrap(), rows.last().unwrap().seq);
    }
}

#[tokio::test]
async fn rows_behind_a_place_that_others_have_taken_are_not_appended() {
    let table = Table::open(&memory(Arc::new(InMemory::new()))).await.unwrap();
    let rows = traffic("one", 30, 1);
    let place = |number: usize| rows.get(number.wrapping_sub(1)).map_or(Seq::ZERO, |row| row.seq);
    let behind = async |table: &Table, range: Range<usize>, number: u64| {
        let batch = usage_batch(&rows[range.clone()]).unwrap();
        table
            .append_behind(place(range.start), &[batch], &name("one"), place(range.end), stamp(number))
            .await
            .unwrap()
    };
    let first = behind(&table, 0..10, 1).await.unwrap();
    // Another that read the table before: of as many rows, and of more.
    assert!(behind(&table, 0..10, 2).await.is_none());
    assert!(behind(&table, 0..20, 3).await.is_none());
    assert!(behind(&first, 20..30, 4).await.is_none(), "nor are places left out");
    let second = behind(&first, 10..30, 5).await.unwrap();
    assert_eq!(totals(&second).await, expected(&rows));
    // The same commit again, whose answer was lost: its files are there.
    let again = behind(&first, 10..30, 5).await.unwrap();
    assert_eq!(totals(&again).await, expected(&rows));
}

#[tokio::test]
async fn gateways_append_at_the_same_time_and_every_row_is_there_once() {
    let location = memory(Arc::new(InMemory::new()));
    let table = Table::open(&location).await.unwrap();
    let all = ["a", "b", "c", "d"].map(|instance| traffic(instance, 900, 100));
    let tasks = all.clone().map(|rows| {
        // Each has its own idea of the newest version, and none but the first is right.
        let mut table = table.clone();
        async move {
            for (number, part) in (0..).zip(rows.chunks(100)) {
                table = append(&table, part, number).await.unwrap();
            }
        }
    });
    futures::future::join_all(tasks).await;
    let table = Table::open(&location).await.unwrap();
    let sums = all.iter().map(|rows| expected(rows));
    let sums = sums.fold((0, 0, 0), |sum, one| (sum.0 + one.0, sum.1, sum.2 + one.2));
    let found = totals(&table).await;
    // The generator gives the same ids to each instance.
    assert_eq!((found.0, found.2), (sums.0, sums.2));
    assert_eq!(table.version(), 36);
}

#[tokio::test]
async fn a_files_name_and_statistics_say_what_is_in_it() {
    let location = memory(Arc::new(InMemory::new()));
    let table = Table::open(&location).await.unwrap();
    // Ten hours and more: two days.
    let rows = traffic("gw.1", 3000, 1).into_iter().map(|mut row| {
        row.start_time = Timestamp::from_unix_us(row.start_time.unix_us() + i64::from(row.seq.get() % 2 == 0) * Timestamp::DAY_US);
        row
    });
    let rows: Vec<_> = rows.collect();
    let table = append(&table, &rows, 1).await.unwrap();
    let files = table.lake().files().unwrap();
    assert_eq!(files.len(), 2);
    for file in files {
        let FileName::Flushed { instance, first, last } = FileName::parse(&file.path) else {
            panic!("{}", file.path);
        };
        assert_eq!(instance, name("gw.1"));
        let inside: Vec<_> = rows
            .iter()
            .filter(|row| row.start_time.day() == day_of(&rows, first))
            .collect();
        assert_eq!(file.rows, Some(inside.len() as u64));
        assert_eq!(first, inside.iter().map(|row| row.seq).min().unwrap());
        assert_eq!(last, inside.iter().map(|row| row.seq).max().unwrap());
        let stats: serde_json::Value = serde_json::from_str(&file.stats.unwrap()).unwrap();
        assert_eq!(stats["minValues"]["seq"], first.get());
        let teams = inside.iter().filter_map(|row| row.identity.team.as_ref());
        assert_eq!(stats["maxValues"]["team"], teams.max().unwrap().as_str());
        assert_eq!(stats["nullCount"]["corrects"], inside.len());
        assert!(stats["minValues"].get("corrects").is_none());
    }
    // Bounds are exact, since engines answer from them.
    let batch = sql(
        &table,
        "SELECT max(cost), max(arrow_cast(start_time, 'Int64')) FROM usage WHERE cost >= 0 AND start_time > '2026-01-01'",
    )
    .await;
    let cost = rows.iter().filter_map(|row| row.cost.cost).max().unwrap();
    assert_eq!(batch.column(0).as_primitive::<Decimal128Type>().value(0), cost.units());
    let start = rows.iter().map(|row| row.start_time.unix_us()).max().unwrap();
    assert_eq!(batch.column(1).as_primitive::<Int64Type>().value(0), start);
}

fn day_of(rows: &[Box<Record>], seq: Seq) -> i32 {
    rows.iter().find(|row| row.seq == seq).unwrap().start_time.day()
}

#[tokio::test]
async fn rows_of_a_commit_whose_answer_was_lost_are_not_appended_again_with_later_ones() {
    let rows = traffic("gw", 500, 1);
    let before = Table::open(&memory(Arc::new(InMemory::new()))).await.unwrap();
    // Whoever holds `before` has not heard that the first rows were committed, and comes again with more.
    append(&before, &rows[..150], 1).await.unwrap();
    let after = append(&before, &rows, 2).await.unwrap();
    let batch = sql(&after, "SELECT count(*), count(DISTINCT call_id), max(seq) FROM usage").await;
    for column in 0..3 {
        assert_eq!(batch.column(column).as_primitive::<Int64Type>().value(0), 500);
    }
}

fn any(_: &lake::DataFile) -> bool {
    true
}

const MB: u64 = 1_000_000;

/// A table of some flushes, and all their rows.
async fn flushed(location: &Location, flushes: usize, rows: usize) -> (Table, Vec<Box<Record>>) {
    let mut table = Table::open(location).await.unwrap();
    let all = traffic("gw", flushes * rows, 100);
    for (number, part) in (1..).zip(all.chunks(rows)) {
        table = append(&table, part, number).await.unwrap();
    }
    (table, all)
}

#[tokio::test]
async fn a_compaction_never_changes_what_a_query_returns() {
    let location = memory(Arc::new(InMemory::new()));
    let (table, rows) = flushed(&location, 12, 1500).await;
    let everything = "SELECT * FROM usage ORDER BY seq";
    let before = sql(&table, everything).await;
    let compacted = table.compact_once(128 * MB, &any, stamp(100)).await.unwrap().unwrap();
    assert_eq!((compacted.files, compacted.rows), (12, 18_000));
    let files = compacted.table.lake().files().unwrap();
    assert_eq!(files.len(), 1);
    assert_eq!(FileName::parse(&files[0].path), FileName::Compacted);
    assert_eq!(sql(&compacted.table, everything).await, before);
    assert_eq!(totals(&compacted.table).await, expected(&rows));
    assert_eq!(
        compacted.table.committed(&name("gw")).await.unwrap(),
        rows.last().unwrap().seq
    );
    // The version before reads as it did, also for who opens it now.
    let pinned = Table::open(&location)
        .await
        .unwrap()
        .lake()
        .at(table.version())
        .await
        .unwrap();
    assert_eq!(sql(&Table::of(pinned), everything).await, before);
    assert!(
        compacted
            .table
            .compact_once(128 * MB, &any, stamp(101))
            .await
            .unwrap()
            .is_none()
    );
    // Bounded: a batch of each input, twice at most, and the rows of one output batch.
    assert!(compacted.rows_held_max <= 12 * 2 * merge::READ_ROWS + merge::OUT_ROWS);
    assert!(compacted.rows_held_max < 18_000);
}

#[tokio::test]
async fn a_compacted_file_is_sorted_by_team_model_and_time() {
    let location = memory(Arc::new(InMemory::new()));
    let (table, _) = flushed(&location, 8, 500).await;
    let compacted = table.compact_once(128 * MB, &any, stamp(100)).await.unwrap().unwrap().table;
    let path = Path::parse(&compacted.lake().files().unwrap()[0].path).unwrap();
    let bytes = object_store::ObjectStoreExt::get(&*compacted.lake().store(), &path)
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let batches: Vec<_> = reader.with_batch_size(10_000).build().unwrap().map(Result::unwrap).collect();
    let keys = merge::usage_keys(&batches[0]).unwrap();
    let columns: Vec<_> = keys
        .into_iter()
        .map(|values| arrow::compute::SortColumn { values, options: None })
        .collect();
    let sorted = arrow::compute::lexsort_to_indices(&columns, None).unwrap();
    assert!(sorted.values().windows(2).all(|pair| pair[0] < pair[1]));
}

#[tokio::test]
async fn a_flush_during_a_compaction_is_kept_and_both_are_committed() {
    let location = memory(Arc::new(InMemory::new()));
    let (table, rows) = flushed(&location, 8, 300).await;
    let other = traffic("other", 700, 100);
    // The compaction has read the table; before it commits, another gateway flushes.
    let stale = table.lake().files().unwrap();
    let flushed = append(&table, &other, 50).await.unwrap();
    let compacted = table
        .compact_once(128 * MB, &|file| stale.iter().any(|old| old.path == file.path), stamp(60))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(compacted.files, 8);
    let again = append(&flushed, &traffic("third", 10, 100), 70).await.unwrap();
    let found = totals(&again).await;
    let cost = expected(&rows).2 + expected(&other).2 + expected(&traffic("third", 10, 100)).2;
    assert_eq!((found.0, found.2), (2400 + 700 + 10, cost));
    assert_eq!(again.lake().files().unwrap().len(), 3);
}

#[tokio::test]
async fn of_two_compactions_of_the_same_files_one_wins() {
    let location = memory(Arc::new(InMemory::new()));
    let (table, rows) = flushed(&location, 9, 400).await;
    // On one thread, both read the table before either commits.
    let (left, right) = futures::future::join(
        table.compact_once(128 * MB, &any, stamp(100)),
        table.compact_once(128 * MB, &any, stamp(200)),
    )
    .await;
    let won = [&left, &right].iter().filter(|result| matches!(result, Ok(Some(_)))).count();
    let lost = [&left, &right]
        .iter()
        .filter(|result| matches!(result, Err(Error::Conflict { .. })))
        .count();
    assert_eq!((won, lost), (1, 1), "{left:?} {right:?}");
    let table = table.newest().await.unwrap();
    assert_eq!(totals(&table).await, expected(&rows));
}

#[tokio::test]
async fn a_compaction_whose_answer_was_lost_is_not_done_twice() {
    let liar = Liar::new(usize::MAX);
    let location = memory(Arc::clone(&liar) as Arc<dyn ObjectStore>);
    let (table, rows) = flushed(&location, 8, 300).await;
    // The file is the next write, the commit the one after it.
    let lost = liar.writes.load(Ordering::Relaxed) + 2;
    let lying: Arc<dyn ObjectStore> = Arc::new(Liar {
        inner: liar.inner.clone(),
        every: 2,
        writes: AtomicUsize::new(0),
    });
    assert!(lost > 2);
    let table_over_liar = Table::open(&memory(lying)).await.unwrap();
    table_over_liar.compact_once(128 * MB, &any, stamp(100)).await.unwrap_err();
    let table = table.newest().await.unwrap();
    assert_eq!(table.lake().files().unwrap().len(), 1, "the commit had happened");
    assert_eq!(totals(&table).await, expected(&rows));
    assert!(table.compact_once(128 * MB, &any, stamp(101)).await.unwrap().is_none());
}

#[tokio::test]
async fn vacuum_deletes_what_no_version_within_the_history_has_and_nothing_else() {
    let location = memory(Arc::new(InMemory::new()));
    let (table, rows) = flushed(&location, 8, 200).await;
    let before = table.version();
    let table = table.compact_once(128 * MB, &any, stamp(100)).await.unwrap().unwrap().table;
    let store = table.lake().store();
    let orphan = Path::from("start_date=2026-09-21/gw.1-2.00000000-0000-0000-0000-000000000009.parquet");
    object_store::ObjectStoreExt::put(&*store, &orphan, "x".into()).await.unwrap();
    let history = std::time::Duration::from_secs(3600);
    // The old files were taken out at stamp 100; the store dates files by its own clock.
    let written = std::time::SystemTime::now().into();
    let at = |time: Timestamp, hours: i64| Timestamp::from_unix_us(time.unix_us() + hours * 3_600_000_000);
    let removed = stamp(100).now.max(written);
    // Within the history, the version before the compaction reads as it did, and what may still be committed stays.
    assert_eq!(table.lake().vacuum(history, stamp(101).now).await.unwrap().files, 0);
    let pinned = Table::of(table.lake().at(before).await.unwrap());
    assert_eq!(totals(&pinned).await, expected(&rows));
    let done = table.lake().vacuum(history, at(removed, 48)).await.unwrap();
    assert_eq!(done.files, 9);
    assert!(done.bytes > 1000);
    assert_eq!(totals(&table).await, expected(&rows));
    assert_eq!(table.lake().vacuum(history, at(removed, 96)).await.unwrap().files, 0);
}

#[tokio::test]
async fn vacuum_deletes_nothing_if_files_of_the_table_are_not_found() {
    let location = memory(Arc::new(InMemory::new()));
    let (table, _) = flushed(&location, 3, 50).await;
    let path = Path::parse(&table.lake().files().unwrap()[0].path).unwrap();
    object_store::ObjectStoreExt::delete(&*table.lake().store(), &path)
        .await
        .unwrap();
    let error = table
        .lake()
        .vacuum(std::time::Duration::ZERO, stamp(1_000_000).now)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
}

#[tokio::test]
async fn rows_expire_by_whole_days_and_a_pinned_version_keeps_them() {
    let location = memory(Arc::new(InMemory::new()));
    let table = Table::open(&location).await.unwrap();
    let rows: Vec<_> = traffic("gw", 900, 100)
        .into_iter()
        .map(|mut row| {
            // Three days.
            let day = i64::try_from(row.seq.get() % 3).unwrap();
            row.start_time = Timestamp::from_unix_us(START.unix_us() + day * Timestamp::DAY_US);
            row
        })
        .collect();
    let full = append(&table, &rows, 1).await.unwrap();
    let now = |days: i64| Stamp {
        now: Timestamp::from_unix_us(START.unix_us() + days * Timestamp::DAY_US),
        id: Uuid::nil(),
    };
    // Ten days are kept: the first day may go when it is eleven days ago.
    assert!(full.expire(10, now(10)).await.unwrap().is_none());
    let expired = full.expire(10, now(11)).await.unwrap().unwrap();
    assert_eq!((expired.files, expired.rows), (1, 300));
    assert_eq!(totals(&expired.table).await.0, 600);
    assert!(expired.table.expire(10, now(11)).await.unwrap().is_none());
    let pinned = Table::of(expired.table.lake().at(full.version()).await.unwrap());
    assert_eq!(totals(&pinned).await, expected(&rows));
    // What expired does not come back by a repeated flush.
    let again = append(&expired.table, &rows, 2).await.unwrap();
    assert_eq!(totals(&again).await.0, 600);
}

#[tokio::test]
async fn a_retention_and_a_compaction_of_the_same_day_do_not_both_win() {
    let location = memory(Arc::new(InMemory::new()));
    let (table, rows) = flushed(&location, 9, 100).await;
    let (compacted, expired) = futures::future::join(
        table.compact_once(128 * MB, &any, stamp(1_000_000)),
        table.expire(1, stamp(1_000_001)),
    )
    .await;
    let left = totals_or_none(&table.newest().await.unwrap()).await;
    match (compacted, expired) {
        (Err(Error::Conflict { .. }), Ok(Some(_))) => assert_eq!(left, 0),
        // Or the one began when the other had ended, on a busy machine.
        (Ok(_), Ok(Some(_))) => assert_eq!(left, 0),
        (Ok(Some(_)), Err(Error::Conflict { .. })) => assert_eq!(left, rows.len() as i64),
        other => panic!("{other:?}"),
    }
}

async fn totals_or_none(table: &Table) -> i64 {
    sql(table, "SELECT count(*) FROM usage")
        .await
        .column(0)
        .as_primitive::<Int64Type>()
        .value(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_come_after_enough_commits_and_an_old_log_is_forgotten() {
    let location = memory(Arc::new(InMemory::new()));
    let (table, rows) = flushed(&location, 6, 50).await;
    let lake = table.lake();
    assert_eq!(lake.checkpoint(7).await.unwrap(), None);
    assert_eq!(lake.checkpoint(5).await.unwrap(), Some(6));
    assert_eq!(lake.checkpoint(5).await.unwrap(), None);
    let hour = std::time::Duration::from_secs(3600);
    let now = Timestamp::from(std::time::SystemTime::now());
    assert_eq!(lake.forget_log(hour, now).await.unwrap(), 0);
    let later = Timestamp::from_unix_us(now.unix_us() + 48 * 3_600_000_000);
    assert_eq!(lake.forget_log(hour, later).await.unwrap(), 6);
    let table = Table::open(&location).await.unwrap();
    assert_eq!(totals(&table).await, expected(&rows));
    assert_eq!(table.committed(&name("gw")).await.unwrap(), rows.last().unwrap().seq);
}

#[tokio::test]
async fn the_history_is_written_into_the_tables_properties_once() {
    let location = memory(Arc::new(InMemory::new()));
    let (table, _) = flushed(&location, 1, 50).await;
    let day = std::time::Duration::from_secs(24 * 3600);
    let lake = table.lake().set_history(day).await.unwrap().unwrap();
    let properties = lake.delta().snapshot().unwrap().metadata().configuration();
    assert_eq!(properties["delta.logRetentionDuration"], "interval 86400 seconds");
    assert_eq!(properties["delta.dataSkippingStatsColumns"], STATS_COLUMNS.join(","));
    assert!(lake.set_history(day).await.unwrap().is_none());
    // Writers that know the old properties go on.
    append(&table, &traffic("other", 10, 1), 5).await.unwrap();
}

/// What EXPLAIN ANALYZE counts of the scan.
async fn explained(table: &Table, filter: &str) -> String {
    let batch = sql(
        table,
        &format!("EXPLAIN ANALYZE SELECT sum(input_tokens) FROM usage WHERE {filter}"),
    )
    .await;
    let plans = batch.column_by_name("plan").unwrap().as_string::<i32>();
    plans.iter().flatten().collect()
}

#[tokio::test]
async fn files_are_left_out_by_time_and_by_id() {
    let location = memory(Arc::new(InMemory::new()));
    let (table, rows) = flushed(&location, 4, 500).await;
    let files = |plan: &str| {
        (1..=4)
            .filter(|file| plan.contains(&format!("{}.parquet", Uuid::from_u128(*file))))
            .count()
    };
    assert_eq!(files(&explained(&table, "input_tokens > 0").await), 4);
    let last = rows[..1500].iter().map(|row| row.start_time.unix_us()).max().unwrap();
    // Bounds in the log count as cut to milliseconds, whoever wrote them.
    let after = name::instant(last + 1000).unwrap();
    assert_eq!(
        files(&explained(&table, &format!("start_time >= TIMESTAMP '{after}'")).await),
        1
    );
    let id = rows[5].call_id;
    let found = files(&explained(&table, &format!("call_id = '{id}'")).await);
    assert!((1..=2).contains(&found), "{found}");
}

#[tokio::test]
async fn pages_of_a_file_are_left_out_by_team() {
    let location = memory(Arc::new(InMemory::new()));
    let (table, rows) = flushed(&location, 1, 4 * crate::parquet::PAGE_ROWS).await;
    let team = rows.iter().find_map(|row| row.identity.team.clone()).unwrap();
    let plan = explained(&table, &format!("team = '{team}'")).await;
    let pages = plan.split("page_index_pages_pruned=").nth(1).unwrap();
    let counts: Vec<usize> = pages
        .split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|word| word.parse().ok())
        .take(2)
        .collect();
    assert_eq!(counts[0], 4, "{plan}");
    assert!(counts[1] < 4, "{plan}");
}
