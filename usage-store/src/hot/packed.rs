//! Rows in memory that wait for a table out of reach: as Parquet, in a fraction of the room that columns take.
//!
//! They are still what the log holds and the table does not, and queries read them like any other row, a batch at a time and only the
//! columns that are asked for.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::properties::EnabledStatistics;
use tollgate_record::Seq;

use crate::Error;
use crate::parquet::properties;
use crate::schema::usage_schema;

/// Rows of a batch that is read.
const BATCH_ROWS: usize = 8192;

/// Some rows in the order of their places; cloning is cheap.
#[derive(Clone)]
pub(crate) struct Packed {
    bytes: Bytes,
    rows: usize,
    last_seq: Seq,
}

impl Packed {
    /// Packs rows of table `usage`, of which `last_seq` is the last place.
    ///
    /// # Errors
    /// [`Error::Parquet`] if they do not fit the schema, which would be a defect.
    pub(crate) fn of(batches: &[RecordBatch], last_seq: Seq) -> Result<Self, Error> {
        let properties = properties().set_statistics_enabled(EnabledStatistics::None).build();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, usage_schema(), Some(properties))?;
        for batch in batches {
            writer.write(batch)?;
        }
        writer.close()?;
        bytes.shrink_to_fit();
        Ok(Self {
            bytes: bytes.into(),
            rows: batches.iter().map(RecordBatch::num_rows).sum(),
            last_seq,
        })
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Place of the last row.
    pub(crate) fn last_seq(&self) -> Seq {
        self.last_seq
    }

    /// All rows as columns.
    ///
    /// # Errors
    /// [`Error::Parquet`] or [`Error::Arrow`] if they cannot be read back, which would be a defect.
    pub(crate) fn batches(&self) -> Result<Vec<RecordBatch>, Error> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(self.bytes.clone())?
            .with_batch_size(BATCH_ROWS)
            .build()?;
        Ok(reader.collect::<Result<_, _>>()?)
    }

    fn read(&self, columns: &[usize]) -> Result<ParquetRecordBatchReader, ParquetError> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(self.bytes.clone())?;
        let mask = ProjectionMask::roots(builder.parquet_schema(), columns.iter().copied());
        builder.with_batch_size(BATCH_ROWS).with_projection(mask).build()
    }
}

/// A plan that reads some columns of packed rows, in their order.
///
/// # Errors
/// What the planner says, which would be a defect.
pub(crate) fn plan(packed: &[Packed], columns: &[usize]) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let schema: SchemaRef = Arc::new(usage_schema().project(columns)?);
    let stream = Stream {
        packed: packed.to_vec(),
        columns: columns.to_vec(),
        schema: Arc::clone(&schema),
    };
    let plan = StreamingTableExec::try_new(schema, vec![Arc::new(stream)], None, None, false, None)?;
    Ok(Arc::new(plan))
}

/// Packed rows as a stream of batches.
struct Stream {
    packed: Vec<Packed>,
    columns: Vec<usize>,
    schema: SchemaRef,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: usize = self.packed.iter().map(Packed::rows).sum();
        write!(f, "Packed({rows} rows)")
    }
}

impl PartitionStream for Stream {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = Arc::clone(&self.schema);
        let columns = self.columns.clone();
        let batches = self.packed.clone().into_iter().flat_map(move |packed| {
            let (first, error) = match packed.read(&columns) {
                Ok(reader) => (Some(reader), None),
                Err(error) => (None, Some(Err(error.into()))),
            };
            first
                .into_iter()
                .flatten()
                .map(|batch| batch.map_err(DataFusionError::from))
                .chain(error)
        });
        let fitted = {
            let schema = Arc::clone(&schema);
            batches.map(move |batch| batch.and_then(|batch| fit(&batch, &schema)))
        };
        Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(fitted)))
    }
}

/// A batch's columns in the order of a schema: files give them in their own.
fn fit(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, DataFusionError> {
    let places = |schema: &Schema, found: &Schema| {
        let names = schema.fields().iter().map(|field| found.index_of(field.name()));
        names.collect::<Result<Vec<_>, _>>()
    };
    let columns = places(schema, batch.schema_ref())?;
    let columns = columns.into_iter().map(|place| Arc::clone(batch.column(place))).collect();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::record;
    use crate::usage_batch;

    fn batch(seqs: std::ops::RangeInclusive<u64>) -> RecordBatch {
        let records: Vec<_> = seqs.map(record).collect();
        usage_batch(&records).unwrap()
    }

    #[test]
    fn packed_rows_come_back_as_they_were() {
        let rows = [batch(1..=300), batch(301..=700)];
        let packed = Packed::of(&rows, Seq::new(700)).unwrap();
        assert_eq!((packed.rows(), packed.last_seq()), (700, Seq::new(700)));
        let whole = |batches: &[RecordBatch]| arrow::compute::concat_batches(&usage_schema(), batches).unwrap();
        assert_eq!(whole(&packed.batches().unwrap()), whole(&rows));
    }

    #[tokio::test]
    async fn columns_are_read_in_the_order_that_is_asked_for_and_none_if_none_is() {
        let packed = [
            Packed::of(&[batch(1..=3)], Seq::new(3)).unwrap(),
            Packed::of(&[batch(4..=5)], Seq::new(5)).unwrap(),
        ];
        let schema = usage_schema();
        let columns = ["team", "call_id"].map(|name| schema.index_of(name).unwrap());
        let context = Arc::new(TaskContext::default());
        let read = datafusion::physical_plan::collect(plan(&packed, &columns).unwrap(), Arc::clone(&context))
            .await
            .unwrap();
        let all = batch(1..=5).project(&columns).unwrap();
        assert_eq!(arrow::compute::concat_batches(&all.schema(), &read).unwrap(), all);
        let counted = datafusion::physical_plan::collect(plan(&packed, &[]).unwrap(), context)
            .await
            .unwrap();
        assert_eq!(counted.iter().map(RecordBatch::num_rows).sum::<usize>(), 5);
    }
}
