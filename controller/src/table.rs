//! `spec.ledger.table` and `spec.ledger.store` of a Gateway: where the table lies, and how an object store is reached.
//!
//! The location's first part says which cloud it is, and so which fields of `store` have a meaning; one that has none is a problem.
//! Nothing is asked of the cloud here, and what is not told is taken from the environment when the ledger is opened.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::field::Fields;
use crate::secret::{Pem, Secret, certificates};
use crate::upstream::service_url;
use crate::value::Value;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const RETRY_TIMEOUT: Duration = Duration::from_secs(15);

const EXAMPLES: &str = "file:./data/usage, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix";

/// Where the table lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Table {
    /// A directory. Relative ones start at the working directory.
    Folder(PathBuf),
    /// A prefix of a bucket or container, as it is written: `s3://bucket/prefix`.
    Bucket(Cloud, String),
}

/// Whose object store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// `s3://`
    S3,
    /// `gs://`
    Gs,
    /// `az://`
    Az,
}

/// How an object store is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Its URL, where it is not the cloud's own.
    pub endpoint: Option<Url>,
    /// Whether it may be reached without TLS.
    pub allow_http: bool,
    /// Certificates to trust beside the system's.
    pub ca: Option<Pem>,
    /// Region of an S3 bucket.
    pub region: Option<String>,
    /// Where an S3 bucket is named.
    pub addressing: Addressing,
    /// Storage account of an Azure container.
    pub account: Option<String>,
    /// Who is asking.
    pub credentials: Credentials,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for the answer to a request.
    pub request_timeout: Duration,
    /// How long a request that fails is tried again.
    pub retry_timeout: Duration,
}

/// Where an S3 bucket is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addressing {
    /// In the path: `https://host/bucket`.
    #[default]
    Path,
    /// In the host: `https://bucket.host`.
    VirtualHosted,
}

/// Who is asking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Whoever the environment says, else the machine.
    #[default]
    Environment,
    /// An access key of S3.
    Aws {
        /// Its public half.
        access_key_id: String,
        /// Its secret half.
        secret_access_key: Secret,
        /// Token of a temporary key.
        session_token: Option<Secret>,
    },
    /// The JSON of a service account's key.
    GoogleServiceAccount(Secret),
    /// A storage account's key.
    AzureKey(Secret),
    /// A shared access signature.
    AzureSas(Secret),
    /// An application of Entra ID.
    AzureClient {
        /// Its directory.
        tenant_id: String,
        /// The application.
        client_id: String,
        /// Its secret.
        client_secret: Secret,
    },
}

// === impl Table ===

impl Table {
    pub(crate) fn read(value: &Value<'_>) -> Option<Self> {
        let text = value.text()?.resolved;
        if let Some(path) = text.strip_prefix("file:") {
            let path = match path.strip_prefix("//") {
                // file:///path is the same with an empty host.
                Some(path) => path.starts_with('/').then_some(path),
                None => Some(path),
            };
            let path = path.filter(|path| !path.is_empty());
            if path.is_none() {
                value.wrong(format!("is no file:PATH: write {EXAMPLES}"));
            }
            return path.map(|path| Self::Folder(PathBuf::from(path)));
        }
        let cloud = Cloud::ALL.into_iter().find_map(|cloud| {
            let rest = text.strip_prefix(cloud.scheme())?.strip_prefix("://")?;
            Some((cloud, rest))
        });
        let Some((cloud, rest)) = cloud else {
            value.wrong(format!("is no location: write {EXAMPLES}"));
            return None;
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let in_bucket = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
        if !(3..=222).contains(&bucket.len()) || !bucket.bytes().all(in_bucket) {
            value.wrong("names no bucket or container of 3 or more lower-case letters, digits, '-', '_' and '.'");
            return None;
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'=' | b'~');
        let name = |name: &str| !matches!(name, "" | "." | "..") && name.bytes().all(plain);
        if !prefix.is_empty() && !prefix.split('/').all(name) {
            value
                .wrong("has a prefix that is not names of letters, digits, '-', '_', '.', '=' and '~' with single slashes between");
            return None;
        }
        Some(Self::Bucket(cloud, text))
    }
}

// === impl Cloud ===

impl Cloud {
    const ALL: [Self; 3] = [Self::S3, Self::Gs, Self::Az];

    const fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gs => "gs",
            Self::Az => "az",
        }
    }
}

// === impl Store ===

impl Default for Store {
    fn default() -> Self {
        Self {
            endpoint: None,
            allow_http: false,
            ca: None,
            region: None,
            addressing: Addressing::default(),
            account: None,
            credentials: Credentials::default(),
            connect_timeout: CONNECT_TIMEOUT,
            request_timeout: REQUEST_TIMEOUT,
            retry_timeout: RETRY_TIMEOUT,
        }
    }
}

impl Store {
    /// Reads the map; `table` is what lies in the store, as far as that could be read, and `at` the field that tells it.
    pub(crate) fn read(mut fields: Fields<'_>, table: &Option<Table>, table_is_read: bool, at: &str) -> Self {
        let cloud = match table {
            Some(Table::Bucket(cloud, _)) => Some(*cloud),
            _ => None,
        };
        if table_is_read {
            report_unused(&fields, cloud, at);
        }
        let times = Duration::from_millis(10)..=Duration::from_secs(600);
        let addressings = [("path", Addressing::Path), ("virtual_hosted", Addressing::VirtualHosted)];
        let endpoint = fields.take("endpoint");
        let store = Self {
            endpoint: endpoint
                .as_ref()
                .and_then(|value| service_url(value, "https://s3.example.com", "the fields below store")),
            allow_http: fields.take("allow_http").and_then(|value| value.flag()).unwrap_or(false),
            ca: fields.take("ca").and_then(|value| value.pem("certificate", certificates)),
            region: fields.take("region").and_then(|value| word(&value)),
            addressing: fields.choice("addressing", Addressing::default(), &addressings),
            account: fields.take("account").and_then(|value| word(&value)),
            credentials: Credentials::read(&mut fields),
            connect_timeout: fields.duration("connect_timeout", CONNECT_TIMEOUT, times.clone()),
            request_timeout: fields.duration("request_timeout", REQUEST_TIMEOUT, times.clone()),
            retry_timeout: fields.duration("retry_timeout", RETRY_TIMEOUT, times),
        };
        if store.endpoint.as_ref().is_some_and(|url| url.scheme() == "http") && !store.allow_http {
            fields.wrong(
                "endpoint",
                "is http, which sends rows in the clear: write https, or set allow_http: true",
            );
        }
        fields.finish();
        store
    }
}

/// Fields that only one cloud has.
const FIELDS_OF: [(Cloud, &[&str]); 3] = [
    (
        Cloud::S3,
        &["region", "addressing", "access_key_id", "secret_access_key", "session_token"],
    ),
    (Cloud::Gs, &["service_account"]),
    (
        Cloud::Az,
        &[
            "account",
            "access_key",
            "sas_token",
            "tenant_id",
            "client_id",
            "client_secret",
        ],
    ),
];

fn report_unused(fields: &Fields<'_>, cloud: Option<Cloud>, at: &str) {
    let Some(cloud) = cloud else {
        for field in ["endpoint", "ca"]
            .iter()
            .chain(FIELDS_OF.iter().flat_map(|(_, fields)| *fields))
        {
            if fields.has(field) {
                fields.wrong(field, format!("is not used: {at} is in no object store"));
            }
        }
        return;
    };
    for (other, names) in FIELDS_OF.iter().filter(|(other, _)| *other != cloud) {
        for name in names.iter().filter(|name| fields.has(name)) {
            fields.wrong(
                name,
                format!(
                    "is not used: it is of {}://, and {at} is {}://",
                    other.scheme(),
                    cloud.scheme()
                ),
            );
        }
    }
}

/// A region or account: a word that becomes part of a host's name.
fn word(value: &Value<'_>) -> Option<String> {
    let text = value.text()?.resolved;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.is_empty() || text.len() > 63 || !text.bytes().all(plain) {
        value.wrong("must be 1 to 63 lower-case letters, digits and '-'");
        return None;
    }
    Some(text)
}

// === impl Credentials ===

impl Credentials {
    fn read(fields: &mut Fields<'_>) -> Self {
        let aws = complete(fields, ["access_key_id", "secret_access_key"]);
        let session_token = fields.take("session_token");
        if let (None, Some(token)) = (&aws, &session_token) {
            token.wrong("needs access_key_id and secret_access_key beside it");
        }
        let session_token = session_token.and_then(|value| value.header_secret());
        let service_account = fields.take("service_account").and_then(|value| service_account(&value));
        let key = fields.take("access_key");
        let sas = fields.take("sas_token");
        let client = complete(fields, ["tenant_id", "client_id", "client_secret"]);
        let ways = [key.is_some(), sas.is_some(), client.is_some()];
        if ways.into_iter().filter(|given| *given).count() > 1 {
            fields.wrong_map("has more than one of access_key, sas_token and client_secret: who is asking?");
        }
        if let Some([id, secret]) = aws {
            let (Some(id), Some(secret)) = (id.header_secret(), secret.header_secret()) else {
                return Self::Environment;
            };
            return Self::Aws {
                access_key_id: id.expose().to_owned(),
                secret_access_key: secret,
                session_token,
            };
        }
        if let Some(key) = service_account {
            return Self::GoogleServiceAccount(key);
        }
        if let Some(key) = key.as_ref().and_then(base64) {
            return Self::AzureKey(key);
        }
        if let Some(token) = sas.as_ref().and_then(Value::header_secret) {
            return Self::AzureSas(token);
        }
        if let Some([tenant, client, secret]) = client
            && let (Some(tenant), Some(client), Some(secret)) =
                (tenant.header_secret(), client.header_secret(), secret.header_secret())
        {
            return Self::AzureClient {
                tenant_id: tenant.expose().to_owned(),
                client_id: client.expose().to_owned(),
                client_secret: secret,
            };
        }
        Self::Environment
    }
}

/// Fields of which all or none must be there.
fn complete<'a, const N: usize>(fields: &mut Fields<'a>, names: [&'static str; N]) -> Option<[Value<'a>; N]> {
    let found = names.map(|name| fields.take(name));
    let given = found.iter().filter(|value| value.is_some()).count();
    if given > 0 && given < N {
        for (name, value) in names.iter().zip(&found) {
            if value.is_none() {
                fields.wrong(name, format!("is required beside the others of {}", names.join(", ")));
            }
        }
    }
    let found = found.into_iter().collect::<Option<Vec<_>>>()?;
    found.try_into().ok()
}

/// The content of a key file, as Google gives it out. What is wrong with it is told without quoting it.
fn service_account(value: &Value<'_>) -> Option<Secret> {
    let text = value.text()?.resolved;
    let text = text.trim();
    if !(text.starts_with('{') && text.ends_with('}') && text.contains("\"private_key\"")) {
        value.wrong("is no key of a service account: write ${file:PATH} with the path of its JSON file");
        return None;
    }
    Some(Secret::new(text))
}

fn base64(value: &Value<'_>) -> Option<Secret> {
    let secret = value.header_secret()?;
    let digits = secret.expose().trim_end_matches('=');
    let digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    if !secret.expose().len().is_multiple_of(4) || digits.is_empty() || !digits.bytes().all(digit) {
        value.wrong("is no key of a storage account, which is base64");
        return None;
    }
    Some(secret)
}
