//! `Converse` and `ConverseStream`, and Amazon Nova's bodies of `InvokeModel`, which are like them.
//!
//! Stream: `messageStart`, for each block `contentBlockStart` (of a tool call only), deltas and `contentBlockStop`, then
//! `messageStop`, and at last, unasked, `metadata` with the usage. Nova wraps each in an object of that one member.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::answer::{Answer, Content};
use crate::events::Events;
use crate::out::{Out, base64, id};
use crate::prompt::{Last, Prompt, Str, Tally, names_weather, parse};
use crate::refusal::Refusal;
use crate::text::Text;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow)]
    messages: Option<Vec<Message<'a>>>,
    #[serde(borrow)]
    system: Option<Vec<Block<'a>>>,
    inference_config: Option<InferenceConfig>,
    #[serde(borrow)]
    tool_config: Option<ToolConfig<'a>>,
    #[serde(borrow)]
    additional_model_request_fields: Option<Additional<'a>>,
    #[serde(borrow)]
    service_tier: Option<Typed<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Option<Str<'a>>,
    #[serde(borrow)]
    content: Option<Vec<Block<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block<'a> {
    #[serde(borrow)]
    text: Option<Str<'a>>,
    /// A tool's result that is not text.
    #[serde(borrow)]
    json: Option<&'a RawValue>,
    image: Option<IgnoredAny>,
    #[serde(borrow)]
    tool_result: Option<ToolResult<'a>>,
}

#[derive(Deserialize)]
struct ToolResult<'a> {
    #[serde(borrow)]
    content: Option<Vec<Block<'a>>>,
}

#[derive(Deserialize)]
struct InferenceConfig {
    #[serde(rename = "maxTokens", alias = "max_new_tokens", alias = "maxNewTokens")]
    tokens_max: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolConfig<'a> {
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Additional<'a> {
    #[serde(borrow)]
    thinking: Option<Typed<'a>>,
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(rename = "type", borrow)]
    kind: Str<'a>,
}

/// Which of the two ways to write it is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Converse,
    Nova,
}

/// Reads a request; the model and whether to stream stand in its path.
///
/// # Errors
/// A refusal where it is not JSON or has no messages.
pub(crate) fn prompt<'a>(body: &'a [u8], model: &'a str, stream: bool) -> Result<Prompt<'a>, Refusal> {
    let request: Request<'_> = parse(body)?;
    let messages = request.messages.unwrap_or_default();
    if messages.is_empty() {
        return Err(Refusal::FieldInvalid {
            name: "messages",
            reason: "a conversation must have at least one message",
        });
    }
    let mut tally = Tally::new();
    let system = request.system.iter().flatten();
    for block in system.chain(messages.iter().flat_map(Message::blocks)) {
        block.count(&mut tally);
    }
    let (tools, tool_choice) = request
        .tool_config
        .map_or((None, None), |config| (config.tools, config.tool_choice));
    if let Some(tools) = tools {
        tally.text(tools.get());
    }
    let thinking = request.additional_model_request_fields.and_then(|fields| fields.thinking);
    Ok(Prompt {
        model: Str(Cow::Borrowed(model)),
        stream,
        include_usage: true,
        input_tokens: tally.input_tokens(),
        seed: tally.seed(),
        last: messages.last().map_or(Last::Other, Message::speaker),
        tools,
        tool_choice,
        tokens_max: request.inference_config.and_then(|config| config.tokens_max),
        choices: 1,
        schema: None,
        service_tier: request.service_tier.map(|tier| tier.kind),
        thinking: thinking.is_some_and(|thinking| matches!(&*thinking.kind.0, "enabled" | "adaptive")),
    })
}

impl Message<'_> {
    fn blocks(&self) -> &[Block<'_>] {
        self.content.as_deref().unwrap_or_default()
    }

    fn speaker(&self) -> Last {
        if self.blocks().iter().any(|block| block.tool_result.is_some()) {
            return Last::Tool;
        }
        match self.role.as_ref().map_or("", |role| &*role.0) {
            "user" => Last::User {
                asks_weather: self
                    .blocks()
                    .iter()
                    .any(|block| block.text.as_ref().is_some_and(|text| names_weather(&text.0))),
            },
            _ => Last::Other,
        }
    }
}

impl Block<'_> {
    fn count(&self, tally: &mut Tally) {
        if let Some(text) = &self.text {
            tally.text(&text.0);
        }
        if let Some(json) = self.json {
            tally.text(json.get());
        }
        if self.image.is_some() {
            tally.image();
        }
        let inner = self.tool_result.iter().filter_map(|result| result.content.as_ref());
        for block in inner.flatten() {
            block.count(tally);
        }
    }
}

/// Writes the whole answer.
pub(crate) fn json(answer: &Answer<'_>, prompt: &Prompt<'_>, dialect: Dialect, out: &mut Out) {
    out.raw(r#"{"output":{"message":{"content":["#);
    if let Some(thinking) = &answer.thinking {
        out.raw(r#"{"reasoningContent":{"reasoningText":{"text":"#)
            .string(&thinking.body);
        out.raw(r#","signature":"#).string(&signature(answer)).raw("}}},");
    }
    match &answer.content {
        Content::Text(text) => {
            out.raw(r#"{"text":"#).string(&text.body).raw("}");
        }
        Content::Call(name, arguments) => {
            out.raw(r#"{"toolUse":{"toolUseId":"#).string(&call_id(answer));
            out.raw(r#","name":"#).string(name);
            out.raw(r#","input":"#).raw(&arguments.body).raw("}}");
        }
    }
    out.raw(r#"],"role":"assistant"}},"stopReason":"#).string(stop_reason(answer));
    end(answer, prompt, dialect, out);
}

/// Writes the stream.
pub(crate) fn stream(answer: &Answer<'_>, prompt: &Prompt<'_>, dialect: Dialect, events: &mut Events) {
    if let Some(limit) = answer.error_after {
        events.limit(limit);
    }
    let mut stream = Stream { events, dialect };
    stream.event("messageStart", false, |out| {
        out.raw(r#""role":"assistant""#);
    });
    let mut index = 0;
    if let Some(thinking) = &answer.thinking {
        stream.deltas(index, thinking, r#"{"reasoningContent":{"text":"#, "}}");
        stream.delta(index, false, |out| {
            out.raw(r#"{"reasoningContent":{"signature":"#)
                .string(&signature(answer))
                .raw("}}");
        });
        stream.stop(index);
        index += 1;
    }
    match &answer.content {
        Content::Text(text) => stream.deltas(index, text, r#"{"text":"#, "}"),
        Content::Call(name, arguments) => {
            stream.event("contentBlockStart", false, |out| {
                out.raw(r#""contentBlockIndex":"#).number(index);
                out.raw(r#","start":{"toolUse":{"toolUseId":"#).string(&call_id(answer));
                out.raw(r#","name":"#).string(name).raw("}}");
            });
            stream.deltas(index, arguments, r#"{"toolUse":{"input":"#, "}}");
        }
    }
    stream.stop(index);
    stream.event("messageStop", false, |out| {
        out.raw(r#""stopReason":"#).string(stop_reason(answer));
    });
    for _ in 0..=usize::from(answer.repeat_usage) {
        stream.metadata(answer, prompt);
    }
    if answer.error_after.is_some() {
        events.cut_at_limit();
        events.exception();
    }
}

/// A stream being written.
struct Stream<'e> {
    events: &'e mut Events,
    dialect: Dialect,
}

impl Stream<'_> {
    /// An event of the members that are written.
    fn event(&mut self, name: &str, paced: bool, members: impl FnOnce(&mut Out)) {
        let nova = self.dialect == Dialect::Nova;
        self.events.event(Some(name), paced, |out| {
            if nova {
                out.raw("{").string(name).raw(":");
            }
            out.raw("{");
            members(out);
            out.raw(if nova { "}}" } else { "}" });
        });
    }

    fn delta(&mut self, index: u64, paced: bool, delta: impl FnOnce(&mut Out)) {
        self.event("contentBlockDelta", paced, |out| {
            out.raw(r#""contentBlockIndex":"#).number(index).raw(r#","delta":"#);
            delta(out);
        });
    }

    fn deltas(&mut self, index: u64, text: &Text, before: &str, after: &str) {
        for piece in text.pieces() {
            self.delta(index, true, |out| {
                out.raw(before).string(piece).raw(after);
            });
        }
    }

    fn stop(&mut self, index: u64) {
        self.event("contentBlockStop", false, |out| {
            out.raw(r#""contentBlockIndex":"#).number(index);
        });
    }

    fn metadata(&mut self, answer: &Answer<'_>, prompt: &Prompt<'_>) {
        let dialect = self.dialect;
        self.events.event(Some("metadata"), false, |out| {
            out.raw(match dialect {
                Dialect::Converse => r#"{"metrics":{"latencyMs":12}"#,
                Dialect::Nova => r#"{"metadata":{"metrics":{}"#,
            });
            match dialect {
                Dialect::Converse => end(answer, prompt, dialect, out),
                Dialect::Nova => {
                    end(answer, prompt, dialect, out);
                    answer.usage.metrics_member(true, out);
                    out.raw("}");
                }
            }
        });
    }
}

/// Usage and what stands behind it, up to the end of the object.
fn end(answer: &Answer<'_>, prompt: &Prompt<'_>, dialect: Dialect, out: &mut Out) {
    if answer.usage.reported() {
        out.raw(r#","usage":"#);
        match dialect {
            Dialect::Converse => answer.usage.converse(out),
            Dialect::Nova => answer.usage.nova(out),
        }
    }
    if dialect == Dialect::Converse {
        if !prompt.stream {
            out.raw(r#","metrics":{"latencyMs":12}"#);
        }
        out.raw(r#","serviceTier":{"type":"#).string(&answer.service_tier).raw("}");
        // A prompt router is the one case in which the answer names another model than the path.
        if answer.model != prompt.model.0 {
            out.raw(r#","trace":{"promptRouter":{"invokedModelId":"#)
                .string(&answer.model)
                .raw("}}");
        }
    }
    out.raw("}");
}

fn stop_reason(answer: &Answer<'_>) -> &'static str {
    match &answer.content {
        Content::Call(..) => "tool_use",
        Content::Text(text) if text.cut_short => "max_tokens",
        Content::Text(_) => "end_turn",
    }
}

fn call_id(answer: &Answer<'_>) -> String {
    id("tooluse_", answer.seed.wrapping_add(1), 22)
}

fn signature(answer: &Answer<'_>) -> String {
    base64(id("", answer.seed.wrapping_add(2), 60).as_bytes())
}
