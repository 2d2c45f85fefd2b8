//! The Arrow IPC stream. It ends with the end-of-stream marker, which an answer that was cut lacks.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;

use super::{Writer, defect};
use crate::Error;

pub(super) struct Arrow(StreamWriter<Vec<u8>>);

impl Arrow {
    pub(super) fn new(schema: &SchemaRef) -> Result<Self, ArrowError> {
        StreamWriter::try_new(Vec::new(), schema).map(Self)
    }
}

impl Writer for Arrow {
    fn write(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Error> {
        self.0.write(rows).map_err(defect)?;
        out.append(self.0.get_mut());
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.0.finish().map_err(defect)?;
        out.append(self.0.get_mut());
        Ok(())
    }
}
