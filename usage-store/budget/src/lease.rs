//! What this gateway was granted of one counter of a shared budget, and what it does to have enough of it and not too much.
//!
//! 1. Where `own + reserved + need` is within what was granted, a call passes without anyone being asked.
//! 2. What is asked for beyond the need is a slice: a quarter of what remains, divided by the gateways that are live, and at most a twentieth of the limit. So many small
//!    calls cost one question, and what a gateway strands that is killed is small and shrinks as the budget is spent.
//! 3. When less than half a slice is left, more is asked for beside the calls.
//! 4. One question is under way at a time; all calls that lack something wait for its answer, and what they need is in the next question.
//! 5. What is not used is given back: all of it after a while without calls; while there are calls, what is beyond two slices and the most that was lately set aside.

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::Shared;
use tollgate_record::Name;

use crate::counter::{Counter, Slot};
use crate::pool::{AMOUNT_MAX, Answer, Ask, Keep, PoolKey, down, lapse_us, up};
use crate::rules::BudgetRule;

/// How long it holds that a pool had no more, in microseconds: so long a counter that is spent costs no questions.
const DENIED_US: i64 = 250_000;
/// How often a lease is looked at at most, in microseconds; one without calls between two looks is idle.
const VISIT_US: i64 = 5_000_000;
/// Questions within the time for which a share of a rolling window is used unheard.
const RENEWALS: i64 = 4;
/// What remains is divided by this and the number of gateways.
const SLICES: u64 = 4;
/// A slice is at most this part of the limit.
const SLICE_PART: u64 = 20;

/// Resolves when a question was answered.
pub(crate) type Answered = Shared<oneshot::Receiver<()>>;

/// A share of a counter.
pub(crate) struct Lease {
    pub(crate) slot: Slot,
    key: PoolKey,
    keep: Keep,
    /// Of a rolling window, its length.
    rolling_us: Option<i64>,
    quantum: i128,
    limit: u64,
    granted: u64,
    /// What could be held here at most, by the last answer.
    room: Option<u64>,
    /// The limit has changed, and the pool has not answered since: until then nothing that goes back is used again, since others may hold more than is left.
    unsure: bool,
    /// When the pool had no more.
    denied_at: Option<i64>,
    /// The least and the sum of what calls lack that wait for the next answer, in the counter's units.
    wanted: Option<(i128, i128)>,
    pub(crate) queued: Queued,
    flight: Option<Flight>,
    waiting: Option<(oneshot::Sender<()>, Answered)>,
    /// Numbers `waiting`.
    generation: u64,
    /// What rows of others come to, by their gateways.
    seen: Box<[(Name, i128)]>,
    /// The most that was set aside, and whether calls came, since it was last looked at.
    peak: i128,
    used: bool,
    visited_us: i64,
    /// When the last question was asked that was answered.
    heard_us: i64,
}

/// Whether a lease is in a queue of questions, by urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Queued {
    No,
    /// The pool is to be told what is held.
    Later,
    /// More is to be asked for that no call waits for.
    Refill,
    /// Calls wait.
    Now,
}

struct Flight {
    seq: u64,
    need: u64,
    want: u64,
    asked_us: i64,
    /// The limit was changed since.
    void: bool,
}

/// What a call finds that lacks something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// More may be had.
    Askable,
    /// The pool has no more.
    Denied,
}

impl Lease {
    pub(crate) fn new(rule: &BudgetRule, counter: &Counter, slot: Slot) -> Self {
        let budget = &rule.budget;
        let quantum = crate::pool::quantum(&budget.limit);
        let rolling_us = match budget.window {
            tollgate_record::rule::Window::Rolling { length_us } => Some(length_us),
            _ => None,
        };
        Self {
            slot,
            key: PoolKey::of(budget, counter.span, counter.key.bytes()),
            keep: Keep::of(&budget.window, counter.span),
            rolling_us,
            quantum,
            limit: down(rule.limit, quantum),
            granted: 0,
            room: None,
            unsure: false,
            denied_at: None,
            wanted: None,
            queued: Queued::No,
            flight: None,
            waiting: None,
            generation: 0,
            seen: Box::default(),
            peak: 0,
            used: false,
            visited_us: i64::MIN,
            heard_us: i64::MIN,
        }
    }

    /// What was granted, in the counter's units.
    pub(crate) fn granted(&self) -> i128 {
        i128::from(self.granted) * self.quantum
    }

    /// Whether a call that needs so many units in all has them. Where more is granted than there is, because the limit was lowered or more was spent than was set aside,
    /// no gateway uses what others hold.
    pub(crate) fn covers(&self, all: i128) -> bool {
        !self.unsure && all <= self.usable()
    }

    fn usable(&self) -> i128 {
        i128::from(self.granted.min(self.room.unwrap_or(AMOUNT_MAX))) * self.quantum
    }

    pub(crate) fn limit(&self) -> i128 {
        i128::from(self.limit) * self.quantum
    }

    /// What others hold as far as rows do not show it, in the counter's units.
    pub(crate) fn elsewhere(&self, counter: &Counter) -> i128 {
        let Some(room) = self.room else { return 0 };
        let others = i128::from(self.limit.saturating_sub(room)) * self.quantum;
        (others - counter.others).max(0)
    }

    /// What can be used here at most, in the counter's units, as far as is known.
    pub(crate) fn room(&self) -> Option<i128> {
        self.room.map(|room| i128::from(room) * self.quantum)
    }

    /// Whether more can be had, where a call needs so many units in all.
    pub(crate) fn lack(&self, all: i128, now: i64) -> Lack {
        let need = up(all, self.quantum);
        let dry = match (self.denied_at, self.room) {
            (Some(at), Some(room)) => now < at.saturating_add(DENIED_US) && need > room,
            _ => false,
        };
        if dry || need > self.limit {
            Lack::Denied
        } else {
            Lack::Askable
        }
    }

    /// A call waits for more; says what it waits for.
    pub(crate) fn join(&mut self, least: i128, wish: i128) -> u64 {
        let (known, sum) = self.wanted.unwrap_or((least, 0));
        self.wanted = Some((known.min(least), sum.saturating_add(wish)));
        if self.waiting.is_none() {
            let (sender, receiver) = oneshot::channel();
            self.generation += 1;
            self.waiting = Some((sender, receiver.shared()));
        }
        self.generation
    }

    /// What a call waits for that was told this number; `None` if that is over.
    pub(crate) fn answered(&self, generation: u64) -> Option<Answered> {
        let waiting = self.waiting.as_ref().filter(|_| generation == self.generation);
        waiting.map(|(_, answered)| answered.clone())
    }

    pub(crate) const fn in_flight(&self) -> bool {
        self.flight.is_some()
    }

    /// A call was let pass: whether more should be asked for.
    pub(crate) fn took(&mut self, counter: &Counter, live: u64, clock: impl Fn() -> i64) -> bool {
        self.used = true;
        self.peak = self.peak.max(counter.reserved);
        let left = self.usable() - counter.own - counter.reserved;
        let low = left < i128::from(self.slice(counter, live)) * self.quantum / 2;
        low && !self.in_flight() && self.queued == Queued::No && self.lack(self.granted() + self.quantum, clock()) == Lack::Askable
    }

    /// Whether what is used is more than was granted, which the pool has to know.
    pub(crate) fn is_exceeded(&self, counter: &Counter) -> bool {
        claims(counter, self.quantum) > self.granted
    }

    /// The limit of the rule as it is now. Says whether the pool has to know, because it was another one.
    pub(crate) fn set_limit(&mut self, rule: &BudgetRule, counter: &Counter) -> bool {
        let limit = down(rule.limit, self.quantum);
        if limit == self.limit {
            return false;
        }
        if limit < self.limit {
            self.granted = self.granted.min(claims(counter, self.quantum));
        }
        self.limit = limit;
        (self.denied_at, self.room, self.unsure) = (None, None, true);
        if let Some(flight) = &mut self.flight {
            flight.void = true;
        }
        true
    }

    /// What rows of others come to, by their gateways.
    pub(crate) fn set_seen(&mut self, seen: Box<[(Name, i128)]>) {
        self.seen = seen;
    }

    /// Looks whether anything is to be given back or renewed, and says whether the pool has to know.
    pub(crate) fn visit(&mut self, counter: &Counter, live: u64, reached: bool, now_us: i64) -> bool {
        if now_us.saturating_sub(self.visited_us) < VISIT_US || self.in_flight() || self.queued != Queued::No {
            return false;
        }
        let first = self.visited_us == i64::MIN;
        self.visited_us = now_us;
        let (used, peak) = (self.used, self.peak.max(counter.reserved));
        (self.used, self.peak) = (false, counter.reserved);
        if first {
            return self.is_exceeded(counter);
        }
        let claimed = claims(counter, self.quantum);
        let unheard = now_us.saturating_sub(self.heard_us);
        let lapse = self.rolling_us.map(lapse_us);
        if lapse.is_some_and(|lapse| unheard > lapse) && self.granted > claimed {
            // The pool may give it to others from now on.
            self.granted = claimed;
            return true;
        }
        let renews = lapse.is_some_and(|lapse| self.granted > 0 && unheard > lapse / RENEWALS);
        if !reached {
            return false;
        }
        let keep = match used {
            false => claimed,
            true => {
                let slice = self.slice(counter, live);
                let enough = up(counter.own.saturating_add(peak), self.quantum).saturating_add(slice);
                match self.granted > enough.saturating_add(slice) {
                    true => enough.max(claimed),
                    false => self.granted,
                }
            }
        };
        let gives_back = keep < self.granted;
        self.granted = self.granted.min(keep);
        gives_back || renews || claimed > self.granted
    }

    /// Gives back everything that is not used; says whether there was anything.
    pub(crate) fn give_back(&mut self, counter: &Counter) -> bool {
        let claimed = claims(counter, self.quantum);
        let gives_back = claimed < self.granted;
        self.granted = self.granted.min(claimed);
        gives_back
    }

    /// The question that is to be asked.
    pub(crate) fn ask(&mut self, counter: &Counter, lease: u32, seq: u64, live: u64, refills: bool, now_us: i64) -> Ask {
        self.queued = Queued::No;
        let base = counter.own.saturating_add(counter.reserved);
        self.granted = self.granted.max(claims(counter, self.quantum));
        let holds = self.granted;
        let wanted = self.wanted.take();
        let (need, want) = match wanted {
            None if refills => {
                let want = holds.saturating_add(self.slice(counter, live));
                (holds.saturating_add(1), want)
            }
            None => (holds, holds),
            Some((least, sum)) => {
                let all = up(base.saturating_add(sum.max(least)), self.quantum);
                (
                    up(base.saturating_add(least), self.quantum),
                    all.saturating_add(self.slice(counter, live)),
                )
            }
        };
        let want = want.min(self.limit).max(holds);
        self.flight = Some(Flight {
            seq,
            need,
            want,
            asked_us: now_us,
            void: false,
        });
        Ask {
            key: self.key,
            seq,
            holds,
            need,
            want,
            limit: self.limit,
            seen: self
                .seen
                .iter()
                .map(|(name, units)| (name.clone(), up(*units, self.quantum)))
                .filter(|(_, seen)| *seen > 0)
                .collect(),
            keep: self.keep,
            lease,
        }
    }

    /// Takes an answer; whether it was the one that is waited for, and whether to ask again.
    pub(crate) fn answer(&mut self, counter: &Counter, seq: u64, answer: Option<Answer>, in_grace: bool, now: i64) -> Answering {
        if self.flight.as_ref().is_none_or(|flight| flight.seq != seq) {
            return Answering::Old;
        }
        let Some(flight) = self.flight.take() else {
            return Answering::Old;
        };
        let again = match answer {
            Some(Answer::Granted { granted, room }) => {
                self.heard_us = flight.asked_us;
                if !flight.void {
                    self.granted = self.granted.max(granted.min(AMOUNT_MAX));
                    // In a time of grace the pool does not know yet what others hold.
                    if !in_grace {
                        (self.room, self.unsure) = (Some(room), false);
                        let has = granted.min(room);
                        self.denied_at = (has < flight.want || has < flight.need).then_some(now);
                    }
                }
                flight.void
            }
            Some(Answer::Overtaken(_)) => true,
            None => false,
        };
        // Those who wait ask anew, whatever came.
        self.waiting = None;
        let used = counter.own.saturating_add(counter.reserved);
        if answer.is_none() || in_grace {
            self.wanted = None;
        }
        // Of calls that came after the question. Those that still lack something after this add it once more; what is too much goes back.
        let (_, sum) = self.wanted.unwrap_or_default();
        if used.saturating_add(sum) <= self.granted() {
            self.wanted = None;
        }
        match (again || self.wanted.is_some(), answer) {
            (_, None) => Answering::Lost,
            (true, _) => Answering::Again,
            (false, _) => Answering::Done,
        }
    }

    /// Whether anything is granted: a counter must not be forgotten before that is given back.
    pub(crate) const fn holds_anything(&self) -> bool {
        self.granted > 0 || self.flight.is_some()
    }

    fn slice(&self, counter: &Counter, live: u64) -> u64 {
        let remains = match self.room {
            Some(room) => room.saturating_sub(self.granted),
            None => self
                .limit
                .saturating_sub(up(counter.spent().saturating_add(counter.reserved), self.quantum)),
        };
        (remains / (SLICES * live.max(1))).min(self.limit / SLICE_PART)
    }
}

/// What came of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answering {
    /// It was not waited for.
    Old,
    /// Nothing is to be done.
    Done,
    /// Something has to be asked still.
    Again,
    /// There was none; the pool has to be told what is held when it is back.
    Lost,
}

fn claims(counter: &Counter, quantum: i128) -> u64 {
    up(counter.own.saturating_add(counter.reserved), quantum)
}
