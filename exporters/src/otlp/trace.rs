//! Calls as spans: a server span for the call, and within it a client span for the attempt at the upstream, if there was one.
//!
//! The conventions' facts of the model stand on the client span, the ledger's (money, identity, outcome) on the server span: a sum over
//! spans counts nothing twice. Corrections are no calls, and make no spans.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use super::attribute::{Attributes, error_type};
use super::id::Place;
use super::time::Times;
use crate::row::Rows;

/// The trace flags of a span: sampled; and whether its parent is in another process is known.
const LOCAL: u32 = 0x101;
/// As [`LOCAL`], of a span whose parent is in another process.
const REMOTE: u32 = 0x301;

/// Adds the spans of a row.
pub(super) fn add(spans: &mut Vec<Span>, rows: &Rows, row: usize, place: &Place, times: &Times) {
    let operation = rows.operation_name.get(row).unwrap_or_default();
    let mut attributes = Attributes::with_capacity(40);
    attributes.tollgate(rows, row);
    attributes.text("gen_ai.operation.name", rows.operation_name.get(row));
    attributes.text("error.type", error_type(rows, row));
    spans.push(Span {
        trace_id: place.trace.to_vec(),
        span_id: place.call.to_vec(),
        parent_span_id: place.parent.map(|span| span.to_vec()).unwrap_or_default(),
        flags: if place.parent.is_some() { REMOTE } else { LOCAL },
        name: format!("tollgate {operation}"),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: times.start_ns,
        end_time_unix_nano: times.end_ns,
        attributes: attributes.take(),
        status: status(call_failed(rows, row), rows, row),
        ..Span::default()
    });
    if !attempted(rows, row) {
        return;
    }
    let mut attributes = Attributes::with_capacity(18);
    attributes.gen_ai(rows, row);
    spans.push(Span {
        trace_id: place.trace.to_vec(),
        span_id: place.attempt.to_vec(),
        parent_span_id: place.call.to_vec(),
        flags: LOCAL,
        name: rows
            .request_model
            .get(row)
            .map_or_else(|| operation.to_owned(), |model| format!("{operation} {model}")),
        kind: SpanKind::Client.into(),
        start_time_unix_nano: times.upstream_ns,
        end_time_unix_nano: times.end_ns,
        attributes: attributes.take(),
        status: status(attempt_failed(rows, row), rows, row),
        ..Span::default()
    });
}

/// Whether an upstream was asked: not by what was refused, and not by what a cache answered.
fn attempted(rows: &Rows, row: usize) -> bool {
    let refused = rows.outcome.get(row).is_some_and(|outcome| outcome.starts_with("refused_"));
    rows.provider_name.get(row).is_some() && !refused && rows.cache.get(row) != Some("hit")
}

/// Whether the call failed: by the conventions a server's span does from status 500.
fn call_failed(rows: &Rows, row: usize) -> bool {
    match rows.status_code.get(row) {
        Some(status) => status >= 500,
        None => attempt_failed(rows, row),
    }
}

fn attempt_failed(rows: &Rows, row: usize) -> bool {
    matches!(
        rows.outcome.get(row),
        Some("upstream_error" | "upstream_cut" | "timeout" | "interrupted")
    )
}

fn status(failed: bool, rows: &Rows, row: usize) -> Option<Status> {
    failed.then(|| Status {
        code: StatusCode::Error.into(),
        message: error_type(rows, row).unwrap_or_default().to_owned(),
    })
}
