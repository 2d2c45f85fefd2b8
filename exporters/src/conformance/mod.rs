//! What holds for every kind of destination, whatever its far side does. One set of cases ([`cases`]), run for each [`Rig`].
//!
//! A kind over HTTP implements [`http::HttpKind`] and is run by [`http::HttpRig`]; another one implements [`Rig`]. Then `conformance!(name, Rig)`.
//! Time is that of [`Virtual`]: it stands still while a delivery is under way that does not hang.

mod cases;
mod files;
mod grpc;
mod http;
mod moesif;
mod otlp;
pub(crate) mod receiver;
mod webhook;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use tollgate_record::{BoxFuture, Name};

use crate::ambient::Ambient;
use crate::testing::{Memory, Virtual, id_of};
use crate::{BatchLimits, Delivery, Destination, Error, Exporter, Runner, Settings, Start, State, Status, open};

/// Looks at a status whose cursor stands still before a case has failed: far more than any wait of the settings.
const LOOKS_MAX: u32 = 5_000;

/// What a far side does.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It is not there for the next deliveries.
    Down(usize),
    /// It asks for time at the next deliveries.
    Busy(usize, Duration),
    /// It does not answer the next deliveries.
    Hang(usize),
    /// It answers the next deliveries a little at a time.
    Slow(usize),
    /// It takes the next deliveries, and cuts the connection before it says so.
    TakesAndCuts(usize),
    /// It answers the next deliveries with what is no answer.
    Garbage(usize),
    /// It never takes a batch with one of these ids in it.
    BadRows(BTreeSet<String>),
    /// From now on its certificate is one that nobody trusts; or again the one that is trusted.
    Untrusted(bool),
    /// It takes another credential from now on, which destinations made from now on have.
    Rotated,
}

/// A far side for tests.
pub(crate) trait Rig: Sized + 'static {
    /// Starts a far side that is well.
    fn start(clock: &Arc<Virtual>) -> impl Future<Output = Self>;

    /// A destination that delivers to it.
    fn destination(&self) -> Arc<dyn Destination>;

    /// Makes it do something; false if the kind knows no such thing.
    fn fault(&self, fault: Fault) -> bool;

    /// Ids of the rows that it has, each as often as it came.
    fn taken(&self) -> Vec<String>;

    /// Whether it has each row once, although it may have come again.
    fn drops_repeats(&self) -> bool {
        false
    }
}

/// Everything that a case needs.
pub(crate) struct Bench<R> {
    pub(crate) clock: Arc<Virtual>,
    pub(crate) rig: R,
    pub(crate) source: Arc<Memory>,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) settings: Settings,
    rows: Vec<(&'static str, u64)>,
}

/// Holds the clock back while it delivers.
struct Watched {
    inner: Arc<dyn Destination>,
    clock: Arc<Virtual>,
}

// === impl Watched ===

impl Destination for Watched {
    fn rows_max(&self) -> usize {
        self.inner.rows_max()
    }

    fn ordered(&self) -> bool {
        self.inner.ordered()
    }

    fn deliver<'a>(&'a self, rows: &'a RecordBatch) -> BoxFuture<'a, Delivery> {
        Box::pin(async move {
            let _busy = self.clock.busy();
            self.inner.deliver(rows).await
        })
    }

    fn preview(&self, rows: &RecordBatch) -> Option<String> {
        self.inner.preview(rows)
    }
}

// === impl Bench ===

impl<R: Rig> Bench<R> {
    /// A ledger with rows of these gateways, and an exporter that begins at the beginning.
    pub(crate) async fn new(rows: &[(&'static str, u64)]) -> Self {
        let clock = Arc::new(Virtual::default());
        let settings = Settings {
            start: Start::Beginning,
            batch: BatchLimits {
                rows: 20,
                bytes: usize::MAX,
                linger: Duration::from_millis(100),
            },
            ..Settings::new(Name::new("finance").unwrap())
        };
        Self {
            rig: R::start(&clock).await,
            source: Arc::new(Memory::new(rows)),
            folder: tempfile::tempdir().unwrap(),
            rows: rows.to_vec(),
            clock,
            settings,
        }
    }

    pub(crate) fn destination(&self) -> Arc<dyn Destination> {
        Arc::new(Watched {
            inner: self.rig.destination(),
            clock: Arc::clone(&self.clock),
        })
    }

    /// Opens the exporter; one that was dropped may have a file's write to finish first.
    pub(crate) async fn open(&self) -> (Exporter, Runner) {
        loop {
            let (destination, source) = (self.destination(), Arc::clone(&self.source));
            match open(
                self.folder.path(),
                self.settings.clone(),
                destination,
                source,
                Arc::clone(&self.clock) as Arc<dyn Ambient>,
            ) {
                Ok(opened) => return opened,
                Err(Error::Locked { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Runs the exporter until `work` is done, then stops it.
    pub(crate) async fn run<T>(&self, work: impl AsyncFnOnce(&Exporter) -> T) -> T {
        let (exporter, runner) = self.open().await;
        self.clock.run(&exporter, runner, work).await
    }

    /// Runs the exporter until there is nothing left to deliver.
    pub(crate) async fn finish(&self) -> Status {
        self.run(async |exporter| self.until(exporter, |status| status.lag_rows == Some(0)).await)
            .await
    }

    /// Waits for a status.
    pub(crate) async fn until(&self, exporter: &Exporter, wanted: impl Fn(&Status) -> bool) -> Status {
        let (mut status, mut looks) = (exporter.status().await, 0);
        while !wanted(&status) {
            assert!(
                looks < LOOKS_MAX,
                "nothing moved for {LOOKS_MAX} looks, half a second each: {status:?}"
            );
            self.clock.sleep(Duration::from_millis(500)).await;
            let next = exporter.status().await;
            looks = if next.cursor == status.cursor { looks + 1 } else { 0 };
            status = next;
        }
        status
    }

    pub(crate) fn all_ids(&self) -> BTreeSet<String> {
        self.rows
            .iter()
            .flat_map(|(instance, rows)| (1..=*rows).map(|seq| id_of(instance, seq)))
            .collect()
    }

    /// Every row is at the far side or dead, those of `dead` and no others are dead, and nothing else is there.
    pub(crate) async fn check(&self, dead: &BTreeSet<String>) {
        let taken = self.rig.taken();
        let distinct: BTreeSet<_> = taken.iter().cloned().collect();
        if self.rig.drops_repeats() {
            assert_eq!(taken.len(), distinct.len(), "the far side has rows twice");
        }
        let expected: BTreeSet<_> = self.all_ids().difference(dead).cloned().collect();
        let (missing, strange): (Vec<_>, Vec<_>) = (
            expected.difference(&distinct).collect(),
            distinct.difference(&expected).collect(),
        );
        assert!(
            missing.is_empty() && strange.is_empty(),
            "missing {missing:?}, strange {strange:?}"
        );
        let (exporter, _runner) = self.open().await;
        let letters: BTreeSet<_> = exporter
            .dead_letters()
            .await
            .unwrap()
            .into_iter()
            .map(|letter| letter.call_id)
            .collect();
        assert_eq!(&letters, dead);
        assert_eq!(exporter.status().await.state, State::Stopped);
    }
}

/// Runs every case for a rig.
macro_rules! conformance {
    ($name:ident, $rig:ty) => {
        mod $name {
            use super::*;
            use crate::conformance::cases;

            conformance!(@ $rig:
                every_row_of_every_gateway_is_delivered
                a_far_side_that_is_down_gets_everything_when_it_is_back
                a_far_side_that_asks_for_time_gets_it
                a_far_side_that_hangs_is_tried_again
                a_slow_far_side_gets_everything
                a_connection_cut_after_taking_repeats_and_loses_nothing
                answers_that_are_none_are_tried_again
                rows_that_are_refused_are_dead_and_the_others_go_on
                a_far_side_that_refuses_everything_stops_the_exporter_at_the_limit_of_dead_letters
                a_certificate_that_is_not_trusted_gets_nothing
                a_credential_can_be_rotated_while_it_runs
                a_process_that_ends_at_any_point_loses_nothing
                a_damaged_cursor_repeats_and_never_skips
                two_damaged_cursors_stop_the_exporter_until_it_is_reset
                a_ledger_that_cannot_be_read_is_read_again
                pausing_survives_a_restart
                a_replay_leaves_the_cursor_alone
                a_preview_sends_nothing
            );
        }
    };
    (@ $rig:ty: $($case:ident)+) => {
        $(#[tokio::test]
        async fn $case() {
            cases::$case::<$rig>().await;
        })+
    };
}
pub(crate) use conformance;
