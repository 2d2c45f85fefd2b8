//! OpenAI's interfaces, a file each.

pub(crate) mod batches;
pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod embeddings;
pub(crate) mod files;
pub(crate) mod images;
pub(crate) mod models;
pub(crate) mod moderations;
pub(crate) mod responses;
pub(crate) mod responses_stream;
pub(crate) mod speech;
pub(crate) mod transcriptions;

use std::borrow::Cow;

use serde::Deserialize;

use crate::events::Events;
use crate::refusal::Refusal;

use crate::prompt::Str;

/// The most choices that a request may ask for (OpenAI's limit).
const CHOICES_MAX: u64 = 128;

/// `stream_options` of chat completions and completions.
#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

/// The model that the body names, else the deployment that the path names.
fn model<'a>(sent: Option<Str<'a>>, deployment: Option<&'a str>) -> Result<Str<'a>, Refusal> {
    sent.or_else(|| deployment.map(|name| Str(Cow::Borrowed(name))))
        .ok_or(Refusal::FieldMissing { name: "model" })
}

/// Whether a stream is asked for, and whether it shall end in a usage chunk.
fn streaming(stream: Option<bool>, options: Option<&StreamOptions>) -> Result<(bool, bool), Refusal> {
    let stream = stream.unwrap_or(false);
    if options.is_some() && !stream {
        let reason = "only allowed when 'stream' is enabled";
        return Err(Refusal::FieldInvalid {
            name: "stream_options",
            reason,
        });
    }
    Ok((stream, options.is_some_and(|options| options.include_usage.unwrap_or(false))))
}

fn choices(n: Option<u64>) -> Result<usize, Refusal> {
    match n.unwrap_or(1) {
        n @ 1..=CHOICES_MAX => Ok(usize::try_from(n).unwrap_or(1)),
        _ => Err(Refusal::FieldInvalid {
            name: "n",
            reason: "expected 1 to 128",
        }),
    }
}

/// The end of a chat or completions stream that was asked to fail: an error object in place of the rest.
fn error_event(events: &mut Events) {
    events.cut_at_limit();
    events.event(None, false, |out| {
        out.raw(r#"{"error":{"message":"The server had an error while processing your request. Sorry about that!","#);
        out.raw(r#""type":"server_error","param":null,"code":null}}"#);
    });
}
