//! Finds the provider or proxy of a path, and reads paths the way rules must see them.

use std::borrow::Cow;
use std::sync::Arc;

use crate::fault::Fault;
use crate::llm_proxy::Proxied;
use crate::snapshot::{Served, Snapshot};
use crate::upstream::Upstream;

/// The OpenAI-compatible default route.
pub(crate) const DEFAULT_ROUTE: &str = "/v1";

/// Where a path leads.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    /// Below the context of a provider; the rest starts after so many bytes.
    Provider(Arc<Upstream>, usize),
    /// Likewise below the context of a proxy.
    Proxy(Arc<Proxied>, usize),
    /// Below the default route: the model decides.
    Default,
    /// Nowhere.
    Unknown,
}

impl Route {
    fn to(served: &Served, start: usize) -> Self {
        match served {
            Served::Provider(provider) => Self::Provider(Arc::clone(provider), start),
            Served::Proxy(proxy) => Self::Proxy(Arc::clone(proxy), start),
        }
    }

    /// The provider, where the path names it.
    pub(crate) fn provider(&self) -> Option<&Arc<Upstream>> {
        match self {
            Self::Provider(provider, _) => Some(provider),
            Self::Proxy(proxy, _) => Some(&proxy.provider),
            Self::Default | Self::Unknown => None,
        }
    }

    /// The proxy, if it is one.
    pub(crate) fn proxy(&self) -> Option<&Arc<Proxied>> {
        match self {
            Self::Proxy(proxy, _) => Some(proxy),
            _ => None,
        }
    }
}

/// The longest context that the path begins with, on the boundary of a segment.
pub(crate) fn find(snapshot: &Snapshot, path: &str) -> Route {
    // No prefix longer than the longest context is looked at, so a path of a thousand segments costs no more than another.
    let mut end = path.len().min(snapshot.context_bytes_max().saturating_add(1));
    if end == path.len()
        && let Some(served) = snapshot.by_context(path)
    {
        return Route::to(served, end);
    }
    while let Some(slash) = path
        .as_bytes()
        .get(..end)
        .and_then(|head| head.iter().rposition(|byte| *byte == b'/'))
    {
        if let Some(served) = path.get(..slash).and_then(|context| snapshot.by_context(context)) {
            return Route::to(served, slash);
        }
        end = slash;
    }
    match path.strip_prefix(DEFAULT_ROUTE) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => Route::Default,
        _ => Route::Unknown,
    }
}

/// The path as rules and codecs see it: percent-decoded once, without empty segments. The upstream is sent the original.
///
/// # Errors
/// [`Fault::BadPath`] for dot segments, encoded or not: they would lead out of what was checked.
pub(crate) fn normalize(path: &str) -> Result<Cow<'_, str>, Fault> {
    let decoded = if path.contains('%') {
        Cow::Owned(decode(path))
    } else {
        Cow::Borrowed(path)
    };
    let mut segments = decoded.split(['/', '\\']).skip(1);
    if segments.clone().any(|segment| matches!(segment, "." | "..")) {
        return Err(Fault::BadPath);
    }
    let last = decoded.len().saturating_sub(1);
    let has_empty = decoded.is_empty() || decoded.match_indices("//").next().is_some() || decoded.find('\\').is_some();
    if !has_empty || last == 0 && decoded.starts_with('/') {
        return Ok(decoded);
    }
    let mut plain = String::with_capacity(decoded.len() + 1);
    for segment in segments.by_ref().filter(|segment| !segment.is_empty()) {
        plain.push('/');
        plain.push_str(segment);
    }
    if plain.is_empty() || decoded.ends_with('/') {
        plain.push('/');
    }
    Ok(Cow::Owned(plain))
}

fn decode(path: &str) -> String {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let encoded = match (byte, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match encoded {
            Some((high, low)) => {
                decoded.push(high << 4 | low);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                decoded.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::snapshot::tests::provider;

    fn found(path: &str) -> String {
        let providers = vec![
            provider("short", "/a", "http://h"),
            provider("long", "/a/b", "http://h"),
            provider("other", "/other", "http://h"),
        ];
        let snapshot = Snapshot::new(providers, vec![], None).unwrap();
        match find(&snapshot, path) {
            Route::Provider(provider, start) => format!("{} {}", provider.name, path.get(start..).unwrap()),
            Route::Proxy(proxy, start) => format!("{} of {} {}", proxy.name, proxy.provider.name, path.get(start..).unwrap()),
            Route::Default => "default".to_owned(),
            Route::Unknown => "unknown".to_owned(),
        }
    }

    #[test]
    fn the_longest_context_wins_on_a_segments_boundary() {
        assert_eq!(found("/a/v1/models"), "short /v1/models");
        assert_eq!(found("/a/b/v1"), "long /v1");
        assert_eq!(found("/a/bc/v1"), "short /bc/v1");
        assert_eq!(found("/a/b"), "long ");
        assert_eq!(found("/a"), "short ");
        assert_eq!(found("/a/"), "short /");
        assert_eq!(found("/ab"), "unknown");
        assert_eq!(found("/other/x"), "other /x");
    }

    #[test]
    fn the_default_route_is_v1() {
        assert_eq!(found("/v1/chat/completions"), "default");
        assert_eq!(found("/v1"), "default");
        assert_eq!(found("/v10/x"), "unknown");
        assert_eq!(found("/"), "unknown");
        assert_eq!(found("*"), "unknown");
        assert_eq!(found(""), "unknown");
    }

    #[test]
    fn rules_see_what_an_upstream_might_make_of_a_path() {
        let normal = |path| normalize(path).unwrap().into_owned();
        assert_eq!(normal("/v1/files"), "/v1/files");
        assert_eq!(normal("/v1/%66iles"), "/v1/files");
        assert_eq!(normal("//v1///files/"), "/v1/files/");
        assert_eq!(normal("/v1%2Ffiles"), "/v1/files");
        assert_eq!(normal("/v1\\files"), "/v1/files");
        assert_eq!(normal("/model/a%3A0/invoke"), "/model/a:0/invoke");
        assert_eq!(normal("/100%"), "/100%");
        assert_eq!(normal(""), "/");
        assert_eq!(normal("/"), "/");
    }

    #[test]
    fn dot_segments_are_refused_however_they_are_written() {
        for path in [
            "/..",
            "/a/../b",
            "/a/./b",
            "/a/%2e%2E/b",
            "/a/.%2e",
            "/a%2f..%2fb",
            "/a/..%5cb",
        ] {
            assert!(matches!(normalize(path), Err(Fault::BadPath)), "{path}");
        }
        assert!(normalize("/a/..b/...").is_ok());
    }
}
