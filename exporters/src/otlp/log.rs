//! Calls as events: one log record each, without content, under the conventions' name for what is known of an inference.
//! A correction is an event of its own, `tollgate.correction`, negative where it takes back.

use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};

use super::attribute::Attributes;
use super::id::Place;
use super::time::Times;
use crate::row::Rows;

/// The event of a call.
pub(super) const CALL: &str = "gen_ai.client.inference.operation.details";
/// The event of a correction.
pub(super) const CORRECTION: &str = "tollgate.correction";

/// The event of a row.
pub(super) fn record(rows: &Rows, row: usize, place: &Place, times: &Times) -> LogRecord {
    let correction = rows.corrects.get(row).is_some();
    let outcome = rows.outcome.get(row).unwrap_or_default();
    let severity = match outcome {
        _ if correction => SeverityNumber::Info,
        "ok" | "imported" => SeverityNumber::Info,
        "upstream_error" | "upstream_cut" | "timeout" | "interrupted" => SeverityNumber::Error,
        _ => SeverityNumber::Warn,
    };
    let mut attributes = Attributes::with_capacity(56);
    attributes.gen_ai(rows, row);
    attributes.tollgate(rows, row);
    attributes.int("tollgate.duration_us", rows.duration_us.get(row));
    attributes.texts(
        "tollgate.decisions",
        rows.decisions.get(row).map(|decision| {
            let detail = decision.detail.map(|detail| format!(": {detail}")).unwrap_or_default();
            format!("{} {}{detail}", decision.policy, decision.action)
        }),
    );
    let words = [
        rows.operation_name.get(row),
        rows.request_model.get(row),
        Some(if correction { "corrected" } else { outcome }),
    ];
    let body = words.into_iter().flatten().collect::<Vec<_>>().join(" ");
    LogRecord {
        time_unix_nano: times.end_ns,
        observed_time_unix_nano: times.end_ns,
        severity_number: severity.into(),
        severity_text: severity.as_str_name().trim_start_matches("SEVERITY_NUMBER_").to_owned(),
        body: Some(AnyValue {
            value: Some(Value::StringValue(body)),
        }),
        attributes: attributes.take(),
        trace_id: place.trace.to_vec(),
        span_id: place.call.to_vec(),
        flags: 1,
        event_name: if correction { CORRECTION } else { CALL }.to_owned(),
        ..LogRecord::default()
    }
}
