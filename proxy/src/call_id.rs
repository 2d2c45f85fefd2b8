//! Makes call ids: version 7 UUIDs of the clock and eight unpredictable bytes, without a system call.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use http::HeaderValue;
use tollgate_record::{CallId, Timestamp};

thread_local! {
    /// A keyed hash, seeded by the system, over a counter: a stream of random numbers for each thread.
    static RANDOM: (RandomState, Cell<u64>) = (RandomState::new(), const { Cell::new(0) });
}

/// Makes the id of a call that began at `start`.
pub(crate) fn next(start: Timestamp) -> CallId {
    let unix_ms = u64::try_from(start.unix_us() / 1000).unwrap_or(0);
    CallId::from_parts(unix_ms, random())
}

/// The id as a header's value.
pub(crate) fn header_value(id: CallId) -> HeaderValue {
    let mut buffer = uuid::Uuid::encode_buffer();
    let text: &str = id.uuid().hyphenated().encode_lower(&mut buffer);
    HeaderValue::from_str(text).expect("a UUID is visible ASCII")
}

fn random() -> [u8; 10] {
    RANDOM.with(|(keyed, counter)| {
        let count = counter.get();
        counter.set(count.wrapping_add(2));
        let high = keyed.hash_one(count).to_le_bytes();
        let [low, next, ..] = keyed.hash_one(count.wrapping_add(1)).to_le_bytes();
        let [a, b, c, d, e, f, g, h] = high;
        [a, b, c, d, e, f, g, h, low, next]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_instant_differ() {
        let ids: std::collections::HashSet<_> = (0..10_000).map(|_| next(Timestamp::from_unix_us(1))).collect();
        assert_eq!(ids.len(), 10_000);
    }
}
