//! The rollup is always the sum of the raw rows: whatever was flushed, by whom, in which order, and whatever went wrong.

use std::sync::{Arc, Mutex};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use proptest::prelude::*;
use tollgate_record::{Amount, Cost, CostStatus, Identity, Name, Outcome, Record, Seq, Timestamp, Usage, UsageSource};
use url::Url;
use uuid::Uuid;

use super::{Flushed, KEYS, Keeper, MEASURES, NAME, existing, hourly, view};
use crate::hot::{Held, Hot};
use crate::location::Location;
use crate::scan::Scan;
use crate::schema::usage_schema;
use crate::table::Table;
use crate::table::lake::{Change, Lake, Stamp};
use crate::tables::View;
use crate::testing::{name, plain, record};
use crate::usage_batch;
use crate::wal::lock;

const HOUR_US: i64 = 3_600_000_000;
/// 2026-11-01T00:00:00Z.
const START_US: i64 = 1_793_491_200_000_000;

/// What a test decides about a row.
#[derive(Clone, Debug)]
struct Given {
    hour: i64,
    team: usize,
    model: usize,
    currency: usize,
    units: Option<i64>,
    input: Option<u64>,
    outcome: usize,
    corrects: bool,
}

fn given() -> impl Strategy<Value = Given> {
    let amount = prop::option::of(-1_000_000_000_000_000_i64..1_000_000_000_000_000);
    (
        0..60_i64,
        0..3_usize,
        0..2_usize,
        0..3_usize,
        amount,
        prop::option::of(0..1_000_u64),
        0..3_usize,
        prop::bool::weighted(0.1),
    )
        .prop_map(|(hour, team, model, currency, units, input, outcome, corrects)| Given {
            hour,
            team,
            model,
            currency,
            units,
            input,
            outcome,
            corrects,
        })
}

fn row(instance: &Name, seq: u64, given: &Given) -> Record {
    let mut row = record(seq);
    let pick = |names: [Option<&str>; 3], index: usize| names[index % 3].map(name);
    row.instance = instance.clone();
    row.seq = Seq::new(seq);
    row.start_time = Timestamp::from_unix_us(START_US + given.hour * HOUR_US + i64::try_from(seq).unwrap());
    row.identity = Arc::new(Identity {
        team: pick([Some("growth"), Some("ads"), None], given.team),
        ..row.identity.as_ref().clone()
    });
    row.call.request_model = pick([Some("gpt-x"), None, Some("claude-y")], given.model);
    row.corrects = given.corrects.then_some(row.call_id);
    (row.outcome, row.status_code) = [
        (Outcome::Ok, Some(200)),
        (Outcome::UpstreamError, Some(500)),
        (Outcome::Timeout, None),
    ][given.outcome];
    row.usage = Usage {
        source: UsageSource::Reported,
        input: given.input,
        ..Usage::default()
    };
    let amount = given.units.map(|units| Amount::from_units(i128::from(units)).unwrap());
    row.cost = Cost {
        status: if amount.is_some() {
            CostStatus::Priced
        } else {
            CostStatus::Unpriced
        },
        cost: amount,
        list_cost: amount,
        avoided_cost: None,
        currency: pick([Some("USD"), Some("EUR"), None], given.currency),
        price_version: None,
        charges: Vec::new(),
    };
    row
}

/// A gateway: its table, and its rollup.
struct Gateway {
    instance: Name,
    view: Mutex<View>,
    keeper: Keeper,
    next: u64,
    location: Location,
    /// Minutes that have passed.
    minutes: i64,
}

/// An instant so many minutes from now.
fn stamp_in(minutes: i64) -> Stamp {
    let stamp = Stamp::system();
    Stamp {
        now: Timestamp::from_unix_us(stamp.now.unix_us() + minutes * 60_000_000),
        ..stamp
    }
}

impl Gateway {
    async fn open(instance: &str, location: &Location) -> Self {
        let instance = name(instance);
        let table = Table::open(location).await.unwrap();
        let next = table.committed(&instance).await.unwrap().get() + 1;
        Self {
            keeper: Keeper::new(location, instance.clone()).unwrap(),
            instance,
            view: Mutex::new(View {
                hot: Hot::default(),
                table,
                hourly: None,
            }),
            next,
            location: location.clone(),
            minutes: 0,
        }
    }

    fn rows(&mut self, given: &[Given]) -> Vec<Box<Record>> {
        let rows = given
            .iter()
            .zip(self.next..)
            .map(|(given, seq)| Box::new(row(&self.instance, seq, given)));
        let rows: Vec<_> = rows.collect();
        self.next += given.len() as u64;
        rows
    }

    /// Commits rows as a flush does. With `rolled`, the rollup is told of them.
    async fn flush(&mut self, given: &[Given], rolled: bool) {
        let rows = self.rows(given);
        let last = Seq::new(self.next - 1);
        let batches = vec![usage_batch(&rows).unwrap()];
        let table = lock(&self.view).table.clone();
        let table = table
            .append(batches.clone(), &self.instance, last, stamp_in(self.minutes))
            .await
            .unwrap();
        lock(&self.view).table = table;
        if rolled {
            self.keeper
                .step(&self.view, Some(Flushed { batches, last }), stamp_in(self.minutes))
                .await;
        }
    }

    async fn step(&self) -> bool {
        self.keeper.step(&self.view, None, stamp_in(self.minutes)).await
    }

    /// The rollup that queries see equals the raw rows that they see, in every column and group, to the last digit.
    async fn is_exact(&self) {
        let (table, rolled, hot) = {
            let mut view = lock(&self.view);
            (view.table.clone(), view.hourly.clone(), view.hot.pieces())
        };
        let hot = Held::of(&hot).unwrap();
        let files = table.scanned().unwrap();
        let context = SessionContext::new();
        let raw = Scan::new("usage", &usage_schema(), Some(files.clone()), hot.clone());
        context.register_table("raw", hourly(Arc::new(raw)).unwrap()).unwrap();
        context
            .register_table(NAME, view(rolled.as_ref(), Some(&files), hot).unwrap())
            .unwrap();
        let keys = format!("hour, start_date, {}", KEYS.join(", "));
        let measures = MEASURES.map(|measure| {
            let name = measure.name;
            let function = if name.ends_with("_max") { "max" } else { "sum" };
            format!("{function}({name}) AS {name}")
        });
        let sums = async |table: &str| {
            let query = format!(
                "SELECT {keys}, {} FROM {table} GROUP BY {keys} ORDER BY {keys}",
                measures.join(", ")
            );
            let batches = context.sql(&query).await.unwrap().collect().await.unwrap();
            let schema = batches.first().map(RecordBatch::schema);
            schema.map(|schema| plain(&arrow::compute::concat_batches(&schema, &batches).unwrap()))
        };
        assert_eq!(sums(NAME).await, sums("raw").await);
    }

    /// Rows that a query adds up anew.
    async fn raw_rows(&self) -> usize {
        let (table, rolled) = {
            let view = lock(&self.view);
            (view.table.clone(), view.hourly.clone())
        };
        let files = table.scanned().unwrap();
        let Some(rolled) = rolled else { return usize::MAX };
        let (lacking, _) = rolled.coverage.lacking(&files).unwrap();
        lacking.map_or(0, |files| files.places().map(|file| file.rows.unwrap() as usize).sum())
    }

    async fn hourly_rows(&self) -> (usize, usize) {
        let lake = existing(&self.location).await.unwrap().unwrap();
        let files = lake.files().unwrap();
        (files.len(), files.iter().map(|file| file.rows.unwrap() as usize).sum())
    }
}

fn memory() -> Location {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    Location::new(Url::parse("memory:///lake/usage/").unwrap(), store)
}

fn some(count: usize) -> Vec<Given> {
    (0..count)
        .map(|index| Given {
            hour: (index % 7) as i64,
            team: index % 3,
            model: index % 2,
            currency: index % 3,
            units: (!index.is_multiple_of(4)).then_some(index as i64),
            input: (!index.is_multiple_of(5)).then_some(index as u64),
            outcome: index % 3,
            corrects: index % 9 == 8,
        })
        .collect()
}

/// Puts all files of table `usage` together, as a compaction does.
async fn compact(location: &Location, minutes: i64) {
    let table = Table::open(location).await.unwrap();
    let context = SessionContext::new();
    context.register_table("usage", table.provider().await.unwrap()).unwrap();
    let mut removes = table.lake().files().unwrap();
    let Some(day) = removes
        .first()
        .and_then(|file| file.partition.get("start_date").cloned().flatten())
    else {
        return;
    };
    removes.retain(|file| file.partition.get("start_date") == Some(&Some(day.clone())));
    let query = format!("SELECT * FROM usage WHERE start_date = DATE '{day}'");
    let batches = context.sql(&query).await.unwrap().collect().await.unwrap();
    let batches: Vec<_> = batches.iter().map(plain).collect();
    let places: Vec<u32> = (0..batches.iter().map(RecordBatch::num_rows).sum::<usize>() as u32).collect();
    let schema = crate::parquet::file_schema();
    let properties = Arc::new(crate::parquet::properties().build());
    let file = crate::parquet::encode(&batches, &places, &schema, properties).unwrap();
    let stamp = stamp_in(minutes);
    let path = format!("start_date={day}/compact-{}.parquet", Uuid::now_v7());
    let partition = removes[0].partition.clone();
    let columns = crate::table::STATS_COLUMNS;
    let add = crate::table::upload::upload(&table.lake().store(), path, partition, file, &schema, columns, stamp).await;
    let change = Change {
        operation: deltalake_core::protocol::DeltaOperation::Optimize {
            predicate: None,
            target_size: 0,
        },
        adds: vec![add.unwrap()],
        removes,
        moves: Vec::new(),
        data_change: false,
    };
    table.lake().commit(&change, stamp).await.unwrap();
}

#[tokio::test]
async fn what_a_flush_brought_is_added_up_at_once_and_no_raw_row_is_read() {
    let location = memory();
    let mut gateway = Gateway::open("gw", &location).await;
    gateway.is_exact().await;
    for _ in 0..5 {
        gateway.flush(&some(100), true).await;
        gateway.is_exact().await;
        assert_eq!(gateway.raw_rows().await, 0);
    }
    // Rows in memory are added up as well.
    let rows = gateway.rows(&some(30));
    lock(&gateway.view).hot.push(rows);
    gateway.is_exact().await;
    assert!(!gateway.step().await, "there is nothing to do");
}

#[tokio::test]
async fn what_was_flushed_and_never_added_up_is_caught_up_with() {
    let location = memory();
    let mut gateway = Gateway::open("gw", &location).await;
    for rolled in [true, false, false, true, false] {
        gateway.flush(&some(50), rolled).await;
        gateway.is_exact().await;
    }
    assert!(gateway.raw_rows().await > 0);
    // A crash: the next process finds what the rollup lacks.
    let gateway = Gateway::open("gw", &location).await;
    gateway.is_exact().await;
    while gateway.step().await {
        gateway.is_exact().await;
    }
    assert_eq!(gateway.raw_rows().await, 0);
}

#[tokio::test]
async fn gateways_add_up_their_own_rows_and_see_those_of_each_other() {
    let location = memory();
    let mut one = Gateway::open("one", &location).await;
    let mut two = Gateway::open("two", &location).await;
    for round in 0..4 {
        one.flush(&some(40), round != 1).await;
        one.is_exact().await;
        two.flush(&some(60), round != 2).await;
        two.is_exact().await;
        one.is_exact().await;
    }
    for gateway in [&one, &two] {
        while gateway.step().await {}
        gateway.is_exact().await;
    }
    assert_eq!(two.raw_rows().await, 0);
}

#[tokio::test]
async fn compacted_files_of_several_gateways_are_looked_into_once_and_then_not_read() {
    let location = memory();
    let mut one = Gateway::open("one", &location).await;
    let mut two = Gateway::open("two", &location).await;
    one.flush(&some(40), true).await;
    two.flush(&some(40), false).await;
    // One of the rows in the compacted file are added up already, the others are not.
    compact(&location, 0).await;
    for gateway in [&mut one, &mut two] {
        gateway.flush(&some(10), true).await;
        gateway.is_exact().await;
        while gateway.step().await {
            gateway.is_exact().await;
        }
        gateway.is_exact().await;
    }
    assert_eq!(two.raw_rows().await, 0);
    one.step().await;
    assert_eq!(one.raw_rows().await, 0);
    one.is_exact().await;
}

#[tokio::test]
async fn many_small_files_are_merged_and_the_sums_stay() {
    let location = memory();
    let mut gateway = Gateway::open("gw", &location).await;
    for _ in 0..20 {
        gateway.flush(&some(21), true).await;
    }
    let before = gateway.hourly_rows().await;
    assert_eq!(before.0, 20);
    while gateway.step().await {}
    let (files, rows) = gateway.hourly_rows().await;
    assert_eq!(files, 1);
    assert_eq!(rows * 20, before.1, "every hour and key has one row");
    gateway.is_exact().await;
}

#[tokio::test]
async fn what_merging_left_behind_is_deleted_when_its_history_ends() {
    let location = memory();
    let mut gateway = Gateway::open("gw", &location).await;
    for _ in 0..20 {
        gateway.flush(&some(10), true).await;
    }
    while gateway.step().await {}
    let lake = existing(&location).await.unwrap().unwrap();
    let files = async || {
        let found: Vec<_> = futures::TryStreamExt::try_collect(lake.store().list(None)).await.unwrap();
        found
            .iter()
            .filter(|file: &&object_store::ObjectMeta| {
                file.location.extension() == Some("parquet") && !file.location.as_ref().contains("_delta_log")
            })
            .count()
    };
    assert_eq!(files().await, 21);
    let hour = std::time::Duration::from_secs(3_600);
    let later = |hours: i64| Stamp {
        now: Timestamp::from_unix_us(Stamp::system().now.unix_us() + hours * HOUR_US),
        id: Uuid::now_v7(),
    };
    gateway.keeper.tend(hour, true, later(0)).await.unwrap();
    assert_eq!(files().await, 21, "a query may still read them");
    gateway.keeper.tend(hour, true, later(30 * 24)).await.unwrap();
    assert_eq!(files().await, 1);
    gateway.flush(&some(10), true).await;
    gateway.is_exact().await;
}

#[tokio::test]
async fn days_whose_retention_ended_leave_the_rollup_too() {
    let location = memory();
    let mut gateway = Gateway::open("gw", &location).await;
    let rows: Vec<_> = some(90)
        .into_iter()
        .enumerate()
        .map(|(index, given)| Given {
            hour: index as i64,
            ..given
        })
        .collect();
    gateway.flush(&rows, true).await;
    let stamp = Stamp {
        // The first of the four days is past, three are kept.
        now: Timestamp::from_unix_us(START_US + 96 * HOUR_US),
        id: Uuid::now_v7(),
    };
    let table = lock(&gateway.view).table.clone();
    let expired = table.expire(3, stamp).await.unwrap().unwrap();
    assert_eq!(expired.rows, 24);
    lock(&gateway.view).table = expired.table;
    gateway.is_exact().await;
    let before = gateway.hourly_rows().await;
    while gateway.step().await {}
    assert!(gateway.hourly_rows().await.1 < before.1);
    gateway.is_exact().await;
}

#[tokio::test]
async fn a_flush_whose_answer_was_lost_is_not_shown_twice() {
    let location = memory();
    let mut gateway = Gateway::open("gw", &location).await;
    gateway.flush(&some(20), true).await;
    // The rows are committed, and nobody was told: they are in memory as well.
    let rows = gateway.rows(&some(30));
    let batches = vec![usage_batch(&rows).unwrap()];
    let last = Seq::new(gateway.next - 1);
    let table = lock(&gateway.view).table.clone();
    table.append(batches, &gateway.instance, last, Stamp::system()).await.unwrap();
    lock(&gateway.view).hot.push(rows);
    for _ in 0..3 {
        gateway.step().await;
        let view = lock(&gateway.view).table.clone();
        assert_eq!(view.committed(&gateway.instance).await.unwrap(), Seq::new(20));
        gateway.is_exact().await;
    }
}

#[tokio::test]
async fn a_rollup_that_cannot_be_written_stops_nothing_and_is_caught_up_with() {
    let location = memory();
    // Another table stands where the rollup belongs.
    let beside = location.beside(super::SUFFIX).unwrap();
    let other = crate::table::definition();
    Lake::open(&beside, &other).await.unwrap();
    let mut gateway = Gateway::open("gw", &location).await;
    gateway.flush(&some(20), true).await;
    assert!(lock(&gateway.view).hourly.is_none());
    gateway.is_exact().await;
}

/// A compaction makes a file new again, whosever rows it holds: what it holds is not passed over by a step that takes the older files behind it.
#[tokio::test]
async fn rows_of_a_silent_gateway_are_all_added_up_though_some_were_compacted_just_now() {
    let location = memory();
    let mut one = Gateway::open("one", &location).await;
    let mut two = Gateway::open("two", &location).await;
    two.flush(&some(40), false).await;
    let next_day = [30, 31].map(|hour| Given {
        hour,
        ..some(1)[0].clone()
    });
    two.flush(&next_day, false).await;
    compact(&location, 20).await;
    for minutes in [21, 25, 31, 32] {
        one.minutes = minutes;
        while one.step().await {
            one.is_exact().await;
        }
        one.is_exact().await;
    }
    assert_eq!(one.raw_rows().await, 0, "all of them are added up by now");
}

#[tokio::test]
async fn a_gateway_that_has_not_seen_a_day_yet_keeps_its_sums() {
    let location = memory();
    let mut one = Gateway::open("one", &location).await;
    let two = Gateway::open("two", &location).await;
    let days = [0, 30].map(|hour| Given {
        hour,
        ..some(1)[0].clone()
    });
    one.flush(&days, true).await;
    two.step().await;
    two.is_exact().await;
    assert_eq!(one.hourly_rows().await.1, 2);
}

#[tokio::test]
async fn reading_offline_uses_the_rollup_as_it_is() {
    let location = memory();
    let mut gateway = Gateway::open("gw", &location).await;
    gateway.flush(&some(50), true).await;
    gateway.flush(&some(50), false).await;
    let rolled = existing(&location).await.unwrap().unwrap();
    let table = Table::open_existing(&location).await.unwrap().unwrap();
    let files = table.scanned().unwrap();
    let rolled = super::Hourly::of(&rolled, &files).await.unwrap();
    let context = SessionContext::new();
    context
        .register_table(NAME, view(Some(&rolled), Some(&files), Vec::new()).unwrap())
        .unwrap();
    let sums = context
        .sql("SELECT sum(calls) + sum(corrections) FROM usage_hourly")
        .await
        .unwrap();
    let sums = sums.collect().await.unwrap();
    assert_eq!(sums[0].column(0).as_primitive::<Int64Type>().value(0), 100);
}

#[derive(Clone, Debug)]
enum Act {
    Flush {
        gateway: usize,
        rows: Vec<Given>,
        rolled: bool,
    },
    Hot {
        gateway: usize,
        rows: Vec<Given>,
    },
    Step {
        gateway: usize,
    },
    Compact,
    /// Eleven minutes pass, after which a gateway that did nothing counts as silent.
    Pass,
    Restart {
        gateway: usize,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let rows = || prop::collection::vec(given(), 1..12);
    prop_oneof![
        4 => (0..2_usize, rows(), any::<bool>()).prop_map(|(gateway, rows, rolled)| Act::Flush { gateway, rows, rolled }),
        1 => (0..2_usize, rows()).prop_map(|(gateway, rows)| Act::Hot { gateway, rows }),
        2 => (0..2_usize).prop_map(|gateway| Act::Step { gateway }),
        1 => Just(Act::Compact),
        1 => Just(Act::Pass),
        1 => (0..2_usize).prop_map(|gateway| Act::Restart { gateway }),
    ]
}

async fn play(acts: Vec<Act>) {
    const NAMES: [&str; 2] = ["one", "two"];
    let location = memory();
    let mut minutes = 0;
    let mut gateways = [
        Gateway::open(NAMES[0], &location).await,
        Gateway::open(NAMES[1], &location).await,
    ];
    for act in acts {
        match act {
            Act::Flush { gateway, rows, rolled } => {
                let gateway = &mut gateways[gateway];
                // What is in memory comes before, and goes with it.
                let hot = {
                    let mut view = lock(&gateway.view);
                    let pieces = view.hot.pieces();
                    view.hot = Hot::default();
                    pieces
                };
                if !hot.is_empty() {
                    let batches: Vec<_> = hot.iter().flat_map(|piece| piece.batches().unwrap()).collect();
                    let last = Seq::new(gateway.next - 1);
                    let table = lock(&gateway.view).table.clone();
                    let table = table
                        .append(batches, &gateway.instance, last, stamp_in(minutes))
                        .await
                        .unwrap();
                    lock(&gateway.view).table = table;
                }
                gateway.flush(&rows, rolled).await;
            }
            Act::Hot { gateway, rows } => {
                let gateway = &mut gateways[gateway];
                let rows = gateway.rows(&rows);
                lock(&gateway.view).hot.push(rows);
            }
            Act::Step { gateway } => drop(gateways[gateway].step().await),
            Act::Compact => compact(&location, minutes).await,
            Act::Pass => minutes += 11,
            Act::Restart { gateway } => gateways[gateway] = Gateway::open(NAMES[gateway], &location).await,
        }
        for gateway in &mut gateways {
            gateway.minutes = minutes;
            gateway.is_exact().await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_happens_the_rollup_equals_the_raw_rows(acts in prop::collection::vec(act(), 1..8)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(acts));
    }
}
