//! Exporters that are right, and what becomes of them.

use std::time::Duration;

use tollgate_record::column::USAGE;
use tollgate_record::rule::Dimension;
use tollgate_record::{Amount, Timestamp};

use super::good::good;
use crate::exporter::{
    Batch, Destination, Exporter, FileFormat, MoesifSend, OtlpProtocol, Period, Redacted, Signal, Start, WebhookFormat,
};
use crate::table::{Cloud, Store, Table};
use crate::{ConditionOf, Secret};

/// The only exporter of a spec.
fn exporter(spec: &str) -> Exporter {
    let resources = good(&format!("kind: Exporter\nmetadata: {{name: e}}\nspec: {{{spec}}}\n"));
    let [exporter] = resources.exporters.as_slice() else {
        panic!("{:?}", resources.exporters)
    };
    exporter.clone()
}

#[test]
fn an_exporter_says_what_it_leaves_out() {
    let told = exporter("type: moesif, application_id: \"${env:MOESIF_APPLICATION_ID}\"");
    assert_eq!((told.name.as_str(), told.when), ("e", None));
    assert_eq!(told.columns, USAGE.iter().map(|column| column.name).collect::<Vec<_>>());
    assert!(told.redact.is_empty() && told.hash.is_none());
    assert_eq!((told.from, told.sample), (Start::Now, Amount::ONE));
    let batch = Batch {
        rows: 1000,
        bytes: 1 << 20,
        interval: Duration::from_secs(2),
    };
    assert_eq!(told.batch, batch);
    let Destination::Moesif(moesif) = told.destination else {
        panic!("{:?}", told.destination)
    };
    assert_eq!(moesif.url.as_str(), "https://api.moesif.net/");
    assert_eq!(moesif.application_id.expose(), "moesif-0123456789");
    assert_eq!(
        (moesif.user_id, moesif.company_id, moesif.subscription_id),
        (Some(Dimension::Column("user_id")), Some(Dimension::Column("org")), None)
    );
    assert_eq!((moesif.send, moesif.ca), (MoesifSend::Events, None));
}

#[test]
fn an_exporter_takes_what_it_says() {
    let told = exporter(
        r#"type: moesif, application_id: moesif-0123456789, send: actions, ca: cert.pem,
           identity: {user_id: "tags['customer']", company_id: team, subscription_id: project},
           columns: [cost, team, user_id, tags], redact: ["tags['email']", team],
           hash: {key: "${env:MOESIF_APPLICATION_ID}", of: [user_id, "tags['customer']"]}, from: beginning,
           batch: {rows: 250, bytes: 256KiB, interval: 500ms}, sample: "10%""#,
    );
    assert_eq!(
        told.columns,
        ["call_id", "instance", "seq", "team", "user_id", "tags", "cost"]
    );
    assert_eq!(told.redact, [Redacted::Tag("email".into()), Redacted::Column("team")]);
    assert!(!format!("{told:?}").contains("moesif-0123456789"), "{told:?}");
    let hash = told.hash.as_ref().expect("it is declared");
    assert_eq!(hash.key.expose(), "moesif-0123456789");
    assert_eq!(hash.of, [Redacted::Column("user_id"), Redacted::Tag("customer".into())]);
    assert_eq!((told.from, told.sample.to_string()), (Start::Beginning, "0.1".to_owned()));
    assert_eq!((told.batch.rows, told.batch.bytes), (250, 256 << 10));
    assert_eq!(told.batch.interval, Duration::from_millis(500));
    let Destination::Moesif(moesif) = told.destination else {
        panic!("{:?}", told.destination)
    };
    assert_eq!(moesif.user_id, Some(Dimension::Tag("customer".into())));
    assert_eq!(
        (moesif.company_id, moesif.subscription_id),
        (Some(Dimension::Column("team")), Some(Dimension::Column("project")))
    );
    assert!(moesif.send == MoesifSend::Actions && moesif.ca.is_some());
}

#[test]
fn every_type_has_its_own_fields() {
    let told =
        exporter("type: otlp, endpoint: \"https://otel.example.com:4317\", protocol: grpc, signals: [logs], headers: {x-key: k}");
    let Destination::Otlp(otlp) = told.destination else {
        panic!("{:?}", told.destination)
    };
    assert_eq!((otlp.protocol, otlp.signals), (OtlpProtocol::Grpc, vec![Signal::Logs]));
    let headers: Vec<_> = otlp
        .headers
        .iter()
        .map(|header| (header.name.as_str(), header.value.expose()))
        .collect();
    assert_eq!(headers, [("x-key", "k")]);
    let told = exporter("type: otlp, endpoint: \"http://127.0.0.1:4318\"");
    let Destination::Otlp(otlp) = told.destination else {
        panic!("{:?}", told.destination)
    };
    assert_eq!(otlp.protocol, OtlpProtocol::Http);
    assert_eq!(otlp.signals, [Signal::Traces, Signal::Metrics, Signal::Logs]);

    let told = exporter(
        "type: webhook, url: \"https://hooks.example.com/usage\", secret: \"${env:WEBHOOK_SECRET}\", format: cloudevents, from: 2026-01-01",
    );
    assert_eq!(told.from, Start::Instant(Timestamp::from_unix_us(1_767_225_600_000_000)));
    assert!(!format!("{told:?}").contains("whsec"), "{told:?}");
    let Destination::Webhook(webhook) = told.destination else {
        panic!("{:?}", told.destination)
    };
    assert_eq!(webhook.secret.as_ref().map(Secret::expose), Some("whsec-0123456789"));
    assert_eq!((webhook.format, webhook.headers.len()), (WebhookFormat::CloudEvents, 0));

    let told = exporter("type: files, location: \"file:./exports\"");
    let Destination::Files(files) = told.destination else {
        panic!("{:?}", told.destination)
    };
    assert_eq!((files.format, files.every), (FileFormat::Parquet, Period::Day));
    assert_eq!(files.location, Table::Folder("./exports".into()));
    assert_eq!(files.store, Store::default());
    let told = exporter(
        "type: files, location: \"s3://bucket/focus\", store: {region: eu-central-1}, format: focus, every: hour, path: \"year={year}/{instance}/{seq}.csv\"",
    );
    let Destination::Files(files) = told.destination else {
        panic!("{:?}", told.destination)
    };
    assert_eq!((files.format, files.every), (FileFormat::Focus, Period::Hour));
    assert_eq!(files.location, Table::Bucket(Cloud::S3, "s3://bucket/focus".to_owned()));
    assert_eq!(files.store.region.as_deref(), Some("eu-central-1"));
    assert_eq!(&*files.path, "year={year}/{instance}/{seq}.csv");
}

#[test]
fn the_condition_of_an_exporter_is_over_every_column() {
    let resources =
        good("kind: Exporter\nmetadata: {name: e}\nspec: {type: webhook, url: \"https://h.example\", when: cost > 1}\n");
    let conditions: Vec<_> = resources
        .conditions
        .iter()
        .map(|condition| (condition.of, &*condition.sql))
        .collect();
    assert_eq!(conditions, [(ConditionOf::Exporter, "cost > 1")]);
    assert_eq!(
        resources.exporters.first().and_then(|exporter| exporter.when.as_deref()),
        Some("cost > 1")
    );
}
