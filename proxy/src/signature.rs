//! Signs requests to AWS (Signature Version 4) by AWS's own crate. What it signs is what is sent: method, path, query, host and body, and of the headers
//! those that say what the body is and those of AWS's own; a proxy on the way may change the others.

use std::fmt;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use tollgate_record::Name;

/// When a request was signed.
pub(crate) const X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
/// Token of a temporary key.
pub(crate) const X_AMZ_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
/// Hash of the body that was signed.
pub(crate) const X_AMZ_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
/// What begins the names of AWS's headers, `x-amz-` and `x-amzn-`.
const AWS_HEADERS: &str = "x-amz";

/// A key of AWS's, and what it signs for. Neither is ever shown.
#[derive(Clone)]
pub struct Signer {
    region: Name,
    service: Name,
    credentials: Credentials,
}

/// A request has something that cannot be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CannotSign;

impl Signer {
    /// Signs for a service (`bedrock`) in a region; `session_token` is that of a temporary key.
    pub fn new(region: Name, service: Name, access_key_id: &str, secret_access_key: &str, session_token: Option<&str>) -> Self {
        let token = session_token.map(str::to_owned);
        Self {
            region,
            service,
            credentials: Credentials::new(access_key_id, secret_access_key, token, None, "tollgate"),
        }
    }

    /// Adds the headers of the signature; those of another must be gone already.
    ///
    /// # Errors
    /// [`CannotSign`].
    pub(crate) fn sign(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &mut HeaderMap,
        body: &[u8],
        now: SystemTime,
    ) -> Result<(), CannotSign> {
        let identity = self.credentials.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region.as_str())
            .name(self.service.as_str())
            .time(now)
            .settings(SigningSettings::default())
            .build()
            .map_err(|_| CannotSign)?;
        let signed = headers
            .iter()
            .filter(|(name, _)| **name == header::CONTENT_TYPE || name.as_str().starts_with(AWS_HEADERS))
            .map(|(name, value)| value.to_str().map(|value| (name.as_str(), value)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| CannotSign)?;
        let request = SignableRequest::new(
            method.as_str(),
            uri.to_string(),
            signed.into_iter(),
            SignableBody::Bytes(body),
        )
        .map_err(|_| CannotSign)?;
        let (instructions, _signature) = sign(request, &parameters.into()).map_err(|_| CannotSign)?.into_parts();
        let (added, _query) = instructions.into_parts();
        for line in added {
            let mut value = HeaderValue::from_str(line.value()).map_err(|_| CannotSign)?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static(line.name()), value);
        }
        Ok(())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({}, {}: ***)", self.service, self.region)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    const OF_KEY: &str = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261125/us-east-1/bedrock/aws4_request, \
        SignedHeaders=content-type;host;x-amz-date, Signature=0951422653d8dfd8e68bf238d65ec1bd0903a3ce387308292b5a4a4a724fa8d4";
    const OF_TEMPORARY_KEY: &str = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261125/us-east-1/bedrock/aws4_request, \
        SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature=9839fecd2201e589a5f4542e331391d86833793b73fd14a96554cd993e6936bd";
    const BODY: &[u8] = br#"{"messages": []}"#;

    fn signer(token: Option<&str>) -> Signer {
        let name = |text| Name::new(text).unwrap();
        Signer::new(name("us-east-1"), name("bedrock"), "AKIDEXAMPLE", "SECRET/EXAMPLE", token)
    }

    fn signed(signer: &Signer, uri: &str, more: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers: HeaderMap = more
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_600_000);
        signer
            .sign(&Method::POST, &uri.parse().unwrap(), &mut headers, BODY, at)
            .unwrap();
        headers
    }

    #[test]
    fn a_signature_is_that_of_botocore() {
        // botocore 1.44.5, `auth.SigV4Auth`, of the same request, key and time; both encode the path once more for the signature.
        let uri = "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-3-5-haiku-20241022-v1%3A0/converse";
        let headers = signed(&signer(None), uri, &[("content-type", "application/json"), ("accept", "*/*")]);
        assert_eq!(headers.get(X_AMZ_DATE).unwrap(), "20261125T094640Z");
        assert_eq!(headers.get(header::AUTHORIZATION).unwrap().to_str().unwrap(), OF_KEY);
        let headers = signed(&signer(Some("TOKEN")), uri, &[("content-type", "application/json")]);
        assert_eq!(headers.get(X_AMZ_SECURITY_TOKEN).unwrap(), "TOKEN");
        assert_eq!(
            headers.get(header::AUTHORIZATION).unwrap().to_str().unwrap(),
            OF_TEMPORARY_KEY
        );
    }

    #[test]
    fn what_cannot_be_signed_is_told() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-target", HeaderValue::from_bytes(b"\xff").unwrap());
        let uri = "https://host/".parse().unwrap();
        let told = signer(None).sign(&Method::GET, &uri, &mut headers, b"", SystemTime::UNIX_EPOCH);
        assert_eq!(told, Err(CannotSign));
    }

    #[test]
    fn a_signer_shows_no_secret() {
        assert_eq!(format!("{:?}", signer(Some("TOKEN"))), "Signer(bedrock, us-east-1: ***)");
    }
}
