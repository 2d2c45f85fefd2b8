//! The engine: all counters under one lock, what calls hold of them, and the rules in force.

mod choose;
mod ids;
mod shared;

use choose::{Call, Lacked, Match, Refused, Stopped};
use ids::{ByRule, Definition, Ids};
pub use shared::{Leases, Seen};

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use tollgate_record::admission::{Admission, Bounds, Hold, Permit, Refusal, Remaining};
use tollgate_record::rule::{Budget, Dimension, Limit, Rate, RateLimit, Reservation, Window};
use tollgate_record::{CallId, Intent, Name, Record, Timestamp};

use crate::Facts;
use crate::bucket::{Buckets, Key, Taken};
use crate::counter::{Counter, Counters, Slot, Standing, Sum, Wanted};
use crate::decide::Pricing;
use crate::lease::Lease;
use crate::packed::pack;
use crate::recent::Recent;
use crate::rules::{BudgetRule, Matcher, RateRule, RuleId, Rules, limit_units, measure, measured};
use crate::sharing::Sharing;
use crate::window::{Span, span};

/// Alerts that wait to be taken; further ones of the same moment are raised again when their counter moves.
const CROSSINGS: usize = 10_000;

/// Ids are given here, and not by those who call: nobody can choose ones that collide.
type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;
type HashSet<K> = std::collections::HashSet<K, RandomState>;

/// Decides whether calls may pass, and counts what they came to.
pub struct Engine {
    /// By which calls are admitted.
    admitting: ArcSwap<Rules>,
    state: Mutex<State>,
}

struct State {
    /// By which rows are posted: those in force, and those that are about to be.
    posting: Arc<Rules>,
    counters: Counters,
    buckets: Buckets,
    recent: Recent,
    open: HashMap<CallId, Held>,
    crossings: Vec<Crossing>,
    ids: Ids,
    /// Calls that budgets refused.
    refused: u64,
    /// The last window of each budget, since most calls lie in it.
    spans: ByRule<Span>,
    /// Kept for its room.
    sought: Sought,
    /// Only where gateways share budgets.
    sharing: Option<Box<Sharing>>,
}

/// What a call holds.
#[derive(Default)]
struct Held {
    budgets: Vec<(Slot, i128)>,
    rates: Vec<Taken>,
    at: i64,
}

/// A counter that has passed one of its budget's alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// The budget.
    pub budget: Budget,
    /// The percentage, one of the budget's.
    pub percent: u16,
    /// The counter.
    pub standing: Standing,
}

/// Counters that are looked for.
#[derive(Default)]
struct Sought {
    keys: Vec<SoughtKey>,
    /// The values of all of them.
    bytes: Vec<u8>,
    hashes: Vec<u64>,
    guesses: Vec<Option<Slot>>,
}

struct SoughtKey {
    rule: RuleId,
    span: Span,
    rolling_us: Option<i64>,
    bytes: Range<usize>,
}

/// Gives back what a call holds, if it is dropped before the call's row is posted.
struct Ticket {
    engine: Arc<Engine>,
    call_id: CallId,
    kept: bool,
}

struct Nothing;

impl Matcher for Nothing {
    fn matching(&self, _facts: &Facts<'_>) -> Arc<(Vec<u32>, Vec<u32>)> {
        Arc::default()
    }
}

impl Default for Engine {
    fn default() -> Self {
        let rules = Arc::new(Rules {
            budgets: Vec::new(),
            rates: Vec::new(),
            matcher: Arc::new(Nothing),
            wants_recent: false,
        });
        Self {
            admitting: ArcSwap::new(Arc::clone(&rules)),
            state: Mutex::new(State {
                posting: rules,
                counters: Counters::default(),
                buckets: Buckets::default(),
                recent: Recent::default(),
                open: HashMap::default(),
                crossings: Vec::new(),
                ids: Ids::default(),
                refused: 0,
                spans: ByRule::default(),
                sought: Sought::default(),
                sharing: None,
            }),
        }
    }
}

impl Engine {
    /// The rules in force.
    pub fn rules(&self) -> Arc<Rules> {
        self.admitting.load_full()
    }

    /// Numbers rules. Nothing changes yet.
    pub fn number(&self, budgets: Vec<Budget>, rates: Vec<RateLimit>, matcher: Arc<dyn Matcher>) -> Arc<Rules> {
        let mut state = self.lock();
        let wants_recent = budgets.iter().any(|budget| budget.reservation == Reservation::Expected);
        let budgets = budgets.into_iter().map(|budget| BudgetRule {
            id: state.ids.of(Definition::of_budget(&budget)),
            limit: limit_units(&budget.limit),
            budget,
        });
        let budgets = budgets.collect();
        let rates = rates.into_iter().map(|limit| RateRule {
            id: state.ids.of(Definition::of_rate(&limit)),
            limit,
        });
        Arc::new(Rules {
            budgets,
            rates: rates.collect(),
            matcher,
            wants_recent,
        })
    }

    /// From now on rows are posted by these rules too. Says which of their budgets have to be [loaded](Self::load) before calls are held against them: with
    /// what the rows before this instant add up to.
    pub fn collect(&self, rules: &Arc<Rules>) -> Vec<RuleId> {
        let mut state = self.lock();
        let fresh: Vec<_> = rules
            .budgets
            .iter()
            .map(|rule| rule.id)
            .filter(|id| !state.ids.loaded.has(*id))
            .collect();
        // What a load that failed has left.
        state.counters.retain(|counter| !fresh.contains(&counter.rule));
        state.forget_leases();
        state.posting = Arc::clone(rules);
        fresh
    }

    /// Adds what rows of a budget's window at `now` came to before it was collected. Once for each of its windows.
    pub fn load(&self, rule: &BudgetRule, now: Timestamp, sums: &[Sum]) {
        let mut state = self.lock();
        state.ids.loaded.set(rule.id, ());
        let Some(span) = span(&rule.budget.window, now) else { return };
        for sum in sums {
            let slot = state.counters.of_values(rule.id, span, &sum.values, rolling_us(&rule.budget));
            let Some(counter) = state.counters.get_mut(slot) else {
                continue;
            };
            counter.advance(span);
            let at = if counter.rolling.is_some() { sum.step } else { span.start };
            counter.add(at, sum.own, sum.others);
            // An alert was raised when the row that crossed it was posted, by whoever did.
            let alerts = &rule.budget.alerts;
            counter.alerted = alerts.partition_point(|percent| crossed(counter.spent(), rule.limit, *percent)) as u16;
            state.posted(rule, slot);
        }
    }

    /// Holds calls against these rules from now on. Counters of others are forgotten.
    pub fn install(&self, rules: Arc<Rules>) {
        let mut state = self.lock();
        let ids: HashSet<RuleId> = rules.budgets.iter().map(|rule| rule.id).collect();
        state
            .counters
            .retain(|counter| ids.contains(&counter.rule) || counter.holds > 0);
        state.ids.loaded.retain(|id| ids.contains(&id));
        state.forget_leases();
        state.set_limits(&rules);
        state.posting = Arc::clone(&rules);
        drop(state);
        self.admitting.store(rules);
    }

    /// Decides whether a call may pass, and sets aside what it could come to.
    ///
    /// # Errors
    /// Why it may not; nothing is set aside then.
    pub fn reserve(self: &Arc<Self>, intent: &Intent, bounds: impl FnOnce() -> Bounds, pricing: &dyn Pricing) -> Admission {
        let rules = self.admitting.load();
        if rules.budgets.is_empty() && rules.rates.is_empty() {
            return Ok(Permit::free());
        }
        let facts = Facts::from(intent);
        let matching = rules.matcher.matching(&facts);
        let (budgets, rates) = &*matching;
        if budgets.is_empty() && rates.is_empty() {
            return Ok(Permit::free());
        }
        // Read out of the request only now: most gateways have calls that no rule is for.
        let bounds = &bounds();
        let model = intent.call.request_model.as_ref();
        let worst = match budgets.is_empty() {
            true => None,
            false => Some(pricing.worst(model, bounds)),
        };
        let mut state = self.lock();
        let state = &mut *state;
        let now = intent.start_time.unix_us();

        let mut permit = Permit::free();
        let mut taken = Vec::with_capacity(rates.len());
        for rule in rates.iter().filter_map(|place| rules.rates.get(*place as usize)) {
            let key: Key = (rule.id, owned(&rule.limit.per, &facts));
            let count = match rule.limit.limit {
                Rate::Tokens { .. } => {
                    bounds.input_tokens / 4 + bounds.output_tokens.unwrap_or(0).saturating_mul(bounds.answers.max(1))
                }
                Rate::Requests { .. } | Rate::Concurrency(_) => 1,
            };
            let stands = state.buckets.look(rule, &key, count, now).map_err(Refusal::Rate)?;
            match permit.rates.iter_mut().find(|known| known.of == stands.of) {
                None => permit.rates.push(stands),
                Some(known) if stands.remaining < known.remaining => *known = stands,
                Some(_) => {}
            }
            taken.push(Taken {
                key,
                rate: rule.limit.limit,
                count,
            });
        }

        let mut held = Vec::with_capacity(budgets.len());
        if let Some(worst) = worst {
            let unloaded = budgets.iter().filter_map(|place| rules.budgets.get(*place as usize));
            if let Some(rule) = unloaded.into_iter().find(|rule| !state.ids.loaded.has(rule.id)) {
                return Err(Refusal::Unloaded {
                    budget: rule.budget.name.clone(),
                });
            }
            let matched = state.counters_of(&rules, budgets, &facts);
            if state.sharing.is_some() {
                state.share(&matched)?;
            }
            let call = Call {
                key: &intent.identity.key_id,
                model,
                bounds,
                pricing,
            };
            let chosen = match state.choose(&matched, &call, worst) {
                Ok(chosen) => chosen,
                Err(Stopped::Lacks(lacks)) => return Err(state.pend(&lacks)),
                Err(Stopped::Refused(Refused { slot, refusal, .. })) => {
                    state.refused += 1;
                    if let Some(counter) = state.counters.get_mut(slot) {
                        counter.refused += 1;
                    }
                    return Err(refusal);
                }
            };
            permit.max_tokens = chosen.max_tokens;
            permit.model = chosen.model;
            permit.decisions = chosen.decisions;
            let mut tightest = None;
            for Match { rule, slot, need } in chosen.matched {
                let Some(counter) = state.counters.get_mut(slot) else {
                    continue;
                };
                counter.reserved = counter.reserved.saturating_add(need.aside);
                counter.holds += 1;
                held.push((slot, need.aside));
                let mut left = rule.limit.saturating_sub(counter.spent()).saturating_sub(counter.reserved);
                if let Some(sharing) = &mut state.sharing
                    && rule.is_shared()
                {
                    left = left.min(sharing.left(counter));
                    sharing.took(counter);
                }
                let rank = tightness(rule, left);
                if tightest.is_none_or(|known| rank < known) {
                    tightest = Some(rank);
                    permit.remaining = Some(Remaining {
                        budget: rule.budget.name.clone(),
                        left: measure(&rule.budget.limit, left.max(0)),
                    });
                }
            }
        }
        for taken in &taken {
            state.buckets.take(taken, now);
        }
        state.open.insert(
            intent.call_id,
            Held {
                budgets: held,
                rates: taken,
                at: now,
            },
        );
        permit.hold = Some(Box::new(Ticket {
            engine: Arc::clone(self),
            call_id: intent.call_id,
            kept: false,
        }));
        Ok(permit)
    }

    /// Counts rows, at the instant at which queries begin to see them, and gives back what their calls hold.
    pub fn post<'a>(&self, records: impl IntoIterator<Item = &'a Record>) {
        let mut state = self.lock();
        let posting = Arc::clone(&state.posting);
        for record in records {
            if !posting.budgets.is_empty() {
                state.count(&posting, record);
            }
            let used = (!record.outcome.is_refused()).then(|| {
                record
                    .usage
                    .input
                    .unwrap_or(0)
                    .saturating_add(record.usage.output.unwrap_or(0))
            });
            state.release(record.call_id, used);
        }
    }

    /// Takes rows back that queries do not see any more, of this gateway.
    pub fn unpost<'a>(&self, rows: impl IntoIterator<Item = &'a Record>) {
        let mut state = self.lock();
        let posting = Arc::clone(&state.posting);
        for record in rows {
            state.add(&posting, record, -1);
        }
    }

    /// Gives back what a call holds that was never made.
    pub fn release(&self, call_id: CallId) {
        self.lock().release(call_id, None);
    }

    /// Every counter of a window that has not ended at `now`, or that was not looked at since.
    pub fn standings(&self) -> Vec<Standing> {
        self.lock().counters.iter().map(Counter::standing).collect()
    }

    /// Calls that hold something.
    pub fn open(&self) -> usize {
        self.lock().open.len()
    }

    /// How many counters there are, how many calls hold something, and how many budgets refused.
    pub fn levels(&self) -> (u64, u64, u64) {
        let state = self.lock();
        (state.counters.count() as u64, state.open.len() as u64, state.refused)
    }

    /// How much of each budget's limit its fullest counter has used, in thousandths, what is set aside included.
    pub fn fullest(&self) -> Vec<(Name, u64)> {
        let rules = self.rules();
        let state = self.lock();
        let mut used: HashMap<RuleId, i128> = HashMap::default();
        for counter in state.counters.iter() {
            let of_rule = used.entry(counter.rule).or_default();
            *of_rule = (*of_rule).max(counter.spent().saturating_add(counter.reserved));
        }
        drop(state);
        let share = |rule: &BudgetRule| {
            let used = used.get(&rule.id).copied().unwrap_or(0);
            u64::try_from(used.saturating_mul(1000) / rule.limit.max(1)).unwrap_or(0)
        };
        rules
            .budgets
            .iter()
            .map(|rule| (rule.budget.name.clone(), share(rule)))
            .collect()
    }

    /// The counters of one budget.
    pub fn standings_of(&self, rule: &BudgetRule) -> Vec<Standing> {
        let state = self.lock();
        let of_rule = state.counters.iter().filter(|counter| counter.rule == rule.id);
        of_rule.map(Counter::standing).collect()
    }

    /// Lets the rolling windows of a budget move on.
    pub fn advance(&self, rule: &BudgetRule, to: Option<Span>) {
        let Some(span) = to else { return };
        let mut state = self.lock();
        for counter in state.counters.iter_mut().filter(|counter| counter.rule == rule.id) {
            counter.advance(span);
        }
    }

    /// The budgets whose counters could not be loaded.
    pub fn unloaded(&self, rules: &Rules) -> Vec<RuleId> {
        let state = self.lock();
        let ids = rules.budgets.iter().map(|rule| rule.id);
        ids.filter(|id| !state.ids.loaded.has(*id)).collect()
    }

    /// Adds to a counter what it was found to lack: own rows that it missed, which is a defect, and others' rows.
    pub fn correct(&self, rule: &BudgetRule, span: Span, values: &[Option<Box<str>>], step: i64, own: i128, others: i128) {
        let mut state = self.lock();
        let slot = state.counters.of_values(rule.id, span, values, rolling_us(&rule.budget));
        let Some(counter) = state.counters.get_mut(slot) else { return };
        if counter.rolling.is_none() || step >= counter.span.start {
            counter.add(step, own, others);
        }
    }

    /// Forgets counters of windows that have ended and that no call holds.
    pub fn forget_ended(&self, now: Timestamp) {
        let mut state = self.lock();
        let posting = Arc::clone(&state.posting);
        for counter in state.counters.iter_mut() {
            let rule = posting.budgets.iter().find(|rule| rule.id == counter.rule);
            if let Some(span) = rule.and_then(|rule| span(&rule.budget.window, now)) {
                counter.advance(span);
            }
        }
        let State { counters, sharing, .. } = &mut *state;
        let leased = |counter: &Counter| {
            let lease = sharing.as_ref().and_then(|sharing| sharing.of(counter));
            lease.is_some_and(Lease::holds_anything)
        };
        let idle = |counter: &Counter| match &counter.rolling {
            // What was granted of it is given back first.
            Some(_) => counter.own == 0 && counter.others == 0 && !leased(counter),
            None => counter.span.end <= now.unix_us(),
        };
        counters.retain(|counter| counter.holds > 0 || !idle(counter));
        state.forget_leases();
    }

    /// Takes the alerts that were raised.
    pub fn crossings(&self) -> Vec<Crossing> {
        std::mem::take(&mut self.lock().crossings)
    }

    /// A counter's amounts in words: limit, spent, reserved, left.
    pub fn words(rule: &BudgetRule, standing: &Standing) -> [tollgate_record::admission::Measure; 4] {
        let spent = standing.own.saturating_add(standing.others);
        let left = rule.limit.saturating_sub(spent).saturating_sub(standing.reserved);
        [rule.limit, spent, standing.reserved, left].map(|units| measure(&rule.budget.limit, units))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Sought ===

impl Sought {
    fn clear(&mut self) {
        self.keys.clear();
        self.bytes.clear();
        self.hashes.clear();
        self.guesses.clear();
    }

    /// `known`: what the budget before is kept apart by.
    fn add(&mut self, rule: &BudgetRule, known: Option<&Vec<Dimension>>, span: Span, facts: &Facts<'_>) {
        let per = &rule.budget.per;
        let bytes = match self.keys.last() {
            // Most budgets are kept apart by the same as the one before.
            Some(last) if known.is_some_and(|known| known == per) => last.bytes.clone(),
            _ => {
                let start = self.bytes.len();
                pack(per.iter().map(|dimension| facts.value(dimension)), &mut self.bytes);
                start..self.bytes.len()
            }
        };
        self.keys.push(SoughtKey {
            rule: rule.id,
            span,
            rolling_us: rolling_us(&rule.budget),
            bytes,
        });
    }
}

impl SoughtKey {
    fn wanted<'b>(&self, bytes: &'b [u8]) -> Wanted<'b> {
        Wanted {
            rule: self.rule,
            span: self.span,
            key: bytes.get(self.bytes.clone()).unwrap_or_default(),
            rolling_us: self.rolling_us,
        }
    }
}

// === impl State ===

impl State {
    /// The budgets that a call is for, with their counters: all are asked for before one is looked at, since memory answers several at once.
    fn counters_of<'r>(&mut self, rules: &'r Rules, places: &[u32], facts: &Facts<'_>) -> Vec<(&'r BudgetRule, Slot)> {
        let mut found = Vec::with_capacity(places.len());
        let mut sought = std::mem::take(&mut self.sought);
        sought.clear();
        for rule in places.iter().filter_map(|place| rules.budgets.get(*place as usize)) {
            let Some(span) = self.span(rule, facts.start_time) else {
                continue;
            };
            let last = found.last().map(|(rule, _): &(&BudgetRule, Slot)| &rule.budget.per);
            sought.add(rule, last, span, facts);
            found.push((rule, 0));
        }
        let hash = |key: &SoughtKey| self.counters.hash_of(&key.wanted(&sought.bytes));
        sought.hashes.extend(sought.keys.iter().map(hash));
        sought
            .guesses
            .extend(sought.hashes.iter().map(|hash| self.counters.guess(*hash)));
        for (place, guess) in sought.guesses.iter_mut().enumerate() {
            let right = |slot: &Slot| {
                sought
                    .keys
                    .get(place)
                    .is_some_and(|key| self.counters.is(*slot, &key.wanted(&sought.bytes)))
            };
            *guess = guess.filter(right);
        }
        for (place, (_, slot)) in found.iter_mut().enumerate() {
            let (Some(key), Some(hash)) = (sought.keys.get(place), sought.hashes.get(place)) else {
                continue;
            };
            *slot = match sought.guesses.get(place) {
                Some(Some(slot)) => *slot,
                _ => self.counters.find_or_add(*hash, &key.wanted(&sought.bytes)),
            };
            if let Some(counter) = self.counters.get_mut(*slot) {
                counter.advance(key.span);
            }
        }
        self.sought = sought;
        found
    }

    fn span(&mut self, rule: &BudgetRule, at: Timestamp) -> Option<Span> {
        if rolling_us(&rule.budget).is_some() {
            return span(&rule.budget.window, at);
        }
        if let Some(known) = self.spans.get(rule.id).filter(|known| known.has(at)) {
            return Some(*known);
        }
        let found = span(&rule.budget.window, at)?;
        self.spans.set(rule.id, found);
        Some(found)
    }

    fn count(&mut self, posting: &Rules, record: &Record) {
        self.add(posting, record, 1);
        if posting.wants_recent {
            self.recent.note(record);
        }
    }

    fn add(&mut self, posting: &Rules, record: &Record, sign: i128) {
        let facts = Facts::from(record);
        if record.outcome.is_refused() && record.cost.cost.is_none_or(|cost| cost.is_zero()) {
            return;
        }
        let matching = posting.matcher.matching(&facts);
        for (rule, slot) in self.counters_of(posting, &matching.0, &facts) {
            let amount = measured(&rule.budget.limit, record).saturating_mul(sign);
            if amount == 0 {
                continue;
            }
            let Some(counter) = self.counters.get_mut(slot) else {
                continue;
            };
            if counter.rolling.is_some() && record.start_time.unix_us() < counter.span.start {
                continue;
            }
            counter.add(record.start_time.unix_us(), amount, 0);
            let next = rule.budget.alerts.get(usize::from(counter.alerted));
            if sign > 0
                && next.is_some_and(|percent| crossed(counter.spent(), rule.limit, *percent))
                && self.crossings.len() < CROSSINGS
            {
                let all = rule
                    .budget
                    .alerts
                    .partition_point(|percent| crossed(counter.spent(), rule.limit, *percent));
                counter.alerted = u16::try_from(all).unwrap_or(u16::MAX);
                // One for the highest: those below it are passed with it.
                if let Some(percent) = all.checked_sub(1).and_then(|place| rule.budget.alerts.get(place)) {
                    let standing = counter.standing();
                    self.crossings.push(Crossing {
                        budget: rule.budget.clone(),
                        percent: *percent,
                        standing,
                    });
                }
            }
            if self.sharing.is_some() {
                self.posted(rule, slot);
            }
        }
    }

    fn release(&mut self, call_id: CallId, used: Option<u64>) {
        let Some(held) = self.open.remove(&call_id) else { return };
        for (slot, aside) in held.budgets {
            if let Some(counter) = self.counters.get_mut(slot) {
                counter.reserved = counter.reserved.saturating_sub(aside);
                counter.holds = counter.holds.saturating_sub(1);
            }
        }
        for taken in &held.rates {
            self.buckets.settle(taken, used, held.at);
        }
    }
}

// === impl Ticket ===

impl Ticket {
    fn give_back(&self) {
        self.engine.release(self.call_id);
    }
}

impl Hold for Ticket {
    fn keep(mut self: Box<Self>) {
        self.kept = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.kept {
            self.give_back();
        }
    }
}

const fn rolling_us(budget: &Budget) -> Option<i64> {
    match budget.window {
        Window::Rolling { length_us } => Some(length_us),
        _ => None,
    }
}

fn owned(per: &[Dimension], facts: &Facts<'_>) -> Box<[Option<Box<str>>]> {
    per.iter().map(|dimension| facts.value(dimension).map(Box::from)).collect()
}

fn crossed(spent: i128, limit: i128, percent: u16) -> bool {
    spent.saturating_mul(100) >= limit.saturating_mul(i128::from(percent)) && spent > 0
}

/// Money before tokens and calls, then by the part of the limit that is left, in thousandths.
fn tightness(rule: &BudgetRule, left: i128) -> (bool, i128) {
    let is_money = matches!(rule.budget.limit, Limit::Money { .. });
    (!is_money, left.saturating_mul(1000) / rule.limit.max(1))
}
