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
