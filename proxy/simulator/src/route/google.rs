//! Google's paths: a resource, a colon and a verb.

use http::Method;

use super::{Asked, Delivery, Endpoint, Provider, Route, decoded};
use crate::refusal::Refusal;

impl Asked<'_> {
    /// A path of the Gemini API, without its prefix: `/v1` and `/v1beta`.
    pub(super) fn gemini(&self, path: &str) -> Route {
        let below = path.strip_prefix("v1beta/").or_else(|| path.strip_prefix("v1/"));
        match below.and_then(|rest| rest.strip_prefix("models")) {
            Some("") => self.to(Provider::Gemini, self.get(Endpoint::Models)),
            Some(rest) => self.model(Provider::Gemini, rest.trim_start_matches('/')),
            None => self.to(Provider::Gemini, Err(self.unknown())),
        }
    }

    /// A path of Vertex AI, without its prefix: `/v1` and `/v1beta1`. Project and location may be missing, as they do
    /// where an API key is used.
    pub(super) fn vertex(&self, path: &str) -> Route {
        let below = path.strip_prefix("v1beta1/").or_else(|| path.strip_prefix("v1/"));
        let resource = below.and_then(|rest| match rest.strip_prefix("projects/") {
            Some(rest) => rest.split_once("/publishers/").map(|(_, resource)| resource),
            None => rest.strip_prefix("publishers/"),
        });
        match resource.and_then(|resource| resource.split_once("/models")) {
            Some(("google", "")) => self.to(Provider::Vertex, self.get(Endpoint::Models)),
            Some(("google", rest)) => self.model(Provider::Vertex, rest.trim_start_matches('/')),
            Some(("anthropic", rest)) => self.claude(rest.trim_start_matches('/')),
            _ => self.to(Provider::Vertex, Err(self.unknown())),
        }
    }

    /// `M:verb`, or a model alone, which is to be shown.
    fn model(&self, provider: Provider, resource: &str) -> Route {
        let (model, verb) = resource.rsplit_once(':').unwrap_or((resource, ""));
        let events = self.query("alt") == Some("sse");
        let endpoint = match verb {
            _ if model.is_empty() => Err(self.unknown()),
            "" if self.method == Method::GET => Ok(Endpoint::Model(decoded(model))),
            "generateContent" => self.post(Endpoint::Generate(Delivery::Whole)),
            "streamGenerateContent" if events => self.post(Endpoint::Generate(Delivery::Events)),
            "streamGenerateContent" => self.post(Endpoint::Generate(Delivery::Array)),
            "countTokens" => self.post(Endpoint::CountContents),
            "embedContent" => self.post(Endpoint::EmbedContent),
            "batchEmbedContents" => self.post(Endpoint::BatchEmbedContents),
            "predict" if provider == Provider::Vertex => self.post(Endpoint::Predict),
            _ => Err(self.unknown()),
        };
        Route {
            model: Some(decoded(model)),
            ..self.to(provider, endpoint)
        }
    }

    /// A model of Anthropic. The path names the model, the body says whether it streams.
    fn claude(&self, resource: &str) -> Route {
        let (model, verb) = resource.rsplit_once(':').unwrap_or((resource, ""));
        let endpoint: Result<Endpoint, Refusal> = match (model, verb) {
            ("count-tokens", "rawPredict") => self.post(Endpoint::CountTokens),
            (_, "rawPredict" | "streamRawPredict") => self.post(Endpoint::Messages),
            _ => Err(self.unknown()),
        };
        Route {
            model: (model != "count-tokens").then(|| decoded(model)),
            ..self.to(Provider::VertexAnthropic, endpoint)
        }
    }
}
