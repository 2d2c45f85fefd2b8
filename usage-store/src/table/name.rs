//! Names of the files of table `usage`: they say where a file's rows come from.
//!
//! # Invariants
//! 1. A flushed file is `start_date=YYYY-MM-DD/INSTANCE.FIRST-LAST.UUID.parquet`: all its rows are of that instance, and their places lie
//!    within FIRST to LAST. Several files of one flush (one a day) may have overlapping ranges; a place stands in one of them.
//! 2. A compacted file is `start_date=YYYY-MM-DD/compact-UUID.parquet`; it may hold rows of every instance.
//! 3. An instance's name is written with letters, digits and `-`; every other byte as `_` and two hexadecimal digits. No `%` is used:
//!    paths in Delta's log are percent-encoded themselves, and not every reader decodes them the same way.
//! 4. A file of another name was written by another program, or by a version before these names: nothing is known of its places.

use std::fmt::Write as _;

use arrow::compute::kernels::cast_utils::Parser as _;
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};
use arrow::temporal_conversions::{date32_to_datetime, timestamp_us_to_datetime};
use tollgate_record::{Name, Seq};
use uuid::Uuid;

use crate::scan::Places;

/// What a file's name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileName {
    /// Rows of one instance, as a flush wrote them.
    Flushed {
        /// The instance.
        instance: Name,
        /// Lowest place that a row may have.
        first: Seq,
        /// Highest place that a row may have.
        last: Seq,
    },
    /// Rows of any instance, merged from other files.
    Compacted,
    /// Nothing.
    Foreign,
}

impl FileName {
    /// The one instance whose rows a file has, and up to which place: by its name, else by Delta's log. None if there are several, or nothing says it.
    pub(crate) fn one_instance(file: &Places<'_>) -> Option<(String, Seq)> {
        if let Self::Flushed { instance, last, .. } = Self::parse(file.path) {
            return Some((instance.to_string(), last));
        }
        file.one().map(|(instance, last)| (instance.to_owned(), last))
    }

    /// Reads the path of a file, relative to the table.
    pub(crate) fn parse(path: &str) -> Self {
        let file = path.rsplit('/').next().unwrap_or(path);
        let Some(stem) = file.strip_suffix(".parquet") else {
            return Self::Foreign;
        };
        if let Some(id) = stem.strip_prefix("compact-")
            && Uuid::try_parse(id).is_ok()
        {
            return Self::Compacted;
        }
        flushed(stem).unwrap_or(Self::Foreign)
    }

    /// The path of a file of this name, relative to the table.
    pub(crate) fn path(&self, day: i32, id: Uuid) -> String {
        let folder = partition(day);
        match self {
            Self::Flushed { instance, first, last } => {
                format!("{folder}/{}.{}-{}.{id}.parquet", escape(instance), first.get(), last.get())
            }
            Self::Compacted | Self::Foreign => format!("{folder}/compact-{id}.parquet"),
        }
    }
}

/// The folder of a day's files.
pub(crate) fn partition(day: i32) -> String {
    format!("start_date={}", date(day))
}

/// A day as Delta writes it: `YYYY-MM-DD`.
pub(crate) fn date(day: i32) -> String {
    // Every day of a timestamp is within what the calendar knows.
    date32_to_datetime(day).map_or_else(|| day.to_string(), |date| date.format("%Y-%m-%d").to_string())
}

/// The day that Delta wrote as `YYYY-MM-DD`.
pub(crate) fn day(date: &str) -> Option<i32> {
    Date32Type::parse(date)
}

/// The instant that Delta wrote, in microseconds since 1970-01-01 UTC.
pub(crate) fn unix_us(instant: &str) -> Option<i64> {
    TimestampMicrosecondType::parse(instant)
}

/// An instant as Delta writes it, with all its digits.
pub(crate) fn instant(unix_us: i64) -> Option<String> {
    timestamp_us_to_datetime(unix_us).map(|time| time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
}

fn flushed(stem: &str) -> Option<FileName> {
    let mut parts = stem.split('.');
    let (instance, range, id) = (parts.next()?, parts.next()?, parts.next()?);
    let (first, last) = range.split_once('-')?;
    if parts.next().is_some() || Uuid::try_parse(id).is_err() {
        return None;
    }
    Some(FileName::Flushed {
        instance: unescape(instance)?,
        first: Seq::new(first.parse().ok()?),
        last: Seq::new(last.parse().ok()?),
    })
}

fn escape(name: &Name) -> String {
    let mut text = String::with_capacity(name.as_str().len());
    for byte in name.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            text.push(char::from(byte));
        } else {
            write!(text, "_{byte:02x}").expect("a string takes every text");
        }
    }
    text
}

fn unescape(text: &str) -> Option<Name> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'_' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    Name::new(std::str::from_utf8(&bytes).ok()?).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_written_whatever_the_instance() {
        for instance in ["gw-1", "gw.eu_1", "Büro 7%", "a/b=c", "compact-x"] {
            let name = FileName::Flushed {
                instance: Name::new(instance).unwrap(),
                first: Seq::new(7),
                last: Seq::new(u64::MAX),
            };
            let path = name.path(20_000, Uuid::from_u128(5));
            assert!(path.starts_with("start_date=2024-10-04/"), "{path}");
            assert!(!path.contains('%') && !path.contains(' '));
            assert_eq!(path.matches('/').count(), 1);
            assert_eq!(FileName::parse(&path), name);
        }
        let path = FileName::Compacted.path(0, Uuid::from_u128(5));
        assert_eq!(
            path,
            "start_date=1970-01-01/compact-00000000-0000-0000-0000-000000000005.parquet"
        );
        assert_eq!(FileName::parse(&path), FileName::Compacted);
    }

    #[test]
    fn days_and_instants_are_read_as_they_were_written() {
        for number in [-1, 0, 19_000, 20_717] {
            assert_eq!(day(&date(number)), Some(number));
        }
        for us in [0, 1, 1_790_000_000_123_456] {
            assert_eq!(unix_us(&instant(us).unwrap()), Some(us));
        }
        assert_eq!(unix_us("2026-09-21T14:13:20.123Z"), Some(1_790_000_000_123_000));
        assert_eq!(day("yesterday"), None);
    }

    #[test]
    fn other_names_say_nothing() {
        for path in [
            "start_date=2026-01-01/part-00000-0e2a.snappy.parquet",
            "start_date=2026-01-01/gw.1-2.parquet",
            "start_date=2026-01-01/gw.1-2.00000000-0000-0000-0000-000000000005.csv",
            "start_date=2026-01-01/gw.1-x.00000000-0000-0000-0000-000000000005.parquet",
            "start_date=2026-01-01/gw_2.1-2.00000000-0000-0000-0000-000000000005.parquet",
        ] {
            assert_eq!(FileName::parse(path), FileName::Foreign, "{path}");
        }
    }
}
