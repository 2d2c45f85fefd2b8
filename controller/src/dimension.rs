//! `spec.per` of budgets and rate limits: what there is a counter for each combination of.

use tollgate_record::rule::{ADMISSION_COLUMNS, Dimension};

use crate::field::Fields;
use crate::nearest::nearest;
use crate::value::Value;

/// Most dimensions of a rule.
const DIMENSIONS_MAX: usize = 8;
/// Longest name of a tag, in bytes.
const TAG_BYTES_MAX: usize = 256;
/// Columns that are known when a call is admitted and have no text in them.
const NO_TEXT: [&str; 4] = ["start_time", "start_date", "tags", "stream"];

/// Reads the list; `None` if it is wrong.
pub(crate) fn read(fields: &mut Fields<'_>) -> Option<Vec<Dimension>> {
    let Some(list) = fields.take("per") else {
        return Some(Vec::new());
    };
    let items = list.items()?;
    let count = items.len();
    if count > DIMENSIONS_MAX {
        list.wrong(format!("has {count} dimensions, more than {DIMENSIONS_MAX}"));
        return None;
    }
    let mut dimensions: Vec<Dimension> = Vec::with_capacity(count);
    for item in items {
        let Some(dimension) = dimension(&item) else { continue };
        if dimensions.contains(&dimension) {
            item.wrong("stands twice: remove one");
            continue;
        }
        dimensions.push(dimension);
    }
    (dimensions.len() == count).then_some(dimensions)
}

/// A column or a tag.
pub(crate) fn dimension(item: &Value<'_>) -> Option<Dimension> {
    let text = item.text()?;
    if let Some(tag) = tag(&text.resolved) {
        if tag.is_empty() || tag.len() > TAG_BYTES_MAX || tag.chars().any(char::is_control) {
            item.wrong(format!(
                "names a tag that is empty, longer than {TAG_BYTES_MAX} bytes or unprintable"
            ));
            return None;
        }
        return Some(Dimension::Tag(tag.into()));
    }
    let columns = || ADMISSION_COLUMNS.iter().copied().filter(|column| !NO_TEXT.contains(column));
    let column = columns().find(|column| *column == text.resolved);
    if column.is_none() {
        let meant = match nearest(&text.resolved, columns()) {
            Some(meant) => format!("; did you mean {meant}?"),
            None => String::new(),
        };
        let known = columns().collect::<Vec<_>>().join(", ");
        item.wrong(format!(
            "{} is no text that is known when a call is admitted{meant} (known here: {known}, tags['NAME'])",
            text.quoted()
        ));
    }
    column.map(Dimension::Column)
}

/// The name in `tags['name']`, where a quote stands twice as SQL has it.
pub(crate) fn tag(text: &str) -> Option<String> {
    let quoted = text.strip_prefix("tags['")?.strip_suffix("']")?;
    let name = quoted.replace("''", "'");
    // A lone quote would have ended the name.
    (name.matches('\'').count() * 2 == quoted.matches('\'').count()).then_some(name)
}
