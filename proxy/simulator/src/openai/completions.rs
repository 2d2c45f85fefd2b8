//! `POST /v1/completions`, the legacy interface: request, answer and stream.
//!
//! The stream has no chunk with a role; its last piece's chunk is followed by one with the finish reason.

use serde::Deserialize;

use super::{StreamOptions, choices, error_event, model, streaming};
use crate::answer::{Answer, Content};
use crate::directive::UsageAt;
use crate::events::Events;
use crate::out::{CREATED, Out, id};
use crate::prompt::{Last, Prompt, Str, Tally, parse};
use crate::refusal::Refusal;
use crate::usage::Usage;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    model: Option<Str<'a>>,
    #[serde(borrow)]
    prompt: Option<Input<'a>>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<u64>,
    n: Option<u64>,
}

/// A prompt or the input of an embedding: text, texts, tokens, or lists of tokens.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Input<'a> {
    #[serde(borrow)]
    Text(Str<'a>),
    Texts(Vec<Str<'a>>),
    Tokens(Vec<u32>),
    TokenLists(Vec<Vec<u32>>),
}

impl Input<'_> {
    /// Counts each item on its own: an embedding is made of every one.
    pub(super) fn tallies(&self) -> Vec<Tally> {
        let text = |text: &Str<'_>| {
            let mut tally = Tally::new();
            tally.text(&text.0);
            tally
        };
        let tokens = |tokens: &Vec<u32>| {
            let mut tally = Tally::new();
            tally.tokens(tokens);
            tally
        };
        match self {
            Self::Text(one) => vec![text(one)],
            Self::Texts(all) => all.iter().map(text).collect(),
            Self::Tokens(one) => vec![tokens(one)],
            Self::TokenLists(all) => all.iter().map(tokens).collect(),
        }
    }
}

/// Reads a request.
///
/// # Errors
/// A refusal where it is not JSON or misses a field.
pub(crate) fn prompt<'a>(body: &'a [u8], deployment: Option<&'a str>) -> Result<Prompt<'a>, Refusal> {
    let request: Request<'_> = parse(body)?;
    let model = model(request.model, deployment)?;
    let input = request.prompt.ok_or(Refusal::FieldMissing { name: "prompt" })?;
    let (stream, include_usage) = streaming(request.stream, request.stream_options.as_ref())?;
    let tallies = input.tallies();
    Ok(Prompt {
        model,
        stream,
        include_usage,
        input_tokens: tallies.iter().map(Tally::input_tokens).sum(),
        seed: tallies.iter().fold(0, |seed: u64, tally| seed.rotate_left(7) ^ tally.seed()),
        last: Last::Other,
        tools: None,
        tool_choice: None,
        tokens_max: request.max_tokens,
        choices: choices(request.n)?,
        schema: None,
        service_tier: None,
        thinking: false,
    })
}

/// Writes the whole answer.
pub(crate) fn json(answer: &Answer<'_>, out: &mut Out) {
    head(answer, out);
    out.raw(r#","choices":["#);
    for index in 0..answer.choices {
        out.raw(if index == 0 { r#"{"text":"# } else { r#",{"text":"# })
            .string(text(answer));
        out.raw(r#","index":"#).number(index as u64);
        out.raw(r#","logprobs":null,"finish_reason":"#)
            .string(finish_reason(answer))
            .raw("}");
    }
    out.raw("]");
    answer.usage.chat_member(out);
    out.raw("}");
}

/// Writes the stream.
pub(crate) fn stream(answer: &Answer<'_>, events: &mut Events) {
    let pieces = match &answer.content {
        Content::Text(text) | Content::Call(_, text) => text.pieces(),
    };
    if let Some(limit) = answer.error_after {
        events.limit(limit);
    }
    for (at, piece) in pieces.iter().enumerate() {
        let running =
            (answer.usage_at == UsageAt::Every).then(|| answer.usage.with_output(answer.output_after(at + 1, pieces.len())));
        for index in 0..answer.choices {
            chunk(answer, events, index, piece, false, running.as_ref());
        }
    }
    let on_finish = matches!(answer.usage_at, UsageAt::Finish | UsageAt::Every);
    for index in 0..answer.choices {
        let usage = (on_finish && index + 1 == answer.choices).then_some(&answer.usage);
        chunk(answer, events, index, "", true, usage);
    }
    if answer.include_usage && answer.usage.reported() && answer.usage_at != UsageAt::Finish {
        for _ in 0..=usize::from(answer.repeat_usage) {
            events.event(None, false, |out| {
                head(answer, out);
                out.raw(match answer.usage_at {
                    UsageAt::NoChoices => "",
                    UsageAt::EmptyDelta => r#","choices":[{"text":"","index":0,"logprobs":null,"finish_reason":null}]"#,
                    _ => r#","choices":[]"#,
                });
                answer.usage.chat_member(out);
                out.raw("}");
            });
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

fn chunk(answer: &Answer<'_>, events: &mut Events, index: usize, piece: &str, last: bool, usage: Option<&Usage>) {
    events.event(None, !last, |out| {
        head(answer, out);
        out.raw(r#","choices":[{"text":"#)
            .string(piece)
            .raw(r#","index":"#)
            .number(index as u64);
        out.raw(r#","logprobs":null,"finish_reason":"#);
        if last {
            out.string(finish_reason(answer));
        } else {
            out.raw("null");
        }
        out.raw("}]");
        match usage {
            Some(usage) => usage.chat_member(out),
            None if answer.include_usage => {
                out.raw(r#","usage":null"#);
            }
            None => {}
        }
        out.raw("}");
    });
}

fn head(answer: &Answer<'_>, out: &mut Out) {
    out.raw(r#"{"id":"#).string(&id("cmpl-", answer.seed, 29));
    out.raw(r#","object":"text_completion","created":"#).number(CREATED);
    out.raw(r#","model":"#).string(&answer.model);
}

fn text<'a>(answer: &'a Answer<'_>) -> &'a str {
    match &answer.content {
        Content::Text(text) | Content::Call(_, text) => &text.body,
    }
}

fn finish_reason(answer: &Answer<'_>) -> &'static str {
    if answer.cut_short() { "length" } else { "stop" }
}
