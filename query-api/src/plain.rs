//! Types that every reader has: text and bytes as Arrow has had them from the start, in place of its newer view types.
//!
//! DataFusion can do the same in its plans (`expand_views_at_output`), but puts the cast above the sort, and then hands out
//! rows of several partitions without regard to their order.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;

/// A schema without view types, at any depth.
pub(crate) fn schema(schema: &Schema) -> SchemaRef {
    let fields: Vec<_> = schema.fields().iter().map(field).collect();
    Arc::new(Schema::new(fields))
}

fn field(field: &FieldRef) -> FieldRef {
    let plain = data_type(field.data_type());
    // Metadata is left behind: it is the storage's, and readers take some of it for instructions.
    Arc::new(Field::new(field.name(), plain, field.is_nullable()))
}

fn data_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(item) => DataType::List(field(item)),
        DataType::LargeList(item) => DataType::LargeList(field(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(field(item), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
        DataType::Map(entries, sorted) => DataType::Map(field(entries), *sorted),
        other => other.clone(),
    }
}

/// The batch in a schema that [`schema`] made from its own.
///
/// # Errors
/// [`ArrowError`] if a column's text exceeds 2 GiB, or the batch is not of the schema.
pub(crate) fn batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| match column.data_type() == field.data_type() {
        true => Ok(Arc::clone(column)),
        false => cast(column, field.data_type()),
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_, _>>()?)
}
