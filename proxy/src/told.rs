//! What an answer tells of budgets and rate limits of the gateway's own.

use std::fmt::Write;
use std::time::SystemTime;

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue};
use tollgate_codec::Codec;
use tollgate_record::admission::{Permit, Remaining};

/// What is left of the tightest budget.
const BUDGET_REMAINING: HeaderName = HeaderName::from_static("x-tollgate-budget-remaining");

/// Headers that answers of a call get in place of those that the upstream sent; none for nearly all calls without rules.
pub(crate) type Told = Option<Box<HeaderMap>>;

/// Of a call that was let pass.
pub(crate) fn of(permit: &Permit, codec: &Codec, now: SystemTime) -> Told {
    if permit.remaining.is_none() && permit.rates.is_empty() {
        return None;
    }
    let mut headers: HeaderMap = codec.rate_headers(&permit.rates, now).collect();
    if let Some(value) = permit.remaining.as_ref().and_then(remaining) {
        headers.insert(BUDGET_REMAINING, value);
    }
    Some(Box::new(headers))
}

/// Written in place: nearly all calls have it where there are budgets.
fn remaining(remaining: &Remaining) -> Option<HeaderValue> {
    const BYTES: usize = 80;
    let mut text = BytesMut::with_capacity(BYTES);
    write!(text, "{}; budget={}", remaining.left, remaining.budget).ok()?;
    HeaderValue::from_maybe_shared(text.freeze()).ok()
}

/// Adds them to an answer.
pub(crate) fn add(told: Told, headers: &mut HeaderMap) {
    for (name, value) in told.into_iter().flat_map(|told| *told) {
        if let Some(name) = name {
            headers.insert(name, value);
        }
    }
}
