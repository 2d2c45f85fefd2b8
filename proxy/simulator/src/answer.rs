//! Decides what is answered, independently of the wire: text or tool call, its size, its tokens.
//!
//! The files in the providers' folders write an [`Answer`] in their own shapes and decide nothing.

use std::borrow::Cow;

use serde_json::Value;

use crate::bedrock;
use crate::directive::{CHUNKS_MAX, Directives, Echo, TEXT_BYTES_MAX, UsageAt};
use crate::models;
use crate::prompt::{Last, Prompt};
use crate::refusal::Refusal;
use crate::route::Provider;
use crate::text::{Size, Text, tokens_of_bytes};
use crate::tool::{self, Call, Choice};
use crate::usage::Usage;

/// The length of a thinking block of which nothing is asked, in words.
const THINKING_WORDS: usize = 12;

/// The interface that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interface {
    Chat,
    Completions,
    Responses,
    Messages,
    /// Google's `generateContent`.
    Generate,
    /// Bedrock's `Converse`, and Nova's bodies.
    Converse,
    /// Bodies of Bedrock's other models, which take a text and give one.
    Text,
    Images,
    Speech,
    /// Transcriptions and translations.
    Transcription,
}

/// What is said.
pub(crate) enum Content {
    Text(Text),
    /// A tool's name, and its arguments as a JSON text.
    Call(String, Text),
}

/// One answer, before it is written.
pub(crate) struct Answer<'a> {
    /// Whose variety of the interface is spoken.
    pub(crate) provider: Provider,
    pub(crate) model: Cow<'a, str>,
    pub(crate) content: Content,
    /// The text of a thinking block, where the request asks to be shown the thinking.
    pub(crate) thinking: Option<Text>,
    pub(crate) usage: Usage,
    /// What identifiers follow from.
    pub(crate) seed: u64,
    pub(crate) choices: usize,
    pub(crate) service_tier: Cow<'a, str>,
    pub(crate) include_usage: bool,
    pub(crate) usage_at: UsageAt,
    pub(crate) repeat_usage: bool,
    /// Send an error instead of the rest, after so many events.
    pub(crate) error_after: Option<usize>,
}

impl<'a> Answer<'a> {
    /// Decides on the answer to a prompt; `echo` is the text to answer with where the request is to be echoed.
    ///
    /// # Errors
    /// A refusal where a directive does not fit the interface, or contradicts the request.
    pub(crate) fn new(
        interface: Interface,
        provider: Provider,
        prompt: &'a Prompt<'a>,
        asked: &'a Directives,
        echo: Option<String>,
    ) -> Result<Self, Refusal> {
        fits(interface, provider, asked)?;
        let size = Size {
            bytes: asked.bytes,
            chunks: asked.chunks,
            chunk_bytes: asked.chunk_bytes,
            tokens_max: prompt.tokens_max,
        };
        let content = match (echo, call(prompt, asked)?, &prompt.schema) {
            (Some(echo), _, _) => Content::Text(Text::given(echo, size)),
            (None, Some(call), _) => Content::Call(call.name, Text::given(call.arguments, size)),
            (None, None, Some(schema)) => {
                let schema: Value = serde_json::from_str(schema).map_err(|error| Refusal::JsonType {
                    reason: format!("schema: {error}"),
                })?;
                Content::Text(Text::given(tool::sample(&schema), size))
            }
            (None, None, None) => Content::Text(Text::words(size, prompt.seed)),
        };
        bounded(prompt, asked, &content)?;
        let thinking = prompt.thinking.then(|| {
            let size = Size {
                chunks: Some(THINKING_WORDS),
                ..Size::default()
            };
            Text::words(size, !prompt.seed)
        });
        let visible = content.tokens() * prompt.choices as u64;
        let thought = thinking.as_ref().map_or(0, |thinking| thinking.tokens);
        Ok(Self {
            provider,
            model: match &asked.model {
                Some(model) => Cow::Borrowed(model),
                None if provider == Provider::Bedrock && interface == Interface::Messages => {
                    Cow::Borrowed(bedrock::plain(&prompt.model.0))
                }
                None => models::answering(provider, &prompt.model.0),
            },
            content,
            thinking,
            usage: Usage::new(asked, prompt.input_tokens, visible, thought)?,
            seed: prompt.seed,
            choices: prompt.choices,
            service_tier: Cow::Borrowed(service_tier(interface, prompt, asked)),
            include_usage: prompt.include_usage || asked.include_usage,
            usage_at: asked.usage_at,
            repeat_usage: asked.repeat_usage,
            error_after: asked.error_after,
        })
    }

    /// Whether the request's limit on tokens ended the answer.
    pub(crate) fn cut_short(&self) -> bool {
        matches!(&self.content, Content::Text(text) if text.cut_short)
    }

    /// How many output tokens a stream has generated after `done` of `all` pieces.
    pub(crate) fn output_after(&self, done: usize, all: usize) -> u64 {
        let share = u128::from(self.usage.output) * done as u128 / (all.max(1) as u128);
        u64::try_from(share).unwrap_or(u64::MAX)
    }
}

impl Content {
    /// The generated tokens.
    pub(crate) fn tokens(&self) -> u64 {
        match self {
            Self::Text(text) => text.tokens,
            Self::Call(name, arguments) => tokens_of_bytes((name.len() + arguments.body.len()) as u64),
        }
    }
}

/// A tool is called when tools are offered and not forbidden, the user spoke last, and the call is forced by the
/// request, asked for with `tool=1`, or the user speaks of the weather.
fn call(prompt: &Prompt<'_>, asked: &Directives) -> Result<Option<Call>, Refusal> {
    let (Some(tools), Last::User { asks_weather }) = (prompt.tools, prompt.last) else {
        return Ok(None);
    };
    let choice = Choice::of(prompt.tool_choice);
    let forced = matches!(choice, Choice::Must | Choice::Named(_));
    if choice == Choice::Never || !asked.tool.unwrap_or(forced || asks_weather) {
        return Ok(None);
    }
    tool::call(tools, &choice)
}

fn service_tier<'a>(interface: Interface, prompt: &'a Prompt<'_>, asked: &'a Directives) -> &'a str {
    let sent = prompt.service_tier.as_ref().map_or("", |tier| &*tier.0);
    match (&asked.service_tier, interface, sent) {
        (Some(tier), _, _) => tier,
        (None, Interface::Generate, _) => "",
        (None, Interface::Messages, _) => "standard",
        (None, _, "fast") => "priority",
        (None, _, "flex" | "priority" | "scale") => sent,
        (None, _, _) => "default",
    }
}

/// Refuses streams of more chunks, and answers of more text, than fit into memory comfortably. Only what was asked for
/// can be that large: the default is not counted.
fn bounded(prompt: &Prompt<'_>, asked: &Directives, content: &Content) -> Result<(), Refusal> {
    let sized = asked.bytes.or(asked.chunks).or(asked.chunk_bytes).is_some();
    if !sized && asked.echo == Echo::No && prompt.choices == 1 {
        return Ok(());
    }
    let (Content::Text(text) | Content::Call(_, text)) = content;
    if text.body.len().saturating_mul(prompt.choices) as u64 > TEXT_BYTES_MAX * 4 {
        return Err(Refusal::DirectiveConflict {
            key: "bytes",
            reason: "times the number of choices is over 67108864 bytes",
        });
    }
    if prompt.stream && text.pieces().len().saturating_mul(prompt.choices) as u64 > CHUNKS_MAX {
        let reason = "makes more than 100000 chunks: ask for larger ones";
        return Err(Refusal::DirectiveConflict {
            key: "chunk_bytes",
            reason,
        });
    }
    Ok(())
}

/// Refuses directives that mean nothing on this interface, rather than ignoring them.
pub(crate) fn fits(interface: Interface, provider: Provider, asked: &Directives) -> Result<(), Refusal> {
    let mistral = provider == Provider::Mistral;
    let openai_chunks = matches!(interface, Interface::Chat | Interface::Completions);
    let google = interface == Interface::Generate;
    let fits = match asked.usage_at {
        UsageAt::Own => true,
        UsageAt::Finish if mistral => true,
        _ if mistral => false,
        UsageAt::Every => openai_chunks || google || interface == Interface::Messages,
        UsageAt::Finish => openai_chunks || google,
        UsageAt::NoChoices | UsageAt::EmptyDelta => openai_chunks,
        UsageAt::Start | UsageAt::Delta => interface == Interface::Messages,
    };
    let reason = "does not exist on this interface";
    if !fits {
        return Err(Refusal::DirectiveConflict { key: "usage_at", reason });
    }
    let media = matches!(interface, Interface::Images | Interface::Speech | Interface::Transcription);
    let audio = interface == Interface::Chat && !mistral || google;
    let bedrock = matches!(interface, Interface::Converse | Interface::Text);
    let (images, tool_input) = (google || interface == Interface::Images, google);
    let web_search = !openai_chunks && !bedrock && !media;
    let cache_read = interface != Interface::Text && !media;
    let cache_write = cache_read && !google && !mistral;
    for (key, fits, value) in [
        ("audio_in", audio || interface == Interface::Transcription, asked.audio_in),
        ("audio_out", audio, asked.audio_out),
        ("image_in", images, asked.image_in),
        ("image_out", images, asked.image_out),
        ("tool_input", tool_input, asked.tool_input),
        ("cache_read", cache_read, asked.cache_read),
        ("cache_write", cache_write, asked.cache_write),
        ("cache_write_5m", cache_write, asked.cache_write_5m),
        ("cache_write_1h", cache_write, asked.cache_write_1h),
        ("reasoning", !media, asked.reasoning),
        ("web_search", web_search, asked.web_search),
        ("seconds", mistral || interface == Interface::Transcription, asked.seconds),
        ("pages", false, asked.pages),
    ] {
        if value.is_some() && !fits {
            return Err(Refusal::DirectiveConflict { key, reason });
        }
    }
    Ok(())
}
