//! A budget's sums out of table `usage_hourly`: who loads the counters of a month reads hours instead of calls.
//!
//! 1. It can be asked where `when` and `per` name columns by which hours are kept apart, and where the window and its steps begin at full hours.
//!    Everything else is loaded from the raw rows.
//! 2. What it answers is what the raw rows add up to ([`crate::rollup`]). Comparisons and proofs read the raw rows always.
//! 3. Hours do not tell gateways apart. If there are rows of others, this gateway's are added up out of the raw rows, and the rest is others'. That may know of
//!    rows of theirs that the table, read a moment earlier, does not have: then the next comparison would have found them.

use std::collections::HashMap;
use std::sync::Arc;

use tollgate_budget::{Span, Sum};
use tollgate_record::rule::{Budget, Dimension, Limit, Tokens};

use super::matcher::columns_of_when;
use super::sql::{HOUR_US, instant, made_outcomes, own, quoted, step};
use super::{Seen, Shared, asked};
use crate::Error;
use crate::hot::Held;
use crate::rollup::{self, HOUR, Hourly, KEYS, Keeper};

/// The query of [`super::sql::sums`] over table `usage_hourly`; none if it cannot answer that.
pub(super) fn sums(budget: &Budget, span: Span) -> Option<String> {
    let is_full = |us: i64| us.rem_euclid(HOUR_US) == 0;
    let step = step(budget);
    let in_hours = is_full(span.start) && is_full(span.end) && step.is_none_or(is_full);
    let when = columns_of_when(budget.when.as_deref()).ok()?;
    let per = budget.per.iter().map(|dimension| match dimension {
        Dimension::Column(column) => Some(*column),
        Dimension::Tag(_) => None,
    });
    let groups: Vec<&str> = per.collect::<Option<_>>()?;
    if !in_hours || !when.iter().chain(&groups).all(|column| KEYS.contains(column)) {
        return None;
    }
    let mut columns: Vec<String> = groups
        .iter()
        .enumerate()
        .map(|(place, column)| format!("{column} AS d{place}"))
        .collect();
    let mut groups: Vec<String> = groups.into_iter().map(str::to_owned).collect();
    if let Some(step) = step {
        let step = format!("CAST({HOUR} AS BIGINT) / {step} * {step}");
        columns.push(format!("{step} AS step"));
        groups.push(step);
    }
    let (measure, rows) = match &budget.limit {
        Limit::Money { currency, .. } => ("sum(cost)", Some(format!("currency = {}", quoted(currency.as_str())))),
        Limit::Tokens { of: Tokens::Input, .. } => ("sum(input_tokens)", None),
        Limit::Tokens { of: Tokens::Output, .. } => ("sum(output_tokens)", None),
        Limit::Tokens { of: Tokens::Total, .. } => ("sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0))", None),
        Limit::Calls(_) => ("sum(calls)", Some(made_outcomes())),
    };
    columns.extend([format!("{measure} AS own"), "0 AS others".to_owned()]);
    let mut conditions: Vec<String> = budget.when.iter().map(|when| format!("({when})")).collect();
    conditions.extend(rows);
    conditions.push(format!("{HOUR} >= {}", instant(span.start)));
    conditions.push(format!("{HOUR} < {}", instant(span.end)));
    let (columns, conditions) = (columns.join(", "), conditions.join(" AND "));
    let mut text = format!("SELECT {columns} FROM {} WHERE {conditions}", rollup::NAME);
    if !groups.is_empty() {
        text.push_str(&format!(" GROUP BY {}", groups.join(", ")));
    }
    Some(text)
}

/// The rollup of the rows that are seen.
pub(super) struct Hours {
    hourly: Hourly,
    /// Whether all rows are this gateway's.
    all_own: bool,
}

impl Shared {
    /// The rollup of the rows that are seen, if there is one.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn hours(&self, seen: &Seen) -> Result<Option<Hours>, Error> {
        if !seen.table.is_open() {
            return Ok(None);
        }
        let (files, own) = (seen.table.scanned()?, self.instance());
        let hourly = match &seen.hourly {
            Some(hourly) => hourly.clone(),
            // Nobody has brought it forward yet since the start.
            None => match rollup::existing(self.location()).await? {
                Some(rolled) => {
                    let known = self.rollup().map(Keeper::seen).unwrap_or_default();
                    let hourly = Hourly::knowing(&rolled, &files, Arc::clone(&known)).await?;
                    // A file of which it is not known whose rows it has is read by every query. Knowing takes two columns of it, once.
                    match hourly.coverage.look_into(&files, usize::MAX).await? {
                        true => Hourly::knowing(&rolled, &files, known).await?,
                        false => hourly,
                    }
                }
                None => return Ok(None),
            },
        };
        // It was read after the table, so it may have own rows that are still in memory here.
        if hourly.coverage.of(own.as_str()) > seen.table.committed(own).await? {
            return Ok(None);
        }
        let all_own = hourly.coverage.is_of_only(&files, own);
        Ok(Some(Hours { hourly, all_own }))
    }

    /// What the rows of a window add up to, out of hours where they can say it.
    pub(super) async fn loaded(&self, budget: &Budget, span: Span, seen: &Seen, hours: Option<&Hours>) -> Result<Vec<Sum>, Error> {
        let (Some(hours), Some(text)) = (hours, sums(budget, span)) else {
            return self.sums(budget, span, seen).await;
        };
        let has_steps = step(budget).is_some();
        let usage = seen.table.scanned()?;
        let hourly = rollup::view(Some(&hours.hourly), Some(&usage), Held::of(&seen.rows)?).map_err(Error::query)?;
        let mut all = asked(budget, &text, has_steps, rollup::NAME, hourly).await?;
        if !hours.all_own {
            let own = self
                .sums_of(budget, &own(budget, span, self.instance()), has_steps, seen)
                .await?;
            let own: HashMap<_, _> = own.into_iter().map(|sum| ((sum.values, sum.step), sum.own)).collect();
            for sum in &mut all {
                let key = (std::mem::take(&mut sum.values), sum.step);
                let of_own = own.get(&key).copied().unwrap_or(0);
                (sum.others, sum.own) = (sum.own - of_own, of_own);
                sum.values = key.0;
            }
        }
        Ok(all)
    }
}
