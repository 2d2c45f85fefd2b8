#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod anthropic;
mod bedrock;
mod bounds;
mod broken;
mod cases;
mod cohere;
mod gemini;
mod iterations;
mod media;
mod mistral;
mod openai;
mod splits;
mod vendors;

use std::io::Write as _;

use http::Method;
use http::response::Parts;

use super::*;

/// A call from beginning to end.
pub(super) struct Call {
    pub(super) codec: Codec,
    pub(super) path: &'static str,
    pub(super) request: String,
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    /// Content type of the request.
    pub(super) sent_as: &'static str,
}

/// What came of it.
#[derive(Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) sent: Bytes,
    pub(super) metered: Metered,
}

impl Call {
    pub(super) fn new(codec: Codec, path: &'static str, request: &str) -> Self {
        Self {
            codec,
            path,
            request: request.to_owned(),
            status: 200,
            headers: vec![("content-type", "application/json".into())],
            sent_as: "application/json",
        }
    }

    pub(super) fn stream(codec: Codec, path: &'static str, request: &str) -> Self {
        Self {
            headers: vec![("content-type", "text/event-stream; charset=utf-8".into())],
            ..Self::new(codec, path, request)
        }
    }

    pub(super) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn head(&self) -> Parts {
        let mut head = http::Response::builder().status(self.status);
        for (name, value) in &self.headers {
            head = head.header(*name, value);
        }
        head.body(()).unwrap().into_parts().0
    }

    pub(super) fn meter(&self) -> Meter {
        let body = Bytes::copy_from_slice(self.request.as_bytes());
        let endpoint = self.codec.endpoint(&Method::POST, self.path.split('?').next().unwrap());
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, self.sent_as.parse().unwrap())]);
        let request = self.codec.read(&endpoint, self.path, &headers, &body).unwrap();
        Meter::new(&self.codec, &endpoint, &request, body, &self.head())
    }

    /// Answers in frames.
    pub(super) fn frames<'a>(&self, frames: impl IntoIterator<Item = &'a [u8]>, how: End) -> Seen {
        let mut meter = self.meter();
        let mut sent = Vec::new();
        let mut ended = false;
        for frame in frames {
            let step = meter.frame(Bytes::copy_from_slice(frame));
            assert!(step.ended >= ended, "an end is no longer one");
            ended = step.ended;
            sent.extend_from_slice(&step.bytes);
        }
        sent.extend_from_slice(&meter.finish());
        Seen {
            sent: sent.into(),
            metered: meter.metered(how),
        }
    }

    pub(super) fn answer(&self, body: &str) -> Metered {
        let seen = self.frames([body.as_bytes()], End::Complete);
        assert_eq!(seen.sent, body);
        seen.metered
    }

    /// Answers with a body that is no text.
    pub(super) fn answer_bytes(&self, body: &[u8]) -> Metered {
        let seen = self.frames([body], End::Complete);
        assert_eq!(seen.sent, body);
        seen.metered
    }

    pub(super) fn cut(&self, body: &str) -> Metered {
        self.frames([body.as_bytes()], End::Cut).metered
    }
}

pub(super) fn name(text: &str) -> Option<Name> {
    Some(Name::new(text).unwrap())
}

pub(super) fn compressed(coding: &str, text: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        }
        "br" => {
            let mut out = Vec::new();
            brotli::CompressorWriter::new(&mut out, 4096, 5, 22).write_all(text).unwrap();
            out
        }
        "zstd" => zstd::encode_all(text, 3).unwrap(),
        _ => text.to_vec(),
    }
}
