//! One provider's dialect.

use bytes::Bytes;
use http::{HeaderMap, Method};
use tollgate_record::Name;

use crate::{BadRequest, ErrorBody, Request, Template};

/// What to do with the upstream when the client leaves in the middle of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AbortRule {
    /// Close it: the provider stops generating and billing.
    Cancel,
    /// Read on within a limit: the provider bills the rest anyway, and reports it.
    #[default]
    Drain,
}

/// One provider's dialect; cheap to clone.
#[derive(Clone, Debug)]
pub struct Codec;

/// What a path of a provider is for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Endpoint {
    /// OpenTelemetry GenAI operation, or the path.
    pub operation_name: Name,
    /// Whether its answers use tokens.
    pub bears_usage: bool,
    /// Whether its requests must be JSON.
    pub needs_json: bool,
}

impl Codec {
    /// OpenAI's.
    pub fn openai() -> Self {
        Self
    }
    /// Anthropic's.
    pub fn anthropic() -> Self {
        Self
    }
    /// One that a template describes.
    pub fn template(template: Template) -> Self {
        let _ = (template.name, template.abort_rule);
        Self
    }
    /// Name of the template: the one that shipped prices go by.
    pub fn name(&self) -> &str {
        "openai"
    }
    /// What a path below the provider's context is for, such as `/v1/chat/completions`.
    pub fn endpoint(&self, method: &Method, path: &str) -> Endpoint {
        let _ = method;
        Endpoint {
            operation_name: Name::new(path).unwrap_or_else(|_| Name::new("/").expect("a constant")),
            bears_usage: false,
            needs_json: false,
        }
    }
    /// Reads what a request asks for.
    ///
    /// # Errors
    /// [`BadRequest`] where the endpoint needs JSON and the body is none.
    pub fn read(
        &self,
        endpoint: &Endpoint,
        path_and_query: &str,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Request, BadRequest> {
        let _ = (endpoint, path_and_query, headers, body);
        Ok(Request {
            model: None,
            stream: false,
        })
    }
    /// An error in the provider's own JSON shape.
    pub fn error_body(&self, error: &ErrorBody<'_>) -> Bytes {
        Bytes::copy_from_slice(error.message.as_bytes())
    }
    /// What to do with the upstream when the client leaves.
    pub fn abort_rule(&self) -> AbortRule {
        AbortRule::Drain
    }
}
