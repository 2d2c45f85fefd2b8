//! The meter beside an answer's body: what goes to the client, and what the answer used.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use tollgate_record::{Decision, Name, ResultsId, UnknownUsage, Usage, UsageSource};

use crate::answer::Answer;
use crate::collect::{Collector, NUMBERS_BYTES_MAX, WHOLE_BYTES_MAX};
use crate::decode::{Coding, Decoder};
use crate::reader::{Mode, Reader};
use crate::results::{Lines, ToldResult};
use crate::shape::Shape;
use crate::sse::Splitter;
use crate::{Codec, Endpoint, Request, elements, estimate, frames};

/// Longest error that is read of an endpoint without usage, in bytes.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// What an answer used that may have cost something and was not counted: one of it.
const UNMEASURED: &str = "request";

/// Results of a batch that passed and could not be read: at least so many.
const UNREAD_RESULTS: &str = "unread_batch_results";

/// What to do with one frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Bytes to send now; may be empty.
    pub bytes: Bytes,
    /// The terminal event of the stream is in these bytes or before them: hold them until the call is settled. Once true, it stays true.
    pub ended: bool,
}

/// How the body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its transport ended cleanly.
    Complete,
    /// The upstream broke off.
    Cut,
    /// The client left.
    Aborted,
}

/// What an answer was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metered {
    /// What was used.
    pub usage: Usage,
    /// Model that answered.
    pub response_model: Option<Name>,
    /// Why the model stopped.
    pub finish_reason: Option<Name>,
    /// The provider's type or code of the error.
    pub error_type: Option<Name>,
    /// What the answer told of a batch.
    pub decisions: Vec<Decision>,
    /// Whether the answer is whole: a stream without its terminal event is not, even if its transport ended cleanly; one whose terminal
    /// event came is, even if the client left after it.
    pub complete: bool,
}

/// Reads an answer beside its way to the client.
#[derive(Debug)]
pub struct Meter {
    body: Decoder<Reader>,
    /// The decompressor has failed, or there is none: what comes is no longer read.
    unreadable: bool,
    /// Bytes that have come, as they came.
    bytes: u64,
    /// Usage that is not reported is to be estimated.
    estimates: bool,
    /// The answer may cost something that is neither reported nor to be estimated.
    unmeasured: bool,
    /// Results of a batch may stand in the answer.
    may_have_results: bool,
    request_model: Option<Name>,
    request_body: Bytes,
}

// === impl Meter ===

impl Meter {
    /// A meter for the answer with this head.
    pub fn new(codec: &Codec, endpoint: &Endpoint, request: &Request, request_body: Bytes, head: &http::response::Parts) -> Self {
        let mut meter = Self::with_head(endpoint, request, request_body, head.status, &head.headers);
        let usage = &mut meter.body.reader_mut().answer.usage;
        usage.remaining = usage.remaining.or_else(|| codec.remaining_tokens(&head.headers));
        meter
    }

    /// A meter for a call whose answer never began: its input is estimated, its output unknown.
    pub fn unanswered(endpoint: &Endpoint, request: &Request, request_body: Bytes) -> Self {
        Self::with_head(endpoint, request, request_body, StatusCode::OK, &HeaderMap::new())
    }

    fn with_head(endpoint: &Endpoint, request: &Request, request_body: Bytes, status: StatusCode, headers: &HeaderMap) -> Self {
        let coding = Coding::of(headers);
        let shape = endpoint.shape.clone();
        let mode = mode(endpoint, status, headers);
        let removes_usage = request.edits_stream() && coding == Coding::Identity && matches!(mode, Mode::Events(_));
        let estimates = endpoint.bears_usage && status.is_success() && !matches!(mode, Mode::Opaque) && {
            // A template's endpoints are not known by name: only those that name a model use tokens.
            !matches!(shape, Shape::Template(_)) || request.model.is_some()
        };
        let unmeasured = !estimates && status.is_success() && (endpoint.may_cost || endpoint.bears_usage);
        let mut answer = Answer::new(shape, removes_usage);
        answer.request_model.clone_from(&request.model);
        answer.annotates = request.annotates;
        if let Some(characters) = request.characters.filter(|_| status.is_success()) {
            // Counted here: nobody reports them.
            answer.usage.characters = Some(characters);
            answer.usage.source = UsageSource::Estimated;
        }
        answer.head(headers);
        if let Shape::Template(places) = &endpoint.shape {
            answer.described_head(places, headers);
        }
        if answer.response_model.is_none() {
            answer.response_model = request.answer_model.clone();
        }
        let keeps = estimates && answer.shape.has_output();
        let mut unreadable = coding == Coding::Unknown;
        let body = Decoder::new(coding, Reader::new(answer, mode, keeps));
        let body = body.unwrap_or_else(|_| {
            // Only the memory of a decompressor can be missing.
            unreadable = true;
            Decoder::Plain(Reader::new(Answer::new(endpoint.shape.clone(), false), Mode::Opaque, false))
        });
        Self {
            body,
            unreadable,
            bytes: 0,
            estimates,
            unmeasured,
            may_have_results: endpoint.results.is_some() && status.is_success(),
            request_model: request.model.clone(),
            request_body,
        }
    }

    /// Takes a frame of the body; what is returned goes to the client.
    pub fn frame(&mut self, frame: Bytes) -> Step {
        self.bytes = self.bytes.saturating_add(frame.len() as u64);
        let bytes = match &mut self.body {
            _ if self.unreadable => frame,
            Decoder::Plain(reader) => reader.pass(frame),
            coded => {
                self.unreadable = coded.push(&frame).is_err();
                frame
            }
        };
        Step {
            bytes,
            ended: self.body.reader().answer.terminal,
        }
    }

    /// Bytes that are still held at the end of the body. To be called when no more frames come, before what was metered is asked for.
    pub fn finish(&mut self) -> Bytes {
        self.body.reader_mut().rest()
    }

    /// What is known so far; of a JSON answer nothing before [`Self::finish`].
    pub fn usage_so_far(&self) -> &Usage {
        &self.body.reader().answer.usage
    }

    /// Takes the results of a batch that have come since this was asked last; to be asked after each frame, and after [`Self::finish`].
    pub fn take_results(&mut self) -> Vec<ToldResult> {
        let reader = self.body.reader_mut();
        match &mut reader.mode {
            Mode::Lines(lines) => std::mem::take(&mut lines.told),
            _ => std::mem::take(&mut reader.answer.results.told),
        }
    }

    /// What the results that have come are called where they are fetched otherwise than as the call did, so that they are known there.
    pub fn results_place(&self) -> Option<&ResultsId> {
        self.body.reader().answer.results.place.as_ref()
    }

    /// Results of a batch that have come and could not be read.
    fn unread_results(&self) -> u64 {
        match &self.body.reader().mode {
            Mode::Lines(_) if self.unreadable => 1,
            Mode::Lines(lines) => lines.unread,
            // A batch that is larger than is read has results in it.
            Mode::Document(collector) if self.may_have_results && !collector.is_whole() => 1,
            _ => self.body.reader().answer.results.unread,
        }
    }

    /// Whether [`Self::metered`] would have to count tokens, which takes milliseconds, and at first a second for loading a vocabulary.
    pub fn needs_estimate(&self) -> bool {
        let usage = self.usage_so_far();
        self.estimates && !is_told_otherwise(usage) && (usage.input.is_none() || self.misses_output())
    }

    /// What the answer was, by what has come so far.
    pub fn metered(&mut self, how: End) -> Metered {
        if !self.unreadable {
            self.body.reader_mut().read_all();
        }
        let whole = if self.unreadable {
            None
        } else {
            self.body.reader().is_whole()
        };
        let complete = whole.unwrap_or(how == End::Complete);
        let mut usage = self.usage_so_far().clone();
        if self.estimates {
            self.estimate(&mut usage, complete);
        } else if self.unmeasured && usage.source == UsageSource::None {
            // An answer that may have a price must not look free.
            usage.unknown.push(UnknownUsage {
                field: UNMEASURED.into(),
                quantity: 1,
            });
        }
        let unread = self.unread_results();
        if unread > 0 {
            usage.unknown.push(UnknownUsage {
                field: UNREAD_RESULTS.into(),
                quantity: unread,
            });
        }
        let answer = &self.body.reader().answer;
        Metered {
            usage,
            response_model: answer.response_model.clone(),
            finish_reason: answer.finish_reason.clone(),
            error_type: answer.error_type.clone(),
            decisions: answer.decisions.clone(),
            complete,
        }
    }

    /// What it reads with, unless the body cannot be read.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn reader(&mut self) -> Option<&mut Reader> {
        (!self.unreadable).then(|| self.body.reader_mut())
    }

    fn misses_output(&self) -> bool {
        let answer = &self.body.reader().answer;
        answer.shape.has_output() && !answer.output_is_final
    }

    /// Puts estimates where nothing was reported. What was reported stays, except that a placeholder for the output gives way to a larger estimate.
    fn estimate(&mut self, usage: &mut Usage, complete: bool) {
        if is_told_otherwise(usage) {
            return;
        }
        let answer = &self.body.reader().answer;
        let model = answer.response_model.as_ref().or(self.request_model.as_ref()).cloned();
        let model = model.as_ref().map(Name::as_str);
        let (total, failed) = (answer.total, answer.error_type.is_some());
        // A count that was reported while the answer went on is not the last word, unless the model had said why it stopped.
        let unfinished = !complete && answer.finish_reason.is_none();
        let misses_output = self.misses_output();
        let output = if !misses_output {
            None
        } else if self.unreadable {
            Some(estimate::unread(self.bytes))
        } else {
            self.body.reader_mut().estimated_output(model)
        };
        if failed && !usage.is_known() && output.unwrap_or_default() == 0 {
            return;
        }
        let misses_input = usage.input.is_none();
        if misses_input {
            let input = estimate::input(model, &self.body.reader().answer.shape, &self.request_body);
            usage.input = Some(total.map_or(input, |total| input.min(total)));
        }
        if misses_output {
            let from_total = total.map(|total| total.saturating_sub(usage.input.unwrap_or_default()));
            usage.output = from_total.or(usage.output.max(output));
        }
        if misses_input || misses_output || unfinished {
            usage.source = UsageSource::Estimated;
        }
    }
}

/// Whether what was used is known, and is no tokens: images, say.
fn is_told_otherwise(usage: &Usage) -> bool {
    usage.is_known() && usage.input.is_none() && usage.output.is_none()
}

/// What an answer with this head is read as: a stream is known by its content type, not by the request's wish.
fn mode(endpoint: &Endpoint, status: StatusCode, headers: &HeaderMap) -> Mode {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media = content_type
        .unwrap_or("application/json")
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let is_error = !status.is_success();
    if !endpoint.is_read() && !is_error {
        Mode::Opaque
    } else if let (Some(id), Shape::Results, false) = (&endpoint.results, &endpoint.shape, is_error) {
        Mode::Lines(Lines::new(id, status == StatusCode::PARTIAL_CONTENT))
    } else if media == "text/event-stream" {
        Mode::Events(Splitter::default())
    } else if media == "application/vnd.amazon.eventstream" && matches!(endpoint.shape, Shape::Converse | Shape::Invocation { .. })
    {
        Mode::Frames(frames::Splitter::default())
    } else if media == "application/json" || media.ends_with("+json") {
        if endpoint.streams && matches!(endpoint.shape, Shape::Content) {
            return Mode::Elements(elements::Splitter::default());
        }
        Mode::Document(Collector::new(match endpoint.shape {
            _ if !endpoint.is_read() => ERROR_BYTES_MAX,
            Shape::Embeddings | Shape::ContentEmbeddings => NUMBERS_BYTES_MAX,
            _ => WHOLE_BYTES_MAX,
        }))
    } else {
        Mode::Opaque
    }
}

#[cfg(test)]
mod tests;
