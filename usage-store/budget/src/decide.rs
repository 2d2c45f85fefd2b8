//! What a call could come to, and whether a budget has that left.
//!
//! 1. Worst case: the most that the call can come to, by its [`Bounds`] and the dearest prices that may apply.
//! 2. Expected: what 95 of 100 of the last calls of its key did not exceed, at most the worst case; the worst case while fewer than eight are known.
//! 3. None: nothing, and the call passes while anything is left.
//! 4. What is priced later, such as a batch, sets the smallest unit aside until its own row is there: it passes while anything is left, whatever the
//!    reservation. What it comes to is counted when it is known, and may exceed the limit.
//! 5. A budget that clamps gives a request without a limit of its own the largest limit whose worst case fits; below [`CLAMP_MIN`] tokens the call is
//!    refused, since some providers take no smaller limit.

use tollgate_record::admission::{Bounds, NotShared, OverBudget, Refusal, UnpricedCall, Unshared};
use tollgate_record::rule::{Limit, Reservation, Tokens, Unpriced};
use tollgate_record::{Name, Timestamp};

use crate::counter::Counter;
use crate::recent::{Of, Recent};
use crate::rules::{BudgetRule, measure};

/// The smallest limit that a request is given: OpenAI's responses take no `max_output_tokens` below 16 (API reference, November 2026).
pub(crate) const CLAMP_MIN: u64 = 16;

/// The most that a call can come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorstCase {
    /// In 10^-12 of a currency; or what has no price, in words.
    pub cost: Result<(i128, Name), String>,
    /// Input tokens.
    pub input_tokens: u64,
    /// Output tokens of all answers.
    pub output_tokens: u64,
}

/// Tells what calls can come to.
pub trait Pricing {
    /// The most that the call can come to within these bounds, if it asks `model`.
    fn worst(&self, model: Option<&Name>, bounds: &Bounds) -> WorstCase;
}

/// What is set aside for a call on a counter, and what the call could come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) aside: i128,
    pub(crate) estimate: i128,
    /// What the call starts is priced later, so that the estimate says nothing.
    pub(crate) later: bool,
}

/// What a budget needs for a call; `later`: [`Bounds::later`].
///
/// # Errors
/// What has no price, if the budget does not admit that.
pub(crate) fn need(rule: &BudgetRule, worst: &WorstCase, later: bool, recent: &Recent, key: &Name) -> Result<Need, String> {
    let (input, output) = (i128::from(worst.input_tokens), i128::from(worst.output_tokens));
    let a_unit = |later| Need {
        aside: i128::from(rule.budget.reservation != Reservation::None),
        estimate: 1,
        later,
    };
    let (most, of) = match &rule.budget.limit {
        Limit::Calls(_) => return Ok(a_unit(false)),
        _ if later => return Ok(a_unit(true)),
        Limit::Money { currency, .. } => match (&worst.cost, rule.budget.unpriced) {
            (Ok((cost, of)), _) if of == currency || *cost == 0 => (*cost, Of::Cost),
            (_, Unpriced::Admit) => (0, Of::Cost),
            (Ok((_, of)), Unpriced::Refuse) => return Err(format!("its price is in {of}, and the budget counts {currency}")),
            (Err(missing), Unpriced::Refuse) => return Err(missing.clone()),
        },
        Limit::Tokens { of: Tokens::Input, .. } => (input, Of::Input),
        Limit::Tokens { of: Tokens::Output, .. } => (output, Of::Output),
        Limit::Tokens { of: Tokens::Total, .. } => (input.saturating_add(output), Of::Total),
    };
    let aside = match rule.budget.reservation {
        Reservation::WorstCase => most,
        Reservation::Expected => recent.expected(key, of).map_or(most, |expected| expected.min(most)),
        Reservation::None => 0,
    };
    Ok(Need {
        aside,
        estimate: most,
        later: false,
    })
}

/// Whether a counter has what is needed.
pub(crate) fn fits(rule: &BudgetRule, counter: &Counter, need: Need) -> bool {
    match rule.budget.reservation {
        // What costs nothing passes.
        Reservation::None => counter.spent() < rule.limit || need.estimate == 0,
        _ => counter.spent().saturating_add(counter.reserved).saturating_add(need.aside) <= rule.limit || need.aside == 0,
    }
}

/// What a gateway must have been granted of a shared counter in all, for a call to pass; `None` if what the call needs is nothing.
pub(crate) fn all(rule: &BudgetRule, counter: &Counter, need: Need) -> Option<i128> {
    match rule.budget.reservation {
        // Anything that is left.
        Reservation::None => (need.estimate != 0).then(|| counter.own.saturating_add(1)),
        _ => (need.aside != 0).then(|| counter.own.saturating_add(counter.reserved).saturating_add(need.aside)),
    }
}

/// The largest limit of output tokens with which a call fits, at most `most`.
pub(crate) fn clamp(most: u64, fits: impl Fn(u64) -> bool) -> Option<u64> {
    if !fits(CLAMP_MIN) {
        return None;
    }
    let (mut good, mut bad) = (CLAMP_MIN, most.max(CLAMP_MIN).saturating_add(1));
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if fits(middle) {
            good = middle;
        } else {
            bad = middle;
        }
    }
    Some(good)
}

/// The refusal of a budget that does not have what is needed. `elsewhere` is what other gateways were granted of it beyond their rows.
pub(crate) fn over(rule: &BudgetRule, counter: &Counter, need: Need, elsewhere: i128) -> Refusal {
    let budget = &rule.budget;
    let measure = |units| measure(&budget.limit, units);
    let resets = match &counter.rolling {
        Some(rolling) => rolling.eases(counter.span),
        None => Some(counter.span.end),
    };
    Refusal::Budget(Box::new(OverBudget {
        budget: budget.name.clone(),
        per: budget
            .per
            .iter()
            .zip(counter.key.values())
            .map(|(dimension, value)| (dimension.text(), value.map(str::to_owned)))
            .collect(),
        limit: measure(rule.limit),
        spent: measure(counter.spent()),
        reserved: measure(counter.reserved.saturating_add(elsewhere)),
        estimate: (!need.later).then(|| measure(need.estimate)),
        resets: resets.map(Timestamp::from_unix_us),
        status: budget.status,
    }))
}

/// The refusal of a shared budget of which no more can be had at the moment.
pub(crate) fn unshared(rule: &BudgetRule, why: NotShared) -> Refusal {
    Refusal::Unshared(Box::new(Unshared {
        budget: rule.budget.name.clone(),
        why,
    }))
}

/// The refusal of a call of which no price is known.
pub(crate) fn unpriced(rule: &BudgetRule, missing: String) -> Refusal {
    Refusal::Unpriced(Box::new(UnpricedCall {
        budget: rule.budget.name.clone(),
        missing,
        status: rule.budget.status,
    }))
}
