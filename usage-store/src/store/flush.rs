//! Moves rows from the log and memory to the table: when it is due, in pieces, each once.
//!
//! # Invariants
//! 1. One flush at a time. The log forgets rows after a commit has them, never before.
//! 2. A flush that fails changes nothing: its rows stay in the log and in memory, where queries see them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arrow::array::RecordBatch;
use tokio_util::sync::CancellationToken;
use tollgate_record::Seq;

use super::{Shared, Store};
use crate::Error;
use crate::anchor::Anchor;
use crate::error::chain;
use crate::hot::Piece;
use crate::rollup::Flushed;
use crate::stats::add;
use crate::table::Table;
use crate::wal::lock;

impl Shared {
    pub(super) async fn flush_when_due(self: Arc<Self>, stop: CancellationToken) {
        let mut due = Instant::now();
        if lock(&self.view).table.is_open() {
            due += self.config.flush_interval;
        }
        let mut retry = Duration::from_secs(1);
        let mut behind = true;
        loop {
            self.recorder.log.retry_owed();
            // Bytes are looked at once a second: the log tells nobody of each.
            let tick = Duration::from_secs(1).min(due.saturating_duration_since(Instant::now()));
            let wanted = tokio::select! {
                () = stop.cancelled() => return,
                () = self.wanted.notified() => true,
                () = tokio::time::sleep(tick) => self.recorder.log.tail_bytes() >= self.config.flush_bytes,
            };
            if !wanted && Instant::now() < due {
                behind = behind && self.bring_rollup_forward().await;
                continue;
            }
            match self.flush().await {
                Ok(()) => {
                    behind = true;
                    retry = Duration::from_secs(1);
                    due = Instant::now() + self.config.flush_interval;
                }
                Err(error) => {
                    tracing::error!(error = %chain(&error), "a flush failed; its rows stay in the log and in memory");
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(retry) => {}
                    }
                    retry = (retry * 2).min(Store::RETRY_MAX);
                    due = Instant::now();
                }
            }
        }
    }

    /// One step of what the rollup is behind. Says whether there is more.
    async fn bring_rollup_forward(&self) -> bool {
        let Some(rollup) = &self.rollup else { return false };
        // No rows move meanwhile.
        let _rotations = self.flushing.lock().await;
        rollup.step(&self.view, None, self.stamp()).await
    }

    /// Moves rows to the table, in pieces of bounded size, until none that was there at the beginning is left.
    pub(super) async fn flush(&self) -> Result<(), Error> {
        let mut rotations = self.flushing.lock().await;
        let flushed = self.flush_pieces(&mut rotations).await;
        match &flushed {
            Ok(()) => self.counters.flushed_time_us.store(now_us(), Relaxed),
            Err(_) => {
                add(&self.counters.flush_failures, 1);
                self.pack(&rotations)?;
            }
        }
        flushed
    }

    /// Packs the oldest rows that wait for the table, if they are many: it may be out of reach for hours.
    fn pack(&self, rotations: &VecDeque<(Seq, u64)>) -> Result<(), Error> {
        let ends: Vec<_> = rotations.iter().map(|(last, _)| *last).collect();
        let unpacked_max = self.config.unpacked_rows_max();
        loop {
            let Some(loose) = lock(&self.view).hot.loose(unpacked_max, &ends) else {
                return Ok(());
            };
            let packed = loose.pack()?;
            lock(&self.view).hot.replace(&loose, packed);
        }
    }

    async fn flush_pieces(&self, rotations: &mut VecDeque<(Seq, u64)>) -> Result<(), Error> {
        self.reach_table().await?;
        let log = &self.recorder.log;
        // While the table cannot be reached, the log grows in its newest segment, not by a segment an attempt.
        let left_over = !rotations.is_empty();
        if !left_over || log.tail_bytes() >= self.config.flush_bytes {
            self.rotate(rotations)?;
        }
        self.flush_rotations(rotations).await?;
        if left_over {
            // The table can be reached again: now those rows too that came behind what was left over.
            self.rotate(rotations)?;
            self.flush_rotations(rotations).await?;
        }
        Ok(())
    }

    /// Opens the table, if that could not be done at the start.
    async fn reach_table(&self) -> Result<(), Error> {
        if lock(&self.view).table.is_open() {
            return Ok(());
        }
        let table = Table::open(&self.config.table).await?;
        let committed = table.committed(&self.config.instance).await?;
        lock(&self.anchor).check(committed)?;
        self.places_tried.fetch_max(committed.get(), Relaxed);
        // Before a first commit, which would look as if others had made it.
        self.note_committed(committed)?;
        {
            // The log may have had rows that were committed just before the last stop.
            let mut view = lock(&self.view);
            view.hot.cut_to(committed)?;
            view.table = table;
        }
        tracing::info!(table = %self.config.table.url(), committed_seq = committed.get(), "the table was reached");
        Ok(())
    }

    fn note_committed(&self, committed: Seq) -> Result<(), Error> {
        let anchor = Anchor::seen(&self.config.instance, &self.config.table, committed);
        anchor.write(&*self.config.disk, &self.config.data)?;
        *lock(&self.anchor) = anchor;
        Ok(())
    }

    fn rotate(&self, rotations: &mut VecDeque<(Seq, u64)>) -> Result<(), Error> {
        if lock(&self.view).hot.rows() > 0 {
            // At a rotation a chunk ends, so that what was logged before it can be committed and forgotten alone.
            rotations.push_back(self.recorder.log.rotate(|_| lock(&self.view).hot.seal())?);
        }
        Ok(())
    }

    async fn flush_rotations(&self, rotations: &mut VecDeque<(Seq, u64)>) -> Result<(), Error> {
        while let Some((last, segment)) = rotations.front().copied() {
            while self.flush_piece(last).await? {}
            // Before the log forgets these rows, since then nothing else here knows that their places are taken.
            self.note_committed(last)?;
            self.recorder.log.forget_before(segment)?;
            rotations.pop_front();
        }
        Ok(())
    }

    /// Refuses if the table has places of this instance that it never gave: then another process has its name, and the same places mean
    /// other rows there.
    fn check_alone(&self, committed: Seq) -> Result<(), Error> {
        let tried = Seq::new(self.places_tried.load(Relaxed));
        if committed <= tried {
            return Ok(());
        }
        let mut anchor = lock(&self.anchor);
        // A start must not take its rows for these.
        *anchor = anchor.clone().unseen(tried);
        anchor.write(&*self.config.disk, &self.config.data)?;
        anchor.check(committed)
    }

    /// Moves the oldest rows up to a place to the table, a bounded number of them; false if there are none.
    async fn flush_piece(&self, to: Seq) -> Result<bool, Error> {
        let started = Instant::now();
        let pieces = lock(&self.view).hot.pieces_to(to, self.config.flush_rows.max(1));
        let Some(last) = pieces.last().map(Piece::last_seq) else {
            return Ok(false);
        };
        let batches = columns(&pieces)?;
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let table = lock(&self.view).table.clone();
        let table = table.newest().await?;
        self.check_alone(table.committed(&self.config.instance).await?)?;
        self.places_tried.fetch_max(last.get(), Relaxed);
        let table = table
            .append(batches.clone(), &self.config.instance, last, self.stamp())
            .await?;
        // What the table did not take must not be added up either.
        let batches = table.without_results_of_others(batches, &self.config.instance).await?;
        if batches.iter().map(RecordBatch::num_rows).sum::<usize>() < rows {
            // Budgets counted them when they were recorded.
            self.budgets.rows_were_left_out();
        }
        let version = table.version();
        {
            // At one instant the rows leave memory and appear in the table: no query sees them twice or not at all.
            let mut view = lock(&self.view);
            view.table = table;
            view.hot.forget_to(last);
        }
        let duration = started.elapsed();
        add(&self.counters.flushes, 1);
        add(&self.counters.flushed_rows, rows as u64);
        add(
            &self.counters.flush_us,
            u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
        );
        tracing::info!(
            rows,
            version,
            last_seq = last.get(),
            duration_ms = duration.as_millis() as u64,
            "rows were flushed"
        );
        if let Some(rollup) = &self.rollup {
            rollup.step(&self.view, Some(Flushed { batches, last }), self.stamp()).await;
        }
        Ok(true)
    }
}

/// The rows of some pieces as columns.
///
/// # Errors
/// As [`Piece::batches`].
pub(super) fn columns(pieces: &[Piece]) -> Result<Vec<RecordBatch>, Error> {
    let batches = pieces.iter().map(Piece::batches).collect::<Result<Vec<_>, _>>()?;
    Ok(batches.into_iter().flatten().collect())
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
