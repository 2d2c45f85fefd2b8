//! A budget or a rate limit as a back-test asks for it, and its limit in the words of its declaration.

use tollgate_record::rule::{Action, Budget, Dimension, Limit, Rate, RateLimit, Unpriced, Window};
use tollgate_record::{Amount, Name};

use crate::rules::{limit_units, measure};

/// A rule that is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tried {
    /// A budget.
    Budget(Budget),
    /// A rate limit.
    Rate(RateLimit),
}

impl Tried {
    /// Name of the resource.
    pub const fn name(&self) -> &Name {
        match self {
            Self::Budget(budget) => &budget.name,
            Self::Rate(limit) => &limit.name,
        }
    }

    /// Which calls it is for.
    pub fn when(&self) -> Option<&str> {
        match self {
            Self::Budget(budget) => budget.when.as_deref(),
            Self::Rate(limit) => limit.when.as_deref(),
        }
    }

    /// What its counters are kept apart by.
    pub fn per(&self) -> &[Dimension] {
        match self {
            Self::Budget(budget) => &budget.per,
            Self::Rate(limit) => &limit.per,
        }
    }

    /// Its limit: 10^-12 of a currency, tokens, calls.
    pub fn limit(&self) -> i128 {
        match self {
            Self::Budget(budget) => limit_units(&budget.limit),
            Self::Rate(limit) => match limit.limit {
                Rate::Requests { count, .. } | Rate::Tokens { count, .. } | Rate::Concurrency(count) => i128::from(count),
            },
        }
    }

    /// Reads another limit in its unit: an amount of the budget's currency, or a whole number.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read_limit(&self, text: &str) -> Result<i128, String> {
        let text = text.trim();
        let units = match self {
            Self::Budget(Budget {
                limit: Limit::Money { currency, .. },
                ..
            }) => {
                let amount: Amount = text.parse().map_err(|error| {
                    format!(
                        "{text:?} is no amount of {currency}, which budget {} counts: {error}",
                        self.name()
                    )
                })?;
                amount.units()
            }
            Self::Budget(_) | Self::Rate(_) => text
                .parse::<u64>()
                .map(i128::from)
                .map_err(|_| format!("{text:?} is no whole number, which {} has for a limit", self.name()))?,
        };
        match units {
            1.. => Ok(units),
            _ => Err(format!("{text} is no limit for {}: it is not above zero", self.name())),
        }
    }

    /// A limit in words.
    pub fn words(&self, units: i128) -> String {
        match self {
            Self::Budget(budget) => measure(&budget.limit, units).to_string(),
            Self::Rate(limit) => match limit.limit {
                Rate::Requests { .. } => format!("{units} requests"),
                Rate::Tokens { .. } => format!("{units} tokens"),
                Rate::Concurrency(_) => format!("{units} at once"),
            },
        }
    }

    /// Whether a call that does not fit is made all the same.
    pub fn only_warns(&self) -> bool {
        matches!(self, Self::Budget(budget) if budget.action == Action::Warn)
    }

    /// Whether a call without a price in its currency does not pass.
    pub(super) fn refuses_unpriced(&self) -> bool {
        matches!(self, Self::Budget(budget) if budget.unpriced == Unpriced::Refuse && matches!(budget.limit, Limit::Money { .. }))
    }

    pub(super) const fn window(&self) -> Option<&Window> {
        match self {
            Self::Budget(budget) => Some(&budget.window),
            Self::Rate(_) => None,
        }
    }

    /// Microseconds in which a bucket refills; 1 of what has none.
    pub(super) const fn window_us(&self) -> i64 {
        match self {
            Self::Rate(RateLimit {
                limit: Rate::Requests { window_us, .. } | Rate::Tokens { window_us, .. },
                ..
            }) => *window_us,
            Self::Budget(_) | Self::Rate(_) => 1,
        }
    }
}
