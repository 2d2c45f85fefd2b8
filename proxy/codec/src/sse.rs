//! Server-sent events, split incrementally (WHATWG HTML, section 9.2.6).
//!
//! Invariants:
//! 1. Every byte is searched for a line's end once, however the stream is cut into frames.
//! 2. At most one event is held, of at most [`EVENT_BYTES_MAX`] bytes; a longer one passes unread from there on, however it is cut into frames.
//! 3. The listener hears a `data` line as soon as the line is complete, since clients that read line by line act on it then. Where an event
//!    has several, it hears the joined text too, when the event is complete.

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr2, memchr2_iter};

use crate::work;

/// Longest event that is read, in bytes: the last event of OpenAI's responses repeats the whole answer.
pub(crate) const EVENT_BYTES_MAX: usize = work::limit(16 << 20);

/// Who wants to know what the events say. What it hears may be incomplete JSON, and may come twice.
pub(crate) trait Listener {
    /// One `data` line, or the joined ones of one event; returns whether the event is to be taken out of the stream.
    fn data(&mut self, data: &[u8], named_error: bool) -> bool;

    /// The first [`EVENT_BYTES_MAX`] bytes of an event that is too long to be read.
    fn too_long(&mut self, start: &[u8]);
}

/// Splits a stream.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    /// The event that has begun and has not ended.
    held: BytesMut,
    place: Place,
}

/// How far the current event has been read; offsets are from its beginning.
#[derive(Debug, Default)]
struct Place {
    searched: usize,
    line_start: usize,
    data_lines: usize,
    named_error: bool,
    remove: bool,
    /// The last byte that was searched is a CR: an LF that follows belongs to it.
    after_cr: bool,
    /// The event that ended with this CR was taken out.
    removed_cr: bool,
    /// The event is too long: it passes unread.
    skip: bool,
    /// Of an event that passes: the current line has a byte.
    line_begun: bool,
}

/// What one search found; offsets are into the searched bytes.
#[derive(Default)]
struct Found {
    /// End of the last complete event.
    complete: usize,
    removed: Vec<Range<usize>>,
}

// === impl Splitter ===

impl Splitter {
    /// Reads more of a stream that is sent on elsewhere.
    pub(crate) fn read(&mut self, bytes: &[u8], listener: &mut impl Listener) {
        if self.held.is_empty() {
            let found = self.place.search(bytes, listener);
            self.held.extend_from_slice(bytes.get(found.complete..).unwrap_or_default());
        } else {
            self.held.extend_from_slice(bytes);
            let found = self.place.search(&self.held, listener);
            self.held.advance(found.complete);
        }
    }

    /// Reads more of a stream and returns what is to be sent on: the complete events without those that the listener removed.
    pub(crate) fn edit(&mut self, frame: Bytes, listener: &mut impl Listener) -> Bytes {
        let (whole, found) = if self.held.is_empty() {
            let found = self.place.search(&frame, listener);
            self.held.extend_from_slice(frame.get(found.complete..).unwrap_or_default());
            (frame.slice(..found.complete), found)
        } else {
            self.held.extend_from_slice(&frame);
            let found = self.place.search(&self.held, listener);
            (self.held.split_to(found.complete).freeze(), found)
        };
        without(whole, &found.removed)
    }

    /// What is held back of an edited stream that is read on and no longer edited; `None` while it belongs to an event that is taken out.
    pub(crate) fn release(&self) -> Option<&[u8]> {
        (!self.place.remove).then_some(&self.held)
    }

    /// Reads the line that has no end yet, as if the stream ended here; what is held stays held.
    pub(crate) fn read_rest(&mut self, listener: &mut impl Listener) {
        if !self.place.skip {
            let line = self.held.get(self.place.line_start..).unwrap_or_default();
            self.place.line(line, listener);
        }
    }

    /// What is still held of an edited stream, unless it is to be removed.
    pub(crate) fn rest(&mut self, listener: &mut impl Listener) -> Bytes {
        self.read_rest(listener);
        let rest = std::mem::take(&mut self.held).freeze();
        let remove = std::mem::take(&mut self.place).remove;
        if remove { Bytes::new() } else { rest }
    }

    /// Bytes of memory that it keeps.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn retained_bytes(&self) -> usize {
        self.held.capacity()
    }
}

/// The bytes without some ranges; the same memory if there are none.
fn without(bytes: Bytes, ranges: &[Range<usize>]) -> Bytes {
    match ranges {
        [] => bytes,
        [only] if only.start == 0 => bytes.slice(only.end..),
        [only] if only.end == bytes.len() => bytes.slice(..only.start),
        _ => {
            let mut kept = BytesMut::with_capacity(bytes.len());
            let mut from = 0;
            for range in ranges {
                kept.extend_from_slice(bytes.get(from..range.start).unwrap_or_default());
                from = range.end;
            }
            kept.extend_from_slice(bytes.get(from..).unwrap_or_default());
            kept.freeze()
        }
    }
}

// === impl Place ===

impl Place {
    /// Searches bytes that begin with the current event; afterwards the place is relative to the end of the last complete one.
    fn search(&mut self, bytes: &[u8], listener: &mut impl Listener) -> Found {
        let mut found = Found::default();
        let mut at = self.searched;
        work::look_at(bytes.len().saturating_sub(at));
        if self.after_cr && !bytes.is_empty() {
            self.after_cr = false;
            if bytes.get(at) == Some(&b'\n') {
                at += 1;
                self.line_start = at;
                // Nothing before it: it belongs to the event that ended with the CR.
                if at == 1 {
                    found.complete = 1;
                    if self.removed_cr {
                        found.removed.push(0..1);
                    }
                }
            }
        }
        while let Some(end) = line_end(bytes, at) {
            at = end + 1;
            if bytes.get(end) == Some(&b'\r') {
                match bytes.get(at) {
                    Some(b'\n') => at += 1,
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            let line = bytes.get(self.line_start..end).unwrap_or_default();
            if line.is_empty() && !self.line_begun {
                self.end_event(bytes.get(found.complete..self.line_start).unwrap_or_default(), listener);
                if self.remove {
                    found.removed.push(found.complete..at);
                }
                *self = Self {
                    after_cr: self.after_cr,
                    removed_cr: self.remove,
                    ..Self::default()
                };
                found.complete = at;
            } else if !self.skip && !self.is_too_long(bytes.get(found.complete..end).unwrap_or_default(), listener) {
                self.line(line, listener);
            }
            self.line_begun = false;
            self.line_start = at;
        }
        if !self.skip && self.line_start < bytes.len() {
            self.is_too_long(bytes.get(found.complete..).unwrap_or_default(), listener);
        }
        if self.skip {
            self.line_begun |= self.line_start < bytes.len();
            found.complete = bytes.len();
            self.line_start = 0;
            self.searched = 0;
        } else {
            self.searched = bytes.len() - found.complete;
            self.line_start = self.line_start.saturating_sub(found.complete);
        }
        found
    }

    /// Whether the event, up to a byte of one of its lines, is too long; from there on it passes.
    fn is_too_long(&mut self, event: &[u8], listener: &mut impl Listener) -> bool {
        if event.len() > EVENT_BYTES_MAX {
            listener.too_long(event.get(..EVENT_BYTES_MAX).unwrap_or_default());
            self.skip = true;
            self.remove = false;
            self.removed_cr = false;
        }
        self.skip
    }

    fn line(&mut self, line: &[u8], listener: &mut impl Listener) {
        if let Some(data) = data_of(line) {
            self.data_lines += 1;
            self.remove |= listener.data(data, self.named_error);
        } else if let Some(name) = line.strip_prefix(b"event:") {
            self.named_error = name.trim_ascii() == b"error";
        }
    }

    fn end_event(&mut self, event: &[u8], listener: &mut impl Listener) {
        if self.data_lines > 1 && !self.skip {
            work::look_at(event.len());
            let mut joined = Vec::with_capacity(event.len());
            let mut from = 0;
            for end in memchr2_iter(b'\n', b'\r', event).chain([event.len()]) {
                if let Some(data) = data_of(event.get(from..end).unwrap_or_default()) {
                    joined.extend_from_slice(data);
                    joined.push(b'\n');
                }
                from = end + 1;
            }
            joined.pop();
            self.remove |= listener.data(&joined, self.named_error);
        }
    }
}

/// The next end of a line; two together, which end most events, are found without a search.
fn line_end(bytes: &[u8], from: usize) -> Option<usize> {
    match bytes.get(from) {
        None => None,
        Some(b'\n' | b'\r') => Some(from),
        Some(_) => memchr2(b'\n', b'\r', bytes.get(from..)?).map(|offset| from + offset),
    }
}

fn data_of(line: &[u8]) -> Option<&[u8]> {
    // A stream may begin with a byte order mark.
    let data = line.strip_prefix(b"data:");
    let data = data.or_else(|| line.strip_prefix(b"\xef\xbb\xbf")?.strip_prefix(b"data:"))?;
    Some(data.strip_prefix(b" ").unwrap_or(data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Heard {
        data: Vec<String>,
        errors: usize,
        too_long: usize,
    }

    impl Listener for Heard {
        fn data(&mut self, data: &[u8], named_error: bool) -> bool {
            self.data.push(String::from_utf8_lossy(data).into_owned());
            self.errors += usize::from(named_error);
            data.starts_with(b"remove")
        }

        fn too_long(&mut self, start: &[u8]) {
            assert!(start.starts_with(b"data"));
            self.too_long += 1;
        }
    }

    fn split(stream: &str, size: usize) -> (Heard, String) {
        let (mut heard, mut splitter, mut sent) = (Heard::default(), Splitter::default(), Vec::new());
        for frame in stream.as_bytes().chunks(size) {
            sent.extend_from_slice(&splitter.edit(Bytes::copy_from_slice(frame), &mut heard));
        }
        sent.extend_from_slice(&splitter.rest(&mut heard));
        (heard, String::from_utf8(sent).unwrap())
    }

    #[test]
    fn events_end_at_a_blank_line_of_any_kind_wherever_frames_end() {
        let stream = "\u{feff}: hello\nevent: x\ndata: 1\n\nid: 7\ndata:2\ndata: 3\n\nretry: 5\n\ndata: remove\n: with its comment\n\nevent: error\ndata: 4\n\ndata: 5";
        for end in ["\n", "\r\n", "\r"] {
            let stream = stream.replace('\n', end);
            let expected = stream.replace(&"data: remove\n: with its comment\n\n".replace('\n', end), "");
            for size in 1..=stream.len() {
                let (heard, sent) = split(&stream, size);
                assert_eq!(heard.data, ["1", "2", "3", "2\n3", "remove", "4", "5"], "{end:?} {size}");
                assert_eq!(heard.errors, 1);
                assert_eq!(sent, expected, "{end:?} {size}");
            }
        }
    }

    #[test]
    fn empty_lines_of_data_are_lines() {
        assert_eq!(split("data:\ndata: 1\ndata\ndata:\n\n", 4).0.data, ["", "1", "", "\n1\n"]);
    }

    #[test]
    fn an_event_without_its_blank_line_can_be_removed_at_the_end() {
        assert_eq!(split("data: 1\n\ndata: remove", 3).1, "data: 1\n\n");
        assert_eq!(split("data: 1\n\ndata: remove\n", 3).1, "data: 1\n\n");
    }

    #[test]
    fn an_event_that_is_too_long_passes_unread() {
        let mut heard = Heard::default();
        let mut splitter = Splitter::default();
        let mut sent = 0;
        let frame = Bytes::from(vec![b'x'; 1 << 20]);
        sent += splitter.edit(Bytes::from_static(b"data: "), &mut heard).len();
        for _ in 0..20 {
            sent += splitter.edit(frame.clone(), &mut heard).len();
            assert!(splitter.held.len() <= EVENT_BYTES_MAX);
        }
        let end = Bytes::from_static(b"\n\ndata: 1\n\ndata: remove\n\n");
        sent += splitter.edit(end, &mut heard).len();
        assert_eq!(sent, 6 + 20 * frame.len() + "\n\ndata: 1\n\n".len());
        assert_eq!((heard.too_long, heard.data), (1, vec!["1".to_owned(), "remove".to_owned()]));
    }

    #[test]
    fn whether_an_event_is_too_long_does_not_depend_on_its_frames() {
        let event = |bytes: usize| format!("data: {}\ndata: 2\n\ndata: 3\n\n", "x".repeat(bytes - "data: ".len()));
        // The second line ends behind the limit; then it fits exactly.
        for (first, too_long) in [(EVENT_BYTES_MAX, 1), (EVENT_BYTES_MAX - "\ndata: 2".len(), 0)] {
            let stream = event(first);
            for size in [stream.len(), 5 << 20, first + 4, first + 1] {
                let (heard, sent) = split(&stream, size);
                assert_eq!((heard.too_long, sent.len()), (too_long, stream.len()), "{size}");
                let data: Vec<usize> = heard.data.iter().map(String::len).collect();
                let first = first - "data: ".len();
                // Two lines are heard one by one and together.
                let expected = if too_long == 1 {
                    vec![first, 1]
                } else {
                    vec![first, 1, first + 2, 1]
                };
                assert_eq!(data, expected, "{size}");
            }
        }
    }

    #[test]
    fn a_line_feed_within_a_long_event_is_not_that_of_a_removed_one() {
        let (mut heard, mut splitter, mut sent) = (Heard::default(), Splitter::default(), 0);
        let long = format!("data: {}\r", "x".repeat(EVENT_BYTES_MAX));
        for frame in ["data: remove\r\r", &long, "\n\r\n"] {
            sent += splitter.edit(Bytes::copy_from_slice(frame.as_bytes()), &mut heard).len();
        }
        assert_eq!(sent, long.len() + "\n\r\n".len());
    }

    #[test]
    fn a_frame_of_whole_events_is_sent_on_as_it_is() {
        let frame = Bytes::from_static(b"data: 1\n\ndata: 2\n\n");
        let sent = Splitter::default().edit(frame.clone(), &mut Heard::default());
        assert_eq!(sent.as_ptr(), frame.as_ptr());
        assert_eq!(sent.len(), frame.len());
    }
}
