//! What clouds ask of those who reach them: where they are, who is asking, and how long one waits. It opens no connection.

use std::fmt;
use std::time::Duration;

/// How an object store is reached. What is not told is taken from the environment, as the cloud's own tools take it.
#[derive(Clone, Debug)]
pub struct Access {
    /// URL of the service, where it is not the cloud's own.
    pub endpoint: Option<String>,
    /// Whether the endpoint may be `http://`.
    pub allow_http: bool,
    /// Certificates in PEM to trust beside the system's.
    pub ca: Option<Vec<u8>>,
    /// Region of an S3 bucket.
    pub region: Option<String>,
    /// Whether an S3 bucket is named in the host rather than in the path.
    pub virtual_hosted: bool,
    /// Storage account of an Azure container.
    pub account: Option<String>,
    /// Who is asking.
    pub credentials: Credentials,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for the answer to one request.
    pub request_timeout: Duration,
    /// How long a request that fails is tried again.
    pub retry_timeout: Duration,
}

/// Who is asking.
#[derive(Clone, Debug, Default)]
pub enum Credentials {
    /// Whoever the environment says, else the machine that this runs on.
    #[default]
    Environment,
    /// An access key of Amazon, or of what speaks as S3 does.
    Aws {
        /// Its public half.
        access_key_id: String,
        /// Its secret half.
        secret_access_key: Hidden,
        /// Token of a temporary key.
        session_token: Option<Hidden>,
    },
    /// The JSON of a service account's key.
    GoogleServiceAccount(Hidden),
    /// A storage account's key, in base64.
    AzureKey(Hidden),
    /// A shared access signature: a query string.
    AzureSas(Hidden),
    /// An application of Entra ID.
    AzureClient {
        /// Its directory.
        tenant_id: String,
        /// The application.
        client_id: String,
        /// Its secret.
        client_secret: Hidden,
    },
}

/// A secret. It does not print itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

/// Kind of an object store, as the first part of a location names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    S3,
    Gs,
    Az,
}

// === impl Access ===

impl Access {
    /// Default of [`Access::connect_timeout`].
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    /// Default of [`Access::request_timeout`].
    pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
    /// Default of [`Access::retry_timeout`].
    pub const RETRY_TIMEOUT: Duration = Duration::from_secs(15);
}

impl Default for Access {
    fn default() -> Self {
        Self {
            endpoint: None,
            allow_http: false,
            ca: None,
            region: None,
            virtual_hosted: false,
            account: None,
            credentials: Credentials::default(),
            connect_timeout: Self::CONNECT_TIMEOUT,
            request_timeout: Self::REQUEST_TIMEOUT,
            retry_timeout: Self::RETRY_TIMEOUT,
        }
    }
}

// === impl Hidden ===

impl Hidden {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

// === impl Scheme ===

impl Scheme {
    pub(crate) const ALL: [Self; 3] = [Self::S3, Self::Gs, Self::Az];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gs => "gs",
            Self::Az => "az",
        }
    }

    /// Splits `s3://BUCKET/PREFIX` into its parts, the prefix without slashes at its ends.
    ///
    /// # Errors
    /// What is wrong with it, and what to write.
    pub(crate) fn split(location: &str) -> Result<(Self, &str, &str), String> {
        let found = Self::ALL.into_iter().find_map(|scheme| {
            let rest = location.strip_prefix(scheme.as_str())?.strip_prefix("://")?;
            Some((scheme, rest))
        });
        let Some((scheme, rest)) = found else {
            return Err("write file:PATH, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX".to_owned());
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        // The rules that the three clouds have in common; the narrower ones they tell themselves.
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
        if !(3..=222).contains(&bucket.len()) || !bucket.bytes().all(inner) {
            return Err(format!(
                "{bucket:?} is no bucket or container: 3 or more lower-case letters, digits, '-', '_' and '.'"
            ));
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let segment = |segment: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'=' | b'~');
            !matches!(segment, "" | "." | "..") && segment.bytes().all(plain)
        };
        if !prefix.is_empty() && !prefix.split('/').all(segment) {
            return Err(format!(
                "{prefix:?} is no prefix: names of letters, digits, '-', '_', '.', '=' and '~' with single slashes between them"
            ));
        }
        Ok((scheme, bucket, prefix))
    }
}
