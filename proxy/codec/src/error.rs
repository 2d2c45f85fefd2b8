//! What is wrong with a request or a template, and what to tell about an error in general.

use http::StatusCode;

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
    #[error("{field}: {identifier:?} is no JSONPath (RFC 9535): {reason}")]
    JsonPath {
        /// The field, such as `promptTokens` or `resourceMappings.resources[0].promptTokens`.
        field: String,
        /// What stands there.
        identifier: String,
        /// What is wrong with it.
        reason: String,
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
