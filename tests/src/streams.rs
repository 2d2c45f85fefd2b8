//! Streams that do not end well: the application is told, and the row says what happened and costs what was generated.

use std::sync::Arc;
use std::time::Duration;

use crate::harness::call::{Api, Call};
use crate::harness::claim::{Claim, claims_of};
use crate::harness::ledger::{Row, priced};
use crate::harness::money::Decimal;
use crate::harness::raw;
use crate::harness::sdk::Language;
use crate::harness::usage::Tokens;
use crate::harness::world::World;

pub(crate) fn claims() -> Vec<Claim> {
    let mut all = Vec::new();
    for language in Language::ALL {
        for api in Api::TEXT {
            let name = format!("{}_{}_raises_when_the_provider_breaks_off", language.name(), api.name());
            all.push(Claim::new(name, move |world| broken_off(world, language, api)));
            let name = format!("{}_{}_that_the_application_leaves_costs_what_was_generated", language.name(), api.name());
            all.push(Claim::new(name, move |world| left(world, language, api)));
        }
        let name = format!("{}_raises_for_an_error_inside_a_stream", language.name());
        all.push(Claim::new(name, move |world| error_inside(world, language)));
    }
    all.extend(claims_of![a_buffered_answer_that_breaks_off_is_no_success, a_client_that_leaves_before_a_stream_begins_has_an_estimated_row,
        a_client_that_leaves_before_a_buffered_answer_pays_what_it_cost]);
    all
}

#[track_caller]
fn estimated(row: &Row) {
    assert_eq!((row.text("usage_source"), row.text("cost_status")), (Some("estimated"), Some("estimated")), "{}", row.0);
    assert!(row.decimal("cost") > Some(Decimal::ZERO), "{}", row.0);
    assert!(row.int("input_tokens") > Some(0), "{}", row.0);
    row.adds_up();
}

async fn broken_off(world: Arc<World>, language: Language, api: Api) {
    for cut in ["cut=reset", "cut=close"] {
        let call = Call::new(api).streamed().simulate("cut_after=8; chunks=40").simulate(cut);
        let session = world.session();
        let reply = world.sdk(language).await.call(call.order(&world.through(api, &session).await)).await;
        assert!(reply.error.is_some(), "a stream that broke off must not look finished: {reply:?}");
        let row = world.one_row_soon(&session).await;
        assert_eq!((row.text("outcome"), row.int("status_code")), (Some("upstream_cut"), Some(200)), "{}", row.0);
        estimated(&row);
        assert!(row.int("output_tokens") > Some(0), "what was generated is billed: {}", row.0);
    }
}

async fn left(world: Arc<World>, language: Language, api: Api) {
    let session = world.session();
    let told = format!("chunks=400; tps=100; id={session}");
    let call = Call::new(api).streamed().simulate(told).abort_after(8);
    let reply = world.sdk(language).await.call(call.order(&world.through(api, &session).await)).await;
    assert_eq!((reply.error, reply.finish.as_deref()), (None, Some("aborted")));
    let row = world.one_row_soon(&session).await;
    assert_eq!(row.text("outcome"), Some("client_aborted"), "{}", row.0);
    estimated(&row);
    assert!(row.int("output_tokens") > Some(0) && row.int("output_tokens") < Some(400), "{}", row.0);
    // Both providers stop generating when they are left, so they are.
    let url = format!("{}/simulator/requests?id={session}&until=closed_early:1&within_ms=10000", world.stage().await.simulator);
    let seen = raw::send(reqwest::Client::new().get(url)).await.json();
    assert_eq!((&seen["requests"], &seen["closed_early"]), (&1.into(), &1.into()), "{seen}");
}

async fn error_inside(world: Arc<World>, language: Language) {
    for api in [Api::Chat, Api::Responses, Api::Messages] {
        let call = Call::new(api).streamed().simulate("error_after=6; chunks=40");
        let (session, sdk) = (world.session(), world.sdk(language).await);
        let through = sdk.call(call.order(&world.through(api, &session).await)).await;
        // It leaves at the error, which is not the end of the stream.
        let row = world.one_row_soon(&session).await;
        let direct = sdk.call(call.order(&world.simulator().await)).await;
        assert_eq!(through.error, direct.error, "{api:?}");
        assert_eq!(through.text, direct.text);
        assert!(matches!(row.text("outcome"), Some("upstream_error" | "upstream_cut")), "{}", row.0);
        estimated(&row);
    }
}

async fn a_buffered_answer_that_breaks_off_is_no_success(world: Arc<World>) {
    for language in Language::ALL {
        for cut in ["cut=reset", "cut=close"] {
            let call = Call::new(Api::Chat).simulate("cut_at=100").simulate(cut);
            let session = world.session();
            let reply = world.sdk(language).await.call(call.order(&world.through(Api::Chat, &session).await)).await;
            assert!(reply.error.is_some(), "{reply:?}");
            let row = world.one_row_soon(&session).await;
            assert_eq!(row.text("outcome"), Some("upstream_cut"), "{}", row.0);
            estimated(&row);
        }
    }
}

/// Gives up on a call after 300 ms, before any of its answer is there, and returns its row.
async fn given_up(world: &World, call: &Call) -> Row {
    let session = world.session();
    let client = reqwest::Client::builder().timeout(Duration::from_millis(300)).build().unwrap();
    let sent = raw::request(&client, call, &world.through(call.api, &session).await).send().await;
    assert!(sent.is_err(), "it gave up");
    let row = world.one_row_soon(&session).await;
    assert_eq!(row.text("outcome"), Some("client_aborted"), "{}", row.0);
    row
}

async fn a_client_that_leaves_before_a_stream_begins_has_an_estimated_row(world: Arc<World>) {
    for api in [Api::Chat, Api::Messages] {
        estimated(&given_up(&world, &Call::new(api).streamed().simulate("delay_ms=60000")).await);
    }
}

/// A provider finishes an answer that it does not stream, and bills all of it: the gateway waits for what it says.
async fn a_client_that_leaves_before_a_buffered_answer_pays_what_it_cost(world: Arc<World>) {
    for api in [Api::Chat, Api::Messages] {
        let call = Call::new(api).simulate("delay_ms=1500; input=1000; output=77");
        let row = given_up(&world, &call).await;
        assert_eq!((row.text("usage_source"), row.int("input_tokens"), row.int("output_tokens")), (Some("reported"), Some(1000), Some(77)));
        priced(&row, &call, &Tokens { input: Some(1000), output: Some(77), ..Tokens::default() });
    }
}
