//! OpenAI's messages: chat completions, completions, embeddings and responses.
//!
//! How their usage is read is told in [`usage`]; images, speech and transcriptions are read in [`media`].
//!
//! Calls of the provider's own tools are no part of the usage of a response: they are counted among its `output` (litellm 1.106.2,
//! `llm_cost_calc/tool_call_cost_tracking.py`), or told in `tool_usage`. A container that one answer began and a later one uses again is counted in both,
//! since nothing tells. Images that a response's tool generates are billed as calls of another model: they are shown, and have no price here.

use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_record::Name;

use crate::answer::{Answer, unknown};
use crate::json::{self, Leaf};
use crate::peek;

pub(crate) mod media;
mod usage;

pub(crate) use usage::take_usage;

/// How many chunks are parsed in search of the model before the meter gives up: hosts put chunks of their own in front.
const FIRST_LOOKS_MAX: u8 = 8;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Completion<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    service_tier: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    /// Groq reports here, too.
    #[serde(borrow)]
    x_groq: Option<Reporting<'a>>,
    /// `error` where the whole is one (Mistral).
    #[serde(borrow)]
    object: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Reporting<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Choice<'a> {
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
    /// Some hosts (Moonshot) report here.
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Response<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    service_tier: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    incomplete_details: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<Vec<Item<'a>>>,
    #[serde(borrow)]
    tool_usage: Option<&'a RawValue>,
}

/// Calls of the provider's own tools in a response.
#[derive(Debug, Default)]
pub(crate) struct Tools {
    web_searches: u64,
    file_searches: u64,
    images: u64,
    /// Containers that ran code, each once.
    containers: Vec<Name>,
}

/// Most containers of one answer that are told apart.
const CONTAINERS_MAX: usize = 64;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Item<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    action: Option<&'a RawValue>,
    #[serde(borrow)]
    container_id: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<Response<'a>>,
    #[serde(borrow)]
    item: Option<Item<'a>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    code: Option<&'a RawValue>,
}

/// A completion, or an embedding.
pub(crate) fn completion(answer: &mut Answer, document: &[u8]) -> bool {
    read_completion(answer, document).is_some()
}

/// A chunk of a streamed completion; returns whether it is the one that only reports usage.
pub(crate) fn chunk(answer: &mut Answer, data: &[u8]) -> bool {
    if data.trim_ascii() == b"[DONE]" {
        answer.terminal = true;
        return false;
    }
    let first = answer.response_model.is_none() && answer.first_looks < FIRST_LOOKS_MAX;
    if first {
        answer.first_looks += 1;
    } else if peek::OF_COMPLETION.with_values(data) == 0 {
        return false;
    }
    read_completion(answer, data).unwrap_or_default()
}

/// Returns whether there are no choices but usage; `None` if it is no JSON object.
fn read_completion(answer: &mut Answer, document: &[u8]) -> Option<bool> {
    let Ok(read) = serde_json::from_slice::<Completion<'_>>(document) else {
        // Of an unusual document at least the usage is read.
        let usage = json::find(document, &[json::Step::Key("usage".into())])?;
        take_usage(answer, usage);
        return Some(false);
    };
    answer.take_model(read.model);
    if let Some(error) = read.error {
        answer.take_error(error);
    } else if read.object.is_some_and(|object| object.get() == "\"error\"")
        && let Ok(error) = serde_json::from_slice(document)
    {
        answer.take_error(error);
    }
    take_tier(answer, read.service_tier);
    let choices = read.choices.as_deref();
    if let Some(reason) = choices.and_then(|choices| choices.iter().find_map(|choice| json::name(choice.finish_reason))) {
        answer.finish_reason = Some(reason);
    }
    let usage = read
        .usage
        .or_else(|| choices?.iter().find_map(|choice| choice.usage))
        .or_else(|| read.x_groq?.usage);
    if let Some(usage) = usage {
        take_usage(answer, usage);
    }
    Some(choices.is_some_and(<[_]>::is_empty) && usage.is_some_and(json::is_object))
}

/// A response.
pub(crate) fn response(answer: &mut Answer, document: &[u8]) -> bool {
    match serde_json::from_slice(document) {
        Ok(response) => {
            take_response(answer, &response);
            true
        }
        Err(_) => {
            let usage = json::find(document, &[json::Step::Key("usage".into())]);
            usage.is_some_and(|usage| take_usage(answer, usage))
        }
    }
}

/// An event of a streamed response.
pub(crate) fn event(answer: &mut Answer, data: &[u8]) {
    // Where `type` is not the first key, the first one that is found is that of an item, and the event is parsed.
    match peek::leading_type(data).or_else(|| peek::TYPE.first_text(data)) {
        Some(kind) if ends_response(kind) => {}
        Some(b"response.created" | b"response.in_progress" | b"response.queued") if answer.response_model.is_none() => {}
        Some(b"response.output_item.done") if peek::TOOL_CALLS.iter().any(|call| call.is_in(data)) => {}
        Some(kind) if kind.starts_with(b"response.") => return,
        _ => {}
    }
    let Ok(event) = serde_json::from_slice::<Event<'_>>(data) else {
        read_unusual(answer, data);
        return;
    };
    let kind = event.kind.and_then(json::text).unwrap_or_default();
    if let Some(response) = &event.response {
        take_response(answer, response);
    }
    match (&*kind, &event.item) {
        ("response.output_item.done", Some(item)) => {
            answer.tools.add(item);
            answer.compose_tools();
        }
        ("error", _) => {
            // {"type": "error", "code", "message"}, or wrapped as {"type": "error", "error": {..}}.
            match (event.error, event.code) {
                (Some(error), _) => answer.take_error(error),
                (None, code) => answer.error_type = json::name(code).or_else(|| Name::new("error").ok()),
            }
        }
        _ => {}
    }
    answer.terminal |= ends_response(kind.as_bytes());
}

fn read_unusual(answer: &mut Answer, data: &[u8]) {
    let key = |key: &str| json::Step::Key(key.into());
    if let Some(usage) = json::find(data, &[key("response"), key("usage")]) {
        take_usage(answer, usage);
    }
    let kind = json::find(data, &[key("type")]).and_then(json::text);
    answer.terminal |= kind.is_some_and(|kind| ends_response(kind.as_bytes()));
}

/// Whether an event is the last of a streamed response.
pub(crate) fn ends_response(kind: &[u8]) -> bool {
    matches!(kind, b"response.completed" | b"response.incomplete" | b"response.failed")
}

fn take_response(answer: &mut Answer, response: &Response<'_>) {
    answer.take_model(response.model);
    take_tier(answer, response.service_tier);
    if let Some(error) = response.error {
        answer.take_error(error);
    }
    let status = json::name(response.status).filter(|status| !matches!(status.as_str(), "in_progress" | "queued"));
    let reason = response.incomplete_details.and_then(|details| {
        let reason = json::find(details.get().as_bytes(), &[json::Step::Key("reason".into())]);
        json::name(reason)
    });
    if let Some(reason) = reason.or(status) {
        answer.finish_reason = Some(reason);
    }
    if let Some(usage) = response.usage {
        take_usage(answer, usage);
    }
    // The whole output, or none of it yet.
    if let Some(output) = response.output.as_ref().filter(|output| !output.is_empty()) {
        answer.tools = Tools::default();
        output.iter().for_each(|item| answer.tools.add(item));
    }
    let mut others = Vec::new();
    if let Some(told) = response.tool_usage {
        json::leaves(told, |path, leaf| match (path, leaf) {
            ("web_search.num_requests", Leaf::Count(count)) => answer.tools.web_searches = count,
            (path, Leaf::Count(count)) => unknown(&mut others, &format!("tool_usage.{path}"), count),
            (_, Leaf::Text(_)) => {}
        });
    }
    answer.compose_tools();
    for field in others {
        unknown(&mut answer.usage.unknown, &field.field, field.quantity);
    }
}

/// Whether a call of the web's search is billed: the tool's other actions (`open_page`, `find_in_page`) are steps within a search.
fn is_search(item: &Item<'_>) -> bool {
    let action = item
        .action
        .and_then(|action| json::find(action.get().as_bytes(), &[json::Step::Key("type".into())]));
    action.is_none_or(|action| action.get() == "\"search\"")
}

/// The tier that was used; requests for `fast` are answered with `priority`, and both are one tier (`types/responses/response.py`).
fn take_tier(answer: &mut Answer, tier: Option<&RawValue>) {
    if let Some(tier) = tier.and_then(json::text) {
        answer.usage.service_tier = match &*tier {
            "default" | "standard" | "auto" => None,
            "fast" => Name::new("priority").ok(),
            tier => Name::new(tier).ok(),
        };
    }
}

// === impl Tools ===

impl Tools {
    fn add(&mut self, item: &Item<'_>) {
        let kind = item.kind.and_then(json::text);
        let count = match kind.as_deref() {
            Some("web_search_call") if is_search(item) => &mut self.web_searches,
            Some("file_search_call") => &mut self.file_searches,
            Some("image_generation_call") => &mut self.images,
            Some("code_interpreter_call") => {
                let container = json::name(item.container_id).filter(|id| !self.containers.contains(id));
                self.containers
                    .extend(container.filter(|_| self.containers.len() < CONTAINERS_MAX));
                return;
            }
            _ => return,
        };
        *count = count.saturating_add(1);
    }
}

// === impl Answer ===

impl Answer {
    fn compose_tools(&mut self) {
        let Self { tools, usage, .. } = self;
        let some = |count: u64| (count > 0).then_some(count);
        usage.web_search = some(tools.web_searches);
        usage.file_search = some(tools.file_searches);
        usage.code_interpreter = some(tools.containers.len() as u64);
        if tools.images > 0 {
            unknown(&mut usage.unknown, "image_generation_call", tools.images);
        }
    }
}
