//! `POST /v1/ocr`: pages of text; billed by the page, which `usage_info` counts.
//!
//! The number of pages is the one asked for with `pages`, else the length of the request's list of them, else one.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::directive::Directives;
use crate::out::{Out, Seed};
use crate::prompt::{Str, parse};
use crate::refusal::Refusal;
use crate::text::{Size, Text};
use crate::usage::Usage;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    model: Option<Str<'a>>,
    #[serde(borrow)]
    document: Option<&'a RawValue>,
    /// A list of numbers, or a range in words.
    #[serde(borrow)]
    pages: Option<&'a RawValue>,
}

/// Answers a request.
///
/// # Errors
/// A refusal where it is not JSON or misses a field.
pub(crate) fn json(body: &[u8], asked: &Directives, out: &mut Out) -> Result<(), Refusal> {
    let request: Request<'_> = parse(body)?;
    let model = request.model.ok_or(Refusal::FieldMissing { name: "model" })?;
    let document = request.document.ok_or(Refusal::FieldMissing { name: "document" })?;
    let listed = request
        .pages
        .and_then(|pages| serde_json::from_str::<Vec<u64>>(pages.get()).ok());
    let listed = listed.unwrap_or_else(|| vec![0]);
    let pages: Vec<u64> = asked.pages.map_or(listed, |count| (0..count).collect());
    let mut seed = Seed::new();
    seed.add(document.get().as_bytes());
    out.raw(r#"{"pages":["#);
    for (at, page) in pages.iter().enumerate() {
        let text = Text::words(Size::default(), seed.0.wrapping_add(*page));
        out.raw(if at == 0 { "" } else { "," }).raw(r#"{"index":"#).number(*page);
        out.raw(r##","markdown":"##).string(&text.body);
        out.raw(r#","images":[],"dimensions":{"dpi":200,"height":2200,"width":1700}}"#);
    }
    let answering = asked.model.as_deref().unwrap_or(&model.0);
    out.raw(r#"],"model":"#)
        .string(answering)
        .raw(r#","document_annotation":null"#);
    let usage = Usage::new(asked, 0, 0, 0)?;
    if usage.reported() {
        out.raw(r#","usage_info":{"pages_processed":"#).number(pages.len() as u64);
        out.raw(r#","doc_size_bytes":null}"#);
    }
    out.raw("}");
    Ok(())
}
