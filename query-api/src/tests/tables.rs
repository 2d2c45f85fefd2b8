//! Tables in memory: a few hundred calls over three months, of every cost status, in two currencies, with retries and corrections.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use arrow::json::ReaderBuilder;
use arrow::record_batch::RecordBatch;
use chrono::{DateTime, TimeDelta, Utc};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use serde_json::{Map, Value, json};
use tollgate_record::column::{Kind, USAGE};
use tollgate_record::{Amount, BoxFuture};
use tollgate_usage_store::{Tables, usage_schema};

/// Calls that [`Fixture::new`] makes.
pub(super) const CALLS: usize = 400;

pub(super) struct Fixture {
    usage: RecordBatch,
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::of((0..CALLS).map(call))
    }

    /// Rows as JSON objects; what a row does not say is null, or empty where that is not allowed.
    pub(super) fn of(rows: impl IntoIterator<Item = Value>) -> Self {
        let rows: Vec<_> = rows.into_iter().map(complete).collect();
        let mut decoder = ReaderBuilder::new(usage_schema())
            .with_batch_size(rows.len().max(1))
            .build_decoder()
            .unwrap();
        decoder.serialize(&rows).unwrap();
        Self {
            usage: decoder
                .flush()
                .unwrap()
                .unwrap_or_else(|| RecordBatch::new_empty(usage_schema())),
        }
    }
}

impl Tables for Fixture {
    fn snapshot(&self) -> BoxFuture<'_, Result<Vec<(&'static str, Arc<dyn TableProvider>)>, DataFusionError>> {
        Box::pin(async move {
            let (one, two) = (self.usage.num_rows() / 2, self.usage.num_rows() - self.usage.num_rows() / 2);
            let parts = vec![vec![self.usage.slice(0, one)], vec![self.usage.slice(one, two)]];
            let usage: Arc<dyn TableProvider> = Arc::new(MemTable::try_new(usage_schema(), parts)?);
            Ok(vec![
                ("usage", Arc::clone(&usage)),
                ("usage_hourly", tollgate_usage_store::rollup::hourly(usage)?),
                ("prices", empty(&["version", "model"])?),
                ("files", empty(&["path"])?),
                ("versions", empty(&["version"])?),
            ])
        })
    }
}

fn empty(columns: &[&str]) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let fields: Vec<_> = columns.iter().map(|name| Field::new(*name, DataType::Utf8, false)).collect();
    Ok(Arc::new(MemTable::try_new(Arc::new(Schema::new(fields)), vec![vec![]])?))
}

fn complete(row: Value) -> Value {
    let mut full = Map::new();
    for column in USAGE {
        let value = match column.kind {
            _ if column.nullable => Value::Null,
            Kind::Text => json!("x"),
            Kind::Int | Kind::Decimal => json!(0),
            Kind::Bool => json!(false),
            Kind::Map => json!({}),
            Kind::Decisions | Kind::Charges => json!([]),
            Kind::Timestamp => json!("2026-11-01T00:00:00Z"),
            Kind::Date => json!("2026-11-01"),
        };
        full.insert(column.name.to_owned(), value);
    }
    let Value::Object(row) = row else {
        panic!("a row is an object")
    };
    for (name, value) in row {
        assert!(full.insert(name.clone(), value).is_some(), "no column {name}");
    }
    Value::Object(full)
}

/// The call of number `index`: its columns cycle at lengths that have no common factor, so that they mix.
fn call(index: usize) -> Value {
    let start: DateTime<Utc> = "2026-10-15T00:00:00Z".parse().unwrap();
    let start = start + TimeDelta::minutes(index as i64 * 217);
    let (currency, status) = match index % 7 {
        0..=2 => (Some("USD"), "priced"),
        3 => (Some("EUR"), "priced"),
        4 => (Some("USD"), "estimated"),
        5 => (Some("EUR"), "unpriced"),
        _ => (None, "free"),
    };
    let units = index as i128 * 1_234_567_891 + 7;
    let amount = Amount::from_units(units).unwrap().to_string();
    let cost = currency.map(|_| amount.clone());
    // Every eleventh call corrects the one before it by a little less.
    let corrects = (index % 11 == 10).then(|| id(index - 1));
    let retry = index % 5 == 4 && corrects.is_none();
    json!({
        "call_id": id(index),
        "request_id": format!("request-{}", if retry { index - 1 } else { index }),
        "attempt": if retry { 2 } else { 1 },
        "instance": "gw-1",
        "seq": index + 1,
        "corrects": corrects,
        "start_time": start.to_rfc3339(),
        "start_date": start.date_naive().to_string(),
        "duration_us": 1_000 + index * 37 % 9_000,
        "time_to_first_token_us": (index.is_multiple_of(2)).then_some(500 + index),
        "team": ([Some("growth"), Some("ads"), None][index % 3]),
        "user_id": format!("user-{}", index % 13),
        "key_id": "bot",
        "session_id": format!("session-{}", index % 17),
        "tags": if index.is_multiple_of(4) { json!({"env": "prod", "cost center": "a'b"}) } else { json!({}) },
        "operation_name": "chat",
        "provider_name": (["openai", "anthropic"][index % 2]),
        "request_model": (["gpt-x", "claude-y", "gpt-x-mini"][index % 3]),
        "outcome": if index.is_multiple_of(19) { "upstream_error" } else { "ok" },
        "status_code": if index.is_multiple_of(19) { 500 } else { 200 },
        "input_tokens": (status != "free").then_some(1_000 + index),
        "cache_read_input_tokens": (index.is_multiple_of(3)).then_some(index),
        "output_tokens": (status != "free").then_some(index % 50),
        "usage_source": if status == "estimated" { "estimated" } else { "reported" },
        "cost": cost,
        "list_cost": cost,
        "currency": currency,
        "cost_status": status,
        "charges": if currency.is_some() {
            json!([{"meter": "input", "quantity": "1", "unit": "token", "unit_price": amount, "amount": amount}])
        } else { json!([]) },
    })
}

fn id(index: usize) -> String {
    format!("00000000-0000-7000-8000-{index:012}")
}
