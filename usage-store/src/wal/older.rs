//! Records as they stand in segments of formats 1 and 2: payloads do not describe themselves, so that their shape has to be known.
//!
//! Of what a record is made of only `Usage` has changed. Should another part change, its old shape belongs here too.

use std::sync::Arc;

use serde::Deserialize;
use tollgate_record::{
    Call, CallId, Caller, Cost, Decision, Identity, Name, Outcome, RequestId, Seq, Timestamp, UnknownUsage, UsageSource,
};

/// A record of formats 1 and 2. The order of the fields is the format.
#[derive(Debug, Deserialize)]
pub(crate) struct Record {
    call_id: CallId,
    request_id: RequestId,
    attempt: u16,
    instance: Name,
    seq: Seq,
    corrects: Option<CallId>,
    start_time: Timestamp,
    duration_us: u64,
    time_to_first_token_us: Option<u64>,
    gateway_overhead_us: Option<u64>,
    identity: Arc<Identity>,
    caller: Caller,
    call: Call,
    response_model: Option<Name>,
    outcome: Outcome,
    status_code: Option<u16>,
    error_type: Option<Name>,
    finish_reason: Option<Name>,
    decisions: Vec<Decision>,
    usage: Usage,
    cost: Cost,
    request_bytes: u64,
    response_bytes: u64,
}

#[derive(Debug, Deserialize)]
struct Usage {
    source: UsageSource,
    input: Option<u64>,
    cache_read: Option<u64>,
    cache_creation: Option<u64>,
    cache_creation_5m: Option<u64>,
    cache_creation_1h: Option<u64>,
    audio_in: Option<u64>,
    output: Option<u64>,
    reasoning: Option<u64>,
    audio_out: Option<u64>,
    web_search: Option<u64>,
    remaining: Option<u64>,
    service_tier: Option<Name>,
    region: Option<Name>,
    unknown: Vec<UnknownUsage>,
}

impl From<Record> for tollgate_record::Record {
    fn from(old: Record) -> Self {
        Self {
            call_id: old.call_id,
            request_id: old.request_id,
            attempt: old.attempt,
            instance: old.instance,
            seq: old.seq,
            corrects: old.corrects,
            start_time: old.start_time,
            duration_us: old.duration_us,
            time_to_first_token_us: old.time_to_first_token_us,
            gateway_overhead_us: old.gateway_overhead_us,
            identity: old.identity,
            caller: old.caller,
            call: old.call,
            response_model: old.response_model,
            outcome: old.outcome,
            status_code: old.status_code,
            error_type: old.error_type,
            finish_reason: old.finish_reason,
            decisions: old.decisions,
            usage: old.usage.into(),
            cost: old.cost,
            request_bytes: old.request_bytes,
            response_bytes: old.response_bytes,
        }
    }
}

impl From<Usage> for tollgate_record::Usage {
    fn from(old: Usage) -> Self {
        Self {
            source: old.source,
            input: old.input,
            cache_read: old.cache_read,
            cache_creation: old.cache_creation,
            cache_creation_5m: old.cache_creation_5m,
            cache_creation_1h: old.cache_creation_1h,
            audio_in: old.audio_in,
            output: old.output,
            reasoning: old.reasoning,
            audio_out: old.audio_out,
            web_search: old.web_search,
            remaining: old.remaining,
            service_tier: old.service_tier,
            region: old.region,
            unknown: old.unknown,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use tollgate_record::{Amount, Meter};

    use crate::wal::entry::{self, Kind, Parsed};
    use crate::wal::segment::{Format, MAGIC};

    /// Each has three records that used 100 input tokens at 2 and 20 output tokens at 10 a million.
    const SEGMENTS: [(Format, &[u8]); 2] = [
        (
            Format::One,
            include_bytes!("../../fixtures/format-1/wal/00000000000000000002.wal"),
        ),
        (
            Format::Two,
            include_bytes!("../../fixtures/format-2/wal/00000000000000000002.wal"),
        ),
    ];

    #[test]
    fn records_of_older_formats_are_read_as_they_were_meant() {
        for (format, bytes) in SEGMENTS {
            let mut rest = &bytes[MAGIC.len()..];
            let mut records = Vec::new();
            while let Parsed::Entry(entry, taken) = entry::parse(rest) {
                if entry.kind == Kind::Settled {
                    let record = entry::record(format, entry.payload).unwrap();
                    assert_eq!(record.call_id, entry::call_id(entry.payload).unwrap());
                    records.push(record);
                }
                rest = &rest[taken..];
            }
            assert_eq!(records.len(), 3, "{format:?}");
            for record in records {
                let expected = tollgate_record::Usage {
                    source: tollgate_record::UsageSource::Reported,
                    input: Some(100),
                    cache_read: Some(0),
                    audio_in: Some(0),
                    output: Some(20),
                    reasoning: Some(0),
                    audio_out: Some(0),
                    remaining: record.usage.remaining,
                    ..tollgate_record::Usage::default()
                };
                assert_eq!(record.usage, expected);
                assert_eq!(record.cost.cost, Some(Amount::from_units(400_000_000).unwrap()));
                let meters: Vec<Meter> = record.cost.charges.iter().map(|charge| charge.meter).collect();
                assert_eq!(meters, [Meter::Input, Meter::Output]);
            }
        }
    }
}
