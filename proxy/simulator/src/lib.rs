//! A deterministic simulator of the HTTP interfaces of model providers, faithful to their wire formats.
//!
//! The quickstart, the tests and the benchmarks talk to it in place of a provider: it needs no key that costs money,
//! gives equal answers to equal requests, and fails, stalls, lies and counts exactly as told. It does not know the
//! gateway: it depends on no other crate of the workspace.
//!
//! # Endpoints
//! Those of OpenAI, Anthropic, the Gemini API, Vertex AI, Bedrock, Azure OpenAI and Mistral, each under a prefix of its own
//! (`/openai`, `/anthropic`, `/gemini`, `/vertex`, `/bedrock`, `/azure`, `/mistral`) and, where that is unambiguous, at the root; docs/simulator.md lists them. HTTP/1.1 and HTTP/2 with prior knowledge. Any
//! credential is taken; none at all is answered 401 or, where the provider does so, 403.
//!
//! `GET /simulator/requests?id=ID` shows how many requests with that id were seen and how they ended (`requests`,
//! `completed`, `failed`, `cut`, `closed_early`, `in_flight`, and `chunks`, the body frames handed out); with
//! `&until=closed_early:1&within_ms=5000` it answers as soon as that count is reached. Without an id it shows all
//! requests and the ids. `DELETE /simulator/requests` forgets them.
//!
//! # Answers
//! The text is made of words that follow from a hash of the prompt; a word is a token. 48 words unless asked
//! otherwise, a word a chunk. If tools are offered and the user spoke last, a tool is called where the user speaks of
//! the weather, where `tool_choice` demands it or where `tool=1` asks for it. Structured output (`json_schema`) is
//! answered with an object that fits. Input tokens: the bytes of all text in the prompt (messages, system,
//! instructions, tool results, the `tools` array as sent), divided by four and rounded up, plus 85 an image; at least 1.
//! Output tokens: the words of the text, and those of a thinking block; for text that is not words (tool calls, JSON,
//! echoes) a token for every four bytes begun. Times and identifiers in bodies are the same in every run.
//!
//! # The `x-simulate` request header
//! `key=value; key=value`. An unknown key, a value out of range or a contradiction is answered 400 and named.
//!
//! | key | meaning |
//! |---|---|
//! | `id=NAME` | counts the request under this name in `/simulator/requests` |
//! | `bytes=N`, `chunks=N`, `chunk_bytes=N` | length of the text, number of content chunks, text bytes a chunk; two of the three fix the third |
//! | `echo=1`, `echo=body` | the text is a JSON object: method, path, http, headers, body_bytes, body_sha256 (and body) |
//! | `tool=1`, `tool=0` | call a tool if any is offered; never call one |
//! | `model=NAME` | the model that the answer names |
//! | `delay_ms=N` | wait before the head of the answer |
//! | `ttft_ms=N` | wait after the head, before the first event (not streamed: before the head) |
//! | `tps=N` | tokens a second; spreads the content chunks of a stream |
//! | `flush=0` | let writes merge events; otherwise each event is a write of its own |
//! | `status=N` | answer an error, 400 to 599, in the provider's shape |
//! | `retry_after=S` | with a `retry-after` header of so many seconds (decimals allowed) |
//! | `fail_times=N` | only the first N requests of this `id` fail, with `status` (default 429) |
//! | `drop=1` | close the connection without an answer |
//! | `cut_after=N` | break the connection after N events of a stream |
//! | `cut_at=N` | break the connection after N bytes of an answer that is not streamed |
//! | `cut=reset`, `cut=close` | break it with a TCP reset (default) or an orderly close |
//! | `stall_after=N` | send nothing more after N events, and keep the connection |
//! | `error_after=N` | send the provider's error event in place of what follows the first N events |
//! | `input=N` | all input tokens, cached, written and audio ones included |
//! | `cache_read=N`, `cache_write=N`, `cache_write_5m=N`, `cache_write_1h=N` | cached tokens, inside `input` |
//! | `output=N`, `reasoning=N` | all output tokens; reasoning (thinking) tokens, inside `output` |
//! | `audio_in=N`, `audio_out=N` | audio tokens, inside `input` and `output` (chat, Gemini, transcriptions) |
//! | `image_in=N`, `image_out=N` | image tokens, inside `input` and `output` (Gemini, images) |
//! | `tool_input=N` | tokens that the provider's tools added, inside `input` (Gemini) |
//! | `seconds=N`, `pages=N` | seconds of audio (Mistral, transcriptions); pages of a document (OCR) |
//! | `polls=N` | on the creation of a batch: how many looks at it find it running |
//! | `web_search=N` | searches of the provider (responses: that many items; messages: `server_tool_use`; Gemini: queries) |
//! | `service_tier=NAME` | the tier that the answer names |
//! | `unknown_usage_field=NAME:N` | one more field in the usage object |
//! | `usage=none`, `null`, `zero`, `totals` | no usage; a null; explicit zeros; totals without breakdown |
//! | `usage_at=finish`, `every`, `nochoices`, `emptydelta` | chat and completions streams: on the finish chunk; running totals on every chunk; in a last chunk without `choices`; in a last chunk with an empty delta |
//! | `usage_at=every`, `finish` | Gemini streams: running totals on every chunk (its own way); counts on the last chunk only |
//! | `usage_at=start`, `delta`, `every` | messages streams: input in `message_start` only; zeros there; several cumulative `message_delta` |
//! | `include_usage=1` | a usage chunk although the request did not ask for one |
//! | `repeat_usage=1` | the event that carries the usage comes twice |
//! | `encoding=gzip`, `br`, `zstd` | compress the answer, flushed after each event |
//! | `crlf=1`, `comments=1` | end lines with CR LF; send comment lines between events |
//!
//! Token directives have one meaning for all providers, that of the table; each provider's convention is what is
//! written: OpenAI's `prompt_tokens` is `input` with the cached tokens inside, Anthropic's `input_tokens` is `input`
//! less `cache_read` and the cache writes, which stand beside it. Without `input` it is the counted tokens plus
//! the classes that were asked for. `output` changes what is reported, not the length of the text.

#![forbid(unsafe_code)]

mod answer;
mod anthropic;
mod bedrock;
mod body;
mod directive;
mod dispatch;
mod echo;
mod encode;
mod events;
mod eventstream;
mod failure;
mod google;
mod handler;
mod head;
mod mistral;
mod models;
mod multipart;
mod openai;
mod out;
mod prompt;
mod refusal;
mod route;
mod seen;
mod server;
mod socket;
mod store;
#[cfg(test)]
mod tests;
mod text;
mod tool;
mod usage;
mod vector;

pub use server::{BODY_BYTES_MAX_DEFAULT, Config, DRAIN_DEFAULT, Error, LISTEN_DEFAULT, Server, bind};
