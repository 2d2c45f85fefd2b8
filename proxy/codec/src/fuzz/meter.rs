//! Answers of every kind, cut and compressed in any way.

use std::io::Write as _;

use super::answers::{KINDS, seen};
use super::input::Input;

/// A body through a meter: kind, coding, status, sizes of frames, and the body.
pub fn meter(data: &[u8]) {
    let mut input = Input(data);
    let kind = input.choose(&KINDS);
    // Mostly plain ones: the rest is for decompressors.
    let coding = *input.choose(&[
        "identity", "identity", "gzip", "deflate", "br", "zstd", "raw gzip", "raw br", "raw zstd",
    ]);
    let status = *input.choose(&[200, 200, 200, 429]);
    let sizes = input.sizes();
    let text = kind.body(input);
    let (coding, body, is_intact) = match coding.strip_prefix("raw ") {
        // What claims to be compressed.
        Some(coding) => (coding, text.clone(), false),
        None => (coding, compressed(coding, &text), true),
    };
    let whole = seen(kind.meter(status, coding), &body, &[usize::MAX]);
    let framed = seen(kind.meter(status, coding), &body, &sizes);
    assert_eq!(framed.sent, whole.sent, "frames change what is sent");
    let edits = kind.request.contains("stream\":true,\"m") && coding == "identity" && body.windows(5).any(|text| text == b"usage");
    assert!(
        whole.sent == body || (edits && whole.sent.len() < body.len()),
        "other bytes are sent than came"
    );
    if is_intact && let (Some(framed), Some(whole)) = (framed.facts, whole.facts) {
        assert_eq!(framed, whole, "frames change what is metered");
        if coding != "identity" && body != text {
            let plain = seen(kind.meter(status, "identity"), &text, &[usize::MAX]).facts.unwrap();
            let counts = |usage: &tollgate_record::Usage| (usage.input, usage.output, usage.source);
            assert_eq!(
                counts(&framed.usage),
                counts(&plain.usage),
                "compression changes what is metered"
            );
        }
    }
}

fn compressed(coding: &str, text: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    match coding {
        "gzip" => flate2::write::GzEncoder::new(&mut body, flate2::Compression::fast())
            .write_all(text)
            .unwrap(),
        "deflate" => flate2::write::ZlibEncoder::new(&mut body, flate2::Compression::fast())
            .write_all(text)
            .unwrap(),
        "br" => brotli::CompressorWriter::new(&mut body, 4096, 1, 16).write_all(text).unwrap(),
        "zstd" => body = zstd::encode_all(text, 1).unwrap(),
        _ => body.extend_from_slice(text),
    }
    body
}
