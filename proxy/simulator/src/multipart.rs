//! The fields of a `multipart/form-data` body (RFC 7578), as SDKs send files.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::refusal::Refusal;

/// The most fields that are read.
const FIELDS_MAX: usize = 64;

/// One field.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    name: &'a str,
    /// The name of the file, where it is one.
    pub(crate) filename: Option<&'a str>,
    pub(crate) value: &'a [u8],
}

/// The fields of a form.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Form<'a>(Vec<Field<'a>>);

impl<'a> Form<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// `FormSyntax` where it is no form, or does not end.
    pub(crate) fn of(headers: &'a HeaderMap, body: &'a [u8]) -> Result<Self, Refusal> {
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
        let boundary = parameter(kind, "boundary").filter(|_| kind.starts_with("multipart/form-data"));
        let boundary = boundary.ok_or(Refusal::FormSyntax {
            reason: "expected multipart/form-data with a boundary",
        })?;
        let delimiter = format!("\r\n--{boundary}");
        // The first delimiter may stand at the very beginning, where no line ends before it.
        let opening = delimiter.trim_start();
        let start = find(body, opening.as_bytes()).ok_or(Refusal::FormSyntax {
            reason: "the boundary is missing",
        })?;
        let mut rest = body.get(start + opening.len()..).unwrap_or_default();
        let mut fields = Vec::new();
        while !rest.starts_with(b"--") && fields.len() < FIELDS_MAX {
            let cut = Refusal::FormSyntax {
                reason: "a field has no end",
            };
            let Some(end) = find(rest, delimiter.as_bytes()) else {
                return Err(cut);
            };
            let (part, after) = rest.split_at(end);
            let Some(blank) = find(part, b"\r\n\r\n") else {
                return Err(cut);
            };
            let (head, value) = part.split_at(blank);
            fields.push(Field::of(
                std::str::from_utf8(head).unwrap_or(""),
                value.get(4..).unwrap_or_default(),
            ));
            rest = after.get(delimiter.len()..).unwrap_or_default();
        }
        Ok(Self(fields))
    }

    /// The field of a name, if it was sent.
    pub(crate) fn field(&self, name: &str) -> Option<&Field<'a>> {
        self.0.iter().find(|field| field.name == name)
    }

    /// The text of a field, if it was sent.
    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        self.field(name).and_then(|field| std::str::from_utf8(field.value).ok())
    }

    /// The field of a name.
    ///
    /// # Errors
    /// `FieldMissing` where it was not sent.
    pub(crate) fn required(&self, name: &'static str) -> Result<&Field<'a>, Refusal> {
        self.field(name).ok_or(Refusal::FieldMissing { name })
    }
}

impl<'a> Field<'a> {
    fn of(head: &'a str, value: &'a [u8]) -> Self {
        let disposition = head
            .lines()
            .find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"));
        let disposition = disposition.unwrap_or("");
        Self {
            name: parameter(disposition, "name").unwrap_or(""),
            filename: parameter(disposition, "filename"),
            value,
        }
    }
}

/// The value of `; name=value` or `; name="value"`.
fn parameter<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.split(';').skip(1).find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key.trim() == name).then(|| value.trim().trim_matches('"'))
    })
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers() -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("multipart/form-data; boundary=\"a-b\""),
        );
        headers
    }

    #[test]
    fn fields_and_files_are_read_as_they_were_sent() {
        let body = b"--a-b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--a-b\r\n\
            content-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n\x00\r\n--a\r\n--a-b--\r\n";
        let headers = headers();
        let form = Form::of(&headers, body).unwrap();
        assert_eq!(form.text("model"), Some("whisper-1"));
        let file = form.required("file").unwrap();
        assert_eq!((file.filename, file.value), (Some("a.wav"), b"\x00\r\n--a".as_slice()));
        assert!(form.required("purpose").is_err());
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let headers = headers();
        for body in [
            b"".as_slice(),
            b"--a-b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\nhalf",
        ] {
            assert!(matches!(Form::of(&headers, body), Err(Refusal::FormSyntax { .. })));
        }
        assert!(Form::of(&HeaderMap::new(), b"--a-b--").is_err());
    }
}
