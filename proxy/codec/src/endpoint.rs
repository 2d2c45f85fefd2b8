//! What a path of a provider is for.
//!
//! A path is known by its end, so that hosts which serve a provider's interface below a path of their own are metered too. The shape of an
//! answer follows from the path and not from the provider: Anthropic's host answers OpenAI's chat completions in OpenAI's words.

use std::sync::{Arc, LazyLock};

use http::Method;
use tollgate_record::{Name, ResultsId};

use crate::batch;
use crate::path::Target;
use crate::shape::Shape;
use crate::template::Places;

/// What a path of a provider is for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Endpoint {
    /// OpenTelemetry GenAI operation (`chat`, `text_completion`, `embeddings`, `generate_content`), or the path with its ids replaced by `{id}`.
    pub operation_name: Name,
    /// Whether its answers use tokens that are estimated by the request's text where nobody reports them.
    pub bears_usage: bool,
    /// Whether its requests must be JSON objects.
    pub needs_json: bool,
    /// Results of a batch that it fetches, or that may stand in what it looks at.
    pub results: Option<ResultsId>,
    /// Whether its answers tell where results of batches are, by a URL that clients follow as it is.
    pub tells_results_url: bool,
    /// Region that the path names (Vertex AI's location), where its price may depend on it.
    pub region: Option<Name>,
    /// Whether its answers can cost something that is not tokens and not counted here.
    pub(crate) may_cost: bool,
    pub(crate) shape: Shape,
    /// Model that the path names: at Azure the deployment.
    pub(crate) model: Option<Name>,
    /// Whether the path asks for a stream.
    pub(crate) streams: bool,
    /// Whether the request's body says more than the path does.
    pub(crate) reads_body: bool,
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
        let target = Target::of(method, path);
        let operation_name = operation(&target.shape, path).unwrap_or_else(|| bounded(path));
        Self {
            operation_name,
            bears_usage: target.shape.is_text(),
            needs_json: target.shape.is_text() && target.reads_body,
            may_cost: method == Method::POST && !is_free(path),
            results: match target.shape {
                Shape::Results => batch::results(path),
                Shape::Batch { submits: false } => batch::inline(method, path),
                _ => None,
            },
            tells_results_url: batch::tells_url(path),
            region: target.region.and_then(|region| Name::new(region).ok()),
            model: target.model.and_then(|model| Name::new(&model).ok()),
            streams: target.streams,
            reads_body: target.reads_body,
            shape: target.shape,
        }
    }

    /// An endpoint of a provider that a template describes.
    pub(crate) fn described(method: &Method, path: &str, places: Places) -> Self {
        let bears_usage = method == Method::POST && places.tell_tokens();
        let operation_name = if bears_usage {
            operation(&Target::of(method, path).shape, path).unwrap_or_else(|| bounded(path))
        } else {
            bounded(path)
        };
        Self {
            operation_name,
            bears_usage,
            needs_json: false,
            may_cost: method == Method::POST,
            results: None,
            tells_results_url: false,
            shape: Shape::Template(Arc::new(places)),
            region: None,
            model: None,
            streams: false,
            reads_body: true,
        }
    }

    /// Whether its answers are batches, and read for which they are.
    pub fn tells_batch(&self) -> bool {
        matches!(self.shape, Shape::Batch { .. })
    }

    /// Whether its answers are read for what they used.
    pub(crate) fn is_read(&self) -> bool {
        self.bears_usage || !matches!(self.shape, Shape::Silent | Shape::Template(_))
    }
}

/// Whether a path without tokens is known to cost nothing: batches, whose results cost something (results.rs); OpenAI's moderations, files, uploads and
/// cancellations (its pricing page lists no price for them, November 2026), and counting tokens, at Anthropic ("free to use", its documentation of token
/// counting), at Google (no price on its pages of prices) and at Bedrock ("no charge", its documentation of CountTokens).
fn is_free(path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    let free_end = [
        "/moderations",
        "/count_tokens",
        "/count-tokens",
        "/count-tokens:rawPredict",
        ":countTokens",
        ":computeTokens",
        "/input_tokens",
        "/files",
        "/cancel",
        ":cancel",
        "/complete",
        "/batches",
        "/batch/jobs",
        ":batchGenerateContent",
        ":asyncBatchEmbedContent",
    ];
    free_end.iter().any(|end| path.ends_with(end)) || path.contains("/uploads")
}

/// The operation that OpenTelemetry's GenAI conventions have for a shape; `None` where they have none.
fn operation(shape: &Shape, path: &str) -> Option<Name> {
    match shape {
        Shape::Chat | Shape::Response | Shape::Message | Shape::Converse | Shape::Units { output: true } => Some(CHAT.clone()),
        Shape::Completion => Some(TEXT_COMPLETION.clone()),
        Shape::Embeddings | Shape::ContentEmbeddings => Some(EMBEDDINGS.clone()),
        Shape::Content => Some(GENERATE_CONTENT.clone()),
        Shape::Invocation { output } => Some(if *output { CHAT.clone() } else { EMBEDDINGS.clone() }),
        Shape::Prediction
        | Shape::Images
        | Shape::Speech
        | Shape::Transcription
        | Shape::Pages
        | Shape::Batch { .. }
        | Shape::Results
        | Shape::Units { output: false } => None,
        // A template's provider may have put the words of another behind a path of its own.
        Shape::Template(_) | Shape::Silent => match path.rsplit(['/', ':']).next().unwrap_or_default() {
            "converse" | "converse-stream" => Some(CHAT.clone()),
            "generateContent" | "streamGenerateContent" => Some(GENERATE_CONTENT.clone()),
            "embedContent" | "batchEmbedContents" => Some(EMBEDDINGS.clone()),
            _ => None,
        },
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
    fn paths_that_say_everything_need_no_json() {
        for (path, operation) in [
            ("/v1beta/models/gemini-3-pro:generateContent", "generate_content"),
            ("/v1beta/models/gemini-embedding-001:embedContent", "embeddings"),
            (
                "/v1/projects/p/locations/l/publishers/anthropic/models/claude:rawPredict",
                "chat",
            ),
            ("/model/m/converse", "chat"),
            ("/model/amazon.titan-embed-text-v2%3A0/invoke", "embeddings"),
        ] {
            let endpoint = Endpoint::known(&Method::POST, path);
            assert!(endpoint.bears_usage && !endpoint.needs_json && endpoint.is_read(), "{path}");
            assert_eq!(endpoint.operation_name.as_str(), operation);
        }
    }

    #[test]
    fn what_is_not_made_of_text_is_read_and_not_estimated() {
        for (path, operation) in [
            ("/v1/images/generations", "/v1/images/generations"),
            ("/v1/audio/speech", "/v1/audio/speech"),
            (
                "/openai/deployments/d1/audio/transcriptions",
                "/openai/deployments/{id}/audio/transcriptions",
            ),
            ("/v1/ocr", "/v1/ocr"),
        ] {
            let endpoint = Endpoint::known(&Method::POST, path);
            assert!(
                !endpoint.bears_usage && !endpoint.needs_json && endpoint.is_read() && endpoint.may_cost,
                "{path}"
            );
            assert_eq!(endpoint.operation_name.as_str(), operation);
        }
    }

    #[test]
    fn counting_tokens_is_free() {
        for path in [
            "/v1/messages/count_tokens",
            "/v1beta/models/gemini-3-pro:countTokens",
            "/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict",
            "/model/anthropic.claude-opus-5/count-tokens",
        ] {
            let endpoint = Endpoint::known(&Method::POST, path);
            assert!(!endpoint.may_cost && !endpoint.is_read(), "{path}");
        }
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
