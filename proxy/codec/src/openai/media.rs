//! Images, speech and transcriptions.
//!
//! - GPT's images are billed by the token, text and image apart (openai 2.54.0, `types/images_response.py`); DALL-E's answers tell no usage, and are
//!   counted by the image: their size and quality had prices of their own, which a list cannot tell apart. OpenAI shut them down on 2026-05-12. Streams tell usage in
//!   `image_generation.completed` and `image_edit.completed`, not in partial images.
//! - Speech is sound without usage. tts-1 is billed by the character of `input` (litellm 1.106.2, `cost_per_character`); a stream of events ends in
//!   `speech.audio.done`, which has tokens.
//! - A transcription tells tokens or seconds (`types/audio/transcription.py`: `usage.type`), a verbose one its `duration`; other formats tell nothing.

use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_record::UsageSource;

use super::take_usage;
use crate::answer::Answer;
use crate::{json, peek};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Images<'a> {
    #[serde(borrow)]
    data: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Transcription<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    duration: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// Images that were generated.
pub(crate) fn images(answer: &mut Answer, document: &[u8]) -> bool {
    let Ok(images) = serde_json::from_slice::<Images<'_>>(document) else {
        return false;
    };
    if let Some(error) = images.error {
        answer.take_error(error);
    }
    let told = images.usage.is_some_and(|usage| take_usage(answer, usage));
    let count = images.data.map_or(0, |data| data.len() as u64);
    if !told && count > 0 {
        count_images(answer, count);
    }
    true
}

/// A transcription or a translation, as JSON.
pub(crate) fn transcription(answer: &mut Answer, document: &[u8]) -> bool {
    let Ok(read) = serde_json::from_slice::<Transcription<'_>>(document) else {
        return false;
    };
    answer.take_model(read.model);
    if let Some(error) = read.error {
        answer.take_error(error);
    }
    let told = read.usage.is_some_and(|usage| take_usage(answer, usage));
    if let Some(duration) = read.duration.and_then(json::micros).filter(|_| !told) {
        answer.usage.media_us = Some(duration);
        answer.usage.source = UsageSource::Reported;
    }
    true
}

/// An event of streamed images, speech or text.
pub(crate) fn event(answer: &mut Answer, data: &[u8]) {
    if let Some(kind) = peek::TYPE.first_text(data)
        && (kind.ends_with(b".delta") || kind.ends_with(b".partial_image") || kind.ends_with(b".segment"))
    {
        return;
    }
    let Ok(event) = serde_json::from_slice::<Event<'_>>(data) else {
        return;
    };
    if let Some(error) = event.error {
        answer.take_error(error);
    }
    let told = event.usage.is_some_and(|usage| take_usage(answer, usage));
    match &*event.kind.and_then(json::text).unwrap_or_default() {
        "image_generation.completed" | "image_edit.completed" if !told => {
            let before = answer.usage.images.unwrap_or_default();
            count_images(answer, before.saturating_add(1));
        }
        // Mistral's word for the last one is the second.
        "transcript.text.done" | "transcription.done" | "speech.audio.done" => answer.terminal = true,
        _ => {}
    }
}

fn count_images(answer: &mut Answer, count: u64) {
    answer.usage.images = Some(count);
    answer.usage.source = UsageSource::Reported;
}
