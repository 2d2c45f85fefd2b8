//! A budget's sums out of table `usage_hourly`: who loads the counters of a month reads hours instead of calls.
//!
//! 1. It can be asked where `when` and `per` name columns by which hours are kept apart, where the window and its steps begin at full hours, and where all
//!    rows are this gateway's, for hours do not tell gateways apart. Everything else is loaded from the raw rows.
//! 2. What it answers is what the raw rows add up to ([`crate::rollup`]). Comparisons and proofs read the raw rows always.

use tollgate_budget::{Span, step_us};
use tollgate_record::Name;
use tollgate_record::rule::{Budget, Dimension, Limit, Tokens, Window};

use super::matcher::columns_of_when;
use super::sql::{HOUR_US, instant, made_outcomes, quoted};
use super::{Seen, Shared};
use crate::Error;
use crate::rollup::{self, HOUR, Hourly, KEYS};

/// The query of [`super::sql::sums`] over table `usage_hourly`; none if it cannot answer that.
pub(super) fn sums(budget: &Budget, span: Span) -> Option<String> {
    let is_full = |us: i64| us.rem_euclid(HOUR_US) == 0;
    let step = match budget.window {
        Window::Rolling { length_us } => Some(step_us(length_us)),
        _ => None,
    };
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

impl Shared {
    /// The rollup of the rows that are seen, if there is one and all of them are this gateway's.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn own_hours(&self, seen: &Seen, own: &Name) -> Result<Option<Hourly>, Error> {
        if !seen.table.is_open() {
            return Ok(None);
        }
        let files = seen.table.scanned()?;
        let hourly = match &seen.hourly {
            Some(hourly) => Some(hourly.clone()),
            // Nobody has brought it forward yet since the start.
            None => match rollup::existing(self.location()).await? {
                Some(rolled) => Some(Hourly::of(&rolled, &files).await?),
                None => None,
            },
        };
        // It was read after the table, so it may have rows that here are still in memory.
        let committed = seen.table.committed(own).await?;
        Ok(hourly.filter(|hourly| hourly.coverage.is_of_only(&files, own, committed)))
    }
}
