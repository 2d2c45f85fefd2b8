//! Slow clients, floods and clients that never read: each is bounded.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tollgate_record::Outcome;

use super::harness::{SECRET, Setup, Upstream, client_h2, error_code, frame, name, openai};

const SHORT: Duration = Duration::from_millis(50);
const STREAM: &str = r#"{"model":"gpt-4o","stream":true}"#;

fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9))
}

#[tokio::test]
async fn a_connection_that_sends_no_head_is_closed() {
    for first in ["", "P", "PR", "GET / HTTP/1.1\r\nhost:"] {
        let mut setup = Setup::new(vec![openai(nowhere())]);
        setup.limits.header_read = SHORT;
        let gateway = setup.start().await;
        let mut socket = gateway.connect().await;
        socket.write_all(first.as_bytes()).await.unwrap();
        assert_eq!(socket.read(&mut [0; 64]).await.unwrap_or(0), 0, "{first:?}");
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let upstream = Upstream::json(StatusCode::OK, "{}").await;
    let mut setup = Setup::new(vec![openai(upstream.addr)]);
    setup.limits.keep_alive_idle = SHORT;
    let gateway = setup.start().await;
    let mut socket = gateway.connect().await;
    socket.write_all(gateway.raw_chat(STREAM).as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    assert!(answer.ends_with(b"{}"));
}

#[tokio::test]
async fn a_slow_upload_is_a_408() {
    let mut setup = Setup::new(vec![openai(nowhere())]);
    setup.limits.request_body_read = SHORT;
    let gateway = setup.start().await;
    let mut socket = gateway.connect().await;
    let chat = gateway.raw_chat(STREAM);
    socket.write_all(&chat.as_bytes()[..chat.len() - 10]).await.unwrap();
    let mut answer = vec![0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 408");
    let row = gateway.ledger.row().await;
    assert_eq!(
        (row.ending.outcome, row.ending.error_type),
        (Outcome::RefusedPolicy, Some(name("body_timeout")))
    );
    assert_eq!(row.intent.request_bytes, STREAM.len() as u64 - 10);
}

#[tokio::test]
async fn too_large_a_head_is_a_431() {
    let mut setup = Setup::new(vec![openai(nowhere())]);
    setup.limits.header_bytes_max = 8192;
    setup.limits.header_count_max = 20;
    let gateway = setup.start().await;
    let mut long = gateway.chat("/openai/v1/models", "");
    long.headers_mut()
        .insert("x-long", HeaderValue::from_str(&"x".repeat(9000)).unwrap());
    let mut many = gateway.chat("/openai/v1/models", "");
    for _ in 0..20 {
        many.headers_mut().append("x-many", HeaderValue::from_static("1"));
    }
    for request in [long, many] {
        let (head, body) = gateway.call(request).await;
        assert_eq!((head.status.as_u16(), error_code(&body).as_str()), (431, "headers_too_large"));
        assert!(head.headers.contains_key("x-tollgate-call-id"));
    }
    // Far beyond the limit the HTTP layer refuses by itself.
    let mut socket = gateway.connect().await;
    let flood = format!("GET / HTTP/1.1\r\nx-flood: {}\r\n\r\n", "x".repeat(100_000));
    let _ = socket.write_all(flood.as_bytes()).await;
    let mut answer = vec![0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 431");
}

/// Sends to a client that does not read until the gateway has given it up.
async fn flood(frames: tokio::sync::mpsc::Sender<Bytes>) {
    let event = Bytes::from(format!("data: {{\"pad\":\"{}\"}}\n\n", "x".repeat(60_000)));
    while frames.send(event.clone()).await.is_ok() {}
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut_off() {
    let (upstream, frames) = Upstream::stream("text/event-stream").await;
    let mut setup = Setup::new(vec![openai(upstream.addr)]);
    setup.limits.client_stall = SHORT;
    let gateway = setup.start().await;
    let mut socket = gateway.connect().await;
    socket.write_all(gateway.raw_chat(STREAM).as_bytes()).await.unwrap();
    flood(frames).await;
    let row = gateway.ledger.row().await;
    assert_eq!(
        (row.ending.outcome, row.ending.error_type),
        (Outcome::ClientAborted, Some(name("client_left")))
    );
    drop(socket);
}

#[tokio::test]
async fn an_http2_stream_that_is_not_read_is_reset_alone() {
    let (upstream, frames) = Upstream::stream("text/event-stream").await;
    let other = Upstream::json(StatusCode::OK, "{}").await;
    let mut second = openai(other.addr);
    (second.name, second.context) = (name("second"), "/second".to_owned());
    let mut setup = Setup::new(vec![openai(upstream.addr), second]);
    setup.limits.client_stall = SHORT;
    let gateway = setup.start().await;
    let client = client_h2();
    let mut unread = client
        .request(gateway.chat("/openai/v1/chat/completions", STREAM))
        .await
        .unwrap()
        .into_body();
    flood(frames).await;
    assert_eq!(gateway.ledger.row().await.ending.outcome, Outcome::ClientAborted);
    let answer = client
        .request(gateway.chat("/second/v1/chat/completions", STREAM))
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    while let Some(read) = frame(&mut unread).await {
        if read.is_err() {
            return;
        }
    }
    panic!("the stream ended cleanly");
}

#[tokio::test]
async fn further_connections_wait_their_turn() {
    let upstream = Upstream::json(StatusCode::OK, "{}").await;
    let mut setup = Setup::new(vec![openai(upstream.addr)]);
    setup.limits.connections_max = 1;
    let gateway = setup.start().await;
    let mut first = gateway.connect().await;
    first.write_all(gateway.raw_chat(STREAM).as_bytes()).await.unwrap();
    let mut answer = vec![0; 15];
    first.read_exact(&mut answer).await.unwrap();
    let mut second = gateway.connect().await;
    second.write_all(gateway.raw_chat(STREAM).as_bytes()).await.unwrap();
    drop(first);
    second.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 200 OK");
}

#[tokio::test]
async fn a_key_is_not_looked_for_in_bytes_that_are_not_http() {
    let gateway = Setup::new(vec![openai(nowhere())]).start().await;
    let mut socket = gateway.connect().await;
    socket
        .write_all(format!("\x16\x03\x01 {SECRET}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400"));
    assert!(gateway.ledger.rows().is_empty());
}
