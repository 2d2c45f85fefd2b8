//! Finds out whose key a call carries. The key is hashed and forgotten here.
//!
//! AWS's SDKs sign instead of sending a key. Their access key id, which stands in the signature's header, is the gateway key then: nothing is secret
//! of it but itself, as of a bearer's token, and the signature is not verified. It ends here.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, header};
use tollgate_record::Timestamp;

use crate::fault::Fault;
use crate::key::{Key, Keys};

/// Anthropic's header.
pub(crate) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Google's header.
pub(crate) const X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");
/// Azure's header.
pub(crate) const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// Query parameter in which Google's interfaces take the key.
const KEY_PARAMETER: &str = "key";

/// The key among a call's credentials, and in `query` where the provider's SDKs may put it there. An SDK may send more than one; the first that is
/// known counts.
///
/// # Errors
/// [`Fault::MissingKey`], [`Fault::UnknownKey`], [`Fault::DisabledKey`] or [`Fault::ExpiredKey`].
pub(crate) fn identify(headers: &HeaderMap, query: Option<&str>, keys: &Keys, now: Timestamp) -> Result<Arc<Key>, Fault> {
    let mut fault = Fault::MissingKey;
    let in_query = query.and_then(key_of).unwrap_or_default();
    let in_query = (!in_query.is_empty()).then(|| in_query.as_bytes());
    for secret in secrets(headers).chain(in_query) {
        let Some(key) = keys.find(secret) else {
            fault = Fault::UnknownKey;
            continue;
        };
        let name = || key.identity.key_id.clone();
        if key.disabled {
            return Err(Fault::DisabledKey { key: name() });
        }
        if key.expires.is_some_and(|expires| expires <= now) {
            return Err(Fault::ExpiredKey { key: name() });
        }
        return Ok(Arc::clone(key));
    }
    Err(fault)
}

/// The query without the key; `None` if nothing is left.
pub(crate) fn without_key(query: &str) -> Option<Cow<'_, str>> {
    if key_of(query).is_none() {
        return Some(Cow::Borrowed(query));
    }
    let kept: Vec<&str> = query.split('&').filter(|pair| key_of(pair).is_none()).collect();
    (!kept.is_empty()).then(|| Cow::Owned(kept.join("&")))
}

fn key_of(query: &str) -> Option<Cow<'_, str>> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find_map(|(name, value)| (name == KEY_PARAMETER).then_some(value))
}

fn secrets(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let bearer = headers.get_all(header::AUTHORIZATION).into_iter().filter_map(|value| {
        let value = value.as_bytes();
        match value.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => Some(token),
            _ => access_key_id(value),
        }
    });
    let plain = [X_API_KEY, X_GOOG_API_KEY, API_KEY].into_iter();
    let plain = plain.filter_map(|name| headers.get(name)).map(http::HeaderValue::as_bytes);
    bearer
        .chain(plain)
        .map(<[u8]>::trim_ascii)
        .filter(|secret| !secret.is_empty())
}

/// The access key id of a signature of AWS's (its documentation, "Authentication methods", November 2026):
/// `AWS4-HMAC-SHA256 Credential=ID/20261125/us-east-1/bedrock/aws4_request, SignedHeaders=..., Signature=...`.
fn access_key_id(authorization: &[u8]) -> Option<&[u8]> {
    let rest = authorization.strip_prefix(b"AWS4-HMAC-SHA256")?.trim_ascii_start();
    let rest = rest.strip_prefix(b"Credential=")?;
    let scope = memchr::memmem::rfind(rest, b"/aws4_request")?;
    // From its end, so that the id may have slashes: date, region and service have none.
    rest.get(..scope)?.rsplitn(4, |byte| *byte == b'/').nth(3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::tests::key;

    const NOW: Timestamp = Timestamp::from_unix_us(1_000);

    fn who(headers: &[(&str, &str)]) -> Result<String, Fault> {
        asking(headers, None)
    }

    fn asking(headers: &[(&str, &str)], query: Option<&str>) -> Result<String, Fault> {
        let expired = Key {
            expires: Some(NOW),
            ..key("old", "tg-old")
        };
        let valid = Key {
            expires: Some(Timestamp::from_unix_us(1_001)),
            ..key("bot", "tg-bot")
        };
        let disabled = Key {
            disabled: true,
            ..key("off", "tg-off")
        };
        let keys = Keys::new(vec![valid, disabled, expired, key("slash", "tg/a+b")]).expect("distinct");
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::try_from(*name).expect("a name"),
                http::HeaderValue::try_from(*value).expect("a value"),
            );
        }
        identify(&map, query, &keys, NOW).map(|key| key.identity.key_id.to_string())
    }

    #[test]
    fn the_key_is_where_the_sdk_puts_it() {
        for (header, value) in [
            ("authorization", "Bearer tg-bot"),
            ("authorization", "bearer  tg-bot "),
            ("x-api-key", "tg-bot"),
            ("x-goog-api-key", "tg-bot"),
            ("api-key", "tg-bot"),
        ] {
            assert_eq!(who(&[(header, value)]).expect("known"), "bot", "{header}: {value}");
        }
    }

    #[test]
    fn the_key_is_the_access_key_id_of_a_signature() {
        let signed = |id: &str| {
            let scope = "20261125/us-east-1/bedrock/aws4_request";
            format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders=host;x-amz-date, Signature=0951")
        };
        assert_eq!(who(&[("authorization", &signed("tg-bot"))]).expect("known"), "bot");
        assert_eq!(who(&[("authorization", &signed("tg/a+b"))]).expect("known"), "slash");
        assert!(matches!(who(&[("authorization", &signed("AKIA1"))]), Err(Fault::UnknownKey)));
        for malformed in ["AWS4-HMAC-SHA256 Credential=tg-bot, Signature=1", "AWS4-HMAC-SHA256 tg-bot"] {
            assert!(matches!(who(&[("authorization", malformed)]), Err(Fault::MissingKey)));
        }
    }

    #[test]
    fn the_key_may_stand_in_the_query_and_is_taken_out_of_it() {
        assert_eq!(asking(&[], Some("alt=sse&key=tg-bot")).expect("known"), "bot");
        assert_eq!(asking(&[], Some("key=tg%2Fa%2Bb")).expect("known"), "slash");
        assert!(matches!(asking(&[], Some("key=")), Err(Fault::MissingKey)));
        assert!(matches!(asking(&[], Some("keys=tg-bot")), Err(Fault::MissingKey)));
        let left = |query| without_key(query).map(Cow::into_owned);
        assert_eq!(left("alt=sse&key=tg-bot&%24x=a%20b").as_deref(), Some("alt=sse&%24x=a%20b"));
        assert_eq!(left("%6bey=tg-bot&key=other"), None);
        assert_eq!(left("alt=sse&monkey=1").as_deref(), Some("alt=sse&monkey=1"));
    }

    #[test]
    fn the_first_known_key_counts() {
        assert_eq!(
            who(&[("authorization", "Bearer other"), ("x-api-key", "tg-bot")]).expect("known"),
            "bot"
        );
    }

    #[test]
    fn other_keys_are_told_apart() {
        assert!(matches!(who(&[]), Err(Fault::MissingKey)));
        assert!(matches!(who(&[("authorization", "Basic dGc=")]), Err(Fault::MissingKey)));
        assert!(matches!(who(&[("authorization", "Bearer ")]), Err(Fault::MissingKey)));
        assert!(matches!(who(&[("x-api-key", "tg-nobody")]), Err(Fault::UnknownKey)));
        assert!(matches!(who(&[("x-api-key", "tg-off")]), Err(Fault::DisabledKey { .. })));
        assert!(matches!(who(&[("x-api-key", "tg-old")]), Err(Fault::ExpiredKey { .. })));
    }
}
