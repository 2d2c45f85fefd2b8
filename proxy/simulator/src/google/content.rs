//! `Content` and `Part`, in which requests and answers of Google are made; and `countTokens`.
//!
//! Field names come in camel case or, as in many of Google's own examples, in snake case; a list of one may come as the
//! one.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::generate;
use crate::directive::Directives;
use crate::out::Out;
use crate::prompt::{Last, Str, Tally, names_weather, parse};
use crate::refusal::Refusal;
use crate::route::Provider;
use crate::usage::Usage;
use crate::usage::google::modalities;

/// A list, which may come as its only element.
pub(super) struct Many<T>(pub(super) Vec<T>);

/// What one side said.
#[derive(Deserialize)]
pub(super) struct Content<'a> {
    #[serde(borrow)]
    role: Option<Str<'a>>,
    #[serde(borrow)]
    parts: Option<Many<Part<'a>>>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<Str<'a>>,
    #[serde(rename = "inlineData", alias = "inline_data", borrow)]
    inline_data: Option<Blob<'a>>,
    #[serde(rename = "fileData", alias = "file_data", borrow)]
    file_data: Option<Blob<'a>>,
    #[serde(rename = "functionResponse", alias = "function_response", borrow)]
    function_response: Option<FunctionResponse<'a>>,
}

#[derive(Deserialize)]
struct Blob<'a> {
    #[serde(rename = "mimeType", alias = "mime_type", borrow)]
    mime_type: Option<Str<'a>>,
}

#[derive(Deserialize)]
struct FunctionResponse<'a> {
    #[serde(borrow)]
    response: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct CountRequest<'a> {
    /// The Gemini API takes the whole of a request to count.
    #[serde(rename = "generateContentRequest", alias = "generate_content_request", borrow)]
    whole: Option<&'a RawValue>,
}

impl Content<'_> {
    /// Counts what was said.
    pub(super) fn count(&self, tally: &mut Tally) {
        for part in self.parts() {
            if let Some(text) = &part.text {
                tally.text(&text.0);
            }
            if let Some(response) = part.function_response.as_ref().and_then(|function| function.response) {
                tally.text(response.get());
            }
            for blob in [&part.inline_data, &part.file_data].into_iter().flatten() {
                if blob.mime_type.as_ref().is_some_and(|kind| kind.0.starts_with("image/")) {
                    tally.image();
                }
            }
        }
    }

    /// Who spoke.
    pub(super) fn speaker(&self) -> Last {
        if self.parts().iter().any(|part| part.function_response.is_some()) {
            return Last::Tool;
        }
        match self.role.as_ref().map_or("user", |role| &*role.0) {
            "user" => Last::User {
                asks_weather: self
                    .parts()
                    .iter()
                    .any(|part| part.text.as_ref().is_some_and(|text| names_weather(&text.0))),
            },
            _ => Last::Other,
        }
    }

    fn parts(&self) -> &[Part<'_>] {
        self.parts.as_ref().map_or(&[], |parts| &parts.0)
    }
}

/// Answers `countTokens`.
///
/// # Errors
/// A refusal where it is not JSON or has no contents.
pub(crate) fn count(provider: Provider, model: &str, body: &[u8], asked: &Directives, out: &mut Out) -> Result<(), Refusal> {
    let request: CountRequest<'_> = parse(body)?;
    let body = request.whole.map_or(body, |whole| whole.get().as_bytes());
    let prompt = generate::prompt(body, model, false)?;
    let usage = Usage::new(asked, prompt.input_tokens, 0, 0)?;
    out.raw(r#"{"totalTokens":"#).number(usage.input);
    if provider == Provider::Vertex {
        // Vertex AI once billed by the character, and still counts them.
        out.raw(r#","totalBillableCharacters":"#).number(usage.input * 4);
    }
    if usage.cache_read > 0 {
        out.raw(r#","cachedContentTokenCount":"#).number(usage.cache_read);
    }
    modalities("promptTokensDetails", [("TEXT", usage.input)], out);
    out.raw("}");
    Ok(())
}

// === impl Deserialize ===

struct ManyVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ManyVisitor<T> {
    type Value = Many<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array or an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(one) = seq.next_element()? {
            all.push(one);
        }
        Ok(Many(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(|one| Many(vec![one]))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ManyVisitor(PhantomData))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::prompt::IMAGE_TOKENS;

    fn read(content: &str) -> (u64, Last) {
        let content: Content<'_> = parse(content.as_bytes()).unwrap();
        let mut tally = Tally::new();
        content.count(&mut tally);
        (tally.input_tokens(), content.speaker())
    }

    #[test]
    fn contents_are_read_in_every_spelling() {
        let user = |asks_weather| Last::User { asks_weather };
        assert_eq!(read(r#"{"role":"user","parts":[{"text":"the Weather!"}]}"#), (3, user(true)));
        assert_eq!(read(r#"{"parts":{"text":"12345678"}}"#), (2, user(false)));
        for name in [r#""inlineData":{"mimeType":"#, r#""inline_data":{"mime_type":"#] {
            let image = format!(r#"{{"parts":[{{"text":"1234"}},{{{name}"image/png","data":"AAAA"}}}}]}}"#);
            assert_eq!(read(&image).0, 1 + IMAGE_TOKENS);
        }
        let result = r#"{"role":"user","parts":[{"functionResponse":{"name":"f","response":{"weather":1}}}]}"#;
        assert_eq!(read(result), (4, Last::Tool));
        assert_eq!(read(r#"{"role":"model","parts":[{"text":"1234"}]}"#), (1, Last::Other));
    }
}
