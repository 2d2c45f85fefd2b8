//! LiteLLM's table `LiteLLM_SpendLogs`, as `psql` exports it to CSV or JSON, and as its API shows it.
//!
//! Columns as in schema.prisma of PyPI litellm 1.109 (older versions have fewer); what `metadata` holds as in its
//! `proxy/spend_tracking/spend_tracking_utils.py`. Instants are UTC, money is US dollars in a float.

use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tollgate_record::{Cost, Name, Record, Tags, Usage};
use url::Url;

use crate::cells::{Cells, name};
use crate::draft::{Draft, Origin, money, stated, unknown, usd};
use crate::time;

/// What a file must have to be such an export.
pub(crate) const REQUIRED: &[&str] = &["request_id", "starttime", "spend", "model"];

/// Reads a row.
pub(crate) fn record(cells: &Cells, origin: &Origin) -> Result<Record, String> {
    let metadata = metadata(cells)?;
    let start = time::parse(cells.required("starttime")?).map_err(|reason| format!("startTime: {reason}"))?;
    let operation = name("call_type", operation(cells.text("call_type").unwrap_or("unknown")))?;
    let mut draft = Draft::new(cells.required("request_id")?, start, operation);
    times(cells, &mut draft)?;
    draft.identity.key_id = key(cells, &metadata)?.unwrap_or(draft.identity.key_id);
    draft.identity.org = told(&metadata, "user_api_key_org_id")?.or(cells.name("organization_id")?);
    draft.identity.team = told(&metadata, "user_api_key_team_alias")?.or(cells.name("team_id")?);
    draft.identity.project = told(&metadata, "user_api_key_project_alias")?.or(told(&metadata, "user_api_key_project_id")?);
    draft.identity.user = cells.name("user")?;
    draft.caller.user = cells.name("end_user")?;
    draft.caller.agent = cells.name("agent_id")?;
    draft.caller.session_id = cells.name("session_id")?;
    draft.caller.tags = Arc::new(tags(cells)?);
    draft.call.provider_name = cells.name("custom_llm_provider")?;
    draft.call.template = draft.call.provider_name.clone();
    draft.call.upstream = upstream(cells.text("api_base"));
    draft.response_model = cells.name("model")?;
    draft.call.request_model = cells.name("model_group")?.or_else(|| draft.response_model.clone());
    let hit = cells.text("cache_hit").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    draft.call.cache = hit.then(|| name("cache_hit", "hit")).transpose()?;
    let error = |member: &str| metadata.get("error_information").and_then(|error| error.get(member));
    draft.error_type = error("error_class")
        .and_then(Value::as_str)
        .and_then(|text| Name::new(text).ok());
    if draft.error_type.is_none() && cells.text("status") == Some("failure") {
        draft.error_type = Some(name("status", "failure")?);
    }
    draft.status_code = match error("error_code") {
        Some(Value::String(code)) => code.parse().ok(),
        code => code.and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok()),
    };
    draft.count(usage(cells, &metadata)?);
    let free = hit || draft.error_type.is_some();
    draft.cost = cost(cells, free, &mut draft.notes)?;
    Ok(draft.finish(origin))
}

/// The object in `metadata`, which is JSON, or a text of JSON.
fn metadata(cells: &Cells) -> Result<Value, String> {
    let Some(text) = cells.text("metadata") else {
        return Ok(Value::Null);
    };
    serde_json::from_str(text).map_err(|error| format!("metadata is no JSON: {error}"))
}

/// A text in the metadata.
fn told(metadata: &Value, member: &str) -> Result<Option<Name>, String> {
    let text = metadata
        .get(member)
        .and_then(Value::as_str)
        .map(str::trim)
        .filter(|text| !text.is_empty());
    text.map(|text| name(member, text)).transpose()
}

/// OpenTelemetry's name of an operation, where there is one.
fn operation(call_type: &str) -> &str {
    match call_type.strip_prefix('a').unwrap_or(call_type) {
        "completion" | "responses" | "generate_content" | "generate_content_stream" | "nthropic_messages" => "chat",
        "text_completion" => "text_completion",
        "embedding" => "embeddings",
        _ => call_type,
    }
}

fn times(cells: &Cells, draft: &mut Draft) -> Result<(), String> {
    let instant = |column: &str| cells.text(column).map(time::parse).transpose();
    let since = |instant: Option<tollgate_record::Timestamp>| instant.map(|at| at.unix_us() - draft.start_time.unix_us());
    let end = since(instant("endtime").map_err(|reason| format!("endTime: {reason}"))?);
    let first = since(instant("completionstarttime").map_err(|reason| format!("completionStartTime: {reason}"))?);
    match end.map(u64::try_from) {
        Some(Ok(duration)) => draft.duration_us = duration,
        Some(Err(_)) => draft
            .notes
            .push("endTime is before startTime, so the duration is not known".to_owned()),
        None => draft.duration_us = cells.count("request_duration_ms")?.unwrap_or(0).saturating_mul(1000),
    }
    draft.time_to_first_token_us = first.and_then(|first| u64::try_from(first).ok());
    // Where an answer is not streamed, LiteLLM writes its end as the time of its first token.
    draft.call.stream = first.is_some() && first != end;
    Ok(())
}

/// The key's name, else its hash. Old versions wrote keys as they are: those are hashed as LiteLLM hashes them.
fn key(cells: &Cells, metadata: &Value) -> Result<Option<Name>, String> {
    if let Some(alias) = told(metadata, "user_api_key_alias")? {
        return Ok(Some(alias));
    }
    let Some(key) = cells.text("api_key") else { return Ok(None) };
    if key.starts_with("sk-") {
        let digest = Sha256::digest(key);
        let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        return name("api_key", &hash).map(Some);
    }
    name("api_key", key).map(Some)
}

/// Host and port: the rest of the address may hold credentials.
fn upstream(api_base: Option<&str>) -> Option<Name> {
    let url = Url::parse(api_base?).ok()?;
    let (host, port) = (url.host_str()?, url.port_or_known_default()?);
    Name::new(&format!("{host}:{port}")).ok()
}

/// LiteLLM's tags are a list of texts, some of them `name:value`.
fn tags(cells: &Cells) -> Result<Tags, String> {
    let Some(text) = cells.text("request_tags") else {
        return Ok(Tags::default());
    };
    let list: Value = serde_json::from_str(text).map_err(|error| format!("request_tags is no JSON: {error}"))?;
    let texts = list
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .filter_map(Value::as_str);
    Ok(Tags::from_pairs(texts.map(|tag| {
        let (key, value) = tag.split_once(':').unwrap_or((tag, ""));
        (key.trim(), value.trim())
    })))
}

fn usage(cells: &Cells, metadata: &Value) -> Result<Usage, String> {
    let (input, output) = (cells.count("prompt_tokens")?, cells.count("completion_tokens")?);
    if input.unwrap_or(0) == 0 && output.unwrap_or(0) == 0 {
        // Zero is the columns' default, and so means that nothing was reported.
        return Ok(Usage::default());
    }
    let usages = ["additional_usage_values", "usage_object"].map(|member| metadata.get(member));
    let first = |paths: &[&str]| {
        let found = |path: &&str| usages.iter().flatten().find_map(|usage| usage.pointer(path)?.as_u64());
        paths.iter().find_map(found)
    };
    let cache_read = first(&["/cache_read_input_tokens", "/prompt_tokens_details/cached_tokens"]);
    let cache_creation = first(&["/cache_creation_input_tokens", "/prompt_tokens_details/cache_creation_tokens"]);
    let cached = cache_read.unwrap_or(0).saturating_add(cache_creation.unwrap_or(0));
    Ok(Usage {
        // Versions that left Anthropic's cache out of the prompt's tokens show by having more of it than of those.
        input: input.map(|input| if cached > input { input.saturating_add(cached) } else { input }),
        cache_read,
        cache_creation,
        output,
        reasoning: first(&["/completion_tokens_details/reasoning_tokens"]),
        ..Usage::default()
    })
}

/// A spend of zero is what LiteLLM writes where it has no price or no usage: unless nothing can have been owed, it is not known.
fn cost(cells: &Cells, free: bool, notes: &mut Vec<String>) -> Result<Cost, String> {
    match money(cells, "spend")? {
        Some(spend) if !spend.amount.is_zero() || spend.note.is_some() => {
            notes.extend(spend.note);
            stated(&[spend.amount], usd())
        }
        _ if free => Ok(Cost {
            currency: Some(usd()),
            ..Cost::free()
        }),
        _ => {
            notes.push("a spend of 0 for a call that did not fail: taken as not known".to_owned());
            Ok(unknown())
        }
    }
}
