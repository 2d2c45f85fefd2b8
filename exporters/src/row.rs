//! Rows of table `usage`, read out of a batch.
//!
//! 1. A column that the batch lacks (an operator leaves columns out) reads as null in every row, as one that is null does.
//! 2. A column of another Arrow type than the table's (a query engine's text views, say) is cast once a batch; what cannot be cast is an error
//!    that names the column, never a null.
//! 3. Amounts stay what they are: `i128` of scale 12.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Int64Array, ListArray, MapArray, RecordBatch, StringArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Field, Fields, Int64Type, TimeUnit, TimestampMicrosecondType};
use tollgate_record::{Amount, Timestamp};

/// A batch whose columns are not those of table `usage`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column} cannot be read as that of table usage: {reason}")]
pub struct RowError {
    /// Which column.
    pub column: &'static str,
    /// Why.
    pub reason: String,
}

/// A column of text.
#[derive(Debug)]
pub(crate) struct Text(Option<StringArray>);

/// A column of integers.
#[derive(Debug)]
pub(crate) struct Int(Option<Int64Array>);

/// A column of instants.
#[derive(Debug)]
pub(crate) struct Time(Option<Int64Array>);

/// A column of true and false.
#[derive(Debug)]
pub(crate) struct Bool(Option<BooleanArray>);

/// A column of amounts.
#[derive(Debug)]
pub(crate) struct Decimal(Option<Decimal128Array>);

/// A column of maps of text to text.
#[derive(Debug)]
pub(crate) struct Map(Option<(OffsetBuffer<i32>, StringArray, StringArray)>);

/// Column `decisions`.
#[derive(Debug)]
pub(crate) struct Decisions(Option<(ListArray, Text, Text, Text)>);

/// Column `charges`.
#[derive(Debug)]
pub(crate) struct Charges(Option<(ListArray, Text, Text, [Decimal; 3])>);

/// What a policy did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decision<'a> {
    pub(crate) policy: &'a str,
    pub(crate) action: &'a str,
    pub(crate) detail: Option<&'a str>,
}

/// A line of the bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charge<'a> {
    pub(crate) meter: &'a str,
    pub(crate) quantity: Option<Amount>,
    pub(crate) unit: &'a str,
    pub(crate) unit_price: Option<Amount>,
    pub(crate) amount: Option<Amount>,
}

/// How a column of one kind is taken from a batch.
trait Read: Sized {
    fn read(batch: &RecordBatch, column: &'static str) -> Result<Self, RowError>;
}

macro_rules! rows {
    ($($name:ident: $kind:ident),+ $(,)?) => {
        /// The columns of a batch that destinations read. Each is there or reads as null.
        #[derive(Debug)]
        pub(crate) struct Rows {
            len: usize,
            $(pub(crate) $name: $kind,)+
        }

        impl Rows {
            /// Reads the columns of a batch.
            ///
            /// # Errors
            /// [`RowError`] if a column has a type that is not the table's and cannot be cast to it.
            pub(crate) fn new(batch: &RecordBatch) -> Result<Self, RowError> {
                Ok(Self { len: batch.num_rows(), $($name: $kind::read(batch, stringify!($name))?,)+ })
            }
        }
    };
}

rows! {
    call_id: Text, request_id: Text, attempt: Int, instance: Text, seq: Int, corrects: Text,
    start_time: Time, duration_us: Int, time_to_first_token_us: Int, gateway_overhead_us: Int,
    org: Text, team: Text, project: Text, service: Text, user_id: Text, agent: Text, key_id: Text, session_id: Text,
    trace_id: Text, span_id: Text, parent_call_id: Text, tags: Map,
    operation_name: Text, proxy: Text, provider_name: Text, upstream: Text, region: Text, request_model: Text, response_model: Text,
    stream: Bool, route_rule: Text, cache: Text, service_tier: Text,
    outcome: Text, status_code: Int, error_type: Text, finish_reason: Text, decisions: Decisions,
    input_tokens: Int, cache_read_input_tokens: Int, cache_creation_input_tokens: Int, output_tokens: Int, reasoning_tokens: Int,
    usage_source: Text,
    cost: Decimal, list_cost: Decimal, avoided_cost: Decimal, currency: Text, cost_status: Text, price_version: Text, charges: Charges,
    mcp_server: Text, mcp_method: Text, tool_name: Text,
    request_bytes: Int, response_bytes: Int,
}

// === impl Rows ===

impl Rows {
    /// How many rows there are.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}

// === impl Text, Int, Time, Bool, Decimal ===

impl Text {
    /// One column of a batch, where no other is asked for.
    pub(crate) fn of(batch: &RecordBatch, column: &'static str) -> Result<Self, RowError> {
        Self::read(batch, column)
    }

    /// The text in a row.
    pub(crate) fn get(&self, row: usize) -> Option<&str> {
        self.0
            .as_ref()
            .filter(|array| array.is_valid(row))
            .map(|array| array.value(row))
    }
}

impl Int {
    /// The number in a row.
    pub(crate) fn get(&self, row: usize) -> Option<i64> {
        self.0
            .as_ref()
            .filter(|array| array.is_valid(row))
            .map(|array| array.value(row))
    }

    /// The number in a row as a count; a negative one, as corrections have, is none.
    pub(crate) fn count(&self, row: usize) -> Option<u64> {
        self.get(row).and_then(|number| u64::try_from(number).ok())
    }
}

impl Time {
    /// The instant in a row.
    pub(crate) fn get(&self, row: usize) -> Option<Timestamp> {
        let micros = self
            .0
            .as_ref()
            .filter(|array| array.is_valid(row))
            .map(|array| array.value(row));
        micros.map(Timestamp::from_unix_us)
    }
}

impl Bool {
    /// The flag in a row.
    pub(crate) fn get(&self, row: usize) -> Option<bool> {
        self.0
            .as_ref()
            .filter(|array| array.is_valid(row))
            .map(|array| array.value(row))
    }
}

impl Decimal {
    /// The amount in a row. The column's type holds 28 digits, as an amount does.
    pub(crate) fn get(&self, row: usize) -> Option<Amount> {
        let units = self
            .0
            .as_ref()
            .filter(|array| array.is_valid(row))
            .map(|array| array.value(row));
        units.and_then(|units| Amount::from_units(units).ok())
    }
}

impl Read for Text {
    fn read(batch: &RecordBatch, column: &'static str) -> Result<Self, RowError> {
        Ok(Self(
            typed(batch, column, &DataType::Utf8)?.map(|array| array.as_string::<i32>().clone()),
        ))
    }
}

impl Read for Int {
    fn read(batch: &RecordBatch, column: &'static str) -> Result<Self, RowError> {
        Ok(Self(
            typed(batch, column, &DataType::Int64)?.map(|array| array.as_primitive::<Int64Type>().clone()),
        ))
    }
}

impl Read for Time {
    fn read(batch: &RecordBatch, column: &'static str) -> Result<Self, RowError> {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let array = typed(batch, column, &micros)?;
        Ok(Self(array.map(|array| {
            array.as_primitive::<TimestampMicrosecondType>().reinterpret_cast()
        })))
    }
}

impl Read for Bool {
    fn read(batch: &RecordBatch, column: &'static str) -> Result<Self, RowError> {
        Ok(Self(
            typed(batch, column, &DataType::Boolean)?.map(|array| array.as_boolean().clone()),
        ))
    }
}

impl Read for Decimal {
    fn read(batch: &RecordBatch, column: &'static str) -> Result<Self, RowError> {
        Ok(Self(
            typed(batch, column, &decimal())?.map(|array| array.as_primitive::<Decimal128Type>().clone()),
        ))
    }
}

// === impl Map, Decisions, Charges ===

impl Map {
    /// The entries in a row, in the order they are stored in.
    pub(crate) fn get(&self, row: usize) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(move |(offsets, keys, values)| {
            span(offsets, row).map(move |at| (keys.value(at), if values.is_valid(at) { values.value(at) } else { "" }))
        })
    }
}

impl Read for Map {
    fn read(batch: &RecordBatch, column: &'static str) -> Result<Self, RowError> {
        let Some(array) = batch.column_by_name(column) else {
            return Ok(Self(None));
        };
        let Some(map) = array.as_any().downcast_ref::<MapArray>() else {
            return Err(RowError {
                column,
                reason: format!("it is {} and not a map", array.data_type()),
            });
        };
        let keys = cast_to(map.keys(), column, &DataType::Utf8)?;
        let values = cast_to(map.values(), column, &DataType::Utf8)?;
        Ok(Self(Some((
            map.offsets().clone(),
            keys.as_string::<i32>().clone(),
            values.as_string::<i32>().clone(),
        ))))
    }
}

impl Decisions {
    /// What policies did to the call in a row.
    pub(crate) fn get(&self, row: usize) -> impl Iterator<Item = Decision<'_>> {
        self.0.iter().flat_map(move |(lists, policy, action, detail)| {
            entries(lists, row).map(move |at| Decision {
                policy: policy.get(at).unwrap_or_default(),
                action: action.get(at).unwrap_or_default(),
                detail: detail.get(at),
            })
        })
    }
}

impl Read for Decisions {
    fn read(batch: &RecordBatch, column: &'static str) -> Result<Self, RowError> {
        let Some((lists, fields)) = structs(batch, column)? else {
            return Ok(Self(None));
        };
        let text = |name: &'static str| Text::read(&fields, name);
        Ok(Self(Some((lists, text("policy")?, text("action")?, text("detail")?))))
    }
}

impl Charges {
    /// The lines of the bill in a row.
    pub(crate) fn get(&self, row: usize) -> impl Iterator<Item = Charge<'_>> {
        self.0
            .iter()
            .flat_map(move |(lists, meter, unit, [quantity, unit_price, amount])| {
                entries(lists, row).map(move |at| Charge {
                    meter: meter.get(at).unwrap_or_default(),
                    quantity: quantity.get(at),
                    unit: unit.get(at).unwrap_or_default(),
                    unit_price: unit_price.get(at),
                    amount: amount.get(at),
                })
            })
    }
}

impl Read for Charges {
    fn read(batch: &RecordBatch, column: &'static str) -> Result<Self, RowError> {
        let Some((lists, fields)) = structs(batch, column)? else {
            return Ok(Self(None));
        };
        let amount = |name: &'static str| Decimal::read(&fields, name);
        let amounts = [amount("quantity")?, amount("unit_price")?, amount("amount")?];
        Ok(Self(Some((
            lists,
            Text::read(&fields, "meter")?,
            Text::read(&fields, "unit")?,
            amounts,
        ))))
    }
}

fn decimal() -> DataType {
    DataType::Decimal128(Amount::PRECISION, i8::try_from(Amount::SCALE).expect("the scale is 12"))
}

fn typed(batch: &RecordBatch, column: &'static str, kind: &DataType) -> Result<Option<ArrayRef>, RowError> {
    batch
        .column_by_name(column)
        .map(|array| cast_to(array, column, kind))
        .transpose()
}

fn cast_to(array: &ArrayRef, column: &'static str, kind: &DataType) -> Result<ArrayRef, RowError> {
    if array.data_type() == kind {
        return Ok(ArrayRef::clone(array));
    }
    cast(array, kind).map_err(|error| RowError {
        column,
        reason: error.to_string(),
    })
}

/// A column of lists of structs, and the structs' fields as columns of a batch of their own.
fn structs(batch: &RecordBatch, column: &'static str) -> Result<Option<(ListArray, RecordBatch)>, RowError> {
    let Some(array) = batch.column_by_name(column) else {
        return Ok(None);
    };
    let no_list = || RowError {
        column,
        reason: format!("it is {} and not a list of structs", array.data_type()),
    };
    let lists = array.as_list_opt::<i32>().ok_or_else(no_list)?;
    let fields = lists.values().as_struct_opt().ok_or_else(no_list)?;
    // The fields are declared nullable here: which of them may be null is the reader's business, and a batch would refuse what it does not expect.
    let loose: Fields = fields
        .fields()
        .iter()
        .map(|field| Field::new(field.name(), field.data_type().clone(), true))
        .collect();
    let schema = std::sync::Arc::new(arrow::datatypes::Schema::new(loose));
    let batch = RecordBatch::try_new(schema, fields.columns().to_vec()).map_err(|error| RowError {
        column,
        reason: error.to_string(),
    })?;
    Ok(Some((lists.clone(), batch)))
}

fn entries(lists: &ListArray, row: usize) -> std::ops::Range<usize> {
    if lists.is_null(row) {
        0..0
    } else {
        span(lists.offsets(), row)
    }
}

fn span(offsets: &OffsetBuffer<i32>, row: usize) -> std::ops::Range<usize> {
    let at = |place: usize| {
        offsets
            .get(place)
            .and_then(|offset| usize::try_from(*offset).ok())
            .unwrap_or(0)
    };
    at(row)..at(row + 1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Schema;

    use super::*;
    use crate::fixture;

    #[test]
    fn every_kind_of_column_is_read_as_it_was_written() {
        let rows = Rows::new(&fixture::batch(&[fixture::call(1)])).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows.call_id.get(0), Some("01938f00-0000-7000-8000-000000000001"));
        assert_eq!(rows.start_time.get(0).unwrap().unix_us(), 1_764_547_200_000_000);
        assert_eq!(rows.stream.get(0), Some(true));
        assert_eq!(rows.cost.get(0).unwrap().to_string(), "0.000123456789");
        assert_eq!(rows.tags.get(0).collect::<Vec<_>>(), [("cost_center", "4711")]);
        let charges: Vec<_> = rows
            .charges
            .get(0)
            .map(|line| (line.meter, line.amount.unwrap().to_string()))
            .collect();
        assert_eq!(
            charges,
            [("input", "0.0001".to_owned()), ("output", "0.000023456789".to_owned())]
        );
        let decisions: Vec<_> = rows.decisions.get(0).collect();
        assert_eq!(
            decisions,
            [Decision {
                policy: "pii",
                action: "noted",
                detail: Some("an e-mail address")
            }]
        );
        assert_eq!(rows.mcp_server.get(0), None);
    }

    #[test]
    fn a_column_that_is_left_out_reads_as_null() {
        let batch = fixture::without(
            &fixture::batch(&[fixture::call(1)]),
            &["cost", "charges", "tags", "decisions", "team", "stream"],
        );
        let rows = Rows::new(&batch).unwrap();
        assert_eq!(rows.cost.get(0), None);
        assert_eq!(rows.team.get(0), None);
        assert_eq!(rows.stream.get(0), None);
        assert_eq!(
            rows.charges.get(0).count() + rows.tags.get(0).count() + rows.decisions.get(0).count(),
            0
        );
        assert_eq!(rows.key_id.get(0), Some("bot"));
    }

    #[test]
    fn text_of_another_type_is_cast_and_nonsense_names_the_column() {
        let one = |name: &str, array: ArrayRef| {
            RecordBatch::try_new(
                Arc::new(Schema::new(vec![Field::new(name, array.data_type().clone(), true)])),
                vec![array],
            )
            .unwrap()
        };
        let views = one("team", Arc::new(arrow::array::StringViewArray::from(vec!["growth"])));
        assert_eq!(Rows::new(&views).unwrap().team.get(0), Some("growth"));
        let nonsense = one("charges", Arc::new(Int64Array::from(vec![1])));
        assert_eq!(Rows::new(&nonsense).unwrap_err().column, "charges");
    }
}
