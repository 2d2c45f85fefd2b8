//! What passes, passes unchanged: paths, headers, bodies, frames, over HTTP/1.1 and HTTP/2.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tollgate_codec::Codec;
use tollgate_record::{CallId, Outcome};

use super::harness::{Setup, Upstream, client_h2, error_code, frame, json, name, openai, provider, raw_upstream};

const CHAT: &str = r#"{"model":"gpt-x","messages":[]}"#;
const ANSWER: &str = r#"{"id":"c","model":"gpt-x-2026","choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}"#;

#[tokio::test]
async fn a_json_answer_arrives_with_its_cost_and_leaves_one_row() {
    let mut upstream = Upstream::json(StatusCode::OK, ANSWER).await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    let mut request = gateway.chat("/openai/v1/chat/completions?a=%2F&b", CHAT);
    request
        .headers_mut()
        .insert("x-stainless-lang", HeaderValue::from_static("python"));
    let (head, body) = gateway.call(request).await;

    assert_eq!((head.status, &body[..]), (StatusCode::OK, ANSWER.as_bytes()));
    assert_eq!(head.headers["x-tollgate-cost"], "0.0123");
    assert_eq!(head.headers["x-request-id"], "req-1");
    assert_eq!(head.headers["content-length"], ANSWER.len().to_string());

    let seen = upstream.next().await;
    assert_eq!(seen.head.uri, "/v1/chat/completions?a=%2F&b");
    assert_eq!(seen.head.headers["authorization"], "Bearer sk-provider");
    assert_eq!(seen.head.headers["host"], upstream.addr.to_string());
    assert_eq!(seen.head.headers["x-stainless-lang"], "python");
    assert_eq!(&seen.body[..], CHAT.as_bytes());

    let row = gateway.ledger.row().await;
    assert_eq!(head.headers["x-tollgate-call-id"], row.intent.call_id.to_string());
    assert_eq!(row.intent.call_id.uuid().get_version_num(), 7);
    let call = &row.intent.call;
    assert_eq!(call.operation_name, name("chat"));
    assert_eq!(call.provider_name, Some(name("openai")));
    assert_eq!(call.template, Some(name("openai")));
    assert_eq!(call.upstream, Some(name(&upstream.addr.to_string())));
    assert_eq!(call.request_model, Some(name("gpt-x")));
    assert!(!call.stream && row.intent.bears_usage && !row.refused);
    assert_eq!(row.intent.identity.key_id, name("bot"));
    assert_eq!(row.intent.request_bytes, CHAT.len() as u64);
    let ending = &row.ending;
    assert_eq!((ending.outcome, ending.status_code), (Outcome::Ok, Some(200)));
    assert_eq!((ending.usage.input, ending.usage.output), (Some(7), Some(3)));
    assert_eq!(ending.response_model, Some(name("gpt-x-2026")));
    assert_eq!(ending.finish_reason, Some(name("stop")));
    assert_eq!(ending.response_bytes, ANSWER.len() as u64);
    let first = ending.time_to_first_token_us.unwrap();
    assert!(first <= ending.duration_us && ending.gateway_overhead_us.unwrap() <= first);
}

#[tokio::test]
async fn frames_leave_as_they_come() {
    let (upstream, frames) = Upstream::stream("text/event-stream").await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    let chat = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#;
    let answer = gateway.send(gateway.chat("/openai/v1/chat/completions", chat)).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert!(!answer.headers().contains_key("x-tollgate-cost"));
    assert!(answer.headers().contains_key("x-tollgate-call-id"));
    let mut body = answer.into_body();
    let chunks = [
        "data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
        "data: {\"model\":\"m\",\"choi",
        "ces\":[]}\r\n\r\n: comment\n\n",
        "data: {\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1}}\n\n",
    ];
    for chunk in chunks {
        frames.send(Bytes::from_static(chunk.as_bytes())).await.unwrap();
        // Each arrives before the next is sent.
        assert_eq!(frame(&mut body).await.unwrap().unwrap(), chunk);
    }
    frames.send(Bytes::from_static(b"data: [DONE]\n\n")).await.unwrap();
    assert_eq!(frame(&mut body).await.unwrap().unwrap(), "data: [DONE]\n\n");
    let row = gateway.ledger.row().await;
    assert_eq!((row.ending.outcome, row.ending.usage.input), (Outcome::Ok, Some(5)));
    assert!(row.intent.call.stream);
    assert_eq!(row.ending.response_bytes, chunks.concat().len() as u64 + 14);
    frames.send(Bytes::from_static(b"\n")).await.unwrap();
    assert_eq!(frame(&mut body).await.unwrap().unwrap(), "\n");
    drop(frames);
    assert!(frame(&mut body).await.is_none());
}

#[tokio::test]
async fn usage_that_was_asked_for_in_the_clients_stead_is_taken_out() {
    let (mut upstream, frames) = Upstream::stream("text/event-stream").await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    let mut request = gateway.chat("/openai/v1/chat/completions", r#"{"model":"m","stream":true}"#);
    request
        .headers_mut()
        .insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    let answer = gateway.send(request).await;
    let seen = upstream.next().await;
    assert!(String::from_utf8_lossy(&seen.body).contains("include_usage"));
    assert_eq!(seen.head.headers["accept-encoding"], "identity");
    assert_eq!(seen.head.headers["content-length"], seen.body.len().to_string());
    let content = "data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null}\n\n";
    frames.send(Bytes::from_static(content.as_bytes())).await.unwrap();
    let usage = "data: {\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1}}\n\n";
    frames.send(Bytes::from_static(usage.as_bytes())).await.unwrap();
    frames.send(Bytes::from_static(b"data: [DONE]\n\n")).await.unwrap();
    drop(frames);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(!String::from_utf8_lossy(&body).contains("prompt_tokens"), "{body:?}");
    assert!(body.ends_with(b"data: [DONE]\n\n"));
    let row = gateway.ledger.row().await;
    assert_eq!(
        (row.ending.usage.output, row.ending.response_bytes),
        (Some(1), body.len() as u64)
    );
}

#[tokio::test]
async fn the_default_route_takes_the_provider_from_the_model() {
    let mut first = Upstream::json(StatusCode::OK, ANSWER).await;
    let mut second = Upstream::json(StatusCode::OK, ANSWER).await;
    let providers = vec![
        provider("anthropic", Codec::anthropic(), "http://127.0.0.1:9"),
        openai(first.addr),
        provider("other", Codec::openai(), &format!("http://{}/base", second.addr)),
    ];
    let gateway = Setup::new(providers).start().await;

    gateway.call(gateway.chat("/v1/chat/completions", CHAT)).await;
    assert_eq!(first.next().await.head.uri, "/v1/chat/completions");

    gateway
        .call(gateway.chat("/v1/chat/completions", r#"{"model":"other/meta/llama"}"#))
        .await;
    let seen = second.next().await;
    assert_eq!(seen.head.uri, "/base/v1/chat/completions");
    assert_eq!(seen.body, r#"{"model":"meta/llama"}"#);

    gateway
        .call(gateway.chat("/v1/chat/completions", r#"{"model":"unknown/llama"}"#))
        .await;
    assert_eq!(first.next().await.body, r#"{"model":"unknown/llama"}"#);

    gateway.call(gateway.request(Method::GET, "/v1/models", "")).await;
    assert_eq!(first.next().await.head.uri, "/v1/models");

    let (head, body) = gateway
        .call(gateway.chat("/v1/chat/completions", r#"{"model":"anthropic/claude"}"#))
        .await;
    assert_eq!(
        (head.status, error_code(&body).as_str()),
        (StatusCode::BAD_REQUEST, "provider_not_compatible")
    );

    let asked: Vec<_> = gateway
        .ledger
        .rows()
        .into_iter()
        .map(|row| (row.intent.call.provider_name, row.intent.call.request_model))
        .collect();
    let expected = [("openai", "gpt-x"), ("other", "meta/llama"), ("openai", "unknown/llama")];
    for ((provider, model), (expected_provider, expected_model)) in asked.iter().zip(expected) {
        assert_eq!(
            (provider, model),
            (&Some(name(expected_provider)), &Some(name(expected_model)))
        );
    }
    assert_eq!(asked.len(), 5);
}

#[tokio::test]
async fn upstream_errors_pass_with_their_status_headers_and_body() {
    const LIMITED: &str = r#"{"error":{"message":"slow down","type":"rate_limit_error","code":"rate_limit_exceeded"}}"#;
    let upstream = Upstream::start(|_| {
        Box::pin(async {
            let mut answer = json(StatusCode::TOO_MANY_REQUESTS, LIMITED);
            answer
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("7"));
            answer
        })
    });
    let gateway = Setup::new(vec![openai(upstream.await.addr)]).start().await;
    let (head, body) = gateway.call(gateway.chat("/openai/v1/chat/completions", CHAT)).await;
    assert_eq!((head.status, &body[..]), (StatusCode::TOO_MANY_REQUESTS, LIMITED.as_bytes()));
    assert_eq!(head.headers["retry-after"], "7");
    let row = gateway.ledger.row().await;
    assert_eq!(
        (row.ending.outcome, row.ending.status_code),
        (Outcome::UpstreamError, Some(429))
    );
    assert!(row.ending.error_type.is_some());
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_served() {
    let upstream = Upstream::json(StatusCode::OK, ANSWER).await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    let client = client_h2();
    for _ in 0..3 {
        let answer = client
            .request(gateway.chat("/openai/v1/chat/completions", CHAT))
            .await
            .unwrap();
        assert_eq!((answer.version(), answer.status()), (http::Version::HTTP_2, StatusCode::OK));
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), ANSWER);
    }
    assert_eq!(gateway.ledger.rows().len(), 3);
}

#[tokio::test]
async fn large_json_answers_stream_on() {
    let pad = "x".repeat(3 * 1024 * 1024);
    let large: &'static str =
        Box::leak(format!(r#"{{"pad":"{pad}","usage":{{"prompt_tokens":1,"completion_tokens":2}}}}"#).into_boxed_str());
    let upstream = Upstream::json(StatusCode::OK, large).await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    let (head, body) = gateway.call(gateway.chat("/openai/v1/chat/completions", CHAT)).await;
    assert!(!head.headers.contains_key("x-tollgate-cost"));
    assert_eq!(head.headers["content-length"], large.len().to_string());
    assert_eq!(body, large);
    assert_eq!(gateway.ledger.row().await.ending.response_bytes, large.len() as u64);
}

#[tokio::test]
async fn a_head_request_keeps_the_length_it_was_told() {
    let upstream = Upstream::json(StatusCode::OK, ANSWER).await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    let (head, body) = gateway.call(gateway.request(Method::HEAD, "/openai/v1/models", "")).await;
    assert_eq!((head.status, body.len()), (StatusCode::OK, 0));
    assert_eq!(head.headers["content-length"], ANSWER.len().to_string());
    assert_eq!(gateway.ledger.row().await.ending.outcome, Outcome::Ok);
}

#[tokio::test]
async fn a_large_request_goes_up_whole_after_it_was_told_to_continue() {
    let mut upstream = Upstream::json(StatusCode::OK, ANSWER).await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    let body = format!(r#"{{"model":"m","pad":"{}"}}"#, "y".repeat(2 * 1024 * 1024));
    let head = gateway.raw_chat(&body);
    let (head, _) = head.split_once("\r\n\r\n").unwrap();
    let mut socket = gateway.connect().await;
    socket
        .write_all(format!("{head}\r\nexpect: 100-continue\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut told = [0; 25];
    socket.read_exact(&mut told).await.unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(body.as_bytes()).await.unwrap();
    let seen = upstream.next().await;
    assert_eq!(seen.body, body);
    assert!(!seen.head.headers.contains_key("expect"));
}

#[tokio::test]
async fn connections_to_the_upstream_are_kept() {
    let (tx, mut connections) = tokio::sync::mpsc::unbounded_channel();
    let addr = raw_upstream(move |mut socket| {
        tx.send(()).unwrap();
        async move {
            let mut buffer = vec![0; 65536];
            while socket.read(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
                socket.write_all(answer).await.unwrap();
            }
        }
    })
    .await;
    let gateway = Setup::new(vec![openai(addr)]).start().await;
    for _ in 0..5 {
        gateway.call(gateway.chat("/openai/v1/chat/completions", CHAT)).await;
    }
    assert_eq!(connections.recv().await, Some(()));
    assert!(connections.try_recv().is_err());
}

#[tokio::test]
async fn caller_headers_are_recorded_and_end_here() {
    let mut upstream = Upstream::json(StatusCode::OK, ANSWER).await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut request = gateway.chat("/openai/v1/chat/completions", CHAT);
    for (header, value) in [
        ("x-tollgate-user", "ann"),
        ("x-tollgate-tags", r#"{"a":"b"}"#),
        ("traceparent", traceparent),
    ] {
        request.headers_mut().insert(header, HeaderValue::from_static(value));
    }
    gateway.call(request).await;
    let seen = upstream.next().await;
    assert_eq!(seen.head.headers["traceparent"], traceparent);
    assert!(
        seen.head
            .headers
            .keys()
            .all(|header| !header.as_str().starts_with("x-tollgate-"))
    );
    let caller = gateway.ledger.row().await.intent.caller;
    assert_eq!(caller.user, Some(name("ann")));
    assert_eq!(caller.trace_id, Some(name("0af7651916cd43dd8448eb211c80319c")));
    assert_eq!(caller.tags.iter().collect::<Vec<_>>(), [("a", "b")]);
}

#[tokio::test]
async fn while_spans_are_exported_the_upstream_hangs_below_the_attempt() {
    let mut upstream = Upstream::json(StatusCode::OK, ANSWER).await;
    let span = |call: &CallId| {
        let text = call.to_string();
        let (first, rest) = (text.get(19..21).unwrap(), [&text[21..23], &text[24..36]].concat());
        // The variant of a UUID, 10, turned over: 01.
        format!("{:02x}{rest}", u8::from_str_radix(first, 16).unwrap() ^ 0b1100_0000)
    };
    for (came, flags) in [
        (Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"), "00"),
        (Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), "01"),
        (Some("00-not-a-trace"), "01"),
        (None, "01"),
    ] {
        let setup = Setup {
            traced: true,
            ..Setup::new(vec![openai(upstream.addr)])
        };
        let gateway = setup.start().await;
        let mut request = gateway.chat("/openai/v1/chat/completions", CHAT);
        request
            .headers_mut()
            .insert("tracestate", HeaderValue::from_static("vendor=1"));
        if let Some(came) = came {
            request.headers_mut().insert("traceparent", HeaderValue::from_static(came));
        }
        gateway.call(request).await;
        let seen = upstream.next().await.head.headers.clone();
        let intent = gateway.ledger.row().await.intent;
        let trace = match &intent.caller.trace_id {
            Some(_) => "0af7651916cd43dd8448eb211c80319c".to_owned(),
            None => intent.request_id.to_string().replace('-', ""),
        };
        assert_eq!(
            seen["traceparent"],
            format!("00-{trace}-{}-{flags}", span(&intent.call_id)),
            "{came:?}"
        );
        assert_eq!(
            seen.contains_key("tracestate"),
            intent.caller.trace_id.is_some(),
            "a state without a trace is dropped: {came:?}"
        );
    }
}

#[tokio::test]
async fn a_snapshot_is_replaced_while_calls_are_served() {
    let upstream = Upstream::json(StatusCode::OK, ANSWER).await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    gateway.call(gateway.chat("/openai/v1/chat/completions", CHAT)).await;
    let next = crate::Snapshot::new(
        vec![provider("new", Codec::openai(), &format!("http://{}", upstream.addr))],
        vec![],
        None,
    )
    .unwrap();
    gateway.handle.replace(next);
    let (head, _) = gateway.call(gateway.chat("/new/v1/chat/completions", CHAT)).await;
    assert_eq!(head.status, StatusCode::UNAUTHORIZED, "the key is gone");
    let anonymous = http::Request::get(format!("http://{}/openai/v1/models", gateway.addr))
        .body(Full::default())
        .unwrap();
    assert_eq!(gateway.call(anonymous).await.0.status, StatusCode::UNAUTHORIZED);
}
