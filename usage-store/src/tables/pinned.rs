//! `usage` as of a version or a time: `usage_at(42)`, `usage_at('2026-11-01T00:00:00Z')`.
//!
//! A pinned version is what was committed, and nothing else: rows in memory do not belong to it. It reads the same for as long as the
//! table keeps its history; when that is over, it is an error that names the versions there are, never fewer rows.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::compute::kernels::cast_utils::string_to_datetime;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{ScalarValue, TableReference};
use datafusion::datasource::{TableType, ViewTable, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use deltalake_core::DeltaTable;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::versions::{Versions, ranges};
use crate::Error;
use crate::scan::{Files, Scan};
use crate::schema::usage_schema;

/// Files whose presence is asked for at once.
const HEADS: usize = 32;

/// The table function.
pub(crate) struct UsageAt {
    table: Option<(DeltaTable, Versions)>,
}

impl UsageAt {
    /// Its name in SQL.
    pub(crate) const NAME: &'static str = "usage_at";

    /// A function over the history of a table; none if nothing was ever committed.
    pub(crate) fn new(table: Option<(DeltaTable, Versions)>) -> Self {
        Self { table }
    }
}

impl fmt::Debug for UsageAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::NAME)
    }
}

impl TableFunctionImpl for UsageAt {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>, DataFusionError> {
        let point = match args.exprs() {
            [Expr::Literal(value, _)] => Point::of(value),
            _ => None,
        };
        let point = point.ok_or_else(|| {
            DataFusionError::Plan(
                "usage_at takes one constant: the number of a version, such as usage_at(42), or a time, such as \
                 usage_at('2026-11-01T00:00:00Z'); table versions lists both"
                    .to_owned(),
            )
        })?;
        let (delta, versions) = self
            .table
            .clone()
            .ok_or_else(|| DataFusionError::Plan("usage_at: nothing was committed to the table yet".to_owned()))?;
        // Plans tell scans apart by the name of their table alone, so each point has one of its own.
        let name = match point {
            Point::Version(version) => format!("usage@{version}"),
            Point::Time(time) => format!("usage@{time}ms"),
        };
        let source = provider_as_source(Arc::new(Pinned { delta, versions, point }));
        let scan = LogicalPlanBuilder::scan(TableReference::bare(name), source, None)?.build()?;
        Ok(Arc::new(ViewTable::new(scan, None)))
    }
}

/// What a table is pinned by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    Version(u64),
    /// Milliseconds since 1970.
    Time(i64),
}

impl Point {
    fn of(value: &ScalarValue) -> Option<Self> {
        let millis = DataType::Timestamp(TimeUnit::Millisecond, None);
        match value {
            ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)) => {
                let utc: Tz = "+00:00".parse().ok()?;
                Some(Self::Time(string_to_datetime(&utc, text).ok()?.timestamp_millis()))
            }
            value if value.data_type().is_integer() => match value.cast_to(&DataType::UInt64).ok()? {
                ScalarValue::UInt64(version) => version.map(Self::Version),
                _ => None,
            },
            value if value.data_type().is_temporal() => match value.cast_to(&millis).ok()? {
                ScalarValue::TimestampMillisecond(time, _) => time.map(Self::Time),
                _ => None,
            },
            _ => None,
        }
    }
}

/// The table as of a version.
struct Pinned {
    delta: DeltaTable,
    versions: Versions,
    point: Point,
}

impl Pinned {
    async fn files(&self) -> Result<Files, DataFusionError> {
        let readable = self.versions.listed().await?.readable();
        let gone = |what: String| {
            DataFusionError::Execution(format!(
                "{what}; there are versions {} (table versions says when each was committed)",
                ranges(&readable)
            ))
        };
        let version = match self.point {
            Point::Version(version) if readable.contains(&version) => version,
            Point::Version(version) => {
                return Err(gone(format!(
                    "there is no version {version} of table usage, or it was given up when the history was cleaned up"
                )));
            }
            Point::Time(time) => self
                .versions
                .at(&readable, time)
                .await?
                .ok_or_else(|| gone("that time is before the first version of table usage that is kept".to_owned()))?,
        };
        if self.delta.version() == Some(version) {
            return Ok(Files::of(&self.delta)?);
        }
        let mut delta = DeltaTable::new(self.delta.log_store());
        delta.load_version(version).await.map_err(Error::from)?;
        let files = Files::of(&delta)?;
        let kept = Files::of(&self.delta)?;
        if !self.all_there(&files, &kept).await? {
            return Err(gone(format!(
                "version {version} of table usage cannot be read any more: files of it were deleted when their retention ended"
            )));
        }
        Ok(files)
    }

    /// Whether every file is still there. Those that the newest version has are.
    async fn all_there(&self, files: &Files, kept: &Files) -> Result<bool, DataFusionError> {
        let kept: HashSet<_> = kept.paths().collect();
        let doubtful: Vec<_> = files.paths().filter(|path| !kept.contains(path)).map(str::to_owned).collect();
        let store = files.store();
        let mut found = stream::iter(doubtful)
            .map(async |path| {
                let path = Path::from_url_path(path).map_err(|error| DataFusionError::External(Box::new(error)))?;
                match store.head(&path).await {
                    Ok(_) => Ok(true),
                    Err(object_store::Error::NotFound { .. }) => Ok(false),
                    Err(error) => Err(DataFusionError::ObjectStore(Box::new(error))),
                }
            })
            .buffer_unordered(HEADS);
        while let Some(there) = found.try_next().await? {
            if !there {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pinned").field(&self.point).finish()
    }
}

#[async_trait::async_trait]
impl TableProvider for Pinned {
    fn schema(&self) -> SchemaRef {
        Scan::new("usage", &usage_schema(), None, Vec::new()).schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        Scan::new("usage", &usage_schema(), None, Vec::new()).supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let files = self.files().await?;
        let scan = Scan::new("usage", &usage_schema(), Some(files), Vec::new());
        scan.scan(session, projection, filters, limit).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_number_and_a_time_is_a_text_or_a_timestamp() {
        assert_eq!(Point::of(&ScalarValue::Int64(Some(42))), Some(Point::Version(42)));
        assert_eq!(Point::of(&ScalarValue::Int64(Some(-1))), None);
        let time = Some(Point::Time(1_793_491_200_000));
        for text in [
            "2026-11-01T00:00:00Z",
            "2026-11-01",
            "2026-11-01T01:00:00+01:00",
            "2026-11-01 00:00:00",
        ] {
            assert_eq!(Point::of(&ScalarValue::from(text)), time, "{text}");
        }
        assert_eq!(
            Point::of(&ScalarValue::TimestampMicrosecond(Some(1_793_491_200_000_000), None)),
            time
        );
        assert_eq!(Point::of(&ScalarValue::from("yesterday")), None);
        assert_eq!(Point::of(&ScalarValue::Float64(Some(1.0))), None);
    }
}
