//! What is refused: with a code, in the provider's shape, with the call's id; and with a row once the caller is known.

use std::net::SocketAddr;

use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tollgate_codec::Codec;
use tollgate_record::{Outcome, Timestamp};

use super::harness::{SECRET, Setup, Upstream, error_code, name, openai, provider};
use crate::key::tests::key;
use crate::{Access, AccessMode, Exception, Key};

fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9))
}

#[tokio::test]
async fn nobody_is_refused_without_a_row() {
    let mut setup = Setup::new(vec![
        openai(nowhere()),
        provider("anthropic", Codec::anthropic(), "http://127.0.0.1:9"),
    ]);
    setup.keys.push(Key {
        disabled: true,
        ..key("off", "tg-off")
    });
    setup.keys.push(Key {
        expires: Some(Timestamp::from_unix_us(1)),
        ..key("old", "tg-old")
    });
    let gateway = setup.start().await;
    for (secret, code) in [
        (None, "missing_key"),
        (Some("tg-wrong"), "unknown_key"),
        (Some("tg-off"), "disabled_key"),
        (Some("tg-old"), "expired_key"),
    ] {
        for context in ["openai", "anthropic"] {
            let mut request = Request::post(format!("http://{}/{context}/v1/messages", gateway.addr))
                .body(Full::default())
                .unwrap();
            if let Some(secret) = secret {
                request.headers_mut().insert("x-api-key", HeaderValue::from_static(secret));
            }
            let (head, body) = gateway.call(request).await;
            assert_eq!(head.status, StatusCode::UNAUTHORIZED);
            assert!(head.headers.contains_key("www-authenticate") && head.headers.contains_key("x-tollgate-call-id"));
            let text = String::from_utf8_lossy(&body);
            assert!(text.contains(code) && !text.contains("tg-"), "{text}");
            assert_eq!(text.contains("request_id"), context == "anthropic", "{text}");
        }
    }
    assert!(gateway.ledger.rows().is_empty());
}

#[tokio::test]
async fn refusals_of_known_callers_leave_a_row() {
    let mut guarded = openai(nowhere());
    guarded.access = Access {
        mode: AccessMode::DenyAll,
        exceptions: vec![Exception {
            path: "/v1/chat/completions".to_owned(),
            methods: vec![Method::POST],
        }],
    };
    let mut setup = Setup::new(vec![guarded]);
    setup.limits.request_body_bytes_max = 100;
    let gateway = setup.start().await;
    let chat = "/openai/v1/chat/completions";
    let large: &'static str = Box::leak("x".repeat(101).into_boxed_str());
    let mut websocket = gateway.request(Method::GET, "/openai/v1/realtime", "");
    websocket
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    websocket
        .headers_mut()
        .insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let mut bad_header = gateway.chat(chat, "{}");
    bad_header
        .headers_mut()
        .insert("x-tollgate-tags", HeaderValue::from_static("["));
    let cases = [
        (gateway.chat("/nowhere/v1", "{}"), 404, "unknown_path"),
        (gateway.chat("/openai/v1/../admin", "{}"), 400, "bad_path"),
        (gateway.chat("/openai/v1/%2e%2e/admin", "{}"), 400, "bad_path"),
        (gateway.chat("/openai/v1/files", "{}"), 404, "path_not_allowed"),
        (gateway.request(Method::GET, chat, ""), 404, "path_not_allowed"),
        (gateway.chat("/v1/embeddings", "{}"), 404, "path_not_allowed"),
        (gateway.request(Method::TRACE, chat, ""), 405, "method_not_allowed"),
        (websocket, 501, "upgrade_unsupported"),
        (bad_header, 400, "bad_header"),
        (gateway.chat(chat, "not json"), 400, "bad_json"),
        (gateway.chat(chat, large), 413, "body_too_large"),
    ];
    let count = cases.len();
    for (request, status, code) in cases {
        let (head, body) = gateway.call(request).await;
        assert_eq!((head.status.as_u16(), error_code(&body).as_str()), (status, code));
        let row = gateway.ledger.rows().pop().unwrap();
        assert_eq!(head.headers["x-tollgate-call-id"], row.intent.call_id.to_string());
        assert!(row.refused);
        assert_eq!(row.ending.outcome, Outcome::RefusedPolicy);
        assert_eq!(
            (row.ending.status_code, row.ending.error_type),
            (Some(status), Some(name(code)))
        );
        assert_eq!(row.ending.response_bytes, body.len() as u64);
    }
    assert_eq!(gateway.ledger.rows().len(), count);
}

#[tokio::test]
async fn an_unknown_path_is_told_which_there_are() {
    let gateway = Setup::new(vec![openai(nowhere())]).start().await;
    let (_, body) = gateway.call(gateway.chat("/opnai/v1/models", "")).await;
    let body = String::from_utf8_lossy(&body);
    assert!(
        body.contains("nothing is served at /opnai/v1/models; there is /v1/, /openai/"),
        "{body}"
    );
}

#[tokio::test]
async fn without_an_openai_provider_the_default_route_serves_nothing() {
    let gateway = Setup::new(vec![provider("anthropic", Codec::anthropic(), "http://127.0.0.1:9")])
        .start()
        .await;
    let (head, body) = gateway.call(gateway.chat("/v1/chat/completions", "{}")).await;
    assert_eq!(
        (head.status, error_code(&body).as_str()),
        (StatusCode::NOT_FOUND, "no_default_provider")
    );
}

#[tokio::test]
async fn too_large_a_body_is_refused_before_it_is_sent() {
    let mut setup = Setup::new(vec![openai(nowhere())]);
    setup.limits.request_body_bytes_max = 100;
    let gateway = setup.start().await;
    let mut socket = gateway.connect().await;
    let head = gateway.raw_chat(&"x".repeat(101));
    let (head, _) = head.split_once("\r\n\r\n").unwrap();
    socket
        .write_all(format!("{head}\r\nexpect: 100-continue\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = vec![0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
    assert_eq!(gateway.ledger.row().await.intent.request_bytes, 0);
}

#[tokio::test]
async fn too_large_a_body_of_unknown_length_is_refused_when_it_shows() {
    let mut setup = Setup::new(vec![openai(nowhere())]);
    setup.limits.request_body_bytes_max = 100;
    let gateway = setup.start().await;
    let mut socket = gateway.connect().await;
    let head = format!(
        "POST /openai/v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket
        .write_all(format!("80\r\n{}\r\n", "x".repeat(128)).as_bytes())
        .await
        .unwrap();
    let mut answer = vec![0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
    assert_eq!(gateway.ledger.row().await.intent.request_bytes, 128);
}

#[tokio::test]
async fn malformed_chunks_are_a_400() {
    let gateway = Setup::new(vec![openai(nowhere())]).start().await;
    let mut socket = gateway.connect().await;
    let head = format!(
        "POST /openai/v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 400");
    assert_eq!(gateway.ledger.row().await.ending.error_type, Some(name("broken_body")));
}

#[tokio::test]
async fn a_refused_upload_can_read_why() {
    let mut setup = Setup::new(vec![openai(nowhere())]);
    setup.limits.request_body_bytes_max = 100;
    let gateway = setup.start().await;
    // Larger than the socket's buffers: a client that is reset while it writes would not see the answer.
    let large: &'static str = Box::leak("x".repeat(6 * 1024 * 1024).into_boxed_str());
    let (head, body) = gateway.call(gateway.chat("/openai/v1/chat/completions", large)).await;
    assert_eq!(
        (head.status, error_code(&body).as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large")
    );
}

#[tokio::test]
async fn a_path_is_checked_as_the_upstream_may_read_it() {
    let mut upstream = Upstream::json(StatusCode::OK, "{}").await;
    let mut guarded = openai(upstream.addr);
    guarded.access.exceptions.push(Exception {
        path: "/v1/files*".to_owned(),
        methods: vec![],
    });
    let gateway = Setup::new(vec![guarded]).start().await;
    for path in [
        "/openai/v1/files",
        "/openai/v1/%66iles",
        "/openai//v1//files/f-1",
        "/openai/v1%2ffiles",
    ] {
        let (head, _) = gateway.call(gateway.request(Method::GET, path, "")).await;
        assert_eq!(head.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert!(!upstream.was_asked());
    let (head, _) = gateway
        .call(gateway.request(Method::GET, "/openai/v1/model%73/a%3Ab", ""))
        .await;
    assert_eq!(head.status, StatusCode::OK);
    assert_eq!(upstream.next().await.head.uri, "/v1/model%73/a%3Ab");
}
