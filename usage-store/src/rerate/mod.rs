//! Rating history again: calls of a period get what they cost by a version of a price list, as corrections.
//!
//! # A correction
//! A correction of a call is two rows of table `usage`: one takes back what stood, one books what holds. Both have the call's own time, key,
//! model and outcome, and name it in `corrects`. Amounts, tokens and the quantities of charges are negative in the first. So whatever is
//! added up over `usage`, by whatever columns, is the corrected truth: by status, by currency and by price version too, which a row of the
//! difference alone could not do. A correction is no call: calls are the rows where `corrects` is null.
//!
//! # Invariants
//! 1. Nothing is changed: corrections are appended by a commit of table `usage`, under an instance of their own ([`INSTANCE`]), whose
//!    application transaction says how many there are.
//! 2. A commit has whole corrections only, and is made only if no correction was committed since the rows that it rests on were read;
//!    otherwise they are read anew. So each state of a call is taken back at most once, by however many processes at once.
//!    (`two_that_rerate_at_once_correct_every_call_once`, `rows_behind_a_place_that_others_have_taken_are_not_appended`)
//! 3. A call that stands as the list has it is not corrected: to rerate twice changes nothing, and one that was cut off is completed by the next.
//!    (`rerating_corrects_each_call_once_and_a_second_time_changes_nothing`, `a_rerating_that_was_cut_off_is_completed_by_the_next`)
//! 4. The `call_id` of a correction follows from the row that it takes back.
//! 5. A call is corrected only if the list prices all that it used, and only if the row says what that was ([`tollgate_rating`]).
//!    (`what_the_list_does_not_price_and_what_cannot_be_rebuilt_stays_as_it_is`)
//! 6. At most about `SLICE_ROWS` calls are looked at for one commit, so memory does not grow with the table.

mod order;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use datafusion::catalog::TableProvider;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{LogicalPlanBuilder, ScalarUDF};
use datafusion::prelude::{SessionConfig, SessionContext, ident, lit};
use tollgate_record::{Amount, Name};

pub use self::order::{Rerate, instant};
use crate::Error;
use crate::Offline;
use crate::clock::Clock;
use crate::date_trunc::date_trunc;
use crate::scan::Scan;
use crate::schema::usage_schema;
use crate::table::Table;
use crate::table::lake::Stamp;
use crate::tables::corrected::{DIFFERS, original, rated};
use crate::tables::rate::rate;

/// The `instance` of corrections. No gateway has such a name: a resource's name has no colon.
pub const INSTANCE: &str = "tollgate:rerate";
/// Calls of one commit at most, if a minute has no more.
const SLICE_ROWS: i64 = 100_000;
/// How often a slice is read anew because others corrected calls meanwhile.
const ATTEMPTS: usize = 16;
/// Bytes that reading may take; beyond, it spills to disk.
const MEMORY_BYTES: usize = 512 << 20;

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rerated {
    /// Calls that were corrected.
    pub calls: u64,
    /// What they cost before, by currency; the empty one is of calls without.
    pub before: BTreeMap<String, Amount>,
    /// What they cost now.
    pub after: BTreeMap<String, Amount>,
}

/// Microseconds since 1970, the second not included.
type Slice = (i64, i64);

impl Offline {
    /// Corrects the calls that an order is about.
    ///
    /// # Errors
    /// [`Error::Unlisted`] if there is no such price list, [`Error::Nothing`] if the table has no row yet, [`Error::Query`] and
    /// [`Error::Table`] if rows cannot be read or written. What was committed by then stays; the same order does the rest.
    pub async fn rerate(&self, order: &Rerate, clock: &dyn Clock) -> Result<Rerated, Error> {
        let lists = self.history.lists();
        // Said before anything is read.
        lists.choose(&order.price_version)?;
        let mut table = self.table.clone().ok_or(Error::Nothing)?.newest().await?;
        let rate = rate(lists);
        let mut done = Rerated::default();
        for slice in slices(&self.usage(&table)?, order).await? {
            table = self.correct(table, order, &rate, slice, clock, &mut done).await?;
        }
        Ok(done)
    }

    /// Corrects the calls of one slice, in one commit.
    async fn correct(
        &self,
        mut table: Table,
        order: &Rerate,
        rate: &Arc<ScalarUDF>,
        slice: Slice,
        clock: &dyn Clock,
        done: &mut Rerated,
    ) -> Result<Table, Error> {
        let instance = Name::new(INSTANCE).expect("it is short and plain");
        for _ in 0..ATTEMPTS {
            let from = table.committed(&instance).await?;
            let differing = differing(&self.usage(&table)?, order, rate, slice).await?;
            if differing.iter().all(|batch| batch.num_rows() == 0) {
                return Ok(table);
            }
            let stamp = Stamp::of(clock);
            let (corrections, last) = rows::corrections(&differing, from, stamp.now)?;
            match table.append_behind(from, &corrections, &instance, last, stamp).await? {
                Some(next) => {
                    done.add(&differing)?;
                    return Ok(next);
                }
                None => table = table.newest().await?,
            }
        }
        Err(Error::Conflict {
            url: table.lake().delta().table_url().to_string(),
            reason: format!("calls were corrected by others {ATTEMPTS} times while this read them; run it again"),
        })
    }

    /// Table `usage` of a version, with the rows that only the log has.
    fn usage(&self, table: &Table) -> Result<Arc<dyn TableProvider>, Error> {
        let files = table.scanned()?;
        Ok(Arc::new(Scan::new("usage", &usage_schema(), Some(files), self.rows.clone())))
    }
}

impl Rerated {
    fn add(&mut self, differing: &[RecordBatch]) -> Result<(), Error> {
        for batch in differing {
            self.calls += batch.num_rows() as u64;
            rows::add(batch, "currency", "cost", &mut self.before)?;
            rows::add(batch, "rated_currency", "rated_cost", &mut self.after)?;
        }
        Ok(())
    }
}

/// The period in pieces of whole minutes, of about as many calls as a commit may have.
async fn slices(usage: &Arc<dyn TableProvider>, order: &Rerate) -> Result<Vec<Slice>, Error> {
    let minutes = || -> Result<LogicalPlanBuilder, datafusion::error::DataFusionError> {
        original(usage)?
            .filter(order.filter()?)?
            .aggregate(
                [date_trunc().call(vec![lit("minute"), ident("start_time")]).alias("minute")],
                [count(lit(1_i64)).alias("calls")],
            )?
            .sort([ident("minute").sort(true, true)])
    };
    let batches = run(minutes().map_err(Error::query)?).await?;
    let mut slices: Vec<Slice> = Vec::new();
    let mut calls = 0;
    for batch in &batches {
        let minutes = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        for (minute, more) in minutes
            .values()
            .iter()
            .zip(batch.column(1).as_primitive::<Int64Type>().values())
        {
            let end = minute.saturating_add(60_000_000);
            match slices.last_mut() {
                Some(last) if calls + more <= SLICE_ROWS => last.1 = end,
                _ => {
                    calls = 0;
                    slices.push((*minute, end));
                }
            }
            calls += more;
        }
    }
    Ok(slices)
}

/// The calls of a slice that the list has otherwise, as columns of `usage_rated`.
async fn differing(
    usage: &Arc<dyn TableProvider>,
    order: &Rerate,
    rate: &ScalarUDF,
    slice: Slice,
) -> Result<Vec<RecordBatch>, Error> {
    let plan = rated(usage, rate, &order.price_version, order.provider.as_ref().map(Name::as_str));
    let plan = plan
        .and_then(|plan| plan.filter(order.filter()?.and(order::within(slice)?).and(ident(DIFFERS))))
        .map_err(Error::query)?;
    run(plan).await
}

async fn run(plan: LogicalPlanBuilder) -> Result<Vec<RecordBatch>, Error> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_limit(MEMORY_BYTES, 1.0)
        .build_arc()
        .map_err(Error::query)?;
    let context = SessionContext::new_with_config_rt(SessionConfig::new().with_target_partitions(1), runtime);
    let plan = plan.build().map_err(Error::query)?;
    let frame = context.execute_logical_plan(plan).await.map_err(Error::query)?;
    frame.collect().await.map_err(Error::query)
}
