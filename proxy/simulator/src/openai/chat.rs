//! `POST /v1/chat/completions`: request, answer and stream.
//!
//! Stream: a chunk with the role, a chunk a piece, a chunk with the finish reason, then, only where
//! `stream_options.include_usage` asks for it, a chunk with empty `choices` and the usage of the whole request (the
//! other chunks then carry `"usage": null`), then `data: [DONE]`. With several choices they take turns. On Azure the
//! first chunk has empty `choices` too, and what its content filter says of the prompt; choices say it of the answer.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{StreamOptions, choices, error_event, model, streaming};
use crate::answer::{Answer, Content};
use crate::directive::UsageAt;
use crate::events::Events;
use crate::out::{CREATED, Out, id};
use crate::prompt::{Message, Prompt, Str, Tally, parse};
use crate::refusal::Refusal;
use crate::route::Provider;
use crate::usage::Usage;

/// What Azure's content filter says of harmless text.
const SAFE: &str = concat!(
    r#"{"hate":{"filtered":false,"severity":"safe"},"self_harm":{"filtered":false,"severity":"safe"},"#,
    r#""sexual":{"filtered":false,"severity":"safe"},"violence":{"filtered":false,"severity":"safe"}}"#
);

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    model: Option<Str<'a>>,
    #[serde(borrow)]
    messages: Option<Vec<Message<'a>>>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    n: Option<u64>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
    #[serde(borrow)]
    response_format: Option<ResponseFormat<'a>>,
    #[serde(borrow)]
    service_tier: Option<Str<'a>>,
}

#[derive(Deserialize)]
struct ResponseFormat<'a> {
    #[serde(rename = "type", borrow)]
    kind: Str<'a>,
    #[serde(borrow)]
    json_schema: Option<JsonSchema<'a>>,
}

#[derive(Deserialize)]
struct JsonSchema<'a> {
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
}

/// Reads a request.
///
/// # Errors
/// A refusal where it is not JSON or misses a field.
pub(crate) fn prompt<'a>(body: &'a [u8], deployment: Option<&'a str>) -> Result<Prompt<'a>, Refusal> {
    let request: Request<'_> = parse(body)?;
    let model = model(request.model, deployment)?;
    let messages = request.messages.ok_or(Refusal::FieldMissing { name: "messages" })?;
    if messages.is_empty() {
        return Err(Refusal::FieldInvalid {
            name: "messages",
            reason: "expected an array of at least one message",
        });
    }
    let (stream, include_usage) = streaming(request.stream, request.stream_options.as_ref())?;
    let mut tally = Tally::new();
    let last = tally.messages(&messages);
    if let Some(tools) = request.tools {
        tally.text(tools.get());
    }
    let schema = request.response_format.and_then(|format| match &*format.kind.0 {
        "json_schema" => format
            .json_schema
            .and_then(|json| json.schema)
            .map(|schema| Cow::Borrowed(schema.get())),
        "json_object" => Some(Cow::Borrowed("{}")),
        _ => None,
    });
    Ok(Prompt {
        model,
        stream,
        include_usage,
        input_tokens: tally.input_tokens(),
        seed: tally.seed(),
        last,
        tools: request.tools,
        tool_choice: request.tool_choice,
        tokens_max: request.max_completion_tokens.or(request.max_tokens),
        choices: choices(request.n)?,
        schema,
        service_tier: request.service_tier,
        thinking: false,
    })
}

/// Writes the whole answer.
pub(crate) fn json(answer: &Answer<'_>, out: &mut Out) {
    out.raw(r#"{"id":"#).string(&id("chatcmpl-", answer.seed, 29));
    out.raw(r#","object":"chat.completion","created":"#).number(CREATED);
    out.raw(r#","model":"#).string(&answer.model).raw(r#","choices":["#);
    for index in 0..answer.choices {
        out.raw(if index == 0 { r#"{"index":"# } else { r#",{"index":"# })
            .number(index as u64);
        out.raw(r#","message":{"role":"assistant","content":"#);
        match &answer.content {
            Content::Text(text) => {
                out.string(&text.body).raw(r#","refusal":null,"annotations":[]"#);
            }
            Content::Call(name, arguments) => {
                out.raw(r#"null,"tool_calls":[{"id":"#).string(&call_id(answer, index));
                out.raw(r#","type":"function","function":{"name":"#).string(name);
                out.raw(r#","arguments":"#).string(&arguments.body);
                out.raw(r#"}}],"refusal":null,"annotations":[]"#);
            }
        }
        out.raw(r#"},"logprobs":null,"finish_reason":"#).string(finish_reason(answer));
        if answer.provider == Provider::Azure {
            out.raw(r#","content_filter_results":"#).raw(SAFE);
        }
        out.raw("}");
    }
    out.raw("]");
    if answer.provider == Provider::Azure {
        prompt_filter(out.raw(","));
    }
    answer.usage.chat_member(out);
    out.raw(r#","service_tier":"#).string(&answer.service_tier);
    out.raw(r#","system_fingerprint":"fp_0simulator"}"#);
}

/// Writes the stream.
pub(crate) fn stream(answer: &Answer<'_>, events: &mut Events) {
    let (text, pieces) = match &answer.content {
        Content::Text(text) => (true, text.pieces()),
        Content::Call(_, arguments) => (false, arguments.pieces()),
    };
    let chunk = Chunk::new(answer);
    if let Some(limit) = answer.error_after {
        events.limit(limit);
    }
    if answer.provider == Provider::Azure {
        events.event(None, false, |out| {
            out.raw(r#"{"choices":[],"created":0,"id":"","model":"","object":"","#);
            prompt_filter(out);
            out.raw("}");
        });
    }
    for index in 0..answer.choices {
        chunk.write(events, index, None, None, false, |out| match &answer.content {
            Content::Text(_) => {
                out.raw(r#"{"role":"assistant","content":"","refusal":null}"#);
            }
            Content::Call(name, _) => {
                out.raw(r#"{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"#);
                out.string(&call_id(answer, index))
                    .raw(r#","type":"function","function":{"name":"#);
                out.string(name).raw(r#","arguments":""}}],"refusal":null}"#);
            }
        });
    }
    for (at, piece) in pieces.iter().enumerate() {
        let running =
            (answer.usage_at == UsageAt::Every).then(|| answer.usage.with_output(answer.output_after(at + 1, pieces.len())));
        for index in 0..answer.choices {
            chunk.write(events, index, None, running.as_ref(), true, |out| {
                if text {
                    out.raw(r#"{"content":"#).string(piece).raw("}");
                } else {
                    out.raw(r#"{"tool_calls":[{"index":0,"function":{"arguments":"#)
                        .string(piece)
                        .raw("}}]}");
                }
            });
        }
    }
    let on_finish = matches!(answer.usage_at, UsageAt::Finish | UsageAt::Every);
    for index in 0..answer.choices {
        let usage = (on_finish && index + 1 == answer.choices).then_some(&answer.usage);
        chunk.write(events, index, Some(finish_reason(answer)), usage, false, |out| {
            out.raw("{}");
        });
    }
    if answer.include_usage && answer.usage.reported() && answer.usage_at != UsageAt::Finish {
        for _ in 0..=usize::from(answer.repeat_usage) {
            chunk.usage(events, answer);
        }
    }
    if answer.error_after.is_some() {
        error_event(events);
    } else {
        events.event(None, false, |out| {
            out.raw("[DONE]");
        });
    }
}

/// `"prompt_filter_results":[...]`
fn prompt_filter(out: &mut Out) {
    out.raw(r#""prompt_filter_results":[{"prompt_index":0,"content_filter_results":"#)
        .raw(SAFE)
        .raw("}]");
}

fn finish_reason(answer: &Answer<'_>) -> &'static str {
    match &answer.content {
        Content::Call(..) => "tool_calls",
        Content::Text(text) if text.cut_short => "length",
        Content::Text(_) => "stop",
    }
}

fn call_id(answer: &Answer<'_>, choice: usize) -> String {
    id("call_", answer.seed.wrapping_add(1 + choice as u64), 24)
}

/// The parts of a chunk that all chunks of a stream share.
struct Chunk {
    head: String,
    null_usage: bool,
    /// Whether choices say what a content filter says.
    filtered: bool,
}

impl Chunk {
    fn new(answer: &Answer<'_>) -> Self {
        let mut out = Out::with_capacity(256);
        out.raw(r#"{"id":"#).string(&id("chatcmpl-", answer.seed, 29));
        out.raw(r#","object":"chat.completion.chunk","created":"#).number(CREATED);
        out.raw(r#","model":"#).string(&answer.model);
        out.raw(r#","service_tier":"#).string(&answer.service_tier);
        out.raw(r#","system_fingerprint":"fp_0simulator""#);
        let head = String::from_utf8(out.0).expect("only strings were written");
        Self {
            head,
            null_usage: answer.include_usage,
            filtered: answer.provider == Provider::Azure,
        }
    }

    fn write(
        &self,
        events: &mut Events,
        index: usize,
        finish_reason: Option<&str>,
        usage: Option<&Usage>,
        paced: bool,
        delta: impl FnOnce(&mut Out),
    ) {
        events.event(None, paced, |out| {
            out.raw(&self.head)
                .raw(r#","choices":[{"index":"#)
                .number(index as u64)
                .raw(r#","delta":"#);
            delta(out);
            match finish_reason {
                Some(reason) => out.raw(r#","logprobs":null,"finish_reason":"#).string(reason),
                None => out.raw(r#","logprobs":null,"finish_reason":null"#),
            };
            if self.filtered {
                // The role's chunk and the last one have nothing to filter.
                out.raw(r#","content_filter_results":"#).raw(if paced { SAFE } else { "{}" });
            }
            out.raw("}]");
            match usage {
                Some(usage) => usage.chat_member(out),
                None if self.null_usage => {
                    out.raw(r#","usage":null"#);
                }
                None => {}
            }
            out.raw("}");
        });
    }

    /// The last chunk, with the usage of the whole request.
    fn usage(&self, events: &mut Events, answer: &Answer<'_>) {
        events.event(None, false, |out| {
            out.raw(&self.head).raw(match answer.usage_at {
                UsageAt::NoChoices => "",
                UsageAt::EmptyDelta => r#","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":null}]"#,
                _ => r#","choices":[]"#,
            });
            answer.usage.chat_member(out);
            out.raw("}");
        });
    }
}
