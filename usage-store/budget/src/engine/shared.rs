//! The engine where gateways share budgets: when a call waits for more of one, and what a pool is asked and answers.
//!
//! Whoever speaks to the pool takes [questions](Engine::asks), brings them there, and brings back [replies](Engine::replied); nothing here waits.

use std::future::Future;
use std::sync::Arc;

use futures::future::join_all;
use tollgate_record::Name;
use tollgate_record::admission::{NotShared, Pending, Refusal};

use super::{Call, Engine, HashMap, Lacked, Match, State, rolling_us};
use crate::counter::{Counter, Slot};
use crate::decide::{self, WorstCase};
use crate::lease::Lack;
use crate::pool::{Ask, OnOutage, Reach, Reply};
use crate::rules::{BudgetRule, Rules};
use crate::sharing::Sharing;
use crate::window::Span;

/// What is to be known of leases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    /// Counters that a lease is kept of.
    pub count: u64,
    /// Of those, counters that something is granted of.
    pub granted: u64,
    /// Gateways that the pool has heard lately.
    pub live: u64,
}

/// What rows of other gateways come to on a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The counter's values, in the order of the budget's `per`.
    pub values: Vec<Option<Box<str>>>,
    /// Each gateway (`instance`) with the sum over its rows in the window.
    pub others: Vec<(Name, i128)>,
}

impl Engine {
    /// From now on counters of budgets that refuse are shared with other gateways, out of a pool that is out of reach until the [first reply](Self::replied).
    /// To be called before the first rules are installed.
    ///
    /// `wake` is called when there are questions; it must not wait, and not call the engine. `clock` tells microseconds that never go back. `seq`
    /// is greater than the number of every question of this gateway before: its clock at the start in microseconds.
    pub fn share(&self, outage: OnOutage, seq: u64, clock: Arc<dyn Fn() -> i64 + Send + Sync>, wake: Arc<dyn Fn() + Send + Sync>) {
        self.lock().sharing = Some(Box::new(Sharing::new(wake, clock, outage, seq)));
    }

    /// Waits for the answers that a call waits for.
    pub fn granted(&self, pending: &Pending) -> impl Future<Output = ()> + Send + 'static {
        let sharing = &self.lock().sharing;
        let answered = sharing.as_ref().map(|sharing| sharing.answered(&pending.tickets));
        async move {
            join_all(answered.into_iter().flatten()).await;
        }
    }

    /// The next questions, at most so many. Each has to be answered, by [`Engine::replied`] or [`Engine::lost`].
    pub fn asks(&self, most: usize) -> Vec<Ask> {
        let State { sharing, counters, .. } = &mut *self.lock();
        sharing.as_mut().map_or(Vec::new(), |sharing| sharing.asks(counters, most))
    }

    /// Looks at some of the leases: what is not used is to be given back, and what the pool may forget to be renewed. To be called about once a second.
    pub fn tend(&self, most: usize) {
        let State { sharing, counters, .. } = &mut *self.lock();
        if let Some(sharing) = sharing {
            sharing.visit(counters, most);
        }
    }

    /// The pool has answered these questions, none of which it left out.
    pub fn replied(&self, asks: &[Ask], reply: &Reply) {
        let State { sharing, counters, .. } = &mut *self.lock();
        let Some(sharing) = sharing else { return };
        sharing.live = reply.live.max(1);
        let in_grace = reply.grace_ms > 0;
        sharing.reach = match in_grace {
            true => Reach::Fresh(reply.grace_ms.saturating_mul(1000)),
            false => Reach::Up,
        };
        let answers = reply.answers.as_deref().unwrap_or_default();
        sharing.answer(counters, asks, |place| answers.get(place).copied(), in_grace);
    }

    /// These questions were not answered; the pool is out of reach.
    pub fn lost(&self, asks: &[Ask]) {
        let State { sharing, counters, .. } = &mut *self.lock();
        let Some(sharing) = sharing else { return };
        sharing.reach = Reach::Away;
        sharing.answer(counters, asks, |_| None, false);
    }

    /// The pool has another epoch: it is to be told everything that is held.
    pub fn tell_all(&self) {
        let State { sharing, counters, .. } = &mut *self.lock();
        if let Some(sharing) = sharing {
            sharing.tell_all(counters);
        }
    }

    /// Everything that no call needs is to be given back: the gateway ends. Says whether there are questions to be asked still.
    pub fn give_back(&self) -> bool {
        let State { sharing, counters, .. } = &mut *self.lock();
        let Some(sharing) = sharing else { return false };
        sharing.give_back(counters);
        sharing.is_busy()
    }

    /// What rows of other gateways come to on the counters of a window, by gateway, as far as they were read: what is not named is nothing. Rows of gateways that the
    /// pool does not know count by this alone. Where budgets are not shared, it does nothing.
    pub fn saw(&self, rule: &BudgetRule, span: Span, seen: Vec<Seen>) {
        let state = &mut *self.lock();
        if state.sharing.is_none() || !rule.is_shared() {
            return;
        }
        let mut by_slot: HashMap<Slot, Vec<(Name, i128)>> = HashMap::default();
        for Seen { values, others } in seen {
            let slot = state.counters.of_values(rule.id, span, &values, rolling_us(&rule.budget));
            state.ensure(rule, slot);
            by_slot.insert(slot, others);
        }
        let State { sharing, counters, .. } = state;
        let Some(sharing) = sharing else { return };
        let of_window = |counter: &&Counter| counter.rule == rule.id && (counter.rolling.is_some() || counter.span == span);
        for counter in counters.iter().filter(of_window) {
            if let Some(lease) = sharing.of_mut(counter) {
                lease.set_seen(by_slot.remove(&lease.slot).unwrap_or_default().into());
            }
        }
    }

    /// Whether the pool answers; `None` where budgets are not shared.
    pub fn reach(&self) -> Option<Reach> {
        self.lock().sharing.as_ref().map(|sharing| sharing.reach)
    }

    /// What is to be known of leases; `None` where budgets are not shared.
    pub fn leases(&self) -> Option<Leases> {
        let state = self.lock();
        let sharing = state.sharing.as_ref()?;
        Some(Leases {
            count: sharing.count() as u64,
            granted: sharing.iter().filter(|lease| lease.granted() > 0).count() as u64,
            live: sharing.live,
        })
    }
}

impl State {
    /// Gives the counters of a call leases, where gateways share them.
    #[inline(never)]
    pub(super) fn share(&mut self, matched: &[(&BudgetRule, Slot)]) -> Result<(), Refusal> {
        let Self { sharing, counters, .. } = self;
        let Some(sharing) = sharing else { return Ok(()) };
        for (rule, slot) in matched.iter().filter(|(rule, _)| rule.is_shared()) {
            if (sharing.outage, sharing.reach) == (OnOutage::Refuse, Reach::Away) {
                return Err(decide::unshared(rule, NotShared::Away));
            }
            sharing.ensure(rule, counters, *slot);
        }
        Ok(())
    }

    /// A row was counted.
    #[inline(never)]
    pub(super) fn posted(&mut self, rule: &BudgetRule, slot: Slot) {
        if self.sharing.is_none() || !rule.is_shared() {
            return;
        }
        self.ensure(rule, slot);
        let Self { sharing, counters, .. } = self;
        if let Some((sharing, counter)) = sharing.as_mut().zip(counters.get(slot)) {
            sharing.posted(counter);
        }
    }

    fn ensure(&mut self, rule: &BudgetRule, slot: Slot) {
        let Self { sharing, counters, .. } = self;
        if let Some(sharing) = sharing {
            sharing.ensure(rule, counters, slot);
        }
    }

    pub(super) fn forget_leases(&mut self) {
        let Self { sharing, counters, .. } = self;
        if let Some(sharing) = sharing {
            sharing.retain(counters);
        }
    }

    pub(super) fn set_limits(&mut self, rules: &Rules) {
        let Self { sharing, counters, .. } = self;
        if let Some(sharing) = sharing {
            let by_id: std::collections::HashMap<_, _> = rules.budgets.iter().map(|rule| (rule.id, rule)).collect();
            sharing.set_limits(counters, |counter| by_id.get(&counter.rule).copied());
        }
    }

    /// Whether what was granted is enough.
    #[inline(never)]
    pub(super) fn covers(&self, found: &Match<'_>, counter: &Counter) -> bool {
        let Some(sharing) = self.sharing.as_ref().filter(|_| found.rule.is_shared()) else {
            return true;
        };
        decide::all(found.rule, counter, found.need).is_none_or(|all| sharing.covers(counter, all))
    }

    /// What a call lacks that may be had, of budgets that do not let it pass as it is: nothing, if one of them does not whatever is granted. `least` is the
    /// least to which the call can be limited.
    #[inline(never)]
    pub(super) fn lacks<'r>(&self, tight: &[&Match<'r>], call: &Call<'_>, least: Option<&WorstCase>) -> Vec<Lacked<'r>> {
        let mut lacks = Vec::new();
        let Some(sharing) = self.sharing.as_ref().filter(|sharing| sharing.reach == Reach::Up) else {
            return lacks;
        };
        for found in tight {
            let Some(counter) = self.counters.get(found.slot) else {
                continue;
            };
            let least = least.and_then(|worst| decide::need(found.rule, worst, call.bounds.later, &self.recent, call.key).ok());
            let need = least.unwrap_or(found.need);
            if !decide::fits(found.rule, counter, need) {
                return Vec::new();
            }
            // The rows allow it.
            let all = decide::all(found.rule, counter, need).filter(|_| found.rule.is_shared());
            let (Some(all), Some(wish)) = (all, decide::all(found.rule, counter, found.need)) else {
                continue;
            };
            // What can be limited does not wait for what nobody can have.
            let wish = match least {
                Some(_) => wish.min(sharing.limit(counter) - counter.others).max(all),
                None => wish,
            };
            if sharing.covers(counter, wish) {
                continue;
            }
            let askable = |all| sharing.lack(counter, all) == Lack::Askable;
            match (askable(wish) || !sharing.covers(counter, all) && askable(all), least) {
                (true, _) => {
                    let base = counter.own.saturating_add(counter.reserved);
                    lacks.push(Lacked {
                        rule: found.rule,
                        slot: found.slot,
                        least: all.saturating_sub(base),
                        wish: wish.saturating_sub(base),
                    });
                }
                // It can be limited to what there is.
                (false, Some(_)) => {}
                (false, None) => return Vec::new(),
            }
        }
        lacks
    }

    /// Asks for what a call lacks.
    pub(super) fn pend(&mut self, lacks: &[Lacked<'_>]) -> Refusal {
        let Self { sharing, counters, .. } = self;
        let mut pending = Pending {
            budget: lacks
                .first()
                .expect("a call that waits lacks something")
                .rule
                .budget
                .name
                .clone(),
            tickets: Vec::with_capacity(lacks.len()),
        };
        for lacked in lacks {
            if let (Some(sharing), Some(counter)) = (sharing.as_mut(), counters.get(lacked.slot)) {
                pending.tickets.extend(sharing.join(counter, lacked.least, lacked.wish));
            }
        }
        Refusal::Pending(pending)
    }

    /// Why more of a budget cannot be asked for, where that is what a call lacks.
    pub(super) fn unshared(&self, found: &Match<'_>, counter: &Counter) -> Option<NotShared> {
        let sharing = self.sharing.as_ref().filter(|_| found.rule.is_shared())?;
        let lacks_only_that = decide::fits(found.rule, counter, found.need) && !self.covers(found, counter);
        not_reached(sharing.reach).filter(|_| lacks_only_that)
    }

    /// What other gateways were granted of a budget beyond what their rows show.
    pub(super) fn elsewhere(&self, found: &Match<'_>, counter: &Counter) -> i128 {
        let sharing = self.sharing.as_ref().filter(|_| found.rule.is_shared());
        let lease = sharing.and_then(|sharing| sharing.of(counter));
        lease.map_or(0, |lease| lease.elsewhere(counter))
    }
}

const fn not_reached(reach: Reach) -> Option<NotShared> {
    match reach {
        Reach::Up => None,
        Reach::Away => Some(NotShared::Away),
        Reach::Fresh(us) => Some(NotShared::Fresh(us)),
    }
}
