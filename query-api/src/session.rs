//! What a statement is planned in: functions that neither read files nor the environment, and the tables of one snapshot.
//!
//! Deliberately absent: file formats, table factories, a catalog that opens files or URLs by name, and an object store for `file://`.

use std::sync::Arc;

use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider, SchemaProvider,
};
use datafusion::common::DataFusionError;
use datafusion::datasource::ViewTable;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{FunctionRegistry, SessionState};
use tollgate_usage_store::{Tables, VIEWS, date_trunc, derived, dialect};

use crate::limits::Limits;
use crate::memory::Pool;
use crate::spill::SpillDir;

const CATALOG: &str = "tollgate";
const SCHEMA: &str = "public";

/// Functions that make lists of any length out of two numbers. Their table forms stay: those come in batches.
const UNBOUNDED: [&str; 3] = ["range", "generate_series", "array_resize"];

/// The state that every statement starts from.
pub(crate) fn base(limits: &Limits, spill: &SpillDir) -> Result<SessionState, DataFusionError> {
    let mut config = dialect()
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(true)
        .with_target_partitions(limits.threads);
    config.options_mut().sql_parser.collect_spans = true;

    let mut state = SessionStateBuilder::new_with_default_features()
        .with_file_formats(Vec::new())
        .with_table_factories(Default::default())
        .with_config(config)
        .with_runtime_env(runtime(limits, spill)?)
        .build();
    FunctionRegistry::register_udf(&mut state, date_trunc())?;
    for name in UNBOUNDED {
        if let Some(function) = state.scalar_functions().get(name).cloned() {
            for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)) {
                FunctionRegistry::deregister_udf(&mut state, name)?;
            }
        }
    }
    Ok(state)
}

fn runtime(limits: &Limits, spill: &SpillDir) -> Result<Arc<RuntimeEnv>, DataFusionError> {
    let disk = DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::Directories(vec![spill.path().to_owned()]))
        .with_max_temp_directory_size(limits.spill_bytes);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(Pool::new(limits.memory_bytes)))
        .with_disk_manager_builder(disk)
        .build_arc()?;
    runtime.deregister_object_store(ObjectStoreUrl::local_filesystem().as_ref())?;
    Ok(runtime)
}

/// A state that sees the tables as they are now, and its tables' names.
pub(crate) async fn snapshot(base: &SessionState, tables: &dyn Tables) -> Result<(SessionState, Vec<String>), DataFusionError> {
    let schema = Arc::new(MemorySchemaProvider::new());
    let mut functions = tables.functions();
    let rate = tables.rate();
    for (name, table) in tables.snapshot().await? {
        if name == "usage" {
            let (views, rated) = derived(&table, Arc::clone(&rate));
            for (name, view) in views {
                schema.register_table(name.to_owned(), view)?;
            }
            functions.extend(rated);
        }
        schema.register_table(name.to_owned(), table)?;
    }
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(SCHEMA, Arc::clone(&schema) as Arc<dyn SchemaProvider>)?;
    let catalogs = MemoryCatalogProviderList::new();
    catalogs.register_catalog(CATALOG.to_owned(), Arc::new(catalog));

    let mut state = base.clone();
    state.register_catalog_list(Arc::new(catalogs));
    for (name, function) in functions {
        state.register_udtf(name, function);
    }
    FunctionRegistry::register_udf(&mut state, rate)?;
    // From here on now() is this query's now.
    state.mark_start_execution();
    for (name, _, query) in VIEWS {
        let plan = state.create_logical_plan(query).await?;
        schema.register_table((*name).to_owned(), Arc::new(ViewTable::new(plan, Some((*query).to_owned()))))?;
    }
    let mut names = schema.table_names();
    names.sort_unstable();
    Ok((state, names))
}
