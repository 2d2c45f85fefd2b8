//! Webhooks: plain JSON, and CloudEvents compressed and signed.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde_json::Value;
use sha2::Sha256;

use super::conformance;
use super::http::{HttpKind, HttpRig};
use super::receiver::{Request, Response};
use crate::testing::Virtual;
use crate::webhook::{Config, Format, SigningSecret, Webhook};
use crate::{Destination, Tls};

struct PlainJson;
struct SignedCloudEvents;

/// The secret that a credential stands for: 24 bytes at least.
fn secret(credential: &str) -> Vec<u8> {
    format!("{credential:-<32}").into_bytes()
}

fn ids(rows: &Value, id: &str) -> Vec<String> {
    rows.as_array()
        .unwrap()
        .iter()
        .map(|row| row[id].as_str().unwrap().to_owned())
        .collect()
}

impl HttpKind for PlainJson {
    fn destination(url: &str, ca: &str, credential: &str, clock: &Arc<Virtual>) -> Arc<dyn Destination> {
        let mut config = Config {
            tls: Tls {
                ca_pem: Some(ca.to_owned()),
                ..Tls::default()
            },
            rows_max: 16,
            ..Config::new(url.parse().unwrap())
        };
        config
            .headers
            .insert(AUTHORIZATION, HeaderValue::from_str(credential).unwrap());
        Arc::new(Webhook::new(config, clock.clone()).unwrap())
    }

    fn credential(request: &Request) -> Option<String> {
        request.header("authorization").map(str::to_owned)
    }

    fn ids(request: &Request) -> Vec<String> {
        assert_eq!(
            (request.path.as_str(), request.header("content-type")),
            ("/", Some("application/json"))
        );
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body["type"], "tollgate.usage");
        ids(&body["rows"], "call_id")
    }
}

impl HttpKind for SignedCloudEvents {
    fn destination(url: &str, ca: &str, credential: &str, clock: &Arc<Virtual>) -> Arc<dyn Destination> {
        let secret = SigningSecret::parse(&format!("whsec_{}", STANDARD.encode(secret(credential)))).unwrap();
        let config = Config {
            tls: Tls {
                ca_pem: Some(ca.to_owned()),
                ..Tls::default()
            },
            secrets: vec![
                SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap(),
                secret,
            ],
            format: Format::CloudEvents,
            gzip: true,
            ..Config::new(url.parse().unwrap())
        };
        Arc::new(Webhook::new(config, clock.clone()).unwrap())
    }

    /// The credential whose secret made one of the signatures, worked out here anew.
    fn credential(request: &Request) -> Option<String> {
        let (id, timestamp) = (request.header("webhook-id")?, request.header("webhook-timestamp")?);
        let signatures: Vec<_> = request.header("webhook-signature")?.split(' ').collect();
        (0..3).map(|number| format!("credential-{number}")).find(|credential| {
            let mut mac = Hmac::<Sha256>::new_from_slice(&secret(credential)).unwrap();
            mac.update(&[id.as_bytes(), b".", timestamp.as_bytes(), b".", &request.body].concat());
            signatures.contains(&format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())).as_str())
        })
    }

    fn ids(request: &Request) -> Vec<String> {
        assert_eq!(request.header("content-encoding"), Some("gzip"));
        ids(&serde_json::from_slice(&request.body).unwrap(), "id")
    }

    fn accepted(_request: &Request) -> Response {
        Response::of(202, "thanks")
    }

    fn refused(_request: &Request, places: &[usize]) -> Response {
        Response::of(if places.len() > 1 { 413 } else { 422 }, "a row is bad")
    }
}

conformance!(plain_json, HttpRig<PlainJson>);
conformance!(signed_cloud_events, HttpRig<SignedCloudEvents>);
