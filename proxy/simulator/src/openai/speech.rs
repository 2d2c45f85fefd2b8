//! `POST /v1/audio/speech`: silence, as bytes in parts or as events.
//!
//! MP3, WAV and PCM can be played; what is sent for other formats is as long and as silent, but no audio. The bytes
//! report nothing: tts-1 is billed by the character of its input. With `stream_format` `sse` the usage is in the last event.

use serde::Deserialize;

use super::model;
use crate::directive::Directives;
use crate::events::{Events, Frame};
use crate::out::base64;
use crate::prompt::{Str, Tally, parse};
use crate::refusal::Refusal;
use crate::usage::Usage;

/// The header of an MP3 frame of 26 ms: MPEG-1 layer III, 128 kbit/s, 44.1 kHz. A frame of zeros behind it is silence.
const MP3_HEADER: [u8; 4] = [0xff, 0xfb, 0x90, 0xc4];
/// The bytes of such a frame.
const FRAME_BYTES: usize = 417;
/// The bytes that are handed over at once, where nothing is asked.
const PART_BYTES: usize = 10 * FRAME_BYTES;
/// The header of a WAV file of unknown length: 16 bit, one channel, 24 kHz.
const WAV_HEADER: &[u8] =
    b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0\xc0\x5d\0\0\x80\xbb\0\0\x02\0\x10\0data\xff\xff\xff\xff";
/// The longest text (OpenAI's limit), in characters.
const CHARACTERS_MAX: usize = 4096;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    model: Option<Str<'a>>,
    #[serde(borrow)]
    input: Option<Str<'a>>,
    #[serde(borrow)]
    response_format: Option<Str<'a>>,
    #[serde(borrow)]
    stream_format: Option<Str<'a>>,
}

/// Speech, before it is written.
pub(crate) struct Speech {
    pub(crate) media_type: &'static str,
    pub(crate) events: bool,
    audio: Vec<u8>,
    part_bytes: usize,
    usage: Usage,
    error_after: Option<usize>,
    repeat_usage: bool,
}

impl Speech {
    /// Reads a request and decides on its answer.
    ///
    /// # Errors
    /// A refusal where it is not JSON or misses a field, or where the text is too long.
    pub(crate) fn of(deployment: Option<&str>, body: &[u8], asked: &Directives) -> Result<Self, Refusal> {
        let request: Request<'_> = parse(body)?;
        model(request.model, deployment)?;
        let input = request.input.ok_or(Refusal::FieldMissing { name: "input" })?;
        let characters = input.0.chars().count();
        if characters > CHARACTERS_MAX {
            return Err(Refusal::FieldInvalid {
                name: "input",
                reason: "expected at most 4096 characters",
            });
        }
        let format = request.response_format.as_ref().map_or("mp3", |format| &*format.0);
        let media_type = match format {
            "mp3" => "audio/mpeg",
            "opus" => "audio/opus",
            "aac" => "audio/aac",
            "flac" => "audio/flac",
            "wav" => "audio/wav",
            "pcm" => "audio/pcm",
            _ => {
                return Err(Refusal::FieldInvalid {
                    name: "response_format",
                    reason: "expected mp3, opus, aac, flac, wav or pcm",
                });
            }
        };
        let length = match (asked.bytes, asked.chunks, asked.chunk_bytes) {
            (Some(bytes), _, _) => bytes,
            (None, Some(chunks), Some(each)) => chunks * each,
            _ => FRAME_BYTES * 2 * characters.max(1),
        };
        let mut tally = Tally::new();
        tally.text(&input.0);
        Ok(Self {
            media_type,
            events: request.stream_format.is_some_and(|format| format.0 == "sse"),
            audio: silence(format, length),
            part_bytes: match (asked.chunk_bytes, asked.chunks) {
                (Some(each), _) => each,
                (None, Some(chunks)) => length.div_ceil(chunks).max(1),
                (None, None) => PART_BYTES,
            },
            usage: Usage::new(asked, tally.input_tokens(), characters as u64, 0)?,
            error_after: asked.error_after,
            repeat_usage: asked.repeat_usage,
        })
    }

    /// The generated tokens.
    pub(crate) fn tokens(&self) -> u64 {
        self.usage.output
    }

    /// The bytes, and where each part of them ends.
    pub(crate) fn bytes(self) -> (Vec<u8>, Vec<Frame>) {
        let mut frames = Vec::new();
        let mut end = 0;
        for part in self.audio.chunks(self.part_bytes) {
            end += part.len();
            frames.push(Frame { end, paced: true });
        }
        (self.audio, frames)
    }

    /// Writes the events.
    pub(crate) fn stream(&self, events: &mut Events) {
        if let Some(limit) = self.error_after {
            events.limit(limit);
        }
        for part in self.audio.chunks(self.part_bytes) {
            events.event(None, true, |out| {
                out.raw(r#"{"type":"speech.audio.delta","audio":"#)
                    .string(&base64(part))
                    .raw("}");
            });
        }
        for _ in 0..=usize::from(self.repeat_usage) {
            events.event(None, false, |out| {
                out.raw(r#"{"type":"speech.audio.done""#);
                if self.usage.reported() {
                    self.usage.speech(out.raw(r#","usage":"#));
                }
                out.raw("}");
            });
        }
        if self.error_after.is_some() {
            super::error_event(events);
        }
    }
}

/// So many bytes of silence.
fn silence(format: &str, length: usize) -> Vec<u8> {
    let mut audio = vec![0; length];
    match format {
        "mp3" => {
            for frame in audio.chunks_mut(FRAME_BYTES) {
                for (to, from) in frame.iter_mut().zip(MP3_HEADER) {
                    *to = from;
                }
            }
        }
        "wav" => {
            for (to, from) in audio.iter_mut().zip(WAV_HEADER) {
                *to = *from;
            }
        }
        _ => {}
    }
    audio
}
