//! `when` of budgets, rate limits and exporters: SQL, which this crate cannot read. Who can is told where it stands.

use tollgate_record::Name;

use crate::field::Fields;
use crate::problem::Problem;
use crate::value::Value;

/// Longest condition, in bytes.
pub const CONDITION_BYTES_MAX: usize = 16 << 10;

/// An SQL boolean expression, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Kind of the resource, which says the columns that may be named.
    pub of: ConditionOf,
    /// Name of the resource.
    pub name: Name,
    /// The expression.
    pub sql: Box<str>,
    document: String,
    path: String,
}

/// Kinds that have conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionOf {
    /// Over [`tollgate_record::rule::ADMISSION_COLUMNS`].
    Budget,
    /// Over [`tollgate_record::rule::ADMISSION_COLUMNS`].
    RateLimit,
    /// Over every column of table `usage`.
    Exporter,
}

// === impl Condition ===

impl Condition {
    /// Reads field `when`; `None` also if there is none.
    pub(crate) fn read(of: ConditionOf, name: &Name, fields: &mut Fields<'_>) -> Option<Self> {
        let value = fields.take("when")?;
        let text = value.text()?.resolved;
        let sql = text.trim();
        if sql.is_empty() {
            value.wrong("is empty: leave it out, and all are meant");
            return None;
        }
        if sql.len() > CONDITION_BYTES_MAX {
            value.wrong(format!("is longer than {CONDITION_BYTES_MAX} bytes"));
            return None;
        }
        Some(Self::at(of, name, sql, &value))
    }

    fn at(of: ConditionOf, name: &Name, sql: &str, value: &Value<'_>) -> Self {
        Self {
            of,
            name: name.clone(),
            sql: sql.into(),
            document: value.document.place.at(value.line()),
            path: value.path.clone(),
        }
    }

    /// A problem with it, where it stands. `reason` follows on the path: `names column cost, which ...`.
    pub fn problem(&self, reason: impl Into<String>) -> Problem {
        Problem {
            document: self.document.clone(),
            path: self.path.clone(),
            reason: reason.into(),
        }
    }
}
