//! One value of a document, read as what a field wants: text, number, duration, money, time, file.
//!
//! A getter that cannot reports why and returns `None`. Messages quote what is written, never what a reference resolved to.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeZone;
use chrono_tz::Tz;
use tollgate_record::{Amount, AmountError, Name, Timestamp};

use crate::field::{Document, Fields};
use crate::nearest::nearest;
use crate::quantity::{self, Size, Span};
use crate::secret::{Pem, Secret};
use crate::yaml::{Content, Meaning, Node, brief};

/// Longest name of a resource.
const RESOURCE_NAME_BYTES_MAX: usize = 128;

/// One value and its path.
#[derive(Clone)]
pub(crate) struct Value<'a> {
    pub(crate) document: &'a Document<'a>,
    pub(crate) node: &'a Node,
    pub(crate) path: String,
}

/// A string: as it is written, and what it means.
pub(crate) struct Text<'a> {
    written: &'a str,
    pub(crate) resolved: String,
}

// === impl Value ===

impl<'a> Value<'a> {
    /// Reports this value.
    pub(crate) fn wrong(&self, reason: impl Into<String>) {
        self.document
            .report
            .add(&self.document.place, self.node.line, &self.path, reason);
    }

    /// Reports that this is something else than it must be, without showing it.
    pub(crate) fn expected(&self, what: &str) {
        let hint = match self.node.meaning() {
            Some(Meaning::Bool | Meaning::Number) if what == "a string" => ": quote it",
            _ => "",
        };
        self.wrong(format!("must be {what}, not {}{hint}", self.node.description()));
    }

    /// Whether it is a scalar that YAML takes for text.
    pub(crate) fn is_string(&self) -> bool {
        self.node.meaning() == Some(Meaning::Text)
    }

    /// Whether it is a map.
    pub(crate) fn is_map(&self) -> bool {
        matches!(self.node.content, Content::Map(_))
    }

    /// The line it starts at.
    pub(crate) fn line(&self) -> u32 {
        self.node.line
    }

    pub(crate) fn fields(&self) -> Option<Fields<'a>> {
        let entries = match &self.node.content {
            Content::Map(entries) => entries.as_slice(),
            _ => {
                self.expected("a map");
                return None;
            }
        };
        Some(Fields::new(self.document, entries, self.node.line, self.path.clone()))
    }

    /// The items of a list.
    pub(crate) fn items(&self) -> Option<impl ExactSizeIterator<Item = Value<'a>> + use<'a>> {
        let Content::List(items) = &self.node.content else {
            self.expected("a list");
            return None;
        };
        let (document, path) = (self.document, self.path.clone());
        Some(items.iter().enumerate().map(move |(index, node)| Value {
            document,
            node,
            path: format!("{path}[{index}]"),
        }))
    }

    /// Keys and values of a map whose keys are free.
    pub(crate) fn pairs(&self) -> Option<impl ExactSizeIterator<Item = (&'a str, Value<'a>)> + use<'a>> {
        let Content::Map(entries) = &self.node.content else {
            self.expected("a map");
            return None;
        };
        let (document, path) = (self.document, self.path.clone());
        Some(entries.iter().map(move |entry| {
            let value = Value {
                document,
                node: &entry.node,
                path: format!("{path}.{}", brief(&entry.key.escape_debug().to_string())),
            };
            (&*entry.key, value)
        }))
    }

    /// A string, its references resolved.
    pub(crate) fn text(&self) -> Option<Text<'a>> {
        match &self.node.content {
            Content::Scalar { text, .. } if self.node.meaning() == Some(Meaning::Text) => self.resolve(text),
            _ => {
                self.expected("a string");
                None
            }
        }
    }

    /// A scalar that may be written bare or come from a reference, such as a number; quoted ones are refused.
    fn bare(&self, what: &str) -> Option<Text<'a>> {
        match &self.node.content {
            Content::Scalar { text, plain } if *plain || text.contains("${") => self.resolve(text),
            _ => {
                self.expected(what);
                None
            }
        }
    }

    /// A scalar that may be written bare or quoted.
    fn either(&self, what: &str) -> Option<Text<'a>> {
        match (&self.node.content, self.node.meaning()) {
            (Content::Scalar { text, .. }, Some(Meaning::Text | Meaning::Number)) => self.resolve(text),
            _ => {
                self.expected(what);
                None
            }
        }
    }

    fn resolve(&self, written: &'a str) -> Option<Text<'a>> {
        match self.document.resolver.resolve(written, self.document.folder) {
            Ok(resolved) => Some(Text { written, resolved }),
            Err(reasons) => {
                for reason in reasons {
                    self.wrong(reason);
                }
                None
            }
        }
    }

    /// A name as rows carry it.
    pub(crate) fn name(&self) -> Option<Name> {
        let text = self.text()?;
        Name::new(&text.resolved)
            .map_err(|error| self.wrong(format!("is no name: {error}")))
            .ok()
    }

    /// The name of a resource: it stands in paths, model prefixes and messages.
    pub(crate) fn resource_name(&self) -> Option<Name> {
        let text = self.text()?;
        let name = &text.resolved;
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let well_formed = name.len() <= RESOURCE_NAME_BYTES_MAX
            && name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name.bytes().all(inner);
        let name = Name::new(name).ok().filter(|_| well_formed);
        if name.is_none() {
            self.wrong(format!(
                "is no resource name: 1 to {RESOURCE_NAME_BYTES_MAX} letters, digits, '-', '_' and '.', a letter or digit first"
            ));
        }
        name
    }

    pub(crate) fn choice<T: Copy>(&self, choices: &[(&'static str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = choices.iter().find(|(name, _)| *name == text.resolved);
        if found.is_none() {
            let known = choices.iter().map(|(name, _)| *name);
            let meant = match nearest(&text.resolved, known.clone()) {
                Some(meant) => format!("; did you mean {meant}?"),
                None => String::new(),
            };
            let known = known.collect::<Vec<_>>().join(", ");
            self.wrong(format!("{} is not known{meant} (known here: {known})", text.quoted()));
        }
        found.map(|(_, value)| *value)
    }

    pub(crate) fn flag(&self) -> Option<bool> {
        let text = self.bare("true or false")?;
        match text.resolved.as_str() {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => {
                self.expected("true or false");
                None
            }
        }
    }

    pub(crate) fn integer(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let text = self.bare("a whole number")?;
        let digits = !text.resolved.is_empty() && text.resolved.bytes().all(|byte| byte.is_ascii_digit());
        let Some(number) = text.resolved.parse().ok().filter(|_| digits) else {
            self.wrong("must be a whole number, not negative, without point, exponent or separators");
            return None;
        };
        self.within(number, range, |number| number.to_string())
    }

    pub(crate) fn size(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let text = self.either("a size such as 64MiB")?;
        let bytes = quantity::size(&text.resolved).map_err(|reason| self.wrong(reason)).ok()?;
        self.within(bytes, range, |bytes| Size(bytes).to_string())
    }

    pub(crate) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let text = self.either("a duration such as 30s")?;
        let duration = quantity::duration(&text.resolved).map_err(|reason| self.wrong(reason)).ok()?;
        self.within(duration, range, |duration| Span(duration).to_string())
    }

    fn within<T: PartialOrd + Copy>(&self, value: T, range: RangeInclusive<T>, show: impl Fn(T) -> String) -> Option<T> {
        if range.contains(&value) {
            return Some(value);
        }
        self.wrong(format!("must be from {} to {}", show(*range.start()), show(*range.end())));
        None
    }

    /// An exact decimal, taken digit by digit from how it is written.
    pub(crate) fn amount(&self) -> Option<Amount> {
        let text = self.either("a decimal number such as \"2.50\"")?;
        self.decimal(&text, &text.resolved)
    }

    /// A share: `"0.15"` or `"15%"`.
    pub(crate) fn share(&self) -> Option<Amount> {
        let text = self.either("a share such as \"0.15\" or \"15%\"")?;
        let Some(percent) = text.resolved.strip_suffix('%') else {
            return self.decimal(&text, &text.resolved);
        };
        let percent = self.decimal(&text, percent)?;
        let share = percent
            .checked_div(100)
            .ok()
            .filter(|share| share.units() * 100 == percent.units());
        if share.is_none() {
            let digits = Amount::SCALE - 2;
            self.wrong(format!("{} has more than {digits} digits behind the point", text.quoted()));
        }
        share
    }

    /// A decimal that is part of this text.
    pub(crate) fn decimal(&self, text: &Text<'_>, digits: &str) -> Option<Amount> {
        let amount = digits.parse::<Amount>();
        if let Err(error) = &amount {
            let reason = match error {
                AmountError::NotADecimal { .. } => {
                    "is not a plain decimal number: write it in quotes, without exponent, sign + or separators, such as \"2.50\""
                        .to_owned()
                }
                AmountError::TooPrecise { .. } => format!("has more than {} digits behind the point", Amount::SCALE),
                AmountError::Overflow => {
                    format!(
                        "has more than {} digits before the point",
                        u32::from(Amount::PRECISION) - Amount::SCALE
                    )
                }
            };
            self.wrong(format!("{} {reason}", text.quoted()));
        }
        amount.ok()
    }

    /// A day in UTC or an instant: `2026-01-01`, `2026-01-01T12:00:00+01:00`.
    pub(crate) fn day_or_instant(&self) -> Option<Timestamp> {
        self.day_or_instant_in(Tz::UTC)
    }

    /// A day, which is its first moment in a time zone, or an instant.
    pub(crate) fn day_or_instant_in(&self, timezone: Tz) -> Option<Timestamp> {
        let text = self.text()?;
        // Chrono alone would also read signs, blanks and single digits.
        let shape: String = text
            .resolved
            .chars()
            .map(|c| if c.is_ascii_digit() { '0' } else { c })
            .collect();
        let day = text
            .resolved
            .parse::<chrono::NaiveDate>()
            .ok()
            .filter(|_| shape == "0000-00-00");
        if let Some(day) = day {
            return Some(timestamp(&first_moment(day, timezone)));
        }
        self.rfc3339(
            &text,
            &format!("a date such as 2026-01-01 ({timezone}) or an instant such as 2026-01-01T12:00:00Z"),
        )
    }

    /// An instant by RFC 3339.
    pub(crate) fn instant(&self) -> Option<Timestamp> {
        let text = self.text()?;
        self.rfc3339(&text, "an instant such as 2026-12-31T23:59:59Z")
    }

    fn rfc3339(&self, text: &Text<'_>, what: &str) -> Option<Timestamp> {
        let instant = chrono::DateTime::parse_from_rfc3339(&text.resolved).ok();
        if instant.is_none() {
            self.wrong(format!("{} is not {what}", text.quoted()));
        }
        instant.map(|instant| timestamp(&instant.to_utc()))
    }

    /// A credential: printable ASCII without blanks at its ends, as a header can carry it.
    pub(crate) fn header_secret(&self) -> Option<Secret> {
        let text = self.text()?;
        let printable = text.resolved.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if !printable || text.resolved.trim().is_empty() || text.resolved.trim() != text.resolved {
            self.wrong("must be printable ASCII without blanks at its ends, so that a header can carry it");
            return None;
        }
        Some(Secret::new(&text.resolved))
    }

    /// A path, relative ones starting at the configuration file.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        let text = self.text()?;
        if text.resolved.is_empty() {
            self.wrong("does not name a file");
            return None;
        }
        Some(self.document.folder.join(&text.resolved))
    }

    /// A PEM file with at least one item that `count` finds.
    pub(crate) fn pem(&self, what: &str, count: impl Fn(&[u8]) -> Result<usize, rustls_pki_types::pem::Error>) -> Option<Pem> {
        let path = self.file()?;
        let bytes = self.document.resolver.references.borrow_mut().get(&path);
        let bytes = bytes.map_err(|reason| self.wrong(format!("the file {reason}"))).ok()?;
        match count(&bytes) {
            Ok(0) => self.wrong(format!("the file has no {what} in PEM format")),
            // The error's own text could quote a line of a private key.
            Err(_) => self.wrong(format!("the file has a {what} that is not valid PEM")),
            Ok(_) => return Some(Pem::new(path, Arc::from(&*bytes))),
        }
        None
    }
}

/// The first moment of a day. Where clocks go forward at midnight the day begins later.
fn first_moment(day: chrono::NaiveDate, timezone: Tz) -> chrono::DateTime<chrono::Utc> {
    const STEP: chrono::TimeDelta = chrono::TimeDelta::minutes(15);
    const STEPS_MAX: usize = 4 * 24;
    let midnight = day.and_time(chrono::NaiveTime::MIN);
    let moments = std::iter::successors(Some(midnight), |moment| moment.checked_add_signed(STEP)).take(STEPS_MAX);
    let first = moments
        .filter_map(|moment| timezone.from_local_datetime(&moment).earliest())
        .next();
    // A day that a time zone left out whole (Pacific/Apia, 2011-12-30) begins where UTC has it.
    first.map_or_else(|| midnight.and_utc(), |moment| moment.to_utc())
}

fn timestamp(instant: &chrono::DateTime<chrono::Utc>) -> Timestamp {
    Timestamp::from_unix_us(instant.timestamp_micros())
}

// === impl Text ===

impl Text<'_> {
    /// As it is written in the file, for a message.
    pub(crate) fn quoted(&self) -> String {
        format!("{:?}", brief(self.written))
    }
}
