//! Webhook: signed batches by POST to an address of one's own.
//!
//! 1. A batch has an id that follows from its rows (`webhook-id`), a row has `call_id`: what comes twice can be dropped by either.
//! 2. What is signed is the body before compression.
//! 3. Order is not promised: batches may be under way together, and come again.

mod body;
pub(crate) mod signature;

use std::sync::Arc;

use arrow::array::RecordBatch;
use reqwest::Client;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use tollgate_record::BoxFuture;
use url::Url;

use crate::ambient::Ambient;
use crate::client::{ClientError, client};
use crate::gzip::gzip;
use crate::http;
use crate::{Delivery, Destination, Tls};

pub use body::{EVENT_TYPE, Format};
pub use signature::{SecretError, SigningSecret};

/// Where and how batches are sent.
#[derive(Clone)]
pub struct Config {
    /// Where to. It may hold a secret and is not printed.
    pub url: Url,
    /// Headers of one's own.
    pub headers: HeaderMap,
    /// What batches are signed with; with none they are not signed. The far side accepts a batch that any of them signed.
    pub secrets: Vec<SigningSecret>,
    /// The form of a body.
    pub format: Format,
    /// Whether bodies are compressed.
    pub gzip: bool,
    /// Whom to trust.
    pub tls: Tls,
    /// The most rows of a batch.
    pub rows_max: usize,
}

/// A webhook.
pub struct Webhook {
    config: Config,
    client: Client,
    ambient: Arc<dyn Ambient>,
}

// === impl Config ===

impl Config {
    /// Default of [`Config::rows_max`].
    pub const ROWS_MAX: usize = 1000;

    /// Plain JSON, unsigned, to an address.
    pub fn new(url: Url) -> Self {
        Self {
            url,
            headers: HeaderMap::new(),
            secrets: Vec::new(),
            format: Format::default(),
            gzip: false,
            tls: Tls::default(),
            rows_max: Self::ROWS_MAX,
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("host", &self.url.host_str())
            .field("secrets", &self.secrets.len())
            .field("format", &self.format)
            .field("gzip", &self.gzip)
            .field("rows_max", &self.rows_max)
            .finish_non_exhaustive()
    }
}

// === impl Webhook ===

impl Webhook {
    /// Makes a webhook. Nothing is sent.
    ///
    /// # Errors
    /// [`ClientError`]: the CA file cannot be used.
    pub fn new(config: Config, ambient: Arc<dyn Ambient>) -> Result<Self, ClientError> {
        let client = client(&config.tls, None, false)?;
        Ok(Self { config, client, ambient })
    }

    async fn post(&self, rows: &RecordBatch) -> Delivery {
        let body = match self.config.format.encode(rows) {
            Ok(body) => body,
            Err(error) => {
                return Delivery::Invalid {
                    answer: format!("failed to write rows as JSON: {error}"),
                };
            }
        };
        let (id, timestamp) = (body::batch_id(rows), self.ambient.now().unix_us().div_euclid(1_000_000));
        let mut request = self
            .client
            .post(self.config.url.clone())
            .headers(self.config.headers.clone())
            .header(CONTENT_TYPE, self.config.format.content_type())
            .header("webhook-id", &id)
            .header("webhook-timestamp", timestamp);
        if !self.config.secrets.is_empty() {
            request = request.header(
                "webhook-signature",
                signature::header(&self.config.secrets, &id, timestamp, &body),
            );
        }
        if self.config.gzip {
            request = request.header(CONTENT_ENCODING, "gzip").body(gzip(&body));
        } else {
            request = request.body(body);
        }
        http::delivery(request.send().await).await
    }
}

impl Destination for Webhook {
    fn rows_max(&self) -> usize {
        self.config.rows_max
    }

    fn ordered(&self) -> bool {
        false
    }

    fn deliver<'a>(&'a self, rows: &'a RecordBatch) -> BoxFuture<'a, Delivery> {
        Box::pin(self.post(rows))
    }

    fn preview(&self, rows: &RecordBatch) -> Option<String> {
        String::from_utf8(self.config.format.encode(rows).ok()?).ok()
    }
}
