//! `usage_original`, `usage_corrected` and `usage_rated(list)`: the calls as they were recorded, as they stand after corrections, and as a
//! price list would have them.
//!
//! A correction has the time of the call that it corrects, so that a filter on time is one on corrections too: both sides are read by it.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{Column, ScalarValue};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions::core::expr_fn::named_struct;
use datafusion::functions_aggregate::expr_fn::{last_value, sum};
use datafusion::logical_expr::{Expr, JoinType, LogicalPlanBuilder, Operator, ScalarUDF, binary_expr, when};
use datafusion::prelude::{cast, ident, lit};
use tollgate_record::column::USAGE;

use super::Named;
use super::lazy::Lazy;
use super::rate::{ANSWER, ANY_TEMPLATE, MEMBERS, part};
use crate::schema::DECIMAL;

/// Name of the calls as they were recorded.
pub(crate) const ORIGINAL: &str = "usage_original";
/// Name of the calls after their corrections.
pub(crate) const CORRECTED: &str = "usage_corrected";
/// Name of the function that rates them by a list.
pub(crate) const RATED: &str = "usage_rated";
/// Column of [`CORRECTED`] in the place of `corrects`.
pub(crate) const CORRECTED_BY: &str = "corrected_by";
/// Column of [`RATED`]: whether `tollgate rerate` would correct the row.
pub(crate) const DIFFERS: &str = "rated_differs";
/// What a correction replaces by its own, beside the amounts.
const REPLACED: [&str; 4] = ["currency", "cost_status", "price_version", "charges"];

/// Name of a column of corrections beside those of calls.
fn changed(name: &str) -> String {
    format!("c_{name}")
}

fn scan(usage: &Arc<dyn TableProvider>) -> Result<LogicalPlanBuilder> {
    LogicalPlanBuilder::scan("usage", provider_as_source(Arc::clone(usage)), None)
}

/// The calls as they were recorded: `usage` without corrections.
///
/// # Errors
/// What the planner says, which would be a defect.
pub(crate) fn original(usage: &Arc<dyn TableProvider>) -> Result<LogicalPlanBuilder> {
    scan(usage)?.filter(ident("corrects").is_null())
}

/// The calls with what they cost after their corrections, a row each.
///
/// # Errors
/// As [`original`].
pub(crate) fn corrected(usage: &Arc<dyn TableProvider>) -> Result<LogicalPlanBuilder> {
    let sums = ["cost", "list_cost"].map(|name| sum(ident(name)).alias(changed(name)));
    // Of what is booked of a call, the last holds. Columns of their own, since the planner of DataFusion 55 loses the members of a struct
    // that comes out of an aggregate below a join.
    let last = ["call_id"].into_iter().chain(REPLACED);
    let last = last.map(|name| last_value(ident(name), vec![ident("seq").sort(true, true)]).alias(changed(name)));
    let corrections = scan(usage)?
        .filter(ident("corrects").is_not_null())?
        .aggregate(
            [
                ident("corrects").alias("c_corrects"),
                ident("start_date").alias("c_start_date"),
                ident("start_time").alias("c_start_time"),
            ],
            sums.into_iter().chain(last),
        )?
        .alias("correction")?;
    let column = |relation: &str, name: &str| Column::new(Some(relation), name);
    let calls = original(usage)?.alias("call")?;
    // The side that is held in memory is that of the corrections.
    let joined = corrections.join(
        calls.build()?,
        JoinType::Right,
        (
            ["c_corrects", "c_start_date", "c_start_time"]
                .map(|name| column("correction", name))
                .to_vec(),
            ["call_id", "start_date", "start_time"]
                .map(|name| column("call", name))
                .to_vec(),
        ),
        None,
    )?;
    let of_call = |name: &str| Expr::Column(column("call", name));
    let of_correction = |name: &str| Expr::Column(column("correction", &changed(name)));
    let shown = USAGE.iter().map(|declared| {
        let name = declared.name;
        let (own, change) = (of_call(name), of_correction(name));
        Ok(match name {
            "corrects" => of_correction("call_id").alias(CORRECTED_BY),
            "cost" | "list_cost" => when(own.clone().is_null(), cast(change.clone(), DECIMAL))
                .when(change.clone().is_null(), own.clone())
                .otherwise(cast(own + change, DECIMAL))?
                .alias(name),
            _ if REPLACED.contains(&name) => when(of_correction("corrects").is_null(), own).otherwise(change)?.alias(name),
            _ => own.alias(name),
        })
    });
    joined.project(shown.collect::<Result<Vec<_>>>()?)
}

/// The calls after their corrections, rated by a list. With a provider, only its calls, for which the list is taken to be.
///
/// # Errors
/// As [`original`].
pub(crate) fn rated(
    usage: &Arc<dyn TableProvider>,
    rate: &ScalarUDF,
    list: &str,
    provider: Option<&str>,
) -> Result<LogicalPlanBuilder> {
    let mut calls = corrected(usage)?;
    if let Some(provider) = provider {
        calls = calls.filter(ident("provider_name").eq(lit(provider)))?;
    }
    let members = MEMBERS.iter().flat_map(|(name, _)| {
        let value = match *name {
            "template" if provider.is_some() => lit(ANY_TEMPLATE),
            "template" => lit(ScalarValue::Utf8(None)),
            _ => ident(*name),
        };
        [lit(*name), value]
    });
    let call = named_struct(members.collect());
    let own = || {
        USAGE.iter().map(|column| {
            ident(if column.name == "corrects" {
                CORRECTED_BY
            } else {
                column.name
            })
        })
    };
    let calls = calls.project(own().chain([rate.call(vec![lit(list), call]).alias("rated")]))?;
    let parts = (0..ANSWER.len()).map(|place| part(place).call(vec![ident("rated")]));
    let parts = parts.zip(ANSWER).map(|(part, (name, _))| part.alias(format!("rated_{name}")));
    let calls = calls.project(own().chain(parts))?;
    let distinct = |name: &str| binary_expr(ident(name), Operator::IsDistinctFrom, ident(format!("rated_{name}")));
    let differs = ident("rated_cost_status")
        .in_list(vec![lit("priced"), lit("estimated")], false)
        .and(
            distinct("cost")
                .or(distinct("list_cost"))
                .or(distinct("currency"))
                .or(distinct("cost_status")),
        );
    // Not priced at all is no difference either.
    let differs = binary_expr(differs, Operator::IsNotDistinctFrom, lit(true)).alias(DIFFERS);
    let parts = ANSWER.iter().map(|(name, _)| ident(format!("rated_{name}")));
    calls.project(own().chain(parts).chain([differs]))
}

/// The columns of [`CORRECTED`] over a table `usage`: known without a plan.
fn corrected_schema(usage: &Schema) -> SchemaRef {
    let fields = usage.fields().iter().map(|field| {
        let name = field.name().as_str();
        let field = field.as_ref().clone();
        match name {
            "corrects" => field.with_name(CORRECTED_BY),
            "cost" | "list_cost" => field.with_nullable(true),
            _ if REPLACED.contains(&name) => field.with_nullable(true),
            _ => field,
        }
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The views of calls over a table `usage`, made when a statement names them.
pub(crate) fn views(usage: &Arc<dyn TableProvider>) -> Named {
    let lazy = |schema, plan: fn(&Arc<dyn TableProvider>) -> Result<LogicalPlanBuilder>| -> Arc<dyn TableProvider> {
        let usage = Arc::clone(usage);
        Arc::new(Lazy::new(schema, move || {
            Ok(Arc::new(ViewTable::new(plan(&usage)?.build()?, None)))
        }))
    };
    vec![
        (ORIGINAL, lazy(usage.schema(), original)),
        (CORRECTED, lazy(corrected_schema(&usage.schema()), corrected)),
    ]
}

/// The table function over a table `usage`.
pub(crate) struct Rated {
    usage: Arc<dyn TableProvider>,
    rate: Arc<ScalarUDF>,
}

impl Rated {
    pub(crate) fn new(usage: Arc<dyn TableProvider>, rate: Arc<ScalarUDF>) -> Self {
        Self { usage, rate }
    }
}

impl fmt::Debug for Rated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(RATED)
    }
}

impl TableFunctionImpl for Rated {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let text = |expr: &Expr| match expr {
            Expr::Literal(value, _) => value.try_as_str().flatten().map(str::to_owned),
            _ => None,
        };
        let texts: Option<Vec<String>> = args.exprs().iter().map(text).collect();
        let (list, provider) = match texts.as_deref() {
            Some([list]) => (list, None),
            Some([list, provider]) => (list, Some(provider.as_str())),
            _ => {
                return Err(DataFusionError::Plan(
                    "usage_rated takes the name of a price list or of a version of one, such as usage_rated('openai-acme@0123456789ab'), and the name of \
                     a provider if the list is to be used for that one's calls; table prices has the versions"
                        .to_owned(),
                ));
            }
        };
        let plan = rated(&self.usage, &self.rate, list, provider)?.build()?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }
}
