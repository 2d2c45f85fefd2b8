//! The stream of `POST /v1/responses`: named events with a running `sequence_number`.
//!
//! `response.created`, `response.in_progress`, then for each output item `response.output_item.added`, what belongs to
//! its kind, `response.output_item.done`, and at last `response.completed` (or `.incomplete`, `.failed`) with the whole
//! response and its usage, which stands nowhere else. There is no `[DONE]`.

use super::responses::{Item, Status, item_id, items, response, write_item, write_part};
use crate::answer::{Answer, Content};
use crate::events::Events;
use crate::out::Out;
use crate::prompt::Prompt;
use crate::text::Text;

/// A stream being written.
struct Stream<'s, 'a> {
    answer: &'s Answer<'a>,
    events: &'s mut Events,
    sequence: u64,
}

/// Writes the stream.
pub(crate) fn stream(answer: &Answer<'_>, prompt: &Prompt<'_>, events: &mut Events) {
    if let Some(limit) = answer.error_after {
        events.limit(limit);
    }
    let mut stream = Stream {
        answer,
        events,
        sequence: 0,
    };
    for name in ["response.created", "response.in_progress"] {
        stream.whole(name, prompt, Status::InProgress);
    }
    for (index, item) in items(answer).into_iter().enumerate() {
        stream.item("response.output_item.added", index, item, false);
        match (item, &answer.content) {
            (Item::Message, Content::Text(text)) => stream.message(index, text),
            (Item::Call, Content::Call(_, arguments)) => stream.call(index, arguments),
            (Item::Search(_), _) => stream.search(index, item),
            _ => {}
        }
        stream.item("response.output_item.done", index, item, true);
    }
    if answer.error_after.is_some() {
        stream.events.cut_at_limit();
        stream.sequence = stream.events.frames.len() as u64;
        stream.whole("response.failed", prompt, Status::Failed);
        return;
    }
    let last = if answer.cut_short() {
        "response.incomplete"
    } else {
        "response.completed"
    };
    for _ in 0..=usize::from(answer.repeat_usage) {
        stream.whole(last, prompt, Status::Done);
    }
}

impl Stream<'_, '_> {
    fn event(&mut self, name: &str, paced: bool, rest: impl FnOnce(&mut Out)) {
        let sequence = self.sequence;
        self.sequence += 1;
        self.events.event(Some(name), paced, |out| {
            out.raw(r#"{"type":"#)
                .string(name)
                .raw(r#","sequence_number":"#)
                .number(sequence);
            rest(out);
            out.raw("}");
        });
    }

    fn whole(&mut self, name: &str, prompt: &Prompt<'_>, status: Status) {
        let answer = self.answer;
        self.event(name, false, |out| {
            response(answer, prompt, status, out.raw(r#","response":"#))
        });
    }

    fn item(&mut self, name: &str, index: usize, item: Item, complete: bool) {
        let answer = self.answer;
        self.event(name, false, |out| {
            out.raw(r#","output_index":"#).number(index as u64).raw(r#","item":"#);
            write_item(answer, item, complete, out);
        });
    }

    fn message(&mut self, index: usize, text: &Text) {
        let item = item_id(self.answer, Item::Message);
        let place = |out: &mut Out| {
            out.raw(r#","item_id":"#)
                .string(&item)
                .raw(r#","output_index":"#)
                .number(index as u64);
            out.raw(r#","content_index":0"#);
        };
        self.event("response.content_part.added", false, |out| {
            place(out);
            write_part("", out.raw(r#","part":"#));
        });
        for piece in text.pieces() {
            self.event("response.output_text.delta", true, |out| {
                place(out);
                out.raw(r#","delta":"#).string(piece).raw(r#","logprobs":[]"#);
            });
        }
        self.event("response.output_text.done", false, |out| {
            place(out);
            out.raw(r#","text":"#).string(&text.body).raw(r#","logprobs":[]"#);
        });
        self.event("response.content_part.done", false, |out| {
            place(out);
            write_part(&text.body, out.raw(r#","part":"#));
        });
    }

    fn call(&mut self, index: usize, arguments: &Text) {
        let item = item_id(self.answer, Item::Call);
        let place = |out: &mut Out| {
            out.raw(r#","item_id":"#)
                .string(&item)
                .raw(r#","output_index":"#)
                .number(index as u64);
        };
        for piece in arguments.pieces() {
            self.event("response.function_call_arguments.delta", true, |out| {
                place(out);
                out.raw(r#","delta":"#).string(piece);
            });
        }
        self.event("response.function_call_arguments.done", false, |out| {
            place(out);
            out.raw(r#","arguments":"#).string(&arguments.body);
        });
    }

    fn search(&mut self, index: usize, item: Item) {
        let id = item_id(self.answer, item);
        let states = [
            "response.web_search_call.in_progress",
            "response.web_search_call.searching",
            "response.web_search_call.completed",
        ];
        for state in states {
            self.event(state, false, |out| {
                out.raw(r#","output_index":"#)
                    .number(index as u64)
                    .raw(r#","item_id":"#)
                    .string(&id);
            });
        }
    }
}
