//! Merges sorted files into one sorted stream of batches, holding few rows of each at a time.
//!
//! # Bounds
//! Decoded rows: [`READ_ROWS`] of each input, and those of the output batch being gathered ([`OUT_ROWS`], and what is left of the input
//! batches that they come from). Encoded bytes: one row group of each input.
//!
//! Inputs that are not sorted (files of other programs) lose and double no row; their rows are only spread more widely.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::{cast, interleave_record_batch, kernels::zip::zip};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStream};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use crate::Error;

/// Rows that are decoded of an input at a time.
pub(crate) const READ_ROWS: usize = 1024;
/// Rows of a merged batch.
pub(crate) const OUT_ROWS: usize = 8192;

/// A merge under way.
pub(crate) struct Merge {
    schema: SchemaRef,
    keys: fn(&RecordBatch) -> Result<Vec<ArrayRef>, ArrowError>,
    converter: RowConverter,
    inputs: Vec<Input>,
    /// The next row of each input that has one.
    heads: BinaryHeap<Reverse<(OwnedRow, usize)>>,
    rows: u64,
    rows_held_max: usize,
}

struct Input {
    stream: ParquetRecordBatchStream<Source>,
    /// The batch that is being taken from, its keys, and the next row.
    current: Option<(RecordBatch, Rows, usize)>,
}

/// A file in an object store.
struct Source {
    store: Arc<dyn ObjectStore>,
    path: Path,
    bytes: u64,
}

// === impl Merge ===

impl Merge {
    /// Opens the files; `keys` gives the columns to sort by.
    ///
    /// # Errors
    /// [`Error::Parquet`] if one cannot be read, [`Error::Arrow`] if its columns are not those of `schema`.
    pub(crate) async fn open(
        store: &Arc<dyn ObjectStore>,
        files: Vec<(String, u64)>,
        schema: &SchemaRef,
        keys: fn(&RecordBatch) -> Result<Vec<ArrayRef>, ArrowError>,
    ) -> Result<Self, Error> {
        let sorted_by = keys(&RecordBatch::new_empty(Arc::clone(schema)))?;
        let fields = sorted_by.iter().map(|key| SortField::new(key.data_type().clone())).collect();
        let mut merge = Self {
            schema: Arc::clone(schema),
            keys,
            converter: RowConverter::new(fields)?,
            inputs: Vec::new(),
            heads: BinaryHeap::new(),
            rows: 0,
            rows_held_max: 0,
        };
        for (path, bytes) in files {
            let source = Source {
                store: Arc::clone(store),
                path: Path::parse(&path).map_err(object_store::Error::from)?,
                bytes,
            };
            let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
            let builder = ParquetRecordBatchStreamBuilder::new_with_options(source, options).await?;
            let stream = builder.with_batch_size(READ_ROWS).build()?;
            merge.inputs.push(Input { stream, current: None });
            merge.advance(merge.inputs.len() - 1).await?;
        }
        Ok(merge)
    }

    /// Rows that were given out.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Most rows that were decoded and not yet given out.
    pub(crate) fn rows_held_max(&self) -> usize {
        self.rows_held_max
    }

    /// The next rows, in order; `None` after the last.
    ///
    /// # Errors
    /// As [`Merge::open`].
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        // Batches that rows of the output come from, and for each input the one that it is at.
        let mut batches: Vec<RecordBatch> = Vec::new();
        let mut slots: Vec<Option<usize>> = vec![None; self.inputs.len()];
        let mut places: Vec<(usize, usize)> = Vec::with_capacity(OUT_ROWS);
        while places.len() < OUT_ROWS {
            let Some(Reverse((_, number))) = self.heads.pop() else { break };
            let until = self.heads.peek().map(|Reverse((row, _))| row);
            let input = self.inputs.get_mut(number).ok_or_else(lost)?;
            let (batch, rows, next) = input.current.as_mut().ok_or_else(lost)?;
            let slot = slots.get_mut(number).ok_or_else(lost)?;
            let slot = *slot.get_or_insert_with(|| {
                batches.push(batch.clone());
                batches.len() - 1
            });
            // The rows up to the next one of another input.
            loop {
                places.push((slot, *next));
                *next += 1;
                let ends = *next == batch.num_rows() || places.len() == OUT_ROWS;
                if ends || until.is_some_and(|until| rows.row(*next) > until.row()) {
                    break;
                }
            }
            if *next < batch.num_rows() {
                let head = rows.row(*next).owned();
                self.heads.push(Reverse((head, number)));
            } else {
                input.current = None;
                if let Some(slot) = slots.get_mut(number) {
                    *slot = None;
                }
                self.advance(number).await?;
            }
            let waiting = self.inputs.iter().filter_map(|input| input.current.as_ref());
            let waiting: usize = waiting.map(|(batch, _, next)| batch.num_rows() - next).sum();
            self.rows_held_max = self.rows_held_max.max(waiting + places.len());
        }
        if places.is_empty() {
            return Ok(None);
        }
        self.rows += places.len() as u64;
        let batches: Vec<_> = batches.iter().collect();
        Ok(Some(interleave_record_batch(&batches, &places)?))
    }

    /// Reads an input's next batch, if it has one.
    async fn advance(&mut self, number: usize) -> Result<(), Error> {
        let input = self.inputs.get_mut(number).ok_or_else(lost)?;
        while let Some(batch) = input.stream.try_next().await? {
            if batch.num_rows() == 0 {
                continue;
            }
            let batch = fit(&batch, &self.schema)?;
            let rows = self.converter.convert_columns(&(self.keys)(&batch)?)?;
            self.heads.push(Reverse((rows.row(0).owned(), number)));
            input.current = Some((batch, rows, 0));
            break;
        }
        Ok(())
    }
}

fn lost() -> Error {
    Error::Arrow(ArrowError::ComputeError("a merge lost an input".into()))
}

/// A batch of a file in the table's columns: those that the file was written without are null, and other types of the same meaning are cast.
fn fit(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
        Some(column) => cast(column, field.data_type()),
        None if field.is_nullable() => Ok(new_null_array(field.data_type(), batch.num_rows())),
        None => Err(ArrowError::SchemaError(format!(
            "column {} is missing in a file",
            field.name()
        ))),
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_, _>>()?)
}

/// What files of table `usage` are sorted by, as [`crate::parquet::order`] does; instance and place make it total.
pub(crate) fn usage_keys(batch: &RecordBatch) -> Result<Vec<ArrayRef>, ArrowError> {
    let column = |name: &str| {
        let column = batch.column_by_name(name);
        column
            .cloned()
            .ok_or_else(|| ArrowError::SchemaError(format!("column {name} is missing")))
    };
    let (answered, asked) = (column("response_model")?, column("request_model")?);
    debug_assert_eq!(answered.data_type(), &DataType::Utf8);
    let known = arrow::compute::is_not_null(&answered)?;
    let model = zip(&known, &answered, &asked)?;
    Ok(vec![
        column("team")?,
        model,
        column("start_time")?,
        column("instance")?,
        column("seq")?,
    ])
}

// === impl Source ===

impl AsyncFileReader for Source {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        self.store
            .get_range(&self.path, range)
            .map(|read| read.map_err(failed))
            .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move { self.store.get_ranges(&self.path, &ranges).await.map_err(failed) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        let bytes = self.bytes;
        async move {
            let reader = ParquetMetaDataReader::new().with_prefetch_hint(Some(64 << 10));
            reader.load_and_finish(self, bytes).await.map(Arc::new)
        }
        .boxed()
    }
}

fn failed(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}
