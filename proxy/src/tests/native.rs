//! What the SDKs of Google and AWS do otherwise: keys in queries and signatures, models in paths, errors with a header.

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use tollgate_codec::Codec;

use super::harness::{Setup, Upstream, name, provider};
use crate::{Credential, Provider, Signer};

const GEMINI: &str = r#"{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":3,"totalTokenCount":10}}"#;
const CONVERSE: &str = r#"{"stopReason":"end_turn","usage":{"inputTokens":7,"outputTokens":3,"totalTokens":10}}"#;
const SIGNATURE: &str =
    "AWS4-HMAC-SHA256 Credential=tg-secret/20261125/us-east-1/bedrock/aws4_request, SignedHeaders=host;x-amz-date, Signature=00";

fn bedrock(upstream: &Upstream) -> Provider {
    let signer = Signer::new(name("eu-west-1"), name("bedrock"), "AKIDOFTHEGATEWAY", "secret", None);
    Provider {
        credential: Some(Credential::Signature(signer)),
        ..provider("bedrock", Codec::bedrock(), &format!("http://{}", upstream.addr))
    }
}

#[tokio::test]
async fn a_key_in_the_query_ends_here() {
    let mut upstream = Upstream::json(StatusCode::OK, GEMINI).await;
    let gemini = Provider {
        key_in_query: true,
        ..provider("gemini", Codec::gemini(), &format!("http://{}", upstream.addr))
    };
    let gateway = Setup::new(vec![gemini]).start().await;
    let path = "/gemini/v1beta/projects/p/locations/eu/publishers/google/models/g%2D3:generateContent?alt=json&key=tg-secret";
    let mut request = gateway.request(Method::POST, path, "{}");
    request.headers_mut().remove(header::AUTHORIZATION);
    let (head, _) = gateway.call(request).await;
    assert_eq!(head.status, StatusCode::OK);
    assert_eq!(
        upstream.next().await.head.uri,
        "/v1beta/projects/p/locations/eu/publishers/google/models/g%2D3:generateContent?alt=json"
    );
    let row = gateway.ledger.row().await;
    let call = &row.intent.call;
    assert_eq!((&call.request_model, &call.region), (&Some(name("g-3")), &Some(name("eu"))));
    assert_eq!((row.ending.usage.input, row.ending.usage.output), (Some(7), Some(3)));
}

#[tokio::test]
async fn elsewhere_a_query_is_the_providers() {
    let mut upstream = Upstream::json(StatusCode::OK, "{}").await;
    let other = provider("other", Codec::openai(), &format!("http://{}", upstream.addr));
    let gateway = Setup::new(vec![other]).start().await;
    let mut request = gateway.request(Method::GET, "/other/v1/files?key=tg-secret", "");
    gateway
        .call(gateway.request(Method::GET, "/other/v1/files?key=tg-secret", ""))
        .await;
    assert_eq!(upstream.next().await.head.uri, "/v1/files?key=tg-secret");
    request.headers_mut().remove(header::AUTHORIZATION);
    assert_eq!(gateway.call(request).await.0.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_signed_call_is_signed_anew() {
    let mut upstream = Upstream::json(StatusCode::OK, CONVERSE).await;
    let gateway = Setup::new(vec![bedrock(&upstream)]).start().await;
    let path = "/bedrock/model/arn%3Aaws%3Abedrock%3A%3A%3Ainference-profile%2Fus.amazon.nova-pro-v1%3A0/converse";
    let mut request = gateway.request(Method::POST, path, r#"{"messages":[]}"#);
    for (header, value) in [
        ("authorization", SIGNATURE),
        ("x-amz-date", "20200101T000000Z"),
        ("x-amz-security-token", "token-of-the-client"),
        ("amz-sdk-request", "attempt=1"),
    ] {
        request
            .headers_mut()
            .insert(HeaderName::from_static(header), HeaderValue::from_static(value));
    }
    let (head, _) = gateway.call(request).await;
    assert_eq!(head.status, StatusCode::OK);
    let seen = upstream.next().await.head;
    assert_eq!(
        seen.uri,
        "/model/arn%3Aaws%3Abedrock%3A%3A%3Ainference-profile%2Fus.amazon.nova-pro-v1%3A0/converse"
    );
    let signature = seen.headers["authorization"].to_str().unwrap();
    assert!(
        signature.starts_with("AWS4-HMAC-SHA256 Credential=AKIDOFTHEGATEWAY/")
            && signature.contains("/eu-west-1/bedrock/aws4_request"),
        "{signature}"
    );
    assert_ne!(seen.headers["x-amz-date"], "20200101T000000Z");
    assert!(!seen.headers.contains_key("x-amz-security-token"));
    assert_eq!(seen.headers["amz-sdk-request"], "attempt=1");
    let row = gateway.ledger.row().await;
    let arn = "arn:aws:bedrock:::inference-profile/us.amazon.nova-pro-v1:0";
    assert_eq!(row.intent.call.request_model, Some(name(arn)));
    assert_eq!((row.ending.usage.input, row.ending.usage.output), (Some(7), Some(3)));
}

#[tokio::test]
async fn a_refusal_has_the_header_that_the_sdk_reads() {
    let upstream = Upstream::json(StatusCode::OK, CONVERSE).await;
    let gateway = Setup::new(vec![bedrock(&upstream)]).start().await;
    let mut request = gateway.request(Method::POST, "/bedrock/model/m/converse", "{}");
    request.headers_mut().remove(header::AUTHORIZATION);
    let (head, body) = gateway.call(request).await;
    assert_eq!(head.status, StatusCode::UNAUTHORIZED);
    assert_eq!(head.headers["x-amzn-errortype"], "UnrecognizedClientException");
    assert!(String::from_utf8_lossy(&body).contains("missing_key"));
}
