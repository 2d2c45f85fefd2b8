//! The chargeback report: a month's calls, tokens and money by columns of the caller's choice, as one SQL statement.
//!
//! The report is SQL and nothing else, so that it runs in the gateway and through a server alike, and anyone can check it.
//!
//! Invariants:
//! 1. Amounts of different currencies are never added: `currency` is part of every group.
//! 2. Per currency, every sum over the rows `detail` equals that of the row `total`, to the last digit: both are sums over the same calls.
//! 3. A report over hours equals that over calls, in every cell.
//! 4. `cost = priced_cost + estimated_cost + unpriced_known_cost`, in every row where `cost` is not null.

mod month;

use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use tollgate_record::column::{Kind, USAGE};
use tollgate_usage_store::rollup::{HOUR, KEYS};

pub use self::month::Month;

/// Most columns to group by.
const COLUMNS_MAX: usize = 16;
/// How a tag is named as a column: `tags.env`.
const TAG_PREFIX: &str = "tags.";
/// The column that means the day in the report's time zone.
const DAY: &str = "start_date";
const HOUR_SECONDS: i64 = 3_600;

/// What the report measures, in the order of its columns: name, SQL over the calls, and SQL over calls that were added up by the hour.
const MEASURES: [(&str, &str, &str); 18] = [
    ("calls", "count(*) FILTER (WHERE corrects IS NULL)", "coalesce(sum(calls), 0)"),
    ("corrections", "count(corrects)", "coalesce(sum(corrections), 0)"),
    ("input_tokens", "sum(input_tokens)", "sum(input_tokens)"),
    (
        "cache_read_input_tokens",
        "sum(cache_read_input_tokens)",
        "sum(cache_read_input_tokens)",
    ),
    (
        "cache_creation_input_tokens",
        "sum(cache_creation_input_tokens)",
        "sum(cache_creation_input_tokens)",
    ),
    ("output_tokens", "sum(output_tokens)", "sum(output_tokens)"),
    ("reasoning_tokens", "sum(reasoning_tokens)", "sum(reasoning_tokens)"),
    ("cost", "sum(cost)", "sum(cost)"),
    (
        "priced_cost",
        "coalesce(sum(cost) FILTER (WHERE cost_status IN ('priced', 'free')), 0)",
        "coalesce(sum(cost) FILTER (WHERE cost_status IN ('priced', 'free')), 0)",
    ),
    (
        "estimated_cost",
        "coalesce(sum(cost) FILTER (WHERE cost_status = 'estimated'), 0)",
        "coalesce(sum(cost) FILTER (WHERE cost_status = 'estimated'), 0)",
    ),
    (
        "unpriced_known_cost",
        "coalesce(sum(cost) FILTER (WHERE cost_status = 'unpriced'), 0)",
        "coalesce(sum(cost) FILTER (WHERE cost_status = 'unpriced'), 0)",
    ),
    ("list_cost", "sum(list_cost)", "sum(list_cost)"),
    ("avoided_cost", "sum(avoided_cost)", "sum(avoided_cost)"),
    (
        "estimated_calls",
        "count(*) FILTER (WHERE cost_status = 'estimated' AND corrects IS NULL) + \
         count(corrects) FILTER (WHERE cost_status = 'unpriced' AND usage_source = 'estimated')",
        "coalesce(sum(calls) FILTER (WHERE cost_status = 'estimated'), 0) + \
         coalesce(sum(corrections) FILTER (WHERE cost_status = 'unpriced' AND usage_source = 'estimated'), 0)",
    ),
    (
        "unpriced_calls",
        "count(*) FILTER (WHERE cost_status = 'unpriced' AND corrects IS NULL) - count(corrects) FILTER (WHERE cost_status = 'unpriced')",
        "coalesce(sum(calls) FILTER (WHERE cost_status = 'unpriced'), 0) - \
         coalesce(sum(corrections) FILTER (WHERE cost_status = 'unpriced'), 0)",
    ),
    (
        "unpriced_input_tokens",
        "sum(input_tokens) FILTER (WHERE cost_status = 'unpriced')",
        "sum(input_tokens) FILTER (WHERE cost_status = 'unpriced')",
    ),
    (
        "unpriced_output_tokens",
        "sum(output_tokens) FILTER (WHERE cost_status = 'unpriced')",
        "sum(output_tokens) FILTER (WHERE cost_status = 'unpriced')",
    ),
    (
        "failed_calls",
        "count(*) FILTER (WHERE outcome <> 'ok' AND corrects IS NULL)",
        "coalesce(sum(calls) FILTER (WHERE outcome <> 'ok'), 0)",
    ),
];

/// The table that a report is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Table `usage`: a row a call.
    Calls,
    /// Table `usage_hourly`: the calls of an hour added up. It answers the same, and reads less.
    Hours,
}

/// Why a report cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The month is none.
    #[error("{text:?} is no month; write it as 2026-11")]
    Month {
        /// What was read.
        text: String,
    },
    /// The time zone is none.
    #[error("{text:?} is no time zone; write a name of the IANA database, such as Europe/Berlin, or UTC")]
    Timezone {
        /// What was read.
        text: String,
    },
    /// The column does not exist, or has no single value to group by.
    #[error("{column:?} is no column to report by; there are {}", columns())]
    Column {
        /// What was asked for.
        column: String,
    },
    /// The column is what the report adds up.
    #[error("{column:?} is added up by the report, so it cannot be grouped by")]
    Measure {
        /// What was asked for.
        column: String,
    },
    /// The column was asked for twice.
    #[error("{column:?} is named twice")]
    Twice {
        /// The column.
        column: String,
    },
    /// Too many columns.
    #[error("a report has at most {COLUMNS_MAX} columns to group by")]
    TooManyColumns,
}

/// The columns that a report can be grouped by.
fn columns() -> String {
    let names = USAGE
        .iter()
        .filter(|column| groups(column.name, column.kind))
        .map(|column| column.name);
    names.chain(["tags.<name>"]).collect::<Vec<_>>().join(", ")
}

fn groups(name: &str, kind: Kind) -> bool {
    !matches!(kind, Kind::Map | Kind::Decisions | Kind::Charges) && !is_measure(name)
}

fn is_measure(name: &str) -> bool {
    MEASURES.iter().any(|(measure, ..)| *measure == name)
}

/// One column to group by.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    name: String,
    /// The tag that it is the value of, if it is one.
    tag: Option<String>,
}

impl Key {
    /// The key as SQL, where the instant of a row is in column `time`.
    fn sql(&self, timezone: Tz, time: &str) -> String {
        match &self.tag {
            Some(tag) => format!("tags['{}']", tag.replace('\'', "''")),
            None if self.name == DAY && timezone != Tz::UTC => format!("CAST({time} AT TIME ZONE '{timezone}' AS DATE)"),
            None => identifier(&self.name),
        }
    }
}

/// Calls, tokens and money of a month, by chosen columns and by currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chargeback {
    month: Month,
    by: Vec<Key>,
    timezone: Tz,
}

impl Chargeback {
    /// Makes a report of `month` (`2026-11`) by the columns that `by` names (commas between them; `tags.env` is a tag; may be empty),
    /// where the month is that of `timezone`.
    ///
    /// `currency` is always grouped by. `start_date` means the day in `timezone`.
    ///
    /// # Errors
    /// [`Error`] for a month, column or time zone that is none.
    pub fn parse(month: &str, by: &str, timezone: &str) -> Result<Self, Error> {
        let month = month.parse()?;
        let timezone: Tz = timezone.parse().map_err(|_| Error::Timezone {
            text: timezone.to_owned(),
        })?;
        let names = by.split(',').map(str::trim).filter(|name| !name.is_empty());
        let mut keys: Vec<Key> = Vec::new();
        for name in names {
            if keys.iter().any(|key| key.name == name) {
                return Err(Error::Twice { column: name.to_owned() });
            }
            keys.push(key(name)?);
        }
        if keys.len() > COLUMNS_MAX {
            return Err(Error::TooManyColumns);
        }
        keys.retain(|key| key.name != "currency");
        Ok(Self {
            month,
            by: keys,
            timezone,
        })
    }

    /// The statement. Its columns: `line` (`detail` or `total`), those grouped by, `currency`, then the measures.
    /// Rows are sorted by currency, a currency's total after its details.
    ///
    /// It reads what the calls were added up to by the hour wherever that answers the same ([`Chargeback::source`]).
    pub fn sql(&self) -> String {
        self.sql_over(self.source())
    }

    /// [`Source::Hours`] if hours have the columns, and the month and its days begin with hours of UTC; else [`Source::Calls`].
    pub fn source(&self) -> Source {
        let known = |key: &Key| key.name == DAY || KEYS.contains(&key.name.as_str());
        let by_day = self.by.iter().any(|key| key.name == DAY);
        let (start, end) = self.month.bounds(self.timezone);
        let whole = |time: &DateTime<Utc>| time.timestamp().rem_euclid(HOUR_SECONDS) == 0;
        let aligned = match by_day {
            true => self.month.midnights(self.timezone).all(|time| whole(&time)),
            false => whole(&start) && whole(&end),
        };
        match self.by.iter().all(known) && aligned {
            true => Source::Hours,
            false => Source::Calls,
        }
    }

    /// The statement over a table of one's choice. Over [`Source::Hours`] it is right only where [`Chargeback::source`] says so.
    pub fn sql_over(&self, source: Source) -> String {
        let (table, time) = match source {
            Source::Calls => ("usage", "start_time"),
            Source::Hours => ("usage_hourly", HOUR),
        };
        let names: Vec<_> = self.by.iter().map(|key| identifier(&key.name)).collect();
        let selected = self
            .by
            .iter()
            .zip(&names)
            .map(|(key, name)| format!("{} AS {name}, ", key.sql(self.timezone, time)))
            .collect::<String>();
        let measures = MEASURES
            .map(|(name, calls, hours)| {
                let sql = match source {
                    Source::Calls => calls,
                    Source::Hours => hours,
                };
                format!("{sql} AS {name}")
            })
            .join(",\n  ");
        // A column that is grouped by is selected already.
        let needed = match source {
            Source::Calls => ["outcome", "cost_status", "usage_source", "corrects"].as_slice(),
            Source::Hours => ["outcome", "cost_status", "usage_source", "calls", "corrections"].as_slice(),
        };
        let needed = needed.iter().filter(|name| self.by.iter().all(|key| key.name != **name));
        let needed = needed.map(|name| format!("{name}, ")).collect::<String>();
        let listed = |separator: &str, suffix: &str| {
            names
                .iter()
                .map(|name| format!("{name}{suffix}{separator}"))
                .collect::<String>()
        };
        let (line, sets) = match names.first() {
            Some(first) => (
                format!("CASE WHEN grouping({first}) = 1 THEN 'total' ELSE 'detail' END"),
                format!("GROUPING SETS (({}currency), (currency))", listed(", ", "")),
            ),
            None => ("'total'".to_owned(), "currency".to_owned()),
        };
        format!(
            "SELECT\n  {line} AS line,\n  {}currency,\n  {measures}\nFROM (\n  SELECT {selected}currency, {needed}\
             cost, list_cost, avoided_cost,\n    input_tokens, cache_read_input_tokens, cache_creation_input_tokens, output_tokens, \
             reasoning_tokens\n  FROM {table}\n  WHERE {}\n) AS calls\nGROUP BY {sets}\nORDER BY currency NULLS LAST, line{}",
            listed(", ", ""),
            self.filter(time),
            names.iter().map(|name| format!(", {name} NULLS LAST")).collect::<String>(),
        )
    }

    /// The month as a condition that prunes: the partitions by day, then row groups by time.
    fn filter(&self, time: &str) -> String {
        let (start, end) = self.month.bounds(self.timezone);
        // The last day that the month touches, in UTC: that of the instant before its end.
        let last = end - chrono::TimeDelta::microseconds(1);
        format!(
            "start_date >= DATE '{}' AND start_date <= DATE '{}'\n    AND {time} >= {} AND {time} < {}",
            start.date_naive(),
            last.date_naive(),
            instant(&start.to_rfc3339_opts(SecondsFormat::Secs, true)),
            instant(&end.to_rfc3339_opts(SecondsFormat::Secs, true)),
        )
    }
}

/// An instant of the type that `start_time` has, so that the comparison needs no cast of the column.
fn instant(rfc3339: &str) -> String {
    format!("arrow_cast('{rfc3339}', 'Timestamp(Microsecond, Some(\"UTC\"))')")
}

fn key(name: &str) -> Result<Key, Error> {
    let unknown = || Error::Column { column: name.to_owned() };
    if let Some(tag) = name.strip_prefix(TAG_PREFIX) {
        if tag.is_empty() || tag.contains(char::is_control) {
            return Err(unknown());
        }
        return Ok(Key {
            name: name.to_owned(),
            tag: Some(tag.to_owned()),
        });
    }
    if is_measure(name) {
        return Err(Error::Measure { column: name.to_owned() });
    }
    let column = USAGE
        .iter()
        .find(|column| column.name == name && groups(name, column.kind))
        .ok_or_else(unknown)?;
    Ok(Key {
        name: column.name.to_owned(),
        tag: None,
    })
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_grouped_by_is_named_with_what_can() {
        let error = Chargeback::parse("2026-11", "team,teem", "UTC").unwrap_err().to_string();
        assert!(
            error.contains("\"teem\"") && error.contains("request_model") && error.contains("tags.<name>"),
            "{error}"
        );
        assert!(!error.contains("charges"), "{error}");
        for (by, expected) in [
            (
                "charges",
                Error::Column {
                    column: "charges".into(),
                },
            ),
            ("tags", Error::Column { column: "tags".into() }),
            ("tags.", Error::Column { column: "tags.".into() }),
            ("cost", Error::Measure { column: "cost".into() }),
            ("team, team", Error::Twice { column: "team".into() }),
        ] {
            assert_eq!(Chargeback::parse("2026-11", by, "UTC"), Err(expected));
        }
        assert!(matches!(
            Chargeback::parse("2026-11", "", "Mars/Olympus"),
            Err(Error::Timezone { .. })
        ));
        assert!(matches!(Chargeback::parse("2026-13", "", "UTC"), Err(Error::Month { .. })));
    }

    #[test]
    fn hours_are_read_where_they_answer_the_same() {
        let source = |month: &str, by: &str, zone: &str| Chargeback::parse(month, by, zone).unwrap().source();
        for (month, by, zone) in [
            ("2026-11", "", "UTC"),
            ("2026-11", "team,request_model", "UTC"),
            ("2026-03", "team,start_date", "Europe/Berlin"),
            ("2026-11", "key_id,outcome,cost_status", "America/New_York"),
        ] {
            assert_eq!(source(month, by, zone), Source::Hours, "{month} {by} {zone}");
        }
        for (month, by, zone) in [
            ("2026-11", "user_id", "UTC"),
            ("2026-11", "team,tags.env", "UTC"),
            ("2026-11", "start_time", "UTC"),
            // Midnight in India is half past an hour of UTC.
            ("2026-11", "team", "Asia/Kolkata"),
            ("2026-11", "team", "Asia/Kathmandu"),
        ] {
            assert_eq!(source(month, by, zone), Source::Calls, "{month} {by} {zone}");
        }
        assert!(
            Chargeback::parse("2026-11", "team", "UTC")
                .unwrap()
                .sql()
                .contains("FROM usage_hourly")
        );
    }

    #[test]
    fn the_month_of_a_zone_touches_the_days_of_utc_that_it_needs() {
        let sql = Chargeback::parse("2026-03", "team", "Europe/Berlin").unwrap().sql();
        assert!(
            sql.contains("start_date >= DATE '2026-02-28' AND start_date <= DATE '2026-03-31'"),
            "{sql}"
        );
        assert!(
            sql.contains("2026-02-28T23:00:00Z") && sql.contains("2026-03-31T22:00:00Z"),
            "{sql}"
        );
        let sql = Chargeback::parse("2026-03", "team", "UTC").unwrap().sql();
        assert!(
            sql.contains("start_date >= DATE '2026-03-01' AND start_date <= DATE '2026-03-31'"),
            "{sql}"
        );
    }
}
