//! Anthropic's messages.
//!
//! Convention (anthropic 2.12.0, `types/usage.py`; documentation, "Prompt caching": total input = `cache_read_input_tokens` +
//! `cache_creation_input_tokens` + `input_tokens`): cache reads and writes stand BESIDE `input_tokens`, the split by lifetime inside
//! `cache_creation_input_tokens`, thinking inside `output_tokens`. A `message_delta` has cumulative counts
//! (`types/message_delta_usage.py`): what it tells replaces, what it leaves out or sets to null stays. It never tells the split by
//! lifetime, the tier, the region and the speed: they stay as `message_start` told them. What several models or attempts took is in [`iterations`].

mod iterations;
mod tokens;

use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_record::{Name, UnknownUsage, UsageSource};

use crate::answer::{Answer, unknown};
use crate::json::{self, Leaf};
use crate::peek;
use iterations::Iterations;
pub(crate) use tokens::Tokens;

/// Counts as they were told, before they are brought into the ledger's convention.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) tokens: Tokens,
    thinking: Option<u64>,
    web_search: Option<u64>,
    pub(crate) tier: Option<Name>,
    fast: bool,
    region: Option<Name>,
    iterations: Iterations,
    pub(crate) unknown: Vec<UnknownUsage>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    stop_reason: Option<&'a RawValue>,
    #[serde(borrow)]
    stop_details: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    content_block: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// The type of a block that marks where another model goes on.
const FALLBACK: &[u8] = b"\"fallback\"";

/// A message.
pub(crate) fn message(answer: &mut Answer, document: &[u8]) -> bool {
    let Ok(message) = serde_json::from_slice::<Message<'_>>(document) else {
        return false;
    };
    take_message(answer, &message);
    answer.output_is_final |= answer.usage.output.is_some();
    true
}

/// An event of a streamed message.
pub(crate) fn event(answer: &mut Answer, data: &[u8]) {
    // Where `type` is not the first key, the first one may be that of a delta: it says the same. Others are parsed.
    let kind = peek::leading_type(data).or_else(|| peek::TYPE.first_text(data));
    if let Some(
        b"content_block_delta"
        | b"text_delta"
        | b"input_json_delta"
        | b"thinking_delta"
        | b"signature_delta"
        | b"citations_delta"
        | b"content_block_stop"
        | b"ping",
    ) = kind
    {
        return;
    }
    if kind == Some(b"content_block_start") && memmem::find(data, FALLBACK).is_none() {
        return answer.anthropic.iterations.has_content();
    }
    let Ok(event) = serde_json::from_slice::<Event<'_>>(data) else {
        return;
    };
    match &*event.kind.and_then(json::text).unwrap_or_default() {
        "message_start" => {
            if let Some(message) = event
                .message
                .and_then(|raw| serde_json::from_str::<Message<'_>>(raw.get()).ok())
            {
                take_message(answer, &message);
            }
        }
        "message_delta" => {
            if let Some(delta) = event
                .delta
                .and_then(|raw| serde_json::from_str::<Message<'_>>(raw.get()).ok())
            {
                take_message(answer, &delta);
            }
            if let Some(usage) = event.usage {
                take_usage(answer, usage);
                answer.output_is_final |= answer.usage.output.is_some();
            }
        }
        "content_block_start" => {
            if let Some(block) = event.content_block {
                answer.anthropic.iterations.take_block(block);
            }
        }
        "message_stop" => answer.terminal = true,
        "error" => match event.error {
            Some(error) => answer.take_error(error),
            None => answer.error_type = Name::new("error").ok(),
        },
        _ => {}
    }
}

fn take_message(answer: &mut Answer, message: &Message<'_>) {
    answer.take_model(message.model);
    take_stop(&mut answer.anthropic.iterations, message);
    if let Some(reason) = json::name(message.stop_reason) {
        answer.finish_reason = Some(reason);
    }
    if let Some(error) = message.error {
        answer.take_error(error);
    }
    if let Some(usage) = message.usage {
        take_usage(answer, usage);
    }
}

/// A refusal in a message whose usage is taken elsewhere.
pub(crate) fn refusal(answer: &mut Answer, document: &[u8]) {
    if let Ok(message) = serde_json::from_slice::<Message<'_>>(document) {
        take_stop(&mut answer.anthropic.iterations, &message);
    }
}

fn take_stop(iterations: &mut Iterations, message: &Message<'_>) {
    if let Some(content) = message.content {
        take_content(iterations, content);
    }
    if let Some(reason) = message.stop_reason.and_then(json::text) {
        iterations.take_stop(&reason, message.stop_details);
    }
}

/// Notes whether an answer says something, and which models gave way to another.
fn take_content(iterations: &mut Iterations, content: &RawValue) {
    let content = content.get();
    if memmem::find(content.as_bytes(), FALLBACK).is_none() {
        // A list of nothing says nothing.
        if content.bytes().any(|byte| byte == b'{') {
            iterations.has_content();
        }
        return;
    }
    for block in serde_json::from_str::<Vec<&RawValue>>(content).unwrap_or_default() {
        iterations.take_block(block);
    }
}

/// Takes what a usage object tells in place of what was told before.
pub(crate) fn take_usage(answer: &mut Answer, raw: &RawValue) -> bool {
    if !json::is_object(raw) {
        return false;
    }
    let counts = &mut answer.anthropic;
    let mut has_iterations = false;
    json::leaves(raw, |path, leaf| match (path, leaf) {
        ("input_tokens", Leaf::Count(count)) => counts.tokens.input = Some(count),
        ("cache_read_input_tokens", Leaf::Count(count)) => counts.tokens.cache_read = Some(count),
        ("cache_creation_input_tokens", Leaf::Count(count)) => counts.tokens.cache_creation = Some(count),
        ("cache_creation.ephemeral_5m_input_tokens", Leaf::Count(count)) => counts.tokens.cache_creation_5m = Some(count),
        ("cache_creation.ephemeral_1h_input_tokens", Leaf::Count(count)) => counts.tokens.cache_creation_1h = Some(count),
        ("output_tokens", Leaf::Count(count)) => counts.tokens.output = Some(count),
        ("output_tokens_details.thinking_tokens", Leaf::Count(count)) => counts.thinking = Some(count),
        ("server_tool_use.web_search_requests", Leaf::Count(count)) => counts.web_search = Some(count),
        // Fetches are free: their tokens are in the input.
        ("server_tool_use.web_fetch_requests" | "total_tokens", _) => {}
        ("service_tier", Leaf::Text(tier)) => counts.tier = Name::new(tier).ok().filter(|tier| tier.as_str() != "standard"),
        ("speed", Leaf::Text(speed)) => counts.fast = speed == "fast",
        ("inference_geo", Leaf::Text(region)) => {
            counts.region = Name::new(region)
                .ok()
                .filter(|region| !matches!(region.as_str(), "global" | "not_available"));
        }
        (path, _) if path.starts_with("iterations[]") => has_iterations = true,
        (path, Leaf::Count(count)) => unknown(&mut counts.unknown, path, count),
        (_, Leaf::Text(_)) => {}
    });
    if has_iterations && let Some(iterations) = json::find(raw.get().as_bytes(), &[json::Step::Key("iterations".into())]) {
        counts.iterations.take(iterations);
        if let Some(served) = counts.iterations.served() {
            answer.response_model = Some(served.clone());
        }
    }
    answer.compose();
    true
}

// === impl Counts ===

impl Counts {
    #[cfg(any(test, fuzzing))]
    pub(crate) fn unknown(&self) -> impl Iterator<Item = &UnknownUsage> {
        self.unknown.iter().chain(self.iterations.unknown())
    }
}

// === impl Answer ===

impl Answer {
    /// Brings counts in Anthropic's convention into the ledger's.
    pub(crate) fn compose(&mut self) {
        let counts = &self.anthropic;
        let (total, parts) = counts
            .iterations
            .of_call(counts.tokens.checked(), self.response_model.as_ref());
        let usage = &mut self.usage;
        total.fill(usage);
        usage.parts = parts;
        usage.reasoning = counts.thinking;
        usage.web_search = counts.web_search;
        usage.service_tier = if counts.fast {
            Name::new("fast").ok()
        } else {
            counts.tier.clone()
        };
        usage.region = counts.region.clone();
        usage.unknown.clear();
        for field in counts.unknown.iter().chain(counts.iterations.unknown()) {
            unknown(&mut usage.unknown, &field.field, field.quantity);
        }
        usage.source = if usage.is_known() {
            UsageSource::Reported
        } else {
            UsageSource::None
        };
    }
}
