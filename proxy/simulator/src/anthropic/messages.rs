//! `POST /v1/messages` and `POST /v1/messages/count_tokens`: request, answer and stream.
//!
//! Stream: `message_start` with the input usage and a placeholder of one output token, the content blocks one after
//! the other (`content_block_start`, deltas, `content_block_stop`), a `ping` after the first start, `message_delta`
//! with the stop reason and the cumulative usage, `message_stop`. Deltas carry no split by cache lifetime.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::answer::{Answer, Content};
use crate::directive::UsageAt;
use crate::events::Events;
use crate::out::{Out, base64, id};
use crate::prompt::{Content as Sent, Message, Prompt, Str, Tally, parse};
use crate::refusal::Refusal;
use crate::route::Provider;
use crate::text::Text;
use crate::usage::Usage;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    model: Option<Str<'a>>,
    max_tokens: Option<u64>,
    #[serde(borrow)]
    messages: Option<Vec<Message<'a>>>,
    #[serde(borrow)]
    system: Option<Sent<'a>>,
    stream: Option<bool>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
    #[serde(borrow)]
    thinking: Option<Thinking<'a>>,
    #[serde(borrow)]
    output_config: Option<OutputConfig<'a>>,
    #[serde(borrow)]
    output_format: Option<Format<'a>>,
    #[serde(borrow)]
    service_tier: Option<Str<'a>>,
    /// Stands in the body where Anthropic's models are hosted by others, and in a header with Anthropic.
    #[serde(borrow)]
    anthropic_version: Option<Str<'a>>,
}

#[derive(Deserialize)]
struct Thinking<'a> {
    #[serde(rename = "type", borrow)]
    kind: Str<'a>,
}

#[derive(Deserialize)]
struct OutputConfig<'a> {
    #[serde(borrow)]
    format: Option<Format<'a>>,
}

#[derive(Deserialize)]
struct Format<'a> {
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
}

/// Reads a request whose path says whether to stream.
///
/// # Errors
/// As [`prompt`].
pub(crate) fn invoked<'a>(body: &'a [u8], model: &'a str, stream: bool) -> Result<Prompt<'a>, Refusal> {
    let prompt = prompt(body, Some(model), false)?;
    Ok(Prompt { stream, ..prompt })
}

/// Reads a request; `named` is the model where the path names it.
///
/// # Errors
/// A refusal where it is not JSON or misses a field; `max_tokens` is required unless tokens are only counted.
pub(crate) fn prompt<'a>(body: &'a [u8], named: Option<&'a str>, count_only: bool) -> Result<Prompt<'a>, Refusal> {
    let request: Request<'_> = parse(body)?;
    if named.is_some() && request.anthropic_version.is_none() {
        let name = "anthropic_version";
        return Err(Refusal::FieldMissing { name });
    }
    let named = named.map(|name| Str(Cow::Borrowed(name)));
    let model = request.model.or(named).ok_or(Refusal::FieldMissing { name: "model" })?;
    if request.max_tokens.is_none() && !count_only {
        return Err(Refusal::FieldMissing { name: "max_tokens" });
    }
    let messages = request.messages.ok_or(Refusal::FieldMissing { name: "messages" })?;
    if messages.is_empty() {
        return Err(Refusal::FieldInvalid {
            name: "messages",
            reason: "at least one message is required",
        });
    }
    let mut tally = Tally::new();
    if let Some(system) = &request.system {
        tally.content(system);
    }
    let last = tally.messages(&messages);
    if let Some(tools) = request.tools {
        tally.text(tools.get());
    }
    let format = request
        .output_config
        .and_then(|config| config.format)
        .or(request.output_format);
    Ok(Prompt {
        model,
        stream: request.stream.unwrap_or(false),
        include_usage: true,
        input_tokens: tally.input_tokens(),
        seed: tally.seed(),
        last,
        tools: request.tools,
        tool_choice: request.tool_choice,
        tokens_max: request.max_tokens,
        choices: 1,
        schema: format
            .and_then(|format| format.schema)
            .map(|schema| Cow::Borrowed(schema.get())),
        service_tier: request.service_tier,
        thinking: request
            .thinking
            .is_some_and(|thinking| matches!(&*thinking.kind.0, "enabled" | "adaptive")),
    })
}

/// Writes the answer to `count_tokens`.
pub(crate) fn count(prompt: &Prompt<'_>, out: &mut Out) {
    out.raw(r#"{"input_tokens":"#).number(prompt.input_tokens).raw("}");
}

/// Writes the whole answer.
pub(crate) fn json(answer: &Answer<'_>, out: &mut Out) {
    head(answer, out);
    if let Some(thinking) = &answer.thinking {
        out.raw(r#"{"type":"thinking","thinking":"#).string(&thinking.body);
        out.raw(r#","signature":"#).string(&signature(answer)).raw("},");
    }
    match &answer.content {
        Content::Text(text) => {
            out.raw(r#"{"type":"text","text":"#).string(&text.body).raw("}");
        }
        Content::Call(name, arguments) => {
            out.raw(r#"{"type":"tool_use","id":"#)
                .string(&call_id(answer))
                .raw(r#","name":"#)
                .string(name);
            out.raw(r#","input":"#).raw(&arguments.body).raw("}");
        }
    }
    out.raw(r#"],"stop_reason":"#)
        .string(stop_reason(answer))
        .raw(r#","stop_sequence":null"#);
    usage_member(answer, &answer.usage, out);
    out.raw("}");
}

/// Writes the stream.
pub(crate) fn stream(answer: &Answer<'_>, events: &mut Events) {
    if let Some(limit) = answer.error_after {
        events.limit(limit);
    }
    named(events, "message_start", false, |out| {
        head(answer, out.raw(r#","message":"#));
        out.raw(r#"],"stop_reason":null,"stop_sequence":null"#);
        let mut start = match answer.usage_at {
            UsageAt::Delta => answer.usage.empty(),
            // One token is a placeholder; what is asked to be zero stays zero.
            _ => answer.usage.with_output(answer.usage.output.min(1)),
        };
        (start.reasoning, start.web_search) = (0, 0);
        usage_member(answer, &start, out);
        out.raw("}");
    });
    let mut index = 0;
    if let Some(thinking) = &answer.thinking {
        block(
            events,
            index,
            thinking,
            r#"{"type":"thinking","thinking":"","signature":""}"#,
            "thinking_delta",
            "thinking",
        );
        named(events, "content_block_delta", false, |out| {
            out.raw(r#","index":"#)
                .number(index)
                .raw(r#","delta":{"type":"signature_delta","signature":"#);
            out.string(&signature(answer)).raw("}");
        });
        stop(events, index);
        index += 1;
    }
    match &answer.content {
        Content::Text(text) => {
            block(events, index, text, r#"{"type":"text","text":""}"#, "text_delta", "text");
        }
        Content::Call(name, arguments) => {
            let mut start = Out::default();
            start
                .raw(r#"{"type":"tool_use","id":"#)
                .string(&call_id(answer))
                .raw(r#","name":"#)
                .string(name);
            start.raw(r#","input":{}}"#);
            let start = String::from_utf8(start.0).expect("only strings were written");
            block(events, index, arguments, &start, "input_json_delta", "partial_json");
        }
    }
    stop(events, index);
    if answer.usage_at == UsageAt::Every {
        message_delta(events, answer, None, &answer.usage.with_output(answer.output_after(1, 2)));
    }
    for _ in 0..=usize::from(answer.repeat_usage) {
        message_delta(events, answer, Some(stop_reason(answer)), &answer.usage);
    }
    if answer.error_after.is_some() {
        events.cut_at_limit();
        if answer.provider == Provider::Bedrock {
            events.exception();
            return;
        }
        named(events, "error", false, |out| {
            out.raw(r#","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":null"#);
        });
    } else {
        named(events, "message_stop", false, |out| {
            if answer.provider == Provider::Bedrock {
                answer.usage.metrics_member(true, out);
            }
        });
    }
}

/// An event whose data begins with its own name.
fn named(events: &mut Events, name: &str, paced: bool, rest: impl FnOnce(&mut Out)) {
    events.event(Some(name), paced, |out| {
        out.raw(r#"{"type":"#).string(name);
        rest(out);
        out.raw("}");
    });
}

/// The start of a content block and its deltas.
fn block(events: &mut Events, index: u64, text: &Text, start: &str, delta: &str, field: &str) {
    named(events, "content_block_start", false, |out| {
        out.raw(r#","index":"#).number(index).raw(r#","content_block":"#).raw(start);
    });
    if index == 0 {
        named(events, "ping", false, |_| {});
    }
    for piece in text.pieces() {
        named(events, "content_block_delta", true, |out| {
            out.raw(r#","index":"#)
                .number(index)
                .raw(r#","delta":{"type":"#)
                .string(delta);
            out.raw(",").string(field).raw(":").string(piece).raw("}");
        });
    }
}

fn stop(events: &mut Events, index: u64) {
    named(events, "content_block_stop", false, |out| {
        out.raw(r#","index":"#).number(index);
    });
}

fn message_delta(events: &mut Events, answer: &Answer<'_>, stop_reason: Option<&str>, usage: &Usage) {
    named(events, "message_delta", false, |out| {
        out.raw(r#","delta":{"stop_reason":"#);
        match stop_reason {
            Some(reason) => out.string(reason),
            None => out.raw("null"),
        };
        out.raw(r#","stop_sequence":null}"#);
        if usage.reported() {
            usage.message_delta(out.raw(r#","usage":"#), answer.usage_at != UsageAt::Start);
        }
    });
}

/// The beginning of a message, up to the open list of its content.
fn head(answer: &Answer<'_>, out: &mut Out) {
    let prefix = match answer.provider {
        Provider::VertexAnthropic => "msg_vrtx_01",
        Provider::Bedrock => "msg_bdrk_01",
        _ => "msg_01",
    };
    out.raw(r#"{"id":"#).string(&id(prefix, answer.seed, 22));
    out.raw(r#","type":"message","role":"assistant","model":"#)
        .string(&answer.model)
        .raw(r#","content":["#);
}

fn usage_member(answer: &Answer<'_>, usage: &Usage, out: &mut Out) {
    if usage.reported() {
        let own = answer.provider == Provider::Anthropic;
        usage.message(out.raw(r#","usage":"#), own.then_some(&*answer.service_tier));
    }
}

fn stop_reason(answer: &Answer<'_>) -> &'static str {
    match &answer.content {
        Content::Call(..) => "tool_use",
        Content::Text(text) if text.cut_short => "max_tokens",
        Content::Text(_) => "end_turn",
    }
}

fn call_id(answer: &Answer<'_>) -> String {
    id("toolu_01", answer.seed.wrapping_add(1), 22)
}

fn signature(answer: &Answer<'_>) -> String {
    base64(id("", answer.seed.wrapping_add(2), 60).as_bytes())
}
