//! Amazon's event stream encoding: binary messages of headers and a payload, with checksums of the prelude and the whole.
//!
//! Written by hand, so that what the gateway decodes with is not what encoded it; boto3 reads it. Source: the Smithy
//! specification of `application/vnd.amazon.eventstream`.

use crate::out::{Out, base64};

/// The type of a header's value that is a string.
const STRING: u8 = 7;
/// Bytes of the two lengths and their checksum.
const PRELUDE_BYTES: usize = 12;
/// What the padding of an event is cut from.
const PADDING: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// Writes an event whose payload is JSON. `place` is how many came before it; the length of its padding follows from it.
pub(crate) fn event(kind: &str, place: usize, mut json: Vec<u8>, out: &mut Vec<u8>) {
    if json.pop() == Some(b'}') {
        let comma: &[u8] = if json.len() > 1 { b"," } else { b"" };
        json.extend_from_slice(comma);
        let length = 1 + place.wrapping_mul(17) % PADDING.len();
        json.extend_from_slice(br#""p":""#);
        json.extend_from_slice(PADDING.as_bytes().get(..length).unwrap_or_default());
        json.extend_from_slice(br#""}"#);
    }
    let headers = [
        (":event-type", kind),
        (":content-type", "application/json"),
        (":message-type", "event"),
    ];
    message(&headers, &json, out);
}

/// Writes an event whose payload holds the bytes of another JSON text, as `InvokeModelWithResponseStream` does.
pub(crate) fn chunk(place: usize, json: &[u8], out: &mut Vec<u8>) {
    let mut wrapped = Out::default();
    wrapped.raw(r#"{"bytes":""#).raw(&base64(json)).raw("\"}");
    event("chunk", place, wrapped.0, out);
}

/// Writes an exception, which ends a stream.
pub(crate) fn exception(kind: &str, json: &[u8], out: &mut Vec<u8>) {
    let headers = [
        (":exception-type", kind),
        (":content-type", "application/json"),
        (":message-type", "exception"),
    ];
    message(&headers, json, out);
}

fn message(headers: &[(&str, &str)], payload: &[u8], out: &mut Vec<u8>) {
    let mut encoded = Vec::with_capacity(96);
    for (name, value) in headers {
        encoded.push(u8::try_from(name.len()).expect("header names are ours and short"));
        encoded.extend_from_slice(name.as_bytes());
        encoded.push(STRING);
        encoded.extend_from_slice(
            &u16::try_from(value.len())
                .expect("header values are ours and short")
                .to_be_bytes(),
        );
        encoded.extend_from_slice(value.as_bytes());
    }
    let length = |bytes: usize| {
        u32::try_from(bytes)
            .expect("a payload is at most the text of an answer")
            .to_be_bytes()
    };
    let start = out.len();
    out.extend_from_slice(&length(PRELUDE_BYTES + encoded.len() + payload.len() + 4));
    out.extend_from_slice(&length(encoded.len()));
    checksum(start, out);
    out.extend_from_slice(&encoded);
    out.extend_from_slice(payload);
    checksum(start, out);
}

/// Appends the CRC-32 of what was written from `start` on.
fn checksum(start: usize, out: &mut Vec<u8>) {
    let checksum = crc32fast::hash(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&checksum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of aws-c-event-stream's tests: `empty_message` and `payload_no_headers`.
    #[test]
    fn messages_agree_with_the_published_vectors() {
        let mut out = Vec::new();
        message(&[], b"", &mut out);
        let empty = [0, 0, 0, 0x10, 0, 0, 0, 0, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff];
        assert_eq!(out, empty);
        out.clear();
        message(&[], b"{'foo':'bar'}", &mut out);
        assert_eq!(out[..12], [0, 0, 0, 0x1d, 0, 0, 0, 0, 0xfd, 0x52, 0x8c, 0x5a]);
        assert_eq!(out[12..25], *b"{'foo':'bar'}");
        assert_eq!(out[25..], [0xc3, 0x65, 0x39, 0x36]);
    }

    #[test]
    fn an_event_names_itself_and_is_padded() {
        let mut out = Vec::new();
        event("messageStart", 0, br#"{"role":"assistant"}"#.to_vec(), &mut out);
        let text = String::from_utf8_lossy(&out);
        assert!(text.contains("\x0b:event-type\x07\0\x0cmessageStart"));
        assert!(text.contains(r#"{"role":"assistant","p":"a"}"#));
        out.clear();
        event("x", 1, b"{}".to_vec(), &mut out);
        assert!(String::from_utf8_lossy(&out).contains(r#"{"p":"abcdefghijklmnopqr"}"#));
    }
}
