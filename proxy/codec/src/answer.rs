//! What is known of one answer so far; the dialects fill it in.

use serde_json::value::RawValue;
use tollgate_record::{Decision, Name, UnknownUsage, Usage, UsageSource};

use crate::anthropic::Counts;
use crate::results::Inline;
use crate::shape::Shape;
use crate::sse::Listener;
use crate::template::{Places, Sources};
use crate::{anthropic, batch, bedrock, cohere, frames, gemini, json, mistral, openai, peek, work};

/// Facts of one answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) shape: Shape,
    pub(crate) usage: Usage,
    pub(crate) response_model: Option<Name>,
    pub(crate) finish_reason: Option<Name>,
    pub(crate) error_type: Option<Name>,
    /// The last event of the stream has come.
    pub(crate) terminal: bool,
    /// The output count is more than a placeholder.
    pub(crate) output_is_final: bool,
    /// The chunk that only reports usage is to be taken out.
    pub(crate) removes_usage: bool,
    /// Chunks that were parsed in search of the model.
    pub(crate) first_looks: u8,
    /// Anthropic's counts as they were told, and those of others who put cached tokens beside the input.
    pub(crate) anthropic: Counts,
    /// Gemini's counts as they were told.
    pub(crate) gemini: gemini::Told,
    /// Calls of OpenAI's own tools.
    pub(crate) tools: openai::Tools,
    /// The request asks for annotations of the pages that are read.
    pub(crate) annotates: bool,
    /// What a chunk of Bedrock's had coded in it.
    pub(crate) decoded: Vec<u8>,
    /// Model that was asked for.
    pub(crate) request_model: Option<Name>,
    /// What it tells of a batch.
    pub(crate) decisions: Vec<Decision>,
    /// Results that stand in a batch.
    pub(crate) results: Inline,
    /// Input and output together, where a template's provider tells no more.
    pub(crate) total: Option<u64>,
}

/// Notes a field that no codec knows; later values replace earlier ones, zeros and what exceeds the record's limit are not kept.
pub(crate) fn unknown(fields: &mut Vec<UnknownUsage>, path: &str, quantity: u64) {
    work::look_at(path.len());
    if let Some(field) = fields.iter_mut().find(|field| *field.field == *path) {
        field.quantity = quantity;
    } else if quantity > 0 && fields.len() < Usage::MAX_UNKNOWN {
        fields.push(UnknownUsage {
            field: path.into(),
            quantity,
        });
    }
    fields.retain(|field| field.quantity > 0);
}

// === impl Answer ===

impl Answer {
    pub(crate) fn new(shape: Shape, removes_usage: bool) -> Self {
        Self {
            shape,
            usage: Usage::default(),
            response_model: None,
            finish_reason: None,
            error_type: None,
            terminal: false,
            output_is_final: false,
            removes_usage,
            first_looks: 0,
            anthropic: Counts::default(),
            gemini: gemini::Told::default(),
            tools: openai::Tools::default(),
            annotates: false,
            decoded: Vec::new(),
            request_model: None,
            decisions: Vec::new(),
            results: Inline::default(),
            total: None,
        }
    }

    /// Bytes of memory that grow with what is read.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn retained_bytes(&self) -> usize {
        let unknown = self
            .usage
            .unknown
            .iter()
            .chain(self.anthropic.unknown())
            .chain(self.gemini.unknown());
        let fields: usize = unknown.map(|field| size_of::<UnknownUsage>() + field.field.len()).sum();
        fields + self.decoded.capacity() + self.gemini.pending_bytes()
    }

    /// Reads a whole JSON answer; returns whether it is JSON.
    pub(crate) fn document(&mut self, document: &[u8]) -> bool {
        work::look_at(document.len());
        match self.shape.clone() {
            Shape::Chat | Shape::Completion | Shape::Embeddings => openai::completion(self, document),
            Shape::Response => openai::response(self, document),
            Shape::Message => anthropic::message(self, document),
            Shape::Content => gemini::content(self, document),
            Shape::ContentEmbeddings => gemini::embeddings(self, document),
            Shape::Prediction => {
                let model = self.request_model.clone();
                gemini::predictions(self, document, model.as_ref().map(Name::as_str))
            }
            Shape::Images => openai::media::images(self, document),
            Shape::Transcription => openai::media::transcription(self, document),
            Shape::Pages => mistral::pages(self, document, self.annotates),
            Shape::Units { .. } => cohere::answer(self, document),
            Shape::Converse => bedrock::conversation(self, document),
            Shape::Invocation { .. } => bedrock::invocation(self, document),
            Shape::Template(places) => {
                self.described(&places, document);
                self.find_error(document);
                serde_json::from_slice::<serde::de::IgnoredAny>(document).is_ok()
            }
            Shape::Batch { submits } => {
                self.find_error(document);
                batch::object(self, document, submits)
            }
            Shape::Speech | Shape::Results | Shape::Silent => {
                self.find_error(document);
                true
            }
        }
    }

    /// Looks for usage and model in an answer of which only the beginning and the end are known.
    pub(crate) fn edges(&mut self, start: &[u8], end: &[u8]) {
        self.take_model(peek::MODEL.last_value(end));
        if self.response_model.is_none() {
            self.response_model = peek::MODEL
                .first_text(start)
                .and_then(|text| Name::new(std::str::from_utf8(text).ok()?).ok());
        }
        if matches!(self.shape, Shape::Content | Shape::ContentEmbeddings) {
            self.take_model(peek::MODEL_VERSION.last_value(end));
            if let Some(usage) = peek::USAGE_METADATA.last_value(end) {
                gemini::take_usage(self, usage);
            }
            return;
        }
        let Some(usage) = peek::USAGE.last_value(end) else { return };
        match self.shape {
            Shape::Chat | Shape::Completion | Shape::Embeddings | Shape::Response | Shape::Images | Shape::Transcription => {
                openai::take_usage(self, usage);
            }
            Shape::Message => {
                anthropic::take_usage(self, usage);
                self.output_is_final |= self.usage.output.is_some();
            }
            _ => {}
        }
    }

    /// Reads what an answer's head tells.
    pub(crate) fn head(&mut self, headers: &http::HeaderMap) {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        if let (Shape::Content | Shape::ContentEmbeddings, Some(tier)) = (&self.shape, text("x-gemini-service-tier")) {
            self.take_gemini_tier(tier);
        }
        if let Shape::Converse | Shape::Invocation { .. } = self.shape {
            self.take_bedrock_head(headers);
        }
    }

    /// Reads a message of a stream of AWS's; returns what it says in JSON.
    pub(crate) fn frame<'a>(&'a mut self, message: frames::Message<'a>) -> &'a [u8] {
        work::look_at(message.payload.len());
        bedrock::message(self, message);
        if message.name == b"chunk" {
            &self.decoded
        } else {
            message.payload
        }
    }

    /// Reads what was put off until nothing more comes.
    pub(crate) fn read_pending(&mut self) {
        if matches!(self.shape, Shape::Content) {
            gemini::read_pending(self);
        }
    }

    /// Reads an object of a stream that is a JSON array.
    pub(crate) fn element(&mut self, element: &[u8]) {
        work::look_at(element.len());
        gemini::chunk(self, element);
    }

    pub(crate) fn take_model(&mut self, model: Option<&RawValue>) {
        if let Some(model) = model.and_then(json::text)
            && self.response_model.as_ref().is_none_or(|known| known.as_str() != model)
            && let Ok(model) = Name::new(&model)
        {
            self.response_model = Some(model);
        }
    }

    /// Takes the type of an error, or else its code; an error without either is an `error`.
    pub(crate) fn take_error(&mut self, error: &RawValue) {
        let part = |key: &str| json::find(error.get().as_bytes(), &[json::Step::Key(key.into())]);
        let name = |key: &str| match json::name(part(key)) {
            None => part(key)
                .filter(|raw| raw.get().starts_with(|first: char| first.is_ascii_digit()))
                .and_then(|raw| Name::new(raw.get()).ok()),
            some => some,
        };
        self.error_type = name("type").or_else(|| name("code")).or_else(|| Name::new("error").ok());
    }

    /// Takes the status of an error (`RESOURCE_EXHAUSTED`), or else its code: Google's shape (AIP-193).
    pub(crate) fn take_google_error(&mut self, error: &RawValue) {
        let status = json::find(error.get().as_bytes(), &[json::Step::Key("status".into())]);
        match json::name(status) {
            Some(status) => self.error_type = Some(status),
            None => self.take_error(error),
        }
    }

    fn find_error(&mut self, document: &[u8]) {
        let error = json::find(document, &[json::Step::Key("error".into())]).filter(|raw| raw.get() != "null");
        if let Some(error) = error {
            self.take_error(error);
        }
    }

    /// Reads a payload as a template says: what it tells replaces what was told before.
    fn described(&mut self, places: &Places, payload: &[u8]) {
        let sources = Sources {
            path: "",
            query: "",
            headers: &http::HeaderMap::new(),
            payload,
        };
        let count = |place: &Option<_>| {
            let place: &std::sync::Arc<crate::template::Place> = place.as_ref()?;
            place.is_payload().then(|| place.count(&sources)).flatten()
        };
        let usage = &mut self.usage;
        usage.input = count(&places.prompt_tokens).or(usage.input);
        usage.output = count(&places.completion_tokens).or(usage.output);
        usage.remaining = count(&places.remaining_tokens).or(usage.remaining);
        self.total = count(&places.total_tokens).or(self.total);
        if let Some(place) = places.response_model.as_ref().filter(|place| place.is_payload())
            && let Some(model) = place.text(&sources).and_then(|text| Name::new(&text).ok())
        {
            self.response_model = Some(model);
        }
        self.settle_total(places);
    }

    /// Reads what a template finds in the answer's head.
    pub(crate) fn described_head(&mut self, places: &Places, headers: &http::HeaderMap) {
        let sources = Sources {
            path: "",
            query: "",
            headers,
            payload: b"",
        };
        let count = |place: &Option<std::sync::Arc<_>>| {
            let place: &crate::template::Place = place.as_deref()?;
            (!place.is_payload()).then(|| place.count(&sources)).flatten()
        };
        self.usage.input = count(&places.prompt_tokens);
        self.usage.output = count(&places.completion_tokens);
        self.usage.remaining = count(&places.remaining_tokens);
        self.total = count(&places.total_tokens);
        if let Some(place) = places
            .response_model
            .as_ref()
            .filter(|place| !place.is_payload() && !place.is_of_request())
        {
            self.response_model = place.text(&sources).and_then(|text| Name::new(&text).ok());
        }
        self.settle_total(places);
    }

    /// Output is what a total holds besides the input, where a template does not say where output is told.
    fn settle_total(&mut self, places: &Places) {
        let usage = &mut self.usage;
        if places.completion_tokens.is_none()
            && let (Some(total), Some(input)) = (self.total, usage.input)
        {
            usage.output = Some(total.saturating_sub(input));
        }
        self.output_is_final = usage.output.is_some();
        usage.source = if usage.is_known() {
            UsageSource::Reported
        } else {
            UsageSource::None
        };
    }
}

impl Listener for Answer {
    fn data(&mut self, data: &[u8], named_error: bool) -> bool {
        work::look_at(data.len());
        let mut remove = false;
        match &self.shape {
            Shape::Chat | Shape::Completion => remove = openai::chunk(self, data) && self.removes_usage && !self.terminal,
            Shape::Response => openai::event(self, data),
            Shape::Message => anthropic::event(self, data),
            Shape::Content => gemini::chunk(self, data),
            Shape::Images | Shape::Speech | Shape::Transcription => openai::media::event(self, data),
            Shape::Units { .. } => cohere::event(self, data),
            Shape::Template(places) => {
                if data.trim_ascii() == b"[DONE]" {
                    self.terminal = true;
                } else if places.may_tell(data) {
                    let places = places.clone();
                    self.described(&places, data);
                }
                if peek::ERROR.has_value_in(data) {
                    self.find_error(data);
                }
            }
            _ => {}
        }
        if named_error && self.error_type.is_none() {
            self.error_type = Name::new("error").ok();
        }
        remove
    }

    fn too_long(&mut self, start: &[u8]) {
        if matches!(self.shape, Shape::Response) {
            self.terminal |= peek::TYPE.first_text(start).is_some_and(openai::ends_response);
        }
    }
}
