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
    Mistral,
    /// OpenAI's words under Azure's paths.
    Azure,
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

    /// Mistral's.
    pub fn mistral() -> Self {
        Self::built_in(Dialect::Mistral, "mistral")
    }

    /// Azure OpenAI's: the deployment in the path is the model that is asked for.
    pub fn azure_openai() -> Self {
        Self::built_in(Dialect::Azure, "azure-openai")
    }

    /// Azure AI Foundry's, where the models of other vendors answer in their own words.
    pub fn azure_foundry() -> Self {
        Self::built_in(Dialect::Azure, "azureai-foundry")
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
            Shape::Chat | Shape::Completion if endpoint.needs_json => Request::read(body, self.asks_usage(path_and_query))?,
            _ if endpoint.needs_json => Request::read(body, false)?,
            // The path has said it all.
            _ if !endpoint.reads_body => Request::default(),
            Shape::Transcription | Shape::Images if !body.starts_with(b"{") => Request::form(headers, body),
            _ => Request::guess(body),
        };
        match endpoint.shape {
            Shape::Speech => request.count_characters(body),
            Shape::Pages => request.find_annotations(body),
            _ => {}
        }
        request.stream |= endpoint.streams;
        if endpoint.model.is_some() {
            request.model.clone_from(&endpoint.model);
        }
        Ok(request)
    }

    /// Whether the usage of a streamed completion is asked for where the client does not.
    ///
    /// Mistral tells it unasked, and refuses members that it does not know (its API's schemas forbid them). Azure knows the member from version
    /// 2024-09-01 of its API on (its reference, "stream_options"), and in its versionless one.
    fn asks_usage(&self, path_and_query: &str) -> bool {
        match &*self.dialect {
            Dialect::Mistral => false,
            Dialect::Azure => is_recent_azure(path_and_query),
            _ => true,
        }
    }

    /// Whether chat completions know `max_completion_tokens`: OpenAI's own do, and Azure's from version 2024-09-01 on (its reference).
    pub(crate) fn knows_completion_tokens(&self, path_and_query: &str) -> bool {
        match &*self.dialect {
            Dialect::OpenAi => self.name.as_str() == "openai",
            Dialect::Azure => is_recent_azure(path_and_query),
            _ => false,
        }
    }

    /// Whether chat completions without such a version still read `max_completion_tokens` where `max_tokens` is missing: Anthropic's and Google's own
    /// (their documentation of compatibility with OpenAI lists both), Groq's and xAI's (their references call the other deprecated). Of others it is
    /// not known, and Mistral's refuse it.
    pub(crate) fn reads_completion_tokens(&self) -> bool {
        match &*self.dialect {
            Dialect::Anthropic | Dialect::Gemini => true,
            Dialect::OpenAi => matches!(self.name.as_str(), "groq" | "xai"),
            _ => false,
        }
    }

    /// Whether it is OpenAI's own words that are spoken, be it under Azure's paths.
    pub(crate) fn is_openai(&self) -> bool {
        match &*self.dialect {
            Dialect::OpenAi => self.name.as_str() == "openai",
            Dialect::Azure => true,
            _ => false,
        }
    }

    /// An error in the provider's own JSON shape.
    pub fn error_body(&self, error: &ErrorBody<'_>) -> Bytes {
        match &*self.dialect {
            Dialect::OpenAi | Dialect::Azure | Dialect::Template(_) => error.openai(),
            Dialect::Anthropic => error.anthropic(),
            Dialect::Gemini => error.google(),
            Dialect::Bedrock => error.aws(),
            Dialect::Mistral => error.mistral(),
        }
    }

    /// Whether it is Anthropic's.
    pub(crate) fn speaks_anthropic(&self) -> bool {
        matches!(&*self.dialect, Dialect::Anthropic)
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
            Dialect::OpenAi | Dialect::Azure => "x-ratelimit-remaining-tokens",
            Dialect::Anthropic => "anthropic-ratelimit-tokens-remaining",
            Dialect::Gemini | Dialect::Bedrock | Dialect::Mistral | Dialect::Template(_) => return None,
        };
        headers.get(header)?.to_str().ok()?.trim().parse().ok()
    }
}

/// Whether a path of Azure's asks for version 2024-09-01 of its API or a later one, or for its versionless one.
fn is_recent_azure(path_and_query: &str) -> bool {
    let query = path_and_query.split_once('?').map_or("", |(_, query)| query);
    let version = query.split('&').find_map(|pair| pair.strip_prefix("api-version="));
    version.is_none_or(|version| !version.starts_with("20") || version >= "2024-09-01")
}

// === impl Dialect ===

impl Dialect {
    /// - Closing the connection stops OpenAI (its SDK's maintainers: openai-node #1505); OpenRouter's documentation of stream cancellation
    ///   lists OpenAI, Azure and Anthropic among those that stop generating and billing.
    /// - The same page lists Google, Bedrock and Mistral among those that do not, and Gemini's SDK has no way to cancel but closing (rig PR 1918).
    ///   AWS bills more than was read after a disconnect (litellm PR 36008).
    fn abort_rule(&self) -> AbortRule {
        match self {
            Self::OpenAi | Self::Azure | Self::Anthropic => AbortRule::Cancel,
            Self::Gemini | Self::Bedrock | Self::Mistral => AbortRule::Drain,
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
        for (code, exception) in [
            ("unknown_access_key", "UnrecognizedClientException"),
            ("incomplete_signature", "IncompleteSignatureException"),
            ("clock_skew", "InvalidSignatureException"),
            ("invalid_signature", "InvalidSignatureException"),
            ("path_not_allowed", "AccessDeniedException"),
        ] {
            let status = StatusCode::FORBIDDEN;
            let (_, value) = Codec::bedrock().error_header(&ErrorBody { status, code, ..error }).unwrap();
            assert_eq!(value.to_str().unwrap(), exception);
        }
        assert_eq!(
            read(Codec::mistral()),
            json!({"object": "error", "message": "no such key", "type": "authentication_error", "param": null, "code": "unknown_key", "call_id": "c-1"})
        );
        assert_eq!(
            read(Codec::anthropic()),
            json!({"type": "error", "error": {"type": "authentication_error", "message": "no such key", "code": "unknown_key"}, "request_id": "c-1"})
        );
    }

    #[test]
    fn a_stream_is_cancelled_where_that_stops_the_bill() {
        let rule = |codec: Codec| codec.abort_rule();
        for codec in [
            Codec::openai(),
            Codec::anthropic(),
            Codec::azure_openai(),
            Codec::azure_foundry(),
        ] {
            assert_eq!(rule(codec), AbortRule::Cancel);
        }
        for codec in [Codec::gemini(), Codec::bedrock(), Codec::mistral()] {
            assert_eq!(rule(codec), AbortRule::Drain);
        }
    }

    #[test]
    fn usage_is_asked_for_where_the_provider_knows_the_member() {
        let asks = |codec: Codec, path: &str| {
            let endpoint = codec.endpoint(&Method::POST, path.split('?').next().unwrap());
            let body = Bytes::from_static(br#"{"model":"m","stream":true,"messages":[]}"#);
            codec.read(&endpoint, path, &HeaderMap::new(), &body).unwrap().edits_stream()
        };
        let azure = "/openai/deployments/d/chat/completions?x=1&api-version=";
        assert!(asks(Codec::openai(), "/v1/chat/completions"));
        assert!(!asks(Codec::mistral(), "/v1/chat/completions"));
        for (version, asked) in [
            ("2024-06-01", false),
            ("2024-08-01-preview", false),
            ("2024-09-01-preview", true),
            ("2024-10-21", true),
            ("preview", true),
        ] {
            assert_eq!(asks(Codec::azure_openai(), &format!("{azure}{version}")), asked, "{version}");
        }
        assert!(asks(Codec::azure_openai(), "/openai/v1/chat/completions"));
    }

    #[test]
    fn only_streams_are_cancelled() {
        let codec = Codec::openai();
        let request = |body: &'static [u8]| Request::read(body, false).unwrap();
        assert_eq!(codec.abort_rule_of(&request(br#"{"stream":true}"#)), AbortRule::Cancel);
        assert_eq!(codec.abort_rule_of(&request(br#"{"stream":false}"#)), AbortRule::Drain);
    }
}
