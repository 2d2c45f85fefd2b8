//! What can go wrong in the store.

use std::path::PathBuf;

/// An error of the ledger.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Another process has the data directory open.
    #[error("data directory {} is in use by another process; stop that one, or give this one a directory of its own", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A segment of the write-ahead log is damaged where it had been synced, which no crash explains.
    #[error(
        "write-ahead log {} is damaged at byte {offset}, for {bytes} bytes: {reason}; nothing was changed: restore the file, or run `tollgate repair`, which keeps the rest and says what is missing",
        path.display()
    )]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where the damage starts.
        offset: u64,
        /// How far it goes.
        bytes: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// A segment of the write-ahead log is not there, although rows before it were not yet in the table.
    #[error(
        "write-ahead log {} is missing, although older rows are not in the table yet; nothing was changed: restore the file, or run `tollgate repair`, which keeps the rest and says what is missing",
        path.display()
    )]
    Missing {
        /// The segment.
        path: PathBuf,
    },
    /// An entry of the write-ahead log is whole, but not in a form that this version reads.
    #[error("write-ahead log {} has an entry at byte {offset} that this version cannot read; start the version that wrote it, let it flush, then upgrade", path.display())]
    Unreadable {
        /// The segment.
        path: PathBuf,
        /// Where the entry starts.
        offset: u64,
    },
    /// The log is poisoned.
    #[error("the log takes nothing any more")]
    Poisoned(#[source] tollgate_record::Unavailable),
    /// The write-ahead log was written by a version that this one cannot read.
    #[error("write-ahead log {} has format {found:?}, this version reads {expected:?}", path.display())]
    Format {
        /// The segment.
        path: PathBuf,
        /// First bytes of the file.
        found: String,
        /// What they should be.
        expected: &'static str,
    },
    /// The warehouse refused.
    #[error("the warehouse failed")]
    Table(#[from] deltalake_core::DeltaTableError),
    /// A change of the table rests on a state of it that is no more; nothing was changed.
    #[error("the table at {url} was changed by another writer meanwhile: {reason}")]
    Conflict {
        /// The table.
        url: String,
        /// What is no longer so.
        reason: String,
    },
    /// The table was not seen since the start.
    #[error("the table at {url} cannot be reached; table hot has the rows that are not in it yet")]
    Unreachable {
        /// The table.
        url: String,
    },
    /// Rows were recorded without the table, at places that the table has given to others.
    #[error(
        "the table at {url} has rows of {instance} up to {committed}, but this data directory recorded others behind {last} while the table could not be reached: it is an old copy, or another gateway has the same name; nothing was changed: stop that gateway, or set spec.ledger.table to a place of its own, to which the rows of this directory go then"
    )]
    Diverged {
        /// The gateway.
        instance: String,
        /// The table.
        url: String,
        /// The last place in the table.
        committed: u64,
        /// The last place that this data directory knew to be taken.
        last: u64,
    },
    /// A file could not be encoded or decoded.
    #[error("a Parquet file failed")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// The warehouse holds another schema.
    #[error("the table at {url} has other columns than this version writes: {reason}")]
    Schema {
        /// The table.
        url: String,
        /// The difference.
        reason: String,
    },
    /// A table location is not one that can be opened.
    #[error("table location {location:?} cannot be used: {reason}")]
    Location {
        /// What was configured.
        location: String,
        /// Why not.
        reason: String,
    },
    /// The table needs what this version cannot read.
    #[error(
        "the table at {url} needs version {version} of Delta's reader protocol; this version reads plain tables (1): another engine enabled a feature on it"
    )]
    Reader {
        /// The table.
        url: String,
        /// What it needs.
        version: i32,
    },
    /// Rows could not be made into columns.
    #[error("rows cannot be made into columns")]
    Arrow(#[from] arrow::error::ArrowError),
    /// The query engine refused.
    #[error("the query engine failed")]
    Query(#[source] Box<datafusion::error::DataFusionError>),
    /// There is no such price list.
    #[error(transparent)]
    Unlisted(#[from] tollgate_rating::Unlisted),
    /// No row was ever committed to the table.
    #[error("nothing was committed to the table yet: start the gateway and stop it once, so that its calls are there")]
    Nothing,
    /// A background task ended before its work was done.
    #[error("the ledger's task ended before its work was done")]
    TaskEnded,
}

impl From<object_store::Error> for Error {
    fn from(source: object_store::Error) -> Self {
        Self::Table(source.into())
    }
}

impl Error {
    pub(crate) fn query(error: datafusion::error::DataFusionError) -> Self {
        Self::Query(Box::new(error))
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl From<Error> for datafusion::error::DataFusionError {
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}
