//! Results of batches, line by line, as they pass: what each of them used, and how it ended.
//!
//! 1. Memory is bounded by the longest line that is read, [`LINE_BYTES_MAX`], and by the results of one frame, which are taken after each.
//! 2. A line counts when it is whole. What is cut off at the end of what has come is no result yet: whoever fetches it again reads it again.
//! 3. A file that has no results in it, such as one that was uploaded, tells none. A result that cannot be read is counted as [`Lines::unread`].
//!
//! A line of OpenAI's (API reference, "The request output object"; Azure leaves out `id`): `{"id", "custom_id", "response": {"status_code", "request_id", "body"},
//! "error"}`; `error` has `code` and `message` where the request was never made (`batch_expired`, `batch_cancelled`). A line of Anthropic's (anthropic 2.12.0,
//! `types/messages/message_batch_individual_response.py`): `{"custom_id", "result": {"type": "succeeded", "message"}}`, or of type `errored` with `error`,
//! `canceled`, `expired`. A line of Gemini's (its guide "Batch API", "Input file"): `{"key", "response"}` or `{"key", "error"}`, and the same with `metadata` in place
//! of `key` where results stand in the batch itself (API reference, `InlinedResponse`). Only those that succeeded are billed (its documentation, "Batch processing": "You will not be billed for these requests").

mod google;

use memchr::{memchr, memmem};
use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_record::{Ending, Name, Outcome, ResultsId, UnknownUsage, UsageSource};

use crate::answer::Answer;
use crate::json;
use crate::shape::Shape;
use google::google;
pub(crate) use google::inlined;

/// Longest line that is read, in bytes.
pub(crate) const LINE_BYTES_MAX: usize = 16 << 20;
/// What is kept of the memory of a long line, in bytes.
const KEPT_BYTES: usize = 256 << 10;
/// Where the id of a result stands at the latest, in a line that is too long to be read.
const HEAD_BYTES: usize = 4 << 10;

/// The tier of everything that a batch uses.
const TIER: &str = "batch";
/// What a result used that may have cost something and was not counted: one of it.
const UNMEASURED: &str = "request";
/// The operation of a result that does not say what it is.
const OPERATION: &str = "batch_result";

/// A result of a batch, as it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToldResult {
    /// What tells it from the other results that are fetched together with it.
    pub key: Box<str>,
    /// OpenTelemetry GenAI operation of the request, or `batch_result`.
    pub operation_name: Name,
    /// How it ended, without times.
    pub ending: Ending,
}

/// Reads results of a batch.
#[derive(Debug)]
pub(crate) struct Lines {
    /// Whether they are told in OpenAI's words; else in Anthropic's.
    file: bool,
    /// What has come of a line.
    line: Vec<u8>,
    /// The line is longer than is read; whether it is a result.
    too_long: Option<bool>,
    /// What comes is no lines of JSON.
    other: bool,
    /// The next line may lack its beginning.
    midway: bool,
    pub(crate) told: Vec<ToldResult>,
    /// Results that could not be read.
    pub(crate) unread: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Line<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    custom_id: Option<&'a RawValue>,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<Told<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Response<'a> {
    status_code: Option<u16>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Told<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// Results that stand in the batch itself.
#[derive(Debug, Default)]
pub(crate) struct Inline {
    pub(crate) told: Vec<ToldResult>,
    /// Results that could not be read.
    pub(crate) unread: u64,
    /// Where the same results are fetched too.
    pub(crate) place: Option<ResultsId>,
}

/// What the body of a result says that it is.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Kind<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow)]
    pages: Option<&'a RawValue>,
    #[serde(borrow)]
    created: Option<&'a RawValue>,
}

// === impl Lines ===

impl Lines {
    /// Reads what is fetched under this id; `midway` if its beginning was not asked for.
    pub(crate) fn new(id: &ResultsId, midway: bool) -> Self {
        Self {
            file: matches!(id, ResultsId::File(_)),
            line: Vec::new(),
            too_long: None,
            other: false,
            midway,
            told: Vec::new(),
            unread: 0,
        }
    }

    /// Takes more of the text.
    pub(crate) fn read(&mut self, mut text: &[u8]) {
        while !self.other && !text.is_empty() {
            let Some(at) = memchr(b'\n', text) else {
                return self.keep(text);
            };
            let (part, rest) = text.split_at(at);
            text = rest.get(1..).unwrap_or_default();
            self.keep_or_end(part);
        }
    }

    /// Reads a last line that has no line end. More may come afterwards.
    pub(crate) fn read_rest(&mut self) {
        let line = std::mem::take(&mut self.line);
        if self.too_long.is_some() || !self.take(&line) {
            self.line = line;
        }
    }

    /// Bytes of memory that it keeps from one frame to the next.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn retained_bytes(&self) -> usize {
        self.line.capacity()
    }

    fn keep_or_end(&mut self, part: &[u8]) {
        let lost = if self.line.is_empty() && self.too_long.is_none() && part.len() <= LINE_BYTES_MAX {
            !self.take(part) && self.is_result(part)
        } else {
            self.keep(part);
            let mut line = std::mem::take(&mut self.line);
            let lost = match self.too_long.take() {
                Some(result) => result,
                None => !self.take(&line) && self.is_result(&line),
            };
            line.clear();
            line.shrink_to(KEPT_BYTES);
            self.line = line;
            lost
        };
        // The beginning of the first line may be missing, if that was not asked for.
        if !std::mem::take(&mut self.midway) && lost {
            self.unread += 1;
        }
    }

    fn keep(&mut self, part: &[u8]) {
        if self.too_long.is_some() {
            return;
        }
        if self.line.len() + part.len() > LINE_BYTES_MAX {
            self.line
                .extend_from_slice(part.get(..HEAD_BYTES.min(part.len())).unwrap_or_default());
            self.too_long = Some(self.is_result(self.line.get(..HEAD_BYTES.min(self.line.len())).unwrap_or_default()));
            self.line = Vec::new();
            return;
        }
        self.line.extend_from_slice(part);
        let start = self.line.trim_ascii_start();
        // Pictures and the like need not be kept in search of a line's end.
        self.other = !self.midway && start.first().is_some_and(|first| *first != b'{');
    }

    /// Whether a line that cannot be read looks like a result.
    fn is_result(&self, line: &[u8]) -> bool {
        let has = |key: &str| memmem::find(line, key.as_bytes()).is_some();
        let id = has("\"custom_id\"") || (self.file && has("\"key\""));
        id && (has("\"response\"") || has("\"result\"") || !self.file)
    }

    /// Reads a line; returns whether it is JSON, or empty.
    fn take(&mut self, line: &[u8]) -> bool {
        let trimmed = line.trim_ascii();
        if trimmed.is_empty() {
            return true;
        }
        let Ok(read) = serde_json::from_slice::<Line<'_>>(trimmed) else {
            self.other = !self.midway && !trimmed.starts_with(b"{");
            return self.other;
        };
        let told = if self.file { told(&read) } else { of_anthropic(&read) };
        self.told.extend(told.map(|told| told.of_bytes(trimmed.len())));
        true
    }
}

// === impl Inline ===

impl Inline {
    /// Takes a result that was read, or could not be.
    pub(crate) fn take(&mut self, told: Option<ToldResult>) {
        match told {
            Some(told) => self.told.push(told),
            None => self.unread = self.unread.saturating_add(1),
        }
    }
}

// === impl ToldResult ===

impl ToldResult {
    fn new(key: String, (operation_name, ending): (&str, Ending)) -> Self {
        Self {
            key: key.into(),
            operation_name: constant(operation_name),
            ending,
        }
    }

    fn of_bytes(mut self, bytes: usize) -> Self {
        self.ending.response_bytes = bytes as u64;
        self
    }
}

/// A result in OpenAI's words, which stands in its batch.
pub(crate) fn openai(raw: &RawValue) -> Option<ToldResult> {
    let read = serde_json::from_str::<Line<'_>>(raw.get()).ok()?;
    told(&read).map(|told| told.of_bytes(raw.get().len()))
}

/// The text of a value, or the value.
fn text(raw: Option<&RawValue>) -> Option<String> {
    let raw = raw.filter(|raw| raw.get() != "null")?;
    Some(json::text(raw).map_or_else(|| raw.get().to_owned(), std::borrow::Cow::into_owned))
}

/// What a line of a file tells, in OpenAI's words or Gemini's.
fn told(read: &Line<'_>) -> Option<ToldResult> {
    let (custom_id, key) = (text(read.custom_id), text(read.key));
    let not_null = |raw: &&RawValue| raw.get() != "null";
    let (answer, error) = (read.response, read.error.filter(not_null));
    match (custom_id, key) {
        (Some(custom_id), _) if answer.is_some() || error.is_some() => {
            // OpenAI's own id tells results apart even where the client's does not.
            let key = format!("{}\n{custom_id}", text(read.id).unwrap_or_default());
            let answer = answer.and_then(|raw| serde_json::from_str(raw.get()).ok());
            Some(ToldResult::new(key, response(answer.unwrap_or_default(), error)))
        }
        (None, Some(key)) => google(read).map(|told| ToldResult::new(key, told)),
        _ => None,
    }
}

fn of_anthropic(read: &Line<'_>) -> Option<ToldResult> {
    let key = text(read.custom_id)?;
    read.result.as_ref().map(|result| ToldResult::new(key, message(result)))
}

fn constant(name: &str) -> Name {
    Name::new(name).expect("a short printable constant")
}

/// A result in OpenAI's words.
fn response(response: Response<'_>, error: Option<&RawValue>) -> (&'static str, Ending) {
    let status = response.status_code;
    let failed = error.is_some() || status.is_some_and(|status| !(200..300).contains(&status));
    let Some(body) = response.body.filter(|body| json::is_object(body)) else {
        let code = error.and_then(|error| json::find(error.get().as_bytes(), &[json::Step::Key("code".into())]));
        let code = json::name(code);
        let outcome = match code.as_ref().map(Name::as_str) {
            Some("batch_expired") => Outcome::Timeout,
            Some("batch_cancelled") => Outcome::ClientAborted,
            _ => Outcome::UpstreamError,
        };
        if !failed {
            // It went well, and what it is cannot be told.
            return (OPERATION, unmeasured(Ending::of(Outcome::Ok), status));
        }
        let ending = Ending {
            status_code: status,
            error_type: code.or_else(|| Name::new("error").ok()),
            ..Ending::of(outcome)
        };
        return (OPERATION, ending);
    };
    let (shape, operation, free) = kind(body);
    let (mut ending, is_told) = read(if failed { Shape::Silent } else { shape }, body);
    ending.status_code = status;
    if failed || ending.error_type.is_some() {
        ending.outcome = Outcome::UpstreamError;
        ending.error_type = ending.error_type.or_else(|| Name::new("error").ok());
    } else if !is_told && !free {
        ending = unmeasured(ending, status);
    }
    (operation, ending)
}

/// A result in Anthropic's words.
fn message(told: &Told<'_>) -> (&'static str, Ending) {
    let failed = |outcome: Outcome, error_type: Option<Name>| {
        let mut ending = Ending::of(outcome);
        ending.error_type = error_type;
        ending
    };
    let kind = told.kind.and_then(json::text).unwrap_or_default();
    let ending = match (&*kind, told.message) {
        ("succeeded", Some(body)) => {
            let (mut ending, is_told) = read(Shape::Message, body);
            ending.status_code = Some(200);
            if is_told { ending } else { unmeasured(ending, Some(200)) }
        }
        ("canceled", _) => failed(Outcome::ClientAborted, Name::new("canceled").ok()),
        ("expired", _) => failed(Outcome::Timeout, Name::new("expired").ok()),
        ("errored", _) => {
            let part = |json: &RawValue, key: &str| -> Option<Box<RawValue>> {
                json::find(json.get().as_bytes(), &[json::Step::Key(key.into())]).map(ToOwned::to_owned)
            };
            // `{"type": "error", "error": {"type", "message"}}`
            let inner = told
                .error
                .and_then(|error| part(error, "error").or_else(|| Some(error.to_owned())));
            let error_type = json::name(inner.and_then(|error| part(&error, "type")).as_deref());
            failed(Outcome::UpstreamError, error_type.or_else(|| Name::new("error").ok()))
        }
        _ => unmeasured(failed(Outcome::Ok, None), None),
    };
    ("chat", ending)
}

/// Reads the answer to a request of a batch; returns whether it tells what it used.
fn read(shape: Shape, body: &RawValue) -> (Ending, bool) {
    let mut answer = Answer::new(shape, false);
    answer.document(body.get().as_bytes());
    let mut ending = Ending::of(Outcome::Ok);
    ending.finish_reason = answer.finish_reason;
    ending.error_type = answer.error_type;
    ending.response_model = answer.response_model;
    ending.usage = answer.usage;
    let is_told = ending.usage.source != UsageSource::None || !ending.usage.unknown.is_empty();
    if is_told {
        ending.usage.service_tier = Some(constant(TIER));
    }
    (ending, is_told)
}

/// One that may have cost something, which nobody told.
fn unmeasured(mut ending: Ending, status: Option<u16>) -> Ending {
    ending.status_code = status;
    ending.usage.service_tier = Some(constant(TIER));
    ending.usage.unknown.push(UnknownUsage {
        field: UNMEASURED.into(),
        quantity: 1,
    });
    ending
}

/// The shape of a body, its operation, and whether it is known to cost nothing.
fn kind(body: &RawValue) -> (Shape, &'static str, bool) {
    let read: Kind<'_> = serde_json::from_str(body.get()).unwrap_or_default();
    let object = read.object.and_then(json::text).unwrap_or_default();
    match &*object {
        "chat.completion" => (Shape::Chat, "chat", false),
        "text_completion" => (Shape::Completion, "text_completion", false),
        "response" => (Shape::Response, "chat", false),
        "list" => (Shape::Embeddings, "embeddings", false),
        _ if read.pages.is_some() => (Shape::Pages, OPERATION, false),
        // Moderations have no `object`, and no price.
        _ if read.id.and_then(json::text).is_some_and(|id| id.starts_with("modr")) => (Shape::Silent, OPERATION, true),
        "" if read.created.is_some() => (Shape::Images, OPERATION, false),
        _ => (Shape::Chat, OPERATION, false),
    }
}

#[cfg(test)]
mod tests;
