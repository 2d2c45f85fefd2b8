//! Why the simulator refuses a request, before it is put into a provider's words.
//!
//! It knows status codes, since those are part of what is being imitated, but no JSON: `failure.rs` has the shapes.

use http::{Method, StatusCode};

use crate::route::Provider;

/// A request that is not answered with a completion.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("x-simulate: `{part}` is not a key=value pair")]
    DirectiveSyntax { part: String },
    #[error("x-simulate: unknown key `{key}`; the keys are {known}")]
    DirectiveUnknown { key: String, known: String },
    #[error("x-simulate: `{key}` is given twice")]
    DirectiveTwice { key: String },
    #[error("x-simulate: `{key}={value}` is wrong, expected {expected}")]
    DirectiveValue {
        key: &'static str,
        value: String,
        expected: &'static str,
    },
    #[error("x-simulate: `{key}` {reason}")]
    DirectiveConflict { key: &'static str, reason: &'static str },
    #[error("the credential is missing: send it in the header that the provider's SDK uses")]
    CredentialMissing,
    #[error("anthropic-version: header is required")]
    VersionMissing,
    #[error("the body could not be parsed as JSON: {reason}")]
    JsonSyntax { reason: String },
    #[error("the body has a field of the wrong type: {reason}")]
    JsonType { reason: String },
    #[error("the body could not be parsed as a form: {reason}")]
    FormSyntax { reason: &'static str },
    #[error("missing required parameter: '{name}'")]
    FieldMissing { name: &'static str },
    #[error("invalid value for '{name}': {reason}")]
    FieldInvalid { name: &'static str, reason: &'static str },
    #[error("the body is larger than {limit_bytes} bytes")]
    BodyTooLarge { limit_bytes: usize },
    #[error("the body ended early")]
    BodyBroken,
    #[error("invalid URL ({method} {path})")]
    PathUnknown { method: Method, path: String },
    #[error("not allowed to {method} on {path}")]
    MethodNotAllowed { method: Method, path: String },
    #[error("the model `{model}` does not exist or you do not have access to it")]
    ModelUnknown { model: String },
    #[error("no such {kind}: {id}")]
    Unknown { kind: &'static str, id: String },
    #[error("this error was asked for with x-simulate (status {status})")]
    Asked { status: StatusCode },
}

impl Refusal {
    /// The status code that the provider answers with.
    pub(crate) fn status(&self, provider: Provider) -> StatusCode {
        match self {
            // A caller without a key is unknown to them rather than unauthenticated.
            Self::CredentialMissing if matches!(provider, Provider::Gemini | Provider::Bedrock) => StatusCode::FORBIDDEN,
            Self::CredentialMissing => StatusCode::UNAUTHORIZED,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::PathUnknown { .. } | Self::ModelUnknown { .. } | Self::Unknown { .. } => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Asked { status } => *status,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The request parameter at fault, where there is one.
    pub(crate) fn parameter(&self) -> Option<&str> {
        match self {
            Self::FieldMissing { name } | Self::FieldInvalid { name, .. } => Some(name),
            Self::ModelUnknown { .. } => Some("model"),
            Self::DirectiveUnknown { .. }
            | Self::DirectiveTwice { .. }
            | Self::DirectiveSyntax { .. }
            | Self::DirectiveValue { .. }
            | Self::DirectiveConflict { .. } => Some(crate::directive::HEADER),
            _ => None,
        }
    }
}
