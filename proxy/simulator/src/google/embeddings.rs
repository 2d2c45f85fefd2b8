//! `embedContent`, `batchEmbedContents`, and Vertex AI's `predict` of embedding models.
//!
//! The Gemini API reports usage in `usageMetadata`; `predict` reports the tokens of each text in its `statistics`, and
//! the billable characters of all in its metadata.

use serde::Deserialize;

use super::content::Content;
use crate::directive::Directives;
use crate::out::Out;
use crate::prompt::{Str, Tally, parse};
use crate::refusal::Refusal;
use crate::usage::Usage;
use crate::vector;

/// The largest vector, which is also the default (that of gemini-embedding-001).
const DIMENSIONS_MAX: usize = 3072;
/// The most texts of one request (the Gemini API's limit).
const INPUTS_MAX: usize = 100;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    content: Option<Content<'a>>,
    #[serde(rename = "outputDimensionality", alias = "output_dimensionality")]
    dimensions: Option<usize>,
    /// The SDK puts the size in here on Vertex AI.
    #[serde(rename = "embedContentConfig")]
    config: Option<Parameters>,
}

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    requests: Option<Vec<Request<'a>>>,
}

#[derive(Deserialize)]
struct Predict<'a> {
    #[serde(borrow)]
    instances: Option<Vec<Instance<'a>>>,
    parameters: Option<Parameters>,
}

#[derive(Deserialize)]
struct Instance<'a> {
    #[serde(borrow)]
    content: Option<Str<'a>>,
}

#[derive(Deserialize)]
struct Parameters {
    #[serde(rename = "outputDimensionality", alias = "output_dimensionality")]
    dimensions: Option<usize>,
}

/// Answers `embedContent`.
///
/// # Errors
/// A refusal where it is not JSON, has no content, or asks for a size that does not exist.
pub(crate) fn one(body: &[u8], asked: &Directives, out: &mut Out) -> Result<(), Refusal> {
    let request: Request<'_> = parse(body)?;
    let tally = request.tally()?;
    let usage = Usage::new(asked, tally.input_tokens(), 0, 0)?;
    out.raw(r#"{"embedding":"#);
    values(&tally, request.dimensions()?, out);
    end(&usage, out);
    Ok(())
}

/// Answers `batchEmbedContents`.
///
/// # Errors
/// As [`one`], and where it has no requests or too many.
pub(crate) fn batch(body: &[u8], asked: &Directives, out: &mut Out) -> Result<(), Refusal> {
    let requests = parse::<Batch<'_>>(body)?.requests.unwrap_or_default();
    count("requests", requests.len())?;
    let mut counted = 0;
    out.raw(r#"{"embeddings":["#);
    for (index, request) in requests.iter().enumerate() {
        let tally = request.tally()?;
        counted += tally.input_tokens();
        values(&tally, request.dimensions()?, out.raw(if index == 0 { "" } else { "," }));
    }
    out.raw("]");
    end(&Usage::new(asked, counted, 0, 0)?, out);
    Ok(())
}

/// Answers `predict`. Tokens that are asked for are those of the first text.
///
/// # Errors
/// As [`batch`].
pub(crate) fn predict(body: &[u8], asked: &Directives, out: &mut Out) -> Result<(), Refusal> {
    let request: Predict<'_> = parse(body)?;
    let instances = request.instances.unwrap_or_default();
    count("instances", instances.len())?;
    let dimensions = size(request.parameters.and_then(|parameters| parameters.dimensions))?;
    let mut characters = 0;
    out.raw(r#"{"predictions":["#);
    for (index, instance) in instances.iter().enumerate() {
        let name = "instances.content";
        let text = instance.content.as_ref().ok_or(Refusal::FieldMissing { name })?;
        let mut tally = Tally::new();
        tally.text(&text.0);
        characters += text.0.chars().filter(|letter| !letter.is_whitespace()).count() as u64;
        let usage = match index {
            0 => Usage::new(asked, tally.input_tokens(), 0, 0)?,
            _ => Usage::new(&Directives::default(), tally.input_tokens(), 0, 0)?,
        };
        out.raw(if index == 0 { "" } else { "," })
            .raw(r#"{"embeddings":{"statistics":{"truncated":false"#);
        if usage.reported() {
            out.raw(r#","token_count":"#).number(usage.input);
        }
        out.raw(r#"},"values":"#);
        vector::write(&vector::vector(tally.seed(), dimensions), out);
        out.raw("}}");
    }
    out.raw(r#"],"metadata":{"billableCharacterCount":"#)
        .number(characters)
        .raw("}}");
    Ok(())
}

impl Request<'_> {
    fn tally(&self) -> Result<Tally, Refusal> {
        let content = self.content.as_ref().ok_or(Refusal::FieldMissing { name: "content" })?;
        let mut tally = Tally::new();
        content.count(&mut tally);
        Ok(tally)
    }

    fn dimensions(&self) -> Result<usize, Refusal> {
        let configured = self.config.as_ref().and_then(|config| config.dimensions);
        size(self.dimensions.or(configured))
    }
}

fn count(name: &'static str, count: usize) -> Result<(), Refusal> {
    if (1..=INPUTS_MAX).contains(&count) {
        return Ok(());
    }
    let reason = "expected 1 to 100 texts";
    Err(Refusal::FieldInvalid { name, reason })
}

fn size(dimensions: Option<usize>) -> Result<usize, Refusal> {
    let dimensions = dimensions.unwrap_or(DIMENSIONS_MAX);
    if (1..=DIMENSIONS_MAX).contains(&dimensions) {
        return Ok(dimensions);
    }
    Err(Refusal::FieldInvalid {
        name: "outputDimensionality",
        reason: "expected 1 to 3072",
    })
}

fn values(tally: &Tally, dimensions: usize, out: &mut Out) {
    vector::write(&vector::vector(tally.seed(), dimensions), out.raw(r#"{"values":"#));
    out.raw("}");
}

fn end(usage: &Usage, out: &mut Out) {
    if usage.reported() {
        usage.google_embedding(out.raw(r#","usageMetadata":"#));
    }
    out.raw("}");
}
