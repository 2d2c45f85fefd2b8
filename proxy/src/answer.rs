//! Turns faults into answers: the one place that knows which status a fault has.

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use tollgate_codec::{Codec, ErrorBody};
use tollgate_record::CallId;
use tollgate_record::admission::Refusal;

use crate::body::AnswerBody;
use crate::fault::{Code, Fault};
use crate::refusal::Refused;

/// When to try again after the ledger was unavailable, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");
/// Whether to try again, for the SDKs of OpenAI and Anthropic (openai-python `_base_client.py`, `_should_retry`), which would do so on any 429.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"tollgate\"");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// The answer to a fault, in the shape of the provider that was called.
pub(crate) fn of(fault: &Fault, codec: &Codec, call_id: CallId) -> Response<AnswerBody> {
    let code = fault.code();
    let refused = match fault {
        Fault::Refused(refused) => Some(refused),
        _ => None,
    };
    let chosen = refused.and_then(|refused| StatusCode::from_u16(refused.status()).ok());
    let status = chosen.or(status(code)).unwrap_or(StatusCode::BAD_REQUEST);
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
    if let Some(refused) = refused {
        tell(refused, codec, headers);
    }
    answer
}

/// What a refusal tells SDKs: when to try again, or not at all.
fn tell(refused: &Refused, codec: &Codec, headers: &mut HeaderMap) {
    if let Some(seconds) = refused.retry_after() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if refused.is_final() {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    if let Refusal::Rate(over) = &refused.refusal {
        headers.extend(codec.rate_headers(std::slice::from_ref(&over.state), refused.at));
    }
}

/// The status that a fault is answered with; `None` if there is nobody to answer.
pub(crate) const fn status(code: Code) -> Option<StatusCode> {
    let status = match code {
        Code::MissingKey | Code::UnknownKey | Code::DisabledKey | Code::ExpiredKey => StatusCode::UNAUTHORIZED,
        Code::UnknownAccessKey | Code::IncompleteSignature | Code::ClockSkew | Code::InvalidSignature => StatusCode::FORBIDDEN,
        Code::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Code::UnknownPath | Code::PathNotAllowed | Code::NoDefaultProvider => StatusCode::NOT_FOUND,
        Code::ModelNotAllowed | Code::ModelNotNamed | Code::OperationNotAllowed | Code::ProxyNotAllowed => StatusCode::FORBIDDEN,
        // Budgets may choose 429.
        Code::BudgetExceeded | Code::UnpricedModel => StatusCode::PAYMENT_REQUIRED,
        Code::RateLimitExceeded => StatusCode::TOO_MANY_REQUESTS,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::BadPath | Code::BadHeader | Code::BadJson | Code::BrokenBody | Code::ProviderNotCompatible => StatusCode::BAD_REQUEST,
        Code::UpgradeUnsupported => StatusCode::NOT_IMPLEMENTED,
        Code::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
        Code::LedgerUnavailable | Code::BudgetUnavailable => StatusCode::SERVICE_UNAVAILABLE,
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
