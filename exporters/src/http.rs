//! What kinds over HTTP share: a client with roots of one's own, and what an answer means for a batch.

use std::error::Error as _;
use std::time::{Duration, SystemTime};

use reqwest::header::RETRY_AFTER;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::Delivery;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 4096;

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The roots are no certificates.
    #[error("the CA file has no certificate in PEM that can be used")]
    Roots,
    /// The client refused its configuration.
    #[error("failed to make an HTTP client")]
    Client(#[from] reqwest::Error),
    /// TLS refused its configuration.
    #[error("failed to configure TLS")]
    Tls(#[from] rustls::Error),
}

/// A client that trusts the system's roots and, beside them, those of `ca` (PEM). It follows no redirects: a signature and a credential are for one
/// address.
///
/// # Errors
/// [`ClientError`].
pub(crate) fn client(ca: Option<&[u8]>) -> Result<Client, ClientError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = ca {
        let given: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|_| ClientError::Roots)?;
        if given.is_empty() || roots.add_parsable_certificates(given).0 == 0 {
            return Err(ClientError::Roots);
        }
    }
    let tls = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(Policy::none())
        .connect_timeout(CONNECT_TIMEOUT);
    Ok(builder.user_agent(concat!("tollgate/", env!("CARGO_PKG_VERSION"))).build()?)
}

/// What an answer means for the batch that it answers.
pub(crate) async fn delivery(answer: Result<Response, reqwest::Error>) -> Delivery {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            return Delivery::Retry {
                after: None,
                reason: chain(&error),
            };
        }
    };
    let (status, after) = (answer.status(), retry_after(&answer));
    if status.is_success() {
        return Delivery::Accepted;
    }
    let said = format!("{status}: {}", said(answer).await);
    of_status(status, after, said)
}

/// What a status that is no success means.
fn of_status(status: StatusCode, after: Option<Duration>, said: String) -> Delivery {
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Delivery::Retry { after, reason: said }
        }
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
            Delivery::Invalid { answer: said }
        }
        _ if status.is_server_error() => Delivery::Retry { after, reason: said },
        // A redirect, a credential, a path, a method: no row is at fault.
        _ => Delivery::Stuck { reason: said },
    }
}

/// `Retry-After` (RFC 9110 section 10.2.3): seconds, or a date.
fn retry_after(answer: &Response) -> Option<Duration> {
    let value = answer.headers().get(RETRY_AFTER)?.to_str().ok()?;
    parse_retry_after(value.trim(), SystemTime::now())
}

fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// The begin of an answer's body, on one line.
async fn said(mut answer: Response) -> String {
    let mut body = Vec::new();
    while body.len() < ANSWER_BYTES_MAX {
        match answer.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    body.truncate(ANSWER_BYTES_MAX);
    let text = String::from_utf8_lossy(&body);
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace(char::is_control, "")
}

/// An error with its causes, without the address, which may hold a secret.
fn chain(error: &reqwest::Error) -> String {
    let mut text = "failed to reach the far side".to_owned();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_says_whether_to_try_again_to_split_or_to_wait_for_someone() {
        let kind = |status: u16| match of_status(StatusCode::from_u16(status).unwrap(), None, String::new()) {
            Delivery::Retry { .. } => "retry",
            Delivery::Invalid { .. } => "invalid",
            Delivery::Stuck { .. } => "stuck",
            Delivery::Accepted | Delivery::Rejected { .. } => "accepted",
        };
        for (expected, statuses) in [
            ("retry", &[408, 425, 429, 500, 502, 503, 504, 599][..]),
            ("invalid", &[400, 413, 422]),
            ("stuck", &[301, 302, 307, 401, 402, 403, 404, 405, 406, 409, 410, 415, 418]),
        ] {
            for status in statuses {
                assert_eq!(kind(*status), expected, "{status}");
            }
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 01 Nov 2026 00:00:00 GMT").unwrap();
        for (value, seconds) in [
            ("120", Some(120)),
            ("Sun, 01 Nov 2026 00:02:00 GMT", Some(120)),
            ("Sat, 31 Oct 2026 00:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(parse_retry_after(value, now), seconds.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn roots_that_are_no_certificates_are_refused() {
        for pem in [&b""[..], b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(matches!(client(Some(pem)), Err(ClientError::Roots)));
        }
        assert!(client(None).is_ok());
    }
}
