//! Budgets that several gateways share through Redis: together they never exceed one, through a kill with open calls, an outage of the server and the
//! loss of its data.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use crate::harness::claim::{Claim, claims_of};
use crate::harness::config::Config;
use crate::harness::gateway::Gateway;
use crate::harness::money::Decimal;
use crate::harness::process::{Process, eventually};
use crate::harness::world::{KEY, World};

/// The longest that a server or a gateway may take to be there on a machine that does other things.
const THERE: Duration = Duration::from_secs(60);
const GATEWAYS: [&str; 3] = ["gw-1", "gw-2", "gw-3"];

/// A call of `ledger-large` that writes at most 50 tokens; the simulator answers with 48 words.
const MODEL: &str = "ledger-large";

pub(crate) fn claims() -> Vec<Claim> {
    let all = claims_of![
        three_gateways_never_exceed_a_budget_together,
        while_the_server_is_away_calls_pass_within_what_was_granted,
    ];
    all.into_iter().map(|claim| claim.limited(Duration::from_secs(300))).collect()
}

/// A Redis server without a disk.
struct Redis {
    process: Process,
    port: u16,
    folder: TempDir,
}

impl Redis {
    async fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = TempDir::with_prefix("tollgate-redis-").unwrap();
        let process = Self::on(port, &folder).await;
        Self { process, port, folder }
    }

    async fn on(port: u16, folder: &TempDir) -> Process {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string()]);
        let mut process = Process::start(command.current_dir(folder.path()), &folder.path().join("redis.log"));
        eventually("Redis listens", THERE, || {
            assert!(process.ended().is_none(), "Redis ended");
            async move { tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok() }
        })
        .await;
        process
    }

    /// Starts again, with nothing.
    async fn restart(&mut self) {
        self.process = Self::on(self.port, &self.folder).await;
    }
}

/// A gateway of this name, on one table with the others.
fn config(name: &str, table: &TempDir, redis: &Redis, limit: &str) -> Config {
    let budgets = format!("budgets: {{redis: {{url: \"redis://127.0.0.1:{}\", timeout: 250ms, grace: 2s}}}}", redis.port);
    let ledger = format!("ledger: {{durability: process, flush: {{rows: 200, interval: 1s}}, table: \"file:{}\"}}", table.path().display());
    Config::standard()
        .replacing("metadata: {name: e2e}", &format!("metadata: {{name: {name}}}"))
        .replacing("ledger: {durability: process, flush: {rows: 200, interval: 1s}}", &format!("{ledger}\n  {budgets}"))
        .with("rules.yaml", format!("apiVersion: tollgate/v1\nkind: Budget\nmetadata: {{name: together}}\nspec: {{limit: {limit}, window: year}}\n"))
}

/// Where calls go, of each gateway.
fn urls(gateways: &[Gateway]) -> Vec<String> {
    gateways.iter().map(Gateway::url).collect()
}

/// The status of a call; 0 if the connection broke.
async fn call(client: &reqwest::Client, gateway: &str) -> u16 {
    answered(client, gateway, "").await
}

/// The same, of a call that the simulator answers as it is told.
fn answered(client: &reqwest::Client, gateway: &str, simulate: &str) -> impl Future<Output = u16> + use<> {
    let body = json!({"model": MODEL, "max_tokens": 50, "messages": [{"role": "user", "content": "Hello"}]});
    let url = format!("{gateway}/openai/v1/chat/completions");
    let request = client.post(url).bearer_auth(KEY).header("x-simulate", simulate).json(&body);
    async move { request.send().await.map_or(0, |answer| answer.status().as_u16()) }
}

/// Calls of all at once.
async fn burst_of(client: reqwest::Client, gateways: Vec<String>) -> Vec<u16> {
    join_all(gateways.iter().flat_map(|gateway| (0..30).map(|_| call(&client, gateway)))).await
}

async fn open_calls(gateway: &Gateway) -> u64 {
    let metrics = reqwest::Client::new().get(format!("http://{}/metrics", gateway.addresses().admin)).bearer_auth(gateway.token());
    let text = metrics.send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("tollgate_ledger_open_calls ")).unwrap();
    line.parse().unwrap()
}

/// Waits until a gateway is granted something: a server that is new grants nothing at first.
async fn granted(client: &reqwest::Client, gateway: &Gateway) {
    eventually("a call passes", THERE, || async { (call(client, &gateway.url()).await == 200).then_some(()) }).await;
}

async fn three_gateways_never_exceed_a_budget_together(world: Arc<World>) {
    let (mut redis, table) = (Redis::start().await, TempDir::new().unwrap());
    let configs = GATEWAYS.map(|name| config(name, &table, &redis, "0.05 USD"));
    let mut gateways = join_all(configs.iter().map(|config| world.own_gateway(config))).await;
    let client = reqwest::Client::new();
    for gateway in [0, 2] {
        granted(&client, &gateways[gateway]).await;
    }
    // With calls open that were not answered yet: what it was granted stays taken until it is back.
    let slow = tokio::spawn(join_all((0..3).map(|_| answered(&client, &gateways[2].url(), "delay_ms=60000")).collect::<Vec<_>>()));
    eventually("calls are open", THERE, || async { (open_calls(&gateways[2]).await > 0).then_some(()) }).await;
    gateways[2].kill().await;
    let mut statuses = slow.await.unwrap();
    assert!(statuses.contains(&0), "{statuses:?}");
    statuses.extend(burst_of(client.clone(), urls(&gateways)).await);
    gateways[2].resume().await;
    for round in 0..5 {
        statuses.extend(burst_of(client.clone(), urls(&gateways)).await);
        if round == 2 {
            redis.process.kill().await;
            redis.restart().await;
        }
    }
    let known = |status: &u16| [0, 200, 402, 503].contains(status);
    assert!(statuses.iter().all(known), "{statuses:?}");
    // Then the rest is spent, by whoever still gets something: what one was granted and does not use it gives back after 5 to 10 seconds.
    let mut refused = 0;
    for _ in 0..120 {
        let found = join_all(gateways.iter().map(|gateway| async { call(&client, &gateway.url()).await })).await;
        refused = if found.iter().all(|status| *status == 402) { refused + 1 } else { 0 };
        if refused == 13 {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(refused, 13, "calls are refused for 12 seconds on end");
    let mut spent = Vec::new();
    for (gateway, name) in gateways.iter().zip(GATEWAYS) {
        let own = format!("SELECT coalesce(sum(cost), 0) AS cost FROM usage WHERE instance = '{name}'");
        spent.push(gateway.sql(&own).await[0].decimal("cost").unwrap());
    }
    let together = spent.iter().fold(Decimal::parse("0"), |sum, cost| sum + *cost);
    assert!(together <= Decimal::parse("0.05"), "{spent:?}");
    // What did not fit any more is one call: at its dearest, tokens of audio, 50 of them are 0.004 USD.
    assert!(together >= Decimal::parse("0.04"), "{spent:?}");
}

async fn while_the_server_is_away_calls_pass_within_what_was_granted(world: Arc<World>) {
    let (mut redis, table) = (Redis::start().await, TempDir::new().unwrap());
    let config = config("gw-1", &table, &redis, "{calls: 100}");
    let gateway = world.own_gateway(&config).await;
    let client = reqwest::Client::new();
    granted(&client, &gateway).await;
    redis.process.kill().await;
    let mut passed = 0;
    // Never unlimited: a share is a part of the limit.
    let refused = loop {
        match call(&client, &gateway.url()).await {
            200 => passed += 1,
            status => break status,
        }
        assert!(passed < 100, "the whole limit was spent without the server");
    };
    assert_eq!(refused, 503);
    let row = gateway.sql("SELECT error_type FROM usage WHERE outcome = 'refused_budget' AND status_code = 503 LIMIT 1").await;
    assert_eq!(row[0].text("error_type"), Some("budget_unavailable"));
    redis.restart().await;
    granted(&client, &gateway).await;
}
