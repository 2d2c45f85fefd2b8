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
fn files_and_batches_are_named_by_their_paths() {
    let id = || "x".to_owned();
    for (method, path, endpoint) in [
        (Method::POST, "/v1/files", Endpoint::Files),
        (Method::DELETE, "/openai/v1/files/x", Endpoint::File(id())),
        (Method::GET, "/azure/openai/files/x/content", Endpoint::FileContent(id())),
        (Method::GET, "/v1/batches/x", Endpoint::Batch(id())),
        (Method::POST, "/v1/batches/x/cancel", Endpoint::CancelBatch(id())),
        (Method::GET, "/v1/messages/batches/x", Endpoint::MessageBatch(id())),
        (
            Method::GET,
            "/anthropic/v1/messages/batches/x/results",
            Endpoint::MessageBatchResults(id()),
        ),
    ] {
        assert_eq!(route(method, path).1, Ok(endpoint), "{path}");
    }
    assert!(matches!(
        route(Method::DELETE, "/v1/batches/x").1,
        Err(Refusal::MethodNotAllowed { .. })
    ));
    assert!(matches!(
        route(Method::GET, "/v1/files/x/y").1,
        Err(Refusal::PathUnknown { .. })
    ));
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
