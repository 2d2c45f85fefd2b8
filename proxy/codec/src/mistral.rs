//! Mistral's documents, read page by page (OCR). Its completions speak OpenAI's words: see [`crate::openai`].
//!
//! `usage_info.pages_processed` is billed by the page, and where annotations are asked for by the annotated page, which has a price of its own
//! (genai-prices 0.2.3, `mistral`: `ocr`, `ocr_annotated`; litellm 1.106.2, `annotation_cost_per_page`).

use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_record::UsageSource;

use crate::answer::{Answer, unknown};
use crate::json::{self, Leaf};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Read<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    usage_info: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
}

/// A document that was read. `annotates` says whether annotations were asked for: there is no meter for annotated pages, so they are shown as unknown.
pub(crate) fn pages(answer: &mut Answer, document: &[u8], annotates: bool) -> bool {
    let Ok(read) = serde_json::from_slice::<Read<'_>>(document) else {
        return false;
    };
    answer.take_model(read.model);
    if let Some(error) = read.error {
        answer.take_error(error);
    } else if read.object.is_some_and(|object| object.get() == "\"error\"")
        && let Ok(error) = serde_json::from_slice(document)
    {
        answer.take_error(error);
    }
    let Some(told) = read.usage_info else { return true };
    let usage = &mut answer.usage;
    json::leaves(told, |path, leaf| match (path, leaf) {
        ("pages_processed", Leaf::Count(count)) => usage.pages = Some(count),
        // The size is no quantity that is billed.
        ("doc_size_bytes", _) | (_, Leaf::Text(_)) => {}
        (path, Leaf::Count(count)) => unknown(&mut usage.unknown, path, count),
    });
    if let Some(pages) = usage.pages {
        usage.source = UsageSource::Reported;
        if annotates {
            unknown(&mut usage.unknown, "annotated_pages", pages);
        }
    }
    true
}
