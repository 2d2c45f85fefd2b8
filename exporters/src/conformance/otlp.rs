//! OTLP with all three signals, over HTTP and over gRPC. A row has arrived when its spans and its event have; metrics tell no rows, their
//! requests meet the same faults.
//!
//! Not here: a receiver that takes a part of a message and does not say which. No rig knows which rows it then lacks, and nor does the exporter; what it
//! does is in the tests of the kind.

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderValue};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;

use super::conformance;
use super::http::{HttpKind, HttpRig};
use super::receiver::{Request, Wire};
use crate::otlp::{Config, Otlp, Protocol};
use crate::testing::Virtual;
use crate::{Destination, Tls};

/// What the exporter's own clock decides must not be decided by the machine's.
const NEVER: Duration = Duration::from_hours(1);

struct Http;
struct Grpc;

fn destination(url: &str, ca: &str, credential: &str, protocol: Protocol) -> Arc<dyn Destination> {
    let mut config = Config {
        timeout: NEVER,
        tls: Tls {
            ca_pem: Some(ca.to_owned()),
            ..Tls::default()
        },
        ..Config::new(url.parse().unwrap(), protocol)
    };
    config
        .headers
        .insert(AUTHORIZATION, HeaderValue::from_str(credential).unwrap());
    Arc::new(Otlp::new(config).unwrap())
}

fn credential(request: &Request) -> Option<String> {
    request.header("authorization").map(str::to_owned)
}

fn call_id(attributes: &[KeyValue]) -> String {
    let attribute = attributes
        .iter()
        .find(|attribute| attribute.key == "tollgate.call_id")
        .unwrap();
    match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
        Value::StringValue(id) => id.clone(),
        other => panic!("{other:?} is no id"),
    }
}

/// Of spans each server span's, of which a call has one; each event's.
fn ids(request: &Request) -> Vec<String> {
    if request.path.to_lowercase().contains("trace") {
        let message = ExportTraceServiceRequest::decode(&*request.body).unwrap();
        let scopes = message.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        let spans = scopes.flat_map(|scope| &scope.spans);
        spans
            .filter(|span| span.kind() == SpanKind::Server)
            .map(|span| call_id(&span.attributes))
            .collect()
    } else {
        let message = ExportLogsServiceRequest::decode(&*request.body).unwrap();
        let scopes = message.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
        let records = scopes.flat_map(|scope| &scope.log_records);
        records.map(|record| call_id(&record.attributes)).collect()
    }
}

impl HttpKind for Http {
    const SIGNALS: &'static [&'static str] = &["/v1/traces", "/v1/logs"];

    fn destination(url: &str, ca: &str, credential: &str, _clock: &Arc<Virtual>) -> Arc<dyn Destination> {
        destination(url, ca, credential, Protocol::Http)
    }

    fn credential(request: &Request) -> Option<String> {
        credential(request)
    }

    fn ids(request: &Request) -> Vec<String> {
        ids(request)
    }
}

impl HttpKind for Grpc {
    const WIRE: Wire = Wire::Grpc;
    const SIGNALS: &'static [&'static str] = &["TraceService/Export", "LogsService/Export"];

    fn destination(url: &str, ca: &str, credential: &str, _clock: &Arc<Virtual>) -> Arc<dyn Destination> {
        destination(url, ca, credential, Protocol::Grpc)
    }

    fn credential(request: &Request) -> Option<String> {
        credential(request)
    }

    fn ids(request: &Request) -> Vec<String> {
        ids(request)
    }
}

conformance!(otlp_http, HttpRig<Http>);
conformance!(otlp_grpc, HttpRig<Grpc>);
