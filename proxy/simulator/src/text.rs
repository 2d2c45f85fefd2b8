//! The generated text: words that follow from a seed, cut into the pieces that a stream carries.
//!
//! A generated word is a token: the vocabulary holds words that are one token each, with their leading space, in
//! OpenAI's public encodings. Other text (JSON, echoed requests) counts a token for every four bytes begun.

use crate::out::Seed;

/// The length of an answer of which nothing is asked, in words.
pub(crate) const WORDS_DEFAULT: usize = 48;

/// The bytes of a piece of text that is not made of words.
const PIECE_BYTES: usize = 16;

const VOCABULARY: [&str; 64] = [
    " the", " time", " people", " way", " water", " long", " day", " good", " world", " life", " hand", " part", " old", " place",
    " case", " week", " right", " work", " number", " night", " point", " home", " small", " room", " fact", " month", " lot",
    " study", " book", " eye", " job", " word", " side", " kind", " head", " house", " service", " friend", " power", " hour",
    " game", " line", " end", " member", " law", " car", " city", " name", " team", " minute", " idea", " body", " back", " face",
    " level", " office", " door", " health", " art", " war", " party", " result", " change", " morning",
];

/// How a text falls into pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Split {
    /// A word each.
    Words,
    /// So many bytes each, the last one the rest.
    Bytes(usize),
    /// So many pieces of nearly equal length.
    Parts(usize),
}

/// What size of text is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Size {
    pub(crate) bytes: Option<usize>,
    pub(crate) chunks: Option<usize>,
    pub(crate) chunk_bytes: Option<usize>,
    /// The most tokens that the request allows.
    pub(crate) tokens_max: Option<u64>,
}

/// A generated text.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) body: String,
    /// The generated tokens.
    pub(crate) tokens: u64,
    /// Whether the request's limit on tokens cut it short.
    pub(crate) cut_short: bool,
    split: Split,
}

/// The tokens of text that was not generated word by word: one for every four bytes begun.
pub(crate) fn tokens_of_bytes(bytes: u64) -> u64 {
    bytes.div_ceil(4)
}

impl Text {
    /// Words that follow from the seed, in the size asked for.
    pub(crate) fn words(size: Size, seed: u64) -> Self {
        let (split, bytes) = match (size.bytes, size.chunks, size.chunk_bytes) {
            (Some(bytes), Some(chunks), _) => (Split::Parts(chunks), Some(bytes)),
            (_, Some(chunks), Some(each)) => (Split::Bytes(each), Some(chunks * each)),
            (bytes, None, Some(each)) => (Split::Bytes(each), bytes),
            (bytes, _, None) => (Split::Words, bytes),
        };
        let words = match (bytes, size.chunks) {
            (Some(_), _) => usize::MAX,
            (None, chunks) => chunks.unwrap_or(WORDS_DEFAULT),
        };
        let words_max = size
            .tokens_max
            .map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        let bytes_max = bytes.unwrap_or(usize::MAX);
        let mut body = String::with_capacity(bytes.unwrap_or(words.min(words_max).saturating_mul(7)));
        let (mut state, mut bits, mut made) = (Seed(seed), 0, 0usize);
        while made < words && body.len() < bytes_max && made < words_max {
            if made.is_multiple_of(10) {
                bits = state.next();
            }
            let word = VOCABULARY.get((bits & 63) as usize).copied().unwrap_or(" the");
            body.push_str(if made == 0 { word.trim_start() } else { word });
            bits >>= 6;
            made += 1;
        }
        let cut_short = made < words && body.len() < bytes_max;
        body.truncate(bytes_max);
        Self {
            body,
            tokens: made as u64,
            cut_short,
            split,
        }
    }

    /// A given text, counted by its bytes; the request's limit on tokens does not shorten it.
    pub(crate) fn given(body: String, size: Size) -> Self {
        let split = match (size.chunks, size.chunk_bytes) {
            (_, Some(each)) => Split::Bytes(each),
            (Some(chunks), None) => Split::Parts(chunks),
            (None, None) => Split::Bytes(PIECE_BYTES),
        };
        let tokens = tokens_of_bytes(body.len() as u64);
        Self {
            body,
            tokens,
            cut_short: false,
            split,
        }
    }

    /// The pieces, which together are the body; an empty text has none.
    pub(crate) fn pieces(&self) -> Vec<&str> {
        let mut pieces = Vec::new();
        let mut rest = self.body.as_str();
        let mut parts_left = if let Split::Parts(parts) = self.split { parts } else { 0 };
        while !rest.is_empty() {
            let wanted = match self.split {
                Split::Words => rest
                    .bytes()
                    .skip(1)
                    .position(|byte| byte == b' ')
                    .map_or(rest.len(), |at| at + 1),
                Split::Bytes(each) => each,
                Split::Parts(_) => rest.len().div_ceil(parts_left.max(1)),
            };
            parts_left = parts_left.saturating_sub(1);
            let mut at = wanted.clamp(1, rest.len());
            while !rest.is_char_boundary(at) {
                at += 1;
            }
            let (piece, after) = rest.split_at(at);
            pieces.push(piece);
            rest = after;
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(bytes: Option<usize>, chunks: Option<usize>, chunk_bytes: Option<usize>) -> Size {
        Size {
            bytes,
            chunks,
            chunk_bytes,
            tokens_max: None,
        }
    }

    #[test]
    fn equal_seeds_make_equal_texts_and_others_do_not() {
        let text = |seed| Text::words(Size::default(), seed).body;
        assert_eq!(text(7), text(7));
        assert_ne!(text(7), text(8));
    }

    #[test]
    fn a_word_is_a_token_and_a_chunk() {
        let text = Text::words(size(None, Some(100), None), 1);
        assert_eq!((text.tokens, text.pieces().len(), text.cut_short), (100, 100, false));
        assert_eq!(Text::words(Size::default(), 1).tokens, WORDS_DEFAULT as u64);
    }

    #[test]
    fn sizes_are_met_exactly() {
        for (asked, bytes, chunks) in [
            (size(Some(1000), None, Some(300)), 1000, 4),
            (size(Some(1000), Some(7), None), 1000, 7),
            (size(None, Some(5), Some(11)), 55, 5),
            (size(Some(10), Some(10), None), 10, 10),
            (size(Some(0), None, None), 0, 0),
        ] {
            let text = Text::words(asked, 3);
            assert_eq!((text.body.len(), text.pieces().len()), (bytes, chunks), "{asked:?}");
            assert_eq!(text.pieces().concat(), text.body);
        }
    }

    #[test]
    fn the_limit_of_the_request_cuts_the_text_short() {
        let limited = |tokens_max| {
            Text::words(
                Size {
                    tokens_max: Some(tokens_max),
                    ..Size::default()
                },
                1,
            )
        };
        assert_eq!((limited(5).tokens, limited(5).cut_short), (5, true));
        assert_eq!((limited(48).tokens, limited(48).cut_short), (48, false));
    }

    #[test]
    fn pieces_never_split_a_character() {
        let text = Text::given("Grüße 🚀🚀 aus Köln".to_owned(), size(None, None, Some(1)));
        assert_eq!(text.pieces().concat(), text.body);
    }
}
