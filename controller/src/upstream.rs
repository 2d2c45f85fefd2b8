//! Where a provider's calls go, and how the gateway identifies itself there.

use http::HeaderName;
use tollgate_record::Name;
use url::Url;

use crate::field::Fields;
use crate::secret::{Pem, Secret, certificates};
use crate::value::Value;

/// Service of a signature, where none is told: Bedrock's.
pub const DEFAULT_SIGNED_SERVICE: &str = "bedrock";

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

/// Most URLs of a provider.
pub const URLS_MAX: usize = 16;
/// Share of a URL that tells none.
pub const DEFAULT_WEIGHT: u32 = 1;
/// Largest share of a URL.
pub const WEIGHT_MAX: u32 = 1000;

/// What a URL is like, for messages.
const EXAMPLE: &str = "https://api.openai.com";
/// Where credentials belong that stand in a URL.
const CREDENTIALS: &str = "auth.value";
/// Longest name of a host (RFC 1035, 2.3.4, as it is written).
const HOST_BYTES_MAX: usize = 253;

/// Where calls go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The URLs that calls are spread over: at least one, no two the same.
    pub urls: Vec<WeightedUrl>,
    /// How the gateway identifies itself.
    pub auth: Auth,
    /// Certificates to trust beside the system's, for private upstreams.
    pub ca: Option<Pem>,
}

/// One URL of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedUrl {
    /// http or https, with a host; no credentials, query or fragment. A path stands before those of the calls, without `/` at its end.
    pub url: Url,
    /// Its share of the calls, beside the weights of the others; not 0.
    pub weight: u32,
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

// === impl Upstream ===

impl Upstream {
    /// Stands for one that could not be read.
    pub(crate) fn unread() -> Self {
        let url = Url::parse("http://unread.invalid").expect("a constant that is a URL");
        Self {
            urls: vec![WeightedUrl {
                url,
                weight: DEFAULT_WEIGHT,
            }],
            auth: Auth::None,
            ca: None,
        }
    }

    pub(crate) fn read(mut fields: Fields<'_>) -> Option<Self> {
        let (url, list) = (fields.take("url"), fields.take("urls"));
        let urls = match (&url, &list) {
            (Some(url), None) => service_url(url, EXAMPLE, CREDENTIALS).map(|url| {
                vec![WeightedUrl {
                    url,
                    weight: DEFAULT_WEIGHT,
                }]
            }),
            (None, Some(list)) => weighted_urls(list),
            (None, None) => {
                fields.wrong("url", "is required, or urls in its stead");
                None
            }
            (Some(_), Some(list)) => {
                list.wrong("stands beside url: keep one of them");
                None
            }
        };
        let auth = match fields.take("auth") {
            Some(value) => value.fields().and_then(Auth::read),
            None => Some(Auth::None),
        };
        let ca = fields.take("ca");
        let trusted = ca.as_ref().and_then(|value| value.pem("certificate", certificates));
        if let (Some(ca), Some(urls)) = (&ca, &urls)
            && urls.iter().all(|weighted| weighted.url.scheme() == "http")
        {
            ca.wrong(if url.is_some() {
                "is not used: the url is http"
            } else {
                "is not used: every url is http"
            });
        }
        fields.finish();
        Some(Self {
            urls: urls?,
            auth: auth?,
            ca: trusted,
        })
    }
}

/// Several URLs; `None` if any of them is wrong.
fn weighted_urls(list: &Value<'_>) -> Option<Vec<WeightedUrl>> {
    let items = list.items()?;
    let count = items.len();
    if count == 0 {
        list.wrong("has no URL: calls could go nowhere");
        return None;
    }
    if count > URLS_MAX {
        list.wrong(format!("has {count} URLs, more than {URLS_MAX}"));
        return None;
    }
    let mut urls: Vec<WeightedUrl> = Vec::with_capacity(count);
    let mut places: Vec<(usize, Url)> = Vec::with_capacity(count);
    for (index, item) in items.enumerate() {
        let Some(mut fields) = item.fields() else { continue };
        let value = fields.required("url");
        let url = value.as_ref().and_then(|value| service_url(value, EXAMPLE, CREDENTIALS));
        let weight = fields.integer("weight", DEFAULT_WEIGHT.into(), 1..=WEIGHT_MAX.into());
        fields.finish();
        let (Some(value), Some(url)) = (value, url) else { continue };
        if let Some((first, _)) = places.iter().find(|(_, known)| *known == url) {
            value.wrong(format!("is the same as urls[{first}]: give that a larger weight instead"));
            continue;
        }
        places.push((index, url.clone()));
        urls.push(WeightedUrl {
            url,
            weight: u32::try_from(weight).unwrap_or(WEIGHT_MAX),
        });
    }
    (urls.len() == count).then_some(urls)
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

/// Whether a header is none of a configuration's business.
pub(crate) fn is_managed_header(name: &HeaderName) -> bool {
    MANAGED_HEADERS.contains(&name.as_str()) || name.as_str().starts_with("x-tollgate-")
}

fn credential_header(value: &Value<'_>) -> Option<HeaderName> {
    let text = value.text()?;
    let Ok(name) = HeaderName::from_bytes(text.resolved.as_bytes()) else {
        value.wrong(format!("{} is no header name", text.quoted()));
        return None;
    };
    if is_managed_header(&name) {
        value.wrong(format!(
            "{} cannot carry a credential: the gateway sets it itself",
            text.quoted()
        ));
        return None;
    }
    Some(name)
}
