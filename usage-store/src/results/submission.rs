//! Who submitted a batch: the row of the call that was answered with its id.
//!
//! The answer's id stands in column `decisions` of that row, and the files of a batch's results in those of the calls that were told of them
//! ([`tollgate_record::batch`]). They are looked for among the calls of the last [`DAYS`] days that were about batches, and at the same upstream or
//! provider.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use datafusion::catalog::TableProvider;
use datafusion::prelude::{Expr, col, lit};
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use tollgate_record::{CallId, Caller, Identity, Intent, Name, ResultsId, Tags, Timestamp, batch};

use super::{select, text};
use crate::Error;

/// Days before a fetch in which its batch is looked for. Anthropic keeps results for 29 days, OpenAI files of results for 30.
const DAYS: i32 = 35;

/// What of a submission passes to its results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Submission {
    pub(super) start_time: Timestamp,
    pub(super) identity: Arc<Identity>,
    /// With the submission as the parent.
    pub(super) caller: Caller,
}

/// Columns of text that a submission is made of.
const TEXTS: [&str; 12] = [
    "call_id",
    "org",
    "team",
    "project",
    "service",
    "user_id",
    "agent",
    "key_id",
    "session_id",
    "trace_id",
    "span_id",
    "upstream",
];

/// Finds the call that submitted the batch of some results, if a row tells.
///
/// # Errors
/// [`Error::Query`] if the rows cannot be read.
pub(super) async fn find(usage: &Arc<dyn TableProvider>, results: &ResultsId, fetch: &Intent) -> Result<Option<Submission>, Error> {
    let batch = match results {
        ResultsId::Batch(id) => Some(id.to_string()),
        ResultsId::File(file) => {
            first(usage, fetch, |rows, row| {
                noted(rows, row, batch::OUTPUT).find_map(|detail| Some(batch::batch_of(&detail, file)?.to_owned()))
            })
            .await?
        }
    };
    let Some(batch) = batch else { return Ok(None) };
    first(usage, fetch, |rows, row| {
        noted(rows, row, batch::SUBMITTED)
            .any(|detail| detail == batch)
            .then(|| submission(rows, row))?
    })
    .await
}

/// The first that is found in the rows of calls about batches.
async fn first<T>(
    usage: &Arc<dyn TableProvider>,
    fetch: &Intent,
    find: impl Fn(&RecordBatch, usize) -> Option<T>,
) -> Result<Option<T>, Error> {
    let since = ScalarValue::Date32(Some(fetch.start_time.day().saturating_sub(DAYS)));
    let mut filter = col("start_date")
        .gt_eq(lit(since))
        .and(col("operation_name").like(lit("%/batch%")));
    let same = |column: &str, name: Option<&Name>| name.map(|name| col(column).eq(lit(name.as_str())));
    // A provider may have several URLs, and a URL several providers.
    let upstream = same("upstream", fetch.call.upstream.as_ref());
    let provider = same("provider_name", fetch.call.provider_name.as_ref());
    if let Some(place) = upstream.into_iter().chain(provider).reduce(Expr::or) {
        filter = filter.and(place);
    }
    let mut columns: Vec<_> = TEXTS.iter().map(|name| text(name)).collect();
    columns.extend(["start_time", "tags", "decisions"].map(col));
    let mut rows = select(usage, filter, columns).await?;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        if let Some(found) = (0..batch.num_rows()).find_map(|row| find(&batch, row)) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// What metering noted of a row under an action.
fn noted<'a>(rows: &RecordBatch, row: usize, action: &'a str) -> impl Iterator<Item = String> + use<'a> {
    let list = rows.column_by_name("decisions").and_then(|list| list.as_list_opt::<i32>());
    let decisions = list.filter(|list| !list.is_null(row)).map(|list| list.value(row));
    let part = |name: &str| {
        let decisions = decisions.as_ref()?.as_struct_opt()?;
        plain(decisions.column_by_name(name)?)
    };
    let parts = part("policy").zip(part("action")).zip(part("detail"));
    parts.into_iter().flat_map(move |((policies, actions), details)| {
        (0..policies.len())
            .filter(|at| told(&policies, *at) == Some(batch::METERING) && told(&actions, *at) == Some(action))
            .filter_map(|at| told(&details, at).map(str::to_owned))
            .collect::<Vec<_>>()
    })
}

fn submission(rows: &RecordBatch, row: usize) -> Option<Submission> {
    let text = |column: &str| told(rows.column_by_name(column)?, row);
    let name = |column: &str| Name::new(text(column)?).ok();
    let times = rows
        .column_by_name("start_time")?
        .as_primitive_opt::<TimestampMicrosecondType>()?;
    let identity = Identity {
        key_id: name("key_id")?,
        org: name("org"),
        team: name("team"),
        project: name("project"),
        service: name("service"),
        user: name("user_id"),
    };
    let caller = Caller {
        user: None,
        agent: name("agent"),
        session_id: name("session_id"),
        trace_id: name("trace_id"),
        span_id: name("span_id"),
        parent_call_id: Some(text("call_id")?.parse::<CallId>().ok()?),
        tags: Arc::new(tags(rows, row).unwrap_or_default()),
    };
    Some(Submission {
        start_time: Timestamp::from_unix_us(times.value(row)),
        identity: Arc::new(identity),
        caller,
    })
}

fn tags(rows: &RecordBatch, row: usize) -> Option<Tags> {
    let tags = rows.column_by_name("tags")?.as_map_opt()?;
    let pairs = tags.value(row);
    let (keys, values) = (plain(pairs.column(0))?, plain(pairs.column(1))?);
    let pair = |at| Some((told(&keys, at)?.to_owned(), told(&values, at)?.to_owned()));
    Some(Tags::from_pairs((0..pairs.len()).filter_map(pair)))
}

/// Text as plain text, however it is held.
fn plain(column: &ArrayRef) -> Option<ArrayRef> {
    cast(column, &DataType::Utf8).ok()
}

fn told(column: &ArrayRef, row: usize) -> Option<&str> {
    let texts = column.as_string_opt::<i32>()?;
    texts.is_valid(row).then(|| texts.value(row))
}
