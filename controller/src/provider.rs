//! Kind `LlmProvider`: an upstream under a path of its own.

use std::time::Duration;

use tollgate_record::Name;

use crate::access::AccessControl;
use crate::field::Fields;
use crate::upstream::Upstream;
use crate::value::Value;

/// Longest wait for a connection.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for the head of an answer: what the official SDKs of OpenAI and Anthropic wait.
pub const DEFAULT_FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(600);
/// Longest silence inside an answer. Reasoning models pause for minutes.
pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// Contexts that are the gateway's own.
const RESERVED_CONTEXTS: [&str; 1] = ["/v1"];
/// An upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LlmProvider {
    /// Its name: `provider_name` of rows, and the part before `/` in a model's name.
    pub name: Name,
    /// Template it is read by; it exists.
    pub template: Name,
    /// Path it is called under: starts with `/`, does not end with it.
    pub context: String,
    /// Where its calls go.
    pub upstream: Upstream,
    /// Region of the upstream, where its prices depend on it and its answers do not tell it.
    pub region: Option<Name>,
    /// Which of its paths may be called.
    pub access: AccessControl,
    /// How long it may take.
    pub timeouts: Timeouts,
}

/// How long an upstream may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until it is connected, TLS included.
    pub connect: Duration,
    /// From the request's end until the head of the answer.
    pub first_byte: Duration,
    /// Between two pieces of the answer.
    pub idle: Duration,
}

// === impl LlmProvider ===

impl LlmProvider {
    /// Reads `spec`; whether the template exists is checked when all documents are known.
    pub(crate) fn read(name: Name, mut spec: Fields<'_>) -> Option<Self> {
        let template = spec.required("template").and_then(|value| value.name());
        let context = spec.required("context").and_then(|value| context(&value));
        let upstream = spec.required_map("upstream").and_then(Upstream::read);
        let region = spec.name("region");
        let access = AccessControl::read(spec.map("accessControl"));
        let timeouts = Timeouts::read(spec.map("timeouts"));
        spec.finish();
        Some(Self {
            name,
            template: template?,
            context: context?,
            // What is wrong with it was reported, so this provider is never served; what is right of it is held against the other documents.
            upstream: upstream.unwrap_or_else(Upstream::unread),
            region,
            access,
            timeouts,
        })
    }
}

/// A path that calls are served under.
pub(crate) fn context(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let context = text.resolved.as_str();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~');
    let reason = if !context.starts_with('/') {
        format!("{} must start with '/'", text.quoted())
    } else if context == "/" {
        "\"/\" is the gateway's own: choose a path such as /openai".to_owned()
    } else if context.ends_with('/') {
        format!("{} must not end with '/'", text.quoted())
    } else if !context.bytes().all(plain) {
        format!("{} may only have letters, digits, '-', '_', '.', '~' and '/'", text.quoted())
    } else if context.split('/').skip(1).any(|segment| matches!(segment, "" | "." | "..")) {
        format!("{} has an empty segment, or one of dots only", text.quoted())
    } else if let Some(reserved) = RESERVED_CONTEXTS.into_iter().find(|reserved| overlap(reserved, context)) {
        format!(
            "{} overlaps {reserved}, which is the gateway's own: choose a path such as /openai",
            text.quoted()
        )
    } else {
        return Some(text.resolved);
    };
    value.wrong(reason);
    None
}

/// Whether two contexts are equal, or one is a parent of the other.
pub(crate) fn overlap(left: &str, right: &str) -> bool {
    let parent = |parent: &str, child: &str| {
        child
            .strip_prefix(parent)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    parent(left, right) || parent(right, left)
}

// === impl Timeouts ===

impl Timeouts {
    fn read(mut fields: Fields<'_>) -> Self {
        let least = Duration::from_millis(10);
        let hour = Duration::from_secs(3600);
        let timeouts = Self {
            connect: fields.duration("connect", DEFAULT_CONNECT_TIMEOUT, least..=hour),
            first_byte: fields.duration("first_byte", DEFAULT_FIRST_BYTE_TIMEOUT, least..=24 * hour),
            idle: fields.duration("idle", DEFAULT_IDLE_TIMEOUT, least..=24 * hour),
        };
        fields.finish();
        timeouts
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: DEFAULT_CONNECT_TIMEOUT,
            first_byte: DEFAULT_FIRST_BYTE_TIMEOUT,
            idle: DEFAULT_IDLE_TIMEOUT,
        }
    }
}
