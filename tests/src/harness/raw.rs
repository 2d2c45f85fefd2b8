//! Calls without an SDK, for what SDKs do not show: bytes, headers, protocol versions, broken requests.

use reqwest::header::HeaderMap;

use super::call::{Api, Call, Target};

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Why the body could not be read to its end.
    pub(crate) broken: Option<String>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A request as an SDK would send it, with the credential where the provider's SDK puts it.
pub(crate) fn request(client: &reqwest::Client, call: &Call, target: &Target) -> reqwest::RequestBuilder {
    let mut request = client
        .post(target.url(call.api))
        .header("content-type", "application/json")
        .body(call.params.to_string());
    request = match call.api {
        Api::Messages => request
            .header("x-api-key", &target.key)
            .header("anthropic-version", "2023-06-01"),
        _ => request.bearer_auth(&target.key),
    };
    for (name, value) in call.headers(target) {
        request = request.header(name, value);
    }
    request
}

/// Sends a request and reads the answer as far as it goes.
pub(crate) async fn send(request: reqwest::RequestBuilder) -> Answer {
    try_send(request).await.expect("the gateway answers")
}

/// The same; none if nobody answers.
pub(crate) async fn try_send(request: reqwest::RequestBuilder) -> Option<Answer> {
    let mut response = request.send().await.ok()?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let (mut body, mut broken) = (Vec::new(), None);
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(error) => {
                broken = Some(error.to_string());
                break;
            }
        }
    }
    Some(Answer {
        status,
        headers,
        body,
        broken,
    })
}
