//! Shutdown in order: calls in flight end, or are cut at the deadline; either way each has its row before `run` returns.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tollgate_record::Outcome;

use super::harness::{Setup, Upstream, client_h2, frame, name, openai};
use crate::Drained;

const STREAM: &str = r#"{"model":"gpt-4o","stream":true,"stream_options":{"include_usage":true}}"#;
const END: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n";

#[tokio::test]
async fn calls_in_flight_end_and_idle_connections_close() {
    for h2 in [false, true] {
        let (upstream, frames) = Upstream::stream("text/event-stream").await;
        let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
        let client = if h2 { client_h2() } else { super::harness::client() };
        let answer = client
            .request(gateway.chat("/openai/v1/chat/completions", STREAM))
            .await
            .unwrap();
        let mut idle = gateway.connect().await;
        gateway.shutdown.cancel();
        assert_eq!(idle.read(&mut [0]).await.unwrap_or(0), 0);
        assert!(
            TcpStream::connect(gateway.addr).await.is_err(),
            "nothing is accepted any more"
        );
        frames.send(Bytes::from_static(END.as_bytes())).await.unwrap();
        drop(frames);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), END);
        assert_eq!(gateway.ended.await.unwrap(), Drained { calls_cut: 0 });
        assert_eq!(gateway.ledger.row().await.ending.outcome, Outcome::Ok);
    }
}

#[tokio::test]
async fn what_runs_at_the_deadline_is_cut_and_has_its_row() {
    for h2 in [false, true] {
        let (upstream, frames) = Upstream::stream("text/event-stream").await;
        let mut setup = Setup::new(vec![openai(upstream.addr)]);
        setup.limits.shutdown = Duration::from_millis(50);
        let gateway = setup.start().await;
        let client = if h2 { client_h2() } else { super::harness::client() };
        let mut body = client
            .request(gateway.chat("/openai/v1/chat/completions", STREAM))
            .await
            .unwrap()
            .into_body();
        gateway.shutdown.cancel();
        assert_eq!(gateway.ended.await.unwrap(), Drained { calls_cut: 1 });
        let rows = gateway.ledger.rows();
        assert_eq!(rows.len(), 1);
        assert_eq!(
            (rows[0].ending.outcome, rows[0].ending.error_type.clone()),
            (Outcome::Interrupted, Some(name("gateway_shutdown")))
        );
        assert!(frame(&mut body).await.unwrap().is_err());
        frames.closed().await;
    }
}

#[tokio::test]
async fn an_abandoned_call_is_waited_for() {
    let (upstream, frames) = Upstream::stream("text/event-stream").await;
    let mut setup = Setup::new(vec![openai(upstream.addr)]);
    setup.ledger = super::harness::Memory::gated(9, 0);
    let gateway = setup.start().await;
    let mut socket = gateway.connect().await;
    socket.write_all(gateway.raw_chat(STREAM).as_bytes()).await.unwrap();
    assert!(socket.read(&mut [0; 64]).await.unwrap() > 0);
    drop(socket);
    frames.closed().await;
    gateway.ledger.first_settling().await;
    gateway.shutdown.cancel();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!gateway.ended.is_finished());
    gateway.ledger.settle_gate.add_permits(1);
    gateway.ended.await.unwrap();
    assert_eq!(gateway.ledger.row().await.ending.outcome, Outcome::ClientAborted);
}
