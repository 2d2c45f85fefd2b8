//! Rows as Parquet: in which order they lie in a file, and how each column is encoded.
//!
//! Every choice here was measured (`cargo bench -p tollgate-usage-store --bench parquet`, BENCHMARKS.md, section "Parquet"). It writes no
//! file and knows no table: bytes come out, the table takes them.
//!
//! # Order
//! Rows are sorted by team, then by model (the one that answered, else the one that was asked for), then by start time. Files cover a
//! stretch of time each, so time prunes files by their statistics, and team and model prune row groups and pages inside.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, Date32Type, Field, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

use crate::schema::{PARTITION, usage_schema};

/// Rows of a row group: a filter by team reads a part of a file only, and a writer holds about ten megabytes.
pub const ROW_GROUP_ROWS: usize = 131_072;

/// Rows of a page at most: what a filter on the first columns of the order reads beyond what it needs.
pub const PAGE_ROWS: usize = 8192;

/// Columns of ids, whose values hardly repeat: neighbours share a prefix, the time.
pub const IDS: &[&[&str]] = &[&["call_id"], &["request_id"]];

/// Columns of counts and times, whose values hardly repeat.
pub const MEASURES: &[&[&str]] = &[
    &["seq"],
    &["start_time"],
    &["duration_us"],
    &["time_to_first_token_us"],
    &["gateway_overhead_us"],
    &["request_bytes"],
    &["response_bytes"],
    &["input_tokens"],
    &["output_tokens"],
];

/// Columns of amounts, whose values hardly repeat; unit prices do.
pub const DECIMALS: &[&[&str]] = &[
    &["cost"],
    &["list_cost"],
    &["charges", "list", "element", "quantity"],
    &["charges", "list", "element", "amount"],
];

/// Columns that no query leaves rows out by: their bounds would cost more than they spare.
pub const UNBOUNDED: &[&[&str]] = &[
    &["upstream"],
    &["usage_source"],
    &["price_version"],
    &["tags", "key_value", "key"],
    &["tags", "key_value", "value"],
    &["decisions", "list", "element", "policy"],
    &["decisions", "list", "element", "action"],
    &["decisions", "list", "element", "detail"],
    &["charges", "list", "element", "meter"],
    &["charges", "list", "element", "quantity"],
    &["charges", "list", "element", "unit"],
    &["charges", "list", "element", "unit_price"],
    &["charges", "list", "element", "amount"],
];

/// A file in memory.
#[derive(Debug)]
pub struct Encoded {
    /// The file.
    pub bytes: Bytes,
    /// What its footer says.
    pub metadata: ParquetMetaData,
}

/// The rows of one day, in order: their places among all rows of the batches.
#[derive(Debug)]
pub struct Day {
    /// Days since 1970-01-01, UTC.
    pub day: i32,
    /// Places, counted through all batches.
    pub places: Vec<u32>,
}

/// The columns of table `usage` that stand in its files: all but the partition's.
pub fn file_schema() -> SchemaRef {
    let fields: Vec<_> = usage_schema()
        .fields()
        .iter()
        .filter(|field| field.name() != PARTITION)
        .cloned()
        .collect();
    Arc::new(Schema::new(fields))
}

/// How the columns of table `usage` are encoded: ids, counts and times by what differs from the neighbour's, amounts plain, all else by
/// dictionary; then zstd at level 1. Of the alternatives none is smaller and as fast (BENCHMARKS.md, "Parquet"), but for splitting counts
/// into streams of bytes, which readers before 2024 cannot read. Bloom filters of ids would cost two bytes a row each, and the log's bounds of `call_id`, which begins with the time, find a call's file.
pub fn properties() -> WriterPropertiesBuilder {
    let mut builder = WriterProperties::builder()
        .set_created_by(format!("tollgate {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(1024)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_statistics_truncate_length(None);
    let encodings = [
        (IDS, Encoding::DELTA_BYTE_ARRAY),
        (MEASURES, Encoding::DELTA_BINARY_PACKED),
        (DECIMALS, Encoding::PLAIN),
    ];
    let path = |parts: &[&str]| ColumnPath::new(parts.iter().map(|part| (*part).to_owned()).collect());
    for parts in UNBOUNDED {
        builder = builder.set_column_statistics_enabled(path(parts), EnabledStatistics::None);
    }
    for (columns, encoding) in encodings {
        for parts in columns {
            let column = path(parts);
            builder = builder
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, encoding);
        }
    }
    builder
}

/// Puts the rows of some batches in the order in which they lie in files: a list per day, days ascending.
///
/// # Errors
/// [`ArrowError`] if the batches are not of table `usage`, or have more than 2^32 rows.
pub fn order(batches: &[RecordBatch]) -> Result<Vec<Day>, ArrowError> {
    let mut keys = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    let (mut teams, mut models) = (Ranks::default(), Ranks::default());
    for batch in batches {
        let text = |name: &str| column(batch, name).map(|array| array.as_string::<i32>());
        let (team, answered, asked) = (text("team")?, text("response_model")?, text("request_model")?);
        let day = column(batch, PARTITION)?.as_primitive::<Date32Type>();
        let start = column(batch, "start_time")?.as_primitive::<TimestampMicrosecondType>();
        for row in 0..batch.num_rows() {
            let model = if answered.is_valid(row) { answered } else { asked };
            let place = u32::try_from(keys.len()).map_err(|_| ArrowError::InvalidArgumentError("too many rows at once".into()))?;
            keys.push(Key {
                day: day.value(row),
                team: teams.number(team.is_valid(row).then(|| team.value(row))),
                model: models.number(model.is_valid(row).then(|| model.value(row))),
                start: start.value(row),
                place,
            });
        }
    }
    let (teams, models) = (teams.ranks(), models.ranks());
    for key in &mut keys {
        key.team = rank(&teams, key.team);
        key.model = rank(&models, key.model);
    }
    keys.sort_unstable();
    let days = keys.chunk_by(|left, right| left.day == right.day).filter_map(|keys| {
        let day = keys.first()?.day;
        let places = keys.iter().map(|key| key.place).collect();
        Some(Day { day, places })
    });
    Ok(days.collect())
}

/// Where a row goes. The place comes last, so that the order is total.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    day: i32,
    team: u32,
    model: u32,
    start: i64,
    place: u32,
}

/// Numbers for texts in order of their appearance; a missing one is number 0.
#[derive(Default)]
struct Ranks<'a> {
    numbers: HashMap<&'a str, u32>,
    /// Neighbours are often the same.
    last: Option<(&'a str, u32)>,
}

impl<'a> Ranks<'a> {
    fn number(&mut self, text: Option<&'a str>) -> u32 {
        let Some(text) = text else { return 0 };
        if let Some((last, number)) = self.last
            && last == text
        {
            return number;
        }
        let next = u32::try_from(self.numbers.len() + 1).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(text).or_insert(next);
        self.last = Some((text, number));
        number
    }

    /// The rank of each number among the texts, sorted by bytes.
    fn ranks(&self) -> Vec<u32> {
        let mut sorted: Vec<_> = self.numbers.iter().collect();
        sorted.sort_unstable();
        let mut ranks = vec![0; sorted.len() + 1];
        for (rank, (_, number)) in (1..).zip(sorted) {
            if let Some(slot) = ranks.get_mut(*number as usize) {
                *slot = rank;
            }
        }
        ranks
    }
}

fn rank(ranks: &[u32], number: u32) -> u32 {
    ranks.get(number as usize).copied().unwrap_or(0)
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    batch
        .column_by_name(name)
        .ok_or_else(|| ArrowError::SchemaError(format!("column {name} is missing")))
}

/// Encodes rows of some batches, given by their places, as one file.
///
/// Column after column, a page's rows at a time: what is gathered stays in the processor's cache until it is encoded. So beside the
/// batches only one column, a page of it and the encoded bytes are held.
///
/// # Errors
/// [`ParquetError`] if a column does not fit `schema`, which would be a defect.
pub fn encode(
    batches: &[RecordBatch],
    places: &[u32],
    schema: &SchemaRef,
    properties: WriterPropertiesPtr,
) -> Result<Encoded, ParquetError> {
    let parquet_schema = ArrowSchemaConverter::new().convert(schema)?;
    let mut bytes = Vec::new();
    let mut file = SerializedFileWriter::new(&mut bytes, parquet_schema.root_schema_ptr(), properties)?;
    let factory = ArrowRowGroupWriterFactory::new(&file, Arc::clone(schema));
    let page = |places: &[u32]| UInt32Array::from(places.to_vec());
    let mut groups = places
        .chunks(ROW_GROUP_ROWS)
        .enumerate()
        .map(|(number, places)| {
            Ok(Group {
                pages: places.chunks(PAGE_ROWS).map(page).collect(),
                writers: factory.create_column_writers(number)?.into_iter(),
                chunks: Vec::new(),
            })
        })
        .collect::<Result<Vec<_>, ParquetError>>()?;
    for field in schema.fields() {
        let parts = batches.iter().map(|batch| column(batch, field.name()).map(AsRef::as_ref));
        let parts = parts.collect::<Result<Vec<&dyn Array>, _>>()?;
        let missing = parts.iter().all(|part| part.null_count() == part.len());
        let rows = if missing { None } else { Some(concat(&parts)?) };
        for group in &mut groups {
            group.write(field, rows.as_ref())?;
        }
    }
    for Group { chunks, .. } in groups {
        let mut group = file.next_row_group()?;
        for chunk in chunks {
            chunk.append_to_row_group(&mut group)?;
        }
        group.close()?;
    }
    let metadata = file.close()?;
    Ok(Encoded {
        bytes: bytes.into(),
        metadata,
    })
}

/// A row group on its way.
struct Group {
    /// Places of the rows of each page.
    pages: Vec<UInt32Array>,
    writers: std::vec::IntoIter<ArrowColumnWriter>,
    chunks: Vec<ArrowColumnChunk>,
}

impl Group {
    /// Encodes the group's rows of a column; `None` is a column of nulls.
    fn write(&mut self, field: &Field, column: Option<&ArrayRef>) -> Result<(), ParquetError> {
        let mut own: Vec<ArrowColumnWriter> = Vec::new();
        for places in &self.pages {
            let leaves = compute_leaves(field, &page(field, column, places)?)?;
            if own.is_empty() {
                own.extend(self.writers.by_ref().take(leaves.len()));
            }
            if own.len() != leaves.len() {
                return Err(ParquetError::General("a column has more leaves than the schema says".into()));
            }
            for (writer, leaf) in own.iter_mut().zip(&leaves) {
                writer.write(leaf)?;
            }
        }
        for writer in own {
            self.chunks.push(writer.close()?);
        }
        Ok(())
    }
}

/// Some rows of a column. Text is not copied: rows stand for it by their places, which the encoder looks up one by one anyway.
fn page(field: &Field, column: Option<&ArrayRef>, places: &UInt32Array) -> Result<ArrayRef, ArrowError> {
    Ok(match column {
        None => new_null_array(field.data_type(), places.len()),
        Some(text) if text.data_type() == &DataType::Utf8 => Arc::new(DictionaryArray::try_new(places.clone(), Arc::clone(text))?),
        Some(values) => take(values, places, None)?,
    })
}
