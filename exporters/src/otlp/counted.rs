//! Which rows have been added to totals, so that a row that is delivered again is not added again.
//!
//! A row's place is (instance, seq). A batch holds rows of an instance in the order of `seq`, and no other batch lies between: so of each batch the
//! range from its first to its last row is kept. Batches may come in any order, and halves of one as the runner splits it.

use std::collections::{BTreeMap, HashMap};

/// The most ranges that are kept of an instance; beyond it the two lowest become one. Rows so far behind have long been delivered, or never pass.
const RANGES_MAX: usize = 1024;

/// Ranges of places, inclusive, apart from each other.
#[derive(Debug, Default)]
pub(super) struct Counted(HashMap<String, BTreeMap<i64, i64>>);

// === impl Counted ===

impl Counted {
    /// Whether a row has been counted.
    pub(super) fn has(&self, instance: &str, seq: i64) -> bool {
        let range = self.0.get(instance).and_then(|ranges| ranges.range(..=seq).next_back());
        range.is_some_and(|(_, end)| seq <= *end)
    }

    /// Notes that all rows from one place to another have been counted.
    pub(super) fn note(&mut self, instance: &str, first: i64, last: i64) {
        let ranges = self.0.entry(instance.to_owned()).or_default();
        let (mut first, mut last) = (first, last);
        while let Some((start, end)) = ranges
            .range(..=last.saturating_add(1))
            .next_back()
            .map(|(start, end)| (*start, *end))
        {
            if end < first.saturating_sub(1) {
                break;
            }
            ranges.remove(&start);
            (first, last) = (first.min(start), last.max(end));
        }
        ranges.insert(first, last);
        if ranges.len() > RANGES_MAX
            && let Some((start, _)) = ranges.pop_first()
            && let Some((_, end)) = ranges.pop_first()
        {
            ranges.insert(start, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_counted_once_in_whatever_order_batches_come() {
        let mut counted = Counted::default();
        counted.note("a", 11, 20);
        counted.note("a", 31, 40);
        assert!(counted.has("a", 11) && counted.has("a", 20) && counted.has("a", 35));
        assert!(!counted.has("a", 10) && !counted.has("a", 21) && !counted.has("a", 41) && !counted.has("b", 11));
        counted.note("a", 1, 10);
        counted.note("a", 21, 30);
        assert_eq!(counted.0["a"], BTreeMap::from([(1, 40)]));
        counted.note("a", 5, 8);
        assert_eq!(counted.0["a"], BTreeMap::from([(1, 40)]));
    }

    #[test]
    fn gaps_do_not_pile_up() {
        let mut counted = Counted::default();
        for batch in 0..3000 {
            counted.note("a", batch * 10, batch * 10 + 5);
        }
        assert_eq!(counted.0["a"].len(), RANGES_MAX);
        assert!(counted.has("a", 7) && counted.has("a", 29_995) && !counted.has("a", 29_997));
    }
}
