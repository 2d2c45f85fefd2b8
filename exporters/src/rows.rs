//! Reading cells of rows of table `usage`. What a column lacks is `None`; a column of another type reads as one that lacks everything.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, Int64Type, TimestampMicrosecondType};
use tollgate_record::{Amount, Name, Seq, Timestamp};

use crate::Cursor;

/// The text of a cell.
pub(crate) fn text<'a>(rows: &'a RecordBatch, column: &str, row: usize) -> Option<&'a str> {
    let values = rows.column_by_name(column)?.as_string_opt::<i32>()?;
    (row < values.len() && values.is_valid(row)).then(|| values.value(row))
}

/// The number of a cell.
pub(crate) fn int(rows: &RecordBatch, column: &str, row: usize) -> Option<i64> {
    let values = rows.column_by_name(column)?.as_primitive_opt::<Int64Type>()?;
    (row < values.len() && values.is_valid(row)).then(|| values.value(row))
}

/// The amount of a cell.
pub(crate) fn amount(rows: &RecordBatch, column: &str, row: usize) -> Option<Amount> {
    let values = rows.column_by_name(column)?.as_primitive_opt::<Decimal128Type>()?;
    (row < values.len() && values.is_valid(row))
        .then(|| values.value(row))
        .and_then(|units| Amount::from_units(units).ok())
}

/// The instant of a cell.
pub(crate) fn instant(rows: &RecordBatch, column: &str, row: usize) -> Option<Timestamp> {
    let values = rows.column_by_name(column)?.as_primitive_opt::<TimestampMicrosecondType>()?;
    (row < values.len() && values.is_valid(row)).then(|| Timestamp::from_unix_us(values.value(row)))
}

/// Where a row stands: its gateway, and its place there.
pub(crate) fn place(rows: &RecordBatch, row: usize) -> Option<(Name, Seq)> {
    let seq = u64::try_from(int(rows, "seq", row)?).ok()?;
    Some((Name::new(text(rows, "instance", row)?).ok()?, Seq::new(seq)))
}

/// The cursor behind all of `rows`, of which those of one instance are in the order of their places.
pub(crate) fn behind(rows: &RecordBatch, from: &Cursor) -> Cursor {
    let mut cursor = from.clone();
    let mut last: Option<Name> = None;
    for row in 0..rows.num_rows() {
        let (Some(instance), Some(seq)) = (
            text(rows, "instance", row),
            int(rows, "seq", row).and_then(|seq| u64::try_from(seq).ok()),
        ) else {
            continue;
        };
        // Rows of one instance mostly stand together: the name is made once.
        let name = match &last {
            Some(name) if name == instance => name.clone(),
            _ => match Name::new(instance) {
                Ok(name) => last.insert(name).clone(),
                Err(_) => continue,
            },
        };
        let place = cursor.0.entry(name).or_insert(Seq::ZERO);
        *place = (*place).max(Seq::new(seq));
    }
    cursor
}

/// Bytes of rows in memory, of a slice only its part. A slice of lists or maps keeps the values of all of them, which Arrow's own count has in it.
pub(crate) fn bytes(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(|column| part(column)).sum()
}

fn part(of: &dyn Array) -> usize {
    if let Some(lists) = of.as_list_opt::<i32>() {
        return between(lists.values(), lists.value_offsets());
    }
    if let Some(maps) = of.as_map_opt() {
        return between(maps.entries(), maps.value_offsets());
    }
    if let Some(fields) = of.as_struct_opt() {
        return fields.columns().iter().map(|field| part(field)).sum();
    }
    of.to_data().get_slice_memory_size().unwrap_or(0)
}

/// Bytes of the values that offsets point at, and of the offsets.
fn between(values: &dyn Array, offsets: &[i32]) -> usize {
    let place = |offset: Option<&i32>| offset.and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0);
    let (first, last) = (place(offsets.first()), place(offsets.last()));
    size_of_val(offsets) + part(&values.slice(first, last - first))
}

#[cfg(test)]
mod tests {
    use crate::testing::rows_of;

    #[test]
    fn a_slice_has_the_bytes_of_its_rows() {
        let all = rows_of("gw-1", 1..=1000);
        let whole = super::bytes(&all);
        let slices: usize = (0..1000).step_by(10).map(|start| super::bytes(&all.slice(start, 10))).sum();
        // Each slice has an offset more than rows in every column of text, and bits are rounded up.
        assert!((whole..whole + whole / 10).contains(&slices), "{slices} of {whole}");
    }
}
