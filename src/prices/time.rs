//! Times on the command line.

use anyhow::bail;
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use tollgate_record::Timestamp;

/// A day in UTC, or an instant.
pub(crate) fn read(text: &str) -> anyhow::Result<Timestamp> {
    let day = text.parse::<NaiveDate>().map(|day| day.and_time(NaiveTime::MIN).and_utc());
    let instant = day.or_else(|_| DateTime::parse_from_rfc3339(text).map(|instant| instant.to_utc()));
    match instant {
        Ok(instant) => Ok(Timestamp::from_unix_us(instant.timestamp_micros())),
        Err(_) => bail!("{text:?} is neither a day such as 2026-11-25 (UTC) nor an instant such as 2026-11-25T12:00:00Z"),
    }
}

/// This moment.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix_us(Utc::now().timestamp_micros())
}

/// The beginning of this day in UTC.
pub(crate) fn today() -> Timestamp {
    let now = now().unix_us();
    Timestamp::from_unix_us(now - now.rem_euclid(Timestamp::DAY_US))
}

/// A day, or an instant that is not the beginning of one.
pub(crate) fn shown(at: Timestamp) -> String {
    let instant = DateTime::from_timestamp_micros(at.unix_us()).unwrap_or_default();
    if at.unix_us() % Timestamp::DAY_US == 0 {
        instant.format("%Y-%m-%d").to_string()
    } else {
        instant.format("%Y-%m-%dT%H:%M:%S%.fZ").to_string()
    }
}
