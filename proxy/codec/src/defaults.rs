//! What a request is given where it says nothing itself: a model, and a limit on the tokens of its answer.
//!
//! 1. Only a body that is a JSON object is given anything, and nothing that it says is touched: members are put in front of the others.
//! 2. A member that stands there says something, whatever its value, `null` included.

use tollgate_record::Name;

use crate::members::Members;
use crate::request::{Edit, GivenLimit};
use crate::shape::Shape;
use crate::{Codec, Endpoint, Request, json};

/// What a request is given where it says nothing itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// Model, on paths whose body names it.
    pub model: Option<Name>,
    /// Most tokens of the answer, on paths that know such a limit.
    pub max_tokens: Option<u64>,
}

/// Where a shape has its limit on the tokens of an answer: names that it may have, the one that is written first.
#[derive(Debug)]
pub(crate) struct Limit {
    /// Object that it stands in; none is the body itself.
    pub(crate) inside: Option<[&'static str; 2]>,
    pub(crate) names: [&'static str; 2],
    /// Whether the provider is known to read the second name as well as the first.
    pub(crate) reads_both: bool,
}

// === impl Codec ===

impl Codec {
    /// Gives a request what it leaves out; `request` is what [`Codec::read`] found in the body.
    pub fn complete(&self, endpoint: &Endpoint, path_and_query: &str, body: &[u8], request: &mut Request, defaults: &Defaults) {
        if let Some(model) = &defaults.model
            && endpoint.model.is_none()
            && takes_model(&endpoint.shape)
            && let Some(models) = Members::of(body, &["model", "models"])
            && !models.has_any()
        {
            request.given_at = Some((models.first, !models.empty));
            request.given_model = Some(model.clone());
            request.model = Some(model.clone());
        }
        if let Some(tokens) = defaults.max_tokens {
            self.limit_to(endpoint, path_and_query, body, request, tokens);
        }
    }

    /// Limits the tokens of the answer of a request that has no limit of its own; of several limits that it is given the smallest holds. Nothing
    /// happens to a request that cannot be given one: [`Codec::bounds`] tells which can.
    pub fn limit_to(&self, endpoint: &Endpoint, path_and_query: &str, body: &[u8], request: &mut Request, tokens: u64) {
        if request.given_limit.as_ref().is_some_and(|given| given.tokens <= tokens) {
            return;
        }
        let Some(limit) = self.limit(&endpoint.shape, path_and_query) else {
            return;
        };
        let Some(members) = Members::of(body, limit.inside.as_ref().unwrap_or(&limit.names)) else {
            return;
        };
        if let Some(given) = limit.give(tokens, body, &members) {
            request.given_at = Some((members.first, !members.empty));
            request.given_limit = Some(given);
        }
    }

    /// `max_completion_tokens` is what OpenAI's reasoning models take (its reference of chat completions: `max_tokens` is deprecated and not compatible
    /// with them); those who speak as OpenAI does all know the older name.
    pub(crate) fn limit(&self, shape: &Shape, path_and_query: &str) -> Option<Limit> {
        let path = path_and_query.split('?').next().unwrap_or_default();
        let mut reads_both = true;
        let (inside, names) = match shape {
            Shape::Chat if self.knows_completion_tokens(path_and_query) => (None, ["max_completion_tokens", "max_tokens"]),
            Shape::Chat => {
                reads_both = self.reads_completion_tokens();
                (None, ["max_tokens", "max_completion_tokens"])
            }
            Shape::Completion | Shape::Message | Shape::Units { output: true } => (None, ["max_tokens"; 2]),
            // Compacted ones know none.
            Shape::Response if !path.trim_end_matches('/').ends_with("/compact") => (None, ["max_output_tokens"; 2]),
            // JSON of protocol buffers may be written either way.
            Shape::Content => (
                Some(["generationConfig", "generation_config"]),
                ["maxOutputTokens", "max_output_tokens"],
            ),
            Shape::Converse => (Some(["inferenceConfig"; 2]), ["maxTokens"; 2]),
            _ => return None,
        };
        Some(Limit {
            inside,
            names,
            reads_both,
        })
    }
}

/// Whether the body of such a request has the model, in a member `model`.
pub(crate) fn takes_model(shape: &Shape) -> bool {
    match shape {
        Shape::Chat
        | Shape::Completion
        | Shape::Response
        | Shape::Embeddings
        | Shape::Images
        | Shape::Speech
        | Shape::Transcription
        | Shape::Message
        | Shape::Pages
        | Shape::Units { .. } => true,
        Shape::Content
        | Shape::ContentEmbeddings
        | Shape::Prediction
        | Shape::Converse
        | Shape::Invocation { .. }
        | Shape::Batch { .. }
        | Shape::Results
        | Shape::Template(_)
        | Shape::Silent => false,
    }
}

// === impl Limit ===

impl Limit {
    /// The limit as it is written into a body of which these are the members; `None` if it says something itself.
    fn give(&self, tokens: u64, body: &[u8], members: &Members<'_>) -> Option<GivenLimit> {
        let [name, _] = self.names;
        let limit = format!("\"{name}\":{tokens}");
        let first = |text| GivenLimit {
            tokens,
            first: Some(text),
            edits: Vec::new(),
        };
        let Some([object, _]) = &self.inside else {
            return (!members.has_any()).then(|| first(limit));
        };
        if !members.has_any() {
            return Some(first(format!("\"{object}\":{{{limit}}}")));
        }
        let mut edits = Vec::new();
        for object in members.values(0).chain(members.values(1)) {
            let Some(at) = json::span(body, object) else { continue };
            // A value that is no object is the provider's to refuse.
            match Members::of(object.get().as_bytes(), &self.names) {
                Some(inner) if !inner.has_any() => {
                    let comma = if inner.empty { "" } else { "," };
                    edits.push(Edit::insert(at.start + inner.first, format!("{limit}{comma}")));
                }
                _ => {}
            }
        }
        let first = None;
        (!edits.is_empty()).then_some(GivenLimit { tokens, first, edits })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, Method};

    use super::*;
    use crate::AbortRule;

    fn defaults() -> Defaults {
        Defaults {
            model: Name::new("m").ok(),
            max_tokens: Some(64),
        }
    }

    /// The model that is asked for, and what is sent.
    fn sent(codec: &Codec, target: &str, body: &str) -> (Option<String>, String) {
        let endpoint = codec.endpoint(&Method::POST, target.split('?').next().unwrap());
        let body = Bytes::copy_from_slice(body.as_bytes());
        let mut request = codec.read(&endpoint, target, &HeaderMap::new(), &body).unwrap();
        codec.complete(&endpoint, target, &body, &mut request, &defaults());
        let sent = request.upstream_body(&body, None);
        (
            request.model.map(|model| model.to_string()),
            String::from_utf8(sent.to_vec()).unwrap(),
        )
    }

    #[test]
    fn what_is_left_out_is_put_in_front_and_every_other_byte_stays() {
        let chat = |body: &str| sent(&Codec::openai(), "/v1/chat/completions", body);
        let given = r#""model":"m","max_completion_tokens":64"#;
        for (body, expected) in [
            ("{}".to_owned(), format!("{{{given}}}")),
            (
                " {\n \"x\": 1.0e2, \"\\u0079\" : [ ] }\n".to_owned(),
                format!(" {{{given},\n \"x\": 1.0e2, \"\\u0079\" : [ ] }}\n"),
            ),
        ] {
            assert_eq!(chat(&body), (Some("m".to_owned()), expected));
        }
    }

    #[test]
    fn what_the_caller_said_is_never_overwritten() {
        for body in [
            r#"{"model":"a","max_tokens":1}"#,
            r#"{"model":null,"max_completion_tokens":null}"#,
            r#"{"Model":7,"MAX_TOKENS":"x"}"#,
            r#"{"models":["a","b"],"max_tokens":1}"#,
        ] {
            assert_eq!(sent(&Codec::openai(), "/v1/chat/completions", body).1, body);
        }
        assert_eq!(
            sent(&Codec::openai(), "/v1/chat/completions", r#"{"model":"a"}"#),
            (Some("a".to_owned()), r#"{"max_completion_tokens":64,"model":"a"}"#.to_owned())
        );
    }

    #[test]
    fn the_limit_has_the_name_that_the_path_knows() {
        let lent = Codec::openai().lent_to(Name::new("vllm").unwrap(), AbortRule::Cancel);
        let azure = "/openai/deployments/d/chat/completions?api-version=";
        let named = r#"{"model":"a"}"#;
        for (codec, target, body, expected) in [
            (lent, "/v1/chat/completions", named, r#"{"max_tokens":64,"model":"a"}"#),
            (
                Codec::mistral(),
                "/v1/chat/completions",
                named,
                r#"{"max_tokens":64,"model":"a"}"#,
            ),
            (Codec::openai(), "/v1/completions", named, r#"{"max_tokens":64,"model":"a"}"#),
            (
                Codec::openai(),
                "/v1/responses",
                named,
                r#"{"max_output_tokens":64,"model":"a"}"#,
            ),
            (Codec::openai(), "/v1/responses/compact", named, named),
            (Codec::openai(), "/v1/embeddings", "{}", r#"{"model":"m"}"#),
            (Codec::openai(), "/v1/batches", "{}", "{}"),
            (Codec::anthropic(), "/v1/messages", "{}", r#"{"model":"m","max_tokens":64}"#),
            (
                Codec::azure_openai(),
                &format!("{azure}2024-06-01"),
                "{}",
                r#"{"max_tokens":64}"#,
            ),
            (
                Codec::azure_openai(),
                &format!("{azure}2024-10-21"),
                "{}",
                r#"{"max_completion_tokens":64}"#,
            ),
        ] {
            assert_eq!(sent(&codec, target, body).1, expected, "{target}");
        }
    }

    #[test]
    fn a_limit_inside_an_object_joins_what_is_there() {
        let gemini = |body| sent(&Codec::gemini(), "/v1beta/models/g:generateContent", body).1;
        assert_eq!(
            gemini(r#"{"contents":[]}"#),
            r#"{"generationConfig":{"maxOutputTokens":64},"contents":[]}"#
        );
        assert_eq!(gemini("{}"), r#"{"generationConfig":{"maxOutputTokens":64}}"#);
        assert_eq!(
            gemini(r#"{"generation_config": { "topK":1}}"#),
            r#"{"generation_config": {"maxOutputTokens":64, "topK":1}}"#
        );
        assert_eq!(
            gemini(r#"{"generationConfig":{}}"#),
            r#"{"generationConfig":{"maxOutputTokens":64}}"#
        );
        for said in [
            r#"{"generationConfig":{"maxOutputTokens":1}}"#,
            r#"{"generationConfig":{"max_output_tokens":1}}"#,
            r#"{"generationConfig":null}"#,
        ] {
            assert_eq!(gemini(said), said);
        }
        let converse = |body| sent(&Codec::bedrock(), "/model/m/converse", body).1;
        assert_eq!(
            converse(r#"{"inferenceConfig":{"temperature":0}}"#),
            r#"{"inferenceConfig":{"maxTokens":64,"temperature":0}}"#
        );
        let invoked = r#"{"max_tokens_to_sample":1}"#;
        assert_eq!(sent(&Codec::bedrock(), "/model/m/invoke", invoked).1, invoked);
    }

    #[test]
    fn usage_is_still_asked_for() {
        let (model, body) = sent(&Codec::openai(), "/v1/chat/completions", r#"{"stream":true}"#);
        assert_eq!(model.as_deref(), Some("m"));
        let members: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            members,
            serde_json::json!({"model": "m", "max_completion_tokens": 64, "stream_options": {"include_usage": true}, "stream": true})
        );
        assert!(body.ends_with("\"stream\":true}"), "{body}");
    }

    #[test]
    fn what_is_no_json_object_is_left_alone() {
        let form = "--b\r\ncontent-disposition: form-data; name=\"x\"\r\n\r\ny\r\n--b--";
        assert_eq!(sent(&Codec::openai(), "/v1/audio/transcriptions", form).1, form);
        assert_eq!(sent(&Codec::gemini(), "/v1beta/models/g:generateContent", "[1]").1, "[1]");
    }
}
