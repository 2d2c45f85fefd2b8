//! Exporters of a running gateway: what its ledger has arrives, at least once, through kills of the gateway and failures of the far side.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::harness::claim::{Claim, claims_of};
use crate::harness::config::Config;
use crate::harness::gateway::Gateway;
use crate::harness::money::Decimal;
use crate::harness::process::eventually;
use crate::harness::traffic::Traffic;
use crate::harness::world::World;

/// The longest that rows may take to arrive on a machine that does other things.
const ARRIVES: Duration = Duration::from_secs(90);

/// One for all: each reads the system's certificates, which takes longer than a call.
static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(reqwest::Client::new);

pub(crate) fn claims() -> Vec<Claim> {
    let mut all = claims_of![
        a_row_that_is_never_taken_is_a_dead_letter_and_the_rest_goes_on,
        an_exporter_is_paused_resumed_reset_and_replayed_by_command,
        files_have_every_row_once_as_duckdb_reads_them,
        moesif_and_otlp_receive_what_their_schemas_say,
        an_exporter_with_mistakes_is_found_by_check,
        a_hashed_column_leaves_as_openssl_says_and_a_removed_tag_does_not,
    ];
    let kills = Claim::new("a_webhook_gets_every_row_through_kills_and_outages", a_webhook_gets_every_row_through_kills_and_outages);
    all.push(kills.limited(Duration::from_secs(300)));
    all
}

/// A far side: what came, and how it answers.
#[derive(Clone, Default)]
pub(crate) struct Receiver(Arc<Mutex<Received>>);

#[derive(Default)]
pub(crate) struct Received {
    /// Rows by `call_id`, as they came last.
    rows: BTreeMap<String, Value>,
    /// How often a row came.
    deliveries: usize,
    /// Requests, by path, with their headers.
    pub(crate) requests: Vec<(String, HeaderMap, Vec<u8>)>,
    /// Statuses that are answered first.
    pub(crate) failing: Vec<u16>,
    /// A model whose rows are never taken.
    hated: Option<String>,
}

impl Receiver {
    /// Listens; the address.
    pub(crate) async fn listen(&self) -> String {
        let app = axum::Router::new().fallback(take).with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(axum::serve(listener, app).into_future());
        format!("http://{address}")
    }

    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Received) -> T) -> T {
        work(&mut self.0.lock().unwrap())
    }

    fn ids(&self) -> BTreeSet<String> {
        self.with(|received| received.rows.keys().cloned().collect())
    }

    async fn has(&self, count: usize) {
        eventually(format!("{count} rows arrive"), ARRIVES, || async { (self.ids().len() >= count).then_some(()) }).await;
    }
}

async fn take(State(receiver): State<Receiver>, uri: axum::http::Uri, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    receiver.with(|received| {
        if let Some(status) = received.failing.pop() {
            return (StatusCode::from_u16(status).unwrap(), "not now".to_owned());
        }
        received.requests.push((uri.path().to_owned(), headers.clone(), body.to_vec()));
        let Ok(batch) = serde_json::from_slice::<Value>(&body) else {
            return (StatusCode::OK, String::new());
        };
        let rows = batch["rows"].as_array().cloned().unwrap_or_default();
        if rows.iter().any(|row| received.hated.as_deref().is_some_and(|model| row["request_model"] == model)) {
            return (StatusCode::UNPROCESSABLE_ENTITY, "there is a row that I hate".to_owned());
        }
        for row in rows {
            received.deliveries += 1;
            received.rows.insert(row["call_id"].as_str().unwrap().to_owned(), row);
        }
        (StatusCode::OK, String::new())
    })
}

fn exporter(name: &str, spec: &str) -> String {
    format!("apiVersion: tollgate/v1\nkind: Exporter\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

async fn call(gateway: &Gateway, model: &str) {
    let answer = CLIENT
        .post(format!("{}/openai/v1/chat/completions", gateway.url()))
        .bearer_auth(crate::harness::world::KEY)
        .json(&json!({"model": model, "messages": [{"role": "user", "content": "Hello"}]}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
}

async fn all_ids(gateway: &Gateway) -> BTreeSet<String> {
    let rows = gateway.sql("SELECT call_id FROM usage").await;
    rows.iter().map(|row| row.text("call_id").unwrap().to_owned()).collect()
}

async fn a_webhook_gets_every_row_through_kills_and_outages(world: Arc<World>) {
    let receiver = Receiver::default();
    let url = receiver.listen().await;
    let spec = format!("{{type: webhook, url: \"{url}/usage\", secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw, from: beginning, batch: {{rows: 50, interval: 100ms}}}}");
    let config = Config::standard().with("exporters.yaml", exporter("hook", &spec));
    let mut gateway = world.own_gateway(&config).await;
    let mut acknowledged = BTreeSet::new();
    for kill in 0..3 {
        let traffic = Traffic::start(&gateway, 4, &format!("exported-{kill}"));
        traffic.reach(30).await;
        // Not there, too busy, there again.
        receiver.with(|received| received.failing = vec![503, 429, 500]);
        traffic.reach(60).await;
        gateway.kill().await;
        acknowledged.extend(traffic.stop().await);
        gateway.resume().await;
    }
    let ids = all_ids(&gateway).await;
    assert!(acknowledged.is_subset(&ids));
    receiver.has(ids.len()).await;
    assert_eq!(receiver.ids(), ids);
    // Each row as SQL has it, money to the last digit.
    for row in gateway.sql("SELECT call_id, cost, input_tokens FROM usage").await {
        let sent = receiver.with(|received| received.rows[row.text("call_id").unwrap()].clone());
        let cost = sent["cost"].as_str().map(Decimal::parse);
        assert_eq!((cost, sent["input_tokens"].as_i64()), (row.decimal("cost"), row.int("input_tokens")), "{sent}");
    }
    receiver.with(|received| {
        for (path, headers, _) in &received.requests {
            assert_eq!(path, "/usage");
            assert!(headers.contains_key("webhook-id") && headers["webhook-signature"].to_str().unwrap().starts_with("v1,"));
        }
    });
    let status = eventually("nothing is behind", ARRIVES, || async {
        let row = gateway.sql("SELECT state, lag_rows, delivered, dead FROM exports").await.remove(0);
        (row.int("lag_rows") == Some(0)).then_some(row)
    })
    .await;
    assert_eq!((status.text("state"), status.int("dead")), (Some("running"), Some(0)));
}

async fn a_row_that_is_never_taken_is_a_dead_letter_and_the_rest_goes_on(world: Arc<World>) {
    let receiver = Receiver::default();
    receiver.with(|received| received.hated = Some("gpt-4o".to_owned()));
    let url = receiver.listen().await;
    let spec = format!("{{type: webhook, url: \"{url}/\", from: beginning, batch: {{rows: 20, interval: 200ms}}}}");
    let gateway = world.own_gateway(&Config::standard().with("exporters.yaml", exporter("hook", &spec))).await;
    for number in 0..9 {
        call(&gateway, if number == 4 { "gpt-4o" } else { "gpt-4o-mini" }).await;
    }
    receiver.has(8).await;
    let dead = eventually("the row is a dead letter", ARRIVES, || async { gateway.sql("SELECT * FROM dead_letters").await.pop() }).await;
    assert_eq!(dead.text("answer").map(|answer| answer.contains("there is a row that I hate")), Some(true), "{}", dead.0);
    let hated = gateway.sql("SELECT call_id FROM usage WHERE request_model = 'gpt-4o'").await;
    assert_eq!(dead.text("call_id"), hated[0].text("call_id"));
    assert!(!receiver.ids().contains(dead.text("call_id").unwrap()));
}

/// As docs/exporters.md has a reader find the rows of a name.
async fn hashed(text: &str, key: &str) -> String {
    let script = "printf %s \"$1\" | openssl dgst -sha256 -hmac \"$2\"";
    let mut command = tokio::process::Command::new("bash");
    let output = command.args(["-ec", script, "hash", text, key]).output().await.unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    told.trim().rsplit(' ').next().unwrap()[..32].to_owned()
}

async fn a_hashed_column_leaves_as_openssl_says_and_a_removed_tag_does_not(world: Arc<World>) {
    const KEY: &str = "a key of sixteen characters or more";
    let receiver = Receiver::default();
    let url = receiver.listen().await;
    let spec = format!("{{type: webhook, url: \"{url}/\", from: beginning, batch: {{interval: 100ms}}, hash: {{key: {KEY}, of: [team, \"tags['customer']\"]}}, redact: [\"tags['note']\"]}}");
    let keys = "apiVersion: tollgate/v1\nkind: ApiKey\nmetadata: {name: tagged}\n\
                spec: {value: tg-e2e-tagged-0000001, org: acme, team: growth, tags: {customer: Ann & Sons, note: do not tell, env: prod}}\n";
    let gateway = world.own_gateway(&Config::standard().with("keys.yaml", keys).with("exporters.yaml", exporter("hook", &spec))).await;
    let request = CLIENT.post(format!("{}/openai/v1/chat/completions", gateway.url())).bearer_auth("tg-e2e-tagged-0000001");
    let answer = request.json(&json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]})).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    receiver.has(1).await;
    let (row, bytes) = receiver.with(|received| (received.rows.values().next().unwrap().clone(), received.requests[0].2.clone()));
    assert_eq!((&row["org"], &row["team"]), (&json!("acme"), &json!(hashed("growth", KEY).await)));
    assert_eq!((&row["tags"]["env"], &row["tags"]["customer"]), (&json!("prod"), &json!(hashed("Ann & Sons", KEY).await)));
    let sent = String::from_utf8(bytes).unwrap();
    assert!(!["growth", "Ann & Sons", "do not tell"].iter().any(|secret| sent.contains(secret)), "{sent}");
}

async fn tell(gateway: &Gateway, arguments: &[&str]) -> String {
    let data = gateway.data();
    let mut all = vec!["exporter"];
    all.extend(arguments);
    all.extend(["--data", data.to_str().unwrap()]);
    let (output, told, complaint) = gateway.run(&all).await;
    assert!(output.status.success(), "{arguments:?}: {complaint}");
    told
}

async fn an_exporter_is_paused_resumed_reset_and_replayed_by_command(world: Arc<World>) {
    let receiver = Receiver::default();
    let url = receiver.listen().await;
    let spec = format!("{{type: webhook, url: \"{url}/\", when: \"request_model <> 'gpt-4o'\", columns: [team, cost], redact: [team], from: beginning, batch: {{interval: 100ms}}}}");
    let gateway = world.own_gateway(&Config::standard().with("exporters.yaml", exporter("hook", &spec))).await;
    call(&gateway, "gpt-4o-mini").await;
    call(&gateway, "gpt-4o").await;
    receiver.has(1).await;
    let row = receiver.with(|received| received.rows.values().next().unwrap().clone());
    assert_eq!((&row["team"], &row["request_model"]), (&Value::Null, &Value::Null), "{row}");
    assert!(row["cost"].is_string());

    tell(&gateway, &["pause", "hook"]).await;
    call(&gateway, "gpt-4o-mini").await;
    assert!(tell(&gateway, &["preview", "hook"]).await.contains("call_id"));
    assert!(tell(&gateway, &["status"]).await.contains("paused"));
    assert_eq!(receiver.ids().len(), 1);
    tell(&gateway, &["resume", "hook"]).await;
    receiver.has(2).await;
    let before = receiver.with(|received| received.deliveries);
    tell(&gateway, &["reset", "hook", "--to", "beginning"]).await;
    eventually("everything comes again", ARRIVES, || async { receiver.with(|received| received.deliveries >= before + 2).then_some(()) }).await;
    let before = receiver.with(|received| received.deliveries);
    let told = tell(&gateway, &["replay", "hook", "--from", "2026-01-01", "--to", "2036-01-01"]).await;
    assert!(told.contains("2 rows"), "{told}");
    assert_eq!(receiver.with(|received| received.deliveries), before + 2);
    let data = gateway.data();
    let (output, _, complaint) = gateway.run(&["exporter", "pause", "nobody", "--data", data.to_str().unwrap()]).await;
    assert!(!output.status.success() && complaint.contains("there is hook"), "{complaint}");
}

async fn files_have_every_row_once_as_duckdb_reads_them(world: Arc<World>) {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    let documents = exporter("parquet", &format!("{{type: files, location: \"file:{at}/parquet\", from: beginning, every: hour, batch: {{interval: 200ms}}}}"))
        + "---\n"
        + &exporter("focus", &format!("{{type: files, location: \"file:{at}/focus\", format: focus, from: beginning, batch: {{interval: 200ms}}}}"));
    let mut gateway = world.own_gateway(&Config::standard().with("exporters.yaml", documents)).await;
    for _ in 0..2 {
        let traffic = Traffic::start(&gateway, 3, "files");
        traffic.reach(40).await;
        gateway.kill().await;
        traffic.stop().await;
        gateway.resume().await;
    }
    eventually("nothing is behind", ARRIVES, || async {
        let rows = gateway.sql("SELECT sum(lag_rows) AS lag FROM exports").await;
        (rows[0].int("lag") == Some(0)).then_some(())
    })
    .await;
    let ours = gateway.sql("SELECT count(*) AS calls, sum(cost) AS cost FROM usage").await.remove(0);
    let python = &world.stage().await.counterparts.python;
    let script = "import duckdb, sys\n\
        print(*duckdb.sql(f\"SELECT count(*), count(DISTINCT call_id), sum(cost) FROM read_parquet('{sys.argv[1]}/parquet/**/*.parquet')\").fetchall()[0])\n\
        print(duckdb.sql(f\"SELECT sum(CAST(BilledCost AS DECIMAL(28,12))) FROM read_csv('{sys.argv[1]}/focus/**/*.csv', all_varchar=true)\").fetchall()[0][0])\n";
    let output = tokio::process::Command::new(python).args(["-c", script, folder.path().to_str().unwrap()]).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    let calls = ours.int("calls").unwrap().to_string();
    assert_eq!((words[0], words[1]), (calls.as_str(), calls.as_str()), "every row once: {text}");
    assert_eq!(Some(Decimal::parse(words[2])), ours.decimal("cost"));
    assert_eq!(Some(Decimal::parse(words[3])), ours.decimal("cost"), "FOCUS: {text}");
}

async fn moesif_and_otlp_receive_what_their_schemas_say(world: Arc<World>) {
    let (moesif, otlp) = (Receiver::default(), Receiver::default());
    let (moesif_url, otlp_url) = (moesif.listen().await, otlp.listen().await);
    let documents = exporter("m", &format!("{{type: moesif, url: \"{moesif_url}\", application_id: an-application-id, from: beginning, batch: {{interval: 200ms}}}}"))
        + "---\n"
        + &exporter("o", &format!("{{type: otlp, endpoint: \"{otlp_url}\", protocol: http, from: beginning, headers: {{x-api-key: secret}}, batch: {{interval: 200ms}}}}"));
    let gateway = world.own_gateway(&Config::standard().with("exporters.yaml", documents)).await;
    for _ in 0..3 {
        call(&gateway, "gpt-4o-mini").await;
    }
    let seen = |receiver: &Receiver, path: &str| receiver.with(|received| received.requests.iter().any(|(at, ..)| at == path));
    for (receiver, path) in [(&moesif, "/v1/events/batch"), (&otlp, "/v1/traces"), (&otlp, "/v1/metrics"), (&otlp, "/v1/logs")] {
        eventually(format!("{path} is called"), ARRIVES, || async { seen(receiver, path).then_some(()) }).await;
    }
    moesif.with(|received| {
        let (_, headers, _) = received.requests.iter().find(|(path, ..)| path == "/v1/events/batch").unwrap();
        assert_eq!(headers["x-moesif-application-id"], "an-application-id");
        assert_eq!(headers["content-encoding"], "gzip");
    });
    otlp.with(|received| {
        let (_, headers, body) = received.requests.iter().find(|(path, ..)| path == "/v1/traces").unwrap();
        assert_eq!((&headers["x-api-key"], &headers["content-type"]), (&"secret".parse().unwrap(), &"application/x-protobuf".parse().unwrap()));
        assert!(!body.is_empty());
    });
    let delivered = eventually("all are delivered", ARRIVES, || async {
        let rows = gateway.sql("SELECT name, delivered, last_error FROM exports WHERE delivered = 3").await;
        (rows.len() == 2).then_some(rows)
    })
    .await;
    assert_eq!(delivered.len(), 2);
    assert!(!gateway.logged().contains("an-application-id"), "credentials are not logged");
}

async fn an_exporter_with_mistakes_is_found_by_check(world: Arc<World>) {
    let gateway = world.own_gateway(&Config::standard()).await;
    let wrong = exporter("hook", "{type: webhook, url: \"http://127.0.0.1:9/\", when: \"costs > 1\"}");
    Config::standard().with("exporters.yaml", wrong).write(&gateway.config());
    let config = gateway.config();
    let (output, _, complaint) = gateway.run(&["check", "--config", config.to_str().unwrap()]).await;
    assert!(!output.status.success());
    assert!(complaint.contains("Exporter hook") && complaint.contains("costs"), "{complaint}");
}
