//! Compression of what is sent.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

/// Compresses bytes at the fastest level: a core sends more rows so than by sending fewer bytes.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .expect("a vector takes every byte")
}
