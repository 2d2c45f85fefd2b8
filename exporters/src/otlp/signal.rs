//! Traces, logs and metrics: what differs between them, and the messages that a batch becomes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use prost::{DecodeError, Message as _};

use super::attribute::{SCHEMA_URL, resource, scope};
use super::config::{Config, Temporality};
use super::id::Place;
use super::metric::{self, TooMuch, Totals};
use super::time::Times;
use super::{log, trace};
use crate::Delivery;
use crate::row::Rows;

/// A kind of telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Logs,
    Metrics,
}

/// A message that is ready to be sent.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) signal: Signal,
    /// Spans, records or points in it.
    pub(super) items: u64,
    pub(super) bytes: Vec<u8>,
}

/// A batch on its way into messages.
#[derive(Debug)]
pub(super) struct Encoded<'a> {
    pub(super) config: &'a Config,
    pub(super) rows: &'a Rows,
}

/// When the exporter was made, and what time it is, both in nanoseconds. It is asked when totals are read, so that they and their times go up together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) started_ns: u64,
    pub(super) now: fn() -> u64,
}

/// The rows of each gateway, which is a resource of its own.
type Instances<'a> = BTreeMap<Option<&'a str>, Vec<usize>>;

// === impl Signal ===

impl Signal {
    pub(super) const fn http_path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Logs => "/v1/logs",
            Self::Metrics => "/v1/metrics",
        }
    }

    pub(super) const fn grpc_path(self) -> &'static str {
        match self {
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        }
    }

    /// What a message of it holds, in words.
    pub(super) const fn items(self) -> &'static str {
        match self {
            Self::Traces => "spans",
            Self::Logs => "log records",
            Self::Metrics => "data points",
        }
    }

    /// How many items a response says were refused, and why; `None` if it says nothing of the kind. A warning (no count, but words) is none.
    pub(super) fn refused(self, response: &Bytes) -> Result<Option<(u64, String)>, DecodeError> {
        let response = response.clone();
        let partial = match self {
            Self::Traces => ExportTraceServiceResponse::decode(response)?
                .partial_success
                .map(|part| (part.rejected_spans, part.error_message)),
            Self::Logs => ExportLogsServiceResponse::decode(response)?
                .partial_success
                .map(|part| (part.rejected_log_records, part.error_message)),
            Self::Metrics => ExportMetricsServiceResponse::decode(response)?
                .partial_success
                .map(|part| (part.rejected_data_points, part.error_message)),
        };
        Ok(partial.and_then(|(count, words)| {
            if count == 0 && !words.is_empty() {
                tracing::warn!(words, "the otlp receiver warns");
            }
            Some((u64::try_from(count).ok().filter(|count| *count > 0)?, words))
        }))
    }
}

// === impl Message ===

impl Message {
    /// What is in it, as OTLP writes it in JSON.
    pub(super) fn json(&self) -> Option<String> {
        let bytes = self.bytes.as_slice();
        match self.signal {
            Signal::Traces => serde_json::to_string(&ExportTraceServiceRequest::decode(bytes).ok()?),
            Signal::Logs => serde_json::to_string(&ExportLogsServiceRequest::decode(bytes).ok()?),
            Signal::Metrics => serde_json::to_string(&ExportMetricsServiceRequest::decode(bytes).ok()?),
        }
        .ok()
    }
}

// === impl Encoded ===

impl Encoded<'_> {
    /// The messages of a batch in the order in which they are to be sent.
    pub(super) fn messages(&self, taken: &[Signal], totals: &Mutex<Totals>, clock: Clock) -> Result<Vec<Message>, Delivery> {
        let mut instances = Instances::new();
        let mut placed = Vec::with_capacity(self.rows.len());
        for row in 0..self.rows.len() {
            instances.entry(self.rows.instance.get(row)).or_default().push(row);
            let lacks = |column| move || self.lacks(column, "spans and events");
            let place = Place::of(self.rows, row).ok_or_else(lacks("call_id"))?;
            placed.push((place, Times::of(self.rows, row).ok_or_else(lacks("start_time"))?));
        }
        let wanted = self.config.signals;
        let mut messages = Vec::with_capacity(3);
        if wanted.traces && !taken.contains(&Signal::Traces) {
            messages.extend(self.traces(&instances, &placed));
        }
        if wanted.logs && !taken.contains(&Signal::Logs) {
            messages.extend(self.logs(&instances, &placed));
        }
        if wanted.metrics && !taken.contains(&Signal::Metrics) {
            messages.extend(self.metrics(&instances, totals, clock)?);
        }
        Ok(messages)
    }

    fn traces(&self, instances: &Instances<'_>, placed: &[(Place, Times)]) -> Option<Message> {
        let mut items = 0;
        let mut resource_spans = Vec::with_capacity(instances.len());
        for (instance, chosen) in instances {
            let mut spans = Vec::with_capacity(chosen.len() * 2);
            for row in chosen.iter().copied().filter(|row| self.rows.corrects.get(*row).is_none()) {
                if let Some((place, times)) = placed.get(row) {
                    trace::add(&mut spans, self.rows, row, place, times);
                }
            }
            items += spans.len() as u64;
            resource_spans.push(ResourceSpans {
                resource: Some(resource(self.config, *instance)),
                scope_spans: vec![ScopeSpans {
                    scope: Some(scope()),
                    spans,
                    schema_url: SCHEMA_URL.to_owned(),
                }],
                schema_url: SCHEMA_URL.to_owned(),
            });
        }
        let bytes = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        (items > 0).then_some(Message {
            signal: Signal::Traces,
            items,
            bytes,
        })
    }

    fn logs(&self, instances: &Instances<'_>, placed: &[(Place, Times)]) -> Option<Message> {
        let mut resource_logs = Vec::with_capacity(instances.len());
        for (instance, chosen) in instances {
            let placed = chosen.iter().filter_map(|row| Some((*row, placed.get(*row)?)));
            let log_records = placed
                .map(|(row, (place, times))| log::record(self.rows, row, place, times))
                .collect();
            resource_logs.push(ResourceLogs {
                resource: Some(resource(self.config, *instance)),
                scope_logs: vec![ScopeLogs {
                    scope: Some(scope()),
                    log_records,
                    schema_url: SCHEMA_URL.to_owned(),
                }],
                schema_url: SCHEMA_URL.to_owned(),
            });
        }
        let items = self.rows.len() as u64;
        let bytes = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
        (items > 0).then_some(Message {
            signal: Signal::Logs,
            items,
            bytes,
        })
    }

    fn metrics(&self, instances: &Instances<'_>, totals: &Mutex<Totals>, clock: Clock) -> Result<Option<Message>, Delivery> {
        if self.config.temporality == Temporality::Cumulative {
            let missing = |column: &'static str| self.lacks(column, "cumulative metrics (delta ones do without)");
            let rows = 0..self.rows.len();
            if rows.clone().any(|row| self.rows.seq.get(row).is_none()) {
                return Err(missing("seq"));
            }
            if instances.contains_key(&None) {
                return Err(missing("instance"));
            }
        }
        let too_much = |TooMuch| Delivery::Invalid {
            answer: "a batch costs more than 9223372 in one series, which no integer of a metric holds".to_owned(),
        };
        let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
        let resource_metrics = metric::encode(
            self.config,
            self.rows,
            instances,
            &mut totals,
            (clock.started_ns, (clock.now)()),
        )
        .map_err(too_much)?;
        let items = points(&resource_metrics);
        let bytes = ExportMetricsServiceRequest { resource_metrics }.encode_to_vec();
        Ok((items > 0).then_some(Message {
            signal: Signal::Metrics,
            items,
            bytes,
        }))
    }

    fn lacks(&self, column: &'static str, what: &str) -> Delivery {
        Delivery::Stuck {
            reason: format!("rows lack column {column}, which {what} are made of: do not leave it out"),
        }
    }
}

fn points(messages: &[ResourceMetrics]) -> u64 {
    let metrics = messages
        .iter()
        .flat_map(|resource| &resource.scope_metrics)
        .flat_map(|scope| &scope.metrics);
    let count = |metric: &Metric| match &metric.data {
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.len(),
        _ => 0,
    };
    metrics.map(count).sum::<usize>() as u64
}
