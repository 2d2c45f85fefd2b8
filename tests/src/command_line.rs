//! The commands beside `serve`: check, sql, report, simulate.

use std::process::Stdio;
use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::harness::call::{Api, Call, Target};
use crate::harness::claim::{Claim, claims_of};
use crate::harness::config::Config;
use crate::harness::money::Decimal;
use crate::harness::prices::UNPRICED_MODEL;
use crate::harness::raw;
use crate::harness::traffic::Traffic;
use crate::harness::world::{KEY, World};

pub(crate) fn claims() -> Vec<Claim> {
    claims_of![
        check_accepts_what_serve_accepts,
        check_prints_every_problem_with_its_place_and_serve_does_not_start,
        sql_offline_and_online_say_the_same,
        chargeback_adds_up_to_the_last_digit,
        simulate_says_where_it_listens,
    ]
}

async fn check_accepts_what_serve_accepts(world: Arc<World>) {
    let gateway = world.gateway().await;
    let (output, printed, problem) = gateway.run(&["check", "--config", gateway.config().to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(0), "{printed}{problem}");
}

const WRONG: &str = r#"
apiVersion: tollgate/v1
kind: LlmProvider
metadata: {name: first}
spec: {template: opnai, context: /first, upstream: {url: "http://127.0.0.1:1"}}
---
apiVersion: tollgate/v1
kind: LlmProvider
metadata: {name: second}
spec: {template: openai, context: /second, upstream: {url: "not a url"}}
---
apiVersion: tollgate/v1
kind: LlmProvider
metadata: {name: third}
spec: {template: openai, context: /openai/below, upstream: {url: "http://127.0.0.1:1"}}
---
apiVersion: tollgate/v1
kind: LlmProxy
metadata: {name: nested}
spec: {provider: opnai-eu, context: /openai/assistant, models: {allow: []}, defaults: {modle: x}}
---
apiVersion: tollgate/v1
kind: ApiKey
metadata: {name: missing}
spec: {value: "${env:E2E_THIS_IS_NOT_SET}", team: a, tema: b}
---
apiVersion: tollgate/v1
kind: ApiKey
metadata: {name: application}
spec: {value: tg-e2e-a-name-that-stands-twice}
---
apiVersion: tollgate/v1
kind: PriceList
metadata: {name: float}
spec: {provider: openai, currency: USD, prices: [{model: x, meter: inptu, price: "1.5e3", effective_from: yesterday}]}
"#;

async fn check_prints_every_problem_with_its_place_and_serve_does_not_start(world: Arc<World>) {
    let gateway = world.gateway().await;
    let folder = tempfile::tempdir().unwrap();
    Config::standard().with("wrong.yaml", WRONG).write(folder.path());
    let config = folder.path().to_str().unwrap();
    let (output, printed, problem) = gateway.run(&["check", "--config", config]).await;
    let all = printed + &problem;
    assert_eq!(output.status.code(), Some(1), "{all}");
    for told in [
        "opnai",
        "spec.context",
        "spec.upstream.url",
        "E2E_THIS_IS_NOT_SET",
        "tema",
        "application",
        "inptu",
        "effective_from",
        "LlmProvider first",
        "LlmProvider second",
        "LlmProvider third",
        "LlmProxy nested",
        "opnai-eu",
        "/openai/assistant",
        "spec.models.allow",
        "modle",
        "ApiKey missing",
        "PriceList float",
        "wrong.yaml",
    ] {
        assert!(all.contains(told), "`{told}` is not reported:\n{all}");
    }
    let data = folder.path().join("data");
    let (output, printed, problem) = gateway.run(&["serve", "--config", config, "--data", data.to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(1), "serving must not start");
    assert!((printed + &problem).contains("E2E_THIS_IS_NOT_SET"));
}

async fn sql_offline_and_online_say_the_same(world: Arc<World>) {
    let mut gateway = world.own_gateway(&Config::standard()).await;
    let traffic = Traffic::start(&gateway, 4, "sql");
    traffic.reach(100).await;
    traffic.stop().await;
    let query = "SELECT request_model, stream, count(*) AS calls, sum(cost) AS cost, sum(input_tokens) AS input FROM usage GROUP BY 1, 2 ORDER BY 1, 2";
    let url = gateway.sql_url();
    let url = url.strip_suffix("/api/query/v1/sql").unwrap().to_owned();
    let token = gateway.token().to_owned();
    let mut online = Vec::new();
    for format in ["table", "json", "csv", "arrow", "parquet"] {
        let (output, printed, problem) = gateway.run(&["sql", "--url", &url, "--token", &token, "--format", format, query]).await;
        assert!(output.status.success(), "{format}: {printed}{problem}");
        online.push((format, output.stdout));
    }
    assert!(gateway.terminate().await.success());
    for (format, online) in online {
        let data = gateway.data();
        let (output, printed, problem) = gateway.run(&["sql", "--data", data.to_str().unwrap(), "--format", format, query]).await;
        assert!(output.status.success(), "{format}: {printed}{problem}");
        assert!(!output.stdout.is_empty());
        assert_eq!(output.stdout, online, "{format}: {printed}");
    }
    let (output, _, problem) = gateway.run(&["sql", "--data", gateway.data().to_str().unwrap(), "SELECT tema FROM usage"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(problem.contains("team"), "{problem}");
}

async fn chargeback_adds_up_to_the_last_digit(world: Arc<World>) {
    let mut gateway = world.own_gateway(&Config::standard()).await;
    let traffic = Traffic::start(&gateway, 4, "report");
    traffic.reach(100).await;
    traffic.stop().await;
    // Something estimated, and something that nobody prices.
    for (model, told) in [("ledger-large", "usage=none"), (UNPRICED_MODEL, "input=10")] {
        let target = Target::new(format!("{}/openai", gateway.url()), KEY);
        let call = Call::new(Api::Chat).model(model).simulate(told);
        assert_eq!(raw::send(raw::request(&reqwest::Client::new(), &call, &target)).await.status, 200);
    }
    assert!(gateway.terminate().await.success());
    let sums = "SELECT sum(cost) AS cost, count(*) AS calls, sum(input_tokens) AS input, to_char(max(start_time), '%Y-%m') AS month FROM usage";
    let sums = gateway.sql_offline(sums).await.remove(0);
    let month = sums.text("month").unwrap().to_owned();
    let data = gateway.data();
    let arguments = ["report", "chargeback", "--data", data.to_str().unwrap(), "--month", &month, "--by", "team,request_model", "--format", "json"];
    let (output, printed, problem) = gateway.run(&arguments).await;
    assert!(output.status.success(), "{printed}{problem}");
    let lines: Vec<Value> = serde_json::from_str(&printed).unwrap();
    let amount = |line: &Value, column: &str| line[column].as_str().map_or(Decimal::ZERO, Decimal::parse);
    let (totals, details): (Vec<&Value>, Vec<&Value>) = lines.iter().partition(|line| line.to_string().contains("\"total\""));
    // Unpriced calls have no currency, so they are a group, and a total, of their own.
    let total = |column: &str| totals.iter().map(|line| amount(line, column)).sum::<Decimal>();
    assert_eq!(Some(total("cost")), sums.decimal("cost"));
    assert_eq!(details.iter().map(|line| amount(line, "cost")).sum::<Decimal>(), total("cost"));
    assert_eq!(total("priced_cost") + total("estimated_cost") + total("unpriced_known_cost"), total("cost"));
    assert!(total("estimated_cost") > Decimal::ZERO);
    let count = |lines: &[&Value], column: &str| lines.iter().filter_map(|line| line[column].as_i64()).sum::<i64>();
    assert_eq!(Some(count(&totals, "calls")), sums.int("calls"));
    assert_eq!(Some(count(&details, "input_tokens")), sums.int("input"));
    assert_eq!((count(&totals, "unpriced_calls"), count(&totals, "estimated_calls")), (1, 1));
    for format in ["table", "csv", "parquet"] {
        let mut arguments = arguments;
        arguments[9] = format;
        let (output, printed, problem) = gateway.run(&arguments).await;
        assert!(output.status.success() && !output.stdout.is_empty(), "{format}: {printed}{problem}");
    }
}

async fn simulate_says_where_it_listens(world: Arc<World>) {
    let mut command = world.gateway().await.command();
    command.args(["simulate", "--listen", "127.0.0.1:0"]).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = loop {
        let line = lines.next_line().await.unwrap().expect("it says where it listens");
        if let Some(start) = line.find("http://") {
            break line[start..].split_whitespace().next().unwrap().trim_end_matches(['/', '.', ',']).to_owned();
        }
    };
    let answer = raw::send(raw::request(&reqwest::Client::new(), &Call::new(Api::Chat), &Target::new(url, "any"))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    child.kill().await.unwrap();
}
