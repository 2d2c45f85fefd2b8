//! Columns of text for people. Widths come from the first rows; a longer value later pushes its line, and is never cut.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::json::EncoderOptions;

use super::{Writer, csv, json};
use crate::Error;

/// Rows that are looked at before the first is written.
const ROWS_MEASURED: usize = 1_000;
/// How null is shown.
const NULL: &str = "NULL";

pub(super) struct Table {
    columns: Vec<Column>,
    /// Rows that wait to be measured; none once the head is written.
    waiting: Option<Vec<Vec<String>>>,
    rows: usize,
    options: EncoderOptions,
}

struct Column {
    name: String,
    number: bool,
    width: usize,
}

impl Table {
    pub(super) fn new(schema: &SchemaRef) -> Result<Self, ArrowError> {
        csv::supports(schema)?;
        let columns = schema.fields().iter().map(|field| {
            let name = printable(field.name());
            Column {
                width: name.chars().count(),
                number: field.data_type().is_numeric(),
                name,
            }
        });
        Ok(Self {
            columns: columns.collect(),
            waiting: Some(Vec::new()),
            rows: 0,
            options: json::options(),
        })
    }

    fn head(&mut self, out: &mut Vec<u8>) {
        let Some(rows) = self.waiting.take() else { return };
        for row in &rows {
            for (column, cell) in self.columns.iter_mut().zip(row) {
                column.width = column.width.max(cell.chars().count());
            }
        }
        let names: Vec<_> = self.columns.iter().map(|column| column.name.clone()).collect();
        self.line(&names, out);
        let rules: Vec<_> = self.columns.iter().map(|column| "-".repeat(column.width + 2)).collect();
        out.extend_from_slice(rules.join("+").as_bytes());
        out.push(b'\n');
        for row in &rows {
            self.line(row, out);
        }
    }

    fn line(&self, cells: &[String], out: &mut Vec<u8>) {
        let cells = self.columns.iter().zip(cells).map(|(column, cell)| {
            let width = column.width;
            if column.number {
                format!(" {cell:>width$} ")
            } else {
                format!(" {cell:<width$} ")
            }
        });
        let line = cells.collect::<Vec<_>>().join("|");
        out.extend_from_slice(line.trim_end().as_bytes());
        out.push(b'\n');
    }
}

/// Control characters would break the line, or the terminal.
fn printable(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    text.chars()
        .map(|c| {
            if c.is_control() {
                c.escape_default().to_string()
            } else {
                c.to_string()
            }
        })
        .collect()
}

impl Writer for Table {
    fn write(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Error> {
        self.rows += rows.num_rows();
        let mut lines: Vec<Vec<String>> = Vec::with_capacity(rows.num_rows());
        csv::cells(rows, &self.options, |index, text| {
            if index == 0 {
                lines.push(Vec::with_capacity(rows.num_columns()));
            }
            if let Some(line) = lines.last_mut() {
                line.push(text.map_or_else(|| NULL.to_owned(), printable));
            }
        })?;
        match &mut self.waiting {
            Some(waiting) => {
                waiting.append(&mut lines);
                if waiting.len() >= ROWS_MEASURED {
                    self.head(out);
                }
            }
            None => lines.iter().for_each(|line| self.line(line, out)),
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.head(out);
        let plural = if self.rows == 1 { "" } else { "s" };
        out.extend_from_slice(format!("({} row{plural})\n", self.rows).as_bytes());
        Ok(())
    }
}
