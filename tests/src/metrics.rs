//! `GET /metrics`: what Prometheus's own parser and its server read of it agrees with SQL, its alert rules and the dashboard ask for what there is,
//! and nobody reads it without the token.

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
use crate::harness::process::{Process, eventually};
use crate::harness::raw;
use crate::harness::world::{KEY, World};

pub(crate) fn claims() -> Vec<Claim> {
    claims_of![
        prometheus_reads_what_the_ledger_did,
        a_prometheus_server_takes_the_metrics_the_rules_and_the_dashboard,
        metrics_need_the_admin_token,
        a_scraper_that_stays_connected_does_not_hold_up_the_end,
    ]
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
    let tokens = gateway.sql("SELECT sum(input_tokens) AS tokens FROM usage").await[0].int("tokens").unwrap() as f64;
    let metrics = scrape(&world, &gateway).await;
    let documented = std::fs::read_to_string(here("../docs/operations.md")).unwrap();
    for (name, metric) in metrics.as_object().unwrap() {
        let of = name.split('{').next().unwrap();
        let family = ["_bucket", "_count", "_sum"].iter().find_map(|part| of.strip_suffix(part)).unwrap_or(of);
        assert!(of.starts_with("process_") || documented.contains(&format!("| `{family}` | ")), "{name} is not documented");
        assert_eq!(metric["type"] == "counter", of.ends_with("_total"), "{name}");
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
        ("tollgate_queries_done_total", 2.0),
        ("tollgate_queries_running", 0.0),
        (r#"tollgate_calls_total{proxy="",provider="openai",model="ledger-large",outcome="ok"}"#, 12.0),
        (r#"tollgate_call_duration_seconds_count{proxy="",provider="openai",model="ledger-large"}"#, 12.0),
        (r#"tollgate_tokens_total{proxy="",provider="openai",model="ledger-large",type="input"}"#, tokens),
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

/// Asks a Prometheus server; the data of its answer.
async fn ask(server: &str, path: &str, query: &[(&str, &str)]) -> Value {
    let answer = raw::send(reqwest::Client::new().get(format!("{server}/api/v1/{path}")).query(query)).await;
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, &body["status"]), (200, &Value::from("success")), "{query:?}: {body}");
    body["data"].clone()
}

/// Every value of a key, wherever it stands.
fn values_of<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get(key).and_then(Value::as_str));
            fields.values().for_each(|value| values_of(value, key, found));
        }
        Value::Array(items) => items.iter().for_each(|value| values_of(value, key, found)),
        _ => {}
    }
}

async fn a_prometheus_server_takes_the_metrics_the_rules_and_the_dashboard(world: Arc<World>) {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let gateway = world.own_gateway(&Config::standard()).await;
    let target = Target::new(format!("{}/openai", gateway.url()), KEY);
    let client = reqwest::Client::new();
    for _ in 0..5 {
        let call = raw::request(&client, &Call::new(Api::Chat), &target).header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
        assert_eq!(raw::send(call).await.status, 200);
    }
    let folder = tempfile::tempdir().unwrap();
    let rules = here("../dashboards/alerts.yaml");
    for arguments in [["check", "rules", rules.as_str()], ["test", "rules", here("../dashboards/alerts_test.yaml").as_str()]] {
        let checked = Command::new("promtool").args(arguments).output().await.unwrap();
        assert!(checked.status.success(), "{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
    }
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{rules}]\nscrape_configs:\n  - job_name: tollgate\n    \
         authorization: {{credentials: {}}}\n    static_configs: [{{targets: [\"{}\"]}}]\n",
        gateway.token(),
        gateway.addresses().admin
    );
    let file = folder.path().join("prometheus.yml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .args(["--web.listen-address=127.0.0.1:0", "--enable-feature=exemplar-storage"]);
    let log = folder.path().join("prometheus.log");
    let mut process = Process::start(&mut command, &log);
    let server = eventually("Prometheus says where it listens", Duration::from_secs(60), || {
        let text = std::fs::read_to_string(&log).unwrap();
        assert!(process.ended().is_none(), "Prometheus ended:\n{text}");
        let line = text.lines().find(|line| line.contains("Listening on")).and_then(|line| line.split("address=").nth(1));
        let address = line.and_then(|rest| rest.split_whitespace().next()).map(|address| format!("http://{address}"));
        async move { address }
    })
    .await;
    let calls = r#"tollgate_calls_total{provider="openai",model="ledger-large",outcome="ok"}"#;
    let counted = eventually("Prometheus has scraped the gateway", Duration::from_secs(60), || async {
        let data = ask(&server, "query", &[("query", calls)]).await;
        data["result"][0]["value"][1].as_str().map(str::to_owned)
    })
    .await;
    assert_eq!(counted, "5");
    let span = [("query", "tollgate_call_duration_seconds_bucket"), ("start", "0"), ("end", "4102444800")];
    let examples = ask(&server, "query_exemplars", &span).await;
    let mut traces = Vec::new();
    values_of(&examples, "trace_id", &mut traces);
    assert!(traces.contains(&TRACE), "{examples:#}");

    let dashboard: Value = serde_json::from_slice(&std::fs::read(here("../dashboards/grafana.json")).unwrap()).unwrap();
    let mut panels = Vec::new();
    values_of(&dashboard, "expr", &mut panels);
    assert!(panels.len() >= 30, "{} queries", panels.len());
    let names = ask(&server, "label/__name__/values", &[]).await;
    let known: Vec<&str> = names.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for panel in panels {
        let query = panel.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$proxy", ".*");
        ask(&server, "query", &[("query", &query.replace("$provider", ".*").replace("$model", ".*"))]).await;
        let words = panel.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for name in words.filter(|word| word.starts_with("tollgate_") || word.starts_with("process_")) {
            let needs_more = name.contains("_exporter_") || name.contains("_budget_") || name.contains("_policy_");
            assert!(needs_more || known.contains(&name), "the dashboard asks for {name}, which is not there");
        }
    }
    let documented = std::fs::read_to_string(here("../docs/operations.md")).unwrap();
    let rules = eventually("every rule was evaluated", Duration::from_secs(30), || async {
        let rules = ask(&server, "rules", &[]).await;
        let mut health = Vec::new();
        values_of(&rules, "health", &mut health);
        (!health.contains(&"unknown")).then_some(rules)
    })
    .await;
    let (mut health, mut alarms) = (Vec::new(), Vec::new());
    values_of(&rules, "health", &mut health);
    assert!(health.iter().all(|health| *health == "ok"), "{rules:#}");
    values_of(&rules, "query", &mut alarms);
    // The server writes them its own way.
    let plain = |text: &str| text.chars().filter(|c| !c.is_whitespace() && !"()".contains(*c)).collect::<String>();
    let told: Vec<String> = alarms.iter().map(|alarm| plain(alarm)).collect();
    let rows = documented.lines().filter(|line| line.starts_with("| `tollgate_"));
    for alarm in rows.filter_map(|row| row.rsplit('|').nth(1)?.trim().strip_prefix('`')?.strip_suffix('`')) {
        assert!(told.contains(&plain(alarm)), "dashboards/alerts.yaml has no rule for {alarm}: {told:#?}");
    }
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
