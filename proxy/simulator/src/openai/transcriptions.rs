//! `POST /v1/audio/transcriptions` and `/v1/audio/translations`: words that follow from the bytes of the file.
//!
//! GPT models are billed by tokens, and can stream; Whisper is billed by the second. The formats that are not JSON, and
//! translations, report nothing. The file is not decoded: unless it is said with `seconds`, 16,000 bytes are a second,
//! and a second is ten tokens.

use http::HeaderMap;

use crate::directive::Directives;
use crate::events::Events;
use crate::multipart::Form;
use crate::out::{Out, Seed};
use crate::prompt::Tally;
use crate::refusal::Refusal;
use crate::text::{Size, Text};
use crate::usage::Usage;

const BYTES_A_SECOND: u64 = 16_000;
const TOKENS_A_SECOND: u64 = 10;

/// The form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Verbose,
    /// As text, with times or without.
    Text,
    Srt,
    Vtt,
}

/// A transcription, before it is written.
pub(crate) struct Transcription {
    pub(crate) stream: bool,
    format: Format,
    /// Whether it is billed by the second.
    timed: bool,
    translation: bool,
    seconds: u64,
    text: Text,
    usage: Usage,
    error_after: Option<usize>,
    repeat_usage: bool,
}

impl Transcription {
    /// Reads a request and decides on its answer.
    ///
    /// # Errors
    /// A refusal where it is no form, misses a field, or asks for a format that the model does not have.
    pub(crate) fn of(
        headers: &HeaderMap,
        deployment: Option<&str>,
        translation: bool,
        body: &[u8],
        asked: &Directives,
    ) -> Result<Self, Refusal> {
        let form = Form::of(headers, body)?;
        let file = form.required("file")?.value;
        let model = form.text("model").or(deployment);
        let model = model.ok_or(Refusal::FieldMissing { name: "model" })?;
        let timed = translation || !model.contains("transcribe");
        let format = match form.text("response_format").unwrap_or("json") {
            "json" => Format::Json,
            "text" => Format::Text,
            "verbose_json" if timed => Format::Verbose,
            "srt" if timed => Format::Srt,
            "vtt" if timed => Format::Vtt,
            _ => {
                return Err(Refusal::FieldInvalid {
                    name: "response_format",
                    reason: "expected json or text; whisper-1 has verbose_json, srt and vtt too",
                });
            }
        };
        let seconds = asked
            .seconds
            .unwrap_or_else(|| (file.len() as u64).div_ceil(BYTES_A_SECOND).max(1));
        let mut seed = Seed::new();
        seed.add(file);
        let size = Size {
            bytes: asked.bytes,
            chunks: asked.chunks,
            chunk_bytes: asked.chunk_bytes,
            tokens_max: None,
        };
        let text = Text::words(size, seed.0);
        let mut tally = Tally::new();
        let prompted = form.text("prompt").map_or(0, |prompt| {
            tally.text(prompt);
            tally.input_tokens()
        });
        // What is heard is audio, unless it is said how much of the input is.
        let heard = seconds * TOKENS_A_SECOND;
        let asked_audio = Directives {
            audio_in: asked.audio_in.or(asked.input).or(Some(heard)),
            seconds: Some(seconds),
            ..asked.clone()
        };
        Ok(Self {
            stream: form.text("stream") == Some("true") && !timed,
            format,
            timed,
            translation,
            seconds,
            usage: Usage::new(&asked_audio, prompted, text.tokens, 0)?,
            text,
            error_after: asked.error_after,
            repeat_usage: asked.repeat_usage,
        })
    }

    /// The generated tokens.
    pub(crate) fn tokens(&self) -> u64 {
        self.text.tokens
    }

    /// The media type of what is not JSON.
    pub(crate) fn plain(&self) -> bool {
        !matches!(self.format, Format::Json | Format::Verbose)
    }

    /// Writes the whole answer.
    pub(crate) fn whole(&self, out: &mut Out) {
        let (text, end) = (&*self.text.body, self.seconds);
        let (minutes, seconds) = (end / 60, end % 60);
        match self.format {
            Format::Json => {
                out.raw(r#"{"text":"#).string(text);
                if !self.translation {
                    self.usage_member(out);
                }
                out.raw("}");
            }
            Format::Verbose => {
                let task = if self.translation { "translate" } else { "transcribe" };
                out.raw(r#"{"task":"#).string(task);
                out.raw(r#","language":"english","duration":"#).number(end).raw(".0");
                out.raw(r#","text":"#).string(text);
                out.raw(r#","segments":[{"id":0,"seek":0,"start":0.0,"end":"#)
                    .number(end)
                    .raw(".0");
                out.raw(r#","text":"#).string(text);
                out.raw(r#","tokens":[],"temperature":0.0,"avg_logprob":-0.1,"compression_ratio":1.0,"no_speech_prob":0.0}]"#);
                self.usage_member(out);
                out.raw("}");
            }
            Format::Text => {
                out.raw(text).raw("\n");
            }
            Format::Srt => {
                out.raw(&format!("1\n00:00:00,000 --> 00:{minutes:02}:{seconds:02},000\n{text}\n\n"));
            }
            Format::Vtt => {
                out.raw(&format!(
                    "WEBVTT\n\n00:00:00.000 --> 00:{minutes:02}:{seconds:02}.000\n{text}\n\n"
                ));
            }
        }
    }

    /// Writes the events.
    pub(crate) fn stream(&self, events: &mut Events) {
        if let Some(limit) = self.error_after {
            events.limit(limit);
        }
        for piece in self.text.pieces() {
            events.event(None, true, |out| {
                out.raw(r#"{"type":"transcript.text.delta","delta":"#).string(piece).raw("}");
            });
        }
        for _ in 0..=usize::from(self.repeat_usage) {
            events.event(None, false, |out| {
                out.raw(r#"{"type":"transcript.text.done","text":"#).string(&self.text.body);
                self.usage_member(out);
                out.raw("}");
            });
        }
        if self.error_after.is_some() {
            super::error_event(events);
        }
    }

    fn usage_member(&self, out: &mut Out) {
        if !self.usage.reported() {
            return;
        }
        out.raw(r#","usage":"#);
        if self.timed {
            self.usage.duration(out);
        } else {
            self.usage.transcription(out);
        }
    }
}
