//! Nothing is served unrecorded: the ledger is asked before the upstream, and the end of an answer waits for the row.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;

use super::harness::{Memory, Setup, Upstream, error_code, frame, openai};

const CHAT: &str = r#"{"model":"m"}"#;
const STREAM: &str = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#;

#[tokio::test]
async fn the_upstream_is_not_asked_before_the_call_is_admitted() {
    let mut upstream = Upstream::json(StatusCode::OK, "{}").await;
    let mut setup = Setup::new(vec![openai(upstream.addr)]);
    setup.ledger = Memory::gated(0, 9);
    let gateway = setup.start().await;
    let request = gateway.chat("/openai/v1/chat/completions", CHAT);
    let answer = tokio::spawn(super::harness::client().request(request));
    gateway
        .ledger
        .admitting
        .subscribe()
        .wait_for(|calls| *calls == 1)
        .await
        .unwrap();
    assert!(!upstream.was_asked());
    gateway.ledger.admit_gate.add_permits(1);
    assert_eq!(answer.await.unwrap().unwrap().status(), StatusCode::OK);
    upstream.next().await;
}

#[tokio::test]
async fn a_call_that_cannot_be_recorded_is_not_served() {
    let mut upstream = Upstream::json(StatusCode::OK, "{}").await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    gateway.ledger.admit_fails.store(true, Ordering::SeqCst);
    for path in ["/openai/v1/chat/completions", "/unknown"] {
        let (head, body) = gateway.call(gateway.chat(path, CHAT)).await;
        assert_eq!(
            (head.status, error_code(&body).as_str()),
            (StatusCode::SERVICE_UNAVAILABLE, "ledger_unavailable")
        );
        assert_eq!(head.headers["retry-after"], "1");
        assert!(head.headers.contains_key("x-tollgate-call-id"));
    }
    assert!(!upstream.was_asked());
}

#[tokio::test]
async fn the_terminal_event_waits_for_the_row() {
    let (upstream, frames) = Upstream::stream("text/event-stream").await;
    let mut setup = Setup::new(vec![openai(upstream.addr)]);
    setup.ledger = Memory::gated(9, 0);
    let gateway = setup.start().await;
    let mut body = gateway
        .send(gateway.chat("/openai/v1/chat/completions", STREAM))
        .await
        .into_body();
    let usage = "data: {\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1}}\n\n";
    frames.send(Bytes::from_static(usage.as_bytes())).await.unwrap();
    assert_eq!(frame(&mut body).await.unwrap().unwrap(), usage);
    frames.send(Bytes::from_static(b"data: [DONE]\n\n")).await.unwrap();
    let end = tokio::spawn(async move { frame(&mut body).await.unwrap().unwrap() });
    gateway.ledger.first_settling().await;
    assert!(!end.is_finished() && gateway.ledger.rows().is_empty());
    gateway.ledger.settle_gate.add_permits(1);
    assert_eq!(end.await.unwrap(), "data: [DONE]\n\n");
    assert_eq!(gateway.ledger.rows().len(), 1);
}

#[tokio::test]
async fn the_last_byte_of_a_known_length_waits_for_the_row() {
    let bytes: &'static str = Box::leak("z".repeat(100_000).into_boxed_str());
    let upstream = Upstream::start(move |_| {
        Box::pin(async move {
            let mut answer = super::harness::json(StatusCode::OK, bytes);
            answer
                .headers_mut()
                .insert("content-type", http::HeaderValue::from_static("audio/mpeg"));
            answer
        })
    })
    .await;
    let mut setup = Setup::new(vec![openai(upstream.addr)]);
    setup.ledger = Memory::gated(9, 0);
    let gateway = setup.start().await;
    let body = gateway.send(gateway.chat("/openai/v1/audio/speech", CHAT)).await.into_body();
    let whole = tokio::spawn(body.collect());
    gateway.ledger.first_settling().await;
    assert!(!whole.is_finished() && gateway.ledger.rows().is_empty());
    gateway.ledger.settle_gate.add_permits(1);
    assert_eq!(whole.await.unwrap().unwrap().to_bytes().len(), bytes.len());
    assert_eq!(gateway.ledger.rows().len(), 1);
}

#[tokio::test]
async fn a_stream_whose_row_cannot_be_written_ends_as_an_error() {
    let (upstream, frames) = Upstream::stream("text/event-stream").await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    gateway.ledger.settle_fails.store(true, Ordering::SeqCst);
    let mut body = gateway
        .send(gateway.chat("/openai/v1/chat/completions", STREAM))
        .await
        .into_body();
    frames.send(Bytes::from_static(b"data: [DONE]\n\n")).await.unwrap();
    drop(frames);
    assert!(frame(&mut body).await.unwrap().is_err());
}

#[tokio::test]
async fn an_answer_whose_row_cannot_be_written_is_withheld() {
    let upstream = Upstream::json(StatusCode::OK, r#"{"secret":1}"#).await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    gateway.ledger.settle_fails.store(true, Ordering::SeqCst);
    let (head, body) = gateway.call(gateway.chat("/openai/v1/chat/completions", CHAT)).await;
    assert_eq!(
        (head.status, error_code(&body).as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "ledger_unavailable")
    );
}
