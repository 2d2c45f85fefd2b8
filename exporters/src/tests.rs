//! What holds of a runner, against a far side in memory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::RecordBatch;
use tokio::sync::Semaphore;
use tollgate_record::{BoxFuture, Name, Timestamp};

use crate::ambient::Ambient;
use crate::testing::{FIRST_US, MINUTE_US, Memory, Virtual, rows_of};
use crate::{
    BatchLimits, Delivery, Destination, Error, Exporter, Part, Redaction, Settings, Shape, Share, Start, State, Status, open, rows,
};

/// A far side in memory, which takes everything but what it is told not to.
struct FarSide {
    /// Batches as they were taken: first and last place.
    taken: Mutex<Vec<(i64, i64)>>,
    teams: Mutex<Vec<Option<String>>>,
    /// The first batch waits for this.
    gate: Semaphore,
    ordered: bool,
}

impl FarSide {
    /// One that takes everything at once.
    fn new(ordered: bool) -> Arc<Self> {
        let far_side = Self::gated(ordered);
        far_side.gate.add_permits(Semaphore::MAX_PERMITS);
        far_side
    }

    /// One that takes the first batch when its gate is opened.
    fn gated(ordered: bool) -> Arc<Self> {
        Arc::new(Self {
            taken: Mutex::default(),
            teams: Mutex::default(),
            gate: Semaphore::new(0),
            ordered,
        })
    }

    fn taken(&self) -> Vec<(i64, i64)> {
        self.taken.lock().unwrap().clone()
    }
}

impl Destination for FarSide {
    fn rows_max(&self) -> usize {
        10
    }

    fn ordered(&self) -> bool {
        self.ordered
    }

    fn deliver<'a>(&'a self, rows: &'a RecordBatch) -> BoxFuture<'a, Delivery> {
        Box::pin(async move {
            let place = |row| rows::int(rows, "seq", row).unwrap();
            if place(0) == 1 {
                drop(self.gate.acquire().await.unwrap());
            }
            self.taken.lock().unwrap().push((place(0), place(rows.num_rows() - 1)));
            let teams = (0..rows.num_rows()).map(|row| rows::text(rows, "team", row).map(str::to_owned));
            self.teams.lock().unwrap().extend(teams);
            Delivery::Accepted
        })
    }
}

fn settings(start: Start) -> Settings {
    let batch = BatchLimits {
        rows: 1000,
        bytes: usize::MAX,
        linger: Duration::ZERO,
    };
    Settings {
        start,
        batch,
        ..Settings::new(Name::new("finance").unwrap())
    }
}

struct Bench {
    clock: Arc<Virtual>,
    source: Arc<Memory>,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(rows: u64) -> Self {
        Self {
            clock: Arc::default(),
            source: Arc::new(Memory::new(&[("gw-1", rows)])),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    async fn run<T>(&self, settings: Settings, far_side: &Arc<FarSide>, work: impl AsyncFnOnce(&Exporter) -> T) -> T {
        let ambient = Arc::clone(&self.clock) as Arc<dyn Ambient>;
        let source = Arc::clone(&self.source);
        let (exporter, runner) = open(self.folder.path(), settings, Arc::clone(far_side) as _, source, ambient).unwrap();
        self.clock.run(&exporter, runner, work).await
    }

    async fn until(&self, exporter: &Exporter, wanted: impl Fn(&Status) -> bool) -> Status {
        for _ in 0..1000 {
            let status = exporter.status().await;
            if wanted(&status) {
                return status;
            }
            self.clock.sleep(Duration::from_millis(500)).await;
        }
        panic!("still {:?}", exporter.status().await);
    }
}

#[tokio::test]
async fn a_new_exporter_begins_where_it_is_told_and_goes_on_there_after_a_restart() {
    let third = Start::At(Timestamp::from_unix_us(FIRST_US + 2 * MINUTE_US));
    for (start, first) in [(Start::Beginning, 1), (Start::Now, 6), (third, 3)] {
        let bench = Bench::new(5);
        let far_side = FarSide::new(true);
        bench
            .run(settings(start), &far_side, async |exporter| {
                bench.until(exporter, |status| status.lag_rows == Some(0)).await
            })
            .await;
        bench.source.append(rows_of("gw-1", 6..=8));
        // Where a new one would begin no longer counts.
        bench
            .run(settings(Start::Now), &far_side, async |exporter| {
                bench.until(exporter, |status| status.lag_rows == Some(0)).await
            })
            .await;
        let taken = far_side.taken();
        assert_eq!((taken[0].0, taken.last().unwrap().1), (first, 8), "{start:?}: {taken:?}");
    }
}

#[tokio::test]
async fn batches_under_way_together_move_the_cursor_over_what_is_settled_without_a_gap() {
    let bench = Bench::new(40);
    let far_side = FarSide::gated(false);
    bench
        .run(settings(Start::Beginning), &far_side, async |exporter| {
            while far_side.taken().len() < 3 {
                tokio::task::yield_now().await;
            }
            assert_eq!(far_side.taken(), [(11, 20), (21, 30), (31, 40)]);
            let status = exporter.status().await;
            assert_eq!((status.lag_rows, status.delivered), (Some(40), 0));
            far_side.gate.add_permits(1);
            bench.until(exporter, |status| status.lag_rows == Some(0)).await;
        })
        .await;
    assert_eq!(far_side.taken().len(), 4);
}

#[tokio::test]
async fn a_far_side_that_cares_for_order_gets_one_batch_at_a_time() {
    let bench = Bench::new(40);
    let far_side = FarSide::gated(true);
    bench
        .run(settings(Start::Beginning), &far_side, async |exporter| {
            bench.until(exporter, |status| status.state == State::Running).await;
            bench.clock.sleep(Duration::from_secs(5)).await;
            assert_eq!(far_side.taken(), []);
            far_side.gate.add_permits(1);
            bench.until(exporter, |status| status.lag_rows == Some(0)).await;
        })
        .await;
    assert_eq!(far_side.taken(), [(1, 10), (11, 20), (21, 30), (31, 40)]);
}

#[tokio::test]
async fn resetting_sends_again_or_passes_over() {
    let bench = Bench::new(10);
    let far_side = FarSide::new(true);
    bench
        .run(settings(Start::Now), &far_side, async |exporter| {
            bench
                .until(exporter, |status| {
                    status.state == State::Running && status.lag_rows == Some(0)
                })
                .await;
            let from = Start::At(Timestamp::from_unix_us(FIRST_US + 7 * MINUTE_US));
            exporter.reset(from).await.unwrap();
            bench.until(exporter, |status| status.lag_rows == Some(0)).await;
            assert_eq!(far_side.taken(), [(8, 10)]);
            exporter.pause().await.unwrap();
            bench.source.append(rows_of("gw-1", 11..=30));
            exporter.reset(Start::Now).await.unwrap();
            exporter.resume().await.unwrap();
            bench.source.append(rows_of("gw-1", 31..=31));
            bench.until(exporter, |status| status.lag_rows == Some(0)).await;
        })
        .await;
    assert_eq!(far_side.taken(), [(8, 10), (31, 31)]);
}

#[tokio::test]
async fn another_configuration_holds_from_the_next_batch_on_and_a_name_is_for_ever() {
    let bench = Bench::new(2);
    let far_side = FarSide::new(true);
    bench
        .run(settings(Start::Beginning), &far_side, async |exporter| {
            bench.until(exporter, |status| status.lag_rows == Some(0)).await;
            let shape = Shape::new(Share::ALL, None, &[(Part::Column("team".to_owned()), Redaction::Remove)]).unwrap();
            exporter
                .replace(
                    Settings {
                        shape,
                        ..settings(Start::Beginning)
                    },
                    Arc::clone(&far_side) as _,
                )
                .await
                .unwrap();
            bench.source.append(rows_of("gw-1", 3..=3));
            bench.until(exporter, |status| status.lag_rows == Some(0)).await;
            let other = Settings::new(Name::new("other").unwrap());
            let refused = exporter.replace(other, Arc::clone(&far_side) as _).await;
            assert!(matches!(refused, Err(Error::Setting { field: "name", .. })), "{refused:?}");
        })
        .await;
    let teams = far_side.teams.lock().unwrap().clone();
    assert_eq!(teams, [Some("team-1".to_owned()), Some("team-2".to_owned()), None]);
}

#[tokio::test]
async fn rows_that_a_sample_leaves_out_are_passed_over_for_good() {
    let bench = Bench::new(25);
    let far_side = FarSide::new(true);
    let shape = Shape::new(Share::new(0.0).unwrap(), None, &[]).unwrap();
    let nothing = Settings {
        shape,
        ..settings(Start::Beginning)
    };
    bench
        .run(nothing, &far_side, async |exporter| {
            bench.until(exporter, |status| status.lag_rows == Some(0)).await
        })
        .await;
    bench.source.append(rows_of("gw-1", 26..=26));
    bench
        .run(settings(Start::Beginning), &far_side, async |exporter| {
            bench.until(exporter, |status| status.lag_rows == Some(0)).await
        })
        .await;
    assert_eq!(far_side.taken(), [(26, 26)]);
}

#[tokio::test]
async fn an_exporter_whose_runner_has_gone_says_so() {
    let bench = Bench::new(1);
    let far_side = FarSide::new(true);
    let exporter = bench
        .run(settings(Start::Now), &far_side, async |exporter| exporter.clone())
        .await;
    assert!(matches!(exporter.pause().await, Err(Error::NotRunning { .. })));
    assert_eq!(exporter.status().await.state, State::Stopped);
}
