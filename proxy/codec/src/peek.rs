//! Cheap looks at JSON before it is parsed: most chunks of a stream say nothing that a meter needs, and must not cost a parse.
//!
//! What is looked for are keys with their quotes: inside a JSON string a quote is escaped, so generated text cannot look like a key.

use std::sync::LazyLock;

use memchr::memmem::{Finder, FinderRev};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A key that is looked for often.
pub(crate) struct Key {
    finder: Finder<'static>,
    reverse: FinderRev<'static>,
    bytes: usize,
}

pub(crate) static USAGE: LazyLock<Key> = LazyLock::new(|| Key::new("\"usage\""));
pub(crate) static FINISH_REASON: LazyLock<Key> = LazyLock::new(|| Key::new("\"finish_reason\""));
pub(crate) static ERROR: LazyLock<Key> = LazyLock::new(|| Key::new("\"error\""));
pub(crate) static MODEL: LazyLock<Key> = LazyLock::new(|| Key::new("\"model\""));
pub(crate) static TYPE: LazyLock<Key> = LazyLock::new(|| Key::new("\"type\""));
pub(crate) static WEB_SEARCH_CALL: LazyLock<Key> = LazyLock::new(|| Key::new("\"web_search_call\""));

// === impl Key ===

impl Key {
    fn new(quoted: &'static str) -> Self {
        Self {
            finder: Finder::new(quoted),
            reverse: FinderRev::new(quoted),
            bytes: quoted.len(),
        }
    }

    /// Whether the text stands anywhere.
    pub(crate) fn is_in(&self, json: &[u8]) -> bool {
        self.finder.find(json).is_some()
    }

    /// Whether the key stands anywhere with a value other than null.
    pub(crate) fn has_value_in(&self, json: &[u8]) -> bool {
        self.finder
            .find_iter(json)
            .any(|at| value_at(json, at + self.bytes).is_some_and(|value| !value.starts_with(b"null")))
    }

    /// The text of the first value, if it is a string without escapes.
    pub(crate) fn first_text<'a>(&self, json: &'a [u8]) -> Option<&'a [u8]> {
        let value = value_at(json, self.finder.find(json)? + self.bytes)?.strip_prefix(b"\"")?;
        value.get(..memchr::memchr(b'"', value)?)
    }

    /// The last value, where the JSON around it may be cut.
    pub(crate) fn last_value<'a>(&self, json: &'a [u8]) -> Option<&'a RawValue> {
        let value = value_at(json, self.reverse.rfind(json)? + self.bytes)?;
        <&RawValue>::deserialize(&mut serde_json::Deserializer::from_slice(value)).ok()
    }
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
}
