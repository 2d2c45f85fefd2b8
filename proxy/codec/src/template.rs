//! A provider described by data: where its messages tell tokens and models, overridable path by path.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use memchr::memmem::Finder;
use regex::Regex;
use serde_json_path::JsonPath;
use tollgate_record::Name;

use crate::json::{self, Step};
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
    /// Model that answered; looked for in the answer's payload or headers, or in the request's path or query.
    pub response_model: Option<Locator>,
}

/// Fields that stand elsewhere under some path.
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
    name: Name,
    abort_rule: AbortRule,
    places: Places,
    /// The most specific first.
    resources: Vec<(Box<str>, Places)>,
}

/// Checked places, as they hold for one path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    pub(crate) prompt_tokens: Option<Arc<Place>>,
    pub(crate) completion_tokens: Option<Arc<Place>>,
    pub(crate) total_tokens: Option<Arc<Place>>,
    pub(crate) remaining_tokens: Option<Arc<Place>>,
    pub(crate) request_model: Option<Arc<Place>>,
    pub(crate) response_model: Option<Arc<Place>>,
}

/// One checked place.
#[derive(Debug)]
pub(crate) enum Place {
    /// Members and elements only: found without building the document.
    Steps {
        steps: Vec<Step>,
        last_key: Option<Finder<'static>>,
    },
    /// Any other JSONPath.
    Path {
        path: JsonPath,
        last_key: Option<Finder<'static>>,
    },
    Header(HeaderName),
    QueryParam(Box<str>),
    PathParam(Regex),
}

/// The parts of a message that places refer to.
#[derive(Clone, Copy)]
pub(crate) struct Sources<'a> {
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) payload: &'a [u8],
}

// === impl Template ===

impl Template {
    /// Checks a description. A field that a resource does not override is that of the next less specific resource, and at last the template's.
    ///
    /// # Errors
    /// [`TemplateError`] naming the field that is wrong.
    pub fn new(name: Name, fields: Fields, resources: Vec<Resource>, abort_rule: AbortRule) -> Result<Self, TemplateError> {
        let places = Places::new("", fields)?;
        let mut checked = Vec::with_capacity(resources.len());
        for (at, resource) in resources.into_iter().enumerate() {
            let field = format!("resourceMappings.resources[{at}]");
            if !resource.path.starts_with(['/', '*']) {
                return Err(TemplateError::Path {
                    field,
                    path: resource.path,
                });
            }
            checked.push((
                resource.path.into_boxed_str(),
                Places::new(&format!("{field}."), resource.fields)?,
            ));
        }
        checked.sort_by_key(|(path, _)| (path.contains('*'), std::cmp::Reverse(path.len())));
        Ok(Self {
            name,
            abort_rule,
            places,
            resources: checked,
        })
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// What to do with the upstream when the client leaves.
    pub fn abort_rule(&self) -> AbortRule {
        self.abort_rule
    }

    pub(crate) fn places(&self, path: &str) -> Places {
        let path = path.split('?').next().unwrap_or_default();
        let mut places = Places::default();
        for (_, more) in self.resources.iter().filter(|(pattern, _)| matches(pattern, path)) {
            places.fill(more);
        }
        places.fill(&self.places);
        places
    }
}

/// Whether a path is what a pattern with `*` means; the first parts are taken where they first fit, which is enough as `*` takes any text.
fn matches(pattern: &str, path: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == path;
    };
    let Some(mut left) = path.strip_prefix(start) else {
        return false;
    };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        match left.split_once(part) {
            Some((_, after)) => left = after,
            None if part.is_empty() => {}
            None => return false,
        }
    }
    left.ends_with(end)
}

// === impl Places ===

impl Places {
    fn new(prefix: &str, fields: Fields) -> Result<Self, TemplateError> {
        let place = |name: &str, locator: Option<Locator>, of_answer: bool| {
            locator
                .map(|locator| Place::new(&format!("{prefix}{name}"), locator, of_answer).map(Arc::new))
                .transpose()
        };
        Ok(Self {
            prompt_tokens: place("promptTokens", fields.prompt_tokens, true)?,
            completion_tokens: place("completionTokens", fields.completion_tokens, true)?,
            total_tokens: place("totalTokens", fields.total_tokens, true)?,
            remaining_tokens: place("remainingTokens", fields.remaining_tokens, true)?,
            request_model: place("requestModel", fields.request_model, false)?,
            response_model: place("responseModel", fields.response_model, false)?,
        })
    }

    fn fill(&mut self, from: &Self) {
        for (mine, theirs) in [
            (&mut self.prompt_tokens, &from.prompt_tokens),
            (&mut self.completion_tokens, &from.completion_tokens),
            (&mut self.total_tokens, &from.total_tokens),
            (&mut self.remaining_tokens, &from.remaining_tokens),
            (&mut self.request_model, &from.request_model),
            (&mut self.response_model, &from.response_model),
        ] {
            if mine.is_none() {
                mine.clone_from(theirs);
            }
        }
    }

    /// Whether any token count is told.
    pub(crate) fn tell_tokens(&self) -> bool {
        self.prompt_tokens.is_some() || self.completion_tokens.is_some() || self.total_tokens.is_some()
    }

    /// Whether an answer's payload may tell one of its fields.
    pub(crate) fn may_tell(&self, payload: &[u8]) -> bool {
        [
            &self.prompt_tokens,
            &self.completion_tokens,
            &self.total_tokens,
            &self.remaining_tokens,
            &self.response_model,
        ]
        .into_iter()
        .flatten()
        .any(|place| place.may_be_in(payload))
    }
}

// === impl Place ===

impl Place {
    fn new(field: &str, locator: Locator, of_answer: bool) -> Result<Self, TemplateError> {
        let field = || field.to_owned();
        let identifier = locator.identifier;
        match locator.location {
            Location::Payload => {
                // Both forms are checked by the same parser, so that what is taken the short way is a JSONPath too.
                let path = json_path(&identifier).map_err(|reason| TemplateError::JsonPath {
                    field: field(),
                    identifier: identifier.clone(),
                    reason,
                })?;
                let last_key = last_key(&identifier).map(|key| Finder::new(format!("\"{key}\"").as_bytes()).into_owned());
                Ok(match steps(&identifier) {
                    Some(steps) => Self::Steps { steps, last_key },
                    None => Self::Path { path, last_key },
                })
            }
            Location::Header => HeaderName::try_from(&identifier)
                .map(Self::Header)
                .map_err(|_| TemplateError::Header {
                    field: field(),
                    identifier,
                }),
            Location::QueryParam if of_answer => Err(TemplateError::Location {
                field: field(),
                location: "queryParam",
            }),
            Location::PathParam if of_answer => Err(TemplateError::Location {
                field: field(),
                location: "pathParam",
            }),
            Location::QueryParam if identifier.is_empty() => Err(TemplateError::QueryParam { field: field() }),
            Location::QueryParam => Ok(Self::QueryParam(identifier.into_boxed_str())),
            Location::PathParam => {
                let regex = Regex::new(&identifier).map_err(|error| TemplateError::PathParam {
                    field: field(),
                    identifier: identifier.clone(),
                    reason: error.to_string(),
                })?;
                match regex.captures_len() - 1 {
                    1 => Ok(Self::PathParam(regex)),
                    groups => Err(TemplateError::Groups {
                        field: field(),
                        identifier,
                        groups,
                    }),
                }
            }
        }
    }

    /// The value as text: of a string its content, of a number its digits.
    pub(crate) fn text(&self, sources: &Sources<'_>) -> Option<String> {
        match self {
            Self::Steps { steps, .. } => json::find(sources.payload, steps).and_then(|raw| scalar(raw.get())),
            Self::Path { path, .. } => {
                let document: serde_json::Value = serde_json::from_slice(sources.payload).ok()?;
                path.query(&document)
                    .all()
                    .into_iter()
                    .rev()
                    .find_map(|value| scalar(&value.to_string()))
            }
            Self::Header(name) => sources.headers.get(name)?.to_str().ok().map(|text| text.trim().to_owned()),
            Self::QueryParam(name) => sources
                .query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find(|(key, _)| percent_decoded(&key.replace('+', " ")) == **name)
                .map(|(_, value)| percent_decoded(&value.replace('+', " ")).into_owned()),
            Self::PathParam(regex) => {
                let found = regex.captures(sources.path)?.get(1)?;
                Some(percent_decoded(found.as_str()).into_owned())
            }
        }
    }

    /// The value as a count.
    pub(crate) fn count(&self, sources: &Sources<'_>) -> Option<u64> {
        self.text(sources)?.parse().ok()
    }

    pub(crate) fn is_of_request(&self) -> bool {
        matches!(self, Self::QueryParam(_) | Self::PathParam(_))
    }

    /// The top-level member of the payload that it is, if it is one.
    pub(crate) fn member(&self) -> Option<&str> {
        match self {
            Self::Steps { steps, .. } => match steps.as_slice() {
                [Step::Key(key)] => Some(key),
                _ => None,
            },
            _ => None,
        }
    }

    pub(crate) fn is_payload(&self) -> bool {
        matches!(self, Self::Steps { .. } | Self::Path { .. })
    }

    fn may_be_in(&self, payload: &[u8]) -> bool {
        match self {
            Self::Steps { last_key, .. } | Self::Path { last_key, .. } => {
                last_key.as_ref().is_none_or(|key| key.find(payload).is_some())
            }
            _ => false,
        }
    }
}

/// The text of a JSON string or number.
fn scalar(raw: &str) -> Option<String> {
    match raw.bytes().next()? {
        b'"' => serde_json::from_str(raw).ok(),
        b'0'..=b'9' | b'-' => Some(raw.to_owned()),
        _ => None,
    }
}

/// A JSONPath, or why it is none.
pub(crate) fn json_path(text: &str) -> Result<JsonPath, String> {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        // The parser (serde_json_path 0.7.2) panics where the text ends within such an escape.
        if byte == b'\\' && bytes.next() == Some(b'u') && bytes.clone().take(4).filter(u8::is_ascii_hexdigit).count() < 4 {
            return Err("`\\u` is not followed by four hexadecimal digits".to_owned());
        }
    }
    JsonPath::parse(text).map_err(|error| error.to_string())
}

/// The steps of a JSONPath that has only members and elements counted from the start.
pub(crate) fn steps(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("['") {
            let (key, after) = after.split_once("']")?;
            if key.contains(['\\', '\'']) {
                return None;
            }
            steps.push(Step::Key(key.into()));
            rest = after;
        } else if let Some(after) = rest.strip_prefix('[') {
            let (index, after) = after.split_once(']')?;
            steps.push(Step::Index(index.parse().ok()?));
            rest = after;
        } else {
            let after = rest.strip_prefix('.')?;
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (key, after) = after.split_at(end);
            if key.is_empty() || !key.chars().all(|char| char.is_alphanumeric() || char == '_') {
                return None;
            }
            steps.push(Step::Key(key.into()));
            rest = after;
        }
    }
    Some(steps)
}

/// The member name at the end of a JSONPath, if it ends in one that needs no escape in JSON.
fn last_key(path: &str) -> Option<&str> {
    let plain = |key: &str| !key.is_empty() && key.chars().all(|char| char.is_ascii_alphanumeric() || char == '_');
    let key = match path.strip_suffix("']") {
        Some(start) => start.rsplit_once("['")?.1,
        None => path.rsplit_once('.')?.1,
    };
    plain(key).then_some(key)
}

pub(crate) fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let pair = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(escaped) if byte == b'%' => {
                decoded.push(escaped);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => decoded.push(byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

#[cfg(test)]
mod tests;
