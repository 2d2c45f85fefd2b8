//! Identifiers and instants of a record.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The identity of one attempt at an upstream: a UUID of version 7 (RFC 9562), so it sorts by time; of version 8 for a row of another system, for
/// a correction, and for a result of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallId(Uuid);

/// What ids of results of batches begin with: far above every time that version 7 will begin with for six thousand years.
const RESULT_MARK: [u8; 2] = [0xba, 0x7c];

/// The identity of one client request, shared by the attempts it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(Uuid);

/// The place of a row among those of its instance: 1, 2, 3 and so on, without gaps; 0 is "not yet written".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Seq(u64);

/// An instant in UTC, in microseconds since 1970-01-01.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(i64);

// === impl CallId ===

impl CallId {
    /// Makes an id of the instant (milliseconds since 1970) and ten random bytes.
    pub fn from_parts(unix_ms: u64, random: [u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid())
    }

    /// Makes the id of a row that follows from another one, of another system or of this: version 8, of bytes that follow from that one's id.
    pub const fn from_digest(digest: [u8; 16]) -> Self {
        Self(uuid::Builder::from_custom_bytes(digest).into_uuid())
    }

    /// How ids of results of batches begin, as text.
    pub const RESULTS_BEGIN_WITH: &'static str = "ba7c";

    /// Makes the id of a result of a batch: version 8, of bytes that follow from the set of results and from the result. Results of one set are
    /// neighbours, and apart from ids of version 7, so that what a set has can be found without reading other rows.
    pub fn of_result(set: [u8; 6], result: [u8; 8]) -> Self {
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(RESULT_MARK.into_iter().chain(set).chain(result)) {
            *to = from;
        }
        Self::from_digest(bytes)
    }

    /// Whether this is the id of a result of a batch.
    pub fn is_result(self) -> bool {
        self.0.as_bytes().starts_with(&RESULT_MARK)
    }

    /// The first and the last id that a result of the same set can have.
    pub const fn of_same_set(self) -> (Self, Self) {
        const RESULT: u128 = u64::MAX as u128;
        // A UUID's variant takes the two highest bits of what tells results apart.
        const VARIANT: u128 = 0b10 << 62;
        let set = self.0.as_u128() & !RESULT;
        (
            Self(Uuid::from_u128(set | VARIANT)),
            Self(Uuid::from_u128(set | (RESULT & !(0b11 << 62)) | VARIANT)),
        )
    }

    /// The UUID itself.
    pub const fn uuid(self) -> Uuid {
        self.0
    }

    /// The span of the call in a trace (W3C Trace Context, section 3.2.2.4): the last 8 bytes of its id, of which 62 bits are random.
    pub const fn span(self) -> [u8; 8] {
        let [_, _, _, _, _, _, _, _, a, b, c, d, e, f, g, h] = self.0.into_bytes();
        [a, b, c, d, e, f, g, h]
    }

    /// The span of its attempt at an upstream, below [`CallId::span`]: the same with the two fixed bits turned over. A UUID's variant is `10`, so
    /// they are `10` and `01`: never equal, never zero.
    pub const fn attempt_span(self) -> [u8; 8] {
        let [first, rest @ ..] = self.span();
        let [b, c, d, e, f, g, h] = rest;
        [first ^ 0xc0, b, c, d, e, f, g, h]
    }

    /// The request of which this call is the first attempt; it has the same UUID.
    pub const fn as_request(self) -> RequestId {
        RequestId(self.0)
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for CallId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

// === impl RequestId ===

impl RequestId {
    /// The UUID itself.
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Seq ===

impl Seq {
    /// The place before the first row.
    pub const ZERO: Self = Self(0);

    /// Wraps a number read from a durable place.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The next place.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

// === impl Timestamp ===

impl Timestamp {
    /// Microseconds in a day.
    pub const DAY_US: i64 = 86_400_000_000;

    /// Wraps microseconds since 1970-01-01 UTC.
    pub const fn from_unix_us(us: i64) -> Self {
        Self(us)
    }

    /// Microseconds since 1970-01-01 UTC.
    pub const fn unix_us(self) -> i64 {
        self.0
    }

    /// Whole days since 1970-01-01 UTC: the partition of the row.
    pub const fn day(self) -> i32 {
        // An i64 of microseconds spans 2 * 106,751,991 days, which an i32 holds.
        self.0.div_euclid(Self::DAY_US) as i32
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let us = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        Self(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => us(after),
            Err(before) => -us(before.duration()),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn call_ids_are_version_7_and_sort_by_time() {
        let earlier = CallId::from_parts(1_700_000_000_000, [255; 10]);
        let later = CallId::from_parts(1_700_000_000_001, [0; 10]);
        assert!(earlier < later);
        assert_eq!(earlier.uuid().get_version_num(), 7);
        assert_eq!(earlier.to_string().parse::<CallId>().unwrap(), earlier);
    }

    #[test]
    fn ids_of_results_follow_from_what_they_are_and_lie_together() {
        let id = |set: u8, result: u8| CallId::of_result([set; 6], [result; 8]);
        assert_eq!(id(1, 2), id(1, 2));
        assert_eq!(id(1, 2).to_string(), "ba7c0101-0101-8101-8202-020202020202");
        assert_eq!(id(1, 2).uuid().get_version_num(), 8);
        let (first, last) = id(1, 9).of_same_set();
        assert_eq!((first, last), id(1, 200).of_same_set());
        for result in [0, 1, 127, 128, 255] {
            assert!((first..=last).contains(&id(1, result)) && id(1, result).is_result());
            assert!(id(1, result).to_string().starts_with(CallId::RESULTS_BEGIN_WITH));
            assert!(!(first..=last).contains(&id(2, result)) && !(first..=last).contains(&id(0, result)));
        }
        // In the year 7990.
        let late = CallId::from_parts(190_000_000_000_000, [255; 10]);
        assert!(late < id(0, 0) && !late.is_result());
    }

    #[test]
    fn days_before_the_epoch_are_negative() {
        assert_eq!(Timestamp::from_unix_us(-1).day(), -1);
        assert_eq!(Timestamp::from_unix_us(Timestamp::DAY_US).day(), 1);
    }
}
