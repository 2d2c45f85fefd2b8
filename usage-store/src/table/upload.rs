//! Puts an encoded file into a table's object store, and says what a commit needs to know of it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::Schema;
use bytes::Bytes;
use deltalake_core::kernel::Add;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt as _};

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
    put(store, &Path::parse(&path).map_err(object_store::Error::from)?, file.bytes).await?;
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

async fn put(store: &Arc<dyn ObjectStore>, path: &Path, bytes: Bytes) -> Result<(), object_store::Error> {
    if bytes.len() <= PIECE_BYTES {
        store.put(path, bytes.into()).await?;
        return Ok(());
    }
    // One piece after the other: a task of its own for each would outlive an error.
    let mut sending = store.put_multipart(path).await?;
    let sent = send(sending.as_mut(), bytes).await;
    if sent.is_err() {
        // What was sent is no file; if it cannot be taken back either, the store's own rules for unfinished uploads remove it.
        let _ = sending.abort().await;
    }
    sent
}

async fn send(sending: &mut dyn MultipartUpload, mut bytes: Bytes) -> Result<(), object_store::Error> {
    while !bytes.is_empty() {
        let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
        sending.put_part(piece.into()).await?;
    }
    sending.complete().await?;
    Ok(())
}
