//! A webhook that notices are sent to.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, StatusCode};
use tollgate_record::notice::Notice;
use tollgate_record::{Name, Timestamp};
use url::Url;

use crate::client::client;
use crate::webhook::SigningSecret;
use crate::webhook::signature;
use crate::{ClientError, Delivery, Tls, http};

/// What kind of event a notice is.
pub const EVENT_TYPE: &str = "tollgate.alert";
/// Longest wait for an answer. Standard Webhooks asks for 15 to 30 seconds.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where notices are sent.
#[derive(Clone)]
pub struct Endpoint {
    /// Name of the webhook: what it took is kept under it.
    pub name: Name,
    /// Where to. It may hold a secret and is not printed.
    pub url: Url,
    /// Headers of one's own.
    pub headers: HeaderMap,
    /// What notices are signed with, each of them, so that secrets can be rotated.
    pub secrets: Vec<SigningSecret>,
    /// Whom to trust.
    pub tls: Tls,
}

/// An endpoint with its client.
pub(super) struct Target {
    endpoint: Endpoint,
    client: Client,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("name", &self.name)
            .field("host", &self.url.host_str())
            .field("secrets", &self.secrets.len())
            .finish_non_exhaustive()
    }
}

// === impl Target ===

impl Target {
    pub(super) fn new(endpoint: Endpoint) -> Result<Self, ClientError> {
        let client = client(&endpoint.tls, Some(TIMEOUT), false)?;
        Ok(Self { endpoint, client })
    }

    pub(super) fn name(&self) -> &Name {
        &self.endpoint.name
    }

    /// Sends a notice once.
    pub(super) async fn send(&self, notice: &Notice, now: Timestamp) -> (Option<StatusCode>, Delivery) {
        let (body, timestamp) = (body(notice), now.unix_us().div_euclid(1_000_000));
        let mut request = self
            .client
            .post(self.endpoint.url.clone())
            .headers(self.endpoint.headers.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &notice.id)
            .header("webhook-timestamp", timestamp);
        if !self.endpoint.secrets.is_empty() {
            let signed = signature::header(&self.endpoint.secrets, &notice.id, timestamp, body.as_bytes());
            request = request.header("webhook-signature", signed);
        }
        http::answered(request.body(body).send().await).await
    }
}

/// `{"type": ..., "timestamp": when it came up, "data": ...}`, as Standard Webhooks recommends.
fn body(notice: &Notice) -> String {
    let raised = DateTime::from_timestamp_micros(notice.raised_at.unix_us()).unwrap_or_default();
    format!(
        "{{\"type\":\"{EVENT_TYPE}\",\"timestamp\":\"{}\",\"data\":{}}}",
        raised.to_rfc3339_opts(SecondsFormat::Micros, true),
        notice.data
    )
}
