//! The files of one version of a table, with what Delta's log says of each, for deciding which of them a query must read.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, RecordBatch, StringArray, UInt64Array};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Date32Type, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, ColumnStatistics, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreUrl;
use deltalake_core::DeltaTable;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoArrow;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use sha2::Digest;
use tollgate_record::Seq;

use crate::Error;

/// The Delta protocol's reader version that needs nothing but the log and plain Parquet files.
const READER_VERSION: i32 = 1;
/// Text of this length or more may be cut in statistics (32 characters are what writers keep), and then stands for more than one value.
const TEXT_CUT_BYTES: usize = 32;
/// Bytes of a hash that name a table's store.
const NAME_BYTES: usize = 16;
/// Some writers cut times in statistics to milliseconds: a maximum without microseconds may stand for one with.
const TIME_CUT_US: i64 = 999;

/// The files of one version of a table. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Files {
    version: u64,
    url: ObjectStoreUrl,
    store: Arc<dyn ObjectStore>,
    /// Columns as queries see them: those of the files, then those of the partition.
    schema: SchemaRef,
    partition: Option<String>,
    /// A row a file: path, size, statistics; see [`DeltaTable`]'s `add_actions_table`.
    log: RecordBatch,
    /// Files of the version, of which `log` may hold a part.
    total: usize,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files")
            .field("version", &self.version)
            .field("files", &self.log.num_rows())
            .finish_non_exhaustive()
    }
}

impl Files {
    /// The files of the version that is loaded.
    ///
    /// # Errors
    /// [`Error::Table`] if nothing is loaded, [`Error::Reader`] if the table needs features that plain Parquet does not have.
    pub(crate) fn of(delta: &DeltaTable) -> Result<Self, Error> {
        let snapshot = delta.snapshot()?;
        let version = snapshot.protocol().min_reader_version();
        if version > READER_VERSION {
            return Err(Error::Reader {
                url: delta.table_url().to_string(),
                version,
            });
        }
        let log = snapshot.add_actions_table(true)?;
        let stored: Schema = snapshot.schema().as_ref().try_into_arrow()?;
        let partition = snapshot.metadata().partition_columns().first().cloned();
        // One name a table, so that the stores of several tables stand beside each other in one runtime.
        let name = sha2::Sha256::digest(delta.table_url().as_str().as_bytes());
        let name: String = name.iter().take(NAME_BYTES).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self {
            version: snapshot.version(),
            url: ObjectStoreUrl::parse(format!("tollgate://{name}")).map_err(Error::query)?,
            store: delta.log_store().object_store(None),
            schema: seen(&stored, partition.as_deref()),
            partition,
            total: log.num_rows(),
            log,
        })
    }

    /// Those files whose path, relative to the table, is wanted.
    pub(crate) fn only(&self, wanted: impl Fn(&str) -> bool) -> Result<Self, Error> {
        let kept: BooleanArray = self.paths().map(|path| Some(wanted(path))).collect();
        self.filtered(&kept)
    }

    /// Those files that a mask keeps.
    pub(crate) fn filtered(&self, kept: &BooleanArray) -> Result<Self, Error> {
        Ok(Self {
            log: filter_record_batch(&self.log, kept)?,
            ..self.clone()
        })
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn url(&self) -> &ObjectStoreUrl {
        &self.url
    }

    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The columns as queries see them.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// A row a file: its path, size and statistics.
    pub(crate) fn log(&self) -> &RecordBatch {
        &self.log
    }

    /// The column that the table is partitioned by.
    pub(crate) fn partition(&self) -> Option<&str> {
        self.partition.as_deref()
    }

    /// The days, counted from 1970-01-01, that have files.
    pub(crate) fn days(&self) -> BTreeSet<i32> {
        let days = self.log.column_by_name(&format!("partition.{DAY}"));
        let days = days.and_then(|days| days.as_primitive_opt::<Date32Type>());
        days.into_iter().flatten().flatten().collect()
    }

    /// Those files whose day is one of some.
    pub(crate) fn of_days(&self, days: &BTreeSet<i32>) -> Result<Self, Error> {
        let own = self.log.column_by_name(&format!("partition.{DAY}"));
        let Some(own) = own.and_then(|own| own.as_primitive_opt::<Date32Type>()) else {
            return Ok(self.clone());
        };
        let kept: BooleanArray = own
            .iter()
            .map(|day| Some(day.is_some_and(|day| days.contains(&day))))
            .collect();
        self.filtered(&kept)
    }

    /// How many files there are.
    pub(crate) fn len(&self) -> usize {
        self.log.num_rows()
    }

    /// How many files the version has.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// The files' paths, relative to the table.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        let paths = self
            .log
            .column_by_name("path")
            .and_then(|column| column.as_string_opt::<i32>());
        paths.into_iter().flat_map(|paths| paths.iter().flatten())
    }

    /// What the log says of the places of the rows in each file.
    pub(crate) fn places(&self) -> impl Iterator<Item = Places<'_>> {
        let text = |name: &str| self.log.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        let (least, greatest) = (text("min.instance"), text("max.instance"));
        let number = |name: &str| {
            self.log
                .column_by_name(name)
                .and_then(|column| column.as_primitive_opt::<Int64Type>())
        };
        let (first, last) = (number("min.seq"), number("max.seq"));
        let (rows, added) = (number("num_records"), number("modification_time"));
        let texts = |column: Option<&'_ StringArray>, index: usize| -> Option<String> {
            column
                .filter(|column| column.is_valid(index))
                .map(|column| column.value(index).to_owned())
        };
        let numbers = |column: Option<&PrimitiveArray<Int64Type>>, index: usize| -> Option<i64> {
            column
                .filter(|column| column.is_valid(index))
                .map(|column| column.value(index))
        };
        self.paths().enumerate().map(move |(index, path)| {
            let instance = texts(least, index).filter(|name| Some(name) == texts(greatest, index).as_ref());
            Places {
                path,
                instance,
                first: numbers(first, index).and_then(seq),
                last: numbers(last, index).and_then(seq),
                rows: numbers(rows, index).and_then(|rows| u64::try_from(rows).ok()),
                added_ms: numbers(added, index).unwrap_or(0),
            }
        })
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.counts("size_bytes").map_or(0, |sizes| sizes.values().iter().sum())
    }

    /// The files as a scan takes them, with the statistics of the columns that it uses.
    ///
    /// # Errors
    /// What is wrong with the log.
    pub(crate) fn scanned(&self, used: &HashSet<&str>) -> Result<Vec<PartitionedFile>, DataFusionError> {
        let sizes = self.counts("size_bytes");
        let rows = self.counts("num_records");
        let days = self
            .partition()
            .and_then(|name| self.log.column_by_name(&format!("partition.{name}")));
        let columns: Vec<_> = self.file_fields().map(|field| self.bounds(field, used)).collect();
        let mut files = Vec::with_capacity(self.len());
        for (index, path) in self.paths().enumerate() {
            let meta = ObjectMeta {
                // The log writes paths as URLs do.
                location: Path::from_url_path(path).map_err(|error| DataFusionError::External(Box::new(error)))?,
                // Files never change: a time would only keep their footers from being remembered.
                last_modified: chrono::DateTime::UNIX_EPOCH,
                size: sizes.as_ref().map_or(0, |sizes| sizes.value(index)),
                e_tag: None,
                version: None,
            };
            let mut file = PartitionedFile::new_from_meta(meta);
            if let Some(days) = days {
                file.partition_values = vec![ScalarValue::try_from_array(days, index)?];
            }
            let count = rows
                .as_ref()
                .filter(|rows| rows.is_valid(index))
                .map(|rows| rows.value(index));
            let statistics = Statistics {
                num_rows: count.map_or(Precision::Absent, |count| {
                    Precision::Exact(usize::try_from(count).unwrap_or(usize::MAX))
                }),
                total_byte_size: Precision::Absent,
                column_statistics: columns
                    .iter()
                    .map(|bounds| {
                        bounds
                            .as_ref()
                            .map_or_else(|| Ok(ColumnStatistics::new_unknown()), |bounds| bounds.of(index))
                    })
                    .collect::<Result<_, _>>()?,
            };
            files.push(file.with_statistics(Arc::new(statistics)));
        }
        Ok(files)
    }

    /// Fields of the files themselves: all but the partition's.
    pub(crate) fn file_fields(&self) -> impl Iterator<Item = &Arc<Field>> {
        let fields = self.schema.fields().iter();
        fields.filter(|field| Some(field.name().as_str()) != self.partition())
    }

    fn counts(&self, column: &str) -> Option<UInt64Array> {
        let column = self.log.column_by_name(column)?;
        Some(
            cast(column, &DataType::UInt64)
                .ok()?
                .as_primitive::<arrow::datatypes::UInt64Type>()
                .clone(),
        )
    }

    fn bounds(&self, field: &Field, used: &HashSet<&str>) -> Option<Bounds> {
        let name = field.name().as_str();
        if !used.contains(name) {
            return None;
        }
        let min = self.statistic("min", name);
        let max = self.statistic("max", name);
        Some(Bounds {
            exact: min.as_ref().is_some_and(|min| comparable(min.data_type())),
            kind: field.data_type().clone(),
            min,
            max,
            nulls: self.counts(&format!("null_count.{name}")),
        })
    }

    /// What the log says of a column: `min`, `max` or `null_count`. Amounts are left out, since JSON writers round them.
    fn statistic(&self, what: &str, column: &str) -> Option<ArrayRef> {
        let values = self.log.column_by_name(&format!("{what}.{column}"))?;
        match values.data_type() {
            DataType::Decimal128(..) | DataType::Float64 | DataType::Float32 => None,
            DataType::Timestamp(TimeUnit::Microsecond, zone) if what == "max" => {
                let raised = values
                    .as_primitive::<TimestampMicrosecondType>()
                    .unary::<_, TimestampMicrosecondType>(|time| {
                        if time % 1_000 == 0 {
                            time.saturating_add(TIME_CUT_US)
                        } else {
                            time
                        }
                    });
                Some(Arc::new(raised.with_timezone_opt(zone.clone())))
            }
            _ => Some(Arc::clone(values)),
        }
    }
}

/// What the log says of the places of a file's rows.
pub(crate) struct Places<'a> {
    /// The file's path, relative to the table.
    pub(crate) path: &'a str,
    /// Whose rows they are, if all are of one instance.
    pub(crate) instance: Option<String>,
    /// Their lowest place.
    pub(crate) first: Option<Seq>,
    /// Their highest place.
    pub(crate) last: Option<Seq>,
    /// How many they are.
    pub(crate) rows: Option<u64>,
    /// When the file was written, in milliseconds since 1970.
    pub(crate) added_ms: i64,
}

impl Places<'_> {
    /// The one instance whose rows they are, and their highest place. None if there are several, or the log does not say.
    pub(crate) fn one(&self) -> Option<(&str, Seq)> {
        // A name of this length may have been cut.
        let instance = self.instance.as_deref().filter(|name| name.len() < TEXT_CUT_BYTES)?;
        Some((instance, self.last?))
    }
}

fn seq(place: i64) -> Option<Seq> {
    u64::try_from(place).ok().map(Seq::new)
}

/// What the log says of one column in every file.
struct Bounds {
    min: Option<ArrayRef>,
    max: Option<ArrayRef>,
    nulls: Option<UInt64Array>,
    /// The type that queries see.
    kind: DataType,
    exact: bool,
}

impl Bounds {
    fn of(&self, index: usize) -> Result<ColumnStatistics, DataFusionError> {
        let value = |values: &Option<ArrayRef>| -> Result<Precision<ScalarValue>, DataFusionError> {
            let Some(values) = values.as_ref().filter(|values| self.exact && values.is_valid(index)) else {
                return Ok(Precision::Absent);
            };
            let value = ScalarValue::try_from_array(values, index)?;
            Ok(match value.try_as_str().flatten() {
                Some(text) if text.len() >= TEXT_CUT_BYTES => Precision::Absent,
                _ => Precision::Exact(value.cast_to(&self.kind)?),
            })
        };
        let nulls = self.nulls.as_ref().filter(|nulls| nulls.is_valid(index));
        Ok(ColumnStatistics {
            null_count: nulls.map_or(Precision::Absent, |nulls| {
                Precision::Exact(usize::try_from(nulls.value(index)).unwrap_or(usize::MAX))
            }),
            min_value: value(&self.min)?,
            max_value: value(&self.max)?,
            ..ColumnStatistics::new_unknown()
        })
    }
}

/// Whether bounds of this type are those of the values themselves.
fn comparable(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::Int64 | DataType::Date32 | DataType::Timestamp(..) | DataType::Utf8 | DataType::Utf8View
    )
}

/// A stored schema as queries see it: text as views, which the engine groups and compares faster; the partition's column last.
pub(super) fn seen(stored: &Schema, partition: Option<&str>) -> SchemaRef {
    let (mut fields, mut last) = (Vec::new(), Vec::new());
    for field in stored.fields() {
        let kind = match field.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
            other => other.clone(),
        };
        let field = Arc::new(Field::new(field.name(), kind, field.is_nullable()));
        match Some(field.name().as_str()) == partition {
            true => last.push(field),
            false => fields.push(field),
        }
    }
    fields.append(&mut last);
    Arc::new(Schema::new(fields))
}

// === impl PruningStatistics ===

/// The day of a file stands for the times in it, and the other way round, where one of them is not in the log.
const DAY: &str = "start_date";
const TIME: &str = "start_time";
const DAY_US: i64 = 86_400_000_000;

impl Files {
    fn bound(&self, column: &Column, what: &str) -> Option<ArrayRef> {
        let name = column.name.as_str();
        if Some(name) == self.partition() {
            return self.log.column_by_name(&format!("partition.{name}")).cloned();
        }
        self.statistic(what, name).or_else(|| {
            if name != TIME || self.partition() != Some(DAY) {
                return None;
            }
            let days = self.log.column_by_name(&format!("partition.{DAY}"))?;
            let days = days.as_primitive_opt::<Date32Type>()?;
            let offset = if what == "max" { DAY_US - 1 } else { 0 };
            let times = days.unary::<_, Int64Type>(|day| i64::from(day) * DAY_US + offset);
            cast(&times, &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))).ok()
        })
    }
}

impl PruningStatistics for Files {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bound(column, "min")
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bound(column, "max")
    }

    fn num_containers(&self) -> usize {
        self.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        if Some(column.name.as_str()) == self.partition() {
            return Some(Arc::new(UInt64Array::from(vec![0; self.len()])));
        }
        Some(Arc::new(self.counts(&format!("null_count.{}", column.name))?))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.counts("num_records")?))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
