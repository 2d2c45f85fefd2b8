//! A view that is made when a statement names it: to find out what the rollup lacks costs time that other statements need not pay.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;

type Table = Arc<dyn TableProvider>;
type Make = Box<dyn Fn() -> Result<Table, DataFusionError> + Send + Sync>;

/// The view.
pub(super) struct Lazy {
    schema: SchemaRef,
    make: Make,
    made: OnceLock<Table>,
}

impl Lazy {
    /// A view of a schema, which `make` makes: each time the same.
    pub(super) fn new(schema: SchemaRef, make: impl Fn() -> Result<Table, DataFusionError> + Send + Sync + 'static) -> Self {
        Self {
            schema,
            make: Box::new(make),
            made: OnceLock::new(),
        }
    }

    fn table(&self) -> Result<&Table, DataFusionError> {
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        let made = (self.make)()?;
        Ok(self.made.get_or_init(|| made))
    }
}

impl fmt::Debug for Lazy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lazy").finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl TableProvider for Lazy {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        // An error is told by the scan.
        self.table().ok()?.get_logical_plan()
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        self.table()?.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        self.table()?.scan(session, projection, filters, limit).await
    }
}
