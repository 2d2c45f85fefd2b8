//! From what is declared of a far side to what delivers to it.

use std::sync::Arc;

use anyhow::Context;
use http::{HeaderMap, HeaderValue};
use tollgate_controller as controller;
use tollgate_controller::exporter::{
    Destination as To, FileFormat, Header, MoesifSend, OtlpProtocol, Period, Signal, WebhookFormat,
};
use tollgate_controller::table::Table;
use tollgate_exporters::files::{self, Place};
use tollgate_exporters::{Destination, System, Tls, moesif, otlp, webhook};
use tollgate_record::rule::Dimension;

/// Makes the far side of an exporter. Nothing is sent.
pub(super) fn of(declared: &controller::Exporter) -> anyhow::Result<Arc<dyn Destination>> {
    Ok(match &declared.destination {
        To::Moesif(to) => Arc::new(moesif::Moesif::new(moesif_config(to)?)?),
        To::Otlp(to) => Arc::new(otlp::Otlp::new(otlp_config(to)?)?),
        To::Webhook(to) => Arc::new(webhook::Webhook::new(webhook_config(to)?, Arc::new(System))?),
        To::Files(to) => Arc::new(files::Files::new(files_config(declared, to)?, place(to)?)),
    })
}

fn moesif_config(to: &controller::exporter::Moesif) -> anyhow::Result<moesif::Config> {
    let id = HeaderValue::from_str(to.application_id.expose())
        .ok()
        .context("spec.application_id is no header value")?;
    let mut config = moesif::Config::new(to.url.clone(), id);
    config.user = identity(to.user_id.as_ref())?;
    config.company = identity(to.company_id.as_ref())?;
    config.subscription = identity(to.subscription_id.as_ref())?;
    config.shape = match to.send {
        MoesifSend::Events => moesif::Shape::Events,
        MoesifSend::Actions => moesif::Shape::Actions,
    };
    config.tls = tls(to.ca.as_ref())?;
    Ok(config)
}

fn identity(dimension: Option<&Dimension>) -> anyhow::Result<Vec<moesif::Identity>> {
    let text = match dimension {
        None => return Ok(Vec::new()),
        Some(Dimension::Column(column)) => (*column).to_owned(),
        Some(Dimension::Tag(tag)) => format!("tags.{tag}"),
    };
    Ok(vec![text.parse().with_context(|| format!("spec.identity: {text}"))?])
}

fn otlp_config(to: &controller::exporter::Otlp) -> anyhow::Result<otlp::Config> {
    let protocol = match to.protocol {
        OtlpProtocol::Grpc => otlp::Protocol::Grpc,
        OtlpProtocol::Http => otlp::Protocol::Http,
    };
    let mut config = otlp::Config::new(to.endpoint.clone(), protocol);
    config.headers = headers(&to.headers)?;
    config.signals = otlp::Signals {
        traces: to.signals.contains(&Signal::Traces),
        metrics: to.signals.contains(&Signal::Metrics),
        logs: to.signals.contains(&Signal::Logs),
    };
    config.tls = tls(to.ca.as_ref())?;
    Ok(config)
}

fn webhook_config(to: &controller::exporter::Webhook) -> anyhow::Result<webhook::Config> {
    let mut config = webhook::Config::new(to.url.clone());
    config.headers = headers(&to.headers)?;
    if let Some(secret) = &to.secret {
        config.secrets = vec![webhook::SigningSecret::parse(secret.expose()).context("spec.secret")?];
    }
    config.format = match to.format {
        WebhookFormat::Json => webhook::Format::Json,
        WebhookFormat::CloudEvents => webhook::Format::CloudEvents,
    };
    config.tls = tls(to.ca.as_ref())?;
    Ok(config)
}

fn files_config(declared: &controller::Exporter, to: &controller::exporter::Files) -> anyhow::Result<files::Config> {
    let period = match to.every {
        Period::Hour => files::Period::Hourly,
        Period::Day => files::Period::Daily,
    };
    Ok(files::Config {
        exporter: declared.name.clone(),
        format: match to.format {
            FileFormat::Parquet => files::Format::Parquet,
            FileFormat::Csv => files::Format::Csv,
            FileFormat::Ndjson => files::Format::Ndjson,
            FileFormat::Focus => files::Format::Focus,
        },
        template: files::Template::parse(&to.path, period).context("spec.path")?,
        rows_max: files::Config::ROWS_MAX,
    })
}

fn place(to: &controller::exporter::Files) -> anyhow::Result<Arc<dyn Place>> {
    Ok(match &to.location {
        Table::Folder(path) => Arc::new(files::Folder::new(path.clone())),
        Table::Bucket(_, location) => {
            let location = tollgate_usage_store::Location::open(location, &crate::wiring::store_access(&to.store))?;
            Arc::new(files::Bucket::new(location.objects(), location.url().path()))
        }
    })
}

pub(crate) fn headers(declared: &[Header]) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for header in declared {
        let value = HeaderValue::from_str(header.value.expose()).ok();
        let mut value = value.with_context(|| format!("spec.headers.{} is no header value", header.name))?;
        value.set_sensitive(true);
        headers.append(header.name.clone(), value);
    }
    Ok(headers)
}

pub(crate) fn tls(ca: Option<&controller::Pem>) -> anyhow::Result<Tls> {
    let ca_pem = ca
        .map(|pem| String::from_utf8(pem.bytes().to_vec()))
        .transpose()
        .context("spec.ca is no PEM")?;
    Ok(Tls {
        ca_pem,
        ..Tls::default()
    })
}
