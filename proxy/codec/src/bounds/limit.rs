//! The limit on an answer's tokens, as it stands in a body, or could be put there.

use super::counted::Counted;

/// What was seen of the limit on an answer's tokens.
#[derive(Debug, Default)]
pub(super) struct LimitSeen {
    /// It stands inside of objects.
    pub(super) is_inside: bool,
    /// Values of the objects' names.
    pub(super) places: u64,
    /// Objects without any limit.
    pub(super) room: u64,
    pub(super) most: u64,
    /// An upstream may take another limit than is told here.
    pub(super) doubtful: bool,
}

// === impl LimitSeen ===

impl LimitSeen {
    /// Takes the limits of an object that may have some.
    pub(super) fn close(&mut self, found: &[Counted; 2], reads_both: bool) {
        let [first, second] = found;
        self.most = self.most.max(first.most()).max(second.most());
        if !first.is_there() && !second.is_there() {
            self.room += 1;
        } else {
            let is_held = first.known().is_some() || reads_both && second.known().is_some();
            self.doubtful |= first.is_doubtful() || second.is_doubtful() || !is_held;
        }
    }

    /// Whether it would be written into the body.
    pub(super) fn can_be_given(&self) -> bool {
        self.room > 0 || self.is_inside && self.places == 0
    }

    /// The limit, if it holds; `given` is the one that is written where there is none.
    pub(super) fn held(&self, given: Option<u64>) -> Option<u64> {
        if self.doubtful {
            return None;
        }
        if self.can_be_given() {
            return given.map(|given| given.max(self.most));
        }
        (self.most > 0).then_some(self.most)
    }
}
