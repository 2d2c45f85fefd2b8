//! Numbers of budgets and rate limits: the same definition has the same number, so that a change of the rest keeps its counters.

use tollgate_record::Name;
use tollgate_record::rule::{Budget, Dimension, Limit, RateLimit, Window};

use crate::rules::RuleId;

/// Numbers of definitions; never given twice.
#[derive(Default)]
pub(super) struct Ids {
    pub(super) given: Vec<(Definition, RuleId)>,
    pub(super) next: u32,
    /// Budgets whose counters have been loaded.
    pub(super) loaded: ByRule<()>,
}

/// Something of each budget, found by its number: those are small and given in turn.
pub(super) struct ByRule<T>(Vec<Option<T>>);

/// What a budget counts. While this stays, so do its counters.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Definition {
    pub(super) name: Name,
    pub(super) when: Option<Box<str>>,
    pub(super) per: Vec<Dimension>,
    pub(super) of: String,
    pub(super) window: Option<Window>,
}

// === impl ByRule ===

impl<T> Default for ByRule<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> ByRule<T> {
    pub(super) fn get(&self, rule: RuleId) -> Option<&T> {
        self.0.get(rule.0 as usize).and_then(Option::as_ref)
    }

    pub(super) fn has(&self, rule: RuleId) -> bool {
        self.get(rule).is_some()
    }

    pub(super) fn set(&mut self, rule: RuleId, value: T) {
        let place = rule.0 as usize;
        if self.0.len() <= place {
            self.0.resize_with(place + 1, || None);
        }
        if let Some(known) = self.0.get_mut(place) {
            *known = Some(value);
        }
    }

    pub(super) fn retain(&mut self, keep: impl Fn(RuleId) -> bool) {
        for (id, value) in (0..).zip(&mut self.0) {
            if !keep(RuleId(id)) {
                *value = None;
            }
        }
    }
}

// === impl Ids ===

impl Ids {
    pub(super) fn of(&mut self, definition: Definition) -> RuleId {
        if let Some((_, id)) = self.given.iter().find(|(known, _)| *known == definition) {
            return *id;
        }
        let id = RuleId(self.next);
        self.next += 1;
        self.given.push((definition, id));
        id
    }
}

impl Definition {
    pub(super) fn of_budget(budget: &Budget) -> Self {
        let of = match &budget.limit {
            Limit::Money { currency, .. } => currency.to_string(),
            Limit::Tokens { of, .. } => format!("tokens {of:?}"),
            Limit::Calls(_) => "calls".to_owned(),
        };
        Self {
            name: budget.name.clone(),
            when: budget.when.clone(),
            per: budget.per.clone(),
            of,
            window: Some(budget.window.clone()),
        }
    }

    pub(super) fn of_rate(limit: &RateLimit) -> Self {
        Self {
            name: limit.name.clone(),
            when: limit.when.clone(),
            per: limit.per.clone(),
            of: format!("rate {:?}", limit.limit),
            window: None,
        }
    }
}
