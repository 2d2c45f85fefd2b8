//! Fields of `multipart/form-data` (RFC 7578), in which sound and images are sent: only short texts are looked for.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use memchr::memmem;

/// Longest value that is read, in bytes.
const VALUE_BYTES_MAX: usize = 1024;

/// Longest head of a part that is read, in bytes.
const HEAD_BYTES_MAX: usize = 4096;

/// Most parts that are looked at.
const PARTS_MAX: usize = 64;

/// The value of a field, if the body is a form and has it as a short text.
pub(crate) fn field<'a>(headers: &HeaderMap, body: &'a [u8], name: &str) -> Option<&'a str> {
    let mut found = None;
    walk(headers, body, name, |value| {
        found = value;
        false
    });
    found
}

/// Every value of a field; `None` stands for one that is no short text, for a part whose head is too long to be read, and for what is behind the
/// parts that are looked at.
pub(crate) fn every<'a>(headers: &HeaderMap, body: &'a [u8], name: &str) -> Vec<Option<&'a str>> {
    let mut found = Vec::new();
    let seen = walk(headers, body, name, |value| {
        found.push(value);
        true
    });
    if seen == Some(Seen::Part) {
        found.push(None);
    }
    found
}

/// How much of a form was seen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    All,
    Part,
}

/// Visits the values of a field until `visit` returns false; `None` if the body is no form.
fn walk<'a>(headers: &HeaderMap, body: &'a [u8], name: &str, mut visit: impl FnMut(Option<&'a str>) -> bool) -> Option<Seen> {
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let delimiter = format!("--{}", boundary(content_type)?);
    let finder = memmem::Finder::new(delimiter.as_bytes());
    let mut rest = body.get(finder.find(body)? + delimiter.len()..)?;
    let mut seen = Seen::All;
    for _ in 0..PARTS_MAX {
        let head_end = memmem::find(rest.get(..HEAD_BYTES_MAX.min(rest.len()))?, b"\r\n\r\n");
        let content = head_end.and_then(|end| rest.get(end + 4..));
        let Some(next) = finder.find(rest) else { return Some(seen) };
        if head_end.is_none() && next > HEAD_BYTES_MAX {
            seen = Seen::Part;
        }
        if let (Some(end), Some(content)) = (head_end.filter(|end| *end < next), content)
            && is_named(rest.get(..end)?, name)
        {
            let value = content.get(..next.checked_sub(end + 4)?)?;
            let value = value.strip_suffix(b"\r\n").unwrap_or(value);
            let value = std::str::from_utf8(value).ok().filter(|value| value.len() <= VALUE_BYTES_MAX);
            if !visit(value) {
                return Some(Seen::Part);
            }
        }
        rest = rest.get(next + delimiter.len()..)?;
    }
    Some(Seen::Part)
}

fn boundary(content_type: &str) -> Option<&str> {
    let (media, parameters) = content_type.split_once(';')?;
    if !media.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameters.split(';').find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.trim().eq_ignore_ascii_case("boundary").then_some(value.trim())
    })?;
    let boundary = boundary
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(boundary);
    (!boundary.is_empty()).then_some(boundary)
}

/// Whether the head of a part has `name="..."` in its disposition.
fn is_named(head: &[u8], name: &str) -> bool {
    let lines = head
        .split(|byte| *byte == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok());
    lines
        .filter(|line| {
            line.get(..19)
                .is_some_and(|start| start.eq_ignore_ascii_case("content-disposition"))
        })
        .flat_map(|line| line.split(';').skip(1))
        .filter_map(|parameter| parameter.trim().split_once('='))
        .any(|(key, value)| key.trim().eq_ignore_ascii_case("name") && value.trim().trim_matches('"') == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(content_type: &str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, content_type.parse().unwrap())])
    }

    const BODY: &[u8] = b"--b0\r\nContent-Disposition: form-data; name=\"file\"; filename=\"name=model\"\r\nContent-Type: audio/wav\r\n\r\n\x00\xff\r\nname=\"model\"\r\n\r\nx\r\n--b0\r\ncontent-disposition:form-data; name=model\r\n\r\nwhisper-1\r\n--b0\r\nContent-Disposition: form-data; name=\"stream\"\r\n\r\ntrue\r\n--b0--\r\n";

    #[test]
    fn fields_are_found_behind_files() {
        for content_type in [
            "multipart/form-data; boundary=b0",
            "Multipart/Form-Data; charset=x; Boundary=\"b0\"",
        ] {
            assert_eq!(field(&headers(content_type), BODY, "model"), Some("whisper-1"));
            assert_eq!(field(&headers(content_type), BODY, "stream"), Some("true"));
            assert_eq!(field(&headers(content_type), BODY, "prompt"), None);
            assert_eq!(field(&headers(content_type), BODY, "file"), None, "no text");
        }
    }

    #[test]
    fn every_value_of_a_field_is_found() {
        let part = |name: &str, value: &str| format!("--b\r\ncontent-disposition: form-data; name={name}\r\n\r\n{value}\r\n");
        let form = headers("multipart/form-data; boundary=b");
        let two = format!("{}{}{}--b--", part("model", "a"), part("x", "y"), part("model", "b"));
        assert_eq!(every(&form, two.as_bytes(), "model"), [Some("a"), Some("b")]);
        let long = format!("{}--b--", part("model", &"x".repeat(VALUE_BYTES_MAX + 1)));
        assert_eq!(every(&form, long.as_bytes(), "model"), [None]);
        let many = format!("{}{}--b--", part("model", "a"), part("x", "y").repeat(PARTS_MAX));
        assert_eq!(
            every(&form, many.as_bytes(), "model"),
            [Some("a"), None],
            "a second may stand behind"
        );
        let hidden = part("model", "b").replace("name=", &format!("x={}; name=", "y".repeat(HEAD_BYTES_MAX)));
        let hidden = format!("{}{hidden}--b--", part("model", "a"));
        assert_eq!(
            every(&form, hidden.as_bytes(), "model"),
            [Some("a"), None],
            "a head that is not read"
        );
        assert_eq!(every(&HeaderMap::new(), two.as_bytes(), "model"), []);
    }

    #[test]
    fn what_is_no_form_has_no_fields() {
        assert_eq!(field(&HeaderMap::new(), BODY, "model"), None);
        assert_eq!(field(&headers("application/json"), BODY, "model"), None);
        assert_eq!(field(&headers("multipart/form-data; boundary=other"), BODY, "model"), None);
        for cut in 0..BODY.len() {
            field(&headers("multipart/form-data; boundary=b0"), &BODY[..cut], "model");
        }
    }
}
