//! `tollgate rerate`: a price that was wrong is put right for calls that were made, by rows that are added; every sum says the same.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::harness::call::{Api, Call, Target};
use crate::harness::claim::{Claim, claims_of};
use crate::harness::config::Config;
use crate::harness::dice::Dice;
use crate::harness::gateway::Gateway;
use crate::harness::here;
use crate::harness::ledger::Row;
use crate::harness::money::Decimal;
use crate::harness::process::{Process, eventually};
use crate::harness::raw;
use crate::harness::world::{KEY, World};

pub(crate) fn claims() -> Vec<Claim> {
    claims_of![
        a_corrected_price_is_proposed_then_booked_once_and_every_sum_agrees,
        a_rerating_that_is_killed_again_and_again_corrects_each_call_once,
    ]
}

/// The longest that a changed price may take to be noticed.
const NOTICED: Duration = Duration::from_secs(20);

/// A list of prices of a million tokens: model, input, output.
fn list(prices: &[(&str, &str, &str)]) -> String {
    let mut text = "apiVersion: tollgate/v1\nkind: PriceList\nmetadata: {name: contract}\nspec:\n  provider: openai\n  currency: USD\n  prices:\n".to_owned();
    for (model, input, output) in prices {
        for (meter, price) in [("input", input), ("output", output)] {
            text += &format!("    - {{model: {model}, meter: {meter}, per: 1000000, price: \"{price}\", effective_from: 2024-01-01}}\n");
        }
    }
    text
}

/// A call of 1,000 input and 10 output tokens.
async fn call(gateway: &Gateway, model: &str) {
    let target = Target::new(format!("{}/openai", gateway.url()), KEY);
    let call = Call::new(Api::Chat).model(model).simulate("input=1000; output=10");
    assert_eq!(raw::send(raw::request(&reqwest::Client::new(), &call, &target)).await.status, 200);
}

/// The list's version that is in force, once that is another than `before`.
async fn version(gateway: &Gateway, before: &str) -> String {
    eventually("the price list is in force", NOTICED, || async {
        let rows = gateway.sql("SELECT DISTINCT price_version FROM prices WHERE price_list = 'contract' AND in_force").await;
        let version = rows.first()?.text("price_version")?.to_owned();
        (version != before).then_some(version)
    })
    .await
}

/// Runs a rerating of all times; returns its exit code and what it printed.
async fn rerate(gateway: &Gateway, version: &str, more: &[&str]) -> (i32, String, String) {
    let data = gateway.data();
    let mut all = vec!["rerate", "--data", data.to_str().unwrap(), "--from", "2020-01-01", "--to", "2100-01-01", "--price-version", version];
    all.extend(more);
    let (output, printed, problem) = gateway.run(&all).await;
    (output.status.code().expect("it was not killed"), printed, problem)
}

fn decimal(value: &Value) -> Option<Decimal> {
    value.as_str().map(Decimal::parse)
}

const SUMS: &str = "SELECT sum(cost) AS cost, sum(list_cost) AS list_cost, count(*) AS lines, count(DISTINCT call_id) AS ids, \
                    count(*) FILTER (WHERE corrects IS NULL) AS calls, sum(input_tokens) AS input FROM usage";

async fn a_corrected_price_is_proposed_then_booked_once_and_every_sum_agrees(world: Arc<World>) {
    let first = list(&[("dear", "2", "10")]);
    let mut gateway = world.own_gateway(&Config::standard().with("contract.yaml", &*first)).await;
    let before = version(&gateway, "").await;
    for model in ["dear", "dear", "dear", "late", "late"] {
        call(&gateway, model).await;
    }
    // The list is dated back: it holds for calls that were made.
    let second = list(&[("dear", "1.5", "5"), ("late", "4", "1")]);
    Config::standard().with("contract.yaml", &*second).write(&gateway.config());
    let version = version(&gateway, &before).await;

    // A call of `dear` cost 1,000 * 2 + 10 * 10 = 2,100 millionths and is to cost 1,000 * 1.5 + 10 * 5 = 1,550; one of `late` had no price and
    // is to cost 1,000 * 4 + 10 * 1 = 4,010.
    let (code, printed, problem) = rerate(&gateway, &version, &["--dry-run", "--format", "json"]).await;
    assert_eq!(code, 0, "{problem}");
    let proposed: Vec<Value> = serde_json::from_str(&printed).unwrap();
    let shown: Vec<_> = proposed
        .iter()
        .map(|line| (line["result"].as_str(), line["team"].as_str(), line["model"].as_str(), line["calls"].as_i64()))
        .collect();
    let line = |model, calls| (Some("corrected"), Some("growth"), Some(model), Some(calls));
    assert_eq!(shown, [line("dear", 3), line("late", 2)], "{printed}");
    let money: Vec<_> = proposed
        .iter()
        .map(|line| ["cost", "rerated_cost", "difference"].map(|name| decimal(&line[name])))
        .collect();
    let amounts = |amounts: [Option<&str>; 3]| amounts.map(|amount| amount.map(Decimal::parse));
    assert_eq!(money[0], amounts([Some("0.0063"), Some("0.00465"), Some("-0.00165")]));
    assert_eq!(money[1], amounts([None, Some("0.00802"), Some("0.00802")]));

    the_documentation_asks_what_if(&gateway).await;

    let (code, _, problem) = rerate(&gateway, &version, &[]).await;
    assert_eq!(code, 1);
    assert!(problem.contains("a gateway runs on") && problem.contains("--dry-run works while it runs"), "{problem}");
    let sums = gateway.sql(SUMS).await.remove(0);
    assert_eq!((sums.int("lines"), sums.decimal("cost")), (Some(5), Some(Decimal::parse("0.0063"))), "nothing was changed");

    assert!(gateway.terminate().await.success());
    let (code, printed, problem) = rerate(&gateway, &version, &[]).await;
    assert_eq!((code, printed.as_str()), (0, "5 calls were corrected: 0.0063 USD became 0.01267 USD\n"), "{problem}");
    for _ in 0..2 {
        let sums = gateway.sql_offline(SUMS).await.remove(0);
        // 0.00465 + 0.00802; five calls and two rows for each.
        assert_eq!((sums.decimal("cost"), sums.decimal("list_cost")), (Some(Decimal::parse("0.01267")), Some(Decimal::parse("0.01267"))));
        assert_eq!((sums.int("lines"), sums.int("ids"), sums.int("calls"), sums.int("input")), (Some(15), Some(15), Some(5), Some(5000)));
        let (code, printed, _) = rerate(&gateway, &version, &[]).await;
        assert!(code == 0 && printed.starts_with("0 calls were corrected"), "{printed}");
    }
    gateway.sql_offline("SELECT * FROM usage_corrected").await.iter().for_each(Row::adds_up);
    other_sums_agree(&world, &mut gateway).await;
}

/// The statements of docs/prices.md, over the list of this test.
async fn the_documentation_asks_what_if(gateway: &Gateway) {
    let text = std::fs::read_to_string(here("../docs/prices.md")).unwrap();
    let (_, text) = text.split_once("**What if.**").expect("it has such a part");
    let indented: Vec<&str> = text.lines().map(|line| if line.starts_with("    ") { line } else { "" }).collect();
    let joined = indented.join("\n");
    let statements: Vec<String> = joined
        .split("\n\n")
        .map(str::trim)
        .filter(|statement| statement.starts_with("SELECT"))
        .map(|statement| statement.replace("openai-acme", "contract").replace("gpt-6-sol", "late"))
        .collect();
    let mut answers = Vec::new();
    for statement in &statements {
        answers.push(gateway.sql(statement).await);
    }
    assert_eq!(answers.len(), 3, "{statements:?}");
    // Three calls of `dear` in dollars, and two of `late`, which have no currency yet.
    let sums: Vec<_> = answers[0].iter().map(|row| (row.decimal("cost"), row.decimal("rerated"))).collect();
    let known = |amount: &str| Some(Decimal::parse(amount));
    assert!(sums.contains(&(known("0.0063"), known("0.00465"))) && sums.contains(&(None, known("0.00802"))), "{sums:?}");
    assert!(answers[1].is_empty(), "the list prices all of them: {:?}", answers[1]);
    // 200,000 * 4 + 4,000 * 1 millionths.
    assert_eq!(answers[2][0].decimal("cost"), known("0.804"));
}

/// The views, the rollup, the report and DuckDB, over five calls that cost 0.0063 before and 0.01267 now.
async fn other_sums_agree(world: &World, gateway: &mut Gateway) {
    let engines = readers(world, gateway).await;
    for engine in ["duckdb", "polars", "deltalake"] {
        let read = &engines["engines"][engine];
        assert_eq!((read["cost"].as_str(), read["calls"].as_i64()), (Some("0.012670000000"), Some(15)), "{engine}: {read}");
        assert_eq!((&read["amounts"], read["unequal"].as_i64()), (&read["cost"], Some(0)), "{engine}: {read}");
    }
    gateway.resume().await;
    for (table, cost) in [("usage_original", "0.0063"), ("usage_corrected", "0.01267"), ("usage_hourly", "0.01267"), ("requests", "0.01267")] {
        let calls = if table == "usage_hourly" { "sum(calls)" } else { "count(*)" };
        let row = gateway.sql(&format!("SELECT sum(cost) AS cost, {calls} AS calls FROM {table}")).await.remove(0);
        assert_eq!((row.decimal("cost"), row.int("calls")), (Some(Decimal::parse(cost)), Some(5)), "{table}");
    }
    let month = gateway.sql("SELECT to_char(min(start_time), '%Y-%m') AS month FROM usage").await.remove(0);
    let data = gateway.data();
    let report = ["report", "chargeback", "--data", data.to_str().unwrap(), "--month", month.text("month").unwrap(), "--format", "json"];
    let (output, printed, problem) = gateway.run(&report).await;
    assert!(output.status.success(), "{problem}");
    let lines: Vec<Value> = serde_json::from_str(&printed).unwrap();
    let totals: Vec<_> = lines.iter().filter(|line| line["line"] == "total").collect();
    let dollars = totals.iter().find(|line| line["currency"] == "USD").expect("there are dollars");
    assert_eq!(decimal(&dollars["cost"]), Some(Decimal::parse("0.01267")), "{printed}");
    let sum = |name: &str| totals.iter().filter_map(|line| line[name].as_i64()).sum::<i64>();
    assert_eq!(["calls", "corrections", "unpriced_calls", "unpriced_input_tokens", "input_tokens"].map(sum), [5, 10, 0, 0, 5000], "{printed}");
}

/// What tests/clients/readers.py reads of the table.
async fn readers(world: &World, gateway: &Gateway) -> Value {
    let mut command = tokio::process::Command::new(&world.stage().await.counterparts.python);
    command.arg(here("clients/readers.py")).arg("table").arg(gateway.data().join("usage"));
    let output = command.kill_on_drop(true).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn a_rerating_that_is_killed_again_and_again_corrects_each_call_once(world: Arc<World>) {
    const CALLS: i64 = 40;
    let mut gateway = world.own_gateway(&Config::standard().with("contract.yaml", list(&[("dear", "2", "10")]))).await;
    let before = version(&gateway, "").await;
    for _ in 0..CALLS {
        call(&gateway, "dear").await;
    }
    Config::standard().with("contract.yaml", list(&[("dear", "1.5", "5")])).write(&gateway.config());
    let version = version(&gateway, &before).await;
    assert!(gateway.terminate().await.success());
    let seed = Dice::seed_from("TOLLGATE_TORTURE_SEED");
    eprintln!("rerate: TOLLGATE_TORTURE_SEED={seed}");
    let mut dice = Dice::new(seed);
    for _ in 0..5 {
        let mut command = gateway.command();
        command.arg("rerate").arg("--data").arg(gateway.data());
        command.args(["--from", "2020-01-01", "--to", "2100-01-01", "--price-version", &version]);
        let mut process = Process::start(&mut command, &gateway.log());
        // About as long as it takes: some are killed before the commit, some behind it.
        tokio::time::sleep(dice.millis(50, 1500)).await;
        if process.ended().is_none() {
            process.kill().await;
        }
        let sums = gateway.sql_offline(SUMS).await.remove(0);
        // 40 * 2,100 or 40 * 1,550 millionths: all of a commit, or nothing of it.
        let expected = [(CALLS, "0.084"), (3 * CALLS, "0.062")].map(|(lines, cost)| (Some(lines), Some(Decimal::parse(cost))));
        assert!(expected.contains(&(sums.int("lines"), sums.decimal("cost"))), "{}", sums.0);
    }
    let (code, printed, problem) = rerate(&gateway, &version, &[]).await;
    assert_eq!(code, 0, "{printed}{problem}");
    let sums = gateway.sql_offline(SUMS).await.remove(0);
    assert_eq!((sums.int("lines"), sums.int("ids"), sums.decimal("cost")), (Some(3 * CALLS), Some(3 * CALLS), Some(Decimal::parse("0.062"))));
}
