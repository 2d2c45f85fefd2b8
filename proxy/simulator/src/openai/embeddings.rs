//! `POST /v1/embeddings`: unit vectors that follow from the text, as floats or base64.
//!
//! OpenAI's SDKs ask for base64 and decode it themselves. The base64 is of little-endian 32-bit floats.

use serde::Deserialize;

use super::completions::Input;
use super::model;
use crate::directive::Directives;
use crate::models::answering;
use crate::out::{Out, base64, id};
use crate::prompt::{Str, Tally, parse};
use crate::refusal::Refusal;
use crate::route::Provider;
use crate::usage::Usage;
use crate::vector;

/// The most inputs of one request (OpenAI's limit).
const INPUTS_MAX: usize = 2048;
/// The largest vector (that of text-embedding-3-large).
const DIMENSIONS_MAX: usize = 3072;
/// The vector of the other models.
const DIMENSIONS_DEFAULT: usize = 1536;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    model: Option<Str<'a>>,
    #[serde(borrow)]
    input: Option<Input<'a>>,
    #[serde(borrow)]
    encoding_format: Option<Str<'a>>,
    dimensions: Option<usize>,
}

/// Answers a request.
///
/// # Errors
/// A refusal where it is not JSON, misses a field, or asks for a format or size that does not exist.
pub(crate) fn json(
    provider: Provider,
    deployment: Option<&str>,
    body: &[u8],
    asked: &Directives,
    out: &mut Out,
) -> Result<(), Refusal> {
    let request: Request<'_> = parse(body)?;
    let model = model(request.model, deployment)?;
    let input = request.input.ok_or(Refusal::FieldMissing { name: "input" })?;
    let encoded = match request.encoding_format.as_ref().map_or("float", |format| &*format.0) {
        "float" => false,
        "base64" => true,
        _ => {
            return Err(Refusal::FieldInvalid {
                name: "encoding_format",
                reason: "expected float or base64",
            });
        }
    };
    let full = if model.0.contains("large") {
        DIMENSIONS_MAX
    } else {
        DIMENSIONS_DEFAULT
    };
    let dimensions = request.dimensions.unwrap_or(full);
    if !(1..=full).contains(&dimensions) {
        return Err(Refusal::FieldInvalid {
            name: "dimensions",
            reason: "expected 1 up to the size of the model",
        });
    }
    let tallies = input.tallies();
    if tallies.is_empty() || tallies.len() > INPUTS_MAX {
        return Err(Refusal::FieldInvalid {
            name: "input",
            reason: "expected 1 to 2048 inputs",
        });
    }
    let counted = tallies.iter().map(Tally::input_tokens).sum();
    let usage = Usage::new(asked, counted, 0, 0)?;
    out.raw(r#"{"object":"list","data":["#);
    for (index, tally) in tallies.iter().enumerate() {
        out.raw(if index == 0 { "" } else { "," })
            .raw(r#"{"object":"embedding","index":"#)
            .number(index as u64);
        out.raw(r#","embedding":"#);
        let vector = vector::vector(tally.seed(), dimensions);
        if encoded {
            let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
            out.string(&base64(&bytes));
        } else {
            vector::write(&vector, out);
        }
        out.raw("}");
    }
    let answering = answering(provider, &model.0);
    out.raw(r#"],"model":"#).string(asked.model.as_deref().unwrap_or(&answering));
    if provider == Provider::Mistral {
        out.raw(r#","id":"#)
            .string(&id("", tallies.iter().fold(0, |seed, tally| seed ^ tally.seed()), 32));
        usage.mistral_member(out);
    } else if usage.reported() {
        usage.embeddings(out.raw(r#","usage":"#));
    }
    out.raw("}");
    Ok(())
}
