//! Table `budgets`: every counter as it stands.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Decimal128Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use tollgate_budget::{BudgetRule, Engine, Span, Standing, span};
use tollgate_record::admission::Measure;
use tollgate_record::column::{Kind, Value};
use tollgate_record::rule::Window;
use tollgate_record::{Amount, Tags, Timestamp};

use crate::batch::tags;
use crate::schema::{DECIMAL, data_type};

/// Share of a window, in hundredths, that must have passed before its end is projected.
const PROJECTED_FROM: i64 = 1;

/// Its columns: name, type and meaning.
pub(crate) const BUDGETS: &[(&str, Kind, &str)] = &[
    ("name", Kind::Text, "Name of the budget."),
    (
        "per",
        Kind::Map,
        "What the counter is kept apart by, with its values; those that are null are left out.",
    ),
    ("window_start", Kind::Timestamp, "First instant of the window."),
    (
        "window_end",
        Kind::Timestamp,
        "First instant behind it; of a rolling window, the end of the step that now is in.",
    ),
    ("unit", Kind::Text, "What is counted: a currency's code, `tokens` or `calls`."),
    ("limit_amount", Kind::Decimal, "What may be used in the window."),
    (
        "spent",
        Kind::Decimal,
        "What rows of the window add up to: the answer of the budget's SQL at the same instant.",
    ),
    ("reserved", Kind::Decimal, "What is set aside for calls that have not ended."),
    (
        "remaining",
        Kind::Decimal,
        "`limit_amount` less `spent` less `reserved`; below zero where a budget that only warns was exceeded, or its limit was lowered.",
    ),
    (
        "refused",
        Kind::Int,
        "Calls that were refused in the window, since the gateway started.",
    ),
    (
        "projected",
        Kind::Decimal,
        "`spent` at the window's end, if it goes on as it did since its start; null in the first hundredth of a window, and of rolling windows.",
    ),
];

/// The schema of table `budgets`.
pub(crate) fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let nullable = |name: &str| name == "projected";
        let fields = BUDGETS
            .iter()
            .map(|(name, kind, _)| Field::new(*name, data_type(*kind), nullable(name)));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    });
    Arc::clone(&SCHEMA)
}

/// The counters of windows that `now` lies in. A budget that is kept apart by nothing has a row also if nothing was spent.
pub(super) fn batch(engine: &Engine, now: Timestamp) -> Result<RecordBatch, ArrowError> {
    let rules = engine.rules();
    let mut rows: Vec<(&BudgetRule, Standing)> = Vec::new();
    for rule in &rules.budgets {
        let current = span(&rule.budget.window, now);
        engine.advance(rule, current.filter(|_| matches!(rule.budget.window, Window::Rolling { .. })));
        let mut standings = engine.standings_of(rule);
        standings.retain(|standing| standing.span.has(now));
        if standings.is_empty()
            && rule.budget.per.is_empty()
            && let Some(span) = current
        {
            standings.push(Standing::nothing(rule.id, span));
        }
        standings.sort_by(|one, other| one.values.cmp(&other.values));
        rows.extend(standings.into_iter().map(|standing| (rule, standing)));
    }

    let mut names = StringBuilder::new();
    let mut units = StringBuilder::new();
    let mut instants = [(); 2].map(|()| TimestampMicrosecondBuilder::new().with_timezone("UTC"));
    let mut amounts = [(); 5].map(|()| Decimal128Builder::new().with_data_type(DECIMAL));
    let mut refused = Int64Builder::new();
    let mut per = Vec::with_capacity(rows.len());
    for (rule, standing) in &rows {
        names.append_value(rule.budget.name.as_str());
        let values = rule.budget.per.iter().zip(standing.values.iter());
        per.push(Tags::from_pairs(
            values.filter_map(|(dimension, value)| Some((dimension.text(), value.as_deref()?))),
        ));
        let [start, end] = &mut instants;
        start.append_value(standing.span.start);
        end.append_value(standing.span.end);
        let words = Engine::words(rule, standing);
        units.append_value(match &words[0] {
            Measure::Money(_, currency) => currency.as_str(),
            Measure::Tokens(_) => "tokens",
            Measure::Calls(_) => "calls",
        });
        let [limit, spent, reserved, left] = words.map(|measure| match measure {
            Measure::Money(amount, _) | Measure::Tokens(amount) | Measure::Calls(amount) => amount,
        });
        let projected = match rule.budget.window {
            Window::Rolling { .. } => None,
            _ => project(spent, standing.span, now),
        };
        for (builder, amount) in amounts
            .iter_mut()
            .zip([Some(limit), Some(spent), Some(reserved), Some(left), projected])
        {
            builder.append_option(amount.map(Amount::units));
        }
        refused.append_value(i64::try_from(standing.refused).unwrap_or(i64::MAX));
    }
    let [start, end] = instants.map(|mut builder| Arc::new(builder.finish()) as ArrayRef);
    let [limit, spent, reserved, left, projected] = amounts.map(|mut builder| Arc::new(builder.finish()) as ArrayRef);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(names.finish()),
        tags(per.iter().map(Value::Map))?,
        start,
        end,
        Arc::new(units.finish()),
        limit,
        spent,
        reserved,
        left,
        Arc::new(refused.finish()),
        projected,
    ];
    RecordBatch::try_new(schema(), columns)
}

/// What is spent at the window's end, if it goes on as it did since its start.
fn project(spent: Amount, span: Span, now: Timestamp) -> Option<Amount> {
    let (whole, passed) = (span.end.checked_sub(span.start)?, now.unix_us().checked_sub(span.start)?);
    if passed <= 0 || passed.checked_mul(100)? < whole.checked_mul(PROJECTED_FROM)? {
        return None;
    }
    spent.mul_ratio(i128::from(whole), i128::from(passed)).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_window_is_projected_from_what_has_passed_of_it() {
        let span = Span { start: 0, end: 1000 };
        let at = |now| project("30".parse().unwrap(), span, Timestamp::from_unix_us(now));
        assert_eq!(at(250), Some("120".parse().unwrap()));
        assert_eq!(at(10), Some("3000".parse().unwrap()));
        assert_eq!(at(9), None);
        assert_eq!(at(0), None);
    }
}
