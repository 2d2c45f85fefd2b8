//! `POST /v1/responses`: request and answer; its stream is in `responses_stream.rs`.
//!
//! The output holds a reasoning item where reasoning tokens are reported, a `web_search_call` a search asked for, then
//! the message or the function call. Usage has no count of searches: the items are what is counted, and
//! `tool_usage.web_search.num_requests` says it again, as newer hosts do.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::model;
use crate::answer::{Answer, Content};
use crate::out::{CREATED, Out, id};
use crate::prompt::{self, Last, Message, Prompt, Str, Tally, parse};
use crate::refusal::Refusal;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    model: Option<Str<'a>>,
    #[serde(borrow)]
    input: Option<Input<'a>>,
    #[serde(borrow)]
    instructions: Option<Str<'a>>,
    stream: Option<bool>,
    max_output_tokens: Option<u64>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<TextOptions<'a>>,
    #[serde(borrow)]
    service_tier: Option<Str<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input<'a> {
    #[serde(borrow)]
    Text(Str<'a>),
    #[serde(borrow)]
    Items(Vec<Message<'a>>),
}

#[derive(Deserialize)]
struct TextOptions<'a> {
    #[serde(borrow)]
    format: Option<Format<'a>>,
}

#[derive(Deserialize)]
struct Format<'a> {
    #[serde(rename = "type", borrow)]
    kind: Str<'a>,
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
}

/// An item of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Reasoning,
    Search(u64),
    Message,
    Call,
}

/// How far a response has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    InProgress,
    Done,
    Failed,
}

/// Reads a request.
///
/// # Errors
/// A refusal where it is not JSON or misses a field.
pub(crate) fn prompt<'a>(body: &'a [u8], deployment: Option<&'a str>) -> Result<Prompt<'a>, Refusal> {
    let request: Request<'_> = parse(body)?;
    let model = model(request.model, deployment)?;
    let input = request.input.ok_or(Refusal::FieldMissing { name: "input" })?;
    let mut tally = Tally::new();
    if let Some(instructions) = &request.instructions {
        tally.text(&instructions.0);
    }
    let last = match &input {
        Input::Text(text) => {
            tally.text(&text.0);
            Last::User {
                asks_weather: prompt::names_weather(&text.0),
            }
        }
        Input::Items(items) => tally.messages(items),
    };
    if let Some(tools) = request.tools {
        tally.text(tools.get());
    }
    let schema = request
        .text
        .and_then(|text| text.format)
        .and_then(|format| match &*format.kind.0 {
            "json_schema" => format.schema.map(|schema| Cow::Borrowed(schema.get())),
            "json_object" => Some(Cow::Borrowed("{}")),
            _ => None,
        });
    Ok(Prompt {
        model,
        stream: request.stream.unwrap_or(false),
        include_usage: false,
        input_tokens: tally.input_tokens(),
        seed: tally.seed(),
        last,
        tools: request.tools,
        tool_choice: request.tool_choice,
        tokens_max: request.max_output_tokens,
        choices: 1,
        schema,
        service_tier: request.service_tier,
        thinking: false,
    })
}

/// Writes the whole answer.
pub(crate) fn json(answer: &Answer<'_>, prompt: &Prompt<'_>, out: &mut Out) {
    response(answer, prompt, Status::Done, out);
}

/// The items of the output, in order.
pub(super) fn items(answer: &Answer<'_>) -> Vec<Item> {
    let mut items = Vec::new();
    if answer.usage.reasoning > 0 {
        items.push(Item::Reasoning);
    }
    items.extend((0..answer.usage.web_search).map(Item::Search));
    items.push(if matches!(answer.content, Content::Text(_)) {
        Item::Message
    } else {
        Item::Call
    });
    items
}

/// Writes the response object as it stands at a time.
pub(super) fn response(answer: &Answer<'_>, prompt: &Prompt<'_>, status: Status, out: &mut Out) {
    let cut_short = status == Status::Done && answer.cut_short();
    let word = match status {
        Status::InProgress => "in_progress",
        Status::Failed => "failed",
        Status::Done if cut_short => "incomplete",
        Status::Done => "completed",
    };
    out.raw(r#"{"id":"#).string(&id("resp_", answer.seed, 48));
    out.raw(r#","object":"response","created_at":"#).number(CREATED);
    out.raw(r#","status":"#)
        .string(word)
        .raw(r#","background":false,"error":"#)
        .raw(match status {
            Status::Failed => {
                r#"{"code":"server_error","message":"The server had an error while processing your request. Sorry about that!"}"#
            }
            _ => "null",
        });
    out.raw(r#","incomplete_details":"#);
    out.raw(if cut_short {
        r#"{"reason":"max_output_tokens"}"#
    } else {
        "null"
    });
    out.raw(r#","instructions":null,"max_output_tokens":"#);
    match prompt.tokens_max {
        Some(max) => out.number(max),
        None => out.raw("null"),
    };
    out.raw(r#","max_tool_calls":null,"model":"#)
        .string(&answer.model)
        .raw(r#","output":["#);
    if status == Status::Done {
        for (index, item) in items(answer).into_iter().enumerate() {
            write_item(answer, item, true, out.raw(if index == 0 { "" } else { "," }));
        }
    }
    out.raw(r#"],"parallel_tool_calls":true,"previous_response_id":null,"prompt_cache_key":null,"#);
    out.raw(r#""reasoning":{"effort":null,"summary":null},"safety_identifier":null,"service_tier":"#);
    out.string(if status == Status::InProgress {
        "auto"
    } else {
        &answer.service_tier
    });
    out.raw(r#","store":true,"temperature":1.0,"text":{"format":{"type":"text"},"verbosity":"medium"},"#);
    out.raw(r#""tool_choice":"#).sent(prompt.tool_choice, r#""auto""#);
    out.raw(r#","tools":"#).sent(prompt.tools, "[]");
    out.raw(r#","top_logprobs":0,"top_p":1.0,"truncation":"disabled""#);
    match status {
        Status::Done if answer.usage.reported() => {
            answer.usage.responses(out.raw(r#","usage":"#));
            if answer.usage.web_search > 0 {
                out.raw(r#","tool_usage":{"image_gen":{"input_tokens":0,"input_tokens_details":{"image_tokens":0,"#);
                out.raw(r#""text_tokens":0},"output_tokens":0,"total_tokens":0},"web_search":{"num_requests":"#);
                out.number(answer.usage.web_search).raw("}}");
            }
        }
        Status::Done => {}
        _ => {
            out.raw(r#","usage":null"#);
        }
    }
    out.raw(r#","user":null,"metadata":{}}"#);
}

/// Writes an item, complete or as it begins.
pub(super) fn write_item(answer: &Answer<'_>, item: Item, complete: bool, out: &mut Out) {
    let status = match complete {
        false => "in_progress",
        true if item == Item::Message && answer.cut_short() => "incomplete",
        true => "completed",
    };
    out.raw(r#"{"id":"#).string(&item_id(answer, item)).raw(r#","type":"#);
    match (item, &answer.content) {
        (Item::Reasoning, _) => {
            out.raw(r#""reasoning","summary":[]}"#);
        }
        (Item::Search(number), _) => {
            out.raw(r#""web_search_call","status":"#).string(status);
            out.raw(r#","action":{"type":"search","query":"simulated search "#)
                .number(number + 1)
                .raw(r#""}}"#);
        }
        (Item::Message, Content::Text(text)) => {
            out.raw(r#""message","status":"#)
                .string(status)
                .raw(r#","role":"assistant","content":["#);
            if complete {
                write_part(&text.body, out);
            }
            out.raw("]}");
        }
        (Item::Call, Content::Call(name, arguments)) => {
            out.raw(r#""function_call","status":"#).string(status);
            out.raw(r#","call_id":"#)
                .string(&id("call_", answer.seed.wrapping_add(1), 24));
            out.raw(r#","name":"#).string(name);
            out.raw(r#","arguments":"#)
                .string(if complete { &arguments.body } else { "" })
                .raw("}");
        }
        (Item::Message | Item::Call, _) => unreachable!("items() follows the content"),
    }
}

/// Writes a part of a message.
pub(super) fn write_part(text: &str, out: &mut Out) {
    out.raw(r#"{"type":"output_text","annotations":[],"logprobs":[],"text":"#)
        .string(text)
        .raw("}");
}

/// The identifier of an item.
pub(super) fn item_id(answer: &Answer<'_>, item: Item) -> String {
    let (prefix, salt) = match item {
        Item::Reasoning => ("rs_", 2),
        Item::Message => ("msg_", 3),
        Item::Call => ("fc_", 4),
        Item::Search(number) => ("ws_", 5 + number),
    };
    id(prefix, answer.seed.wrapping_add(salt), 48)
}
