//! The ledger's table belongs to its owner: DuckDB, Polars and Python read it without Tollgate, and come to the same sum.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::harness::claim::{Claim, claims_of};
use crate::harness::config::Config;
use crate::harness::gateway::Gateway;
use crate::harness::process::eventually;
use crate::harness::traffic::Traffic;
use crate::harness::world::World;

pub(crate) fn claims() -> Vec<Claim> {
    let mut all = claims_of![
        other_engines_read_the_table_to_the_last_digit,
        the_examples_of_the_documentation_read_the_table,
        the_five_formats_say_the_same
    ];
    let compacted = claims_of![other_engines_read_a_compacted_table_to_the_last_digit];
    all.extend(compacted.into_iter().map(|claim| claim.limited(COMPACTED_LIMIT)));
    all
}

/// On a busy machine a flush and its sums by the hour take some seconds, and eight files of about one size are merged.
const COMPACTED_LIMIT: Duration = Duration::from_secs(300);

const SUMS: &str = "SELECT count(*) AS calls, count(DISTINCT call_id) AS ids, sum(cost) AS cost FROM usage";

/// Runs tests/clients/readers.py.
async fn read(world: &World, arguments: &[&str]) -> Value {
    let script = crate::harness::here("clients/readers.py");
    let mut command = tokio::process::Command::new(&world.stage().await.counterparts.python);
    let output = command.arg(script).args(arguments).kill_on_drop(true).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What tests/clients/readers.py asks of every engine, asked of Tollgate.
async fn whole(gateway: &Gateway) -> Value {
    let mut whole = gateway.sql_offline(SUMS).await.remove(0).0;
    let per_call =
        "SELECT call_id, sum(line['amount']) AS amount FROM (SELECT call_id, unnest(charges) AS line FROM usage) GROUP BY call_id";
    let questions = [
        "SELECT count(*) AS lines, sum(line['amount']) AS amounts FROM (SELECT unnest(charges) AS line FROM usage)".to_owned(),
        format!(
            "SELECT count(*) AS unequal FROM usage LEFT JOIN ({per_call}) AS bill ON usage.call_id = bill.call_id \
             WHERE coalesce(cost, 0) <> coalesce(bill.amount, 0)"
        ),
        "SELECT count(*) AS tagged FROM usage WHERE tags['env'] = 'test'".to_owned(),
    ];
    for question in questions {
        let answer = gateway.sql_offline(&question).await.remove(0).0;
        whole.as_object_mut().unwrap().extend(answer.as_object().unwrap().clone());
    }
    whole["decimal"] = Value::from("28,12");
    assert_eq!(whole["amounts"], whole["cost"], "the charges add up to the cost");
    assert_eq!(whole["unequal"], 0, "of every row");
    assert_ne!(whole["tagged"], 0);
    whole
}

async fn other_engines_read_the_table_to_the_last_digit(world: Arc<World>) {
    let gateway = world.own_gateway(&Config::standard()).await;
    let traffic = Traffic::start(&gateway, 4, "readers");
    traffic.reach(250).await;
    traffic.stop().await;
    every_engine_agrees(&world, gateway).await;
}

async fn other_engines_read_a_compacted_table_to_the_last_digit(world: Arc<World>) {
    let ledger = "{durability: process, flush: {rows: 20, interval: 50ms}, compaction: {interval: 50ms, target: 64KiB}}";
    let config = Config::standard().replacing("{durability: process, flush: {rows: 200, interval: 1s}}", ledger);
    let gateway = world.own_gateway(&config).await;
    let traffic = Traffic::start(&gateway, 4, "compacted");
    traffic.reach(250).await;
    let log = gateway.data().join("usage/_delta_log");
    let commits = || -> Vec<String> {
        let commits = std::fs::read_dir(&log).unwrap().map(|commit| commit.unwrap().path());
        commits.filter_map(|commit| std::fs::read_to_string(commit).ok()).collect()
    };
    // Flushes and compactions share a thread: on a busy machine the latter come when the former have less to do.
    eventually("there are files to compact", Duration::from_secs(150), || async { (commits().len() > 15).then_some(()) }).await;
    traffic.stop().await;
    eventually("files are compacted", Duration::from_secs(60), || async {
        commits().iter().any(|commit| commit.contains("OPTIMIZE")).then_some(())
    })
    .await;
    every_engine_agrees(&world, gateway).await;
}

/// Stops the gateway, and holds what every engine reads of its table against what it reads itself.
async fn every_engine_agrees(world: &World, mut gateway: Gateway) {
    // A row whose cost is unknown, which must stay so.
    let target = crate::harness::call::Target::new(format!("{}/openai", gateway.url()), crate::harness::world::KEY);
    let call = crate::harness::call::Call::new(crate::harness::call::Api::Chat).model(crate::harness::prices::UNPRICED_MODEL);
    crate::harness::raw::send(crate::harness::raw::request(&reqwest::Client::new(), &call, &target)).await;
    assert!(gateway.terminate().await.success());
    let ours = whole(&gateway).await;
    let theirs = read(world, &["table", gateway.data().join("usage").to_str().unwrap()]).await;
    for engine in ["deltalake", "pyarrow", "duckdb", "polars", "polars_files"] {
        assert_eq!(theirs["engines"][engine], ours, "{engine}");
    }
    assert_eq!(theirs["partitions"], serde_json::json!(["start_date"]));
    // Reader version 1 with writer version 2 is what every engine reads; docs/interop.md says so.
    assert_eq!(theirs["protocol"], serde_json::json!([1, 2, []]));
    let teams = gateway
        .sql_offline("SELECT team, count(*) AS calls, sum(cost) AS cost FROM usage GROUP BY team ORDER BY team")
        .await;
    let teams: Vec<Value> = teams
        .into_iter()
        .map(|row| serde_json::json!([row.0["team"], row.0["calls"], row.0["cost"]]))
        .collect();
    assert_eq!(theirs["teams"], Value::Array(teams));
}

async fn the_examples_of_the_documentation_read_the_table(world: Arc<World>) {
    let mut gateway = world.own_gateway(&Config::standard()).await;
    let traffic = Traffic::start(&gateway, 4, "documentation");
    traffic.reach(100).await;
    traffic.stop().await;
    assert!(gateway.terminate().await.success());
    let sums = gateway.sql_offline(SUMS).await.remove(0);
    let expected = format!("{} {}", sums.int("calls").unwrap(), sums.text("cost").unwrap());
    let text = std::fs::read_to_string(crate::harness::here("../docs/interop.md")).unwrap();
    let examples: Vec<&str> = text
        .split("```python\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(examples.len() >= 6, "only {} examples were found", examples.len());
    for example in examples {
        let mut command = tokio::process::Command::new(&world.stage().await.counterparts.python);
        command.args(["-c", example]).current_dir(gateway.data().parent().unwrap());
        let output = command.kill_on_drop(true).output().await.unwrap();
        assert!(
            output.status.success(),
            "{example}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected, "{example}");
    }
}

async fn the_five_formats_say_the_same(world: Arc<World>) {
    let gateway = world.own_gateway(&Config::standard()).await;
    let traffic = Traffic::start(&gateway, 4, "formats");
    traffic.reach(100).await;
    traffic.stop().await;
    let sums = gateway.sql(SUMS).await.remove(0).0;
    let folder = tempfile::tempdir().unwrap();
    let formats = [
        ("json", "application/json"),
        ("ndjson", "application/x-ndjson"),
        ("csv", "text/csv"),
        ("arrow", "application/vnd.apache.arrow.stream"),
        ("parquet", "application/vnd.apache.parquet"),
    ];
    let mut files = vec!["answers".to_owned()];
    for (extension, accept) in formats {
        let (status, kind, body) = gateway.sql_as("SELECT call_id, cost, team, charges FROM usage", accept).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        assert!(kind.starts_with(accept), "{kind}");
        let file = folder.path().join(format!("answer.{extension}"));
        std::fs::write(&file, body).unwrap();
        files.push(file.to_str().unwrap().to_owned());
    }
    let read = read(&world, &files.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for (extension, _) in formats {
        assert_eq!(read[extension], sums, "{extension}");
    }
}
