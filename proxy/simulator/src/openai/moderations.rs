//! `POST /v1/moderations`: free, without usage; nothing is ever flagged.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::out::{Out, Seed, id};
use crate::prompt::{Str, parse};
use crate::refusal::Refusal;

const CATEGORIES: [&str; 13] = [
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
];

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    model: Option<Str<'a>>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

/// Answers a request: one result an input.
///
/// # Errors
/// A refusal where it is not JSON or has no input.
pub(crate) fn json(body: &[u8], out: &mut Out) -> Result<(), Refusal> {
    let request: Request<'_> = parse(body)?;
    let input = request.input.ok_or(Refusal::FieldMissing { name: "input" })?;
    let inputs = serde_json::from_str::<Vec<Str<'_>>>(input.get()).map_or(1, |texts| texts.len().max(1));
    let mut seed = Seed::new();
    seed.add(input.get().as_bytes());
    out.raw(r#"{"id":"#).string(&id("modr-", seed.0, 29));
    out.raw(r#","model":"#)
        .string(request.model.as_ref().map_or("omni-moderation-latest", |model| &model.0));
    out.raw(r#","results":["#);
    for index in 0..inputs {
        out.raw(if index == 0 { "" } else { "," }).raw(r#"{"flagged":false"#);
        map(out, "categories", "false");
        map(out, "category_scores", "0.00001");
        map(out, "category_applied_input_types", r#"["text"]"#);
        out.raw("}");
    }
    out.raw("]}");
    Ok(())
}

fn map(out: &mut Out, name: &str, value: &str) {
    out.raw(",").string(name).raw(":{");
    for (index, category) in CATEGORIES.iter().enumerate() {
        out.raw(if index == 0 { "" } else { "," })
            .string(category)
            .raw(":")
            .raw(value);
    }
    out.raw("}");
}
