//! How a call may pass: as it is, with a limit of its answer, or asking another model; and what to tell it if it may not.

use tollgate_record::admission::{Bounds, Refusal};
use tollgate_record::rule::{Action, Reservation};
use tollgate_record::{Decision, Name};

use super::State;
use crate::counter::Slot;
use crate::decide::{self, Need, Pricing, WorstCase};
use crate::rules::BudgetRule;

/// A budget that a call is for, with its counter.
pub(super) struct Match<'r> {
    pub(super) rule: &'r BudgetRule,
    pub(super) slot: Slot,
    pub(super) need: Need,
}

/// A call as budgets see it.
pub(super) struct Call<'a> {
    pub(super) key: &'a Name,
    pub(super) model: Option<&'a Name>,
    pub(super) bounds: &'a Bounds,
    pub(super) pricing: &'a dyn Pricing,
}

/// How a call may pass.
pub(super) struct Chosen<'r> {
    pub(super) matched: Vec<Match<'r>>,
    pub(super) max_tokens: Option<u64>,
    pub(super) model: Option<Name>,
    pub(super) decisions: Vec<Decision>,
}

/// A budget that does not let a call pass.
pub(super) struct Refused<'r> {
    pub(super) rule: &'r BudgetRule,
    pub(super) slot: Slot,
    pub(super) refusal: Refusal,
}

/// Why a call may not pass as it is.
pub(super) enum Stopped<'r> {
    Refused(Refused<'r>),
    /// It may pass when more was granted.
    Lacks(Vec<Lacked<'r>>),
}

/// What a call lacks of a counter that gateways share.
pub(super) struct Lacked<'r> {
    pub(super) rule: &'r BudgetRule,
    pub(super) slot: Slot,
    /// The least with which it passes, and what it would have.
    pub(super) least: i128,
    pub(super) wish: i128,
}

impl<'r> From<Refused<'r>> for Stopped<'r> {
    fn from(refused: Refused<'r>) -> Self {
        Self::Refused(refused)
    }
}

// === impl State ===

impl State {
    /// How a call may pass: as it is, with a limit of its answer, or asking another model.
    pub(super) fn choose<'r>(
        &self,
        matched: &[(&'r BudgetRule, Slot)],
        call: &Call<'_>,
        worst: WorstCase,
    ) -> Result<Chosen<'r>, Stopped<'r>> {
        let refused = match self.attempt(matched, call, call.model, worst) {
            Ok(chosen) => return Ok(chosen),
            Err(Stopped::Refused(refused)) => refused,
            // What the caller asked for may be had yet.
            Err(lacks) => return Err(lacks),
        };
        let Action::Downgrade(cheaper) = &refused.rule.budget.action else {
            return Err(refused.into());
        };
        if !call.bounds.takes_model || call.model == Some(cheaper) {
            return Err(refused.into());
        }
        let worst = call.pricing.worst(Some(cheaper), call.bounds);
        match self.attempt(matched, call, Some(cheaper), worst) {
            Ok(mut chosen) => {
                chosen.decisions.push(Decision {
                    policy: policy(refused.rule),
                    action: "downgrade".into(),
                    detail: Some(format!("to {cheaper}, for {}", describe(&refused.refusal)).into()),
                });
                chosen.model = Some(cheaper.clone());
                Ok(chosen)
            }
            Err(lacks @ Stopped::Lacks(_)) => Err(lacks),
            // What the caller asked for is what the refusal speaks of.
            Err(Stopped::Refused(_)) => Err(refused.into()),
        }
    }

    pub(super) fn attempt<'r>(
        &self,
        matched: &[(&'r BudgetRule, Slot)],
        call: &Call<'_>,
        model: Option<&Name>,
        worst: WorstCase,
    ) -> Result<Chosen<'r>, Stopped<'r>> {
        let mut max_tokens = None;
        let mut needs = self.needs(matched, call, &worst)?;
        let tight: Vec<_> = needs
            .iter()
            .filter(|found| !self.fits(found) && found.rule.budget.action != Action::Warn)
            .collect();
        if !tight.is_empty() {
            let clamps = call.bounds.takes_limit
                && call.bounds.output_tokens.is_none()
                && tight
                    .iter()
                    .all(|found| found.rule.budget.clamp && found.rule.budget.reservation == Reservation::WorstCase);
            let limited = |tokens| Bounds {
                output_tokens: Some(tokens),
                ..call.bounds.clone()
            };
            let most = worst.output_tokens / call.bounds.answers.max(1);
            if self.sharing.is_some() {
                let least = clamps.then(|| call.pricing.worst(model, &limited(decide::CLAMP_MIN)));
                let lacks = self.lacks(&tight, call, least.as_ref());
                if !lacks.is_empty() {
                    return Err(Stopped::Lacks(lacks));
                }
            }
            if clamps {
                max_tokens = decide::clamp(most, |tokens| {
                    let worst = call.pricing.worst(model, &limited(tokens));
                    let needs = self.needs(matched, call, &worst);
                    needs.is_ok_and(|needs| {
                        needs
                            .iter()
                            .all(|found| self.fits(found) || found.rule.budget.action == Action::Warn)
                    })
                });
            }
            match (max_tokens, tight.first()) {
                (Some(tokens), _) => needs = self.needs(matched, call, &call.pricing.worst(model, &limited(tokens)))?,
                (None, Some(found)) => return Err(self.refused(found).into()),
                (None, None) => {}
            }
        }
        let mut decisions: Vec<Decision> = Vec::new();
        for found in needs.iter().filter(|found| !self.fits(found)) {
            decisions.push(Decision {
                policy: policy(found.rule),
                action: "warn".into(),
                detail: Some(describe(&self.refused(found).refusal).into()),
            });
        }
        if let (Some(tokens), Some(found)) = (max_tokens, matched.first()) {
            decisions.push(Decision {
                policy: policy(found.0),
                action: "clamp".into(),
                detail: Some(format!("the answer is limited to {tokens} tokens").into()),
            });
        }
        Ok(Chosen {
            matched: needs,
            max_tokens,
            model: None,
            decisions,
        })
    }

    pub(super) fn needs<'r>(
        &self,
        matched: &[(&'r BudgetRule, Slot)],
        call: &Call<'_>,
        worst: &WorstCase,
    ) -> Result<Vec<Match<'r>>, Refused<'r>> {
        // Not collected: that would not know how many there are.
        let mut needs = Vec::with_capacity(matched.len());
        for (rule, slot) in matched {
            match decide::need(rule, worst, call.bounds.later, &self.recent, call.key) {
                Ok(need) => needs.push(Match { rule, slot: *slot, need }),
                Err(missing) => {
                    return Err(Refused {
                        rule,
                        slot: *slot,
                        refusal: decide::unpriced(rule, missing),
                    });
                }
            }
        }
        Ok(needs)
    }

    pub(super) fn fits(&self, found: &Match<'_>) -> bool {
        let counter = self.counters.get(found.slot);
        counter.is_some_and(|counter| {
            decide::fits(found.rule, counter, found.need) && (self.sharing.is_none() || self.covers(found, counter))
        })
    }

    pub(super) fn refused<'r>(&self, found: &Match<'r>) -> Refused<'r> {
        let counter = self
            .counters
            .get(found.slot)
            .expect("the counter was found or made under this lock");
        Refused {
            rule: found.rule,
            slot: found.slot,
            refusal: match self.unshared(found, counter) {
                Some(why) => decide::unshared(found.rule, why),
                None => decide::over(found.rule, counter, found.need, self.elsewhere(found, counter)),
            },
        }
    }
}

pub(super) fn policy(rule: &BudgetRule) -> Box<str> {
    format!("budget:{}", rule.budget.name).into()
}

/// A refusal by its numbers.
pub(super) fn describe(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Budget(over) => {
            let estimate = match &over.estimate {
                Some(estimate) => format!("this call up to {estimate}"),
                None => "what this call starts is priced later".to_owned(),
            };
            format!(
                "limit {}, spent {}, reserved {}, {estimate}",
                over.limit, over.spent, over.reserved
            )
        }
        Refusal::Unpriced(call) => call.missing.clone(),
        Refusal::Unloaded { .. } => "what was spent is not known".to_owned(),
        Refusal::Pending(_) | Refusal::Unshared(_) => "what gateways share of it is not known".to_owned(),
        Refusal::Rate(over) => format!("{} {}", over.state.limit, over.state.of.as_str()),
    }
}
