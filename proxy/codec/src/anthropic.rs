//! Anthropic's messages.
//!
//! Convention (anthropic 2.12.0, `types/usage.py`; documentation, "Prompt caching": total input = `cache_read_input_tokens` +
//! `cache_creation_input_tokens` + `input_tokens`): cache reads and writes stand BESIDE `input_tokens`, the split by lifetime inside
//! `cache_creation_input_tokens`, thinking inside `output_tokens`. A `message_delta` has cumulative counts
//! (`types/message_delta_usage.py`): what it tells replaces, what it leaves out or sets to null stays. It never tells the split by
//! lifetime, the tier, the region and the speed: they stay as `message_start` told them.

use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_record::{Name, UnknownUsage, UsageSource};

use crate::answer::{Answer, unknown};
use crate::json::{self, Leaf};
use crate::peek;

/// Counts as they were told, before they are brought into the ledger's convention.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) input: Option<u64>,
    pub(crate) cache_read: Option<u64>,
    pub(crate) cache_creation: Option<u64>,
    pub(crate) cache_creation_5m: Option<u64>,
    pub(crate) cache_creation_1h: Option<u64>,
    pub(crate) output: Option<u64>,
    thinking: Option<u64>,
    web_search: Option<u64>,
    pub(crate) tier: Option<Name>,
    fast: bool,
    region: Option<Name>,
    compaction: Compaction,
    pub(crate) unknown: Vec<UnknownUsage>,
    unknown_iterations: Vec<UnknownUsage>,
}

/// Tokens of compactions: the only iterations that the totals leave out (`types/beta/beta_usage.py`).
#[derive(Debug, Default)]
struct Compaction {
    input: u64,
    cache_read: u64,
    cache_creation: u64,
    cache_creation_5m: u64,
    cache_creation_1h: u64,
    output: u64,
}

/// Longest kind of an iteration that is told in full, in bytes.
const KIND_BYTES_MAX: usize = 64;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    stop_reason: Option<&'a RawValue>,
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
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

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
    if let Some(
        b"content_block_delta"
        | b"text_delta"
        | b"input_json_delta"
        | b"thinking_delta"
        | b"signature_delta"
        | b"citations_delta"
        | b"content_block_start"
        | b"content_block_stop"
        | b"ping",
    ) = peek::leading_type(data).or_else(|| peek::TYPE.first_text(data))
    {
        return;
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

/// Takes what a usage object tells in place of what was told before.
pub(crate) fn take_usage(answer: &mut Answer, raw: &RawValue) -> bool {
    if !json::is_object(raw) {
        return false;
    }
    let counts = &mut answer.anthropic;
    let mut has_iterations = false;
    json::leaves(raw, |path, leaf| match (path, leaf) {
        ("input_tokens", Leaf::Count(count)) => counts.input = Some(count),
        ("cache_read_input_tokens", Leaf::Count(count)) => counts.cache_read = Some(count),
        ("cache_creation_input_tokens", Leaf::Count(count)) => counts.cache_creation = Some(count),
        ("cache_creation.ephemeral_5m_input_tokens", Leaf::Count(count)) => counts.cache_creation_5m = Some(count),
        ("cache_creation.ephemeral_1h_input_tokens", Leaf::Count(count)) => counts.cache_creation_1h = Some(count),
        ("output_tokens", Leaf::Count(count)) => counts.output = Some(count),
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
        counts.take_iterations(iterations);
    }
    answer.compose();
    true
}

// === impl Counts ===

impl Counts {
    #[cfg(any(test, fuzzing))]
    pub(crate) fn unknown(&self) -> impl Iterator<Item = &UnknownUsage> {
        self.unknown.iter().chain(&self.unknown_iterations)
    }

    /// Iterations of a message are parts of the totals, except compactions. An iteration of any other kind may run on another model and nothing
    /// says whether the totals hold it: it is shown as unknown.
    fn take_iterations(&mut self, iterations: &RawValue) {
        self.compaction = Compaction::default();
        self.unknown_iterations.clear();
        let Ok(iterations) = serde_json::from_str::<Vec<&RawValue>>(iterations.get()) else {
            return;
        };
        for iteration in iterations {
            let kind = json::find(iteration.get().as_bytes(), &[json::Step::Key("type".into())]).and_then(json::text);
            let kind = kind.as_deref().unwrap_or_default();
            // It becomes a part of every field's name.
            let kind = kind.get(..kind.floor_char_boundary(KIND_BYTES_MAX)).unwrap_or_default();
            if matches!(kind, "message" | "fallback_message") {
                continue;
            }
            json::leaves(iteration, |path, leaf| {
                let Leaf::Count(count) = leaf else { return };
                let compaction = &mut self.compaction;
                let field = match (kind, path) {
                    ("compaction", "input_tokens") => &mut compaction.input,
                    ("compaction", "cache_read_input_tokens") => &mut compaction.cache_read,
                    ("compaction", "cache_creation_input_tokens") => &mut compaction.cache_creation,
                    ("compaction", "cache_creation.ephemeral_5m_input_tokens") => &mut compaction.cache_creation_5m,
                    ("compaction", "cache_creation.ephemeral_1h_input_tokens") => &mut compaction.cache_creation_1h,
                    ("compaction", "output_tokens") => &mut compaction.output,
                    _ => return unknown(&mut self.unknown_iterations, &format!("iterations.{kind}.{path}"), count),
                };
                *field = field.saturating_add(count);
            });
        }
    }
}

// === impl Answer ===

impl Answer {
    /// Brings counts in Anthropic's convention into the ledger's.
    pub(crate) fn compose(&mut self) {
        let counts = &self.anthropic;
        let more = &counts.compaction;
        let add = |told: Option<u64>, more: u64| match (told, more) {
            (None, 0) => None,
            (told, more) => Some(told.unwrap_or_default().saturating_add(more)),
        };
        let split = counts
            .cache_creation_5m
            .unwrap_or_default()
            .saturating_add(counts.cache_creation_1h.unwrap_or_default());
        let has_split = counts.cache_creation_5m.is_some() || counts.cache_creation_1h.is_some();
        let written = counts.cache_creation.or(has_split.then_some(split));
        // A later total may be smaller than the split that only the first event told: then the split no longer says anything.
        let split_holds = split <= written.unwrap_or_default();
        let usage = &mut self.usage;
        usage.cache_read = add(counts.cache_read, more.cache_read);
        usage.cache_creation = add(written, more.cache_creation);
        usage.cache_creation_5m = add(counts.cache_creation_5m.filter(|_| split_holds), more.cache_creation_5m);
        usage.cache_creation_1h = add(counts.cache_creation_1h.filter(|_| split_holds), more.cache_creation_1h);
        let beside = usage
            .cache_read
            .unwrap_or_default()
            .saturating_add(usage.cache_creation.unwrap_or_default());
        usage.input = add(add(counts.input, more.input), beside);
        usage.output = add(counts.output, more.output);
        usage.reasoning = counts.thinking;
        usage.web_search = counts.web_search;
        usage.service_tier = if counts.fast {
            Name::new("fast").ok()
        } else {
            counts.tier.clone()
        };
        usage.region = counts.region.clone();
        usage.unknown.clear();
        for field in counts.unknown.iter().chain(&counts.unknown_iterations) {
            unknown(&mut usage.unknown, &field.field, field.quantity);
        }
        usage.source = if usage.is_known() {
            UsageSource::Reported
        } else {
            UsageSource::None
        };
    }
}
