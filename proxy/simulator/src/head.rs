//! Status and headers of answers, as each provider sends them.

use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, TRANSFER_ENCODING};
use http::{Response, StatusCode};

use crate::body::Body;
use crate::directive::Directives;
use crate::out::{id, uuid};
use crate::route::Provider;

/// Headers that are the same on every answer of OpenAI. The limits are never used up: nothing is limited here.
const OPENAI: [(&str, &str); 9] = [
    ("openai-organization", "org-simulator"),
    ("openai-processing-ms", "12"),
    ("openai-version", "2020-10-01"),
    ("x-ratelimit-limit-requests", "10000"),
    ("x-ratelimit-limit-tokens", "30000000"),
    ("x-ratelimit-remaining-requests", "9999"),
    ("x-ratelimit-remaining-tokens", "29999000"),
    ("x-ratelimit-reset-requests", "6ms"),
    ("x-ratelimit-reset-tokens", "2ms"),
];

/// Headers that are the same on every answer of Anthropic. Remaining tokens are rounded to thousands, as theirs are.
const ANTHROPIC: [(&str, &str); 13] = [
    ("anthropic-organization-id", "00000000-0000-4000-8000-000000000000"),
    ("anthropic-ratelimit-requests-limit", "4000"),
    ("anthropic-ratelimit-requests-remaining", "3999"),
    ("anthropic-ratelimit-requests-reset", "2026-01-01T00:00:01Z"),
    ("anthropic-ratelimit-tokens-limit", "4800000"),
    ("anthropic-ratelimit-tokens-remaining", "4799000"),
    ("anthropic-ratelimit-tokens-reset", "2026-01-01T00:00:01Z"),
    ("anthropic-ratelimit-input-tokens-limit", "4000000"),
    ("anthropic-ratelimit-input-tokens-remaining", "3999000"),
    ("anthropic-ratelimit-input-tokens-reset", "2026-01-01T00:00:01Z"),
    ("anthropic-ratelimit-output-tokens-limit", "800000"),
    ("anthropic-ratelimit-output-tokens-remaining", "800000"),
    ("anthropic-ratelimit-output-tokens-reset", "2026-01-01T00:00:01Z"),
];

/// Headers of Google's front end. The Gemini API says which service tier has served; limits are not shown.
const GOOGLE: [(&str, &str); 3] = [
    ("server", "scaffolding on HTTPServer2"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "SAMEORIGIN"),
];

/// Headers that are the same on every answer of Azure.
const AZURE: [(&str, &str); 4] = [
    ("x-ms-region", "East US 2"),
    ("x-ratelimit-remaining-requests", "9999"),
    ("x-ratelimit-remaining-tokens", "29999000"),
    ("x-content-type-options", "nosniff"),
];

/// Headers that are the same on every answer of Mistral.
const MISTRAL: [(&str, &str); 4] = [
    ("x-ratelimit-limit-req-minute", "1000"),
    ("x-ratelimit-remaining-req-minute", "999"),
    ("x-ratelimit-limit-tokens-minute", "2000000"),
    ("x-ratelimit-remaining-tokens-minute", "1999000"),
];

/// The kind of body that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Json,
    /// A JSON text that comes in parts, without an announced length.
    JsonParts,
    /// Amazon's binary events.
    AwsEvents,
    /// What is no JSON, of this media type.
    Other(&'static str),
    Events,
}

/// The identifier of the n-th request that the server has seen, in the form of the provider.
pub(crate) fn request_id(provider: Provider, sequence: u64) -> String {
    match provider {
        Provider::VertexAnthropic => id("req_vrtx_01", sequence, 22),
        Provider::Bedrock | Provider::Azure | Provider::Mistral => uuid(sequence),
        _ => id("req_01", sequence, 22),
    }
}

/// Puts the provider's head before a body; `own` are headers of this answer alone.
pub(crate) fn respond(
    provider: Provider,
    status: StatusCode,
    kind: Kind,
    request_id: &str,
    asked: &Directives,
    own: Vec<(&'static str, String)>,
    body: Body,
) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(18);
    let (all, id): (&[(&'static str, &'static str)], &[&'static str]) = match provider {
        Provider::OpenAi => (&OPENAI, &["x-request-id"]),
        Provider::Anthropic => (&ANTHROPIC, &["request-id"]),
        Provider::VertexAnthropic => (&GOOGLE, &["request-id"]),
        // Neither Gemini nor Vertex AI tells its identifier in a header; answers have one in their body.
        Provider::Gemini | Provider::Vertex => (&GOOGLE, &[]),
        Provider::Bedrock => (&[], &["x-amzn-requestid"]),
        Provider::Azure => (&AZURE, &["apim-request-id", "x-request-id"]),
        Provider::Mistral => (&MISTRAL, &["mistral-correlation-id"]),
    };
    for (name, value) in all {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if let Ok(value) = HeaderValue::from_str(request_id) {
        for name in id {
            headers.insert(HeaderName::from_static(name), value.clone());
        }
    }
    for (name, value) in own {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    if provider == Provider::Gemini && status.is_success() {
        let tier = asked.service_tier.as_deref().unwrap_or("standard");
        if let Ok(tier) = HeaderValue::from_str(tier) {
            headers.insert(HeaderName::from_static("x-gemini-service-tier"), tier);
        }
    }
    headers.insert(
        CONTENT_TYPE,
        match kind {
            Kind::Json | Kind::JsonParts if matches!(provider, Provider::Gemini | Provider::Vertex) => {
                HeaderValue::from_static("application/json; charset=UTF-8")
            }
            Kind::Json | Kind::JsonParts => HeaderValue::from_static("application/json"),
            Kind::Other(media_type) => HeaderValue::from_static(media_type),
            Kind::AwsEvents => HeaderValue::from_static("application/vnd.amazon.eventstream"),
            Kind::Events if matches!(provider, Provider::Gemini | Provider::Vertex) => {
                HeaderValue::from_static("text/event-stream")
            }
            Kind::Events => HeaderValue::from_static("text/event-stream; charset=utf-8"),
        },
    );
    if kind == Kind::Events {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    if let Some(encoding) = asked.encoding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
    }
    if let Some(Ok(seconds)) = asked.retry_after.as_deref().map(HeaderValue::from_str)
        && !status.is_success()
    {
        headers.insert(RETRY_AFTER, seconds);
    }
    debug_assert!(!headers.contains_key(TRANSFER_ENCODING), "framing is hyper's");
    response
}
