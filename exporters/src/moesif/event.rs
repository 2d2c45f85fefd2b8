//! One row as Moesif's event, or as its action.
//!
//! Field names and types are those of Moesif's libraries (PyPI moesifapi 1.5, moesif-litellm 1.0) and of its API reference. What a row does
//! not tell is made up nowhere: headers are empty, bodies absent. Two fields that Moesif requires are the exception, and written here only:
//! the verb is POST, for that is how models are called, and [`status`] of a call that was never answered.

use chrono::{DateTime, SecondsFormat};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::config::{Config, Identity};
use super::cost::CostMetrics;
use crate::row::Rows;

/// The verb by which models are called.
pub(super) const VERB: &str = "POST";
/// The name of actions that correct a cost.
pub(super) const CORRECTION_NAME: &str = "AI Cost Correction";

/// An API call.
#[derive(Debug, Serialize)]
pub(super) struct Event<'a> {
    request: Request,
    response: Response,
    transaction_id: &'a str,
    direction: &'static str,
    weight: u32,
    #[serde(flatten)]
    who: Who<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    metadata: Metadata<'a>,
}

/// Something that happened, with a name.
#[derive(Debug, Serialize)]
pub(super) struct Action<'a> {
    action_name: &'a str,
    request: ActionRequest,
    transaction_id: &'a str,
    #[serde(flatten)]
    who: Who<'a>,
    metadata: Metadata<'a>,
}

/// Who called, by the operator's mapping.
#[derive(Debug, Serialize)]
pub(super) struct Who<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) company_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_token: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Request {
    time: String,
    uri: String,
    verb: &'static str,
    headers: Empty,
}

#[derive(Debug, Serialize)]
struct ActionRequest {
    time: String,
    uri: String,
}

#[derive(Debug, Serialize)]
struct Response {
    time: String,
    status: u16,
    headers: Empty,
}

#[derive(Debug, Serialize)]
struct Empty {}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(rename = "ai_context")]
    ai_context: AiContext<'a>,
    ai_metadata: AiMetadata<'a>,
    ai_token_usage: AiTokenUsage,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_latency: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend_latency: Option<u64>,
    guardrail_hits: Hits<'a>,
    tollgate: Origin<'a>,
}

#[derive(Debug, Serialize)]
struct AiContext<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    usage: Usage<'a>,
    cost_metrics: CostMetrics<'a>,
}

#[derive(Debug, Serialize)]
struct Usage<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    input_tokens: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_read_input_tokens: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_creation_input_tokens: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_tokens: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_tokens: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_source: Option<&'a str>,
}

/// Model, vendor, tokens and latencies again, under names that dashboards made for API managers may know; no source for them was at hand.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AiMetadata<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vendor_name: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AiTokenUsage {
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_tokens: Option<i64>,
}

/// Where the event comes from: columns of table `usage` under their own names, so that it is found there.
#[derive(Debug)]
struct Origin<'a>(&'a Rows, usize);

#[derive(Debug)]
struct Hits<'a>(&'a Rows, usize);

#[derive(Debug)]
struct Tags<'a>(&'a Rows, usize);

#[derive(Serialize)]
struct Hit<'a> {
    policy: &'a str,
    action: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

/// A row lacks what Moesif requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lacks(pub(super) &'static str);

// === impl Event, Action ===

impl<'a> Event<'a> {
    pub(super) fn new(rows: &'a Rows, row: usize, who: Who<'a>, weight: u32) -> Result<Self, Lacks> {
        let (start, end) = times(rows, row)?;
        Ok(Self {
            request: Request {
                time: start,
                uri: uri(rows, row),
                verb: VERB,
                headers: Empty {},
            },
            response: Response {
                time: end,
                status: status(rows, row),
                headers: Empty {},
            },
            transaction_id: rows.call_id.get(row).ok_or(Lacks("call_id"))?,
            direction: "Outgoing",
            weight,
            who,
            trace_id: rows.trace_id.get(row),
            metadata: Metadata::of(rows, row),
        })
    }
}

impl<'a> Action<'a> {
    pub(super) fn new(rows: &'a Rows, row: usize, who: Who<'a>, action_name: &'a str) -> Result<Self, Lacks> {
        Ok(Self {
            action_name,
            request: ActionRequest {
                time: times(rows, row)?.0,
                uri: uri(rows, row),
            },
            transaction_id: rows.call_id.get(row).ok_or(Lacks("call_id"))?,
            who,
            metadata: Metadata::of(rows, row),
        })
    }
}

impl<'a> Who<'a> {
    pub(super) fn of(config: &Config, rows: &'a Rows, row: usize) -> Self {
        let first = |identities: &[Identity]| Identity::first(identities, rows, row).map(|(_, text)| text);
        Self {
            user_id: first(&config.user),
            company_id: first(&config.company),
            subscription_id: first(&config.subscription),
            session_token: first(&config.session),
        }
    }
}

/// An instant as Moesif's libraries write it: milliseconds, UTC.
pub(super) fn time(unix_us: i64) -> String {
    let instant = DateTime::from_timestamp_micros(unix_us).unwrap_or_default();
    instant.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The address that Moesif groups calls by: the upstream's host, and the operation as its path.
pub(super) fn uri(rows: &Rows, row: usize) -> String {
    let host = rows.upstream.get(row).or(rows.provider_name.get(row)).unwrap_or("tollgate");
    let host = host.strip_suffix(":443").unwrap_or(host);
    let path = rows.operation_name.get(row).unwrap_or_default();
    format!("https://{host}/{}", path.trim_start_matches('/'))
}

/// The status that the client was sent; where it was sent none, the one that says best what happened.
pub(super) fn status(rows: &Rows, row: usize) -> u16 {
    let sent = rows.status_code.get(row).and_then(|status| u16::try_from(status).ok());
    sent.unwrap_or_else(|| match rows.outcome.get(row) {
        Some("client_aborted") => 499,
        Some("timeout") => 504,
        Some("upstream_error" | "upstream_cut") => 502,
        Some("refused_budget" | "refused_rate") => 429,
        Some("refused_policy") => 403,
        Some("interrupted") => 500,
        _ => 200,
    })
}

fn times(rows: &Rows, row: usize) -> Result<(String, String), Lacks> {
    let start = rows.start_time.get(row).ok_or(Lacks("start_time"))?.unix_us();
    let end = start.saturating_add(rows.duration_us.get(row).unwrap_or_default());
    Ok((time(start), time(end)))
}

fn total(rows: &Rows, row: usize) -> Option<i64> {
    match (rows.input_tokens.get(row), rows.output_tokens.get(row)) {
        (None, None) => None,
        (input, output) => Some(input.unwrap_or_default().saturating_add(output.unwrap_or_default())),
    }
}

// === impl Metadata ===

impl<'a> Metadata<'a> {
    fn of(rows: &'a Rows, row: usize) -> Self {
        let model = rows.response_model.get(row).or(rows.request_model.get(row));
        let total_tokens = total(rows, row);
        let response = rows.duration_us.count(row);
        let gateway = rows.gateway_overhead_us.count(row);
        Self {
            ai_context: AiContext {
                provider: rows.provider_name.get(row),
                model,
                usage: Usage {
                    input_tokens: rows.input_tokens.get(row),
                    cache_read_input_tokens: rows.cache_read_input_tokens.get(row),
                    cache_creation_input_tokens: rows.cache_creation_input_tokens.get(row),
                    output_tokens: rows.output_tokens.get(row),
                    reasoning_tokens: rows.reasoning_tokens.get(row),
                    total_tokens,
                    usage_source: rows.usage_source.get(row),
                },
                cost_metrics: CostMetrics::of(rows, row),
            },
            ai_metadata: AiMetadata {
                model,
                vendor_name: rows.provider_name.get(row),
            },
            ai_token_usage: AiTokenUsage {
                prompt_tokens: rows.input_tokens.get(row),
                completion_tokens: rows.output_tokens.get(row),
                total_tokens,
            },
            response_latency: response.map(|us| us / 1000),
            backend_latency: response.zip(gateway).map(|(whole, own)| whole.saturating_sub(own) / 1000),
            guardrail_hits: Hits(rows, row),
            tollgate: Origin(rows, row),
        }
    }
}

impl Serialize for Origin<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(rows, row) = *self;
        let mut map = serializer.serialize_map(None)?;
        macro_rules! entries {
            ($($name:ident),+) => {$(
                if let Some(value) = rows.$name.get(row) {
                    map.serialize_entry(stringify!($name), &value)?;
                }
            )+};
        }
        entries!(
            request_id,
            attempt,
            instance,
            seq,
            corrects,
            org,
            team,
            project,
            service,
            agent,
            key_id,
            parent_call_id
        );
        entries!(
            operation_name,
            proxy,
            upstream,
            region,
            request_model,
            stream,
            route_rule,
            cache,
            service_tier
        );
        entries!(
            outcome,
            status_code,
            error_type,
            finish_reason,
            mcp_server,
            mcp_method,
            tool_name,
            time_to_first_token_us
        );
        entries!(request_bytes, response_bytes);
        if rows.tags.get(row).next().is_some() {
            map.serialize_entry("tags", &Tags(rows, row))?;
        }
        map.end()
    }
}

impl Serialize for Tags<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.tags.get(self.1))
    }
}

impl Serialize for Hits<'_> {
    /// What guardrails and other policies did; not what metering noted, which concerns no one there.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for decision in self.0.decisions.get(self.1).filter(|decision| decision.policy != "metering") {
            list.serialize_element(&Hit {
                policy: decision.policy,
                action: decision.action,
                detail: decision.detail,
            })?;
        }
        list.end()
    }
}
