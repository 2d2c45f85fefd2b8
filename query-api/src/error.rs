//! What can go wrong with a query, in words for whoever wrote it. HTTP is not known here.
//!
//! DataFusion's own words are kept where they speak of the query; where they speak of the engine or its storage they go to the log.

use std::sync::Arc;
use std::time::Duration;

use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};
use datafusion::sql::sqlparser::parser::ParserError;

use crate::limits::{EXPRESSION_DEPTH_MAX, Limits, RELATIONS_MAX, SQL_BYTES_MAX};

/// Where in the statement something is wrong, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Position {
    /// The line.
    pub line: u64,
    /// The character in the line.
    pub column: u64,
}

/// Why there is no answer, or not all of one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The statement is wrong, or went wrong on the data. Its code says how.
    #[error("{message}")]
    Sql {
        /// Stable code, see [`Error::code`].
        code: &'static str,
        /// What is wrong.
        message: String,
        /// What to do.
        hint: Option<String>,
        /// Where.
        position: Option<Position>,
    },
    /// The statement is not one that reads.
    #[error("{statement} is not allowed: the ledger is read-only here")]
    NotAllowed {
        /// First words of the statement.
        statement: String,
    },
    /// More than one statement, or none.
    #[error("{count} statements were sent; exactly one is run")]
    NotOneStatement {
        /// How many.
        count: usize,
    },
    /// The statement is longer than what is parsed.
    #[error("the statement has {bytes} bytes; at most {SQL_BYTES_MAX} are read")]
    TooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// Expressions, queries or operators inside each other beyond the limit.
    #[error(
        "the statement nests too deep; at most {EXPRESSION_DEPTH_MAX} operators in a chain, 50 parentheses or queries inside each other"
    )]
    TooDeep,
    /// More joins and unions than planned.
    #[error("the statement joins and unites more than {RELATIONS_MAX} tables and queries")]
    TooManyRelations,
    /// A placeholder's value that cannot be one.
    #[error("{message}")]
    BadParams {
        /// What is wrong.
        message: String,
    },
    /// Two columns of the answer have one name.
    #[error("two columns of the answer are named {name:?}")]
    DuplicateColumn {
        /// The name.
        name: String,
    },
    /// A column's type does not exist in the format.
    #[error("{format} cannot hold this answer: {message}")]
    Unencodable {
        /// The format.
        format: &'static str,
        /// What arrow says.
        message: String,
    },
    /// More work than allowed.
    #[error("the query took longer than {} s", limit.as_secs_f32())]
    Timeout {
        /// The limit.
        limit: Duration,
    },
    /// The client took its rows too slowly.
    #[error("the client kept the query waiting for more than {} s", limit.as_secs_f32())]
    ClientTooSlow {
        /// The limit.
        limit: Duration,
    },
    /// More memory than allowed, and what it was for cannot be spilled.
    #[error("the query needs more memory than the {} that all queries may use together", size(*limit))]
    MemoryExceeded {
        /// The limit in bytes.
        limit: u64,
    },
    /// More spill files than allowed.
    #[error("the query needs more disk than the {} that all queries may spill together", size(*limit))]
    SpillExceeded {
        /// The limit in bytes.
        limit: u64,
    },
    /// More rows than allowed.
    #[error("the answer has more than {limit} rows")]
    TooManyRows {
        /// The limit.
        limit: usize,
    },
    /// Too many queries run and wait.
    #[error("{running} queries run and {waiting} wait; try again in {} s", retry_after.as_secs())]
    Busy {
        /// Queries that run.
        running: usize,
        /// Queries that wait.
        waiting: usize,
        /// When to try again.
        retry_after: Duration,
    },
    /// The engine is stopping.
    #[error("the gateway is shutting down")]
    ShuttingDown,
    /// The tables could not be read. The reason is in the log.
    #[error("the tables could not be read; the gateway's log says why")]
    Storage {
        /// For the log.
        #[source]
        source: Arc<DataFusionError>,
    },
    /// A defect. What is known is in the log.
    #[error("the query failed for a reason inside the gateway; its log says which")]
    Internal {
        /// For the log.
        detail: String,
    },
    /// The engine could not start.
    #[error("cannot prepare {path} for spill files")]
    SpillDir {
        /// The folder.
        path: String,
        /// Why.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The engine could not start.
    #[error("cannot start threads for queries")]
    Threads {
        /// Why.
        #[source]
        source: Arc<std::io::Error>,
    },
}

/// What to do about a query that needs too much.
const LESS: &str = "narrow start_time, group by fewer columns, or add LIMIT";

impl Error {
    /// The stable code: never renamed, never given another meaning.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Sql { code, .. } => code,
            Self::NotAllowed { .. } => "statement_not_allowed",
            Self::NotOneStatement { .. } => "not_one_statement",
            Self::TooLong { .. } => "statement_too_long",
            Self::TooDeep => "statement_too_deep",
            Self::TooManyRelations => "too_many_relations",
            Self::BadParams { .. } => "bad_params",
            Self::DuplicateColumn { .. } => "duplicate_column",
            Self::Unencodable { .. } => "unencodable_type",
            Self::Timeout { .. } => "query_timeout",
            Self::ClientTooSlow { .. } => "client_too_slow",
            Self::MemoryExceeded { .. } => "memory_exceeded",
            Self::SpillExceeded { .. } => "spill_exceeded",
            Self::TooManyRows { .. } => "too_many_rows",
            Self::Busy { .. } => "too_many_queries",
            Self::ShuttingDown => "shutting_down",
            Self::Storage { .. } => "storage_error",
            Self::Internal { .. } | Self::SpillDir { .. } | Self::Threads { .. } => "internal_error",
        }
    }

    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Sql { hint, .. } => hint.as_deref(),
            Self::NotAllowed { .. } => Some("SELECT, WITH, VALUES, EXPLAIN, DESCRIBE and SHOW are allowed"),
            Self::NotOneStatement { .. } => Some("send one statement a request"),
            Self::DuplicateColumn { .. } => Some("name one of them with AS"),
            Self::Unencodable { .. } => Some("CAST the column to another type, or ask for another format"),
            Self::Timeout { .. } | Self::MemoryExceeded { .. } | Self::SpillExceeded { .. } | Self::TooManyRows { .. } => {
                Some(LESS)
            }
            _ => None,
        }
    }

    /// Where in the statement it went wrong, where that is known.
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::Sql { position, .. } => *position,
            _ => None,
        }
    }

    /// Whether the gateway is at fault, not the query.
    pub fn is_internal(&self) -> bool {
        matches!(
            self,
            Self::Storage { .. } | Self::Internal { .. } | Self::SpillDir { .. } | Self::Threads { .. }
        )
    }

    /// What the log gets beyond the message, if there is more to know.
    pub(crate) fn detail(&self) -> Option<String> {
        match self {
            Self::Storage { source } => Some(source.strip_backtrace()),
            Self::Internal { detail } => Some(detail.clone()),
            Self::SpillDir { source, .. } | Self::Threads { source } => Some(source.to_string()),
            _ => None,
        }
    }

    pub(crate) fn internal(detail: impl Into<String>) -> Self {
        Self::Internal { detail: detail.into() }
    }

    /// Sorts what DataFusion says into what the user can act upon and what the log gets.
    pub(crate) fn from_datafusion(error: DataFusionError, limits: &Limits) -> Self {
        let diagnostic = error.diagnostic();
        let position = diagnostic.and_then(|diagnostic| diagnostic.span).map(|span| Position {
            line: span.start.line,
            column: span.start.column,
        });
        let advice = diagnostic.and_then(|diagnostic| {
            let helps = diagnostic.helps.iter().map(|help| help.message.as_str());
            let notes = diagnostic.notes.iter().map(|note| note.message.as_str());
            let advice: Vec<_> = helps.chain(notes).collect();
            (!advice.is_empty()).then(|| advice.join("; "))
        });
        let sql = |code: &'static str, text: &str| {
            let (message, hint) = split_hint(text);
            let (message, position) = match position {
                Some(position) => (message.as_str(), Some(position)),
                None => split_position(&message),
            };
            Self::Sql {
                code,
                message: message.to_owned(),
                hint: hint.or_else(|| advice.clone()),
                position,
            }
        };
        match error.find_root() {
            DataFusionError::SQL(parser, _) => match parser.as_ref() {
                ParserError::RecursionLimitExceeded => Self::TooDeep,
                ParserError::TokenizerError(text) | ParserError::ParserError(text) => sql("syntax_error", text),
            },
            DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
                SchemaError::FieldNotFound { .. } => sql("unknown_column", &schema.to_string()),
                SchemaError::AmbiguousReference { .. } => sql("ambiguous_column", &schema.to_string()),
                _ => sql("duplicate_column", &schema.to_string()),
            },
            DataFusionError::Plan(text) if text.starts_with("table '") && text.ends_with("not found") => sql("unknown_table", text),
            DataFusionError::Plan(text) if text.starts_with("Invalid function") => sql("unknown_function", text),
            DataFusionError::Plan(text) | DataFusionError::Configuration(text) => sql("invalid_query", text),
            DataFusionError::NotImplemented(text) => sql("unsupported", text),
            DataFusionError::Execution(text) => sql("query_failed", text),
            root if spilled_too_much(root) => Self::SpillExceeded {
                limit: limits.spill_bytes,
            },
            DataFusionError::ArrowError(arrow, _) => match arrow.as_ref() {
                ArrowError::MemoryError(_) => Self::MemoryExceeded {
                    limit: limits.memory_bytes as u64,
                },
                ArrowError::IoError(..) | ArrowError::IpcError(_) | ArrowError::ParquetError(_) | ArrowError::ExternalError(_) => {
                    Self::Storage { source: Arc::new(error) }
                }
                arrow => sql("query_failed", &arrow.to_string()),
            },
            DataFusionError::ResourcesExhausted(_) => Self::MemoryExceeded {
                limit: limits.memory_bytes as u64,
            },
            DataFusionError::Internal(_) | DataFusionError::ExecutionJoin(_) => Self::internal(error.strip_backtrace()),
            _ => Self::Storage { source: Arc::new(error) },
        }
    }

    /// Names the tables that there are, for a query that asked for another.
    pub(crate) fn with_tables(self, tables: &[String]) -> Self {
        match self {
            Self::Sql {
                code: code @ "unknown_table",
                message,
                position,
                ..
            } => Self::Sql {
                code,
                message,
                hint: Some(format!("tables are {}", tables.join(", "))),
                position,
            },
            other => other,
        }
    }
}

/// A full spill folder comes as exhausted resources or, from under the writer of a spill file, as an error of that.
fn spilled_too_much(error: &DataFusionError) -> bool {
    matches!(
        error,
        DataFusionError::ResourcesExhausted(_) | DataFusionError::ArrowError(..)
    ) && error.to_string().contains("disk space during the spilling")
}

/// Parts what is wrong from what to do, both in DataFusion's words.
fn split_hint(text: &str) -> (String, Option<String>) {
    // Before this stand the same words once for each type that was tried.
    let text = text.find("No function matches").and_then(|at| text.get(at..)).unwrap_or(text);
    let cut = ["Did you mean", "Valid fields are", "You might need"]
        .iter()
        .filter_map(|word| text.find(word))
        .min();
    let (message, hint) = cut.and_then(|at| text.split_at_checked(at)).unwrap_or((text, ""));
    let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let hint = line(hint);
    (
        line(message).trim_end_matches('.').to_owned(),
        (!hint.is_empty()).then_some(hint),
    )
}

/// Takes ` at Line: 1, Column: 8` off the end of a parser's message.
fn split_position(text: &str) -> (&str, Option<Position>) {
    let parsed = text.rsplit_once(" at Line: ").and_then(|(message, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((
            message,
            Position {
                line: line.parse().ok()?,
                column: column.parse().ok()?,
            },
        ))
    });
    match parsed {
        Some((message, position)) => (message, Some(position)),
        None => (text, None),
    }
}

/// A size for people: whole units of 1,024, none lost from view.
fn size(bytes: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB"];
    let mut size = bytes;
    let mut unit = 0;
    while size >= 10_240 && unit + 1 < units.len() {
        size /= 1024;
        unit += 1;
    }
    format!("{size} {}", units.get(unit).copied().unwrap_or("bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_hints_are_parted_from_the_message() {
        assert_eq!(
            split_position("Expected: an expression, found: FROM at Line: 1, Column: 8"),
            ("Expected: an expression, found: FROM", Some(Position { line: 1, column: 8 }))
        );
        assert_eq!(split_position("no place"), ("no place", None));
        let (message, hint) = split_hint("No field named teem. Did you mean 'team'?\nValid fields are team.");
        assert_eq!(
            (message.as_str(), hint.as_deref()),
            ("No field named teem", Some("Did you mean 'team'? Valid fields are team."))
        );
        assert_eq!(split_hint("Divide by zero error"), ("Divide by zero error".to_owned(), None));
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!(size(100), "100 bytes");
        assert_eq!(size(64 << 20), "64 MiB");
        assert_eq!(size(3 << 30), "3072 MiB");
        assert_eq!(size(24 << 30), "24 GiB");
    }
}
