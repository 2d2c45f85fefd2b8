//! What the answers of a far side mean for a batch, where only their status tells.

use std::time::Duration;

use chrono::Utc;
use reqwest::{Response, StatusCode};

use crate::Delivery;
use crate::client::{retry_after, unreached, words};

/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 4096;

/// What an answer means for the batch that it answers.
pub(crate) async fn delivery(answer: Result<Response, reqwest::Error>) -> Delivery {
    answered(answer).await.1
}

/// The status of an answer, if there is one, and what it means.
pub(crate) async fn answered(answer: Result<Response, reqwest::Error>) -> (Option<StatusCode>, Delivery) {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let reason = unreached(error);
            return (None, Delivery::Retry { after: None, reason });
        }
    };
    let (status, after) = (answer.status(), retry_after(answer.headers(), Utc::now()));
    if status.is_success() {
        return (Some(status), Delivery::Accepted);
    }
    let said = format!("{status}: {}", said(answer).await);
    (Some(status), of_status(status, after, said))
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

/// The beginning of an answer's body.
async fn said(mut answer: Response) -> String {
    let mut body = Vec::new();
    while body.len() < ANSWER_BYTES_MAX {
        match answer.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    words(&body)
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
}
