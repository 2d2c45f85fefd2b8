//! A pool in this process, which says what every pool has to answer: simulations ask it, and pools over a network are compared with it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use tollgate_record::Name;

use super::{Answer, Ask, Keep, PoolKey, Reply};

/// How much of the time of grace begins anew when a gateway says what it holds.
const EXTENDED: u64 = 2;

/// A pool in memory.
pub struct Memory {
    grace_ms: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    epochs: u64,
    grace_until_ms: u64,
    members: HashMap<Name, u64>,
    counters: HashMap<PoolKey, Counter>,
}

struct Counter {
    shares: BTreeMap<Name, Share>,
    forgotten_ms: u64,
}

#[derive(Clone, Copy, Default)]
struct Share {
    granted: u64,
    seq: u64,
    heard_ms: u64,
}

impl Memory {
    /// A pool that grants nothing for so long after its beginning.
    pub fn new(grace_ms: u64) -> Self {
        Self {
            grace_ms,
            state: Mutex::default(),
        }
    }

    /// Forgets everything.
    pub fn flush(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State {
            epochs: state.epochs,
            ..State::default()
        };
    }

    /// Answers a gateway that believes in this epoch.
    pub fn ask(&self, instance: &Name, epoch: &str, asks: &[Ask], now_ms: u64) -> Reply {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.grace_until_ms == 0 {
            state.epochs += 1;
            state.grace_until_ms = now_ms + self.grace_ms;
        }
        state.members.insert(instance.clone(), now_ms);
        let lately = now_ms.saturating_sub(self.grace_ms);
        state.members.retain(|_, heard_ms| *heard_ms >= lately);
        let named = state.epochs.to_string();
        let mut reply = Reply {
            grace_ms: state.grace_until_ms.saturating_sub(now_ms),
            live: state.members.len() as u64,
            answers: None,
            epoch: named,
        };
        if reply.epoch != epoch {
            return reply;
        }
        let in_grace = reply.grace_ms > 0;
        reply.answers = Some(asks.iter().map(|ask| state.answer(instance, ask, in_grace, now_ms)).collect());
        if in_grace && asks.iter().any(|ask| ask.holds > 0) {
            state.grace_until_ms = state.grace_until_ms.max(now_ms + self.grace_ms / EXTENDED);
            reply.grace_ms = state.grace_until_ms - now_ms;
        }
        reply
    }

    /// What all gateways were granted of a counter together.
    pub fn granted(&self, key: PoolKey) -> u64 {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let shares = state.counters.get(&key).map(|counter| counter.shares.values());
        shares.into_iter().flatten().map(|share| share.granted).sum()
    }
}

impl State {
    fn answer(&mut self, instance: &Name, ask: &Ask, in_grace: bool, now_ms: u64) -> Answer {
        self.counters.retain(|_, counter| counter.forgotten_ms > now_ms);
        let counter = self.counters.entry(ask.key).or_insert_with(|| Counter {
            shares: BTreeMap::new(),
            forgotten_ms: 0,
        });
        if let Keep::Unheard(keep_ms) = ask.keep {
            let since = now_ms.saturating_sub(keep_ms.unsigned_abs());
            counter
                .shares
                .retain(|name, share| name == instance || share.heard_ms >= since);
        }
        let mut others: BTreeMap<&Name, u64> = BTreeMap::new();
        for (name, share) in &counter.shares {
            others.insert(name, share.granted);
        }
        for (name, seen) in &ask.seen {
            let known = others.entry(name).or_default();
            *known = (*known).max(*seen);
        }
        others.remove(instance);
        let others: u64 = others.values().sum();
        let mine = counter.shares.get(instance).copied().unwrap_or_default();
        if mine.seq >= ask.seq {
            return Answer::Overtaken(mine.seq);
        }
        let room = ask.limit.saturating_sub(others);
        let mut granted = ask.holds;
        if !in_grace && ask.want > granted && room >= ask.need {
            granted = granted.max(ask.want.min(room));
        }
        let share = Share {
            granted,
            seq: ask.seq,
            heard_ms: now_ms,
        };
        counter.shares.insert(instance.clone(), share);
        counter.forgotten_ms = match ask.keep {
            Keep::Until(at_ms) => at_ms.unsigned_abs(),
            Keep::Unheard(keep_ms) => now_ms + keep_ms.unsigned_abs(),
        };
        Answer::Granted { granted, room }
    }
}
