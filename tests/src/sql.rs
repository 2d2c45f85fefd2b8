//! SQL over HTTP: read-only, for those who may, with answers that do not lose digits, and errors that help.

use std::sync::Arc;

use crate::harness::call::{Api, Call};
use crate::harness::claim::{Claim, claims_of};
use crate::harness::raw;
use crate::harness::sdk::Language;
use crate::harness::world::{KEY, World};

pub(crate) fn claims() -> Vec<Claim> {
    claims_of![
        only_the_admin_token_may_ask,
        statements_that_change_or_reach_out_are_refused,
        an_error_names_what_is_wrong_and_what_was_meant,
        costs_are_strings_and_chargeback_is_one_query,
        attempts_of_one_request_are_one_row_of_requests,
        the_prices_that_were_applied_can_be_looked_up,
        the_tables_files_can_be_looked_up,
        a_version_reads_the_same_and_hours_add_up_to_the_calls,
    ]
}

async fn only_the_admin_token_may_ask(world: Arc<World>) {
    let gateway = world.gateway().await;
    let client = reqwest::Client::new();
    let ask = |request: reqwest::RequestBuilder| request.header("content-type", "application/json").body("{\"sql\": \"SELECT 1 AS one\"}");
    assert_eq!(raw::send(ask(client.post(gateway.sql_url()))).await.status, 401);
    for token in ["wrong", KEY] {
        assert_eq!(raw::send(ask(client.post(gateway.sql_url()).bearer_auth(token))).await.status, 401, "{token}");
    }
    let answer = raw::send(ask(client.post(gateway.sql_url()).bearer_auth(gateway.token()))).await;
    assert_eq!((answer.status, answer.json()), (200, serde_json::json!([{"one": 1}])));
}

async fn statements_that_change_or_reach_out_are_refused(world: Arc<World>) {
    let gateway = world.gateway().await;
    for statement in [
        "DELETE FROM usage",
        "INSERT INTO usage SELECT * FROM usage",
        "UPDATE usage SET cost = 0",
        "DROP TABLE usage",
        "CREATE TABLE mine AS SELECT 1",
        "CREATE EXTERNAL TABLE passwd STORED AS CSV LOCATION '/etc/passwd'",
        "COPY usage TO '/tmp/usage.csv'",
        "SELECT * FROM '/etc/passwd'",
        "SET datafusion.execution.batch_size = 1",
        "SELECT 1; SELECT 2",
    ] {
        let (status, _, body) = gateway.sql_as(statement, "application/json").await;
        assert_eq!(status, 400, "{statement}: {}", String::from_utf8_lossy(&body));
        let error: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert!(error["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
    }
}

async fn an_error_names_what_is_wrong_and_what_was_meant(world: Arc<World>) {
    let gateway = world.gateway().await;
    for (statement, hint) in [("SELECT tema FROM usage", "team"), ("SELECT * FROM usge", "usge"), ("SELEC 1", "SELEC")] {
        let (status, _, body) = gateway.sql_as(statement, "application/json").await;
        let text = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(status, 400, "{text}");
        assert!(text.contains(hint), "{statement}: {text}");
    }
}

async fn costs_are_strings_and_chargeback_is_one_query(world: Arc<World>) {
    let (_, row, _) = world.both(Language::Python, &Call::new(Api::Chat)).await;
    let gateway = world.gateway().await;
    let session = row.text("session_id").unwrap();
    let query = format!("SELECT team, sum(cost) AS cost FROM usage WHERE session_id = '{session}' GROUP BY team");
    let (_, _, body) = gateway.sql_as(&query, "application/json").await;
    let expected = format!("[{{\"team\":\"growth\",\"cost\":\"{}\"}}]", row.decimal("cost").unwrap());
    let told: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(told, serde_json::from_str::<serde_json::Value>(&expected).unwrap());
}

async fn attempts_of_one_request_are_one_row_of_requests(world: Arc<World>) {
    let (_, row, _) = world.both(Language::JavaScript, &Call::new(Api::Messages)).await;
    let query = format!("SELECT * FROM requests WHERE request_id = '{}'", row.text("request_id").unwrap());
    let rows = world.gateway().await.sql(&query).await;
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].int("attempts"), rows[0].text("call_id")), (Some(1), row.text("call_id")));
}

async fn the_prices_that_were_applied_can_be_looked_up(world: Arc<World>) {
    let rows = world.gateway().await.sql("SELECT * FROM prices WHERE model = 'ledger-large' AND meter = 'input'").await;
    assert_eq!(rows.len(), 4, "standard, long context, flex, batch: {rows:?}");
}

async fn a_version_reads_the_same_and_hours_add_up_to_the_calls(world: Arc<World>) {
    let gateway = world.gateway().await;
    world.sdk(Language::Python).await.call(Call::new(Api::Chat).order(&world.through(Api::Chat, "versions").await)).await;
    let limit = std::time::Duration::from_secs(20);
    let version = crate::harness::process::eventually("a version has rows", limit, || async {
        let rows = gateway.sql("SELECT max(version) AS version FROM versions WHERE rows_added > 0").await;
        rows[0].int("version")
    })
    .await;
    let pinned = format!("SELECT count(*) AS calls, sum(cost) AS cost FROM usage_at({version})");
    let before = gateway.sql(&pinned).await.remove(0);
    assert!(before.int("calls").unwrap() > 0);
    world.sdk(Language::Python).await.call(Call::new(Api::Chat).order(&world.through(Api::Chat, "versions").await)).await;
    let after = gateway.sql(&pinned).await.remove(0);
    assert_eq!((after.int("calls"), after.decimal("cost")), (before.int("calls"), before.decimal("cost")));
    // One statement is one snapshot, also while other tests call.
    let both = "SELECT h.calls AS hours, u.calls AS calls, h.cost AS hours_cost, u.cost AS cost FROM \
                (SELECT sum(calls + corrections) AS calls, sum(cost) AS cost FROM usage_hourly) h CROSS JOIN \
                (SELECT count(*) AS calls, sum(cost) AS cost FROM usage) u";
    let both = gateway.sql(both).await.remove(0);
    assert_eq!((both.int("hours"), both.decimal("hours_cost")), (both.int("calls"), both.decimal("cost")));
    let (status, _, body) = gateway.sql_as("SELECT * FROM usage_at(1000000)", "application/json").await;
    let text = String::from_utf8_lossy(&body).into_owned();
    assert!(status == 400 && text.contains("there are versions 0 to"), "{text}");
}

async fn the_tables_files_can_be_looked_up(world: Arc<World>) {
    let gateway = world.gateway().await;
    for _ in 0..50 {
        world.sdk(Language::JavaScript).await.call(Call::new(Api::Chat).order(&world.through(Api::Chat, "files").await)).await;
    }
    let limit = std::time::Duration::from_secs(20);
    crate::harness::process::eventually("the table has a file", limit, || async {
        (!gateway.sql("SELECT * FROM files").await.is_empty()).then_some(())
    })
    .await;
}
