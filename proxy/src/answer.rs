//! Turns faults into answers: the one place that knows which status a fault has.

use http::{HeaderValue, Response, StatusCode, header};
use tollgate_codec::{Codec, ErrorBody};
use tollgate_record::CallId;

use crate::body::AnswerBody;
use crate::fault::{Code, Fault};

/// When to try again after the ledger was unavailable, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"tollgate\"");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// The answer to a fault, in the shape of the provider that was called.
pub(crate) fn of(fault: &Fault, codec: &Codec, call_id: CallId) -> Response<AnswerBody> {
    let code = fault.code();
    let status = status(code).unwrap_or(StatusCode::BAD_REQUEST);
    let (message, call_id) = (fault.to_string(), call_id.to_string());
    let error = ErrorBody {
        status,
        code: code.as_str(),
        message: &message,
        call_id: &call_id,
    };
    let mut answer = Response::new(AnswerBody::whole(codec.error_body(&error)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.extend(codec.error_header(&error));
    headers.insert(header::CONTENT_TYPE, JSON);
    match status {
        StatusCode::UNAUTHORIZED => headers.insert(header::WWW_AUTHENTICATE, CHALLENGE),
        StatusCode::METHOD_NOT_ALLOWED => headers.insert(header::ALLOW, METHODS),
        StatusCode::SERVICE_UNAVAILABLE => headers.insert(header::RETRY_AFTER, RETRY_AFTER),
        _ => None,
    };
    answer
}

/// The status that a fault is answered with; `None` if there is nobody to answer.
pub(crate) const fn status(code: Code) -> Option<StatusCode> {
    let status = match code {
        Code::MissingKey | Code::UnknownKey | Code::DisabledKey | Code::ExpiredKey => StatusCode::UNAUTHORIZED,
        Code::UnknownAccessKey | Code::IncompleteSignature | Code::ClockSkew | Code::InvalidSignature => StatusCode::FORBIDDEN,
        Code::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Code::UnknownPath | Code::PathNotAllowed | Code::NoDefaultProvider => StatusCode::NOT_FOUND,
        Code::ModelNotAllowed | Code::ModelNotNamed => StatusCode::FORBIDDEN,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::BadPath | Code::BadHeader | Code::BadJson | Code::BrokenBody | Code::ProviderNotCompatible => StatusCode::BAD_REQUEST,
        Code::UpgradeUnsupported => StatusCode::NOT_IMPLEMENTED,
        Code::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
        Code::LedgerUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::UpstreamLookupFailed
        | Code::UpstreamConnectFailed
        | Code::UpstreamTlsFailed
        | Code::UpstreamReset
        | Code::UpstreamProtocolError
        | Code::UpstreamCut => StatusCode::BAD_GATEWAY,
        Code::UpstreamConnectTimeout | Code::UpstreamFirstByteTimeout | Code::UpstreamIdleTimeout => StatusCode::GATEWAY_TIMEOUT,
        Code::ClientLeft | Code::GatewayShutdown => return None,
    };
    Some(status)
}

/// The status as it stands in `docs/errors.md`.
#[cfg(test)]
pub(crate) fn status_text(code: Code) -> String {
    status(code).map_or_else(|| "none".to_owned(), |status| status.as_u16().to_string())
}
