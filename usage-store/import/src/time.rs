//! Instants as other systems write them. One without a time zone is UTC.

use chrono::{DateTime, NaiveDateTime, Utc};
use tollgate_record::Timestamp;

/// With a zone: `2026-09-04T12:33:44.123Z`, `2026-09-04 12:33:44+02`.
const ZONED: [&str; 2] = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z"];
/// Without: `2026-09-04 12:33:44.123`.
const PLAIN: [&str; 2] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
/// First second that is taken for the time of a call: 2000-01-01.
const FIRST_S: i64 = 946_684_800;
/// Last second: the end of 2099. A timestamp beyond it was written in another unit.
const LAST_S: i64 = 4_102_444_799;

/// Reads an instant; digits below the microsecond are cut.
///
/// # Errors
/// A sentence that says what is wrong.
pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
    let text = text.trim();
    let bare = text.strip_suffix(" UTC").or_else(|| text.strip_suffix('Z')).unwrap_or(text);
    let plain = PLAIN
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(bare, format).ok())
        .map(|naive| naive.and_utc());
    let zoned = || {
        ZONED
            .iter()
            .find_map(|format| DateTime::parse_from_str(text, format).ok())
            .map(|instant| instant.with_timezone(&Utc))
    };
    let instant = plain.or_else(zoned).ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        format!("{shown:?} is no time such as 2026-11-23T18:00:00.123Z")
    })?;
    if !(FIRST_S..=LAST_S).contains(&instant.timestamp()) {
        return Err(format!("{text:?} is not between the years 2000 and 2099"));
    }
    Ok(Timestamp::from_unix_us(instant.timestamp_micros()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_ways_in_which_databases_write_an_instant_are_read() {
        let expected = parse("2026-09-04T12:33:44.123Z").unwrap();
        assert_eq!(expected.unix_us(), 1_788_525_224_123_000);
        for text in [
            "2026-09-04 12:33:44.123",
            "2026-09-04 12:33:44.123+00",
            "2026-09-04 14:33:44.123+02",
            "2026-09-04T14:33:44.123+02:00",
            "2026-09-04T14:33:44.123000+0200",
            "2026-09-04 12:33:44.1230009 UTC",
            " 2026-09-04T12:33:44.123Z ",
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in [
            "",
            "yesterday",
            "2026-09-04",
            "1788532424",
            "2026-13-04 12:33:44",
            "1970-01-01 00:00:00",
            "2999-01-01T00:00:00Z",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
