//! What a meter does with a frame of a stream that tells no usage, to be counted under callgrind by `tests/bench/meter.sh`.
//!
//! `meter FORMAT meter|memchr FRAMES STREAMS` sends that many streams of that many frames through a meter each, or searches the same frames for a
//! byte that they do not have, and prints the bytes of one stream and the allocations of all. What one frame takes is the difference between two runs.
//! Without arguments the formats are listed.

use std::alloc::System;
use std::hint::black_box;

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tollgate_codec::{Codec, Meter};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A stream's format: its call, and one frame of generated text.
struct Format {
    name: &'static str,
    codec: fn() -> Codec,
    path: &'static str,
    request: &'static str,
    content_type: &'static str,
    frame: fn(&str, usize) -> Vec<u8>,
    /// Size of the frames that the stream is cut into; 0 where each event is one.
    cut_bytes: usize,
}

const ASKS: &str = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#;
const ASKS_NOT: &str = r#"{"model":"m","stream":true,"messages":[]}"#;
const EVENTS: &str = "text/event-stream";
const MESSAGES: &str = "application/vnd.amazon.eventstream";

const fn format(name: &'static str, codec: fn() -> Codec, path: &'static str, frame: fn(&str, usize) -> Vec<u8>) -> Format {
    Format {
        name,
        codec,
        path,
        request: ASKS,
        content_type: EVENTS,
        frame,
        cut_bytes: 0,
    }
}

const FORMATS: [Format; 11] = [
    format("openai-chat", Codec::openai, "/v1/chat/completions", chat),
    Format {
        request: ASKS_NOT,
        ..format("openai-chat-edited", Codec::openai, "/v1/chat/completions", chat)
    },
    Format {
        cut_bytes: 1000,
        ..format("openai-chat-cut", Codec::openai, "/v1/chat/completions", chat)
    },
    format("openai-responses", Codec::openai, "/v1/responses", response),
    format("anthropic", Codec::anthropic, "/v1/messages", anthropic),
    format(
        "gemini-sse",
        Codec::gemini,
        "/v1beta/models/g:streamGenerateContent",
        gemini_event,
    ),
    Format {
        content_type: "application/json",
        ..format(
            "gemini-array",
            Codec::gemini,
            "/v1beta/models/g:streamGenerateContent",
            gemini_element,
        )
    },
    Format {
        content_type: MESSAGES,
        ..format("bedrock-converse", Codec::bedrock, "/model/m/converse-stream", converse)
    },
    Format {
        content_type: MESSAGES,
        ..format(
            "bedrock-invoke",
            Codec::bedrock,
            "/model/m/invoke-with-response-stream",
            invoke,
        )
    },
    format("mistral", Codec::mistral, "/v1/chat/completions", mistral),
    format("cohere", Codec::azure_foundry, "/v2/chat", cohere),
];

/// Words as a model writes them, one a frame.
const WORDS: [&str; 12] = [
    " the",
    " ledger",
    " of",
    " a",
    " month",
    ",",
    " which",
    " nobody",
    " reconciles",
    " by hand",
    ".",
    "\\n\\n",
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [name, what, frames, streams] = &*arguments else {
        for format in FORMATS {
            println!("{}", format.name);
        }
        return;
    };
    let format = FORMATS.iter().find(|format| format.name == name).expect("a format's name");
    let frames = format.frames(frames.parse().expect("a number of frames"));
    let streams: u64 = streams.parse().expect("a number of streams");
    let region = Region::new(ALLOCATOR);
    for _ in 0..streams {
        match what.as_str() {
            "memchr" => frames.iter().for_each(|frame| {
                black_box(memchr::memchr(0xff, black_box(frame)));
            }),
            _ => {
                let mut meter = format.meter();
                for frame in &frames {
                    black_box(meter.frame(frame.clone()));
                }
            }
        }
    }
    let allocated = region.change();
    let bytes: usize = frames.iter().map(Bytes::len).sum();
    println!("{bytes} {} {}", frames.len(), allocated.allocations + allocated.reallocations);
}

// === impl Format ===

impl Format {
    fn meter(&self) -> Meter {
        let codec = (self.codec)();
        let body = Bytes::from_static(self.request.as_bytes());
        let endpoint = codec.endpoint(&Method::POST, self.path);
        let request = codec.read(&endpoint, self.path, &HeaderMap::new(), &body).expect("a request");
        let head = Response::builder()
            .header("content-type", self.content_type)
            .body(())
            .expect("a head");
        Meter::new(&codec, &endpoint, &request, body, &head.into_parts().0)
    }

    /// A stream's frames, all of them parts of one buffer.
    fn frames(&self, count: usize) -> Vec<Bytes> {
        let events: Vec<Vec<u8>> = WORDS
            .iter()
            .cycle()
            .take(count)
            .enumerate()
            .map(|(at, word)| (self.frame)(word, at))
            .collect();
        let mut sizes: Vec<usize> = events.iter().map(Vec::len).collect();
        let mut stream = Bytes::from(events.concat());
        if self.cut_bytes > 0 {
            sizes = vec![self.cut_bytes; stream.len() / self.cut_bytes];
        }
        sizes.into_iter().map(|size| stream.split_to(size)).collect()
    }
}

fn chat(word: &str, _: usize) -> Vec<u8> {
    format!(
        "data: {{\"id\":\"chatcmpl-CfQZ5ZbXk2gVt7n0pQv6dGhJm1a2b\",\"object\":\"chat.completion.chunk\",\"created\":1764028800,\"model\":\"gpt-5-2025-08-07\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_9b1d7a3c5e\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{word}\"}},\"logprobs\":null,\"finish_reason\":null}}],\"usage\":null,\"obfuscation\":\"aB3xYz0\"}}\n\n"
    )
    .into()
}

fn response(word: &str, at: usize) -> Vec<u8> {
    format!(
        "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"sequence_number\":{},\"item_id\":\"msg_68f0a1b2c3d4e5f60718293a4b5c6d7e\",\"output_index\":0,\"content_index\":0,\"delta\":\"{word}\",\"logprobs\":[],\"obfuscation\":\"aB3xYz0\"}}\n\n",
        100 + at
    )
    .into()
}

fn anthropic(word: &str, _: usize) -> Vec<u8> {
    format!(
        "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{word}\"}}}}\n\n"
    )
    .into()
}

/// Each has running totals.
fn gemini(word: &str, at: usize) -> String {
    format!(
        r#"{{"candidates": [{{"content": {{"parts": [{{"text": "{word}"}}],"role": "model"}},"index": 0}}],"usageMetadata": {{"promptTokenCount": 212,"candidatesTokenCount": {at},"totalTokenCount": {},"promptTokensDetails": [{{"modality": "TEXT","tokenCount": 212}}],"thoughtsTokenCount": 60}},"modelVersion": "gemini-3-pro","responseId": "x7YlaZq3B9Ck1dIP4uSL2Ao"}}"#,
        272 + at
    )
}

fn gemini_event(word: &str, at: usize) -> Vec<u8> {
    format!("data: {}\r\n\r\n", gemini(word, at)).into()
}

fn gemini_element(word: &str, at: usize) -> Vec<u8> {
    format!("{}{}", if at == 0 { "[" } else { ",\r\n" }, gemini(word, at)).into()
}

fn message(name: &'static str, payload: String) -> Vec<u8> {
    let text = |text: &'static str| HeaderValue::String(text.into());
    let message = Message::new(payload.into_bytes())
        .add_header(Header::new(":event-type", text(name)))
        .add_header(Header::new(":content-type", text("application/json")))
        .add_header(Header::new(":message-type", text("event")));
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).expect("a message");
    bytes
}

fn converse(word: &str, _: usize) -> Vec<u8> {
    let payload = format!(r#"{{"contentBlockIndex":0,"delta":{{"text":"{word}"}},"p":"abcdefghijklmnopqrs"}}"#);
    message("contentBlockDelta", payload)
}

fn invoke(word: &str, _: usize) -> Vec<u8> {
    let event = format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{word}"}}}}"#);
    let coded = base64::engine::general_purpose::STANDARD.encode(event);
    message("chunk", format!(r#"{{"bytes":"{coded}","p":"abcdefghijklmnopqrs"}}"#))
}

fn mistral(word: &str, _: usize) -> Vec<u8> {
    format!(
        "data: {{\"id\":\"5a1c9b6e0d2f4c7e8b3a6d9f0e1c2b3a\",\"object\":\"chat.completion.chunk\",\"created\":1764028800,\"model\":\"mistral-large-latest\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{word}\"}},\"finish_reason\":null,\"logprobs\":null}}],\"p\":\"abcdefgh\"}}\n\n"
    )
    .into()
}

fn cohere(word: &str, _: usize) -> Vec<u8> {
    format!(
        "event: content-delta\ndata: {{\"type\":\"content-delta\",\"index\":0,\"delta\":{{\"message\":{{\"content\":{{\"text\":\"{word}\"}}}}}}}}\n\n"
    )
    .into()
}
