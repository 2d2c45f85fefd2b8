//! Delivers three rows (a call, and a correction of it in two) to a far side, for tests against receivers that are not ours:
//! `deliver moesif URL`, `deliver otlp-grpc URL`, `deliver otlp-http URL`. Says what became of them, and fails if they were not accepted.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "it is run by a test")]
#![recursion_limit = "256"]

#[path = "../src/fixture.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod fixture;

use serde_json::json;
use tollgate_exporters::{Delivery, Destination, moesif, otlp};

#[tokio::main]
async fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [kind, url] = &arguments[..] else {
        panic!("usage: deliver moesif|otlp-grpc|otlp-http URL")
    };
    let url = url.parse().unwrap();
    let destination: Box<dyn Destination> = match kind.as_str() {
        "moesif" => Box::new(moesif::Moesif::new(moesif::Config::new(url, "app-1".parse().unwrap())).unwrap()),
        "otlp-grpc" => Box::new(otlp::Otlp::new(otlp::Config::new(url, otlp::Protocol::Grpc)).unwrap()),
        "otlp-http" => Box::new(otlp::Otlp::new(otlp::Config::new(url, otlp::Protocol::Http)).unwrap()),
        other => panic!("{other} is no kind"),
    };
    let correction = |number, cost| fixture::call_with(number, json!({"corrects": fixture::call(1)["call_id"], "cost": cost}));
    let rows = fixture::batch(&[fixture::call(1), correction(2, "-0.000123456789"), correction(3, "0.0001")]);
    let delivery = destination.deliver(&rows).await;
    println!("{delivery:?}");
    assert_eq!(delivery, Delivery::Accepted);
}
