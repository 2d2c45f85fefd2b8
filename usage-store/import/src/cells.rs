//! A row of an export as named texts, whatever the file's shape. Names are compared without regard to case.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use serde_json::value::RawValue;
use tollgate_record::Name;

use crate::problem::{Error, Problem};
use crate::split::{Next, OBJECT_BYTES_MAX, Split};

/// A row.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    pub(crate) line: u64,
    cells: BTreeMap<Arc<str>, String>,
}

/// Rows of a file.
pub(crate) enum Source {
    Csv {
        reader: Box<csv::Reader<Metered>>,
        header: Vec<Option<Arc<str>>>,
        record: csv::ByteRecord,
        ended: bool,
    },
    Json(Box<Split<BufReader<Box<dyn Read + Send>>>>),
}

/// A reader that gives no more than a row may have, until it is told that a new one begins: a quote that nothing closes would otherwise
/// make the rest of the file one cell.
pub(crate) struct Metered {
    input: Box<dyn Read + Send>,
    left: usize,
}

// === impl Cells ===

impl Cells {
    /// The text of a column; `None` if there is none, or nothing in it.
    pub(crate) fn text(&self, column: &str) -> Option<&str> {
        self.cells.get(column).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    /// The text of a column that every row must have.
    pub(crate) fn required(&self, column: &str) -> Result<&str, String> {
        self.text(column).ok_or_else(|| format!("{column} is missing"))
    }

    /// Gives the columns other names, or leaves them out.
    pub(crate) fn rename(&mut self, mut name_of: impl FnMut(&str) -> Result<Option<String>, Error>) -> Result<(), Error> {
        for (column, text) in std::mem::take(&mut self.cells) {
            let Some(name) = name_of(&column)? else { continue };
            if self.cells.insert(name.as_str().into(), text).is_some() {
                return Err(Error::Twice { name });
            }
        }
        Ok(())
    }

    /// A column that is a name.
    pub(crate) fn name(&self, column: &str) -> Result<Option<Name>, String> {
        self.text(column).map(|text| name(column, text)).transpose()
    }

    /// A column that is a whole number, not negative. `12.0`, as spreadsheets write it, is one.
    pub(crate) fn count(&self, column: &str) -> Result<Option<u64>, String> {
        let Some(text) = self.text(column) else { return Ok(None) };
        let whole = text.split_once('.').map_or(text, |(whole, fraction)| {
            if fraction.bytes().all(|digit| digit == b'0') {
                whole
            } else {
                text
            }
        });
        let count = whole.parse().ok().filter(|count| *count <= i64::MAX as u64);
        count
            .map(Some)
            .ok_or_else(|| format!("{column}: {text:?} is no whole number"))
    }

    /// A column that is true or false.
    pub(crate) fn flag(&self, column: &str) -> Result<Option<bool>, String> {
        let Some(text) = self.text(column) else { return Ok(None) };
        match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "1" | "yes" => Ok(Some(true)),
            "false" | "f" | "0" | "no" => Ok(Some(false)),
            _ => Err(format!("{column}: {text:?} is neither true nor false")),
        }
    }
}

/// Checks a text that stands in a row.
pub(crate) fn name(column: &str, text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|error| format!("{column}: {error}"))
}

// === impl Source ===

impl Source {
    /// Reads the header. `rename` says what a column is called here, or that it is left out.
    pub(crate) fn csv(
        input: Box<dyn Read + Send>,
        mut rename: impl FnMut(&str) -> Result<Option<String>, Error>,
    ) -> Result<Self, Error> {
        let metered = Metered {
            input,
            left: OBJECT_BYTES_MAX,
        };
        let mut reader = Box::new(csv::ReaderBuilder::new().from_reader(metered));
        let mut header = Vec::new();
        for column in reader.headers()? {
            let column = column.trim_start_matches('\u{feff}').trim().to_ascii_lowercase();
            let renamed = rename(&column)?.map(Arc::<str>::from);
            if let Some(name) = &renamed
                && header.iter().flatten().any(|other| other == name)
            {
                return Err(Error::Twice { name: name.to_string() });
            }
            header.push(renamed);
        }
        if header.is_empty() {
            return Err(Error::Empty);
        }
        Ok(Self::Csv {
            reader,
            header,
            record: csv::ByteRecord::new(),
            ended: false,
        })
    }

    pub(crate) fn json(input: BufReader<Box<dyn Read + Send>>) -> Self {
        Self::Json(Box::new(Split::new(input)))
    }

    /// Whether a CSV file has a column; JSON says so row by row.
    pub(crate) fn lacks(&self, column: &str) -> bool {
        match self {
            Self::Csv { header, .. } => !header.iter().flatten().any(|name| **name == *column),
            Self::Json(_) => false,
        }
    }

    /// The next row; `None` at the end.
    pub(crate) fn next(&mut self) -> Option<Result<Cells, Problem>> {
        match self {
            Self::Csv {
                reader,
                header,
                record,
                ended,
            } => {
                if *ended {
                    return None;
                }
                reader.get_mut().left = OBJECT_BYTES_MAX;
                let next = csv_row(reader, header, record)?;
                *ended = matches!(next, Err(Problem::Broken { .. }));
                Some(next)
            }
            Self::Json(split) => match split.next() {
                Next::End => None,
                Next::Broken { line, reason } => Some(Err(Problem::Broken { line, reason })),
                Next::Object { line, bytes } => Some(object(line, &bytes).map_err(|reason| Problem::Rejected { line, reason })),
            },
        }
    }
}

fn csv_row(
    reader: &mut csv::Reader<Metered>,
    header: &[Option<Arc<str>>],
    record: &mut csv::ByteRecord,
) -> Option<Result<Cells, Problem>> {
    let before = reader.position().line();
    let read = reader.read_byte_record(record);
    let line = record.position().map_or(before, csv::Position::line);
    match read {
        Ok(false) => return None,
        Ok(true) => {}
        Err(error) => {
            return Some(Err(match error.kind() {
                csv::ErrorKind::UnequalLengths { expected_len, len, .. } => Problem::Rejected {
                    line,
                    reason: format!("{len} cells, and {expected_len} columns"),
                },
                _ => Problem::Broken {
                    line,
                    reason: error.to_string(),
                },
            }));
        }
    }
    let mut cells = Cells {
        line,
        cells: BTreeMap::new(),
    };
    for (name, bytes) in header.iter().zip(record.iter()) {
        let Some(name) = name else { continue };
        match std::str::from_utf8(bytes) {
            Ok(text) => cells.cells.insert(Arc::clone(name), text.to_owned()),
            Err(_) => {
                let reason = format!("{name} is no UTF-8 text");
                return Some(Err(Problem::Rejected { line, reason }));
            }
        };
    }
    Some(Ok(cells))
}

/// An object's members as texts: strings decoded, numbers and the rest as they are written, null as nothing.
fn object(line: u64, bytes: &[u8]) -> Result<Cells, String> {
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_slice(bytes).map_err(|error| format!("is no JSON object: {error}"))?;
    let mut cells = Cells {
        line,
        cells: BTreeMap::new(),
    };
    for (name, value) in members {
        let raw = value.get();
        let text = match raw.as_bytes().first() {
            Some(b'"') => serde_json::from_str(raw).map_err(|error| format!("{name}: {error}"))?,
            Some(b'n') => continue,
            _ => raw.to_owned(),
        };
        cells.cells.insert(name.to_ascii_lowercase().into(), text);
    }
    Ok(cells)
}

/// Whether a file is JSON, told by its first byte that is no white space.
pub(crate) fn is_json(input: &mut BufReader<Box<dyn Read + Send>>) -> io::Result<Option<bool>> {
    let start = input.fill_buf()?;
    let start = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(start);
    let first = start.iter().find(|byte| !byte.is_ascii_whitespace());
    Ok(first.map(|byte| matches!(byte, b'[' | b'{')))
}

// === impl Metered ===

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other("a row is larger than 64 MiB; is a quote not closed?"));
        }
        let limit = self.left.min(buffer.len());
        let read = self.input.read(buffer.get_mut(..limit).unwrap_or_default())?;
        self.left -= read;
        Ok(read)
    }
}
