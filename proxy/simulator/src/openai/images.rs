//! `POST /v1/images/generations`: pictures of one pixel, and what they cost.
//!
//! GPT image models report tokens, and can stream: `image_generation.partial_image` as often as asked, then
//! `image_generation.completed`, which alone has the usage. DALL-E reports nothing and answers with addresses.

use serde::Deserialize;

use crate::directive::Directives;
use crate::events::Events;
use crate::models::answering;
use crate::out::{CREATED, Out, base64, id};
use crate::prompt::{Str, Tally, parse};
use crate::refusal::Refusal;
use crate::route::Provider;
use crate::usage::Usage;
use crate::vector::bytes;

/// A PNG of one pixel.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";
/// The most images of one request, and the most partial ones of a stream (OpenAI's limits).
const IMAGES_MAX: u64 = 10;
const PARTIAL_MAX: u64 = 3;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    model: Option<Str<'a>>,
    #[serde(borrow)]
    prompt: Option<Str<'a>>,
    n: Option<u64>,
    #[serde(borrow)]
    size: Option<Str<'a>>,
    #[serde(borrow)]
    quality: Option<Str<'a>>,
    #[serde(borrow)]
    response_format: Option<Str<'a>>,
    stream: Option<bool>,
    partial_images: Option<u64>,
}

/// Pictures, before they are written.
pub(crate) struct Images {
    dalle: bool,
    addresses: bool,
    count: u64,
    partial: u64,
    size: String,
    quality: String,
    picture: String,
    usage: Usage,
    seed: u64,
    pub(crate) stream: bool,
    error_after: Option<usize>,
    repeat_usage: bool,
}

impl Images {
    /// Reads a request and decides on its answer.
    ///
    /// # Errors
    /// A refusal where it is not JSON, misses a field or asks for too many.
    pub(crate) fn of(provider: Provider, deployment: Option<&str>, body: &[u8], asked: &Directives) -> Result<Self, Refusal> {
        let request: Request<'_> = parse(body)?;
        let prompt = request.prompt.ok_or(Refusal::FieldMissing { name: "prompt" })?;
        let model = request
            .model
            .as_ref()
            .map(|model| &*model.0)
            .or(deployment)
            .unwrap_or("dall-e-2");
        let model = answering(provider, model);
        let dalle = model.starts_with("dall-e");
        let (count, partial) = (request.n.unwrap_or(1), request.partial_images.unwrap_or(0));
        for (name, value, min, max) in [("n", count, 1, IMAGES_MAX), ("partial_images", partial, 0, PARTIAL_MAX)] {
            if !(min..=max).contains(&value) {
                let reason = "expected 1 to 10 images, of which up to 3 partial ones of a stream";
                return Err(Refusal::FieldInvalid { name, reason });
            }
        }
        let chosen = |sent: &Option<Str<'_>>, auto: &str| match sent.as_ref().map(|sent| &*sent.0) {
            None | Some("auto") => auto.to_owned(),
            Some(sent) => sent.to_owned(),
        };
        let (size, quality) = (chosen(&request.size, "1024x1024"), chosen(&request.quality, "medium"));
        let mut tally = Tally::new();
        tally.text(&prompt.0);
        let drawn = tokens(&size, &quality) * count;
        // What is generated is the image, unless it is said how much of the output is.
        let asked_images = Directives {
            image_out: asked.image_out.or(asked.output).or(Some(drawn)),
            ..asked.clone()
        };
        Ok(Self {
            dalle,
            addresses: dalle && request.response_format.is_none_or(|format| format.0 == "url"),
            count,
            partial,
            size,
            quality,
            picture: asked
                .bytes
                .map_or_else(|| PIXEL.to_owned(), |length| base64(&bytes(tally.seed(), length))),
            usage: Usage::new(&asked_images, tally.input_tokens(), 0, 0)?,
            seed: tally.seed(),
            stream: request.stream.unwrap_or(false) && !dalle,
            error_after: asked.error_after,
            repeat_usage: asked.repeat_usage,
        })
    }

    /// The generated tokens.
    pub(crate) fn tokens(&self) -> u64 {
        self.usage.output
    }

    /// Writes the whole answer.
    pub(crate) fn json(&self, out: &mut Out) {
        out.raw(r#"{"created":"#).number(CREATED);
        if !self.dalle {
            self.form(out);
        }
        out.raw(r#","data":["#);
        for index in 0..self.count {
            out.raw(if index == 0 { "{" } else { ",{" });
            if self.addresses {
                let name = id("img-", self.seed.wrapping_add(index), 24);
                out.raw(r#""url":"#).string(&format!("https://images.invalid/{name}.png"));
            } else {
                out.raw(r#""b64_json":"#).string(&self.picture);
            }
            out.raw("}");
        }
        out.raw("]");
        self.usage_member(out);
        out.raw("}");
    }

    /// Writes the stream.
    pub(crate) fn stream(&self, events: &mut Events) {
        if let Some(limit) = self.error_after {
            events.limit(limit);
        }
        for index in 0..self.partial {
            self.event(events, "image_generation.partial_image", |out| {
                out.raw(r#","partial_image_index":"#).number(index);
            });
        }
        for _ in 0..=usize::from(self.repeat_usage) {
            self.event(events, "image_generation.completed", |out| self.usage_member(out));
        }
        if self.error_after.is_some() {
            super::error_event(events);
        }
    }

    fn event(&self, events: &mut Events, name: &str, rest: impl FnOnce(&mut Out)) {
        events.event(Some(name), true, |out| {
            out.raw(r#"{"type":"#).string(name).raw(r#","created_at":"#).number(CREATED);
            self.form(out);
            out.raw(r#","b64_json":"#).string(&self.picture);
            rest(out);
            out.raw("}");
        });
    }

    fn form(&self, out: &mut Out) {
        out.raw(r#","background":"opaque","output_format":"png","quality":"#)
            .string(&self.quality);
        out.raw(r#","size":"#).string(&self.size);
    }

    fn usage_member(&self, out: &mut Out) {
        if self.usage.reported() && !self.dalle {
            self.usage.images(out.raw(r#","usage":"#));
        }
    }
}

/// The tokens of an image, by OpenAI's guide to image generation (gpt-image-1).
fn tokens(size: &str, quality: &str) -> u64 {
    let (square, upright, wide) = match quality {
        "low" => (272, 408, 400),
        "high" => (4160, 6240, 6208),
        _ => (1056, 1584, 1568),
    };
    match size {
        "1024x1536" => upright,
        "1536x1024" => wide,
        _ => square,
    }
}
