//! Rules in force: budgets and rate limits with the numbers that their counters are kept under.

use std::sync::Arc;

use tollgate_record::rule::{Action, Budget, Limit, RateLimit, Tokens};
use tollgate_record::{Amount, Record};

use crate::Facts;

/// Number of a budget's definition. A budget whose limit, action or alerts change keeps its number and with it what was spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub(crate) u32);

/// A budget in force.
#[derive(Clone, Debug)]
pub struct BudgetRule {
    /// Under which its counters are kept.
    pub id: RuleId,
    /// What was declared.
    pub budget: Budget,
    /// The limit in the units that counters count: 10^-12 of a currency, tokens, calls.
    pub(crate) limit: i128,
}

/// A rate limit in force.
#[derive(Clone, Debug)]
pub struct RateRule {
    /// Under which its buckets are kept.
    pub(crate) id: RuleId,
    /// What was declared.
    pub limit: RateLimit,
}

/// All rules in force.
pub struct Rules {
    /// Budgets, in the order of the documents.
    pub budgets: Vec<BudgetRule>,
    /// Rate limits, in the order of the documents.
    pub rates: Vec<RateRule>,
    /// Tells which of them a call is for.
    pub(crate) matcher: Arc<dyn Matcher>,
    /// Whether any budget wants to know what calls of a key came to lately.
    pub(crate) wants_recent: bool,
}

/// Tells which rules a call is for.
pub trait Matcher: Send + Sync + 'static {
    /// Places of the budgets, ascending, then places of the rate limits, ascending; each in its list.
    fn matching(&self, facts: &Facts<'_>) -> Arc<(Vec<u32>, Vec<u32>)>;
}

impl BudgetRule {
    /// Whether gateways have to be granted shares of it, where there are several: what refuses nothing needs none.
    pub(crate) fn is_shared(&self) -> bool {
        self.budget.action != Action::Warn
    }
}

/// What a row adds to a counter of a limit: 10^-12 of its currency, tokens, or calls.
pub fn measured(limit: &Limit, record: &Record) -> i128 {
    let tokens = |count: Option<u64>| i128::from(count.unwrap_or(0));
    match limit {
        Limit::Money { currency, .. } => match (&record.cost.cost, &record.cost.currency) {
            (Some(cost), Some(of)) if of == currency => cost.units(),
            _ => 0,
        },
        Limit::Tokens { of, .. } => match of {
            Tokens::Input => tokens(record.usage.input),
            Tokens::Output => tokens(record.usage.output),
            Tokens::Total => tokens(record.usage.input) + tokens(record.usage.output),
        },
        Limit::Calls(_) => i128::from(record.corrects.is_none() && !record.outcome.is_refused()),
    }
}

/// A limit in the units of its counters.
pub(crate) fn limit_units(limit: &Limit) -> i128 {
    match limit {
        Limit::Money { amount, .. } => amount.units(),
        Limit::Tokens { count, .. } | Limit::Calls(count) => i128::from(*count),
    }
}

/// An amount of a counter, in words that outsiders know.
pub(crate) fn measure(limit: &Limit, units: i128) -> tollgate_record::admission::Measure {
    use tollgate_record::admission::Measure;
    let most = if units < 0 { -Amount::MAX_UNITS } else { Amount::MAX_UNITS };
    let amount = |units| Amount::from_units(units).unwrap_or_else(|_| Amount::from_units(most).expect("the largest amount is one"));
    let whole = |count: i128| amount(count.saturating_mul(Amount::ONE.units()));
    match limit {
        Limit::Money { currency, .. } => Measure::Money(amount(units), currency.clone()),
        Limit::Tokens { .. } => Measure::Tokens(whole(units)),
        Limit::Calls(_) => Measure::Calls(whole(units)),
    }
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rules")
            .field("budgets", &self.budgets)
            .field("rates", &self.rates)
            .finish_non_exhaustive()
    }
}
