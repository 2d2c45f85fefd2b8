//! What calls of a key came to lately, for budgets that set aside what is expected.

use std::collections::HashMap;

use tollgate_record::{Name, Record};

/// Calls of a key that are remembered.
const CALLS: usize = 64;
/// Calls of a key below which nothing is expected: the worst case is set aside.
const CALLS_MIN: usize = 8;
/// Keys that are remembered; of further ones the worst case is set aside.
const KEYS: usize = 10_000;

/// Shares of the worst case that calls came to, by key.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    keys: HashMap<Name, Ring>,
}

/// What the last calls came to.
#[derive(Debug, Default)]
struct Ring {
    /// Cost in 10^-12, input tokens, output tokens.
    calls: Vec<[i128; 3]>,
    next: usize,
}

/// Of what something is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Cost,
    Input,
    Output,
    Total,
}

impl Recent {
    pub(crate) fn note(&mut self, record: &Record) {
        if record.outcome.is_refused() || record.corrects.is_some() {
            return;
        }
        let key = &record.identity.key_id;
        if !self.keys.contains_key(key) {
            if self.keys.len() >= KEYS {
                return;
            }
            self.keys.insert(key.clone(), Ring::default());
        }
        let Some(ring) = self.keys.get_mut(key) else { return };
        let tokens = |count: Option<u64>| i128::from(count.unwrap_or(0));
        let cost = record.cost.cost.map_or(0, |cost| cost.units());
        let call = [cost, tokens(record.usage.input), tokens(record.usage.output)];
        match ring.calls.get_mut(ring.next) {
            Some(place) => *place = call,
            None => ring.calls.push(call),
        }
        ring.next = (ring.next + 1) % CALLS;
    }

    /// What 95 of 100 calls of a key did not exceed lately; `None` if too few are known.
    pub(crate) fn expected(&self, key: &Name, of: Of) -> Option<i128> {
        let ring = self.keys.get(key).filter(|ring| ring.calls.len() >= CALLS_MIN)?;
        let value = |[cost, input, output]: &[i128; 3]| match of {
            Of::Cost => *cost,
            Of::Input => *input,
            Of::Output => *output,
            Of::Total => input + output,
        };
        let mut values: Vec<i128> = ring.calls.iter().map(value).collect();
        values.sort_unstable();
        values.get((values.len() * 95).div_ceil(100).saturating_sub(1)).copied()
    }
}
