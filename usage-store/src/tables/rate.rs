//! `rate(list, call)` in SQL: what a call costs by a version of a price list.
//!
//! `call` is a struct of columns of table `usage`, in any order; those that are left out are null. With `charges`, the call is one that was
//! made, and what it used is rebuilt from them ([`tollgate_rating::again`]); without, it is one that might be made, and its tokens are all.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Decimal128Builder, Int64Array, StringArray, StringBuilder, StructArray,
    TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Field, Fields, Int64Type, TimestampMicrosecondType};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use tollgate_record::column::{Kind, Value};
use tollgate_record::{Amount, Cost, Name, Outcome, Timestamp, UsageSource};

use crate::batch::charges;
use crate::schema::{DECIMAL, data_type};
use tollgate_rating::again::{Line, Row, rate_again};
use tollgate_rating::lists::{Chosen, Lists};

/// Its name in SQL.
pub(crate) const NAME: &str = "rate";

/// The members of `call`.
pub(crate) const MEMBERS: [(&str, Kind); 19] = [
    ("org", Kind::Text),
    ("team", Kind::Text),
    ("provider_name", Kind::Text),
    ("template", Kind::Text),
    ("request_model", Kind::Text),
    ("response_model", Kind::Text),
    ("region", Kind::Text),
    ("service_tier", Kind::Text),
    ("start_time", Kind::Timestamp),
    ("outcome", Kind::Text),
    ("usage_source", Kind::Text),
    ("input_tokens", Kind::Int),
    ("cache_read_input_tokens", Kind::Int),
    ("cache_creation_input_tokens", Kind::Int),
    ("output_tokens", Kind::Int),
    ("reasoning_tokens", Kind::Int),
    ("cost_status", Kind::Text),
    ("price_version", Kind::Text),
    ("charges", Kind::Charges),
];

/// The members of the answer.
pub(crate) const ANSWER: [(&str, Kind); 7] = [
    ("cost", Kind::Decimal),
    ("list_cost", Kind::Decimal),
    ("currency", Kind::Text),
    ("cost_status", Kind::Text),
    ("price_version", Kind::Text),
    ("charges", Kind::Charges),
    ("reason", Kind::Text),
];

/// Said of calls of providers that a list is not for.
pub(crate) const OTHER_PROVIDER: &str = "the price list is for another provider";

/// A template that stands for that of the list.
pub(crate) const ANY_TEMPLATE: &str = "*";

/// The function over the price lists of an instant.
pub(crate) fn rate(lists: Lists) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Rate {
        lists,
        signature: Signature::any(2, Volatility::Immutable),
    }))
}

/// A function that takes a member out of an answer of [`rate`], by its place.
///
/// The engine has one, which its planner moves through a plan; this one stays where the answer is, which is then made once.
pub(crate) fn part(place: usize) -> ScalarUDF {
    ScalarUDF::from(Part {
        place,
        signature: Signature::any(1, Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Part {
    place: usize,
    signature: Signature,
}

impl ScalarUDFImpl for Part {
    fn name(&self) -> &str {
        ANSWER.get(self.place).map_or("rate_part", |(name, _)| *name)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        let member = ANSWER.get(self.place).map(|(_, kind)| data_type(*kind));
        member.ok_or_else(|| DataFusionError::Internal(format!("rate has no member {}", self.place)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let answers = args.args.first().map(|answers| answers.to_array(rows)).transpose()?;
        let member = answers
            .as_ref()
            .and_then(|answers| answers.as_struct_opt()?.columns().get(self.place).cloned());
        let member = member.ok_or_else(|| DataFusionError::Internal("no answer of rate".to_owned()))?;
        Ok(ColumnarValue::Array(member))
    }
}

#[derive(Debug)]
struct Rate {
    lists: Lists,
    signature: Signature,
}

impl PartialEq for Rate {
    fn eq(&self, other: &Self) -> bool {
        self.lists.is(&other.lists)
    }
}

impl Eq for Rate {}

impl Hash for Rate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        NAME.hash(state);
    }
}

fn wrong(text: impl Into<String>) -> DataFusionError {
    DataFusionError::Plan(text.into())
}

fn answer_fields() -> Fields {
    ANSWER
        .iter()
        .map(|(name, kind)| Field::new(*name, data_type(*kind), true))
        .collect()
}

fn is_text(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Null
    )
}

impl ScalarUDFImpl for Rate {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, kinds: &[DataType]) -> Result<DataType> {
        let [list, DataType::Struct(members)] = kinds else {
            return Err(wrong(
                "rate takes the name of a price list or of a version of one, and a struct of columns of table usage: rate('openai-acme@0123456789ab', \
                 named_struct('provider_name', provider_name, ...))",
            ));
        };
        if !is_text(list) {
            return Err(wrong(format!(
                "rate takes the name of a price list first, which is text, not {list}"
            )));
        }
        for member in members {
            let known = MEMBERS.iter().any(|(name, _)| name == member.name());
            if !known {
                let names: Vec<_> = MEMBERS.iter().map(|(name, _)| *name).collect();
                return Err(wrong(format!(
                    "rate knows no {:?} of a call; it takes {}",
                    member.name(),
                    names.join(", ")
                )));
            }
        }
        Ok(DataType::Struct(answer_fields()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let [list, calls] = args.args.as_slice() else {
            return Err(wrong("rate takes two arguments"));
        };
        let lists = cast(&list.to_array(rows)?, &DataType::Utf8)?;
        let calls = calls.to_array(rows)?;
        let calls = Calls::of(calls.as_struct())?;
        let mut answers = Answers::default();
        let mut named: Option<(&str, Arc<Chosen>)> = None;
        for (row, list) in lists.as_string::<i32>().iter().enumerate() {
            let Some(list) = list else {
                answers.push(None, None);
                continue;
            };
            let chosen = match named {
                Some((text, chosen)) if text == list => chosen,
                _ => self.lists.choose(list).map_err(|error| wrong(format!("rate: {error}")))?,
            };
            match self.one(&chosen, &calls, row)? {
                Ok(cost) => answers.push(Some(cost), None),
                Err(reason) => answers.push(None, Some(reason)),
            }
            named = Some((list, chosen));
        }
        Ok(ColumnarValue::Array(answers.finish()?))
    }
}

impl Rate {
    /// What one call costs, or why that cannot be said.
    fn one(&self, chosen: &Chosen, calls: &Calls, row: usize) -> Result<std::result::Result<Cost, String>> {
        let said = |member| {
            calls
                .text(member, row)
                .is_some_and(|said| chosen.providers.iter().any(|provider| provider.as_str() == said))
        };
        let priced_before = || {
            calls
                .text("price_version", row)
                .is_some_and(|versions| self.lists.are_for(versions, &chosen.providers))
        };
        let meant = || calls.text("template", row) == Some(ANY_TEMPLATE);
        if !(said("provider_name") || said("template") || priced_before() || meant()) {
            return Ok(Err(OTHER_PROVIDER.to_owned()));
        }
        if !chosen.negotiated
            && let Some(terms) = calls
                .text("price_version", row)
                .and_then(|versions| self.lists.negotiated(versions))
        {
            return Ok(Err(format!(
                "the call was priced with what was negotiated in {terms}, and these lists negotiate nothing: name both, {terms}+LIST"
            )));
        }
        let call = calls.row(row)?;
        Ok(match rate_again(&chosen.book, &chosen.providers, &call) {
            Ok(mut cost) => {
                // The name that the version was kept under, whatever this version of Tollgate would call it.
                if let (Some(applied), Some(version)) = (&mut cost.price_version, &chosen.version) {
                    *applied = version.clone();
                }
                Ok(cost)
            }
            Err(reason) => Err(reason.to_string()),
        })
    }
}

/// The calls of a batch: the members that there are, each in its type.
struct Calls {
    columns: Vec<(&'static str, ArrayRef)>,
    charges: Option<Charges>,
}

/// The lines of all calls, and where those of each are.
struct Charges {
    lists: ArrayRef,
    meter: StringArray,
    quantity: Decimal128Array,
    unit_price: Decimal128Array,
}

impl Calls {
    fn of(calls: &StructArray) -> Result<Self> {
        let mut columns = Vec::new();
        for (name, kind) in MEMBERS {
            if let (Some(column), false) = (calls.column_by_name(name), kind == Kind::Charges) {
                let column = cast(column, &data_type(kind)).map_err(|error| wrong(format!("rate: {name}: {error}")))?;
                columns.push((name, column));
            }
        }
        let charges = calls
            .column_by_name("charges")
            .filter(|column| column.data_type() != &DataType::Null);
        Ok(Self {
            columns,
            charges: charges.map(Charges::of).transpose()?,
        })
    }

    fn column(&self, name: &str) -> Option<&ArrayRef> {
        self.columns
            .iter()
            .find(|(other, _)| *other == name)
            .map(|(_, column)| column)
    }

    fn text(&self, name: &str, row: usize) -> Option<&str> {
        let column: &StringArray = self.column(name)?.as_string_opt()?;
        column.is_valid(row).then(|| column.value(row))
    }

    fn name(&self, name: &str, row: usize) -> Result<Option<Name>> {
        let text = self.text(name, row);
        text.map(|text| Name::new(text).map_err(|error| wrong(format!("rate: {name}: {error}"))))
            .transpose()
    }

    fn count(&self, name: &str, row: usize) -> Result<Option<u64>> {
        let column: Option<&Int64Array> = self.column(name).and_then(|column| column.as_primitive_opt::<Int64Type>());
        let count = column.filter(|column| column.is_valid(row)).map(|column| column.value(row));
        count
            .map(|count| u64::try_from(count).map_err(|_| wrong(format!("rate: {name} is {count}, and a count is not negative"))))
            .transpose()
    }

    fn start_time(&self, row: usize) -> Result<Timestamp> {
        let column: Option<&TimestampMicrosecondArray> = self
            .column("start_time")
            .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        let time = column.filter(|column| column.is_valid(row)).map(|column| column.value(row));
        time.map(Timestamp::from_unix_us)
            .ok_or_else(|| wrong("rate needs the start_time of a call, since prices hold from a time to a time; now() will do"))
    }

    fn row(&self, row: usize) -> Result<Row<'_>> {
        let source = match self.text("usage_source", row) {
            None | Some("reported") => UsageSource::Reported,
            Some("estimated") => UsageSource::Estimated,
            Some("none") => UsageSource::None,
            Some(other) => {
                return Err(wrong(format!(
                    "rate: usage_source is {other:?}: write reported, estimated or none"
                )));
            }
        };
        let charges = self.charges.as_ref().map(|charges| charges.of_row(row)).transpose()?;
        Ok(Row {
            org: self.name("org", row)?,
            team: self.name("team", row)?,
            request_model: self.name("request_model", row)?,
            response_model: self.name("response_model", row)?,
            region: self.name("region", row)?,
            service_tier: self.name("service_tier", row)?,
            start_time: self.start_time(row)?,
            imported: self.text("outcome", row) == Some(Outcome::Imported.as_str()),
            source,
            input: self.count("input_tokens", row)?,
            cache_read: self.count("cache_read_input_tokens", row)?,
            cache_creation: self.count("cache_creation_input_tokens", row)?,
            output: self.count("output_tokens", row)?,
            reasoning: self.count("reasoning_tokens", row)?,
            free: self.text("cost_status", row) == Some("free"),
            charges: charges.flatten(),
        })
    }
}

impl Charges {
    fn of(column: &ArrayRef) -> Result<Self> {
        let refused = || {
            wrong(format!(
                "rate: charges is {}, not a list as in table usage",
                column.data_type()
            ))
        };
        let lists = column.as_list_opt::<i32>().ok_or_else(refused)?;
        let lines = lists.values().as_struct_opt().ok_or_else(refused)?;
        let member = |name: &str, kind: &DataType| -> Result<ArrayRef> {
            let column = lines.column_by_name(name).ok_or_else(refused)?;
            Ok(cast(column, kind)?)
        };
        Ok(Self {
            lists: Arc::clone(column),
            meter: member("meter", &DataType::Utf8)?.as_string().clone(),
            quantity: member("quantity", &DECIMAL)?.as_primitive::<Decimal128Type>().clone(),
            unit_price: member("unit_price", &DECIMAL)?.as_primitive::<Decimal128Type>().clone(),
        })
    }

    fn of_row(&self, row: usize) -> Result<Option<Vec<Line<'_>>>> {
        let lists = self.lists.as_list::<i32>();
        if lists.is_null(row) {
            return Ok(None);
        }
        let ends = lists.value_offsets();
        let place = |row: usize| ends.get(row).and_then(|end| usize::try_from(*end).ok()).unwrap_or(0);
        let lines = (place(row)..place(row + 1)).map(|line| {
            let quantity = Amount::from_units(self.quantity.value(line)).map_err(|error| wrong(format!("rate: {error}")))?;
            Ok(Line {
                meter: self.meter.value(line),
                quantity,
                priced: self.unit_price.is_valid(line),
            })
        });
        lines.collect::<Result<Vec<_>>>().map(Some)
    }
}

/// Answers on their way into a column.
#[derive(Default)]
struct Answers {
    costs: Vec<Option<Cost>>,
    reasons: StringBuilder,
}

impl Answers {
    fn push(&mut self, cost: Option<Cost>, reason: Option<String>) {
        self.costs.push(cost);
        self.reasons.append_option(reason);
    }

    fn finish(mut self) -> Result<ArrayRef> {
        let costs = || self.costs.iter().map(Option::as_ref);
        let amounts = |get: fn(&Cost) -> Option<Amount>| -> ArrayRef {
            let mut builder = Decimal128Builder::with_capacity(self.costs.len()).with_data_type(DECIMAL);
            for cost in costs() {
                builder.append_option(cost.and_then(get).map(Amount::units));
            }
            Arc::new(builder.finish())
        };
        let texts = |get: fn(&Cost) -> Option<&str>| -> ArrayRef {
            let texts: StringArray = costs().map(|cost| cost.and_then(get)).collect();
            Arc::new(texts)
        };
        let none = [];
        let lines = costs().map(|cost| Value::Charges(cost.map_or(none.as_slice(), |cost| &cost.charges)));
        let columns = vec![
            amounts(|cost| cost.cost),
            amounts(|cost| cost.list_cost),
            texts(|cost| cost.currency.as_ref().map(Name::as_str)),
            texts(|cost| Some(cost.status.as_str())),
            texts(|cost| cost.price_version.as_ref().map(Name::as_str)),
            charges(lines)?,
            Arc::new(self.reasons.finish()) as ArrayRef,
        ];
        Ok(Arc::new(StructArray::try_new(answer_fields(), columns, None)?))
    }
}
