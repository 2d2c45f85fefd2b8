//! Finds out whose key a call carries. The key is hashed and forgotten here.

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

/// The key among a call's credentials. An SDK may send more than one; the first that is known counts.
///
/// # Errors
/// [`Fault::MissingKey`], [`Fault::UnknownKey`], [`Fault::DisabledKey`] or [`Fault::ExpiredKey`].
pub(crate) fn identify(headers: &HeaderMap, keys: &Keys, now: Timestamp) -> Result<Arc<Key>, Fault> {
    let mut fault = Fault::MissingKey;
    for secret in secrets(headers) {
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

fn secrets(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let bearer = headers.get_all(header::AUTHORIZATION).into_iter().filter_map(|value| {
        let (scheme, token) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
    });
    let plain = [X_API_KEY, X_GOOG_API_KEY, API_KEY].into_iter();
    let plain = plain.filter_map(|name| headers.get(name)).map(http::HeaderValue::as_bytes);
    bearer
        .chain(plain)
        .map(<[u8]>::trim_ascii)
        .filter(|secret| !secret.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::tests::key;

    const NOW: Timestamp = Timestamp::from_unix_us(1_000);

    fn who(headers: &[(&str, &str)]) -> Result<String, Fault> {
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
        let keys = Keys::new(vec![valid, disabled, expired]).expect("distinct");
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::try_from(*name).expect("a name"),
                http::HeaderValue::try_from(*value).expect("a value"),
            );
        }
        identify(&map, &keys, NOW).map(|key| key.identity.key_id.to_string())
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
