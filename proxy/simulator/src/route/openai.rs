//! The paths that begin with `/v1/`: OpenAI's, which Azure and Mistral share, and Anthropic's.

use super::{Asked, Endpoint, Provider, Route, decoded};

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

    fn named(&self, provider: Provider, rest: &str) -> Result<Endpoint, crate::refusal::Refusal> {
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
                _ => Err(self.unknown()),
            },
        }
    }
}
