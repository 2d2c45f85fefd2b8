//! Cheap looks at JSON before it is parsed: most chunks of a stream say nothing that a meter needs, and must not cost a parse.
//!
//! What is looked for are keys with their quotes: inside a JSON string a quote is escaped, so generated text cannot look like a key.

use std::sync::LazyLock;

use aho_corasick::packed::Searcher;
use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::work;

/// A key that is looked for often.
pub(crate) struct Key {
    finder: Finder<'static>,
    bytes: usize,
}

/// Several keys that are looked for at once.
pub(crate) struct Keys {
    keys: Vec<Key>,
    /// Finds them in one pass; not on every processor.
    searcher: Option<Searcher>,
}

/// What a chunk of a streamed completion tells.
pub(crate) static OF_COMPLETION: LazyLock<Keys> = LazyLock::new(|| Keys::new(&["\"usage\"", "\"finish_reason\"", "\"error\""]));

/// What a chunk of Gemini's tells, the usage first.
pub(crate) static OF_CONTENT: LazyLock<Keys> = LazyLock::new(|| {
    Keys::new(&[
        "\"usageMetadata\"",
        "\"finishReason\"",
        "\"groundingMetadata\"",
        "\"promptFeedback\"",
        "\"error\"",
    ])
});

pub(crate) static USAGE: LazyLock<Key> = LazyLock::new(|| Key::new("\"usage\""));
pub(crate) static FINISH_REASON: LazyLock<Key> = LazyLock::new(|| Key::new("\"finish_reason\""));
pub(crate) static ERROR: LazyLock<Key> = LazyLock::new(|| Key::new("\"error\""));
pub(crate) static MODEL: LazyLock<Key> = LazyLock::new(|| Key::new("\"model\""));
pub(crate) static TYPE: LazyLock<Key> = LazyLock::new(|| Key::new("\"type\""));
/// Calls of OpenAI's own tools that cost something.
pub(crate) static TOOL_CALLS: LazyLock<[Key; 4]> = LazyLock::new(|| {
    [
        "\"web_search_call\"",
        "\"file_search_call\"",
        "\"code_interpreter_call\"",
        "\"image_generation_call\"",
    ]
    .map(Key::new)
});
pub(crate) static MESSAGE_END: LazyLock<Key> = LazyLock::new(|| Key::new("\"message-end\""));
pub(crate) static USAGE_METADATA: LazyLock<Key> = LazyLock::new(|| Key::new("\"usageMetadata\""));
pub(crate) static MODEL_VERSION: LazyLock<Key> = LazyLock::new(|| Key::new("\"modelVersion\""));
pub(crate) static BYTES: LazyLock<Key> = LazyLock::new(|| Key::new("\"bytes\""));
pub(crate) static INVOCATION_METRICS: LazyLock<Key> = LazyLock::new(|| Key::new("\"amazon-bedrock-invocationMetrics\""));
pub(crate) static METADATA: LazyLock<Key> = LazyLock::new(|| Key::new("\"metadata\""));
pub(crate) static STOP_REASON: LazyLock<Key> = LazyLock::new(|| Key::new("\"stop_reason\""));
pub(crate) static STOP_REASON_CAMEL: LazyLock<Key> = LazyLock::new(|| Key::new("\"stopReason\""));
pub(crate) static COMPLETION_REASON: LazyLock<Key> = LazyLock::new(|| Key::new("\"completionReason\""));

// === impl Key ===

impl Key {
    fn new(quoted: &'static str) -> Self {
        Self {
            finder: Finder::new(quoted),
            bytes: quoted.len(),
        }
    }

    /// Whether the text stands anywhere.
    pub(crate) fn is_in(&self, json: &[u8]) -> bool {
        work::look_at(json.len());
        self.finder.find(json).is_some()
    }

    /// Whether the key stands anywhere with a value other than null.
    pub(crate) fn has_value_in(&self, json: &[u8]) -> bool {
        work::look_at(json.len());
        self.finder
            .find_iter(json)
            .any(|at| value_at(json, at + self.bytes).is_some_and(|value| !value.starts_with(b"null")))
    }

    /// The text of the first value, if it is a string without escapes.
    pub(crate) fn first_text<'a>(&self, json: &'a [u8]) -> Option<&'a [u8]> {
        work::look_at(json.len());
        let value = value_at(json, self.finder.find(json)? + self.bytes)?.strip_prefix(b"\"")?;
        value.get(..memchr::memchr(b'"', value)?)
    }

    /// The last value and its text, if it is a member of the document itself and the document is whole: what a model generates may have members of
    /// that name.
    pub(crate) fn last_of_top<'a, T: Deserialize<'a>>(&self, json: &'a [u8]) -> Option<(T, &'a [u8])> {
        work::look_at(json.len());
        let value = value_at(json, self.last(json)? + self.bytes)?;
        let mut values = serde_json::Deserializer::from_slice(value).into_iter::<T>();
        let read = values.next()?.ok()?;
        let (text, rest) = value.split_at_checked(values.byte_offset())?;
        closes_once(rest).then_some((read, text))
    }

    /// Where the text stands last: what is searched seldom has it twice, so searching forwards is faster.
    fn last(&self, json: &[u8]) -> Option<usize> {
        self.finder.find_iter(json).last()
    }

    /// The last value, where the JSON around it may be cut.
    pub(crate) fn last_value<'a>(&self, json: &'a [u8]) -> Option<&'a RawValue> {
        let value = value_at(json, self.last(json)? + self.bytes)?;
        <&RawValue>::deserialize(&mut serde_json::Deserializer::from_slice(value)).ok()
    }
}

// === impl Keys ===

impl Keys {
    fn new(quoted: &[&'static str]) -> Self {
        Self {
            keys: quoted.iter().copied().map(Key::new).collect(),
            searcher: Searcher::new(quoted),
        }
    }

    /// A bit for each of the keys that stands anywhere with a value other than null, the first key's the lowest.
    pub(crate) fn with_values(&self, json: &[u8]) -> u32 {
        let Some(searcher) = &self.searcher else {
            let has_value = |at: &(usize, &Key)| at.1.has_value_in(json);
            return self
                .keys
                .iter()
                .enumerate()
                .filter(has_value)
                .fold(0, |bits, (at, _)| bits | 1 << at);
        };
        work::look_at(json.len());
        let (mut bits, mut from) = (0, 0);
        while let Some(found) = searcher.find_in(json, (from..json.len()).into()) {
            if value_at(json, found.end()).is_some_and(|value| !value.starts_with(b"null")) {
                bits |= 1 << found.pattern().as_usize();
            }
            // The quote at the end of one may be that at the beginning of the next.
            from = found.end() - 1;
        }
        bits
    }
}

/// The text of `type`, if that is the first member and the document begins as most write it; cheaper than to search for it.
pub(crate) fn leading_type(json: &[u8]) -> Option<&[u8]> {
    let value = json.strip_prefix(b"{\"type\":\"")?;
    value.get(..memchr::memchr(b'"', value)?)
}

/// Whether the rest of a document, from between two of its members, closes nothing but the document.
fn closes_once(rest: &[u8]) -> bool {
    let mut depth = 1_u32;
    let mut at = 0;
    while let Some(&byte) = rest.get(at) {
        at += 1;
        match byte {
            b'"' => loop {
                let Some(found) = memchr::memchr2(b'"', b'\\', rest.get(at..).unwrap_or_default()) else {
                    return false;
                };
                at += found + 1;
                if rest.get(at - 1) == Some(&b'"') {
                    break;
                }
                at += 1;
            },
            b'{' | b'[' => depth += 1,
            b'}' | b']' => match depth {
                1 => return byte == b'}' && rest.get(at..).is_some_and(|end| end.trim_ascii().is_empty()),
                _ => depth -= 1,
            },
            _ => {}
        }
    }
    false
}

/// What follows a key and its colon.
fn value_at(json: &[u8], after_key: usize) -> Option<&[u8]> {
    Some(
        json.get(after_key..)?
            .trim_ascii_start()
            .strip_prefix(b":")?
            .trim_ascii_start(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_with_its_value() {
        assert!(USAGE.has_value_in(br#"{"usage":null,"x":{"usage" : {}}}"#));
        assert!(!USAGE.has_value_in(br#"{"usage": null}"#));
        assert!(!USAGE.has_value_in(br#"{"content":"\"usage\":{}"}"#));
        assert_eq!(TYPE.first_text(br#"{ "type" : "a.b", "type":"c"}"#), Some(&b"a.b"[..]));
        assert_eq!(TYPE.first_text(br#"{"type":7}"#), None);
        assert_eq!(
            USAGE.last_value(br#"0.1],"usage":{"a":1},"model":"m"}"#).unwrap().get(),
            r#"{"a":1}"#
        );
        assert!(USAGE.last_value(br#""usage":{"a"#).is_none());
    }

    #[test]
    fn several_keys_are_found_at_once_as_each_is_alone() {
        let texts = [
            r#"{"usage":null,"finish_reason":null,"choices":[{"delta":{"content":"a text that is long enough for vectors"}}]}"#,
            r#"{"choices":[],"finish_reason":"stop","x":"a text that is long enough for vectors","usage":{}}"#,
            r#"{"error" : {},"usage":null,"x":"\"finish_reason\":1, a text that is long enough for vectors"}"#,
            r#"{"a":"error","usage": null,"b":{"usage":1},"c":"a text that is long enough for vectors"}"#,
            r#""error"usage":1 a text that is long enough for vectors, and more of it"#,
            r#"{"usage":1}"#,
            "",
        ];
        for (text, expected) in texts.into_iter().zip([0b000, 0b011, 0b100, 0b001, 0b001, 0b001, 0]) {
            assert_eq!(OF_COMPLETION.with_values(text.as_bytes()), expected, "{text}");
            let keys = Keys {
                keys: ["\"usage\"", "\"finish_reason\"", "\"error\""].map(Key::new).into(),
                searcher: None,
            };
            assert_eq!(keys.with_values(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_leading_type_is_that_of_the_document() {
        assert_eq!(leading_type(br#"{"type":"a.b","x":1}"#), Some(&b"a.b"[..]));
        for other in [r#"{"x":{"type":"a"}}"#, r#"{ "type":"a"}"#, r#"{"type":7}"#, r#"{"type":"a"#] {
            assert_eq!(leading_type(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_member_of_the_document_is_told_from_one_that_was_generated() {
        let top = |json: &str| {
            let (read, text) = USAGE.last_of_top::<serde_json::Value>(json.as_bytes())?;
            assert_eq!(serde_json::from_slice::<serde_json::Value>(text).unwrap(), read);
            Some(read.to_string())
        };
        assert_eq!(
            top(r#"{"args":{"usage":{"a":9}},"usage":{"a":1},"x":["}",{}]} "#).as_deref(),
            Some(r#"{"a":1}"#)
        );
        assert_eq!(top(r#"{"args":{"usage":{"a":9}}}"#), None);
        assert_eq!(top(r#"{"args":[{"usage":{"a":9}}],"x":1}"#), None);
        assert_eq!(top(r#"{"usage":{"a":1},"x":"cut"#), None);
        assert_eq!(top(r#"{"usage":{"a":1}"#), None);
    }
}
