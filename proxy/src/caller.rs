//! What a caller says of itself in headers, as far as its key allows. What the key does not allow is ignored.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use tollgate_record::{CallId, Caller, Name, Tags};

use crate::fault::Fault;
use crate::key::Key;
use crate::traceparent;

const USER: &str = "x-tollgate-user";
const AGENT: &str = "x-tollgate-agent";
const SESSION: &str = "x-tollgate-session";
const TAGS: &str = "x-tollgate-tags";
const PARENT_CALL_ID: &str = "x-tollgate-parent-call-id";
/// Longest JSON object of tags, in bytes.
const TAGS_BYTES_MAX: usize = 8 * 1024;
/// Longest key or value of a tag, in bytes.
const TAG_BYTES_MAX: usize = 256;

/// A caller of which only the key is known.
pub(crate) fn unnamed(key: &Key) -> Caller {
    Caller {
        user: None,
        agent: None,
        session_id: None,
        trace_id: None,
        span_id: None,
        parent_call_id: None,
        tags: Arc::clone(&key.tags),
    }
}

/// Reads the caller headers that the key allows.
///
/// # Errors
/// [`Fault::BadHeader`] for a header of ours that is malformed. A malformed `traceparent` is ignored, as its specification asks.
pub(crate) fn describe(caller: &mut Caller, headers: &HeaderMap, key: &Key) -> Result<(), Fault> {
    let may = key.callers_may;
    if may.user {
        caller.user = name(headers, USER)?;
    }
    if may.agent {
        caller.agent = name(headers, AGENT)?;
    }
    if may.session {
        caller.session_id = name(headers, SESSION)?;
    }
    if may.tags
        && let Some(text) = text(headers, TAGS)?
    {
        caller.tags = Arc::new(key.tags.overlaid(&tags(text)?));
    }
    if let Some(text) = text(headers, PARENT_CALL_ID)? {
        let id = text.parse::<CallId>().map_err(|_| bad(PARENT_CALL_ID, "it is no UUID"))?;
        caller.parent_call_id = Some(id);
    }
    if let Some(value) = headers.get(traceparent::TRACEPARENT)
        && let Some((trace_id, span_id)) = traceparent::parse(value.as_bytes())
    {
        caller.trace_id = Some(trace_id);
        caller.span_id = Some(span_id);
    }
    Ok(())
}

fn name(headers: &HeaderMap, header: &'static str) -> Result<Option<Name>, Fault> {
    let text = text(headers, header)?;
    text.map(|text| Name::new(text).map_err(|error| bad(header, &error.to_string())))
        .transpose()
}

fn text<'a>(headers: &'a HeaderMap, header: &'static str) -> Result<Option<&'a str>, Fault> {
    let value = headers.get(HeaderName::from_static(header));
    value
        .map(|value| std::str::from_utf8(value.as_bytes()).map_err(|_| bad(header, "it is not UTF-8")))
        .transpose()
}

fn tags(text: &str) -> Result<Tags, Fault> {
    if text.len() > TAGS_BYTES_MAX {
        return Err(bad(TAGS, &format!("it exceeds {TAGS_BYTES_MAX} bytes")));
    }
    let pairs: BTreeMap<String, String> = serde_json::from_str(text).map_err(|_| bad(TAGS, "it is no JSON object of strings"))?;
    if pairs.len() > Tags::MAX_COUNT {
        return Err(bad(TAGS, &format!("it has more than {} tags", Tags::MAX_COUNT)));
    }
    if pairs
        .iter()
        .any(|(key, value)| key.is_empty() || key.len().max(value.len()) > TAG_BYTES_MAX)
    {
        return Err(bad(
            TAGS,
            &format!("a key is empty, or a key or value exceeds {TAG_BYTES_MAX} bytes"),
        ));
    }
    Ok(Tags::from_pairs(pairs))
}

fn bad(header: &'static str, reason: &str) -> Fault {
    Fault::BadHeader {
        header,
        reason: reason.into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::key::CallersMay;
    use crate::key::tests::key;

    fn described(may: CallersMay, headers: &[(&'static str, &str)]) -> Result<Caller, Fault> {
        let key = Key {
            callers_may: may,
            tags: Arc::new(Tags::from_pairs([("env", "prod")])),
            ..key("k", "s")
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let mut caller = unnamed(&key);
        describe(&mut caller, &map, &key).map(|()| caller)
    }

    #[test]
    fn what_the_key_allows_is_recorded() {
        let headers = [
            (USER, "ann"),
            (AGENT, "researcher"),
            (SESSION, "s-1"),
            (TAGS, r#"{"feature":"search"}"#),
            (PARENT_CALL_ID, "0190163d-8694-739b-aea5-966c26f8ad91"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ];
        let caller = described(CallersMay::ALL, &headers).unwrap();
        assert_eq!(caller.user.unwrap().as_str(), "ann");
        assert_eq!(caller.agent.unwrap().as_str(), "researcher");
        assert_eq!(caller.session_id.unwrap().as_str(), "s-1");
        assert_eq!(
            caller.tags.iter().collect::<Vec<_>>(),
            [("env", "prod"), ("feature", "search")]
        );
        assert_eq!(
            caller.parent_call_id.unwrap().to_string(),
            "0190163d-8694-739b-aea5-966c26f8ad91"
        );
        assert_eq!(caller.trace_id.unwrap().as_str(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(caller.span_id.unwrap().as_str(), "b7ad6b7169203331");
    }

    #[test]
    fn what_the_key_does_not_allow_is_ignored_even_if_malformed() {
        let headers = [(USER, "mallory"), (AGENT, "x"), (SESSION, "x"), (TAGS, "not json")];
        let caller = described(CallersMay::default(), &headers).unwrap();
        assert_eq!((caller.user, caller.agent, caller.session_id), (None, None, None));
        assert_eq!(caller.tags.iter().collect::<Vec<_>>(), [("env", "prod")]);
    }

    #[test]
    fn malformed_headers_of_ours_are_refused() {
        let long = "x".repeat(257);
        let long_tag = format!(r#"{{"k":"{long}"}}"#);
        let huge = format!(r#"{{"k":"{}"}}"#, "x".repeat(TAGS_BYTES_MAX));
        for (header, value) in [
            (USER, ""),
            (USER, long.as_str()),
            (TAGS, "[]"),
            (TAGS, r#"{"a":1}"#),
            (TAGS, r#"{"":"x"}"#),
            (TAGS, long_tag.as_str()),
            (TAGS, huge.as_str()),
            (PARENT_CALL_ID, "17"),
        ] {
            let refused = described(CallersMay::ALL, &[(header, value)]);
            assert!(
                matches!(refused, Err(Fault::BadHeader { header: named, .. }) if named == header),
                "{header}: {value}"
            );
        }
    }
}
