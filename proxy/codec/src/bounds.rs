//! The most that a call can use, told by its request alone: what budgets set aside before the upstream is asked.
//!
//! # Input
//! 1. Every token of a text stands for at least one byte of it, so that a text has at most as many tokens as bytes: vocabularies of bytes (OpenAI,
//!    Anthropic, Llama 3) and those that fall back to bytes (Gemini, Mistral, Llama 2) cut a text and never lengthen it.
//! 2. JSON only lengthens a text: `\n` is two bytes for one, `\uXXXX` six bytes for at most three, a pair of them twelve for four. So the bytes of the
//!    body bound the tokens of all its texts, and what the body has besides (names of members, quotes, brackets) covers what providers put around each
//!    message and each tool: a message has 20 bytes of JSON around its text at the least, and costs some 5 tokens (OpenAI cookbook, "How to count tokens
//!    with tiktoken": 3, and 1 for a name; Llama 3's template: 5). Texts that are sent as lists of tokens have a byte at least for each.
//! 3. Besides, [`REQUEST_TOKENS`] for what providers put in front of a conversation (the system message of OpenAI's harmony format, Llama's with the date);
//!    [`TOOLS_TOKENS`] where there are tools or a schema for the answer (Anthropic's system prompt for the use of tools: at most 530, its documentation
//!    "Tool use", "Pricing"); [`OWN_TOOL_TOKENS`] for each tool that the provider describes itself (the same page: computer use 735 and 499, text editor 700).
//! 4. What is no text, or stands elsewhere, leaves the input open, and the model's context window is the bound: images, sound, video and files, inside the
//!    request or by URL or id; answers and conversations that the provider keeps (`previous_response_id`, `conversation`, `cachedContent`), prompts by id;
//!    members of `type` that no list here knows; tools that the provider runs, whose results the model reads. So does a body that cannot be read.
//!    Members that are text for certain (schemas, arguments of calls, metadata) are not looked into.
//! 5. After each call of a tool that the provider runs, the model reads everything again, and the provider reports the sum. [`Bounds::passes`] is one more than
//!    the calls; at Anthropic 11 at most (documentation, "Server tools": ten iterations of a request); at Google 2, where what tools found is told apart and
//!    once (`toolUsePromptTokenCount`).
//!
//! # Output
//! 6. A limit counts where the provider is known to read it, by the table that defaults are written by; of repeated and of several ones the largest. What is no plain
//!    number above zero, whatever a parser may make of it, is no limit; nor is one of which an upstream might take another (a repeated `null`, another case).
//!    `max_completion_tokens`, `max_output_tokens`, Anthropic's `max_tokens` and Gemini's `maxOutputTokens` include reasoning (their references; for Gemini,
//!    python-genai issue 2062). Anthropic's thinking with a budget beyond `max_tokens` is not held by it (documentation, "Interleaved thinking"), and rejected
//!    predictions of OpenAI's are billed beside (its guide to predicted outputs): with either there is no limit.
//! 7. Bodies of Bedrock's invocations have the limit of the model's vendor: AWS's documentation, "Inference request parameters".
//! 8. Answers are `n`, `best_of` if that is more, `candidateCount`, `num_generations`, `numResults`, times the prompts of a legacy completion. What is no plain number above zero is
//!    [`ANSWERS_MAX`].
//!
//! # The rest
//! 9. Images: `n`, or at Vertex AI `sampleCount`, 4 if it says nothing (its reference of Imagen); [`IMAGES_MAX`] where the number cannot be read. An image of OpenAI's has at most
//!    [`IMAGE_TOKENS`] output tokens in the sizes that its guide lists (6,240 of gpt-image-1 at high quality, 100 for each of three partial images); of other sizes the output is open.
//! 10. Seconds of sound: bytes at [`SOUND_BYTES_PER_SECOND`], Opus's lowest rate (RFC 6716, 6 kbit/s). A file made of silence by a lossless codec can be longer: what bills by the second
//!     may exceed this bound by such a file. Sound by URL is [`FILE_BYTES_MAX`] long.
//! 11. Pages: those that are asked for, else [`PAGES_MAX`] (Mistral's documentation of OCR: a document has 1,000 pages at most).
//! 12. Calls of tools that the provider runs: `max_uses` of each, or all `max_tool_calls` together; [`TOOL_CALLS_MAX`] of each where nothing limits them: providers document no number.
//!     Cohere's search units: one for 100 documents, where each 500 tokens of one count (its page of prices).
//! 13. Endpoints whose answers tell no usage use nothing: lists of models, counts of tokens, moderations, files. Batches are priced result by result, when their results are fetched; a
//!     submission says so ([`Bounds::later`]).
//!     A template's provider may have words of its own: its input is open, and its output has no limit.

mod counted;
mod limit;
mod names;
#[cfg(test)]
mod tests;
mod walk;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use tollgate_record::admission::Bounds;

use crate::defaults::{Limit, takes_model};
use crate::shape::Shape;
use crate::{Codec, Endpoint, Request, form};
use walk::Seen;

/// Tokens that a provider puts in front of a conversation.
const REQUEST_TOKENS: u64 = 256;
/// Tokens that it adds where there are tools, or a schema for the answer.
const TOOLS_TOKENS: u64 = 1024;
/// Tokens of a tool that it describes itself.
const OWN_TOOL_TOKENS: u64 = 1536;
/// Answers where their number cannot be read: the most that OpenAI gives (its reference of chat completions, `n`).
const ANSWERS_MAX: u64 = 128;
/// Images where their number cannot be read: the most that OpenAI makes (its reference of images, `n`).
const IMAGES_MAX: u64 = 10;
/// Images where Vertex AI's request does not say.
const IMAGEN_IMAGES: u64 = 4;
/// Output tokens of an image in a size that OpenAI's guide lists.
const IMAGE_TOKENS: u64 = 16_384;
/// Sizes that OpenAI's guide lists.
const IMAGE_SIZES: [&str; 8] = [
    "auto",
    "256x256",
    "512x512",
    "1024x1024",
    "1024x1536",
    "1536x1024",
    "1024x1792",
    "1792x1024",
];
/// Bytes of a second of sound at the least.
const SOUND_BYTES_PER_SECOND: u64 = 750;
/// Bytes of a file that is named by a URL: the most that Groq reads (its documentation of speech to text).
const FILE_BYTES_MAX: u64 = 100 << 20;
/// Pages of a document.
const PAGES_MAX: u64 = 1000;
/// Calls of a tool that the provider runs, where nothing limits them.
const TOOL_CALLS_MAX: u64 = 25;
/// Iterations of one request of Anthropic's.
const ITERATIONS_MAX: u64 = 10;
/// Tokens of a document that count as one document, and documents of a search unit.
const DOCUMENT_TOKENS: u64 = 500;
const UNIT_DOCUMENTS: u64 = 100;

// === impl Codec ===

impl Codec {
    /// The most that a call can use, told by its request, which is what [`Self::read`] found in the body, and [`Self::complete`] gave it.
    ///
    /// One pass over the body, which keeps nothing of it.
    pub fn bounds(&self, endpoint: &Endpoint, path_and_query: &str, headers: &HeaderMap, body: &[u8], request: &Request) -> Bounds {
        let shape = &endpoint.shape;
        let uses_nothing = match shape {
            Shape::Silent | Shape::Batch { .. } | Shape::Results => true,
            Shape::Template(_) => !endpoint.bears_usage,
            _ => false,
        };
        if uses_nothing {
            return Bounds {
                later: matches!(shape, Shape::Batch { submits: true }),
                ..Bounds::default()
            };
        }
        let model = request.model.as_ref().map_or("", |model| model.as_str());
        let written = self.limit(shape, path_and_query);
        let takes_limit = written.is_some();
        let limit = written.or_else(|| invocation_limit(shape, model, body));
        let seen = Seen::of(shape, limit.as_ref(), body);
        let mut bounds = Bounds {
            takes_limit: takes_limit && seen.limit.can_be_given(),
            takes_model: endpoint.model.is_none()
                && has_model(shape)
                && request.can_rename()
                && !seen.names_others
                && (request.names_model() || request.given_model.is_some()),
            ..Bounds::default()
        };
        self.bound_input(&mut bounds, shape, model, body, &seen);
        if shape.has_output() {
            let given = request.given_limit.as_ref().map(|given| given.tokens);
            let is_held = limit.is_some() && !seen.predicts;
            bounds.output_tokens = seen
                .limit
                .held(given)
                .filter(|most| is_held && seen.thinking.none_beyond(*most));
            bounds.answers = seen.answers().saturating_mul(seen.prompts.max(1));
        }
        match shape {
            Shape::Images => bound_images(&mut bounds, headers, body, &seen),
            Shape::Speech => {
                bounds.characters = seen.characters;
                bounds.answers = 1;
            }
            Shape::Transcription => {
                let referred = form::field(headers, body, "url").is_some() || form::field(headers, body, "file_url").is_some();
                bounds.seconds = seconds(body.len() as u64, referred || is_json(body));
                bounds.input_open = true;
                bounds.answers = 1;
            }
            Shape::Pages => bounds.pages = seen.pages.unwrap_or(PAGES_MAX).min(PAGES_MAX),
            Shape::Prediction => {
                bounds.characters = body.len() as u64;
                bounds.images = match seen.samples.or_odd(IMAGES_MAX) {
                    Some(count) => count,
                    None if model.contains("image") => IMAGEN_IMAGES,
                    None => 0,
                };
            }
            Shape::Invocation { .. } => {
                let draws = ["stability.", "titan-image", "nova-canvas"]
                    .iter()
                    .any(|name| model.contains(name));
                bounds.images = seen.samples.or_odd(IMAGES_MAX).unwrap_or(u64::from(draws));
            }
            Shape::Units { output: false } => {
                bounds.tool_calls = bounds.tool_calls.saturating_add(seen.search_units());
                bounds.images = seen.images;
            }
            _ => {}
        }
        bounds
    }

    fn bound_input(&self, bounds: &mut Bounds, shape: &Shape, model: &str, body: &[u8], seen: &Seen<'_>) {
        let mut tokens = (body.len() as u64).saturating_add(REQUEST_TOKENS);
        if seen.tools > 0 || seen.has_schema {
            tokens = tokens.saturating_add(TOOLS_TOKENS);
        }
        bounds.input_tokens = tokens.saturating_add(seen.own_tools.saturating_mul(OWN_TOOL_TOKENS));
        // Models that search without being told to.
        let searches = matches!(shape, Shape::Chat) && ["search", "sonar", "compound"].iter().any(|word| model.contains(word));
        let is_elsewhere = model.contains(":prompt/");
        bounds.input_open = seen.open || searches || is_elsewhere || matches!(shape, Shape::Template(_));
        if seen.sound {
            bounds.seconds = seconds(body.len() as u64, seen.sound_elsewhere);
        }
        let mut calls = seen.tool_calls;
        if searches {
            calls = calls.saturating_add(TOOL_CALLS_MAX);
        }
        if matches!(shape, Shape::Response)
            && self.is_openai()
            && calls > 0
            && let Some(most) = seen.max_tool_calls.known()
        {
            calls = most;
        }
        bounds.tool_calls = calls;
        bounds.passes = match shape {
            _ if calls == 0 => 1,
            Shape::Content => 2,
            Shape::Message => calls.min(ITERATIONS_MAX) + 1,
            _ => calls.saturating_add(1),
        };
    }
}

/// Whether the body of such a request has the model, in a member `model`.
fn has_model(shape: &Shape) -> bool {
    match shape {
        Shape::Template(places) => {
            let place = places.request_model.as_ref();
            place.is_none_or(|place| place.member() == Some("model"))
        }
        _ => takes_model(shape),
    }
}

/// Where the body of an invocation has the limit: that is as its model's vendor has it, which only the model tells, or Anthropic's own mark.
fn invocation_limit(shape: &Shape, model: &str, body: &[u8]) -> Option<Limit> {
    if !matches!(shape, Shape::Invocation { output: true }) {
        return None;
    }
    let is_of = |vendor: &str| model.contains(vendor);
    let (inside, names) = if is_of("anthropic.") || memchr::memmem::find(body, b"\"anthropic_version\"").is_some() {
        (None, ["max_tokens", "max_tokens_to_sample"])
    } else if is_of("meta.") {
        (None, ["max_gen_len"; 2])
    } else if is_of("openai.") {
        (None, ["max_completion_tokens", "max_tokens"])
    } else if is_of("mistral.") || is_of("deepseek.") || is_of("cohere.") || is_of("ai21.jamba") {
        (None, ["max_tokens"; 2])
    } else if is_of("amazon.titan") {
        (Some(["textGenerationConfig"; 2]), ["maxTokenCount"; 2])
    } else if is_of("amazon.nova") {
        (Some(["inferenceConfig"; 2]), ["maxTokens", "max_new_tokens"])
    } else {
        return None;
    };
    Some(Limit {
        inside,
        names,
        reads_both: true,
    })
}

fn bound_images(bounds: &mut Bounds, headers: &HeaderMap, body: &[u8], seen: &Seen<'_>) {
    let field = |name| form::every(headers, body, name);
    if is_json(body) {
        bounds.images = seen.answers.or_odd(IMAGES_MAX).unwrap_or(1);
        bounds.output_tokens = (!seen.odd_size).then_some(IMAGE_TOKENS);
    } else {
        // A form, which has an image.
        bounds.input_open = true;
        let is_form = headers
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"multipart/form-data"));
        let count = |value: &Option<&str>| value.and_then(counted::plain).unwrap_or(IMAGES_MAX);
        bounds.images = field("n")
            .iter()
            .map(count)
            .max()
            .unwrap_or(if is_form { 1 } else { IMAGES_MAX });
        let listed = |size: &Option<&str>| size.is_some_and(|size| IMAGE_SIZES.contains(&size));
        let all_listed = is_form && field("size").iter().all(listed);
        bounds.output_tokens = all_listed.then_some(IMAGE_TOKENS);
    }
    bounds.answers = bounds.images;
}

fn is_json(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"{")
}

/// Seconds of sound in a body, or of sound that the provider fetches.
fn seconds(bytes: u64, elsewhere: bool) -> u64 {
    let bytes = if elsewhere { bytes.max(FILE_BYTES_MAX) } else { bytes };
    bytes.div_ceil(SOUND_BYTES_PER_SECOND)
}
