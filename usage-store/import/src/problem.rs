//! What can be wrong with an export: a row, or all of it.

/// Why a file cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read.
    #[error("the file cannot be read")]
    Read(#[from] std::io::Error),
    /// The first line of a CSV file is none.
    #[error("the file's header cannot be read")]
    Header(#[from] csv::Error),
    /// The file is empty.
    #[error("the file is empty")]
    Empty,
    /// Columns that every such export has.
    #[error("column {missing} is missing: this is no {format} export ({hint})")]
    Missing {
        /// The column.
        missing: &'static str,
        /// The format.
        format: &'static str,
        /// What it should be.
        hint: &'static str,
    },
    /// A column that is not one of table `usage`.
    #[error("column {name:?} is none that can be imported: rename it with --map {name}=COLUMN, or leave it out with --map {name}=")]
    Unknown {
        /// The column.
        name: String,
    },
    /// A column that stands in the header twice, after renaming.
    #[error("two columns are called {name:?}")]
    Twice {
        /// The column.
        name: String,
    },
    /// A renaming that fits no column.
    #[error("--map {theirs}={ours}: {reason}")]
    Map {
        /// The column of the file.
        theirs: String,
        /// The column of table `usage`.
        ours: String,
        /// Why not.
        reason: &'static str,
    },
}

/// What stands in the way of a row, or of all that follow.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The row is none; those after it can be read.
    #[error("line {line}: {reason}")]
    Rejected {
        /// Where it begins, from 1.
        line: u64,
        /// Why.
        reason: String,
    },
    /// The file cannot be read further.
    #[error("line {line}: {reason}; nothing after it was read")]
    Broken {
        /// Where.
        line: u64,
        /// Why.
        reason: String,
    },
}
