//! One provider's dialect.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tollgate_record::Name;

use crate::shape::Shape;
use crate::{BadRequest, Endpoint, ErrorBody, Request, Template};

/// What to do with the upstream when the client leaves in the middle of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AbortRule {
    /// Close it: the provider stops generating, and bills what it had generated.
    Cancel,
    /// Read on within a limit: the provider bills the rest anyway, and reports it at the end.
    #[default]
    Drain,
}

/// One provider's dialect; cheap to clone.
#[derive(Clone, Debug)]
pub struct Codec {
    dialect: Arc<Dialect>,
    name: Name,
    abort_rule: AbortRule,
}

#[derive(Debug)]
enum Dialect {
    OpenAi,
    Anthropic,
    Gemini,
    Bedrock,
    Template(Template),
}

// === impl Codec ===

impl Codec {
    /// OpenAI's.
    pub fn openai() -> Self {
        Self::built_in(Dialect::OpenAi, "openai")
    }

    /// Anthropic's.
    pub fn anthropic() -> Self {
        Self::built_in(Dialect::Anthropic, "anthropic")
    }

    /// Google's: the Gemini API and Vertex AI, where other vendors' models answer in their own words.
    pub fn gemini() -> Self {
        Self::built_in(Dialect::Gemini, "gemini")
    }

    /// AWS Bedrock's.
    pub fn bedrock() -> Self {
        Self::built_in(Dialect::Bedrock, "awsbedrock")
    }

    fn built_in(dialect: Dialect, name: &str) -> Self {
        Self {
            abort_rule: dialect.abort_rule(),
            dialect: Arc::new(dialect),
            name: Name::new(name).expect("a constant that is a name"),
        }
    }

    /// One that a template describes.
    pub fn template(template: Template) -> Self {
        Self {
            name: template.name().clone(),
            abort_rule: template.abort_rule(),
            dialect: Arc::new(Dialect::Template(template)),
        }
    }

    /// This dialect for another provider that speaks it: under the name of that provider's template, and with its abort rule.
    #[must_use]
    pub fn lent_to(self, name: Name, abort_rule: AbortRule) -> Self {
        Self {
            name,
            abort_rule,
            ..self
        }
    }

    /// Name of the template: the one that shipped prices go by.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// What a path below the provider's context is for, such as `/v1/chat/completions`.
    pub fn endpoint(&self, method: &Method, path: &str) -> Endpoint {
        match &*self.dialect {
            Dialect::Template(template) => Endpoint::described(method, path, template.places(path)),
            _ => Endpoint::known(method, path),
        }
    }

    /// Reads what a request asks for, in one pass over its body that builds nothing.
    ///
    /// # Errors
    /// [`BadRequest`] where the endpoint needs JSON and the body is none.
    pub fn read(
        &self,
        endpoint: &Endpoint,
        path_and_query: &str,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Request, BadRequest> {
        let mut request = match &endpoint.shape {
            Shape::Template(places) => return Ok(Request::described(places, path_and_query, headers, body)),
            Shape::Chat | Shape::Completion if endpoint.needs_json => Request::read(body, true)?,
            _ if endpoint.needs_json => Request::read(body, false)?,
            // The path has said it all.
            _ if endpoint.model.is_some() => Request::default(),
            _ => Request::guess(body),
        };
        request.stream |= endpoint.streams;
        if endpoint.model.is_some() {
            request.model.clone_from(&endpoint.model);
        }
        Ok(request)
    }

    /// An error in the provider's own JSON shape.
    pub fn error_body(&self, error: &ErrorBody<'_>) -> Bytes {
        match &*self.dialect {
            Dialect::OpenAi | Dialect::Template(_) => error.openai(),
            Dialect::Anthropic => error.anthropic(),
            Dialect::Gemini => error.google(),
            Dialect::Bedrock => error.aws(),
        }
    }

    /// A header that an error in the provider's shape has beside its body.
    pub fn error_header(&self, error: &ErrorBody<'_>) -> Option<(HeaderName, HeaderValue)> {
        match &*self.dialect {
            Dialect::Bedrock => Some((
                HeaderName::from_static("x-amzn-errortype"),
                HeaderValue::from_static(error.aws_type()),
            )),
            _ => None,
        }
    }

    /// What to do with the upstream when the client leaves in the middle of a streamed answer; of others see [`Self::abort_rule_of`].
    pub fn abort_rule(&self) -> AbortRule {
        self.abort_rule
    }

    /// What to do with the upstream when the client leaves before the end of the answer to this request.
    ///
    /// An answer that is not streamed is read on: providers bill it whole (OpenRouter's documentation: cancelling works for streams only), and
    /// without its end nothing is known of what it used.
    pub fn abort_rule_of(&self, request: &Request) -> AbortRule {
        if request.stream { self.abort_rule() } else { AbortRule::Drain }
    }

    /// Tokens that are left in the provider's rate limit, where its head tells them; a template has a place of its own for it.
    pub(crate) fn remaining_tokens(&self, headers: &HeaderMap) -> Option<u64> {
        let header = match &*self.dialect {
            Dialect::OpenAi => "x-ratelimit-remaining-tokens",
            Dialect::Anthropic => "anthropic-ratelimit-tokens-remaining",
            Dialect::Gemini | Dialect::Bedrock | Dialect::Template(_) => return None,
        };
        headers.get(header)?.to_str().ok()?.trim().parse().ok()
    }
}

// === impl Dialect ===

impl Dialect {
    /// - Closing the connection stops OpenAI (its SDK's maintainers: openai-node #1505); OpenRouter's documentation of stream cancellation
    ///   lists OpenAI and Anthropic among those that stop generating and billing.
    /// - The same page lists Google among those that do not, and Gemini's SDK has no way to cancel but closing (rig PR 1918).
    /// - Bedrock too: AWS bills more than was read after a disconnect (litellm PR 36008).
    fn abort_rule(&self) -> AbortRule {
        match self {
            Self::OpenAi | Self::Anthropic => AbortRule::Cancel,
            Self::Gemini | Self::Bedrock => AbortRule::Drain,
            Self::Template(template) => template.abort_rule(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn errors_have_the_providers_shape_and_the_calls_id() {
        let error = ErrorBody {
            status: StatusCode::UNAUTHORIZED,
            code: "unknown_key",
            message: "no such key",
            call_id: "c-1",
        };
        let read = |codec: Codec| serde_json::from_slice::<Value>(&codec.error_body(&error)).unwrap();
        assert_eq!(
            read(Codec::openai()),
            json!({"error": {"message": "no such key", "type": "authentication_error", "param": null, "code": "unknown_key", "call_id": "c-1"}})
        );
        assert_eq!(
            read(Codec::gemini()),
            json!({"error": {"code": 401, "message": "no such key", "status": "UNAUTHENTICATED", "details": [
                {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "UNKNOWN_KEY", "domain": "tollgate", "metadata": {"call_id": "c-1"}}
            ]}})
        );
        assert_eq!(
            read(Codec::bedrock()),
            json!({"__type": "UnrecognizedClientException", "message": "no such key", "reason": "unknown_key", "call_id": "c-1"})
        );
        let (header, value) = Codec::bedrock().error_header(&error).unwrap();
        assert_eq!(
            (header.as_str(), value.to_str().unwrap()),
            ("x-amzn-errortype", "UnrecognizedClientException")
        );
        assert!(Codec::openai().error_header(&error).is_none());
        assert_eq!(
            read(Codec::anthropic()),
            json!({"type": "error", "error": {"type": "authentication_error", "message": "no such key", "code": "unknown_key"}, "request_id": "c-1"})
        );
    }

    #[test]
    fn only_streams_are_cancelled() {
        let codec = Codec::openai();
        let request = |body: &'static [u8]| Request::read(body, false).unwrap();
        assert_eq!(codec.abort_rule_of(&request(br#"{"stream":true}"#)), AbortRule::Cancel);
        assert_eq!(codec.abort_rule_of(&request(br#"{"stream":false}"#)), AbortRule::Drain);
    }
}
