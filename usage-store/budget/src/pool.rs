//! The pool of budgets that several gateways share: what they ask of it, and what it answers.
//!
//! A pool keeps, for each counter of a shared budget, how much of it each gateway was granted. A gateway lets calls pass within its grant, without asking.
//!
//! # Invariants
//! 1. A pool grants more than is held only if the sum over all gateways, each with the larger of its grant and what its rows are seen to come to, stays
//!    within the limit.
//! 2. It never takes away what a gateway says it holds, and never grants below it: what was spent is spent.
//! 3. Amounts are whole quanta ([`quantum`]) below 2^53, so that a pool may count in doubles. What is held is rounded up to them, limits down.
//! 4. An ask says what is held and wanted in all, not by how much more: asking twice is asking once. One that is overtaken by a later one of the same gateway
//!    ([`Ask::seq`]) changes nothing.
//! 5. A pool that has lost what it knew, or may have, calls itself by another epoch. An ask that names an epoch which is past changes nothing. In a new epoch nothing
//!    is granted for a time of grace, in which every gateway says what it holds.

use sha2::{Digest, Sha256};
use tollgate_record::rule::{Budget, Limit, Tokens, Window};
use tollgate_record::{Amount, Name};

use crate::window::Span;

mod memory;

pub use memory::Memory;

/// The largest amount that a pool counts: doubles tell all whole numbers up to here apart.
pub const AMOUNT_MAX: u64 = (1 << 53) - 1;
/// How long after its window a counter of the calendar is kept, in milliseconds: longer than clocks are apart.
const CALENDAR_MARGIN_MS: i64 = 3_600_000;
/// How much longer than its rows count a share of a rolling window is kept, in microseconds: longer than clocks drift apart in that time.
const ROLLING_MARGIN_US: i64 = 120_000_000;
/// Longest time for which a share of a rolling window is used without the pool having been heard, in microseconds.
const LAPSE_US_MAX: i64 = 3_600_000_000;

/// Which counter: a hash of the budget without its limit, of the values, and of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolKey([u8; 16]);

/// When a pool may forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The whole counter, at this instant in milliseconds since 1970.
    Until(i64),
    /// The share of a gateway that was not heard for so many milliseconds.
    Unheard(i64),
}

/// What a gateway asks of a pool about one counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Which.
    pub key: PoolKey,
    /// Greater than that of every ask of this gateway before.
    pub seq: u64,
    /// What the gateway holds, which is at least what its rows and open calls come to.
    pub holds: u64,
    /// The least that is of use to it, in all; nothing more is granted if that cannot be.
    pub need: u64,
    /// What it would have, in all. Where this is not above `holds`, what was granted beyond `holds` is given back.
    pub want: u64,
    /// The limit.
    pub limit: u64,
    /// What rows of others are seen to come to.
    pub seen: Vec<(Name, u64)>,
    /// When it may be forgotten.
    pub keep: Keep,
    /// The lease that asks: a number of the engine's own, which no pool looks at.
    pub lease: u32,
}

/// What a pool answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The gateway holds so much now.
    Granted {
        /// At least what it said it holds.
        granted: u64,
        /// The most that it could have held.
        room: u64,
    },
    /// A later ask came before; the number of that one.
    Overtaken(u64),
}

/// What a pool answers to several asks at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// By what the pool calls itself.
    pub epoch: String,
    /// How long nothing is granted, in milliseconds; 0 after the time of grace.
    pub grace_ms: u64,
    /// Gateways that were heard lately, this one included.
    pub live: u64,
    /// In the order of the asks; `None` if those named another epoch, and nothing was done.
    pub answers: Option<Vec<Answer>>,
}

/// What happens while the pool is out of reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnOutage {
    /// Calls pass within what was granted before, and are refused when that is used up.
    #[default]
    Leases,
    /// No call under a shared budget passes.
    Refuse,
}

/// Whether the pool answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It does not.
    Away,
    /// It grants nothing for so many microseconds.
    Fresh(u64),
    /// It does.
    Up,
}

/// Units of a counter in one of the pool's: a millionth of a currency, a token, a call.
pub fn quantum(limit: &Limit) -> i128 {
    match limit {
        Limit::Money { .. } => Amount::ONE.units() / 1_000_000,
        Limit::Tokens { .. } | Limit::Calls(_) => 1,
    }
}

/// Whole quanta that hold this many units; none of a negative amount.
pub(crate) fn up(units: i128, quantum: i128) -> u64 {
    let whole = units.div_euclid(quantum) + i128::from(units.rem_euclid(quantum) > 0);
    u64::try_from(whole.max(0)).unwrap_or(AMOUNT_MAX).min(AMOUNT_MAX)
}

/// Whole quanta within this many units.
pub(crate) fn down(units: i128, quantum: i128) -> u64 {
    u64::try_from(units.div_euclid(quantum).max(0))
        .unwrap_or(AMOUNT_MAX)
        .min(AMOUNT_MAX)
}

/// How long a gateway uses its share of a rolling window without having heard the pool.
pub(crate) fn lapse_us(length_us: i64) -> i64 {
    length_us.min(LAPSE_US_MAX)
}

// === impl PoolKey ===

impl PoolKey {
    /// Of a counter of a budget. `packed` are its values.
    pub(crate) fn of(budget: &Budget, span: Span, packed: &[u8]) -> Self {
        let mut hash = Sha256::new();
        // Each with its length before it, so that no two budgets are written alike.
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(budget.name.as_str().as_bytes());
        match &budget.when {
            Some(when) => part(when.as_bytes()),
            None => part(&[0xff]),
        }
        part(&(budget.per.len() as u64).to_be_bytes());
        budget.per.iter().for_each(|dimension| part(dimension.text().as_bytes()));
        match &budget.limit {
            Limit::Money { currency, .. } => part(format!("money {currency}").as_bytes()),
            Limit::Tokens { of: Tokens::Input, .. } => part(b"tokens input"),
            Limit::Tokens { of: Tokens::Output, .. } => part(b"tokens output"),
            Limit::Tokens { of: Tokens::Total, .. } => part(b"tokens total"),
            Limit::Calls(_) => part(b"calls"),
        }
        match &budget.window {
            Window::Rolling { length_us } => part(format!("rolling {length_us}").as_bytes()),
            // Two that begin and end together count the same rows, whatever they are called.
            Window::Calendar { .. } | Window::Once { .. } => part(format!("{} {}", span.start, span.end).as_bytes()),
        }
        part(packed);
        let mut key = [0; 16];
        for (to, from) in key.iter_mut().zip(hash.finalize()) {
            *to = from;
        }
        Self(key)
    }

    /// A key as it was made before.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// 32 hexadecimal digits.
    pub fn hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

// === impl Keep ===

impl Keep {
    pub(crate) fn of(window: &Window, span: Span) -> Self {
        match window {
            // While the gateway uses it unheard, rows come into the window; they leave it a length and a step later.
            Window::Rolling { length_us } => {
                let us = lapse_us(*length_us) + length_us + crate::step_us(*length_us) + ROLLING_MARGIN_US;
                Self::Unheard(us / 1000)
            }
            _ => Self::Until(span.end / 1000 + CALENDAR_MARGIN_MS),
        }
    }
}
