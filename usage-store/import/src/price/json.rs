//! JSON whose numbers stay text. `serde_json` makes floats of numbers, unless one asks for the text of a value.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use tollgate_record::Amount;

use crate::decimal::{self, Decimal};

/// An object whose values are not yet read.
pub(super) type Object = BTreeMap<String, Box<RawValue>>;

/// Reads a value as an object; `None` if it is none.
pub(super) fn object(raw: &RawValue) -> Option<Object> {
    serde_json::from_str(raw.get()).ok()
}

/// Reads a value as a list; `None` if it is none.
pub(super) fn list(raw: &RawValue) -> Option<Vec<Box<RawValue>>> {
    serde_json::from_str(raw.get()).ok()
}

/// Reads a value as a text; `None` if it is none.
pub(super) fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// A member as a text.
pub(super) fn member_text(object: &Object, key: &str) -> Option<String> {
    object.get(key).and_then(|raw| text(raw))
}

/// A number, or a text that holds one, times ten to the power of `places`, and whether it was rounded to twelve.
///
/// # Errors
/// A sentence that says what is wrong: no number, negative, or more digits than an amount has.
pub(super) fn amount(raw: &RawValue, places: u32) -> Result<Decimal, String> {
    let written = match text(raw) {
        Some(text) => text,
        None => raw.get().to_owned(),
    };
    let read = decimal::shifted(&written, places)?;
    if read.amount < Amount::ZERO {
        return Err(format!("{written} is negative"));
    }
    Ok(read)
}
