//! Reads a W3C `traceparent` (Trace Context, section 3.2). The header itself is passed on untouched.

use tollgate_record::Name;

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
