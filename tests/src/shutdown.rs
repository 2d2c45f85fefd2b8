//! SIGTERM: no new calls, open ones end well, all of them are on the books, exit code 0.

use std::sync::Arc;

use crate::harness::call::{Api, Call, Target};
use crate::harness::claim::{Claim, claims_of};
use crate::harness::config::Config;
use crate::harness::raw;
use crate::harness::sdk::Language;
use crate::harness::traffic::Traffic;
use crate::harness::world::{KEY, World};

pub(crate) fn claims() -> Vec<Claim> {
    claims_of![open_calls_end_well_and_all_are_recorded, traffic_loses_no_row, a_call_that_does_not_end_does_not_hold_it_up_for_ever]
}

async fn open_calls_end_well_and_all_are_recorded(world: Arc<World>) {
    let mut gateway = world.own_gateway(&Config::standard()).await;
    let session = world.session();
    let mut streams = tokio::task::JoinSet::new();
    for number in 0..8 {
        let (world, session, url) = (world.clone(), session.clone(), gateway.url());
        streams.spawn(async move {
            let api = Api::TEXT[number % 4];
            let target = Target::new(format!("{url}/{}", api.provider()), KEY).header("x-tollgate-session", &session);
            let call = Call::new(api).streamed().simulate(format!("chunks=48; tps=24; id={session}"));
            world.sdk(Language::ALL[number / 4]).await.call(call.order(&target)).await
        });
    }
    // All eight have reached the provider, and each takes two seconds from then on.
    let seen = format!("{}/simulator/requests?id={session}&until=requests:8&within_ms=20000", world.stage().await.simulator);
    assert_eq!(raw::send(reqwest::Client::new().get(seen)).await.json()["requests"], 8);
    gateway.ask_to_stop().await;
    while let Some(reply) = streams.join_next().await {
        let reply = reply.unwrap();
        assert_eq!(reply.error, None, "a stream that was open was broken off");
        assert!(matches!(reply.finish.as_deref(), Some("stop" | "end_turn" | "completed")), "{reply:?}");
    }
    let status = gateway.ended().await;
    assert_eq!(status.code(), Some(0));
    let rows = gateway.sql_offline("SELECT outcome, count(*) AS calls FROM usage GROUP BY outcome").await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((rows[0].text("outcome"), rows[0].int("calls")), (Some("ok"), Some(8)));
}

async fn traffic_loses_no_row(world: Arc<World>) {
    let mut gateway = world.own_gateway(&Config::standard()).await;
    let traffic = Traffic::start(&gateway, 8, "shutdown");
    traffic.reach(300).await;
    gateway.ask_to_stop().await;
    let acknowledged = traffic.stop().await;
    assert_eq!(gateway.ended().await.code(), Some(0));
    let rows = gateway.sql_offline("SELECT call_id, outcome FROM usage").await;
    let recorded: std::collections::BTreeSet<&str> = rows.iter().filter_map(|row| row.text("call_id")).collect();
    assert_eq!(recorded.len(), rows.len(), "a call has two rows");
    let missing: Vec<_> = acknowledged.iter().filter(|call_id| !recorded.contains(call_id.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(rows.iter().all(|row| row.text("outcome") == Some("ok")), "{rows:?}");
}

async fn a_call_that_does_not_end_does_not_hold_it_up_for_ever(world: Arc<World>) {
    let mut gateway = world.own_gateway(&Config::standard().replacing("shutdown: 20s", "shutdown: 500ms")).await;
    let target = Target::new(format!("{}/openai", gateway.url()), KEY);
    let call = Call::new(Api::Chat).streamed().simulate("stall_after=3");
    let mut response = raw::request(&reqwest::Client::new(), &call, &target).send().await.unwrap();
    let call_id = response.headers()["x-tollgate-call-id"].to_str().unwrap().to_owned();
    assert!(response.chunk().await.unwrap().is_some(), "the stream is open");
    assert_eq!(gateway.terminate().await.code(), Some(0));
    let rows = gateway.sql_offline(&format!("SELECT outcome, cost_status FROM usage WHERE call_id = '{call_id}'")).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_ne!(rows[0].text("outcome"), Some("ok"), "it did not end well");
    assert_eq!(rows[0].text("cost_status"), Some("estimated"));
}
