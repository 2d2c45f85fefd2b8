//! Table `usage`, and its rollup, while the Delta table cannot be reached: it plans, and fails when it is read, since a part of the rows is no answer.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::Error;

/// A table that has columns, and no rows that could be told.
#[derive(Debug)]
pub(super) struct Unreachable {
    /// URL of the table.
    pub(super) url: String,
    /// Its columns.
    pub(super) schema: SchemaRef,
}

#[async_trait]
impl TableProvider for Unreachable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        _: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        Err(Error::Unreachable { url: self.url.clone() }.into())
    }
}
