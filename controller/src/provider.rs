//! Kind `LlmProvider`: an upstream under a path of its own.

use std::time::Duration;

use http::{HeaderName, Method};
use tollgate_record::Name;
use url::Url;

use crate::field::Fields;
use crate::gateway::certificates;
use crate::secret::{Pem, Secret};
use crate::template::path_pattern;
use crate::value::Value;

/// Longest wait for a connection.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for the head of an answer: what the official SDKs of OpenAI and Anthropic wait.
pub const DEFAULT_FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(600);
/// Longest silence inside an answer. Reasoning models pause for minutes.
pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// Service of a signature, where none is told: Bedrock's.
pub const DEFAULT_SIGNED_SERVICE: &str = "bedrock";

/// Contexts that are the gateway's own.
const RESERVED_CONTEXTS: [&str; 1] = ["/v1"];
/// Headers of a request that are not a provider's credential, whatever the configuration says.
const MANAGED_HEADERS: [&str; 15] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Longest name of a host (RFC 1035, 2.3.4, as it is written).
const HOST_BYTES_MAX: usize = 253;

/// An upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LlmProvider {
    /// Its name: `provider_name` of rows, and the part before `/` in a model's name.
    pub name: Name,
    /// Template it is read by; it exists.
    pub template: Name,
    /// Path it is called under: starts with `/`, does not end with it.
    pub context: String,
    /// Where its calls go.
    pub upstream: Upstream,
    /// Region of the upstream, where its prices depend on it and its answers do not tell it.
    pub region: Option<Name>,
    /// Which of its paths may be called.
    pub access: AccessControl,
    /// How long it may take.
    pub timeouts: Timeouts,
}

/// Where calls go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// http or https, with a host; no credentials, query or fragment. A path stands before those of the calls, without `/` at its end.
    pub url: Url,
    /// How the gateway identifies itself.
    pub auth: Auth,
    /// Certificates to trust beside the system's, for private upstreams.
    pub ca: Option<Pem>,
}

/// How the gateway identifies itself to an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Not at all.
    None,
    /// By a header.
    Header {
        /// Its name.
        name: HeaderName,
        /// Its value, a valid header value.
        value: Secret,
    },
    /// By AWS's signature, version 4, of each request.
    Sigv4 {
        /// Region of the upstream.
        region: Name,
        /// Service that is called.
        service: Name,
        /// Access key.
        access_key_id: Secret,
        /// Its secret.
        secret_access_key: Secret,
        /// Token of a temporary key.
        session_token: Option<Secret>,
    },
}

/// The ways of [`Auth`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum AuthType {
    None,
    ApiKey,
    Sigv4,
}

/// Which paths may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessControl {
    /// What holds for paths that no exception names.
    pub mode: AccessMode,
    /// Paths for which the opposite holds.
    pub exceptions: Vec<AccessException>,
}

/// What holds for paths that no exception names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessMode {
    /// They may be called.
    AllowAll,
    /// They may not.
    DenyAll,
}

/// Paths for which the opposite holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessException {
    /// Path below the context: exact, or a prefix that ends in `*`.
    pub path: String,
    /// Methods it holds for; empty is all of them.
    pub methods: Vec<Method>,
}

/// How long an upstream may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until it is connected, TLS included.
    pub connect: Duration,
    /// From the request's end until the head of the answer.
    pub first_byte: Duration,
    /// Between two pieces of the answer.
    pub idle: Duration,
}

// === impl LlmProvider ===

impl LlmProvider {
    /// Reads `spec`; whether the template exists is checked when all documents are known.
    pub(crate) fn read(name: Name, mut spec: Fields<'_>) -> Option<Self> {
        let template = spec.required("template").and_then(|value| value.name());
        let context = spec.required("context").and_then(|value| context(&value));
        let upstream = spec.required_map("upstream").and_then(Upstream::read);
        let region = spec.name("region");
        let access = AccessControl::read(spec.map("accessControl"));
        let timeouts = Timeouts::read(spec.map("timeouts"));
        spec.finish();
        Some(Self {
            name,
            template: template?,
            context: context?,
            // What is wrong with it was reported, so this provider is never served; what is right of it is held against the other documents.
            upstream: upstream.unwrap_or_else(Upstream::unread),
            region,
            access,
            timeouts,
        })
    }
}

fn context(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let context = text.resolved.as_str();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~');
    let reason = if !context.starts_with('/') {
        format!("{} must start with '/'", text.quoted())
    } else if context == "/" {
        "\"/\" is the gateway's own: choose a path such as /openai".to_owned()
    } else if context.ends_with('/') {
        format!("{} must not end with '/'", text.quoted())
    } else if !context.bytes().all(plain) {
        format!("{} may only have letters, digits, '-', '_', '.', '~' and '/'", text.quoted())
    } else if context.split('/').skip(1).any(|segment| matches!(segment, "" | "." | "..")) {
        format!("{} has an empty segment, or one of dots only", text.quoted())
    } else if let Some(reserved) = RESERVED_CONTEXTS.into_iter().find(|reserved| overlap(reserved, context)) {
        format!(
            "{} overlaps {reserved}, which is the gateway's own: choose a path such as /openai",
            text.quoted()
        )
    } else {
        return Some(text.resolved);
    };
    value.wrong(reason);
    None
}

/// Whether two contexts are equal, or one is a parent of the other.
pub(crate) fn overlap(left: &str, right: &str) -> bool {
    let parent = |parent: &str, child: &str| {
        child
            .strip_prefix(parent)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    parent(left, right) || parent(right, left)
}

// === impl Upstream ===

impl Upstream {
    /// Stands for one that could not be read.
    fn unread() -> Self {
        Self {
            url: Url::parse("http://unread.invalid").expect("a constant that is a URL"),
            auth: Auth::None,
            ca: None,
        }
    }

    fn read(mut fields: Fields<'_>) -> Option<Self> {
        let url = fields
            .required("url")
            .and_then(|value| service_url(&value, "https://api.openai.com", "auth.value"));
        let auth = match fields.take("auth") {
            Some(value) => value.fields().and_then(Auth::read),
            None => Some(Auth::None),
        };
        let ca = fields.take("ca");
        let trusted = ca.as_ref().and_then(|value| value.pem("certificate", certificates));
        if let (Some(ca), Some(url)) = (&ca, &url)
            && url.scheme() == "http"
        {
            ca.wrong("is not used: the url is http");
        }
        fields.finish();
        Some(Self {
            url: url?,
            auth: auth?,
            ca: trusted,
        })
    }
}

/// Reads a URL without ever quoting it: one with a password in it is a likely mistake. `credentials` is where those belong.
pub(crate) fn service_url(value: &Value<'_>, example: &str, credentials: &str) -> Option<Url> {
    let text = value.text()?.resolved;
    let mut url = match Url::parse(&text) {
        Ok(url) => url,
        Err(error) => {
            value.wrong(format!("is no URL such as {example}: {error}"));
            return None;
        }
    };
    let with_password = format!("must not have a user or password: credentials belong into {credentials}");
    let reason = if !matches!(url.scheme(), "http" | "https") {
        "must start with https:// or http://"
    } else if !url.username().is_empty() || url.password().is_some() {
        &with_password
    } else if url.query().is_some() {
        "must not have a query"
    } else if url.fragment().is_some() {
        "must not have a fragment"
    } else if url.host_str().is_none_or(str::is_empty) {
        "has no host"
    } else if url.host_str().is_some_and(|host| host.len() > HOST_BYTES_MAX) {
        "has a host of more than 253 characters"
    } else if text
        .chars()
        .any(|letter| letter.is_whitespace() || letter.is_control() || letter == '\\')
    {
        // The URL standard would drop or turn these silently.
        "has a blank or backslash in it"
    } else {
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        return Some(url);
    };
    value.wrong(reason);
    None
}

// === impl Auth ===

impl Auth {
    fn read(mut fields: Fields<'_>) -> Option<Self> {
        let types = [
            ("api-key", AuthType::ApiKey),
            ("sigv4", AuthType::Sigv4),
            ("none", AuthType::None),
        ];
        let told = fields.required("type");
        let kind = told.as_ref().and_then(|value| value.choice(&types));
        let mut take = |name, needed_by| match kind {
            Some(kind) if kind == needed_by => fields.required(name),
            _ => fields.take(name),
        };
        let by_header = ["header", "value"].map(|name| take(name, AuthType::ApiKey));
        let signed = ["region", "access_key_id", "secret_access_key"].map(|name| take(name, AuthType::Sigv4));
        let optional = ["service", "session_token"].map(|name| fields.take(name));
        fields.finish();

        let unused = |kind, values: &[Option<Value<'_>>]| {
            for value in values.iter().flatten() {
                value.wrong(format!("is not used with type {kind}: remove it"));
            }
        };
        match kind {
            Some(AuthType::ApiKey) => {
                unused("api-key", &signed);
                unused("api-key", &optional);
            }
            Some(AuthType::Sigv4) => unused("sigv4", &by_header),
            Some(AuthType::None) => {
                unused("none", &by_header);
                unused("none", &signed);
                unused("none", &optional);
            }
            None => {}
        }
        let header = Self::header(by_header);
        let signature = Self::signature(signed, optional);
        match kind? {
            AuthType::None => Some(Self::None),
            AuthType::ApiKey => header,
            AuthType::Sigv4 => signature,
        }
    }

    fn header([name, value]: [Option<Value<'_>>; 2]) -> Option<Self> {
        let name = name.as_ref().and_then(credential_header);
        let value = value.as_ref().and_then(Value::header_secret);
        Some(Self::Header {
            name: name?,
            value: value?,
        })
    }

    fn signature([region, key, secret]: [Option<Value<'_>>; 3], [service, token]: [Option<Value<'_>>; 2]) -> Option<Self> {
        let region = region.as_ref().and_then(Value::name);
        let [key, secret] = [key, secret].map(|value| value.as_ref().and_then(Value::header_secret));
        let service = match service {
            Some(service) => service.name(),
            None => Name::new(DEFAULT_SIGNED_SERVICE).ok(),
        };
        // One that cannot be read is a problem, and not the same as none.
        let token = token.map(|token| token.header_secret());
        Some(Self::Sigv4 {
            region: region?,
            service: service?,
            access_key_id: key?,
            secret_access_key: secret?,
            session_token: match token {
                Some(token) => Some(token?),
                None => None,
            },
        })
    }
}

fn credential_header(value: &Value<'_>) -> Option<HeaderName> {
    let text = value.text()?;
    let Ok(name) = HeaderName::from_bytes(text.resolved.as_bytes()) else {
        value.wrong(format!("{} is no header name", text.quoted()));
        return None;
    };
    if MANAGED_HEADERS.contains(&name.as_str()) || name.as_str().starts_with("x-tollgate-") {
        value.wrong(format!(
            "{} cannot carry a credential: the gateway sets it itself",
            text.quoted()
        ));
        return None;
    }
    Some(name)
}

// === impl AccessControl ===

impl AccessControl {
    fn read(mut fields: Fields<'_>) -> Self {
        let modes = [("allow_all", AccessMode::AllowAll), ("deny_all", AccessMode::DenyAll)];
        let mode = fields.choice("mode", AccessMode::AllowAll, &modes);
        let exceptions = fields.take("exceptions").and_then(|list| list.items());
        let exceptions = exceptions.into_iter().flatten();
        let access = Self {
            mode,
            exceptions: exceptions.filter_map(|item| AccessException::read(item.fields()?)).collect(),
        };
        fields.finish();
        access
    }
}

impl AccessException {
    fn read(mut fields: Fields<'_>) -> Option<Self> {
        let path = fields.required("path").and_then(|value| excepted_path(&value));
        let methods = fields.take("methods").and_then(|list| list.items());
        let methods = methods.into_iter().flatten().filter_map(|item| method(&item)).collect();
        fields.finish();
        Some(Self { path: path?, methods })
    }
}

fn excepted_path(value: &Value<'_>) -> Option<String> {
    let path = path_pattern(value)?;
    if path.strip_suffix('*').unwrap_or(&path).contains('*') {
        value.wrong("may have a '*' at its end only");
        return None;
    }
    Some(path)
}

fn method(value: &Value<'_>) -> Option<Method> {
    let known = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::HEAD,
        Method::OPTIONS,
    ];
    let text = value.text()?;
    let found = known.iter().find(|method| method.as_str() == text.resolved);
    if found.is_none() {
        let known = known.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        value.wrong(format!("{} is not known (known here: {known})", text.quoted()));
    }
    found.cloned()
}

// === impl Timeouts ===

impl Timeouts {
    fn read(mut fields: Fields<'_>) -> Self {
        let least = Duration::from_millis(10);
        let hour = Duration::from_secs(3600);
        let timeouts = Self {
            connect: fields.duration("connect", DEFAULT_CONNECT_TIMEOUT, least..=hour),
            first_byte: fields.duration("first_byte", DEFAULT_FIRST_BYTE_TIMEOUT, least..=24 * hour),
            idle: fields.duration("idle", DEFAULT_IDLE_TIMEOUT, least..=24 * hour),
        };
        fields.finish();
        timeouts
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: DEFAULT_CONNECT_TIMEOUT,
            first_byte: DEFAULT_FIRST_BYTE_TIMEOUT,
            idle: DEFAULT_IDLE_TIMEOUT,
        }
    }
}
