//! Results of batches: rows that are added once, however often their results are fetched.
//!
//! # Invariants
//! 1. A result's `call_id` follows from where it is and what it is called there, and those of one set lie together ([`CallId::of_same_set`]): the rows
//!    that a set has are found by a range of ids, which the log's statistics leave nearly all files out by.
//! 2. A row is added only if no row has its id: neither in memory, nor in the newest version of the table, nor among those being written. What is known of a
//!    set is kept while nothing but this gateway can have changed it, that is, as long as the table's version is the same.
//! 3. One set is looked at by one call at a time. A call that finds all of its results added waits until they are durable.
//! 4. If the rows that are there cannot be read, nothing is added: a result is fetched again sooner than an invoice is corrected.
//! 5. Between gateways: rows of the same result that two gateways added before either reached the table meet in its log, and the first stays
//!    ([`crate::table::Table::append`]).
//! 6. Rows belong to whoever submitted the batch, if a row of that is found ([`submission`]), else to whoever fetches them first. They start when the batch
//!    was submitted, and have the prices of then; else when they were fetched.

mod submission;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use arrow::array::AsArray;
use arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::prelude::{Expr, SessionContext, cast, col, lit};
use futures::{StreamExt, TryStreamExt};
use tollgate_record::{BatchResult, CallId, CostStatus, FetchedResults, Intent, Name, Record, ResultsId, Unavailable};

use self::submission::Submission;
use crate::error::chain;
use crate::ledger::{Recorder, price};
use crate::store::Shared;
use crate::wal::lock;
use crate::{Error, Tables};

/// Sets of which is remembered what they have. One has some megabytes, if it is of the largest batches.
const SETS_MAX: usize = 16;

/// What is known of the sets that were fetched last.
#[derive(Default)]
pub(crate) struct Sets {
    /// By the first id that a result of the set can have; the one that was asked for last is at the end.
    slots: Mutex<Vec<(CallId, Slot)>>,
}

/// One set, for one call at a time; `None` until it is looked up.
type Slot = Arc<tokio::sync::Mutex<Option<Set>>>;

struct Set {
    /// Version of the table in which it was looked up.
    version: u64,
    /// Results that have a row.
    seen: HashSet<CallId>,
    /// The call that submitted the batch.
    submission: Option<Submission>,
}

// === impl Sets ===

impl Sets {
    fn slot(&self, first: CallId) -> Slot {
        let mut slots = lock(&self.slots);
        let found = slots.iter().position(|(id, _)| *id == first);
        let slot = found.map_or_else(Slot::default, |at| slots.remove(at).1);
        slots.push((first, Arc::clone(&slot)));
        while slots.len() > SETS_MAX {
            // Those in use are not given up: two of one set would not know of each other.
            let Some(idle) = slots.iter().position(|(_, slot)| Arc::strong_count(slot) == 1) else {
                break;
            };
            slots.remove(idle);
        }
        slot
    }
}

/// Records results that have no row yet, on threads for queries if there are such.
///
/// # Errors
/// [`Unavailable`] if the rows that are there cannot be read, or new ones not be written.
///
/// # Cancel safety
/// With threads it goes on. Without, rows that are being written may be written once more by whoever is next.
pub(crate) async fn record(
    shared: Arc<Shared>,
    threads: Option<tokio::runtime::Handle>,
    fetched: FetchedResults,
) -> Result<(), Unavailable> {
    match threads {
        Some(threads) => threads.spawn(add(shared, fetched)).await.unwrap_or_else(|_ended| {
            Err(Unavailable {
                reason: "the task that records results of a batch has ended".into(),
            })
        }),
        None => add(shared, fetched).await,
    }
}

async fn add(shared: Arc<Shared>, fetched: FetchedResults) -> Result<(), Unavailable> {
    let Some(result) = fetched.results.first() else {
        return Ok(());
    };
    let id = result.call_id;
    let slot = shared.results().slot(id.of_same_set().0);
    let mut set = slot.lock_owned().await;
    if let Some(set) = &*set
        && fetched.results.iter().all(|result| set.seen.contains(&result.call_id))
    {
        return Ok(());
    }
    let looking = look_up(&shared, set.take(), id, &fetched.id, &fetched.fetch);
    let mut found = looking.await.map_err(|error| Unavailable {
        reason: format!("which results of the batch are recorded cannot be read: {}", chain(&error)).into(),
    })?;
    let recorder = shared.recorder();
    let mut writing = Vec::with_capacity(fetched.results.len());
    for result in fetched.results {
        if found.seen.insert(result.call_id) {
            let record = row(recorder, &fetched.fetch, found.submission.as_ref(), result);
            writing.push(recorder.record(record));
        }
    }
    // All are waited for, so that whoever is next finds them; if one was not written, what is remembered is forgotten.
    let written = futures::future::join_all(writing).await;
    written.into_iter().collect::<Result<Vec<_>, _>>()?;
    *set = Some(found);
    Ok(())
}

/// The row of a result.
fn row(recorder: &Recorder, fetch: &Intent, submission: Option<&Submission>, result: BatchResult) -> Record {
    let BatchResult {
        call_id,
        operation_name,
        mut ending,
    } = result;
    let mut intent = fetch.clone();
    intent.call_id = call_id;
    intent.request_id = call_id.as_request();
    intent.request_bytes = 0;
    intent.call.operation_name = operation_name;
    intent.call.request_model = None;
    intent.call.stream = false;
    intent.caller.parent_call_id = None;
    if let Some(submission) = submission {
        intent.start_time = submission.start_time;
        intent.identity = Arc::clone(&submission.identity);
        intent.caller = submission.caller.clone();
    }
    let waited = fetch.start_time.unix_us().saturating_sub(intent.start_time.unix_us());
    ending.duration_us = u64::try_from(waited).unwrap_or(0);
    let cost = price(&recorder.prices.load(), &intent, &ending);
    let record = Record::new(recorder.instance.clone(), intent, ending, cost);
    if record.cost.status == CostStatus::Unpriced {
        recorder.warn_unpriced(&record);
    }
    record
}

/// Finds out what a set has, unless that is known.
async fn look_up(shared: &Shared, known: Option<Set>, id: CallId, results: &ResultsId, fetch: &Intent) -> Result<Set, Error> {
    // What other gateways have added is in the table only.
    shared.refresh().await?;
    let version = shared.table().version();
    let known = match known {
        Some(set) if set.version == version => return Ok(set),
        known => known,
    };
    let usage = usage(shared).await?;
    let seen = rows_of_set(&usage, id, None).await?;
    // It does not change, and was there before its results; that there is none is not asked again with every flush.
    let submission = match known {
        Some(known) => known.submission,
        None => submission::find(&usage, results, fetch).await?,
    };
    Ok(Set {
        version,
        seen: seen.into_iter().collect(),
        submission,
    })
}

async fn usage(tables: &dyn Tables) -> Result<Arc<dyn TableProvider>, Error> {
    let named = tables.snapshot().await.map_err(Error::query)?;
    let usage = named.into_iter().find(|(name, _)| *name == "usage");
    usage.map(|(_, usage)| usage).ok_or(Error::TaskEnded)
}

/// The ids of the results that rows have of the set that an id is of; of all gateways but one, if that is named.
///
/// # Errors
/// [`Error::Query`] if the rows cannot be read.
pub(crate) async fn rows_of_set(usage: &Arc<dyn TableProvider>, id: CallId, but: Option<&Name>) -> Result<Vec<CallId>, Error> {
    let (first, last) = id.of_same_set();
    let mut filter = col("call_id").between(lit(first.to_string()), lit(last.to_string()));
    if let Some(instance) = but {
        filter = filter.and(col("instance").not_eq(lit(instance.as_str())));
    }
    let mut rows = select(usage, filter, vec![text("call_id")]).await?;
    let mut found = Vec::new();
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        found.extend(
            batch
                .column(0)
                .as_string::<i32>()
                .iter()
                .flatten()
                .filter_map(|id| id.parse::<CallId>().ok()),
        );
    }
    Ok(found)
}

/// A column of text, as plain text.
fn text(name: &str) -> Expr {
    cast(col(name), DataType::Utf8).alias(name)
}

/// Rows of a table, as they are read.
async fn select(
    usage: &Arc<dyn TableProvider>,
    filter: Expr,
    columns: Vec<Expr>,
) -> Result<futures::stream::BoxStream<'static, Result<arrow::array::RecordBatch, Error>>, Error> {
    let rows = SessionContext::new()
        .read_table(Arc::clone(usage))
        .and_then(|usage| usage.filter(filter))
        .and_then(|usage| usage.select(columns));
    let rows = rows.map_err(Error::query)?.execute_stream().await.map_err(Error::query)?;
    Ok(rows.map_err(Error::query).boxed())
}
