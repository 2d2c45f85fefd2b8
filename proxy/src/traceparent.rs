//! Reads a W3C `traceparent` (Trace Context, section 3.2), and writes the one for an upstream. Where no spans are exported the header is passed on
//! untouched: a parent that nobody has seen would tear the caller's trace apart.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue};
use tollgate_record::{Intent, Name};

/// The header.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What vendors add to it; means nothing without a valid `traceparent` (section 3.3).
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Bit 0 of the flags: the caller may have recorded its part.
const SAMPLED: &str = "01";

/// Puts the span of the call's attempt in the caller's place (section 4.3); a request without a caller's trace is one of its own, as exporters tell it.
pub(crate) fn continue_at(headers: &mut HeaderMap, intent: &Intent) {
    let mut value = String::with_capacity(55);
    let (trace, flags) = match &intent.caller.trace_id {
        Some(trace) => (trace.as_str().to_owned(), flags(headers)),
        None => {
            headers.remove(TRACESTATE);
            (intent.request_id.uuid().simple().to_string(), SAMPLED.to_owned())
        }
    };
    let span = u64::from_be_bytes(intent.call_id.attempt_span());
    write!(value, "00-{trace}-{span:016x}-{flags}").expect("a string takes everything");
    headers.insert(
        TRACEPARENT,
        HeaderValue::from_str(&value).expect("hexadecimal digits and dashes"),
    );
}

/// The caller's flags: two digits after its span.
fn flags(headers: &HeaderMap) -> String {
    let value = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.get(53..55)).unwrap_or(SAMPLED).to_owned()
}

/// Trace id and parent span id; `None` for what the specification calls invalid.
pub(crate) fn parse(value: &[u8]) -> Option<(Name, Name)> {
    let text = std::str::from_utf8(value).ok()?;
    let mut fields = text.splitn(4, '-');
    let (version, trace_id, span_id, rest) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    // A later version may carry further fields; version 00 has exactly four, and ff is forbidden.
    let flags = rest.split('-').next()?;
    let well_formed = is_hex(version, 2) && is_hex(trace_id, 32) && is_hex(span_id, 16) && is_hex(flags, 2);
    let valid = version != "ff" && (version != "00" || rest.len() == 2) && !is_zero(trace_id) && !is_zero(span_id);
    if !well_formed || !valid {
        return None;
    }
    Some((Name::new(trace_id).ok()?, Name::new(span_id).ok()?))
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_zero(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_versions_may_have_more_fields() {
        let (trace_id, span_id) = parse(b"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what").expect("valid");
        assert_eq!(trace_id.as_str(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(span_id.as_str(), "b7ad6b7169203331");
    }

    #[test]
    fn invalid_values_are_none() {
        for value in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert!(parse(value.as_bytes()).is_none(), "{value}");
        }
    }
}
