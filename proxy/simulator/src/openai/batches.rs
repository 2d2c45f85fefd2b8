//! `/v1/batches`: the lines of a file, each answered as a request of its own.
//!
//! Answers are made at once, and shown when the batch has ended: after as many looks at it as `polls` asks for. Lines that
//! are refused go to the error file. `usage` is the sum over the output, as for batches created since September 2025.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::files;
use crate::directive::Directives;
use crate::failure;
use crate::out::{CREATED, Out, Seed, id};
use crate::prompt::{Str, parse};
use crate::refusal::Refusal;
use crate::route::Provider;
use crate::store::{Batch, BatchUsage, File, Progress, Stage, Store};

/// The most lines of a batch (OpenAI's limit).
const LINES_MAX: usize = 50_000;
/// The most bytes that the answers of a batch may take.
const OUTPUT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The paths that a batch may be for.
const ENDPOINTS: [&str; 4] = ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings"];

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    input_file_id: Option<Str<'a>>,
    #[serde(borrow)]
    endpoint: Option<Str<'a>>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    custom_id: Str<'a>,
    #[serde(borrow)]
    url: Str<'a>,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// What a batch leaves behind.
#[derive(Default)]
struct Results {
    output: Out,
    errors: Out,
    completed: u64,
    failed: u64,
    usage: BatchUsage,
    broken_line: Option<u64>,
}

/// Creates a batch; `answer` answers one line: its path and its body.
///
/// # Errors
/// A refusal where it is not JSON, misses a field, or where there is no such file or endpoint.
pub(crate) fn create(
    store: &Store,
    provider: Provider,
    body: &[u8],
    asked: &Directives,
    answer: impl FnMut(&str, &[u8]) -> Result<Vec<u8>, Refusal>,
    out: &mut Out,
) -> Result<(), Refusal> {
    let request: Request<'_> = parse(body)?;
    let name = "input_file_id";
    let input_file_id = request.input_file_id.ok_or(Refusal::FieldMissing { name })?;
    let endpoint = request.endpoint.ok_or(Refusal::FieldMissing { name: "endpoint" })?;
    // Azure names its paths without the version.
    let path = &*endpoint.0;
    if !ENDPOINTS
        .iter()
        .any(|known| *known == path || known.strip_prefix("/v1") == Some(path))
    {
        return Err(Refusal::FieldInvalid {
            name: "endpoint",
            reason: "expected /v1/chat/completions, /v1/completions, /v1/responses or /v1/embeddings",
        });
    }
    let input = files::get(store, &input_file_id.0)?;
    let mut seed = Seed::new();
    for part in [&*input_file_id.0, &endpoint.0, asked.id.as_deref().unwrap_or("")] {
        seed.add(part.as_bytes());
    }
    let identifier = id("batch_", seed.0, 32);
    let results = run(provider, &input.content, seed.0, answer)?;
    let kept = |kind: &str, out: Out| {
        let file = File {
            name: format!("{identifier}_{kind}.jsonl"),
            purpose: "batch_output".to_owned(),
            content: Bytes::from(out.0),
        };
        (!file.content.is_empty()).then(|| {
            let id = files::identifier(&file, None);
            store.kept().files.put(id.clone(), file);
            id
        })
    };
    let batch = Batch {
        progress: Progress::new(asked.polls.unwrap_or(0)),
        endpoint: endpoint.0.into_owned(),
        input_file_id: input_file_id.0.into_owned(),
        metadata: request.metadata.map_or("null", RawValue::get).to_owned(),
        output_file_id: kept("output", results.output),
        error_file_id: kept("error", results.errors),
        completed: results.completed,
        failed: results.failed,
        usage: results.usage,
        broken_line: results.broken_line,
    };
    write(&identifier, &batch, out);
    store.kept().batches.put(identifier, batch);
    Ok(())
}

/// Answers the lines of a file.
fn run(
    provider: Provider,
    content: &[u8],
    seed: u64,
    mut answer: impl FnMut(&str, &[u8]) -> Result<Vec<u8>, Refusal>,
) -> Result<Results, Refusal> {
    let mut results = Results::default();
    let lines = content
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty());
    for (number, line) in (1u64..).zip(lines) {
        let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else {
            return Ok(Results {
                broken_line: Some(number),
                ..Results::default()
            });
        };
        let written = answer(&line.url.0, line.body.get().as_bytes());
        let out = if written.is_ok() {
            &mut results.output
        } else {
            &mut results.errors
        };
        out.raw(r#"{"id":"#).string(&id("batch_req_", seed.wrapping_add(number), 32));
        out.raw(r#","custom_id":"#).string(&line.custom_id.0);
        out.raw(r#","response":{"status_code":"#);
        let request_id = id("", seed.wrapping_add(number), 32);
        match written {
            Ok(body) => {
                out.raw(r#"200,"request_id":"#).string(&request_id).raw(r#","body":"#);
                results.usage.add(&body);
                out.0.extend_from_slice(&body);
                results.completed += 1;
            }
            Err(refusal) => {
                out.number(refusal.status(provider).as_u16().into());
                out.raw(r#","request_id":"#).string(&request_id).raw(r#","body":"#);
                failure::json(provider, &refusal, &request_id, out);
                results.failed += 1;
            }
        }
        out.raw("},\"error\":null}\n");
        if results.output.0.len() > OUTPUT_BYTES_MAX || number > LINES_MAX as u64 {
            let reason = "has more than 50000 lines, or answers of more than 67108864 bytes";
            let name = "input_file_id";
            return Err(Refusal::FieldInvalid { name, reason });
        }
    }
    Ok(results)
}

/// Looks at a batch, by which it moves on.
///
/// # Errors
/// `Unknown` where it is not kept.
pub(crate) fn one(store: &Store, id: &str, out: &mut Out) -> Result<(), Refusal> {
    change(store, id, Progress::look, out)
}

/// Cancels a batch.
///
/// # Errors
/// `Unknown` where it is not kept.
pub(crate) fn cancel(store: &Store, id: &str, out: &mut Out) -> Result<(), Refusal> {
    change(store, id, Progress::cancel, out)
}

fn change(store: &Store, id: &str, change: impl FnOnce(&mut Progress), out: &mut Out) -> Result<(), Refusal> {
    let mut kept = store.kept();
    let batch = kept.batches.get_mut(id).ok_or_else(|| Refusal::Unknown {
        kind: "batch",
        id: id.to_owned(),
    })?;
    change(&mut batch.progress);
    write(id, batch, out);
    Ok(())
}

/// Writes the list, which has one page. It is no look at the batches.
pub(crate) fn list(store: &Store, out: &mut Out) {
    out.raw(r#"{"object":"list","data":["#);
    for (index, (id, batch)) in store.kept().batches.all().enumerate() {
        write(id, batch, out.raw(if index == 0 { "" } else { "," }));
    }
    out.raw(r#"],"has_more":false}"#);
}

fn write(id: &str, batch: &Batch, out: &mut Out) {
    let broken = batch.broken_line.filter(|_| batch.progress.stage == Stage::Ended);
    let ended = batch.progress.stage == Stage::Ended && broken.is_none();
    let cancelled = batch.progress.stage == Stage::Cancelled;
    let running = batch.progress.stage != Stage::Created && broken.is_none();
    let status = match batch.progress.stage {
        Stage::Created => "validating",
        Stage::Running => "in_progress",
        Stage::Ended if broken.is_some() => "failed",
        Stage::Ended => "completed",
        Stage::Cancelling => "cancelling",
        Stage::Cancelled => "cancelled",
    };
    out.raw(r#"{"id":"#).string(id);
    out.raw(r#","object":"batch","endpoint":"#).string(&batch.endpoint);
    out.raw(r#","errors":"#);
    match broken {
        Some(line) => {
            out.raw(r#"{"object":"list","data":[{"code":"invalid_json_line","line":"#)
                .number(line);
            out.raw(r#","message":"This line is not parseable as valid JSON.","param":null}]}"#);
        }
        None => {
            out.raw("null");
        }
    }
    out.raw(r#","input_file_id":"#).string(&batch.input_file_id);
    out.raw(r#","completion_window":"24h","status":"#).string(status);
    for (name, file) in [
        ("output_file_id", &batch.output_file_id),
        ("error_file_id", &batch.error_file_id),
    ] {
        out.raw(",").string(name).raw(":");
        match file {
            Some(file) if ended => out.string(file),
            _ => out.raw("null"),
        };
    }
    for (name, reached, after) in [
        ("created_at", true, 0),
        ("in_progress_at", running, 10),
        ("expires_at", true, 86_400),
        ("finalizing_at", ended, 50),
        ("completed_at", ended, 60),
        ("failed_at", broken.is_some(), 10),
        ("expired_at", false, 0),
        ("cancelling_at", cancelled || status == "cancelling", 20),
        ("cancelled_at", cancelled, 30),
    ] {
        out.raw(",").string(name).raw(":");
        if reached {
            out.number(CREATED + after);
        } else {
            out.raw("null");
        }
    }
    let total = batch.completed + batch.failed;
    let (completed, failed) = if ended { (batch.completed, batch.failed) } else { (0, 0) };
    out.raw(r#","request_counts":{"total":"#)
        .number(if running { total } else { 0 });
    out.raw(r#","completed":"#).number(completed);
    out.raw(r#","failed":"#).number(failed).raw("}");
    let usage = if ended { batch.usage } else { BatchUsage::default() };
    out.raw(r#","usage":{"input_tokens":"#).number(usage.input);
    out.raw(r#","input_tokens_details":{"cached_tokens":"#).number(usage.cached);
    out.raw(r#"},"output_tokens":"#).number(usage.output);
    out.raw(r#","output_tokens_details":{"reasoning_tokens":"#)
        .number(usage.reasoning);
    out.raw(r#"},"total_tokens":"#).number(usage.input + usage.output);
    out.raw(r#"},"metadata":"#).raw(&batch.metadata).raw("}");
}

impl BatchUsage {
    /// Adds what an answer reports, in the words of any endpoint.
    fn add(&mut self, body: &[u8]) {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let count = |paths: [&str; 2]| {
            let found = paths.into_iter().find_map(|path| body.pointer(path)?.as_u64());
            found.unwrap_or(0)
        };
        self.input += count(["/usage/prompt_tokens", "/usage/input_tokens"]);
        self.output += count(["/usage/completion_tokens", "/usage/output_tokens"]);
        self.cached += count([
            "/usage/prompt_tokens_details/cached_tokens",
            "/usage/input_tokens_details/cached_tokens",
        ]);
        self.reasoning += count([
            "/usage/completion_tokens_details/reasoning_tokens",
            "/usage/output_tokens_details/reasoning_tokens",
        ]);
    }
}
