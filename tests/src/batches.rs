//! Batches: the submission is a row without cost, and each result is a row with the batch's price, once, however often it is fetched.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::call::Api;
use crate::harness::claim::{Claim, claims_of};
use crate::harness::config::Config;
use crate::harness::gateway::Gateway;
use crate::harness::ledger::Row;
use crate::harness::money::Decimal;
use crate::harness::process::eventually;
use crate::harness::raw;
use crate::harness::sdk::{Language, Order, Reply};
use crate::harness::usage::Tokens;
use crate::harness::world::{KEY, World};

pub(crate) fn claims() -> Vec<Claim> {
    claims_of![
        openai_results_become_rows_once_and_their_submitter_pays,
        anthropic_results_become_rows_once_and_their_submitter_pays,
        results_become_rows_once_over_restarts_and_kills,
        results_of_a_client_that_leaves_and_of_a_gateway_that_is_killed_midway_become_rows_once,
        results_that_two_gateways_of_one_table_are_asked_for_become_rows_once,
        a_batch_is_taken_while_anything_is_left_of_a_budget,
    ]
}

/// A key of another team than [`KEY`]'s.
const OTHER_KEY: &str = "tg-e2e-silent-key-000001";
/// The longest that a row may take which nobody waits for.
const SOON: Duration = Duration::from_secs(20);

/// An application that uses batches.
#[derive(Clone)]
struct Application {
    world: Arc<World>,
    root: String,
    key: &'static str,
    session: String,
}

/// A batch as an SDK shows it.
struct Batch {
    call_id: Option<String>,
    id: String,
    status: String,
    files: Vec<String>,
}

impl Application {
    fn new(world: &Arc<World>, gateway: &Gateway) -> Self {
        Self { world: world.clone(), root: gateway.url(), key: KEY, session: world.session() }
    }

    fn by(&self, key: &'static str) -> Self {
        Self { key, ..self.clone() }
    }

    fn at(&self, gateway: &Gateway) -> Self {
        Self { root: gateway.url(), ..self.clone() }
    }

    async fn call(&self, sdk: &'static str, call: &'static str, params: Value) -> Reply {
        let base = if sdk == "openai" { "/openai/v1" } else { "/anthropic" };
        let headers = [("x-tollgate-session", self.session.clone()), ("x-simulate", format!("polls=1; id={}", self.session))];
        let order = Order {
            id: 0,
            sdk,
            call,
            base_url: format!("{}{base}", self.root),
            api_key: self.key.to_owned(),
            headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            params,
            max_retries: 0,
            abort_after: None,
        };
        self.world.sdk(Language::Python).await.call(order).await
    }

    async fn batch(&self, sdk: &'static str, call: &'static str, params: Value) -> Batch {
        let reply = self.call(sdk, call, params).await;
        assert_eq!(reply.error, None);
        let told: Value = serde_json::from_str(&reply.text).unwrap();
        Batch {
            call_id: reply.headers.get("x-tollgate-call-id").cloned(),
            id: told["id"].as_str().unwrap().to_owned(),
            status: told["status"].as_str().unwrap().to_owned(),
            files: told["files"].as_array().unwrap().iter().filter_map(|file| Some(file.as_str()?.to_owned())).collect(),
        }
    }

    /// Submits a batch, and looks at it until it has ended: twice, as the simulator was told.
    async fn run(&self, sdk: &'static str, params: Value) -> (String, Batch) {
        let submitted = self.batch(sdk, "batch_submit", params).await;
        let mut batch = self.batch(sdk, "batch_look", json!({"id": submitted.id})).await;
        assert!(["in_progress"].contains(&&*batch.status), "{}", batch.status);
        batch = self.batch(sdk, "batch_look", json!({"id": submitted.id})).await;
        assert!(["completed", "ended"].contains(&&*batch.status), "{}", batch.status);
        (submitted.call_id.expect("every answer names its call"), batch)
    }

    async fn fetch(&self, sdk: &'static str, id: &str) -> Vec<Value> {
        let reply = self.call(sdk, "batch_fetch", json!({"id": id})).await;
        assert_eq!(reply.error, None);
        serde_json::from_str(&reply.text).unwrap()
    }

    /// Submits chats to OpenAI, so many, of which each says something longer; the last is refused.
    async fn chats(&self, count: usize) -> (String, Batch) {
        let model = Api::Chat.model();
        let line = |number: usize| {
            let body = json!({"model": model, "messages": [{"role": "user", "content": "ledger ".repeat(1 + number % 50)}]});
            json!({"custom_id": format!("request-{number}"), "method": "POST", "url": "/v1/chat/completions", "body": body})
        };
        let mut lines: Vec<Value> = (1..count).map(line).collect();
        lines.push(json!({"custom_id": "refused", "method": "POST", "url": "/v1/chat/completions", "body": {"model": model}}));
        self.run("openai", json!({"lines": lines, "endpoint": "/v1/chat/completions"})).await
    }
}

const RESULTS: &str = "operation_name = 'chat' AND service_tier = 'batch'";

/// The rows of a session's results that were answered.
async fn results(gateway: &Gateway, session: &str) -> Vec<Row> {
    gateway.sql(&format!("SELECT * FROM usage WHERE session_id = '{session}' AND {RESULTS} ORDER BY seq")).await
}

/// What answers of OpenAI's must cost, by the usage in each line.
#[track_caller]
fn cost_of_chats(lines: &[Value]) -> Decimal {
    let costs = lines.iter().map(|line| {
        let body = &line["response"]["body"];
        Tokens::of(Api::Chat, &body["usage"]).cost("openai", &[body["model"].as_str().unwrap()], Some("batch"))
    });
    costs.sum()
}

fn total(rows: &[Row]) -> Decimal {
    rows.iter().map(|row| row.decimal("cost").expect("it is priced")).sum()
}

/// The result rows of a session: each once, for the submitter, at what they cost together.
#[track_caller]
fn charged(rows: &[Row], count: usize, cost: Decimal, submission: &str) {
    assert_eq!(rows.len(), count);
    let ids: std::collections::BTreeSet<_> = rows.iter().map(|row| row.text("call_id")).collect();
    assert_eq!(ids.len(), count, "a result has two rows");
    for row in rows {
        row.adds_up();
        assert_eq!((row.text("outcome"), row.text("cost_status")), (Some("ok"), Some("priced")), "{}", row.0);
        assert_eq!((row.text("team"), row.text("key_id")), (Some("growth"), Some("application")), "the submitter pays");
        assert_eq!(row.text("parent_call_id"), Some(submission));
        assert_eq!((row.int("status_code"), row.int("attempt"), row.flag("stream")), (Some(200), Some(1), Some(false)));
    }
    assert_eq!(total(rows), cost);
}

/// Calls of a session that are no results cost nothing, and are one row each.
async fn free(gateway: &Gateway, session: &str, expected: &[(&str, i64)]) {
    let query = format!(
        "SELECT operation_name, count(*) AS calls, sum(cost) AS cost FROM usage WHERE session_id = '{session}' AND NOT coalesce(service_tier = 'batch', false) \
         AND cost_status = 'free' AND operation_name LIKE '/%' GROUP BY operation_name ORDER BY operation_name"
    );
    let rows = gateway.sql(&query).await;
    let found: Vec<_> = rows.iter().map(|row| (row.text("operation_name").unwrap(), row.int("calls").unwrap())).collect();
    assert_eq!(found, expected);
    assert!(rows.iter().all(|row| row.decimal("cost").is_none_or(|cost| cost == Decimal::ZERO)), "{rows:?}");
}

async fn openai_results_become_rows_once_and_their_submitter_pays(world: Arc<World>) {
    let gateway = world.gateway().await;
    let application = Application::new(&world, gateway);
    let (submission, batch) = application.chats(4).await;
    let session = &application.session;
    assert!(results(gateway, session).await.is_empty(), "nothing is charged before it is known");
    let (output, errors) = (&batch.files[0], &batch.files[1]);
    let first = application.fetch("openai", output).await;
    assert_eq!(first.len(), 3);
    charged(&results(gateway, session).await, 3, cost_of_chats(&first), &submission);
    // Again, by another team, and all at once.
    for key in [KEY, OTHER_KEY] {
        assert_eq!(application.by(key).fetch("openai", output).await, first, "the answer is the same");
    }
    let at_once: Vec<_> = (0..6).map(|_| application.fetch("openai", output)).collect();
    futures::future::join_all(at_once).await;
    let rows = results(gateway, session).await;
    charged(&rows, 3, cost_of_chats(&first), &submission);
    let mut told: Vec<_> = first.iter().map(|line| Tokens::of(Api::Chat, &line["response"]["body"]["usage"]).input).collect();
    let mut counted: Vec<_> = rows.iter().map(|row| row.int("input_tokens")).collect();
    told.sort();
    counted.sort();
    assert_eq!(counted, told);
    // What was refused is told in the other file, and costs nothing.
    for _ in 0..2 {
        assert_eq!(application.fetch("openai", errors).await.len(), 1);
    }
    let refused = gateway
        .sql(&format!("SELECT * FROM usage WHERE session_id = '{session}' AND outcome = 'upstream_error' AND parent_call_id = '{submission}'"))
        .await;
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!((refused[0].int("status_code"), refused[0].text("cost_status")), (Some(400), Some("free")));
    assert_eq!(refused[0].text("error_type"), Some("invalid_request_error"));
    // Eight fetches of the answers and two of the errors by this key, and one row each; the other team's has no session.
    free(gateway, session, &[("/v1/batches", 1), ("/v1/batches/{id}", 2), ("/v1/files", 1), ("/v1/files/{id}/content", 10)]).await;
}

async fn a_batch_is_taken_while_anything_is_left_of_a_budget(world: Arc<World>) {
    let rule = "apiVersion: tollgate/v1\nkind: Budget\nmetadata: {name: tiny}\nspec: {per: [team], limit: 0.000001 USD, window: month}\n";
    let gateway = world.own_gateway(&Config::standard().with("rules.yaml", rule.to_owned())).await;
    let application = Application::new(&world, &gateway);
    let (submission, batch) = application.chats(4).await;
    let fetched = application.fetch("openai", &batch.files[0]).await;
    charged(&results(&gateway, &application.session).await, 3, cost_of_chats(&fetched), &submission);
    // That was more than there is: no other batch is taken, and the one that was can be looked at and fetched.
    let line = json!({"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": Api::Chat.model(), "messages": []}});
    let reply = application.call("openai", "batch_submit", json!({"lines": [line], "endpoint": "/v1/chat/completions"})).await;
    let error = reply.error.expect("nothing is left");
    assert_eq!(error.status, Some(402), "{error:?}");
    assert!(error.message.contains("budget tiny of team growth") && error.message.contains("priced later"), "{error:?}");
    assert_eq!(application.fetch("openai", &batch.files[0]).await, fetched);
    let refused = gateway.sql("SELECT operation_name, cost FROM usage WHERE outcome = 'refused_budget'").await;
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0].text("operation_name"), Some("/v1/batches"));
}

async fn anthropic_results_become_rows_once_and_their_submitter_pays(world: Arc<World>) {
    let gateway = world.gateway().await;
    let application = Application::new(&world, gateway);
    let model = Api::Messages.model();
    let request = |number: usize, model: &str| {
        let params = json!({"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": "ledger ".repeat(number)}]});
        json!({"custom_id": format!("request-{number}"), "params": params})
    };
    let requests = json!([request(1, model), request(20, model), request(300, model)]);
    let (submission, batch) = application.run("anthropic", json!({"requests": requests})).await;
    let session = &application.session;
    // The SDK follows this address as it is.
    assert!(batch.files[0].starts_with(&format!("{}/anthropic/v1/messages/batches/", gateway.url())), "{}", batch.files[0]);
    let mut first = None;
    for key in [KEY, KEY, OTHER_KEY] {
        let results = application.by(key).fetch("anthropic", &batch.id).await;
        assert_eq!(results.len(), 3);
        assert_eq!(*first.get_or_insert_with(|| results.clone()), results);
    }
    let first = first.expect("it was fetched");
    let cost = first.iter().map(|result| {
        let message = &result["result"]["message"];
        Tokens::of(Api::Messages, &message["usage"]).cost("anthropic", &[message["model"].as_str().unwrap()], Some("batch"))
    });
    charged(&results(gateway, session).await, 3, cost.sum(), &submission);
    // The SDK looks at a batch before it fetches its results.
    let expected = [("/v1/messages/batches", 1), ("/v1/messages/batches/{id}", 4), ("/v1/messages/batches/{id}/results", 2)];
    free(gateway, session, &expected).await;
}

/// The results of a batch are fetched again whenever the gateway has started anew.
async fn results_become_rows_once_over_restarts_and_kills(world: Arc<World>) {
    let mut gateway = world.own_gateway(&Config::standard()).await;
    let application = Application::new(&world, &gateway);
    let (submission, batch) = application.chats(60).await;
    let session = &application.session;
    let file = &batch.files[0];
    gateway.kill().await;
    gateway.resume().await;
    // Nobody that runs has seen the submission: its row tells.
    let first = application.at(&gateway).by(OTHER_KEY).fetch("openai", file).await;
    for orderly in [false, true, false] {
        charged(&results(&gateway, session).await, 59, cost_of_chats(&first), &submission);
        if orderly {
            assert!(gateway.terminate().await.success());
        } else {
            gateway.kill().await;
        }
        gateway.resume().await;
        assert_eq!(application.at(&gateway).fetch("openai", file).await.len(), 59);
    }
    assert!(gateway.terminate().await.success());
    let sums = "SELECT count(*) AS calls, count(DISTINCT call_id) AS ids, max(seq) AS last, sum(cost) AS cost FROM usage";
    let sums = gateway.sql_offline(sums).await.remove(0);
    assert_eq!((sums.int("ids"), sums.int("last")), (sums.int("calls"), sums.int("calls")), "no row is missing or doubled");
    assert_eq!(sums.decimal("cost"), Some(cost_of_chats(&first)), "nothing else was charged");
}

/// Begins to fetch a file and reads the start of it.
async fn begin(gateway: &Gateway, file: &str) -> reqwest::Response {
    let url = format!("{}/openai/v1/files/{file}/content", gateway.url());
    let mut answer = reqwest::Client::new().get(url).bearer_auth(KEY).send().await.unwrap();
    assert!(answer.chunk().await.unwrap().is_some_and(|chunk| !chunk.is_empty()));
    answer
}

async fn results_of_a_client_that_leaves_and_of_a_gateway_that_is_killed_midway_become_rows_once(world: Arc<World>) {
    const RESULTS: usize = 6000;
    let mut gateway = world.own_gateway(&Config::standard().replacing("request_body_bytes_max: 1MiB", "request_body_bytes_max: 16MiB")).await;
    let application = Application::new(&world, &gateway);
    let (submission, batch) = application.chats(RESULTS + 1).await;
    let session = &application.session;
    let file = &batch.files[0];
    for _ in 0..2 {
        // A client that leaves.
        let call_id = begin(&gateway, file).await.headers()["x-tollgate-call-id"].to_str().unwrap().to_owned();
        let query = format!("SELECT outcome FROM usage WHERE call_id = '{call_id}'");
        eventually("the fetch is settled", SOON, || async { gateway.sql(&query).await.pop() }).await;
        // A gateway that is killed.
        let answer = begin(&gateway, file).await;
        gateway.kill().await;
        drop(answer);
        gateway.resume().await;
    }
    let whole = raw::send(reqwest::Client::new().get(format!("{}/openai/v1/files/{file}/content", gateway.url())).bearer_auth(OTHER_KEY).header("range", "bytes=100-200")).await;
    assert_eq!((whole.status, &whole.broken), (200, &None), "a part is not passed on: the answer is whole");
    let lines: Vec<Value> = whole.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), RESULTS);
    charged(&results(&gateway, session).await, RESULTS, cost_of_chats(&lines), &submission);
}

async fn results_that_two_gateways_of_one_table_are_asked_for_become_rows_once(world: Arc<World>) {
    let shared = tempfile::TempDir::with_prefix("tollgate-e2e-").unwrap();
    let config = |name: &str| {
        // Only what is asked for is flushed: both have rows that the other cannot know of.
        let ledger = format!("flush: {{rows: 100000, interval: 1h}}, table: \"file:{}/usage\"", shared.path().display());
        Config::standard().replacing("metadata: {name: e2e}", &format!("metadata: {{name: {name}}}")).replacing("flush: {rows: 200, interval: 1s}", &ledger)
    };
    let (mut first, mut second) = (world.own_gateway(&config("gw-1")).await, world.own_gateway(&config("gw-2")).await);
    let application = Application::new(&world, &first);
    let (_, batch) = application.chats(30).await;
    let file = &batch.files[0];
    let lines = application.fetch("openai", file).await;
    assert_eq!(application.at(&second).fetch("openai", file).await.len(), 29);
    for gateway in [&mut first, &mut second] {
        assert!(gateway.terminate().await.success());
    }
    first.resume().await;
    let rows = first.sql(&format!("SELECT * FROM usage WHERE {RESULTS}")).await;
    let instances: std::collections::BTreeSet<_> = rows.iter().map(|row| row.text("instance")).collect();
    assert_eq!((rows.len(), instances), (29, [Some("gw-1")].into()), "the table took the first");
    assert_eq!(total(&rows), cost_of_chats(&lines));
    // What is in the table, a gateway that starts knows.
    assert_eq!(application.at(&first).fetch("openai", file).await.len(), 29);
    assert_eq!(first.sql(&format!("SELECT * FROM usage WHERE {RESULTS}")).await.len(), 29);
}
