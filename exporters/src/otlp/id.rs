//! Ids of traces and spans, which follow from the row: the same row delivered again is the same span.
//!
//! 1. A call belongs to the caller's trace, below the caller's span, where it sent a `traceparent`; else its request is a trace of its own, so that
//!    attempts of one request meet.
//! 2. The spans of the call and of its attempt at an upstream follow from its `call_id`; the gateway tells upstreams the latter while traces are
//!    exported, so that what an upstream traces hangs below it.

use tollgate_record::CallId;
use uuid::Uuid;

use crate::row::Rows;

/// Where a call stands among spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) trace: [u8; 16],
    /// The caller's span.
    pub(super) parent: Option<[u8; 8]>,
    /// The call's span.
    pub(super) call: [u8; 8],
    /// The span of the attempt at an upstream.
    pub(super) attempt: [u8; 8],
}

impl Place {
    /// Where the call in a row stands; `None` if its id is missing or none.
    pub(super) fn of(rows: &Rows, row: usize) -> Option<Self> {
        let call_id: CallId = rows.call_id.get(row)?.parse().ok()?;
        let caller = rows.trace_id.get(row).and_then(hex::<16>);
        let own = || {
            rows.request_id
                .get(row)
                .and_then(|id| id.parse::<Uuid>().ok())
                .unwrap_or(call_id.uuid())
                .into_bytes()
        };
        Some(Self {
            trace: caller.unwrap_or_else(own),
            parent: caller.and(rows.span_id.get(row)).and_then(hex::<8>),
            call: call_id.span(),
            attempt: call_id.attempt_span(),
        })
    }
}

/// Bytes from as many hexadecimal digits; all zeros is no id (W3C Trace Context, section 3.2.2).
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    (bytes != [0; N]).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture;

    fn place(changes: serde_json::Value) -> Option<Place> {
        Place::of(&Rows::new(&fixture::batch(&[fixture::call_with(1, changes)])).unwrap(), 0)
    }

    #[test]
    fn a_call_joins_the_trace_of_its_caller() {
        let place = place(json!({})).unwrap();
        assert_eq!(place.trace, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes());
        assert_eq!(place.parent, Some(0x00f0_67aa_0ba9_02b7_u64.to_be_bytes()));
        assert_eq!(place.call, 0x8000_0000_0000_0001_u64.to_be_bytes());
        assert_eq!(place.attempt, 0x4000_0000_0000_0001_u64.to_be_bytes());
    }

    #[test]
    fn without_a_caller_the_request_is_the_trace() {
        for changes in [
            json!({"trace_id": null}),
            json!({"trace_id": "0".repeat(32)}),
            json!({"trace_id": "+".repeat(32)}),
        ] {
            let place = place(changes).unwrap();
            assert_eq!(place.trace, 0x0193_8f00_0000_7000_9000_0000_0000_0001_u128.to_be_bytes());
            assert_eq!(place.parent, None);
        }
        assert_eq!(place(json!({"call_id": "imported"})), None);
    }
}
