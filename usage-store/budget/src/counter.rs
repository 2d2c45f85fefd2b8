//! Counters: what was spent of a budget in a window, by each combination of what it is kept apart by.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;
use tollgate_record::rule::Dimension;

use crate::rules::RuleId;
use crate::window::Span;
use crate::{Facts, step_us};

/// The values that a counter is of; shared by the counters of later windows.
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

#[derive(Debug)]
pub(crate) struct Counter {
    pub(crate) rule: RuleId,
    pub(crate) span: Span,
    pub(crate) values: Values,
    pub(crate) own: i128,
    pub(crate) others: i128,
    pub(crate) reserved: i128,
    pub(crate) refused: u64,
    /// Calls that hold something here.
    pub(crate) holds: u32,
    /// The highest alert that was raised in this window, as a place in the budget's list plus one.
    pub(crate) alerted: u16,
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
    index: HashTable<u32>,
    hasher: RandomState,
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
            values: Arc::clone(&self.values),
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
pub(crate) struct Wanted<'a, 'f> {
    pub(crate) rule: RuleId,
    pub(crate) span: Span,
    pub(crate) per: &'a [Dimension],
    pub(crate) facts: &'a Facts<'f>,
    /// Of a rolling window, its length.
    pub(crate) rolling_us: Option<i64>,
}

impl Wanted<'_, '_> {
    /// What tells windows apart: a rolling window is one, whose instants move.
    fn start(&self) -> i64 {
        if self.rolling_us.is_some() { 0 } else { self.span.start }
    }

    fn hash(&self, hasher: &RandomState) -> u64 {
        let mut state = hasher.build_hasher();
        (self.rule, self.start()).hash(&mut state);
        for dimension in self.per {
            self.facts.value(dimension).hash(&mut state);
        }
        state.finish()
    }

    fn is(&self, counter: &Counter) -> bool {
        let values = self.per.iter().map(|dimension| self.facts.value(dimension));
        counter.rule == self.rule && counter.key_start() == self.start() && values.eq(counter.values.iter().map(Option::as_deref))
    }
}

impl Counter {
    fn key_start(&self) -> i64 {
        if self.rolling.is_some() { 0 } else { self.span.start }
    }

    fn hash(&self, hasher: &RandomState) -> u64 {
        hash_of(self.rule, self.key_start(), &self.values, hasher)
    }
}

fn hash_of(rule: RuleId, start: i64, values: &[Option<Box<str>>], hasher: &RandomState) -> u64 {
    let mut state = hasher.build_hasher();
    (rule, start).hash(&mut state);
    for value in values {
        value.as_deref().hash(&mut state);
    }
    state.finish()
}

// === impl Counters ===

impl Counters {
    pub(crate) fn get(&self, slot: Slot) -> Option<&Counter> {
        self.slots.get(slot as usize).and_then(Option::as_ref)
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Counter> {
        self.slots.get_mut(slot as usize).and_then(Option::as_mut)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Counter> {
        self.slots.iter().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Counter> {
        self.slots.iter_mut().flatten()
    }

    /// Where a counter is kept, if there is one.
    pub(crate) fn find(&self, wanted: &Wanted<'_, '_>) -> Option<Slot> {
        let is = |slot: &u32| self.get(*slot).is_some_and(|counter| wanted.is(counter));
        self.index.find(wanted.hash(&self.hasher), is).copied()
    }

    /// Where a counter is kept; it begins with nothing.
    pub(crate) fn find_or_add(&mut self, wanted: &Wanted<'_, '_>) -> Slot {
        if let Some(slot) = self.find(wanted) {
            return slot;
        }
        let values = wanted
            .per
            .iter()
            .map(|dimension| wanted.facts.value(dimension).map(Box::from));
        self.add(wanted.rule, wanted.span, values.collect(), wanted.rolling_us)
    }

    /// The counter of some values.
    pub(crate) fn of_values(&mut self, rule: RuleId, span: Span, values: &[Option<Box<str>>], rolling_us: Option<i64>) -> Slot {
        let start = if rolling_us.is_some() { 0 } else { span.start };
        let is = |slot: &u32| {
            let counter = self.get(*slot);
            counter.is_some_and(|counter| counter.rule == rule && counter.key_start() == start && *counter.values == *values)
        };
        match self.index.find(hash_of(rule, start, values, &self.hasher), is) {
            Some(slot) => *slot,
            None => self.add(rule, span, values.into(), rolling_us),
        }
    }

    fn add(&mut self, rule: RuleId, span: Span, values: Values, rolling_us: Option<i64>) -> Slot {
        let counter = Counter {
            rule,
            span,
            values,
            own: 0,
            others: 0,
            reserved: 0,
            refused: 0,
            holds: 0,
            alerted: 0,
            rolling: rolling_us.map(|length_us| {
                Box::new(Rolling {
                    length_us,
                    steps: VecDeque::new(),
                })
            }),
        };
        let hash = counter.hash(&self.hasher);
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
        let hash_at = |slot: &u32| {
            slots
                .get(*slot as usize)
                .and_then(Option::as_ref)
                .map_or(0, |counter| counter.hash(hasher))
        };
        index.insert_unique(hash, slot, hash_at);
        slot
    }

    /// Forgets the counters that a rule does not want any more.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Counter) -> bool) {
        let gone = self.slots.iter().enumerate().filter_map(|(slot, counter)| {
            let counter = counter.as_ref()?;
            (!keep(counter)).then(|| (slot, counter.hash(&self.hasher)))
        });
        for (slot, hash) in gone.collect::<Vec<_>>() {
            if let Ok(entry) = self.index.find_entry(hash, |at| *at as usize == slot) {
                let (slot, _) = entry.remove();
                self.free.push(slot);
            }
            if let Some(place) = self.slots.get_mut(slot) {
                *place = None;
            }
        }
    }
}
