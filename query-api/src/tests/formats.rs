//! Each format, read back by a reader that is not ours.

use std::io::Cursor;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Decimal128Type, Int64Type};
use arrow::ipc::reader::StreamReader;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use super::tables::CALLS;
use super::{Server, error};
use crate::{Format, Query};

const EVERY: &str = "SELECT call_id, seq, start_time, start_date, team, tags, stream, cost, charges FROM usage ORDER BY seq";

fn all(batches: Vec<RecordBatch>) -> RecordBatch {
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

fn check(rows: &RecordBatch) {
    assert_eq!(rows.num_rows(), CALLS);
    assert_eq!(rows.column_by_name("seq").unwrap().as_primitive::<Int64Type>().value(9), 10);
    let cost = rows.column_by_name("cost").unwrap().as_primitive::<Decimal128Type>();
    assert_eq!((cost.precision(), cost.scale()), (28, 12));
    assert_eq!(cost.value(9), 9 * 1_234_567_891 + 7);
    assert!(cost.is_nullable());
    let charges = rows.column_by_name("charges").unwrap().as_list::<i32>().value(9);
    let amounts = charges.as_struct().column_by_name("amount").unwrap();
    assert_eq!(amounts.as_primitive::<Decimal128Type>().value(0), cost.value(9));
}

#[tokio::test]
async fn arrow_streams_are_read_back_as_they_were() {
    let server = Server::start().await;
    let bytes = server.bytes(EVERY, "application/vnd.apache.arrow.stream").await;
    let reader = StreamReader::try_new(Cursor::new(bytes), None).unwrap();
    check(&all(reader.collect::<Result<_, _>>().unwrap()));
}

#[tokio::test]
async fn parquet_files_are_read_back_as_they_were() {
    let server = Server::start().await;
    let bytes = server.bytes(EVERY, "application/vnd.apache.parquet").await;
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap();
    check(&all(reader.build().unwrap().collect::<Result<_, _>>().unwrap()));
}

#[tokio::test]
async fn long_parquet_files_are_written_in_row_groups() {
    let server = Server::start().await;
    let sql = "SELECT value, md5(CAST(value AS VARCHAR)) AS a, sha256(CAST(value AS VARCHAR)) AS b FROM generate_series(1, 900000)";
    let bytes = server.bytes(sql, "application/vnd.apache.parquet").await;
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap();
    assert_eq!(reader.metadata().file_metadata().num_rows(), 900_000);
    assert!(reader.metadata().num_row_groups() > 1);
    let rows: usize = reader.build().unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(rows, 900_000);
}

#[tokio::test]
async fn json_keeps_money_as_text_and_nulls_written_out() {
    let server = Server::start().await;
    let rows = server.rows(EVERY).await;
    assert_eq!(rows.as_array().unwrap().len(), CALLS);
    assert_eq!(
        rows[8],
        json!({
            "call_id": "00000000-0000-7000-8000-000000000008",
            "seq": 9,
            "start_time": "2026-10-16T04:56:00Z",
            "start_date": "2026-10-16",
            "team": null,
            "tags": {"env": "prod", "cost center": "a'b"},
            "stream": false,
            "cost": "0.009876543135",
            "charges": [{"meter": "input", "quantity": "1.000000000000", "unit": "token", "unit_price": "0.009876543135", "amount": "0.009876543135"}],
        })
    );
    let rows = server
        .rows(
            "SELECT X'00ff10' AS bytes, TIMESTAMP '2026-01-02T03:04:05.000006' AS local, start_time AT TIME ZONE 'Asia/Kolkata' AS there,
             NULL AS nothing, 'NaN'::DOUBLE AS nan, [1, NULL] AS list, {a: 1.5, b: '\"'} AS struct, 9007199254740993 AS large,
             INTERVAL '1' DAY AS interval FROM usage ORDER BY seq LIMIT 1",
        )
        .await;
    let row = &rows[0];
    assert_eq!(
        (&row["bytes"], &row["local"]),
        (&json!("00ff10"), &json!("2026-01-02T03:04:05.000006"))
    );
    assert_eq!(row["there"], "2026-10-15T05:30:00+05:30");
    assert_eq!(
        (&row["nothing"], &row["nan"], &row["list"]),
        (&Value::Null, &Value::Null, &json!([1, null]))
    );
    assert_eq!(
        (&row["struct"], &row["large"]),
        (&json!({"a": "1.5", "b": "\""}), &json!(9_007_199_254_740_993_i64))
    );
    assert_eq!(server.rows("SELECT team FROM usage WHERE false").await, json!([]));
}

#[tokio::test]
async fn ndjson_has_an_object_a_line() {
    let server = Server::start().await;
    let text = String::from_utf8(server.bytes(EVERY, "application/x-ndjson").await).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(Value::from(rows), server.rows(EVERY).await);
    assert!(
        server
            .bytes("SELECT team FROM usage WHERE false", "application/x-ndjson")
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn csv_tells_null_from_empty_and_survives_every_character() {
    let server = Server::start().await;
    let sql = "SELECT 'a,b' AS comma, 'say \"x\"' AS \"quo\"\"te\", E'two\\nlines' AS lines, '' AS empty, NULL AS nothing, 1.50 AS money, [1,2] AS list";
    let text = String::from_utf8(server.bytes(sql, "text/csv").await).unwrap();
    assert_eq!(
        text,
        "comma,\"quo\"\"te\",lines,empty,nothing,money,list\n\"a,b\",\"say \"\"x\"\"\",\"two\nlines\",\"\",,1.50,\"[1,2]\"\n"
    );
    assert_eq!(
        server.bytes("SELECT team, cost FROM usage WHERE false", "text/csv").await,
        b"team,cost\n"
    );

    let bytes = server.bytes(EVERY, "text/csv").await;
    let schema = arrow::csv::reader::Format::default()
        .with_header(true)
        .infer_schema(&bytes[..], None)
        .unwrap()
        .0;
    let reader = arrow::csv::ReaderBuilder::new(schema.into())
        .with_header(true)
        .build(&bytes[..])
        .unwrap();
    let rows: usize = reader.map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(rows, CALLS);
}

#[tokio::test]
async fn tables_align_numbers_and_never_cut() {
    let server = Server::start().await;
    let table = async |sql: &str| {
        let answer = server.engine.query(Query::new(sql)).await.unwrap();
        String::from_utf8(answer.encode(Format::Table).unwrap().collect().await.unwrap()).unwrap()
    };
    let text = table("SELECT * FROM (VALUES ('growth', 12.50), (NULL, 7.25), (E'a\\tb', NULL)) AS t(team, cost)").await;
    assert_eq!(
        text,
        " team   |  cost\n--------+-------\n growth | 12.50\n NULL   |  7.25\n a\\tb   |  NULL\n(3 rows)\n"
    );
    assert_eq!(table("SELECT 1 AS one WHERE false").await, " one\n-----\n(0 rows)\n");
    let long = table("SELECT value FROM generate_series(1, 5000)").await;
    assert_eq!(long.lines().count(), 5_003);
    assert!(long.ends_with(" 5000\n(5000 rows)\n"));
}

#[tokio::test]
async fn a_type_that_a_format_lacks_is_an_error_with_a_way_out() {
    let server = Server::start().await;
    let request = server.sql("SELECT MAP {1: 'a'} AS m").header("accept", "application/json");
    let (status, error) = error(request.send().await.unwrap()).await;
    assert_eq!((status, error["code"].as_str()), (400, Some("unencodable_type")), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("CAST"));
}
