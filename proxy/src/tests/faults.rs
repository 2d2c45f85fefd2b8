//! Upstreams that fail: refused, reset, mute, slow, cut. Each has its code, its status and its outcome.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tollgate_codec::Codec;
use tollgate_record::{Outcome, UsageSource};

use super::harness::{Running, Setup, Upstream, error_code, frame, name, openai, provider, raw_upstream};
use crate::Provider;

const CHAT: &str = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"hello there"}]}"#;
const SHORT: Duration = Duration::from_millis(50);

async fn fails(provider: Provider, status: StatusCode, code: &str, outcome: Outcome) -> Running {
    let gateway = Setup::new(vec![provider]).start().await;
    let (head, body) = gateway.call(gateway.chat("/openai/v1/chat/completions", CHAT)).await;
    assert_eq!((head.status, error_code(&body).as_str()), (status, code), "{body:?}");
    assert!(!head.headers.contains_key("x-tollgate-cost"));
    let row = gateway.ledger.row().await;
    assert_eq!(head.headers["x-tollgate-call-id"], row.intent.call_id.to_string());
    assert_eq!(
        (row.ending.outcome, row.ending.error_type.as_ref()),
        (outcome, Some(&name(code)))
    );
    assert_eq!(row.ending.status_code, Some(status.as_u16()));
    assert_eq!(row.ending.response_bytes, body.len() as u64);
    gateway
}

/// Reads a request's head and body, which tests keep short.
async fn read_request(socket: &mut TcpStream) {
    let mut buffer = vec![0; 65536];
    let read = socket.read(&mut buffer).await.unwrap();
    assert!(read > 0);
}

#[tokio::test]
async fn a_refused_connection_is_a_502() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    fails(
        openai(addr),
        StatusCode::BAD_GATEWAY,
        "upstream_connect_failed",
        Outcome::UpstreamError,
    )
    .await;
}

#[tokio::test]
async fn an_unknown_host_is_a_502() {
    let unknown = provider("openai", Codec::openai(), "http://no-such-host.invalid");
    fails(
        unknown,
        StatusCode::BAD_GATEWAY,
        "upstream_lookup_failed",
        Outcome::UpstreamError,
    )
    .await;
}

#[tokio::test]
async fn a_connection_that_is_not_established_in_time_is_a_504() {
    // Taken by a listener that never accepts, with its queue filled up: further connections hang.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let listener = socket.listen(1).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut fillers = Vec::new();
    while let Ok(Ok(filler)) = tokio::time::timeout(SHORT, TcpStream::connect(addr)).await {
        fillers.push(filler);
    }
    let mut full = openai(addr);
    full.timeouts.connect = SHORT;
    fails(
        full,
        StatusCode::GATEWAY_TIMEOUT,
        "upstream_connect_timeout",
        Outcome::Timeout,
    )
    .await;
}

#[tokio::test]
async fn a_connection_that_is_closed_before_the_answer_is_a_502() {
    let addr = raw_upstream(|mut socket| async move { read_request(&mut socket).await }).await;
    let gateway = fails(
        openai(addr),
        StatusCode::BAD_GATEWAY,
        "upstream_reset",
        Outcome::UpstreamError,
    )
    .await;
    assert_eq!(gateway.ledger.row().await.ending.usage.source, UsageSource::None);
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_a_502() {
    let addr = raw_upstream(|mut socket| async move {
        read_request(&mut socket).await;
        socket.write_all(b"SSH-2.0-OpenSSH_9.9\r\n\r\n").await.unwrap();
        let _ = socket.read(&mut [0]).await;
    })
    .await;
    fails(
        openai(addr),
        StatusCode::BAD_GATEWAY,
        "upstream_protocol_error",
        Outcome::UpstreamError,
    )
    .await;
}

#[tokio::test]
async fn an_upstream_that_does_not_begin_is_a_504_with_an_estimate() {
    let addr = raw_upstream(|mut socket| async move {
        read_request(&mut socket).await;
        let _ = socket.read(&mut [0]).await;
    })
    .await;
    let mut mute = openai(addr);
    mute.timeouts.first_byte = SHORT;
    let gateway = fails(
        mute,
        StatusCode::GATEWAY_TIMEOUT,
        "upstream_first_byte_timeout",
        Outcome::Timeout,
    )
    .await;
    let usage = gateway.ledger.row().await.ending.usage;
    assert_eq!(usage.source, UsageSource::Estimated);
    assert!(usage.input.unwrap() > 0);
}

#[tokio::test]
async fn a_json_answer_that_starves_or_is_cut_becomes_an_error() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"id\":";
    let starving = raw_upstream(move |mut socket| async move {
        read_request(&mut socket).await;
        socket.write_all(head.as_bytes()).await.unwrap();
        let _ = socket.read(&mut [0]).await;
    })
    .await;
    let mut starving = openai(starving);
    starving.timeouts.idle = SHORT;
    fails(
        starving,
        StatusCode::GATEWAY_TIMEOUT,
        "upstream_idle_timeout",
        Outcome::Timeout,
    )
    .await;

    let cut = raw_upstream(move |mut socket| async move {
        read_request(&mut socket).await;
        socket.write_all(head.as_bytes()).await.unwrap();
    })
    .await;
    fails(openai(cut), StatusCode::BAD_GATEWAY, "upstream_cut", Outcome::UpstreamCut).await;
}

/// A stream of one event, by HTTP/1 framing of the test's choice, that ends with the connection.
async fn cut_stream(headers: &'static str, event: &'static str) -> SocketAddr {
    raw_upstream(move |mut socket| async move {
        read_request(&mut socket).await;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{headers}\r\n{event}");
        socket.write_all(head.as_bytes()).await.unwrap();
    })
    .await
}

async fn reads_to_its_error(gateway: &Running) {
    for h2 in [false, true] {
        let client = if h2 {
            super::harness::client_h2()
        } else {
            super::harness::client()
        };
        let answer = client
            .request(gateway.chat("/openai/v1/chat/completions", CHAT))
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(
            answer.into_body().collect().await.is_err(),
            "a cut must not look like an end, over HTTP/2: {h2}"
        );
    }
    for row in gateway.ledger.rows() {
        assert_eq!(row.ending.outcome, Outcome::UpstreamCut);
        assert_eq!(
            (row.ending.error_type, row.ending.status_code),
            (Some(name("upstream_cut")), Some(200))
        );
        assert_eq!(row.ending.usage.source, UsageSource::Estimated);
    }
    assert_eq!(gateway.ledger.rows().len(), 2);
}

#[tokio::test]
async fn a_chunked_stream_that_is_cut_ends_as_an_error() {
    let addr = cut_stream("transfer-encoding: chunked\r\n", "d\r\ndata: {\"a\":1}\r\n").await;
    reads_to_its_error(&Setup::new(vec![openai(addr)]).start().await).await;
}

#[tokio::test]
async fn a_stream_until_close_that_is_cut_ends_as_an_error() {
    let addr = cut_stream("", "data: {\"choices\":[]}\n\n").await;
    reads_to_its_error(&Setup::new(vec![openai(addr)]).start().await).await;
}

#[tokio::test]
async fn a_stream_until_close_that_is_whole_ends_cleanly() {
    let addr = cut_stream(
        "",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n",
    )
    .await;
    let gateway = Setup::new(vec![openai(addr)]).start().await;
    let (_, body) = gateway.call(gateway.chat("/openai/v1/chat/completions", CHAT)).await;
    assert!(body.ends_with(b"[DONE]\n\n"));
    assert_eq!(gateway.ledger.row().await.ending.outcome, Outcome::Ok);
}

#[tokio::test]
async fn a_stream_that_starves_ends_as_an_error() {
    let (upstream, frames) = Upstream::stream("text/event-stream").await;
    let mut starving = openai(upstream.addr);
    starving.timeouts.idle = SHORT;
    let gateway = Setup::new(vec![starving]).start().await;
    let mut body = gateway
        .send(gateway.chat("/openai/v1/chat/completions", CHAT))
        .await
        .into_body();
    for _ in 0..3 {
        frames.send(Bytes::from_static(b": ping\n\n")).await.unwrap();
        frame(&mut body).await.unwrap().unwrap();
    }
    assert!(frame(&mut body).await.unwrap().is_err());
    let row = gateway.ledger.row().await;
    assert_eq!(
        (row.ending.outcome, row.ending.error_type),
        (Outcome::Timeout, Some(name("upstream_idle_timeout")))
    );
    frames.closed().await;
}

#[tokio::test]
async fn a_stream_that_ends_without_its_terminal_event_is_recorded_as_cut() {
    let (upstream, frames) = Upstream::stream("text/event-stream").await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    let answer = gateway.send(gateway.chat("/openai/v1/chat/completions", CHAT)).await;
    frames.send(Bytes::from_static(b"data: {\"choices\":[]}\n\n")).await.unwrap();
    drop(frames);
    // Its transport ended as it should, so the client sees what it would see without the gateway.
    assert_eq!(
        answer.into_body().collect().await.unwrap().to_bytes(),
        "data: {\"choices\":[]}\n\n"
    );
    assert_eq!(gateway.ledger.row().await.ending.outcome, Outcome::UpstreamCut);
}
