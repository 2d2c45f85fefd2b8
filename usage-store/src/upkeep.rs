//! Upkeep of the table in the background: when each step of [`crate::table::upkeep`] and [`crate::table::compact`] is done.
//!
//! It runs on the thread that flushes, so flushes and upkeep together use one core at most; merging lets flushes in between batches. A
//! step that fails is logged, counted and tried again later, and stops nothing. Gateways that share a table all do this: a compaction
//! that another one won is given up, and the loser waits longer each time, so that in the end one of them compacts.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::error::chain;
use crate::stats::{Counters, add};
use crate::store::Shared;
use crate::table::Table;
use crate::table::compact::May;
use crate::table::lake::{DataFile, Stamp};
use crate::table::upkeep::CHECKPOINT_COMMITS;

/// How the table is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upkeep {
    /// Size of the files that small ones are merged into.
    pub target_bytes: u64,
    /// How often it is looked what there is to merge.
    pub interval: Duration,
    /// Days after which rows are removed; `None` keeps them for ever.
    pub retention_days: Option<u32>,
    /// How long a version of the table can be read after it is out of date.
    pub history: Duration,
}

/// What is done less often than compaction, and then when the process has been up for a while.
const RARELY: Duration = Duration::from_secs(3600);
/// Compactions after one look, so that the other steps have their turn.
const COMPACTIONS_MAX: usize = 64;
/// The longest wait of a gateway whose compactions others win, in intervals.
const BACKOFF_MAX: u32 = 32;

impl Upkeep {
    /// Default of [`Upkeep::target_bytes`].
    pub const TARGET_BYTES: u64 = 128_000_000;
    /// Default of [`Upkeep::interval`].
    pub const INTERVAL: Duration = Duration::from_secs(60);
    /// Default of [`Upkeep::history`]: 30 days.
    pub const HISTORY: Duration = Duration::from_secs(30 * 24 * 3600);
}

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            target_bytes: Self::TARGET_BYTES,
            interval: Self::INTERVAL,
            retention_days: None,
            history: Self::HISTORY,
        }
    }
}

/// Keeps the table until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let config = shared.upkeep();
    let (mut wait, mut rarely) = (config.interval, config.interval);
    let mut named = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        let conflict = tokio::select! {
            // A step that is cut off has happened or not, as after a crash.
            () = stop.cancelled() => return,
            conflict = compact(&shared, config) => conflict,
        };
        wait = if conflict {
            (wait * 2).min(config.interval * BACKOFF_MAX)
        } else {
            config.interval
        };
        rarely = rarely.saturating_sub(wait);
        let rare = rarely.is_zero();
        if rare {
            rarely = RARELY;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = keep(&shared, config, rare, &mut named) => {}
        }
    }
}

/// Merges what there is to merge; says whether another gateway was faster.
async fn compact(shared: &Shared, config: Upkeep) -> bool {
    let counters = shared.counters();
    for _ in 0..COMPACTIONS_MAX {
        match compact_once(&shared.table(), counters, config.target_bytes, &any, shared.stamp()).await {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(Error::Conflict { reason, .. }) => {
                tracing::info!(
                    reason,
                    "a compaction was given up, since another gateway changed the same files"
                );
                return true;
            }
            Err(error) => {
                add(&counters.upkeep_failures, 1);
                tracing::warn!(error = %chain(&error), "a compaction failed; the table is as it was");
                break;
            }
        }
    }
    false
}

/// Whether a file may be merged: every file may.
fn any(_: &DataFile) -> bool {
    true
}

/// Merges files once, counts it and logs it.
///
/// # Errors
/// As [`Table::compact_once`].
pub(crate) async fn compact_once(
    table: &Table,
    counters: &Counters,
    target_bytes: u64,
    may: May<'_>,
    stamp: Stamp,
) -> Result<Option<Table>, Error> {
    let Some(done) = table.compact_once(target_bytes, may, stamp).await? else {
        return Ok(None);
    };
    add(&counters.compactions, 1);
    add(&counters.compacted_files, done.files as u64);
    add(&counters.compacted_rows, done.rows);
    add(&counters.compacted_bytes, done.bytes_after);
    tracing::info!(
        files = done.files,
        rows = done.rows,
        bytes_before = done.bytes_before,
        bytes_after = done.bytes_after,
        rows_held_max = done.rows_held_max,
        version = done.table.version(),
        "files were compacted"
    );
    Ok(Some(done.table))
}

/// The steps beside compaction.
async fn keep(shared: &Shared, config: Upkeep, rare: bool, named: &mut bool) {
    let counters = shared.counters();
    let table = shared.table();
    let lake = table.lake();
    if !*named {
        match lake.set_history(config.history).await {
            Ok(_) => *named = true,
            Err(error) => failed(counters, "history", &error),
        }
    }
    match lake.checkpoint(CHECKPOINT_COMMITS).await {
        Ok(Some(version)) => {
            add(&counters.checkpoints, 1);
            tracing::info!(version, "a checkpoint was written");
        }
        Ok(None) => {}
        Err(error) => failed(counters, "checkpoint", &error),
    }
    if rare {
        let now = shared.stamp().now;
        if let Some(days) = config.retention_days {
            match table.expire(days, shared.stamp()).await {
                Ok(Some(expired)) => {
                    add(&counters.expired_rows, expired.rows);
                    let version = expired.table.version();
                    tracing::info!(days, files = expired.files, rows = expired.rows, version, "rows expired");
                }
                Ok(None) => {}
                Err(error) => failed(counters, "retention", &error),
            }
        }
        match lake.vacuum(config.history, now).await {
            Ok(vacuumed) if vacuumed.files > 0 => {
                add(&counters.vacuumed_files, vacuumed.files);
                add(&counters.vacuumed_bytes, vacuumed.bytes);
                tracing::info!(
                    files = vacuumed.files,
                    bytes = vacuumed.bytes,
                    "files that no version needs were deleted"
                );
            }
            Ok(_) => {}
            Err(error) => failed(counters, "vacuum", &error),
        }
        match lake.forget_log(config.history, now).await {
            Ok(0) => {}
            Ok(entries) => tracing::info!(entries, "old entries of the table's log were deleted"),
            Err(error) => failed(counters, "log", &error),
        }
    }
    if let Some(rollup) = shared.rollup()
        && let Err(error) = rollup.tend(config.history, rare, shared.stamp()).await
    {
        failed(counters, "rollup", &error);
    }
    if let Err(error) = shared.refresh().await {
        failed(counters, "refresh", &error);
    }
}

fn failed(counters: &Counters, step: &str, error: &Error) {
    add(&counters.upkeep_failures, 1);
    tracing::warn!(step, error = %chain(error), "upkeep of the table failed; it is tried again later");
}
