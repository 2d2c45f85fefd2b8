//! Moesif: events without profiles, and actions with profiles, whose requests meet the same faults.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::conformance;
use super::http::{HttpKind, HttpRig};
use super::receiver::{Request, Response};
use crate::moesif::{Config, Moesif, Shape};
use crate::testing::Virtual;
use crate::{Destination, Tls};

/// What the exporter's own clock decides must not be decided by the machine's.
const NEVER: Duration = Duration::from_hours(1);

struct Events;
struct Actions;

fn destination(url: &str, ca: &str, credential: &str, change: impl FnOnce(&mut Config)) -> Arc<dyn Destination> {
    let mut config = Config {
        timeout: NEVER,
        tls: Tls {
            ca_pem: Some(ca.to_owned()),
            ..Tls::default()
        },
        ..Config::new(url.parse().unwrap(), credential.parse().unwrap())
    };
    change(&mut config);
    Arc::new(Moesif::new(config).unwrap())
}

fn credential(request: &Request) -> Option<String> {
    request.header("x-moesif-application-id").map(str::to_owned)
}

fn ids(request: &Request) -> Vec<String> {
    let items: Vec<Value> = serde_json::from_slice(&request.body).unwrap();
    items
        .iter()
        .map(|item| item["transaction_id"].as_str().unwrap().to_owned())
        .collect()
}

impl HttpKind for Events {
    const SIGNALS: &'static [&'static str] = &["/v1/events/batch"];
    /// By `transaction_id`, as Moesif documents.
    const DROPS_REPEATS: bool = true;

    fn destination(url: &str, ca: &str, credential: &str, _clock: &Arc<Virtual>) -> Arc<dyn Destination> {
        destination(url, ca, credential, |config| config.profiles = false)
    }

    fn credential(request: &Request) -> Option<String> {
        credential(request)
    }

    fn ids(request: &Request) -> Vec<String> {
        ids(request)
    }

    /// The sampling configuration: a delivery goes on without it.
    fn is_aside(request: &Request) -> bool {
        request.path == "/v1/config"
    }

    fn accepted(request: &Request) -> Response {
        let answer = if Self::is_aside(request) {
            Response::of(200, "{\"sample_rate\": 100}")
        } else {
            Response::of(201, "{}")
        };
        answer.with("x-moesif-config-etag", "1")
    }
}

impl HttpKind for Actions {
    const SIGNALS: &'static [&'static str] = &["/v1/actions/batch"];
    const DROPS_REPEATS: bool = true;

    fn destination(url: &str, ca: &str, credential: &str, _clock: &Arc<Virtual>) -> Arc<dyn Destination> {
        destination(url, ca, credential, |config| config.shape = Shape::Actions)
    }

    fn credential(request: &Request) -> Option<String> {
        credential(request)
    }

    fn ids(request: &Request) -> Vec<String> {
        ids(request)
    }

    fn accepted(_request: &Request) -> Response {
        Response::of(201, "{}")
    }

    fn refused(_request: &Request, places: &[usize]) -> Response {
        Response::of(if places.len() > 1 { 413 } else { 422 }, "an action is bad")
    }
}

conformance!(moesif_events, HttpRig<Events>);
conformance!(moesif_actions, HttpRig<Actions>);
