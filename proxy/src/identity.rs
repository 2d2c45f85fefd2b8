//! Finds out whose key a call carries. The key is hashed and forgotten here.
//!
//! AWS's SDKs sign instead of sending a key. If a gateway key has the access key id that a signature names, the signature is to be verified
//! (`verification.rs`). Otherwise the id may be a gateway key itself: nothing is secret of it but itself then, as of a bearer's token, and
//! the signature is not verified.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, header};
use tollgate_record::Timestamp;

use crate::fault::Fault;
use crate::key::{Key, Keys};
use crate::verification::Claim;

/// Anthropic's header.
pub(crate) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Google's header.
pub(crate) const X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");
/// Azure's header.
pub(crate) const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// Query parameter in which Google's interfaces take the key.
const KEY_PARAMETER: &str = "key";

/// Whose call it is, in its own words.
#[derive(Debug)]
pub(crate) enum Who {
    /// Of one who sent the key.
    Holder(Arc<Key>),
    /// Of one who signed with the key, if the signature holds.
    Signer(Arc<Key>, Claim),
}

/// The key among a call's credentials, and in `query` where the provider's SDKs may put it there. An SDK may send more than one; the first that is
/// known counts.
///
/// # Errors
/// [`Fault::MissingKey`], [`Fault::UnknownKey`], [`Fault::DisabledKey`] or [`Fault::ExpiredKey`]; of a signature, [`Fault::UnknownAccessKey`] or
/// [`Fault::IncompleteSignature`].
pub(crate) fn identify(headers: &HeaderMap, query: Option<&str>, keys: &Keys, now: Timestamp) -> Result<Who, Fault> {
    let mut fault = Fault::MissingKey;
    for value in headers.get_all(header::AUTHORIZATION) {
        if !Claim::is_one(value.as_bytes()) {
            continue;
        }
        match Claim::read(value.as_bytes()) {
            Ok(claim) => match keys.signing(claim.access_key_id()) {
                Some(key) => return Ok(Who::Signer(Arc::clone(key), claim)),
                None => fault = Fault::UnknownAccessKey,
            },
            Err(incomplete) => fault = incomplete,
        }
    }
    let in_query = query.and_then(key_of).unwrap_or_default();
    let in_query = (!in_query.is_empty()).then(|| in_query.as_bytes());
    for secret in secrets(headers).chain(in_query) {
        let Some(key) = keys.find(secret) else {
            if !fault.is_of_signature() {
                fault = Fault::UnknownKey;
            }
            continue;
        };
        standing(key, now)?;
        return Ok(Who::Holder(Arc::clone(key)));
    }
    Err(fault)
}

/// Whether a key still holds.
///
/// # Errors
/// [`Fault::DisabledKey`] or [`Fault::ExpiredKey`].
pub(crate) fn standing(key: &Key, now: Timestamp) -> Result<(), Fault> {
    let name = || key.identity.key_id.clone();
    if key.disabled {
        return Err(Fault::DisabledKey { key: name() });
    }
    if key.expires.is_some_and(|expires| expires <= now) {
        return Err(Fault::ExpiredKey { key: name() });
    }
    Ok(())
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
    use crate::verification::AwsKey;

    const SIGNATURE: &str = "0951422653d8dfd8e68bf238d65ec1bd0903a3ce387308292b5a4a4a724fa8d4";

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
        let signing = Key {
            hash: None,
            aws: Some(AwsKey::new("TGKEXAMPLE000001", "secret")),
            ..key("signer", "")
        };
        let keys = Keys::new(vec![valid, disabled, expired, key("slash", "tg/a+b"), signing]).expect("distinct");
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::try_from(*name).expect("a name"),
                http::HeaderValue::try_from(*value).expect("a value"),
            );
        }
        identify(&map, query, &keys, NOW).map(|who| match who {
            Who::Holder(key) => key.identity.key_id.to_string(),
            Who::Signer(key, _) => format!("{}, if it signed", key.identity.key_id),
        })
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
    fn the_key_is_of_the_access_key_id_of_a_signature_or_is_that() {
        let signed = |id: &str| {
            let scope = "20261125/us-east-1/bedrock/aws4_request";
            format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders=host;x-amz-date, Signature={SIGNATURE}")
        };
        let signer = signed("TGKEXAMPLE000001");
        assert_eq!(who(&[("authorization", &signer)]).expect("known"), "signer, if it signed");
        assert!(matches!(
            who(&[("authorization", "Bearer TGKEXAMPLE000001")]),
            Err(Fault::UnknownKey)
        ));
        assert_eq!(who(&[("authorization", &signed("tg-bot"))]).expect("known"), "bot");
        assert_eq!(who(&[("authorization", &signed("tg/a+b"))]).expect("known"), "slash");
        assert!(matches!(
            who(&[("authorization", &signed("AKIA1"))]),
            Err(Fault::UnknownAccessKey)
        ));
        let unknown = signed("AKIA1");
        let beside = [("authorization", &*unknown), ("x-api-key", "tg-bot")];
        assert_eq!(who(&beside).expect("known"), "bot");
        for malformed in ["AWS4-HMAC-SHA256 Credential=tg-bot, Signature=1", "AWS4-HMAC-SHA256 tg-bot"] {
            assert!(matches!(
                who(&[("authorization", malformed)]),
                Err(Fault::IncompleteSignature { .. })
            ));
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
