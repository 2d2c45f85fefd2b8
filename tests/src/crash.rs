//! `kill -9` at any instant: whoever has read the end of an answer finds its row, once, and what was open is on the books as interrupted.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::harness::claim::{Claim, claims_of};
use crate::harness::config::Config;
use crate::harness::gateway::Gateway;
use crate::harness::ledger::Row;
use crate::harness::money::Decimal;
use crate::harness::traffic::Traffic;
use crate::harness::world::World;

pub(crate) fn claims() -> Vec<Claim> {
    claims_of![every_answered_call_has_one_row_after_kill_9, a_stream_that_was_open_is_interrupted_and_estimated]
}

const CLIENTS: usize = 8;
const ROUNDS: usize = 4;

/// Flushes constantly, so that some kills hit a flush and some a commit.
fn busy() -> Config {
    Config::standard().replacing("flush: {rows: 200, interval: 1s}", "flush: {rows: 64, interval: 200ms}")
}

pub(crate) const SEEN: &str = "SELECT call_id, outcome, seq, cost, cost_status FROM usage ORDER BY seq";

/// Checks a ledger against the answers that were read; returns how many calls were interrupted.
#[track_caller]
pub(crate) fn complete(rows: &[Row], acknowledged: &[String], clients: usize) {
    let mut outcomes: BTreeMap<&str, &str> = BTreeMap::new();
    for (place, row) in rows.iter().enumerate() {
        assert_eq!(row.int("seq"), Some(place as i64 + 1), "no row is missing or doubled");
        let twice = outcomes.insert(row.text("call_id").unwrap(), row.text("outcome").unwrap());
        assert_eq!(twice, None, "two rows of one call: {}", row.0);
    }
    for call_id in acknowledged {
        assert_eq!(outcomes.remove(call_id.as_str()), Some("ok"), "the answer of {call_id} was read, and has no row");
    }
    // What is left was open when the gateway was killed: recorded but not yet read to its end, or interrupted.
    assert!(outcomes.len() <= clients, "{} rows that nobody called for: {outcomes:?}", outcomes.len());
    assert!(outcomes.values().all(|outcome| ["ok", "interrupted", "client_aborted"].contains(outcome)), "{outcomes:?}");
}

async fn every_answered_call_has_one_row_after_kill_9(world: Arc<World>) {
    let mut gateway = world.own_gateway(&busy()).await;
    let mut acknowledged = Vec::new();
    for round in 1..=ROUNDS {
        let traffic = Traffic::start(&gateway, CLIENTS, "crash");
        traffic.reach(150 + 37 * round).await;
        gateway.kill().await;
        acknowledged.extend(traffic.stop().await);
        gateway.resume().await;
        complete(&gateway.sql(SEEN).await, &acknowledged, CLIENTS * round);
    }
    let sums = "SELECT count(*) AS calls, sum(cost) AS cost FROM usage";
    let online = gateway.sql(sums).await.remove(0);
    assert!(gateway.terminate().await.success());
    assert_eq!(gateway.sql_offline(sums).await.remove(0).0, online.0, "the same books when no gateway runs");
    complete(&gateway.sql_offline(SEEN).await, &acknowledged, CLIENTS * ROUNDS);
}

async fn a_stream_that_was_open_is_interrupted_and_estimated(world: Arc<World>) {
    let mut gateway: Gateway = world.own_gateway(&busy()).await;
    let target = crate::harness::call::Target::new(format!("{}/openai", gateway.url()), crate::harness::world::KEY);
    let call = crate::harness::call::Call::new(crate::harness::call::Api::Chat).streamed().simulate("stall_after=3");
    let mut response = crate::harness::raw::request(&reqwest::Client::new(), &call, &target).send().await.unwrap();
    let call_id = response.headers()["x-tollgate-call-id"].to_str().unwrap().to_owned();
    assert!(response.chunk().await.unwrap().is_some(), "the stream is open");
    gateway.kill().await;
    gateway.resume().await;
    let rows = gateway.sql(&format!("SELECT * FROM usage WHERE call_id = '{call_id}'")).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((rows[0].text("outcome"), rows[0].text("cost_status")), (Some("interrupted"), Some("estimated")), "{}", rows[0].0);
    assert!(rows[0].decimal("cost") > Some(Decimal::ZERO), "{}", rows[0].0);
    rows[0].adds_up();
}
