//! Paths of files: a template, filled from what the file holds.
//!
//! `{exporter}`, `{instance}`, `{date}` (2026-11-01), `{year}`, `{month}`, `{day}`, `{hour}`, `{seq}` (place of the file's first row, twenty digits), `{ext}`.
//! `{date}` (or the three), `{instance}` and `{seq}` must stand in it, `{hour}` too if files are hourly: else two files would have one name.

use std::fmt::Write as _;

use chrono::{DateTime, Datelike, Timelike, Utc};
use tollgate_record::Timestamp;

/// How much time a file covers: rows of calls that started in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Period {
    /// An hour, UTC.
    #[default]
    Hourly,
    /// A day, UTC.
    Daily,
}

/// A template that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    period: Period,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Exporter,
    Instance,
    Date,
    Year,
    Month,
    Day,
    Hour,
    Seq,
    Ext,
}

/// Why a template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `{` that nothing closes, or a `}` that nothing opens.
    #[error("braces do not match")]
    Braces,
    /// A name that there is not.
    #[error("there is no {{{name}}}: use exporter, instance, date, year, month, day, hour, seq, ext")]
    Unknown {
        /// The name.
        name: String,
    },
    /// Two files would have one name.
    #[error("{{{field}}} is missing: two files would have one name")]
    Missing {
        /// What is missing.
        field: &'static str,
    },
    /// It leaves its place.
    #[error("a path is relative, without empty parts, `.`, `..` and backslashes, and no part begins with `_`")]
    Path,
}

/// What a path is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) exporter: &'a str,
    pub(crate) instance: &'a str,
    /// Of [`Period::start`].
    pub(crate) period_start: Timestamp,
    pub(crate) seq: u64,
    pub(crate) ext: &'a str,
}

// === impl Period ===

impl Period {
    /// Microseconds that it lasts.
    pub(crate) const fn us(self) -> i64 {
        match self {
            Self::Hourly => Timestamp::DAY_US / 24,
            Self::Daily => Timestamp::DAY_US,
        }
    }

    /// When the period of an instant began.
    pub(crate) const fn start(self, instant: Timestamp) -> Timestamp {
        Timestamp::from_unix_us(instant.unix_us().div_euclid(self.us()) * self.us())
    }

    /// The template where none is given.
    pub const fn template(self) -> &'static str {
        match self {
            Self::Hourly => "{exporter}/{date}/{hour}-{instance}-{seq}.{ext}",
            Self::Daily => "{exporter}/{date}/{instance}-{seq}.{ext}",
        }
    }
}

// === impl Field ===

impl Field {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "exporter" => Self::Exporter,
            "instance" => Self::Instance,
            "date" => Self::Date,
            "year" => Self::Year,
            "month" => Self::Month,
            "day" => Self::Day,
            "hour" => Self::Hour,
            "seq" => Self::Seq,
            "ext" => Self::Ext,
            _ => return None,
        })
    }
}

// === impl Template ===

impl Template {
    /// Checks a template.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn parse(text: &str, period: Period) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (plain, behind) = rest
                .split_once('{')
                .map_or((rest, None), |(plain, behind)| (plain, Some(behind)));
            if plain.contains('}') {
                return Err(TemplateError::Braces);
            }
            if !plain.is_empty() {
                parts.push(Part::Text(plain.to_owned()));
            }
            let Some(behind) = behind else { break };
            let (name, after) = behind.split_once('}').ok_or(TemplateError::Braces)?;
            let field = Field::parse(name).ok_or_else(|| TemplateError::Unknown { name: name.to_owned() })?;
            parts.push(Part::Field(field));
            rest = after;
        }
        let template = Self { parts, period };
        template.check(text)?;
        Ok(template)
    }

    fn check(&self, text: &str) -> Result<(), TemplateError> {
        let has = |field: Field| self.parts.contains(&Part::Field(field));
        let dated = has(Field::Date) || (has(Field::Year) && has(Field::Month) && has(Field::Day));
        for (there, field) in [
            (dated, "date"),
            (has(Field::Instance), "instance"),
            (has(Field::Seq), "seq"),
            (has(Field::Hour) || self.period == Period::Daily, "hour"),
        ] {
            if !there {
                return Err(TemplateError::Missing { field });
            }
        }
        // What begins with `_` is the exporter's own: the head and the manifests.
        let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.starts_with('_');
        if text.contains('\\') || !text.split('/').all(plain) {
            return Err(TemplateError::Path);
        }
        Ok(())
    }

    /// How much time a file covers.
    pub const fn period(&self) -> Period {
        self.period
    }

    /// The path of a file.
    pub(crate) fn path(&self, facts: &Facts<'_>) -> String {
        let start = DateTime::<Utc>::from_timestamp_micros(facts.period_start.unix_us()).unwrap_or_default();
        let mut path = String::new();
        for part in &self.parts {
            let _ = match part {
                Part::Text(text) => write!(path, "{text}"),
                Part::Field(Field::Exporter) => write!(path, "{}", plain(facts.exporter)),
                Part::Field(Field::Instance) => write!(path, "{}", plain(facts.instance)),
                Part::Field(Field::Date) => write!(path, "{}", start.date_naive()),
                Part::Field(Field::Year) => write!(path, "{:04}", start.year()),
                Part::Field(Field::Month) => write!(path, "{:02}", start.month()),
                Part::Field(Field::Day) => write!(path, "{:02}", start.day()),
                Part::Field(Field::Hour) => write!(path, "{:02}", start.hour()),
                Part::Field(Field::Seq) => write!(path, "{:020}", facts.seq),
                Part::Field(Field::Ext) => write!(path, "{}", facts.ext),
            };
        }
        path
    }
}

/// A name as part of a path: other names give other parts, and none gives `..`, a folder of its own, or what is the exporter's.
fn plain(name: &str) -> String {
    name.bytes().enumerate().fold(String::new(), |mut out, (at, byte)| {
        if byte.is_ascii_alphanumeric() || byte == b'-' || (at > 0 && matches!(byte, b'.' | b'_')) {
            out.push(char::from(byte));
        } else {
            // `=` rather than `%`, which stores and browsers encode once more.
            let _ = write!(out, "={byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FIRST_US;

    const FACTS: Facts<'static> = Facts {
        exporter: "finance",
        instance: "gw-1",
        period_start: Timestamp::from_unix_us(FIRST_US + 13 * 3_600_000_000),
        seq: 42,
        ext: "parquet",
    };

    #[test]
    fn a_path_is_filled_from_what_the_file_holds() {
        let path = |text, period| Template::parse(text, period).unwrap().path(&FACTS);
        assert_eq!(
            path(Period::Hourly.template(), Period::Hourly),
            "finance/2026-11-01/13-gw-1-00000000000000000042.parquet"
        );
        assert_eq!(
            path(Period::Daily.template(), Period::Daily),
            "finance/2026-11-01/gw-1-00000000000000000042.parquet"
        );
        let hive = "year={year}/month={month}/day={day}/{instance}.{seq}.x";
        assert_eq!(
            path(hive, Period::Daily),
            "year=2026/month=11/day=01/gw-1.00000000000000000042.x"
        );
    }

    #[test]
    fn names_never_leave_their_part_of_a_path() {
        let template = Template::parse("{instance}/{date}/{seq}", Period::Daily).unwrap();
        for (instance, part) in [
            ("..", "=2E."),
            ("a/b", "a=2Fb"),
            ("_x", "=5Fx"),
            ("a b", "a=20b"),
            ("a=20b", "a=3D20b"),
            ("gw.1_a", "gw.1_a"),
        ] {
            assert!(
                template.path(&Facts { instance, ..FACTS }).starts_with(&format!("{part}/")),
                "{instance}"
            );
        }
    }

    #[test]
    fn templates_that_would_mix_files_or_leave_their_place_are_refused() {
        for (text, error) in [
            ("{date}/{instance}", TemplateError::Missing { field: "seq" }),
            ("{date}/{seq}", TemplateError::Missing { field: "instance" }),
            ("{year}-{month}/{instance}-{seq}", TemplateError::Missing { field: "date" }),
            ("{date}/{instance}-{seq}", TemplateError::Missing { field: "hour" }),
            ("{date}-{hour}-{instance}-{seq", TemplateError::Braces),
            ("{date}}-{hour}-{instance}-{seq}", TemplateError::Braces),
            (
                "{date}-{hour}-{instance}-{seq}-{x}",
                TemplateError::Unknown { name: "x".to_owned() },
            ),
            ("/{date}-{hour}-{instance}-{seq}", TemplateError::Path),
            ("../{date}-{hour}-{instance}-{seq}", TemplateError::Path),
            ("_a/{date}-{hour}-{instance}-{seq}", TemplateError::Path),
        ] {
            assert_eq!(Template::parse(text, Period::Hourly), Err(error), "{text}");
        }
    }

    #[test]
    fn an_hour_and_a_day_begin_where_utc_says() {
        let at = Timestamp::from_unix_us(FIRST_US + 13 * 3_600_000_000 + 1);
        assert_eq!(Period::Hourly.start(at), FACTS.period_start);
        assert_eq!(Period::Daily.start(at).unix_us(), FIRST_US);
    }
}
