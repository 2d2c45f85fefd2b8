//! How destinations reach a far side over HTTP: one client, bounded answers, and what an answer says of waiting.
//!
//! 1. Redirects are not followed: a credential does not go where it was not meant to.
//! 2. No answer is read beyond a limit, and no exchange lasts longer than its timeout.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The longest wait that is taken from a `Retry-After`: a day, beyond which a clock or a server is wrong.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);
/// The most bytes of a refusal's words that are kept.
const WORDS_BYTES_MAX: usize = 1024;
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Whom to trust, and how to show who asks, beyond what the system says.
#[derive(Clone, Default)]
pub struct Tls {
    /// Certificates (PEM) that are trusted beside the system's.
    pub ca_pem: Option<String>,
    /// The gateway's own certificate chain and key (PEM), where the far side asks for them.
    pub identity_pem: Option<String>,
}

/// A destination that cannot be made of its configuration.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A PEM file is not one.
    #[error("{field} holds no usable PEM: {reason}")]
    Pem {
        /// Which field.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// The certificate and its key do not fit.
    #[error("tls cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The client cannot be made.
    #[error("the http client cannot be made")]
    Http(#[from] reqwest::Error),
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// What came behind the body; gRPC puts its status there.
    pub(crate) trailers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Makes a client; `grpc` is for HTTP/2 without asking first. Without a timeout whoever sends has one.
///
/// # Errors
/// [`ClientError`] if a certificate or key cannot be used.
pub(crate) fn client(tls: &Tls, timeout: Option<Duration>, grpc: bool) -> Result<reqwest::Client, ClientError> {
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls.config(grpc)?)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("tollgate/", env!("CARGO_PKG_VERSION")));
    let builder = match timeout {
        Some(timeout) => builder.timeout(timeout),
        None => builder,
    };
    let builder = if grpc { builder.http2_prior_knowledge() } else { builder };
    Ok(builder.build()?)
}

/// Sends a request and reads the answer, at most `bytes_max` of it.
///
/// # Errors
/// Why there is no answer, in words; whether the far side took the request is not known then.
pub(crate) async fn send(request: reqwest::RequestBuilder, bytes_max: usize) -> Result<Answer, String> {
    let response = request.send().await.map_err(unreached)?;
    let (parts, body) = http::Response::<reqwest::Body>::from(response).into_parts();
    let collected = Limited::new(body, bytes_max).collect().await;
    let collected = collected.map_err(|error| {
        format!(
            "the answer broke off, or is longer than {bytes_max} bytes: {}",
            chain(&*error)
        )
    })?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    Ok(Answer {
        status: parts.status,
        headers: parts.headers,
        trailers,
        body: collected.to_bytes(),
    })
}

/// How long the far side asks to wait, by `Retry-After`: seconds, or an HTTP date (RFC 9110, section 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => (DateTime::parse_from_rfc2822(text).ok()?.to_utc() - now)
            .to_std()
            .unwrap_or_default(),
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// The beginning of a text of the far side, for a log line or a dead letter.
pub(crate) fn words(bytes: &[u8]) -> String {
    let kept = bytes.get(..bytes.len().min(WORDS_BYTES_MAX)).unwrap_or_default();
    let text: String = String::from_utf8_lossy(kept)
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    text.trim().to_owned()
}

/// Why nothing was answered, with the causes and without the address, which may hold a secret.
pub(crate) fn unreached(error: reqwest::Error) -> String {
    chain(&error.without_url())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

// === impl Tls ===

impl Tls {
    fn config(&self, grpc: bool) -> Result<ClientConfig, ClientError> {
        let mut roots = RootCertStore::empty();
        // What of the system's store cannot be read is left out, as browsers do; a far side it would vouch for then fails by name.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(pem) = &self.ca_pem {
            for certificate in certificates("ca", pem)? {
                roots.add(certificate)?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut config = match &self.identity_pem {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| ClientError::Pem {
                    field: "identity",
                    reason: error.to_string(),
                })?;
                builder.with_client_auth_cert(certificates("identity", pem)?, key)?
            }
        };
        config.alpn_protocols = if grpc {
            vec![b"h2".to_vec()]
        } else {
            vec![b"h2".to_vec(), b"http/1.1".to_vec()]
        };
        Ok(config)
    }
}

impl std::fmt::Debug for Tls {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("ca", &self.ca_pem.is_some())
            .field("identity", &self.identity_pem.is_some())
            .finish()
    }
}

fn certificates(field: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let certificates = read.map_err(|error| ClientError::Pem {
        field,
        reason: error.to_string(),
    })?;
    if certificates.is_empty() {
        return Err(ClientError::Pem {
            field,
            reason: "there is no certificate in it".to_owned(),
        });
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_never_more_than_a_day() {
        let now = DateTime::parse_from_rfc3339("2025-12-01T00:00:00Z").unwrap().to_utc();
        let wait = |text: &str| retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, text.parse().unwrap())]), now);
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Mon, 01 Dec 2025 00:01:30 GMT"), Some(Duration::from_secs(90)));
        assert_eq!(wait("Sun, 30 Nov 2025 00:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("99999999"), Some(RETRY_AFTER_MAX));
        assert_eq!(wait("soon"), None);
        assert_eq!(wait("-1"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn roots_that_are_no_certificates_are_refused() {
        for pem in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let tls = Tls {
                ca_pem: Some(pem.to_owned()),
                identity_pem: None,
            };
            assert!(client(&tls, None, false).is_err(), "{pem}");
        }
        assert!(client(&Tls::default(), None, false).is_ok());
    }

    #[test]
    fn a_file_that_is_no_certificate_is_named() {
        let tls = Tls {
            ca_pem: Some("hello".to_owned()),
            identity_pem: None,
        };
        let error = client(&tls, None, false).unwrap_err();
        assert_eq!(error.to_string(), "ca holds no usable PEM: there is no certificate in it");
    }
}
