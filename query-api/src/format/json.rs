//! JSON: decimals as text, so that no reader makes floats of them; instants as RFC 3339; bytes as hexadecimal; maps as objects; nulls written out.
//!
//! Instants are written in the zone of their column: `Z` for UTC, an offset for a named zone, nothing for a timestamp without one.
//! Whole numbers are JSON numbers, also beyond 2^53. NaN and infinities, which JSON lacks, are null.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StructArray, new_empty_array};
use arrow::datatypes::{Field, FieldRef, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::{NullableEncoder, make_encoder};
use arrow::json::{Encoder, EncoderFactory, EncoderOptions};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{Writer, defect};
use crate::Error;

/// Decimals as text; everything else as arrow writes it.
#[derive(Debug)]
struct Factory;

impl EncoderFactory for Factory {
    fn make_default_encoder<'a>(
        &self,
        _field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        if !array.data_type().is_decimal() {
            return Ok(None);
        }
        let formatter = ArrayFormatter::try_new(array, &FormatOptions::new())?;
        Ok(Some(NullableEncoder::new(Box::new(Text(formatter)), array.nulls().cloned())))
    }
}

struct Text<'a>(ArrayFormatter<'a>);

impl Encoder for Text<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        out.push(b'"');
        out.extend_from_slice(self.0.value(row).to_string().as_bytes());
        out.push(b'"');
    }
}

/// The options of every encoder here.
pub(super) fn options() -> EncoderOptions {
    EncoderOptions::default()
        .with_explicit_nulls(true)
        .with_encoder_factory(Arc::new(Factory))
}

/// Whether JSON has a value for every value of this type.
pub(super) fn supports(field: &FieldRef) -> Result<(), ArrowError> {
    let empty: ArrayRef = new_empty_array(field.data_type());
    make_encoder(field, empty.as_ref(), &options()).map(drop)
}

pub(super) struct Json {
    row: FieldRef,
    options: EncoderOptions,
    array: bool,
    empty: bool,
}

impl Json {
    pub(super) fn array(schema: &SchemaRef) -> Result<Self, ArrowError> {
        Self::new(schema, true)
    }

    pub(super) fn lines(schema: &SchemaRef) -> Result<Self, ArrowError> {
        Self::new(schema, false)
    }

    fn new(schema: &SchemaRef, array: bool) -> Result<Self, ArrowError> {
        schema.fields().iter().try_for_each(supports)?;
        let row = Arc::new(Field::new_struct("row", schema.fields().clone(), false));
        Ok(Self {
            row,
            options: options(),
            array,
            empty: true,
        })
    }
}

impl Writer for Json {
    fn write(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Error> {
        let objects = StructArray::from(rows.clone());
        let mut encoder = make_encoder(&self.row, &objects, &self.options).map_err(defect)?;
        for row in 0..rows.num_rows() {
            if self.array {
                out.extend_from_slice(if self.empty { b"[" } else { b",\n" });
            }
            self.empty = false;
            encoder.encode(row, out);
            if !self.array {
                out.push(b'\n');
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        if self.array {
            out.extend_from_slice(if self.empty { b"[]\n" } else { b"]\n" });
        }
        Ok(())
    }
}
