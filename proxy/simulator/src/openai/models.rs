//! `GET /v1/models` and `GET /v1/models/{id}` of OpenAI.

use crate::models::OPENAI;
use crate::out::{CREATED, Out};
use crate::refusal::Refusal;

/// Writes the list.
pub(crate) fn list(out: &mut Out) {
    out.raw(r#"{"object":"list","data":["#);
    for (index, (alias, snapshot)) in OPENAI.iter().enumerate() {
        model(out.raw(if index == 0 { "" } else { "," }), alias);
        if alias != snapshot {
            model(out.raw(","), snapshot);
        }
    }
    out.raw("]}");
}

/// Writes one model.
///
/// # Errors
/// `ModelUnknown` where it is not in the list.
pub(crate) fn one(id: &str, out: &mut Out) -> Result<(), Refusal> {
    if !OPENAI.iter().any(|(alias, snapshot)| *alias == id || *snapshot == id) {
        return Err(Refusal::ModelUnknown { model: id.to_owned() });
    }
    model(out, id);
    Ok(())
}

fn model(out: &mut Out, id: &str) {
    out.raw(r#"{"id":"#)
        .string(id)
        .raw(r#","object":"model","created":"#)
        .number(CREATED);
    out.raw(r#","owned_by":"system"}"#);
}
