//! The SQL of a budget: its sum over table `usage`, as it loads, reconciles and proves a counter.
//!
//! What is counted is the same for all three, and the same as [`tollgate_budget::measured`] says of one row.

use chrono::{DateTime, SecondsFormat};
use tollgate_budget::{Span, step_us};
use tollgate_record::rule::{Budget, Limit, Tokens, Window};
use tollgate_record::{Name, Outcome, Timestamp};

pub(super) const HOUR_US: i64 = 3_600_000_000;

/// What a row adds, as an expression that is never null.
pub(super) fn measure(limit: &Limit) -> String {
    match limit {
        Limit::Money { .. } => "cost".to_owned(),
        Limit::Tokens { of: Tokens::Input, .. } => "input_tokens".to_owned(),
        Limit::Tokens { of: Tokens::Output, .. } => "output_tokens".to_owned(),
        Limit::Tokens { of: Tokens::Total, .. } => "coalesce(input_tokens, 0) + coalesce(output_tokens, 0)".to_owned(),
        Limit::Calls(_) => "1".to_owned(),
    }
}

/// Which rows a limit looks at, beside `when` and the window.
fn rows(limit: &Limit) -> Option<String> {
    match limit {
        Limit::Money { currency, .. } => Some(format!("currency = {}", quoted(currency.as_str()))),
        Limit::Tokens { .. } => None,
        Limit::Calls(_) => Some(made()),
    }
}

/// The rows that are calls which were made.
pub(super) fn made() -> String {
    format!("corrects IS NULL AND {}", made_outcomes())
}

/// How calls end that were made.
pub(super) fn made_outcomes() -> String {
    let refused: Vec<_> = Outcome::ALL
        .iter()
        .filter(|outcome| outcome.is_refused())
        .map(|outcome| quoted(outcome.as_str()))
        .collect();
    format!("outcome NOT IN ({})", refused.join(", "))
}

/// The conditions of a budget in a window.
pub(super) fn conditions(budget: &Budget, span: Span) -> Vec<String> {
    let mut all: Vec<String> = budget.when.iter().map(|when| format!("({when})")).collect();
    all.extend(rows(&budget.limit));
    all.push(format!("start_time >= {}", instant(span.start)));
    all.push(format!("start_time < {}", instant(span.end)));
    all
}

/// Columns `d0`, `d1`...: the budget's `per`, and `step` of a rolling window; then `own` and `others`.
pub(super) fn sums(budget: &Budget, span: Span, instance: &Name) -> String {
    let (measure, own) = (measure(&budget.limit), quoted(instance.as_str()));
    let counts = [
        format!("sum(CASE WHEN instance = {own} THEN {measure} END) AS own"),
        format!("sum(CASE WHEN instance <> {own} THEN {measure} END) AS others"),
    ];
    grouped(budget, span, step(budget), counts)
}

/// The same by hours, of whoever's rows: all of it is `own`.
pub(super) fn hours(budget: &Budget, from: Timestamp, to: Timestamp) -> String {
    let span = Span {
        start: from.unix_us(),
        end: to.unix_us(),
    };
    let counts = [format!("sum({}) AS own", measure(&budget.limit)), "0 AS others".to_owned()];
    grouped(budget, span, Some(HOUR_US), counts)
}

/// The same without steps, of others' rows only.
pub(super) fn others(budget: &Budget, span: Span, instance: &Name) -> String {
    let counts = ["0 AS own".to_owned(), format!("sum({}) AS others", measure(&budget.limit))];
    let budget = narrowed(budget, format!("instance <> {}", quoted(instance.as_str())));
    grouped(&budget, span, None, counts)
}

/// The same as [`sums`], of own rows only: others' files are not read.
pub(super) fn own(budget: &Budget, span: Span, instance: &Name) -> String {
    let counts = [format!("sum({}) AS own", measure(&budget.limit)), "0 AS others".to_owned()];
    let budget = narrowed(budget, format!("instance = {}", quoted(instance.as_str())));
    grouped(&budget, span, step(&budget), counts)
}

/// A budget of fewer rows.
fn narrowed(budget: &Budget, to: String) -> Budget {
    Budget {
        when: Some(match &budget.when {
            Some(when) => format!("({when}) AND {to}").into(),
            None => to.into(),
        }),
        ..budget.clone()
    }
}

/// The step of a rolling window.
pub(super) fn step(budget: &Budget) -> Option<i64> {
    match budget.window {
        Window::Rolling { length_us } => Some(step_us(length_us)),
        _ => None,
    }
}

fn grouped(budget: &Budget, span: Span, step_us: Option<i64>, counts: [String; 2]) -> String {
    let dimensions: Vec<String> = budget.per.iter().map(tollgate_record::rule::Dimension::text).collect();
    let mut columns: Vec<String> = dimensions
        .iter()
        .enumerate()
        .map(|(place, text)| format!("{text} AS d{place}"))
        .collect();
    let mut groups = dimensions;
    if let Some(step) = step_us {
        let step = format!("CAST(start_time AS BIGINT) / {step} * {step}");
        columns.push(format!("{step} AS step"));
        groups.push(step);
    }
    columns.extend(counts);
    let mut text = format!(
        "SELECT {} FROM usage WHERE {}",
        columns.join(", "),
        conditions(budget, span).join(" AND ")
    );
    if !groups.is_empty() {
        text.push_str(&format!(" GROUP BY {}", groups.join(", ")));
    }
    text
}

/// The query that anyone may ask to see what a counter says: one row, one column.
pub fn proof(budget: &Budget, span: Span, values: &[Option<Box<str>>]) -> String {
    let mut all = conditions(budget, span);
    all.extend(of_values(budget, values));
    format!(
        "SELECT sum({}) AS spent FROM usage WHERE {}",
        measure(&budget.limit),
        all.join(" AND ")
    )
}

/// The calls that a budget refused in a window, the last one first.
pub(super) fn refusals(budget: &Budget, span: Span, values: &[Option<Box<str>>]) -> String {
    let outcome = quoted(Outcome::RefusedBudget.as_str());
    let mut all = vec![
        format!("outcome = {outcome}"),
        format!("start_time >= {}", instant(span.start)),
        format!("start_time < {}", instant(span.end)),
    ];
    all.extend(of_values(budget, values));
    format!(
        "SELECT call_id, start_time, decision['detail'] AS detail FROM (SELECT call_id, start_time, unnest(decisions) AS decision FROM usage WHERE {}) \
         WHERE decision['policy'] = {} ORDER BY start_time DESC",
        all.join(" AND "),
        quoted(&format!("budget:{}", budget.name))
    )
}

fn of_values<'a>(budget: &'a Budget, values: &'a [Option<Box<str>>]) -> impl Iterator<Item = String> + 'a {
    budget.per.iter().zip(values).map(|(dimension, value)| match value {
        Some(value) => format!("{} = {}", dimension.text(), quoted(value)),
        None => format!("{} IS NULL", dimension.text()),
    })
}

/// An instant as a literal.
pub(super) fn instant(us: i64) -> String {
    match DateTime::from_timestamp_micros(us) {
        Some(at) => format!("TIMESTAMP '{}'", at.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        // Outside of what a calendar names: then no row is.
        None => format!("to_timestamp_micros({us})"),
    }
}

pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
