//! The Arrow types of table `usage`, and rows brought to them.

use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use tollgate_record::Amount;
use tollgate_record::column::{Kind, USAGE};

/// The type of every amount.
const DECIMAL: DataType = DataType::Decimal128(Amount::PRECISION, Amount::SCALE as i8);

/// The schema of what a [`crate::Source`] reads: the columns of table `usage`, in order, as the ledger stores them.
pub fn usage_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let fields: Vec<_> = USAGE
            .iter()
            .map(|column| Field::new(column.name, data_type(column.kind), column.nullable))
            .collect();
        Arc::new(Schema::new(fields))
    });
    Arc::clone(&SCHEMA)
}

/// Brings rows to [`usage_schema`], whatever encoding (dictionary, view) the engine read them in.
///
/// # Errors
/// A column that is missing or of another kind.
pub(crate) fn as_usage(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = usage_schema();
    if rows.schema_ref() == &schema {
        return Ok(rows.clone());
    }
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            let column = rows
                .column_by_name(field.name())
                .ok_or_else(|| ArrowError::SchemaError(format!("the ledger's rows lack column `{}`", field.name())))?;
            cast(column, field.data_type())
        })
        .collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema, columns)
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Text => DataType::Utf8,
        Kind::Int => DataType::Int64,
        Kind::Bool => DataType::Boolean,
        Kind::Decimal => DECIMAL,
        Kind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Kind::Date => DataType::Date32,
        Kind::Map => {
            let entry = Fields::from(vec![
                Field::new("key", DataType::Utf8, false),
                Field::new("value", DataType::Utf8, false),
            ]);
            DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entry), false)), false)
        }
        Kind::Decisions => list(vec![
            Field::new("policy", DataType::Utf8, false),
            Field::new("action", DataType::Utf8, false),
            Field::new("detail", DataType::Utf8, true),
        ]),
        Kind::Charges => list(vec![
            Field::new("meter", DataType::Utf8, false),
            Field::new("quantity", DECIMAL, false),
            Field::new("unit", DataType::Utf8, false),
            Field::new("unit_price", DECIMAL, true),
            Field::new("amount", DECIMAL, true),
        ]),
    }
}

fn list(fields: Vec<Field>) -> DataType {
    DataType::List(Arc::new(Field::new("element", DataType::Struct(Fields::from(fields)), false)))
}
