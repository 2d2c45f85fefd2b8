//! What is to be rated again: as a condition of a plan, and as the statement that shows what would come of it.

use arrow::array::timezone::Tz;
use arrow::compute::kernels::cast_utils::string_to_datetime;
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::Expr;
use datafusion::prelude::{ident, lit};
use tollgate_record::{Name, Timestamp};

use super::Slice;
use crate::table::name::{date, instant as written};
use crate::tables::corrected::{DIFFERS, RATED};
use crate::tables::rate::OTHER_PROVIDER;

/// Which calls are rated again, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rerate {
    /// The first instant of the period.
    pub from: Timestamp,
    /// The first instant behind it.
    pub to: Timestamp,
    /// Only calls of this provider; the list is taken to be for them, whatever provider it names.
    pub provider: Option<Name>,
    /// Only calls that this model answered, or was asked for.
    pub model: Option<Name>,
    /// A version of a price list, or several with `+` between them; or a list, of which the version in force is taken.
    pub price_version: String,
}

/// Reads an instant such as `2026-11-01` or `2026-11-01T12:00:00Z`; UTC if no zone is told.
pub fn instant(text: &str) -> Option<Timestamp> {
    let utc: Tz = "+00:00".parse().ok()?;
    let instant = string_to_datetime(&utc, text).ok()?;
    Some(Timestamp::from_unix_us(instant.timestamp_micros()))
}

/// What holds of calls of a piece of time.
pub(super) fn within((from, to): Slice) -> Result<Expr, DataFusionError> {
    let time = |us| lit(ScalarValue::TimestampMicrosecond(Some(us), Some("UTC".into())));
    let day = |us| lit(ScalarValue::Date32(Some(Timestamp::from_unix_us(us).day())));
    Ok(ident("start_time")
        .gt_eq(time(from))
        .and(ident("start_time").lt(time(to)))
        .and(ident("start_date").between(day(from), day(to.saturating_sub(1)))))
}

impl Rerate {
    /// What holds of its calls, as columns of table `usage`.
    pub(super) fn filter(&self) -> Result<Expr, DataFusionError> {
        let mut all = within((self.from.unix_us(), self.to.unix_us()))?;
        if let Some(provider) = &self.provider {
            all = all.and(ident("provider_name").eq(lit(provider.as_str())));
        }
        if let Some(model) = &self.model {
            let is = |column| ident(column).eq(lit(model.as_str()));
            all = all.and(is("response_model").or(is("request_model")));
        }
        Ok(all)
    }

    /// The statement that tells, by team and model, what [`crate::Offline::rerate`] would do, and which calls of the list's models stay as
    /// they are since they cannot be rated in full.
    pub fn proposal(&self) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let time = |time: Timestamp| quoted(&written(time.unix_us()).unwrap_or_default());
        let last = Timestamp::from_unix_us(self.to.unix_us().saturating_sub(1));
        let provider = self.provider.as_ref().map(|name| format!(", {}", quoted(name.as_str())));
        let model = self.model.as_ref().map(|name| {
            let name = quoted(name.as_str());
            format!("\n  AND (response_model = {name} OR request_model = {name})")
        });
        format!(
            "SELECT\n  CASE WHEN {DIFFERS} THEN 'corrected' WHEN rated_reason IS NULL THEN 'no price' ELSE 'not ratable' END AS result,\n  \
             rated_reason AS reason, team, coalesce(response_model, request_model) AS model, count(*) AS calls,\n  \
             sum(cost) AS cost, currency, sum(rated_cost) FILTER (WHERE {DIFFERS}) AS rerated_cost,\n  \
             CASE WHEN {DIFFERS} THEN rated_currency END AS rerated_currency,\n  \
             CASE WHEN {DIFFERS} AND coalesce(currency, rated_currency) = rated_currency THEN sum(rated_cost) - coalesce(sum(cost), 0) END AS difference\n\
             FROM {RATED}({}{})\n\
             WHERE start_date >= DATE '{}' AND start_date <= DATE '{}'\n  \
             AND start_time >= arrow_cast({}, 'Timestamp(Microsecond, Some(\"UTC\"))') AND start_time < arrow_cast({}, 'Timestamp(Microsecond, Some(\"UTC\"))'){}\n  \
             AND ({DIFFERS} OR rated_reason <> {} OR (rated_cost_status = 'unpriced' AND rated_price_version IS NOT NULL))\n\
             GROUP BY {DIFFERS}, rated_reason, team, coalesce(response_model, request_model), currency, rated_currency\n\
             ORDER BY result, team NULLS LAST, model NULLS LAST, currency NULLS LAST, reason",
            quoted(&self.price_version),
            provider.unwrap_or_default(),
            date(self.from.day()),
            date(last.day()),
            time(self.from),
            time(self.to),
            model.unwrap_or_default(),
            quoted(OTHER_PROVIDER),
        )
    }
}
