//! The ledger as exporters read it.

use tollgate_exporters::{Cursor, Page, Source, SourceError};
use tollgate_record::{BoxFuture, Timestamp};
use tollgate_usage_store::Error;
use tollgate_usage_store::exports::Rows;

/// The rows of the store, for one exporter.
pub(super) struct Ledger(Rows);

impl Ledger {
    pub(super) fn new(rows: Rows) -> Self {
        Self(rows)
    }
}

impl Source for Ledger {
    fn read<'a>(&'a self, from: &'a Cursor, filter: Option<&'a str>, rows_max: usize) -> BoxFuture<'a, Result<Page, SourceError>> {
        Box::pin(async move {
            let page = self.0.read(&from.0, filter, rows_max).await.map_err(told)?;
            Ok(Page {
                rows: page.rows,
                next: Cursor(page.next),
                more: page.more,
            })
        })
    }

    fn end(&self, before: Option<Timestamp>) -> BoxFuture<'_, Result<Cursor, SourceError>> {
        Box::pin(async move { self.0.end(before).await.map(Cursor).map_err(told) })
    }

    fn lag<'a>(&'a self, from: &'a Cursor) -> BoxFuture<'a, Result<(u64, Option<u64>), SourceError>> {
        Box::pin(async move { self.0.lag(&from.0).await.map_err(told) })
    }
}

fn told(error: Error) -> SourceError {
    SourceError {
        reason: format!("{:#}", anyhow::Error::from(error)),
    }
}
