//! Writers of answers. Each takes batches as they come and holds at most a row group.

mod arrow_stream;
mod csv;
mod json;
mod parquet;
mod table;

use std::str::FromStr;

use ::arrow::datatypes::SchemaRef;
use ::arrow::error::ArrowError;
use ::arrow::record_batch::RecordBatch;

use crate::Error;

/// A format of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Columns of text for people.
    Table,
    /// One JSON array of objects.
    Json,
    /// One JSON object a line.
    NdJson,
    /// RFC 4180 with a header and lines that end in `\n`; null is nothing, empty text is `""`, nested values are JSON.
    Csv,
    /// Arrow IPC stream.
    Arrow,
    /// Parquet, zstd.
    Parquet,
}

/// A name that is no format's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no format; formats are table, json, ndjson, csv, arrow, parquet")]
pub struct UnknownFormat {
    /// The name.
    pub name: String,
}

impl Format {
    /// Every format, as [`Format::name`]d.
    pub const ALL: [Self; 6] = [Self::Table, Self::Json, Self::NdJson, Self::Csv, Self::Arrow, Self::Parquet];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::NdJson => "ndjson",
            Self::Csv => "csv",
            Self::Arrow => "arrow",
            Self::Parquet => "parquet",
        }
    }

    /// Its media type, as IANA or its project registered it.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Table => "text/plain; charset=utf-8",
            Self::Json => "application/json",
            Self::NdJson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// Whether it is text that a terminal can show.
    pub const fn is_text(self) -> bool {
        !matches!(self, Self::Arrow | Self::Parquet)
    }

    /// Makes a writer, after a look at every column's type.
    pub(crate) fn writer(self, schema: &SchemaRef) -> Result<Box<dyn Writer>, Error> {
        let writer: Result<Box<dyn Writer>, ArrowError> = match self {
            Self::Table => table::Table::new(schema).map(|writer| Box::new(writer) as _),
            Self::Json => json::Json::array(schema).map(|writer| Box::new(writer) as _),
            Self::NdJson => json::Json::lines(schema).map(|writer| Box::new(writer) as _),
            Self::Csv => csv::Csv::new(schema).map(|writer| Box::new(writer) as _),
            Self::Arrow => arrow_stream::Arrow::new(schema).map(|writer| Box::new(writer) as _),
            Self::Parquet => parquet::Parquet::new(schema).map(|writer| Box::new(writer) as _),
        };
        writer.map_err(|error| Error::Unencodable {
            format: self.name(),
            message: error.to_string(),
        })
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        let found = Self::ALL.into_iter().find(|format| format.name() == name);
        found.ok_or_else(|| UnknownFormat { name: name.to_owned() })
    }
}

/// Writes batches of one schema.
pub(crate) trait Writer: Send {
    /// Appends what can be written of these rows now.
    fn write(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Error>;

    /// Appends the rest, and what ends the format.
    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error>;
}

/// An error of a writer whose types were looked at before.
fn defect(error: impl std::fmt::Display) -> Error {
    Error::internal(format!("a writer failed: {error}"))
}
