//! Rollups of calls that were never made, for measuring how a report's cost grows with years of traffic: the sums of one day, day after
//! day, and in table `usage` one row for each of the days.
//!
//! They are written as the keeper writes them, into the same files.

use std::sync::Arc;

use arrow::array::{AsArray, Date32Array, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlanBuilder;
use tollgate_record::{Name, Record, Seq, Timestamp};

use super::keeper::{definition, run, write};
use super::{HOUR, SUFFIX, columns};
use crate::Error;
use crate::location::Location;
use crate::scan::Scan;
use crate::schema::{PARTITION, usage_schema};
use crate::synthetic;
use crate::table::lake::{Change, Lake, Move, Stamp};
use crate::usage_batch;

/// Adds the calls of a day up and appends the sums for so many days from `first` on, with one call of `row` a day in table `usage`.
/// Returns the rows of the rollup that a day has.
///
/// # Errors
/// As those of a flush.
pub async fn append_days(
    location: &Location,
    instance: &Name,
    day: Vec<RecordBatch>,
    row: &Record,
    first: i32,
    days: i32,
) -> Result<usize, Error> {
    let scan = Scan::new("usage", &usage_schema(), None, day);
    let plan = LogicalPlanBuilder::scan("usage", provider_as_source(Arc::new(scan)), None)
        .and_then(columns::rolled_up)
        .and_then(columns::sorted)
        .map_err(Error::query)?;
    let sums = run(plan).await?;
    let lake = Lake::open(&location.beside(SUFFIX)?, &definition()).await?;
    let (mut adds, mut rows) = (Vec::new(), Vec::new());
    for (day, seq) in (first..first + days).zip(1..) {
        let sums = sums.iter().map(|sums| moved(sums, day)).collect::<Result<Vec<_>, _>>()?;
        adds.append(&mut write(&lake, sums, Stamp::system()).await?);
        let start_time = Timestamp::from_unix_us(i64::from(day) * Timestamp::DAY_US);
        rows.push(Record {
            seq: Seq::new(seq),
            start_time,
            ..row.clone()
        });
    }
    let last = Seq::new(rows.len() as u64);
    synthetic::append(location, vec![usage_batch(&rows)?], instance, last).await?;
    let moved = Move {
        id: instance.to_string(),
        from: None,
        to: i64::try_from(last.get()).unwrap_or(i64::MAX),
    };
    let change = Change::append(PARTITION, adds, moved);
    lake.commit(&change, Stamp::system()).await?;
    Ok(sums.iter().map(RecordBatch::num_rows).sum())
}

/// The sums of a day as those of another day.
fn moved(sums: &RecordBatch, day: i32) -> Result<RecordBatch, Error> {
    let mut columns = sums.columns().to_vec();
    let schema = sums.schema();
    let (hour, date) = (schema.index_of(HOUR)?, schema.index_of(PARTITION)?);
    let hours = sums.column(hour).as_primitive::<TimestampMicrosecondType>();
    let start_us = i64::from(day) * Timestamp::DAY_US;
    let hours = hours.unary::<_, TimestampMicrosecondType>(|time| start_us + time.rem_euclid(Timestamp::DAY_US));
    for (at, column) in columns.iter_mut().enumerate() {
        if at == hour {
            *column = Arc::new(hours.clone().with_timezone("UTC"));
        } else if at == date {
            *column = Arc::new(Date32Array::from(vec![day; sums.num_rows()]));
        }
    }
    Ok(RecordBatch::try_new(schema, columns)?)
}
