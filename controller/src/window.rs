//! `spec.window` of a budget, with its time zone: a word of the calendar, a duration, or one period.

use std::time::Duration;

use chrono::Weekday;
use chrono_tz::Tz;
use tollgate_record::rule::{Unit, Window};

use crate::field::Fields;
use crate::nearest::nearest;
use crate::value::Value;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Shortest rolling window.
const ROLLING_MIN: Duration = Duration::from_secs(60);
/// Longest rolling window.
const ROLLING_MAX: Duration = DAY.saturating_mul(3660);

const UNITS: [(&str, Unit); 6] = [
    ("hour", Unit::Hour),
    ("day", Unit::Day),
    ("week", Unit::Week),
    ("month", Unit::Month),
    ("quarter", Unit::Quarter),
    ("year", Unit::Year),
];

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Mon),
    ("tuesday", Weekday::Tue),
    ("wednesday", Weekday::Wed),
    ("thursday", Weekday::Thu),
    ("friday", Weekday::Fri),
    ("saturday", Weekday::Sat),
    ("sunday", Weekday::Sun),
];

/// Reads `window`, `timezone` and `week_start`.
pub(crate) fn read(fields: &mut Fields<'_>) -> Option<Window> {
    let window = fields.required("window");
    let (zone, first_day) = (fields.take("timezone"), fields.take("week_start"));
    let timezone = zone.as_ref().map_or(Some(Tz::UTC), timezone);
    let week_start = first_day.as_ref().map_or(Some(Weekday::Mon), |value| value.choice(&WEEKDAYS));
    let window = match window {
        Some(window) if window.is_map() => once(&window, timezone),
        Some(window) => match unit(&window) {
            Some(Ok(unit)) => calendar(unit, timezone, week_start),
            Some(Err(())) => None,
            None => {
                if let Some(zone) = &zone {
                    zone.wrong("is not used: a rolling window has no days of a calendar");
                }
                rolling(&window)
            }
        },
        None => None,
    };
    let is_week = matches!(window, Some(Window::Calendar { unit: Unit::Week, .. }));
    if let (Some(first_day), Some(_), false) = (&first_day, &window, is_week) {
        first_day.wrong("is not used: spec.window is not week");
    }
    window
}

/// The longest that a window of this kind lasts, in days, rounded up; a day of the calendar may have 25 hours.
pub(crate) fn days_max(window: &Window) -> u64 {
    let whole = |us: i64| {
        u64::try_from(us)
            .unwrap_or(0)
            .div_ceil(tollgate_record::Timestamp::DAY_US.unsigned_abs())
    };
    match window {
        Window::Calendar { unit, .. } => match unit {
            Unit::Hour | Unit::Day => 1,
            Unit::Week => 7,
            Unit::Month => 31,
            Unit::Quarter => 92,
            Unit::Year => 366,
        },
        Window::Rolling { length_us } => whole(*length_us),
        Window::Once { start, end } => whole(end.unix_us().saturating_sub(start.unix_us())),
    }
}

fn calendar(unit: Unit, timezone: Option<Tz>, week_start: Option<Weekday>) -> Option<Window> {
    Some(Window::Calendar {
        unit,
        timezone: timezone?,
        week_start: week_start?,
    })
}

/// A word of the calendar; `None` if it may be a duration, an error if it was reported.
fn unit(value: &Value<'_>) -> Option<Result<Unit, ()>> {
    if !value.is_string() {
        return None;
    }
    let Some(text) = value.text() else { return Some(Err(())) };
    if text.resolved.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let found = UNITS.iter().find(|(word, _)| *word == text.resolved);
    if found.is_none() {
        let words = UNITS.map(|(word, _)| word);
        let meant = match nearest(&text.resolved, words) {
            Some(meant) => format!("; did you mean {meant}?"),
            None => String::new(),
        };
        value.wrong(format!(
            "{} is no window{meant} (known here: {}, a duration such as 24h, or {{start: ..., end: ...}})",
            text.quoted(),
            words.join(", ")
        ));
    }
    Some(found.map(|(_, unit)| *unit).ok_or(()))
}

fn rolling(value: &Value<'_>) -> Option<Window> {
    let length = value.duration(ROLLING_MIN..=ROLLING_MAX)?;
    let length_us = i64::try_from(length.as_micros()).ok()?;
    if length_us % Window::STEPS != 0 {
        value.wrong(format!(
            "cannot move in {} steps of whole microseconds: write a multiple of 3s",
            Window::STEPS
        ));
        return None;
    }
    Some(Window::Rolling { length_us })
}

fn once(value: &Value<'_>, timezone: Option<Tz>) -> Option<Window> {
    let mut fields = value.fields()?;
    let (start, end) = (fields.required("start"), fields.required("end"));
    fields.finish();
    let timezone = timezone?;
    let (start, end) = (
        start?.day_or_instant_in(timezone),
        end.map(|end| (end.day_or_instant_in(timezone), end))?,
    );
    let (Some(start), (Some(end), value)) = (start, end) else {
        return None;
    };
    if end <= start {
        value.wrong("is not after start: the window would hold nothing");
        return None;
    }
    Some(Window::Once { start, end })
}

fn timezone(value: &Value<'_>) -> Option<Tz> {
    let text = value.text()?;
    let zone = text.resolved.parse::<Tz>().ok();
    if zone.is_none() {
        let meant = match nearest(&text.resolved, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name())) {
            Some(meant) => format!("; did you mean {meant}?"),
            None => String::new(),
        };
        value.wrong(format!(
            "{} is no time zone of the IANA database, such as Europe/Berlin or UTC{meant}",
            text.quoted()
        ));
    }
    zone
}
