//! What is wrong with a request or a template, and an error of the gateway's own before it has a provider's shape.

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;

/// Why a request cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// The body is not a JSON object.
    #[error("the request's body is not a JSON object: {reason} at line {line}, column {column}")]
    Json {
        /// What the parser missed.
        reason: String,
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1; 0 is before the first.
        column: usize,
    },
}

/// Why a template is refused; every variant names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A payload's identifier is no JSONPath.
    #[error("{field}: {identifier:?} is not a JSONPath (RFC 9535): {reason}")]
    JsonPath {
        /// The field, such as `promptTokens` or `resourceMappings.resources[0].promptTokens`.
        field: String,
        /// What stands there.
        identifier: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A header's identifier is no header name.
    #[error("{field}: {identifier:?} is not a header name")]
    Header {
        /// The field.
        field: String,
        /// What stands there.
        identifier: String,
    },
    /// A query parameter has no name.
    #[error("{field}: the name of the query parameter is empty")]
    QueryParam {
        /// The field.
        field: String,
    },
    /// A path parameter's identifier is no regular expression.
    #[error("{field}: {identifier:?} is not a regular expression: {reason}")]
    PathParam {
        /// The field.
        field: String,
        /// What stands there.
        identifier: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A path parameter's regular expression does not say which part is meant.
    #[error("{field}: {identifier:?} has {groups} groups, not one")]
    Groups {
        /// The field.
        field: String,
        /// What stands there.
        identifier: String,
        /// How many groups it has.
        groups: usize,
    },
    /// Something of the answer is looked for in the request.
    #[error("{field}: {location} is part of the request, and this field is told by the answer: use payload or header")]
    Location {
        /// The field.
        field: String,
        /// The location.
        location: &'static str,
    },
    /// A resource has no path.
    #[error("{field}: {path:?} is not a path: it must begin with / or *")]
    Path {
        /// The field.
        field: String,
        /// What stands there.
        path: String,
    },
}

/// An error of the gateway's own, before it has a provider's shape.
#[derive(Clone, Copy, Debug)]
pub struct ErrorBody<'a> {
    /// Status that the client is sent.
    pub status: StatusCode,
    /// Stable code, such as `unknown_key`.
    pub code: &'a str,
    /// One sentence for the caller.
    pub message: &'a str,
    /// Id of the call.
    pub call_id: &'a str,
}

// === impl BadRequest ===

impl BadRequest {
    pub(crate) fn new(error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let told = error.to_string();
        let reason = told
            .strip_suffix(&format!(" at line {line} column {column}"))
            .unwrap_or(&told)
            .to_owned();
        Self::Json { reason, line, column }
    }
}

// === impl ErrorBody ===

impl<'a> ErrorBody<'a> {
    /// OpenAI's shape, as its SDKs parse it: `{"error": {"message", "type", "param", "code"}}`; `call_id` is ours.
    pub(crate) fn openai(&self) -> Bytes {
        let kind = self.openai_type();
        let error = json!({"message": self.message, "type": kind, "param": null, "code": self.code, "call_id": self.call_id});
        Bytes::from(json!({ "error": error }).to_string())
    }

    fn is_over_budget(&self) -> bool {
        self.code == "budget_exceeded"
    }

    /// Mistral's shape: OpenAI's members without the object around them.
    pub(crate) fn mistral(&self) -> Bytes {
        let kind = self.openai_type();
        let error = json!({"object": "error", "message": self.message, "type": kind, "param": null, "code": self.code, "call_id": self.call_id});
        Bytes::from(error.to_string())
    }

    fn openai_type(&self) -> &'a str {
        if self.is_over_budget() {
            // As OpenAI's own `insufficient_quota`, which is type and code.
            return self.code;
        }
        match self.status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        }
    }

    /// Anthropic's shape, with the types of its documentation's page "Errors"; `code` is ours.
    pub(crate) fn anthropic(&self) -> Bytes {
        let kind = match self.status.as_u16() {
            _ if self.is_over_budget() => self.code,
            401 => "authentication_error",
            402 => "billing_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            504 => "timeout_error",
            529 => "overloaded_error",
            _ => "api_error",
        };
        let error = json!({"type": kind, "message": self.message, "code": self.code});
        Bytes::from(json!({"type": "error", "error": error, "request_id": self.call_id}).to_string())
    }

    /// Google's shape (AIP-193, google-genai 3.4.0 `errors.py`): `code` is the status, `reason` our code in capitals.
    pub(crate) fn google(&self) -> Bytes {
        let status = match self.status.as_u16() {
            401 => "UNAUTHENTICATED",
            403 => "PERMISSION_DENIED",
            404 => "NOT_FOUND",
            402 => "RESOURCE_EXHAUSTED",
            408 | 504 => "DEADLINE_EXCEEDED",
            429 => "RESOURCE_EXHAUSTED",
            400..=499 => "INVALID_ARGUMENT",
            501 => "UNIMPLEMENTED",
            502 | 503 => "UNAVAILABLE",
            _ => "INTERNAL",
        };
        let details = json!([{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": self.code.to_ascii_uppercase(),
            "domain": "tollgate",
            "metadata": {"call_id": self.call_id},
        }]);
        let error = json!({"code": self.status.as_u16(), "message": self.message, "status": status, "details": details});
        Bytes::from(json!({ "error": error }).to_string())
    }

    /// AWS's shape (its restJson protocol, botocore 1.43.11 `parsers.py`): the type stands in header `x-amzn-errortype` too. The body has no member
    /// `code`, which would be taken for the type.
    pub(crate) fn aws(&self) -> Bytes {
        let error = json!({"__type": self.aws_type(), "message": self.message, "reason": self.code, "call_id": self.call_id});
        Bytes::from(error.to_string())
    }

    /// The nearest exception of AWS's ("Common errors" of its API references); those of signatures are what its SDKs know, whatever the status.
    pub(crate) fn aws_type(&self) -> &'static str {
        match self.code {
            "unknown_access_key" => return "UnrecognizedClientException",
            "incomplete_signature" => return "IncompleteSignatureException",
            "clock_skew" | "invalid_signature" => return "InvalidSignatureException",
            // Its SDKs do not try that again, whereas they do with everything that is throttled.
            "budget_exceeded" | "unpriced_model" => return "ServiceQuotaExceededException",
            _ => {}
        }
        match self.status.as_u16() {
            401 => "UnrecognizedClientException",
            403 => "AccessDeniedException",
            404 => "ResourceNotFoundException",
            408 | 504 => "ModelTimeoutException",
            429 => "ThrottlingException",
            400..=499 => "ValidationException",
            503 => "ServiceUnavailableException",
            _ => "InternalServerException",
        }
    }
}
