//! From an endpoint to the bytes of its answer.
//!
//! Each arm reads its request, lets [`Answer::new`] decide where there is something to decide, and has it written in the
//! shape of the provider.

mod invoke;
mod kept;

use http::request::Parts;

use crate::answer::{Answer, Interface, fits};
use crate::bedrock::converse::Dialect;
use crate::directive::Directives;
use crate::events::{Events, Frame, Framing};
use crate::head::Kind;
use crate::openai::images::Images;
use crate::openai::speech::Speech;
use crate::openai::transcriptions::Transcription;
use crate::out::Out;
use crate::prompt::Prompt;
use crate::refusal::Refusal;
use crate::route::{Delivery, Endpoint, Provider, Route};
use crate::store::Store;
use crate::text::WORDS_DEFAULT;
use crate::{anthropic, bedrock, echo, google, mistral, openai};

/// Bytes that a JSON answer takes, roughly.
const JSON_BYTES: usize = 1280;

/// What a request comes to.
pub(crate) struct Written {
    pub(crate) kind: Kind,
    pub(crate) bytes: Vec<u8>,
    /// The events of a stream; none where the answer is one whole.
    pub(crate) frames: Option<Vec<Frame>>,
    /// The generated tokens of a stream, by which it is paced.
    pub(crate) tokens: u64,
    /// Headers of this answer alone.
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// Writes the answer of a route.
///
/// # Errors
/// A refusal where there is no such endpoint, or the request is not one that it takes.
pub(crate) fn write(store: &Store, route: Route, parts: &Parts, body: &[u8], asked: &Directives) -> Result<Written, Refusal> {
    let Route {
        provider,
        model,
        endpoint,
    } = route;
    let named = model.as_deref();
    let echo = || echo::text(asked.echo, parts, body);
    let mut out = Out::with_capacity(JSON_BYTES);
    let endpoint = endpoint?;
    match endpoint {
        Endpoint::Chat => {
            let prompt = openai::chat::prompt(body, named)?;
            let answer = Answer::new(Interface::Chat, provider, &prompt, asked, echo())?;
            if provider == Provider::Mistral {
                return generated(&prompt, &answer, asked, out, mistral::chat::json, mistral::chat::stream);
            }
            return generated(&prompt, &answer, asked, out, openai::chat::json, openai::chat::stream);
        }
        Endpoint::Completions => {
            let prompt = openai::completions::prompt(body, named)?;
            let answer = Answer::new(Interface::Completions, provider, &prompt, asked, echo())?;
            let (json, stream) = (openai::completions::json, openai::completions::stream);
            return generated(&prompt, &answer, asked, out, json, stream);
        }
        Endpoint::Responses => {
            let prompt = openai::responses::prompt(body, named)?;
            let answer = Answer::new(Interface::Responses, provider, &prompt, asked, echo())?;
            return generated(
                &prompt,
                &answer,
                asked,
                out,
                |answer, out| openai::responses::json(answer, &prompt, out),
                |answer, events| openai::responses_stream::stream(answer, &prompt, events),
            );
        }
        Endpoint::Messages => {
            let prompt = anthropic::messages::prompt(body, named, false)?;
            let answer = Answer::new(Interface::Messages, provider, &prompt, asked, echo())?;
            let (json, stream) = (anthropic::messages::json, anthropic::messages::stream);
            return generated(&prompt, &answer, asked, out, json, stream);
        }
        Endpoint::Generate(delivery) => {
            let model = named.unwrap_or_default();
            let prompt = google::generate::prompt(body, model, delivery != Delivery::Whole)?;
            let answer = Answer::new(Interface::Generate, provider, &prompt, asked, echo())?;
            let (json, stream) = (google::generate::json, google::generate::stream);
            let (framing, kind) = match delivery {
                // Google ends lines with CR LF.
                Delivery::Events => (sse(true, asked), Kind::Events),
                _ => (Framing::Array, Kind::JsonParts),
            };
            return framed(&prompt, &answer, asked, out, (framing, kind), json, stream);
        }
        Endpoint::Converse { stream } => {
            let prompt = bedrock::converse::prompt(body, named.unwrap_or_default(), stream)?;
            let answer = Answer::new(Interface::Converse, provider, &prompt, asked, echo())?;
            let (framing, dialect) = ((Framing::AwsEvents, Kind::AwsEvents), Dialect::Converse);
            return framed(
                &prompt,
                &answer,
                asked,
                out,
                framing,
                |answer, out| bedrock::converse::json(answer, &prompt, dialect, out),
                |answer, events| bedrock::converse::stream(answer, &prompt, dialect, events),
            );
        }
        Endpoint::Files
        | Endpoint::File(_)
        | Endpoint::FileContent(_)
        | Endpoint::Batches
        | Endpoint::Batch(_)
        | Endpoint::CancelBatch(_)
        | Endpoint::MessageBatches
        | Endpoint::MessageBatch(_)
        | Endpoint::CancelMessageBatch(_)
        | Endpoint::MessageBatchResults(_) => {
            whole(asked)?;
            return kept::write(store, provider, endpoint, parts, body, asked);
        }
        Endpoint::Images => {
            fits(Interface::Images, provider, asked)?;
            let images = Images::of(provider, named, body, asked)?;
            if images.stream {
                return events(asked, images.tokens(), |events| images.stream(events));
            }
            whole(asked)?;
            images.json(&mut out);
        }
        Endpoint::Speech => {
            fits(Interface::Speech, provider, asked)?;
            let speech = Speech::of(named, body, asked)?;
            if speech.events {
                return events(asked, speech.tokens(), |events| speech.stream(events));
            }
            return spoken(speech, asked);
        }
        Endpoint::Transcriptions | Endpoint::Translations => {
            fits(Interface::Transcription, provider, asked)?;
            let translation = endpoint == Endpoint::Translations;
            let transcription = Transcription::of(&parts.headers, named, translation, body, asked)?;
            if transcription.stream {
                return events(asked, transcription.tokens(), |events| transcription.stream(events));
            }
            whole(asked)?;
            transcription.whole(&mut out);
            if transcription.plain() {
                return Ok(Written {
                    kind: Kind::Other("text/plain; charset=utf-8"),
                    ..Written::json(out)
                });
            }
        }
        Endpoint::Invoke { stream } => return invoke::write(named.unwrap_or_default(), stream, parts, body, asked),
        Endpoint::CountTokens => {
            let prompt = anthropic::messages::prompt(body, named, true)?;
            anthropic::messages::count(&prompt, &mut out);
        }
        Endpoint::Embeddings => openai::embeddings::json(provider, named, body, asked, &mut out)?,
        Endpoint::Moderations => openai::moderations::json(body, &mut out)?,
        Endpoint::Ocr => mistral::ocr::json(body, asked, &mut out)?,
        Endpoint::CountContents => {
            let model = named.unwrap_or_default();
            google::content::count(provider, model, body, asked, &mut out)?;
        }
        Endpoint::EmbedContent => google::embeddings::one(body, asked, &mut out)?,
        Endpoint::BatchEmbedContents => google::embeddings::batch(body, asked, &mut out)?,
        Endpoint::Predict => google::embeddings::predict(body, asked, &mut out)?,
        Endpoint::Models => match provider {
            Provider::Anthropic => anthropic::models::list(&mut out),
            Provider::Gemini | Provider::Vertex => google::models::list(provider, &mut out),
            Provider::Mistral => mistral::models::list(&mut out),
            _ => openai::models::list(&mut out),
        },
        Endpoint::Model(id) => match provider {
            Provider::Anthropic => anthropic::models::one(&id, &mut out)?,
            Provider::Gemini | Provider::Vertex => google::models::one(provider, &id, &mut out)?,
            Provider::Mistral => mistral::models::one(&id, &mut out)?,
            _ => openai::models::one(&id, &mut out)?,
        },
        Endpoint::Requests => {}
    }
    Ok(Written::json(out))
}

impl Written {
    fn json(out: Out) -> Self {
        Self {
            kind: Kind::Json,
            bytes: out.0,
            frames: None,
            tokens: 0,
            headers: Vec::new(),
        }
    }
}

/// Server-sent events as the provider frames them, or as they are asked for.
fn sse(crlf: bool, asked: &Directives) -> Framing {
    Framing::Sse {
        crlf: crlf || asked.crlf,
        comments: asked.comments,
    }
}

/// Writes an answer as the request wants it: whole or as server-sent events.
fn generated<'a>(
    prompt: &Prompt<'_>,
    answer: &Answer<'a>,
    asked: &Directives,
    out: Out,
    json: impl FnOnce(&Answer<'a>, &mut Out),
    stream: impl FnOnce(&Answer<'a>, &mut Events),
) -> Result<Written, Refusal> {
    framed(prompt, answer, asked, out, (sse(false, asked), Kind::Events), json, stream)
}

/// Writes an answer whole, or as events in the framing of the provider.
fn framed<'a>(
    prompt: &Prompt<'_>,
    answer: &Answer<'a>,
    asked: &Directives,
    mut out: Out,
    (framing, kind): (Framing, Kind),
    json: impl FnOnce(&Answer<'a>, &mut Out),
    stream: impl FnOnce(&Answer<'a>, &mut Events),
) -> Result<Written, Refusal> {
    if !prompt.stream {
        whole(asked)?;
        json(answer, &mut out);
        return Ok(Written::json(out));
    }
    streamed(asked, framing)?;
    let count = asked.chunks.unwrap_or(WORDS_DEFAULT) + 8;
    let mut events = Events::new(count, framing);
    stream(answer, &mut events);
    Ok(Written {
        kind,
        bytes: events.out.0,
        frames: Some(events.frames),
        tokens: answer.content.tokens(),
        headers: Vec::new(),
    })
}

/// Writes server-sent events that are no [`Answer`].
fn events(asked: &Directives, tokens: u64, stream: impl FnOnce(&mut Events)) -> Result<Written, Refusal> {
    let framing = sse(false, asked);
    streamed(asked, framing)?;
    let mut events = Events::new(WORDS_DEFAULT, framing);
    stream(&mut events);
    Ok(Written {
        kind: Kind::Events,
        bytes: events.out.0,
        frames: Some(events.frames),
        tokens,
        headers: Vec::new(),
    })
}

/// Writes speech as bytes, which come in parts but are no events.
fn spoken(speech: Speech, asked: &Directives) -> Result<Written, Refusal> {
    let framed = asked.crlf || asked.comments || asked.error_after.is_some() || asked.cut_at.is_some();
    if framed {
        return Err(Refusal::DirectiveConflict {
            key: "error_after",
            reason: "and the like are not for bytes in parts; `cut_after` counts the parts",
        });
    }
    let (kind, tokens) = (Kind::Other(speech.media_type), speech.tokens());
    let (bytes, frames) = speech.bytes();
    Ok(Written {
        kind,
        bytes,
        frames: Some(frames),
        tokens,
        headers: Vec::new(),
    })
}

/// Refuses what can only be asked of streams.
fn whole(asked: &Directives) -> Result<(), Refusal> {
    let reason = "counts events, and this request does not ask for a stream";
    for (key, value) in [
        ("cut_after", asked.cut_after),
        ("stall_after", asked.stall_after),
        ("error_after", asked.error_after),
    ] {
        if value.is_some() {
            return Err(Refusal::DirectiveConflict { key, reason });
        }
    }
    Ok(())
}

/// Refuses what cannot be asked of streams, or not of this one.
fn streamed(asked: &Directives, framing: Framing) -> Result<(), Refusal> {
    if asked.cut_at.is_some() {
        return Err(Refusal::DirectiveConflict {
            key: "cut_at",
            reason: "counts bytes of a whole answer, and this request asks for a stream",
        });
    }
    if asked.encoding.is_some() && matches!(framing, Framing::AwsEvents | Framing::AwsChunks) {
        return Err(Refusal::DirectiveConflict {
            key: "encoding",
            reason: "is not understood by Amazon's SDKs on event streams",
        });
    }
    let lines = matches!(framing, Framing::Sse { .. });
    for (key, wanted) in [("crlf", asked.crlf), ("comments", asked.comments)] {
        if wanted && !lines {
            let reason = "is for server-sent events, and this stream has none";
            return Err(Refusal::DirectiveConflict { key, reason });
        }
    }
    Ok(())
}
