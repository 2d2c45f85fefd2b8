//! Budgets and rate limits: what docs/rules.md teaches happens as it says, what is refused is refused before it costs, and counters are their SQL through
//! kills.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::{Value, json};

use crate::exporters::Receiver;
use crate::harness::call::{Api, Call};
use crate::harness::claim::{Claim, claims_of};
use crate::harness::config::Config;
use crate::harness::gateway::Gateway;
use crate::harness::money::Decimal;
use crate::harness::process::eventually;
use crate::harness::sdk::Language;
use crate::harness::world::World;

const DOCUMENT: &str = "docs/rules.md";
/// Worked examples that the document has at least.
const EXAMPLES_MIN: usize = 10;
/// The longest that a change of the configuration may take to be noticed.
const NOTICED: Duration = Duration::from_secs(30);

/// Keys of two teams, whose callers may say who they are.
const KEYS: &str = "\
apiVersion: tollgate/v1\nkind: ApiKey\nmetadata: {name: key-of-growth}\n\
spec: {value: tg-e2e-budget-growth-01, org: acme, team: growth, caller_may: [user, agent, session, tags]}\n---\n\
apiVersion: tollgate/v1\nkind: ApiKey\nmetadata: {name: key-of-ads}\n\
spec: {value: tg-e2e-budget-ads-00001, org: acme, team: ads, caller_may: [user, agent, session, tags]}\n";

/// One for all: each reads the system's certificates, which takes longer than a call.
static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(reqwest::Client::new);

pub(crate) fn claims() -> Vec<Claim> {
    let document = Document::read();
    assert!(document.examples.len() >= EXAMPLES_MIN, "{DOCUMENT} has {} examples", document.examples.len());
    let prices = Arc::new(document.prices);
    let mut all: Vec<Claim> = document
        .examples
        .into_iter()
        .map(|example| {
            let name = format!("example_{}", example.title.to_lowercase().replace(|letter: char| !letter.is_alphanumeric(), "_"));
            let prices = Arc::clone(&prices);
            Claim::new(name, move |world| example.holds(world, prices))
        })
        .collect();
    for language in Language::ALL {
        for api in [Api::Chat, Api::Responses, Api::Messages] {
            let name = format!("{}_{}_is_told_of_a_budget_once", language.name(), api.name());
            all.push(Claim::new(name, move |world| told_once(world, language, api)));
        }
    }
    all.extend(claims_of![
        a_burst_never_exceeds_a_budget_and_is_served_what_it_can_afford,
        an_alert_arrives_signed_and_once_through_an_outage_and_a_kill,
        a_budget_that_is_added_counts_what_its_window_holds_and_an_edit_keeps_it,
        conditions_that_are_none_are_found_by_check_with_their_place,
        a_backtest_tells_what_a_rule_would_have_refused_and_changes_nothing,
    ]);
    all.push(Claim::new("counters_are_their_sql_after_ten_kills", counters_are_their_sql_after_ten_kills).limited(Duration::from_secs(600)));
    all
}

/// The worked examples.
struct Document {
    prices: String,
    examples: Vec<Example>,
}

/// A rule, and calls with what they are answered.
#[derive(Clone)]
struct Example {
    title: String,
    rules: String,
    calls: Vec<String>,
}

impl Document {
    fn read() -> Self {
        let text = std::fs::read_to_string(crate::harness::here("..").to_owned() + "/" + DOCUMENT).unwrap();
        let (mut prices, mut examples) = (String::new(), Vec::new());
        for section in text.split("\n## ").find(|section| section.starts_with("Ten worked examples")).unwrap().split("\n### ") {
            let title = section.lines().next().unwrap();
            let mut blocks = section.split("\n```").skip(1).step_by(2);
            let rules = blocks.next().unwrap().strip_prefix("yaml\n").unwrap().to_owned() + "\n";
            match blocks.next() {
                None => prices = rules,
                Some(calls) => examples.push(Example {
                    title: title.to_owned(),
                    rules,
                    calls: calls.trim().lines().map(str::to_owned).collect(),
                }),
            }
        }
        Self { prices, examples }
    }
}

/// A call by team and user; the answer's status, headers and body.
async fn call(gateway: &Gateway, team: &str, user: &str, body: &Value, tags: &BTreeMap<String, String>) -> (u16, reqwest::header::HeaderMap, Value) {
    let key = match team {
        "growth" => "tg-e2e-budget-growth-01",
        _ => "tg-e2e-budget-ads-00001",
    };
    let answer = CLIENT
        .post(format!("{}/openai/v1/chat/completions", gateway.url()))
        .bearer_auth(key)
        .header("x-tollgate-user", user)
        .header("x-tollgate-tags", serde_json::to_string(tags).unwrap())
        .json(body)
        .send()
        .await
        .unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    (status, headers, answer.json().await.unwrap())
}

fn chat(model: &str, max_tokens: Option<u64>) -> Value {
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": "Hello"}]});
    if let Some(tokens) = max_tokens {
        body["max_tokens"] = tokens.into();
    }
    body
}

async fn row(gateway: &Gateway, headers: &reqwest::header::HeaderMap) -> Value {
    let id = headers.get("x-tollgate-call-id").unwrap().to_str().unwrap();
    gateway.sql(&format!("SELECT * FROM usage WHERE call_id = '{id}'")).await.remove(0).0
}

impl Example {
    async fn holds(self, world: Arc<World>, prices: Arc<String>) {
        let config = Config::standard().with("keys.yaml", KEYS).with("examples.yaml", prices.as_str()).with("rules.yaml", self.rules.as_str());
        let gateway = world.own_gateway(&config).await;
        for line in &self.calls {
            let words: Vec<&str> = line.split_whitespace().collect();
            let status = words.iter().position(|word| word.len() == 3 && word.parse::<u16>().is_ok()).unwrap();
            let [team, user, model] = words[..3] else { panic!("{line}") };
            let mut tags = BTreeMap::new();
            let mut max_tokens = None;
            for option in &words[3..status] {
                match option.split_once('=').unwrap() {
                    ("max_tokens", tokens) => max_tokens = Some(tokens.parse().unwrap()),
                    (tag, value) => {
                        tags.insert(tag.to_owned(), value.to_owned());
                    }
                }
            }
            let (answered, headers, body) = call(&gateway, team, user, &chat(model, max_tokens), &tags).await;
            assert_eq!(answered.to_string(), words[status], "{}: {line}: {body}", self.title);
            let row = row(&gateway, &headers).await;
            let decisions = row["decisions"].as_array().unwrap().clone();
            let decided = |field: &str, value: &str| decisions.iter().any(|decision| decision[field] == value);
            match (answered, words.get(status + 1)) {
                (200, None) => {
                    assert_eq!(row["outcome"], "ok");
                    assert!(decisions.is_empty(), "{line}: {decisions:?}");
                }
                (200, Some(action)) => assert!(decided("action", action), "{line}: {decisions:?}"),
                (402, Some(name)) => {
                    assert_eq!((&row["outcome"], &row["cost"]), (&json!("refused_budget"), &json!("0.000000000000")), "{line}");
                    assert!(decided("policy", &format!("budget:{name}")), "{line}: {decisions:?}");
                    assert!(body["error"]["message"].as_str().unwrap().contains(name), "{line}: {body}");
                    assert_eq!(headers.get("x-should-retry").unwrap(), "false");
                }
                (429, Some(name)) => {
                    assert_eq!(row["outcome"], "refused_rate", "{line}");
                    assert!(decided("policy", &format!("rate_limit:{name}")), "{line}: {decisions:?}");
                    let seconds: u64 = headers.get("retry-after").unwrap().to_str().unwrap().parse().unwrap();
                    assert!((1..=60).contains(&seconds), "{line}: {seconds}");
                }
                other => panic!("{line}: {other:?}"),
            }
        }
        agree(&gateway).await;
    }
}

/// Every counter is what its proof answers.
async fn agree(gateway: &Gateway) -> usize {
    let counters = gateway.sql("SELECT name, per, spent FROM budgets").await;
    for counter in &counters {
        let mut url = reqwest::Url::parse(&gateway.sql_url()).unwrap();
        url.set_path(&format!("/api/query/v1/budgets/{}/proof", counter.text("name").unwrap()));
        for (name, value) in counter.0["per"].as_object().unwrap() {
            url.query_pairs_mut().append_pair(name, value.as_str().unwrap());
        }
        let proof: Value = CLIENT.get(url).bearer_auth(gateway.token()).send().await.unwrap().json().await.unwrap();
        let sum = match &proof["spent"] {
            Value::Null => Decimal::parse("0"),
            Value::String(text) => Decimal::parse(text),
            other => Decimal::parse(&other.to_string()),
        };
        assert_eq!(Some(sum), counter.decimal("spent"), "{proof}");
    }
    counters.len()
}

fn budget(name: &str, spec: &str) -> String {
    format!("apiVersion: tollgate/v1\nkind: Budget\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

/// An official SDK raises an error that names the budget, and does not try again.
async fn told_once(world: Arc<World>, language: Language, api: Api) {
    let config = Config::standard().with("rules.yaml", budget("nothing", "{limit: 0 USD, window: month}"));
    let gateway = world.own_gateway(&config).await;
    let target = crate::harness::call::Target::new(format!("{}/{}", gateway.url(), api.provider()), crate::harness::world::KEY);
    let reply = world.sdk(language).await.call(Call::new(api).retries(3).order(&target)).await;
    let error = reply.error.expect("nothing may be spent");
    assert_eq!(error.status, Some(402), "{error:?}");
    assert!(error.message.contains("budget nothing") && error.message.contains("0 USD"), "{error:?}");
    let rows = gateway.sql("SELECT outcome, error_type, cost FROM usage").await;
    assert_eq!(rows.len(), 1, "it was told once");
    assert_eq!((rows[0].text("outcome"), rows[0].text("error_type")), (Some("refused_budget"), Some("budget_exceeded")));
}

async fn a_burst_never_exceeds_a_budget_and_is_served_what_it_can_afford(world: Arc<World>) {
    let prices = Document::read().prices;
    let config = Config::standard()
        .with("keys.yaml", KEYS)
        .with("examples.yaml", prices)
        .with("rules.yaml", budget("tight", "{per: [team], limit: 0.05 USD, window: month, alerts: [50, 80]}"));
    let gateway = world.own_gateway(&config).await;
    // An answer is 48 words, and of `large` costs 48 * 30 + 2 * 10 millionths: 1.46 thousandths. Its worst case is 50 tokens and the body's bytes.
    let body = chat("large", Some(50));
    let (mut affordable, no_tags) = (0, BTreeMap::new());
    for _ in 0..3 {
        let burst = (0..100).map(|_| call(&gateway, "growth", "ann", &body, &no_tags));
        for (status, ..) in futures::future::join_all(burst).await {
            assert!([200, 402].contains(&status), "{status}");
            affordable += usize::from(status == 200);
        }
        let spent = gateway.sql("SELECT sum(cost) AS cost FROM usage").await[0].decimal("cost").unwrap();
        assert!(spent <= Decimal::parse("0.05"), "{spent:?}");
    }
    // Once nothing is set aside, calls are made until the worst case of one more does not fit.
    while call(&gateway, "growth", "ann", &body, &BTreeMap::new()).await.0 == 200 {
        affordable += 1;
    }
    assert!(affordable >= 25, "{affordable} of 34 were made");
    eventually("80% are in the book", NOTICED, || async { (!gateway.sql("SELECT id FROM alerts WHERE percent = 80").await.is_empty()).then_some(()) }).await;
    assert_eq!(agree(&gateway).await, 1);
    let counter = gateway.sql("SELECT spent, reserved, refused, remaining FROM budgets").await.remove(0);
    assert_eq!(counter.decimal("reserved"), Some(Decimal::parse("0")));
    assert!(counter.int("refused").unwrap() > 200);
}

/// Example of the documentation of Standard Webhooks.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What Standard Webhooks signs a text with, by OpenSSL.
async fn signed(text: &[u8]) -> String {
    let script = "key=$(printf %s \"$1\" | openssl base64 -d -A | od -An -tx1 | tr -d ' \\n')\n\
                  openssl dgst -sha256 -mac HMAC -macopt \"hexkey:$key\" -binary | openssl base64 -A";
    let mut command = tokio::process::Command::new("bash");
    command.args(["-ec", script, "sign", SECRET.strip_prefix("whsec_").unwrap()]);
    let mut child = command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut input, text).await.unwrap();
    drop(input);
    String::from_utf8(child.wait_with_output().await.unwrap().stdout).unwrap()
}

async fn an_alert_arrives_signed_and_once_through_an_outage_and_a_kill(world: Arc<World>) {
    let receiver = Receiver::default();
    receiver.with(|received| received.failing = vec![503, 503]);
    let webhook = format!(
        "apiVersion: tollgate/v1\nkind: AlertWebhook\nmetadata: {{name: finops}}\nspec: {{url: \"{}/alerts\", secret: {SECRET}}}\n",
        receiver.listen().await
    );
    let config = Config::standard()
        .with("keys.yaml", KEYS)
        .with("examples.yaml", Document::read().prices)
        .with("webhook.yaml", webhook)
        .with("rules.yaml", budget("few", "{per: [team], limit: {calls: 4}, window: year, alerts: [50, 100]}"));
    let mut gateway = world.own_gateway(&config).await;
    let body = chat("large", Some(50));
    let mut came = Vec::new();
    for percent in [50_usize, 100] {
        for _ in 0..2 {
            assert_eq!(call(&gateway, "growth", "ann", &body, &BTreeMap::new()).await.0, 200);
        }
        came = eventually(format!("the alert of {percent}% arrives"), Duration::from_secs(60), || async {
            let came = receiver.with(|received| received.requests.clone());
            (came.len() * 50 >= percent).then_some(came)
        })
        .await;
        let taken = format!("SELECT id FROM alerts WHERE percent = {percent} AND delivered = 1");
        eventually(format!("that of {percent}% is known to have been taken"), NOTICED, || async { (!gateway.sql(&taken).await.is_empty()).then_some(()) }).await;
        gateway.kill().await;
        gateway.resume().await;
    }
    assert_eq!(came.len(), 2);
    for ((path, headers, body), percent) in came.iter().zip([50, 100]) {
        let header = |name: &str| headers[name].to_str().unwrap();
        let text = [header("webhook-id").as_bytes(), b".", header("webhook-timestamp").as_bytes(), b".", body].concat();
        assert_eq!(header("webhook-signature"), format!("v1,{}", signed(&text).await));
        let alert: Value = serde_json::from_slice(body).unwrap();
        assert_eq!((path.as_str(), &alert["type"], &alert["data"]["percent"]), ("/alerts", &json!("tollgate.alert"), &json!(percent)));
        assert_eq!((&alert["data"]["budget"], &alert["data"]["limit"], &alert["data"]["unit"]), (&json!("few"), &json!("4"), &json!("calls")));
        assert_eq!(alert["data"]["per"], json!([{"name": "team", "value": "growth"}]));
        assert_eq!(alert["data"]["id"], json!(header("webhook-id")));
    }
    let told = gateway.sql("SELECT count(*) AS alerts, sum(delivered) AS delivered FROM alerts").await.remove(0);
    assert_eq!((told.int("alerts"), told.int("delivered")), (Some(2), Some(2)));
}

async fn a_budget_that_is_added_counts_what_its_window_holds_and_an_edit_keeps_it(world: Arc<World>) {
    let prices = Document::read().prices;
    let base = || Config::standard().with("keys.yaml", KEYS).with("examples.yaml", prices.as_str());
    let gateway = world.own_gateway(&base()).await;
    let body = chat("large", Some(50));
    for _ in 0..3 {
        assert_eq!(call(&gateway, "growth", "ann", &body, &BTreeMap::new()).await.0, 200);
    }
    let becomes = async |limit: &str, expected: u16| {
        let rules = budget("later", &format!("{{when: \"team = 'growth'\", limit: {{calls: {limit}}}, window: year}}"));
        base().with("rules.yaml", rules).write(&gateway.config());
        eventually(format!("a limit of {limit} calls is in force"), NOTICED, || async {
            let rows = gateway.sql("SELECT limit_amount FROM budgets").await;
            (rows.first()?.decimal("limit_amount") == Some(Decimal::parse(limit))).then_some(())
        })
        .await;
        assert_eq!(call(&gateway, "growth", "ann", &body, &BTreeMap::new()).await.0, expected, "limit {limit}");
    };
    becomes("3", 402).await;
    becomes("4", 200).await;
    becomes("2", 402).await;
    let counter = gateway.sql("SELECT spent, remaining FROM budgets").await.remove(0);
    assert_eq!((counter.decimal("spent"), counter.decimal("remaining")), (Some(Decimal::parse("4")), Some(Decimal::parse("-2"))));
    agree(&gateway).await;
}

async fn conditions_that_are_none_are_found_by_check_with_their_place(world: Arc<World>) {
    let gateway = world.own_gateway(&Config::standard()).await;
    let wrong = budget("late", "{when: \"cost > 1\", limit: 1 USD, window: day}") + "---\n" + &budget("typo", "{when: \"tem = 'a'\", limit: 1 USD, window: day}");
    Config::standard().with("rules.yaml", wrong).write(&gateway.config());
    let config = gateway.config();
    let (output, _, complaint) = gateway.run(&["check", "--config", config.to_str().unwrap()]).await;
    assert!(!output.status.success());
    assert!(complaint.contains("Budget late") && complaint.contains("column cost is only known when a call has ended"), "{complaint}");
    assert!(complaint.contains("Budget typo") && complaint.contains("tem") && complaint.contains("spec.when"), "{complaint}");
}

/// Each number of a back-test is what SQL over the rows says: a user's calls beyond the limit's count are those refused, at what they cost.
async fn a_backtest_tells_what_a_rule_would_have_refused_and_changes_nothing(world: Arc<World>) {
    let prices = Document::read().prices;
    let mut gateway = world.own_gateway(&Config::standard().with("keys.yaml", KEYS).with("examples.yaml", prices)).await;
    // Costs differ, so that those refused are the right ones.
    for (user, words) in [("ann", 50), ("bob", 40), ("ann", 30), ("ann", 20), ("bob", 10), ("ann", 5)] {
        assert_eq!(call(&gateway, "growth", user, &chat("large", Some(words)), &BTreeMap::new()).await.0, 200);
    }
    assert_eq!(call(&gateway, "ads", "cid", &chat("large", Some(50)), &BTreeMap::new()).await.0, 200);
    let rules = budget("three", "{when: \"team = 'growth'\", per: [user_id], limit: {calls: 3}, window: year}");
    let file = gateway.config().join("../tried.yaml");
    std::fs::write(&file, rules).unwrap();
    let data = gateway.data();
    let arguments = |format: &'static str| {
        let mut arguments = vec!["backtest", file.to_str().unwrap(), "--data", data.to_str().unwrap(), "--since", "1h"];
        arguments.extend(["--limit", "1,2,4", "--format", format]);
        arguments
    };
    let mut expected = Vec::new();
    for limit in [3, 1, 2, 4] {
        let ranked = "SELECT user_id, cost, row_number() OVER (PARTITION BY user_id ORDER BY start_time) AS place FROM usage WHERE team = 'growth'";
        let row = gateway.sql(&format!("SELECT count(*) AS refused, sum(cost) AS cost FROM ({ranked}) WHERE place > {limit}")).await.remove(0);
        expected.push((row.int("refused").unwrap(), row.decimal("cost").unwrap_or_else(|| Decimal::parse("0"))));
    }
    // Of ann's four calls and bob's two.
    assert_eq!(expected.iter().map(|(refused, _)| *refused).collect::<Vec<_>>(), [1, 4, 2, 0]);
    let before = gateway.sql("SELECT count(*) AS calls FROM usage").await.remove(0);
    for running in [true, false] {
        if !running {
            assert!(gateway.terminate().await.success());
        }
        let (output, text, complaint) = gateway.run(&arguments("json")).await;
        assert!(output.status.success(), "{complaint}");
        let lines: Vec<Value> = serde_json::from_str(&text).unwrap();
        let found = lines.iter().map(|line| {
            let mut cost = line["cost"].as_array().unwrap().iter().map(|cost| cost["amount"].as_str().unwrap());
            (line["refused"].as_i64().unwrap(), cost.next_back().map_or_else(|| Decimal::parse("0"), Decimal::parse))
        });
        assert_eq!(found.collect::<Vec<_>>(), expected, "{text}");
        assert!(lines.iter().all(|line| line["calls"] == 6 && line["rule"] == "three"), "{text}");
        assert_eq!(lines.iter().map(|line| line["declared"] == true).collect::<Vec<_>>(), [true, false, false, false]);
        assert_eq!(lines[1]["top"][0]["per"], json!([{"of": "user_id", "value": "ann"}]), "{text}");
        assert_eq!(lines[1]["top"][0]["refused"], 3, "{text}");
    }
    let (output, text, complaint) = gateway.run(&arguments("csv")).await;
    assert!(output.status.success(), "{complaint}");
    assert_eq!(text.lines().count(), 5, "heads, and a line for each limit: {text}");
    assert_eq!(gateway.sql_offline("SELECT count(*) AS calls FROM usage").await.remove(0).0, before.0);
    let (output, _, complaint) = gateway.run(&["backtest", file.to_str().unwrap(), "--data", data.to_str().unwrap(), "--limit", "2 USD"]).await;
    assert!(!output.status.success() && complaint.contains("--limit"), "{complaint}");
}

/// Concurrent calls of many users, ten kills in the middle of them, and after each start counters that are their SQL to the last digit.
async fn counters_are_their_sql_after_ten_kills(world: Arc<World>) {
    let prices = Document::read().prices;
    let rules = budget("by-user", "{per: [user_id], limit: 0.05 USD, window: year}")
        + "---\n"
        + &budget("by-team", "{per: [team], limit: {tokens: 100000}, window: month, timezone: Asia/Tokyo}")
        + "---\n"
        + &budget("rolling", "{limit: {calls: 100000}, window: 24h}");
    let config = Config::standard().with("keys.yaml", KEYS).with("examples.yaml", prices).with("rules.yaml", rules);
    let mut gateway = world.own_gateway(&config).await;
    let body = chat("large", Some(50));
    for kill in 0..10 {
        let calls = (0..60).map(|number| {
            let (gateway, body) = (&gateway, &body);
            async move {
                let user = format!("user-{}", number % 7);
                let tags = BTreeMap::new();
                let asked = call(gateway, if number % 3 == 0 { "ads" } else { "growth" }, &user, body, &tags);
                let _ = tokio::time::timeout(Duration::from_secs(30), asked).await;
            }
        });
        let everything = futures::future::join_all(calls);
        let some = Duration::from_millis(40 * (kill + 1));
        // Cut off in the middle; what is still under way is dropped with it.
        let _ = tokio::time::timeout(some, everything).await;
        gateway.kill().await;
        gateway.resume().await;
        assert!(agree(&gateway).await >= 1);
        let most = gateway.sql("SELECT max(cost) AS cost FROM (SELECT sum(cost) AS cost FROM usage GROUP BY user_id)").await;
        assert!(most[0].decimal("cost").is_none_or(|cost| cost <= Decimal::parse("0.05")), "{:?}", most[0].0);
    }
    let drift = gateway.sql("SELECT count(*) AS calls FROM usage").await;
    assert!(drift[0].int("calls").unwrap() > 50);
    assert!(!gateway.logged().contains("is not the sum of its rows"), "{}", gateway.logged());
}
