//! Compressed answers: what goes to the client stays as it is, and a copy is decompressed for the meter.
//!
//! Memory is bounded by the windows of the formats (32 KiB for gzip, 16 MiB for brotli, 8 MiB for zstd as RFC 9659 asks) and by the reader,
//! which is handed the text piece by piece and refuses more of it than its limit.

use std::fmt;
use std::io::{self, Write};

use brotli::DecompressorWriter;
use flate2::write::{MultiGzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use zstd::stream::write::Decoder as ZstdDecoder;

/// Most bytes that are decompressed of one answer; beyond them it is taken for a decompression bomb, and no longer read.
pub(crate) const DECODED_BYTES_MAX: u64 = 256 << 20;

/// Bytes that brotli hands on at once.
const BROTLI_BUFFER_BYTES: usize = 4096;

/// Base-two logarithm of the largest zstd window (RFC 9659).
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// How an answer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Gzip,
    Deflate,
    Brotli,
    Zstd,
    /// One that is not known here, or several on top of each other.
    Unknown,
}

/// A reader behind a decompressor.
pub(crate) enum Decoder<R: Write> {
    Plain(R),
    Gzip(Box<MultiGzDecoder<R>>),
    Deflate(Box<ZlibDecoder<R>>),
    Brotli(Box<DecompressorWriter<R>>),
    Zstd(Box<ZstdDecoder<'static, R>>),
}

// === impl Coding ===

impl Coding {
    /// The coding that a head names.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        let Some(value) = values.next() else { return Self::Identity };
        let value = value.to_str().unwrap_or_default().trim();
        if values.next().is_some() {
            return Self::Unknown;
        }
        match value.to_ascii_lowercase().as_str() {
            "" | "identity" => Self::Identity,
            "gzip" | "x-gzip" => Self::Gzip,
            "deflate" => Self::Deflate,
            "br" => Self::Brotli,
            "zstd" => Self::Zstd,
            _ => Self::Unknown,
        }
    }
}

// === impl Decoder ===

impl<R: Write> Decoder<R> {
    /// Puts a reader behind the decompressor of a coding; an unknown coding leaves it as it is.
    pub(crate) fn new(coding: Coding, reader: R) -> io::Result<Self> {
        Ok(match coding {
            Coding::Identity | Coding::Unknown => Self::Plain(reader),
            Coding::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(reader))),
            Coding::Deflate => Self::Deflate(Box::new(ZlibDecoder::new(reader))),
            Coding::Brotli => Self::Brotli(Box::new(DecompressorWriter::new(reader, BROTLI_BUFFER_BYTES))),
            Coding::Zstd => {
                let mut decoder = ZstdDecoder::new(reader)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Self::Zstd(Box::new(decoder))
            }
        })
    }

    /// The reader.
    pub(crate) fn reader(&self) -> &R {
        match self {
            Self::Plain(reader) => reader,
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Deflate(decoder) => decoder.get_ref(),
            Self::Brotli(decoder) => decoder.get_ref(),
            Self::Zstd(decoder) => decoder.get_ref(),
        }
    }

    /// The reader, to be changed.
    pub(crate) fn reader_mut(&mut self) -> &mut R {
        match self {
            Self::Plain(reader) => reader,
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Deflate(decoder) => decoder.get_mut(),
            Self::Brotli(decoder) => decoder.get_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
        }
    }

    /// Decompresses a frame and hands on all that it says.
    ///
    /// # Errors
    /// If the frame is no continuation of the format, or the reader refuses more.
    pub(crate) fn push(&mut self, frame: &[u8]) -> io::Result<()> {
        let writer: &mut dyn Write = match self {
            Self::Plain(reader) => reader,
            Self::Gzip(decoder) => decoder,
            Self::Deflate(decoder) => decoder,
            Self::Brotli(decoder) => decoder,
            Self::Zstd(decoder) => decoder,
        };
        writer.write_all(frame)?;
        writer.flush()
    }
}

impl<R: Write> fmt::Debug for Decoder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Gzip(_) => "Gzip",
            Self::Deflate(_) => "Deflate",
            Self::Brotli(_) => "Brotli",
            Self::Zstd(_) => "Zstd",
        })
    }
}
