//! AWS's event streams (`application/vnd.amazon.eventstream`), split incrementally.
//!
//! A message is `total length: u32 | length of the headers: u32 | CRC-32 of these | headers | payload | CRC-32 of all before`, numbers big-endian
//! (Smithy, "Amazon Event Stream Specification"). The decoder of crate aws-smithy-eventstream holds a message of any length that its first bytes
//! claim, and copies every payload; here tests hold the two against each other.
//!
//! Invariants:
//! 1. At most one message is held, of at most [`MESSAGE_BYTES_MAX`] bytes (AWS allows 16 MiB); a longer one passes unread.
//! 2. A message that arrives in one frame is not copied, and none is parsed before it is whole.
//! 3. What does not match its checksum is not read, and nothing after it: no length can be trusted any more.

use bytes::{Buf, BytesMut};

use crate::work;

/// Longest message that is read, in bytes.
const MESSAGE_BYTES_MAX: usize = work::limit(16 << 20);

const PRELUDE_BYTES: usize = 12;
const CRC_BYTES: usize = 4;

/// Splits a stream.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    /// The message that has begun and has not ended.
    held: BytesMut,
    /// Bytes of a message that is too long which are still to come.
    passing: usize,
    broken: bool,
}

/// What a message says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// Value of `:message-type`: `event`, `exception` or `error`.
    pub(crate) kind: &'a [u8],
    /// Value of `:event-type`, `:exception-type` or `:error-code`.
    pub(crate) name: &'a [u8],
    pub(crate) payload: &'a [u8],
}

enum Parsed<'a> {
    Message(Message<'a>, usize),
    TooLong(usize),
    Unfinished,
    Broken,
}

// === impl Splitter ===

impl Splitter {
    /// Whether the stream is none, or is damaged.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Bytes of memory that it keeps.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn retained_bytes(&self) -> usize {
        self.held.capacity()
    }

    /// Reads more of the stream; `each` hears every complete message.
    pub(crate) fn read(&mut self, mut bytes: &[u8], mut each: impl FnMut(Message<'_>)) {
        if self.broken {
            return;
        }
        let passed = self.passing.min(bytes.len());
        self.passing -= passed;
        bytes = bytes.get(passed..).unwrap_or_default();
        if self.held.is_empty() {
            let read = self.parse(bytes, &mut each);
            self.held.extend_from_slice(bytes.get(read..).unwrap_or_default());
        } else {
            self.held.extend_from_slice(bytes);
            let held = std::mem::take(&mut self.held);
            let read = self.parse(&held, &mut each);
            self.held = held;
            self.held.advance(read);
        }
        if self.broken {
            self.held = BytesMut::new();
        }
    }

    /// Reads complete messages; returns how many bytes need not be held.
    fn parse(&mut self, bytes: &[u8], each: &mut impl FnMut(Message<'_>)) -> usize {
        let mut at = 0;
        loop {
            match parse(bytes.get(at..).unwrap_or_default()) {
                Parsed::Message(message, taken) => {
                    each(message);
                    at += taken;
                }
                Parsed::TooLong(length) => {
                    let here = length.min(bytes.len() - at);
                    self.passing = length - here;
                    at += here;
                }
                Parsed::Unfinished => return at,
                Parsed::Broken => {
                    self.broken = true;
                    return bytes.len();
                }
            }
        }
    }
}

fn parse(bytes: &[u8]) -> Parsed<'_> {
    work::look_at(PRELUDE_BYTES);
    let Some((prelude, rest)) = bytes.split_at_checked(PRELUDE_BYTES) else {
        return Parsed::Unfinished;
    };
    let (mut lengths, mut crc) = prelude.split_at(8);
    if crc32fast::hash(lengths) != crc.get_u32() {
        return Parsed::Broken;
    }
    let (total, headers) = (lengths.get_u32() as usize, lengths.get_u32() as usize);
    let Some(body) = total.checked_sub(PRELUDE_BYTES + CRC_BYTES).filter(|body| headers <= *body) else {
        return Parsed::Broken;
    };
    if total > MESSAGE_BYTES_MAX {
        return Parsed::TooLong(total);
    }
    let (Some((headers, payload)), Some(mut crc)) = (
        rest.get(..body).and_then(|body| body.split_at_checked(headers)),
        rest.get(body..body + CRC_BYTES),
    ) else {
        return Parsed::Unfinished;
    };
    work::look_at(total);
    let covered = bytes.get(..total - CRC_BYTES).unwrap_or_default();
    if crc32fast::hash(covered) != crc.get_u32() {
        return Parsed::Broken;
    }
    match read_headers(headers) {
        Some((kind, name)) => Parsed::Message(Message { kind, name, payload }, total),
        None => Parsed::Broken,
    }
}

/// The message's type and the name of what it is.
fn read_headers(mut headers: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut kind, mut name): (&[u8], &[u8]) = (b"event", b"");
    while let Some((length, rest)) = headers.split_first() {
        let (key, rest) = rest.split_at_checked(usize::from(*length))?;
        let (value_type, rest) = rest.split_first()?;
        let (length, rest) = match value_type {
            0 | 1 => (0, rest),
            2 => (1, rest),
            3 => (2, rest),
            4 => (4, rest),
            5 | 8 => (8, rest),
            6 | 7 => {
                let (length, rest) = rest.split_first_chunk::<2>()?;
                (usize::from(u16::from_be_bytes(*length)), rest)
            }
            9 => (16, rest),
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        match key {
            b":message-type" => kind = value,
            b":event-type" | b":exception-type" | b":error-code" => name = value,
            _ => {}
        }
        headers = rest;
    }
    Some((kind, name))
}

#[cfg(test)]
pub(crate) mod tests {
    use aws_smithy_eventstream::frame::write_message_to;
    use aws_smithy_types::event_stream::{Header, HeaderValue, Message as Written};

    use super::*;

    /// A message as AWS's own crate writes it.
    pub(crate) fn message(kind: &str, name: &str, payload: &[u8]) -> Vec<u8> {
        let name_of = match kind {
            "event" => ":event-type",
            "exception" => ":exception-type",
            _ => ":error-code",
        };
        let text = |text: &str| HeaderValue::String(text.to_owned().into());
        let message = Written::new(payload.to_vec())
            .add_header(Header::new(name_of, text(name)))
            .add_header(Header::new("a", HeaderValue::Bool(true)))
            .add_header(Header::new("b", HeaderValue::Int16(7)))
            .add_header(Header::new("c", HeaderValue::Uuid(7)))
            .add_header(Header::new("d", HeaderValue::ByteArray(vec![1, 2].into())))
            .add_header(Header::new(":content-type", text("application/json")))
            .add_header(Header::new(":message-type", text(kind)));
        let mut bytes = Vec::new();
        write_message_to(&message, &mut bytes).unwrap();
        bytes
    }

    fn split(stream: &[u8], size: usize) -> (Vec<String>, bool) {
        let (mut splitter, mut heard) = (Splitter::default(), Vec::new());
        for frame in stream.chunks(size) {
            splitter.read(frame, |message| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                heard.push(format!(
                    "{} {} {}",
                    text(message.kind),
                    text(message.name),
                    text(message.payload)
                ));
            });
        }
        (heard, splitter.is_broken())
    }

    #[test]
    fn messages_are_whole_wherever_frames_end() {
        let stream = [
            message("event", "messageStart", b"{}"),
            message("event", "metadata", b""),
            message("exception", "throttlingException", br#"{"message":"m"}"#),
        ]
        .concat();
        for size in 1..=stream.len() {
            let (heard, broken) = split(&stream, size);
            let expected = [
                "event messageStart {}",
                "event metadata ",
                "exception throttlingException {\"message\":\"m\"}",
            ];
            assert_eq!(heard, expected, "{size}");
            assert!(!broken);
        }
    }

    #[test]
    fn nothing_is_read_from_a_damaged_message_on() {
        let (first, second) = (message("event", "a", b"1"), message("event", "b", b"2"));
        for at in 0..second.len() {
            let mut damaged = [first.clone(), second.clone(), second.clone()].concat();
            damaged[first.len() + at] ^= 1;
            for size in [1, 5, damaged.len()] {
                let (heard, _) = split(&damaged, size);
                assert_eq!(heard, ["event a 1"], "flipped at {at}");
            }
        }
        assert_eq!(split(b"data: {}\n\ndata: {}\n\n", 3), (vec![], true));
    }

    #[test]
    fn a_message_that_is_too_long_passes_unread() {
        let long = message("event", "long", &vec![b'x'; MESSAGE_BYTES_MAX]);
        let stream = [message("event", "a", b"1"), long, message("event", "b", b"2")].concat();
        let mut splitter = Splitter::default();
        let mut heard = Vec::new();
        for frame in stream.chunks(100_000) {
            splitter.read(frame, |message| heard.push(message.name.to_vec()));
            assert!(splitter.held.len() <= MESSAGE_BYTES_MAX);
        }
        assert_eq!(heard, [b"a", b"b"]);
    }

    #[test]
    fn a_length_that_is_claimed_takes_no_memory() {
        let mut prelude = [u32::MAX.to_be_bytes(), 0_u32.to_be_bytes()].concat();
        prelude.extend_from_slice(&crc32fast::hash(&prelude).to_be_bytes());
        let mut splitter = Splitter::default();
        splitter.read(&prelude, |_| panic!("no message"));
        for _ in 0..100 {
            splitter.read(&[0; 1 << 16], |_| panic!("no message"));
            assert!(splitter.held.capacity() < 1 << 20);
        }
    }
}
