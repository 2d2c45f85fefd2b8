//! Something for each combination of values, found without making a key of them.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;

use crate::counter::Values;

#[derive(Debug)]
pub(super) struct ByValues<T> {
    entries: HashTable<(Values, T)>,
    hasher: RandomState,
}

impl<T> Default for ByValues<T> {
    fn default() -> Self {
        Self {
            entries: HashTable::new(),
            hasher: RandomState::new(),
        }
    }
}

impl<T> ByValues<T> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Values, &T)> {
        self.entries.iter().map(|(values, of)| (values, of))
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.entries.retain(|(_, of)| keep(of));
    }

    pub(super) fn find(&mut self, values: &[Option<&str>]) -> Option<&mut T> {
        let hash = self.hasher.hash_one(values);
        let is = |(known, _): &(Values, T)| is(known, values);
        self.entries.find_mut(hash, is).map(|(_, of)| of)
    }

    /// What there is for these values; made if there is nothing.
    pub(super) fn of(&mut self, values: &[Option<&str>], make: impl FnOnce() -> T) -> &mut T {
        let Self { entries, hasher } = self;
        let hash = hasher.hash_one(values);
        let again = |(known, _): &(Values, T)| {
            let known: Vec<Option<&str>> = known.iter().map(Option::as_deref).collect();
            hasher.hash_one(known.as_slice())
        };
        let entry = entries.entry(hash, |(known, _)| is(known, values), again);
        let made = || {
            let owned: Arc<_> = values.iter().map(|value| value.map(Box::from)).collect();
            (owned, make())
        };
        &mut entry.or_insert_with(made).into_mut().1
    }
}

fn is(known: &Values, values: &[Option<&str>]) -> bool {
    known.iter().map(Option::as_deref).eq(values.iter().copied())
}
