//! One provider's dialect.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::endpoint::Shape;
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
pub struct Codec(Arc<Dialect>);

#[derive(Debug)]
enum Dialect {
    OpenAi,
    Anthropic,
    Template(Template),
}

// === impl Codec ===

impl Codec {
    /// OpenAI's.
    pub fn openai() -> Self {
        Self(Arc::new(Dialect::OpenAi))
    }

    /// Anthropic's.
    pub fn anthropic() -> Self {
        Self(Arc::new(Dialect::Anthropic))
    }

    /// One that a template describes.
    pub fn template(template: Template) -> Self {
        Self(Arc::new(Dialect::Template(template)))
    }

    /// Name of the template: the one that shipped prices go by.
    pub fn name(&self) -> &str {
        match &*self.0 {
            Dialect::OpenAi => "openai",
            Dialect::Anthropic => "anthropic",
            Dialect::Template(template) => template.name(),
        }
    }

    /// What a path below the provider's context is for, such as `/v1/chat/completions`.
    pub fn endpoint(&self, method: &Method, path: &str) -> Endpoint {
        match &*self.0 {
            Dialect::OpenAi | Dialect::Anthropic => Endpoint::known(method, path),
            Dialect::Template(template) => Endpoint::described(method, path, template.places(path)),
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
        match &endpoint.shape {
            Shape::Chat | Shape::Completion => Request::read(body, true),
            Shape::Template(places) => Ok(Request::described(places, path_and_query, headers, body)),
            _ if endpoint.needs_json => Request::read(body, false),
            _ => Ok(Request::guess(body)),
        }
    }

    /// An error in the provider's own JSON shape.
    pub fn error_body(&self, error: &ErrorBody<'_>) -> Bytes {
        match &*self.0 {
            Dialect::OpenAi | Dialect::Template(_) => error.openai(),
            Dialect::Anthropic => error.anthropic(),
        }
    }

    /// What to do with the upstream when the client leaves in the middle of a streamed answer; of others see [`Self::abort_rule_of`].
    ///
    /// Closing the connection stops OpenAI (its SDK's maintainers: openai-node #1505); OpenRouter's documentation of stream cancellation
    /// lists OpenAI and Anthropic among those that stop generating and billing. Of others nothing is known, unless their template says so.
    pub fn abort_rule(&self) -> AbortRule {
        match &*self.0 {
            Dialect::OpenAi | Dialect::Anthropic => AbortRule::Cancel,
            Dialect::Template(template) => template.abort_rule(),
        }
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
        let header = match &*self.0 {
            Dialect::OpenAi => "x-ratelimit-remaining-tokens",
            Dialect::Anthropic => "anthropic-ratelimit-tokens-remaining",
            Dialect::Template(_) => return None,
        };
        headers.get(header)?.to_str().ok()?.trim().parse().ok()
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
