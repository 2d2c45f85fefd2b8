//! Writing JSON by hand into a byte buffer, and the deterministic identifiers that stand in it.
//!
//! The shapes are fixed and mostly constant text, so copying them is both the fastest and the most legible way:
//! the source reads as the wire does. Nothing here knows a provider.

use std::io::Write as _;

use serde_json::value::RawValue;

/// 2026-01-01T00:00:00Z in Unix seconds: the time at which every simulated answer is made, so that equal requests
/// get equal bytes.
pub(crate) const CREATED: u64 = 1_767_225_600;

/// A growing JSON text.
#[derive(Default)]
pub(crate) struct Out(pub(crate) Vec<u8>);

impl Out {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Text that is already JSON.
    pub(crate) fn raw(&mut self, json: &str) -> &mut Self {
        self.0.extend_from_slice(json.as_bytes());
        self
    }

    /// A quoted and escaped string.
    pub(crate) fn string(&mut self, text: &str) -> &mut Self {
        self.0.push(b'"');
        self.escaped(text);
        self.0.push(b'"');
        self
    }

    /// The inside of a string: escaped, without the quotes.
    pub(crate) fn escaped(&mut self, text: &str) -> &mut Self {
        if !text.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
            return self.raw(text);
        }
        let start = self.0.len();
        serde_json::to_writer(&mut self.0, text).expect("a string can be written to a buffer");
        self.0.remove(start);
        self.0.pop();
        self
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        write!(self.0, "{number}").expect("a buffer takes every write");
        self
    }

    pub(crate) fn float(&mut self, number: f32) -> &mut Self {
        write!(self.0, "{number:?}").expect("a buffer takes every write");
        self
    }

    /// JSON from the request as it was sent, or a default where there is none.
    pub(crate) fn sent(&mut self, json: Option<&RawValue>, default: &str) -> &mut Self {
        self.raw(json.map_or(default, RawValue::get))
    }
}

/// A fast hash that is the same on every machine and in every run; not for security.
#[derive(Clone, Copy)]
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    pub(crate) fn new() -> Self {
        Self(0x7011_6a7e_0000_0001)
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in chunks.by_ref() {
            let mut word = [0u8; 8];
            word.copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
        let mut word = [0u8; 8];
        for (to, from) in word.iter_mut().zip(chunks.remainder()) {
            *to = *from;
        }
        self.mix(u64::from_le_bytes(word));
        self.mix(bytes.len() as u64);
    }

    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    /// The next pseudo-random number (splitmix64).
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// An identifier: a prefix and `len` letters and digits that follow from the seed.
pub(crate) fn id(prefix: &str, seed: u64, len: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789xy";
    let mut id = String::with_capacity(prefix.len() + len);
    id.push_str(prefix);
    let mut state = Seed(seed);
    let mut bits = 0;
    for place in 0..len {
        if place % 10 == 0 {
            bits = state.next();
        }
        let letter = ALPHABET.get((bits & 63) as usize).copied().unwrap_or(b'A');
        id.push(char::from(letter));
        bits >>= 6;
    }
    id
}

/// A random identifier (RFC 9562, version 4) that follows from the seed.
pub(crate) fn uuid(seed: u64) -> String {
    let mut state = Seed(seed);
    let (high, low) = (state.next(), state.next());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff
    )
}

/// Standard base64 with padding (RFC 4648), as OpenAI encodes embedding vectors.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            if place <= group.len() {
                let index = (bits >> (18 - 6 * place) & 63) as usize;
                text.push(char::from(ALPHABET.get(index).copied().unwrap_or(b'A')));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn base64_agrees_with_the_vectors_of_rfc_4648() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn strings_survive_a_json_parser() {
        for text in ["", "plain", "quote \" slash \\ line\nend", "\u{1}", "Grüße 🚀"] {
            let mut out = Out::default();
            out.string(text);
            let parsed: String = serde_json::from_slice(&out.0).unwrap();
            assert_eq!(parsed, text);
        }
    }

    #[test]
    fn identifiers_follow_from_the_seed() {
        assert_eq!(id("chatcmpl-", 1, 29), id("chatcmpl-", 1, 29));
        assert_ne!(id("chatcmpl-", 1, 29), id("chatcmpl-", 2, 29));
        assert_eq!(id("chatcmpl-", 1, 29).len(), 38);
    }

    #[test]
    fn a_uuid_says_that_it_is_random() {
        for seed in 0..64 {
            let uuid = uuid(seed);
            let parts: Vec<usize> = uuid.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12]);
            assert_eq!(uuid.as_bytes().get(14), Some(&b'4'));
            assert!(
                uuid.as_bytes().get(19).is_some_and(|letter| b"89ab".contains(letter)),
                "{uuid}"
            );
        }
    }

    #[test]
    fn a_seed_depends_on_every_byte_and_on_the_length() {
        let seed = |text: &str| {
            let mut seed = Seed::new();
            seed.add(text.as_bytes());
            seed.0
        };
        assert_ne!(seed("abcdefgh1"), seed("abcdefgh2"));
        assert_ne!(seed("a"), seed("a\0"));
        assert_eq!(seed("abcdefgh1"), seed("abcdefgh1"));
    }
}
