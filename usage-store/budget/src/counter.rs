//! Counters: what was spent of a budget in a window, by each combination of what it is kept apart by.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::packed::{Packed, pack};
use crate::rules::RuleId;
use crate::step_us;
use crate::window::Span;

/// The values that a counter is of.
pub(crate) type Values = Arc<[Option<Box<str>>]>;

/// A counter as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Of which budget.
    pub rule: RuleId,
    /// The window.
    pub span: Span,
    /// Values of what it is kept apart by, in the order of the budget's `per`.
    pub values: Arc<[Option<Box<str>>]>,
    /// What rows of this gateway add up to.
    pub own: i128,
    /// What rows of others in the same table add up to, as far as they were read.
    pub others: i128,
    /// What is set aside for calls that have not ended.
    pub reserved: i128,
    /// Calls that were refused.
    pub refused: u64,
    /// Of a rolling window: its steps by their first instant, with their sums of own and others' rows.
    pub steps: Vec<(i64, i128, i128)>,
}

/// A sum that was read out of the table, of one combination of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// In the order of the budget's `per`.
    pub values: Vec<Option<Box<str>>>,
    /// Of a rolling window: the first instant of the step; else not looked at.
    pub step: i64,
    /// Of this gateway's rows.
    pub own: i128,
    /// Of others' rows.
    pub others: i128,
}

impl Standing {
    /// A counter of nothing that nothing was spent of.
    pub fn nothing(rule: RuleId, span: Span) -> Self {
        Self {
            rule,
            span,
            values: Arc::from([]),
            own: 0,
            others: 0,
            reserved: 0,
            refused: 0,
            steps: Vec::new(),
        }
    }
}

const _: () = assert!(size_of::<Counter>() <= 128, "a counter lies in two lines of the cache");

/// Two lines of the cache, and no part of a third.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Counter {
    pub(crate) rule: RuleId,
    pub(crate) span: Span,
    pub(crate) key: Packed,
    pub(crate) own: i128,
    pub(crate) others: i128,
    pub(crate) reserved: i128,
    pub(crate) refused: u64,
    /// Calls that hold something here.
    pub(crate) holds: u32,
    /// The highest alert that was raised in this window, as a place in the budget's list plus one.
    pub(crate) alerted: u16,
    /// Of a budget that gateways share: number of the lease; 0 if it has none.
    pub(crate) lease: u32,
    /// Only of rolling windows.
    pub(crate) rolling: Option<Box<Rolling>>,
}

/// The steps of a rolling window that have something, ascending.
#[derive(Debug)]
pub(crate) struct Rolling {
    length_us: i64,
    /// First instant, own, others'.
    steps: VecDeque<(i64, i128, i128)>,
}

/// All counters.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    slots: Vec<Option<Counter>>,
    free: Vec<u32>,
    index: HashTable<Entry>,
    hasher: RandomState,
}

/// Where a counter is kept, and a part of its hash: nearly always enough to know it without looking at it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    tag: u32,
    slot: Slot,
}

/// Where a counter is kept.
pub(crate) type Slot = u32;

impl Counter {
    /// What was spent, by anyone.
    pub(crate) fn spent(&self) -> i128 {
        self.own.saturating_add(self.others)
    }

    /// Adds to what was spent at an instant.
    pub(crate) fn add(&mut self, at: i64, own: i128, others: i128) {
        self.own = self.own.saturating_add(own);
        self.others = self.others.saturating_add(others);
        if let Some(rolling) = &mut self.rolling {
            rolling.add(at, own, others);
        }
    }

    /// Lets a rolling window move on to that of an instant; it never moves back.
    pub(crate) fn advance(&mut self, span: Span) {
        let Some(rolling) = &mut self.rolling else { return };
        if span.end <= self.span.end {
            return;
        }
        self.span = span;
        while let Some((step, own, others)) = rolling.steps.front().copied() {
            if step >= span.start {
                break;
            }
            rolling.steps.pop_front();
            self.own = self.own.saturating_sub(own);
            self.others = self.others.saturating_sub(others);
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        Standing {
            rule: self.rule,
            span: self.span,
            values: self.key.values().map(|value| value.map(Box::from)).collect(),
            own: self.own,
            others: self.others,
            reserved: self.reserved,
            refused: self.refused,
            steps: self
                .rolling
                .as_ref()
                .map_or(Vec::new(), |rolling| rolling.steps.iter().copied().collect()),
        }
    }
}

impl Rolling {
    fn add(&mut self, at: i64, own: i128, others: i128) {
        let width = step_us(self.length_us);
        let step = at.div_euclid(width) * width;
        let place = self.steps.partition_point(|(begin, ..)| *begin < step);
        match self.steps.get_mut(place) {
            Some((begin, of_own, of_others)) if *begin == step => {
                *of_own = of_own.saturating_add(own);
                *of_others = of_others.saturating_add(others);
            }
            _ => self.steps.insert(place, (step, own, others)),
        }
    }

    /// The instant at which the oldest step leaves the window.
    pub(crate) fn eases(&self, span: Span) -> Option<i64> {
        let (oldest, ..) = self.steps.front()?;
        // A step is out when the window's first instant is behind it, and that moves as the window's end does.
        let width = step_us(self.length_us);
        Some(span.end + (oldest - span.start) / width * width)
    }
}

/// A counter's key as a call has it.
pub(crate) struct Wanted<'a> {
    pub(crate) rule: RuleId,
    pub(crate) span: Span,
    /// The values, [packed](pack).
    pub(crate) key: &'a [u8],
    /// Of a rolling window, its length.
    pub(crate) rolling_us: Option<i64>,
}

impl Wanted<'_> {
    /// What tells windows apart: a rolling window is one, whose instants move.
    fn start(&self) -> i64 {
        if self.rolling_us.is_some() { 0 } else { self.span.start }
    }

    fn is(&self, counter: &Counter) -> bool {
        counter.rule == self.rule && counter.key_start() == self.start() && counter.key.bytes() == self.key
    }
}

impl Counter {
    fn key_start(&self) -> i64 {
        if self.rolling.is_some() { 0 } else { self.span.start }
    }

    fn hash(&self, hasher: &RandomState) -> u64 {
        hash_of(self.rule, self.key_start(), self.key.bytes(), hasher)
    }
}

fn hash_of(rule: RuleId, start: i64, key: &[u8], hasher: &RandomState) -> u64 {
    hasher.hash_one((rule, start, key))
}

/// Other bits of a hash than those by which the table finds a place.
const fn tag(hash: u64) -> u32 {
    (hash >> 25) as u32
}

// === impl Counters ===

impl Counters {
    pub(crate) fn get(&self, slot: Slot) -> Option<&Counter> {
        self.slots.get(slot as usize).and_then(Option::as_ref)
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Counter> {
        self.slots.get_mut(slot as usize).and_then(Option::as_mut)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Counter> {
        self.slots.iter().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Counter> {
        self.slots.iter_mut().flatten()
    }

    /// What finds a counter.
    pub(crate) fn hash_of(&self, wanted: &Wanted<'_>) -> u64 {
        hash_of(wanted.rule, wanted.start(), wanted.key, &self.hasher)
    }

    /// Where a counter probably is. Looks at no counter, so that none of several is waited for before the others are asked for.
    pub(crate) fn guess(&self, hash: u64) -> Option<Slot> {
        let tag = tag(hash);
        self.index.find(hash, |entry| entry.tag == tag).map(|entry| entry.slot)
    }

    /// Whether a guess was right.
    pub(crate) fn is(&self, slot: Slot, wanted: &Wanted<'_>) -> bool {
        self.get(slot).is_some_and(|counter| wanted.is(counter))
    }

    /// Where a counter is kept; it begins with nothing.
    pub(crate) fn find_or_add(&mut self, hash: u64, wanted: &Wanted<'_>) -> Slot {
        let tag = tag(hash);
        let is = |entry: &Entry| entry.tag == tag && self.is(entry.slot, wanted);
        match self.index.find(hash, is) {
            Some(entry) => entry.slot,
            None => self.add(hash, wanted),
        }
    }

    /// The counter of some values.
    pub(crate) fn of_values(&mut self, rule: RuleId, span: Span, values: &[Option<Box<str>>], rolling_us: Option<i64>) -> Slot {
        let mut key = Vec::new();
        pack(values.iter().map(Option::as_deref), &mut key);
        let wanted = Wanted {
            rule,
            span,
            key: &key,
            rolling_us,
        };
        self.find_or_add(self.hash_of(&wanted), &wanted)
    }

    fn add(&mut self, hash: u64, wanted: &Wanted<'_>) -> Slot {
        let counter = Counter {
            rule: wanted.rule,
            span: wanted.span,
            key: Packed::from(wanted.key),
            own: 0,
            others: 0,
            reserved: 0,
            refused: 0,
            holds: 0,
            alerted: 0,
            lease: 0,
            rolling: wanted.rolling_us.map(|length_us| {
                Box::new(Rolling {
                    length_us,
                    // Most have one step or two, and would have room for four.
                    steps: VecDeque::with_capacity(1),
                })
            }),
        };
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                u32::try_from(self.slots.len() - 1).expect("memory ends before four billion counters")
            }
        };
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = Some(counter);
        }
        let Self {
            slots, index, hasher, ..
        } = self;
        let hash_at = |entry: &Entry| {
            slots
                .get(entry.slot as usize)
                .and_then(Option::as_ref)
                .map_or(0, |counter| counter.hash(hasher))
        };
        index.insert_unique(hash, Entry { tag: tag(hash), slot }, hash_at);
        slot
    }

    /// Forgets the counters that a rule does not want any more.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Counter) -> bool) {
        let gone = self.slots.iter().enumerate().filter_map(|(slot, counter)| {
            let counter = counter.as_ref()?;
            (!keep(counter)).then(|| (slot, counter.hash(&self.hasher)))
        });
        for (slot, hash) in gone.collect::<Vec<_>>() {
            if let Ok(entry) = self.index.find_entry(hash, |entry| entry.slot as usize == slot) {
                let (entry, _) = entry.remove();
                self.free.push(entry.slot);
            }
            if let Some(place) = self.slots.get_mut(slot) {
                *place = None;
            }
        }
    }
}
