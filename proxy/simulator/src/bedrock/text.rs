//! Bodies of `InvokeModel` that take a text and give one: Titan's, Llama's and Mistral's.
//!
//! Titan and Llama count tokens in the body, Mistral's models do not: there the headers and, in a stream, the last
//! chunk's invocation metrics are all there is.

use std::borrow::Cow;

use serde::Deserialize;

use super::Vendor;
use crate::answer::{Answer, Content};
use crate::events::Events;
use crate::out::Out;
use crate::prompt::{Last, Prompt, Str, Tally, parse};
use crate::refusal::Refusal;
use crate::usage::Usage;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(alias = "inputText", borrow)]
    prompt: Option<Str<'a>>,
    #[serde(alias = "max_gen_len")]
    max_tokens: Option<u64>,
    #[serde(rename = "textGenerationConfig")]
    config: Option<Config>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(rename = "maxTokenCount")]
    tokens_max: Option<u64>,
}

/// Reads a request of any of the three.
///
/// # Errors
/// A refusal where it is not JSON or has no prompt.
pub(crate) fn prompt<'a>(body: &'a [u8], model: &'a str, stream: bool) -> Result<Prompt<'a>, Refusal> {
    let request: Request<'_> = parse(body)?;
    let text = request.prompt.ok_or(Refusal::FieldMissing { name: "prompt" })?;
    let mut tally = Tally::new();
    tally.text(&text.0);
    Ok(Prompt {
        model: Str(Cow::Borrowed(model)),
        stream,
        include_usage: true,
        input_tokens: tally.input_tokens(),
        seed: tally.seed(),
        last: Last::Other,
        tools: None,
        tool_choice: None,
        tokens_max: request.max_tokens.or(request.config.and_then(|config| config.tokens_max)),
        choices: 1,
        schema: None,
        service_tier: None,
        thinking: false,
    })
}

/// Writes the whole answer.
pub(crate) fn json(answer: &Answer<'_>, vendor: Vendor, out: &mut Out) {
    let (text, usage) = (text(answer), &answer.usage);
    match vendor {
        Vendor::TitanText => {
            out.raw("{");
            count("inputTextTokenCount", usage, usage.input, out);
            out.raw(r#""results":[{"#);
            count("tokenCount", usage, usage.output, out);
            out.raw(r#""outputText":"#).string(text);
            out.raw(r#","completionReason":"#).string(reason(answer, vendor)).raw("}]}");
        }
        Vendor::Llama => {
            out.raw(r#"{"generation":"#).string(text).raw(",");
            count("prompt_token_count", usage, usage.input, out);
            count("generation_token_count", usage, usage.output, out);
            out.raw(r#""stop_reason":"#).string(reason(answer, vendor)).raw("}");
        }
        _ => {
            out.raw(r#"{"outputs":[{"text":"#).string(text);
            out.raw(r#","stop_reason":"#).string(reason(answer, vendor)).raw("}]}");
        }
    }
}

/// Writes the stream: a chunk a piece, and a last one with the reason of the end and the invocation metrics.
pub(crate) fn stream(answer: &Answer<'_>, vendor: Vendor, events: &mut Events) {
    if let Some(limit) = answer.error_after {
        events.limit(limit);
    }
    let pieces = match &answer.content {
        Content::Text(text) | Content::Call(_, text) => text.pieces(),
    };
    for (at, piece) in pieces.iter().enumerate() {
        let so_far = answer.output_after(at + 1, pieces.len());
        events.event(None, true, |out| {
            chunk(answer, vendor, piece, at == 0, so_far, None, out);
            out.raw("}");
        });
    }
    for _ in 0..=usize::from(answer.repeat_usage) {
        events.event(None, false, |out| {
            let (first, all) = (pieces.is_empty(), answer.usage.output);
            chunk(answer, vendor, "", first, all, Some(reason(answer, vendor)), out);
            answer.usage.metrics_member(false, out);
            out.raw("}");
        });
    }
    if answer.error_after.is_some() {
        events.cut_at_limit();
        events.exception();
    }
}

/// A chunk, up to the end of its own members.
fn chunk(answer: &Answer<'_>, vendor: Vendor, piece: &str, first: bool, so_far: u64, reason: Option<&str>, out: &mut Out) {
    let usage = &answer.usage;
    match vendor {
        Vendor::TitanText => {
            out.raw(r#"{"outputText":"#).string(piece).raw(r#","index":0,"#);
            if reason.is_some() {
                count("totalOutputTextTokenCount", usage, so_far, out);
            } else {
                out.raw(r#""totalOutputTextTokenCount":null,"#);
            }
            count("inputTextTokenCount", usage, usage.input, out);
            out.raw(r#""completionReason":"#);
        }
        Vendor::Llama => {
            out.raw(r#"{"generation":"#).string(piece).raw(",");
            if first {
                count("prompt_token_count", usage, usage.input, out);
            } else {
                out.raw(r#""prompt_token_count":null,"#);
            }
            count("generation_token_count", usage, so_far, out);
            out.raw(r#""stop_reason":"#);
        }
        _ => {
            out.raw(r#"{"outputs":[{"text":"#).string(piece).raw(r#","stop_reason":"#);
        }
    }
    match reason {
        Some(reason) => out.string(reason),
        None => out.raw("null"),
    };
    if vendor == Vendor::Mistral {
        out.raw("}]");
    }
}

/// `"name":N,`, or nothing where usage is not reported.
fn count(name: &str, usage: &Usage, count: u64, out: &mut Out) {
    if usage.reported() {
        out.string(name).raw(":").number(count).raw(",");
    }
}

fn text<'a>(answer: &'a Answer<'_>) -> &'a str {
    match &answer.content {
        Content::Text(text) | Content::Call(_, text) => &text.body,
    }
}

fn reason(answer: &Answer<'_>, vendor: Vendor) -> &'static str {
    match (vendor, answer.cut_short()) {
        (Vendor::TitanText, false) => "FINISH",
        (Vendor::TitanText, true) => "LENGTH",
        (_, false) => "stop",
        (_, true) => "length",
    }
}
