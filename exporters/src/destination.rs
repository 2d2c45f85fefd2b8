//! Where rows go.

use std::time::Duration;

use arrow::array::RecordBatch;
use tollgate_record::BoxFuture;

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The far side has all of it.
    Accepted,
    /// The far side has it but for these rows (places in the batch, ascending), which it will never take; and its words.
    Rejected {
        /// Places in the batch.
        rows: Vec<usize>,
        /// What it answered.
        answer: String,
    },
    /// It takes the batch as it is never, and does not say which row is at fault: half of it may pass.
    Invalid {
        /// What it answered.
        answer: String,
    },
    /// It may take it later.
    Retry {
        /// Not before.
        after: Option<Duration>,
        /// Why, for the log.
        reason: String,
    },
    /// Nothing will pass until the configuration or the far side is changed: a wrong credential, an unknown path.
    Stuck {
        /// Why, for the log.
        reason: String,
    },
}

/// A far side of one kind.
///
/// # Guarantees
/// The same row has the same id on the far side however often it is delivered.
pub trait Destination: Send + Sync + 'static {
    /// The most rows that a batch may have.
    fn rows_max(&self) -> usize;

    /// Whether batches must come one at a time, in the order of their places. Those of one that does not care may be under way together.
    fn ordered(&self) -> bool {
        true
    }

    /// Delivers a batch: all columns of table `usage`, at least one row. What the exporter's configuration keeps back is null, also in columns
    /// that are never null in the table; `call_id`, `instance`, `seq`, `start_time` and `start_date` are always there.
    ///
    /// # Cancel safety
    /// If the future is dropped the far side may have the batch or not.
    fn deliver<'a>(&'a self, rows: &'a RecordBatch) -> BoxFuture<'a, Delivery>;

    /// What [`Destination::deliver`] would send, as text to look at, without credentials; nothing is sent. `None` if the kind cannot show it.
    fn preview(&self, rows: &RecordBatch) -> Option<String> {
        let _ = rows;
        None
    }
}
