//! `GET /v1/models` and `GET /v1/models/{id}` of Anthropic.

use crate::models::ANTHROPIC;
use crate::out::Out;
use crate::refusal::Refusal;

/// Writes the list, which has one page.
pub(crate) fn list(out: &mut Out) {
    out.raw(r#"{"data":["#);
    for (index, (_, snapshot)) in ANTHROPIC.iter().enumerate() {
        model(out.raw(if index == 0 { "" } else { "," }), snapshot);
    }
    out.raw(r#"],"has_more":false,"first_id":"#)
        .string(ANTHROPIC.first().map_or("", |(_, id)| id));
    out.raw(r#","last_id":"#)
        .string(ANTHROPIC.last().map_or("", |(_, id)| id))
        .raw("}");
}

/// Writes one model.
///
/// # Errors
/// `ModelUnknown` where it is not in the list.
pub(crate) fn one(id: &str, out: &mut Out) -> Result<(), Refusal> {
    let found = ANTHROPIC.iter().find(|(alias, snapshot)| *alias == id || *snapshot == id);
    let (_, snapshot) = found.ok_or_else(|| Refusal::ModelUnknown { model: id.to_owned() })?;
    model(out, snapshot);
    Ok(())
}

fn model(out: &mut Out, id: &str) {
    out.raw(r#"{"type":"model","id":"#)
        .string(id)
        .raw(r#","display_name":"#)
        .string(id);
    out.raw(r#","created_at":"2026-01-01T00:00:00Z","lifecycle":"active"}"#);
}
