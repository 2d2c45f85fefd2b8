//! All leases of a gateway: which there are, and what is to be asked about them.
//!
//! Every lease is in a queue of questions once at most, so the queues are no longer than there are leases. Questions that calls wait for come first.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::counter::{Counter, Counters, Slot};
use crate::lease::{Answered, Answering, Lack, Lease, Queued};
use crate::pool::{Answer, Ask, OnOutage, Reach};
use crate::rules::BudgetRule;

/// What the leases of an engine are kept with.
pub(crate) struct Sharing {
    wake: Arc<dyn Fn() + Send + Sync>,
    clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    pub(crate) outage: OnOutage,
    pub(crate) reach: Reach,
    pub(crate) live: u64,
    /// The number of the last question.
    seq: u64,
    leases: Vec<Option<Lease>>,
    free: Vec<u32>,
    now: VecDeque<u32>,
    later: VecDeque<u32>,
    /// Where the next look begins.
    next: usize,
}

impl Sharing {
    pub(crate) fn new(
        wake: Arc<dyn Fn() + Send + Sync>,
        clock: Arc<dyn Fn() -> i64 + Send + Sync>,
        outage: OnOutage,
        seq: u64,
    ) -> Self {
        Self {
            wake,
            clock,
            outage,
            reach: Reach::Away,
            live: 1,
            seq,
            leases: Vec::new(),
            free: Vec::new(),
            now: VecDeque::new(),
            later: VecDeque::new(),
            next: 0,
        }
    }

    pub(crate) fn now(&self) -> i64 {
        (self.clock)()
    }

    /// The lease of a counter; every one has a lease once it is looked at.
    pub(crate) fn of(&self, counter: &Counter) -> Option<&Lease> {
        self.get(counter.lease)
    }

    pub(crate) fn of_mut(&mut self, counter: &Counter) -> Option<&mut Lease> {
        self.get_mut(counter.lease)
    }

    fn get(&self, lease: u32) -> Option<&Lease> {
        self.leases.get((lease as usize).checked_sub(1)?).and_then(Option::as_ref)
    }

    fn get_mut(&mut self, lease: u32) -> Option<&mut Lease> {
        self.leases.get_mut((lease as usize).checked_sub(1)?).and_then(Option::as_mut)
    }

    pub(crate) fn count(&self) -> usize {
        self.leases.len() - self.free.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.leases.iter().flatten()
    }

    /// Gives a counter a lease, if it has none.
    pub(crate) fn ensure(&mut self, rule: &BudgetRule, counters: &mut Counters, slot: Slot) {
        let Some(counter) = counters.get_mut(slot).filter(|counter| counter.lease == 0) else {
            return;
        };
        let lease = Lease::new(rule, counter, slot);
        counter.lease = match self.free.pop() {
            Some(lease) => lease,
            None => {
                self.leases.push(None);
                u32::try_from(self.leases.len()).expect("memory ends before four billion counters")
            }
        };
        if let Some(place) = self.leases.get_mut(counter.lease as usize - 1) {
            *place = Some(lease);
        }
    }

    /// Forgets the leases of counters that are gone.
    pub(crate) fn retain(&mut self, counters: &Counters) {
        for (lease, place) in (1..).zip(&mut self.leases) {
            let slot = place.as_ref().map(|lease| lease.slot);
            let there = slot.and_then(|slot| counters.get(slot)).map(|counter| counter.lease);
            if slot.is_some() && there != Some(lease) {
                *place = None;
                self.free.push(lease);
            }
        }
    }

    /// Whether a call that needs so much in all has it, as far as it was granted.
    pub(crate) fn covers(&self, counter: &Counter, all: i128) -> bool {
        self.of(counter).is_some_and(|lease| lease.covers(all))
    }

    /// The limit of a counter in whole quanta, in its units.
    pub(crate) fn limit(&self, counter: &Counter) -> i128 {
        self.of(counter).map_or(i128::MAX, Lease::limit)
    }

    /// What can still be used of a counter here, as far as is known.
    pub(crate) fn left(&self, counter: &Counter) -> i128 {
        let room = self.of(counter).and_then(Lease::room);
        room.map_or(i128::MAX, |room| room - counter.own - counter.reserved)
    }

    /// Whether more of a counter can be had.
    pub(crate) fn lack(&self, counter: &Counter, all: i128) -> Lack {
        self.of(counter).map_or(Lack::Askable, |lease| lease.lack(all, self.now()))
    }

    /// Asks for more, for a call that waits; says what it waits for.
    pub(crate) fn join(&mut self, counter: &Counter, least: i128, wish: i128) -> Option<(u32, u64)> {
        let lease = self.of_mut(counter)?;
        let generation = lease.join(least, wish);
        if !lease.in_flight() {
            self.queue(counter.lease, Queued::Now);
        }
        Some((counter.lease, generation))
    }

    /// What calls wait for that were told these numbers.
    pub(crate) fn answered(&self, tickets: &[(u32, u64)]) -> Vec<Answered> {
        let of = |(lease, generation): &(u32, u64)| self.get(*lease)?.answered(*generation);
        tickets.iter().filter_map(of).collect()
    }

    /// A call was let pass.
    pub(crate) fn took(&mut self, counter: &Counter) {
        let (live, clock) = (self.live, Arc::clone(&self.clock));
        let refills = self.reach == Reach::Up;
        let Some(lease) = self.of_mut(counter) else { return };
        if lease.took(counter, live, &*clock) && refills {
            self.queue(counter.lease, Queued::Refill);
        }
    }

    /// A row was posted.
    pub(crate) fn posted(&mut self, counter: &Counter) {
        if self.of(counter).is_some_and(|lease| lease.is_exceeded(counter)) {
            self.queue(counter.lease, Queued::Later);
        }
    }

    /// The limit of a rule has changed, maybe.
    pub(crate) fn set_limits<'r>(&mut self, counters: &Counters, rule_of: impl Fn(&Counter) -> Option<&'r BudgetRule>) {
        let all = (1..).zip(&mut self.leases);
        let changed = all.filter_map(|(number, lease)| {
            let lease = lease.as_mut()?;
            let counter = counters.get(lease.slot)?;
            lease.set_limit(rule_of(counter)?, counter).then_some(number)
        });
        let changed: Vec<u32> = changed.collect();
        changed.into_iter().for_each(|lease| self.queue(lease, Queued::Later));
    }

    /// Looks at some of the leases: what is to be given back, renewed or told.
    pub(crate) fn visit(&mut self, counters: &Counters, most: usize) {
        let (now, reached) = (self.now(), self.reach == Reach::Up);
        for _ in 0..most.min(self.leases.len()) {
            let place = self.next % self.leases.len();
            self.next = place + 1;
            let live = self.live;
            let Some(lease) = self.leases.get_mut(place).and_then(Option::as_mut) else {
                continue;
            };
            let Some(counter) = counters.get(lease.slot) else { continue };
            if lease.visit(counter, live, reached, now) {
                self.queue(counter.lease, Queued::Later);
            }
        }
    }

    /// Everything that is held has to be told: the pool may not know it.
    pub(crate) fn tell_all(&mut self, counters: &Counters) {
        for lease in 1..=u32::try_from(self.leases.len()).unwrap_or(u32::MAX) {
            let holds = self.get(lease).is_some_and(|lease| {
                let counter = counters.get(lease.slot);
                lease.holds_anything() || counter.is_some_and(|counter| lease.is_exceeded(counter))
            });
            if holds {
                self.queue(lease, Queued::Later);
            }
        }
    }

    /// Everything that is not used is given back.
    pub(crate) fn give_back(&mut self, counters: &Counters) {
        for number in 1..=u32::try_from(self.leases.len()).unwrap_or(u32::MAX) {
            let Some(lease) = self.get_mut(number) else { continue };
            let Some(counter) = counters.get(lease.slot) else { continue };
            if !lease.in_flight() && lease.give_back(counter) {
                self.queue(number, Queued::Later);
            }
        }
    }

    /// The next questions. Each counts as being under way until it is answered.
    pub(crate) fn asks(&mut self, counters: &Counters, most: usize) -> Vec<Ask> {
        let (now, live) = (self.now(), self.live);
        let mut asks = Vec::new();
        while asks.len() < most {
            let (number, of) = match (self.now.pop_front(), &mut self.later) {
                (Some(number), _) => (number, Queued::Now),
                (None, later) => match later.pop_front() {
                    Some(number) => (number, Queued::Later),
                    None => break,
                },
            };
            let seq = self.seq + 1;
            let Some(lease) = self.get_mut(number) else { continue };
            let queued = lease.queued;
            let stale = match of {
                Queued::Later => queued == Queued::No || queued == Queued::Now,
                _ => queued != Queued::Now,
            };
            if stale || lease.in_flight() {
                continue;
            }
            let Some(counter) = counters.get(lease.slot) else { continue };
            let refills = queued == Queued::Refill;
            asks.push(lease.ask(counter, number, seq, live, refills, now));
            self.seq = seq;
        }
        asks
    }

    /// Takes answers; `None` for a question that got none.
    pub(crate) fn answer(&mut self, counters: &Counters, asks: &[Ask], answer: impl Fn(usize) -> Option<Answer>, in_grace: bool) {
        let now = self.now();
        for (place, ask) in asks.iter().enumerate() {
            let answer = answer(place);
            if let Some(Answer::Overtaken(seq)) = answer {
                self.seq = self.seq.max(seq);
            }
            let Some(lease) = self.get_mut(ask.lease) else { continue };
            let Some(counter) = counters.get(lease.slot) else { continue };
            let came = lease.answer(counter, ask.seq, answer, in_grace, now);
            if came == Answering::Old {
                continue;
            }
            // What came up meanwhile has left its queue, perhaps.
            let meanwhile = std::mem::replace(&mut lease.queued, Queued::No);
            let then = match came {
                Answering::Old | Answering::Done => Queued::No,
                Answering::Again => Queued::Now,
                Answering::Lost => Queued::Later,
            };
            self.queue(ask.lease, then.max(meanwhile));
        }
    }

    /// Whether questions are to be asked, or under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.leases
            .iter()
            .flatten()
            .any(|lease| lease.in_flight() || lease.queued != Queued::No)
    }

    fn queue(&mut self, number: u32, to: Queued) {
        let Some(lease) = self.get_mut(number) else { return };
        if lease.queued >= to {
            return;
        }
        let was = std::mem::replace(&mut lease.queued, to);
        match (was, to) {
            (_, Queued::Now) => self.now.push_back(number),
            (Queued::No, _) => self.later.push_back(number),
            _ => return,
        }
        if self.reach != Reach::Away {
            (self.wake)();
        }
    }
}
