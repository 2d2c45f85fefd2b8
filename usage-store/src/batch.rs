//! Rows into columns.

use std::borrow::Borrow;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanBuilder, Date32Builder, Decimal128Builder, Int64Builder, ListArray, MapBuilder, MapFieldNames,
    NullBufferBuilder, RecordBatch, StringArray, StringBuilder, StructArray, TimestampMicrosecondBuilder,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Fields, Int64Type};
use arrow::error::ArrowError;
use tollgate_record::column::{Column, Kind, USAGE, Value};
use tollgate_record::{Charge, Decision, Record, Seq};

use crate::schema::{DECIMAL, charge_fields, decision_fields, element, usage_schema};

/// Makes a batch of table `usage` from records, in their order.
///
/// # Errors
/// [`ArrowError`] if the columns do not fit the schema, which would be a defect.
pub fn usage_batch<R: Borrow<Record>>(records: &[R]) -> Result<RecordBatch, ArrowError> {
    RecordBatch::try_new(usage_schema(), columns_of(USAGE, records)?)
}

/// Some columns of records.
///
/// # Errors
/// As [`usage_batch`].
pub(crate) fn columns_of<R: Borrow<Record>, C: Borrow<Column>>(columns: &[C], records: &[R]) -> Result<Vec<ArrayRef>, ArrowError> {
    let mut texts = Texts::default();
    columns
        .iter()
        .map(|column| array(column.borrow(), records, &mut texts))
        .collect()
}

/// A text column on its way: the same room for one column after the other, so that the array takes no more than it needs for as long
/// as the rows are hot.
#[derive(Default)]
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<i32>,
}

impl Texts {
    fn array<'a>(&mut self, rows: usize, values: impl Iterator<Item = Value<'a>>) -> Result<ArrayRef, ArrowError> {
        self.bytes.clear();
        self.ends.clear();
        self.ends.push(0);
        let mut nulls = NullBufferBuilder::new(rows);
        let mut buffer = uuid::Uuid::encode_buffer();
        for value in values {
            let text = match value {
                Value::Text(text) => Some(text),
                Value::Uuid(id) => Some(&*id.hyphenated().encode_lower(&mut buffer)),
                _ => None,
            };
            self.bytes.extend_from_slice(text.unwrap_or_default().as_bytes());
            nulls.append(text.is_some());
            let end = i32::try_from(self.bytes.len()).map_err(|_| ArrowError::OffsetOverflowError(self.bytes.len()))?;
            self.ends.push(end);
        }
        let ends = OffsetBuffer::new(ScalarBuffer::from(self.ends.clone()));
        let bytes = Buffer::from(self.bytes.as_slice());
        Ok(Arc::new(StringArray::try_new(ends, bytes, nulls.finish())?))
    }
}

fn array<R: Borrow<Record>>(column: &Column, records: &[R], texts: &mut Texts) -> Result<ArrayRef, ArrowError> {
    let values = records.iter().map(|record| (column.value)(record.borrow()));
    let rows = records.len();
    Ok(match column.kind {
        Kind::Text => texts.array(rows, values)?,
        Kind::Int => {
            let mut builder = Int64Builder::with_capacity(rows);
            values.for_each(|value| builder.append_option(if let Value::Int(count) = value { Some(count) } else { None }));
            Arc::new(builder.finish())
        }
        Kind::Bool => {
            let mut builder = BooleanBuilder::with_capacity(rows);
            values.for_each(|value| builder.append_option(if let Value::Bool(flag) = value { Some(flag) } else { None }));
            Arc::new(builder.finish())
        }
        Kind::Decimal => {
            let mut builder = Decimal128Builder::with_capacity(rows).with_data_type(DECIMAL);
            values.for_each(|value| {
                builder.append_option(if let Value::Decimal(amount) = value {
                    Some(amount.units())
                } else {
                    None
                });
            });
            Arc::new(builder.finish())
        }
        Kind::Timestamp => {
            let mut builder = TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC");
            values.for_each(|value| {
                builder.append_option(if let Value::Timestamp(time) = value {
                    Some(time.unix_us())
                } else {
                    None
                });
            });
            Arc::new(builder.finish())
        }
        Kind::Date => {
            let mut builder = Date32Builder::with_capacity(rows);
            values.for_each(|value| builder.append_option(if let Value::Date(day) = value { Some(day) } else { None }));
            Arc::new(builder.finish())
        }
        Kind::Map => tags(values)?,
        Kind::Decisions => decisions(values)?,
        Kind::Charges => charges(values)?,
    })
}

pub(crate) fn tags<'a>(values: impl Iterator<Item = Value<'a>>) -> Result<ArrayRef, ArrowError> {
    let names = MapFieldNames {
        entry: "key_value".into(),
        key: "key".into(),
        value: "value".into(),
    };
    let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new()).with_values_field(Field::new(
        "value",
        DataType::Utf8,
        false,
    ));
    for value in values {
        if let Value::Map(tags) = value {
            for (key, value) in tags.iter() {
                builder.keys().append_value(key);
                builder.values().append_value(value);
            }
        }
        builder.append(true)?;
    }
    Ok(Arc::new(builder.finish()))
}

/// A column of lists of decisions.
pub(crate) fn decisions<'a>(values: impl Iterator<Item = Value<'a>> + Clone) -> Result<ArrayRef, ArrowError> {
    let count = values
        .clone()
        .map(|value| if let Value::Decisions(list) = value { list.len() } else { 0 })
        .sum();
    let text = || StringBuilder::with_capacity(count, count * 16);
    let (mut policy, mut action, mut detail) = (text(), text(), text());
    let mut lengths = Vec::new();
    for value in values {
        let list: &[Decision] = if let Value::Decisions(list) = value { list } else { &[] };
        for decision in list {
            policy.append_value(&decision.policy);
            action.append_value(&decision.action);
            detail.append_option(decision.detail.as_deref());
        }
        lengths.push(list.len());
    }
    let items: Vec<ArrayRef> = vec![
        Arc::new(policy.finish()),
        Arc::new(action.finish()),
        Arc::new(detail.finish()),
    ];
    list(decision_fields(), items, lengths)
}

/// A column of lists of charges.
pub(crate) fn charges<'a>(values: impl Iterator<Item = Value<'a>> + Clone) -> Result<ArrayRef, ArrowError> {
    let count = values
        .clone()
        .map(|value| if let Value::Charges(list) = value { list.len() } else { 0 })
        .sum();
    let decimal = || Decimal128Builder::with_capacity(count).with_data_type(DECIMAL);
    let text = || StringBuilder::with_capacity(count, count * 8);
    let (mut meter, mut unit) = (text(), text());
    let (mut quantity, mut unit_price, mut amount) = (decimal(), decimal(), decimal());
    let mut lengths = Vec::new();
    for value in values {
        let list: &[Charge] = if let Value::Charges(list) = value { list } else { &[] };
        for charge in list {
            meter.append_value(charge.meter_text());
            quantity.append_value(charge.quantity.units());
            unit.append_value(charge.meter.unit());
            unit_price.append_option(charge.unit_price.map(|price| price.units()));
            amount.append_option(charge.amount.map(|amount| amount.units()));
        }
        lengths.push(list.len());
    }
    let items: Vec<ArrayRef> = vec![
        Arc::new(meter.finish()),
        Arc::new(quantity.finish()),
        Arc::new(unit.finish()),
        Arc::new(unit_price.finish()),
        Arc::new(amount.finish()),
    ];
    list(charge_fields(), items, lengths)
}

/// A column of lists of structs: the fields of all items in a row, and how many items each row has.
fn list(fields: Fields, items: Vec<ArrayRef>, lengths: Vec<usize>) -> Result<ArrayRef, ArrowError> {
    let items = StructArray::try_new(fields.clone(), items, None)?;
    Ok(Arc::new(ListArray::try_new(
        element(fields),
        OffsetBuffer::from_lengths(lengths),
        Arc::new(items),
        None,
    )?))
}

/// The rows behind a place; rows must be in the order of their places.
///
/// # Errors
/// If there is no column `seq`, which would be a defect.
pub(crate) fn rows_after(batch: &RecordBatch, place: Seq) -> Result<RecordBatch, ArrowError> {
    let place = i64::try_from(place.get()).unwrap_or(i64::MAX);
    let column = batch.schema().index_of("seq")?;
    let seqs = batch.column(column).as_primitive::<Int64Type>();
    let known = seqs.values().partition_point(|seq| *seq <= place);
    Ok(batch.slice(known, batch.num_rows() - known))
}
