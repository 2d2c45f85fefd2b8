//! What the ledger has done and holds, for metrics and alarms.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts since the start, and levels as of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Calls admitted, that is `opened` entries acknowledged.
    pub opened: u64,
    /// Rows acknowledged, that is `settled` entries.
    pub settled: u64,
    /// Group commits: calls of `write()`.
    pub commits: u64,
    /// Bytes appended to the log.
    pub written_bytes: u64,
    /// Completed `fdatasync()` of the log.
    pub syncs: u64,
    /// Writes of the log that failed, a full disk included.
    pub write_failures: u64,
    /// Calls refused because the log has no room: disk full or limit reached.
    pub refused: u64,
    /// Whether the log is poisoned.
    pub poisoned: bool,
    /// Bytes of the log on disk, all segments.
    pub log_bytes: u64,
    /// Bytes of the log from which on calls are refused.
    pub log_bytes_max: u64,
    /// Calls that are open.
    pub open_calls: u64,
    /// Settled rows that a full disk keeps in memory; they are written first when there is space.
    pub owed_rows: u64,
    /// Rows that the table does not have yet.
    pub hot_rows: u64,
    /// Last place among the rows of this instance.
    pub last_seq: u64,
    /// Last place that the table has.
    pub committed_seq: u64,
    /// Flushes that committed.
    pub flushes: u64,
    /// Flushes that failed.
    pub flush_failures: u64,
    /// Rows that flushes moved to the table.
    pub flushed_rows: u64,
    /// Time spent in flushes that committed, in microseconds.
    pub flush_us: u64,
    /// When the table last had every row, as microseconds since 1970; 0 if it has not been so since the start.
    pub flushed_time_us: u64,
    /// Version of the table.
    pub table_version: u64,
    /// Compactions that committed.
    pub compactions: u64,
    /// Files that they merged.
    pub compacted_files: u64,
    /// Rows that they wrote anew.
    pub compacted_rows: u64,
    /// Bytes that they wrote.
    pub compacted_bytes: u64,
    /// Checkpoints of the table's log that were written.
    pub checkpoints: u64,
    /// Files that vacuum deleted.
    pub vacuumed_files: u64,
    /// Their size.
    pub vacuumed_bytes: u64,
    /// Rows that expired.
    pub expired_rows: u64,
    /// Steps of upkeep that failed.
    pub upkeep_failures: u64,
    /// Counters of budgets.
    pub budget_counters: u64,
    /// Calls that hold something of a budget or a rate limit.
    pub budget_open_calls: u64,
    /// Calls that budgets refused.
    pub budget_refusals: u64,
    /// Counters that were compared with the sum of their rows.
    pub budget_compared: u64,
    /// Those that were not that sum.
    pub budget_drifts: u64,
}

/// The counting half of [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) opened: AtomicU64,
    pub(crate) settled: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) write_failures: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) flushes: AtomicU64,
    pub(crate) flush_failures: AtomicU64,
    pub(crate) flushed_rows: AtomicU64,
    pub(crate) flush_us: AtomicU64,
    pub(crate) flushed_time_us: AtomicU64,
    pub(crate) compactions: AtomicU64,
    pub(crate) compacted_files: AtomicU64,
    pub(crate) compacted_rows: AtomicU64,
    pub(crate) compacted_bytes: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    pub(crate) vacuumed_files: AtomicU64,
    pub(crate) vacuumed_bytes: AtomicU64,
    pub(crate) expired_rows: AtomicU64,
    pub(crate) upkeep_failures: AtomicU64,
}

impl Counters {
    /// The counts as of now; levels are left at zero.
    pub(crate) fn read(&self) -> Stats {
        Stats {
            opened: self.opened.load(Relaxed),
            settled: self.settled.load(Relaxed),
            commits: self.commits.load(Relaxed),
            written_bytes: self.written_bytes.load(Relaxed),
            syncs: self.syncs.load(Relaxed),
            write_failures: self.write_failures.load(Relaxed),
            refused: self.refused.load(Relaxed),
            flushes: self.flushes.load(Relaxed),
            flush_failures: self.flush_failures.load(Relaxed),
            flushed_rows: self.flushed_rows.load(Relaxed),
            flush_us: self.flush_us.load(Relaxed),
            flushed_time_us: self.flushed_time_us.load(Relaxed),
            compactions: self.compactions.load(Relaxed),
            compacted_files: self.compacted_files.load(Relaxed),
            compacted_rows: self.compacted_rows.load(Relaxed),
            compacted_bytes: self.compacted_bytes.load(Relaxed),
            checkpoints: self.checkpoints.load(Relaxed),
            vacuumed_files: self.vacuumed_files.load(Relaxed),
            vacuumed_bytes: self.vacuumed_bytes.load(Relaxed),
            expired_rows: self.expired_rows.load(Relaxed),
            upkeep_failures: self.upkeep_failures.load(Relaxed),
            ..Stats::default()
        }
    }
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
}
