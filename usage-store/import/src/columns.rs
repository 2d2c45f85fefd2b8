//! CSV (or JSON) in the names of table `usage`, for every system that has no format of its own here.

use std::sync::Arc;

use serde_json::Value;
use tollgate_record::{Amount, Cost, CostStatus, Name, Record, Tags, Usage};

use crate::cells::{Cells, name};
use crate::draft::{Draft, Origin, money, stated, unknown, usd};
use crate::{decimal, time};

/// A column that a file may have.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds, for the documentation.
    pub doc: &'static str,
}

/// What a file must have.
pub(crate) const REQUIRED: &[&str] = &["request_id", "start_time"];

macro_rules! columns {
    ($($name:ident: $doc:literal)+) => { &[$(Column { name: stringify!($name), doc: $doc }),+] };
}

/// The columns that a file may have; it must have the first two.
pub const COLUMNS: &[Column] = columns! {
    request_id: "The other system's id of the request: any text. With --source, a row's identity."
    start_time: "When it began, such as 2026-11-23T18:00:00.123Z; UTC if no zone is told."
    attempt: "Number of the attempt among those of one request, from 1 (the default)."
    duration_us: "Microseconds to the end of the answer."
    duration_ms: "The same in milliseconds, instead."
    time_to_first_token_us: "Microseconds to the first byte of the answer."
    time_to_first_token_ms: "The same in milliseconds, instead."
    org: "Organisation."
    team: "Team."
    project: "Project."
    service: "Service."
    user_id: "Person."
    agent: "Agent."
    key_id: "Name of the key, never the key; `imported` if there is none."
    session_id: "Session."
    trace_id: "Trace id of W3C Trace Context."
    span_id: "Parent span id of W3C Trace Context."
    tags: "A JSON object of texts."
    operation_name: "`chat` (the default), `text_completion`, `embeddings`, or another name."
    provider_name: "Provider."
    upstream: "Host and port that was called."
    region: "Region of the upstream."
    request_model: "Model that was asked for."
    response_model: "Model that answered."
    stream: "Whether it was streamed: true or false."
    cache: "`hit` or `miss` of a cache."
    status_code: "HTTP status."
    error_type: "Code of the error."
    finish_reason: "Why the model stopped."
    input_tokens: "Input tokens, cached ones included."
    cache_read_input_tokens: "Input tokens read from a cache; inside input_tokens."
    cache_creation_input_tokens: "Input tokens written to a cache; inside input_tokens."
    output_tokens: "Output tokens, reasoning included."
    reasoning_tokens: "Reasoning tokens; inside output_tokens."
    cost: "What it cost, as a decimal; empty is \"not known\"."
    list_cost: "What it would have cost without discounts."
    currency: "ISO 4217 code of both; USD if there is none."
    cost_status: "`priced` (the default where there is a cost), `estimated`, `free`, or `unpriced` (the default where there is none)."
    request_bytes: "Bytes of the request's body."
    response_bytes: "Bytes of the answer's body."
};

/// Whether a file may have this column.
pub(crate) fn knows(name: &str) -> bool {
    COLUMNS.iter().any(|column| column.name == name)
}

/// Reads a row.
pub(crate) fn record(cells: &Cells, origin: &Origin) -> Result<Record, String> {
    let start = time::parse(cells.required("start_time")?).map_err(|reason| format!("start_time: {reason}"))?;
    let operation = name("operation_name", cells.text("operation_name").unwrap_or("chat"))?;
    let mut draft = Draft::new(cells.required("request_id")?, start, operation);
    draft.attempt = match cells.count("attempt")?.map(u16::try_from) {
        None => 1,
        Some(Ok(attempt)) if attempt > 0 => attempt,
        Some(_) => return Err("attempt is not between 1 and 65535".to_owned()),
    };
    draft.duration_us = span(cells, "duration_us", "duration_ms")?.unwrap_or(0);
    draft.time_to_first_token_us = span(cells, "time_to_first_token_us", "time_to_first_token_ms")?;
    draft.identity.key_id = cells.name("key_id")?.unwrap_or(draft.identity.key_id);
    draft.identity.org = cells.name("org")?;
    draft.identity.team = cells.name("team")?;
    draft.identity.project = cells.name("project")?;
    draft.identity.service = cells.name("service")?;
    draft.identity.user = cells.name("user_id")?;
    draft.caller.agent = cells.name("agent")?;
    draft.caller.session_id = cells.name("session_id")?;
    draft.caller.trace_id = cells.name("trace_id")?;
    draft.caller.span_id = cells.name("span_id")?;
    draft.caller.tags = Arc::new(tags(cells)?);
    draft.call.provider_name = cells.name("provider_name")?;
    draft.call.template = draft.call.provider_name.clone();
    draft.call.upstream = cells.name("upstream")?;
    draft.call.region = cells.name("region")?;
    draft.call.request_model = cells.name("request_model")?;
    draft.call.stream = cells.flag("stream")?.unwrap_or(false);
    draft.call.cache = cells.name("cache")?;
    draft.response_model = cells.name("response_model")?;
    draft.status_code = match cells.count("status_code")?.map(u16::try_from) {
        None => None,
        Some(Ok(code)) if (100..600).contains(&code) => Some(code),
        Some(_) => return Err("status_code is not between 100 and 599".to_owned()),
    };
    draft.error_type = cells.name("error_type")?;
    draft.finish_reason = cells.name("finish_reason")?;
    draft.request_bytes = cells.count("request_bytes")?.unwrap_or(0);
    draft.response_bytes = cells.count("response_bytes")?.unwrap_or(0);
    draft.count(Usage {
        input: cells.count("input_tokens")?,
        cache_read: cells.count("cache_read_input_tokens")?,
        cache_creation: cells.count("cache_creation_input_tokens")?,
        output: cells.count("output_tokens")?,
        reasoning: cells.count("reasoning_tokens")?,
        ..Usage::default()
    });
    draft.cost = cost(cells, &mut draft.notes)?;
    Ok(draft.finish(origin))
}

/// A span of time in one unit or the other.
fn span(cells: &Cells, us: &str, ms: &str) -> Result<Option<u64>, String> {
    match (cells.count(us)?, microseconds(cells, ms)?) {
        (Some(_), Some(_)) => Err(format!("{us} and {ms} say the same: give one of them")),
        (some, other) => Ok(some.or(other)),
    }
}

/// Milliseconds, perhaps with a fraction, as microseconds; what is finer is cut.
pub(crate) fn microseconds(cells: &Cells, column: &str) -> Result<Option<u64>, String> {
    let Some(text) = cells.text(column) else { return Ok(None) };
    let milliseconds = decimal::parse(text).map_err(|reason| format!("{column}: {reason}"))?.amount;
    let microsecond = Amount::ONE.units() / 1000;
    u64::try_from(milliseconds.units() / microsecond)
        .map(Some)
        .map_err(|_| format!("{column}: {text} is no span of time"))
}

fn tags(cells: &Cells) -> Result<Tags, String> {
    let Some(text) = cells.text("tags") else {
        return Ok(Tags::default());
    };
    let Ok(Value::Object(members)) = serde_json::from_str(text) else {
        return Err("tags is no JSON object".to_owned());
    };
    let pairs = members.into_iter().map(|(key, value)| match value {
        Value::String(value) => Ok((key, value)),
        _ => Err(format!("tags: {key} is no text")),
    });
    Ok(Tags::from_pairs(pairs.collect::<Result<Vec<_>, _>>()?))
}

fn cost(cells: &Cells, notes: &mut Vec<String>) -> Result<Cost, String> {
    let currency = match cells.text("currency") {
        None => usd(),
        Some(code) if code.len() == 3 && code.bytes().all(|letter| letter.is_ascii_uppercase()) => {
            Name::new(code).map_err(|error| error.to_string())?
        }
        Some(code) => return Err(format!("currency: {code:?} is no ISO 4217 code such as USD")),
    };
    let (cost, list_cost) = (money(cells, "cost")?, money(cells, "list_cost")?);
    let status = cells.text("cost_status");
    let mut read = match (cost, status) {
        (None, None | Some("unpriced")) => unknown(),
        (None, Some("free")) => Cost {
            currency: Some(currency),
            ..Cost::free()
        },
        (Some(cost), None | Some("priced" | "estimated" | "unpriced")) => {
            notes.extend(cost.note);
            stated(&[cost.amount], currency)?
        }
        (Some(cost), Some("free")) if cost.amount.is_zero() => Cost {
            currency: Some(currency),
            ..Cost::free()
        },
        (_, Some(status)) => return Err(format!("cost_status {status:?} does not go with this cost")),
    };
    match status {
        Some("estimated") => read.status = CostStatus::Estimated,
        Some("unpriced") => read.status = CostStatus::Unpriced,
        _ => {}
    }
    if let Some(list_cost) = list_cost {
        notes.extend(list_cost.note);
        read.list_cost = Some(list_cost.amount);
    }
    Ok(read)
}
