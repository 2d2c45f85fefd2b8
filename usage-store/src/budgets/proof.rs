//! What a counter rests on: the query that anyone may ask, and how the counter stands.

use std::collections::BTreeMap;

use tollgate_budget::{Engine, Span, Standing, span};
use tollgate_record::admission::Measure;
use tollgate_record::rule::{Budget, Dimension};
use tollgate_record::{Name, Timestamp};

use super::sql;

/// What a counter rests on.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The budget.
    pub budget: Name,
    /// What the counter is kept apart by, with its values.
    pub per: Vec<(String, Option<String>)>,
    /// Its window.
    pub span: Span,
    /// The query of what was spent: one row, one column `spent`.
    pub sql: String,
    /// The query of the calls that the budget refused in the window, the last one first: `call_id`, `start_time`, `detail`.
    pub refusals_sql: String,
    /// Limit, spent, set aside and left, and how many calls were refused since the gateway started. None of a window that has passed, or if none was made.
    pub counter: Option<([Measure; 4], u64)>,
}

/// Why there is no proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproved {
    /// No budget has the name.
    #[error("there is no budget {name:?}; table budgets has those that there are")]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// Something is named that the budget is not kept apart by.
    #[error("budget {budget} is not kept apart by {dimension:?}, but by {allowed}")]
    Dimension {
        /// The budget.
        budget: Name,
        /// What was named.
        dimension: String,
        /// Its `per`.
        allowed: String,
    },
    /// The instant lies in none of its windows.
    #[error("budget {budget} has no window at that time")]
    NoWindow {
        /// The budget.
        budget: Name,
    },
}

impl Proof {
    /// The proof of a budget's counter, `at` an instant, of the values in `per`; those that are not named are null.
    ///
    /// # Errors
    /// [`Unproved`].
    pub fn new(budget: &Budget, per: &BTreeMap<String, String>, at: Timestamp) -> Result<Self, Unproved> {
        let texts: Vec<String> = budget.per.iter().map(Dimension::text).collect();
        if let Some(unknown) = per.keys().find(|key| !texts.contains(key)) {
            return Err(Unproved::Dimension {
                budget: budget.name.clone(),
                dimension: unknown.clone(),
                allowed: if texts.is_empty() {
                    "nothing".to_owned()
                } else {
                    texts.join(", ")
                },
            });
        }
        let span = span(&budget.window, at).ok_or_else(|| Unproved::NoWindow {
            budget: budget.name.clone(),
        })?;
        let values: Vec<Option<Box<str>>> = texts
            .iter()
            .map(|text| per.get(text).map(|value| value.as_str().into()))
            .collect();
        Ok(Self {
            sql: sql::proof(budget, span, &values),
            refusals_sql: sql::refusals(budget, span, &values),
            budget: budget.name.clone(),
            per: texts
                .into_iter()
                .zip(values.into_iter().map(|value| value.map(String::from)))
                .collect(),
            span,
            counter: None,
        })
    }

    /// The proof of a counter in force.
    ///
    /// # Errors
    /// [`Unproved`].
    pub(super) fn of(engine: &Engine, name: &str, per: &BTreeMap<String, String>, at: Timestamp) -> Result<Self, Unproved> {
        let rules = engine.rules();
        let rule = rules.budgets.iter().find(|rule| rule.budget.name.as_str() == name);
        let rule = rule.ok_or_else(|| Unproved::Unknown { name: name.to_owned() })?;
        let mut proof = Self::new(&rule.budget, per, at)?;
        let is_it = |standing: &Standing| {
            standing.span == proof.span
                && standing
                    .values
                    .iter()
                    .map(Option::as_deref)
                    .eq(proof.per.iter().map(|(_, value)| value.as_deref()))
        };
        let standings = engine.standings_of(rule);
        proof.counter = standings
            .iter()
            .find(|standing| is_it(standing))
            .map(|standing| (Engine::words(rule, standing), standing.refused));
        Ok(proof)
    }
}
