//! Which headers go on, and which end here (RFC 9110, section 7.6.1). Changes maps in place: most headers stay.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::identity::{API_KEY, X_API_KEY, X_GOOG_API_KEY};
use crate::provider::Credential;
use crate::signature::{X_AMZ_CONTENT_SHA256, X_AMZ_DATE, X_AMZ_SECURITY_TOKEN};

/// Id of the call, on every answer.
pub(crate) const CALL_ID: HeaderName = HeaderName::from_static("x-tollgate-call-id");
/// Cost of the call, where it is known before the head is sent.
pub(crate) const COST: HeaderName = HeaderName::from_static("x-tollgate-cost");
/// Encodings that the meter can read.
const READABLE: [&str; 6] = ["gzip", "deflate", "br", "zstd", "identity", "x-gzip"];
/// What begins the names of the gateway's own headers.
const OURS: &str = "x-tollgate-";
/// Headers that concern one connection only, beside those that `Connection` names.
static HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Headers that identify the client to the gateway, or belong to its signature.
static CREDENTIALS: [HeaderName; 7] = [
    header::AUTHORIZATION,
    X_API_KEY,
    X_GOOG_API_KEY,
    API_KEY,
    X_AMZ_DATE,
    X_AMZ_SECURITY_TOKEN,
    X_AMZ_CONTENT_SHA256,
];

/// Turns the client's headers into those for the upstream; a signature of them is still to be made.
pub(crate) fn towards_upstream(headers: &mut HeaderMap, credential: Option<&Credential>) {
    retain(headers, |name| {
        !(is_hop_by_hop(name) || is_credential(name) || is_ours(name) || *name == header::HOST || *name == header::EXPECT)
    });
    // The body may have changed, and its length is known to the client that sends it.
    headers.remove(header::CONTENT_LENGTH);
    if let Some(Credential::Header(name, value)) = credential {
        headers.insert(name.clone(), value.clone());
    }
}

/// Asks for the whole answer, not compressed beyond what the meter can read. A part of a file has no beginning of its first line and no end of its last,
/// and parts that are fetched one by one would lose what lies across their borders; a server need not know `Range` (RFC 9110, section 14.2).
pub(crate) fn ask_for_all(headers: &mut HeaderMap) {
    headers.remove(header::RANGE);
    headers.remove(header::IF_RANGE);
    accept_readable(headers);
}

/// Leaves only such encodings of the answer to choose from as the meter can read.
pub(crate) fn accept_readable(headers: &mut HeaderMap) {
    let mut values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let Some(first) = values.next() else { return };
    let is_single = values.next().is_none();
    if is_single && codings(first).all(is_readable) {
        return;
    }
    let readable: Vec<&[u8]> = headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .flat_map(codings)
        .filter(|coding| is_readable(coding))
        .collect();
    let readable = if readable.is_empty() {
        b"identity".to_vec()
    } else {
        readable.join(&b", "[..])
    };
    let readable = HeaderValue::from_maybe_shared(bytes::Bytes::from(readable));
    headers.insert(header::ACCEPT_ENCODING, readable.expect("parts of header values make one"));
}

fn codings(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn is_readable(coding: &[u8]) -> bool {
    let name = coding.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    READABLE.iter().any(|readable| name.eq_ignore_ascii_case(readable.as_bytes()))
}

/// Turns the upstream's headers into those for the client.
pub(crate) fn towards_client(headers: &mut HeaderMap) {
    retain(headers, |name| !(is_hop_by_hop(name) || is_ours(name)));
}

/// Whether the header concerns one connection only.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name)
}

/// Whether the header is the gateway's own.
pub(crate) fn is_ours(name: &HeaderName) -> bool {
    name.as_str().starts_with(OURS)
}

/// Whether the client asks for a WebSocket (RFC 6455, section 4.1).
pub(crate) fn asks_for_websocket(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|value| {
        let mut protocols = value.as_bytes().split(|byte| *byte == b',');
        protocols.any(|protocol| protocol.trim_ascii().eq_ignore_ascii_case(b"websocket"))
    })
}

/// Whether the head stays within so many bytes of names and values, and so many headers.
pub(crate) fn fit(target_bytes: usize, headers: &HeaderMap, bytes_max: usize, count_max: usize) -> bool {
    let sizes = headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    headers.len() <= count_max && target_bytes.saturating_add(sizes.sum()) <= bytes_max
}

fn is_credential(name: &HeaderName) -> bool {
    CREDENTIALS.contains(name)
}

/// Removes the headers that are not kept, and those that `Connection` names.
fn retain(headers: &mut HeaderMap, keep: impl Fn(&HeaderName) -> bool) {
    let mut dropped: Vec<HeaderName> = Vec::with_capacity(8);
    for value in headers.get_all(header::CONNECTION) {
        collect_named(value, &mut dropped);
    }
    dropped.extend(headers.keys().filter(|name| !keep(name)).cloned());
    for name in dropped {
        headers.remove(name);
    }
}

fn collect_named(value: &HeaderValue, named: &mut Vec<HeaderName>) {
    // Nearly always it names nothing.
    if value.as_bytes().eq_ignore_ascii_case(b"keep-alive") || value.as_bytes().eq_ignore_ascii_case(b"close") {
        return;
    }
    let tokens = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    named.extend(tokens.filter_map(|token| HeaderName::from_bytes(token).ok()));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn the_upstream_sees_neither_gateway_key_nor_gateway_headers() {
        let mut headers = map(&[
            ("host", "gateway"),
            ("authorization", "Bearer tg-1"),
            ("x-api-key", "tg-1"),
            ("x-goog-api-key", "tg-1"),
            ("api-key", "tg-1"),
            ("x-amz-date", "20261125T100640Z"),
            ("x-amz-security-token", "token-of-the-client"),
            ("x-amz-content-sha256", "e3b0"),
            ("proxy-authorization", "Basic x"),
            ("x-tollgate-user", "ann"),
            ("x-tollgate-tags", "{}"),
            ("x-tollgate-anything", "1"),
            ("expect", "100-continue"),
            ("content-length", "3"),
            ("connection", "keep-alive, X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("traceparent", "00-x"),
            ("content-type", "application/json"),
            ("anthropic-version", "2023-06-01"),
        ]);
        let credential = Credential::header(X_API_KEY, HeaderValue::from_static("sk-provider"));
        towards_upstream(&mut headers, Some(&credential));
        assert_eq!(
            names(&headers),
            ["anthropic-version", "content-type", "traceparent", "x-api-key"]
        );
        assert_eq!(headers.get(X_API_KEY).unwrap(), "sk-provider");
    }

    #[test]
    fn only_encodings_that_can_be_metered_are_offered() {
        for (offered, left) in [
            ("gzip, deflate, br, zstd", "gzip, deflate, br, zstd"),
            ("GZIP;q=0.8,identity", "GZIP;q=0.8,identity"),
            ("gzip, dcb, br;q=0.5, *", "gzip, br;q=0.5"),
            ("*", "identity"),
            ("compress", "identity"),
        ] {
            let mut headers = map(&[("accept-encoding", offered)]);
            accept_readable(&mut headers);
            assert_eq!(headers.get("accept-encoding").unwrap(), left);
        }
        let mut headers = map(&[("accept-encoding", "gzip")]);
        headers.append("accept-encoding", HeaderValue::from_static("dcz"));
        accept_readable(&mut headers);
        assert_eq!(headers.get_all("accept-encoding").iter().collect::<Vec<_>>(), ["gzip"]);
        let mut none = map(&[]);
        accept_readable(&mut none);
        assert!(none.is_empty());
    }

    #[test]
    fn the_client_sees_all_but_what_concerns_the_upstreams_connection() {
        let mut headers = map(&[
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("x-tollgate-cost", "0"),
            ("x-request-id", "r"),
            ("retry-after", "3"),
            ("content-encoding", "gzip"),
        ]);
        towards_client(&mut headers);
        assert_eq!(names(&headers), ["content-encoding", "retry-after", "x-request-id"]);
    }

    #[test]
    fn the_head_is_measured_whole() {
        let headers = map(&[("a", "1234"), ("b", "12")]);
        assert!(fit(2, &headers, 10, 2));
        assert!(!fit(3, &headers, 10, 2));
        assert!(!fit(2, &headers, 10, 1));
    }

    #[test]
    fn websockets_are_recognized_in_a_list() {
        assert!(asks_for_websocket(&map(&[("upgrade", "h2c, WebSocket")])));
        assert!(!asks_for_websocket(&map(&[("upgrade", "h2c")])));
        assert!(!asks_for_websocket(&map(&[])));
    }
}
