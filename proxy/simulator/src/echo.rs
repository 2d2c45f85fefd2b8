//! The request as a JSON text, for tests that need to see what reached the provider.
//!
//! Credentials are shown as they came: this is a simulator, and which credential arrives is what tests look for.

use http::request::Parts;
use sha2::{Digest as _, Sha256};

use crate::directive::Echo;
use crate::out::Out;

/// The JSON text of a request, or none where it is not to be echoed.
pub(crate) fn text(echo: Echo, parts: &Parts, body: &[u8]) -> Option<String> {
    if echo == Echo::No {
        return None;
    }
    let mut out = Out::with_capacity(1024);
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    out.raw(r#"{"method":"#)
        .string(parts.method.as_str())
        .raw(r#","path":"#)
        .string(path);
    out.raw(r#","http":"#)
        .string(&format!("{:?}", parts.version))
        .raw(r#","headers":{"#);
    let mut names: Vec<_> = parts.headers.keys().collect();
    names.sort_unstable_by_key(|name| name.as_str());
    for (index, name) in names.into_iter().enumerate() {
        let values: Vec<_> = parts
            .headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        out.raw(if index == 0 { "" } else { "," })
            .string(name.as_str())
            .raw(":")
            .string(&values.join(", "));
    }
    out.raw(r#"},"body_bytes":"#).number(body.len() as u64);
    out.raw(r#","body_sha256":""#);
    for byte in Sha256::digest(body) {
        out.raw(&format!("{byte:02x}"));
    }
    out.raw("\"");
    if echo == Echo::Body {
        out.raw(r#","body":"#).string(&String::from_utf8_lossy(body));
    }
    out.raw("}");
    String::from_utf8(out.0).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_shown_with_its_headers_and_the_hash_of_its_body() {
        let request = http::Request::post("/v1/messages?beta=true")
            .header("x-b", "2")
            .header("a", "1")
            .header("x-b", "3")
            .body(())
            .unwrap();
        let parts = request.into_parts().0;
        assert_eq!(text(Echo::No, &parts, b""), None);
        let echo = text(Echo::Body, &parts, b"abc").unwrap();
        let value: serde_json::Value = serde_json::from_str(&echo).unwrap();
        assert_eq!(value["path"], "/v1/messages?beta=true");
        assert_eq!(value["headers"]["x-b"], "2, 3");
        // FIPS 180-2, appendix B.1
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((&value["body_sha256"], &value["body"]), (&sha256.into(), &"abc".into()));
    }
}
