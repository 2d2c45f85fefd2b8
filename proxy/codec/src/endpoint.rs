//! What a path of a provider is for.
//!
//! A path is known by its end, so that hosts which serve a provider's interface below a path of their own are metered too. The shape of an
//! answer follows from the path and not from the provider: Anthropic's host answers OpenAI's chat completions in OpenAI's words.

use std::sync::{Arc, LazyLock};

use http::Method;
use tollgate_record::Name;

use crate::template::Places;

/// What a path of a provider is for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Endpoint {
    /// OpenTelemetry GenAI operation (`chat`, `text_completion`, `embeddings`), or the path with its ids replaced by `{id}`.
    pub operation_name: Name,
    /// Whether its answers use tokens.
    pub bears_usage: bool,
    /// Whether its requests must be JSON objects.
    pub needs_json: bool,
    /// Whether its answers can cost something that is not tokens and not counted here.
    pub(crate) may_cost: bool,
    pub(crate) shape: Shape,
}

/// The shape of an endpoint's messages.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// OpenAI's chat completions.
    Chat,
    /// OpenAI's legacy completions.
    Completion,
    /// OpenAI's responses, compacted ones too.
    Response,
    /// OpenAI's embeddings.
    Embeddings,
    /// Anthropic's messages.
    Message,
    /// What a template says.
    Template(Arc<Places>),
    /// No tokens in it.
    Silent,
}

/// Most segments of a path that are kept in an operation's name.
const SEGMENTS_MAX: usize = 8;

/// Longest segment that is taken for a word of the interface, in bytes.
const WORD_BYTES_MAX: usize = 32;

static CHAT: LazyLock<Name> = LazyLock::new(|| constant("chat"));
static TEXT_COMPLETION: LazyLock<Name> = LazyLock::new(|| constant("text_completion"));
static EMBEDDINGS: LazyLock<Name> = LazyLock::new(|| constant("embeddings"));
static GENERATE_CONTENT: LazyLock<Name> = LazyLock::new(|| constant("generate_content"));

fn constant(name: &str) -> Name {
    Name::new(name).expect("a short printable constant")
}

// === impl Endpoint ===

impl Endpoint {
    /// An endpoint of a provider whose shapes are known.
    pub(crate) fn known(method: &Method, path: &str) -> Self {
        let shape = if method == Method::POST { shape(path) } else { Shape::Silent };
        let bears_usage = !matches!(shape, Shape::Silent);
        let operation_name = match shape {
            Shape::Silent | Shape::Template(_) => bounded(path),
            _ => operation(path).unwrap_or_else(|| CHAT.clone()),
        };
        Self {
            operation_name,
            bears_usage,
            needs_json: bears_usage,
            may_cost: method == Method::POST && !is_free(path),
            shape,
        }
    }

    /// An endpoint of a provider that a template describes.
    pub(crate) fn described(method: &Method, path: &str, places: Places) -> Self {
        let bears_usage = method == Method::POST && places.tell_tokens();
        let operation_name = if bears_usage {
            operation(path).unwrap_or_else(|| bounded(path))
        } else {
            bounded(path)
        };
        Self {
            operation_name,
            bears_usage,
            needs_json: false,
            may_cost: method == Method::POST,
            shape: Shape::Template(Arc::new(places)),
        }
    }
}

fn shape(path: &str) -> Shape {
    let path = path.strip_suffix('/').unwrap_or(path);
    let ends = |end: &str| path.ends_with(end);
    if ends("/chat/completions") {
        Shape::Chat
    } else if ends("/completions") {
        Shape::Completion
    } else if ends("/responses") || ends("/responses/compact") {
        Shape::Response
    } else if ends("/embeddings") {
        Shape::Embeddings
    } else if ends("/v1/messages") || path == "/messages" {
        Shape::Message
    } else {
        Shape::Silent
    }
}

/// Whether a path without tokens is known to cost nothing: OpenAI's moderations, files, uploads and cancellations (its pricing page lists no
/// price for them, November 2026), Anthropic's token counting ("free to use", its documentation of token counting).
fn is_free(path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    let free_end = [
        "/moderations",
        "/count_tokens",
        "/input_tokens",
        "/files",
        "/cancel",
        "/complete",
    ];
    free_end.iter().any(|end| path.ends_with(end)) || path.contains("/uploads")
}

/// The operation that OpenTelemetry's GenAI conventions have for a path's end.
fn operation(path: &str) -> Option<Name> {
    match shape(path) {
        Shape::Chat | Shape::Response | Shape::Message => Some(CHAT.clone()),
        Shape::Completion => Some(TEXT_COMPLETION.clone()),
        Shape::Embeddings => Some(EMBEDDINGS.clone()),
        Shape::Template(_) | Shape::Silent => {
            let end = path.rsplit(['/', ':']).next().unwrap_or_default();
            match end {
                "converse" | "converse-stream" => Some(CHAT.clone()),
                "generateContent" | "streamGenerateContent" => Some(GENERATE_CONTENT.clone()),
                "embedContent" | "batchEmbedContents" => Some(EMBEDDINGS.clone()),
                _ => None,
            }
        }
    }
}

/// The path, with everything that is no word of an interface replaced: names of operations are few, whatever strangers ask for.
fn bounded(path: &str) -> Name {
    let path = path.split('?').next().unwrap_or_default();
    let mut name = String::with_capacity(path.len().min(Name::MAX_BYTES));
    for (count, segment) in path.split('/').filter(|segment| !segment.is_empty()).enumerate() {
        if count == SEGMENTS_MAX {
            name.push_str("/...");
            break;
        }
        name.push('/');
        name.push_str(if is_word(segment) { segment } else { "{id}" });
    }
    if name.is_empty() {
        name.push('/');
    }
    Name::new(&name).unwrap_or_else(|_| constant("/..."))
}

/// Words have letters, `_` and `-` only; versions (`v1`, `v1beta2`) are words too, and whatever has another digit, a capital letter or a colon is an id.
fn is_word(segment: &str) -> bool {
    if segment.len() > WORD_BYTES_MAX {
        return false;
    }
    let version = segment.strip_prefix('v').is_some_and(|rest| {
        rest.starts_with(|first: char| first.is_ascii_digit())
            && rest.len() < 8
            && rest.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
    });
    version
        || segment
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(method: &Method, path: &str) -> (String, bool) {
        let endpoint = Endpoint::known(method, path);
        assert_eq!(endpoint.bears_usage, endpoint.needs_json);
        (endpoint.operation_name.to_string(), endpoint.bears_usage)
    }

    #[test]
    fn endpoints_that_bear_usage_have_the_names_of_opentelemetry() {
        let post = |path| at(&Method::POST, path);
        assert_eq!(post("/v1/chat/completions"), ("chat".into(), true));
        assert_eq!(post("/v1/completions"), ("text_completion".into(), true));
        assert_eq!(post("/v1/responses"), ("chat".into(), true));
        assert_eq!(post("/v1/responses/compact"), ("chat".into(), true));
        assert_eq!(post("/v1/embeddings"), ("embeddings".into(), true));
        assert_eq!(post("/v1/messages"), ("chat".into(), true));
        assert_eq!(post("/v1/messages/"), ("chat".into(), true));
        assert_eq!(post("/api/v1/chat/completions"), ("chat".into(), true));
    }

    #[test]
    fn everything_else_is_a_call_without_tokens_named_by_its_path() {
        assert_eq!(
            at(&Method::GET, "/v1/responses/resp_0a1B2c"),
            ("/v1/responses/{id}".into(), false)
        );
        assert_eq!(
            at(&Method::GET, "/v1/chat/completions"),
            ("/v1/chat/completions".into(), false)
        );
        assert_eq!(
            at(&Method::POST, "/v1/messages/count_tokens"),
            ("/v1/messages/count_tokens".into(), false)
        );
        assert_eq!(
            at(&Method::POST, "/v1/messages/batches"),
            ("/v1/messages/batches".into(), false)
        );
        assert_eq!(
            at(&Method::POST, "/v1/threads/thread_9Zx/messages"),
            ("/v1/threads/{id}/messages".into(), false)
        );
        assert_eq!(at(&Method::GET, "/v1/models/gpt-4o"), ("/v1/models/{id}".into(), false));
        assert_eq!(at(&Method::GET, "/v1/models?limit=5"), ("/v1/models".into(), false));
    }

    #[test]
    fn names_of_operations_are_few_whatever_is_asked_for() {
        assert_eq!(at(&Method::GET, "").0, "/");
        assert_eq!(at(&Method::GET, "/a%20b/\u{1}/\u{e9}").0, "/{id}/{id}/{id}");
        assert_eq!(at(&Method::GET, &"/ab".repeat(400)).0, format!("{}/...", "/ab".repeat(8)));
        assert_eq!(at(&Method::GET, &format!("/{}", "x".repeat(5000))).0, "/{id}");
    }
}
