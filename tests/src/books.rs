//! As many rows as calls, as much money as charges, whatever happens at once.

use std::sync::Arc;

use crate::harness::call::{Api, Call};
use crate::harness::claim::{Claim, claims_of};
use crate::harness::money::Decimal;
use crate::harness::raw;
use crate::harness::sdk::Language;
use crate::harness::usage::Tokens;
use crate::harness::world::World;

pub(crate) fn claims() -> Vec<Claim> {
    claims_of![two_hundred_calls_at_once_leave_two_hundred_rows, a_row_is_there_when_its_answer_has_been_read]
}

async fn two_hundred_calls_at_once_leave_two_hundred_rows(world: Arc<World>) {
    const CALLS: usize = 200;
    let session = world.session();
    let calls = (0..CALLS).map(|number| {
        let (world, session) = (&world, &session);
        async move {
            let api = Api::ALL[number % 5];
            let language = Language::ALL[number / 5 % 2];
            let stream = number / 10 % 2 == 1 && api != Api::Embeddings;
            let told = format!("id={session}; input={}", 1000 + number);
            let call = Call::new(api).streamed_if(stream).with_usage().simulate(told);
            let reply = world.sdk(language).await.call(call.order(&world.through(api, session).await)).await;
            assert_eq!(reply.error, None);
            Tokens::of(api, &reply.usage.unwrap()).cost(api.provider(), &[api.model()], None)
        }
    });
    let expected: Decimal = futures::future::join_all(calls).await.into_iter().sum();
    let sums = format!("SELECT count(*) AS calls, count(DISTINCT call_id) AS ids, sum(cost) AS cost FROM usage WHERE session_id = '{session}'");
    let sums = world.gateway().await.sql(&sums).await.remove(0);
    assert_eq!((sums.int("calls"), sums.int("ids")), (Some(CALLS as i64), Some(CALLS as i64)));
    assert_eq!(sums.decimal("cost"), Some(expected));
    let url = format!("{}/simulator/requests?id={session}", world.stage().await.simulator);
    let seen = raw::send(reqwest::Client::new().get(url)).await.json();
    assert_eq!(seen["requests"], CALLS, "the provider was called once a row: {seen}");
}

/// No waiting: the last byte of an answer comes after its row is written.
async fn a_row_is_there_when_its_answer_has_been_read(world: Arc<World>) {
    let client = reqwest::Client::new();
    for number in 0..50 {
        let session = world.session();
        let api = Api::TEXT[number % 4];
        let call = Call::new(api).streamed_if(number % 2 == 0);
        let answer = raw::send(raw::request(&client, &call, &world.through(api, &session).await)).await;
        assert_eq!((answer.status, &answer.broken), (200, &None));
        assert_eq!(world.gateway().await.session(&session).await.len(), 1, "{api:?}");
    }
}
