//! Counts tokens where a provider reported none. Every number that comes from here is marked as estimated.
//!
//! Rules, and what they rest on:
//! - Text is counted with OpenAI's own vocabularies (o200k_base; cl100k_base for the models that use it).
//! - Claude's vocabulary is not public. Its counts are taken as [`CLAUDE_FACTOR`] of o200k_base: an approximation, since Anthropic's tokenizers
//!   cut text into more and smaller pieces.
//! - A message costs 3 tokens besides its text, and a request 3 more (OpenAI cookbook, "How to count tokens with tiktoken").
//! - An image counts 765 tokens, with `detail: low` 85 (OpenAI, 1024 x 1024 pixels in tiles of 170 on a base of 85), 258 at Google (documentation,
//!   "Understand and count tokens": a tile), and 1600 at Anthropic (documentation, "Vision": the largest image that is not scaled down). Base64 of documents and sound counts a token for 16 characters.
//! - Beyond [`COUNTED_BYTES_MAX`] of text, and where a stream's kept beginning ends, counts are extrapolated by bytes.
//! - A body of more than [`VALUES_MAX`] values is not taken apart: its memory would be many times its size.
//! - Reasoning that a provider does not send is not seen, and not counted.

use serde_json::Value;
use tiktoken_rs::CoreBPE;
use tiktoken_rs::tokenizer::{Tokenizer, get_tokenizer};

use crate::shape::Shape;

/// Most text that is counted token by token, in bytes: about a tenth of a second.
const COUNTED_BYTES_MAX: usize = 1 << 20;

/// Longest piece that is counted at once, in bytes: it bounds what a text of one endless word costs.
const PIECE_BYTES_MAX: usize = 4096;

/// Most values of a JSON document that is taken apart, about: 32 bytes each, and more with their names.
const VALUES_MAX: usize = 1 << 20;

/// Bytes of a text that cannot be taken apart for one token.
const BYTES_PER_TOKEN: u64 = 4;

/// Characters of base64 for one token.
const BASE64_BYTES_PER_TOKEN: u64 = 16;

/// Claude's tokens for o200k_base's, as a fraction.
const CLAUDE_FACTOR: (u64, u64) = (6, 5);

/// Tokens of a message besides its text, and of a request besides its messages.
const MESSAGE_TOKENS: u64 = 3;

const IMAGE_TOKENS: u64 = 765;
const IMAGE_TOKENS_LOW: u64 = 85;
const IMAGE_TOKENS_CLAUDE: u64 = 1600;
const IMAGE_TOKENS_GEMINI: u64 = 258;

/// Parts of a request that a model reads.
const READ_KEYS: [&str; 18] = [
    "messages",
    "system",
    "instructions",
    "input",
    "prompt",
    "suffix",
    "contents",
    "content",
    "requests",
    "systemInstruction",
    "system_instruction",
    "inputText",
    "tools",
    "toolConfig",
    "functions",
    "response_format",
    "text",
    "output_config",
];

/// Members that are no text for the model.
const SILENT_KEYS: [&str; 13] = [
    "type",
    "model",
    "taskType",
    "mimeType",
    "thoughtSignature",
    "role",
    "id",
    "cache_control",
    "call_id",
    "tool_call_id",
    "tool_use_id",
    "status",
    "signature",
];

/// Members of an answer that hold what was generated.
const GENERATED_KEYS: [&str; 14] = [
    "content",
    "text",
    "reasoning_content",
    "reasoning",
    "thinking",
    "refusal",
    "arguments",
    "partial_json",
    "delta",
    "transcript",
    "name",
    "input",
    "generation",
    "outputText",
];

/// Counts one text after another.
struct Counter {
    /// Loaded with the first text, and once for all: the vocabularies take tens of megabytes and up to a second.
    vocabulary: Option<&'static CoreBPE>,
    uses_cl100k: bool,
    claude: bool,
    tokens: u64,
    /// Tokens that are no text.
    others: u64,
    counted_bytes: usize,
    left_bytes: u64,
}

/// Input tokens of a request.
pub(crate) fn input(model: Option<&str>, shape: &Shape, body: &[u8]) -> u64 {
    let mut counter = Counter::new(model, shape);
    let Some(request) = parsed(body) else {
        return (body.len() as u64).div_ceil(BYTES_PER_TOKEN);
    };
    let mut found = false;
    for (key, value) in request.as_object().into_iter().flatten() {
        if !READ_KEYS.contains(&key.as_str()) {
            continue;
        }
        found = true;
        match value {
            Value::Array(items) if matches!(key.as_str(), "messages" | "contents") => {
                counter.others += MESSAGE_TOKENS * (items.len() as u64 + 1);
                counter.read(value);
            }
            Value::Array(_) | Value::Object(_)
                if matches!(key.as_str(), "tools" | "toolConfig" | "functions" | "response_format") =>
            {
                counter.add(&value.to_string());
            }
            _ => counter.read(value),
        }
    }
    if !found {
        counter.read(&request);
    }
    counter.total()
}

/// Output tokens of a JSON answer.
pub(crate) fn output(model: Option<&str>, shape: &Shape, body: &[u8]) -> u64 {
    let Some(answer) = parsed(body) else {
        return (body.len() as u64).div_ceil(BYTES_PER_TOKEN);
    };
    let mut counter = Counter::new(model, shape);
    let generated = match shape {
        Shape::Chat | Shape::Completion => answer.get("choices"),
        Shape::Response => answer.get("output"),
        Shape::Message => answer.get("content"),
        Shape::Content => answer.get("candidates"),
        Shape::Converse => answer.get("output"),
        _ => Some(&answer),
    };
    counter.generated(generated.unwrap_or(&Value::Null));
    counter.total()
}

/// Output tokens of a stream, of which the beginning is known.
pub(crate) fn streamed(model: Option<&str>, shape: &Shape, start: &[u8], total_bytes: u64) -> u64 {
    let mut counter = Counter::new(model, shape);
    for line in start.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let Some(event) = line
            .strip_prefix(b"data:")
            .and_then(|data| serde_json::from_slice::<Value>(data).ok())
        else {
            continue;
        };
        let generated = match shape {
            Shape::Chat | Shape::Completion => event.get("choices"),
            Shape::Response => {
                let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
                event.get("delta").filter(|_| kind.ends_with(".delta"))
            }
            Shape::Message => event
                .get("delta")
                .filter(|delta| delta.get("type").and_then(Value::as_str) != Some("signature_delta")),
            Shape::Content => event.get("candidates"),
            Shape::Converse => event.get("delta"),
            _ => Some(&event),
        };
        match generated {
            Some(Value::String(text)) => counter.add(text),
            Some(generated) => counter.generated(generated),
            None => {}
        }
    }
    scaled(counter.total(), total_bytes, start.len() as u64)
}

/// The document, unless it has more values than are taken apart: each stands behind a comma or a bracket.
fn parsed(body: &[u8]) -> Option<Value> {
    let may_have_many = body.len() > VALUES_MAX && memchr::memchr3_iter(b',', b'[', b'{', body).count() > VALUES_MAX;
    if may_have_many {
        None
    } else {
        serde_json::from_slice(body).ok()
    }
}

/// Output tokens of an answer that cannot be read.
pub(crate) fn unread(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN)
}

fn scaled(count: u64, whole: u64, part: u64) -> u64 {
    if part == 0 || whole <= part {
        return count;
    }
    let scaled = (u128::from(count) * u128::from(whole)).div_ceil(u128::from(part));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

// === impl Counter ===

impl Counter {
    fn new(model: Option<&str>, shape: &Shape) -> Self {
        let model = model.unwrap_or_default();
        let claude = matches!(shape, Shape::Message) || model.contains("claude");
        let uses_cl100k = !matches!(
            get_tokenizer(model),
            None | Some(Tokenizer::O200kBase | Tokenizer::O200kHarmony)
        );
        Self {
            vocabulary: None,
            uses_cl100k,
            claude,
            tokens: 0,
            others: 0,
            counted_bytes: 0,
            left_bytes: 0,
        }
    }

    fn add(&mut self, mut text: &str) {
        if text.is_empty() {
            return;
        }
        let uses_cl100k = self.uses_cl100k;
        let load = || {
            if uses_cl100k {
                tiktoken_rs::cl100k_base_singleton()
            } else {
                tiktoken_rs::o200k_base_singleton()
            }
        };
        let vocabulary = *self.vocabulary.get_or_insert_with(load);
        while !text.is_empty() {
            if self.counted_bytes >= COUNTED_BYTES_MAX {
                self.left_bytes += text.len() as u64;
                return;
            }
            let (piece, rest) = text.split_at(text.floor_char_boundary(PIECE_BYTES_MAX));
            self.tokens += vocabulary.count_ordinary(piece) as u64;
            self.counted_bytes += piece.len();
            text = rest;
        }
    }

    /// Adds what a model reads of a part of a request.
    fn read(&mut self, part: &Value) {
        match part {
            Value::String(text) => self.add(text),
            // A text that the client has already cut into tokens.
            Value::Number(_) => self.others += 1,
            Value::Array(items) => items.iter().for_each(|item| self.read(item)),
            Value::Object(members) => {
                match members.get("type").and_then(Value::as_str) {
                    Some("image_url" | "input_image" | "image") => {
                        self.others += self.image(part);
                        return;
                    }
                    Some("input_audio" | "file" | "input_file" | "document") => {
                        self.media(part);
                        return;
                    }
                    _ => {}
                }
                for (key, value) in members {
                    match (key.as_str(), value) {
                        (key, _) if SILENT_KEYS.contains(&key) => {}
                        ("inlineData" | "inline_data", Value::Object(_)) => self.inline(value),
                        // Bedrock names the kind by the member.
                        ("image", Value::Object(_)) => self.others += self.image(value),
                        ("document" | "video" | "audio", Value::Object(_)) => self.media(value),
                        _ => self.read(value),
                    }
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Adds what a part of Gemini's contents has in it as base64.
    fn inline(&mut self, part: &Value) {
        let kind = part.get("mimeType").or_else(|| part.get("mime_type"));
        match kind.and_then(Value::as_str) {
            Some(kind) if kind.starts_with("image/") => self.others += IMAGE_TOKENS_GEMINI,
            _ => {
                if let Some(bytes) = part.get("data") {
                    self.media(bytes);
                }
            }
        }
    }

    fn image(&self, part: &Value) -> u64 {
        let detail = part.get("detail").or_else(|| part.get("image_url")?.get("detail"));
        match detail.and_then(Value::as_str) {
            _ if self.claude => IMAGE_TOKENS_CLAUDE,
            Some("low") => IMAGE_TOKENS_LOW,
            _ => IMAGE_TOKENS,
        }
    }

    /// Adds documents and sound: long strings are base64, short ones names and titles; a document's plain text is counted as text.
    fn media(&mut self, part: &Value) {
        match part {
            Value::String(text) => {
                let is_base64 = text.len() > 256 && !text.contains(' ');
                if is_base64 {
                    self.others += (text.len() as u64).div_ceil(BASE64_BYTES_PER_TOKEN);
                } else {
                    self.add(text);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.media(item)),
            Value::Object(members) => {
                members
                    .iter()
                    .filter(|(key, _)| !SILENT_KEYS.contains(&key.as_str()))
                    .for_each(|(_, value)| self.media(value));
            }
            _ => {}
        }
    }

    /// Adds what was generated in a part of an answer.
    fn generated(&mut self, part: &Value) {
        match part {
            Value::Array(items) => items.iter().for_each(|item| self.generated(item)),
            Value::Object(members) => {
                for (key, value) in members {
                    match value {
                        Value::String(text) if GENERATED_KEYS.contains(&key.as_str()) => self.add(text),
                        // The arguments of tool calls: Anthropic's, Gemini's.
                        Value::Object(_) if key == "input" || key == "args" => self.add(&value.to_string()),
                        Value::Array(_) | Value::Object(_) => self.generated(value),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    fn total(&self) -> u64 {
        let text = scaled(
            self.tokens,
            self.counted_bytes as u64 + self.left_bytes,
            self.counted_bytes as u64,
        );
        let (times, by) = if self.claude { CLAUDE_FACTOR } else { (1, 1) };
        text.saturating_mul(times).div_ceil(by).saturating_add(self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(body: &str) -> u64 {
        input(Some("gpt-4o"), &Shape::Chat, body.as_bytes())
    }

    #[test]
    fn a_request_is_its_texts_and_three_tokens_for_every_message_and_for_itself() {
        // "hello world" are two tokens of o200k_base.
        assert_eq!(
            chat(r#"{"model":"gpt-4o","messages":[{"role":"user","content":"hello world"}]}"#),
            2 + 3 + 3
        );
        assert_eq!(
            chat(r#"{"messages":[{"role":"user","content":[{"type":"text","text":"hello world"}]}],"user":"nobody"}"#),
            2 + 3 + 3
        );
        assert_eq!(
            input(
                Some("claude-x"),
                &Shape::Message,
                br#"{"system":"hello world","messages":[]}"#
            ),
            3 + 3
        );
        assert_eq!(
            input(
                Some("text-embedding-3-small"),
                &Shape::Embeddings,
                br#"{"input":["hello world",[1,2,3]]}"#
            ),
            2 + 3
        );
    }

    #[test]
    fn images_count_by_their_rule_and_not_by_their_base64() {
        let image = |detail: &str| {
            let url = "A".repeat(100_000);
            chat(&format!(
                r#"{{"input":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{url}"{detail}}}}}]}}"#
            ))
        };
        assert_eq!(image(""), IMAGE_TOKENS);
        assert_eq!(image(r#","detail":"low""#), IMAGE_TOKENS_LOW);
        let source = "B".repeat(1600);
        let claude = format!(
            r#"{{"messages":[{{"content":[{{"type":"image","source":{{"data":"{source}"}}}},{{"type":"document","source":{{"type":"base64","data":"{source}"}}}}]}}]}}"#
        );
        assert_eq!(
            input(None, &Shape::Message, claude.as_bytes()),
            3 + 3 + IMAGE_TOKENS_CLAUDE + 100
        );
    }

    #[test]
    fn base64_in_the_words_of_google_and_aws_is_no_text() {
        let bytes = "QUJD".repeat(400);
        let gemini = format!(
            r#"{{"contents":[{{"role":"user","parts":[{{"text":"hello world"}},{{"inlineData":{{"mimeType":"image/png","data":"{bytes}"}}}},
            {{"inline_data":{{"mime_type":"audio/wav","data":"{bytes}"}}}}]}}]}}"#
        );
        // 1600 characters of base64 are 100 tokens; a message and a request have 3 each.
        assert_eq!(
            input(Some("gemini-3-pro"), &Shape::Content, gemini.as_bytes()),
            2 + 3 + 3 + IMAGE_TOKENS_GEMINI + 100
        );
        let bedrock = format!(
            r#"{{"messages":[{{"role":"user","content":[{{"text":"hello world"}},{{"image":{{"format":"png","source":{{"bytes":"{bytes}"}}}}}},
            {{"document":{{"source":{{"bytes":"{bytes}"}}}}}}]}}]}}"#
        );
        assert_eq!(
            input(Some("amazon.nova-pro-v1:0"), &Shape::Converse, bedrock.as_bytes()),
            2 + 3 + 3 + IMAGE_TOKENS + 100
        );
    }

    #[test]
    fn a_text_beyond_the_limit_is_extrapolated() {
        let text = "hello world ".repeat(2 * COUNTED_BYTES_MAX / 12);
        let half = chat(&format!(r#"{{"prompt":"{}"}}"#, &text[..text.len() / 2]));
        let whole = chat(&format!(r#"{{"prompt":"{text}"}}"#));
        assert!(whole.abs_diff(2 * half) < half / 1000, "{whole} {half}");
    }

    #[test]
    fn generated_text_is_found_in_every_shape() {
        let hello = r#""hello world""#;
        for (shape, body, tokens) in [
            (
                Shape::Chat,
                format!(
                    r#"{{"id":"x","choices":[{{"message":{{"role":"assistant","content":{hello}}},"finish_reason":"stop"}}]}}"#
                ),
                2,
            ),
            (Shape::Completion, format!(r#"{{"choices":[{{"text":{hello}}}]}}"#), 2),
            (
                Shape::Response,
                format!(
                    r#"{{"instructions":"do","output":[{{"type":"message","content":[{{"type":"output_text","text":{hello}}}]}}]}}"#
                ),
                2,
            ),
            (
                Shape::Message,
                format!(r#"{{"content":[{{"type":"text","text":{hello}}}]}}"#),
                3,
            ),
        ] {
            assert_eq!(output(None, &shape, body.as_bytes()), tokens, "{body}");
        }
        for (shape, event, tokens) in [
            (
                Shape::Chat,
                format!(r#"{{"choices":[{{"delta":{{"content":{hello}}}}}]}}"#),
                2,
            ),
            (
                Shape::Response,
                format!(r#"{{"type":"response.output_text.delta","delta":{hello}}}"#),
                2,
            ),
            (
                Shape::Response,
                format!(r#"{{"type":"response.output_text.done","text":{hello}}}"#),
                0,
            ),
            (
                Shape::Message,
                format!(r#"{{"type":"content_block_delta","delta":{{"type":"text_delta","text":{hello}}}}}"#),
                3,
            ),
        ] {
            let stream = format!("event: x\ndata: {event}\n\ndata: {{\"cut");
            assert_eq!(streamed(None, &shape, stream.as_bytes(), 0), tokens, "{event}");
            assert_eq!(streamed(None, &shape, stream.as_bytes(), 2 * stream.len() as u64), 2 * tokens);
        }
    }

    #[test]
    fn a_document_of_very_many_values_is_counted_by_bytes() {
        let body = |count: usize| format!(r#"{{"input":[{}0]}}"#, "0,".repeat(count));
        // A number is a token of a text that was cut already.
        let some = body(VALUES_MAX / 2);
        assert_eq!(input(None, &Shape::Embeddings, some.as_bytes()), VALUES_MAX as u64 / 2 + 1);
        let many = body(VALUES_MAX);
        assert_eq!(
            input(None, &Shape::Embeddings, many.as_bytes()),
            (many.len() as u64).div_ceil(BYTES_PER_TOKEN)
        );
        let text = format!(r#"{{"input":"{}"}}"#, "x".repeat(2 * VALUES_MAX));
        assert!(parsed(text.as_bytes()).is_some(), "a long text is one value");
    }

    #[test]
    fn what_cannot_be_read_is_counted_by_bytes() {
        assert_eq!(output(None, &Shape::Chat, b"{\"cut"), 2);
        assert_eq!(unread(9), 3);
    }
}
