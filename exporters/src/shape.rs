//! What of a row leaves: which rows (`sample`), which columns (`columns`), and in which form (`redact`).
//!
//! 1. A sample is drawn by a hash of `call_id`: the same rows are chosen on every try, restart and replay, and by every exporter of that share; a larger
//!    share contains a smaller one.
//! 2. A column that does not leave is null. The schema keeps every column, so that no reader has to ask which are there.
//! 3. [`ALWAYS`] leave: ids, order and files are made of them.
//! 4. A tag that is removed is as if the call did not have it; one that is hashed keeps its name.
//! 5. A keyed hash is the same for the same text and key, so that what is hashed can be counted and joined, and not be told without the key.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::builder::ArrayBuilder;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, MapArray, RecordBatch, StringArray, StringBuilder, StructArray, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::rows;
use crate::schema::usage_schema;

/// Columns that are never kept back.
pub const ALWAYS: [&str; 5] = ["call_id", "instance", "seq", "start_time", "start_date"];

/// Bytes of a key at least.
const HASH_KEY_BYTES_MIN: usize = 16;
/// Bytes of a hash that are written, as twice as many hexadecimal digits.
const HASH_BYTES: usize = 16;

/// What of a row is redacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A column, by its name.
    Column(String),
    /// An entry of column `tags`, by its key.
    Tag(String),
}

/// How a part is redacted.
#[derive(Clone, PartialEq, Eq)]
pub enum Redaction {
    /// The column is null; the tag is not there.
    Remove,
    /// Text is replaced by 32 hexadecimal digits of its HMAC-SHA256 with this key.
    Hash(Vec<u8>),
}

/// A share of all calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u64);

/// What of rows leaves.
#[derive(Clone, Debug)]
pub struct Shape {
    sample: Share,
    schema: SchemaRef,
    /// Of each column of the schema.
    cells: Vec<Cells>,
}

#[derive(Clone, PartialEq, Eq)]
enum Cells {
    Kept,
    Null,
    Hashed(Vec<u8>),
    /// Of column `tags`: these are redacted, the others kept.
    Tags(Vec<(String, Redaction)>),
}

// === impl Part ===

impl Part {
    /// The column that it is, or is in.
    fn column(&self) -> &str {
        match self {
            Self::Column(column) => column,
            Self::Tag(_) => "tags",
        }
    }
}

// === impl Redaction ===

impl std::fmt::Debug for Redaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Remove => "Remove",
            Self::Hash(_) => "Hash",
        })
    }
}

// === impl Cells ===

impl Cells {
    /// What becomes of a column that leaves. A column that is redacted whole is, whatever is said of its tags.
    fn of(column: &str, redact: &[(Part, Redaction)]) -> Self {
        let whole = redact
            .iter()
            .find(|(part, _)| matches!(part, Part::Column(name) if name == column));
        match whole {
            Some((_, Redaction::Remove)) => Self::Null,
            Some((_, Redaction::Hash(key))) => Self::Hashed(key.clone()),
            None => {
                let of_tag = |(part, redaction): &(Part, Redaction)| match part {
                    Part::Tag(name) if column == "tags" => Some((name.clone(), redaction.clone())),
                    _ => None,
                };
                let tags: Vec<_> = redact.iter().filter_map(of_tag).collect();
                if tags.is_empty() { Self::Kept } else { Self::Tags(tags) }
            }
        }
    }
}

impl std::fmt::Debug for Cells {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Kept => "Kept",
            Self::Null => "Null",
            Self::Hashed(_) => "Hashed",
            Self::Tags(_) => "Tags",
        })
    }
}

// === impl Share ===

impl Share {
    /// All of them.
    pub const ALL: Self = Self(u64::MAX);

    /// A share from 0 to 1; `None` if it is not between them.
    pub fn new(share: f64) -> Option<Self> {
        // 2^64: what is rounded is one call in 2^53.
        (0.0..=1.0)
            .contains(&share)
            .then_some(Self((share * 18_446_744_073_709_551_616.0) as u64))
    }

    fn takes(self, call_id: &str) -> bool {
        self == Self::ALL || hash(call_id) < self.0
    }
}

/// FNV-1a, then the finisher of SplitMix64, which spreads what FNV leaves in the low bits. Durable: the choice of a sample rests on it.
fn hash(text: &str) -> u64 {
    let fnv = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

// === impl Shape ===

impl Default for Shape {
    fn default() -> Self {
        let schema = usage_schema();
        Self {
            sample: Share::ALL,
            cells: vec![Cells::Kept; schema.fields().len()],
            schema,
        }
    }
}

impl Shape {
    /// Checks what is to leave. `columns` of `None` is all of them.
    ///
    /// # Errors
    /// What is wrong, in words that go behind the name of the field: a column that there is not, one of [`ALWAYS`] redacted, a hash of what is no text.
    pub fn new(sample: Share, columns: Option<&[String]>, redact: &[(Part, Redaction)]) -> Result<Self, (&'static str, String)> {
        let usage = usage_schema();
        for name in columns.unwrap_or_default() {
            usage
                .field_with_name(name)
                .map_err(|_| ("columns", format!("has `{name}`, which is no column of table usage")))?;
        }
        for (part, redaction) in redact {
            check(&usage, part, redaction).map_err(|problem| ("redact", problem))?;
        }
        let cells: Vec<_> = usage
            .fields()
            .iter()
            .map(|field| {
                let name = field.name().as_str();
                let leaves = ALWAYS.contains(&name) || columns.is_none_or(|columns| columns.iter().any(|column| column == name));
                if leaves { Cells::of(name, redact) } else { Cells::Null }
            })
            .collect();
        let fields: Vec<Arc<Field>> = usage
            .fields()
            .iter()
            .zip(&cells)
            .map(|(field, cells)| match cells {
                Cells::Null => Arc::new(field.as_ref().clone().with_nullable(true)),
                _ => Arc::clone(field),
            })
            .collect();
        Ok(Self {
            sample,
            schema: Arc::new(Schema::new(fields)),
            cells,
        })
    }

    /// The part of `rows` that leaves, of the columns of [`usage_schema`].
    ///
    /// # Errors
    /// Rows of another schema.
    pub(crate) fn apply(&self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let chosen = self.chosen(rows)?;
        let columns = chosen.columns().iter().zip(&self.cells).map(|(column, cells)| match cells {
            Cells::Kept => Arc::clone(column),
            Cells::Null => new_null_array(column.data_type(), column.len()),
            Cells::Hashed(key) => hashed(column, key),
            Cells::Tags(redact) => tags(column, redact),
        });
        RecordBatch::try_new(Arc::clone(&self.schema), columns.collect())
    }

    fn chosen(&self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        if self.sample == Share::ALL {
            return Ok(rows.clone());
        }
        let takes = |row| rows::text(rows, "call_id", row).is_none_or(|id| self.sample.takes(id));
        let mask: BooleanArray = (0..rows.num_rows()).map(|row| Some(takes(row))).collect();
        filter_record_batch(rows, &mask)
    }
}

/// Whether a part can be redacted so.
fn check(usage: &Schema, part: &Part, redaction: &Redaction) -> Result<(), String> {
    let told = match part {
        Part::Column(name) => format!("`{name}`"),
        Part::Tag(name) => format!("the tag `{name}`"),
    };
    let field = usage
        .field_with_name(part.column())
        .map_err(|_| format!("has {told}, which is no column of table usage"))?;
    if ALWAYS.contains(&part.column()) {
        return Err(format!(
            "has {told}, by which the far side knows a row: it always leaves as it is"
        ));
    }
    let Redaction::Hash(key) = redaction else { return Ok(()) };
    if matches!(part, Part::Column(_)) && *field.data_type() != DataType::Utf8 {
        return Err(format!("hashes {told}, which is no text: remove it instead"));
    }
    if key.len() < HASH_KEY_BYTES_MIN {
        return Err(format!(
            "hashes {told} with a key of less than {HASH_KEY_BYTES_MIN} bytes, which can be guessed"
        ));
    }
    Ok(())
}

fn hashed(column: &ArrayRef, key: &[u8]) -> ArrayRef {
    let Some(texts) = column.as_string_opt::<i32>() else {
        return new_null_array(column.data_type(), column.len());
    };
    let hasher = Hasher::new(key);
    let hashes: StringArray = texts.iter().map(|text| text.map(|text| hasher.hash(text))).collect();
    Arc::new(hashes)
}

/// Maps of tags, some of which are left out or hashed.
fn tags(column: &ArrayRef, redact: &[(String, Redaction)]) -> ArrayRef {
    let parts = column.as_map_opt().and_then(|map| {
        let DataType::Map(entry, ordered) = map.data_type() else {
            return None;
        };
        let (keys, values) = (map.keys().as_string_opt::<i32>()?, map.values().as_string_opt::<i32>()?);
        Some((map, (Arc::clone(entry), *ordered), keys, values))
    });
    // The schema's tags are of this type; of another one nothing leaves rather than too much.
    let Some((map, (entry, ordered), keys, values)) = parts else {
        return new_null_array(column.data_type(), column.len());
    };
    let redact: Vec<_> = redact
        .iter()
        .map(|(name, redaction)| match redaction {
            Redaction::Remove => (name, None),
            Redaction::Hash(key) => (name, Some(Hasher::new(key))),
        })
        .collect();
    let (mut new_keys, mut new_values) = (StringBuilder::new(), StringBuilder::new());
    let mut lengths = Vec::with_capacity(map.len());
    for bounds in map.offsets().windows(2) {
        let before = new_keys.len();
        let place = |bound: Option<&i32>| bound.and_then(|bound| usize::try_from(*bound).ok()).unwrap_or_default();
        for at in place(bounds.first())..place(bounds.last()) {
            let (key, value) = (keys.value(at), values.value(at));
            match redact.iter().find(|(name, _)| *name == key) {
                Some((_, None)) => continue,
                Some((_, Some(hasher))) => new_values.append_value(hasher.hash(value)),
                None => new_values.append_value(value),
            }
            new_keys.append_value(key);
        }
        lengths.push(new_keys.len() - before);
    }
    let DataType::Struct(fields) = entry.data_type().clone() else {
        return new_null_array(column.data_type(), column.len());
    };
    let entries: Vec<ArrayRef> = vec![Arc::new(new_keys.finish()), Arc::new(new_values.finish())];
    StructArray::try_new(fields, entries, None)
        .and_then(|entries| {
            MapArray::try_new(
                entry,
                OffsetBuffer::from_lengths(lengths),
                entries,
                map.nulls().cloned(),
                ordered,
            )
        })
        .map_or_else(
            |_| new_null_array(column.data_type(), column.len()),
            |map| Arc::new(map) as ArrayRef,
        )
}

/// HMAC-SHA256 with a key.
struct Hasher(Hmac<Sha256>);

impl Hasher {
    fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes keys of any length"))
    }

    fn hash(&self, text: &str) -> String {
        let mut mac = self.0.clone();
        mac.update(text.as_bytes());
        let digest = mac.finalize().into_bytes();
        digest
            .iter()
            .take(HASH_BYTES)
            .fold(String::with_capacity(HASH_BYTES * 2), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{decoded, row, rows_of};

    fn shape(columns: Option<&[&str]>, redact: &[(&str, Redaction)]) -> Result<Shape, (&'static str, String)> {
        let columns: Option<Vec<String>> = columns.map(|columns| columns.iter().map(|&column| column.to_owned()).collect());
        let redact: Vec<_> = redact
            .iter()
            .map(|(column, redaction)| (Part::Column((*column).to_owned()), redaction.clone()))
            .collect();
        Shape::new(Share::ALL, columns.as_deref(), &redact)
    }

    #[test]
    fn a_sample_has_its_share_is_the_same_again_and_lies_within_a_larger_one() {
        let rows = rows_of("gw-1", 1..=10_000);
        let ids = |share: f64| -> Vec<String> {
            let shape = Shape::new(Share::new(share).unwrap(), None, &[]).unwrap();
            let chosen = shape.apply(&rows).unwrap();
            assert_eq!(chosen.num_rows(), shape.apply(&rows).unwrap().num_rows());
            (0..chosen.num_rows())
                .map(|row| rows::text(&chosen, "call_id", row).unwrap().to_owned())
                .collect()
        };
        let (tenth, half) = (ids(0.1), ids(0.5));
        // Five standard deviations of a fair draw: sqrt(10,000 * p * (1 - p)) is 30 and 50.
        assert!(
            tenth.len().abs_diff(1000) < 150 && half.len().abs_diff(5000) < 250,
            "{} {}",
            tenth.len(),
            half.len()
        );
        assert!(tenth.iter().all(|id| half.contains(id)));
        assert_eq!((ids(0.0).len(), ids(1.0).len()), (0, 10_000));
        assert!(Share::new(1.5).is_none() && Share::new(f64::NAN).is_none());
    }

    #[test]
    fn the_hash_of_a_sample_is_durable() {
        // FNV-1a of the empty text is its offset basis; of "a" it is af63dc4c8601ec8c (the algorithm's own test vectors).
        let finish = |fnv: u64| {
            let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        };
        assert_eq!(
            (hash(""), hash("a")),
            (finish(0xcbf2_9ce4_8422_2325), finish(0xaf63_dc4c_8601_ec8c))
        );
    }

    #[test]
    fn what_does_not_leave_is_null_and_what_makes_the_id_always_leaves() {
        let rows = rows_of("gw-1", 1..=3);
        let shaped = shape(Some(&["team", "cost"]), &[]).unwrap().apply(&rows).unwrap();
        assert_eq!(shaped.num_columns(), rows.num_columns());
        for (column, field) in shaped.columns().iter().zip(rows.schema().fields()) {
            let leaves = ALWAYS.contains(&field.name().as_str()) || ["team", "cost"].contains(&field.name().as_str());
            let original = rows.column_by_name(field.name()).unwrap();
            assert_eq!(
                column.null_count(),
                if leaves { original.null_count() } else { 3 },
                "{}",
                field.name()
            );
        }
    }

    #[test]
    fn a_hash_is_the_same_for_the_same_text_and_key_only() {
        let rows = rows_of("gw-1", 1..=20);
        let hashes = |key: u8| -> Vec<String> {
            let shaped = shape(None, &[("team", Redaction::Hash(vec![key; 16]))])
                .unwrap()
                .apply(&rows)
                .unwrap();
            (0..20)
                .map(|row| rows::text(&shaped, "team", row).unwrap().to_owned())
                .collect()
        };
        let (one, other) = (hashes(1), hashes(2));
        for row in 0..20 {
            assert_eq!(one[row].len(), 32);
            assert_ne!(one[row], other[row]);
            for twin in 0..20 {
                assert_eq!(
                    one[row] == one[twin],
                    rows::text(&rows, "team", row) == rows::text(&rows, "team", twin)
                );
            }
        }
    }

    #[test]
    fn the_hash_is_the_beginning_of_hmac_sha256() {
        // RFC 4231, section 4.2: test case 1.
        assert_eq!(Hasher::new(&[0x0b; 20]).hash("Hi There"), "b0344c61d8db38535ca8afceaf0bf12b");
    }

    #[test]
    fn a_tag_is_left_out_or_hashed_and_the_others_stay() {
        let tagged = |tags: [serde_json::Value; 3]| {
            let rows: Vec<_> = (1..=3)
                .zip(tags)
                .map(|(seq, tags)| {
                    let mut row = row("gw-1", seq);
                    row["tags"] = tags;
                    row
                })
                .collect();
            decoded(&rows)
        };
        let rows = tagged([
            json!({"email": "ann@acme.example", "env": "prod"}),
            json!({}),
            json!({"customer": "Hi There", "email": "bob@acme.example"}),
        ]);
        let redact = [
            (Part::Tag("email".to_owned()), Redaction::Remove),
            (Part::Tag("customer".to_owned()), Redaction::Hash(vec![0x0b; 20])),
        ];
        let shaped = Shape::new(Share::ALL, None, &redact).unwrap().apply(&rows).unwrap();
        let expected = tagged([
            json!({"env": "prod"}),
            json!({}),
            json!({"customer": "b0344c61d8db38535ca8afceaf0bf12b"}),
        ]);
        assert_eq!(shaped, expected);
        // Of a part of a larger batch too, where offsets do not begin at zero.
        let part = Shape::new(Share::ALL, None, &redact)
            .unwrap()
            .apply(&rows.slice(1, 2))
            .unwrap();
        assert_eq!(part, expected.slice(1, 2));
    }

    #[test]
    fn a_column_that_is_removed_takes_its_tags_along() {
        let redact = [
            (Part::Tag("env".to_owned()), Redaction::Hash(vec![1; 16])),
            (Part::Column("tags".to_owned()), Redaction::Remove),
        ];
        let shaped = Shape::new(Share::ALL, None, &redact)
            .unwrap()
            .apply(&rows_of("gw-1", 1..=2))
            .unwrap();
        assert_eq!(shaped.column_by_name("tags").unwrap().null_count(), 2);
    }

    #[test]
    fn what_cannot_be_done_is_refused_in_words() {
        let hash = || Redaction::Hash(vec![1; 16]);
        for (result, word) in [
            (shape(Some(&["teem"]), &[]), "teem"),
            (shape(None, &[("teem", Redaction::Remove)]), "teem"),
            (shape(None, &[("call_id", Redaction::Remove)]), "always leaves"),
            (shape(None, &[("cost", hash())]), "no text"),
            (shape(None, &[("team", Redaction::Hash(vec![1; 15]))]), "guessed"),
            (shape(None, &[("tags", hash())]), "no text"),
            (
                Shape::new(Share::ALL, None, &[(Part::Tag("x".to_owned()), Redaction::Hash(vec![1; 15]))]),
                "the tag `x`",
            ),
        ] {
            let (_, problem) = result.unwrap_err();
            assert!(problem.contains(word), "{problem}");
        }
        let shape = shape(None, &[("team", Redaction::Hash(vec![77; 16]))]).unwrap();
        assert!(!format!("{shape:?}").contains("77"));
    }
}
