//! The model lists of the Gemini API and of Vertex AI, and one model of them.

use crate::models::GOOGLE;
use crate::out::Out;
use crate::refusal::Refusal;
use crate::route::Provider;

/// Writes the list, which has one page.
pub(crate) fn list(provider: Provider, out: &mut Out) {
    out.raw(match provider {
        Provider::Vertex => r#"{"publisherModels":["#,
        _ => r#"{"models":["#,
    });
    for (index, id) in GOOGLE.iter().enumerate() {
        model(provider, id, out.raw(if index == 0 { "" } else { "," }));
    }
    out.raw("]}");
}

/// Writes one model.
///
/// # Errors
/// `ModelUnknown` where it is not in the list.
pub(crate) fn one(provider: Provider, id: &str, out: &mut Out) -> Result<(), Refusal> {
    if !GOOGLE.contains(&id) {
        return Err(Refusal::ModelUnknown { model: id.to_owned() });
    }
    model(provider, id, out);
    Ok(())
}

fn model(provider: Provider, id: &str, out: &mut Out) {
    if provider == Provider::Vertex {
        out.raw(r#"{"name":"#).string(&format!("publishers/google/models/{id}"));
        out.raw(r#","versionId":"default","openSourceCategory":"PROPRIETARY","launchStage":"GA"}"#);
        return;
    }
    let methods = if id.contains("embedding") {
        r#"["embedContent","countTextTokens","countTokens"]"#
    } else {
        r#"["generateContent","countTokens","createCachedContent","batchGenerateContent"]"#
    };
    out.raw(r#"{"name":"#)
        .string(&format!("models/{id}"))
        .raw(r#","version":"001","displayName":"#)
        .string(id);
    out.raw(r#","description":"simulated","inputTokenLimit":1048576,"outputTokenLimit":65536,"#);
    out.raw(r#""supportedGenerationMethods":"#).raw(methods).raw("}");
}
