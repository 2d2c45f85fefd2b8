//! Token counts in their canonical meaning, and each provider's way of writing them.
//!
//! Canonical: `input` holds every input token: those read from and written to a cache, of audio and images, and those
//! that a tool of the provider's added; `output` holds every output token, reasoning, audio and images included. The
//! classes of input are disjoint, and so are those of output. OpenAI writes the classes inside its totals. Anthropic
//! writes cache reads and writes beside `input_tokens`, which are the uncached rest. The other providers' ways are in
//! the files below `usage/`.
//!
//! Sources: openai-python `types/completion_usage.py` and `types/responses/response_usage.py` (2.54), and
//! anthropic-sdk-python `types/usage.py` and `types/message_delta_usage.py` (2.12).

mod bedrock;
pub(crate) mod google;
mod media;
mod mistral;

use crate::directive::{Directives, UsageShape};
use crate::out::Out;
use crate::refusal::Refusal;

/// Token counts of one answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Every input token.
    pub(crate) input: u64,
    pub(crate) cache_read: u64,
    pub(crate) cache_write_5m: u64,
    pub(crate) cache_write_1h: u64,
    /// Every output token.
    pub(crate) output: u64,
    pub(crate) reasoning: u64,
    pub(crate) audio_in: u64,
    pub(crate) audio_out: u64,
    pub(crate) image_in: u64,
    pub(crate) image_out: u64,
    /// Input that tools of the provider's added (their results).
    pub(crate) tool_input: u64,
    pub(crate) web_search: u64,
    /// Seconds of audio in the input, where the provider counts those.
    pub(crate) seconds: Option<u64>,
    shape: UsageShape,
    unknown: Option<(Box<str>, u64)>,
}

impl Usage {
    /// What was counted, overridden by what is asked for.
    ///
    /// # Errors
    /// `DirectiveConflict` where the parts are more than the whole.
    pub(crate) fn new(asked: &Directives, input: u64, visible: u64, thinking: u64) -> Result<Self, Refusal> {
        let (cache_write_5m, cache_write_1h) = asked.cache_writes();
        let (cache_read, audio_in) = (asked.cache_read.unwrap_or(0), asked.audio_in.unwrap_or(0));
        let (reasoning, audio_out) = (asked.reasoning.unwrap_or(thinking), asked.audio_out.unwrap_or(0));
        let (image_in, image_out) = (asked.image_in.unwrap_or(0), asked.image_out.unwrap_or(0));
        let tool_input = asked.tool_input.unwrap_or(0);
        let inside = cache_read + cache_write_5m + cache_write_1h + audio_in + image_in + tool_input;
        let usage = Self {
            input: asked.input.unwrap_or(input + inside),
            cache_read,
            cache_write_5m,
            cache_write_1h,
            output: asked.output.unwrap_or(visible + reasoning + audio_out + image_out),
            reasoning,
            audio_in,
            audio_out,
            image_in,
            image_out,
            tool_input,
            web_search: asked.web_search.unwrap_or(0),
            seconds: asked.seconds,
            shape: asked.usage,
            unknown: asked.unknown_usage_field.clone(),
        };
        if inside > usage.input {
            let reason = "is less than the cached, written, audio, image and tool tokens that it includes";
            return Err(Refusal::DirectiveConflict { key: "input", reason });
        }
        if usage.reasoning + usage.audio_out + usage.image_out > usage.output {
            let reason = "is less than the reasoning, audio and image tokens that it includes";
            return Err(Refusal::DirectiveConflict { key: "output", reason });
        }
        Ok(if usage.shape == UsageShape::Zero {
            Self {
                shape: usage.shape,
                unknown: usage.unknown,
                ..Self::default()
            }
        } else {
            usage
        })
    }

    /// Whether usage is reported at all.
    pub(crate) fn reported(&self) -> bool {
        self.shape != UsageShape::Absent
    }

    /// The same usage when only so much output has been generated.
    pub(crate) fn with_output(&self, output: u64) -> Self {
        let reasoning = self.reasoning.min(output);
        let audio_out = self.audio_out.min(output - reasoning);
        Self {
            output,
            reasoning,
            audio_out,
            image_out: self.image_out.min(output - reasoning - audio_out),
            ..self.clone()
        }
    }

    /// The same usage without any input or output, as a placeholder.
    pub(crate) fn empty(&self) -> Self {
        Self {
            shape: self.shape,
            unknown: self.unknown.clone(),
            ..Self::default()
        }
    }

    fn cache_write(&self) -> u64 {
        self.cache_write_5m + self.cache_write_1h
    }

    /// `,"usage":{...}` or nothing, in the form of chat completions: the details are inside the totals.
    pub(crate) fn chat_member(&self, out: &mut Out) {
        if self.reported() {
            self.chat(out.raw(r#","usage":"#));
        }
    }

    fn chat(&self, out: &mut Out) {
        if self.null(out) {
            return;
        }
        out.raw(r#"{"prompt_tokens":"#).number(self.input);
        out.raw(r#","completion_tokens":"#).number(self.output);
        out.raw(r#","total_tokens":"#).number(self.input + self.output);
        if self.shape != UsageShape::Totals {
            out.raw(r#","prompt_tokens_details":{"cached_tokens":"#)
                .number(self.cache_read);
            if self.cache_write() > 0 {
                out.raw(r#","cache_write_tokens":"#).number(self.cache_write());
            }
            out.raw(r#","audio_tokens":"#).number(self.audio_in);
            out.raw(r#"},"completion_tokens_details":{"reasoning_tokens":"#)
                .number(self.reasoning);
            out.raw(r#","audio_tokens":"#).number(self.audio_out);
            out.raw(r#","accepted_prediction_tokens":0,"rejected_prediction_tokens":0}"#);
        }
        self.end(out);
    }

    /// The value of `usage` in a response of the responses interface, or `null`.
    pub(crate) fn responses(&self, out: &mut Out) {
        if self.null(out) {
            return;
        }
        out.raw(r#"{"input_tokens":"#).number(self.input);
        if self.shape != UsageShape::Totals {
            out.raw(r#","input_tokens_details":{"cached_tokens":"#)
                .number(self.cache_read);
            out.raw(r#","cache_write_tokens":"#).number(self.cache_write()).raw("}");
        }
        out.raw(r#","output_tokens":"#).number(self.output);
        if self.shape != UsageShape::Totals {
            out.raw(r#","output_tokens_details":{"reasoning_tokens":"#)
                .number(self.reasoning)
                .raw("}");
        }
        out.raw(r#","total_tokens":"#).number(self.input + self.output);
        self.end(out);
    }

    /// The value of `usage` in an embedding list, which has input only.
    pub(crate) fn embeddings(&self, out: &mut Out) {
        if self.null(out) {
            return;
        }
        out.raw(r#"{"prompt_tokens":"#).number(self.input);
        out.raw(r#","total_tokens":"#).number(self.input);
        self.end(out);
    }

    /// The value of `usage` in an Anthropic message: cache reads and writes beside `input_tokens`. The tier and the place
    /// are told by Anthropic alone, not by those who host its models.
    pub(crate) fn message(&self, out: &mut Out, service_tier: Option<&str>) {
        if self.null(out) {
            return;
        }
        self.message_input(out.raw("{"));
        if self.shape != UsageShape::Totals {
            out.raw(r#","cache_creation":{"ephemeral_5m_input_tokens":"#)
                .number(self.cache_write_5m);
            out.raw(r#","ephemeral_1h_input_tokens":"#)
                .number(self.cache_write_1h)
                .raw("}");
        }
        out.raw(r#","output_tokens":"#).number(self.output);
        self.message_details(out);
        if let Some(tier) = service_tier {
            out.raw(r#","service_tier":"#)
                .string(tier)
                .raw(r#","inference_geo":"not_available""#);
        }
        self.end(out);
    }

    /// The value of `usage` in a `message_delta`: cumulative, without the split by cache lifetime.
    pub(crate) fn message_delta(&self, out: &mut Out, with_input: bool) {
        if self.null(out) {
            return;
        }
        out.raw("{");
        if with_input {
            self.message_input(out);
            out.raw(",");
        }
        out.raw(r#""output_tokens":"#).number(self.output);
        self.message_details(out);
        self.end(out);
    }

    fn message_input(&self, out: &mut Out) {
        out.raw(r#""input_tokens":"#).number(self.uncached());
        if self.shape != UsageShape::Totals {
            out.raw(r#","cache_creation_input_tokens":"#).number(self.cache_write());
            out.raw(r#","cache_read_input_tokens":"#).number(self.cache_read);
        }
    }

    fn message_details(&self, out: &mut Out) {
        if self.reasoning > 0 && self.shape != UsageShape::Totals {
            out.raw(r#","output_tokens_details":{"thinking_tokens":"#)
                .number(self.reasoning)
                .raw("}");
        }
        if self.web_search > 0 {
            out.raw(r#","server_tool_use":{"web_search_requests":"#)
                .number(self.web_search);
            out.raw(r#","web_fetch_requests":0}"#);
        }
    }

    /// Writes `null` where no object shall be written.
    fn null(&self, out: &mut Out) -> bool {
        let null = matches!(self.shape, UsageShape::Null | UsageShape::Absent);
        if null {
            out.raw("null");
        }
        null
    }

    /// Closes a usage object, with the unknown field that was asked for.
    fn end(&self, out: &mut Out) {
        if let Some((name, count)) = &self.unknown {
            out.raw(",").string(name).raw(":").number(*count);
        }
        out.raw("}");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn every_class() -> Directives {
        Directives {
            input: Some(1000),
            cache_read: Some(600),
            cache_write_5m: Some(100),
            cache_write_1h: Some(50),
            output: Some(80),
            reasoning: Some(30),
            ..Directives::default()
        }
    }

    fn written(asked: &Directives, write: impl Fn(&Usage, &mut Out)) -> Value {
        let usage = Usage::new(asked, 7, 5, 0).unwrap();
        let mut out = Out::default();
        write(&usage, &mut out);
        serde_json::from_slice(&out.0).unwrap()
    }

    /// openai-python 2.54, `types/completion_usage.py`: "Cached tokens present in the prompt".
    #[test]
    fn openai_writes_cached_and_reasoning_tokens_inside_its_totals() {
        let chat = written(&every_class(), Usage::chat);
        assert_eq!(chat["prompt_tokens"], 1000);
        assert_eq!(
            chat["prompt_tokens_details"],
            json!({"cached_tokens": 600, "cache_write_tokens": 150, "audio_tokens": 0})
        );
        assert_eq!(chat["completion_tokens"], 80);
        assert_eq!(chat["completion_tokens_details"]["reasoning_tokens"], 30);
        assert_eq!(chat["total_tokens"], 1080);
        let responses = written(&every_class(), Usage::responses);
        assert_eq!(responses["input_tokens"], 1000);
        assert_eq!(
            responses["input_tokens_details"],
            json!({"cached_tokens": 600, "cache_write_tokens": 150})
        );
        assert_eq!(responses["output_tokens_details"], json!({"reasoning_tokens": 30}));
        assert_eq!(responses["total_tokens"], 1080);
    }

    /// Anthropic's prompt caching documentation: total input is the sum of `input_tokens`,
    /// `cache_creation_input_tokens` and `cache_read_input_tokens`.
    #[test]
    fn anthropic_writes_cached_and_written_tokens_beside_its_input() {
        let message = written(&every_class(), |usage, out| usage.message(out, Some("standard")));
        assert_eq!(message["input_tokens"], 250);
        assert_eq!(message["cache_read_input_tokens"], 600);
        assert_eq!(message["cache_creation_input_tokens"], 150);
        assert_eq!(
            message["cache_creation"],
            json!({"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 50})
        );
        assert_eq!(message["output_tokens"], 80);
        assert_eq!(message["output_tokens_details"], json!({"thinking_tokens": 30}));
        let delta = written(&every_class(), |usage, out| usage.message_delta(out, true));
        assert_eq!(delta["input_tokens"], 250);
        assert!(delta.get("cache_creation").is_none() && delta.get("service_tier").is_none());
    }

    #[test]
    fn counts_that_are_not_asked_for_are_those_of_the_request_and_the_answer() {
        let usage = Usage::new(&Directives::default(), 7, 5, 3).unwrap();
        assert_eq!((usage.input, usage.output, usage.reasoning), (7, 8, 3));
        let cached = Directives {
            cache_read: Some(100),
            ..Directives::default()
        };
        assert_eq!(Usage::new(&cached, 7, 5, 0).unwrap().input, 107);
    }

    #[test]
    fn parts_larger_than_the_whole_are_refused() {
        let input = Directives {
            input: Some(5),
            cache_read: Some(6),
            ..Directives::default()
        };
        let output = Directives {
            output: Some(5),
            reasoning: Some(6),
            ..Directives::default()
        };
        for asked in [input, output] {
            assert!(matches!(Usage::new(&asked, 0, 0, 0), Err(Refusal::DirectiveConflict { .. })));
        }
    }

    #[test]
    fn shapes_differ_as_asked() {
        let shaped = |usage| Directives { usage, ..every_class() };
        assert_eq!(written(&shaped(UsageShape::Null), Usage::chat), Value::Null);
        assert_eq!(
            written(&shaped(UsageShape::Totals), Usage::chat),
            json!({"prompt_tokens": 1000, "completion_tokens": 80, "total_tokens": 1080})
        );
        assert_eq!(written(&shaped(UsageShape::Zero), Usage::responses)["total_tokens"], 0);
        let usage = Usage::new(&shaped(UsageShape::Absent), 1, 1, 0).unwrap();
        let mut out = Out::default();
        usage.chat_member(&mut out);
        assert!(out.0.is_empty());
    }

    #[test]
    fn an_unknown_field_stands_beside_the_known_ones() {
        let asked = Directives {
            unknown_usage_field: Some(("moon_tokens".into(), 9)),
            ..every_class()
        };
        assert_eq!(written(&asked, Usage::chat)["moon_tokens"], 9);
        assert_eq!(written(&asked, Usage::responses)["moon_tokens"], 9);
        assert_eq!(written(&asked, |usage, out| usage.message(out, None))["moon_tokens"], 9);
    }

    #[test]
    fn running_totals_never_exceed_what_has_been_generated() {
        let usage = Usage::new(&every_class(), 0, 0, 0).unwrap();
        let early = usage.with_output(10);
        assert_eq!((early.input, early.output, early.reasoning), (1000, 10, 10));
        assert_eq!(usage.with_output(80), usage);
    }
}
