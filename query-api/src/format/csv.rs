//! CSV as RFC 4180 has it, lines ending in `\n`. Null is an empty field, empty text is `""`; what is nested is JSON.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{FieldRef, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::EncoderOptions;
use arrow::json::writer::{NullableEncoder, make_encoder};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{Writer, defect, json};
use crate::Error;

/// One column's values as text.
pub(super) enum Cells<'a> {
    Plain(ArrayFormatter<'a>),
    Nested(NullableEncoder<'a>),
}

impl<'a> Cells<'a> {
    pub(super) fn new(field: &'a FieldRef, array: &'a dyn Array, options: &'a EncoderOptions) -> Result<Self, ArrowError> {
        if array.data_type().is_nested() {
            return make_encoder(field, array, options).map(Self::Nested);
        }
        ArrayFormatter::try_new(array, &FormatOptions::new()).map(Self::Plain)
    }

    pub(super) fn text(&mut self, row: usize) -> String {
        match self {
            Self::Plain(formatter) => formatter.value(row).to_string(),
            Self::Nested(encoder) => {
                let mut bytes = Vec::new();
                encoder.encode(row, &mut bytes);
                String::from_utf8_lossy(&bytes).into_owned()
            }
        }
    }
}

/// Whether every column can be written as text.
pub(super) fn supports(schema: &SchemaRef) -> Result<(), ArrowError> {
    schema
        .fields()
        .iter()
        .filter(|field| field.data_type().is_nested())
        .try_for_each(json::supports)
}

/// Calls `cell` with every value, row by row; null is `None`.
pub(super) fn cells(rows: &RecordBatch, options: &EncoderOptions, mut cell: impl FnMut(usize, Option<&str>)) -> Result<(), Error> {
    let schema = rows.schema();
    let nulls: Vec<_> = rows.columns().iter().map(|column| column.logical_nulls()).collect();
    let columns = schema.fields().iter().zip(rows.columns());
    let mut columns = columns
        .map(|(field, column)| Cells::new(field, column.as_ref(), options))
        .collect::<Result<Vec<_>, _>>()
        .map_err(defect)?;
    for row in 0..rows.num_rows() {
        for (index, (column, nulls)) in columns.iter_mut().zip(&nulls).enumerate() {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                cell(index, None);
            } else {
                cell(index, Some(&column.text(row)));
            }
        }
    }
    Ok(())
}

pub(super) struct Csv {
    header: Option<Vec<String>>,
    options: EncoderOptions,
}

impl Csv {
    pub(super) fn new(schema: &SchemaRef) -> Result<Self, ArrowError> {
        supports(schema)?;
        let header = schema.fields().iter().map(|field| field.name().clone()).collect();
        Ok(Self {
            header: Some(header),
            options: json::options(),
        })
    }

    fn head(&mut self, out: &mut Vec<u8>) {
        if let Some(names) = self.header.take() {
            for (index, name) in names.iter().enumerate() {
                field(index, Some(name), out);
            }
            out.push(b'\n');
        }
    }
}

fn field(index: usize, text: Option<&str>, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
    let Some(text) = text else { return };
    let plain = !text.is_empty() && !text.starts_with(' ') && !text.ends_with(' ') && !text.contains(['"', ',', '\n', '\r']);
    if plain {
        out.extend_from_slice(text.as_bytes());
    } else {
        out.push(b'"');
        out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
        out.push(b'"');
    }
}

impl Writer for Csv {
    fn write(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Error> {
        self.head(out);
        let last = rows.num_columns().saturating_sub(1);
        cells(rows, &self.options, |index, text| {
            // A row of one null would be an empty line, which readers skip.
            field(index, if last == 0 { Some(text.unwrap_or_default()) } else { text }, out);
            if index == last {
                out.push(b'\n');
            }
        })
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.head(out);
        Ok(())
    }
}
