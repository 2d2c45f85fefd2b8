//! Table `usage_hourly`: the calls of an hour added up by who made them, which model answered and how it ended.
//!
//! A Delta table of its own beside table `usage` keeps what was added up already; what is not yet in it is added up when a query asks.
//!
//! # Invariants
//! 1. The table's application transaction of an instance is the place up to which the instance's rows are in it: each once. A commit
//!    adds sums and moves the transaction from where the sums began to where they end, or does neither.
//! 2. So the rows of table `usage` that it lacks are those whose place is beyond their instance's transaction, in whatever file they
//!    lie. A query adds up just these: the answer equals that over the raw rows, always.
//! 3. A query never pairs the table with a version of table `usage` that lacks rows of it: table `usage` is read after it.
//! 4. Merging puts rows of the same hour and key together in one commit; sums do not change.
//! 5. A day that has left table `usage`, because its retention ended, is not read from the rollup either.
//! 6. Nothing here can make a flush fail. What goes wrong is logged and tried again; meanwhile queries read raw rows.

pub mod columns;
mod coverage;
pub mod generated;
mod keeper;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlanBuilder;

pub use self::columns::{HOUR, KEYS, MEASURES, Measure, hourly_schema};
pub(crate) use self::coverage::Coverage;
use self::coverage::Seen;
pub(crate) use self::keeper::{Flushed, Keeper};
use crate::Error;
use crate::hot::Held;
use crate::location::Location;
use crate::scan::{Files, Scan};
use crate::schema::usage_schema;
use crate::table::lake::Lake;

/// Its name in SQL.
pub(crate) const NAME: &str = "usage_hourly";
/// Where it lies: beside table `usage`, with this at the end of its name.
const SUFFIX: &str = "-hourly";

/// The table as of one version, and what it covers.
#[derive(Clone)]
pub(crate) struct Hourly {
    pub(crate) files: Files,
    pub(crate) coverage: Coverage,
}

impl Hourly {
    /// The table over a version of table `usage` that was read after it.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn of(rolled: &Lake, usage: &Files) -> Result<Self, Error> {
        Self::knowing(rolled, usage, Seen::default()).await
    }

    /// The same, with what is known of files.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn knowing(rolled: &Lake, usage: &Files, seen: Seen) -> Result<Self, Error> {
        Ok(Self {
            files: Files::of(rolled.delta())?,
            coverage: Coverage::read(rolled, usage, seen, None).await?,
        })
    }
}

/// The rollup of a table that nobody keeps now, if there is one.
///
/// # Errors
/// What its store says.
pub(crate) async fn existing(usage: &Location) -> Result<Option<Lake>, Error> {
    Lake::open_existing(&usage.beside(SUFFIX)?, &hourly_schema()).await
}

/// Table `usage_hourly` over any table with the columns of `usage`, all of it added up when a query asks.
///
/// # Errors
/// What the planner says, which would be a defect.
pub fn hourly(usage: Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let usage = LogicalPlanBuilder::scan("usage", provider_as_source(usage), None)?;
    Ok(Arc::new(ViewTable::new(columns::rolled_up(usage)?.build()?, None)))
}

/// The columns as queries see them.
pub(crate) fn shown_schema() -> SchemaRef {
    Scan::new(NAME, &hourly_schema(), None, Vec::new()).schema()
}

/// Table `usage_hourly` of one snapshot: what is added up already, and the rest of the rows.
///
/// # Errors
/// As [`hourly`].
pub(crate) fn view(
    rolled: Option<&Hourly>,
    usage: Option<&Files>,
    hot: impl Into<Held>,
) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let Some(Hourly { files, coverage }) = rolled else {
        return hourly(Arc::new(Scan::new("usage", &usage_schema(), usage.cloned(), hot)));
    };
    let (lacking, filter) = match usage {
        Some(usage) => coverage.lacking(usage)?,
        None => (None, None),
    };
    let rest = Scan::new("usage", &usage_schema(), lacking, hot);
    let mut rest = LogicalPlanBuilder::scan("usage", provider_as_source(Arc::new(rest)), None)?;
    if let Some(filter) = filter {
        rest = rest.filter(filter)?;
    }
    // Rows leave table `usage` by whole days, when their retention ends: their sums then count no more.
    let files = usage.map(|usage| files.of_days(&usage.days())).transpose()?;
    let rolled = Scan::new(NAME, &hourly_schema(), files, Vec::new());
    let rolled = LogicalPlanBuilder::scan(NAME, provider_as_source(Arc::new(rolled)), None)?;
    let plan = rolled.union(columns::rolled_up(rest)?.build()?)?.build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}
