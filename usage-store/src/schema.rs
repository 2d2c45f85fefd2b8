//! The Arrow schema of table `usage`, made from the columns that the record declares.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use tollgate_record::Amount;
use tollgate_record::column::{Kind, USAGE};

/// The column that the table is partitioned by.
pub(crate) const PARTITION: &str = "start_date";

/// The type of every amount.
pub(crate) const DECIMAL: DataType = DataType::Decimal128(Amount::PRECISION, Amount::SCALE as i8);

/// The Arrow schema of table `usage`, columns in the order of [`USAGE`].
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

/// The Arrow type of a kind. Names inside maps and lists are those that Delta Lake's Parquet files use.
pub(crate) fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Text => DataType::Utf8,
        Kind::Int => DataType::Int64,
        Kind::Bool => DataType::Boolean,
        Kind::Decimal => DECIMAL,
        Kind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Kind::Date => DataType::Date32,
        Kind::Map => DataType::Map(
            Arc::new(Field::new("key_value", DataType::Struct(map_fields()), false)),
            false,
        ),
        Kind::Decisions => DataType::List(element(decision_fields())),
        Kind::Charges => DataType::List(element(charge_fields())),
    }
}

pub(crate) fn element(fields: Fields) -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Struct(fields), false))
}

fn map_fields() -> Fields {
    Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Utf8, false),
    ])
}

pub(crate) fn decision_fields() -> Fields {
    Fields::from(vec![
        Field::new("policy", DataType::Utf8, false),
        Field::new("action", DataType::Utf8, false),
        Field::new("detail", DataType::Utf8, true),
    ])
}

pub(crate) fn charge_fields() -> Fields {
    Fields::from(vec![
        Field::new("meter", DataType::Utf8, false),
        Field::new("quantity", DECIMAL, false),
        Field::new("unit", DataType::Utf8, false),
        Field::new("unit_price", DECIMAL, true),
        Field::new("amount", DECIMAL, true),
    ])
}
