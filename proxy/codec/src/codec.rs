//! One provider's dialect.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use tollgate_record::Name;

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
pub struct Codec {
    dialect: Arc<Dialect>,
    name: Name,
    abort_rule: AbortRule,
}

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
        Self::built_in(Dialect::OpenAi, "openai")
    }

    /// Anthropic's.
    pub fn anthropic() -> Self {
        Self::built_in(Dialect::Anthropic, "anthropic")
    }

    /// Closing the connection stops OpenAI (its SDK's maintainers: openai-node #1505); OpenRouter's documentation of stream cancellation
    /// lists OpenAI and Anthropic among those that stop generating and billing.
    fn built_in(dialect: Dialect, name: &str) -> Self {
        Self {
            dialect: Arc::new(dialect),
            name: Name::new(name).expect("a constant that is a name"),
            abort_rule: AbortRule::Cancel,
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
        match &*self.dialect {
            Dialect::OpenAi | Dialect::Template(_) => error.openai(),
            Dialect::Anthropic => error.anthropic(),
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
