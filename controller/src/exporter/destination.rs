//! Where an exporter delivers to: the fields that each `type` has of its own.

use http::HeaderName;
use tollgate_record::rule::Dimension;
use url::Url;

use crate::dimension::dimension;
use crate::field::Fields;
use crate::secret::{Pem, Secret, certificates};
use crate::table::{Store, Table};
use crate::upstream::{is_managed_header, service_url};
use crate::value::Value;

const MOESIF_URL: &str = "https://api.moesif.net";
/// Shortest secret of a webhook, in characters: it could be guessed from one signature.
const WEBHOOK_SECRET_CHARS_MIN: usize = 16;
/// Most headers that are sent along.
const HEADERS_MAX: usize = 32;
/// Where files lie below their location, if nothing else is told.
const FILES_PATH: &str = "{date}/{exporter}-{instance}-{hour}-{seq}.{ext}";
/// What may stand in braces in a path.
const PLACEHOLDERS: [&str; 9] = ["date", "year", "month", "day", "hour", "exporter", "instance", "seq", "ext"];
/// Without these, two files could have one name.
const PLACEHOLDERS_NEEDED: [&str; 2] = ["instance", "seq"];

/// Where an exporter delivers to.
#[derive(Clone, Debug, PartialEq)]
pub enum Destination {
    /// Moesif.
    Moesif(Moesif),
    /// A receiver of OpenTelemetry's protocol.
    Otlp(Otlp),
    /// An HTTP endpoint of one's own.
    Webhook(Webhook),
    /// Files.
    Files(Box<Files>),
}

/// Moesif.
#[derive(Clone, Debug, PartialEq)]
pub struct Moesif {
    /// Its API.
    pub url: Url,
    /// The application's id, which is what authenticates.
    pub application_id: Secret,
    /// What stands for their `user_id`.
    pub user_id: Option<Dimension>,
    /// What stands for their `company_id`.
    pub company_id: Option<Dimension>,
    /// What stands for their `subscription_id`.
    pub subscription_id: Option<Dimension>,
    /// As what rows are sent.
    pub send: MoesifSend,
    /// Certificates to trust beside the system's.
    pub ca: Option<Pem>,
}

/// As what Moesif is sent rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MoesifSend {
    /// API events.
    #[default]
    Events,
    /// Custom actions.
    Actions,
}

/// A receiver of OpenTelemetry's protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct Otlp {
    /// With HTTP the base URL, to which `/v1/traces` and so on are added.
    pub endpoint: Url,
    /// How it is spoken to.
    pub protocol: OtlpProtocol,
    /// What is sent, at least one.
    pub signals: Vec<Signal>,
    /// Headers that are sent along.
    pub headers: Vec<Header>,
    /// Certificates to trust beside the system's.
    pub ca: Option<Pem>,
}

/// How a receiver of OpenTelemetry's protocol is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP with protocol buffers.
    #[default]
    Http,
}

/// What OpenTelemetry calls signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are OpenTelemetry's words")]
pub enum Signal {
    Traces,
    Metrics,
    Logs,
}

/// An HTTP endpoint of one's own.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// Where batches are posted to.
    pub url: Url,
    /// What they are signed with.
    pub secret: Option<Secret>,
    /// What is posted.
    pub format: WebhookFormat,
    /// Headers that are sent along.
    pub headers: Vec<Header>,
    /// Certificates to trust beside the system's.
    pub ca: Option<Pem>,
}

/// What a webhook is posted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WebhookFormat {
    /// An array of rows.
    #[default]
    Json,
    /// A batch of CloudEvents.
    CloudEvents,
}

/// A header that is sent along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: HeaderName,
    /// Its value, which may be a credential.
    pub value: Secret,
}

/// Files.
#[derive(Clone, Debug, PartialEq)]
pub struct Files {
    /// Folder or bucket.
    pub location: Table,
    /// How the bucket is reached.
    pub store: Store,
    /// What is written.
    pub format: FileFormat,
    /// How often a file is finished.
    pub every: Period,
    /// Path below the location, with `{date}` and so on; `{instance}` and `{seq}` among them.
    pub path: Box<str>,
}

/// What is written into files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileFormat {
    /// Columns of table `usage` as Parquet.
    #[default]
    Parquet,
    /// The same as CSV.
    Csv,
    /// The same as a JSON object a line.
    Ndjson,
    /// Charges by FOCUS, as CSV.
    Focus,
}

/// How often a file is finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are words of the language")]
pub enum Period {
    Hour,
    #[default]
    Day,
}

/// The values of `type`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Moesif,
    Otlp,
    Webhook,
    Files,
}

/// Reads `type`.
pub(super) fn kind(spec: &mut Fields<'_>) -> Option<Type> {
    let types = [
        ("moesif", Type::Moesif),
        ("otlp", Type::Otlp),
        ("webhook", Type::Webhook),
        ("files", Type::Files),
    ];
    spec.required("type").and_then(|value| value.choice(&types))
}

// === impl Destination ===

impl Destination {
    /// Reads the fields of one type; those of others are not known to it.
    pub(super) fn read(kind: Option<Type>, spec: &mut Fields<'_>) -> Option<Self> {
        match kind {
            Some(Type::Moesif) => Moesif::read(spec).map(Self::Moesif),
            Some(Type::Otlp) => Otlp::read(spec).map(Self::Otlp),
            Some(Type::Webhook) => Webhook::read(spec).map(Self::Webhook),
            Some(Type::Files) => Files::read(spec).map(Box::new).map(Self::Files),
            None => {
                // Which of them are wrong can be told when the type is.
                let fields = [
                    "url",
                    "application_id",
                    "send",
                    "endpoint",
                    "protocol",
                    "signals",
                    "headers",
                    "ca",
                    "secret",
                    "format",
                    "location",
                    "store",
                    "every",
                    "path",
                ];
                for field in fields {
                    spec.take(field);
                }
                Identity::read(spec.map("identity"));
                None
            }
        }
    }
}

// === impl Moesif ===

/// What stands for the ids of Moesif.
struct Identity {
    user_id: Option<Dimension>,
    company_id: Option<Dimension>,
    subscription_id: Option<Dimension>,
}

impl Identity {
    fn read(mut fields: Fields<'_>) -> Option<Self> {
        let mut of = |name, default: Option<&'static str>| match fields.take(name) {
            Some(value) => dimension(&value).map(Some),
            None => Some(default.map(Dimension::Column)),
        };
        let (user_id, company_id) = (of("user_id", Some("user_id")), of("company_id", Some("org")));
        let subscription_id = of("subscription_id", None);
        fields.finish();
        Some(Self {
            user_id: user_id?,
            company_id: company_id?,
            subscription_id: subscription_id?,
        })
    }
}

impl Moesif {
    fn read(spec: &mut Fields<'_>) -> Option<Self> {
        let sends = [("events", MoesifSend::Events), ("actions", MoesifSend::Actions)];
        let url = match spec.take("url") {
            Some(value) => service_url(&value, MOESIF_URL, "application_id"),
            None => Url::parse(MOESIF_URL).ok(),
        };
        let application_id = spec.required("application_id").and_then(|value| value.header_secret());
        let identity = Identity::read(spec.map("identity"));
        let send = spec
            .take("send")
            .map_or(Some(MoesifSend::default()), |value| value.choice(&sends));
        let ca = ca(spec, url.as_ref());
        let identity = identity?;
        Some(Self {
            url: url?,
            application_id: application_id?,
            user_id: identity.user_id,
            company_id: identity.company_id,
            subscription_id: identity.subscription_id,
            send: send?,
            ca: ca?,
        })
    }
}

// === impl Otlp ===

impl Otlp {
    fn read(spec: &mut Fields<'_>) -> Option<Self> {
        let protocols = [("grpc", OtlpProtocol::Grpc), ("http", OtlpProtocol::Http)];
        let endpoint = spec.required("endpoint");
        let endpoint = endpoint.and_then(|value| service_url(&value, "https://otel.example.com:4318", "headers"));
        let protocol = spec
            .take("protocol")
            .map_or(Some(OtlpProtocol::default()), |value| value.choice(&protocols));
        let every = vec![Signal::Traces, Signal::Metrics, Signal::Logs];
        let signals = spec.take("signals").map_or(Some(every), |value| signals(&value));
        let headers = headers(spec);
        let ca = ca(spec, endpoint.as_ref());
        Some(Self {
            endpoint: endpoint?,
            protocol: protocol?,
            signals: signals?,
            headers: headers?,
            ca: ca?,
        })
    }
}

fn signals(list: &Value<'_>) -> Option<Vec<Signal>> {
    let known = [
        ("traces", Signal::Traces),
        ("metrics", Signal::Metrics),
        ("logs", Signal::Logs),
    ];
    let items = list.items()?;
    let count = items.len();
    if count == 0 {
        list.wrong("has no signal, so nothing would be sent: list some of traces, metrics, logs");
        return None;
    }
    let mut signals = Vec::with_capacity(count);
    for item in items {
        let Some(signal) = item.choice(&known) else { continue };
        if signals.contains(&signal) {
            item.wrong("stands twice: remove one");
            continue;
        }
        signals.push(signal);
    }
    (signals.len() == count).then_some(signals)
}

// === impl Webhook ===

impl Webhook {
    fn read(spec: &mut Fields<'_>) -> Option<Self> {
        let formats = [("json", WebhookFormat::Json), ("cloudevents", WebhookFormat::CloudEvents)];
        let url = spec.required("url");
        let url = url.and_then(|value| service_url(&value, "https://hooks.example.com/usage", "headers"));
        let secret = spec
            .take("secret")
            .map_or(Some(None), |value| webhook_secret(&value).map(Some));
        let format = spec
            .take("format")
            .map_or(Some(WebhookFormat::default()), |value| value.choice(&formats));
        let headers = headers(spec);
        let ca = ca(spec, url.as_ref());
        Some(Self {
            url: url?,
            secret: secret?,
            format: format?,
            headers: headers?,
            ca: ca?,
        })
    }
}

fn webhook_secret(value: &Value<'_>) -> Option<Secret> {
    let secret = value.header_secret()?;
    if secret.expose().chars().count() < WEBHOOK_SECRET_CHARS_MIN {
        value.wrong(format!(
            "is shorter than {WEBHOOK_SECRET_CHARS_MIN} characters: it could be guessed from one signature"
        ));
        return None;
    }
    Some(secret)
}

// === impl Files ===

impl Files {
    fn read(spec: &mut Fields<'_>) -> Option<Self> {
        let formats = [
            ("parquet", FileFormat::Parquet),
            ("csv", FileFormat::Csv),
            ("ndjson", FileFormat::Ndjson),
            ("focus", FileFormat::Focus),
        ];
        let periods = [("hour", Period::Hour), ("day", Period::Day)];
        let location = spec.required("location");
        let read = location.as_ref().and_then(Table::read);
        let store = Store::read(
            spec.map("store"),
            &read,
            location.is_none() || read.is_some(),
            "spec.location",
        );
        let format = spec
            .take("format")
            .map_or(Some(FileFormat::default()), |value| value.choice(&formats));
        let every = spec
            .take("every")
            .map_or(Some(Period::default()), |value| value.choice(&periods));
        let path = spec.take("path").map_or(Some(FILES_PATH.into()), |value| path(&value));
        Some(Self {
            location: read?,
            store,
            format: format?,
            every: every?,
            path: path?,
        })
    }
}

/// A relative path in which known words stand in braces.
fn path(value: &Value<'_>) -> Option<Box<str>> {
    let text = value.text()?;
    let mut named = Vec::new();
    let mut plain = String::new();
    let mut rest = text.resolved.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        plain.push_str(before);
        let Some((word, after)) = after.split_once('}') else {
            value.wrong(format!("{} has a {{ without }}", text.quoted()));
            return None;
        };
        let Some(known) = PLACEHOLDERS.iter().find(|known| **known == word) else {
            let known = PLACEHOLDERS.map(|known| format!("{{{known}}}")).join(", ");
            value.wrong(format!(
                "{} has a word in braces that is not known (known here: {known})",
                text.quoted()
            ));
            return None;
        };
        named.push(*known);
        // It stands for at least one letter.
        plain.push('x');
        rest = after;
    }
    plain.push_str(rest);
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'=' | b'~');
    let is_name = |name: &str| !matches!(name, "" | "." | "..") && name.bytes().all(letter);
    if !plain.split('/').all(is_name) {
        value.wrong(format!(
            "{} is no relative path of letters, digits, '-', '_', '.', '=', '~' and words in braces, with single slashes between",
            text.quoted()
        ));
        return None;
    }
    if let Some(missing) = PLACEHOLDERS_NEEDED.iter().find(|needed| !named.contains(needed)) {
        value.wrong(format!(
            "{} has no {{{missing}}}: two files could have one name",
            text.quoted()
        ));
        return None;
    }
    Some(text.resolved.as_str().into())
}

/// `Some(None)` where there is none; it is not used where nothing is encrypted.
pub(crate) fn ca(spec: &mut Fields<'_>, url: Option<&Url>) -> Option<Option<Pem>> {
    let Some(value) = spec.take("ca") else { return Some(None) };
    if url.is_some_and(|url| url.scheme() == "http") {
        value.wrong("is not used: the url is http");
    }
    value.pem("certificate", certificates).map(Some)
}

pub(crate) fn headers(spec: &mut Fields<'_>) -> Option<Vec<Header>> {
    let Some(map) = spec.take("headers") else {
        return Some(Vec::new());
    };
    let pairs = map.pairs()?;
    let count = pairs.len();
    if count > HEADERS_MAX {
        map.wrong(format!("has {count} headers, more than {HEADERS_MAX}"));
        return None;
    }
    let mut headers: Vec<Header> = Vec::with_capacity(count);
    for (name, value) in pairs {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            value.wrong("is no header name");
            continue;
        };
        if is_managed_header(&name) {
            value.wrong("is a header that the gateway sets itself");
        } else if headers.iter().any(|header| header.name == name) {
            value.wrong("stands twice, in another case: remove one");
        } else if let Some(value) = value.header_secret() {
            headers.push(Header { name, value });
        }
    }
    (headers.len() == count).then_some(headers)
}
