//! What a path says: whose shapes, which model, and whether the answer is streamed.
//!
//! - Gemini (google-genai 3.4.0, `models.py`): `/v1beta/models/{model}:{verb}`; Vertex AI: `/v1/projects/../publishers/{vendor}/models/{model}:{verb}`.
//!   Other vendors' models answer `rawPredict` and `streamRawPredict` in their own words.
//! - Bedrock (botocore 1.43.11, `bedrock-runtime/2023-09-30/service-2.json`): `/model/{modelId}/converse` and its like; the id, often an ARN, is
//!   percent-encoded, or not.
//! - Azure (openai 2.54.0, `lib/azure.py`): `/openai/deployments/{deployment}/chat/completions`; the deployment is what is asked for.

use std::borrow::Cow;

use http::Method;

use crate::batch;
use crate::shape::Shape;
use crate::template::percent_decoded;

/// What a path says.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) shape: Shape,
    /// Model that it names.
    pub(crate) model: Option<Cow<'a, str>>,
    /// Location that it names: Vertex AI bills some models by it.
    pub(crate) region: Option<&'a str>,
    pub(crate) streams: bool,
    /// Whether the body is to be read for the rest.
    pub(crate) reads_body: bool,
}

// === impl Target ===

impl<'a> Target<'a> {
    pub(crate) fn of(method: &Method, path: &'a str) -> Self {
        let path = path.split('?').next().unwrap_or_default();
        let path = path.strip_suffix('/').unwrap_or(path);
        if let Some(shape) = batch::shape(method, path) {
            return Self { shape, ..Self::silent() };
        }
        if method != Method::POST {
            return Self::silent();
        }
        let google = google(path).map(|target| Self {
            region: location(path),
            ..target
        });
        google.or_else(|| bedrock(path)).unwrap_or_else(|| Self {
            shape: by_end(path),
            model: deployment(path).map(percent_decoded),
            ..Self::silent()
        })
    }

    fn silent() -> Self {
        Self {
            shape: Shape::Silent,
            model: None,
            region: None,
            streams: false,
            reads_body: true,
        }
    }

    /// One whose path says everything.
    fn named(shape: Shape, model: &'a str, streams: bool) -> Self {
        Self {
            shape,
            model: Some(percent_decoded(model)),
            region: None,
            streams,
            reads_body: false,
        }
    }
}

/// `{model}:{verb}` at the end of a path.
fn google(path: &str) -> Option<Target<'_>> {
    let (before, end) = path.rsplit_once('/')?;
    let (model, verb) = end.rsplit_once(':')?;
    if verb.ends_with("awPredict") {
        return raw_prediction(before, model, verb);
    }
    let shape = match verb {
        "generateContent" | "streamGenerateContent" => Shape::Content,
        "embedContent" | "batchEmbedContents" => Shape::ContentEmbeddings,
        "predict" => Shape::Prediction,
        _ => return None,
    };
    Some(Target::named(shape, model, verb == "streamGenerateContent"))
}

/// The location in a path of Vertex AI's.
fn location(path: &str) -> Option<&str> {
    let (_, rest) = path.split_once("/locations/")?;
    rest.split_once('/').map(|(location, _)| location)
}

/// Models of other vendors on Vertex AI.
fn raw_prediction<'a>(before: &str, model: &'a str, verb: &str) -> Option<Target<'a>> {
    let streams = match verb {
        "rawPredict" => false,
        "streamRawPredict" => true,
        _ => return None,
    };
    let vendor = before.strip_suffix("/models")?.rsplit('/').next()?;
    let shape = match vendor {
        _ if model == "count-tokens" => Shape::Silent,
        "anthropic" => Shape::Message,
        "mistralai" if model.contains("ocr") => Shape::Pages,
        "mistralai" => Shape::Chat,
        _ => return None,
    };
    Some(Target::named(shape, model, streams))
}

/// `/model/{id}/{operation}`.
fn bedrock(path: &str) -> Option<Target<'_>> {
    let (before, operation) = path.rsplit_once('/')?;
    let (_, model) = before.split_once("/model/")?;
    let shape = match operation {
        "converse" | "converse-stream" => Shape::Converse,
        "invoke" | "invoke-with-response-stream" => Shape::Invocation {
            output: !model.contains("embed"),
        },
        _ => return None,
    };
    Some(Target::named(shape, model, operation.ends_with("-stream")))
}

/// The deployment in a path of Azure's.
fn deployment(path: &str) -> Option<&str> {
    let (_, rest) = path.split_once("/deployments/")?;
    rest.split_once('/').map(|(deployment, _)| deployment)
}

fn by_end(path: &str) -> Shape {
    let ends = |end: &str| path.ends_with(end);
    if ends("/chat/completions") {
        Shape::Chat
    } else if ends("/completions") {
        Shape::Completion
    } else if ends("/responses") || ends("/responses/compact") {
        Shape::Response
    } else if ends("/embeddings") {
        Shape::Embeddings
    } else if ends("/v1/messages") || path == "/messages" {
        Shape::Message
    } else if ends("/images/generations") || ends("/images/edits") || ends("/images/variations") {
        Shape::Images
    } else if ends("/audio/speech") {
        Shape::Speech
    } else if ends("/audio/transcriptions") || ends("/audio/translations") {
        Shape::Transcription
    } else if ends("/ocr") {
        Shape::Pages
    } else if ends("/v2/chat") {
        Shape::Units { output: true }
    } else if ends("/v2/embed") || ends("/v1/embed") || ends("/rerank") {
        Shape::Units { output: false }
    } else {
        Shape::Silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> (String, Option<String>, bool) {
        let target = Target::of(&Method::POST, path);
        (
            format!("{:?}", target.shape),
            target.model.map(Cow::into_owned),
            target.streams,
        )
    }

    fn says(shape: &str, model: &str, streams: bool) -> (String, Option<String>, bool) {
        (shape.to_owned(), Some(model.to_owned()), streams)
    }

    #[test]
    fn googles_paths_name_the_model_and_the_verb() {
        for version in ["/v1", "/v1beta", "/gemini/v1beta"] {
            assert_eq!(
                of(&format!("{version}/models/gemini-3-pro:generateContent")),
                says("Content", "gemini-3-pro", false)
            );
        }
        let vertex = |end: &str| of(&format!("/v1beta1/projects/p/locations/global/publishers/{end}"));
        assert_eq!(
            vertex("google/models/gemini-3-pro:streamGenerateContent"),
            says("Content", "gemini-3-pro", true)
        );
        assert_eq!(
            vertex("google/models/text-embedding-005:predict"),
            says("Prediction", "text-embedding-005", false)
        );
        assert_eq!(
            vertex("anthropic/models/claude-opus-5@20260701:streamRawPredict"),
            says("Message", "claude-opus-5@20260701", true)
        );
        assert_eq!(
            vertex("anthropic/models/claude-opus-5%4020260701:rawPredict"),
            says("Message", "claude-opus-5@20260701", false)
        );
        assert_eq!(
            vertex("mistralai/models/mistral-medium-3:rawPredict"),
            says("Chat", "mistral-medium-3", false)
        );
        assert_eq!(
            of("/v1beta/models/gemini-embedding-001:batchEmbedContents"),
            says("ContentEmbeddings", "gemini-embedding-001", false)
        );
        for silent in [
            "anthropic/models/count-tokens:rawPredict",
            "google/models/gemini-3-pro:countTokens",
            "x/models/y:rawPredict",
        ] {
            assert_eq!(vertex(silent).0, "Silent", "{silent}");
        }
    }

    #[test]
    fn vertexs_location_is_the_region() {
        let of = |path| Target::of(&Method::POST, path).region;
        assert_eq!(
            of("/v1/projects/p/locations/europe-west1/publishers/anthropic/models/m:rawPredict"),
            Some("europe-west1")
        );
        assert_eq!(of("/v1beta/models/m:generateContent"), None);
    }

    #[test]
    fn bedrocks_model_ids_are_decoded() {
        let arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-pro-v1:0";
        assert_eq!(
            of("/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.amazon.nova-pro-v1%3A0/converse"),
            says("Converse", arn, false)
        );
        assert_eq!(of(&format!("/model/{arn}/converse-stream")), says("Converse", arn, true));
        assert_eq!(
            of("/bedrock/model/meta.llama3-1-8b-instruct-v1:0/invoke-with-response-stream"),
            says("Invocation { output: true }", "meta.llama3-1-8b-instruct-v1:0", true)
        );
        assert_eq!(
            of("/model/amazon.titan-embed-text-v2%3A0/invoke"),
            says("Invocation { output: false }", "amazon.titan-embed-text-v2:0", false)
        );
        assert_eq!(of("/model/m/count-tokens").0, "Silent");
    }

    #[test]
    fn azures_deployment_is_the_model_that_is_asked_for() {
        assert_eq!(
            of("/openai/deployments/my%20gpt/chat/completions"),
            says("Chat", "my gpt", false)
        );
        assert_eq!(of("/openai/deployments/d/images/generations"), says("Images", "d", false));
        assert_eq!(of("/openai/v1/responses"), ("Response".to_owned(), None, false));
    }

    #[test]
    fn nothing_but_a_post_is_metered() {
        assert!(matches!(
            Target::of(&Method::GET, "/v1beta/models/m:generateContent").shape,
            Shape::Silent
        ));
    }
}
