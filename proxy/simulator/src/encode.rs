//! Compression of answers: whole for JSON, flushed after every event for streams, so that each event can be decoded
//! as soon as it has arrived.

use std::io::{self, Write};

use brotli::CompressorWriter;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::directive::Encoding;
use crate::events::Frame;

/// Brotli's buffer, quality and window: fast rather than small.
const BROTLI: (usize, u32, u32) = (4096, 4, 20);
/// Zstandard's level.
const ZSTD_LEVEL: i32 = 1;

impl Encoding {
    /// The value of `content-encoding`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// Compresses bytes that fall into frames; the frames come back with their ends in the compressed bytes.
///
/// # Errors
/// None that a buffer in memory gives; they are passed on all the same.
pub(crate) fn frames(encoding: Encoding, plain: &[u8], frames: &mut [Frame]) -> io::Result<Vec<u8>> {
    match encoding {
        Encoding::Gzip => {
            let encoder = GzEncoder::new(Vec::new(), Compression::fast());
            each(encoder, plain, frames, |encoder| encoder.get_ref().len(), GzEncoder::finish)
        }
        Encoding::Brotli => {
            let (buffer, quality, window) = BROTLI;
            let encoder = CompressorWriter::new(Vec::new(), buffer, quality, window);
            each(
                encoder,
                plain,
                frames,
                |encoder| encoder.get_ref().len(),
                |encoder| Ok(encoder.into_inner()),
            )
        }
        Encoding::Zstd => {
            let encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
            each(
                encoder,
                plain,
                frames,
                |encoder| encoder.get_ref().len(),
                |encoder| encoder.finish(),
            )
        }
    }
}

fn each<E: Write>(
    mut encoder: E,
    plain: &[u8],
    frames: &mut [Frame],
    written: impl Fn(&E) -> usize,
    finish: impl FnOnce(E) -> io::Result<Vec<u8>>,
) -> io::Result<Vec<u8>> {
    let mut start = 0;
    for frame in frames.iter_mut() {
        encoder.write_all(plain.get(start..frame.end).unwrap_or_default())?;
        encoder.flush()?;
        start = frame.end;
        frame.end = written(&encoder);
    }
    let compressed = finish(encoder)?;
    if let Some(last) = frames.last_mut() {
        last.end = compressed.len();
    }
    Ok(compressed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use std::io::Read;

    const PLAIN: &[u8] = b"data: one\n\ndata: two\n\ndata: three\n\n";

    fn parts() -> Vec<Frame> {
        [11, 22, PLAIN.len()].map(|end| Frame { end, paced: false }).to_vec()
    }

    /// Decodes as much as the bytes hold, as a client does that has not yet got the rest.
    fn decode(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
        let mut decoder: Box<dyn Read + '_> = match encoding {
            Encoding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(bytes)),
            Encoding::Brotli => Box::new(brotli::Decompressor::new(bytes, 4096)),
            Encoding::Zstd => Box::new(zstd::stream::read::Decoder::new(bytes).unwrap()),
        };
        let (mut plain, mut buffer) = (Vec::new(), [0; 7]);
        while let Ok(read @ 1..) = decoder.read(&mut buffer) {
            plain.extend_from_slice(&buffer[..read]);
        }
        plain
    }

    #[test]
    fn every_event_can_be_decoded_when_it_arrives() {
        for encoding in [Encoding::Gzip, Encoding::Brotli, Encoding::Zstd] {
            let mut frames = parts();
            let compressed = super::frames(encoding, PLAIN, &mut frames).unwrap();
            assert_eq!(decode(encoding, &compressed), PLAIN, "{encoding:?}");
            assert_eq!(frames.last().unwrap().end, compressed.len());
            for (frame, whole) in frames.iter().zip(parts()) {
                assert_eq!(
                    decode(encoding, &compressed[..frame.end]),
                    &PLAIN[..whole.end],
                    "{encoding:?}"
                );
            }
        }
    }
}
