//! Bedrock's conversations and invocations.
//!
//! Conventions (botocore 1.43.11, `bedrock-runtime/2023-09-30/service-2.json`; genai-prices 0.2.3, `aws`; litellm 1.106.2, `llms/bedrock`):
//! - Cache reads and writes stand BESIDE `inputTokens`, the split by lifetime (`cacheDetails`) inside `cacheWriteInputTokens`; reasoning is inside
//!   `outputTokens`, without a split. `ConverseStream` tells all of it once, in its last event `metadata`.
//! - An invocation answers in the words of the model's vendor; the head has `x-amzn-bedrock-input-token-count` and `-output-token-count`. A stream's last
//!   chunk has `amazon-bedrock-invocationMetrics`, whose `inputTokenCount` leaves cached tokens out. They repeat what Claude has told in its own events
//!   (langchain-aws PR 164, litellm PR 25517): they replace, and are never added.
//! - A guardrail is billed in units of its own, which a trace tells if one is asked for.

use base64_simd::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_record::{Name, Usage, UsageSource};

use crate::answer::{Answer, unknown};
use crate::frames::Message;
use crate::json::{self, Leaf};
use crate::{anthropic, openai, peek, work};

/// Longest chunk of an invocation that is decoded, in bytes of base64.
const CHUNK_BYTES_MAX: usize = work::limit(16 << 20);

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Conversation<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    stop_reason: Option<&'a RawValue>,
    #[serde(borrow)]
    service_tier: Option<&'a RawValue>,
    #[serde(borrow)]
    performance_config: Option<&'a RawValue>,
    #[serde(borrow)]
    trace: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CacheDetail<'a> {
    #[serde(borrow)]
    ttl: Option<&'a RawValue>,
    input_tokens: Option<u64>,
}

/// What vendors' bodies and chunks may have; no two of them mean different things by one name.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Native<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    /// Claude's, Nova's and OpenAI's usage, each with names of its own.
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    /// Llama's.
    prompt_token_count: Option<u64>,
    generation_token_count: Option<u64>,
    /// Titan's.
    #[serde(rename = "inputTextTokenCount")]
    input_text_token_count: Option<u64>,
    #[serde(rename = "totalOutputTextTokenCount")]
    total_output_text_token_count: Option<u64>,
    #[serde(borrow)]
    results: Option<Vec<TitanResult<'a>>>,
    /// Nova's chunks.
    #[serde(borrow, rename = "messageStop")]
    message_stop: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    /// Images of Stability, Titan and Nova Canvas.
    #[serde(borrow)]
    images: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    artifacts: Option<Vec<&'a RawValue>>,
    /// Mistral's older texts and OpenAI's choices.
    #[serde(borrow)]
    outputs: Option<Vec<Choice<'a>>>,
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow, alias = "completionReason", alias = "stopReason", alias = "finish_reason")]
    stop_reason: Option<&'a RawValue>,
    #[serde(borrow, rename = "amazon-bedrock-invocationMetrics")]
    metrics: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TitanResult<'a> {
    token_count: Option<u64>,
    #[serde(borrow)]
    completion_reason: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Choice<'a> {
    #[serde(borrow)]
    stop_reason: Option<&'a RawValue>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

/// The answer of `Converse`.
pub(crate) fn conversation(answer: &mut Answer, document: &[u8]) -> bool {
    let Ok(conversation) = serde_json::from_slice::<Conversation<'_>>(document) else {
        return false;
    };
    take_conversation(answer, &conversation);
    answer.output_is_final |= answer.usage.output.is_some();
    true
}

/// A message of a stream.
pub(crate) fn message(answer: &mut Answer, message: Message<'_>) {
    if message.kind != b"event" {
        let name = std::str::from_utf8(message.name).ok().and_then(|name| Name::new(name).ok());
        answer.error_type = name.or_else(|| Name::new("error").ok());
        return;
    }
    answer.decoded.clear();
    match message.name {
        b"chunk" => chunk(answer, message.payload),
        b"messageStop" | b"metadata" => {
            conversation(answer, message.payload);
            answer.terminal |= message.name == b"metadata";
        }
        _ => {}
    }
}

/// A chunk of an invocation's stream: `{"bytes": "<base64 of the vendor's JSON>", "p": "<padding>"}`.
fn chunk(answer: &mut Answer, payload: &[u8]) {
    let mut decoded = std::mem::take(&mut answer.decoded);
    if decode(payload, &mut decoded) {
        native_chunk(answer, &decoded);
    }
    // Its memory serves the next one.
    answer.decoded = decoded;
}

fn decode(payload: &[u8], decoded: &mut Vec<u8>) -> bool {
    decoded.clear();
    work::look_at(payload.len());
    peek::BYTES
        .first_text(payload)
        .filter(|coded| coded.len() <= CHUNK_BYTES_MAX)
        .is_some_and(|coded| STANDARD.decode_append(coded, decoded).is_ok())
}

fn native_chunk(answer: &mut Answer, data: &[u8]) {
    let has_metrics = peek::INVOCATION_METRICS.is_in(data);
    match peek::TYPE.first_text(data) {
        Some(b"message_start" | b"message_delta" | b"message_stop" | b"content_block_start" | b"error") => {
            anthropic::event(answer, data);
        }
        Some(kind) if kind.ends_with(b"_delta") && !has_metrics => return,
        _ => {}
    }
    let tells = has_metrics
        || peek::STOP_REASON_CAMEL.is_in(data)
        || peek::METADATA.is_in(data)
        || peek::STOP_REASON.has_value_in(data)
        || peek::FINISH_REASON.has_value_in(data)
        || peek::COMPLETION_REASON.has_value_in(data);
    if !tells {
        return;
    }
    let Ok(native) = serde_json::from_slice::<Native<'_>>(data) else {
        return;
    };
    take_finish(answer, &native);
    if let Some(metadata) = native.metadata {
        let usage = json::find(metadata.get().as_bytes(), &[json::Step::Key("usage".into())]);
        usage.map(|usage| take_usage(answer, usage));
    }
    if let Some(metrics) = native.metrics {
        take_metrics(answer, metrics);
        answer.terminal = true;
    }
}

/// The body of an invocation, in the words of the model's vendor.
pub(crate) fn invocation(answer: &mut Answer, document: &[u8]) -> bool {
    let Ok(native) = serde_json::from_slice::<Native<'_>>(document) else {
        // Of an unusual document at least the usage is read.
        let usage = json::find(document, &[json::Step::Key("usage".into())]);
        return usage.is_some_and(|usage| take_native_usage(answer, usage))
            || serde_json::from_slice::<serde::de::IgnoredAny>(document).is_ok();
    };
    answer.take_model(native.model);
    take_finish(answer, &native);
    let images = native.images.as_ref().or(native.artifacts.as_ref()).map_or(0, Vec::len) as u64;
    if images > 0 {
        answer.usage.images = Some(images);
        answer.usage.source = UsageSource::Reported;
    }
    if native.stop_reason.is_some_and(|reason| reason.get() == "\"refusal\"") {
        anthropic::refusal(answer, document);
    }
    if let Some(usage) = native.usage {
        take_native_usage(answer, usage);
    }
    let of_results = native.results.as_ref().and_then(|results| {
        let told = results.iter().filter_map(|result| result.token_count);
        told.reduce(u64::saturating_add)
    });
    let input = native.prompt_token_count.or(native.input_text_token_count);
    let output = native.generation_token_count.or(of_results);
    if input.is_some() || output.is_some() {
        answer.take_beside(input, output);
    }
    answer.output_is_final |= answer.usage.output.is_some();
    true
}

/// Takes a vendor's usage object: Nova's, Claude's, or one in OpenAI's words.
fn take_native_usage(answer: &mut Answer, usage: &RawValue) -> bool {
    let has = |key: &str| json::find(usage.get().as_bytes(), &[json::Step::Key(key.into())]).is_some();
    if has("inputTokens") {
        take_usage(answer, usage)
    } else if has("input_tokens") {
        anthropic::take_usage(answer, usage)
    } else {
        openai::take_usage(answer, usage)
    }
}

fn take_finish(answer: &mut Answer, native: &Native<'_>) {
    let of_choices = |choices: &Option<Vec<Choice<'_>>>| {
        let mut choices = choices.iter().flatten();
        choices.find_map(|choice| json::name(choice.finish_reason).or_else(|| json::name(choice.stop_reason)))
    };
    let of_results = || {
        let mut results = native.results.iter().flatten();
        results.find_map(|result| json::name(result.completion_reason))
    };
    let of_stop = || {
        let stop = native.message_stop?;
        json::name(json::find(stop.get().as_bytes(), &[json::Step::Key("stopReason".into())]))
    };
    let reason = json::name(native.stop_reason)
        .or_else(|| of_choices(&native.choices))
        .or_else(|| of_choices(&native.outputs))
        .or_else(of_results)
        .or_else(of_stop);
    if reason.is_some() {
        answer.finish_reason = reason;
    }
}

fn take_conversation(answer: &mut Answer, conversation: &Conversation<'_>) {
    if let Some(reason) = json::name(conversation.stop_reason) {
        answer.finish_reason = Some(reason);
    }
    let part = |raw: Option<&RawValue>, keys: &[&str]| {
        let path: Vec<_> = keys.iter().map(|key| json::Step::Key((*key).into())).collect();
        json::find(raw?.get().as_bytes(), &path)
            .and_then(json::text)
            .map(String::from)
    };
    let tier = part(conversation.service_tier, &["type"]);
    let latency = part(conversation.performance_config, &["latency"]);
    answer.take_bedrock_tier(tier.as_deref(), latency.as_deref());
    if let Some(model) = part(conversation.trace, &["promptRouter", "invokedModelId"]) {
        answer.response_model = Name::new(&model).ok().or(answer.response_model.take());
    }
    let guardrail = conversation
        .trace
        .and_then(|trace| json::find(trace.get().as_bytes(), &[json::Step::Key("guardrail".into())]));
    if let Some(guardrail) = guardrail {
        take_guardrail(answer, guardrail);
    }
    if let Some(usage) = conversation.usage {
        take_usage(answer, usage);
    }
}

/// Units of a guardrail's policies, over all its assessments: they have prices, and none here.
fn take_guardrail(answer: &mut Answer, guardrail: &RawValue) {
    let mut units: Vec<(String, u64)> = Vec::new();
    json::leaves(guardrail, |path, leaf| {
        let Some((_, name)) = path.rsplit_once("invocationMetrics.usage.") else {
            return;
        };
        work::look_at(units.len());
        if let Leaf::Count(count) = leaf
            && name.ends_with("Units")
            && !name.ends_with("FreeUnits")
        {
            if let Some((_, sum)) = units.iter_mut().find(|(known, _)| known == name) {
                *sum = sum.saturating_add(count);
            } else if units.len() < Usage::MAX_UNKNOWN {
                units.push((name.to_owned(), count));
            }
        }
    });
    for (name, count) in units {
        unknown(&mut answer.anthropic.unknown, &format!("trace.guardrail.{name}"), count);
    }
}

/// Takes a usage object of Bedrock's, in place of earlier ones.
fn take_usage(answer: &mut Answer, raw: &RawValue) -> bool {
    if !json::is_object(raw) {
        return false;
    }
    let counts = &mut answer.anthropic;
    let mut details = false;
    json::leaves(raw, |path, leaf| {
        let Leaf::Count(count) = leaf else { return };
        match path {
            "inputTokens" => counts.tokens.input = Some(count),
            "outputTokens" => counts.tokens.output = Some(count),
            // The second spelling is that of Nova's own bodies.
            "cacheReadInputTokens" | "cacheReadInputTokenCount" => counts.tokens.cache_read = Some(count),
            "cacheWriteInputTokens" | "cacheWriteInputTokenCount" => counts.tokens.cache_creation = Some(count),
            "totalTokens" => {}
            "cacheDetails[].inputTokens" => details = true,
            path => unknown(&mut counts.unknown, path, count),
        }
    });
    if details {
        let written = json::find(raw.get().as_bytes(), &[json::Step::Key("cacheDetails".into())]);
        let written = written.and_then(|raw| serde_json::from_str::<Vec<CacheDetail<'_>>>(raw.get()).ok());
        for detail in written.unwrap_or_default() {
            match detail.ttl.map(RawValue::get) {
                Some("\"5m\"") => counts.tokens.cache_creation_5m = detail.input_tokens,
                Some("\"1h\"") => counts.tokens.cache_creation_1h = detail.input_tokens,
                // Another lifetime is a write like any other.
                _ => {}
            }
        }
    }
    answer.compose();
    answer.output_is_final |= answer.usage.output.is_some();
    true
}

/// Takes the metrics of a stream in place of what the vendor's events told; the split of cache writes by lifetime stays, as only those have it.
fn take_metrics(answer: &mut Answer, raw: &RawValue) {
    let counts = &mut answer.anthropic;
    json::leaves(raw, |path, leaf| {
        let Leaf::Count(count) = leaf else { return };
        match path {
            "inputTokenCount" => counts.tokens.input = Some(count),
            "outputTokenCount" => counts.tokens.output = Some(count),
            "cacheReadInputTokenCount" => counts.tokens.cache_read = Some(count),
            "cacheWriteInputTokenCount" => counts.tokens.cache_creation = Some(count),
            "invocationLatency" | "firstByteLatency" => {}
            path => unknown(&mut counts.unknown, path, count),
        }
    });
    answer.compose();
    answer.output_is_final |= answer.usage.output.is_some();
}

// === impl Answer ===

impl Answer {
    /// Reads the head of an answer of Bedrock's: counts, tier, and the type of an error (AWS's restJson protocol: it may have a `:` and a URI behind it).
    pub(crate) fn take_bedrock_head(&mut self, headers: &http::HeaderMap) {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        let count = |name: &str| text(name)?.trim().parse().ok();
        let input = count("x-amzn-bedrock-input-token-count");
        let output = count("x-amzn-bedrock-output-token-count");
        if input.is_some() || output.is_some() {
            self.take_beside(input, output);
            self.output_is_final = output.is_some();
        }
        self.take_bedrock_tier(
            text("x-amzn-bedrock-service-tier"),
            text("x-amzn-bedrock-performanceconfig-latency"),
        );
        if let Some(kind) = text("x-amzn-errortype") {
            self.error_type = Name::new(kind.split(':').next().unwrap_or_default().trim()).ok();
        }
    }

    /// Takes counts in place of earlier ones; cached tokens stand beside them.
    fn take_beside(&mut self, input: Option<u64>, output: Option<u64>) {
        let counts = &mut self.anthropic;
        counts.tokens.input = input.or(counts.tokens.input);
        counts.tokens.output = output.or(counts.tokens.output);
        self.compose();
    }

    /// Takes the tier; the standard one with optimized latency has prices of its own, and is a tier here.
    fn take_bedrock_tier(&mut self, tier: Option<&str>, latency: Option<&str>) {
        let tier = tier.filter(|tier| *tier != "default");
        let tier = tier.or(latency.filter(|latency| *latency == "optimized"));
        if let Some(tier) = tier.and_then(|tier| Name::new(tier).ok()) {
            self.anthropic.tier = Some(tier.clone());
            self.usage.service_tier = Some(tier);
        }
    }
}
