//! What SQL sees: tables as of one snapshot, and the views over them.

mod unreachable;

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::prelude::{cast, ident};
use tollgate_record::BoxFuture;

use crate::Error;
use crate::disk::{Disk, Os};
use crate::history::History;
use crate::hot::{Chunk, Hot, Recovering};
use crate::location::Location;
use crate::recovery::Recovered;
use crate::schema::usage_schema;
use crate::store::{Shared, lock_directory};
use crate::table::Table;
use crate::wal::lock;
use unreachable::Unreachable;

/// Tables by name.
pub type Named = Vec<(&'static str, Arc<dyn TableProvider>)>;

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

/// What queries and flushes share: rows in memory and the table, changed together.
pub(crate) struct View {
    pub(crate) hot: Hot,
    pub(crate) table: Table,
}

/// A data directory that no gateway has open, for reading.
pub struct Offline {
    rows: Vec<RecordBatch>,
    table: Option<Table>,
    history: History,
    _lock: Box<dyn Any + Send + Sync>,
}

// === impl Shared ===

impl Tables for Shared {
    fn snapshot(&self) -> BoxFuture<'_, Result<Named, DataFusionError>> {
        Box::pin(async move {
            let (chunks, table) = {
                let mut view = lock(self.view());
                (view.hot.chunks(), view.table.clone())
            };
            let rows = chunks
                .iter()
                .map(|chunk: &Arc<Chunk>| chunk.batch())
                .collect::<Result<Vec<_>, _>>()
                .map_err(external)?;
            let prices = lock(self.history()).batch().map_err(external)?;
            if !table.is_open() {
                let usage = Arc::new(Unreachable { url: self.table_url() });
                let hot = Arc::new(MemTable::try_new(usage_schema(), vec![rows])?);
                let named: Named = vec![("usage", usage), ("hot", hot), ("prices", memory(prices)?)];
                return Ok(named);
            }
            tables(rows, Some(&table), prices).await
        })
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
        let table = Table::open_existing(table).await?;
        let folder = data.join("wal");
        let mut rows = Recovering::default();
        if folder.exists() {
            let owner = std::fs::read_to_string(data.join("instance")).unwrap_or_default();
            let committed = match (&table, tollgate_record::Name::new(owner.trim())) {
                (Some(table), Ok(owner)) => table.committed(&owner).await?,
                _ => tollgate_record::Seq::ZERO,
            };
            Recovered::read(&*disk, &folder, committed, |row| rows.push(row))?.check()?;
        }
        let rows = rows.finish()?.iter().map(|chunk| chunk.batch()).collect::<Result<_, _>>()?;
        Ok(Self {
            rows,
            table,
            history: History::open_existing(disk, &data)?,
            _lock: lock_file,
        })
    }
}

impl Tables for Offline {
    fn snapshot(&self) -> BoxFuture<'_, Result<Named, DataFusionError>> {
        Box::pin(async move {
            let prices = self.history.batch().map_err(external)?;
            tables(self.rows.clone(), self.table.as_ref(), prices).await
        })
    }
}

async fn tables(rows: Vec<RecordBatch>, table: Option<&Table>, prices: RecordBatch) -> Result<Named, DataFusionError> {
    let files = table.map(Table::files).transpose().map_err(external)?;
    let hot = Arc::new(MemTable::try_new(usage_schema(), vec![rows.clone()])?);
    let mut named: Named = vec![
        ("usage", usage(rows, table).await?),
        ("hot", hot),
        ("prices", memory(prices)?),
    ];
    if let Some(files) = files {
        named.push(("files", memory(files)?));
    }
    Ok(named)
}

/// Table `usage`: the committed rows and the hot ones.
async fn usage(rows: Vec<RecordBatch>, table: Option<&Table>) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let hot = Arc::new(MemTable::try_new(usage_schema(), vec![rows])?);
    let Some(table) = table else { return Ok(hot) };
    let committed = table.provider().await?;
    let found = committed.schema();
    // The partition column may come back as a dictionary; whatever differs is cast, so that both sides have one type.
    let schema = usage_schema();
    let columns = schema.fields().iter().map(|field| {
        let column = ident(field.name());
        match found.field_with_name(field.name()) {
            Ok(same) if same.data_type() == field.data_type() => column,
            _ => cast(column, field.data_type().clone()).alias(field.name()),
        }
    });
    let committed =
        LogicalPlanBuilder::scan("usage", provider_as_source(committed), None)?.project(columns.collect::<Vec<Expr>>())?;
    let hot = LogicalPlanBuilder::scan("usage", provider_as_source(hot), None)?;
    let plan = committed.union(hot.build()?)?.build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

fn memory(batch: RecordBatch) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
