//! A JSON array that comes piece by piece: Gemini streams one where no server-sent events are asked for (`alt=sse`).
//!
//! Invariants:
//! 1. Every byte is looked at once, however the stream is cut into frames.
//! 2. At most one element is held, of at most [`ELEMENT_BYTES_MAX`] bytes; a longer one passes unread, however it is cut into frames.
//! 3. A document that is no array is one element.

use memchr::memchr2;

use crate::work;

/// Longest element that is read, in bytes.
const ELEMENT_BYTES_MAX: usize = work::limit(16 << 20);

/// Splits an array into its objects.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    /// The beginning of an element whose end has not come.
    held: Vec<u8>,
    /// Brackets that are open.
    depth: u32,
    /// Brackets that are open around the current element; `None` between elements.
    around: Option<u32>,
    in_array: bool,
    in_string: bool,
    /// The last byte was a backslash inside a string.
    escaped: bool,
    /// The element is too long: it passes unread.
    skip: bool,
    /// The array, or the only object, has ended.
    ended: bool,
}

// === impl Splitter ===

impl Splitter {
    /// Whether all of the stream has come.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Bytes of memory that it keeps.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn retained_bytes(&self) -> usize {
        self.held.capacity()
    }

    /// Reads more of the stream; `each` hears every complete element.
    pub(crate) fn read(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        work::look_at(bytes.len());
        let mut start = 0;
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.in_string {
                at = self.skip_string(bytes, at);
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'[' | b'{' => {
                    if self.around.is_none() && byte == b'{' && self.depth == u32::from(self.in_array) {
                        self.around = Some(self.depth);
                        start = at;
                    } else if byte == b'[' && self.depth == 0 {
                        self.in_array = true;
                    }
                    self.depth = self.depth.saturating_add(1);
                }
                b']' | b'}' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.around == Some(self.depth) {
                        self.end_element(bytes.get(start..=at).unwrap_or_default(), &mut each);
                    }
                    self.ended |= self.depth == 0;
                }
                _ => {}
            }
            at += 1;
        }
        if self.around.is_some() && !self.skip {
            self.held.extend_from_slice(bytes.get(start..).unwrap_or_default());
            if self.held.len() > ELEMENT_BYTES_MAX {
                self.held = Vec::new();
                self.skip = true;
            }
        }
    }

    /// Moves behind the string, or to the end of what has come.
    fn skip_string(&mut self, bytes: &[u8], mut at: usize) -> usize {
        if std::mem::take(&mut self.escaped) {
            at += 1;
        }
        while let Some(found) = memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default()) {
            at += found + 1;
            if bytes.get(at - 1) == Some(&b'"') {
                self.in_string = false;
                return at;
            }
            if at == bytes.len() {
                self.escaped = true;
                return at;
            }
            at += 1;
        }
        bytes.len()
    }

    fn end_element(&mut self, end: &[u8], each: &mut impl FnMut(&[u8])) {
        self.around = None;
        if std::mem::take(&mut self.skip) || self.held.len() + end.len() > ELEMENT_BYTES_MAX {
            self.held.clear();
            return;
        }
        if self.held.is_empty() {
            return each(end);
        }
        self.held.extend_from_slice(end);
        each(&self.held);
        // Its memory serves the next one.
        self.held.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str, size: usize) -> (Vec<String>, bool) {
        let (mut splitter, mut heard) = (Splitter::default(), Vec::new());
        for frame in text.as_bytes().chunks(size) {
            splitter.read(frame, |element| heard.push(String::from_utf8(element.to_vec()).unwrap()));
        }
        (heard, splitter.ended())
    }

    #[test]
    fn elements_are_whole_wherever_frames_end() {
        let text = "[{\"a\": \"}]\\\"{\\\\\"}\n,\r\n{\"b\": [{}, {\"c\": \"\\u005d\"}]},\n7, \"]\", {}]\n";
        for size in 1..=text.len() {
            let (heard, ended) = split(text, size);
            assert_eq!(
                heard,
                ["{\"a\": \"}]\\\"{\\\\\"}", "{\"b\": [{}, {\"c\": \"\\u005d\"}]}", "{}"],
                "{size}"
            );
            assert!(ended);
        }
        assert!(!split(&text[..text.len() - 2], 5).1);
    }

    #[test]
    fn an_empty_frame_changes_nothing() {
        let (mut splitter, mut heard) = (Splitter::default(), Vec::new());
        for frame in ["[{\"a\":\"\\", "", "\"}\"}", "", "]"] {
            splitter.read(frame.as_bytes(), |element| heard.push(element.to_vec()));
        }
        assert_eq!((heard, splitter.ended()), (vec![b"{\"a\":\"\\\"}\"}".to_vec()], true));
    }

    #[test]
    fn a_document_that_is_no_array_is_one_element() {
        for size in 1..10 {
            assert_eq!(
                split(" {\"error\": {\"code\": 1}} ", size),
                (vec!["{\"error\": {\"code\": 1}}".to_owned()], true)
            );
        }
        assert_eq!(split("<html>", 2), (vec![], false));
        assert_eq!(split("]]}[{", 1), (vec![], true));
    }

    #[test]
    fn whether_an_element_is_too_long_does_not_depend_on_its_frames() {
        let element = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
        for (bytes, heard) in [(ELEMENT_BYTES_MAX, 2), (ELEMENT_BYTES_MAX + 1, 1)] {
            let text = format!("[{},{{}}]", element(bytes));
            for size in [text.len(), 5 << 20, bytes + 1, bytes] {
                assert_eq!(split(&text, size).0.len(), heard, "{bytes} {size}");
            }
        }
    }

    #[test]
    fn an_element_that_is_too_long_passes_unread() {
        let mut splitter = Splitter::default();
        let mut heard = 0;
        splitter.read(b"[{\"a\":\"", |_| heard += 1);
        for _ in 0..20 {
            splitter.read(&vec![b'x'; 1 << 20], |_| heard += 1);
            assert!(splitter.held.len() <= ELEMENT_BYTES_MAX);
        }
        splitter.read(b"\"},{\"b\":1}]", |element| {
            heard += 1;
            assert_eq!(element, b"{\"b\":1}");
        });
        assert_eq!((heard, splitter.ended()), (1, true));
    }
}
