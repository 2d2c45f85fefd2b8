//! `POST /v1/chat/completions` of Mistral: answer and stream; the request is read as OpenAI's.
//!
//! Stream: a chunk with the role, a chunk a piece, and a chunk with an empty piece, the finish reason and, unasked, the
//! usage; then `data: [DONE]`. A tool call comes whole, in the chunk that finishes.

use crate::answer::{Answer, Content};
use crate::events::Events;
use crate::out::{CREATED, Out, id};

/// Writes the whole answer.
pub(crate) fn json(answer: &Answer<'_>, out: &mut Out) {
    head(answer, "chat.completion", out);
    for index in 0..answer.choices {
        out.raw(if index == 0 { r#"{"index":"# } else { r#",{"index":"# })
            .number(index as u64);
        out.raw(r#","message":{"role":"assistant","content":"#);
        match &answer.content {
            Content::Text(text) => {
                out.string(&text.body).raw(r#","tool_calls":null"#);
            }
            Content::Call(..) => call(answer, index, out.raw(r#""""#)),
        }
        out.raw(r#"},"finish_reason":"#).string(finish_reason(answer)).raw("}");
    }
    out.raw("]");
    answer.usage.mistral_member(out);
    out.raw("}");
}

/// Writes the stream.
pub(crate) fn stream(answer: &Answer<'_>, events: &mut Events) {
    if let Some(limit) = answer.error_after {
        events.limit(limit);
    }
    let pieces = match &answer.content {
        Content::Text(text) => text.pieces(),
        Content::Call(..) => Vec::new(),
    };
    for index in 0..answer.choices {
        chunk(events, answer, index, false, false, |out| {
            out.raw(r#"{"role":"assistant","content":""}"#);
        });
    }
    for piece in pieces {
        for index in 0..answer.choices {
            chunk(events, answer, index, true, false, |out| {
                out.raw(r#"{"content":"#).string(piece).raw("}");
            });
        }
    }
    for index in 0..answer.choices {
        let repeat = answer.repeat_usage && index + 1 == answer.choices;
        for _ in 0..=usize::from(repeat) {
            chunk(events, answer, index, false, true, |out| {
                out.raw(r#"{"content":"""#);
                if matches!(answer.content, Content::Call(..)) {
                    call(answer, index, out);
                }
                out.raw("}");
            });
        }
    }
    if answer.error_after.is_some() {
        events.cut_at_limit();
        events.event(None, false, |out| {
            out.raw(r#"{"object":"error","message":"Service unavailable.","type":"internal_server_error","#);
            out.raw(r#""param":null,"code":"3000"}"#);
        });
    } else {
        events.event(None, false, |out| {
            out.raw("[DONE]");
        });
    }
}

fn chunk(events: &mut Events, answer: &Answer<'_>, index: usize, paced: bool, finish: bool, delta: impl FnOnce(&mut Out)) {
    events.event(None, paced, |out| {
        head(answer, "chat.completion.chunk", out);
        out.raw(r#"{"index":"#).number(index as u64).raw(r#","delta":"#);
        delta(out);
        out.raw(r#","finish_reason":"#);
        if finish {
            out.string(finish_reason(answer));
        } else {
            out.raw("null");
        }
        out.raw("}]");
        if finish && index + 1 == answer.choices {
            answer.usage.mistral_member(out);
        }
        out.raw("}");
    });
}

/// The beginning, up to the open list of choices.
fn head(answer: &Answer<'_>, object: &str, out: &mut Out) {
    out.raw(r#"{"id":"#).string(&id("", answer.seed, 32));
    out.raw(r#","object":"#).string(object);
    out.raw(r#","created":"#).number(CREATED);
    out.raw(r#","model":"#).string(&answer.model).raw(r#","choices":["#);
}

/// `,"tool_calls":[...]` where the answer is a call.
fn call(answer: &Answer<'_>, choice: usize, out: &mut Out) {
    if let Content::Call(name, arguments) = &answer.content {
        out.raw(r#","tool_calls":[{"id":"#)
            .string(&id("", answer.seed.wrapping_add(1 + choice as u64), 9));
        out.raw(r#","type":"function","function":{"name":"#).string(name);
        out.raw(r#","arguments":"#).string(&arguments.body).raw(r#"},"index":0}]"#);
    }
}

fn finish_reason(answer: &Answer<'_>) -> &'static str {
    match &answer.content {
        Content::Call(..) => "tool_calls",
        Content::Text(text) if text.cut_short => "length",
        Content::Text(_) => "stop",
    }
}
