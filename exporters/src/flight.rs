//! One batch on its way: tried until every row of it is accepted or dead.
//!
//! 1. A flight ends when all of its rows are settled, or when it is halted; halted, it waits for the answer to the attempt under way, within the
//!    timeout, and makes no other.
//! 2. What the far side refuses is halved down to the rows at fault; order is kept.
//! 3. A flight never gives up.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tollgate_record::{Name, Seq};

use crate::ambient::Ambient;
use crate::batch::Batch;
use crate::breaker::Breaker;
use crate::dead::{DeadLetter, cut};
use crate::settings::Settings;
use crate::split::{Piece, Pieces};
use crate::status::{Shared, State};
use crate::{Cursor, Delivery, Destination, rows};

/// What flights of one configuration share.
pub(crate) struct Course {
    pub(crate) settings: Settings,
    pub(crate) destination: Arc<dyn Destination>,
    pub(crate) ambient: Arc<dyn Ambient>,
    pub(crate) shared: Arc<Shared>,
    breaker: Breaker,
    /// Attempts that may be under way: one where the far side cares for order, whoever makes them.
    lanes: Semaphore,
}

/// A batch whose rows are settled.
#[derive(Debug)]
pub(crate) struct Landing {
    pub(crate) next: Cursor,
    pub(crate) delivered: u64,
    pub(crate) dead: Vec<DeadLetter>,
}

// === impl Course ===

impl Course {
    pub(crate) fn new(
        settings: Settings,
        destination: Arc<dyn Destination>,
        ambient: Arc<dyn Ambient>,
        shared: Arc<Shared>,
    ) -> Self {
        let lanes = if destination.ordered() {
            1
        } else {
            settings.concurrency.max(1)
        };
        Self {
            breaker: Breaker::new(settings.breaker, Arc::clone(&ambient)),
            lanes: Semaphore::new(lanes),
            settings,
            destination,
            ambient,
            shared,
        }
    }

    /// The same once more, with nothing held against the far side.
    pub(crate) fn anew(&self) -> Self {
        Self::new(
            self.settings.clone(),
            Arc::clone(&self.destination),
            Arc::clone(&self.ambient),
            Arc::clone(&self.shared),
        )
    }

    /// Batches that may be under way together.
    pub(crate) fn batches_max(&self) -> usize {
        if self.destination.ordered() {
            1
        } else {
            self.settings.concurrency.max(1)
        }
    }

    pub(crate) fn breaker_is_open(&self) -> bool {
        self.breaker.is_open()
    }

    /// Delivers a batch; `None` if it was halted before all of it was settled.
    ///
    /// # Cancel safety
    /// If it is dropped the far side may have any part of the batch.
    pub(crate) async fn fly(self: Arc<Self>, batch: Batch, halt: CancellationToken) -> Option<Landing> {
        let mut landing = Landing {
            next: batch.next,
            delivered: 0,
            dead: Vec::new(),
        };
        let mut pieces = Pieces::of(batch.rows.num_rows());
        let mut failures = 0_u32;
        while let Some(piece) = pieces.next() {
            let rows = batch.rows.slice(piece.start, piece.len);
            let wait = match self.attempt(&rows, &halt).await? {
                Delivery::Accepted => {
                    landing.delivered += piece.len as u64;
                    None
                }
                Delivery::Rejected { rows: places, answer } => {
                    let mut dead: Vec<usize> = places.into_iter().filter(|place| *place < piece.len).collect();
                    dead.sort_unstable();
                    dead.dedup();
                    landing.delivered += (piece.len - dead.len()) as u64;
                    landing
                        .dead
                        .extend(dead.into_iter().map(|place| self.letter(&rows, place, &answer)));
                    None
                }
                Delivery::Invalid { answer } => {
                    self.split(&mut pieces, piece, &rows, &answer, &mut landing);
                    None
                }
                Delivery::Retry { after, reason } => {
                    failures = failures.saturating_add(1);
                    self.shared.went_wrong(State::Retrying, reason, self.ambient.now());
                    let wait = self.settings.backoff.wait(failures, after, self.ambient.random());
                    if after.is_some() {
                        // What was asked for holds for every batch.
                        self.breaker.hold(self.ambient.elapsed() + wait);
                    }
                    Some(wait)
                }
                Delivery::Stuck { reason } => {
                    self.shared.went_wrong(State::Stuck, reason, self.ambient.now());
                    Some(self.settings.stuck_retry)
                }
            };
            match wait {
                Some(wait) => {
                    pieces.again(piece);
                    self.pause(wait, &halt).await?;
                    self.shared.lock().retried += 1;
                }
                None => {
                    failures = 0;
                    self.shared.lock().state = State::Running;
                }
            }
        }
        Some(landing)
    }

    /// Makes one attempt when the breaker and the lanes allow it; `None` if halted before.
    async fn attempt(&self, rows: &RecordBatch, halt: &CancellationToken) -> Option<Delivery> {
        let cleared = async {
            let lane = self.lanes.acquire().await.expect("the lanes are never closed");
            (lane, self.breaker.admit().await)
        };
        let (_lane, pass) = tokio::select! {
            biased;
            () = halt.cancelled() => return None,
            cleared = cleared => cleared,
        };
        let limit = self.settings.timeout;
        let delivery = tokio::select! {
            biased;
            delivery = self.destination.deliver(rows) => delivery,
            () = self.ambient.sleep(limit) => {
                Delivery::Retry { after: None, reason: format!("the far side did not answer within {} ms", limit.as_millis()) }
            }
        };
        match delivery {
            Delivery::Retry { .. } => pass.failed(),
            // It answers: what is wrong is waited for elsewhere.
            _ => pass.succeeded(),
        }
        if matches!(delivery, Delivery::Accepted | Delivery::Rejected { .. }) {
            self.shared.lock().last_delivery_time = Some(self.ambient.now());
        }
        Some(delivery)
    }

    fn split(&self, pieces: &mut Pieces, piece: Piece, rows: &RecordBatch, answer: &str, landing: &mut Landing) {
        if !pieces.halve(piece) {
            landing.dead.push(self.letter(rows, 0, answer));
        }
    }

    fn letter(&self, rows: &RecordBatch, row: usize, answer: &str) -> DeadLetter {
        // The schema has no row without a place; if one came, it would still be listed.
        let (instance, seq) = rows::place(rows, row).unwrap_or_else(|| (Name::new("?").expect("it is a name"), Seq::ZERO));
        let call_id = rows::text(rows, "call_id", row).unwrap_or_default().to_owned();
        DeadLetter {
            call_id,
            instance,
            seq,
            time_us: self.ambient.now().unix_us(),
            answer: cut(answer),
        }
    }

    async fn pause(&self, wait: Duration, halt: &CancellationToken) -> Option<()> {
        tokio::select! {
            () = halt.cancelled() => None,
            () = self.ambient.sleep(wait) => Some(()),
        }
    }
}
