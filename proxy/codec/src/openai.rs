//! OpenAI's messages: chat completions, completions, embeddings and responses.
//!
//! Convention (openai 2.54.0, `types/completion_usage.py`, `types/responses/response_usage.py`): every detail stands INSIDE the totals.
//! `cached_tokens` are "cached tokens present in the prompt", rejected predictions "are still counted in the total completion tokens".
//! `total_tokens` is "prompt + completion": a host whose total says otherwise keeps something beside, see [`reconcile`].

use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_record::{Name, Usage, UsageSource};

use crate::answer::{Answer, unknown};
use crate::json::{self, Leaf};
use crate::peek;

/// How many chunks are parsed in search of the model before the meter gives up: hosts put chunks of their own in front.
const FIRST_LOOKS_MAX: u8 = 8;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Completion<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    service_tier: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Choice<'a> {
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
    /// Some hosts (Moonshot) report here.
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Response<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    service_tier: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    incomplete_details: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<Vec<Item<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Item<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    action: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<Response<'a>>,
    #[serde(borrow)]
    item: Option<Item<'a>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    code: Option<&'a RawValue>,
}

/// A completion, or an embedding.
pub(crate) fn completion(answer: &mut Answer, document: &[u8]) -> bool {
    read_completion(answer, document).is_some()
}

/// A chunk of a streamed completion; returns whether it is the one that only reports usage.
pub(crate) fn chunk(answer: &mut Answer, data: &[u8]) -> bool {
    if data.trim_ascii() == b"[DONE]" {
        answer.terminal = true;
        return false;
    }
    let first = answer.response_model.is_none() && answer.first_looks < FIRST_LOOKS_MAX;
    if first {
        answer.first_looks += 1;
    } else if !peek::USAGE.has_value_in(data) && !peek::FINISH_REASON.has_value_in(data) && !peek::ERROR.has_value_in(data) {
        return false;
    }
    read_completion(answer, data).unwrap_or_default()
}

/// Returns whether there are no choices but usage; `None` if it is no JSON object.
fn read_completion(answer: &mut Answer, document: &[u8]) -> Option<bool> {
    let Ok(read) = serde_json::from_slice::<Completion<'_>>(document) else {
        // Of an unusual document at least the usage is read.
        let usage = json::find(document, &[json::Step::Key("usage".into())])?;
        take_usage(answer, usage);
        return Some(false);
    };
    answer.take_model(read.model);
    if let Some(error) = read.error {
        answer.take_error(error);
    }
    take_tier(answer, read.service_tier);
    let choices = read.choices.as_deref();
    if let Some(reason) = choices.and_then(|choices| choices.iter().find_map(|choice| json::name(choice.finish_reason))) {
        answer.finish_reason = Some(reason);
    }
    let usage = read.usage.or_else(|| choices?.iter().find_map(|choice| choice.usage));
    if let Some(usage) = usage {
        take_usage(answer, usage);
    }
    Some(choices.is_some_and(<[_]>::is_empty) && usage.is_some_and(json::is_object))
}

/// A response.
pub(crate) fn response(answer: &mut Answer, document: &[u8]) -> bool {
    match serde_json::from_slice(document) {
        Ok(response) => {
            take_response(answer, &response);
            true
        }
        Err(_) => {
            let usage = json::find(document, &[json::Step::Key("usage".into())]);
            usage.is_some_and(|usage| take_usage(answer, usage))
        }
    }
}

/// An event of a streamed response.
pub(crate) fn event(answer: &mut Answer, data: &[u8]) {
    // Where `type` is not the first key, the first one that is found is that of an item, and the event is parsed.
    match peek::TYPE.first_text(data) {
        Some(kind) if ends_response(kind) => {}
        Some(b"response.created" | b"response.in_progress" | b"response.queued") if answer.response_model.is_none() => {}
        Some(b"response.output_item.done") if peek::WEB_SEARCH_CALL.is_in(data) => {}
        Some(kind) if kind.starts_with(b"response.") => return,
        _ => {}
    }
    let Ok(event) = serde_json::from_slice::<Event<'_>>(data) else {
        read_unusual(answer, data);
        return;
    };
    let kind = event.kind.and_then(json::text).unwrap_or_default();
    if let Some(response) = &event.response {
        take_response(answer, response);
    }
    match (&*kind, &event.item) {
        ("response.output_item.done", Some(item)) if is_search(item) => {
            answer.usage.web_search = Some(answer.usage.web_search.unwrap_or_default().saturating_add(1));
        }
        ("error", _) => {
            // {"type": "error", "code", "message"}, or wrapped as {"type": "error", "error": {..}}.
            match (event.error, event.code) {
                (Some(error), _) => answer.take_error(error),
                (None, code) => answer.error_type = json::name(code).or_else(|| Name::new("error").ok()),
            }
        }
        _ => {}
    }
    answer.terminal |= ends_response(kind.as_bytes());
}

fn read_unusual(answer: &mut Answer, data: &[u8]) {
    let key = |key: &str| json::Step::Key(key.into());
    if let Some(usage) = json::find(data, &[key("response"), key("usage")]) {
        take_usage(answer, usage);
    }
    let kind = json::find(data, &[key("type")]).and_then(json::text);
    answer.terminal |= kind.is_some_and(|kind| ends_response(kind.as_bytes()));
}

/// Whether an event is the last of a streamed response.
pub(crate) fn ends_response(kind: &[u8]) -> bool {
    matches!(kind, b"response.completed" | b"response.incomplete" | b"response.failed")
}

fn take_response(answer: &mut Answer, response: &Response<'_>) {
    answer.take_model(response.model);
    take_tier(answer, response.service_tier);
    if let Some(error) = response.error {
        answer.take_error(error);
    }
    let status = json::name(response.status).filter(|status| !matches!(status.as_str(), "in_progress" | "queued"));
    let reason = response.incomplete_details.and_then(|details| {
        let reason = json::find(details.get().as_bytes(), &[json::Step::Key("reason".into())]);
        json::name(reason)
    });
    if let Some(reason) = reason.or(status) {
        answer.finish_reason = Some(reason);
    }
    if let Some(output) = &response.output {
        let searches = output.iter().filter(|item| is_search(item)).count() as u64;
        if searches > 0 {
            answer.usage.web_search = Some(searches);
        }
    }
    if let Some(usage) = response.usage {
        take_usage(answer, usage);
    }
}

/// Whether an item is a search that is billed: the tool's other actions (`open_page`, `find_in_page`) are steps within a search.
fn is_search(item: &Item<'_>) -> bool {
    let is = |raw: Option<&RawValue>, wanted: &str| raw.and_then(json::text).is_some_and(|text| text == wanted);
    let action = item
        .action
        .and_then(|action| json::find(action.get().as_bytes(), &[json::Step::Key("type".into())]));
    is(item.kind, "web_search_call") && (action.is_none() || is(action, "search"))
}

/// The tier that was used; requests for `fast` are answered with `priority`, and both are one tier (`types/responses/response.py`).
fn take_tier(answer: &mut Answer, tier: Option<&RawValue>) {
    if let Some(tier) = tier.and_then(json::text) {
        answer.usage.service_tier = match &*tier {
            "default" | "standard" | "auto" => None,
            "fast" => Name::new("priority").ok(),
            tier => Name::new(tier).ok(),
        };
    }
}

/// Takes a usage object in place of earlier ones: repeated objects are running totals, never parts.
pub(crate) fn take_usage(answer: &mut Answer, raw: &RawValue) -> bool {
    if !json::is_object(raw) {
        return false;
    }
    let mut usage = Usage::default();
    let mut total = None;
    json::leaves(raw, |path, leaf| {
        let Leaf::Count(count) = leaf else { return };
        let field = match path {
            "prompt_tokens" | "input_tokens" => &mut usage.input,
            "completion_tokens" | "output_tokens" => &mut usage.output,
            "total_tokens" => &mut total,
            // The second pair is Anthropic's OpenAI-compatible surface and DeepSeek, whose misses are the rest of the prompt.
            "prompt_tokens_details.cached_tokens" | "input_tokens_details.cached_tokens" => &mut usage.cache_read,
            "cached_tokens" | "prompt_cache_hit_tokens" if usage.cache_read.is_none() => &mut usage.cache_read,
            "prompt_tokens_details.cache_write_tokens" | "input_tokens_details.cache_write_tokens" => &mut usage.cache_creation,
            "prompt_tokens_details.audio_tokens" | "input_tokens_details.audio_tokens" => &mut usage.audio_in,
            "completion_tokens_details.reasoning_tokens" | "output_tokens_details.reasoning_tokens" => &mut usage.reasoning,
            "completion_tokens_details.audio_tokens" | "output_tokens_details.audio_tokens" => &mut usage.audio_out,
            path if is_informational(path) => return,
            path => return unknown(&mut usage.unknown, path, count),
        };
        *field = Some(count);
    });
    if !usage.is_known() && total.is_none() && usage.unknown.is_empty() {
        return false;
    }
    reconcile(&mut usage, total, answer.shape.has_output());
    usage.source = UsageSource::Reported;
    let before = std::mem::take(&mut answer.usage);
    answer.usage = Usage {
        web_search: before.web_search,
        remaining: before.remaining,
        service_tier: before.service_tier,
        region: before.region,
        ..usage
    };
    answer.output_is_final = answer.usage.output.is_some();
    true
}

/// Fields that are parts of counts which are taken, and have no price of their own.
fn is_informational(path: &str) -> bool {
    matches!(
        path,
        "completion_tokens_details.accepted_prediction_tokens"
            | "completion_tokens_details.rejected_prediction_tokens"
            | "prompt_tokens_details.text_tokens"
            // Images in a prompt are billed as its other tokens are (OpenAI's guide to images and vision: converted to tokens at the model's rate).
            | "prompt_tokens_details.image_tokens"
            | "input_tokens_details.image_tokens"
            | "input_tokens_details.text_tokens"
            | "completion_tokens_details.text_tokens"
            | "output_tokens_details.text_tokens"
            | "cached_tokens"
            | "prompt_cache_hit_tokens"
            | "prompt_cache_miss_tokens"
    )
}

/// Brings a usage object into the ledger's convention.
///
/// - Output that is not told but follows from the total is taken from it.
/// - A total of input, output and reasoning says that reasoning stands beside the output (xAI's chat completions).
/// - A total that is larger for another reason (Google's compatible endpoint leaves thinking out) keeps the difference as an unknown field.
/// - Audio that was read from a cache is counted there.
fn reconcile(usage: &mut Usage, total: Option<u64>, has_output: bool) {
    if let (Some(total), Some(input), None, true) = (total, usage.input, usage.output, has_output) {
        usage.output = Some(total.saturating_sub(input));
    }
    let told = usage
        .input
        .unwrap_or_default()
        .saturating_add(usage.output.unwrap_or_default());
    let beside = total.unwrap_or_default().saturating_sub(told);
    if beside > 0 {
        match usage.output {
            Some(output) if usage.reasoning == Some(beside) => usage.output = Some(output.saturating_add(beside)),
            _ => unknown(&mut usage.unknown, "total_tokens", beside),
        }
    }
    if let (Some(audio), Some(input)) = (usage.audio_in, usage.input) {
        let cached = usage
            .cache_read
            .unwrap_or_default()
            .saturating_add(usage.cache_creation.unwrap_or_default());
        usage.audio_in = Some(audio.min(input.saturating_sub(cached)));
    }
}
