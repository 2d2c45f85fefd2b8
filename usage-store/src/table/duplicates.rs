//! Results of batches that two gateways recorded before either knew of the other's row: the table takes the first.
//!
//! Every other row is one gateway's alone. A result of a batch may be fetched through any of them; which of its rows is in the table first, the order of
//! commits decides. So rows of results are held against exactly the version that they are committed on ([`super::Lake::commit_on`]).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use datafusion::catalog::TableProvider;
use tollgate_record::{CallId, Name};

use super::Table;
use crate::Error;
use crate::results::rows_of_set;
use crate::scan::Scan;
use crate::schema::usage_schema;

/// Whether some of the rows are results of batches.
pub(super) fn have_results(batches: &[RecordBatch]) -> Result<bool, ArrowError> {
    let mut found = false;
    each_id(batches, |id| found |= id.is_some())?;
    Ok(found)
}

impl Table {
    /// These rows of an instance without the results that this version has from another.
    ///
    /// # Errors
    /// [`Error::Query`] if the version cannot be read.
    pub(crate) async fn without_results_of_others(
        &self,
        batches: Vec<RecordBatch>,
        instance: &Name,
    ) -> Result<Vec<RecordBatch>, Error> {
        let mut sets: HashMap<CallId, CallId> = HashMap::new();
        each_id(&batches, |id| {
            sets.extend(id.map(|id| (id.of_same_set().0, id)));
        })?;
        if sets.is_empty() {
            return Ok(batches);
        }
        let usage: Arc<dyn TableProvider> = Arc::new(Scan::new("usage", &usage_schema(), Some(self.scanned()?), Vec::new()));
        let mut theirs: HashSet<CallId> = HashSet::new();
        for id in sets.into_values() {
            theirs.extend(rows_of_set(&usage, id, Some(instance)).await?);
        }
        if theirs.is_empty() {
            return Ok(batches);
        }
        let mut left_out = 0_usize;
        let mut kept = Vec::with_capacity(batches.len());
        for batch in batches {
            let mut mask = Vec::with_capacity(batch.num_rows());
            each_id(std::slice::from_ref(&batch), |id| {
                mask.push(id.is_none_or(|id| !theirs.contains(&id)))
            })?;
            left_out += mask.iter().filter(|kept| !**kept).count();
            kept.push(filter_record_batch(&batch, &BooleanArray::from(mask))?);
        }
        if left_out > 0 {
            tracing::info!(
                rows = left_out,
                "results of batches that another gateway recorded first were left out"
            );
        }
        Ok(kept)
    }
}

/// Tells the id of every row that is a result of a batch, and `None` for every other.
fn each_id(batches: &[RecordBatch], mut tell: impl FnMut(Option<CallId>)) -> Result<(), ArrowError> {
    for batch in batches {
        let column = batch.schema().index_of("call_id")?;
        // Views, as rows are kept in memory, so that a flush without results copies nothing.
        let ids = cast(batch.column(column), &DataType::Utf8View)?;
        for id in ids.as_string_view() {
            let id = id.filter(|id| id.starts_with(CallId::RESULTS_BEGIN_WITH));
            tell(id.and_then(|id| id.parse().ok()).filter(|id: &CallId| id.is_result()));
        }
    }
    Ok(())
}
