//! Calls of every kind, and what a meter knows of their answers.

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Method, Response};
use tollgate_record::{Name, Usage};

use super::input::{Input, cut};
use crate::{Codec, Meter, work};

/// How an answer's body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Events,
    /// AWS's messages: written from names and payloads that stand one behind the other, each ended by NUL.
    Messages,
    /// The same, each payload in base64 in a chunk.
    Chunks,
}

/// A kind of call.
pub(crate) struct Kind {
    pub(crate) codec: fn() -> Codec,
    pub(crate) path: &'static str,
    pub(crate) request: &'static str,
    pub(crate) form: Form,
}

const CHAT: &str = r#"{"model":"m","stream":true,"messages":[]}"#;
const CHAT_USAGE: &str = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#;
const PLAIN: &str = r#"{"model":"m"}"#;

const fn kind(codec: fn() -> Codec, path: &'static str, request: &'static str, form: Form) -> Kind {
    Kind {
        codec,
        path,
        request,
        form,
    }
}

/// All kinds. Inputs of the corpus name them by place: new ones go to the end.
pub(crate) static KINDS: [Kind; 28] = [
    kind(Codec::openai, "/v1/chat/completions", PLAIN, Form::Json),
    kind(Codec::openai, "/v1/chat/completions", CHAT, Form::Events),
    kind(Codec::openai, "/v1/chat/completions", CHAT_USAGE, Form::Events),
    kind(Codec::openai, "/v1/completions", CHAT, Form::Events),
    kind(Codec::openai, "/v1/responses", PLAIN, Form::Json),
    kind(Codec::openai, "/v1/responses", CHAT, Form::Events),
    kind(Codec::openai, "/v1/embeddings", PLAIN, Form::Json),
    kind(Codec::openai, "/v1/images/generations", PLAIN, Form::Json),
    kind(Codec::openai, "/v1/images/generations", CHAT, Form::Events),
    kind(Codec::openai, "/v1/audio/transcriptions", PLAIN, Form::Json),
    kind(Codec::openai, "/v1/audio/transcriptions", CHAT, Form::Events),
    kind(Codec::openai, "/v1/audio/speech", CHAT, Form::Events),
    kind(
        Codec::azure_openai,
        "/openai/deployments/d/chat/completions",
        CHAT,
        Form::Events,
    ),
    kind(Codec::anthropic, "/v1/messages", PLAIN, Form::Json),
    kind(Codec::anthropic, "/v1/messages", CHAT, Form::Events),
    kind(Codec::gemini, "/v1beta/models/g:generateContent", "{}", Form::Json),
    kind(Codec::gemini, "/v1beta/models/g:streamGenerateContent", "{}", Form::Json),
    kind(
        Codec::gemini,
        "/v1beta/models/g:streamGenerateContent?alt=sse",
        "{}",
        Form::Events,
    ),
    kind(Codec::gemini, "/v1beta/models/g:embedContent", "{}", Form::Json),
    kind(
        Codec::gemini,
        "/v1/projects/p/locations/l/publishers/google/models/g:predict",
        "{}",
        Form::Json,
    ),
    kind(Codec::bedrock, "/model/m/converse", "{}", Form::Json),
    kind(Codec::bedrock, "/model/m/converse-stream", "{}", Form::Messages),
    kind(Codec::bedrock, "/model/m/invoke", "{}", Form::Json),
    kind(Codec::bedrock, "/model/m/invoke-with-response-stream", "{}", Form::Chunks),
    kind(Codec::mistral, "/v1/chat/completions", CHAT, Form::Events),
    kind(Codec::mistral, "/v1/ocr", PLAIN, Form::Json),
    kind(Codec::azure_foundry, "/v2/chat", PLAIN, Form::Json),
    kind(Codec::azure_foundry, "/v2/chat", CHAT, Form::Events),
];

/// All that is known of an answer, and all that an estimate of its output depends on.
#[derive(Debug, PartialEq)]
pub(crate) struct Facts {
    pub(crate) usage: Usage,
    pub(crate) response_model: Option<Name>,
    pub(crate) finish_reason: Option<Name>,
    pub(crate) error_type: Option<Name>,
    is_whole: Option<bool>,
    terminal: bool,
    kept: (Vec<u8>, u64),
    bytes: u64,
}

/// What came of an answer.
pub(crate) struct Seen {
    pub(crate) sent: Vec<u8>,
    /// `None` if it could not be read to its end.
    pub(crate) facts: Option<Facts>,
}

// === impl Kind ===

impl Kind {
    /// The meter of a call whose answer is compressed so.
    pub(crate) fn meter(&self, status: u16, coding: &'static str) -> Meter {
        let content_type = match self.form {
            Form::Json => "application/json",
            Form::Events => "text/event-stream",
            Form::Messages | Form::Chunks => "application/vnd.amazon.eventstream",
        };
        let body = Bytes::from_static(self.request.as_bytes());
        let codec = (self.codec)();
        let endpoint = codec.endpoint(&Method::POST, self.path.split('?').next().unwrap());
        let request = codec.read(&endpoint, self.path, &HeaderMap::new(), &body).unwrap();
        let head = Response::builder()
            .status(status)
            .header(CONTENT_TYPE, content_type)
            .header(CONTENT_ENCODING, coding);
        Meter::new(&codec, &endpoint, &request, body, &head.body(()).unwrap().into_parts().0)
    }

    /// The body that an input stands for.
    pub(crate) fn body(&self, input: Input<'_>) -> Vec<u8> {
        match self.form {
            Form::Json | Form::Events => input.0.to_vec(),
            Form::Messages | Form::Chunks => messages(input, self.form == Form::Chunks),
        }
    }
}

/// Sends a body through a meter and asserts what must hold of any.
pub(crate) fn seen(mut meter: Meter, body: &[u8], sizes: &[usize]) -> Seen {
    let frames = cut(body, sizes);
    let (mut sent, mut ended) = (Vec::new(), false);
    work::take();
    for frame in &frames {
        let step = meter.frame(frame.clone());
        assert!(step.ended >= ended, "an end is no longer one");
        ended = step.ended;
        sent.extend_from_slice(&step.bytes);
        check_retained(&mut meter);
    }
    sent.extend_from_slice(&meter.finish());
    check_retained(&mut meter);
    let looked_at = work::take();
    let come = meter.reader().map_or(0, |reader| reader.bytes).max(body.len() as u64);
    let most = 40 * come + 16 * frames.len() as u64 + 4096;
    assert!(
        looked_at <= most,
        "{looked_at} bytes are looked at of {come} in {} frames",
        frames.len()
    );
    Seen {
        sent,
        facts: facts(&mut meter),
    }
}

fn facts(meter: &mut Meter) -> Option<Facts> {
    let reader = meter.reader()?;
    let (text, total) = reader.kept();
    let answer = &reader.answer;
    Some(Facts {
        usage: answer.usage.clone(),
        response_model: answer.response_model.clone(),
        finish_reason: answer.finish_reason.clone(),
        error_type: answer.error_type.clone(),
        is_whole: reader.is_whole(),
        terminal: answer.terminal,
        kept: (text.to_vec(), total),
        bytes: reader.bytes,
    })
}

fn check_retained(meter: &mut Meter) {
    let Some(reader) = meter.reader() else { return };
    // Unknown fields are few, each with a path of limited length, in up to five lists; buffers are at most twice as large as what they hold.
    let fields = 5 * Usage::MAX_UNKNOWN * 600;
    let most = (8 * reader.bytes).min(1 << 27) as usize + fields + 1024;
    let retained = reader.retained_bytes();
    assert!(retained <= most, "{retained} bytes are kept of {}", reader.bytes);
    if cfg!(fuzzing) {
        // With low limits: whatever comes.
        assert!(retained <= (32 << 10) + fields, "{retained} bytes are kept");
    }
}

/// A message of AWS's, as `frames.rs` describes it.
pub(crate) fn message(name: &[u8], payload: &[u8]) -> Vec<u8> {
    let kind: &[u8] = if name.ends_with(b"Exception") {
        b"exception"
    } else {
        b"event"
    };
    let mut headers = Vec::new();
    for (key, value) in [(&b":message-type"[..], kind), (b":event-type", name)] {
        headers.push(key.len() as u8);
        headers.extend_from_slice(key);
        headers.push(7);
        headers.extend_from_slice(&(value.len() as u16).to_be_bytes());
        headers.extend_from_slice(value);
    }
    let total = (16 + headers.len() + payload.len()) as u32;
    let mut message = [total.to_be_bytes(), (headers.len() as u32).to_be_bytes()].concat();
    message.extend_from_slice(&crc32fast::hash(&message).to_be_bytes());
    message.extend_from_slice(&headers);
    message.extend_from_slice(payload);
    message.extend_from_slice(&crc32fast::hash(&message).to_be_bytes());
    message
}

fn messages(mut input: Input<'_>, chunks: bool) -> Vec<u8> {
    let mut stream = Vec::new();
    while !input.0.is_empty() {
        let name = if chunks { b"chunk" } else { input.text() };
        let payload = input.text();
        if chunks {
            let coded = base64_simd::STANDARD.encode_to_string(payload);
            stream.extend(message(name, format!(r#"{{"bytes":"{coded}"}}"#).as_bytes()));
        } else {
            stream.extend(message(&name[..name.len().min(255)], payload));
        }
    }
    stream
}
