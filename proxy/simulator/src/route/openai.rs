//! The paths that begin with `/v1/`: OpenAI's, which Azure and Mistral share, and Anthropic's.

use http::Method;

use super::{Asked, Endpoint, Provider, Route, decoded};
use crate::refusal::Refusal;

impl Asked<'_> {
    /// A path of a provider whose paths are like OpenAI's, without its prefix.
    pub(super) fn openai(&self, provider: Provider, path: &str) -> Route {
        let endpoint = match path.strip_prefix("v1/") {
            Some(rest) => self.named(provider, rest),
            None => Err(self.unknown()),
        };
        self.to(provider, endpoint)
    }

    /// A path below `/openai/` on Azure: `deployments/D/...`, `v1/...`, or neither where no deployment is concerned.
    pub(super) fn azure(&self, path: &str) -> Route {
        let (deployment, rest) = match path.strip_prefix("deployments/").and_then(|rest| rest.split_once('/')) {
            Some((deployment, rest)) => (Some(decoded(deployment)), rest),
            None => (None, path.strip_prefix("v1/").unwrap_or(path)),
        };
        let endpoint = self.named(Provider::Azure, rest);
        Route {
            model: deployment,
            ..self.to(Provider::Azure, endpoint)
        }
    }

    fn named(&self, provider: Provider, rest: &str) -> Result<Endpoint, Refusal> {
        let anthropic = provider == Provider::Anthropic;
        let openai = matches!(provider, Provider::OpenAi | Provider::Azure);
        match rest {
            "chat/completions" if !anthropic => self.post(Endpoint::Chat),
            "embeddings" if !anthropic => self.post(Endpoint::Embeddings),
            "completions" if openai => self.post(Endpoint::Completions),
            "responses" if openai => self.post(Endpoint::Responses),
            "images/generations" if openai => self.post(Endpoint::Images),
            "audio/speech" if openai => self.post(Endpoint::Speech),
            "audio/transcriptions" if openai => self.post(Endpoint::Transcriptions),
            "audio/translations" if openai => self.post(Endpoint::Translations),
            "moderations" if openai => self.post(Endpoint::Moderations),
            "messages" if anthropic => self.post(Endpoint::Messages),
            "messages/count_tokens" if anthropic => self.post(Endpoint::CountTokens),
            "ocr" if provider == Provider::Mistral => self.post(Endpoint::Ocr),
            "models" => self.get(Endpoint::Models),
            _ => match rest.strip_prefix("models/") {
                Some(id) if !id.is_empty() => self.get(Endpoint::Model(id.to_owned())),
                _ => self.kept(provider, rest),
            },
        }
    }

    /// Files and batches, which are kept.
    fn kept(&self, provider: Provider, rest: &str) -> Result<Endpoint, Refusal> {
        let (noun, item) = match provider {
            Provider::Anthropic => ("messages/batches", rest.strip_prefix("messages/batches")),
            Provider::OpenAi | Provider::Azure if rest.starts_with("files") => ("files", rest.strip_prefix("files")),
            Provider::OpenAi | Provider::Azure => ("batches", rest.strip_prefix("batches")),
            _ => ("", None),
        };
        let item = item.ok_or_else(|| self.unknown())?;
        let get_or = |method: Method| *self.method == Method::GET || *self.method == method;
        if item.is_empty() {
            let collection = match noun {
                "files" => Endpoint::Files,
                "batches" => Endpoint::Batches,
                _ => Endpoint::MessageBatches,
            };
            return self.allowed(get_or(Method::POST), collection);
        }
        let (id, verb) = item
            .strip_prefix('/')
            .map_or(("", ""), |item| item.split_once('/').unwrap_or((item, "")));
        let id = id.to_owned();
        match (noun, verb) {
            _ if id.is_empty() => Err(self.unknown()),
            ("files", "") => self.allowed(get_or(Method::DELETE), Endpoint::File(id)),
            ("files", "content") => self.get(Endpoint::FileContent(id)),
            ("batches", "") => self.get(Endpoint::Batch(id)),
            ("batches", "cancel") => self.post(Endpoint::CancelBatch(id)),
            ("messages/batches", "") => self.allowed(get_or(Method::DELETE), Endpoint::MessageBatch(id)),
            ("messages/batches", "cancel") => self.post(Endpoint::CancelMessageBatch(id)),
            ("messages/batches", "results") => self.get(Endpoint::MessageBatchResults(id)),
            _ => Err(self.unknown()),
        }
    }
}
