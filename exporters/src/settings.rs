//! How an exporter runs, whatever its kind.

use std::time::Duration;

use tollgate_record::{Name, Timestamp};

use crate::backoff::Backoff;
use crate::breaker::BreakerLimits;
use crate::dead::DEAD_BYTES_MAX;
use crate::shape::Shape;

/// Where an exporter begins, or is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Behind what there is.
    Now,
    /// Before the first row that there is.
    Beginning,
    /// At the calls that started at an instant or later; some that started earlier may come along.
    At(Timestamp),
}

/// When a batch is closed: when the first of these is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Rows; the destination's own limit counts too.
    pub rows: usize,
    /// Bytes of the rows in memory.
    pub bytes: usize,
    /// Time that its first row waits for others, once there is nothing more to read.
    pub linger: Duration,
}

/// How an exporter runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name, and that of its files.
    pub name: Name,
    /// Where it begins when it is new.
    pub start: Start,
    /// Which rows it delivers: an SQL boolean expression over the columns of table `usage`.
    pub filter: Option<String>,
    /// What of them leaves.
    pub shape: Shape,
    /// When a batch is closed.
    pub batch: BatchLimits,
    /// Batches that may be under way together, where the destination does not ask for order. Memory is bounded by that many, and two more.
    pub concurrency: usize,
    /// Longest wait for the answer to a batch.
    pub timeout: Duration,
    /// Waits between tries.
    pub backoff: Backoff,
    /// When it leaves the far side alone for a while.
    pub breaker: BreakerLimits,
    /// Wait between tries when nothing will pass until someone changes something.
    pub stuck_retry: Duration,
    /// Wait before the ledger is asked for more rows, when it had none.
    pub poll: Duration,
    /// Bytes of dead letters from which on nothing is sent.
    pub dead_bytes_max: u64,
}

// === impl BatchLimits ===

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            rows: 1000,
            bytes: 4 * 1024 * 1024,
            linger: Duration::from_millis(500),
        }
    }
}

// === impl Settings ===

impl Settings {
    /// Default of [`Settings::concurrency`].
    pub const CONCURRENCY: usize = 4;
    /// Default of [`Settings::timeout`].
    pub const TIMEOUT: Duration = Duration::from_secs(60);
    /// Default of [`Settings::stuck_retry`].
    pub const STUCK_RETRY: Duration = Duration::from_secs(300);
    /// Default of [`Settings::poll`].
    pub const POLL: Duration = Duration::from_millis(500);

    /// The defaults: every row as it is, from now on.
    pub fn new(name: Name) -> Self {
        Self {
            name,
            start: Start::Now,
            filter: None,
            shape: Shape::default(),
            batch: BatchLimits::default(),
            concurrency: Self::CONCURRENCY,
            timeout: Self::TIMEOUT,
            backoff: Backoff::default(),
            breaker: BreakerLimits::default(),
            stuck_retry: Self::STUCK_RETRY,
            poll: Self::POLL,
            dead_bytes_max: DEAD_BYTES_MAX,
        }
    }
}
