//! What a rule would have refused of calls that were made.
//!
//! # Method
//! 1. Calls are decided in the order in which they began. A refused one spends nothing, so what comes behind it may pass.
//! 2. What is set aside for a call that is made is not in its row (its `max_tokens` is not known any more), so a call counts, from its beginning on, as
//!    what it came to: under a budget that must fit into what is left. A budget that sets nothing aside (`reservation: none`) lets a call pass while
//!    anything is left. Either way a call that came to nothing passes. A gateway that sets aside the worst case refuses some calls more.
//! 3. Nobody is given a shorter answer or another model: `clamp` is not looked at, a call that would be downgraded is refused, and one that a budget
//!    only warns of is counted as refused and spends.
//! 4. Windows are those of the engine, rolling ones in its steps. What a window holds when the test begins is [opened](Backtest::open) with.
//! 5. Rate limits are the engine's buckets, full when the test begins. Tokens are those that were used, not an estimate. A call is open from its
//!    beginning until before the instant of its end.
//! 6. Memory is bounded for each counter and each limit: a sum, at most [`Window::STEPS`]` + 1` of them, a bucket, or as many instants as calls may be
//!    open. Counters that hold nothing are forgotten.

mod cell;
mod slices;
#[cfg(test)]
mod tests;
mod tried;
mod values;

use tollgate_record::Timestamp;
use tollgate_record::rule::Window;

use self::cell::Cell;
pub use self::slices::{days, slices};
pub use self::tried::Tried;
use self::values::ByValues;
use crate::Span;
use crate::counter::Values;
use crate::window::span;

/// Combinations of values of which one limit's refusals are told apart; those of further ones are added up only.
const TALLIES: usize = 1 << 20;
/// Counters from which on those that hold nothing are looked for.
const SWEEP: usize = 16_384;

/// A call that was made, as its row has it.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Values of the rule's `per`, in its order.
    pub values: &'a [Option<&'a str>],
    /// What it adds to a counter: 10^-12 of the budget's currency, tokens, or 1; none if it has no price in that currency.
    pub amount: Option<i128>,
    /// What it cost, in 10^-12 of a currency.
    pub cost: Option<(i128, &'a str)>,
}

/// One rule, tried with one or several limits.
#[derive(Debug)]
pub struct Backtest {
    rule: Tried,
    counters: ByValues<Box<[Cell]>>,
    sweep: usize,
    /// The window that counters are of, unless each has its own steps.
    window: Option<Span>,
    /// Instants do not go back: a call that is given late counts as if it had begun with the last one.
    now: i64,
    trials: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    trial: Trial,
    tallies: ByValues<Tally>,
}

/// What a rule would have refused with one limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trial {
    /// The limit, in the units of [`Event::amount`].
    pub limit: i128,
    /// Calls that the rule was for.
    pub calls: u64,
    /// Calls that did not fit.
    pub refused: u64,
    /// Calls without a price in the budget's currency, which it refuses as well.
    pub unpriced: u64,
    /// What those that did not fit cost, by currency, in 10^-12.
    pub cost: Costs,
    /// When the first one that did not fit began.
    pub first: Option<Timestamp>,
    /// Of those that did not fit, the ones whose combination is in no tally.
    pub untold: u64,
}

/// What one combination of values was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls.
    pub refused: u64,
    /// What they cost, by currency, in 10^-12.
    pub cost: Costs,
    /// When the first one began.
    pub first: Option<Timestamp>,
}

/// Sums by currency, in 10^-12.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Costs(Vec<(Box<str>, i128)>);

impl Costs {
    fn add(&mut self, cost: Option<(i128, &str)>) {
        let Some((units, currency)) = cost else { return };
        match self.0.iter_mut().find(|(known, _)| **known == *currency) {
            Some((_, sum)) => *sum = sum.saturating_add(units),
            None => self.0.push((currency.into(), units)),
        }
    }

    /// Currencies and their sums.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i128)> {
        self.0.iter().map(|(currency, sum)| (&**currency, *sum))
    }

    fn most(&self) -> i128 {
        self.0.iter().map(|(_, sum)| *sum).max().unwrap_or(0)
    }
}

impl Backtest {
    /// Tries a rule with its own limit and with others, in the units of [`Event::amount`].
    pub fn new(rule: Tried, others: &[i128]) -> Self {
        let limits = std::iter::once(rule.limit()).chain(others.iter().copied());
        let trials = limits.map(|limit| Running {
            trial: Trial {
                limit,
                ..Trial::default()
            },
            tallies: ByValues::default(),
        });
        Self {
            trials: trials.collect(),
            rule,
            counters: ByValues::default(),
            sweep: SWEEP,
            window: None,
            now: i64::MIN,
        }
    }

    /// The rule.
    pub const fn rule(&self) -> &Tried {
        &self.rule
    }

    /// The window that a budget's counters are of when the test begins; what it holds by then has to be [opened](Self::open) with. None of a rate limit,
    /// and outside of a period.
    pub fn opening(&self, since: Timestamp) -> Option<Span> {
        let window = span(self.rule.window()?, since)?;
        Some(Span {
            start: window.start,
            end: since.unix_us(),
        })
    }

    /// Adds what the rows of [`opening`](Self::opening) came to, of one combination of values; of a rolling window, of one step. To be called before
    /// any call is given.
    pub fn open(&mut self, since: Timestamp, step: i64, values: &[Option<&str>], amount: i128) {
        let Some(window) = self.rule.window() else { return };
        self.window = span(window, since);
        let cells = Self::cells(&mut self.counters, &self.rule, self.trials.len(), values);
        for cell in cells.iter_mut() {
            cell.open(step, amount);
        }
    }

    /// Decides a call, with each limit.
    pub fn decide(&mut self, event: &Event<'_>) {
        self.now = self.now.max(event.start.unix_us());
        let now = self.now;
        let window = match self.rule.window() {
            None => None,
            Some(window) => match span(window, Timestamp::from_unix_us(now)) {
                // Outside of its period a budget is for no call.
                None => return,
                found => found,
            },
        };
        if let Some(window) = window.filter(|_| !matches!(self.rule.window(), Some(Window::Rolling { .. })))
            && self.window != Some(window)
        {
            self.window = Some(window);
            self.counters.clear();
        }
        if self.counters.len() >= self.sweep {
            let start = window.map_or(i64::MIN, |window| window.start);
            let trials = &self.trials;
            self.counters.retain(|cells| {
                let mut held = cells.iter().zip(trials);
                held.any(|(cell, running)| !cell.is_idle(running.trial.limit, start, now))
            });
            self.sweep = (self.counters.len() * 2).max(SWEEP);
        }
        let unpriced = event.amount.is_none() && self.rule.refuses_unpriced();
        let cells = Self::cells(&mut self.counters, &self.rule, self.trials.len(), event.values);
        for (running, cell) in self.trials.iter_mut().zip(cells.iter_mut()) {
            running.trial.calls += 1;
            if unpriced {
                running.trial.unpriced += 1;
                continue;
            }
            let call = cell::Call {
                now,
                end: event.end.unix_us(),
                window,
                amount: event.amount.unwrap_or(0),
            };
            let fits = cell.fits(&self.rule, running.trial.limit, &call);
            if fits || self.rule.only_warns() {
                cell.take(&self.rule, running.trial.limit, &call);
            }
            if !fits {
                running.refuse(event);
            }
        }
    }

    /// What each limit would have refused, the rule's own first.
    pub fn trials(&self) -> impl Iterator<Item = &Trial> {
        self.trials.iter().map(|running| &running.trial)
    }

    /// Whose calls one of the trials would have refused: those with the most, at most so many.
    pub fn top(&self, trial: usize, most: usize) -> Vec<(&Values, &Tally)> {
        let Some(running) = self.trials.get(trial) else {
            return Vec::new();
        };
        let mut all: Vec<_> = running.tallies.iter().collect();
        all.sort_unstable_by(|(left_values, left), (right_values, right)| {
            let rank = |tally: &Tally| (tally.refused, tally.cost.most());
            rank(right).cmp(&rank(left)).then_with(|| left_values.cmp(right_values))
        });
        all.truncate(most);
        all
    }

    /// The cells of a combination of values, one for each limit.
    fn cells<'c>(counters: &'c mut ByValues<Box<[Cell]>>, rule: &Tried, limits: usize, values: &[Option<&str>]) -> &'c mut [Cell] {
        counters.of(values, || std::iter::repeat_with(|| Cell::of(rule)).take(limits).collect())
    }
}

impl Running {
    fn refuse(&mut self, event: &Event<'_>) {
        self.trial.refused += 1;
        self.trial.cost.add(event.cost);
        self.trial.first.get_or_insert(event.start);
        let tally = match self.tallies.len() < TALLIES {
            true => self.tallies.of(event.values, Tally::default),
            false => match self.tallies.find(event.values) {
                Some(tally) => tally,
                None => {
                    self.trial.untold += 1;
                    return;
                }
            },
        };
        tally.refused += 1;
        tally.cost.add(event.cost);
        tally.first.get_or_insert(event.start);
    }
}
