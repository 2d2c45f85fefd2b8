//! Puts an encoded file into a table's object store, and says what a commit needs to know of it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::Schema;
use bytes::Bytes;
use deltalake_core::kernel::Add;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt as _};
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::errors::ParquetError;

use super::lake::Stamp;
use super::stats::statistics;
use crate::Error;
use crate::parquet::Encoded;

/// Largest file that is sent in one piece, and size of the pieces of larger ones: what every object store takes.
const PIECE_BYTES: usize = 32 << 20;

/// Writes a file and returns the action that adds it to the table; it is no part of the table before that is committed.
///
/// The file is whole when this returns, or else there is none, or one that no commit names.
///
/// # Errors
/// [`Error::Table`] if the store failed.
///
/// # Cancel safety
/// As after an error.
pub(crate) async fn upload(
    store: &Arc<dyn ObjectStore>,
    path: String,
    partition: HashMap<String, Option<String>>,
    file: Encoded,
    schema: &Schema,
    stats: &[&str],
    stamp: Stamp,
) -> Result<Add, Error> {
    let stats = statistics(&file.metadata, schema, stats)?;
    let size = file.bytes.len();
    let mut sender = Sender::new(store, &path)?;
    let sent = async {
        let mut writer = &mut sender;
        AsyncFileWriter::write(&mut writer, file.bytes).await?;
        AsyncFileWriter::complete(&mut writer).await
    };
    if let Err(error) = sent.await {
        sender.abort().await;
        return Err(error.into());
    }
    Ok(Add {
        path,
        partition_values: partition,
        size: i64::try_from(size).unwrap_or(i64::MAX),
        modification_time: stamp.now.unix_us() / 1000,
        data_change: true,
        stats: Some(stats),
        ..Add::default()
    })
}

/// A file that is sent as it is made: in one piece if it is small, else piece after piece, never two at once.
pub(crate) struct Sender {
    store: Arc<dyn ObjectStore>,
    path: Path,
    waiting: Vec<u8>,
    sent: u64,
    upload: Option<Box<dyn MultipartUpload>>,
}

impl Sender {
    /// A file of this path; nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Table`] if the path is none.
    pub(crate) fn new(store: &Arc<dyn ObjectStore>, path: &str) -> Result<Self, Error> {
        Ok(Self {
            store: Arc::clone(store),
            path: Path::parse(path).map_err(object_store::Error::from)?,
            waiting: Vec::new(),
            sent: 0,
            upload: None,
        })
    }

    /// Bytes of the file so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.sent + self.waiting.len() as u64
    }

    /// Takes back what was sent.
    pub(crate) async fn abort(&mut self) {
        if let Some(mut upload) = self.upload.take() {
            // What was sent is no file; if it cannot be taken back either, the store's own rules for unfinished uploads remove it.
            let _ = upload.abort().await;
        }
    }

    async fn send(&mut self) -> Result<(), object_store::Error> {
        let upload = match &mut self.upload {
            Some(upload) => upload,
            None => self.upload.insert(self.store.put_multipart(&self.path).await?),
        };
        let piece = std::mem::take(&mut self.waiting);
        self.sent += piece.len() as u64;
        upload.put_part(piece.into()).await
    }

    async fn finish(&mut self) -> Result<(), object_store::Error> {
        if self.upload.is_none() {
            let whole = std::mem::take(&mut self.waiting);
            self.sent += whole.len() as u64;
            self.store.put(&self.path, whole.into()).await?;
            return Ok(());
        }
        if !self.waiting.is_empty() {
            self.send().await?;
        }
        if let Some(upload) = &mut self.upload {
            upload.complete().await?;
        }
        self.upload = None;
        Ok(())
    }
}

impl AsyncFileWriter for &mut Sender {
    fn write(&mut self, mut bytes: Bytes) -> BoxFuture<'_, Result<(), ParquetError>> {
        async move {
            // Pieces have one size: some stores insist.
            while self.waiting.len() + bytes.len() >= PIECE_BYTES {
                let part = bytes.split_to(PIECE_BYTES - self.waiting.len());
                self.waiting.extend_from_slice(&part);
                self.send().await.map_err(failed)?;
            }
            self.waiting.extend_from_slice(&bytes);
            Ok(())
        }
        .boxed()
    }

    fn complete(&mut self) -> BoxFuture<'_, Result<(), ParquetError>> {
        async move { self.finish().await.map_err(failed) }.boxed()
    }
}

fn failed(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}
