//! What an operator says of an OpenTelemetry receiver.

use std::str::FromStr;
use std::time::Duration;

use http::HeaderMap;
use url::Url;

use crate::client::Tls;
use crate::row::Rows;

/// How long a request may take: the default of OTLP exporters.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// How messages travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC, usually port 4317.
    #[default]
    Grpc,
    /// HTTP with protobuf bodies, usually port 4318; the signal's path (`/v1/traces`) is added to the endpoint's.
    Http,
}

/// What metric points say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Temporality {
    /// Totals since the exporter started. A row is counted once however often it is delivered.
    #[default]
    Cumulative,
    /// What each batch adds.
    Delta,
}

/// Which signals are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signals {
    /// Spans.
    pub traces: bool,
    /// One event a call.
    pub logs: bool,
    /// Histograms and sums.
    pub metrics: bool,
}

/// A column that metric points are told apart by, beside those of the conventions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// Column `org`.
    Org,
    /// Column `team`.
    Team,
    /// Column `project`.
    Project,
    /// Column `service`.
    Service,
    /// Column `key_id`.
    Key,
    /// Column `proxy`.
    Proxy,
}

/// No such dimension.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is none of org, team, project, service, key_id and proxy")]
pub struct UnknownDimension {
    /// What was read.
    pub text: String,
}

/// How calls reach an OpenTelemetry receiver.
#[derive(Clone, Debug)]
pub struct Config {
    /// The receiver: scheme, host, port, and with HTTP the path before `/v1/...`.
    pub endpoint: Url,
    /// How messages travel.
    pub protocol: Protocol,
    /// Headers of every request; mark those that are credentials as sensitive.
    pub headers: HeaderMap,
    /// Which signals are sent.
    pub signals: Signals,
    /// What metric points say.
    pub temporality: Temporality,
    /// Columns that metric points are told apart by.
    pub dimensions: Vec<Dimension>,
    /// Attributes of the resource beside `service.name` and `service.instance.id`.
    pub resource: Vec<(String, String)>,
    /// Whether messages are compressed.
    pub gzip: bool,
    /// How long a request may take.
    pub timeout: Duration,
    /// Whom to trust.
    pub tls: Tls,
}

// === impl Config ===

impl Config {
    /// The defaults, for an endpoint.
    pub fn new(endpoint: Url, protocol: Protocol) -> Self {
        Self {
            endpoint,
            protocol,
            headers: HeaderMap::new(),
            signals: Signals {
                traces: true,
                logs: true,
                metrics: true,
            },
            temporality: Temporality::default(),
            dimensions: vec![Dimension::Team],
            resource: Vec::new(),
            gzip: true,
            timeout: TIMEOUT,
            tls: Tls::default(),
        }
    }
}

// === impl Dimension ===

impl Dimension {
    /// The attribute's name.
    pub(super) const fn attribute(self) -> &'static str {
        match self {
            Self::Org => "tollgate.org",
            Self::Team => "tollgate.team",
            Self::Project => "tollgate.project",
            Self::Service => "tollgate.service",
            Self::Key => "tollgate.key_id",
            Self::Proxy => "tollgate.proxy",
        }
    }

    pub(super) fn of(self, rows: &Rows, row: usize) -> Option<&str> {
        match self {
            Self::Org => rows.org.get(row),
            Self::Team => rows.team.get(row),
            Self::Project => rows.project.get(row),
            Self::Service => rows.service.get(row),
            Self::Key => rows.key_id.get(row),
            Self::Proxy => rows.proxy.get(row),
        }
    }
}

impl FromStr for Dimension {
    type Err = UnknownDimension;

    fn from_str(text: &str) -> Result<Self, UnknownDimension> {
        Ok(match text {
            "org" => Self::Org,
            "team" => Self::Team,
            "project" => Self::Project,
            "service" => Self::Service,
            "key_id" => Self::Key,
            "proxy" => Self::Proxy,
            _ => return Err(UnknownDimension { text: text.to_owned() }),
        })
    }
}
