//! Kind `Exporter`: which rows go elsewhere, what of them, and where to. Delivering them is the exporters' work.

pub(crate) mod destination;

pub use destination::{
    Destination, FileFormat, Files, Header, Moesif, MoesifSend, Otlp, OtlpProtocol, Period, Signal, Webhook, WebhookFormat,
};

use std::time::Duration;

use tollgate_record::column::{Column, Kind, USAGE};
use tollgate_record::{Amount, Name, Timestamp};

use crate::budget::Conditional;
use crate::condition::{Condition, ConditionOf};
use crate::dimension::tag;
use crate::field::Fields;
use crate::limits::count;
use crate::nearest::nearest;
use crate::secret::Secret;
use crate::value::Value;

const BATCH_ROWS: u64 = 1000;
const BATCH_BYTES: u64 = 1 << 20;
const BATCH_INTERVAL: Duration = Duration::from_secs(2);
/// Shortest key of hashes, in characters: with a shorter one, whoever has the hashes could try keys.
const HASH_KEY_CHARS_MIN: usize = 16;
/// Columns by which a row is known: they always leave.
const IDENTIFYING: [&str; 3] = ["call_id", "instance", "seq"];

/// Rows that are delivered elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Exporter {
    /// Its name: cursors are kept by it.
    pub name: Name,
    /// Which rows, over the columns of table `usage`; `None` is all.
    pub when: Option<Box<str>>,
    /// Columns that leave, in the order of the table; those by which a row is known are among them.
    pub columns: Vec<&'static str>,
    /// What leaves empty.
    pub redact: Vec<Redacted>,
    /// What leaves hashed.
    pub hash: Option<Hash>,
    /// Where one begins that has no cursor yet.
    pub from: Start,
    /// How rows are delivered together.
    pub batch: Batch,
    /// Share of the rows that leaves, above 0 and at most 1.
    pub sample: Amount,
    /// Where to.
    pub destination: Destination,
}

/// What does not leave as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redacted {
    /// A column.
    Column(&'static str),
    /// The value of a tag.
    Tag(Box<str>),
}

/// What leaves hashed, so that it can be counted and joined and not be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hash {
    /// The key: the same value has the same hash under it.
    pub key: Secret,
    /// Columns of text, and tags; at least one.
    pub of: Vec<Redacted>,
}

/// Where an exporter begins that has no cursor yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// Behind every row that there is when it first starts.
    #[default]
    Now,
    /// With the first row that the table has.
    Beginning,
    /// With the first row that started then or later.
    Instant(Timestamp),
}

/// How rows are delivered together; whichever bound is reached first sends a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Most rows.
    pub rows: usize,
    /// Most bytes, as they are sent before compression.
    pub bytes: u64,
    /// Longest wait of a row for others.
    pub interval: Duration,
}

/// Reads `spec`.
pub(crate) fn read(name: Name, mut spec: Fields<'_>) -> Option<Conditional<Exporter>> {
    let kind = destination::kind(&mut spec);
    let condition = Condition::read(ConditionOf::Exporter, &name, &mut spec);
    let columns = spec.take("columns").map_or(Some(all_columns()), |value| columns(&value));
    let redact = spec.take("redact").map_or(Some(Vec::new()), |value| {
        redacted(&value, columns.as_deref(), keeps_from_emptiness)
    });
    let hash = spec.take("hash").map_or(Some(None), |value| {
        Hash::read(&value, columns.as_deref(), redact.as_deref().unwrap_or_default()).map(Some)
    });
    let from = spec.take("from").map_or(Some(Start::default()), |value| from(&value));
    let batch = Batch::read(spec.map("batch"));
    let sample = spec.take("sample").map_or(Some(Amount::ONE), |value| sample(&value));
    let destination = Destination::read(kind, &mut spec);
    spec.finish();
    Some(Conditional {
        rule: Exporter {
            name,
            when: condition.as_ref().map(|condition| condition.sql.clone()),
            columns: columns?,
            redact: redact?,
            hash: hash?,
            from: from?,
            batch,
            sample: sample?,
            destination: destination?,
        },
        condition,
    })
}

fn all_columns() -> Vec<&'static str> {
    USAGE.iter().map(|column| column.name).collect()
}

/// A column of table `usage`.
fn column(value: &Value<'_>, text: &crate::value::Text<'_>) -> Option<&'static Column> {
    let found = USAGE.iter().find(|column| column.name == text.resolved);
    if found.is_none() {
        let meant = match nearest(&text.resolved, USAGE.iter().map(|column| column.name)) {
            Some(meant) => format!("; did you mean {meant}?"),
            None => String::new(),
        };
        value.wrong(format!("{} is no column of table usage{meant}", text.quoted()));
    }
    found
}

/// Why a column cannot leave empty.
fn keeps_from_emptiness(column: &Column) -> Option<&'static str> {
    let many = matches!(column.kind, Kind::Map | Kind::Decisions | Kind::Charges);
    (!column.nullable && !many).then_some("is never empty, so it cannot leave empty")
}

/// Why a column cannot leave hashed.
fn keeps_from_hash(column: &Column) -> Option<&'static str> {
    if IDENTIFYING.contains(&column.name) {
        return Some("is what a row is known by: it leaves as it is");
    }
    (column.kind != Kind::Text).then_some("is no text, so it has no hash: spec.redact lets it leave empty")
}

fn columns(list: &Value<'_>) -> Option<Vec<&'static str>> {
    let items = list.items()?;
    let count = items.len();
    if count == 0 {
        list.wrong("names no column: leave it out, and all of them leave");
        return None;
    }
    let mut named: Vec<&'static str> = Vec::with_capacity(count);
    for item in items {
        let Some(column) = item.text().and_then(|text| column(&item, &text)) else {
            continue;
        };
        if named.contains(&column.name) {
            item.wrong("stands twice: remove one");
            continue;
        }
        named.push(column.name);
    }
    let leaves = |column: &&'static str| named.contains(column) || IDENTIFYING.contains(column);
    (named.len() == count).then(|| all_columns().into_iter().filter(leaves).collect())
}

/// Columns and tags, each once, that leave and that nothing keeps from being redacted.
fn redacted(
    list: &Value<'_>,
    columns: Option<&[&'static str]>,
    keeps: fn(&Column) -> Option<&'static str>,
) -> Option<Vec<Redacted>> {
    let items = list.items()?;
    let count = items.len();
    let mut redacted: Vec<Redacted> = Vec::with_capacity(count);
    for item in items {
        let Some(text) = item.text() else { continue };
        let (column, what) = match tag(&text.resolved) {
            Some(tag) => ("tags", Redacted::Tag(tag.into())),
            None => {
                let Some(column) = column(&item, &text) else { continue };
                if let Some(reason) = keeps(column) {
                    item.wrong(format!("{} {reason}", text.quoted()));
                    continue;
                }
                (column.name, Redacted::Column(column.name))
            }
        };
        if redacted.contains(&what) {
            item.wrong("stands twice: remove one");
        } else if columns.is_some_and(|columns| !columns.contains(&column)) {
            item.wrong("is not used: spec.columns does not have it, so it does not leave at all");
        } else {
            redacted.push(what);
        }
    }
    (redacted.len() == count).then_some(redacted)
}

fn from(value: &Value<'_>) -> Option<Start> {
    let text = value.text()?;
    match text.resolved.as_str() {
        "now" => Some(Start::Now),
        "beginning" => Some(Start::Beginning),
        other if other.starts_with(|first: char| first.is_ascii_digit()) => value.day_or_instant().map(Start::Instant),
        _ => {
            value.wrong(format!(
                "{} is not known (known here: now, beginning, a date such as 2026-01-01 or an instant such as 2026-01-01T12:00:00Z)",
                text.quoted()
            ));
            None
        }
    }
}

fn sample(value: &Value<'_>) -> Option<Amount> {
    let share = value.share()?;
    if share <= Amount::ZERO || share > Amount::ONE {
        value.wrong("must be above 0 and at most 1, or above 0% and at most 100%: \"10%\" and \"0.1\" are every tenth row");
        return None;
    }
    Some(share)
}

// === impl Hash ===

impl Hash {
    fn read(value: &Value<'_>, columns: Option<&[&'static str]>, emptied: &[Redacted]) -> Option<Self> {
        let mut fields = value.fields()?;
        let key = fields.required("key").and_then(|value| hash_key(&value));
        let of = fields.required("of");
        fields.finish();
        let of = of.and_then(|list| {
            let of = redacted(&list, columns, keeps_from_hash)?;
            let mut used = true;
            for (item, cell) in list.items()?.zip(&of) {
                let with_all_tags = matches!(cell, Redacted::Tag(_)) && emptied.contains(&Redacted::Column("tags"));
                if with_all_tags || emptied.contains(cell) {
                    item.wrong("is not used: spec.redact has it too, so it leaves empty");
                    used = false;
                }
            }
            if of.is_empty() {
                list.wrong("names nothing: leave spec.hash out, and nothing is hashed");
            }
            (used && !of.is_empty()).then_some(of)
        });
        Some(Self { key: key?, of: of? })
    }
}

fn hash_key(value: &Value<'_>) -> Option<Secret> {
    let text = value.text()?;
    if text.resolved.chars().count() < HASH_KEY_CHARS_MIN {
        value.wrong(format!(
            "is shorter than {HASH_KEY_CHARS_MIN} characters: whoever has the hashes could try keys"
        ));
        return None;
    }
    Some(Secret::new(&text.resolved))
}

// === impl Batch ===

impl Batch {
    fn read(mut fields: Fields<'_>) -> Self {
        let times = Duration::from_millis(100)..=Duration::from_secs(3600);
        let batch = Self {
            rows: count(fields.integer("rows", BATCH_ROWS, 1..=1_000_000)),
            bytes: fields.size("bytes", BATCH_BYTES, 64 << 10..=256 << 20),
            interval: fields.duration("interval", BATCH_INTERVAL, times),
        };
        fields.finish();
        batch
    }
}
