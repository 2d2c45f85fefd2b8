//! Cohere's chat, embeddings and rankings.
//!
//! `billed_units` are what is billed; `tokens` are what was processed, which is more (genai-prices 0.2.3, `cohere`; litellm 1.106.2 reads the latter).
//! Units of a search are one query over up to a hundred documents. A stream tells them in its last event, `message-end`.

use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_record::UsageSource;

use crate::answer::{Answer, unknown};
use crate::json::{self, Leaf};
use crate::{openai, peek};

/// An answer, or what an event of a stream has in `delta`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Part<'a> {
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    meta: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<Part<'a>>,
}

/// An answer that is not streamed.
pub(crate) fn answer(answer: &mut Answer, document: &[u8]) -> bool {
    let Ok(part) = serde_json::from_slice::<Part<'_>>(document) else {
        return false;
    };
    take(answer, &part);
    true
}

/// An event of a streamed chat.
pub(crate) fn event(answer: &mut Answer, data: &[u8]) {
    if peek::leading_type(data).is_some_and(|kind| kind != b"message-end") || !peek::MESSAGE_END.is_in(data) {
        return;
    }
    let Ok(event) = serde_json::from_slice::<Event<'_>>(data) else {
        return;
    };
    if event.kind.is_some_and(|kind| kind.get() == "\"message-end\"") {
        answer.terminal = true;
        if let Some(part) = &event.delta {
            take(answer, part);
        }
    }
}

fn take(answer: &mut Answer, part: &Part<'_>) {
    if let Some(reason) = json::name(part.finish_reason) {
        answer.finish_reason = Some(reason);
    }
    if let Some(error) = part.error {
        answer.take_error(error);
    }
    let Some(told) = part.usage.or(part.meta) else { return };
    let billed = json::find(told.get().as_bytes(), &[json::Step::Key("billed_units".into())]);
    match billed {
        Some(billed) => take_units(answer, billed),
        // Other hosts rank in OpenAI's words.
        None => {
            part.usage.map(|usage| openai::take_usage(answer, usage));
        }
    }
}

fn take_units(answer: &mut Answer, billed: &RawValue) {
    let usage = &mut answer.usage;
    let mut told = false;
    json::leaves(billed, |path, leaf| {
        told |= matches!(leaf, Leaf::Count(_));
        match (path, leaf) {
            ("input_tokens", Leaf::Count(count)) => usage.input = Some(count),
            ("output_tokens", Leaf::Count(count)) => usage.output = Some(count),
            ("search_units", Leaf::Count(count)) => usage.search_query = Some(count),
            ("images", Leaf::Count(count)) => usage.images = Some(count),
            (path, Leaf::Count(count)) => unknown(&mut usage.unknown, &format!("billed_units.{path}"), count),
            (_, Leaf::Text(_)) => {}
        }
    });
    if told {
        usage.source = UsageSource::Reported;
    }
    answer.output_is_final = answer.usage.output.is_some();
}
