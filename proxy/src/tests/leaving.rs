//! Clients that leave: at once noticed, by the provider's rule dealt with, and always one row.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tollgate_codec::{AbortRule, Codec, Fields, Location, Locator, Template};
use tollgate_record::{Outcome, UsageSource};

use super::harness::{Memory, Running, Setup, Upstream, client_h2, frame, name, openai, provider, raw_upstream};
use crate::Provider;

const STREAM: &str =
    r#"{"model":"gpt-4o","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}"#;
const EVENT: &str = "data: {\"model\":\"gpt-4o\",\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}\n\n";
const USAGE: &str = "data: {\"model\":\"gpt-4o\",\"choices\":[],\"usage\":{\"prompt_tokens\":50,\"completion_tokens\":60}}\n\n";

/// A provider whose answers are read on without a client, since it bills them anyway.
fn draining(upstream: &Upstream) -> Provider {
    let at = |identifier: &str| {
        Some(Locator {
            location: Location::Payload,
            identifier: identifier.to_owned(),
        })
    };
    let fields = Fields {
        prompt_tokens: at("$.usage.prompt_tokens"),
        completion_tokens: at("$.usage.completion_tokens"),
        request_model: at("$.model"),
        ..Fields::default()
    };
    let template = Template::new(name("mistral"), fields, vec![], AbortRule::Drain).unwrap();
    let mut provider = provider("openai", Codec::template(template), &format!("http://{}", upstream.addr));
    provider.openai_compatible = true;
    provider
}

/// Starts a stream over HTTP/1, reads its first event, and leaves.
async fn read_one_and_leave(gateway: &Running, frames: &mpsc::Sender<Bytes>) {
    let mut socket = gateway.connect().await;
    socket.write_all(gateway.raw_chat(STREAM).as_bytes()).await.unwrap();
    frames.send(Bytes::from_static(EVENT.as_bytes())).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(5).any(|bytes| bytes == b"hello") {
        assert!(socket.read_buf(&mut answer).await.unwrap() > 0);
    }
}

#[tokio::test]
async fn a_cancelled_upstream_is_closed_and_its_work_estimated() {
    let (upstream, frames) = Upstream::stream("text/event-stream").await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    read_one_and_leave(&gateway, &frames).await;
    frames.closed().await;
    let row = gateway.ledger.row().await;
    assert_eq!(
        (row.ending.outcome, row.ending.error_type),
        (Outcome::ClientAborted, Some(name("client_left")))
    );
    assert_eq!(
        (row.ending.status_code, row.ending.response_bytes),
        (Some(200), EVENT.len() as u64)
    );
    assert_eq!(row.ending.usage.source, UsageSource::Estimated);
    assert!(row.ending.usage.input.unwrap() > 0 && row.ending.usage.output.unwrap() > 0);
}

#[tokio::test]
async fn an_upstream_that_bills_anyway_is_read_to_its_usage() {
    let (upstream, frames) = Upstream::stream("text/event-stream").await;
    let gateway = Setup::new(vec![draining(&upstream)]).start().await;
    read_one_and_leave(&gateway, &frames).await;
    frames.send(Bytes::from_static(USAGE.as_bytes())).await.unwrap();
    drop(frames);
    let row = gateway.ledger.row().await;
    assert_eq!(row.ending.outcome, Outcome::ClientAborted);
    assert_eq!((row.ending.usage.input, row.ending.usage.output), (Some(50), Some(60)));
    assert_eq!(row.ending.usage.source, UsageSource::Reported);
    assert_eq!(row.ending.response_bytes, EVENT.len() as u64, "what is read on is not sent");
}

#[tokio::test]
async fn reading_on_is_bounded_in_bytes_and_time() {
    for (bytes_max, time) in [(10, Duration::from_secs(3600)), (u64::MAX, Duration::from_millis(50))] {
        let (upstream, frames) = Upstream::stream("text/event-stream").await;
        let mut setup = Setup::new(vec![draining(&upstream)]);
        setup.limits.abandoned_bytes_max = bytes_max;
        setup.limits.abandoned_read = time;
        let gateway = setup.start().await;
        read_one_and_leave(&gateway, &frames).await;
        let _ = frames.send(Bytes::from_static(EVENT.as_bytes())).await;
        frames.closed().await;
        assert_eq!(gateway.ledger.row().await.ending.outcome, Outcome::ClientAborted);
    }
}

#[tokio::test]
async fn a_reset_http2_stream_leaves_the_others_alone() {
    let (upstream, frames) = Upstream::stream("text/event-stream").await;
    let other = Upstream::json(http::StatusCode::OK, "{}").await;
    let mut second = openai(other.addr);
    (second.name, second.context) = (name("second"), "/second".to_owned());
    let gateway = Setup::new(vec![openai(upstream.addr), second]).start().await;
    let client = client_h2();
    let mut body = client
        .request(gateway.chat("/openai/v1/chat/completions", STREAM))
        .await
        .unwrap()
        .into_body();
    frames.send(Bytes::from_static(EVENT.as_bytes())).await.unwrap();
    frame(&mut body).await.unwrap().unwrap();
    drop(body);
    frames.closed().await;
    assert_eq!(gateway.ledger.row().await.ending.outcome, Outcome::ClientAborted);
    let answer = client
        .request(gateway.chat("/second/v1/chat/completions", STREAM))
        .await
        .unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "{}");
}

/// An upstream that never answers, and says when its connection was opened and closed.
async fn mute() -> (std::net::SocketAddr, mpsc::UnboundedReceiver<&'static str>) {
    let (tx, rx) = mpsc::unbounded_channel();
    let addr = raw_upstream(move |mut socket| {
        let tx = tx.clone();
        async move {
            let mut buffer = vec![0; 65536];
            assert!(socket.read(&mut buffer).await.unwrap() > 0);
            tx.send("asked").unwrap();
            while socket.read(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {}
            tx.send("closed").unwrap();
        }
    })
    .await;
    (addr, rx)
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_cancels_the_upstream() {
    let (addr, mut events) = mute().await;
    let gateway = Setup::new(vec![openai(addr)]).start().await;
    let mut socket = gateway.connect().await;
    socket.write_all(gateway.raw_chat(STREAM).as_bytes()).await.unwrap();
    assert_eq!(events.recv().await, Some("asked"));
    drop(socket);
    assert_eq!(events.recv().await, Some("closed"));
    let row = gateway.ledger.row().await;
    assert_eq!((row.ending.outcome, row.ending.status_code), (Outcome::ClientAborted, None));
    assert_eq!(row.ending.usage.source, UsageSource::Estimated);
    assert!(row.ending.usage.input.unwrap() > 0, "the upstream may bill what it was sent");
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_is_read_on_for() {
    let (release, released) = tokio::sync::watch::channel(false);
    let mut upstream = Upstream::start(move |_| {
        let mut released = released.clone();
        Box::pin(async move {
            released.wait_for(|released| *released).await.unwrap();
            super::harness::json(
                http::StatusCode::OK,
                r#"{"usage":{"prompt_tokens":50,"completion_tokens":60}}"#,
            )
        })
    })
    .await;
    let gateway = Setup::new(vec![draining(&upstream)]).start().await;
    let mut socket = gateway.connect().await;
    socket.write_all(gateway.raw_chat(STREAM).as_bytes()).await.unwrap();
    upstream.next().await;
    drop(socket);
    while gateway.handle.calls_abandoned() == 0 {
        tokio::task::yield_now().await;
    }
    release.send(true).unwrap();
    let row = gateway.ledger.row().await;
    assert_eq!((row.ending.outcome, row.ending.status_code), (Outcome::ClientAborted, None));
    assert_eq!((row.ending.usage.input, row.ending.usage.output), (Some(50), Some(60)));
    assert_eq!(row.ending.response_bytes, 0);
}

#[tokio::test]
async fn a_client_that_leaves_while_its_call_is_admitted_asks_no_upstream() {
    let mut upstream = Upstream::json(http::StatusCode::OK, "{}").await;
    let mut setup = Setup::new(vec![openai(upstream.addr)]);
    setup.ledger = Memory::gated(0, 9);
    let gateway = setup.start().await;
    let mut socket = gateway.connect().await;
    socket.write_all(gateway.raw_chat(STREAM).as_bytes()).await.unwrap();
    gateway
        .ledger
        .admitting
        .subscribe()
        .wait_for(|calls| *calls == 1)
        .await
        .unwrap();
    drop(socket);
    while gateway.handle.calls_abandoned() == 0 {
        tokio::task::yield_now().await;
    }
    gateway.ledger.admit_gate.add_permits(1);
    let row = gateway.ledger.row().await;
    assert_eq!(
        (row.ending.outcome, row.ending.usage.source),
        (Outcome::ClientAborted, UsageSource::None)
    );
    assert!(!upstream.was_asked());
}

#[tokio::test]
async fn a_client_that_leaves_in_its_upload_leaves_a_row() {
    let mut upstream = Upstream::json(http::StatusCode::OK, "{}").await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    let mut socket = gateway.connect().await;
    let chat = gateway.raw_chat(STREAM);
    socket.write_all(&chat.as_bytes()[..chat.len() - 10]).await.unwrap();
    socket.flush().await.unwrap();
    while gateway.handle.calls_open() == 0 {
        tokio::task::yield_now().await;
    }
    drop(socket);
    let row = gateway.ledger.row().await;
    assert!(row.refused);
    assert_eq!((row.ending.outcome, row.ending.status_code), (Outcome::ClientAborted, None));
    assert!(!upstream.was_asked());
}

#[tokio::test]
async fn a_client_that_leaves_at_the_very_end_has_its_whole_row() {
    let (upstream, frames) = Upstream::stream("text/event-stream").await;
    let mut setup = Setup::new(vec![openai(upstream.addr)]);
    setup.ledger = Memory::gated(9, 0);
    let gateway = setup.start().await;
    let mut socket = gateway.connect().await;
    socket.write_all(gateway.raw_chat(STREAM).as_bytes()).await.unwrap();
    frames.send(Bytes::from_static(USAGE.as_bytes())).await.unwrap();
    frames.send(Bytes::from_static(b"data: [DONE]\n\n")).await.unwrap();
    gateway.ledger.first_settling().await;
    drop(socket);
    while gateway.handle.calls_open() > 0 {
        tokio::task::yield_now().await;
    }
    gateway.ledger.settle_gate.add_permits(1);
    let row = gateway.ledger.row().await;
    assert_eq!((row.ending.outcome, row.ending.usage.output), (Outcome::Ok, Some(60)));
}
