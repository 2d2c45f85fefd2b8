//! Which provider and which endpoint a request is for.
//!
//! Every provider has a prefix of its own, under which its paths are exactly its own: `/openai`, `/anthropic`, `/gemini`,
//! `/vertex`, `/bedrock`, `/azure`, `/mistral`. At the root a path goes to the provider that alone has it; of those that
//! several have,
//! - `/v1/models` and what is below goes to Anthropic or Gemini where the request carries their headers or key;
//! - `/openai/v1/...` is OpenAI's under its prefix, unless the request carries Azure's `api-key` or `api-version`;
//!   every other path below `/openai/` is Azure's;
//! - the paths that Mistral shares with OpenAI are OpenAI's.

mod bedrock;
mod google;
mod openai;

use http::{HeaderMap, Method, Uri};

use crate::refusal::Refusal;

/// Whose wire is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    OpenAi,
    Azure,
    Mistral,
    Anthropic,
    /// The Gemini API.
    Gemini,
    /// Google's models on Vertex AI.
    Vertex,
    /// Anthropic's models on Vertex AI.
    VertexAnthropic,
    Bedrock,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Chat,
    Completions,
    Responses,
    Embeddings,
    Moderations,
    Messages,
    CountTokens,
    Models,
    Model(String),
    /// `generateContent`, or `streamGenerateContent` as events or as a JSON array.
    Generate(Delivery),
    CountContents,
    EmbedContent,
    BatchEmbedContents,
    /// Vertex AI's `predict` of embedding models.
    Predict,
    Ocr,
    Images,
    Speech,
    Transcriptions,
    Translations,
    /// Bedrock's interface for all models.
    Converse {
        stream: bool,
    },
    /// Bedrock's way of passing on the bodies of a model's vendor.
    Invoke {
        stream: bool,
    },
    /// The simulator's own counts.
    Requests,
}

/// How a generated answer is handed over, where the path and not the body says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Whole,
    Events,
    /// A JSON array, an element at a time.
    Array,
}

/// Where a request goes. The provider is known even where there is no endpoint, since its errors have a shape too.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) provider: Provider,
    /// The model or deployment that the path names.
    pub(crate) model: Option<String>,
    pub(crate) endpoint: Result<Endpoint, Refusal>,
}

/// A request as far as its route depends on it.
struct Asked<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
}

/// Finds where a request goes.
pub(crate) fn find(method: &Method, uri: &Uri, headers: &HeaderMap) -> Route {
    let asked = Asked { method, uri, headers };
    let path = uri.path();
    if path == "/simulator/requests" {
        let known = matches!(*method, Method::GET | Method::DELETE);
        return asked.to(Provider::OpenAi, asked.allowed(known, Endpoint::Requests));
    }
    let (prefix, rest) = path.trim_start_matches('/').split_once('/').unwrap_or(("", ""));
    match prefix {
        "anthropic" => asked.openai(Provider::Anthropic, rest),
        "mistral" => asked.openai(Provider::Mistral, rest),
        "azure" => asked.azure(rest.strip_prefix("openai/").unwrap_or("")),
        "gemini" => asked.gemini(rest),
        "vertex" => asked.vertex(rest),
        "bedrock" => asked.bedrock(rest),
        "openai" if !rest.starts_with("v1/") || asked.speaks_azure() => asked.azure(rest),
        "openai" => asked.openai(Provider::OpenAi, rest),
        _ => asked.root(path.trim_start_matches('/')),
    }
}

impl Asked<'_> {
    /// A path without a provider's prefix.
    fn root(&self, path: &str) -> Route {
        if path.starts_with("model/") {
            return self.bedrock(path);
        }
        let below = |version: &str, noun: &str| {
            let rest = path.strip_prefix(version);
            rest.is_some_and(|rest| rest.starts_with(noun))
        };
        if below("v1/", "projects/") || below("v1/", "publishers/") || below("v1beta1/", "") {
            return self.vertex(path);
        }
        let verb = self.method == Method::POST && below("v1/", "models/");
        if below("v1beta/", "") || verb || (below("v1/", "models") && self.speaks_gemini()) {
            return self.gemini(path);
        }
        let anthropic = path.starts_with("v1/messages") || (below("v1/", "models") && self.speaks_anthropic());
        let provider = match path {
            _ if anthropic => Provider::Anthropic,
            "v1/ocr" => Provider::Mistral,
            _ => Provider::OpenAi,
        };
        self.openai(provider, path)
    }

    fn speaks_anthropic(&self) -> bool {
        self.headers.contains_key("anthropic-version") || self.headers.contains_key("x-api-key")
    }

    fn speaks_gemini(&self) -> bool {
        self.headers.contains_key("x-goog-api-key") || self.query("key").is_some()
    }

    fn speaks_azure(&self) -> bool {
        self.headers.contains_key("api-key") || self.query("api-version").is_some()
    }

    /// The value of a query parameter, as it was sent.
    fn query(&self, name: &str) -> Option<&str> {
        query(self.uri, name)
    }

    fn to(&self, provider: Provider, endpoint: Result<Endpoint, Refusal>) -> Route {
        let model = None;
        Route {
            provider,
            model,
            endpoint,
        }
    }

    fn allowed(&self, allowed: bool, endpoint: Endpoint) -> Result<Endpoint, Refusal> {
        if allowed {
            Ok(endpoint)
        } else {
            let (method, path) = (self.method.clone(), self.uri.path().to_owned());
            Err(Refusal::MethodNotAllowed { method, path })
        }
    }

    fn post(&self, endpoint: Endpoint) -> Result<Endpoint, Refusal> {
        self.allowed(self.method == Method::POST, endpoint)
    }

    fn get(&self, endpoint: Endpoint) -> Result<Endpoint, Refusal> {
        self.allowed(self.method == Method::GET, endpoint)
    }

    fn unknown(&self) -> Refusal {
        let (method, path) = (self.method.clone(), self.uri.path().to_owned());
        Refusal::PathUnknown { method, path }
    }
}

/// The value of a query parameter, as it was sent.
pub(crate) fn query<'u>(uri: &'u Uri, name: &str) -> Option<&'u str> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Text with its percent-encoded bytes decoded (RFC 3986); what is no such byte stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let (before, after) = rest.split_at(at);
        bytes.extend_from_slice(before.as_bytes());
        let hex = after.get(1..3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(hex.unwrap_or(b'%'));
        rest = after.get(if hex.is_some() { 3 } else { 1 }..).unwrap_or("");
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn route(method: Method, path: &'static str) -> (Provider, Result<Endpoint, Refusal>) {
        let route = find(&method, &Uri::from_static(path), &HeaderMap::new());
        (route.provider, route.endpoint)
    }

    /// Provider, model in the path, and endpoint.
    fn named(path: &'static str) -> (Provider, String, Endpoint) {
        let route = find(&Method::POST, &Uri::from_static(path), &HeaderMap::new());
        (route.provider, route.model.unwrap_or_default(), route.endpoint.unwrap())
    }

    #[test]
    fn endpoints_exist_at_the_root_and_under_their_provider() {
        for path in ["/v1/chat/completions", "/openai/v1/chat/completions"] {
            assert_eq!(route(Method::POST, path), (Provider::OpenAi, Ok(Endpoint::Chat)));
        }
        for path in ["/v1/messages?beta=true", "/anthropic/v1/messages?beta=true"] {
            assert_eq!(route(Method::POST, path), (Provider::Anthropic, Ok(Endpoint::Messages)));
        }
    }

    #[test]
    fn an_endpoint_does_not_exist_under_another_provider() {
        for path in [
            "/anthropic/v1/chat/completions",
            "/openai/v1/messages",
            "/mistral/v1/responses",
            "/gemini/v1/chat/completions",
            "/bedrock/v1/messages",
            "/azure/v1/chat/completions",
        ] {
            assert!(
                matches!(route(Method::POST, path).1, Err(Refusal::PathUnknown { .. })),
                "{path}"
            );
        }
        assert_eq!(route(Method::POST, "/anthropic/v1/chat/completions").0, Provider::Anthropic);
    }

    #[test]
    fn wrong_methods_and_unknown_paths_are_told_apart() {
        assert!(matches!(
            route(Method::GET, "/v1/responses").1,
            Err(Refusal::MethodNotAllowed { .. })
        ));
        assert!(matches!(
            route(Method::POST, "/v1/nothing").1,
            Err(Refusal::PathUnknown { .. })
        ));
        assert!(matches!(
            route(Method::GET, "/v1/models/").1,
            Err(Refusal::PathUnknown { .. })
        ));
    }

    #[test]
    fn the_model_list_follows_the_headers() {
        let models = Uri::from_static("/v1/models");
        for (header, provider) in [
            ("anthropic-version", Provider::Anthropic),
            ("x-goog-api-key", Provider::Gemini),
            ("authorization", Provider::OpenAi),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header, HeaderValue::from_static("2023-06-01"));
            let route = find(&Method::GET, &models, &headers);
            assert_eq!((route.provider, route.endpoint), (provider, Ok(Endpoint::Models)));
        }
        assert_eq!(route(Method::GET, "/v1/models?key=k").0, Provider::Gemini);
    }

    #[test]
    fn gemini_has_both_versions_at_the_root_and_under_its_prefix() {
        for path in [
            "/v1/models/gemini-2.5-flash:generateContent",
            "/v1beta/models/gemini-2.5-flash:generateContent",
            "/gemini/v1beta/models/gemini-2.5-flash:generateContent?key=k",
        ] {
            let whole = Endpoint::Generate(Delivery::Whole);
            assert_eq!(named(path), (Provider::Gemini, "gemini-2.5-flash".into(), whole));
        }
        let stream = |path| named(path).2;
        assert_eq!(
            stream("/v1/models/m:streamGenerateContent?alt=sse"),
            Endpoint::Generate(Delivery::Events)
        );
        assert_eq!(
            stream("/v1/models/m:streamGenerateContent?key=k"),
            Endpoint::Generate(Delivery::Array)
        );
        // A fine-tuned model of OpenAI has colons in its name.
        let tuned = route(Method::GET, "/v1/models/ft:gpt-4o-mini:org::id");
        assert_eq!(
            tuned,
            (Provider::OpenAi, Ok(Endpoint::Model("ft:gpt-4o-mini:org::id".into())))
        );
    }

    #[test]
    fn vertex_tells_the_publishers_apart() {
        assert_eq!(
            named("/v1beta1/projects/p/locations/global/publishers/google/models/gemini-2.5-pro:countTokens"),
            (Provider::Vertex, "gemini-2.5-pro".into(), Endpoint::CountContents)
        );
        assert_eq!(
            named("/v1/projects/p/locations/l/publishers/anthropic/models/claude-sonnet-4-5@20250929:streamRawPredict"),
            (
                Provider::VertexAnthropic,
                "claude-sonnet-4-5@20250929".into(),
                Endpoint::Messages
            )
        );
        assert_eq!(
            named("/vertex/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict").2,
            Endpoint::CountTokens
        );
        let unknown = route(
            Method::POST,
            "/v1/projects/p/locations/l/publishers/google/models/m:rawPredict",
        );
        assert!(matches!(unknown.1, Err(Refusal::PathUnknown { .. })));
    }

    #[test]
    fn azure_is_told_by_deployment_version_or_key() {
        for path in [
            "/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21",
            "/azure/openai/deployments/my%20gpt/chat/completions",
        ] {
            assert_eq!(named(path), (Provider::Azure, "my gpt".into(), Endpoint::Chat));
        }
        assert_eq!(
            route(Method::POST, "/openai/v1/responses?api-version=preview"),
            (Provider::Azure, Ok(Endpoint::Responses))
        );
        assert_eq!(
            route(Method::POST, "/openai/responses?api-version=2025-04-01-preview").0,
            Provider::Azure
        );
        assert_eq!(route(Method::POST, "/azure/openai/v1/chat/completions").0, Provider::Azure);
        let mut headers = HeaderMap::new();
        headers.insert("api-key", HeaderValue::from_static("k"));
        let uri = Uri::from_static("/openai/v1/chat/completions");
        assert_eq!(find(&Method::POST, &uri, &headers).provider, Provider::Azure);
        assert_eq!(find(&Method::POST, &uri, &HeaderMap::new()).provider, Provider::OpenAi);
    }

    #[test]
    fn mistral_is_told_by_its_prefix() {
        assert_eq!(
            route(Method::POST, "/mistral/v1/chat/completions"),
            (Provider::Mistral, Ok(Endpoint::Chat))
        );
        for path in ["/v1/ocr", "/mistral/v1/ocr"] {
            assert_eq!(route(Method::POST, path), (Provider::Mistral, Ok(Endpoint::Ocr)));
        }
        assert!(route(Method::POST, "/openai/v1/ocr").1.is_err());
    }

    #[test]
    fn bedrock_decodes_the_names_of_models() {
        let (provider, endpoint) = (Provider::Bedrock, Endpoint::Converse { stream: true });
        for (path, model) in [
            ("/model/anthropic.claude-v2%3A1/converse-stream", "anthropic.claude-v2:1"),
            (
                "/bedrock/model/amazon.nova-lite-v1:0/converse-stream",
                "amazon.nova-lite-v1:0",
            ),
            (
                "/model/arn%3Aaws%3Abedrock%3A%3A1%3Ainference-profile%2Fus.m/converse-stream",
                "arn:aws:bedrock::1:inference-profile/us.m",
            ),
            (
                "/model/arn:aws:bedrock::1:inference-profile/us.m/converse-stream",
                "arn:aws:bedrock::1:inference-profile/us.m",
            ),
        ] {
            assert_eq!(named(path), (provider, model.to_owned(), endpoint.clone()));
        }
    }

    #[test]
    fn percent_encoded_bytes_are_decoded() {
        assert_eq!(decoded("v2%3A0"), "v2:0");
        assert_eq!(decoded("100%"), "100%");
        assert_eq!(decoded("%zz%2"), "%zz%2");
        assert_eq!(decoded("a%C3%BC"), "aü");
    }
}
