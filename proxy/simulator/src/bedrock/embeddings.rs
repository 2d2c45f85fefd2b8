//! Titan's embeddings by `InvokeModel`.

use serde::Deserialize;

use crate::directive::Directives;
use crate::out::Out;
use crate::prompt::{Str, Tally, parse};
use crate::refusal::Refusal;
use crate::usage::Usage;
use crate::vector;

/// The largest vector, which is also the default (that of titan-embed-text-v2).
const DIMENSIONS_MAX: usize = 1024;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(rename = "inputText", borrow)]
    text: Option<Str<'a>>,
    dimensions: Option<usize>,
}

/// Answers a request, and says what it used.
///
/// # Errors
/// A refusal where it is not JSON, has no text, or asks for a size that does not exist.
pub(crate) fn json(body: &[u8], asked: &Directives, out: &mut Out) -> Result<Usage, Refusal> {
    let request: Request<'_> = parse(body)?;
    let text = request.text.ok_or(Refusal::FieldMissing { name: "inputText" })?;
    let dimensions = request.dimensions.unwrap_or(DIMENSIONS_MAX);
    if !(1..=DIMENSIONS_MAX).contains(&dimensions) {
        return Err(Refusal::FieldInvalid {
            name: "dimensions",
            reason: "expected 1 to 1024",
        });
    }
    let mut tally = Tally::new();
    tally.text(&text.0);
    let usage = Usage::new(asked, tally.input_tokens(), 0, 0)?;
    out.raw(r#"{"embedding":"#);
    vector::write(&vector::vector(tally.seed(), dimensions), out);
    if usage.reported() {
        out.raw(r#","inputTextTokenCount":"#).number(usage.input);
    }
    out.raw("}");
    Ok(usage)
}
