//! Batches: which paths submit them, look at them and fetch their results, and what a batch says of itself.
//!
//! - OpenAI (openai 2.54.0, `types/batch.py`; API reference, "Batch"), Azure OpenAI, Groq and others in its words: `POST /v1/batches`, `GET /v1/batches/{id}`;
//!   results are the files `output_file_id` and `error_file_id`, at `/v1/files/{id}/content`.
//! - Mistral (its documentation, "Batch Inference"): `POST /v1/batch/jobs`, `GET /v1/batch/jobs/{id}`, with `output_file` and `error_file`; files as OpenAI's.
//! - Anthropic (anthropic 2.12.0, `types/messages/message_batch.py`): `POST /v1/messages/batches`; results at `/v1/messages/batches/{id}/results`. Its batches
//!   tell that address as `results_url`, which its SDKs follow as it is.

use http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_record::{ResultsId, batch};

use crate::answer::Answer;
use crate::json;
use crate::shape::Shape;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Batch<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    output_file_id: Option<&'a RawValue>,
    #[serde(borrow)]
    error_file_id: Option<&'a RawValue>,
    #[serde(borrow)]
    output_file: Option<&'a RawValue>,
    #[serde(borrow)]
    error_file: Option<&'a RawValue>,
}

/// The shape of answers at a path that is about batches.
pub(crate) fn shape(method: &Method, path: &str) -> Option<Shape> {
    if method == Method::GET && results(path).is_some() {
        return Some(Shape::Results);
    }
    let (rest, end) = path.rsplit_once('/')?;
    let of_one = method == Method::GET || (method == Method::POST && end == "cancel");
    let submits = method == Method::POST && is_collection(path);
    let looks = of_one && is_collection(if end == "cancel" { rest.rsplit_once('/')?.0 } else { rest });
    (submits || looks).then_some(Shape::Batch { submits })
}

/// The results that a path asks for.
pub(crate) fn results(path: &str) -> Option<ResultsId> {
    let path = path.split('?').next().unwrap_or_default();
    let (rest, end) = path.strip_suffix('/').unwrap_or(path).rsplit_once('/')?;
    let (collection, id) = rest.rsplit_once('/')?;
    if !batch::is_id(id) {
        return None;
    }
    match end {
        "content" if collection.ends_with("/files") => Some(ResultsId::File(id.into())),
        "results" if collection.ends_with("/messages/batches") => Some(ResultsId::Batch(id.into())),
        _ => None,
    }
}

/// Whether answers at a path tell where results are, by a whole URL.
pub(crate) fn tells_url(path: &str) -> bool {
    path.contains("/messages/batches") && results(path).is_none()
}

fn is_collection(path: &str) -> bool {
    path.ends_with("/batches") || path.ends_with("/batch/jobs")
}

/// Reads a batch: which one was submitted, and the files of its results.
pub(crate) fn object(answer: &mut Answer, document: &[u8], submits: bool) -> bool {
    let Ok(read) = serde_json::from_slice::<Batch<'_>>(document) else {
        return false;
    };
    let id = |raw: Option<&RawValue>| {
        let id = json::text(raw?)?.into_owned();
        batch::is_id(&id).then_some(id)
    };
    let Some(of) = id(read.id) else { return true };
    answer.decisions.clear();
    if submits {
        answer.decisions.push(batch::submitted(&of));
    }
    for file in [read.output_file_id, read.error_file_id, read.output_file, read.error_file] {
        answer.decisions.extend(id(file).map(|file| batch::output(&file, &of)));
    }
    true
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn file(id: &str) -> Option<ResultsId> {
        Some(ResultsId::File(id.into()))
    }

    #[test]
    fn results_are_asked_for_by_a_file_or_by_a_batch() {
        for path in [
            "/v1/files/file-xyz123/content",
            "/openai/files/file-xyz123/content?api-version=2025-04-01-preview",
            "/openai/v1/files/file-xyz123/content/",
        ] {
            assert_eq!(results(path), file("file-xyz123"), "{path}");
        }
        let batch = Some(ResultsId::Batch("msgbatch_013Z".into()));
        assert_eq!(results("/v1/messages/batches/msgbatch_013Z/results"), batch);
        for other in [
            "/v1/files/file-1",
            "/v1/batches/b/results",
            "/v1/files//content",
            "/content",
            "/v1/messages/batches/m",
        ] {
            assert_eq!(results(other), None, "{other}");
        }
    }

    #[test]
    fn batches_are_submitted_and_looked_at() {
        let of = |method: Method, path: &str| shape(&method, path).map(|shape| format!("{shape:?}"));
        let batch = |submits| Some(format!("{:?}", Shape::Batch { submits }));
        for path in ["/v1/batches", "/openai/batches", "/v1/messages/batches", "/v1/batch/jobs"] {
            assert_eq!(of(Method::POST, path), batch(true), "{path}");
            assert_eq!(of(Method::GET, path), None, "a list: {path}");
            assert_eq!(of(Method::GET, &format!("{path}/b1")), batch(false), "{path}");
            assert_eq!(of(Method::POST, &format!("{path}/b1/cancel")), batch(false), "{path}");
            assert_eq!(of(Method::DELETE, &format!("{path}/b1")), None, "{path}");
        }
        assert_eq!(of(Method::POST, "/v1/files/f/content"), None);
        assert_eq!(of(Method::GET, "/v1/files/f/content"), Some("Results".to_owned()));
    }

    #[test]
    fn a_batch_tells_its_id_and_its_files() {
        // OpenAI's API reference, "The batch object" (platform.openai.com/docs/api-reference/batch/object, November 2026), shortened.
        let document = br#"{"id":"batch_abc123","object":"batch","endpoint":"/v1/completions","errors":null,"input_file_id":"file-abc123",
            "completion_window":"24h","status":"completed","output_file_id":"file-cvaTdG","error_file_id":"file-HOWS94","created_at":1711471533,
            "request_counts":{"total":100,"completed":95,"failed":5},"metadata":{"customer_id":"user_123456789"}}"#;
        let mut answer = Answer::new(Shape::Batch { submits: false }, false);
        assert!(object(&mut answer, document, false));
        let files = [
            batch::output("file-cvaTdG", "batch_abc123"),
            batch::output("file-HOWS94", "batch_abc123"),
        ];
        assert_eq!(answer.decisions, files);
        // Anthropic's API reference, "Create a Message Batch" (platform.claude.com/docs/en/api/creating-message-batches, November 2026), shortened.
        let document = br#"{"id":"msgbatch_013Zva2CMHLNnXjNJJKqJ2EF","type":"message_batch","processing_status":"in_progress",
            "request_counts":{"processing":100,"succeeded":0,"errored":0,"canceled":0,"expired":0},"ended_at":null,"results_url":null}"#;
        assert!(object(&mut answer, document, true));
        assert_eq!(answer.decisions, [batch::submitted("msgbatch_013Zva2CMHLNnXjNJJKqJ2EF")]);
        // A batch that has no files yet.
        assert!(object(&mut answer, br#"{"id":"b","output_file_id":null}"#, false) && answer.decisions.is_empty());
    }
}
