//! The columns of table `usage_hourly`, declared once: what rows are put together by, and what is added up.
//!
//! # Why these
//! - Every measure is a sum or a maximum, so parts can be put together in any order and any number of times.
//! - A sum over values that are all null is null, as over the raw rows: not known stays apart from zero. `*_calls` says how many calls
//!   a sum is over.
//! - `user_id`, `session_id` and tags are left out: there are nearly as many combinations of them in an hour as there are calls.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::expr_fn::{count, max, sum};
use datafusion::logical_expr::{Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::{cast, ident, lit};
use tollgate_record::Amount;
use tollgate_record::column::USAGE;

use crate::date_trunc::date_trunc;
use crate::schema::{PARTITION, data_type};

/// The column that says which hour a row is of.
pub const HOUR: &str = "hour";

/// The columns of table `usage` that rows are put together by, beside the hour and its day.
pub const KEYS: [&str; 15] = [
    "org",
    "team",
    "project",
    "service",
    "agent",
    "key_id",
    "provider_name",
    "request_model",
    "response_model",
    "operation_name",
    "outcome",
    "status_code",
    "cost_status",
    "usage_source",
    "currency",
];

/// How a measure comes out of the rows of table `usage`.
#[derive(Clone, Copy, Debug)]
enum From {
    /// Calls: rows that correct no other.
    Calls,
    /// Rows that correct another.
    Corrections,
    /// Calls with a value in the column.
    Count(&'static str),
    /// The sum of the column.
    Sum(&'static str),
    /// The greatest value of the column.
    Max(&'static str),
}

/// A column that is added up.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// Its name.
    pub name: &'static str,
    /// What it means, in a sentence.
    pub doc: &'static str,
    from: From,
}

/// The columns that are added up, in order.
pub const MEASURES: [Measure; 22] = [
    measure("calls", "Calls; corrections are not counted.", From::Calls),
    measure("corrections", "Rows that correct another.", From::Corrections),
    measure("input_tokens", "Sum of `input_tokens`.", From::Sum("input_tokens")),
    measure(
        "input_tokens_calls",
        "Calls in which `input_tokens` is known.",
        From::Count("input_tokens"),
    ),
    measure(
        "cache_read_input_tokens",
        "Sum of `cache_read_input_tokens`.",
        From::Sum("cache_read_input_tokens"),
    ),
    measure(
        "cache_read_input_tokens_calls",
        "Calls in which `cache_read_input_tokens` is known.",
        From::Count("cache_read_input_tokens"),
    ),
    measure(
        "cache_creation_input_tokens",
        "Sum of `cache_creation_input_tokens`.",
        From::Sum("cache_creation_input_tokens"),
    ),
    measure(
        "cache_creation_input_tokens_calls",
        "Calls in which `cache_creation_input_tokens` is known.",
        From::Count("cache_creation_input_tokens"),
    ),
    measure("output_tokens", "Sum of `output_tokens`.", From::Sum("output_tokens")),
    measure(
        "output_tokens_calls",
        "Calls in which `output_tokens` is known.",
        From::Count("output_tokens"),
    ),
    measure(
        "reasoning_tokens",
        "Sum of `reasoning_tokens`.",
        From::Sum("reasoning_tokens"),
    ),
    measure(
        "reasoning_tokens_calls",
        "Calls in which `reasoning_tokens` is known.",
        From::Count("reasoning_tokens"),
    ),
    measure("cost", "Sum of `cost`.", From::Sum("cost")),
    measure("cost_calls", "Calls in which `cost` is known.", From::Count("cost")),
    measure("list_cost", "Sum of `list_cost`.", From::Sum("list_cost")),
    measure("avoided_cost", "Sum of `avoided_cost`.", From::Sum("avoided_cost")),
    measure("duration_us", "Sum of `duration_us`.", From::Sum("duration_us")),
    measure("duration_us_max", "Greatest `duration_us`.", From::Max("duration_us")),
    measure(
        "time_to_first_token_us",
        "Sum of `time_to_first_token_us`.",
        From::Sum("time_to_first_token_us"),
    ),
    measure(
        "time_to_first_token_us_calls",
        "Calls in which `time_to_first_token_us` is known.",
        From::Count("time_to_first_token_us"),
    ),
    measure("request_bytes", "Sum of `request_bytes`.", From::Sum("request_bytes")),
    measure("response_bytes", "Sum of `response_bytes`.", From::Sum("response_bytes")),
];

const fn measure(name: &'static str, doc: &'static str, from: From) -> Measure {
    Measure { name, doc, from }
}

impl Measure {
    /// Its type.
    pub fn data_type(&self) -> DataType {
        match self.from {
            From::Calls | From::Corrections | From::Count(_) => DataType::Int64,
            From::Sum(column) | From::Max(column) => match stored(column) {
                DataType::Decimal128(..) => DataType::Decimal128(38, Amount::SCALE as i8),
                other => other,
            },
        }
    }

    /// Whether it is null where no value is known.
    pub fn nullable(&self) -> bool {
        matches!(self.from, From::Sum(_) | From::Max(_))
    }

    fn of_usage(&self) -> Result<Expr, DataFusionError> {
        Ok(match self.from {
            From::Calls => count(lit(1_i64)).filter(ident("corrects").is_null()).build()?,
            From::Corrections => count(ident("corrects")),
            From::Count(column) => count(ident(column)).filter(ident("corrects").is_null()).build()?,
            From::Sum(column) => sum(ident(column)),
            From::Max(column) => max(ident(column)),
        })
    }

    fn of_parts(&self) -> Expr {
        match self.from {
            From::Max(_) => max(ident(self.name)),
            _ => sum(ident(self.name)),
        }
    }
}

/// The type of a column of table `usage`.
fn stored(column: &str) -> DataType {
    let column = USAGE.iter().find(|declared| declared.name == column);
    column.map_or(DataType::Null, |column| data_type(column.kind))
}

fn hour_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The Arrow schema of table `usage_hourly`, as it is stored.
pub fn hourly_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let mut fields = vec![
            Field::new(HOUR, hour_type(), false),
            Field::new(PARTITION, DataType::Date32, false),
        ];
        for key in KEYS {
            let nullable = USAGE
                .iter()
                .find(|column| column.name == key)
                .is_none_or(|column| column.nullable);
            fields.push(Field::new(key, stored(key), nullable));
        }
        fields.extend(
            MEASURES
                .iter()
                .map(|measure| Field::new(measure.name, measure.data_type(), measure.nullable())),
        );
        Arc::new(Schema::new(fields))
    });
    Arc::clone(&SCHEMA)
}

/// The rows of table `usage_hourly` that stand for rows of table `usage`.
///
/// # Errors
/// What the planner says, which would be a defect.
pub(crate) fn rolled_up(usage: LogicalPlanBuilder) -> Result<LogicalPlanBuilder, DataFusionError> {
    let hour = cast(date_trunc().call(vec![lit("hour"), ident("start_time")]), hour_type()).alias(HOUR);
    let keys = std::iter::once(hour).chain([PARTITION].into_iter().chain(KEYS).map(ident));
    let measures = MEASURES.iter().map(Measure::of_usage).collect::<Result<Vec<_>, _>>()?;
    shaped(usage.aggregate(keys, measures)?)
}

/// Rows of table `usage_hourly` put together: one for each hour and key.
///
/// # Errors
/// As [`rolled_up`].
pub(crate) fn merged(parts: LogicalPlanBuilder) -> Result<LogicalPlanBuilder, DataFusionError> {
    let keys = [HOUR, PARTITION].into_iter().chain(KEYS).map(ident);
    shaped(parts.aggregate(keys, MEASURES.iter().map(Measure::of_parts))?)
}

/// Gives the columns of an aggregate the names and types of the table.
fn shaped(plan: LogicalPlanBuilder) -> Result<LogicalPlanBuilder, DataFusionError> {
    let found: &DFSchema = plan.schema();
    let schema = hourly_schema();
    let columns: Vec<_> = schema
        .fields()
        .iter()
        .zip(found.columns())
        .map(|(field, column)| {
            let text = matches!(field.data_type(), DataType::Utf8);
            let column = Expr::Column(column);
            // Text stays as the engine had it.
            let column = if text {
                column
            } else {
                cast(column, field.data_type().clone())
            };
            column.alias(field.name())
        })
        .collect();
    plan.project(columns)
}

/// Sorted as files are: by hour, then by what reports group by.
///
/// # Errors
/// As [`rolled_up`].
pub(crate) fn sorted(plan: LogicalPlanBuilder) -> Result<LogicalPlan, DataFusionError> {
    let order = [PARTITION, "team", "request_model", HOUR]
        .into_iter()
        .map(|name| ident(name).sort(true, true));
    plan.sort(order)?.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_of_the_rollup_is_one_of_usage_or_documented() {
        assert!(KEYS.iter().all(|key| stored(key) != DataType::Null));
        for measure in MEASURES {
            assert!(measure.doc.ends_with('.'), "{}", measure.name);
            assert_ne!(measure.data_type(), DataType::Null, "{}", measure.name);
        }
        let schema = hourly_schema();
        let mut names: Vec<_> = schema.fields().iter().map(|field| field.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), schema.fields().len());
    }
}
