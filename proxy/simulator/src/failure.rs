//! A refusal in the words and the JSON shape of the provider that was asked.
//!
//! Shapes: OpenAI's error object as in openai-python `_exceptions.py` (message, type, param, code); Anthropic's as in
//! its documentation of errors (`type: error`, an error type for every status, `request_id`); Google's as in
//! google.rpc.Status (code, message, status, details); Amazon's as in its JSON protocol (the type in a header).

use http::StatusCode;

use crate::directive::HEADER;
use crate::out::Out;
use crate::refusal::Refusal;
use crate::route::Provider;

/// Writes the body of an error answer.
pub(crate) fn json(provider: Provider, refusal: &Refusal, request_id: &str, out: &mut Out) {
    match provider {
        Provider::OpenAi => openai(refusal, out),
        Provider::Azure => azure(refusal, out),
        Provider::Mistral => mistral(refusal, out),
        Provider::Anthropic | Provider::VertexAnthropic => anthropic(provider, refusal, request_id, out),
        Provider::Gemini | Provider::Vertex => google(provider, refusal, out),
        Provider::Bedrock => aws(refusal, out),
    }
}

/// The headers that belong to an error answer.
pub(crate) fn headers(provider: Provider, refusal: &Refusal) -> Vec<(&'static str, String)> {
    match provider {
        Provider::Bedrock => {
            let namespace = "http://internal.amazon.com/coral/com.amazon.bedrock/";
            vec![("x-amzn-errortype", format!("{}:{namespace}", aws_type(refusal)))]
        }
        _ => Vec::new(),
    }
}

fn openai(refusal: &Refusal, out: &mut Out) {
    let (kind, code) = match refusal {
        Refusal::Asked { status } => match status.as_u16() {
            401 => ("invalid_request_error", Some("invalid_api_key")),
            403 => ("invalid_request_error", Some("unsupported_country_region_territory")),
            404 => ("invalid_request_error", Some("model_not_found")),
            429 => ("tokens", Some("rate_limit_exceeded")),
            503 => ("server_error", Some("server_overloaded")),
            500.. => ("server_error", None),
            _ => ("invalid_request_error", None),
        },
        Refusal::FieldMissing { .. } => ("invalid_request_error", Some("missing_required_parameter")),
        Refusal::FieldInvalid { .. } => ("invalid_request_error", Some("invalid_value")),
        Refusal::JsonType { .. } => ("invalid_request_error", Some("invalid_type")),
        Refusal::ModelUnknown { .. } => ("invalid_request_error", Some("model_not_found")),
        _ => ("invalid_request_error", None),
    };
    out.raw(r#"{"error":{"message":"#);
    match refusal {
        Refusal::CredentialMissing => out.string(
            "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer \
             auth (i.e. Authorization: Bearer YOUR_KEY).",
        ),
        Refusal::JsonSyntax { reason } => out
            .raw("\"We could not parse the JSON body of your request. (HINT: ")
            .escaped(reason)
            .raw(")\""),
        Refusal::Asked {
            status: StatusCode::TOO_MANY_REQUESTS,
        } => out.string("Rate limit reached for this model in organization org-simulator on tokens per min (TPM)."),
        other => out.string(&capital(&other.to_string())),
    };
    out.raw(r#","type":"#).string(kind).raw(r#","param":"#);
    optional(refusal.parameter(), out).raw(r#","code":"#);
    optional(code, out).raw("}}");
}

/// What the model says has OpenAI's shape; what the service before it says has a code and a message alone.
fn azure(refusal: &Refusal, out: &mut Out) {
    let status = refusal.status(Provider::Azure).as_u16();
    let (code, message) = match (refusal, status) {
        (_, 401) => (
            "401",
            "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an \
             active subscription and use a correct regional API endpoint for your resource.",
        ),
        (Refusal::Asked { .. }, 404) => (
            "DeploymentNotFound",
            "The API deployment for this resource does not exist. If you created the deployment within the last 5 \
             minutes, please wait a moment and try again.",
        ),
        (_, 404) => ("404", "Resource not found"),
        (_, 429) => (
            "429",
            "Requests to this operation have exceeded the rate limit of your current pricing tier.",
        ),
        _ => return openai(refusal, out),
    };
    out.raw(r#"{"error":{"code":"#).string(code);
    out.raw(r#","message":"#).string(message).raw("}}");
}

fn mistral(refusal: &Refusal, out: &mut Out) {
    let status = refusal.status(Provider::Mistral).as_u16();
    let (kind, code) = match (refusal, status) {
        (_, 401) => ("unauthorized", "1100"),
        (_, 404) if matches!(refusal, Refusal::ModelUnknown { .. }) => ("invalid_model", "1500"),
        (_, 429) => ("rate_limited", "1300"),
        (_, 500..) => ("internal_server_error", "3000"),
        _ => ("invalid_request_error", "3001"),
    };
    out.raw(r#"{"object":"error","message":"#);
    match refusal {
        Refusal::CredentialMissing => out.string("Unauthorized"),
        Refusal::Asked {
            status: StatusCode::TOO_MANY_REQUESTS,
        } => out.string("Rate limit exceeded"),
        other => out.string(&capital(&other.to_string())),
    };
    out.raw(r#","type":"#).string(kind).raw(r#","param":"#);
    optional(refusal.parameter(), out).raw(r#","code":"#).string(code);
    out.raw(r#","raw_status_code":"#).number(status.into()).raw("}");
}

fn anthropic(provider: Provider, refusal: &Refusal, request_id: &str, out: &mut Out) {
    let kind = match refusal.status(provider).as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    out.raw(r#"{"type":"error","error":{"type":"#)
        .string(kind)
        .raw(r#","message":"#);
    match refusal {
        Refusal::CredentialMissing => out.string("x-api-key header is required"),
        Refusal::FieldMissing { name } => out.string(&format!("{name}: Field required")),
        Refusal::FieldInvalid { name, reason } => out.string(&format!("{name}: {reason}")),
        Refusal::ModelUnknown { model } => out.string(&format!("model: {model}")),
        Refusal::Asked { status } if status.as_u16() == 529 => out.string("Overloaded"),
        other => out.string(&capital(&other.to_string())),
    };
    out.raw(r#"},"request_id":"#).string(request_id).raw("}");
}

fn google(provider: Provider, refusal: &Refusal, out: &mut Out) {
    let status = refusal.status(provider);
    let word = match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        501 => "UNIMPLEMENTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    };
    out.raw(r#"{"error":{"code":"#).number(status.as_u16().into());
    out.raw(r#","message":"#);
    match refusal {
        Refusal::CredentialMissing if provider == Provider::Gemini => out.string(
            "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or \
             other form of API consumer identity to call this API.",
        ),
        Refusal::CredentialMissing => out.string(
            "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or \
             other valid authentication credential.",
        ),
        Refusal::ModelUnknown { model } => out.string(&format!("models/{model} is not found for API version v1beta")),
        Refusal::Asked {
            status: StatusCode::TOO_MANY_REQUESTS,
        } => out.string("You exceeded your current quota, please check your plan and billing details."),
        Refusal::Asked {
            status: StatusCode::SERVICE_UNAVAILABLE,
        } => out.string("The model is overloaded. Please try again later."),
        other => out.string(&capital(&other.to_string())),
    };
    out.raw(r#","status":"#).string(word);
    if let Some(field) = refusal.parameter() {
        out.raw(r#","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"#);
        out.string(field).raw("}]}]");
    }
    out.raw("}}");
}

/// The exceptions of botocore's `bedrock-runtime` by their status codes.
fn aws_type(refusal: &Refusal) -> &'static str {
    match (refusal, refusal.status(Provider::Bedrock).as_u16()) {
        (Refusal::CredentialMissing, _) => "MissingAuthenticationTokenException",
        (Refusal::PathUnknown { .. } | Refusal::MethodNotAllowed { .. }, _) => "UnknownOperationException",
        (_, 403) => "AccessDeniedException",
        (_, 404) => "ResourceNotFoundException",
        (_, 408) => "ModelTimeoutException",
        (_, 424) => "ModelErrorException",
        (_, 429) => "ThrottlingException",
        (_, 503) => "ServiceUnavailableException",
        (_, 500..) => "InternalServerException",
        _ => "ValidationException",
    }
}

fn aws(refusal: &Refusal, out: &mut Out) {
    out.raw(r#"{"message":"#);
    match refusal {
        Refusal::CredentialMissing => out.string("Missing Authentication Token"),
        Refusal::Asked {
            status: StatusCode::TOO_MANY_REQUESTS,
        } => out.string("Too many requests, please wait before trying again."),
        other => out.string(&capital(&other.to_string())),
    };
    out.raw("}");
}

fn optional<'o>(text: Option<&str>, out: &'o mut Out) -> &'o mut Out {
    match text {
        Some(text) => out.string(text),
        None => out.raw("null"),
    }
}

/// Providers begin their messages with a capital letter; a header's name keeps its spelling.
fn capital(message: &str) -> String {
    if message.starts_with(HEADER) {
        return message.to_owned();
    }
    let mut letters = message.chars();
    letters
        .next()
        .map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn shape(provider: Provider, refusal: &Refusal) -> Value {
        let mut out = Out::default();
        super::json(provider, refusal, "req_1", &mut out);
        serde_json::from_slice(&out.0).unwrap()
    }

    #[test]
    fn openai_names_message_type_parameter_and_code() {
        let missing = shape(Provider::OpenAi, &Refusal::FieldMissing { name: "messages" });
        assert_eq!(
            missing,
            json!({"error": {"message": "Missing required parameter: 'messages'", "type": "invalid_request_error",
                "param": "messages", "code": "missing_required_parameter"}})
        );
        let limited = shape(
            Provider::OpenAi,
            &Refusal::Asked {
                status: StatusCode::TOO_MANY_REQUESTS,
            },
        );
        assert_eq!(limited["error"]["code"], "rate_limit_exceeded");
        assert_eq!(
            shape(Provider::OpenAi, &Refusal::CredentialMissing)["error"]["param"],
            Value::Null
        );
    }

    #[test]
    fn anthropic_names_its_error_type_by_status() {
        for (status, kind) in [
            (400, "invalid_request_error"),
            (401, "authentication_error"),
            (429, "rate_limit_error"),
            (500, "api_error"),
            (529, "overloaded_error"),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let error = shape(Provider::Anthropic, &Refusal::Asked { status });
            assert_eq!((&error["type"], &error["error"]["type"]), (&json!("error"), &json!(kind)));
            assert_eq!(error["request_id"], "req_1");
        }
        let missing = shape(Provider::Anthropic, &Refusal::FieldMissing { name: "max_tokens" });
        assert_eq!(missing["error"]["message"], "max_tokens: Field required");
    }

    /// googleapis `google/rpc/status.proto` and `code.proto`.
    #[test]
    fn google_names_code_and_status() {
        for (code, status) in [
            (400, "INVALID_ARGUMENT"),
            (429, "RESOURCE_EXHAUSTED"),
            (500, "INTERNAL"),
            (503, "UNAVAILABLE"),
        ] {
            let asked = StatusCode::from_u16(code).unwrap();
            let error = shape(Provider::Gemini, &Refusal::Asked { status: asked });
            assert_eq!(
                (&error["error"]["code"], &error["error"]["status"]),
                (&json!(code), &json!(status))
            );
        }
        assert_eq!(
            shape(Provider::Gemini, &Refusal::CredentialMissing)["error"]["status"],
            "PERMISSION_DENIED"
        );
        assert_eq!(
            shape(Provider::Vertex, &Refusal::CredentialMissing)["error"]["status"],
            "UNAUTHENTICATED"
        );
    }

    #[test]
    fn amazon_names_the_exception_in_a_header() {
        for (code, name) in [
            (400, "ValidationException"),
            (403, "AccessDeniedException"),
            (424, "ModelErrorException"),
            (429, "ThrottlingException"),
            (503, "ServiceUnavailableException"),
        ] {
            let status = StatusCode::from_u16(code).unwrap();
            let headers = headers(Provider::Bedrock, &Refusal::Asked { status });
            assert!(headers[0].1.starts_with(name), "{headers:?}");
        }
        let missing = shape(Provider::Bedrock, &Refusal::CredentialMissing);
        assert_eq!(missing, json!({"message": "Missing Authentication Token"}));
    }

    #[test]
    fn azure_and_mistral_have_codes_of_their_own() {
        let asked = |status| Refusal::Asked { status };
        let limited = shape(Provider::Azure, &asked(StatusCode::TOO_MANY_REQUESTS));
        assert_eq!(
            (&limited["error"]["code"], limited["error"].get("type")),
            (&json!("429"), None)
        );
        let missing = shape(Provider::Azure, &Refusal::FieldMissing { name: "messages" });
        assert_eq!(missing["error"]["code"], "missing_required_parameter");
        let limited = shape(Provider::Mistral, &asked(StatusCode::TOO_MANY_REQUESTS));
        assert_eq!(
            (&limited["type"], &limited["object"]),
            (&json!("rate_limited"), &json!("error"))
        );
    }

    #[test]
    fn whatever_a_request_said_the_error_is_json() {
        let reason = "a \"quote\" and a \\ and a \n".to_owned();
        for provider in [
            Provider::OpenAi,
            Provider::Anthropic,
            Provider::Gemini,
            Provider::Bedrock,
            Provider::Mistral,
        ] {
            shape(provider, &Refusal::JsonSyntax { reason: reason.clone() });
            shape(
                provider,
                &Refusal::PathUnknown {
                    method: http::Method::GET,
                    path: reason.clone(),
                },
            );
        }
    }
}
