//! Which provider and which endpoint a request is for.
//!
//! Every endpoint exists at the root and under the provider's prefix (`/openai`, `/anthropic`). At the root
//! `/v1/models` belongs to both; a request that carries Anthropic's headers gets Anthropic's.

use http::{HeaderMap, Method, Uri};

use crate::refusal::Refusal;

/// Whose wire is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    OpenAi,
    Anthropic,
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
    /// The simulator's own counts.
    Requests,
}

/// Finds the endpoint; the provider is known even where there is none, since its errors have a shape too.
pub(crate) fn find(method: &Method, uri: &Uri, headers: &HeaderMap) -> (Provider, Result<Endpoint, Refusal>) {
    let path = uri.path();
    if path == "/simulator/requests" {
        let known = matches!(*method, Method::GET | Method::DELETE);
        return (Provider::OpenAi, allowed(known, Endpoint::Requests, method, path));
    }
    let (named, rest) = if let Some(rest) = path.strip_prefix("/openai/") {
        (Some(Provider::OpenAi), rest)
    } else if let Some(rest) = path.strip_prefix("/anthropic/") {
        (Some(Provider::Anthropic), rest)
    } else {
        (None, path.strip_prefix('/').unwrap_or(path))
    };
    let spoken = if headers.contains_key("anthropic-version") || headers.contains_key("x-api-key") {
        Provider::Anthropic
    } else {
        Provider::OpenAi
    };
    let owner = match rest {
        "v1/messages" | "v1/messages/count_tokens" => Some(Provider::Anthropic),
        "v1/chat/completions" | "v1/completions" | "v1/responses" | "v1/embeddings" | "v1/moderations" => Some(Provider::OpenAi),
        _ => None,
    };
    let provider = named.or(owner).unwrap_or(spoken);
    let unknown = || {
        Err(Refusal::PathUnknown {
            method: method.clone(),
            path: path.to_owned(),
        })
    };
    if named.is_some() && owner.is_some() && named != owner {
        return (provider, unknown());
    }
    let post = method == Method::POST;
    let get = method == Method::GET;
    let endpoint = match rest {
        "v1/chat/completions" => allowed(post, Endpoint::Chat, method, path),
        "v1/completions" => allowed(post, Endpoint::Completions, method, path),
        "v1/responses" => allowed(post, Endpoint::Responses, method, path),
        "v1/embeddings" => allowed(post, Endpoint::Embeddings, method, path),
        "v1/moderations" => allowed(post, Endpoint::Moderations, method, path),
        "v1/messages" => allowed(post, Endpoint::Messages, method, path),
        "v1/messages/count_tokens" => allowed(post, Endpoint::CountTokens, method, path),
        "v1/models" => allowed(get, Endpoint::Models, method, path),
        _ => match rest.strip_prefix("v1/models/") {
            Some(id) if !id.is_empty() => allowed(get, Endpoint::Model(id.to_owned()), method, path),
            _ => unknown(),
        },
    };
    (provider, endpoint)
}

fn allowed(allowed: bool, endpoint: Endpoint, method: &Method, path: &str) -> Result<Endpoint, Refusal> {
    if allowed {
        Ok(endpoint)
    } else {
        Err(Refusal::MethodNotAllowed {
            method: method.clone(),
            path: path.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn route(method: Method, path: &'static str) -> (Provider, Result<Endpoint, Refusal>) {
        find(&method, &Uri::from_static(path), &HeaderMap::new())
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
    fn an_endpoint_does_not_exist_under_the_other_provider() {
        let (provider, endpoint) = route(Method::POST, "/anthropic/v1/chat/completions");
        assert_eq!(provider, Provider::Anthropic);
        assert!(matches!(endpoint, Err(Refusal::PathUnknown { .. })));
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
        let mut headers = HeaderMap::new();
        headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
        let models = Uri::from_static("/v1/models");
        assert_eq!(
            find(&Method::GET, &models, &headers),
            (Provider::Anthropic, Ok(Endpoint::Models))
        );
        assert_eq!(route(Method::GET, "/v1/models"), (Provider::OpenAi, Ok(Endpoint::Models)));
    }
}
