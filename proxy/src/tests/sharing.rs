//! Budgets that several gateways share: a call waits until more of one is granted, and is asked about again.

use std::collections::VecDeque;
use std::sync::Mutex;

use http::StatusCode;
use tollgate_record::admission::{Admission, NotShared, Pending, Permit, Refusal, Unshared};
use tollgate_record::{Decision, Outcome};

use super::harness::{Running, Setup, Upstream, client, error_code, name, openai};

const CHAT: &str = "/openai/v1/chat/completions";
const BODY: &str = r#"{"model":"gpt-x","messages":[]}"#;

fn pending() -> Admission {
    Err(Refusal::Pending(Pending {
        budget: name("growth"),
        tickets: vec![(1, 1)],
    }))
}

/// Gives these answers in turn; a call that asks once more fails the test.
fn answers(gateway: &Running, all: Vec<Admission>) {
    let all = Mutex::new(VecDeque::from(all));
    gateway
        .ledger
        .reserves(move |_, _| all.lock().unwrap().pop_front().expect("an answer is left"));
}

#[tokio::test]
async fn a_call_waits_for_its_share_and_passes() {
    let mut upstream = Upstream::json(StatusCode::OK, "{}").await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    let decided = Decision {
        policy: "budget:growth".into(),
        action: "clamp".into(),
        detail: None,
    };
    let permit = Permit {
        decisions: vec![decided.clone()],
        ..Permit::free()
    };
    answers(&gateway, vec![pending(), pending(), Ok(permit)]);
    let answer = tokio::spawn(client().request(gateway.chat(CHAT, BODY)));
    let mut waits = gateway.ledger.granting.subscribe();
    waits.wait_for(|waits| *waits == 1).await.unwrap();
    assert!(!upstream.was_asked() && !answer.is_finished() && gateway.ledger.rows().is_empty());
    gateway.ledger.grant_gate.add_permits(1);
    waits.wait_for(|waits| *waits == 2).await.unwrap();
    assert!(!upstream.was_asked());
    gateway.ledger.grant_gate.add_permits(1);
    assert_eq!(answer.await.unwrap().unwrap().status(), StatusCode::OK);
    upstream.next().await;
    assert_eq!(gateway.ledger.row().await.ending.decisions, [decided]);
}

#[tokio::test]
async fn a_call_does_not_wait_for_ever() {
    let mut upstream = Upstream::json(StatusCode::OK, "{}").await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    gateway.ledger.grant_gate.add_permits(9);
    answers(&gateway, vec![pending(), pending(), pending(), pending()]);
    let (head, body) = gateway.call(gateway.chat(CHAT, BODY)).await;
    assert_eq!(
        (head.status, error_code(&body).as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "budget_unavailable")
    );
    assert_eq!(head.headers["retry-after"], "1");
    assert!(!head.headers.contains_key("x-should-retry"));
    assert_eq!(*gateway.ledger.granting.borrow(), 3);
    let row = gateway.ledger.row().await;
    assert_eq!((row.refused, row.ending.outcome), (true, Outcome::RefusedBudget));
    assert_eq!(&*row.ending.decisions[0].policy, "budget:growth");
    assert!(!upstream.was_asked());
}

#[tokio::test]
async fn a_pool_that_is_away_is_told_as_that() {
    let gateway = Setup::new(vec![openai(([127, 0, 0, 1], 1).into())]).start().await;
    gateway.ledger.grant_gate.add_permits(9);
    let away = Refusal::Unshared(Box::new(Unshared {
        budget: name("growth"),
        why: NotShared::Away,
    }));
    answers(&gateway, vec![pending(), Err(away)]);
    let (head, body) = gateway.call(gateway.chat(CHAT, BODY)).await;
    assert_eq!(
        (head.status, error_code(&body).as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "budget_unavailable")
    );
    assert!(String::from_utf8_lossy(&body).contains("(Redis) is out of reach"));
}

#[tokio::test]
async fn a_client_that_leaves_while_its_call_waits_leaves_one_row() {
    let upstream = Upstream::json(StatusCode::OK, "{}").await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    answers(&gateway, vec![pending(), Ok(Permit::free())]);
    let answer = tokio::spawn(client().request(gateway.chat(CHAT, BODY)));
    gateway
        .ledger
        .granting
        .subscribe()
        .wait_for(|waits| *waits == 1)
        .await
        .unwrap();
    answer.abort();
    assert!(answer.await.unwrap_err().is_cancelled());
    gateway.ledger.grant_gate.add_permits(1);
    // Whether the gateway has noticed by then is chance; there is one row either way, of an admitted call.
    let row = gateway.ledger.row().await;
    assert!(!row.refused);
    assert!(matches!(row.ending.outcome, Outcome::ClientAborted | Outcome::Ok), "{row:?}");
}
