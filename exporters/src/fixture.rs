//! Rows for tests and benchmarks, made from JSON by the columns that the record declares.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::json::ReaderBuilder;
use serde_json::{Value, json};
use tollgate_record::column::{Kind, USAGE};

/// A streamed call that went well: of nine input tokens two read from a cache, forty output tokens; numbered, so that ids and places differ.
pub(crate) fn call(number: u64) -> Value {
    let who_and_what = json!({
        "call_id": format!("01938f00-0000-7000-8000-{number:012x}"),
        "request_id": format!("01938f00-0000-7000-9000-{number:012x}"),
        "attempt": 1, "instance": "gw-1", "seq": number,
        "start_time": "2025-12-01T00:00:00.000000Z", "start_date": "2025-12-01",
        "duration_us": 1_500_000, "time_to_first_token_us": 330_000, "gateway_overhead_us": 400,
        "org": "acme", "team": "growth", "project": "search", "service": "ranker", "user_id": "ann", "agent": "planner",
        "key_id": "bot", "session_id": "s-1",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7", "tags": {"cost_center": "4711"},
        "operation_name": "chat", "proxy": "chat-eu", "provider_name": "openai", "upstream": "api.openai.com:443", "region": "eu",
        "request_model": "gpt-5", "response_model": "gpt-5-2025-08-07", "stream": true, "route_rule": "default",
    });
    let used_and_owed = json!({
        "outcome": "ok", "status_code": 200, "finish_reason": "stop",
        "decisions": [{"policy": "pii", "action": "noted", "detail": "an e-mail address"}],
        "input_tokens": 9, "cache_read_input_tokens": 2, "output_tokens": 40, "reasoning_tokens": 10, "usage_source": "reported",
        "cost": "0.000123456789", "list_cost": "0.0002", "currency": "USD", "cost_status": "priced", "price_version": "2025-12-01",
        "charges": [
            {"meter": "input", "quantity": "9", "unit": "token", "unit_price": "0.00001", "amount": "0.0001"},
            {"meter": "output", "quantity": "40", "unit": "token", "unit_price": "0.000001", "amount": "0.000023456789"},
        ],
        "request_bytes": 1024, "response_bytes": 4096,
    });
    merged(who_and_what, used_and_owed)
}

/// A call with other values in some columns; null takes a value away.
pub(crate) fn call_with(number: u64, changes: Value) -> Value {
    merged(call(number), changes)
}

fn merged(mut row: Value, changes: Value) -> Value {
    if let (Value::Object(row), Value::Object(changes)) = (&mut row, changes) {
        row.extend(changes);
    }
    row
}

/// A batch of such rows, with every column of table `usage`.
pub(crate) fn batch(rows: &[Value]) -> RecordBatch {
    let mut decoder = ReaderBuilder::new(schema())
        .build_decoder()
        .expect("the schema has no exotic type");
    decoder.serialize(rows).expect("the rows have the schema's types");
    decoder.flush().expect("the rows are whole").expect("there are rows")
}

/// A batch without some of its columns.
pub(crate) fn without(batch: &RecordBatch, columns: &[&str]) -> RecordBatch {
    let kept: Vec<_> = (0..batch.num_columns())
        .filter(|column| !columns.contains(&batch.schema().field(*column).name().as_str()))
        .collect();
    batch.project(&kept).expect("the columns are those of the batch")
}

fn schema() -> SchemaRef {
    let fields: Vec<_> = USAGE
        .iter()
        .map(|column| Field::new(column.name, data_type(column.kind), true))
        .collect();
    Arc::new(Schema::new(fields))
}

fn data_type(kind: Kind) -> DataType {
    let amount = DataType::Decimal128(28, 12);
    let list = |fields: Vec<Field>| DataType::List(Arc::new(Field::new("element", DataType::Struct(Fields::from(fields)), false)));
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    match kind {
        Kind::Text => DataType::Utf8,
        Kind::Int => DataType::Int64,
        Kind::Bool => DataType::Boolean,
        Kind::Decimal => amount,
        Kind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Kind::Date => DataType::Date32,
        Kind::Map => {
            let entry = DataType::Struct(Fields::from(vec![text("key", false), text("value", false)]));
            DataType::Map(Arc::new(Field::new("key_value", entry, false)), false)
        }
        Kind::Decisions => list(vec![text("policy", false), text("action", false), text("detail", true)]),
        Kind::Charges => list(vec![
            text("meter", false),
            Field::new("quantity", amount.clone(), false),
            text("unit", false),
            Field::new("unit_price", amount.clone(), true),
            Field::new("amount", amount, true),
        ]),
    }
}
