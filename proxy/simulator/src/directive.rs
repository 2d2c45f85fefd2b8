//! The `x-simulate` request header: `key=value; key=value`.
//!
//! Parsing only: what a key does is done where the answer is made. A key that is unknown, given twice or has a
//! value outside its range refuses the request, so that a test never passes because of a misspelt directive.
//! The keys are documented for users in docs/simulator.md and in the crate's own documentation.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use crate::refusal::Refusal;

/// The name of the request header.
pub(crate) const HEADER: &str = "x-simulate";

/// The largest token count that can be asked for.
const TOKENS_MAX: u64 = 1_000_000_000_000;
/// The largest text that can be asked for, in bytes.
pub(crate) const TEXT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The most content chunks of a stream.
pub(crate) const CHUNKS_MAX: u64 = 100_000;
/// The longest delay that can be asked for, in milliseconds.
const DELAY_MS_MAX: u64 = 3_600_000;
/// The longest `id`, in bytes.
const ID_BYTES_MAX: usize = 128;

/// Every key, in the order in which the documentation lists them.
pub(crate) const KEYS: &[&str] = &[
    "id",
    "bytes",
    "chunks",
    "chunk_bytes",
    "echo",
    "tool",
    "model",
    "delay_ms",
    "ttft_ms",
    "tps",
    "flush",
    "status",
    "retry_after",
    "fail_times",
    "drop",
    "cut_after",
    "cut_at",
    "cut",
    "stall_after",
    "error_after",
    "input",
    "cache_read",
    "cache_write",
    "cache_write_5m",
    "cache_write_1h",
    "output",
    "reasoning",
    "audio_in",
    "audio_out",
    "image_in",
    "image_out",
    "tool_input",
    "web_search",
    "seconds",
    "pages",
    "polls",
    "service_tier",
    "unknown_usage_field",
    "usage",
    "usage_at",
    "include_usage",
    "repeat_usage",
    "encoding",
    "crlf",
    "comments",
];

/// What the answer's text says about the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Echo {
    /// Nothing: the text is made of words.
    #[default]
    No,
    /// Method, path, headers, and the body's length and SHA-256.
    Head,
    /// The same, and the body as text.
    Body,
}

/// The form of the usage object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum UsageShape {
    /// As the provider sends it.
    #[default]
    Whole,
    /// No usage anywhere.
    Absent,
    /// `"usage": null` where the object belongs.
    Null,
    /// Every count is an explicit zero.
    Zero,
    /// Totals without any breakdown.
    Totals,
}

/// Where in a stream the usage stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum UsageAt {
    /// Where the provider puts it.
    #[default]
    Own,
    /// On the chunk that carries the finish reason (chat, completions, Gemini).
    Finish,
    /// Running totals on every chunk (chat, completions); cumulative `message_delta`s (messages).
    Every,
    /// In a last chunk that has no `choices` key (chat, completions).
    NoChoices,
    /// In a last chunk whose `choices` holds one empty delta (chat, completions).
    EmptyDelta,
    /// Input counts in `message_start` only, output alone in `message_delta` (messages).
    Start,
    /// Zeros in `message_start`, everything in `message_delta` (messages).
    Delta,
}

/// How a connection that is cut goes away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Cut {
    /// With a TCP reset.
    #[default]
    Reset,
    /// With an orderly TCP close, in the middle of the body.
    Close,
}

/// The compression of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// gzip (RFC 1952)
    Gzip,
    /// Brotli (RFC 7932)
    Brotli,
    /// Zstandard (RFC 8878)
    Zstd,
}

/// What one request asks of the simulator; the default asks for nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Directives {
    pub(crate) id: Option<Box<str>>,
    pub(crate) bytes: Option<usize>,
    pub(crate) chunks: Option<usize>,
    pub(crate) chunk_bytes: Option<usize>,
    pub(crate) echo: Echo,
    pub(crate) tool: Option<bool>,
    pub(crate) model: Option<Box<str>>,
    pub(crate) delay: Duration,
    pub(crate) first_token: Duration,
    pub(crate) tokens_per_second: Option<u64>,
    pub(crate) unflushed: bool,
    pub(crate) status: Option<StatusCode>,
    pub(crate) retry_after: Option<Box<str>>,
    pub(crate) fail_times: Option<u64>,
    pub(crate) drop: bool,
    pub(crate) cut_after: Option<usize>,
    pub(crate) cut_at: Option<usize>,
    pub(crate) cut: Cut,
    pub(crate) stall_after: Option<usize>,
    pub(crate) error_after: Option<usize>,
    pub(crate) input: Option<u64>,
    pub(crate) cache_read: Option<u64>,
    pub(crate) cache_write: Option<u64>,
    pub(crate) cache_write_5m: Option<u64>,
    pub(crate) cache_write_1h: Option<u64>,
    pub(crate) output: Option<u64>,
    pub(crate) reasoning: Option<u64>,
    pub(crate) audio_in: Option<u64>,
    pub(crate) audio_out: Option<u64>,
    pub(crate) image_in: Option<u64>,
    pub(crate) image_out: Option<u64>,
    pub(crate) tool_input: Option<u64>,
    pub(crate) web_search: Option<u64>,
    pub(crate) seconds: Option<u64>,
    pub(crate) pages: Option<u64>,
    pub(crate) polls: Option<u64>,
    pub(crate) service_tier: Option<Box<str>>,
    pub(crate) unknown_usage_field: Option<(Box<str>, u64)>,
    pub(crate) usage: UsageShape,
    pub(crate) usage_at: UsageAt,
    pub(crate) include_usage: bool,
    pub(crate) repeat_usage: bool,
    pub(crate) encoding: Option<Encoding>,
    pub(crate) crlf: bool,
    pub(crate) comments: bool,
}

impl Directives {
    /// Reads the directives of a request; several header lines count as one.
    ///
    /// # Errors
    /// A `Directive*` refusal that names the key.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut directives = Self::default();
        let mut seen: Vec<&'static str> = Vec::new();
        for line in headers.get_all(HEADER) {
            let line = line.to_str().map_err(|_| Refusal::DirectiveSyntax {
                part: "(not ASCII)".into(),
            })?;
            for part in line.split(';').map(str::trim).filter(|part| !part.is_empty()) {
                let Some((key, value)) = part.split_once('=') else {
                    return Err(Refusal::DirectiveSyntax { part: part.to_owned() });
                };
                let (key, value) = (key.trim(), value.trim());
                let Some(key) = KEYS.iter().copied().find(|known| *known == key) else {
                    return Err(Refusal::DirectiveUnknown {
                        key: key.to_owned(),
                        known: KEYS.join(", "),
                    });
                };
                if seen.contains(&key) {
                    return Err(Refusal::DirectiveTwice { key: key.to_owned() });
                }
                seen.push(key);
                directives.set(key, value)?;
            }
        }
        directives.check()?;
        Ok(directives)
    }

    fn set(&mut self, key: &'static str, value: &str) -> Result<(), Refusal> {
        let tokens = || number(key, value, 0, TOKENS_MAX, "a token count from 0 to 10^12");
        let events = || number(key, value, 0, CHUNKS_MAX, "a number of events from 0 to 100000").map(size);
        match key {
            "id" => self.id = Some(name(key, value)?),
            "bytes" => {
                self.bytes = Some(size(number(key, value, 0, TEXT_BYTES_MAX, "0 to 16777216 bytes")?));
            }
            "chunks" => self.chunks = Some(size(number(key, value, 1, CHUNKS_MAX, "1 to 100000 chunks")?)),
            "chunk_bytes" => {
                self.chunk_bytes = Some(size(number(key, value, 1, TEXT_BYTES_MAX, "1 to 16777216 bytes")?));
            }
            "echo" => {
                self.echo = choice(
                    key,
                    value,
                    "1 or body",
                    &[("0", Echo::No), ("1", Echo::Head), ("body", Echo::Body)],
                )?;
            }
            "tool" => self.tool = Some(flag(key, value)?),
            "model" => self.model = Some(name(key, value)?),
            "delay_ms" => self.delay = millis(key, value)?,
            "ttft_ms" => self.first_token = millis(key, value)?,
            "tps" => {
                self.tokens_per_second = Some(number(key, value, 1, 1_000_000, "1 to 1000000 tokens a second")?);
            }
            "flush" => self.unflushed = !flag(key, value)?,
            "status" => {
                let expected = "a status from 400 to 599";
                let status = u16::try_from(number(key, value, 400, 599, expected)?).ok();
                self.status = status.and_then(|status| StatusCode::from_u16(status).ok());
            }
            "retry_after" => {
                let seconds: f64 = value.parse().unwrap_or(f64::NAN);
                if !(0.0..=86_400.0).contains(&seconds) {
                    return Err(wrong(key, value, "seconds from 0 to 86400, with decimals or without"));
                }
                self.retry_after = Some(value.into());
            }
            "fail_times" => self.fail_times = Some(number(key, value, 0, 1_000_000, "0 to 1000000 failures")?),
            "drop" => self.drop = flag(key, value)?,
            "cut_after" => self.cut_after = Some(events()?),
            "cut_at" => {
                self.cut_at = Some(size(number(key, value, 0, TEXT_BYTES_MAX, "0 to 16777216 bytes")?));
            }
            "cut" => self.cut = choice(key, value, "reset or close", &[("reset", Cut::Reset), ("close", Cut::Close)])?,
            "stall_after" => self.stall_after = Some(events()?),
            "error_after" => self.error_after = Some(events()?),
            "input" => self.input = Some(tokens()?),
            "cache_read" => self.cache_read = Some(tokens()?),
            "cache_write" => self.cache_write = Some(tokens()?),
            "cache_write_5m" => self.cache_write_5m = Some(tokens()?),
            "cache_write_1h" => self.cache_write_1h = Some(tokens()?),
            "output" => self.output = Some(tokens()?),
            "reasoning" => self.reasoning = Some(tokens()?),
            "audio_in" => self.audio_in = Some(tokens()?),
            "audio_out" => self.audio_out = Some(tokens()?),
            "image_in" => self.image_in = Some(tokens()?),
            "image_out" => self.image_out = Some(tokens()?),
            "tool_input" => self.tool_input = Some(tokens()?),
            "seconds" => self.seconds = Some(number(key, value, 0, 1_000_000, "0 to 1000000 seconds")?),
            "pages" => self.pages = Some(number(key, value, 1, 1000, "1 to 1000 pages")?),
            "polls" => self.polls = Some(number(key, value, 0, 1_000_000, "0 to 1000000 looks")?),
            "web_search" => self.web_search = Some(number(key, value, 0, 100, "0 to 100 searches")?),
            "service_tier" => self.service_tier = Some(name(key, value)?),
            "unknown_usage_field" => {
                let expected = "NAME:N, a field name and a token count";
                let (field, count) = value.split_once(':').ok_or_else(|| wrong(key, value, expected))?;
                let count = number(key, count, 0, TOKENS_MAX, expected)?;
                self.unknown_usage_field = Some((name(key, field)?, count));
            }
            "usage" => {
                let shapes = [
                    ("whole", UsageShape::Whole),
                    ("none", UsageShape::Absent),
                    ("null", UsageShape::Null),
                    ("zero", UsageShape::Zero),
                    ("totals", UsageShape::Totals),
                ];
                self.usage = choice(key, value, "whole, none, null, zero or totals", &shapes)?;
            }
            "usage_at" => {
                let places = [
                    ("own", UsageAt::Own),
                    ("finish", UsageAt::Finish),
                    ("every", UsageAt::Every),
                    ("nochoices", UsageAt::NoChoices),
                    ("emptydelta", UsageAt::EmptyDelta),
                    ("start", UsageAt::Start),
                    ("delta", UsageAt::Delta),
                ];
                let expected = "own, finish, every, nochoices, emptydelta, start or delta";
                self.usage_at = choice(key, value, expected, &places)?;
            }
            "include_usage" => self.include_usage = flag(key, value)?,
            "repeat_usage" => self.repeat_usage = flag(key, value)?,
            "encoding" => {
                let encodings = [
                    ("gzip", Some(Encoding::Gzip)),
                    ("br", Some(Encoding::Brotli)),
                    ("zstd", Some(Encoding::Zstd)),
                ];
                self.encoding = choice(key, value, "gzip, br or zstd", &encodings)?;
            }
            "crlf" => self.crlf = flag(key, value)?,
            "comments" => self.comments = flag(key, value)?,
            _ => {
                return Err(Refusal::DirectiveUnknown {
                    key: key.to_owned(),
                    known: KEYS.join(", "),
                });
            }
        }
        Ok(())
    }

    /// Refuses combinations that contradict each other whatever the endpoint.
    fn check(&self) -> Result<(), Refusal> {
        let conflict = |key, reason| Err(Refusal::DirectiveConflict { key, reason });
        if self.fail_times.is_some() && self.id.is_none() {
            return conflict("fail_times", "needs an `id` to count by");
        }
        if self.retry_after.is_some() && self.status.is_none() && self.fail_times.is_none() {
            return conflict("retry_after", "needs `status` or `fail_times`");
        }
        if self.bytes.is_some() && self.chunks.is_some() && self.chunk_bytes.is_some() {
            return conflict("chunk_bytes", "follows from `bytes` and `chunks`: give two of the three");
        }
        if self.bytes.zip(self.chunks).is_some_and(|(bytes, chunks)| chunks > bytes) {
            return conflict("chunks", "is more than `bytes`, and a chunk holds at least one");
        }
        let product = self
            .chunks
            .zip(self.chunk_bytes)
            .map(|(chunks, each)| chunks.saturating_mul(each));
        if product.is_some_and(|bytes| bytes as u64 > TEXT_BYTES_MAX) {
            return conflict("chunks", "times `chunk_bytes` is over 16777216 bytes");
        }
        if let (Some(whole), Some(part)) = (self.cache_write, self.cache_write_by_lifetime())
            && whole != part
        {
            return conflict("cache_write", "is not the sum of `cache_write_5m` and `cache_write_1h`");
        }
        Ok(())
    }

    /// The tokens written to the cache, where their lifetimes are given apart.
    fn cache_write_by_lifetime(&self) -> Option<u64> {
        match (self.cache_write_5m, self.cache_write_1h) {
            (None, None) => None,
            (five, hour) => Some(five.unwrap_or(0) + hour.unwrap_or(0)),
        }
    }

    /// The tokens written to the cache for (5 minutes, 1 hour).
    pub(crate) fn cache_writes(&self) -> (u64, u64) {
        match self.cache_write_by_lifetime() {
            Some(_) => (self.cache_write_5m.unwrap_or(0), self.cache_write_1h.unwrap_or(0)),
            None => (self.cache_write.unwrap_or(0), 0),
        }
    }
}

fn wrong(key: &'static str, value: &str, expected: &'static str) -> Refusal {
    Refusal::DirectiveValue {
        key,
        value: value.to_owned(),
        expected,
    }
}

fn number(key: &'static str, value: &str, min: u64, max: u64, expected: &'static str) -> Result<u64, Refusal> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    match value.parse::<u64>() {
        Ok(number) if digits && (min..=max).contains(&number) => Ok(number),
        _ => Err(wrong(key, value, expected)),
    }
}

/// A number that was checked against a limit below 2^32.
fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn millis(key: &'static str, value: &str) -> Result<Duration, Refusal> {
    number(key, value, 0, DELAY_MS_MAX, "milliseconds from 0 to 3600000").map(Duration::from_millis)
}

fn flag(key: &'static str, value: &str) -> Result<bool, Refusal> {
    choice(key, value, "0 or 1", &[("0", false), ("1", true)])
}

fn name(key: &'static str, value: &str) -> Result<Box<str>, Refusal> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    if value.is_empty() || value.len() > ID_BYTES_MAX || !value.bytes().all(plain) {
        return Err(wrong(
            key,
            value,
            "1 to 128 printable ASCII characters without spaces, quotes or backslashes",
        ));
    }
    Ok(value.into())
}

fn choice<T: Copy>(key: &'static str, value: &str, expected: &'static str, all: &[(&str, T)]) -> Result<T, Refusal> {
    let found = all.iter().find(|(name, _)| *name == value);
    found.map(|(_, chosen)| *chosen).ok_or_else(|| wrong(key, value, expected))
}

#[cfg(test)]
mod tests;
