//! Gemini's generated and embedded content, at the Gemini API and at Vertex AI, and Vertex AI's predictions.
//!
//! Convention (google-genai 3.4.0, `types.GenerateContentResponseUsageMetadata`): `total = prompt + candidates + toolUsePrompt + thoughts`.
//! - Thoughts stand BESIDE the candidates and results of tools BESIDE the prompt; cached tokens INSIDE the prompt. Where the total is that of prompt and
//!   candidates alone, thoughts are inside the candidates (litellm 1.106.2, `vertex_and_google_ai_studio_gemini.py`).
//! - The details by modality have cached tokens in them, so that an uncached modality is what is left of it (litellm, the same file). Documents are
//!   billed as text by litellm and as images by genai-prices 0.2.3; Gemini's models have one price for both, and here they are plain input.
//! - A stream repeats running totals: the last object with counts replaces the others, of which only the sums are read. Vertex AI sends some with `trafficType` only
//!   (google-gemini/gemini-cli#4380), which replace nothing.
//! - Google Search is billed by the query from Gemini 3 on and by the grounded answer before; `groundingMetadata.webSearchQueries` tells both
//!   (genai-prices, litellm). Results of searches and maps are no billed input, results of other tools are (litellm, `_response_has_search_grounding`).
//! - Zero counts are left out of the JSON.

use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_record::{Name, UnknownUsage, Usage, UsageSource};

use crate::answer::{Answer, unknown};
use crate::json::{self, Leaf};
use crate::peek;

/// How many chunks are parsed in search of the model before the meter gives up.
const FIRST_LOOKS_MAX: u8 = 8;

/// [`peek::OF_CONTENT`] where a chunk tells nothing but usage.
const USAGE_ONLY: u32 = 1;

/// What was told, before it is brought into the ledger's convention.
#[derive(Debug, Default)]
pub(crate) struct Told {
    counts: Counts,
    tier: Option<Name>,
    queries: u64,
    maps: bool,
    /// Pages were read that the prompt named: their tokens are billed.
    reads_urls: bool,
    /// The last usage object, while only its sums have been read: each chunk has one, and only the last counts.
    pending: Vec<u8>,
}

/// The sums of a usage object.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Sums {
    prompt_token_count: Option<u64>,
    cached_content_token_count: Option<u64>,
    candidates_token_count: Option<u64>,
    thoughts_token_count: Option<u64>,
    tool_use_prompt_token_count: Option<u64>,
    total_token_count: Option<u64>,
}

#[derive(Debug, Default)]
struct Counts {
    prompt: Option<u64>,
    cached: Option<u64>,
    candidates: Option<u64>,
    thoughts: Option<u64>,
    tool_use: Option<u64>,
    total: Option<u64>,
    of_prompt: Modalities,
    of_cache: Modalities,
    of_candidates: Modalities,
    unknown: Vec<UnknownUsage>,
}

/// Tokens of modalities that may have prices of their own.
#[derive(Clone, Copy, Debug, Default)]
struct Modalities {
    audio: Option<u64>,
    image: Option<u64>,
    video: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Content<'a> {
    #[serde(borrow)]
    candidates: Option<Vec<Candidate<'a>>>,
    #[serde(borrow)]
    prompt_feedback: Option<&'a RawValue>,
    #[serde(borrow)]
    usage_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    model_version: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Candidate<'a> {
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow)]
    grounding_metadata: Option<Grounding<'a>>,
    #[serde(borrow)]
    url_context_metadata: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Grounding<'a> {
    #[serde(borrow)]
    web_search_queries: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    grounding_chunks: Option<Vec<Chunk<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Chunk<'a> {
    #[serde(borrow)]
    maps: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Detail<'a> {
    #[serde(borrow)]
    modality: Option<&'a RawValue>,
    token_count: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Predicted<'a> {
    #[serde(borrow)]
    predictions: Option<Vec<Prediction<'a>>>,
    metadata: Option<PredictionMetadata>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PredictionMetadata {
    billable_character_count: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Prediction<'a> {
    #[serde(borrow)]
    embeddings: Option<&'a RawValue>,
    #[serde(borrow)]
    mime_type: Option<&'a RawValue>,
}

/// Generated content; a list of it too, which is how a stream without events ends where it fails at once.
pub(crate) fn content(answer: &mut Answer, document: &[u8]) -> bool {
    if document.trim_ascii_start().starts_with(b"[") {
        let Ok(elements) = serde_json::from_slice::<Vec<&RawValue>>(document) else {
            return false;
        };
        return elements.iter().all(|element| take(answer, element.get().as_bytes()));
    }
    take(answer, document)
}

/// A chunk of streamed content.
pub(crate) fn chunk(answer: &mut Answer, data: &[u8]) {
    let first = answer.response_model.is_none() && answer.first_looks < FIRST_LOOKS_MAX;
    if first {
        answer.first_looks += 1;
    }
    let told = if first { u32::MAX } else { peek::OF_CONTENT.with_values(data) };
    if told > USAGE_ONLY || (told == USAGE_ONLY && !note_usage(answer, data)) {
        take(answer, data);
    }
}

fn take(answer: &mut Answer, data: &[u8]) -> bool {
    let Ok(content) = serde_json::from_slice::<Content<'_>>(data) else {
        // Of an unusual document at least the usage is read.
        let usage = json::find(data, &[json::Step::Key("usageMetadata".into())]);
        return usage.is_some_and(|usage| take_usage(answer, usage));
    };
    answer.take_model(content.model_version);
    if let Some(error) = content.error {
        answer.take_google_error(error);
    }
    let blocked = content.prompt_feedback.and_then(|feedback| {
        let reason = json::find(feedback.get().as_bytes(), &[json::Step::Key("blockReason".into())]);
        json::name(reason)
    });
    let candidates = content.candidates.unwrap_or_default();
    let finished = candidates.iter().find_map(|candidate| json::name(candidate.finish_reason));
    if let Some(reason) = finished.or(blocked) {
        answer.finish_reason = Some(reason);
    }
    let told = &mut answer.gemini;
    let grounding = || {
        candidates
            .iter()
            .filter_map(|candidate| candidate.grounding_metadata.as_ref())
    };
    let queries = grounding()
        .flat_map(|grounding| grounding.web_search_queries.iter().flatten())
        .filter(|query| query.get() != "\"\"")
        .count() as u64;
    // Metadata may come in parts, or again with more in it.
    told.queries = told.queries.max(queries);
    told.maps |= grounding()
        .flat_map(|grounding| grounding.grounding_chunks.iter().flatten())
        .any(|chunk| chunk.maps.is_some());
    told.reads_urls |= candidates.iter().any(|candidate| candidate.url_context_metadata.is_some());
    match content.usage_metadata {
        Some(usage) => {
            take_usage(answer, usage);
        }
        None => answer.compose_gemini(),
    }
    true
}

/// Takes the sums of a usage object that is likely to be followed by a later one, and keeps it for the case that it is not; returns whether the chunk
/// has such an object.
fn note_usage(answer: &mut Answer, data: &[u8]) -> bool {
    let Some((sums, text)) = peek::USAGE_METADATA.last_of_top::<Sums>(data) else {
        return false;
    };
    if sums.prompt_token_count.is_none() {
        return false;
    }
    let told = &mut answer.gemini;
    told.pending.clear();
    told.pending.extend_from_slice(text);
    let counts = &mut told.counts;
    counts.prompt = sums.prompt_token_count;
    counts.cached = sums.cached_content_token_count;
    counts.candidates = sums.candidates_token_count;
    counts.thoughts = sums.thoughts_token_count;
    counts.tool_use = sums.tool_use_prompt_token_count;
    counts.total = sums.total_token_count;
    answer.compose_gemini();
    answer.output_is_final = answer.usage.output.is_some();
    true
}

/// Reads the rest of a usage object that no later one has replaced.
pub(crate) fn read_pending(answer: &mut Answer) {
    let pending = std::mem::take(&mut answer.gemini.pending);
    if let Ok(usage) = serde_json::from_slice::<&RawValue>(&pending) {
        take_usage(answer, usage);
    }
}

/// Takes a usage object in place of earlier ones, if it has counts.
pub(crate) fn take_usage(answer: &mut Answer, raw: &RawValue) -> bool {
    if !json::is_object(raw) {
        return false;
    }
    let told = &mut answer.gemini;
    let mut counts = Counts::default();
    let mut has_details = false;
    json::leaves(raw, |path, leaf| match (path, leaf) {
        ("promptTokenCount", Leaf::Count(count)) => counts.prompt = Some(count),
        ("cachedContentTokenCount", Leaf::Count(count)) => counts.cached = Some(count),
        // The Live API has other words for candidates.
        ("candidatesTokenCount" | "responseTokenCount", Leaf::Count(count)) => counts.candidates = Some(count),
        ("thoughtsTokenCount", Leaf::Count(count)) => counts.thoughts = Some(count),
        ("toolUsePromptTokenCount", Leaf::Count(count)) => counts.tool_use = Some(count),
        ("totalTokenCount", Leaf::Count(count)) => counts.total = Some(count),
        ("trafficType" | "serviceTier", Leaf::Text(tier)) => told.tier = tier_of(tier),
        (path, _) if path.contains("Details[]") => has_details = true,
        (path, Leaf::Count(count)) => unknown(&mut counts.unknown, path, count),
        (_, Leaf::Text(_)) => {}
    });
    if counts.prompt.is_none() && counts.candidates.is_none() && counts.total.is_none() {
        answer.compose_gemini();
        return false;
    }
    if has_details {
        let of = |key: &str| Modalities::of(raw, key);
        counts.of_prompt = of("promptTokensDetails");
        counts.of_cache = of("cacheTokensDetails");
        counts.of_candidates = of("candidatesTokensDetails").or(of("responseTokensDetails"));
    }
    told.counts = counts;
    told.pending.clear();
    answer.compose_gemini();
    answer.output_is_final = answer.usage.output.is_some();
    true
}

/// The tier of `ON_DEMAND_PRIORITY` (Vertex AI's `trafficType`), `flex` (the Gemini API's `serviceTier` and `x-gemini-service-tier`) and their like.
pub(crate) fn tier_of(text: &str) -> Option<Name> {
    let tier = text.trim().to_ascii_lowercase();
    let tier = tier.strip_prefix("service_tier_").unwrap_or(&tier);
    match tier
        .strip_prefix("on_demand")
        .map_or(tier, |rest| rest.trim_start_matches('_'))
    {
        "" | "standard" | "default" | "unspecified" | "traffic_type_unspecified" => None,
        "provisioned_throughput" => Name::new("provisioned").ok(),
        tier => Name::new(tier).ok(),
    }
}

/// Embeddings of the Gemini API; they often tell no usage.
pub(crate) fn embeddings(answer: &mut Answer, document: &[u8]) -> bool {
    take(answer, document)
}

/// Predictions of Vertex AI: embeddings with their statistics, or images.
pub(crate) fn predictions(answer: &mut Answer, document: &[u8], model: Option<&str>) -> bool {
    let Ok(predicted) = serde_json::from_slice::<Predicted<'_>>(document) else {
        return false;
    };
    if let Some(error) = predicted.error {
        answer.take_google_error(error);
    }
    let predictions = predicted.predictions.unwrap_or_default();
    let statistics = ["statistics", "token_count"].map(|key| json::Step::Key(key.into()));
    let tokens: Vec<u64> = predictions
        .iter()
        .filter_map(|prediction| json::count(json::find(prediction.embeddings?.get().as_bytes(), &statistics)?))
        .collect();
    let images = predictions
        .iter()
        .filter(|prediction| {
            prediction
                .mime_type
                .and_then(json::text)
                .is_some_and(|kind| kind.starts_with("image/"))
        })
        .count() as u64;
    let usage = &mut answer.usage;
    if !tokens.is_empty() {
        usage.input = Some(tokens.iter().fold(0, |sum, count| u64::saturating_add(sum, *count)));
    }
    let characters = predicted.metadata.unwrap_or_default().billable_character_count;
    // Gemini's embeddings are billed by the token, those before by the character (litellm 1.106.2: `gemini-embedding-001`, `text-embedding-004`).
    if !model.is_some_and(|model| model.contains("gemini")) {
        usage.characters = characters;
        usage.unbilled_in = usage.input.filter(|_| characters.is_some());
    }
    if images > 0 {
        usage.images = Some(images);
    }
    if usage.is_known() {
        usage.source = UsageSource::Reported;
    }
    true
}

// === impl Told ===

#[cfg(any(test, fuzzing))]
impl Told {
    pub(crate) fn unknown(&self) -> impl Iterator<Item = &UnknownUsage> {
        self.counts.unknown.iter()
    }

    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending.capacity()
    }
}

// === impl Modalities ===

impl Modalities {
    fn of(usage: &RawValue, key: &str) -> Self {
        let details = json::find(usage.get().as_bytes(), &[json::Step::Key(key.into())]);
        let details = details.and_then(|raw| serde_json::from_str::<Vec<Detail<'_>>>(raw.get()).ok());
        let mut tokens = Self::default();
        for detail in details.unwrap_or_default() {
            let field = match detail.modality.map(RawValue::get) {
                Some("\"AUDIO\"") => &mut tokens.audio,
                Some("\"IMAGE\"") => &mut tokens.image,
                Some("\"VIDEO\"") => &mut tokens.video,
                _ => continue,
            };
            *field = Some(
                field
                    .unwrap_or_default()
                    .saturating_add(detail.token_count.unwrap_or_default()),
            );
        }
        tokens
    }

    fn or(self, other: Self) -> Self {
        Self {
            audio: self.audio.or(other.audio),
            image: self.image.or(other.image),
            video: self.video.or(other.video),
        }
    }
}

// === impl Answer ===

impl Answer {
    /// Notes the tier that an answer's head tells.
    pub(crate) fn take_gemini_tier(&mut self, tier: &str) {
        self.gemini.tier = tier_of(tier);
    }

    /// Brings Gemini's counts into the ledger's convention.
    fn compose_gemini(&mut self) {
        let Told {
            counts,
            tier,
            queries,
            maps,
            reads_urls,
            ..
        } = &self.gemini;
        let of = |count: Option<u64>| count.unwrap_or_default();
        let sum = |one: Option<u64>, other: Option<u64>| match (one, other) {
            (None, None) => None,
            (one, other) => Some(of(one).saturating_add(of(other))),
        };
        let input = sum(counts.prompt, counts.tool_use);
        let beside = sum(counts.candidates, counts.thoughts);
        let inside =
            counts.total.is_some() && counts.total == sum(input, counts.candidates) && counts.candidates >= counts.thoughts;
        let output = match (beside, counts.total, input) {
            (Some(_), ..) if inside => counts.candidates,
            (Some(output), ..) => Some(output),
            (None, Some(total), Some(input)) => Some(total.saturating_sub(input)),
            (None, ..) => None,
        };
        let left = |of_prompt: Option<u64>, of_cache: Option<u64>| of_prompt.map(|count| count.saturating_sub(of(of_cache)));
        let grounded = *queries > 0 || *maps;
        let unbilled = grounded && !reads_urls;
        let before = std::mem::take(&mut self.usage);
        let mut usage = Usage {
            input,
            cache_read: counts.cached,
            cache_read_audio: counts.of_cache.audio,
            cache_read_image: counts.of_cache.image,
            audio_in: left(counts.of_prompt.audio, counts.of_cache.audio),
            image_in: left(counts.of_prompt.image, counts.of_cache.image),
            video_in: left(counts.of_prompt.video, counts.of_cache.video),
            tool_use_in: counts.tool_use.filter(|_| !unbilled),
            unbilled_in: counts.tool_use.filter(|_| unbilled),
            output,
            reasoning: counts.thoughts,
            audio_out: counts.of_candidates.audio,
            image_out: counts.of_candidates.image,
            web_search: (*queries > 0).then_some(1),
            search_query: (*queries > 0).then_some(*queries),
            maps_grounding: maps.then_some(1),
            remaining: before.remaining,
            service_tier: tier.clone(),
            region: before.region,
            unknown: counts.unknown.clone(),
            ..Usage::default()
        };
        if let Some(video) = counts.of_candidates.video {
            unknown(&mut usage.unknown, "candidatesTokensDetails.VIDEO", video);
        }
        let told = of(input).saturating_add(of(output));
        let more = of(counts.total).saturating_sub(told);
        if more > 0 {
            unknown(&mut usage.unknown, "totalTokenCount", more);
        }
        usage.source = if usage.is_known() {
            UsageSource::Reported
        } else {
            UsageSource::None
        };
        self.usage = usage;
    }
}
