//! Rows as JSON objects: decimals as text so that no reader makes floats of them, instants as RFC 3339, maps as objects. What is null is left out.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Decimal128Array, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef};
use arrow::error::ArrowError;
use arrow::json::writer::{NullableEncoder, make_encoder};
use arrow::json::{Encoder, EncoderFactory, EncoderOptions};
use tollgate_record::Amount;

/// Decimals as text; everything else as arrow writes it.
#[derive(Debug)]
struct Factory;

struct Decimals<'a>(&'a Decimal128Array);

/// Writes each row's object between what `before` and `after` write, which are given the row's place.
///
/// # Errors
/// A column of a type that JSON has no value for.
pub(crate) fn write_objects(
    rows: &RecordBatch,
    out: &mut Vec<u8>,
    mut before: impl FnMut(usize, &mut Vec<u8>),
    mut after: impl FnMut(usize, &mut Vec<u8>),
) -> Result<(), ArrowError> {
    let field: FieldRef = Arc::new(Field::new_struct("row", rows.schema().fields().clone(), false));
    let objects = StructArray::from(rows.clone());
    let options = options();
    let mut encoder = make_encoder(&field, &objects, &options)?;
    for row in 0..rows.num_rows() {
        before(row, out);
        encoder.encode(row, out);
        after(row, out);
    }
    Ok(())
}

/// The cells of a column as JSON, each on its own.
///
/// # Errors
/// As of [`write_objects`].
pub(crate) fn cells(field: &FieldRef, column: &dyn Array) -> Result<Vec<Option<String>>, ArrowError> {
    let options = options();
    let mut encoder = make_encoder(field, column, &options)?;
    let mut cells = Vec::with_capacity(column.len());
    for row in 0..column.len() {
        let mut out = Vec::new();
        if column.is_valid(row) {
            encoder.encode(row, &mut out);
        }
        cells.push(if out.is_empty() { None } else { String::from_utf8(out).ok() });
    }
    Ok(cells)
}

fn options() -> EncoderOptions {
    EncoderOptions::default().with_encoder_factory(Arc::new(Factory))
}

// === impl Factory ===

impl EncoderFactory for Factory {
    fn make_default_encoder<'a>(
        &self,
        _field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        match array.data_type() {
            DataType::Decimal128(_, scale) if i64::from(*scale) == i64::from(Amount::SCALE) => {
                let encoder = Decimals(array.as_primitive::<Decimal128Type>());
                Ok(Some(NullableEncoder::new(Box::new(encoder), array.nulls().cloned())))
            }
            _ => Ok(None),
        }
    }
}

// === impl Decimals ===

impl Encoder for Decimals<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        use std::io::Write as _;
        // The column's type holds no more digits than an amount.
        let amount = Amount::from_units(self.0.value(row)).unwrap_or_default();
        let _ = write!(out, "\"{amount}\"");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::testing;

    #[test]
    fn a_row_is_written_as_it_was_read_but_for_what_it_lacks() {
        let mut out = Vec::new();
        write_objects(&testing::rows_of("gw-1", 2..=2), &mut out, |_, _| (), |_, _| ()).unwrap();
        let (written, mut given): (Value, _) = (serde_json::from_slice(&out).unwrap(), testing::row("gw-1", 2));
        given["start_time"] = "2026-11-01T00:01:00Z".into();
        assert_eq!(written, given);
        // 20 tokens at 2 dollars a million and 2 at 8.
        assert_eq!(written["cost"], "0.000056");
    }
}
