//! Parquet: row groups leave as they are full; without the footer, which is last, the file cannot be read at all.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::{Writer, defect};
use crate::Error;

/// Bytes of a row group that are held before it is written.
const ROW_GROUP_BYTES: usize = 32 << 20;

pub(super) struct Parquet(ArrowWriter<Vec<u8>>);

impl Parquet {
    pub(super) fn new(schema: &SchemaRef) -> Result<Self, ArrowError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(format!("tollgate {}", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self(ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties))?))
    }
}

impl Writer for Parquet {
    fn write(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Error> {
        self.0.write(rows).map_err(defect)?;
        if self.0.in_progress_size() >= ROW_GROUP_BYTES {
            self.0.flush().map_err(defect)?;
        }
        // Offsets are counted beside the buffer, so what is in it may be taken away.
        out.append(self.0.inner_mut());
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.0.finish().map_err(defect)?;
        out.append(self.0.inner_mut());
        Ok(())
    }
}
