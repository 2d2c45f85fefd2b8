//! Against a receiver with the official message types and tonic's gRPC server.

mod receiver;

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Metric, ResourceMetrics};
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};
use tonic::metadata::MetadataValue;

use super::*;
use crate::{Tls, fixture};
use receiver::{Receiver, Reply};

/// The start of the calls of [`fixture::call`].
const START_NS: u64 = 1_764_547_200_000_000_000;

async fn start(protocol: Protocol, change: impl FnOnce(&mut Config)) -> (Arc<Receiver>, Otlp) {
    let receiver = Arc::new(Receiver::default());
    let url = receiver.start(None).await;
    let path = if protocol == Protocol::Http { "/base/" } else { "" };
    let mut config = Config::new(format!("{url}{path}").parse().unwrap(), protocol);
    change(&mut config);
    (receiver, Otlp::new(config).unwrap())
}

const fn only(traces: bool, logs: bool, metrics: bool) -> Signals {
    Signals { traces, logs, metrics }
}

/// Attributes as JSON; a name that comes twice is an error.
fn attributes(attributes: &[KeyValue]) -> Value {
    let mut object = serde_json::Map::new();
    for attribute in attributes {
        let value = match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
            Any::StringValue(text) => json!(text),
            Any::IntValue(number) => json!(number),
            Any::BoolValue(flag) => json!(flag),
            Any::DoubleValue(number) => json!(number),
            Any::ArrayValue(list) => list
                .values
                .iter()
                .map(|item| match item.value.as_ref().unwrap() {
                    Any::StringValue(text) => json!(text),
                    other => panic!("{other:?}"),
                })
                .collect(),
            other => panic!("{other:?}"),
        };
        assert!(
            object.insert(attribute.key.clone(), value).is_none(),
            "{} twice",
            attribute.key
        );
    }
    Value::Object(object)
}

fn correction(number: u64, cost: &str) -> Value {
    fixture::call_with(
        number,
        json!({"corrects": fixture::call(1)["call_id"], "cost": cost, "input_tokens": -9, "output_tokens": -40}),
    )
}

/// What the points of a sum say, by name, temporality apart.
fn sums(message: &ResourceMetrics) -> BTreeMap<String, Vec<i64>> {
    let metrics = message.scope_metrics.iter().flat_map(|scope| &scope.metrics);
    let sum = |metric: &Metric| match &metric.data {
        Some(Data::Sum(sum)) => {
            assert!(sum.is_monotonic);
            let values = sum.data_points.iter().map(|point| match point.value {
                Some(Number::AsInt(units)) => units,
                other => panic!("{other:?}"),
            });
            Some((metric.name.clone(), values.collect()))
        }
        _ => None,
    };
    metrics.filter_map(sum).collect()
}

fn spans(receiver: &Receiver) -> Vec<Span> {
    let traces = receiver.traces.lock().unwrap();
    traces
        .iter()
        .flat_map(|message| &message.resource_spans)
        .flat_map(|resource| &resource.scope_spans)
        .flat_map(|scope| scope.spans.clone())
        .collect()
}

#[tokio::test]
async fn both_protocols_carry_the_same_three_signals() {
    let rows = fixture::batch(&[
        fixture::call(1),
        fixture::call_with(2, json!({"instance": "gw-2"})),
        correction(3, "-0.000123456789"),
    ]);
    let mut seen = Vec::new();
    for (protocol, gzip) in [
        (Protocol::Grpc, true),
        (Protocol::Grpc, false),
        (Protocol::Http, true),
        (Protocol::Http, false),
    ] {
        let (receiver, otlp) = start(protocol, |config| {
            (config.temporality, config.gzip) = (Temporality::Delta, gzip)
        })
        .await;
        assert_eq!(otlp.deliver(&rows).await, Delivery::Accepted, "{protocol:?}");
        let (traces, logs, metrics) = (
            receiver.traces.lock().unwrap().clone(),
            receiver.logs.lock().unwrap().clone(),
            receiver.metrics.lock().unwrap().clone(),
        );
        assert_eq!((traces.len(), logs.len(), metrics.len()), (1, 1, 1));
        // Two calls with two spans each; three events, one of them of a correction; a resource for each gateway.
        assert_eq!(spans(&receiver).len(), 4);
        assert_eq!(
            logs[0]
                .resource_logs
                .iter()
                .map(|resource| resource.scope_logs[0].log_records.len())
                .collect::<Vec<_>>(),
            [2, 1]
        );
        let instances: Vec<_> = metrics[0]
            .resource_metrics
            .iter()
            .map(|message| attributes(&message.resource.as_ref().unwrap().attributes)["service.instance.id"].clone())
            .collect();
        assert_eq!(instances, ["gw-1", "gw-2"]);
        seen.push((traces, logs, metrics));
    }
    assert!(seen.iter().all(|signals| *signals == seen[0]));
}

#[tokio::test]
async fn a_call_is_a_server_span_around_a_client_span_in_the_callers_trace() {
    let (receiver, otlp) = start(Protocol::Grpc, |config| config.signals = only(true, false, false)).await;
    assert_eq!(otlp.deliver(&fixture::batch(&[fixture::call(1)])).await, Delivery::Accepted);
    let message = receiver.traces.lock().unwrap()[0].clone();
    let resource = &message.resource_spans[0];
    assert_eq!(
        attributes(&resource.resource.as_ref().unwrap().attributes),
        json!({"service.name": "tollgate", "service.version": env!("CARGO_PKG_VERSION"), "service.instance.id": "gw-1"})
    );
    assert_eq!(resource.schema_url, SCHEMA_URL);
    let spans = spans(&receiver);
    let [server, client] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(
        (server.name.as_str(), server.kind, client.name.as_str(), client.kind),
        ("tollgate chat", 2, "chat gpt-5", 3)
    );
    assert_eq!(
        (&server.trace_id, server.parent_span_id.as_slice()),
        (&client.trace_id, &0x00f0_67aa_0ba9_02b7_u64.to_be_bytes()[..])
    );
    assert_eq!(
        (&client.parent_span_id, server.flags, client.flags),
        (&server.span_id, 0x301, 0x101)
    );
    assert_eq!(
        (server.start_time_unix_nano, server.end_time_unix_nano),
        (START_NS, START_NS + 1_500_000_000)
    );
    assert_eq!(
        (client.start_time_unix_nano, client.end_time_unix_nano),
        (START_NS + 400_000, START_NS + 1_500_000_000)
    );
    assert_eq!((&server.status, &client.status), (&None, &None));
    assert_eq!(
        attributes(&client.attributes),
        json!({
            "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-5", "gen_ai.response.model": "gpt-5-2025-08-07",
            "gen_ai.conversation.id": "s-1", "gen_ai.agent.name": "planner", "gen_ai.request.stream": true, "gen_ai.response.time_to_first_chunk": 0.33,
            "gen_ai.response.finish_reasons": ["stop"], "gen_ai.usage.input_tokens": 9, "gen_ai.usage.output_tokens": 40,
            "gen_ai.usage.cache_read.input_tokens": 2, "gen_ai.usage.reasoning.output_tokens": 10, "server.address": "api.openai.com", "server.port": 443,
        })
    );
    assert_eq!(
        attributes(&server.attributes),
        json!({
            "tollgate.call_id": "01938f00-0000-7000-8000-000000000001", "tollgate.request_id": "01938f00-0000-7000-9000-000000000001",
            "tollgate.attempt": 1, "tollgate.seq": 1, "tollgate.org": "acme", "tollgate.team": "growth", "tollgate.project": "search", "tollgate.service": "ranker",
            "tollgate.key_id": "bot", "user.id": "ann", "tollgate.proxy": "chat-eu", "tollgate.route_rule": "default", "tollgate.region": "eu", "tollgate.outcome": "ok",
            "http.response.status_code": 200, "http.request.body.size": 1024, "http.response.body.size": 4096, "tollgate.gateway_overhead_us": 400,
            "tollgate.usage_source": "reported", "tollgate.cost": "0.000123456789", "tollgate.cost_units": 123_456_789, "tollgate.list_cost": "0.0002",
            "tollgate.currency": "USD", "tollgate.cost_status": "priced", "tollgate.price_version": "2025-12-01", "tollgate.tag.cost_center": "4711",
            "gen_ai.operation.name": "chat",
        })
    );
}

#[tokio::test]
async fn a_failed_call_has_failed_spans_and_a_refused_one_no_attempt() {
    let (receiver, otlp) = start(Protocol::Http, |config| config.signals = only(true, true, false)).await;
    let failed = fixture::call_with(
        1,
        json!({"outcome": "upstream_error", "status_code": 502, "error_type": "overloaded_error"}),
    );
    let refused = fixture::call_with(
        2,
        json!({"outcome": "refused_budget", "status_code": 429, "error_type": "budget_exceeded"}),
    );
    assert_eq!(otlp.deliver(&fixture::batch(&[failed, refused])).await, Delivery::Accepted);
    let spans = spans(&receiver);
    let told: Vec<_> = spans
        .iter()
        .map(|span| {
            (
                span.name.as_str(),
                span.status.as_ref().map(|status| (status.code, status.message.as_str())),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("tollgate chat", Some((2, "overloaded_error"))),
            ("chat gpt-5", Some((2, "overloaded_error"))),
            ("tollgate chat", None)
        ]
    );
    assert_eq!(attributes(&spans[2].attributes)["error.type"], "budget_exceeded");
    let logs = receiver.logs.lock().unwrap();
    let records = &logs[0].resource_logs[0].scope_logs[0].log_records;
    assert_eq!(
        records.iter().map(|record| record.severity_text.as_str()).collect::<Vec<_>>(),
        ["ERROR", "WARN"]
    );
}

#[tokio::test]
async fn a_call_is_one_event_without_content() {
    let (receiver, otlp) = start(Protocol::Grpc, |config| config.signals = only(false, true, false)).await;
    assert_eq!(
        otlp.deliver(&fixture::batch(&[fixture::call(1), correction(2, "-0.000123456789")]))
            .await,
        Delivery::Accepted
    );
    let logs = receiver.logs.lock().unwrap();
    let [call, correction] = &logs[0].resource_logs[0].scope_logs[0].log_records[..] else {
        panic!("{logs:?}")
    };
    assert_eq!(
        (call.event_name.as_str(), call.severity_text.as_str(), call.time_unix_nano),
        ("gen_ai.client.inference.operation.details", "INFO", START_NS + 1_500_000_000)
    );
    assert_eq!(
        call.body.as_ref().unwrap().value,
        Some(Any::StringValue("chat gpt-5 ok".to_owned()))
    );
    assert_eq!(call.span_id, 0x8000_0000_0000_0001_u64.to_be_bytes());
    let told = attributes(&call.attributes);
    assert_eq!(
        (
            &told["tollgate.cost"],
            &told["gen_ai.usage.output_tokens"],
            &told["tollgate.decisions"]
        ),
        (&json!("0.000123456789"), &json!(40), &json!(["pii noted: an e-mail address"]))
    );
    assert!(
        !told
            .as_object()
            .unwrap()
            .keys()
            .any(|name| name.ends_with(".messages") || name.contains("system_instructions"))
    );
    assert_eq!(correction.event_name, "tollgate.correction");
    assert_eq!(attributes(&correction.attributes)["tollgate.cost_units"], -123_456_789);
}

#[tokio::test]
async fn histograms_hold_what_calls_measured_and_money_is_whole_numbers() {
    let (receiver, otlp) = start(Protocol::Grpc, |config| {
        (config.signals, config.temporality) = (only(false, false, true), Temporality::Delta)
    })
    .await;
    let unstreamed = fixture::call_with(2, json!({"stream": false, "cost": "1.000000000001"}));
    assert_eq!(
        otlp.deliver(&fixture::batch(&[
            fixture::call(1),
            unstreamed,
            correction(3, "-0.000123456789"),
            correction(4, "0.0001")
        ]))
        .await,
        Delivery::Accepted
    );
    let metrics = receiver.metrics.lock().unwrap();
    let message = &metrics[0].resource_metrics[0];
    // 123,456,789 + 1,000,000,000,001 + 100,000,000 units of 10^-12; taken back: 123,456,789.
    assert_eq!(
        sums(message),
        BTreeMap::from([
            ("tollgate.cost".to_owned(), vec![1_000_223_456_790]),
            ("tollgate.cost.taken_back".to_owned(), vec![123_456_789])
        ])
    );
    let dimensions = json!({
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-5", "gen_ai.response.model": "gpt-5-2025-08-07",
        "server.address": "api.openai.com", "server.port": 443, "tollgate.team": "growth",
    });
    let with = |key: &str, value: &str| {
        let mut object = dimensions.clone();
        object[key] = json!(value);
        object
    };
    let mut points = Vec::new();
    for metric in &message.scope_metrics[0].metrics {
        if let Some(Data::ExponentialHistogram(histogram)) = &metric.data {
            assert_eq!(histogram.aggregation_temporality, AggregationTemporality::Delta as i32);
            for point in &histogram.data_points {
                let counted = point.zero_count + point.positive.as_ref().unwrap().bucket_counts.iter().sum::<u64>();
                assert_eq!(counted, point.count);
                // Both calls ended 1.5 seconds after the start.
                assert_eq!(
                    (point.start_time_unix_nano, point.time_unix_nano),
                    (START_NS + 1_499_999_999, START_NS + 1_500_000_000)
                );
                points.push((
                    metric.name.clone(),
                    metric.unit.clone(),
                    point.count,
                    format!("{:.6}", point.sum.unwrap()),
                    attributes(&point.attributes),
                ));
            }
        }
    }
    let expected = |name: &str, unit: &str, count: u64, sum: &str, attributes: Value| {
        (name.to_owned(), unit.to_owned(), count, sum.to_owned(), attributes)
    };
    assert_eq!(
        points,
        [
            expected(
                "gen_ai.client.token.usage",
                "{token}",
                2,
                "18.000000",
                with("gen_ai.token.type", "input")
            ),
            expected(
                "gen_ai.client.token.usage",
                "{token}",
                2,
                "80.000000",
                with("gen_ai.token.type", "output")
            ),
            expected("gen_ai.client.operation.duration", "s", 2, "3.000000", dimensions.clone()),
            // Only the streamed call: 0.33 s, and (1.5 - 0.33) s over 39 tokens = 0.03 s.
            expected("gen_ai.server.time_to_first_token", "s", 1, "0.330000", dimensions.clone()),
            expected("gen_ai.server.time_per_output_token", "s", 1, "0.030000", dimensions.clone()),
        ]
    );
    let units: BTreeMap<_, _> = message.scope_metrics[0]
        .metrics
        .iter()
        .map(|metric| (metric.name.as_str(), metric.unit.as_str()))
        .collect();
    assert_eq!(units["tollgate.cost"], "10*-12{currency}");
}

#[tokio::test]
async fn cumulative_totals_count_a_row_once_however_often_it_comes() {
    let (receiver, otlp) = start(Protocol::Grpc, |config| config.signals = only(false, false, true)).await;
    let rows = fixture::batch(&(1..=10).map(fixture::call).collect::<Vec<_>>());
    let later = fixture::batch(&(11..=14).map(fixture::call).collect::<Vec<_>>());
    let mut totals = Vec::new();
    // Whole, again, its halves, the next batch before one in between, and a replay of everything.
    for batch in [
        rows.clone(),
        rows.clone(),
        rows.slice(0, 5),
        rows.slice(5, 5),
        later.slice(2, 2),
        later.slice(0, 2),
        rows,
        later,
    ] {
        assert_eq!(otlp.deliver(&batch).await, Delivery::Accepted);
        totals.push(sums(&receiver.metrics.lock().unwrap().last().unwrap().resource_metrics[0])["tollgate.cost"][0] / 123_456_789);
    }
    assert_eq!(totals, [10, 10, 10, 10, 12, 14, 14, 14]);
    let metrics = receiver.metrics.lock().unwrap();
    let starts: std::collections::BTreeSet<_> = metrics
        .iter()
        .flat_map(
            |message| match &message.resource_metrics[0].scope_metrics[0].metrics[0].data {
                Some(Data::ExponentialHistogram(histogram)) => histogram
                    .data_points
                    .iter()
                    .map(|point| (point.start_time_unix_nano, histogram.aggregation_temporality))
                    .collect::<Vec<_>>(),
                other => panic!("{other:?}"),
            },
        )
        .collect();
    assert_eq!(
        starts,
        std::collections::BTreeSet::from([(otlp.started_ns, AggregationTemporality::Cumulative as i32)])
    );
}

#[tokio::test]
async fn a_delta_batch_that_comes_again_is_the_same_points() {
    let (receiver, otlp) = start(Protocol::Http, |config| {
        (config.signals, config.temporality) = (only(false, false, true), Temporality::Delta)
    })
    .await;
    let rows = fixture::batch(&[fixture::call(1), fixture::call(2)]);
    otlp.deliver(&rows).await;
    assert_eq!(otlp.deliver(&rows).await, Delivery::Accepted);
    let metrics = receiver.metrics.lock().unwrap();
    assert_eq!(metrics.len(), 2);
    assert_eq!(metrics[0], metrics[1]);
}

#[tokio::test]
async fn totals_that_no_integer_holds_begin_anew_and_a_batch_that_none_holds_is_refused() {
    // 9,223,372.036854775807 is the most of an i64 in units of 10^-12.
    let (receiver, otlp) = start(Protocol::Grpc, |config| config.signals = only(false, false, true)).await;
    let costly = |number: u64, cost: &str| fixture::batch(&[fixture::call_with(number, json!({"cost": cost}))]);
    otlp.deliver(&costly(1, "9223372.036854775807")).await;
    otlp.deliver(&costly(2, "0.5")).await;
    let told: Vec<_> = receiver
        .metrics
        .lock()
        .unwrap()
        .iter()
        .map(|message| sums(&message.resource_metrics[0])["tollgate.cost"][0])
        .collect();
    assert_eq!(told, [i64::MAX, 500_000_000_000]);
    assert!(matches!(
        otlp.deliver(&costly(3, "9223372.036854775808")).await,
        Delivery::Invalid { .. }
    ));
}

#[tokio::test]
async fn what_was_taken_of_a_batch_is_not_sent_again() {
    let (receiver, otlp) = start(Protocol::Grpc, |_| ()).await;
    let rows = fixture::batch(&[fixture::call(1)]);
    let mut busy = tonic::Status::unavailable("busy");
    busy.metadata_mut().insert("retry-after", MetadataValue::from_static("3"));
    receiver
        .replies
        .lock()
        .unwrap()
        .extend([Reply::Partial(0, ""), Reply::Grpc(busy)]);
    let told = otlp.deliver(&rows).await;
    let reason = "/opentelemetry.proto.collector.logs.v1.LogsService/Export answered UNAVAILABLE: busy".to_owned();
    assert_eq!(
        told,
        Delivery::Retry {
            after: Some(Duration::from_secs(3)),
            reason
        }
    );
    assert_eq!(otlp.deliver(&rows).await, Delivery::Accepted);
    assert_eq!(
        (
            receiver.traces.lock().unwrap().len(),
            receiver.logs.lock().unwrap().len(),
            receiver.metrics.lock().unwrap().len()
        ),
        (1, 1, 1)
    );
    // A batch that is through is a new one when it comes again, as by a replay.
    assert_eq!(otlp.deliver(&rows).await, Delivery::Accepted);
    assert_eq!(receiver.traces.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_partial_success_is_not_sent_again_and_tells_the_words() {
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let (receiver, otlp) = start(protocol, |config| config.signals = only(false, true, false)).await;
        let rows = fixture::batch(&[fixture::call(1), fixture::call(2)]);
        receiver.replies.lock().unwrap().extend([
            Reply::Partial(1, "too old"),
            Reply::Partial(2, "too old"),
            Reply::Partial(0, "soon gone"),
        ]);
        let told = |rows: Vec<usize>, count: u64| Delivery::Rejected {
            rows,
            answer: format!("{count} of 2 log records were refused: too old"),
        };
        assert_eq!(otlp.deliver(&rows).await, told(vec![], 1));
        assert_eq!(otlp.deliver(&rows).await, told(vec![0, 1], 2));
        assert_eq!(otlp.deliver(&rows).await, Delivery::Accepted);
    }
    // Spans were taken, so no row is dead.
    let (receiver, otlp) = start(Protocol::Grpc, |config| config.signals = only(true, true, false)).await;
    receiver
        .replies
        .lock()
        .unwrap()
        .extend([Reply::Partial(0, ""), Reply::Partial(1, "too old")]);
    let told = otlp.deliver(&fixture::batch(&[fixture::call(1)])).await;
    assert_eq!(
        told,
        Delivery::Rejected {
            rows: vec![],
            answer: "1 of 1 log records were refused: too old".to_owned()
        }
    );
}

#[tokio::test]
async fn http_statuses_decide_what_becomes_of_a_batch() {
    let (receiver, otlp) = start(Protocol::Http, |config| config.signals = only(false, true, false)).await;
    let rows = fixture::batch(&[fixture::call(1)]);
    receiver
        .replies
        .lock()
        .unwrap()
        .extend([Reply::Http(503), Reply::Http(400), Reply::Http(401)]);
    assert!(matches!(otlp.deliver(&rows).await, Delivery::Retry { .. }));
    assert!(matches!(otlp.deliver(&rows).await, Delivery::Invalid { .. }));
    assert!(matches!(otlp.deliver(&rows).await, Delivery::Stuck { .. }));
    assert_eq!(otlp.deliver(&rows).await, Delivery::Accepted);
    assert_eq!(receiver.logs.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn tls_trusts_the_certificate_it_is_given_and_headers_are_sent() {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    for (protocol, path, alpn) in [(Protocol::Grpc, "", &b"h2"[..]), (Protocol::Http, "/base", b"http/1.1")] {
        let key = rustls_pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        let mut server = server
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        server.alpn_protocols = vec![alpn.to_vec()];
        let receiver = Arc::new(Receiver::default());
        let url = receiver.start(Some(Arc::new(server).into())).await;
        let mut config = Config::new(format!("{url}{path}").parse().unwrap(), protocol);
        config.headers.insert("authorization", "Bearer secret".parse().unwrap());
        let rows = fixture::batch(&[fixture::call(1)]);

        let untrusted = Otlp::new(config.clone()).unwrap().deliver(&rows).await;
        assert!(
            matches!(&untrusted, Delivery::Retry { reason, .. } if reason.contains("certificate")),
            "{untrusted:?}"
        );
        config.tls = Tls {
            ca_pem: Some(certified.cert.pem()),
            identity_pem: None,
        };
        assert_eq!(Otlp::new(config).unwrap().deliver(&rows).await, Delivery::Accepted);
        assert!(
            receiver
                .headers
                .lock()
                .unwrap()
                .iter()
                .all(|headers| headers["authorization"] == "Bearer secret")
        );
        assert_eq!(receiver.metrics.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn rows_that_lack_columns_are_told_as_far_as_they_go() {
    let batch = fixture::batch(&[fixture::call(1)]);
    let schema = batch.schema();
    let others: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .filter(|name| !["call_id", "start_time"].contains(name))
        .collect();
    let bare = fixture::without(&batch, &others);
    let (receiver, otlp) = start(Protocol::Grpc, |config| config.temporality = Temporality::Delta).await;
    assert_eq!(otlp.deliver(&bare).await, Delivery::Accepted);
    assert_eq!(
        (
            receiver.traces.lock().unwrap().len(),
            receiver.logs.lock().unwrap().len(),
            receiver.metrics.lock().unwrap().len()
        ),
        (1, 1, 0)
    );
    let (_, otlp) = start(Protocol::Grpc, |_| ()).await;
    let stuck = otlp.deliver(&bare).await;
    assert!(
        matches!(&stuck, Delivery::Stuck { reason } if reason.starts_with("rows lack column seq")),
        "{stuck:?}"
    );
}
