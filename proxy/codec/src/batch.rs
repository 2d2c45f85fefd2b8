//! Batches: which paths submit them, look at them and fetch their results, and what a batch says of itself.
//!
//! - OpenAI (openai 2.54.0, `types/batch.py`; API reference, "Batch"), Azure OpenAI, Groq and others in its words: `POST /v1/batches`, `GET /v1/batches/{id}`;
//!   results are the files `output_file_id` and `error_file_id`, at `/v1/files/{id}/content`.
//! - Mistral (its documentation, "Batch Inference"): `POST /v1/batch/jobs`, `GET /v1/batch/jobs/{id}`, with `output_file` and `error_file`; files as OpenAI's.
//!   With `?inline=true` a job has its results in it (mistralai 3.7.0, `models/batchjob.py`: `outputs`).
//! - Gemini (google-genai 3.6.1, `batches.py`; API reference, "Batch API"): `POST .../{model}:batchGenerateContent` and `:asyncBatchEmbedContent`,
//!   `GET /v1beta/batches/{id}`, an operation whose `response`, or `metadata.output`, has the results in it, or names the file of them (`responsesFile`), which is
//!   at `/download/v1beta/files/{id}:download`.
//! - Anthropic (anthropic 2.12.0, `types/messages/message_batch.py`): `POST /v1/messages/batches`; results at `/v1/messages/batches/{id}/results`. Its batches
//!   tell that address as `results_url`, which its SDKs follow as it is.

use http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_record::{ResultsId, batch};

use crate::answer::Answer;
use crate::shape::Shape;
use crate::{json, results};

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
    /// Mistral's results.
    #[serde(borrow)]
    outputs: Option<&'a RawValue>,
    /// Gemini's id.
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

/// What Gemini has of a batch's results.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Output<'a> {
    #[serde(borrow)]
    responses_file: Option<&'a RawValue>,
    #[serde(borrow)]
    inlined_responses: Option<Inlined<'a>>,
    #[serde(borrow)]
    inlined_embed_content_responses: Option<Inlined<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Inlined<'a> {
    #[serde(borrow)]
    inlined_responses: Vec<&'a RawValue>,
}

/// The shape of answers at a path that is about batches.
pub(crate) fn shape(method: &Method, path: &str) -> Option<Shape> {
    if method == Method::GET && results(path).is_some() {
        return Some(Shape::Results);
    }
    let (rest, end) = path.rsplit_once('/')?;
    if method == Method::POST && (end.ends_with(":batchGenerateContent") || end.ends_with(":asyncBatchEmbedContent")) {
        return Some(Shape::Batch { submits: true });
    }
    let of_one = method == Method::GET || (method == Method::POST && end == "cancel");
    let submits = method == Method::POST && is_collection(path);
    let looks = of_one && is_collection(if end == "cancel" { rest.rsplit_once('/')?.0 } else { rest });
    (submits || looks).then_some(Shape::Batch { submits })
}

/// The results that a path asks for.
pub(crate) fn results(path: &str) -> Option<ResultsId> {
    let path = path.split('?').next().unwrap_or_default();
    let (rest, end) = path.strip_suffix('/').unwrap_or(path).rsplit_once('/')?;
    if let Some(id) = end.strip_suffix(":download") {
        return (rest.ends_with("/files") && batch::is_id(id)).then(|| ResultsId::File(id.into()));
    }
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

/// The batch that a path looks at, if its answer may have the results in it.
pub(crate) fn inline(method: &Method, path: &str) -> Option<ResultsId> {
    let path = path.split('?').next().unwrap_or_default();
    let (collection, id) = path.strip_suffix('/').unwrap_or(path).rsplit_once('/')?;
    let tells = ["/batch/jobs", "/v1beta/batches", "/v1alpha/batches"];
    let tells = method == Method::GET && tells.iter().any(|end| collection.ends_with(end)) && batch::is_id(id);
    tells.then(|| ResultsId::Batch(id.into()))
}

/// Whether a path submits a batch in OpenAI's words to a provider whose results never pass here, or pass in words that are not read: Bedrock writes to a bucket,
/// Together redirects to one, Cohere writes a data set, xAI has `/v1/batches/{id}/results`, Gemini's words of OpenAI's have files of its own.
pub(crate) fn is_elsewhere(template: &str, path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let path = path.strip_suffix('/').unwrap_or(path);
    matches!(template, "awsbedrock" | "cohere" | "gemini" | "together" | "xai") && path.ends_with("/batches")
}

/// Whether answers at a path tell where results are, by a whole URL.
pub(crate) fn tells_url(path: &str) -> bool {
    path.contains("/messages/batches") && results(path).is_none()
}

fn is_collection(path: &str) -> bool {
    path.ends_with("/batches") || path.ends_with("/batch/jobs")
}

/// Reads a batch: which one was submitted, the files of its results, and those that are in it.
pub(crate) fn object(answer: &mut Answer, document: &[u8], submits: bool) -> bool {
    let Ok(read) = serde_json::from_slice::<Batch<'_>>(document) else {
        return false;
    };
    let id = |raw: Option<&RawValue>, prefix: &str| {
        let id = json::text(raw?)?;
        let id = id.strip_prefix(prefix).unwrap_or(&id).to_owned();
        batch::is_id(&id).then_some(id)
    };
    let operation = read.id.is_none().then_some(read.name).flatten();
    let Some(of) = id(read.id, "").or_else(|| id(operation, "batches/")) else {
        return true;
    };
    answer.decisions.clear();
    if submits {
        answer.decisions.push(batch::submitted(&of));
    }
    for file in [read.output_file_id, read.error_file_id, read.output_file, read.error_file] {
        answer.decisions.extend(id(file, "").map(|file| batch::output(&file, &of)));
    }
    answer.results.place = id(read.output_file, "").map(|file| ResultsId::File(file.into()));
    let outputs = read
        .outputs
        .and_then(|raw| serde_json::from_str::<Vec<&RawValue>>(raw.get()).ok());
    for output in outputs.unwrap_or_default() {
        answer.results.take(results::openai(output));
    }
    if operation.is_some() {
        let of_metadata = || json::find(read.metadata?.get().as_bytes(), &[json::Step::Key("output".into())]);
        let output = read.response.or_else(of_metadata);
        let output = output
            .and_then(|raw| serde_json::from_str::<Output<'_>>(raw.get()).ok())
            .unwrap_or_default();
        let file = id(output.responses_file, "files/");
        answer.decisions.extend(file.map(|file| batch::output(&file, &of)));
        let inlined = [output.inlined_responses, output.inlined_embed_content_responses];
        let inlined = inlined.into_iter().flatten().flat_map(|inlined| inlined.inlined_responses);
        for (place, result) in inlined.enumerate() {
            answer.results.take(results::inlined(place, result));
        }
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
        assert_eq!(
            results("/download/v1beta/files/batch-abc:download?alt=media"),
            file("batch-abc")
        );
        let batch = Some(ResultsId::Batch("msgbatch_013Z".into()));
        assert_eq!(results("/v1/messages/batches/msgbatch_013Z/results"), batch);
        for other in [
            "/v1/files/file-1",
            "/v1/batches/b/results",
            "/v1/files//content",
            "/content",
            "/v1/messages/batches/m",
            "/v1beta/files/f",
            "/v1beta/files/:download",
        ] {
            assert_eq!(results(other), None, "{other}");
        }
    }

    #[test]
    fn some_batches_have_their_results_in_them() {
        let of = |path: &str| inline(&Method::GET, path);
        let batch = |id: &str| Some(ResultsId::Batch(id.into()));
        assert_eq!(of("/v1/batch/jobs/j1?inline=true"), batch("j1"));
        assert_eq!(of("/v1beta/batches/abc"), batch("abc"));
        for other in [
            "/v1/batches/b1",
            "/v1/messages/batches/m",
            "/v1beta/batches",
            "/v1beta/openai/batches/b",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
        assert_eq!(inline(&Method::DELETE, "/v1beta/batches/abc"), None);
    }

    #[test]
    fn batches_are_submitted_and_looked_at() {
        let of = |method: Method, path: &str| shape(&method, path).map(|shape| format!("{shape:?}"));
        let batch = |submits| Some(format!("{:?}", Shape::Batch { submits }));
        for verb in ["batchGenerateContent", "asyncBatchEmbedContent"] {
            assert_eq!(of(Method::POST, &format!("/v1beta/models/m:{verb}")), batch(true), "{verb}");
        }
        for path in [
            "/v1/batches",
            "/openai/batches",
            "/v1/messages/batches",
            "/v1/batch/jobs",
            "/v1beta/batches",
        ] {
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
