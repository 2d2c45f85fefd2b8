//! Rows as files.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::focus;
use crate::json;

/// The form of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Parquet, zstd; columns and types of table `usage`.
    #[default]
    Parquet,
    /// CSV with a header (RFC 4180); columns of table `usage`, with maps and lists as JSON. What is null is empty.
    Csv,
    /// A JSON object a line, decimals as text. What is null is left out.
    Ndjson,
    /// CSV of FOCUS 1.2, a line for each charge.
    Focus,
}

/// A file that could not be made of rows.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EncodeError {
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
    #[error(transparent)]
    Parquet(#[from] parquet::errors::ParquetError),
    #[error(transparent)]
    Csv(#[from] csv::Error),
    #[error(transparent)]
    Amount(#[from] tollgate_record::AmountError),
}

/// A file in memory.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) bytes: Bytes,
    /// Lines behind the header: rows, but of FOCUS charges.
    pub(crate) lines: usize,
}

// === impl Format ===

impl Format {
    /// The end of a file's name.
    pub const fn ext(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Focus => "focus.csv",
        }
    }

    /// The word for it in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Focus => "focus-1.2",
        }
    }

    /// A file of rows.
    pub(crate) fn encode(self, rows: &RecordBatch) -> Result<Encoded, EncodeError> {
        let (bytes, lines) = match self {
            Self::Parquet => (parquet(rows)?, rows.num_rows()),
            Self::Csv => (csv(rows)?, rows.num_rows()),
            Self::Ndjson => {
                let mut out = Vec::new();
                json::write_objects(rows, &mut out, |_, _| (), |_, out| out.push(b'\n'))?;
                (out, rows.num_rows())
            }
            Self::Focus => focus::encode(rows)?,
        };
        Ok(Encoded {
            bytes: bytes.into(),
            lines,
        })
    }
}

fn parquet(rows: &RecordBatch) -> Result<Vec<u8>, EncodeError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .build();
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, rows.schema(), Some(properties))?;
    writer.write(rows)?;
    writer.close()?;
    Ok(out)
}

fn csv(rows: &RecordBatch) -> Result<Vec<u8>, EncodeError> {
    let schema = rows.schema();
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    writer.write_record(schema.fields().iter().map(|field| field.name()))?;
    let columns = schema
        .fields()
        .iter()
        .zip(rows.columns())
        .map(|(field, column)| {
            let mut cells = json::cells(field, column.as_ref())?;
            if !matches!(column.data_type(), DataType::Map(..) | DataType::List(_)) {
                cells.iter_mut().flatten().for_each(unquote);
            }
            Ok(cells)
        })
        .collect::<Result<Vec<_>, EncodeError>>()?;
    for row in 0..rows.num_rows() {
        writer.write_record(
            columns
                .iter()
                .map(|cells| cells.get(row).and_then(Option::as_deref).unwrap_or_default()),
        )?;
    }
    Ok(finish(writer)?)
}

/// The text of a JSON string; what is no string stays.
fn unquote(cell: &mut String) {
    if cell.starts_with('"')
        && let Ok(text) = serde_json::from_str(cell)
    {
        *cell = text;
    }
}

/// The bytes of a CSV that was written to memory.
pub(super) fn finish(writer: csv::Writer<Vec<u8>>) -> Result<Vec<u8>, csv::Error> {
    writer.into_inner().map_err(|error| error.into_error().into())
}

#[cfg(test)]
mod tests {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use serde_json::Value;

    use super::*;
    use crate::testing::rows_of;

    #[test]
    fn parquet_reads_back_as_it_was() {
        let rows = rows_of("gw-1", 1..=50);
        let encoded = Format::Parquet.encode(&rows).unwrap();
        let mut reader = ParquetRecordBatchReaderBuilder::try_new(encoded.bytes)
            .unwrap()
            .build()
            .unwrap();
        assert_eq!(reader.next().unwrap().unwrap().columns(), rows.columns());
        assert_eq!(encoded.lines, 50);
    }

    #[test]
    fn csv_has_every_column_with_lists_as_json_and_nulls_empty() {
        let encoded = Format::Csv.encode(&rows_of("gw-1", 2..=3)).unwrap();
        let mut reader = csv::Reader::from_reader(encoded.bytes.as_ref());
        let header = reader.headers().unwrap().clone();
        let lines: Vec<_> = reader.records().map(Result::unwrap).collect();
        let cell = |line: usize, name: &str| {
            lines[line]
                .get(header.iter().position(|column| column == name).unwrap())
                .unwrap()
                .to_owned()
        };
        assert_eq!((header.len(), lines.len()), (tollgate_record::column::USAGE.len(), 2));
        assert_eq!(
            (cell(0, "cost"), cell(0, "start_time")),
            ("0.000056".to_owned(), "2026-11-01T00:01:00Z".to_owned())
        );
        assert_eq!((cell(0, "project"), cell(1, "stream")), (String::new(), "false".to_owned()));
        let (tags, charges): (Value, Value) = (
            serde_json::from_str(&cell(0, "tags")).unwrap(),
            serde_json::from_str(&cell(0, "charges")).unwrap(),
        );
        assert_eq!(
            (&tags["quote"], &charges[1]["amount"]),
            (&"a\"b,c".into(), &"0.000016".into())
        );
    }

    #[test]
    fn ndjson_is_an_object_a_line() {
        let encoded = Format::Ndjson.encode(&rows_of("gw-1", 1..=3)).unwrap();
        let lines: Vec<Value> = encoded
            .bytes
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect();
        assert_eq!(
            lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect::<Vec<_>>(),
            [1, 2, 3]
        );
    }
}
