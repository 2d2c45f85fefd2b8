//! Numbers in a request that bound what it uses, read so that no upstream can take a larger one.

use serde_json::value::RawValue;

/// What stands for a number, wherever it was repeated.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    times: u32,
    most: u64,
    /// There was `null`.
    nulls: bool,
    /// There was something else that is no plain number above zero.
    odd: bool,
}

/// A number as everyone reads it: digits, and more than zero.
pub(super) fn plain(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|count| digits && *count > 0)
}

// === impl Counted ===

impl Counted {
    pub(super) fn take(&mut self, value: &RawValue) {
        self.times = self.times.saturating_add(1);
        match value.get() {
            "null" => self.nulls = true,
            text => match plain(text) {
                Some(count) => self.most = self.most.max(count),
                None => self.odd = true,
            },
        }
    }

    pub(super) fn is_there(&self) -> bool {
        self.times > 0
    }

    /// The largest number, whatever else there is.
    pub(super) fn most(&self) -> u64 {
        self.most
    }

    /// Whether an upstream may take something of it for no number, or for another one.
    pub(super) fn is_doubtful(&self) -> bool {
        self.odd || self.nulls && self.times > 1
    }

    /// The number, if no upstream can take another.
    pub(super) fn known(&self) -> Option<u64> {
        (self.most > 0 && !self.is_doubtful()).then_some(self.most)
    }

    /// The number; if there is one that cannot be read, this much at the least. `None` if nothing is said.
    pub(super) fn or_odd(&self, odd: u64) -> Option<u64> {
        match (self.odd, self.most) {
            (true, most) => Some(most.max(odd)),
            (false, 0) => None,
            (false, most) => Some(most),
        }
    }

    /// Whether it can be no more than this.
    pub(super) fn none_beyond(&self, limit: u64) -> bool {
        !self.odd && self.most <= limit
    }
}
