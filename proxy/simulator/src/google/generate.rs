//! `generateContent` and `streamGenerateContent`: request, answer and stream.
//!
//! Every chunk of a stream is a whole response: a piece of text, and in `usageMetadata` the running totals, unasked. The
//! last piece's chunk has the finish reason. A function call is not cut into pieces. Thoughts come first, and only where
//! `includeThoughts` asks for them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::content::{Content as Sent, Many};
use crate::answer::{Answer, Content};
use crate::directive::UsageAt;
use crate::events::Events;
use crate::out::{Out, id};
use crate::prompt::{Last, Prompt, Str, Tally, parse};
use crate::refusal::Refusal;
use crate::route::Provider;
use crate::usage::Usage;

/// The most candidates that a request may ask for (Google's limit).
const CANDIDATES_MAX: usize = 8;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    contents: Option<Many<Sent<'a>>>,
    #[serde(rename = "systemInstruction", alias = "system_instruction", borrow)]
    system: Option<Sent<'a>>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(rename = "toolConfig", alias = "tool_config", borrow)]
    tool_config: Option<ToolConfig<'a>>,
    #[serde(rename = "generationConfig", alias = "generation_config", borrow)]
    config: Option<Config<'a>>,
}

#[derive(Deserialize)]
struct ToolConfig<'a> {
    #[serde(rename = "functionCallingConfig", alias = "function_calling_config", borrow)]
    calling: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Config<'a> {
    #[serde(rename = "maxOutputTokens", alias = "max_output_tokens")]
    tokens_max: Option<u64>,
    #[serde(rename = "candidateCount", alias = "candidate_count")]
    candidates: Option<usize>,
    #[serde(rename = "responseMimeType", alias = "response_mime_type", borrow)]
    kind: Option<Str<'a>>,
    #[serde(
        rename = "responseSchema",
        alias = "response_schema",
        alias = "responseJsonSchema",
        alias = "response_json_schema",
        borrow
    )]
    schema: Option<&'a RawValue>,
    #[serde(rename = "thinkingConfig", alias = "thinking_config")]
    thinking: Option<Thinking>,
}

#[derive(Deserialize)]
struct Thinking {
    #[serde(rename = "includeThoughts", alias = "include_thoughts")]
    shown: Option<bool>,
}

/// Reads a request; the model and whether to stream stand in its path.
///
/// # Errors
/// A refusal where it is not JSON or has no contents.
pub(crate) fn prompt<'a>(body: &'a [u8], model: &'a str, stream: bool) -> Result<Prompt<'a>, Refusal> {
    let request: Request<'_> = parse(body)?;
    let contents = request.contents.map_or(Vec::new(), |contents| contents.0);
    if contents.is_empty() {
        return Err(Refusal::FieldInvalid {
            name: "contents",
            reason: "contents is not specified",
        });
    }
    let config = request.config.unwrap_or_default();
    let choices = config.candidates.unwrap_or(1);
    if !(1..=CANDIDATES_MAX).contains(&choices) {
        return Err(Refusal::FieldInvalid {
            name: "generation_config.candidate_count",
            reason: "expected 1 to 8",
        });
    }
    let mut tally = Tally::new();
    for content in request.system.iter().chain(&contents) {
        content.count(&mut tally);
    }
    if let Some(tools) = request.tools {
        tally.text(tools.get());
    }
    let json = config.kind.is_some_and(|kind| kind.0 == "application/json");
    let schema = config.schema.map_or("{}", RawValue::get);
    Ok(Prompt {
        model: Str(Cow::Borrowed(model)),
        stream,
        include_usage: true,
        input_tokens: tally.input_tokens(),
        seed: tally.seed(),
        last: contents.last().map_or(Last::Other, Sent::speaker),
        tools: request.tools,
        tool_choice: request.tool_config.and_then(|config| config.calling),
        tokens_max: config.tokens_max,
        choices,
        schema: json.then_some(Cow::Borrowed(schema)),
        service_tier: None,
        thinking: config.thinking.is_some_and(|thinking| thinking.shown == Some(true)),
    })
}

/// Writes the whole answer.
pub(crate) fn json(answer: &Answer<'_>, out: &mut Out) {
    out.raw(r#"{"candidates":["#);
    for index in 0..answer.choices {
        out.raw(if index == 0 { "" } else { "," });
        candidate(answer, index, true, out, |out| {
            if let Some(thinking) = &answer.thinking {
                part(&thinking.body, true, out);
                out.raw(",");
            }
            content(answer, out);
        });
    }
    out.raw("]");
    end(answer, Some(&answer.usage), out);
}

/// Writes the stream.
pub(crate) fn stream(answer: &Answer<'_>, events: &mut Events) {
    if let Some(limit) = answer.error_after {
        events.limit(limit);
    }
    let thoughts = answer.thinking.as_ref().map_or(Vec::new(), |thinking| thinking.pieces());
    let mut pieces = match &answer.content {
        Content::Text(text) => text.pieces(),
        Content::Call(..) => Vec::new(),
    };
    if pieces.is_empty() {
        // The call, or a text without words, is a chunk all the same.
        pieces.push("");
    }
    let all = thoughts.len() + pieces.len();
    let spoken = thoughts.iter().map(|piece| (piece, true));
    for (at, (piece, thought)) in spoken.chain(pieces.iter().map(|piece| (piece, false))).enumerate() {
        let last = at + 1 == all;
        let running = answer.usage.with_output(answer.output_after(at + 1, all));
        let shown = (last || answer.usage_at != UsageAt::Finish).then_some(&running);
        for index in 0..answer.choices {
            events.event(None, true, |out| {
                out.raw(r#"{"candidates":["#);
                candidate(answer, index, last, out, |out| match (&answer.content, last) {
                    (Content::Call(..), true) => content(answer, out),
                    _ => part(piece, thought, out),
                });
                out.raw("]");
                end(answer, shown, out);
            });
        }
    }
    if answer.repeat_usage {
        events.event(None, false, |out| {
            out.raw(r#"{"candidates":[]"#);
            end(answer, Some(&answer.usage), out);
        });
    }
    if answer.error_after.is_some() {
        events.cut_at_limit();
        events.event(None, false, |out| {
            out.raw(r#"{"error":{"code":503,"message":"The model is overloaded. Please try again later.","#);
            out.raw(r#""status":"UNAVAILABLE"}}"#);
        });
    }
    events.end();
}

fn candidate(answer: &Answer<'_>, index: usize, last: bool, out: &mut Out, parts: impl FnOnce(&mut Out)) {
    out.raw(r#"{"content":{"parts":["#);
    parts(out);
    out.raw(r#"],"role":"model"}"#);
    if last {
        out.raw(r#","finishReason":"#)
            .string(if answer.cut_short() { "MAX_TOKENS" } else { "STOP" });
    }
    if last && answer.usage.web_search > 0 {
        out.raw(r#","groundingMetadata":{"webSearchQueries":["#);
        for number in 0..answer.usage.web_search {
            out.raw(if number == 0 { "" } else { "," })
                .string(&format!("simulated search {}", number + 1));
        }
        out.raw("]}");
    }
    out.raw(r#","index":"#).number(index as u64).raw("}");
}

/// The part or parts that are the answer.
fn content(answer: &Answer<'_>, out: &mut Out) {
    match &answer.content {
        Content::Text(text) => part(&text.body, false, out),
        Content::Call(name, arguments) => {
            out.raw(r#"{"functionCall":{"name":"#).string(name);
            out.raw(r#","args":"#).raw(&arguments.body).raw("}}");
        }
    }
}

fn part(text: &str, thought: bool, out: &mut Out) {
    out.raw(r#"{"text":"#)
        .string(text)
        .raw(if thought { r#","thought":true}"# } else { "}" });
}

/// What stands behind the candidates. On Vertex AI a chunk without counts has the traffic type all the same.
fn end(answer: &Answer<'_>, usage: Option<&Usage>, out: &mut Out) {
    let vertex = answer.provider == Provider::Vertex;
    let traffic = match &*answer.service_tier {
        "" => "ON_DEMAND",
        tier => tier,
    };
    match usage {
        Some(usage) if usage.reported() => usage.google(out.raw(r#","usageMetadata":"#), vertex.then_some(traffic)),
        None if vertex => {
            out.raw(r#","usageMetadata":{"trafficType":"#).string(traffic).raw("}");
        }
        _ => {}
    }
    out.raw(r#","modelVersion":"#).string(&answer.model);
    if vertex {
        out.raw(r#","createTime":"2026-01-01T00:00:00.000000Z""#);
    }
    out.raw(r#","responseId":"#).string(&id("", answer.seed, 22)).raw("}");
}
