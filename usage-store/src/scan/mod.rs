//! Reading a table: committed files and rows in memory as one table of DataFusion.
//!
//! # Invariants
//! 1. A scan reads the files and the rows that it was made with, whatever is committed meanwhile.
//! 2. A file is left out only if what Delta's log says of it shows that no row of it can pass the query's filters.
//! 3. Comparisons of the time columns with constants are the scan's own affair ([`is_own`]): where the log shows that all rows of a
//!    file pass, none is compared and the columns are not read. All other filters stay in the plan above as well.
//!
//! Row groups and pages are then left out by the Parquet reader itself, by the statistics in the files.

mod files;
mod node;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{Column, DFSchema, Statistics};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileGroupPartitioner, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_expr::expressions::{CastExpr, Column as PhysicalColumn};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExecBuilder;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

pub(crate) use self::files::{Files, Places};
use self::node::{Found, LedgerScan};
use crate::hot::{Held, packed};
use crate::schema::usage_schema;

/// Columns whose comparisons with constants a scan answers by itself.
const OWN: [&str; 3] = ["start_date", "start_time", "hour"];
/// Files a thread, from which on files are handed out whole: threads that are done early take those that wait.
const FILES_A_THREAD: usize = 4;
/// A file smaller than this is not split among threads.
const SPLIT_BYTES: usize = 1 << 20;

/// A table: the files of one version, and rows in memory.
pub(crate) struct Scan {
    table: &'static str,
    schema: SchemaRef,
    files: Option<Files>,
    /// Text plain or as views.
    hot: Held,
}

impl Scan {
    /// A table with the columns of `stored`, in their order; text is shown as views.
    pub(crate) fn new(table: &'static str, stored: &Schema, files: Option<Files>, hot: impl Into<Held>) -> Self {
        let mut hot = hot.into();
        hot.batches.retain(|batch| batch.num_rows() > 0);
        Self {
            table,
            schema: files::seen(stored, None),
            files,
            hot,
        }
    }

    /// The files, and which of them pass `own` with every row.
    fn chosen(&self, session: &dyn Session, filters: &[Expr]) -> Result<Option<Chosen>, DataFusionError> {
        let Some(files) = &self.files else { return Ok(None) };
        let mut files = files.clone();
        let seen = DFSchema::try_from(Arc::clone(files.schema()))?;
        // Above a scan columns carry its table's name; here they stand alone.
        let bare: Vec<_> = filters.iter().cloned().map(unqualified).collect();
        if let Some(filter) = conjunction(bare.clone()) {
            let kept = may_pass(session, &files, &seen, filter)?;
            files = files.filtered(&kept)?;
        }
        let mut whole = vec![true; files.len()];
        for filter in bare.into_iter().filter(is_own) {
            let fails: Vec<_> = match negated(&filter) {
                Some(negated) => may_pass(session, &files, &seen, negated)?.values().iter().collect(),
                None => vec![true; files.len()],
            };
            whole.iter_mut().zip(fails).for_each(|(whole, fails)| *whole &= !fails);
        }
        Ok(Some(Chosen { files, whole }))
    }

    /// Rows of files, filtered by `own`, in the columns of `projection`.
    fn parquet(
        &self,
        session: &dyn Session,
        all: &Files,
        files: Vec<PartitionedFile>,
        projection: &[usize],
        own: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let wanted = self.with_filtered(projection, own)?;
        let source = self.source(session, all)?;
        let rows = rows(&files);
        let statistics = Statistics {
            num_rows: rows.map_or(Precision::Absent, Precision::Exact),
            ..Statistics::new_unknown(all.schema())
        };
        let columns = wanted
            .iter()
            .map(|index| all.schema().index_of(self.schema.field(*index).name()))
            .collect::<Result<Vec<_>, _>>()?;
        let config = FileScanConfigBuilder::new(all.url().clone(), Arc::new(source))
            .with_file_groups(groups(files, session.config().target_partitions()))
            .with_statistics(statistics)
            .with_projection_indices(Some(columns))?
            .with_limit(limit)
            .build();
        self.filtered(session, DataSourceExec::from_data_source(config), projection, own)
    }

    fn source(&self, session: &dyn Session, files: &Files) -> Result<ParquetSource, DataFusionError> {
        let runtime = session.runtime_env();
        let url: &url::Url = files.url().as_ref();
        runtime.register_object_store(url, Arc::clone(files.store()));
        let mut options = TableParquetOptions::new();
        options.global = session.config_options().execution.parquet.clone();
        // Columns that only a filter needs are read first, and the others only where it passes.
        options.global.pushdown_filters = true;
        options.global.reorder_filters = true;
        let stored = Schema::new(files.file_fields().cloned().collect::<Vec<_>>());
        let partition = files
            .partition()
            .map(|name| files.schema().field_with_name(name).cloned())
            .transpose()?;
        let schema = TableSchema::builder(Arc::new(stored))
            .with_table_partition_cols(partition.into_iter().map(Arc::new).collect::<Vec<_>>())
            .build();
        let footers = runtime.cache_manager.get_file_metadata_cache();
        let reader = CachedParquetFileReaderFactory::new(runtime.object_store(files.url())?, footers);
        Ok(ParquetSource::new(schema)
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(reader)))
    }

    /// Rows in memory, filtered by `own`, in the columns of `projection`.
    fn memory(&self, session: &dyn Session, projection: &[usize], own: &[Expr]) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let wanted = self.with_filtered(projection, own)?;
        let columns = |stored: &Schema| {
            let columns = wanted.iter().map(|index| stored.index_of(self.schema.field(*index).name()));
            columns.collect::<Result<Vec<_>, _>>()
        };
        let mut inputs: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        if !self.hot.packed.is_empty() {
            inputs.push(packed::plan(&self.hot.packed, &columns(&usage_schema())?)?);
        }
        if let Some(first) = self.hot.batches.first() {
            let columns = columns(first.schema_ref())?;
            let batches = std::slice::from_ref(&self.hot.batches);
            inputs.push(MemorySourceConfig::try_new_exec(batches, first.schema(), Some(columns))?);
        }
        let plan = match inputs.len() {
            1 => inputs.swap_remove(0),
            _ => UnionExec::try_new(inputs)?,
        };
        let found = plan.schema();
        let plan: Arc<dyn ExecutionPlan> = match wanted
            .iter()
            .zip(found.fields())
            .all(|(index, field)| self.schema.field(*index).data_type() == field.data_type())
        {
            true => plan,
            false => {
                let columns = wanted.iter().enumerate().map(|(at, index)| {
                    let field = self.schema.field(*index);
                    let column: Arc<dyn PhysicalExpr> = Arc::new(PhysicalColumn::new(field.name(), at));
                    let kind = field.data_type();
                    let cast: Arc<dyn PhysicalExpr> = match found.field(at).data_type() == kind {
                        true => column,
                        false => Arc::new(CastExpr::new(column, kind.clone(), None)),
                    };
                    (cast, field.name().clone())
                });
                Arc::new(ProjectionExec::try_new(columns.collect::<Vec<_>>(), plan)?)
            }
        };
        self.filtered(session, plan, projection, own)
    }

    /// The columns of a projection, and after them those that `own` compares beside them.
    fn with_filtered(&self, projection: &[usize], own: &[Expr]) -> Result<Vec<usize>, DataFusionError> {
        let mut wanted = projection.to_vec();
        for column in own.iter().flat_map(Expr::column_refs) {
            let index = self.schema.index_of(column.name())?;
            if !wanted.contains(&index) {
                wanted.push(index);
            }
        }
        Ok(wanted)
    }

    /// The plan's rows that pass `own`, in the columns of `projection`, which are its first.
    fn filtered(
        &self,
        session: &dyn Session,
        plan: Arc<dyn ExecutionPlan>,
        projection: &[usize],
        own: &[Expr],
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let Some(filter) = conjunction(own.iter().cloned().map(unqualified)) else {
            return Ok(plan);
        };
        let schema = DFSchema::try_from(plan.schema())?;
        let filter = session.create_physical_expr(filter, &schema)?;
        let plan = FilterExecBuilder::new(filter, plan)
            .apply_projection(Some((0..projection.len()).collect()))?
            .build()?;
        Ok(Arc::new(plan))
    }
}

/// The files that a scan reads.
struct Chosen {
    files: Files,
    /// For each: whether all its rows pass the scan's own filters.
    whole: Vec<bool>,
}

#[async_trait::async_trait]
impl TableProvider for Scan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        let answer = filters.iter().map(|filter| match is_own(filter) {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Inexact,
        });
        Ok(answer.collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let projection = projection
            .cloned()
            .unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        // What filters leave over is not known here.
        let limit = limit.filter(|_| filters.is_empty());
        let own: Vec<_> = filters.iter().filter(|filter| is_own(filter)).cloned().collect();
        let mut found = Found {
            table: self.table,
            version: self.files.as_ref().map(Files::version),
            files: (0, self.files.as_ref().map_or(0, Files::total)),
            whole: 0,
            bytes: 0,
            hot_rows: self.hot.rows(),
        };
        let mut inputs: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        if let Some(Chosen { files, whole }) = self.chosen(session, filters)? {
            found.files.0 = files.len();
            found.whole = whole.iter().filter(|whole| **whole).count();
            found.bytes = files.bytes();
            let filtered = filters.iter().flat_map(Expr::column_refs).map(Column::name);
            let used: HashSet<_> = projection
                .iter()
                .map(|index| self.schema.field(*index).name().as_str())
                .chain(filtered)
                .collect();
            let (whole, part): (Vec<_>, Vec<_>) = files.scanned(&used)?.into_iter().zip(whole).partition(|(_, whole)| *whole);
            let unzip = |files: Vec<(PartitionedFile, bool)>| files.into_iter().map(|(file, _)| file).collect::<Vec<_>>();
            if !whole.is_empty() {
                inputs.push(self.parquet(session, &files, unzip(whole), &projection, &[], limit)?);
            }
            if !part.is_empty() {
                inputs.push(self.parquet(session, &files, unzip(part), &projection, &own, limit)?);
            }
        }
        if self.hot.rows() > 0 {
            inputs.push(self.memory(session, &projection, &own)?);
        }
        let input = match inputs.len() {
            0 => Arc::new(EmptyExec::new(Arc::new(self.schema.project(&projection)?))),
            1 => inputs.swap_remove(0),
            _ => UnionExec::try_new(inputs)?,
        };
        Ok(Arc::new(LedgerScan::new(found, input)))
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.files.as_ref().map(Files::version);
        f.debug_struct("Scan")
            .field("table", &self.table)
            .field("version", &version)
            .finish_non_exhaustive()
    }
}

/// Which files may have a row that passes the filter, by what the log says of them.
fn may_pass(session: &dyn Session, files: &Files, schema: &DFSchema, filter: Expr) -> Result<BooleanArray, DataFusionError> {
    let filter = session.create_physical_expr(filter, schema)?;
    let predicate = PruningPredicateBuilder::new()
        .with_file_schema(Arc::clone(files.schema()))
        .try_build(filter);
    // What cannot be decided by statistics keeps every file.
    let kept = predicate.and_then(|predicate| predicate.prune(files));
    Ok(BooleanArray::from(kept.unwrap_or_else(|error| {
        tracing::debug!(%error, "files could not be chosen by statistics");
        vec![true; files.len()]
    })))
}

/// Whether a filter compares a time column with a constant, and nothing else.
fn is_own(filter: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else {
        return false;
    };
    let ordered = matches!(
        op,
        Operator::Eq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq
    );
    let column = |side: &Expr| matches!(side, Expr::Column(column) if OWN.contains(&column.name()));
    let constant = |side: &Expr| matches!(side, Expr::Literal(value, _) if !value.is_null());
    ordered && (column(left) && constant(right) || constant(left) && column(right))
}

/// The opposite of a comparison. The columns compared are never null.
fn negated(filter: &Expr) -> Option<Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else {
        return None;
    };
    Some(Expr::BinaryExpr(BinaryExpr::new(left.clone(), op.negate()?, right.clone())))
}

fn unqualified(filter: Expr) -> Expr {
    datafusion::logical_expr::expr_rewriter::unnormalize_col(filter)
}

fn rows(files: &[PartitionedFile]) -> Option<usize> {
    files
        .iter()
        .map(|file| {
            file.statistics
                .as_ref()
                .and_then(|statistics| statistics.num_rows.get_value().copied())
        })
        .sum()
}

/// Files by thread: whole if there are many, else split by bytes.
fn groups(files: Vec<PartitionedFile>, threads: usize) -> Vec<FileGroup> {
    let many = files.len() >= threads.saturating_mul(FILES_A_THREAD);
    let group = FileGroup::new(files);
    if many {
        return group.split_files(threads);
    }
    let split = FileGroupPartitioner::new()
        .with_target_partitions(threads)
        .with_repartition_file_min_size(SPLIT_BYTES)
        .repartition_file_groups(std::slice::from_ref(&group));
    split.unwrap_or_else(|| vec![group])
}
