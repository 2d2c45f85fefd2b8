//! Statistics of a file as Delta's log has them: how many rows, and of chosen columns the least, the greatest and how many are missing.
//!
//! Bounds are exact: decimals are written with all their digits and times with microseconds, since engines answer `min` and `max` from
//! them. (Delta's own writers round decimals to a double and cut times to milliseconds.)

use std::collections::{BTreeMap, HashMap};

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::{max, max_boolean, max_string, min, min_boolean, min_string};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Int64Type, Schema, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use serde::Serialize;
use serde_json::value::RawValue;
use tollgate_record::Amount;

use super::name::{date, instant, unix_us};

/// The statistics, in Delta's words.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statistics<'a> {
    num_records: i64,
    min_values: BTreeMap<&'a str, Box<RawValue>>,
    max_values: BTreeMap<&'a str, Box<RawValue>>,
    null_count: BTreeMap<&'a str, u64>,
}

/// The statistics of a file's columns, as JSON. Columns that the file lacks are left out.
///
/// # Errors
/// [`ParquetError`] if the footer does not fit the schema.
pub(crate) fn statistics(metadata: &ParquetMetaData, schema: &Schema, columns: &[&str]) -> Result<String, ParquetError> {
    let file = metadata.file_metadata();
    let mut statistics = Statistics {
        num_records: file.num_rows(),
        min_values: BTreeMap::new(),
        max_values: BTreeMap::new(),
        null_count: BTreeMap::new(),
    };
    for name in columns {
        let Ok(field) = schema.field_with_name(name) else { continue };
        let converter = StatisticsConverter::try_new(name, schema, file.schema_descr())?;
        let groups = || metadata.row_groups().iter();
        let nulls = arrow::compute::sum(&converter.row_group_null_counts(groups())?).unwrap_or(0);
        statistics.null_count.insert(name, nulls);
        let (mins, maxes) = (converter.row_group_mins(groups())?, converter.row_group_maxes(groups())?);
        if let (Some(least), Some(greatest)) = (bound(&mins, field.data_type(), false), bound(&maxes, field.data_type(), true)) {
            statistics.min_values.insert(name, least);
            statistics.max_values.insert(name, greatest);
        }
    }
    Ok(serde_json::to_string(&statistics).expect("names and numbers can be written as JSON"))
}

/// The least value of a column of times, from statistics as Delta's log has them; in microseconds since 1970-01-01 UTC.
pub(crate) fn earliest(statistics: &str, column: &str) -> Option<i64> {
    #[derive(serde::Deserialize)]
    struct Bounds<'a> {
        #[serde(rename = "minValues", borrow)]
        min_values: HashMap<&'a str, &'a RawValue>,
    }
    let bounds: Bounds<'_> = serde_json::from_str(statistics).ok()?;
    unix_us(bounds.min_values.get(column)?.get().trim_matches('"'))
}

/// The least or the greatest of some values as JSON; `None` if there is none, or the type has no bounds.
fn bound(values: &ArrayRef, kind: &DataType, greatest: bool) -> Option<Box<RawValue>> {
    let text = match kind {
        DataType::Int64 => {
            let values = values.as_primitive::<Int64Type>();
            if greatest { max(values) } else { min(values) }?.to_string()
        }
        DataType::Utf8 => {
            let values = values.as_string::<i32>();
            quoted(if greatest { max_string(values) } else { min_string(values) }?)
        }
        DataType::Boolean => {
            let values = values.as_boolean();
            if greatest { max_boolean(values) } else { min_boolean(values) }?.to_string()
        }
        DataType::Decimal128(_, scale) if u32::try_from(*scale) == Ok(Amount::SCALE) => {
            let values = values.as_primitive::<Decimal128Type>();
            let units = if greatest { max(values) } else { min(values) }?;
            Amount::from_units(units).ok()?.to_string()
        }
        DataType::Timestamp(_, Some(_)) => {
            let values = values.as_primitive::<TimestampMicrosecondType>();
            quoted(&instant(if greatest { max(values) } else { min(values) }?)?)
        }
        DataType::Date32 => {
            let values = values.as_primitive::<Date32Type>();
            quoted(&date(if greatest { max(values) } else { min(values) }?))
        }
        _ => return None,
    };
    RawValue::from_string(text).ok()
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text can be written as JSON")
}
