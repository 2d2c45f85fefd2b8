//! What SQL sees: tables as of one snapshot, table functions, and the views over the tables.

pub(crate) mod beside;
pub(crate) mod corrected;
mod lazy;
mod pinned;
pub(crate) mod rate;
#[cfg(test)]
mod tests;
pub(crate) mod versions;

mod unreachable;

use std::any::Any;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::catalog::{MemTable, TableFunctionImpl, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::ScalarUDF;
use tollgate_record::{BoxFuture, Timestamp};

use self::lazy::Lazy;
use self::pinned::UsageAt;
use crate::Error;
use crate::budgets::{Proof, Unproved};
use crate::disk::{Disk, Os};
use crate::history::History;
use crate::hot::{Held, Hot, Recovering};
use crate::location::Location;
use crate::recovery::Recovered;
use crate::rollup::{self, Hourly};
use crate::scan::Scan;
use crate::schema::usage_schema;
use crate::store::{Shared, lock_directory};
use crate::table::Table;
use crate::wal::lock;
use tollgate_rating::lists::Lists;
use unreachable::Unreachable;

/// Tables by name.
pub type Named = Vec<(&'static str, Arc<dyn TableProvider>)>;
/// Table functions by name.
pub type Functions = Vec<(&'static str, Arc<dyn TableFunctionImpl>)>;

/// Something that can show its tables as they are at one instant.
///
/// # Guarantees
/// All tables of one answer belong to one snapshot: a row that a flush is moving from memory to the table is seen once.
pub trait Tables: Send + Sync + 'static {
    /// The name and provider of every table, as of now.
    ///
    /// # Errors
    /// What the table's storage says.
    fn snapshot(&self) -> BoxFuture<'_, Result<Named, DataFusionError>>;

    /// The table functions: tables as they were, which are of no snapshot.
    fn functions(&self) -> Functions {
        Vec::new()
    }

    /// What a budget's counter rests on, at an instant or now; `per` names values of what it is kept apart by.
    ///
    /// # Errors
    /// [`Unproved`]; always where no budgets are in force.
    fn proof(&self, name: &str, per: &BTreeMap<String, String>, at: Option<Timestamp>) -> Result<Proof, Unproved> {
        let (_, _) = (per, at);
        Err(Unproved::Unknown { name: name.to_owned() })
    }

    /// Function `rate`, over the price lists as of now.
    fn rate(&self) -> Arc<ScalarUDF> {
        rate::rate(Lists::default())
    }
}

/// What stands on table `usage` beside [`VIEWS`]: the calls as they were recorded, after their corrections, and rated by a list.
pub fn derived(usage: &Arc<dyn TableProvider>, rate: Arc<ScalarUDF>) -> (Named, Functions) {
    let rated = corrected::Rated::new(Arc::clone(usage), rate);
    (corrected::views(usage), vec![(corrected::RATED, Arc::new(rated))])
}

/// Views over the tables: name, meaning, and the query that each stands for.
pub const VIEWS: &[(&str, &str, &str)] = &[(
    "requests",
    "One row per client request: its attempts taken together, with the outcome of the last; `cost` includes corrections, and is null where attempts were priced in different currencies.",
    "SELECT request_id, \
       min(start_time) AS start_time, \
       min(start_date) AS start_date, \
       count(*) FILTER (WHERE corrects IS NULL) AS attempts, \
       last_value(call_id ORDER BY attempt) FILTER (WHERE corrects IS NULL) AS call_id, \
       last_value(outcome ORDER BY attempt) FILTER (WHERE corrects IS NULL) AS outcome, \
       last_value(status_code ORDER BY attempt) FILTER (WHERE corrects IS NULL) AS status_code, \
       last_value(operation_name ORDER BY attempt) FILTER (WHERE corrects IS NULL) AS operation_name, \
       last_value(provider_name ORDER BY attempt) FILTER (WHERE corrects IS NULL) AS provider_name, \
       last_value(request_model ORDER BY attempt) FILTER (WHERE corrects IS NULL) AS request_model, \
       last_value(response_model ORDER BY attempt) FILTER (WHERE corrects IS NULL) AS response_model, \
       max(org) AS org, max(team) AS team, max(project) AS project, max(service) AS service, max(user_id) AS user_id, \
       max(key_id) AS key_id, \
       sum(input_tokens) AS input_tokens, \
       sum(output_tokens) AS output_tokens, \
       CASE WHEN count(DISTINCT currency) <= 1 THEN sum(cost) END AS cost, \
       CASE WHEN count(DISTINCT currency) <= 1 THEN max(currency) END AS currency, \
       sum(duration_us) AS duration_us \
     FROM usage GROUP BY request_id",
)];

/// Rows of a log that is read offline which are not packed.
const UNPACKED_ROWS_MAX: usize = 2 * crate::Config::FLUSH_ROWS;

/// What queries and flushes share: rows in memory and the table, changed together.
pub(crate) struct View {
    pub(crate) hot: Hot,
    pub(crate) table: Table,
    /// The rollup, once it was read; the table was read after it.
    pub(crate) hourly: Option<Hourly>,
}

/// A data directory that no gateway has open, for reading.
pub struct Offline {
    pub(crate) rows: Held,
    pub(crate) table: Option<Table>,
    hourly: Option<Hourly>,
    pub(crate) history: History,
    _lock: Box<dyn Any + Send + Sync>,
}

// === impl Shared ===

impl Tables for Shared {
    fn snapshot(&self) -> BoxFuture<'_, Result<Named, DataFusionError>> {
        Box::pin(async move {
            let (pieces, table, hourly) = {
                let mut view = lock(self.view());
                (view.hot.pieces(), view.table.clone(), view.hourly.clone())
            };
            let rows = Held::of(&pieces)?;
            let prices = lock(self.history()).batch()?;
            let budgets = self.budgets_table()?;
            let alerts = self.alerts_table()?;
            if !table.is_open() {
                let unreachable = |schema| -> Arc<dyn TableProvider> {
                    let url = self.table_url();
                    Arc::new(Unreachable { url, schema })
                };
                return Ok(vec![
                    ("usage", unreachable(usage_schema())),
                    (rollup::NAME, unreachable(rollup::shown_schema())),
                    ("hot", hot(rows)),
                    ("prices", memory(prices)?),
                    ("budgets", memory(budgets)?),
                    ("alerts", memory(alerts)?),
                ]);
            }
            let mut named = tables(rows, Some(&table), hourly.as_ref(), prices)?;
            named.push(("budgets", memory(budgets)?));
            named.push(("alerts", memory(alerts)?));
            Ok(named)
        })
    }

    fn proof(&self, name: &str, per: &BTreeMap<String, String>, at: Option<Timestamp>) -> Result<Proof, Unproved> {
        Shared::proof(self, name, per, at)
    }

    fn functions(&self) -> Functions {
        let table = lock(self.view()).table.clone();
        functions(Some(&table).filter(|table| table.is_open()))
    }

    fn rate(&self) -> Arc<ScalarUDF> {
        rate::rate(lock(self.history()).lists())
    }
}

// === impl Offline ===

impl Offline {
    /// Opens a data directory while no gateway runs on it. Changes nothing in it.
    ///
    /// # Errors
    /// [`Error::InUse`] if a gateway runs on it, [`Error::Damaged`] if its log is damaged, and what the file system or the table say.
    pub async fn open(data: impl Into<PathBuf>, table: &Location) -> Result<Self, Error> {
        let data = data.into();
        let disk: Arc<dyn Disk> = Arc::new(Os);
        let lock_file = lock_directory(&*disk, &data)?;
        // The rollup first: a version of the table that is read after it has all its rows.
        let rolled = rollup::existing(table).await;
        let table = Table::open_existing(table).await?;
        let hourly = match (rolled, &table) {
            (Ok(Some(rolled)), Some(table)) => Some(Hourly::of(&rolled, &table.scanned()?).await?),
            (Ok(_), _) => None,
            (Err(error), _) => {
                tracing::warn!(%error, "the hourly rollup cannot be read; raw rows are read in its place");
                None
            }
        };
        let folder = data.join("wal");
        let mut rows = Recovering::new(UNPACKED_ROWS_MAX);
        if folder.exists() {
            let owner = std::fs::read_to_string(data.join("instance")).unwrap_or_default();
            let committed = match (&table, tollgate_record::Name::new(owner.trim())) {
                (Some(table), Ok(owner)) => table.committed(&owner).await?,
                _ => tollgate_record::Seq::ZERO,
            };
            Recovered::read(&*disk, &folder, committed, |row| rows.push(row))?.check()?;
        }
        let rows = Held::of(&rows.finish()?)?;
        Ok(Self {
            rows,
            table,
            hourly,
            history: History::open_existing(disk, &data)?,
            _lock: lock_file,
        })
    }
}

impl Tables for Offline {
    fn snapshot(&self) -> BoxFuture<'_, Result<Named, DataFusionError>> {
        Box::pin(async move {
            let prices = self.history.batch()?;
            tables(self.rows.clone(), self.table.as_ref(), self.hourly.as_ref(), prices)
        })
    }

    fn functions(&self) -> Functions {
        functions(self.table.as_ref())
    }

    fn rate(&self) -> Arc<ScalarUDF> {
        rate::rate(self.history.lists())
    }
}

fn tables(
    rows: impl Into<Held>,
    table: Option<&Table>,
    hourly: Option<&Hourly>,
    prices: RecordBatch,
) -> Result<Named, DataFusionError> {
    let rows = rows.into();
    let files = table.map(Table::scanned).transpose()?;
    let usage_hourly = {
        let (hourly, files, rows) = (hourly.cloned(), files.clone(), rows.clone());
        Lazy::new(rollup::shown_schema(), move || {
            rollup::view(hourly.as_ref(), files.as_ref(), rows.clone())
        })
    };
    let log = files.as_ref().map(|files| files.log().clone());
    let usage = Scan::new("usage", &usage_schema(), files, rows.clone());
    let mut named: Named = vec![
        ("usage", Arc::new(usage)),
        ("hot", hot(rows)),
        (rollup::NAME, Arc::new(usage_hourly)),
        ("prices", memory(prices)?),
    ];
    if let (Some(table), Some(log)) = (table, log) {
        named.push(("files", memory(log)?));
        named.push(("versions", Arc::new(table.versions().clone())));
    }
    Ok(named)
}

fn functions(table: Option<&Table>) -> Functions {
    let table = table.map(|table| (table.lake().delta().clone(), table.versions().clone()));
    vec![(UsageAt::NAME, Arc::new(UsageAt::new(table)))]
}

/// Table `hot`: the rows that the table does not have.
fn hot(rows: Held) -> Arc<dyn TableProvider> {
    Arc::new(Scan::new("hot", &usage_schema(), None, rows))
}

fn memory(batch: RecordBatch) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
}
