//! FOCUS 1.2 (FinOps Open Cost and Usage Specification, focus.finops.org/focus-specification/v1-2): a line for each charge of a call.
//!
//! 1. Sums over lines are sums over rows, to the last digit. `ListCost`, which a row has as a whole, is shared out by the charges' amounts, and what
//!    rounding leaves goes to the last line that has an amount.
//! 2. A charge without a known price has empty costs, not zero ones, and `x_CostStatus` says `unpriced`. The specification wants a number there; a
//!    number would hide what is owed.
//! 3. A call without charges (a refusal) has no line.
//! 4. A row that corrects another has `ChargeClass` `Correction`, also within its own month: the row does not say whether that was invoiced.
//! 5. Charge periods are hours, billing periods months, both UTC. Columns that begin with `x_` are ours.

use arrow::array::{Array, AsArray, RecordBatch, StructArray};
use arrow::datatypes::Decimal128Type;
use chrono::{DateTime, Datelike, Duration, Months, SecondsFormat, Timelike, Utc};
use tollgate_record::{Amount, AmountError};

use super::encode::{EncodeError, finish};
use crate::{json, rows};

/// The columns, in the order of the specification's own list, ours behind them.
pub const COLUMNS: [&str; 46] = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "RegionId",
    "RegionName",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "Tags",
    "x_CallId",
    "x_ChargeIndex",
    "x_Corrects",
    "x_CostStatus",
    "x_Instance",
    "x_KeyId",
    "x_PriceVersion",
    "x_Project",
    "x_UsageSource",
    "x_UserId",
];

/// `BillingAccountId` of a call whose key names no organisation; the column may not be empty.
const NO_ACCOUNT: &str = "default";

/// `ProviderName` of a call to a provider that the row does not name; the column may not be empty.
const NO_PROVIDER: &str = "unknown";

/// One charge of a call.
#[derive(Clone, Copy, Debug)]
struct Charge<'a> {
    meter: &'a str,
    quantity: Amount,
    unit: &'a str,
    unit_price: Option<Amount>,
    amount: Option<Amount>,
}

/// What all lines of a call share.
struct Row<'a> {
    rows: &'a RecordBatch,
    row: usize,
    tags: Option<String>,
    /// Start of the charge's hour, and of its month.
    hour: DateTime<Utc>,
    month: DateTime<Utc>,
}

/// The file, and how many lines it has behind the header.
pub(super) fn encode(rows: &RecordBatch) -> Result<(Vec<u8>, usize), EncodeError> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    let mut lines = 0;
    let mut tags = match rows.schema().column_with_name("tags") {
        Some((at, field)) => json::cells(&field.clone().into(), rows.column(at).as_ref())?,
        None => Vec::new(),
    };
    for row in 0..rows.num_rows() {
        let charges = charges(rows, row);
        let shares = list_costs(rows, row, &charges)?;
        let facts = Row::new(rows, row, tags.get_mut(row).and_then(Option::take));
        for (index, (charge, list_cost)) in charges.iter().zip(shares).enumerate() {
            writer.write_record(facts.line(index, charge, list_cost))?;
            lines += 1;
        }
    }
    Ok((finish(writer)?, lines))
}

/// The charges of a row; none if the column does not leave.
fn charges(rows: &RecordBatch, row: usize) -> Vec<Charge<'_>> {
    let Some(lists) = rows.column_by_name("charges").and_then(|column| column.as_list_opt::<i32>()) else {
        return Vec::new();
    };
    let Some(structs) = lists.values().as_struct_opt().filter(|_| lists.is_valid(row)) else {
        return Vec::new();
    };
    let offsets = lists.value_offsets();
    let at = |offset: usize| {
        offsets
            .get(offset)
            .and_then(|offset| usize::try_from(*offset).ok())
            .unwrap_or_default()
    };
    (at(row)..at(row + 1)).filter_map(|place| charge(structs, place)).collect()
}

fn charge(structs: &StructArray, place: usize) -> Option<Charge<'_>> {
    let text = |name| {
        let values = structs.column_by_name(name)?.as_string_opt::<i32>()?;
        values.is_valid(place).then(|| values.value(place))
    };
    let amount = |name| {
        let values = structs.column_by_name(name)?.as_primitive_opt::<Decimal128Type>()?;
        values
            .is_valid(place)
            .then(|| values.value(place))
            .and_then(|units| Amount::from_units(units).ok())
    };
    Some(Charge {
        meter: text("meter")?,
        quantity: amount("quantity")?,
        unit: text("unit")?,
        unit_price: amount("unit_price"),
        amount: amount("amount"),
    })
}

/// The row's list cost, shared out over its charges by their amounts.
fn list_costs(rows: &RecordBatch, row: usize, charges: &[Charge<'_>]) -> Result<Vec<Option<Amount>>, AmountError> {
    let amounts = || charges.iter().filter_map(|charge| charge.amount);
    let cost = amounts().try_fold(Amount::ZERO, Amount::checked_add)?;
    let Some(list) = rows::amount(rows, "list_cost", row).filter(|list| *list != cost) else {
        // No discount: each charge at list price. Or it is not known, and what is owed is the nearest to it.
        return Ok(charges.iter().map(|charge| charge.amount).collect());
    };
    let last = charges.iter().rposition(|charge| charge.amount.is_some());
    let mut left = list;
    let mut shares = Vec::with_capacity(charges.len());
    for (place, charge) in charges.iter().enumerate() {
        shares.push(match charge.amount {
            None => None,
            Some(_) if Some(place) == last => Some(left),
            Some(amount) => {
                // A correction's amounts may be negative; the ratio of two of one sign is not.
                let (numerator, denominator) = (amount.units() * cost.units().signum(), cost.units().abs());
                let share = if denominator == 0 {
                    Amount::ZERO
                } else {
                    list.mul_ratio(numerator, denominator)?
                };
                left = left.checked_sub(share)?;
                Some(share)
            }
        });
    }
    Ok(shares)
}

// === impl Row ===

impl<'a> Row<'a> {
    fn new(rows: &'a RecordBatch, row: usize, tags: Option<String>) -> Self {
        let us = rows::instant(rows, "start_time", row).unwrap_or_default().unix_us();
        let start = DateTime::<Utc>::from_timestamp_micros(us).unwrap_or_default();
        let hour = start
            .with_minute(0)
            .and_then(|time| time.with_second(0))
            .and_then(|time| time.with_nanosecond(0))
            .unwrap_or(start);
        let month = hour.with_day(1).and_then(|time| time.with_hour(0)).unwrap_or(hour);
        Self {
            rows,
            row,
            tags,
            hour,
            month,
        }
    }

    fn text(&self, column: &str) -> &'a str {
        rows::text(self.rows, column, self.row).unwrap_or_default()
    }

    fn line(&self, index: usize, charge: &Charge<'_>, list_cost: Option<Amount>) -> [String; COLUMNS.len()] {
        let amount = text_of(charge.amount);
        let or = |text: &'a str, otherwise: &'a str| if text.is_empty() { otherwise } else { text };
        let (account, provider) = (or(self.text("org"), NO_ACCOUNT), or(self.text("provider_name"), NO_PROVIDER));
        let model = or(
            or(self.text("response_model"), self.text("request_model")),
            self.text("operation_name"),
        );
        let sku = format!("{provider}/{model}");
        let tier = self.text("service_tier");
        let price = if tier.is_empty() {
            format!("{sku}/{}", charge.meter)
        } else {
            format!("{sku}/{}/{tier}", charge.meter)
        };
        // A list price a unit is known only where nothing was taken off.
        let list_price = if list_cost == charge.amount { charge.unit_price } else { None };
        let corrects = self.text("corrects");
        let value = |text: &str| text.to_owned();
        [
            amount.clone(),
            value(account),
            value(account),
            value(self.text("currency")),
            time(self.month.checked_add_months(Months::new(1)).unwrap_or(self.month)),
            time(self.month),
            value("Usage"),
            value(if corrects.is_empty() { "" } else { "Correction" }),
            format!("{} of {model} at {provider}", charge.meter),
            value("Usage-Based"),
            time(self.hour + Duration::hours(1)),
            time(self.hour),
            charge.quantity.to_string(),
            value(charge.unit),
            amount.clone(),
            text_of(charge.unit_price),
            amount,
            value(provider),
            text_of(list_cost),
            text_of(list_price),
            value("Standard"),
            charge.quantity.to_string(),
            value(charge.unit),
            value(provider),
            value(provider),
            value(self.text("region")),
            value(self.text("region")),
            value("AI and Machine Learning"),
            value(provider),
            value("Generative AI"),
            sku,
            value(charge.meter),
            price,
            value(self.text("team")),
            value(self.text("team")),
            self.tags.clone().unwrap_or_default(),
            value(self.text("call_id")),
            index.to_string(),
            value(corrects),
            value(self.text("cost_status")),
            value(self.text("instance")),
            value(self.text("key_id")),
            value(self.text("price_version")),
            value(self.text("project")),
            value(self.text("usage_source")),
            value(self.text("user_id")),
        ]
    }
}

fn text_of(amount: Option<Amount>) -> String {
    amount.map(|amount| amount.to_string()).unwrap_or_default()
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{decoded, row, rows_of};

    fn lines(rows: &RecordBatch) -> Vec<std::collections::HashMap<String, String>> {
        let (bytes, count) = encode(rows).unwrap();
        let lines: Vec<_> = csv::Reader::from_reader(bytes.as_slice())
            .deserialize()
            .map(Result::unwrap)
            .collect();
        assert_eq!(lines.len(), count);
        lines
    }

    fn sum(lines: &[std::collections::HashMap<String, String>], column: &str) -> Amount {
        lines
            .iter()
            .map(|line| line[column].parse().unwrap())
            .fold(Amount::ZERO, |sum, amount| sum.checked_add(amount).unwrap())
    }

    fn changed(seq: u64, change: impl FnOnce(&mut Value)) -> RecordBatch {
        let mut row = row("gw-1", seq);
        change(&mut row);
        decoded(&[row])
    }

    #[test]
    fn a_charge_is_a_line_with_the_words_of_the_specification() {
        let lines = lines(&rows_of("gw-1", 61..=61));
        assert_eq!(lines.len(), 2);
        for (column, value) in [
            // 610 tokens at 2.50 dollars a million.
            ("BilledCost", "0.001525"),
            ("EffectiveCost", "0.001525"),
            ("ContractedCost", "0.001525"),
            ("ListCost", "0.001525"),
            ("ConsumedQuantity", "610"),
            ("ConsumedUnit", "token"),
            ("ContractedUnitPrice", "0.0000025"),
            ("ListUnitPrice", "0.0000025"),
            ("ChargePeriodStart", "2026-11-01T01:00:00Z"),
            ("ChargePeriodEnd", "2026-11-01T02:00:00Z"),
            ("BillingPeriodStart", "2026-11-01T00:00:00Z"),
            ("BillingPeriodEnd", "2026-12-01T00:00:00Z"),
            ("BillingAccountId", "acme"),
            ("BillingCurrency", "USD"),
            ("ChargeClass", ""),
            ("SubAccountId", "team-1"),
            ("SkuPriceId", "openai/gpt-x-2026/input"),
            ("Tags", r#"{"env":"prod","quote":"a\"b,c"}"#),
        ] {
            assert_eq!(lines[0][column], value, "{column}");
        }
        assert_eq!(
            (lines[1]["SkuMeter"].as_str(), lines[1]["x_ChargeIndex"].as_str()),
            ("output", "1")
        );
    }

    #[test]
    fn columns_that_the_specification_wants_are_there_and_never_empty() {
        // FOCUS 1.2: columns of feature level Mandatory whose nulls are not allowed, for usage.
        let mandatory = [
            "BilledCost",
            "BillingAccountId",
            "BillingAccountName",
            "BillingCurrency",
            "BillingPeriodEnd",
            "BillingPeriodStart",
            "ChargeCategory",
            "ChargeDescription",
            "ChargePeriodEnd",
            "ChargePeriodStart",
            "ContractedCost",
            "EffectiveCost",
            "InvoiceIssuerName",
            "ListCost",
            "PricingQuantity",
            "PricingUnit",
            "ProviderName",
            "PublisherName",
            "ServiceCategory",
            "ServiceName",
        ];
        let bare = changed(1, |row| {
            for column in ["org", "team", "provider_name", "response_model", "request_model"] {
                row[column] = Value::Null;
            }
        });
        for line in lines(&bare) {
            for column in mandatory {
                assert!(!line[column].is_empty(), "{column}");
            }
        }
    }

    #[test]
    fn sums_over_lines_are_sums_over_rows_to_the_last_digit() {
        let rows = rows_of("gw-1", 1..=97);
        let lines = lines(&rows);
        let of_rows = |column| {
            (0..97)
                .map(|row| rows::amount(&rows, column, row).unwrap())
                .fold(Amount::ZERO, |sum, amount| sum.checked_add(amount).unwrap())
        };
        assert_eq!(sum(&lines, "BilledCost"), of_rows("cost"));
        assert_eq!(sum(&lines, "ListCost"), of_rows("list_cost"));
    }

    #[test]
    fn a_list_cost_that_cannot_be_shared_out_evenly_loses_nothing() {
        let rows = changed(1, |row| {
            row["list_cost"] = "0.000000000001".into();
            row["charges"] = (0..3)
                .map(|_| json!({"meter": "input", "quantity": "1", "unit": "token", "unit_price": "0.1", "amount": "0.1"}))
                .collect();
        });
        let lines = lines(&rows);
        assert_eq!(
            lines.iter().map(|line| line["ListCost"].as_str()).collect::<Vec<_>>(),
            ["0", "0", "0.000000000001"]
        );
    }

    #[test]
    fn a_correction_that_takes_back_is_negative_throughout() {
        let rows = changed(2, |row| {
            row["corrects"] = row["call_id"].clone();
            row["list_cost"] = "-0.00007".into();
            row["charges"] = json!([
                {"meter": "input", "quantity": "-20", "unit": "token", "unit_price": "0.000002", "amount": "-0.00004"},
                {"meter": "output", "quantity": "-2", "unit": "token", "unit_price": "0.000008", "amount": "-0.000016"},
            ]);
        });
        let lines = lines(&rows);
        assert_eq!(lines[0]["ChargeClass"], "Correction");
        // 70 shared out as 40 to 16.
        assert_eq!(
            lines.iter().map(|line| line["ListCost"].as_str()).collect::<Vec<_>>(),
            ["-0.00005", "-0.00002"]
        );
    }

    #[test]
    fn what_has_no_known_price_is_empty_and_not_zero() {
        let rows = changed(1, |row| {
            row["cost_status"] = "unpriced".into();
            row["charges"][0]["amount"] = Value::Null;
            row["charges"][0]["unit_price"] = Value::Null;
            row["list_cost"] = row["charges"][1]["amount"].clone();
        });
        let lines = lines(&rows);
        assert_eq!((lines[0]["BilledCost"].as_str(), lines[0]["ListCost"].as_str()), ("", ""));
        assert_eq!(
            (lines[0]["x_CostStatus"].as_str(), lines[0]["ConsumedQuantity"].as_str()),
            ("unpriced", "10")
        );
        assert_eq!(lines[1]["ListCost"], "0.00001");
    }

    #[test]
    fn a_call_without_charges_has_no_line() {
        assert!(lines(&changed(1, |row| row["charges"] = json!([]))).is_empty());
    }
}
