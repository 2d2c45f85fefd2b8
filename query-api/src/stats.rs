//! Counters of the engine, for metrics and for tests. They count; they decide nothing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What the engine has done since it started, and does now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Queries that run now.
    pub running: u64,
    /// Queries that wait to run.
    pub waiting: u64,
    /// Queries that gave their last row.
    pub done: u64,
    /// Queries that ended in an error of their own, limits included.
    pub failed: u64,
    /// Queries whose caller left, or that a shutdown ended.
    pub cancelled: u64,
    /// Queries refused because too many ran and waited.
    pub refused: u64,
    /// Rows given out.
    pub rows: u64,
    /// Bytes of memory that queries hold now.
    pub memory_bytes: u64,
    /// Bytes of disk that queries hold now.
    pub spill_bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) done: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) rows: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Relaxed);
}

pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}
