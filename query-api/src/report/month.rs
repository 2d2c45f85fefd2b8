//! A calendar month, and the instants it lies between in a time zone.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use super::Error;

/// Years that a month may lie in: those that four digits and a timestamp in microseconds both hold.
const YEARS: std::ops::RangeInclusive<i32> = 1970..=9998;
/// The longest that clocks were ever put forward at once is a day (Samoa, 2011).
const GAP_MINUTES_MAX: i64 = 24 * 60;

/// A calendar month: `2026-11`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(NaiveDate);

impl Month {
    /// The first instant of the month, and the first after it, by the clocks of `timezone`.
    pub fn bounds(self, timezone: Tz) -> (DateTime<Utc>, DateTime<Utc>) {
        let next = self.0.checked_add_months(Months::new(1)).expect("years end at 9998");
        (midnight(self.0, timezone), midnight(next, timezone))
    }
}

impl Month {
    /// The first instant of each day of the month, and the first after the month.
    pub(super) fn midnights(self, timezone: Tz) -> impl Iterator<Item = DateTime<Utc>> {
        let next = self.0.checked_add_months(Months::new(1)).expect("years end at 9998");
        let days = self.0.iter_days().take_while(move |day| *day <= next);
        days.map(move |day| midnight(day, timezone))
    }
}

/// The first instant of a day: midnight, the earlier one if there are two, else the first minute that the clocks show.
fn midnight(day: NaiveDate, timezone: Tz) -> DateTime<Utc> {
    let midnight = NaiveDateTime::new(day, NaiveTime::MIN);
    (0..=GAP_MINUTES_MAX)
        .find_map(|minutes| {
            timezone
                .from_local_datetime(&(midnight + TimeDelta::minutes(minutes)))
                .earliest()
        })
        .map_or_else(|| midnight.and_utc(), |first| first.with_timezone(&Utc))
}

impl FromStr for Month {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let error = || Error::Month { text: text.to_owned() };
        let (year, month) = text
            .split_once('-')
            .filter(|(year, month)| year.len() == 4 && month.len() == 2)
            .ok_or_else(error)?;
        let digits = |part: &str| {
            part.bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| part.parse::<u32>().ok())
                .flatten()
        };
        let (year, month) = digits(year).zip(digits(month)).ok_or_else(error)?;
        let first = i32::try_from(year)
            .ok()
            .filter(|year| YEARS.contains(year))
            .and_then(|year| NaiveDate::from_ymd_opt(year, month, 1));
        first.map(Self).ok_or_else(error)
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0.year(), self.0.month())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn bounds(month: &str, timezone: Tz) -> (String, String) {
        let (start, end) = month.parse::<Month>().unwrap().bounds(timezone);
        (start.to_rfc3339(), end.to_rfc3339())
    }

    fn pair(start: &str, end: &str) -> (String, String) {
        (format!("{start}+00:00"), format!("{end}+00:00"))
    }

    #[test]
    fn bounds_follow_daylight_saving() {
        assert_eq!(bounds("2026-12", Tz::UTC), pair("2026-12-01T00:00:00", "2027-01-01T00:00:00"));
        // Winter time at the start of March, summer time at its end; the other way round in October.
        assert_eq!(
            bounds("2026-03", Tz::Europe__Berlin),
            pair("2026-02-28T23:00:00", "2026-03-31T22:00:00")
        );
        assert_eq!(
            bounds("2026-10", Tz::Europe__Berlin),
            pair("2026-09-30T22:00:00", "2026-10-31T23:00:00")
        );
    }

    #[test]
    fn a_month_whose_first_midnight_does_not_exist_starts_when_the_clocks_do() {
        // Cuba put its clocks forward at midnight of 2001-04-01: the day began at 01:00, which is 05:00 UTC (tzdata, rule Cuba).
        assert_eq!(bounds("2001-04", Tz::America__Havana).0, "2001-04-01T05:00:00+00:00");
    }

    #[test]
    fn what_is_no_month_is_refused() {
        for text in [
            "",
            "2026",
            "2026-13",
            "2026-00",
            "2026-1",
            "26-01",
            "2026-11-01",
            "+026-11",
            "1969-12",
            "9999-01",
            "２０２６-11",
        ] {
            assert!(text.parse::<Month>().is_err(), "{text}");
        }
        assert_eq!("2026-11".parse::<Month>().unwrap().to_string(), "2026-11");
    }
}
