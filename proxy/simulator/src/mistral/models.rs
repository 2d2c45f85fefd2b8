//! `GET /v1/models` and `GET /v1/models/{id}` of Mistral.

use crate::models::MISTRAL;
use crate::out::{CREATED, Out};
use crate::refusal::Refusal;

/// Writes the list.
pub(crate) fn list(out: &mut Out) {
    out.raw(r#"{"object":"list","data":["#);
    for (index, id) in MISTRAL.iter().enumerate() {
        model(id, out.raw(if index == 0 { "" } else { "," }));
    }
    out.raw("]}");
}

/// Writes one model.
///
/// # Errors
/// `ModelUnknown` where it is not in the list.
pub(crate) fn one(id: &str, out: &mut Out) -> Result<(), Refusal> {
    if !MISTRAL.contains(&id) {
        return Err(Refusal::ModelUnknown { model: id.to_owned() });
    }
    model(id, out);
    Ok(())
}

fn model(id: &str, out: &mut Out) {
    out.raw(r#"{"id":"#).string(id);
    out.raw(r#","object":"model","created":"#).number(CREATED);
    out.raw(r#","owned_by":"mistralai","name":"#).string(id);
    out.raw(r#","max_context_length":131072,"aliases":[],"type":"base","capabilities":{"completion_chat":true,"#);
    out.raw(r#""function_calling":true,"completion_fim":false,"fine_tuning":false,"vision":true}}"#);
}
