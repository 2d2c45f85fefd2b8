//! Verifies what AWS's SDKs sign (Signature Version 4): signs the request again by AWS's own crate and compares.
//!
//! The rules are those of AWS's documentation ("Create a signed AWS API request" and "Troubleshoot Signature Version 4 signing", IAM User Guide,
//! November 2026), for every service but S3, whose path is signed otherwise:
//!
//! 1. `host`, `x-amz-date` and every other header that begins with `x-amz-` are signed, each once, in alphabetical order.
//! 2. `x-amz-date` is within [`CLOCK_SKEW_MAX`] of the gateway's clock, and its day is that of the credential's scope.
//! 3. The body is signed: its hash is part of what is signed, and that of `x-amz-content-sha256`, where that is sent, is the body's.
//! 4. Region and service may be any: the key is the gateway's own, and is good for nothing else.
//!
//! A signature in the query and one of a stream's chunks are refused. Nothing here reads the body; `signed.rs` does.

use std::fmt::{self, Write};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use chrono::{DateTime, NaiveDateTime, Utc};
use http::request::Parts;
use http::{HeaderName, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::fault::Fault;
use crate::signature::{X_AMZ_CONTENT_SHA256, X_AMZ_DATE, X_AMZ_SECURITY_TOKEN};

/// How far the time of a signature may be from the gateway's clock, in both directions.
pub(crate) const CLOCK_SKEW_MAX: Duration = Duration::from_secs(15 * 60);
/// What begins the values of `Authorization` that are signatures of AWS's.
const SCHEME: &[u8] = b"AWS4-";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// What ends a credential's scope.
const TERMINATOR: &str = "aws4_request";
/// What begins the names of headers that must be signed; `x-amzn-trace-id`, which balancers add, does not begin so.
const MUST_BE_SIGNED: &str = "x-amz-";
/// The query parameter that a presigned URL cannot do without.
const X_AMZ_SIGNATURE: &str = "X-Amz-Signature";
const DATE_FORMAT: &str = "%Y%m%dT%H%M%SZ";
/// What of a header's name a message repeats.
const NAME_CHARS_MAX: usize = 64;

/// What callers sign with. The secret is held, since a signature cannot be checked by its hash; it is never shown.
#[derive(Clone)]
pub struct AwsKey(Credentials);

/// What an `Authorization` header says of a signature. Owned, since the head moves on.
#[derive(Debug)]
pub(crate) struct Claim {
    access_key_id: Box<str>,
    /// `20261125`.
    day: Box<str>,
    region: Box<str>,
    service: Box<str>,
    signed_headers: Vec<HeaderName>,
    signature: Box<str>,
}

/// A claim whose head is in order: all that can be checked without the body.
pub(crate) struct Examined<'a> {
    claim: &'a Claim,
    head: &'a Parts,
    host: &'a str,
    at: SystemTime,
    /// Hash of the body in the head's words, 64 hexadecimal digits.
    pub(crate) told_hash: Option<&'a str>,
}

// === impl AwsKey ===

impl AwsKey {
    /// An access key as AWS has them.
    pub fn new(access_key_id: &str, secret_access_key: &str) -> Self {
        Self(Credentials::new(access_key_id, secret_access_key, None, None, "tollgate"))
    }

    /// Its id, which is no secret.
    pub fn access_key_id(&self) -> &str {
        self.0.access_key_id()
    }
}

impl fmt::Debug for AwsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AwsKey({}: ***)", self.access_key_id())
    }
}

// === impl Claim ===

impl Claim {
    /// Whether a value of `Authorization` is a signature, well-formed or not.
    pub(crate) fn is_one(authorization: &[u8]) -> bool {
        authorization.starts_with(SCHEME)
    }

    /// Reads a value of `Authorization`:
    /// `AWS4-HMAC-SHA256 Credential=ID/20261125/us-east-1/bedrock/aws4_request, SignedHeaders=host;x-amz-date, Signature=...`.
    ///
    /// # Errors
    /// [`Fault::IncompleteSignature`].
    pub(crate) fn read(authorization: &[u8]) -> Result<Self, Fault> {
        let malformed = || {
            incomplete(
                "Authorization must be AWS4-HMAC-SHA256 Credential=ID/YYYYMMDD/REGION/SERVICE/aws4_request, \
                 SignedHeaders=NAME;NAME, Signature=64 hexadecimal digits",
            )
        };
        let (credential, names, signature) = parts(authorization).ok_or_else(malformed)?;
        let [access_key_id, day, region, service, TERMINATOR] = credential.split('/').collect::<Vec<_>>()[..] else {
            return Err(malformed());
        };
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if region.is_empty() || service.is_empty() || signature.len() != 64 || !signature.bytes().all(is_digit) {
            return Err(malformed());
        }
        Ok(Self {
            access_key_id: access_key_id.into(),
            day: day.into(),
            region: region.into(),
            service: service.into(),
            signed_headers: header_names(names)?,
            signature: signature.into(),
        })
    }

    pub(crate) fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// Checks all that can be checked without the body.
    ///
    /// # Errors
    /// [`Fault::IncompleteSignature`], [`Fault::ClockSkew`] or [`Fault::InvalidSignature`].
    pub(crate) fn examine<'a>(&'a self, head: &'a Parts, now: SystemTime) -> Result<Examined<'a>, Fault> {
        if head.headers.contains_key(X_AMZ_SECURITY_TOKEN) {
            return Err(Fault::InvalidSignature {
                reason: "x-amz-security-token belongs to a temporary key, and those of gateway keys have none; unset AWS_SESSION_TOKEN",
            });
        }
        self.covers(head)?;
        let at = self.signed_at(head, now)?;
        let host = match head.headers.get(header::HOST) {
            Some(host) => std::str::from_utf8(host.as_bytes()).ok(),
            // HTTP/2 has it in the target.
            None => head.uri.authority().map(http::uri::Authority::as_str),
        };
        Ok(Examined {
            claim: self,
            head,
            host: host.ok_or_else(|| incomplete("header host is missing"))?,
            at,
            told_hash: told_hash(head)?,
        })
    }

    /// Whether all that must be signed is.
    fn covers(&self, head: &Parts) -> Result<(), Fault> {
        let sent = head.headers.keys().filter(|name| name.as_str().starts_with(MUST_BE_SIGNED));
        for name in [&header::HOST, &X_AMZ_DATE].into_iter().chain(sent) {
            if !self.signed_headers.contains(name) {
                return Err(incomplete(format!("header {} must be among SignedHeaders", brief(name))));
            }
        }
        Ok(())
    }

    fn signed_at(&self, head: &Parts, now: SystemTime) -> Result<SystemTime, Fault> {
        let told = head.headers.get(X_AMZ_DATE).and_then(|date| date.to_str().ok());
        let Some((told, at)) = told.and_then(|told| Some((told, time(told)?))) else {
            return Err(incomplete("header x-amz-date must be a time in UTC such as 20261125T094640Z"));
        };
        if !told.starts_with(&*self.day) || self.day.len() != 8 {
            return Err(incomplete("the date of the credential's scope must be the day of x-amz-date"));
        }
        let skew = now.duration_since(at).unwrap_or_else(|ahead| ahead.duration());
        if skew > CLOCK_SKEW_MAX {
            return Err(Fault::ClockSkew {
                signed: told.into(),
                now: DateTime::<Utc>::from(now).format(DATE_FORMAT).to_string().into(),
                minutes: CLOCK_SKEW_MAX.as_secs() / 60,
            });
        }
        Ok(at)
    }
}

/// Values of `Credential`, `SignedHeaders` and `Signature`.
fn parts(authorization: &[u8]) -> Option<(&str, &str, &str)> {
    let rest = std::str::from_utf8(authorization).ok()?.strip_prefix(ALGORITHM)?;
    let mut found = [None; 3];
    for part in rest.strip_prefix(' ')?.split(',') {
        let (name, value) = part.trim().split_once('=')?;
        let place = match name {
            "Credential" => 0,
            "SignedHeaders" => 1,
            "Signature" => 2,
            _ => return None,
        };
        if found.get_mut(place)?.replace(value).is_some() {
            return None;
        }
    }
    let [credential, names, signature] = found;
    Some((credential?, names?, signature?))
}

/// Names in lower case and ascending: each once, so that what is signed is no longer than the head.
fn header_names(names: &str) -> Result<Vec<HeaderName>, Fault> {
    let refused = || incomplete("SignedHeaders must have names in lower case and alphabetical order, each once");
    let mut read: Vec<HeaderName> = Vec::new();
    for text in names.split(';') {
        let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| refused())?;
        if name.as_str() != text || read.last().is_some_and(|last| last.as_str() >= text) {
            return Err(refused());
        }
        read.push(name);
    }
    Ok(read)
}

fn time(text: &str) -> Option<SystemTime> {
    let is_plain = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'T' | b'Z'));
    let time = is_plain.then(|| NaiveDateTime::parse_from_str(text, DATE_FORMAT).ok())??;
    Some(time.and_utc().into())
}

/// The body's hash that the head tells, if it does. Words in its place, such as `UNSIGNED-PAYLOAD`, are refused: the body would not be signed.
fn told_hash(head: &Parts) -> Result<Option<&str>, Fault> {
    let Some(told) = head.headers.get(X_AMZ_CONTENT_SHA256) else {
        return Ok(None);
    };
    match told.to_str() {
        Ok(told) if told.len() == 64 && told.bytes().all(|byte| byte.is_ascii_hexdigit()) => Ok(Some(told)),
        _ => Err(incomplete(
            "x-amz-content-sha256 must be the SHA-256 of the body; unsigned payloads and signed streams are not accepted",
        )),
    }
}

// === impl Examined ===

impl Examined<'_> {
    /// Whether the signature is that of this request with this body, by this key.
    ///
    /// # Errors
    /// [`Fault::InvalidSignature`], or [`Fault::IncompleteSignature`] if a header that is signed did not arrive.
    pub(crate) fn verify(&self, key: &AwsKey, body: SignableBody<'_>) -> Result<(), Fault> {
        let signed = self.signed_headers()?;
        let mut settings = SigningSettings::default();
        // What is signed is for the client to say.
        settings.excluded_headers = None;
        let identity = key.0.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.claim.region)
            .name(&self.claim.service)
            .time(self.at)
            .settings(settings)
            .build();
        let target = self.head.uri.path_and_query().map_or("/", |target| target.as_str());
        let computed = parameters.ok().and_then(|parameters| {
            // The host that is signed is that of the header.
            let uri = format!("http://gateway{target}");
            let request = SignableRequest::new(self.head.method.as_str(), uri, signed.into_iter(), body).ok()?;
            let (_instructions, signature) = sign(request, &parameters.into()).ok()?.into_parts();
            Some(signature)
        });
        match computed {
            Some(computed) if bool::from(computed.as_bytes().ct_eq(self.claim.signature.as_bytes())) => Ok(()),
            _ => Err(Fault::InvalidSignature {
                reason: "it is of another secret access key, or of another request; check the secret, and that nothing on the way changes \
                         the path, the query, the host, a signed header or the body",
            }),
        }
    }

    /// Whether the body is the one whose hash the head tells; the hash is no secret.
    ///
    /// # Errors
    /// [`Fault::InvalidSignature`].
    pub(crate) fn is_told(&self, body: &[u8]) -> Result<(), Fault> {
        if self.told_hash.is_none_or(|told| told == hexadecimal(&Sha256::digest(body))) {
            return Ok(());
        }
        Err(Fault::InvalidSignature {
            reason: "the body is not the one of x-amz-content-sha256; check that nothing on the way changes it",
        })
    }

    fn signed_headers(&self) -> Result<Vec<(&str, &str)>, Fault> {
        let mut signed = Vec::with_capacity(self.claim.signed_headers.len());
        for name in &self.claim.signed_headers {
            if *name == header::HOST {
                signed.push((name.as_str(), self.host));
                continue;
            }
            let before = signed.len();
            for value in self.head.headers.get_all(name) {
                let value = std::str::from_utf8(value.as_bytes());
                let value = value.map_err(|_| incomplete(format!("header {} is signed and no text", brief(name))))?;
                signed.push((name.as_str(), value));
            }
            if signed.len() == before {
                let lost = format!("header {} is signed and did not arrive; keep it on the way", brief(name));
                return Err(incomplete(lost));
            }
        }
        Ok(signed)
    }
}

/// Whether a query has a signature: that of a presigned URL.
pub(crate) fn is_presigned(query: &str) -> bool {
    let mut names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    names.any(|name| name.eq_ignore_ascii_case(X_AMZ_SIGNATURE))
}

/// The fault of a presigned URL.
pub(crate) fn presigned() -> Fault {
    incomplete("presigned URLs are not accepted; sign the headers, as AWS's SDKs do for calls")
}

fn incomplete(reason: impl Into<Box<str>>) -> Fault {
    Fault::IncompleteSignature { reason: reason.into() }
}

fn brief(name: &HeaderName) -> &str {
    let text = name.as_str();
    text.get(..NAME_CHARS_MAX).unwrap_or(text)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}

#[cfg(test)]
mod tests;
