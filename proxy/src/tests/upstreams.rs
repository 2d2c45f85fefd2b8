//! Several URLs of a provider: calls are spread by weight, and go on from one that cannot be connected to, but never twice to a provider.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tollgate_codec::Codec;
use tollgate_record::{Name, Outcome};
use url::Url;

use super::harness::{Row, Running, Setup, Upstream, error_code, name, openai, provider, raw_upstream};
use crate::{Credential, Provider, Signer, Stats};

const CHAT: &str = "/openai/v1/chat/completions";
const BODY: &str = r#"{"model":"gpt-x","messages":[]}"#;
const ANSWER: &str = r#"{"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}"#;

/// An address that refuses connections.
pub(super) async fn refusing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

fn over(urls: &[(String, u32)]) -> Provider {
    Provider {
        upstreams: urls.iter().map(|(url, weight)| (Url::parse(url).unwrap(), *weight)).collect(),
        ..openai(SocketAddr::from(([127, 0, 0, 1], 9)))
    }
}

fn http(addr: SocketAddr) -> (String, u32) {
    (format!("http://{addr}"), 1)
}

async fn chat(gateway: &Running) -> (StatusCode, bytes::Bytes) {
    let (head, body) = gateway.call(gateway.chat(CHAT, BODY)).await;
    (head.status, body)
}

/// The host that the row names.
fn upstream_of(row: &Row) -> Name {
    let told = row.ending.upstream.as_ref().or(row.intent.call.upstream.as_ref());
    told.unwrap().clone()
}

fn passed_over(row: &Row) -> Vec<String> {
    let decisions = row.ending.decisions.iter();
    decisions
        .map(|decision| {
            assert_eq!((&*decision.policy, &*decision.action), ("upstream", "passed_over"));
            decision.detail.as_ref().unwrap().to_string()
        })
        .collect()
}

#[tokio::test]
async fn one_that_refuses_is_left_for_the_next_and_the_call_has_one_row() {
    let mut upstream = Upstream::json(StatusCode::OK, ANSWER).await;
    let closed = refusing().await;
    let gateway = Setup::new(vec![over(&[http(closed), http(upstream.addr)])]).start().await;
    assert_eq!(chat(&gateway).await.0, StatusCode::OK);
    assert_eq!(upstream.next().await.body, BODY);
    let row = gateway.ledger.row().await;
    assert_eq!((row.ending.outcome, row.ending.usage.input), (Outcome::Ok, Some(7)));
    assert_eq!(
        row.intent.call.upstream,
        Some(name(&closed.to_string())),
        "it was admitted for the first"
    );
    assert_eq!(upstream_of(&row), name(&upstream.addr.to_string()));
    assert_eq!(passed_over(&row), [format!("{closed}: upstream_connect_failed")]);

    // The first rests now.
    for _ in 0..3 {
        assert_eq!(chat(&gateway).await.0, StatusCode::OK);
        let row = gateway.ledger.rows().pop().unwrap();
        assert_eq!(upstream_of(&row), name(&upstream.addr.to_string()));
        assert_eq!(passed_over(&row), [""; 0]);
    }
    let stats = Stats {
        connect_failures: 1,
        went_on: 1,
        urls_resting: 1,
    };
    assert_eq!(gateway.handle.watcher().stats(), Some(stats));
}

#[tokio::test]
async fn when_none_can_be_connected_to_the_call_fails_once() {
    let (first, second) = (refusing().await, refusing().await);
    let gateway = Setup::new(vec![over(&[http(first), http(second)])]).start().await;
    for calls in 1..=2 {
        let (status, body) = chat(&gateway).await;
        assert_eq!(
            (status, error_code(&body).as_str()),
            (StatusCode::BAD_GATEWAY, "upstream_connect_failed")
        );
        let rows = gateway.ledger.rows();
        assert_eq!(rows.len(), calls);
        let row = rows.last().unwrap();
        assert_eq!((row.ending.outcome, row.ending.usage.input), (Outcome::UpstreamError, None));
        assert_eq!(passed_over(row), [format!("{first}: upstream_connect_failed")]);
        assert_eq!(upstream_of(row), name(&second.to_string()));
    }
}

#[tokio::test]
async fn whatever_happens_after_a_connection_is_not_tried_again() {
    let mut upstream = Upstream::json(StatusCode::OK, ANSWER).await;
    let takes_it = raw_upstream(|mut socket| async move {
        assert!(socket.read(&mut [0; 1024]).await.unwrap() > 0);
    })
    .await;
    let drops_it = raw_upstream(|socket| async move { drop(socket) }).await;
    let talks = raw_upstream(|mut socket| async move {
        let _ = socket.read(&mut [0; 1024]).await;
        let _ = tokio::io::AsyncWriteExt::write_all(&mut socket, b"SSH-2.0\r\n\r\n").await;
    })
    .await;
    for bad in [takes_it, drops_it, talks] {
        let gateway = Setup::new(vec![over(&[http(bad), http(upstream.addr)])]).start().await;
        assert_eq!(chat(&gateway).await.0, StatusCode::BAD_GATEWAY);
        let row = gateway.ledger.row().await;
        assert_eq!(upstream_of(&row), name(&bad.to_string()));
        assert_eq!(passed_over(&row), [""; 0]);
        assert_eq!(
            gateway.handle.watcher().stats(),
            Some(Stats::default()),
            "it was connected to, so it does not rest"
        );
    }
    assert!(!upstream.was_asked());
}

#[tokio::test]
async fn names_that_are_not_found_and_tls_that_fails_are_passed_over() {
    let mut upstream = Upstream::json(StatusCode::OK, ANSWER).await;
    let plain = raw_upstream(|mut socket| async move {
        let _ = socket.read(&mut [0; 1024]).await;
        let _ = tokio::io::AsyncWriteExt::write_all(&mut socket, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let urls = [
        ("http://no-such-host.invalid".to_owned(), 1),
        (format!("https://{plain}"), 1),
        http(upstream.addr),
    ];
    let gateway = Setup::new(vec![over(&urls)]).start().await;
    assert_eq!(chat(&gateway).await.0, StatusCode::OK);
    assert_eq!(upstream.next().await.body, BODY);
    let row = gateway.ledger.row().await;
    let expected = [
        "no-such-host.invalid:80: upstream_lookup_failed".to_owned(),
        format!("{plain}: upstream_tls_failed"),
    ];
    assert_eq!(passed_over(&row), expected);
}

#[tokio::test]
async fn calls_are_spread_by_weight() {
    let mut upstreams = [
        Upstream::json(StatusCode::OK, ANSWER).await,
        Upstream::json(StatusCode::OK, ANSWER).await,
    ];
    let urls = [(http(upstreams[0].addr).0, 2), http(upstreams[1].addr)];
    let gateway = Setup::new(vec![over(&urls)]).start().await;
    for _ in 0..6 {
        assert_eq!(chat(&gateway).await.0, StatusCode::OK);
    }
    let asked = upstreams
        .each_mut()
        .map(|upstream| std::iter::from_fn(|| upstream.was_asked().then_some(())).count());
    assert_eq!(asked, [4, 2]);
    let rows = gateway.ledger.rows();
    let of = |addr: SocketAddr| rows.iter().filter(|row| upstream_of(row) == name(&addr.to_string())).count();
    assert_eq!([of(upstreams[0].addr), of(upstreams[1].addr)], asked);
}

#[tokio::test]
async fn urls_with_paths_have_each_their_own() {
    let mut upstream = Upstream::json(StatusCode::OK, ANSWER).await;
    let urls = [
        (format!("http://{}/a", refusing().await), 1),
        (format!("http://{}/b/", upstream.addr), 1),
    ];
    let gateway = Setup::new(vec![over(&urls)]).start().await;
    gateway
        .call(gateway.request(Method::GET, "/openai/v1/models?x=%2F", ""))
        .await;
    assert_eq!(upstream.next().await.head.uri, "/b/v1/models?x=%2F");
}

#[tokio::test]
async fn a_signature_is_made_for_the_host_that_is_called() {
    let mut upstream = Upstream::json(StatusCode::OK, "{}").await;
    let signer = Signer::new(name("eu-west-1"), name("bedrock"), "AKIDOFTHEGATEWAY", "secret", None);
    let bedrock = Provider {
        upstreams: [http(refusing().await), http(upstream.addr)]
            .iter()
            .map(|(url, weight)| (Url::parse(url).unwrap(), *weight))
            .collect(),
        credential: Some(Credential::Signature(signer.clone())),
        ..provider("bedrock", Codec::bedrock(), "http://unused")
    };
    let gateway = Setup::new(vec![bedrock]).start().await;
    let (head, _) = gateway.call(gateway.chat("/bedrock/model/m/converse", "{}")).await;
    assert_eq!(head.status, StatusCode::OK);
    let seen = upstream.next().await.head;
    let uri = format!("http://{}/model/m/converse", upstream.addr).parse().unwrap();
    let now = SystemTime::now();
    let signed_at = |seconds_ago| {
        let mut headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let at = now - Duration::from_secs(seconds_ago);
        signer.sign(&Method::POST, &uri, &mut headers, b"{}", at).unwrap();
        headers[header::AUTHORIZATION].clone()
    };
    assert!((0..60).any(|ago| signed_at(ago) == seen.headers[header::AUTHORIZATION]));
}

#[tokio::test]
async fn without_a_url_or_with_too_many_there_is_no_provider() {
    for count in [0, 17] {
        let urls = vec![http(SocketAddr::from(([127, 0, 0, 1], 9))); count];
        let refused = crate::Snapshot::new(vec![over(&urls)], vec![], None).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("provider openai has {count} upstreams, not 1 to 16")
        );
    }
}
