//! What all endpoints need to know of a request: its text, counted and hashed, and what kind of answer it expects.
//!
//! The request types borrow from the body, and fields that do not change the answer are skipped. The counting rule:
//! the bytes of every text in messages, system blocks, instructions and tool results, plus the bytes of the `tools`
//! array as sent, divided by four and rounded up, plus 85 tokens an image; at least 1.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::out::Seed;
use crate::refusal::Refusal;
use crate::text::tokens_of_bytes;

/// The tokens that an image in the prompt counts.
pub(crate) const IMAGE_TOKENS: u64 = 85;

/// A string of the request: borrowed from the body where it has no escapes.
pub(crate) struct Str<'a>(pub(crate) Cow<'a, str>);

/// The content of a message: a string, or parts.
pub(crate) enum Content<'a> {
    Text(Str<'a>),
    Parts(Vec<Part<'a>>),
}

/// A part of a content list, of any provider.
#[derive(Deserialize)]
pub(crate) struct Part<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Str<'a>>,
    #[serde(borrow)]
    text: Option<Str<'a>>,
    /// The content of an Anthropic `tool_result`.
    #[serde(borrow)]
    content: Option<Content<'a>>,
}

/// A message of chat completions or messages, or an input item of responses.
#[derive(Deserialize)]
pub(crate) struct Message<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Str<'a>>,
    #[serde(borrow)]
    role: Option<Str<'a>>,
    #[serde(borrow)]
    content: Option<Content<'a>>,
    /// The output of a `function_call_output` item.
    #[serde(borrow)]
    output: Option<Content<'a>>,
}

/// Who spoke last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    User { asks_weather: bool },
    Tool,
    Other,
}

/// The text of a request, counted.
pub(crate) struct Tally {
    text_bytes: u64,
    images: u64,
    extra_tokens: u64,
    seed: Seed,
}

/// A request, as far as the answer depends on it.
pub(crate) struct Prompt<'a> {
    pub(crate) model: Str<'a>,
    pub(crate) stream: bool,
    /// Whether a stream shall end in a usage chunk (chat, completions).
    pub(crate) include_usage: bool,
    pub(crate) input_tokens: u64,
    pub(crate) seed: u64,
    pub(crate) last: Last,
    pub(crate) tools: Option<&'a RawValue>,
    pub(crate) tool_choice: Option<&'a RawValue>,
    pub(crate) tokens_max: Option<u64>,
    /// How many choices are asked for.
    pub(crate) choices: usize,
    /// The JSON schema that the answer must follow, or `{}` for any object.
    pub(crate) schema: Option<Cow<'a, str>>,
    pub(crate) service_tier: Option<Str<'a>>,
    /// Whether the request asks to be shown the thinking.
    pub(crate) thinking: bool,
}

/// Parses a request body.
///
/// # Errors
/// `JsonSyntax` where it is not JSON, `JsonType` where a field has a type that the provider does not take.
pub(crate) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Refusal::JsonType {
            reason: error.to_string(),
        },
        _ => Refusal::JsonSyntax {
            reason: error.to_string(),
        },
    })
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            text_bytes: 0,
            images: 0,
            extra_tokens: 0,
            seed: Seed::new(),
        }
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.text_bytes += text.len() as u64;
        self.seed.add(text.as_bytes());
    }

    /// Tokens that the request states as numbers (token arrays).
    pub(crate) fn tokens(&mut self, tokens: &[u32]) {
        self.extra_tokens += tokens.len() as u64;
        for token in tokens {
            self.seed.add(&token.to_le_bytes());
        }
    }

    pub(crate) fn content(&mut self, content: &Content<'_>) {
        match content {
            Content::Text(text) => self.text(&text.0),
            Content::Parts(parts) => {
                for part in parts {
                    self.part(part);
                }
            }
        }
    }

    fn part(&mut self, part: &Part<'_>) {
        if let Some(text) = &part.text {
            self.text(&text.0);
        }
        if let Some(content) = &part.content {
            self.content(content);
        }
        if matches!(part.kind(), "image_url" | "input_image" | "image") {
            self.image();
        }
    }

    /// An image, of any provider.
    pub(crate) fn image(&mut self) {
        self.images += 1;
    }

    /// Counts messages and says who spoke last.
    pub(crate) fn messages(&mut self, messages: &[Message<'_>]) -> Last {
        for message in messages {
            for content in [&message.content, &message.output].into_iter().flatten() {
                self.content(content);
            }
        }
        messages.last().map_or(Last::Other, Message::speaker)
    }

    pub(crate) fn input_tokens(&self) -> u64 {
        (tokens_of_bytes(self.text_bytes) + self.images * IMAGE_TOKENS + self.extra_tokens).max(1)
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed.0
    }
}

impl Part<'_> {
    fn kind(&self) -> &str {
        self.kind.as_ref().map_or("", |kind| &kind.0)
    }
}

impl Message<'_> {
    fn speaker(&self) -> Last {
        let text_of = |field: &Option<Str<'_>>| field.as_ref().map_or(String::new(), |text| text.0.to_string());
        let (kind, role) = (text_of(&self.kind), text_of(&self.role));
        if kind.ends_with("_output") || role == "tool" || role == "function" {
            return Last::Tool;
        }
        if role != "user" {
            return Last::Other;
        }
        match &self.content {
            Some(Content::Parts(parts)) if parts.iter().any(|part| part.kind() == "tool_result") => Last::Tool,
            Some(content) => Last::User {
                asks_weather: asks_weather(content),
            },
            None => Last::User { asks_weather: false },
        }
    }
}

/// Whether a text holds the word that makes the simulator call a tool.
pub(crate) fn names_weather(text: &str) -> bool {
    text.as_bytes()
        .windows(7)
        .any(|window| window.eq_ignore_ascii_case(b"weather"))
}

fn asks_weather(content: &Content<'_>) -> bool {
    match content {
        Content::Text(text) => names_weather(&text.0),
        Content::Parts(parts) => parts
            .iter()
            .any(|part| part.text.as_ref().is_some_and(|text| names_weather(&text.0))),
    }
}

// === impl Deserialize ===

struct StrVisitor;

impl<'de> Visitor<'de> for StrVisitor {
    type Value = Str<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Str(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Str(Cow::Owned(text.to_owned())))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(StrVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an array of parts")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Content::Text(Str(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Content::Text(Str(Cow::Owned(text.to_owned()))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = seq.next_element()? {
            parts.push(part);
        }
        Ok(Content::Parts(parts))
    }

    /// Some items (a tool search's result, a computer's screenshot) hold one object; it counts as no text.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Content::Parts(Vec::new()))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn tally(messages: &str) -> (u64, u64, Last) {
        let messages: Vec<Message<'_>> = parse(messages.as_bytes()).unwrap();
        let mut tally = Tally::new();
        let last = tally.messages(&messages);
        (tally.input_tokens(), tally.seed(), last)
    }

    #[test]
    fn four_bytes_of_text_are_a_token_and_the_rest_is_rounded_up() {
        assert_eq!(tally(r#"[{"role":"user","content":"12345678"}]"#).0, 2);
        assert_eq!(tally(r#"[{"role":"user","content":"123456789"}]"#).0, 3);
        assert_eq!(tally(r#"[{"role":"user","content":""}]"#).0, 1);
        assert_eq!(tally(r#"[{"role":"user","content":"\u00fc\n"}]"#).0, 1);
    }

    #[test]
    fn images_count_the_same_for_every_provider() {
        for part in [
            r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}"#,
            r#"{"type":"input_image","image_url":"https://example.com/a.png"}"#,
            r#"{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}"#,
        ] {
            let message = format!(r#"[{{"role":"user","content":[{{"type":"text","text":"1234"}},{part}]}}]"#);
            assert_eq!(tally(&message).0, 1 + IMAGE_TOKENS);
        }
    }

    #[test]
    fn the_last_speaker_is_told_apart() {
        let last = |messages: &str| tally(messages).2;
        assert_eq!(
            last(r#"[{"role":"user","content":"Weather?"}]"#),
            Last::User { asks_weather: true }
        );
        assert_eq!(
            last(r#"[{"role":"user","content":[{"type":"input_text","text":"hello"}]}]"#),
            Last::User { asks_weather: false }
        );
        assert_eq!(
            last(r#"[{"role":"tool","tool_call_id":"x","content":"weather"}]"#),
            Last::Tool
        );
        assert_eq!(
            last(r#"[{"type":"function_call_output","call_id":"x","output":"weather"}]"#),
            Last::Tool
        );
        assert_eq!(
            last(r#"[{"role":"user","content":[{"type":"tool_result","tool_use_id":"x","content":"weather"}]}]"#),
            Last::Tool
        );
        assert_eq!(last(r#"[{"role":"assistant","content":null}]"#), Last::Other);
    }

    #[test]
    fn syntax_and_type_errors_are_told_apart() {
        let parse = |body: &str| parse::<Vec<Message<'_>>>(body.as_bytes()).map(|_| ()).unwrap_err();
        assert!(matches!(parse("[{"), Refusal::JsonSyntax { .. }));
        assert!(matches!(parse("[{\"role\":5}]"), Refusal::JsonType { .. }));
        assert!(matches!(parse("{}"), Refusal::JsonType { .. }));
    }
}
