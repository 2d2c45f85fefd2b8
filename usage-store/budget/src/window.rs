//! Windows: which instants a budget counts together.
//!
//! 1. A row belongs to the window in which its `start_time` lies: a call that ends after midnight is of the day on which it began.
//! 2. Calendar units follow the clock of their time zone: a day is 23 or 25 hours long where the clocks change. A day whose midnight is skipped begins with
//!    the first instant behind the gap; one whose midnight comes twice, with the first.
//! 3. Hours begin with those of the zone's standard time, so that they are all of one length, also where clocks are put forward by half an hour.
//! 4. A rolling window moves in [`Window::STEPS`] steps and has one more of them than its length, so that what is younger than the length is always in it.

use chrono::{
    DateTime, Datelike, Days, Duration, LocalResult, Months, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone, Utc, Weekday,
};
use chrono_tz::{OffsetComponents, Tz};
use tollgate_record::Timestamp;
use tollgate_record::rule::{Unit, Window};

/// Instants from `start` on, up to `end`, in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first instant.
    pub start: i64,
    /// The first instant behind it.
    pub end: i64,
}

const HOUR_US: i64 = 3_600_000_000;

impl Span {
    /// Whether an instant lies in it.
    pub const fn has(self, at: Timestamp) -> bool {
        self.start <= at.unix_us() && at.unix_us() < self.end
    }
}

/// The window that an instant lies in; `None` outside of a period, or of what a calendar can name.
///
/// Of a rolling window it is the step of the instant together with the steps before it that count.
pub fn span(window: &Window, at: Timestamp) -> Option<Span> {
    let us = at.unix_us();
    match window {
        Window::Once { start, end } => {
            let span = Span {
                start: start.unix_us(),
                end: end.unix_us(),
            };
            span.has(at).then_some(span)
        }
        Window::Rolling { length_us } => {
            let step = step_us(*length_us);
            let begin = us.div_euclid(step) * step;
            Some(Span {
                start: begin - length_us,
                end: begin + step,
            })
        }
        Window::Calendar {
            unit: Unit::Hour,
            timezone,
            ..
        } => {
            let utc = DateTime::<Utc>::from_timestamp_micros(us)?;
            let standard = timezone.offset_from_utc_datetime(&utc.naive_utc()).base_utc_offset();
            let offset = standard.num_microseconds()?;
            let start = us - (us + offset).rem_euclid(HOUR_US);
            Some(Span {
                start,
                end: start + HOUR_US,
            })
        }
        Window::Calendar {
            unit,
            timezone,
            week_start,
        } => {
            let date = DateTime::<Utc>::from_timestamp_micros(us)?
                .with_timezone(timezone)
                .date_naive();
            let (first, next) = dates(*unit, *week_start, date)?;
            Some(Span {
                start: midnight(*timezone, first)?,
                end: midnight(*timezone, next)?,
            })
        }
    }
}

/// Microseconds of a step of a rolling window.
pub const fn step_us(length_us: i64) -> i64 {
    let step = length_us / Window::STEPS;
    if step < 1 { 1 } else { step }
}

/// First day of the unit that a day lies in, and of the next one.
fn dates(unit: Unit, week_start: Weekday, date: NaiveDate) -> Option<(NaiveDate, NaiveDate)> {
    let months = |first: NaiveDate, count| Some((first, first.checked_add_months(Months::new(count))?));
    match unit {
        Unit::Hour | Unit::Day => Some((date, date.succ_opt()?)),
        Unit::Week => {
            let first = date.week(week_start).checked_first_day()?;
            Some((first, first.checked_add_days(Days::new(7))?))
        }
        Unit::Month => months(date.with_day(1)?, 1),
        Unit::Quarter => months(NaiveDate::from_ymd_opt(date.year(), date.month0() / 3 * 3 + 1, 1)?, 3),
        Unit::Year => months(NaiveDate::from_ymd_opt(date.year(), 1, 1)?, 12),
    }
}

/// The first instant of a day.
fn midnight(timezone: Tz, date: NaiveDate) -> Option<i64> {
    let local = date.and_time(NaiveTime::MIN);
    match timezone.from_local_datetime(&local) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Some(at.timestamp_micros()),
        LocalResult::None => {
            // By the clock as it went before it was put forward, midnight is the instant at which that was done.
            let before = offset(timezone, local.checked_sub_signed(Duration::days(1))?);
            Some((local - Duration::seconds(i64::from(before))).and_utc().timestamp_micros())
        }
    }
}

/// Seconds that a zone is ahead of UTC at an instant.
fn offset(timezone: Tz, utc: NaiveDateTime) -> i32 {
    timezone.offset_from_utc_datetime(&utc).fix().local_minus_utc()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_unix_us(text.parse::<DateTime<Utc>>().unwrap().timestamp_micros())
    }

    fn calendar(unit: Unit, zone: &str) -> Window {
        Window::Calendar {
            unit,
            timezone: zone.parse().unwrap(),
            week_start: Weekday::Mon,
        }
    }

    fn assert_span(window: &Window, instant: &str, start: &str, end: &str) {
        let found = span(window, at(instant)).unwrap();
        assert_eq!(
            (found.start, found.end),
            (at(start).unix_us(), at(end).unix_us()),
            "{window:?} at {instant}"
        );
    }

    #[test]
    fn months_follow_the_clock_of_their_zone() {
        let berlin = calendar(Unit::Month, "Europe/Berlin");
        // 23:30 UTC on October 31 is half past midnight in Berlin, which is on winter time by then.
        assert_span(
            &berlin,
            "2026-10-31T23:30:00Z",
            "2026-10-31T23:00:00Z",
            "2026-11-30T23:00:00Z",
        );
        assert_span(
            &berlin,
            "2026-10-31T22:59:59Z",
            "2026-09-30T22:00:00Z",
            "2026-10-31T23:00:00Z",
        );
    }

    #[test]
    fn a_day_is_as_long_as_the_clocks_make_it() {
        let berlin = calendar(Unit::Day, "Europe/Berlin");
        // 25 hours on October 25, 2026; 23 on March 29.
        assert_span(
            &berlin,
            "2026-10-25T12:00:00Z",
            "2026-10-24T22:00:00Z",
            "2026-10-25T23:00:00Z",
        );
        assert_span(
            &berlin,
            "2026-03-29T12:00:00Z",
            "2026-03-28T23:00:00Z",
            "2026-03-29T22:00:00Z",
        );
    }

    #[test]
    fn a_day_without_midnight_begins_behind_the_gap() {
        // Clocks in Santiago went from 24:00 on September 5, 2026 to 01:00 on September 6.
        let santiago = calendar(Unit::Day, "America/Santiago");
        assert_span(
            &santiago,
            "2026-09-06T12:00:00Z",
            "2026-09-06T04:00:00Z",
            "2026-09-07T03:00:00Z",
        );
    }

    #[test]
    fn hours_of_a_zone_with_half_hours_begin_on_its_own_hour() {
        let kolkata = calendar(Unit::Hour, "Asia/Kolkata");
        assert_span(
            &kolkata,
            "2026-11-30T10:10:00Z",
            "2026-11-30T09:30:00Z",
            "2026-11-30T10:30:00Z",
        );
    }

    #[test]
    fn weeks_quarters_and_years() {
        assert_span(
            &calendar(Unit::Week, "UTC"),
            "2026-11-30T00:00:00Z",
            "2026-11-30T00:00:00Z",
            "2026-12-07T00:00:00Z",
        );
        let sunday = Window::Calendar {
            unit: Unit::Week,
            timezone: Tz::UTC,
            week_start: Weekday::Sun,
        };
        assert_span(
            &sunday,
            "2026-11-30T00:00:00Z",
            "2026-11-29T00:00:00Z",
            "2026-12-06T00:00:00Z",
        );
        assert_span(
            &calendar(Unit::Quarter, "UTC"),
            "2026-11-30T00:00:00Z",
            "2026-10-01T00:00:00Z",
            "2027-01-01T00:00:00Z",
        );
        assert_span(
            &calendar(Unit::Year, "UTC"),
            "2026-11-30T00:00:00Z",
            "2026-01-01T00:00:00Z",
            "2027-01-01T00:00:00Z",
        );
    }

    #[test]
    fn a_rolling_window_has_all_that_is_younger_than_its_length() {
        let day = 86_400_000_000;
        let window = Window::Rolling { length_us: day };
        let now = at("2026-11-30T12:34:56Z");
        let found = span(&window, now).unwrap();
        assert!(found.start <= now.unix_us() - day && found.has(now));
        assert!(found.end - found.start <= day + step_us(day));
    }

    #[test]
    fn every_instant_lies_in_its_window() {
        // Every quarter of an hour of a year, in zones that change their clocks in unlike ways.
        for zone in [
            "UTC",
            "Europe/Berlin",
            "America/Santiago",
            "Australia/Lord_Howe",
            "Asia/Kolkata",
            "Pacific/Apia",
            "Africa/Casablanca",
        ] {
            for unit in [Unit::Hour, Unit::Day, Unit::Week, Unit::Month, Unit::Quarter, Unit::Year] {
                let window = calendar(unit, zone);
                let mut last: Option<Span> = None;
                let first = at("2025-06-01T00:00:00Z").unix_us();
                for quarter in 0..(366 * 96) {
                    let now = Timestamp::from_unix_us(first + quarter * 900_000_000);
                    let found = span(&window, now).unwrap();
                    assert!(found.has(now), "{zone} {unit:?} {now:?} {found:?}");
                    if let Some(last) = last.filter(|last| *last != found) {
                        assert_eq!(
                            last.end, found.start,
                            "{zone} {unit:?} {now:?}: windows leave no gap and do not overlap"
                        );
                    }
                    last = Some(found);
                }
            }
        }
    }
}
