//! What a receiver's answer says, over either protocol, by the OpenTelemetry protocol specification (OTLP 1.x, "Failures").
//!
//! Where the specification tells a client to give up, it speaks of clients that would drop what they hold; a row is not dropped here. An answer
//! that blames the message is [`Delivery::Invalid`], so that the runner finds the row; one that blames the receiver or its set-up is
//! [`Delivery::Stuck`], which keeps the rows until it is mended.

use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use prost::Message;

use crate::Delivery;
use crate::client::{Answer, retry_after, words};

/// Binary metadata of gRPC is base64 whose padding may be left out.
const BINARY: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// `google.rpc.Status`: the body of a refusal over HTTP, and the details of one over gRPC.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub(super) retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Delay {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

/// What an answer over HTTP says: the response message, or what is to be done.
pub(super) fn http(path: &str, answer: &Answer, now: DateTime<Utc>) -> Result<Bytes, Delivery> {
    let told = || {
        let message = Status::decode(answer.body.clone())
            .ok()
            .map(|status| status.message)
            .filter(|message| !message.is_empty());
        format!(
            "POST {path} answered {}: {}",
            answer.status,
            message.unwrap_or_else(|| words(&answer.body))
        )
    };
    match answer.status.as_u16() {
        200..=299 => Ok(answer.body.clone()),
        429 | 502 | 503 | 504 => Err(Delivery::Retry {
            after: retry_after(&answer.headers, now),
            reason: told(),
        }),
        408 => Err(Delivery::Retry {
            after: None,
            reason: told(),
        }),
        400 | 413 | 422 => Err(Delivery::Invalid { answer: told() }),
        _ => Err(Delivery::Stuck { reason: told() }),
    }
}

/// What an answer over gRPC says: the response message, or what is to be done.
pub(super) fn grpc(path: &str, answer: &Answer, now: DateTime<Utc>) -> Result<Bytes, Delivery> {
    let field = |name: &str| answer.trailers.get(name).or_else(|| answer.headers.get(name));
    let Some(code) = field("grpc-status").and_then(|code| code.to_str().ok()?.parse::<u32>().ok()) else {
        // Not a gRPC server, or something before it: the HTTP status is all there is.
        return match http(path, answer, now) {
            Ok(_) => Err(Delivery::Retry {
                after: None,
                reason: format!("{path} answered without a grpc-status"),
            }),
            Err(delivery) => Err(delivery),
        };
    };
    if code == 0 {
        return unframe(&answer.body).ok_or_else(|| Delivery::Retry {
            after: None,
            reason: format!("{path} answered what is no gRPC message"),
        });
    }
    let delay = field("grpc-status-details-bin").and_then(|details| delay(details.as_bytes()));
    let message = field("grpc-message")
        .map(|message| percent_decoded(message.as_bytes()))
        .unwrap_or_default();
    let told = format!("{path} answered {}: {message}", name(code));
    Err(match code {
        // What the specification calls retryable; resource exhaustion only where the receiver says when.
        1 | 4 | 10 | 11 | 14 | 15 => Delivery::Retry {
            after: delay.or_else(|| retry_after(&answer.headers, now)),
            reason: told,
        },
        8 if delay.is_some() => Delivery::Retry {
            after: delay,
            reason: told,
        },
        // Of exhaustion without a delay the usual cause is a message above the receiver's limit: half of it may pass.
        3 | 8 | 9 => Delivery::Invalid { answer: told },
        _ => Delivery::Stuck { reason: told },
    })
}

/// A message as gRPC frames it: whether it is compressed, its length, itself.
pub(super) fn frame(message: &[u8], compressed: bool) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a batch is far below four gigabytes");
    let mut framed = Vec::with_capacity(message.len() + 5);
    framed.push(u8::from(compressed));
    framed.extend(length.to_be_bytes());
    framed.extend(message);
    framed
}

/// The message in a frame; compression was not offered, so a compressed one is none.
fn unframe(body: &Bytes) -> Option<Bytes> {
    let (head, message) = (body.get(..5)?, body.slice(5..));
    let [0, length @ ..] = head else { return None };
    (u32::from_be_bytes(length.try_into().ok()?) as usize == message.len()).then_some(message)
}

fn delay(details: &[u8]) -> Option<Duration> {
    let status = Status::decode(BINARY.decode(details).ok()?.as_slice()).ok()?;
    let info = status
        .details
        .iter()
        .find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay?;
    Some(Duration::new(
        u64::try_from(delay.seconds).ok()?,
        u32::try_from(delay.nanos).ok()?.min(999_999_999),
    ))
}

fn percent_decoded(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let escaped = tail
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    words(&bytes)
}

fn name(code: u32) -> String {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    usize::try_from(code)
        .ok()
        .and_then(|code| NAMES.get(code))
        .map_or_else(|| format!("gRPC status {code}"), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn answer(status: u16, fields: &[(&'static str, &str)], body: &[u8]) -> Answer {
        let headers: HeaderMap = fields
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        Answer {
            status: http::StatusCode::from_u16(status).unwrap(),
            headers,
            trailers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body),
        }
    }

    fn kind(delivery: &Delivery) -> &'static str {
        match delivery {
            Delivery::Invalid { .. } => "invalid",
            Delivery::Retry { .. } => "retry",
            Delivery::Stuck { .. } => "stuck",
            Delivery::Accepted | Delivery::Rejected { .. } => "taken",
        }
    }

    #[test]
    fn statuses_over_http_are_those_of_the_specification() {
        let judged = |status| kind(&http("/v1/logs", &answer(status, &[], b"no"), Utc::now()).unwrap_err());
        assert_eq!([429, 502, 503, 504].map(judged), ["retry"; 4]);
        assert_eq!([400, 413, 422].map(judged), ["invalid"; 3]);
        assert_eq!([301, 401, 403, 404, 405, 500, 501].map(judged), ["stuck"; 7]);
        let refused = Status {
            code: 3,
            message: "name is empty".to_owned(),
            details: vec![],
        }
        .encode_to_vec();
        let told = http("/v1/logs", &answer(400, &[], &refused), Utc::now()).unwrap_err();
        assert_eq!(
            told,
            Delivery::Invalid {
                answer: "POST /v1/logs answered 400 Bad Request: name is empty".to_owned()
            }
        );
    }

    #[test]
    fn codes_over_grpc_are_those_of_the_specification() {
        let judged = |code: &str| kind(&grpc("/Export", &answer(200, &[("grpc-status", code)], b""), Utc::now()).unwrap_err());
        assert_eq!(["1", "4", "10", "11", "14", "15"].map(judged), ["retry"; 6]);
        assert_eq!(["3", "8", "9"].map(judged), ["invalid"; 3]);
        assert_eq!(["2", "5", "7", "12", "13", "16", "99"].map(judged), ["stuck"; 7]);
        assert_eq!(
            kind(&grpc("/Export", &answer(503, &[], b""), Utc::now()).unwrap_err()),
            "retry"
        );
        assert_eq!(
            kind(&grpc("/Export", &answer(404, &[], b""), Utc::now()).unwrap_err()),
            "stuck"
        );
        assert_eq!(
            kind(&grpc("/Export", &answer(200, &[], b"<html>"), Utc::now()).unwrap_err()),
            "retry"
        );
        assert_eq!(
            kind(&grpc("/Export", &answer(200, &[("grpc-status", "0")], b"<html>"), Utc::now()).unwrap_err()),
            "retry"
        );
    }

    #[test]
    fn exhaustion_with_a_delay_is_waited_for() {
        let info = RetryInfo {
            retry_delay: Some(Delay {
                seconds: 7,
                nanos: 500_000_000,
            }),
        };
        let any = Any {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: info.encode_to_vec(),
        };
        let details = Status {
            code: 8,
            message: String::new(),
            details: vec![any],
        }
        .encode_to_vec();
        let details = base64::engine::general_purpose::STANDARD_NO_PAD.encode(details);
        let fields = [
            ("grpc-status", "8"),
            ("grpc-message", "slow%20down"),
            ("grpc-status-details-bin", details.as_str()),
        ];
        let expected = Delivery::Retry {
            after: Some(Duration::from_millis(7500)),
            reason: "/Export answered RESOURCE_EXHAUSTED: slow down".to_owned(),
        };
        assert_eq!(grpc("/Export", &answer(200, &fields, b""), Utc::now()).unwrap_err(), expected);
    }
}
