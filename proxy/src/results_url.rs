//! The address of a batch's results. Anthropic tells it as a whole URL of its own, and its SDKs follow that as it is: past the gateway, and with the
//! gateway's key. So the URL is replaced by that of the same path below the provider's context here, as the client itself reaches it.

use std::ops::Range;

use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use memchr::memmem;
use serde_json::value::RawValue;

/// The member that tells it.
const KEY: &[u8] = b"\"results_url\"";
/// What its path has in it.
const COLLECTION: &str = "/messages/batches/";
/// Who ends TLS before the gateway says so here.
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// A provider's context as a client reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResultsUrl {
    /// Scheme, host and path.
    context: Box<str>,
    /// What stands at the same place at the provider: the paths of its URLs.
    base_paths: Box<[Box<str>]>,
}

impl ResultsUrl {
    /// The context that a request names, whose path goes on at `start`; `None` if it does not say by which host it came.
    pub(crate) fn new<'a>(head: &Parts, start: usize, is_tls: bool, base_paths: impl Iterator<Item = &'a str>) -> Option<Self> {
        let told = |name: &str| head.headers.get(name)?.to_str().ok().map(str::trim);
        let host = match head.uri.authority() {
            Some(authority) => authority.as_str(),
            None => told(HOST.as_str())?,
        };
        let host: Authority = host.parse().ok()?;
        let scheme = match told(FORWARDED_PROTO) {
            Some("https") => "https",
            Some("http") => "http",
            _ if is_tls => "https",
            _ => "http",
        };
        let context = head.uri.path().get(..start)?;
        Some(Self {
            context: format!("{scheme}://{host}{context}").into(),
            base_paths: base_paths.map(Into::into).collect(),
        })
    }

    /// Replaces the addresses in an answer; whatever else is in it stays as it is.
    pub(crate) fn replace_in(&self, body: Bytes) -> Bytes {
        let mut replaced = Vec::new();
        let mut done = 0;
        for at in memmem::find_iter(&body, KEY) {
            if let Some((place, url)) = told_at(&body, at + KEY.len())
                && let Some(path) = self.path(&url)
            {
                replaced.extend_from_slice(body.get(done..place.start).unwrap_or_default());
                let url = serde_json::Value::from(format!("{}{path}", self.context));
                replaced.extend_from_slice(url.to_string().as_bytes());
                done = place.end;
            }
        }
        if done == 0 {
            return body;
        }
        replaced.extend_from_slice(body.get(done..).unwrap_or_default());
        replaced.into()
    }

    /// The path below the provider's own, if the URL is one of results.
    fn path<'a>(&self, url: &'a str) -> Option<&'a str> {
        let (_, rest) = url.split_once("://")?;
        let path = rest.get(rest.find('/')?..)?;
        let below = self.base_paths.iter().filter_map(|base| path.strip_prefix(&**base));
        let below = below.filter(|path| path.starts_with('/')).min_by_key(|path| path.len());
        let path = below.unwrap_or(path);
        path.contains(COLLECTION).then_some(path)
    }
}

/// The text that is the value of a member whose name has just ended, and where it stands.
fn told_at(body: &Bytes, end: usize) -> Option<(Range<usize>, String)> {
    let rest = body.get(end..)?;
    let value = rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let raw = serde_json::Deserializer::from_slice(value)
        .into_iter::<&RawValue>()
        .next()?
        .ok()?;
    let url = serde_json::from_str(raw.get()).ok()?;
    let start = body.len() - value.len();
    Some((start..start + raw.get().len(), url))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_address_is_the_one_by_which_the_client_came() {
        let path = "/anthropic/v1/messages/batches/b";
        for (uri, headers, is_tls, context) in [
            (path, &[("host", "gw:8080")][..], false, "http://gw:8080/anthropic"),
            (path, &[("host", "gw")], true, "https://gw/anthropic"),
            (
                path,
                &[("host", "gw"), ("x-forwarded-proto", "https")],
                false,
                "https://gw/anthropic",
            ),
            ("http://h2:1/anthropic/v1", &[], false, "http://h2:1/anthropic"),
        ] {
            let url = ResultsUrl::new(&head(uri, headers), "/anthropic".len(), is_tls, [""].into_iter()).unwrap();
            assert_eq!(&*url.context, context);
        }
        assert_eq!(ResultsUrl::new(&head(path, &[]), 10, false, [""].into_iter()), None);
        assert_eq!(
            ResultsUrl::new(&head(path, &[("host", "a b")]), 10, false, [""].into_iter()),
            None
        );
    }

    #[test]
    fn every_address_in_an_answer_is_replaced_and_nothing_else() {
        let of = |base_paths: &[&str]| {
            let head = head("/a/v1", &[("host", "gw")]);
            ResultsUrl::new(&head, 2, false, base_paths.iter().copied()).unwrap()
        };
        let url = |base_path: &str| of(&[base_path]);
        let told = |url: &str| {
            Bytes::from(format!(
                r#"{{"data":[{{"id":"b","results_url" : "{url}","x":1.50}},{{"results_url":null}}]}}"#
            ))
        };
        let ours = told("http://gw/a/v1/messages/batches/b/results").to_vec();
        let ours = String::from_utf8(ours).unwrap();
        assert_eq!(
            url("").replace_in(told("https://api.anthropic.com/v1/messages/batches/b/results")),
            ours
        );
        assert_eq!(
            url("/up").replace_in(told("http://h:1/up/v1/messages/batches/b/results")),
            ours
        );
        for several in [["", "/up"], ["/up", ""]] {
            let told = told("http://h:1/up/v1/messages/batches/b/results");
            assert_eq!(of(&several).replace_in(told), ours);
        }
        for other in ["https://api.anthropic.com/other", "v1/messages/batches/b/results", ""] {
            assert_eq!(url("").replace_in(told(other)), told(other));
        }
        for odd in [
            &b"\"results_url\""[..],
            b"\"results_url\":",
            b"{\"results_url\":\"http://x",
            b"{\"results_url\":7}",
            b"",
        ] {
            assert_eq!(url("").replace_in(Bytes::from_static(odd)), odd);
        }
    }
}
