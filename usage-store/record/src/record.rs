//! The row: one call, that is one attempt at an upstream.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{CallId, Caller, Cost, Decision, Ending, Identity, Intent, Name, Outcome, RequestId, Seq, Timestamp, Usage};

/// What was asked of whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// OpenTelemetry GenAI operation: `chat`, `text_completion`, `embeddings`, or the path of an endpoint that bears no usage.
    pub operation_name: Name,
    /// Proxy by whose context the call came in.
    pub proxy: Option<Name>,
    /// Provider resource that was called.
    pub provider_name: Option<Name>,
    /// Template of the provider: the name that shipped prices go by.
    pub template: Option<Name>,
    /// Host and port of the upstream.
    pub upstream: Option<Name>,
    /// Region of the upstream, where it is known.
    pub region: Option<Name>,
    /// Model that was asked for.
    pub request_model: Option<Name>,
    /// Whether the answer was asked for as a stream.
    pub stream: bool,
    /// Routing rule that chose the upstream.
    pub route_rule: Option<Name>,
    /// What the gateway's cache did: `hit` or `miss`.
    pub cache: Option<Name>,
}

/// One row of table `usage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// This attempt.
    pub call_id: CallId,
    /// The client's request.
    pub request_id: RequestId,
    /// 1 for the first attempt.
    pub attempt: u16,
    /// Gateway that wrote the row.
    pub instance: Name,
    /// Place among the rows of the instance.
    pub seq: Seq,
    /// Row that this one corrects.
    pub corrects: Option<CallId>,
    /// When the request arrived.
    pub start_time: Timestamp,
    /// From the request's arrival to the answer's end.
    pub duration_us: u64,
    /// From the request's arrival to the first byte of the answer's body.
    pub time_to_first_token_us: Option<u64>,
    /// Part of the duration that the gateway itself took.
    pub gateway_overhead_us: Option<u64>,
    /// What the key says.
    pub identity: Arc<Identity>,
    /// What the caller says.
    pub caller: Caller,
    /// What was asked.
    pub call: Call,
    /// Model that answered.
    pub response_model: Option<Name>,
    /// How it ended.
    pub outcome: Outcome,
    /// HTTP status that the client was sent.
    pub status_code: Option<u16>,
    /// Stable code of the error, the provider's or the gateway's.
    pub error_type: Option<Name>,
    /// Why the model stopped.
    pub finish_reason: Option<Name>,
    /// What policies did.
    pub decisions: Vec<Decision>,
    /// What was used.
    pub usage: Usage,
    /// What it cost.
    pub cost: Cost,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
}

impl Record {
    /// Joins how a call began and how it ended; its sequence number is still to come.
    pub fn new(instance: Name, intent: Intent, ending: Ending, cost: Cost) -> Self {
        let call = Call {
            upstream: ending.upstream.or(intent.call.upstream),
            ..intent.call
        };
        Self {
            call_id: intent.call_id,
            request_id: intent.request_id,
            attempt: intent.attempt,
            instance,
            seq: Seq::ZERO,
            corrects: None,
            start_time: intent.start_time,
            duration_us: ending.duration_us,
            time_to_first_token_us: ending.time_to_first_token_us,
            gateway_overhead_us: ending.gateway_overhead_us,
            identity: intent.identity,
            caller: intent.caller,
            call,
            response_model: ending.response_model,
            outcome: ending.outcome,
            status_code: ending.status_code,
            error_type: ending.error_type,
            finish_reason: ending.finish_reason,
            decisions: ending.decisions,
            usage: ending.usage,
            cost,
            request_bytes: intent.request_bytes,
            response_bytes: ending.response_bytes,
        }
    }
}
