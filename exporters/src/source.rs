//! Where rows come from.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use tollgate_record::{BoxFuture, Name, Seq, Timestamp};

/// The place behind which an exporter goes on: of each gateway that writes to the table, the last row that was delivered or passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor(pub BTreeMap<Name, Seq>);

/// Rows, and where to go on.
#[derive(Clone, Debug)]
pub struct Page {
    /// Columns of table `usage`, in its order; rows of one instance in the order of `seq`.
    pub rows: RecordBatch,
    /// Behind the last row that was looked at, whether it passed the filter or not.
    pub next: Cursor,
    /// Whether there is more behind it.
    pub more: bool,
}

/// Rows could not be read; trying again may help.
#[derive(Clone, Debug, thiserror::Error)]
#[error("failed to read rows of the ledger: {reason}")]
pub struct SourceError {
    /// Why.
    pub reason: String,
}

/// The ledger, as an exporter reads it.
///
/// # Guarantees
/// 1. A row behind a cursor is read until a cursor is given that has passed it, through flushes, compactions and vacuum; it is never skipped.
/// 2. Rows of one instance come in the order of their places.
pub trait Source: Send + Sync + 'static {
    /// At most `rows_max` rows behind a cursor that pass `filter`, an SQL boolean expression over the columns of table `usage`.
    ///
    /// # Errors
    /// [`SourceError`]; nothing has moved then.
    fn read<'a>(&'a self, from: &'a Cursor, filter: Option<&'a str>, rows_max: usize) -> BoxFuture<'a, Result<Page, SourceError>>;

    /// The cursor behind every row that there is; or, given an instant, of each gateway the furthest place up to which every row started before it:
    /// behind that cursor lies every row that started then or later, beside some that started earlier and were written later.
    ///
    /// # Errors
    /// As of [`Source::read`].
    fn end(&self, before: Option<Timestamp>) -> BoxFuture<'_, Result<Cursor, SourceError>>;

    /// Rows behind a cursor, and microseconds since the oldest of them started.
    ///
    /// # Errors
    /// As of [`Source::read`].
    fn lag<'a>(&'a self, from: &'a Cursor) -> BoxFuture<'a, Result<(u64, Option<u64>), SourceError>>;
}
