//! The chargeback report against sums that are made here, as integers.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use tollgate_record::Amount;

use super::Server;
use super::tables::Fixture;
use crate::report::{Chargeback, Source};
use crate::{Engine, Format, Limits, Query};

fn units(value: &Value) -> i128 {
    value.as_str().map_or(0, |text| text.parse::<Amount>().unwrap().units())
}

fn count(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

/// Every sum of the details of a currency equals that of its total, and the parts of the cost add up.
fn adds_up(rows: &[Value]) {
    let money = ["cost", "priced_cost", "estimated_cost", "unpriced_known_cost", "list_cost"];
    let counts = [
        "calls",
        "corrections",
        "input_tokens",
        "output_tokens",
        "estimated_calls",
        "unpriced_calls",
        "failed_calls",
    ];
    for total in rows.iter().filter(|row| row["line"] == "total") {
        let details = || {
            rows.iter()
                .filter(|row| row["line"] == "detail" && row["currency"] == total["currency"])
        };
        for name in money {
            assert_eq!(
                details().map(|row| units(&row[name])).sum::<i128>(),
                units(&total[name]),
                "{name}"
            );
        }
        for name in counts {
            assert_eq!(
                details().map(|row| count(&row[name])).sum::<i64>(),
                count(&total[name]),
                "{name}"
            );
        }
    }
    for row in rows {
        let parts = units(&row["priced_cost"]) + units(&row["estimated_cost"]) + units(&row["unpriced_known_cost"]);
        assert_eq!(units(&row["cost"]), parts, "{row}");
    }
}

async fn run(server: &Server, report: &Chargeback) -> Vec<Value> {
    server.rows(&report.sql()).await.as_array().unwrap().clone()
}

#[tokio::test]
async fn a_month_adds_up_by_any_columns_and_never_across_currencies() {
    let server = Server::start().await;
    for by in [
        "",
        "team",
        "team,request_model",
        "currency",
        "team,currency",
        "tags.env,start_date",
        "tags.cost center",
        "status_code,stream",
    ] {
        let rows = run(&server, &Chargeback::parse("2026-11", by, "UTC").unwrap()).await;
        adds_up_or_is_total(by, &rows);
        let totals: Vec<_> = rows.iter().filter(|row| row["line"] == "total").collect();
        let expected = server
            .rows("SELECT currency, sum(cost) AS cost, count(*) FILTER (WHERE corrects IS NULL) AS calls FROM usage WHERE start_time >= '2026-11-01T00:00:00Z' AND start_time < '2026-12-01T00:00:00Z' GROUP BY 1 ORDER BY 1 NULLS LAST")
            .await;
        let actual: Vec<_> = totals
            .iter()
            .map(|row| json!({"currency": row["currency"], "cost": row["cost"], "calls": row["calls"]}))
            .collect();
        assert_eq!(Value::from(actual), expected, "{by}");
    }
}

fn adds_up_or_is_total(by: &str, rows: &[Value]) {
    let details = rows.iter().filter(|row| row["line"] == "detail").count();
    if by.is_empty() || by == "currency" {
        assert_eq!(details, 0, "a total by nothing but currency has no details");
    } else {
        assert!(details > 1, "{by}");
        adds_up(rows);
    }
}

#[tokio::test]
async fn estimated_and_unpriced_stand_apart() {
    let server = Server::start().await;
    let rows = run(&server, &Chargeback::parse("2026-11", "team", "UTC").unwrap()).await;
    let euro = rows
        .iter()
        .find(|row| row["line"] == "total" && row["currency"] == "EUR")
        .unwrap();
    assert!(
        count(&euro["unpriced_calls"]) > 0 && units(&euro["unpriced_known_cost"]) > 0,
        "{euro}"
    );
    assert!(count(&euro["unpriced_input_tokens"]) > 0, "{euro}");
    assert_eq!(count(&euro["estimated_calls"]), 0);
    let dollar = rows
        .iter()
        .find(|row| row["line"] == "total" && row["currency"] == "USD")
        .unwrap();
    assert!(
        count(&dollar["estimated_calls"]) > 0 && units(&dollar["estimated_cost"]) > 0,
        "{dollar}"
    );
    let free = rows
        .iter()
        .find(|row| row["line"] == "total" && row["currency"].is_null())
        .unwrap();
    assert_eq!(
        (&free["cost"], &free["input_tokens"]),
        (&Value::Null, &Value::Null),
        "not known is not zero"
    );
}

#[tokio::test]
async fn the_month_of_a_zone_has_that_zones_calls() {
    let at = |time: &str| json!({"start_time": time, "start_date": &time[..10], "cost": "1", "currency": "USD", "cost_status": "priced", "outcome": "ok"});
    let rows = [
        "2026-02-28T22:59:59.999999Z", // February in Berlin
        "2026-02-28T23:00:00Z",        // 1 March in Berlin, February in UTC
        "2026-03-31T21:59:59.999999Z", // 31 March in Berlin, in summer time
        "2026-03-31T22:00:00Z",        // April in Berlin, March in UTC
    ];
    let spill = tempfile::tempdir().unwrap();
    let limits = Limits {
        spill_dir: spill.path().to_owned(),
        ..Limits::default()
    };
    let engine = Engine::new(Arc::new(Fixture::of(rows.map(at))), limits).unwrap();
    let report = async |month: &str, by: &str, zone: &str| {
        let sql = Chargeback::parse(month, by, zone).unwrap().sql();
        let bytes = engine
            .query(Query::new(sql))
            .await
            .unwrap()
            .encode(Format::Json)
            .unwrap()
            .collect()
            .await
            .unwrap();
        serde_json::from_slice::<Vec<Value>>(&bytes).unwrap()
    };
    for (month, zone, calls) in [
        ("2026-02", "Europe/Berlin", 1),
        ("2026-03", "Europe/Berlin", 2),
        ("2026-04", "Europe/Berlin", 1),
        ("2026-02", "UTC", 2),
        ("2026-03", "UTC", 2),
    ] {
        assert_eq!(report(month, "", zone).await[0]["calls"], calls, "{month} {zone}");
    }
    let days = report("2026-03", "start_date", "Europe/Berlin").await;
    let days: Vec<_> = days
        .iter()
        .filter(|row| row["line"] == "detail")
        .map(|row| row["start_date"].as_str().unwrap())
        .collect();
    assert_eq!(days, ["2026-03-01", "2026-03-31"]);
    assert!(report("2025-01", "team", "UTC").await.is_empty());
}

#[tokio::test]
async fn the_filter_is_compared_without_a_cast_of_the_column() {
    let server = Server::start().await;
    let sql = Chargeback::parse("2026-11", "team", "Europe/Berlin")
        .unwrap()
        .sql_over(Source::Calls);
    let plan = server.rows(&format!("EXPLAIN {sql}")).await.to_string();
    assert!(
        plan.contains("start_time >= TimestampMicrosecond(") || plan.contains("start_time@"),
        "{plan}"
    );
    assert!(
        !plan.contains("CAST(usage.start_time") && !plan.contains("CAST(start_time"),
        "{plan}"
    );
    assert!(
        !plan.contains("CAST(usage.start_date") && !plan.contains("CAST(start_date"),
        "{plan}"
    );
}

/// Both reports, of hours and of calls, equal in every cell.
async fn hours_equal_calls(engine: &Engine, report: &Chargeback) {
    let rows = async |source: Source| {
        let answer = engine.query(Query::new(report.sql_over(source))).await.unwrap();
        let bytes = answer.encode(Format::Json).unwrap().collect().await.unwrap();
        serde_json::from_slice::<Vec<Value>>(&bytes).unwrap()
    };
    assert_eq!(report.source(), Source::Hours);
    assert_eq!(rows(Source::Hours).await, rows(Source::Calls).await, "{report:?}");
}

#[tokio::test]
async fn a_report_over_hours_equals_that_over_calls_by_every_column() {
    let spill = tempfile::tempdir().unwrap();
    let limits = Limits {
        spill_dir: spill.path().to_owned(),
        ..Limits::default()
    };
    let engine = Engine::new(Arc::new(Fixture::new()), limits).unwrap();
    let mut columns: Vec<_> = tollgate_usage_store::rollup::KEYS.to_vec();
    columns.push("start_date");
    hours_equal_calls(&engine, &Chargeback::parse("2026-11", "", "UTC").unwrap()).await;
    for (index, first) in columns.iter().enumerate() {
        let report = Chargeback::parse("2026-11", first, "Europe/Berlin").unwrap();
        hours_equal_calls(&engine, &report).await;
        // Every fourth with another, in another zone.
        if index % 4 == 0 {
            let second = columns[(index + 2) % columns.len()];
            let report = Chargeback::parse("2026-10", &format!("{first},{second}"), "America/New_York").unwrap();
            hours_equal_calls(&engine, &report).await;
        }
    }
    let all = columns[..15].join(",");
    hours_equal_calls(&engine, &Chargeback::parse("2026-11", &all, "UTC").unwrap()).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn whatever_was_called_a_report_over_hours_equals_that_over_calls(
        calls in prop::collection::vec(
            (0..3_usize, 0..3_usize, 0..4_usize, prop::option::of(-10_i128.pow(20)..10_i128.pow(20)), prop::option::of(0..9_u32), 0..720_i64, any::<bool>()),
            1..50,
        ),
        by in prop::sample::subsequence(vec!["team", "start_date", "outcome", "cost_status", "status_code", "currency", "request_model"], 0..4),
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "Pacific/Auckland", "America/St_Johns"]),
    ) {
        let start: chrono::DateTime<chrono::Utc> = "2026-10-31T20:00:00Z".parse().unwrap();
        let rows: Vec<_> = calls.iter().enumerate().map(|(index, (team, currency, status, units, tokens, minutes, corrects))| {
            let time = start + chrono::TimeDelta::minutes(minutes * 61);
            let amount = units.map(|units| Amount::from_units(units).unwrap().to_string());
            json!({
                "call_id": format!("{index}"),
                "corrects": corrects.then_some("0"),
                "team": ([Some("a"), Some("b"), None][*team]),
                "request_model": ([Some("m"), None, Some("n")][index % 3]),
                "currency": ([Some("USD"), Some("EUR"), None][*currency]),
                "cost_status": (["priced", "estimated", "unpriced", "free"][*status]),
                "outcome": (["ok", "timeout"][index % 2]),
                "status_code": (index.is_multiple_of(2)).then_some(200),
                "cost": amount, "list_cost": amount,
                "input_tokens": tokens, "output_tokens": tokens.filter(|tokens| tokens % 2 == 0),
                "start_time": time.to_rfc3339(), "start_date": time.date_naive().to_string(),
            })
        }).collect();
        let spill = tempfile::tempdir().unwrap();
        let limits = Limits { spill_dir: spill.path().to_owned(), ..Limits::default() };
        let engine = Engine::new(Arc::new(Fixture::of(rows)), limits).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let report = Chargeback::parse("2026-11", &by.join(","), zone).unwrap();
        // Newfoundland's midnights are half past an hour of UTC: there calls are read.
        if zone == "America/St_Johns" {
            prop_assert_eq!(report.source(), Source::Calls);
        } else {
            runtime.block_on(hours_equal_calls(&engine, &report));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn whatever_was_called_the_lines_sum_to_the_total_and_the_total_to_the_table(
        calls in prop::collection::vec(
            (0..4_usize, 0..3_usize, 0..4_usize, -10_i128.pow(24)..10_i128.pow(24), any::<bool>()),
            1..60,
        ),
    ) {
        let mut expected: BTreeMap<Option<&str>, i128> = BTreeMap::new();
        let rows: Vec<_> = calls.iter().map(|(team, currency, status, units, known)| {
            let currency = [Some("USD"), Some("EUR"), None][*currency];
            let status = ["priced", "estimated", "unpriced", "free"][*status];
            let sum = expected.entry(currency).or_default();
            if *known { *sum += units; }
            json!({
                "team": ([Some("a"), Some("b"), Some("it's \"c\""), None][*team]),
                "currency": currency, "cost_status": status, "outcome": "ok",
                "cost": known.then(|| Amount::from_units(*units).unwrap().to_string()),
                "start_time": "2026-11-30T23:59:59.999999Z", "start_date": "2026-11-30",
            })
        }).collect();
        let spill = tempfile::tempdir().unwrap();
        let limits = Limits { spill_dir: spill.path().to_owned(), ..Limits::default() };
        let engine = Engine::new(Arc::new(Fixture::of(rows)), limits).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sql = Chargeback::parse("2026-11", "team", "UTC").unwrap().sql();
        let rows: Vec<Value> = runtime.block_on(async {
            let bytes = engine.query(Query::new(sql)).await.unwrap().encode(Format::Json).unwrap().collect().await.unwrap();
            serde_json::from_slice(&bytes).unwrap()
        });
        adds_up(&rows);
        let totals: BTreeMap<Option<&str>, i128> =
            rows.iter().filter(|row| row["line"] == "total").map(|row| (row["currency"].as_str(), units(&row["cost"]))).collect();
        prop_assert_eq!(totals, expected);
    }
}
