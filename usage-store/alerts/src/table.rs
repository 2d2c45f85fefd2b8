//! Table `alerts`.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, Decimal128Builder, Int64Builder, MapBuilder, MapFieldNames, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use tollgate_record::column::Kind;
use tollgate_record::{Amount, Timestamp};

use crate::Cause;
use crate::entry::{End, Entry};

/// The type of its amounts: wide enough for sums of them.
const DECIMAL: DataType = DataType::Decimal128(38, Amount::SCALE as i8);

/// Its columns: name, kind (amounts are `Decimal128(38, 12)`), whether it may be null, and meaning.
pub const ALERTS: &[(&str, Kind, bool, &str)] = &[
    (
        "id",
        Kind::Text,
        false,
        "What the alert is known by, in this table and at webhooks (`webhook-id`).",
    ),
    ("kind", Kind::Text, false, "`threshold`, `projected` or `anomaly`."),
    ("budget", Kind::Text, false, "Name of the budget."),
    (
        "per",
        Kind::Map,
        false,
        "What the counter is kept apart by, with its values; those that are null are left out.",
    ),
    ("window_start", Kind::Timestamp, false, "First instant of the window."),
    ("window_end", Kind::Timestamp, false, "First instant behind it."),
    ("hour", Kind::Timestamp, true, "Start of the hour, UTC, of an anomaly."),
    (
        "percent",
        Kind::Int,
        true,
        "Percentage of the limit that was passed, of a threshold.",
    ),
    (
        "unit",
        Kind::Text,
        false,
        "What is counted: a currency's code, `tokens` or `calls`.",
    ),
    (
        "limit_amount",
        Kind::Decimal,
        false,
        "What might be used in the window when the alert was raised.",
    ),
    (
        "spent",
        Kind::Decimal,
        false,
        "What was spent when the alert was raised: in the window; of an anomaly, in the hour.",
    ),
    (
        "projected",
        Kind::Decimal,
        true,
        "What would have been spent at the window's end, of a projected overrun.",
    ),
    ("usual", Kind::Decimal, true, "What is usual in such an hour, of an anomaly."),
    (
        "bound",
        Kind::Decimal,
        true,
        "The most that would have been no anomaly, of an anomaly.",
    ),
    ("message", Kind::Text, false, "The alert as a sentence."),
    ("raised_at", Kind::Timestamp, false, "When it was raised."),
    (
        "webhooks",
        Kind::Int,
        false,
        "How many webhooks it is for: those that there were when it was raised.",
    ),
    ("delivered", Kind::Int, false, "How many of them have taken it."),
    ("given_up", Kind::Int, false, "How many of them refused it for good."),
    ("last_error", Kind::Text, true, "What webhooks that do not have it said last."),
];

/// The schema of table `alerts`.
pub fn alerts_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let fields = ALERTS
            .iter()
            .map(|(name, kind, nullable, _)| Field::new(*name, data_type(*kind), *nullable));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    });
    Arc::clone(&SCHEMA)
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Int => DataType::Int64,
        Kind::Decimal => DECIMAL,
        Kind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Kind::Map => {
            let entry = Fields::from(vec![value("key"), value("value")]);
            DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entry), false)), false)
        }
        _ => DataType::Utf8,
    }
}

fn value(name: &str) -> Field {
    Field::new(name, DataType::Utf8, false)
}

/// The rows of some entries.
pub(crate) fn batch<'a>(entries: impl Iterator<Item = &'a Entry> + Clone) -> Result<RecordBatch, ArrowError> {
    let texts = |of: &dyn Fn(&Entry) -> Option<String>| -> ArrayRef {
        let mut builder = StringBuilder::new();
        entries.clone().for_each(|entry| builder.append_option(of(entry)));
        Arc::new(builder.finish())
    };
    let instants = |of: &dyn Fn(&Entry) -> Option<Timestamp>| -> ArrayRef {
        let mut builder = TimestampMicrosecondBuilder::new().with_timezone("UTC");
        entries
            .clone()
            .for_each(|entry| builder.append_option(of(entry).map(Timestamp::unix_us)));
        Arc::new(builder.finish())
    };
    let amounts = |of: &dyn Fn(&Entry) -> Option<Amount>| -> ArrayRef {
        let mut builder = Decimal128Builder::new().with_data_type(DECIMAL);
        entries
            .clone()
            .for_each(|entry| builder.append_option(of(entry).map(Amount::units)));
        Arc::new(builder.finish())
    };
    let counts = |of: &dyn Fn(&Entry) -> Option<usize>| -> ArrayRef {
        let mut builder = Int64Builder::new();
        let of = |entry| of(entry).map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        entries.clone().for_each(|entry| builder.append_option(of(entry)));
        Arc::new(builder.finish())
    };
    let columns = vec![
        texts(&|entry| Some(entry.id.clone())),
        texts(&|entry| Some(entry.alert.kind().as_str().to_owned())),
        texts(&|entry| Some(entry.alert.budget.to_string())),
        per(entries.clone())?,
        instants(&|entry| Some(entry.alert.window_start)),
        instants(&|entry| Some(entry.alert.window_end)),
        instants(&|entry| match entry.alert.cause {
            Cause::Anomaly { hour, .. } => Some(hour.start()),
            _ => None,
        }),
        counts(&|entry| match entry.alert.cause {
            Cause::Threshold { percent } => Some(percent.into()),
            _ => None,
        }),
        texts(&|entry| Some(entry.alert.unit.to_string())),
        amounts(&|entry| Some(entry.alert.limit)),
        amounts(&|entry| Some(entry.alert.spent)),
        amounts(&|entry| match entry.alert.cause {
            Cause::Projected { projected } => Some(projected),
            _ => None,
        }),
        amounts(&|entry| match entry.alert.cause {
            Cause::Anomaly { usual, .. } => Some(usual),
            _ => None,
        }),
        amounts(&|entry| match entry.alert.cause {
            Cause::Anomaly { bound, .. } => Some(bound),
            _ => None,
        }),
        texts(&|entry| Some(entry.alert.message())),
        instants(&|entry| Some(entry.alert.raised_at)),
        counts(&|entry| Some(entry.owed.len())),
        counts(&|entry| Some(entry.ended(End::Taken))),
        counts(&|entry| Some(entry.ended(End::GivenUp))),
        texts(&last_error),
    ];
    RecordBatch::try_new(alerts_schema(), columns)
}

fn per<'a>(entries: impl Iterator<Item = &'a Entry>) -> Result<ArrayRef, ArrowError> {
    let names = MapFieldNames {
        entry: "key_value".into(),
        key: "key".into(),
        value: "value".into(),
    };
    let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new()).with_values_field(value("value"));
    for entry in entries {
        for (name, value) in &entry.alert.per {
            if let Some(value) = value {
                builder.keys().append_value(name);
                builder.values().append_value(value);
            }
        }
        builder.append(true)?;
    }
    Ok(Arc::new(builder.finish()))
}

/// Of each webhook that does not have it, what it said.
fn last_error(entry: &Entry) -> Option<String> {
    let without = entry.owed.iter().filter(|(_, owed)| owed.end != Some(End::Taken));
    let said: Vec<String> = without
        .filter_map(|(webhook, owed)| Some(format!("{webhook}: {}", owed.reason.as_deref()?)))
        .collect();
    (!said.is_empty()).then(|| said.join("; "))
}
