//! `tollgate import`: the history of other gateways becomes rows, each once, at what it cost there to the last digit.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::harness::claim::{Claim, claims_of};
use crate::harness::config::Config;
use crate::harness::dice::Dice;
use crate::harness::gateway::Gateway;
use crate::harness::here;
use crate::harness::ledger::Row;
use crate::harness::money::Decimal;
use crate::harness::process::{Process, eventually};
use crate::harness::world::World;

pub(crate) fn claims() -> Vec<Claim> {
    claims_of![
        litellms_spend_logs_become_rows_once,
        every_format_is_imported_and_its_rejected_lines_are_named,
        a_gateway_that_runs_is_not_disturbed,
        an_import_that_is_killed_again_and_again_is_completed_by_the_next,
    ]
}

const SUMS: &str = "SELECT count(*) AS calls, count(DISTINCT call_id) AS ids, sum(cost) AS cost, sum(input_tokens) AS input, \
                    sum(output_tokens) AS output, min(start_time) AS first FROM usage WHERE outcome = 'imported'";

fn fixture(name: &str) -> String {
    here(&format!("fixtures/import/{name}"))
}

/// A data directory that a gateway has used and left in order.
async fn stopped(world: &World) -> Gateway {
    let mut gateway = world.own_gateway(&Config::standard()).await;
    assert!(gateway.terminate().await.success());
    gateway
}

/// Runs an import; returns its exit code and what it printed.
async fn import(gateway: &Gateway, arguments: &[&str]) -> (i32, String, String) {
    let data = gateway.data();
    let mut all = vec!["import", "--data", data.to_str().unwrap()];
    all.extend(arguments);
    let (output, printed, problem) = gateway.run(&all).await;
    (output.status.code().expect("it was not killed"), printed, problem)
}

async fn litellms_spend_logs_become_rows_once(world: Arc<World>) {
    let mut gateway = stopped(&world).await;
    let (csv, lines, array) = (fixture("litellm-spendlogs.csv"), fixture("litellm-spendlogs.jsonl"), fixture("litellm-spendlogs.json"));
    // An array of the first ten, then all of them twice: what is there already is passed over.
    for (file, added, present) in [(&array, 10, 0), (&csv, 32, 10), (&lines, 0, 42)] {
        let (code, printed, problem) = import(&gateway, &["--format", "litellm-spendlogs", file]).await;
        assert_eq!(code, 0, "{printed}{problem}");
        assert_eq!(printed, format!("{added} rows were imported, {present} are there already, 0 were rejected\n"));
    }
    let sums = gateway.sql_offline(SUMS).await.remove(0);
    // What PostgreSQL said of the table that these files were exported from.
    assert_eq!((sums.int("calls"), sums.int("ids"), sums.int("input"), sums.int("output")), (Some(42), Some(42), Some(52_991), Some(2402)));
    assert_eq!(sums.decimal("cost"), Some(Decimal::parse("0.07021681")));
    gateway.resume().await;
    assert_eq!(gateway.sql(SUMS).await.remove(0).0, sums.0, "the gateway sees the same");
    let rows = gateway.sql("SELECT * FROM usage ORDER BY start_time").await;
    rows.iter().for_each(Row::adds_up);
    let mut statuses = BTreeMap::new();
    for row in &rows {
        assert_eq!((row.text("outcome"), row.text("instance")), (Some("imported"), Some("e2e")));
        *statuses.entry(row.text("cost_status").unwrap()).or_insert(0) += 1;
    }
    assert_eq!(statuses, BTreeMap::from([("free", 3), ("priced", 26), ("unpriced", 13)]));
    assert!(rows[0].0["decisions"][0]["detail"].as_str().unwrap().starts_with("litellm-spendlogs chatcmpl-"), "{}", rows[0].0);
}

async fn every_format_is_imported_and_its_rejected_lines_are_named(world: Arc<World>) {
    let gateway = stopped(&world).await;
    let openrouter = fixture("openrouter-activity.csv");
    let dry = import(&gateway, &["--format", "openrouter-activity", "--dry-run", &openrouter]).await;
    assert_eq!((dry.0, dry.1.as_str()), (0, "5 rows would be imported, 0 are there already, 0 were rejected\n"), "{}", dry.2);
    assert_eq!(gateway.sql_offline(SUMS).await[0].int("calls"), Some(0), "a dry run adds nothing");
    let real = import(&gateway, &["--format", "openrouter-activity", &openrouter]).await;
    assert_eq!(real.1, "5 rows were imported, 0 are there already, 0 were rejected\n", "{}", real.2);
    let own = fixture("own.csv");
    let mut mapped = vec!["--format", "csv", "--source", "billing"];
    for map in ["id=request_id", "when=start_time", "who=user_id", "squad=team", "model=request_model", "in=input_tokens", "out=output_tokens", "price=cost", "internal note="] {
        mapped.extend(["--map", map]);
    }
    mapped.push(&own);
    let (code, printed, problem) = import(&gateway, &mapped).await;
    assert_eq!((code, printed.as_str()), (1, "3 rows were imported, 1 are there already, 4 were rejected\n"), "{problem}");
    for line in ["line 6: start_time", "line 7: cost: -0.1 is negative", "line 8: 6 cells, and 9 columns", "line 9: request_id is missing"] {
        assert!(problem.contains(line), "{problem}");
    }
    let sums = gateway.sql_offline(SUMS).await.remove(0);
    // OpenRouter's: 0.00340125 + 0.000000105 + 0 + (0.000105 + 0.0021) + 0.001615, rounded once; and 0.10 + 0.001.
    assert_eq!((sums.int("calls"), sums.decimal("cost")), (Some(8), Some(Decimal::parse("0.108221355"))));
    gateway.sql_offline("SELECT * FROM usage").await.iter().for_each(Row::adds_up);
    let wrong = import(&gateway, &["--format", "litellm-spendlogs", &openrouter]).await;
    assert_eq!(wrong.0, 1);
    assert!(wrong.2.contains("column request_id is missing: this is no litellm-spendlogs export"), "{}", wrong.2);
}

async fn a_gateway_that_runs_is_not_disturbed(world: Arc<World>) {
    let gateway = world.own_gateway(&Config::standard()).await;
    let file = fixture("openrouter-activity.csv");
    for dry in [&["--format", "openrouter-activity", &file][..], &["--format", "openrouter-activity", "--dry-run", &file]] {
        let (code, _, problem) = import(&gateway, dry).await;
        assert_eq!(code, 1);
        assert!(problem.contains("a gateway runs on") && problem.contains("stop it, import the file, and start it again"), "{problem}");
    }
    assert_eq!(gateway.sql(SUMS).await[0].int("calls"), Some(0));
}

/// Enough that an import of them takes a while.
const ROWS: i64 = 30_000;

async fn an_import_that_is_killed_again_and_again_is_completed_by_the_next(world: Arc<World>) {
    let gateway = stopped(&world).await;
    let seed = Dice::seed_from("TOLLGATE_TORTURE_SEED");
    eprintln!("import: TOLLGATE_TORTURE_SEED={seed}");
    let mut dice = Dice::new(seed);
    let (file, cost) = history(&gateway);
    let mut killed = 0;
    for _ in 0..4 {
        let before = log_bytes(&gateway);
        let mut command = gateway.command();
        command.arg("import").arg("--data").arg(gateway.data()).args(["--format", "csv"]).arg(&file);
        let mut process = Process::start(&mut command, &gateway.log());
        // It has begun to write, or is done.
        eventually("the import begins", Duration::from_secs(60), || {
            let begun = log_bytes(&gateway) > before + 4096 || process.ended().is_some();
            async move { begun.then_some(()) }
        })
        .await;
        tokio::time::sleep(dice.millis(0, 1500)).await;
        if process.ended().is_none() {
            process.kill().await;
            killed += 1;
        }
        let rows = gateway.sql_offline(SUMS).await.remove(0);
        assert_eq!(rows.int("calls"), rows.int("ids"), "a row is there twice");
    }
    let (code, printed, problem) = import(&gateway, &["--format", "csv", file.to_str().unwrap()]).await;
    assert_eq!(code, 0, "{printed}{problem}");
    let sums = gateway.sql_offline(SUMS).await.remove(0);
    assert_eq!((sums.int("calls"), sums.int("ids"), sums.decimal("cost")), (Some(ROWS), Some(ROWS), Some(cost)), "{killed} kills: {printed}");
    let seq = gateway.sql_offline("SELECT min(seq) AS first, max(seq) AS last FROM usage").await.remove(0);
    assert_eq!((seq.int("first"), seq.int("last")), (Some(1), Some(ROWS)));
}

/// Bytes of the log and the table.
fn log_bytes(gateway: &Gateway) -> u64 {
    let Ok(segments) = std::fs::read_dir(gateway.data().join("wal")) else { return 0 };
    segments.filter_map(|segment| Some(segment.ok()?.metadata().ok()?.len())).sum()
}

/// Thirty days of calls, some of them in floats, and what they cost together.
fn history(gateway: &Gateway) -> (PathBuf, Decimal) {
    let mut text = String::from("request_id,start_time,team,request_model,input_tokens,output_tokens,cost\n");
    let mut cost = Decimal::ZERO;
    for number in 0..ROWS {
        let (day, second) = (number % 30 + 1, number % 86_400);
        let (hour, minute) = (second / 3600, second / 60 % 60);
        writeln!(text, "r-{number},2026-04-{day:02}T{hour:02}:{minute:02}:{:02}Z,team-{},m,{number},7,{number}.25e-6", second % 60, number % 5).unwrap();
        cost = cost + Decimal::parse(&format!("0.{number:06}25"));
    }
    let path = gateway.data().with_file_name("history.csv");
    std::fs::write(&path, text).unwrap();
    (path, cost)
}
