//! Results in Gemini's words: lines of a file, or what stands in the batch itself.

use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_record::{Ending, Outcome};

use super::{Line, OPERATION, ToldResult, unmeasured};
use crate::answer::Answer;
use crate::json;
use crate::shape::Shape;

/// What a response of Gemini's says that it is.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Content<'a> {
    #[serde(borrow)]
    candidates: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt_feedback: Option<&'a RawValue>,
    #[serde(borrow)]
    usage_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    embedding: Option<&'a RawValue>,
}

/// A result of Gemini's, which stands in its batch: in the order of the requests, which need no key.
pub(crate) fn inlined(place: usize, raw: &RawValue) -> Option<ToldResult> {
    let read = serde_json::from_str::<Line<'_>>(raw.get()).ok()?;
    let told = google(&read)?;
    Some(ToldResult::new(place.to_string(), told).of_bytes(raw.get().len()))
}

/// A result in Gemini's words; none if it is something else.
pub(super) fn google(read: &Line<'_>) -> Option<(&'static str, Ending)> {
    if let Some(error) = read.error.filter(|error| json::is_object(error)) {
        let mut answer = Answer::new(Shape::Silent, false);
        answer.take_google_error(error);
        let mut ending = Ending::of(Outcome::UpstreamError);
        ending.error_type = answer.error_type;
        return Some((OPERATION, ending));
    }
    let body = read.response.filter(|raw| json::is_object(raw))?;
    let content: Content<'_> = serde_json::from_str(body.get()).ok()?;
    let (shape, operation) = if content.embedding.is_some() {
        (Shape::ContentEmbeddings, "embeddings")
    } else if content
        .candidates
        .or(content.prompt_feedback)
        .or(content.usage_metadata)
        .is_some()
    {
        (Shape::Content, "generate_content")
    } else {
        return None;
    };
    let (mut ending, is_told) = super::read(shape, body);
    ending.status_code = Some(200);
    Some((operation, if is_told { ending } else { unmeasured(ending, Some(200)) }))
}
