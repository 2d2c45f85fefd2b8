//! `GET /metrics`: what Prometheus's own parser reads of it agrees with SQL, and nobody reads it without the token.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::harness::call::{Api, Call, Target};
use crate::harness::claim::{Claim, claims_of};
use crate::harness::config::Config;
use crate::harness::gateway::Gateway;
use crate::harness::here;
use crate::harness::process::eventually;
use crate::harness::raw;
use crate::harness::world::{KEY, World};

pub(crate) fn claims() -> Vec<Claim> {
    claims_of![prometheus_reads_what_the_ledger_did, metrics_need_the_admin_token, a_scraper_that_stays_connected_does_not_hold_up_the_end]
}

fn url(gateway: &Gateway) -> String {
    format!("http://{}/metrics", gateway.addresses().admin)
}

/// Scrapes, and parses with the official Python client.
async fn scrape(world: &World, gateway: &Gateway) -> Value {
    let answer = raw::send(reqwest::Client::new().get(url(gateway)).bearer_auth(gateway.token())).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let mut command = Command::new(&world.stage().await.counterparts.python);
    command.arg(here("clients/metrics.py")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut parser = command.spawn().unwrap();
    let mut input = parser.stdin.take().unwrap();
    input.write_all(&answer.body).await.unwrap();
    drop(input);
    let output = parser.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}\n{}", answer.text(), String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn value(metrics: &Value, name: &str) -> f64 {
    metrics[name]["value"].as_f64().unwrap_or_else(|| panic!("no {name} in {metrics:#}"))
}

async fn prometheus_reads_what_the_ledger_did(world: Arc<World>) {
    let gateway = world.own_gateway(&Config::standard()).await;
    let target = Target::new(format!("{}/openai", gateway.url()), KEY);
    let client = reqwest::Client::new();
    for _ in 0..12 {
        assert_eq!(raw::send(raw::request(&client, &Call::new(Api::Chat), &target)).await.status, 200);
    }
    let refused = raw::request(&client, &Call::new(Api::Chat), &target).body("{");
    assert_eq!(raw::send(refused).await.status, 400);
    assert_eq!(gateway.sql("SELECT count(*) AS calls FROM usage").await[0].int("calls"), Some(13));
    assert_eq!(gateway.sql_as("SELECT no_such_column FROM usage", "application/json").await.0, 400);
    let metrics = scrape(&world, &gateway).await;
    let documented = std::fs::read_to_string(here("../docs/operations.md")).unwrap();
    for (name, metric) in metrics.as_object().unwrap() {
        assert!(documented.contains(&format!("| `{name}` | ")), "{name} is not documented");
        assert_eq!(metric["type"] == "counter", name.ends_with("_total"), "{name}");
        assert!(!metric["help"].as_str().unwrap().is_empty(), "{name}");
    }
    for (name, expected) in [
        ("tollgate_ledger_calls_opened_total", 12.0),
        ("tollgate_ledger_rows_written_total", 13.0),
        ("tollgate_ledger_seq", 13.0),
        ("tollgate_ledger_open_calls", 0.0),
        ("tollgate_ledger_poisoned", 0.0),
        ("tollgate_ledger_calls_refused_total", 0.0),
        ("tollgate_ledger_log_write_failures_total", 0.0),
        ("tollgate_ledger_flush_failures_total", 0.0),
        ("tollgate_queries_done_total", 1.0),
        ("tollgate_queries_running", 0.0),
    ] {
        assert_eq!(value(&metrics, name).to_bits(), f64::to_bits(expected), "{name}");
    }
    assert!(value(&metrics, "tollgate_queries_failed_total") <= 1.0);
    assert!(value(&metrics, "tollgate_ledger_log_written_bytes_total") > 13.0 * 100.0);
    // At most one for each entry, and one for the mark of each rotation.
    let rotations = value(&metrics, "tollgate_ledger_flushes_total") + 1.0;
    assert!(value(&metrics, "tollgate_ledger_log_writes_total") <= 25.0 + rotations);
    // The configured second passes, and all rows are in the table.
    let flushed = eventually("everything is flushed", Duration::from_secs(20), || async {
        let metrics = scrape(&world, &gateway).await;
        (value(&metrics, "tollgate_ledger_hot_rows") < 0.5).then_some(metrics)
    })
    .await;
    for (name, expected) in [("tollgate_ledger_committed_seq", 13.0), ("tollgate_ledger_flushed_rows_total", 13.0), ("tollgate_ledger_uncommitted_age_seconds", 0.0)] {
        assert_eq!(value(&flushed, name).to_bits(), f64::to_bits(expected), "{name}");
    }
    assert!(value(&flushed, "tollgate_ledger_flushes_total") >= 1.0 && value(&flushed, "tollgate_ledger_flush_seconds_total") > 0.0);
    assert!(value(&flushed, "tollgate_ledger_log_syncs_total") >= 1.0);
}

async fn metrics_need_the_admin_token(world: Arc<World>) {
    let gateway = world.gateway().await;
    let client = reqwest::Client::new();
    for request in [client.get(url(gateway)), client.get(url(gateway)).bearer_auth(KEY), client.get(url(gateway)).basic_auth("a", Some(gateway.token()))] {
        let answer = raw::send(request).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")));
        assert!(!answer.text().contains("tollgate_"), "{}", answer.text());
    }
}

async fn a_scraper_that_stays_connected_does_not_hold_up_the_end(world: Arc<World>) {
    let mut gateway = world.own_gateway(&Config::standard()).await;
    let client = reqwest::Client::new();
    for _ in 0..3 {
        assert_eq!(raw::send(client.get(url(&gateway)).bearer_auth(gateway.token())).await.status, 200);
    }
    assert!(gateway.terminate().await.success(), "{}", gateway.logged());
    drop(client);
}
