//! Errors into answers: `{"error": {"code", "message", "hint"?, "position"?}}`. The only place that knows both.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tollgate_usage_store::budgets::Unproved;

use super::REQUEST_BYTES_MAX;
use super::accept::SERVED;
use crate::{Error, Position};

/// Why a request was not answered with rows.
#[derive(Debug)]
pub(super) enum Failure {
    Unauthorized,
    NotAcceptable,
    NotJson,
    TooLarge,
    TooSlow(Duration),
    BadBody(String),
    Query(Error),
    Unproved(Unproved),
}

impl From<Unproved> for Failure {
    fn from(unproved: Unproved) -> Self {
        Self::Unproved(unproved)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Query(error)
    }
}

#[derive(Serialize)]
struct Body<'a> {
    error: Detail<'a>,
}

#[derive(Serialize)]
struct Detail<'a> {
    code: &'a str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
}

impl Failure {
    fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::BadBody(_) | Self::Unproved(Unproved::Dimension { .. }) => StatusCode::BAD_REQUEST,
            Self::Unproved(_) => StatusCode::NOT_FOUND,
            Self::Query(error) => match error {
                // The request is right and understood; what it asks for is too much. 408 and 413 would speak of the request itself.
                Error::Timeout { .. }
                | Error::ClientTooSlow { .. }
                | Error::MemoryExceeded { .. }
                | Error::SpillExceeded { .. }
                | Error::TooManyRows { .. } => StatusCode::UNPROCESSABLE_ENTITY,
                Error::Busy { .. } => StatusCode::TOO_MANY_REQUESTS,
                Error::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
                error if error.is_internal() => StatusCode::INTERNAL_SERVER_ERROR,
                _ => StatusCode::BAD_REQUEST,
            },
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::NotAcceptable => "not_acceptable",
            Self::NotJson => "unsupported_media_type",
            Self::TooLarge => "request_too_large",
            Self::TooSlow(_) => "request_timeout",
            Self::BadBody(_) | Self::Unproved(Unproved::Dimension { .. }) => "bad_request",
            Self::Unproved(Unproved::NoWindow { .. }) => "no_window",
            Self::Unproved(Unproved::Unknown { .. }) => "unknown_budget",
            Self::Query(error) => error.code(),
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Unauthorized => "a valid token is needed".to_owned(),
            Self::NotAcceptable => "none of the accepted media types is served".to_owned(),
            Self::NotJson => "the request's content-type is not application/json".to_owned(),
            Self::TooLarge => format!("the request has more than {REQUEST_BYTES_MAX} bytes"),
            Self::TooSlow(limit) => format!("the request's body took longer than {} s", limit.as_secs()),
            Self::BadBody(message) => message.clone(),
            Self::Unproved(unproved) => unproved.to_string(),
            Self::Query(error) => error.to_string(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unauthorized => Some("send Authorization: Bearer with the admin token".to_owned()),
            Self::NotAcceptable => {
                let served: Vec<_> = SERVED
                    .iter()
                    .filter_map(|format| format.media_type().split(';').next())
                    .collect();
                Some(format!("served are {}", served.join(", ")))
            }
            Self::NotJson | Self::BadBody(_) => Some(r#"send {"sql": "SELECT ..."} and, for placeholders, "params""#.to_owned()),
            Self::Query(error) => error.hint().map(str::to_owned),
            Self::TooLarge | Self::TooSlow(_) | Self::Unproved(_) => None,
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let position = if let Self::Query(error) = &self {
            error.position()
        } else {
            None
        };
        let body = Body {
            error: Detail {
                code: self.code(),
                message: self.message(),
                hint: self.hint(),
                position,
            },
        };
        let mut response = (self.status(), Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self {
            Self::Unauthorized => {
                headers.insert(
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static("Bearer realm=\"tollgate\""),
                );
            }
            Self::Query(Error::Busy { retry_after, .. }) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1)));
            }
            _ => {}
        }
        response
    }
}
