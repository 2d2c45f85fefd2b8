//! The table on disk: Parquet files in a Delta Lake table, partitioned by UTC day.
//!
//! # Invariants
//! 1. A commit adds its files and moves the application transaction of its instance to the last place among its rows, or does neither.
//! 2. So after a crash or a lost answer, the transaction's version says which rows are in the table, and no row is appended twice.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::SessionConfig;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake_core::kernel::transaction::CommitProperties;
use deltalake_core::kernel::{StructType, Transaction};
use deltalake_core::parquet::basic::{Compression, ZstdLevel};
use deltalake_core::parquet::file::properties::WriterProperties;
use deltalake_core::{DeltaTable, DeltaTableError};
use tollgate_record::{Name, Seq};

use crate::Error;
use crate::location::Location;
use crate::schema::{PARTITION, usage_schema};

/// The table as of one version; cloning is cheap.
#[derive(Clone)]
pub(crate) struct Table {
    delta: DeltaTable,
}

impl Table {
    /// Opens the table, or creates it.
    ///
    /// # Errors
    /// [`Error::Location`] if the location is none, [`Error::Schema`] if another table is there, [`Error::Table`] if the store refuses.
    pub(crate) async fn open(location: &Location) -> Result<Self, Error> {
        if let Ok(path) = location.url().to_file_path() {
            std::fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
        }
        let mut delta = load(location).await?;
        if delta.version().is_none() {
            let schema: StructType = usage_schema().as_ref().try_into_kernel()?;
            let created = delta
                .create()
                .with_table_name("usage")
                .with_comment("one row per call: who called which model, what it used and what it cost")
                .with_columns(schema.fields().cloned())
                .with_partition_columns([PARTITION])
                .await;
            delta = match created {
                Ok(table) => table,
                // Another gateway was first.
                Err(DeltaTableError::VersionAlreadyExists(_)) => load(location).await?,
                Err(error) => return Err(error.into()),
            };
        }
        let table = Self { delta };
        table.check_schema(location)?;
        Ok(table)
    }

    /// Opens the table if it is there; changes nothing.
    ///
    /// # Errors
    /// As [`Table::open`].
    pub(crate) async fn open_existing(location: &Location) -> Result<Option<Self>, Error> {
        if let Ok(path) = location.url().to_file_path()
            && !path.exists()
        {
            return Ok(None);
        }
        let delta = load(location).await?;
        if delta.version().is_none() {
            return Ok(None);
        }
        let table = Self { delta };
        table.check_schema(location)?;
        Ok(Some(table))
    }

    fn check_schema(&self, location: &Location) -> Result<(), Error> {
        let expected: StructType = usage_schema().as_ref().try_into_kernel()?;
        let found = self.delta.snapshot()?.schema();
        let types = |schema: &StructType| -> HashMap<String, String> {
            schema
                .fields()
                .map(|field| (field.name().clone(), format!("{}", field.data_type())))
                .collect()
        };
        let (expected, found) = (types(&expected), types(found.as_ref()));
        let missing: Vec<_> = expected
            .iter()
            .filter(|(name, kind)| found.get(*name) != Some(kind))
            .map(|(name, _)| name.as_str())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let reason = format!("missing or of another type: {}", missing.join(", "));
        Err(Error::Schema {
            url: location.url().to_string(),
            reason,
        })
    }

    /// The last place of an instance's rows in the table.
    ///
    /// # Errors
    /// [`Error::Table`] if the log cannot be read.
    pub(crate) async fn committed(&self, instance: &Name) -> Result<Seq, Error> {
        let log_store = self.delta.log_store();
        let version = self
            .delta
            .snapshot()?
            .snapshot()
            .transaction_version(log_store.as_ref(), instance.as_str())
            .await?;
        Ok(Seq::new(version.and_then(|version| u64::try_from(version).ok()).unwrap_or(0)))
    }

    /// Appends rows and says that the instance's rows up to `last` are in the table: both or neither.
    ///
    /// Safe to call again after an error: rows that are in the table already are not appended.
    ///
    /// # Errors
    /// [`Error::Table`] if the commit failed.
    pub(crate) async fn append(&self, batches: Vec<RecordBatch>, instance: &Name, last: Seq) -> Result<Self, Error> {
        let mut delta = self.delta.clone();
        // An earlier attempt may have succeeded although it was reported as failed.
        delta.update_state().await?;
        let newest = Self { delta };
        if newest.committed(instance).await? >= last {
            return Ok(newest);
        }
        let version = i64::try_from(last.get()).unwrap_or(i64::MAX);
        let commit = CommitProperties::default().with_application_transaction(Transaction::new(instance.as_str(), version));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        let delta = newest
            .delta
            .write(batches)
            .with_commit_properties(commit)
            .with_writer_properties(properties)
            .await?;
        Ok(Self { delta })
    }

    /// The table's rows in the types of [`usage_schema`].
    ///
    /// # Errors
    /// What the table's log says.
    pub(crate) async fn provider(&self) -> Result<Arc<dyn TableProvider>, DataFusionError> {
        let config = SessionConfig::new()
            .set_bool("datafusion.execution.parquet.schema_force_view_types", false)
            .set_bool("datafusion.execution.parquet.pushdown_filters", true);
        let session = SessionStateBuilder::new().with_config(config).build();
        self.delta.table_provider().with_session(Arc::new(session)).await
    }

    /// The table's version.
    pub(crate) fn version(&self) -> u64 {
        self.delta.version().unwrap_or(0)
    }

    /// The table's files and their statistics, as Delta's log has them.
    ///
    /// # Errors
    /// [`Error::Table`] if the log cannot be read.
    pub(crate) fn files(&self) -> Result<RecordBatch, Error> {
        Ok(self.delta.snapshot()?.add_actions_table(true)?)
    }
}

/// Loads the table's newest version; it has none if there is no table.
async fn load(location: &Location) -> Result<DeltaTable, Error> {
    let mut table = location.table()?;
    match table.load().await {
        Ok(()) | Err(DeltaTableError::NotATable(_)) => Ok(table),
        Err(error) => Err(error.into()),
    }
}
