//! Takes an input apart: a few choices first, text behind them.

use bytes::Bytes;

/// Most sizes of frames that an input tells; they are used over and over.
const SIZES_MAX: u8 = 8;

/// What is left of an input.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

// === impl Input ===

impl<'a> Input<'a> {
    /// The next byte, 0 at the end.
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    /// A choice out of some.
    pub(crate) fn choose<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[usize::from(self.byte()) % of.len()]
    }

    /// Text up to the next NUL.
    pub(crate) fn text(&mut self) -> &'a [u8] {
        let end = memchr::memchr(0, self.0).unwrap_or(self.0.len());
        let (text, rest) = self.0.split_at(end);
        self.0 = rest.get(1..).unwrap_or_default();
        text
    }

    /// Sizes of frames.
    pub(crate) fn sizes(&mut self) -> Vec<usize> {
        let count = self.byte() % SIZES_MAX + 1;
        (0..count).map(|_| usize::from(self.byte()).max(1)).collect()
    }
}

/// The bytes in frames of these sizes, in turn.
pub(crate) fn cut(bytes: &[u8], sizes: &[usize]) -> Vec<Bytes> {
    let mut frames = Vec::new();
    let (mut rest, mut sizes) = (bytes, sizes.iter().cycle());
    while !rest.is_empty() {
        let (frame, after) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
        frames.push(Bytes::copy_from_slice(frame));
        rest = after;
    }
    frames
}
