//! Calls that are signed as AWS's SDKs do: whose they are is proven by the signature, and nothing of it reaches the provider.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tollgate_codec::Codec;
use tollgate_record::{Outcome, Timestamp};

use super::harness::{Running, Setup, TestBody, Upstream, client_h2, name, openai, provider};
use crate::key::tests::key;
use crate::{Access, AccessMode, AwsKey, Credential, Key, Limits, Provider, Signer};

const ID: &str = "TGKEXAMPLE000001";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const PATH: &str = "/bedrock/model/anthropic.claude-3-5-haiku-20241022-v1%3A0/converse";
const BODY: &str = r#"{"messages":[]}"#;
/// SHA-256 of [`BODY`], by `sha256sum`.
const BODY_SHA256: &str = "5e4ce7b36ba37b78a5d5f9fd08e6b7b54ba6879d651aa46ec9e1d6fa24ebe30a";
const CONVERSE: &str = r#"{"stopReason":"end_turn","usage":{"inputTokens":7,"outputTokens":3,"totalTokens":10}}"#;

fn bedrock(upstream: &Upstream) -> Provider {
    let signer = Signer::new(name("eu-west-1"), name("bedrock"), "AKIDOFTHEGATEWAY", "secret", None);
    Provider {
        credential: Some(Credential::Signature(signer)),
        ..provider("bedrock", Codec::bedrock(), &format!("http://{}", upstream.addr))
    }
}

fn signing(named: &str, id: &str) -> Key {
    Key {
        hash: None,
        aws: Some(AwsKey::new(id, SECRET)),
        ..key(named, "")
    }
}

async fn gateway(upstream: &Upstream) -> Running {
    let mut setup = Setup::new(vec![bedrock(upstream), openai(upstream.addr)]);
    setup.keys.push(signing("signer", ID));
    setup.start().await
}

/// How a client signs.
struct Client {
    id: &'static str,
    secret: &'static str,
    token: Option<&'static str>,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    at: SystemTime,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            id: ID,
            secret: SECRET,
            token: None,
            path: PATH,
            headers: &[],
            at: SystemTime::now(),
        }
    }
}

impl Client {
    /// A call with [`BODY`], signed.
    fn sign(&self, gateway: &Running) -> Request<Full<Bytes>> {
        let mut request = gateway.request(Method::POST, self.path, BODY);
        let uri = request.uri().clone();
        let headers = request.headers_mut();
        headers.remove(header::AUTHORIZATION);
        for (name, value) in self.headers {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        let signer = Signer::new(name("us-east-1"), name("bedrock"), self.id, self.secret, self.token);
        signer.sign(&Method::POST, &uri, headers, BODY.as_bytes(), self.at).unwrap();
        request
    }
}

#[tokio::test]
async fn a_signed_call_is_the_signers_and_signed_anew() {
    let mut upstream = Upstream::json(StatusCode::OK, CONVERSE).await;
    for http2 in [false, true] {
        let gateway = gateway(&upstream).await;
        let told = Client {
            headers: &[("x-amz-content-sha256", BODY_SHA256), ("amz-sdk-request", "attempt=1")],
            ..Client::default()
        };
        let client = if http2 { told } else { Client::default() };
        let request = client.sign(&gateway);
        let sent = request.headers()[header::AUTHORIZATION].to_str().unwrap().to_owned();
        let status = if http2 {
            let answer = client_h2().request(request).await.unwrap();
            let status = answer.status();
            answer.into_body().collect().await.unwrap();
            status
        } else {
            gateway.call(request).await.0.status
        };
        assert_eq!(status, StatusCode::OK);
        let seen = upstream.next().await;
        assert_eq!(
            (&seen.body[..], seen.head.uri.path()),
            (BODY.as_bytes(), PATH.trim_start_matches("/bedrock"))
        );
        let signature = seen.head.headers[header::AUTHORIZATION].to_str().unwrap();
        assert!(
            signature.contains("Credential=AKIDOFTHEGATEWAY/") && signature.contains("/eu-west-1/bedrock/"),
            "{signature}"
        );
        let all = format!("{:?}", seen.head.headers);
        let of_client = sent.rsplit('=').next().unwrap();
        assert!(!all.contains(ID) && !all.contains(of_client), "{all}");
        assert!(!seen.head.headers.contains_key("x-amz-content-sha256"));
        let row = gateway.ledger.row().await;
        assert_eq!(row.intent.identity.key_id, name("signer"));
        assert_eq!(row.intent.request_bytes, BODY.len() as u64);
        assert_eq!((row.ending.usage.input, row.ending.usage.output), (Some(7), Some(3)));
    }
}

/// Sends it, and expects it to be refused without a row and without the provider; returns the message.
async fn refused(gateway: &Running, upstream: &mut Upstream, request: Request<Full<Bytes>>, exception: &str, code: &str) -> String {
    let (head, body) = gateway.call(request).await;
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert_eq!(head.status, StatusCode::FORBIDDEN, "{text}");
    assert_eq!(head.headers["x-amzn-errortype"], exception, "{text}");
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&told["__type"], &told["reason"]), (&exception.into(), &code.into()));
    assert_eq!(told["call_id"], head.headers["x-tollgate-call-id"].to_str().unwrap());
    for hidden in [SECRET, ID] {
        assert!(!text.contains(hidden), "{text}");
    }
    assert!(!upstream.was_asked() && gateway.ledger.rows().is_empty());
    told["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_was_not_signed_so_is_refused_without_a_row() {
    type Change = fn(&mut Request<Full<Bytes>>);
    const UNRECOGNIZED: [&str; 2] = ["UnrecognizedClientException", "unknown_access_key"];
    const INVALID: [&str; 2] = ["InvalidSignatureException", "invalid_signature"];
    const SKEWED: [&str; 2] = ["InvalidSignatureException", "clock_skew"];
    const INCOMPLETE: [&str; 2] = ["IncompleteSignatureException", "incomplete_signature"];
    fn nothing(_: &mut Request<Full<Bytes>>) {}
    fn edit(request: &mut Request<Full<Bytes>>, from: &str, to: &str) {
        let value = request.headers()[header::AUTHORIZATION].to_str().unwrap().replace(from, to);
        request.headers_mut().insert(header::AUTHORIZATION, value.parse().unwrap());
    }
    fn retarget(request: &mut Request<Full<Bytes>>, from: &str, to: &str) {
        *request.uri_mut() = request.uri().to_string().replace(from, to).parse().unwrap();
    }
    let told_hash = &[("x-amz-content-sha256", BODY_SHA256)];
    let signed = |headers| Client {
        headers,
        ..Client::default()
    };
    let at = |at| Client { at, ..Client::default() };
    let now = SystemTime::now();
    let minutes = |count: u64| Duration::from_secs(count * 60);
    let tamper: Change = |request| *request.body_mut() = Full::from(r#"{"messages":[1]}"#);
    let cases: [(Client, Change, [&str; 2], &str); 19] = [
        (
            Client {
                id: "TGKEXAMPLE000002",
                ..Client::default()
            },
            nothing,
            UNRECOGNIZED,
            "spec.aws",
        ),
        (
            Client {
                secret: "another",
                ..Client::default()
            },
            nothing,
            INVALID,
            "check the secret",
        ),
        (at(now - minutes(16)), nothing, SKEWED, "set the client's clock"),
        (at(now + minutes(16)), nothing, SKEWED, "set the client's clock"),
        (Client::default(), tamper, INVALID, "the body"),
        (signed(told_hash), tamper, INVALID, "x-amz-content-sha256"),
        (
            signed(&[("x-amz-content-sha256", "UNSIGNED-PAYLOAD")]),
            nothing,
            INCOMPLETE,
            "unsigned payloads",
        ),
        (
            Client {
                token: Some("token"),
                ..Client::default()
            },
            nothing,
            INVALID,
            "AWS_SESSION_TOKEN",
        ),
        (
            Client::default(),
            |request| edit(request, "host;", ""),
            INCOMPLETE,
            "header host must be",
        ),
        (
            Client::default(),
            |request| edit(request, ";x-amz-date", ""),
            INCOMPLETE,
            "header x-amz-date must be",
        ),
        (
            Client::default(),
            |request| edit(request, "us-east-1", "us-east-2"),
            INVALID,
            "check the secret",
        ),
        (
            Client::default(),
            |request| edit(request, ", Signature", "; Signature"),
            INCOMPLETE,
            "Authorization must be",
        ),
        (
            Client::default(),
            |request| drop(request.headers_mut().remove("x-amz-date")),
            INCOMPLETE,
            "x-amz-date must be a time",
        ),
        (
            Client::default(),
            |request| drop(request.headers_mut().remove("content-type")),
            INCOMPLETE,
            "did not arrive",
        ),
        (
            Client::default(),
            |request| {
                drop(
                    request
                        .headers_mut()
                        .insert("x-amz-target", HeaderValue::from_static("Other")),
                )
            },
            INCOMPLETE,
            "header x-amz-target must be",
        ),
        (
            Client::default(),
            |request| retarget(request, "v1%3A0", "v2%3A0"),
            INVALID,
            "the path",
        ),
        (
            Client::default(),
            |request| retarget(request, "/converse", "/converse?a=1"),
            INVALID,
            "the query",
        ),
        (
            Client::default(),
            |request| *request.method_mut() = Method::PUT,
            INVALID,
            "another request",
        ),
        (
            Client::default(),
            |request| {
                retarget(
                    request,
                    "/converse",
                    "/converse?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00",
                );
                request.headers_mut().remove(header::AUTHORIZATION);
            },
            INCOMPLETE,
            "presigned",
        ),
    ];
    let mut upstream = Upstream::json(StatusCode::OK, CONVERSE).await;
    let gateway = gateway(&upstream).await;
    for (client, change, [exception, code], reason) in cases {
        let mut request = client.sign(&gateway);
        change(&mut request);
        let told = refused(&gateway, &mut upstream, request, exception, code).await;
        assert!(told.contains(reason), "{reason}: {told}");
    }
    // The same call, unchanged.
    for client in [
        Client::default(),
        at(now - minutes(14)),
        at(now + minutes(14)),
        signed(told_hash),
    ] {
        assert_eq!(gateway.call(client.sign(&gateway)).await.0.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn an_sdk_of_aws_is_answered_in_its_words_wherever_it_was_pointed() {
    let mut upstream = Upstream::json(StatusCode::OK, CONVERSE).await;
    let gateway = gateway(&upstream).await;
    for path in ["/openai/v1/chat/completions", "/nowhere"] {
        let client = Client {
            path,
            secret: "another",
            ..Client::default()
        };
        let request = client.sign(&gateway);
        refused(
            &gateway,
            &mut upstream,
            request,
            "InvalidSignatureException",
            "invalid_signature",
        )
        .await;
    }
}

#[tokio::test]
async fn the_access_key_id_alone_is_no_key() {
    let mut upstream = Upstream::json(StatusCode::OK, CONVERSE).await;
    let gateway = gateway(&upstream).await;
    for header in ["authorization", "x-api-key"] {
        let mut request = gateway.request(Method::POST, PATH, BODY);
        let value = if header == "authorization" {
            format!("Bearer {ID}")
        } else {
            ID.to_owned()
        };
        request.headers_mut().remove(header::AUTHORIZATION);
        request.headers_mut().insert(header, value.parse().unwrap());
        assert_eq!(gateway.call(request).await.0.status, StatusCode::UNAUTHORIZED);
    }
    assert!(!upstream.was_asked() && gateway.ledger.rows().is_empty());
}

#[tokio::test]
async fn who_cannot_sign_learns_nothing_of_a_key() {
    let upstream = Upstream::json(StatusCode::OK, CONVERSE).await;
    let mut setup = Setup::new(vec![bedrock(&upstream)]);
    setup.keys.push(Key {
        disabled: true,
        ..signing("off", "TGKEXAMPLE000002")
    });
    setup.keys.push(Key {
        expires: Some(Timestamp::from_unix_us(1)),
        ..signing("old", "TGKEXAMPLE000003")
    });
    let gateway = setup.start().await;
    for (id, code) in [("TGKEXAMPLE000002", "disabled_key"), ("TGKEXAMPLE000003", "expired_key")] {
        let client = Client { id, ..Client::default() };
        let (head, body) = gateway.call(client.sign(&gateway)).await;
        let text = String::from_utf8_lossy(&body);
        assert!(head.status == StatusCode::UNAUTHORIZED && text.contains(code), "{text}");
        let client = Client {
            secret: "another",
            ..client
        };
        let (head, body) = gateway.call(client.sign(&gateway)).await;
        let text = String::from_utf8_lossy(&body);
        assert!(
            head.status == StatusCode::FORBIDDEN && text.contains("invalid_signature"),
            "{text}"
        );
    }
    assert!(gateway.ledger.rows().is_empty());
}

#[tokio::test]
async fn a_body_without_a_length_is_verified_and_one_too_large_is_refused() {
    let mut upstream = Upstream::json(StatusCode::OK, CONVERSE).await;
    let mut setup = Setup::new(vec![bedrock(&upstream)]);
    setup.keys.push(signing("signer", ID));
    setup.limits = Limits {
        request_body_bytes_max: BODY.len() as u64,
        ..Limits::default()
    };
    let gateway = setup.start().await;
    let chunked = |parts: [&'static str; 2]| {
        let (head, _) = Client::default().sign(&gateway).into_parts();
        let (sender, receiver) = tokio::sync::mpsc::channel(parts.len());
        for part in parts {
            sender.try_send(Bytes::from_static(part.as_bytes())).unwrap();
        }
        Request::from_parts(head, TestBody::Channel(receiver))
    };
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let (first, second) = BODY.split_at(5);
    let answer = client.request(chunked([first, second])).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.into_body().collect().await.unwrap();
    assert_eq!(&upstream.next().await.body[..], BODY.as_bytes());
    let answer = client.request(chunked([BODY, "x"])).await.unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&text).contains("body_too_large"));
    assert!(!upstream.was_asked());
    assert_eq!(gateway.ledger.rows().len(), 1, "nobody is charged for the second");
}

#[tokio::test]
async fn a_signer_who_is_refused_leaves_a_row() {
    let mut upstream = Upstream::json(StatusCode::OK, CONVERSE).await;
    let guarded = Provider {
        access: Access {
            mode: AccessMode::DenyAll,
            exceptions: vec![],
        },
        ..bedrock(&upstream)
    };
    let mut setup = Setup::new(vec![guarded]);
    setup.keys.push(signing("signer", ID));
    let gateway = setup.start().await;
    let (head, _) = gateway.call(Client::default().sign(&gateway)).await;
    assert_eq!(head.status, StatusCode::NOT_FOUND);
    let row = gateway.ledger.row().await;
    assert!(row.refused && row.ending.outcome == Outcome::RefusedPolicy && !upstream.was_asked());
    assert_eq!(row.intent.identity.key_id, name("signer"));
}
