//! `date_trunc` for times in UTC: whole numbers instead of a look into a time zone's table for each row.
//!
//! Every time of the ledger is in UTC, whose days have 24 hours and whose offset never changes, so that cutting a time to an hour or a
//! month is the same with the zone as without it. DataFusion 55 takes the short way for times without a zone only. Everything else, and
//! the cutting itself, is the engine's own function.

use std::sync::{Arc, LazyLock};

use arrow::array::AsArray;
use arrow::datatypes::{DataType, FieldRef, TimeUnit, TimestampMicrosecondType};
use datafusion::common::Result;
use datafusion::functions::datetime;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// The function, under the engine's name for it.
pub fn date_trunc() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        Arc::new(ScalarUDF::from(DateTrunc {
            engine: datetime::date_trunc(),
        }))
    });
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DateTrunc {
    /// The engine's function.
    engine: Arc<ScalarUDF>,
}

/// Whether times of this type are in microseconds and UTC, as the ledger's are.
fn is_utc(kind: &DataType) -> bool {
    matches!(kind, DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if matches!(&**zone, "UTC" | "+00:00"))
}

/// The same instants, said to be in a zone or in none.
fn in_zone(times: &ColumnarValue, zone: Option<Arc<str>>) -> Option<ColumnarValue> {
    let ColumnarValue::Array(times) = times else { return None };
    let times = times.as_primitive_opt::<TimestampMicrosecondType>()?;
    Some(ColumnarValue::Array(Arc::new(times.clone().with_timezone_opt(zone))))
}

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &str {
        self.engine.name()
    }

    fn aliases(&self) -> &[String] {
        self.engine.aliases()
    }

    fn signature(&self) -> &Signature {
        self.engine.signature()
    }

    fn return_type(&self, kinds: &[DataType]) -> Result<DataType> {
        self.engine.return_type(kinds)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.engine.return_field_from_args(args)
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let kind = args.args.get(1).map(ColumnarValue::data_type).filter(is_utc);
        let plain = kind.as_ref().and_then(|_| in_zone(args.args.get(1)?, None));
        let (Some(DataType::Timestamp(_, zone)), Some(plain)) = (kind, plain) else {
            return self.engine.invoke_with_args(args);
        };
        let field = |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(plain.data_type()));
        args.return_field = field(&args.return_field);
        if let (Some(times), Some(field_of_times)) = (args.args.get_mut(1), args.arg_fields.get_mut(1)) {
            *field_of_times = field(field_of_times);
            *times = plain;
        }
        let cut = self.engine.invoke_with_args(args)?;
        Ok(in_zone(&cut, zone).unwrap_or(cut))
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.engine.output_ordering(inputs)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.engine.documentation()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, TimestampMicrosecondArray};
    use arrow::datatypes::Field;
    use datafusion::common::ScalarValue;
    use datafusion::config::ConfigOptions;

    use super::*;

    fn cut(function: &ScalarUDF, unit: &str, times: &ArrayRef) -> ArrayRef {
        let field = |kind: &DataType| Arc::new(Field::new("time", kind.clone(), true));
        let args = ScalarFunctionArgs {
            args: vec![
                ColumnarValue::Scalar(ScalarValue::from(unit)),
                ColumnarValue::Array(Arc::clone(times)),
            ],
            arg_fields: vec![field(&DataType::Utf8), field(times.data_type())],
            number_rows: times.len(),
            return_field: field(times.data_type()),
            config_options: Arc::new(ConfigOptions::default()),
        };
        function.invoke_with_args(args).unwrap().into_array(times.len()).unwrap()
    }

    /// Hand-picked: before 1970, a leap day, the last microsecond of a year, a Sunday.
    const TIMES_US: [Option<i64>; 6] = [
        Some(-1),
        Some(951_827_696_123_456),
        Some(1_798_761_599_999_999),
        None,
        Some(1_793_491_200_000_000),
        Some(0),
    ];

    #[test]
    fn times_are_cut_as_the_engine_cuts_them_in_every_zone() {
        for zone in [None, Some("UTC"), Some("+00:00"), Some("Europe/Berlin"), Some("Asia/Kolkata")] {
            let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(TIMES_US.to_vec()).with_timezone_opt(zone));
            for unit in ["second", "minute", "hour", "day", "week", "month", "quarter", "year"] {
                let ours = cut(&date_trunc(), unit, &times);
                assert_eq!(&ours, &cut(&datetime::date_trunc(), unit, &times), "{unit} in {zone:?}");
                assert_eq!(ours.data_type(), times.data_type(), "{unit} in {zone:?}");
            }
        }
    }

    #[test]
    fn an_hour_of_the_ledger_begins_on_the_hour() {
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(3_600_000_001), Some(-1)]).with_timezone("UTC"));
        let hours = cut(&date_trunc(), "hour", &times);
        let hours = hours.as_primitive::<TimestampMicrosecondType>();
        assert_eq!(hours.values(), &[3_600_000_000, -3_600_000_000]);
    }
}
