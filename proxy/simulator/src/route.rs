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
    Files,
    File(String),
    FileContent(String),
    Batches,
    Batch(String),
    CancelBatch(String),
    MessageBatches,
    MessageBatch(String),
    CancelMessageBatch(String),
    MessageBatchResults(String),
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
mod tests;
