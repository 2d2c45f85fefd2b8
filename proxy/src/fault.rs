//! What goes wrong with one call: a stable code and a sentence. Nothing here knows of HTTP; `answer.rs` does.

use std::sync::Arc;

use tollgate_codec::BadRequest;
use tollgate_record::Name;

use crate::refusal::Refused;

/// Why a call is refused or failed. The text is for the caller: it names the thing, the limit and what to do, and no secrets.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(
        "no gateway key was sent; send it as Authorization: Bearer, x-api-key, x-goog-api-key or api-key, or sign with its access key as AWS's SDKs do"
    )]
    MissingKey,
    #[error("the gateway key is not known here; provider keys are not accepted in its place")]
    UnknownKey,
    #[error("the gateway key {key} is disabled; ask its owner to enable it")]
    DisabledKey { key: Name },
    #[error("the gateway key {key} has expired; ask its owner for a new one")]
    ExpiredKey { key: Name },
    #[error("the access key id is not known here; sign with those of a gateway key (spec.aws), since keys of AWS are not accepted")]
    UnknownAccessKey,
    #[error("the signature is incomplete: {reason}")]
    IncompleteSignature { reason: Box<str> },
    #[error(
        "the request was signed at {signed}, more than {minutes} minutes from the gateway's clock ({now}); set the client's clock, and sign anew"
    )]
    ClockSkew { signed: Box<str>, now: Box<str>, minutes: u64 },
    #[error("the signature does not hold: {reason}")]
    InvalidSignature { reason: &'static str },
    #[error("the request's head exceeds {bytes_max} bytes or {count_max} headers; send fewer or shorter headers")]
    HeadersTooLarge { bytes_max: usize, count_max: usize },
    #[error("nothing is served at {path}; there is {contexts}")]
    UnknownPath { path: Box<str>, contexts: Box<str> },
    #[error("the path has a dot segment; send the path without . and .. segments")]
    BadPath,
    #[error("access control of {kind} {name} does not allow {method} {path}")]
    PathNotAllowed {
        kind: &'static str,
        name: Name,
        method: Box<str>,
        path: Box<str>,
    },
    #[error("{kind} {name} does not allow model {model}; it allows {allowed}")]
    ModelNotAllowed {
        kind: &'static str,
        name: Name,
        model: Name,
        allowed: Box<str>,
    },
    #[error(
        "{kind} {name} cannot tell which model the request is for, so it may not pass; name one in the usual place; it allows {allowed}"
    )]
    ModelNotNamed {
        kind: &'static str,
        name: Name,
        allowed: Box<str>,
    },
    #[error("{kind} {name} does not allow operation {operation}; it allows {allowed}")]
    OperationNotAllowed {
        kind: &'static str,
        name: Name,
        operation: Name,
        allowed: Box<str>,
    },
    #[error("{kind} {name} does not allow calls by {proxy}; it allows those by {allowed}")]
    ProxyNotAllowed {
        kind: &'static str,
        name: Name,
        proxy: Box<str>,
        allowed: Box<str>,
    },
    #[error("{0}")]
    Refused(Box<Refused>),
    #[error("method {method} is not forwarded")]
    MethodNotAllowed { method: Box<str> },
    #[error("WebSocket upgrades are not supported; use plain HTTP requests and server-sent events")]
    UpgradeUnsupported,
    #[error("header {header} is malformed: {reason}")]
    BadHeader { header: &'static str, reason: Box<str> },
    #[error("{0}")]
    BadBody(BadRequest),
    #[error("the request's body is malformed")]
    BrokenBody,
    #[error("the request's body exceeds {bytes_max} bytes; send less, or ask the operator to raise the limit")]
    BodyTooLarge { bytes_max: u64 },
    #[error("the request's body did not arrive within {seconds} seconds")]
    BodyTimeout { seconds: u64 },
    #[error("no provider that speaks OpenAI's dialect is configured, so /v1 serves nothing; there is {contexts}")]
    NoDefaultProvider { contexts: Box<str> },
    #[error("provider {provider} does not speak OpenAI's dialect; call it below {context} in its own")]
    ProviderNotCompatible { provider: Name, context: Box<str> },
    #[error("the ledger cannot record calls at the moment, so none is served; try again")]
    LedgerUnavailable,
    #[error("the upstream's host name could not be looked up")]
    UpstreamLookupFailed,
    #[error("the upstream could not be connected to")]
    UpstreamConnectFailed,
    #[error("no TLS connection to the upstream could be established; its certificate may not be trusted")]
    UpstreamTlsFailed,
    #[error("the upstream could not be connected to in time")]
    UpstreamConnectTimeout,
    #[error("the upstream closed the connection before it answered")]
    UpstreamReset,
    #[error("the upstream's answer is not HTTP")]
    UpstreamProtocol,
    #[error("the upstream did not begin to answer within {seconds} seconds")]
    UpstreamFirstByteTimeout { seconds: u64 },
    #[error("the upstream sent nothing for {seconds} seconds in the middle of its answer")]
    UpstreamIdleTimeout { seconds: u64 },
    #[error("the upstream broke off in the middle of its answer")]
    UpstreamCut,
    /// Stands in rows only: there is nobody to answer.
    #[error("the client left before the answer's end")]
    ClientLeft,
}

/// Stable code of a fault: in answers, in column `error_type`, and in `docs/errors.md`. Never renamed or reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "docs/errors.md says what each is, and a test holds it to that")]
pub enum Code {
    MissingKey,
    UnknownKey,
    DisabledKey,
    ExpiredKey,
    UnknownAccessKey,
    IncompleteSignature,
    ClockSkew,
    InvalidSignature,
    HeadersTooLarge,
    UnknownPath,
    BadPath,
    PathNotAllowed,
    ModelNotAllowed,
    ModelNotNamed,
    OperationNotAllowed,
    ProxyNotAllowed,
    BudgetExceeded,
    UnpricedModel,
    BudgetUnavailable,
    RateLimitExceeded,
    MethodNotAllowed,
    UpgradeUnsupported,
    BadHeader,
    BadJson,
    BrokenBody,
    BodyTooLarge,
    BodyTimeout,
    NoDefaultProvider,
    ProviderNotCompatible,
    LedgerUnavailable,
    UpstreamLookupFailed,
    UpstreamConnectFailed,
    UpstreamTlsFailed,
    UpstreamConnectTimeout,
    UpstreamReset,
    UpstreamProtocolError,
    UpstreamFirstByteTimeout,
    UpstreamIdleTimeout,
    UpstreamCut,
    ClientLeft,
    GatewayShutdown,
}

impl Fault {
    /// Whether it is of a signature, so that an SDK of AWS's has to understand the answer whatever was called.
    pub(crate) const fn is_of_signature(&self) -> bool {
        matches!(
            self.code(),
            Code::UnknownAccessKey | Code::IncompleteSignature | Code::ClockSkew | Code::InvalidSignature
        )
    }

    pub(crate) const fn code(&self) -> Code {
        match self {
            Self::MissingKey => Code::MissingKey,
            Self::UnknownKey => Code::UnknownKey,
            Self::DisabledKey { .. } => Code::DisabledKey,
            Self::ExpiredKey { .. } => Code::ExpiredKey,
            Self::UnknownAccessKey => Code::UnknownAccessKey,
            Self::IncompleteSignature { .. } => Code::IncompleteSignature,
            Self::ClockSkew { .. } => Code::ClockSkew,
            Self::InvalidSignature { .. } => Code::InvalidSignature,
            Self::HeadersTooLarge { .. } => Code::HeadersTooLarge,
            Self::UnknownPath { .. } => Code::UnknownPath,
            Self::BadPath => Code::BadPath,
            Self::PathNotAllowed { .. } => Code::PathNotAllowed,
            Self::ModelNotAllowed { .. } => Code::ModelNotAllowed,
            Self::ModelNotNamed { .. } => Code::ModelNotNamed,
            Self::OperationNotAllowed { .. } => Code::OperationNotAllowed,
            Self::ProxyNotAllowed { .. } => Code::ProxyNotAllowed,
            Self::Refused(refused) => refused.code(),
            Self::MethodNotAllowed { .. } => Code::MethodNotAllowed,
            Self::UpgradeUnsupported => Code::UpgradeUnsupported,
            Self::BadHeader { .. } => Code::BadHeader,
            Self::BadBody(_) => Code::BadJson,
            Self::BrokenBody => Code::BrokenBody,
            Self::BodyTooLarge { .. } => Code::BodyTooLarge,
            Self::BodyTimeout { .. } => Code::BodyTimeout,
            Self::NoDefaultProvider { .. } => Code::NoDefaultProvider,
            Self::ProviderNotCompatible { .. } => Code::ProviderNotCompatible,
            Self::LedgerUnavailable => Code::LedgerUnavailable,
            Self::UpstreamLookupFailed => Code::UpstreamLookupFailed,
            Self::UpstreamConnectFailed => Code::UpstreamConnectFailed,
            Self::UpstreamTlsFailed => Code::UpstreamTlsFailed,
            Self::UpstreamConnectTimeout => Code::UpstreamConnectTimeout,
            Self::UpstreamReset => Code::UpstreamReset,
            Self::UpstreamProtocol => Code::UpstreamProtocolError,
            Self::UpstreamFirstByteTimeout { .. } => Code::UpstreamFirstByteTimeout,
            Self::UpstreamIdleTimeout { .. } => Code::UpstreamIdleTimeout,
            Self::UpstreamCut => Code::UpstreamCut,
            Self::ClientLeft => Code::ClientLeft,
        }
    }
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 41] = [
        Self::MissingKey,
        Self::UnknownKey,
        Self::DisabledKey,
        Self::ExpiredKey,
        Self::UnknownAccessKey,
        Self::IncompleteSignature,
        Self::ClockSkew,
        Self::InvalidSignature,
        Self::HeadersTooLarge,
        Self::UnknownPath,
        Self::BadPath,
        Self::PathNotAllowed,
        Self::ModelNotAllowed,
        Self::ModelNotNamed,
        Self::OperationNotAllowed,
        Self::ProxyNotAllowed,
        Self::BudgetExceeded,
        Self::UnpricedModel,
        Self::BudgetUnavailable,
        Self::RateLimitExceeded,
        Self::MethodNotAllowed,
        Self::UpgradeUnsupported,
        Self::BadHeader,
        Self::BadJson,
        Self::BrokenBody,
        Self::BodyTooLarge,
        Self::BodyTimeout,
        Self::NoDefaultProvider,
        Self::ProviderNotCompatible,
        Self::LedgerUnavailable,
        Self::UpstreamLookupFailed,
        Self::UpstreamConnectFailed,
        Self::UpstreamTlsFailed,
        Self::UpstreamConnectTimeout,
        Self::UpstreamReset,
        Self::UpstreamProtocolError,
        Self::UpstreamFirstByteTimeout,
        Self::UpstreamIdleTimeout,
        Self::UpstreamCut,
        Self::ClientLeft,
        Self::GatewayShutdown,
    ];

    /// The code as it stands in answers and rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MissingKey => "missing_key",
            Self::UnknownKey => "unknown_key",
            Self::DisabledKey => "disabled_key",
            Self::ExpiredKey => "expired_key",
            Self::UnknownAccessKey => "unknown_access_key",
            Self::IncompleteSignature => "incomplete_signature",
            Self::ClockSkew => "clock_skew",
            Self::InvalidSignature => "invalid_signature",
            Self::HeadersTooLarge => "headers_too_large",
            Self::UnknownPath => "unknown_path",
            Self::BadPath => "bad_path",
            Self::PathNotAllowed => "path_not_allowed",
            Self::ModelNotAllowed => "model_not_allowed",
            Self::ModelNotNamed => "model_not_named",
            Self::OperationNotAllowed => "operation_not_allowed",
            Self::ProxyNotAllowed => "proxy_not_allowed",
            Self::BudgetExceeded => "budget_exceeded",
            Self::UnpricedModel => "unpriced_model",
            Self::BudgetUnavailable => "budget_unavailable",
            Self::RateLimitExceeded => "rate_limit_exceeded",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::UpgradeUnsupported => "upgrade_unsupported",
            Self::BadHeader => "bad_header",
            Self::BadJson => "bad_json",
            Self::BrokenBody => "broken_body",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::NoDefaultProvider => "no_default_provider",
            Self::ProviderNotCompatible => "provider_not_compatible",
            Self::LedgerUnavailable => "ledger_unavailable",
            Self::UpstreamLookupFailed => "upstream_lookup_failed",
            Self::UpstreamConnectFailed => "upstream_connect_failed",
            Self::UpstreamTlsFailed => "upstream_tls_failed",
            Self::UpstreamConnectTimeout => "upstream_connect_timeout",
            Self::UpstreamReset => "upstream_reset",
            Self::UpstreamProtocolError => "upstream_protocol_error",
            Self::UpstreamFirstByteTimeout => "upstream_first_byte_timeout",
            Self::UpstreamIdleTimeout => "upstream_idle_timeout",
            Self::UpstreamCut => "upstream_cut",
            Self::ClientLeft => "client_left",
            Self::GatewayShutdown => "gateway_shutdown",
        }
    }

    /// The code as column `error_type` holds it.
    pub(crate) fn name(self) -> Name {
        Name::new(self.as_str()).expect("a code is short and printable")
    }
}

/// Why a stream towards the client ends as an error.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the answer of call {call_id} was broken off: {fault}")]
pub(crate) struct Broken {
    pub(crate) call_id: tollgate_record::CallId,
    pub(crate) fault: Arc<Fault>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_document() {
        let document = include_str!("../../docs/errors.md");
        for code in Code::ALL {
            let row = format!("| `{}` | {} |", code.as_str(), crate::answer::status_text(code));
            assert!(document.contains(&row), "docs/errors.md has no line that begins with {row}");
        }
        let rows = document.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(rows, Code::ALL.len(), "docs/errors.md has a code that does not exist");
    }

    #[test]
    fn codes_are_distinct() {
        let distinct: std::collections::HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(distinct.len(), Code::ALL.len());
    }
}
