//! Usage in OpenAI's words, and in those of hosts that speak them.
//!
//! Convention (openai 2.54.0, `types/completion_usage.py`, `types/responses/response_usage.py`, `types/images_response.py`,
//! `types/audio/transcription.py`): every detail stands INSIDE the totals. `cached_tokens` are "cached tokens present in the prompt", rejected
//! predictions "are still counted in the total completion tokens". `total_tokens` is "prompt + completion": a host whose total says otherwise keeps
//! something beside, see [`reconcile`].
//!
//! Hosts: cached tokens of DeepSeek (`prompt_cache_hit_tokens`, genai-prices 0.2.3 and browser-use PR 5684) and of Anthropic's compatible surface are
//! inside; reasoning of xAI's chat stands beside (genai-prices, litellm 1.106.2 `xai/chat`) and of its responses inside. Mistral tells the length of sound
//! in `prompt_audio_seconds`, and its tokens in the total only (its documentation of audio transcription, as stored in 2026).

use serde_json::value::RawValue;
use tollgate_record::{Usage, UsageSource};

use crate::answer::{Answer, unknown};
use crate::json::{self, Leaf};

/// Takes a usage object in place of earlier ones: repeated objects are running totals, never parts.
pub(crate) fn take_usage(answer: &mut Answer, raw: &RawValue) -> bool {
    if !json::is_object(raw) {
        return false;
    }
    let mut usage = Usage::default();
    let mut total = None;
    let mut times = false;
    json::leaves(raw, |path, leaf| {
        let Leaf::Count(count) = leaf else { return };
        let field = match path {
            "prompt_tokens" | "input_tokens" => &mut usage.input,
            "completion_tokens" | "output_tokens" => &mut usage.output,
            "total_tokens" => &mut total,
            // Anthropic's OpenAI-compatible surface, and DeepSeek, whose misses are the rest of the prompt.
            "cached_tokens" | "prompt_cache_hit_tokens" if usage.cache_read.is_none() => &mut usage.cache_read,
            "seconds" | "prompt_audio_seconds" => {
                times = true;
                return;
            }
            path => match detail(&mut usage, path) {
                Some(field) => field,
                None if is_informational(path) => return,
                None => return unknown(&mut usage.unknown, path, count),
            },
        };
        *field = Some(count);
    });
    if times {
        let time = |key: &str| json::find(raw.get().as_bytes(), &[json::Step::Key(key.into())]).and_then(json::micros);
        usage.media_us = time("seconds").or_else(|| time("prompt_audio_seconds"));
    }
    if !usage.is_known() && total.is_none() && usage.unknown.is_empty() {
        return false;
    }
    let model = answer.response_model.as_ref().or(answer.request_model.as_ref());
    let of_google = model.is_some_and(|model| model.as_str().trim_start_matches("google/").starts_with("gemini-"));
    reconcile(&mut usage, total, answer.shape.has_output(), of_google);
    usage.source = UsageSource::Reported;
    let before = std::mem::take(&mut answer.usage);
    answer.usage = Usage {
        web_search: before.web_search,
        file_search: before.file_search,
        code_interpreter: before.code_interpreter,
        remaining: before.remaining,
        service_tier: before.service_tier,
        region: before.region,
        ..usage
    };
    answer.output_is_final = answer.usage.output.is_some();
    true
}

/// The field for a detail of the totals. Details have `prompt_` and `completion_` before them in completions, `input_` and `output_` elsewhere;
/// realtime and transcriptions say `token_details`, the others `tokens_details`.
fn detail<'a>(usage: &'a mut Usage, path: &str) -> Option<&'a mut Option<u64>> {
    let (group, detail) = path.split_once('.')?;
    let field = match (group, detail) {
        ("prompt_tokens_details" | "input_tokens_details" | "input_token_details", detail) => match detail {
            "cached_tokens" => &mut usage.cache_read,
            "cached_tokens_details.audio_tokens" => &mut usage.cache_read_audio,
            "cached_tokens_details.image_tokens" => &mut usage.cache_read_image,
            "cache_write_tokens" => &mut usage.cache_creation,
            "audio_tokens" => &mut usage.audio_in,
            "image_tokens" => &mut usage.image_in,
            "video_tokens" => &mut usage.video_in,
            _ => return None,
        },
        ("completion_tokens_details" | "output_tokens_details" | "output_token_details", detail) => match detail {
            "reasoning_tokens" => &mut usage.reasoning,
            "audio_tokens" => &mut usage.audio_out,
            "image_tokens" => &mut usage.image_out,
            _ => return None,
        },
        _ => return None,
    };
    Some(field)
}

/// Fields that are parts of counts which are taken and have no price of their own, and those that are no usage: amounts of money (OpenRouter, xAI,
/// DeepInfra) and times that are not billed (Groq).
fn is_informational(path: &str) -> bool {
    let of_text = path.ends_with("_details.text_tokens") || path.ends_with("_details.cached_tokens_details.text_tokens");
    of_text
        || path.starts_with("cost_details.")
        || matches!(
            path,
            "completion_tokens_details.accepted_prediction_tokens"
                | "completion_tokens_details.rejected_prediction_tokens"
                | "cached_tokens"
                | "prompt_cache_hit_tokens"
                | "prompt_cache_miss_tokens"
                | "cost"
                | "cost_in_usd_ticks"
                | "estimated_cost"
                | "queue_time"
                | "prompt_time"
                | "completion_time"
                | "total_time"
        )
}

/// Brings a usage object into the ledger's convention.
///
/// - Output that is not told but follows from the total is taken from it; where nothing is generated, a total alone is the input (Voyage, Jina).
/// - A total of input, output and reasoning says that reasoning stands beside the output (xAI's chat completions).
/// - Where sound is told by its length (Mistral), a larger total says how many tokens it was: they are input, and not billed as such.
/// - Google's compatible endpoint leaves thoughts out of the output and has them in the total (discuss.ai.google.dev, topic 98760).
/// - A total that is larger for another reason keeps the difference as an unknown field.
/// - Modalities that were read from a cache are counted there. Where their split is not told, they are what can have been uncached at most.
fn reconcile(usage: &mut Usage, total: Option<u64>, has_output: bool, of_google: bool) {
    if let (Some(total), Some(input), None, true) = (total, usage.input, usage.output, has_output) {
        usage.output = Some(total.saturating_sub(input));
    }
    if !has_output && !usage.is_known() {
        usage.input = total;
    }
    let told = usage
        .input
        .unwrap_or_default()
        .saturating_add(usage.output.unwrap_or_default());
    let beside = total.unwrap_or_default().saturating_sub(told);
    if beside > 0 {
        match usage.output {
            Some(output) if usage.reasoning == Some(beside) => usage.output = Some(output.saturating_add(beside)),
            Some(output) if of_google && usage.reasoning.is_none() => {
                usage.output = Some(output.saturating_add(beside));
                usage.reasoning = Some(beside);
            }
            _ if usage.media_us.is_some() => {
                usage.input = Some(usage.input.unwrap_or_default().saturating_add(beside));
                usage.unbilled_in = Some(beside);
            }
            _ => unknown(&mut usage.unknown, "total_tokens", beside),
        }
    }
    let of = |count: Option<u64>| count.unwrap_or_default();
    let left = |part: Option<u64>, cached: Option<u64>| part.map(|part| part.saturating_sub(of(cached)));
    usage.audio_in = left(usage.audio_in, usage.cache_read_audio);
    usage.image_in = left(usage.image_in, usage.cache_read_image);
    if let Some(input) = usage.input {
        let mut room = input
            .saturating_sub(of(usage.cache_read))
            .saturating_sub(of(usage.cache_creation));
        for part in [&mut usage.audio_in, &mut usage.image_in, &mut usage.video_in]
            .into_iter()
            .flatten()
        {
            *part = room.min(*part);
            room -= *part;
        }
    }
}
