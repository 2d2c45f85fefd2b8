//! The rows of corrections, made of the columns of `usage_rated`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray, new_null_array,
};
use arrow::compute::cast;
use arrow::compute::kernels::numeric::neg;
use arrow::datatypes::{DataType, Decimal128Type};
use arrow::error::ArrowError;
use sha2::{Digest, Sha256};
use tollgate_record::column::{Kind, USAGE, Value};
use tollgate_record::{Amount, CallId, Decision, Seq, Timestamp};

use crate::Error;
use crate::batch::decisions;
use crate::schema::{DECIMAL, charge_fields, data_type, element, usage_schema};
use crate::table::name::instant;
use crate::tables::corrected::CORRECTED_BY;

/// Which half of a correction a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    /// Takes back what stood.
    Reversed,
    /// Books what holds.
    Booked,
}

/// The corrections of some calls, at the places behind `from`; and the last of them.
///
/// # Errors
/// [`Error::Arrow`] if the columns do not fit, which would be a defect.
pub(super) fn corrections(calls: &[RecordBatch], from: Seq, now: Timestamp) -> Result<(Vec<RecordBatch>, Seq), Error> {
    let mut batches = Vec::with_capacity(calls.len() * 2);
    let mut last = from;
    for calls in calls.iter().filter(|calls| calls.num_rows() > 0) {
        for half in [Half::Reversed, Half::Booked] {
            batches.push(half.of(calls, last, now)?);
        }
        last = Seq::new(last.get() + calls.num_rows() as u64 * 2);
    }
    Ok((batches, last))
}

/// Adds up amounts by currency.
///
/// # Errors
/// As [`corrections`]; and if a sum leaves the range of amounts.
pub(super) fn add(calls: &RecordBatch, currency: &str, cost: &str, sums: &mut BTreeMap<String, Amount>) -> Result<(), Error> {
    let currencies = text(calls, currency)?;
    let costs = column(calls, cost, &DECIMAL)?;
    for (currency, cost) in currencies.iter().zip(costs.as_primitive::<Decimal128Type>()) {
        let overflow = |error: tollgate_record::AmountError| ArrowError::ArithmeticOverflow(error.to_string());
        let cost = Amount::from_units(cost.unwrap_or(0)).map_err(overflow)?;
        let sum = sums.entry(currency.unwrap_or_default().to_owned()).or_default();
        *sum = sum.checked_add(cost).map_err(overflow)?;
    }
    Ok(())
}

fn column(calls: &RecordBatch, name: &str, kind: &DataType) -> Result<ArrayRef, ArrowError> {
    let column = calls
        .column_by_name(name)
        .ok_or_else(|| ArrowError::SchemaError(format!("usage_rated lacks column {name}")))?;
    cast(column, kind)
}

fn text(calls: &RecordBatch, name: &str) -> Result<StringArray, ArrowError> {
    Ok(column(calls, name, &DataType::Utf8)?.as_string::<i32>().clone())
}

/// An id that follows from a row and from what is done to it.
fn id(parts: &[&str]) -> CallId {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let mut digest = [0; 16];
    for (byte, hashed) in digest.iter_mut().zip(hash.finalize()) {
        *byte = hashed;
    }
    CallId::from_digest(digest)
}

impl Half {
    /// A row a call; the place of the first is the next behind `from`, or the one behind that.
    fn of(self, calls: &RecordBatch, from: Seq, now: Timestamp) -> Result<RecordBatch, ArrowError> {
        let columns = USAGE
            .iter()
            .map(|declared| self.column(declared.name, declared.kind, calls, from, now));
        RecordBatch::try_new(usage_schema(), columns.collect::<Result<_, _>>()?)
    }

    fn column(self, name: &str, kind: Kind, calls: &RecordBatch, from: Seq, now: Timestamp) -> Result<ArrayRef, ArrowError> {
        let rows = calls.num_rows();
        let kind = data_type(kind);
        let own = || column(calls, name, &kind);
        Ok(match name {
            "call_id" => Arc::new(self.ids(calls)?),
            "instance" => Arc::new(StringArray::from(vec![super::INSTANCE; rows])),
            "seq" => {
                let first = i64::try_from(from.get()).unwrap_or(i64::MAX) + if self == Self::Reversed { 1 } else { 2 };
                Arc::new((0..).map(|row: i64| first + 2 * row).take(rows).collect::<Int64Array>())
            }
            "corrects" => column(calls, "call_id", &kind)?,
            "decisions" => self.decisions(calls, now)?,
            // A correction takes no time and moves no bytes.
            "duration_us" | "request_bytes" | "response_bytes" => Arc::new(Int64Array::from(vec![0; rows])),
            "time_to_first_token_us" | "gateway_overhead_us" | "remaining_tokens" | "avoided_cost" => new_null_array(&kind, rows),
            "currency" | "cost_status" | "price_version" | "cost" | "list_cost" if self == Self::Booked => {
                column(calls, &format!("rated_{name}"), &kind)?
            }
            "charges" if self == Self::Booked => column(calls, "rated_charges", &kind)?,
            "charges" => reversed(own()?.as_list())?,
            "cost" | "list_cost" => neg(&own()?)?,
            _ if name.ends_with("_tokens") && self == Self::Reversed => neg(&own()?)?,
            _ => own()?,
        })
    }

    fn ids(self, calls: &RecordBatch) -> Result<StringArray, ArrowError> {
        let stood = stood(calls)?;
        let versions = text(calls, "rated_price_version")?;
        let ids = stood.iter().zip(&versions).map(|(stood, version)| match self {
            Self::Reversed => id(&["reversed", stood]),
            Self::Booked => id(&["booked", stood, version.unwrap_or_default()]),
        });
        Ok(ids.map(|id| Some(id.to_string())).collect())
    }

    /// Which row was taken back, and when the correction was made.
    fn decisions(self, calls: &RecordBatch, now: Timestamp) -> Result<ArrayRef, ArrowError> {
        let at = instant(now.unix_us()).unwrap_or_default();
        let decided: Vec<[Decision; 1]> = stood(calls)?
            .into_iter()
            .map(|stood| {
                let (action, detail) = match self {
                    Self::Reversed => ("reversed", stood),
                    Self::Booked => ("booked", at.clone()),
                };
                [Decision {
                    policy: "rerate".into(),
                    action: action.into(),
                    detail: Some(detail.into()),
                }]
            })
            .collect();
        decisions(decided.iter().map(|decided| Value::Decisions(decided)))
    }
}

/// The ids of the rows that stand: the last correction of each call, or the call itself.
fn stood(calls: &RecordBatch) -> Result<Vec<String>, ArrowError> {
    let (own, by) = (text(calls, "call_id")?, text(calls, CORRECTED_BY)?);
    let ids = own.iter().zip(&by).map(|(own, by)| by.or(own).unwrap_or_default().to_owned());
    Ok(ids.collect())
}

/// The same charges, owed back.
fn reversed(charges: &ListArray) -> Result<ArrayRef, ArrowError> {
    let lines = charges.values().as_struct();
    let fields = charge_fields();
    let columns = fields.iter().zip(lines.columns()).map(|(field, column)| {
        let negative = matches!(field.name().as_str(), "quantity" | "amount");
        if !negative {
            return Ok(Arc::clone(column));
        }
        let column: &Decimal128Array = column.as_primitive::<Decimal128Type>();
        neg(column)
    });
    let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
    let lines = StructArray::try_new(fields.clone(), columns, None)?;
    Ok(Arc::new(ListArray::try_new(
        element(fields.clone()),
        charges.offsets().clone(),
        Arc::new(lines),
        charges.nulls().cloned(),
    )?))
}
