//! What may be run, what it sees, and what is said about what is wrong.

use serde_json::json;

use super::Server;
use super::tables::CALLS;

#[tokio::test]
async fn only_what_reads_is_run() {
    let server = Server::start().await;
    let refused = [
        "INSERT INTO usage (call_id) VALUES ('x')",
        "UPDATE usage SET cost = 0",
        "DELETE FROM usage",
        "DROP TABLE usage",
        "DROP VIEW requests",
        "CREATE TABLE t AS SELECT 1",
        "CREATE VIEW v AS SELECT 1",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE DATABASE d",
        "CREATE SCHEMA s",
        "CREATE FUNCTION f() RETURNS INT RETURN 1",
        "ALTER TABLE usage RENAME TO u",
        "TRUNCATE TABLE usage",
        "COPY usage TO '/tmp/usage.csv'",
        "COPY (SELECT 1) TO '/tmp/one.parquet'",
        "SET datafusion.execution.batch_size = 1",
        "RESET datafusion.execution.batch_size",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "DEALLOCATE p",
        "BEGIN",
        "COMMIT",
        "USE x",
        "EXPLAIN INSERT INTO usage (call_id) VALUES ('x')",
        "EXPLAIN ANALYZE COPY usage TO '/tmp/usage.csv'",
        "EXPLAIN EXPLAIN DROP TABLE usage",
        "MERGE INTO usage USING prices ON true WHEN MATCHED THEN DELETE",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE usage",
        "",
        "  -- nothing",
        "WITH x AS (INSERT INTO usage (call_id) VALUES ('x') RETURNING call_id) SELECT * FROM x",
        "SELECT 1 INTO t",
    ];
    for sql in refused {
        let (status, error) = server.error(sql).await;
        assert_eq!(status, 400, "{sql}: {error}");
    }
    let (_, error) = server.error("DELETE FROM usage").await;
    assert_eq!(error["code"], "statement_not_allowed");
    assert!(error["hint"].as_str().unwrap().contains("SELECT"), "{error}");
    let (_, error) = server.error("SELECT 1; SELECT 2").await;
    assert_eq!(error["code"], "not_one_statement");
    assert_eq!(
        server.rows("SELECT count(*) AS calls FROM usage").await,
        json!([{"calls": CALLS}])
    );
}

#[tokio::test]
async fn no_file_and_no_url_is_a_table() {
    let server = Server::start().await;
    let refused = [
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM '/etc/hosts.csv'",
        "SELECT * FROM \"/etc/passwd\"",
        "SELECT * FROM 'file:///etc/passwd'",
        "SELECT * FROM 'https://example.org/x.parquet'",
        "SELECT * FROM 's3://bucket/x.parquet'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_parquet('/etc/passwd')",
        "SELECT * FROM parquet_metadata('/etc/passwd')",
        "SELECT * FROM csv_scan('/etc/passwd')",
        "SELECT * FROM glob('/*')",
        "SELECT read_text('/etc/passwd')",
        "SELECT getenv('HOME')",
        "SELECT current_setting('data_directory')",
    ];
    for sql in refused {
        let (status, error) = server.error(sql).await;
        assert_eq!(status, 400, "{sql}: {error}");
        assert!(!error.to_string().contains("root:"), "{error}");
    }
}

#[tokio::test]
async fn every_kind_of_statement_that_reads_is_run() {
    let server = Server::start().await;
    for sql in [
        "SELECT 1 AS one",
        "SELECT 1 AS one;",
        "WITH x AS (SELECT 1 AS one) SELECT * FROM x",
        "VALUES (1, 'a'), (2, 'b')",
        "EXPLAIN SELECT * FROM usage",
        "EXPLAIN ANALYZE SELECT count(*) FROM usage",
        "EXPLAIN FORMAT TREE SELECT count(*) FROM usage",
        "SHOW TABLES",
        "SHOW COLUMNS FROM usage",
        "SHOW FUNCTIONS LIKE 'sum'",
        "SHOW datafusion.execution.batch_size",
        "DESCRIBE usage",
        "SELECT * FROM information_schema.columns WHERE table_name = 'usage'",
        "SELECT team FROM usage UNION ALL SELECT team FROM requests LIMIT 3",
    ] {
        assert!(!server.rows(sql).await.as_array().unwrap().is_empty(), "{sql}");
    }
    let tables = server
        .rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1")
        .await;
    let names: Vec<_> = tables
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["table_name"].as_str().unwrap())
        .collect();
    let expected = [
        "files",
        "prices",
        "requests",
        "usage",
        "usage_corrected",
        "usage_hourly",
        "usage_original",
        "versions",
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn attempts_of_one_request_are_one_row_of_requests() {
    let server = Server::start().await;
    let rows = server
        .rows(
            "SELECT (SELECT count(*) FROM requests) = (SELECT count(DISTINCT request_id) FROM usage) AS one_each, \
             (SELECT max(attempts) FROM requests) AS most",
        )
        .await;
    assert_eq!(rows, json!([{"one_each": true, "most": 2}]));
}

#[tokio::test]
async fn errors_say_what_where_and_what_instead() {
    let server = Server::start().await;
    let cases = [
        ("SELEKT 1", "syntax_error", "SELEKT", None, Some((1, 1))),
        ("SELECT team\nFROM usage\nWHERE", "syntax_error", "EOF", None, None),
        ("SELECT (1 FROM usage", "syntax_error", "found", None, Some((1, 11))),
        ("SELECT 'open", "syntax_error", "Unterminated", None, Some((1, 8))),
        ("SELECT teem FROM usage", "unknown_column", "teem", Some("team"), Some((1, 8))),
        (
            "SELECT team\nFROM usages",
            "unknown_table",
            "usages",
            Some("usage"),
            Some((2, 6)),
        ),
        ("SELECT summ(cost) FROM usage", "unknown_function", "summ", Some("sum"), None),
        ("SELECT team, sum(cost) FROM usage", "invalid_query", "team", None, None),
        (
            "SELECT a.team FROM usage a JOIN usage b ON team = b.team",
            "ambiguous_column",
            "team",
            None,
            Some((1, 44)),
        ),
        (
            "SELECT a.team, b.team FROM usage a JOIN usage b ON a.call_id = b.call_id",
            "duplicate_column",
            "team",
            Some("AS"),
            None,
        ),
        ("SELECT 1 / 0", "query_failed", "zero", None, None),
        ("SELECT CAST('x' AS BIGINT) FROM usage", "query_failed", "'x'", None, None),
        ("SELECT sum(team) FROM usage", "invalid_query", "sum", None, None),
        ("SELECT repeat('x', 1000000000)", "invalid_query", "repeat", None, None),
        ("SELECT repeat(team, seq) FROM usage", "invalid_query", "repeat", None, None),
        ("SELECT range(1, 1000000000)", "unknown_function", "range", None, None),
    ];
    for (sql, code, message, hint, place) in cases {
        let (status, error) = server.error(sql).await;
        assert_eq!((status, error["code"].as_str()), (400, Some(code)), "{sql}: {error}");
        let text = error["message"].as_str().unwrap();
        assert!(text.contains(message), "{sql}: {error}");
        if let Some(hint) = hint {
            assert!(error["hint"].as_str().unwrap_or_default().contains(hint), "{sql}: {error}");
        }
        if let Some((line, column)) = place {
            assert_eq!(error["position"], json!({"line": line, "column": column}), "{sql}: {error}");
        }
        for noise in [
            "DataFusion",
            "SchemaError",
            "ParserError(",
            "Some(",
            "backtrace",
            "caused by",
            "Error during planning",
        ] {
            assert!(!error.to_string().contains(noise), "{sql}: {error}");
        }
    }
}

#[tokio::test]
async fn sums_of_money_are_exact_decimals() {
    let server = Server::start().await;
    // The costs of the fixture, added up here as integers.
    let expected: i128 = (0..CALLS)
        .filter(|index| index % 7 != 6)
        .map(|index| index as i128 * 1_234_567_891 + 7)
        .sum();
    let rows = server
        .rows("SELECT sum(cost) AS cost, arrow_typeof(sum(cost)) AS type, sum(cost) * 1.19 AS taxed FROM usage")
        .await;
    let cost: tollgate_record::Amount = rows[0]["cost"].as_str().unwrap().parse().unwrap();
    assert_eq!(cost.units(), expected);
    assert_eq!(rows[0]["type"], "Decimal128(38, 12)");
    let taxed = rows[0]["taxed"].as_str().unwrap().replace('.', "");
    assert_eq!(taxed.parse::<i128>().unwrap(), expected * 119, "{rows}");
}

#[tokio::test]
async fn days_of_a_zone_follow_daylight_saving() {
    let server = Server::start().await;
    // 2026-10-25 has 25 hours in Berlin: clocks go back from 03:00 to 02:00 (01:00 UTC).
    let rows = server
        .rows(
            "SELECT date_trunc('day', t AT TIME ZONE 'Europe/Berlin') AS day, count(*) AS hours FROM (
                SELECT arrow_cast(value, 'Timestamp(Microsecond, Some(\"UTC\"))') AS t FROM generate_series(TIMESTAMP '2026-10-24T22:00:00Z', TIMESTAMP '2026-10-26T22:00:00Z', INTERVAL '1' HOUR) WHERE value < TIMESTAMP '2026-10-26T23:00:00Z'
             ) GROUP BY 1 ORDER BY 1",
        )
        .await;
    assert_eq!(
        rows,
        json!([
            {"day": "2026-10-25T00:00:00+02:00", "hours": 25},
            {"day": "2026-10-26T00:00:00+01:00", "hours": 24},
        ])
    );
}
