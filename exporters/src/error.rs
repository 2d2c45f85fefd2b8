//! What can go wrong with an exporter itself, rather than with its far side.

use std::io;
use std::path::PathBuf;

use crate::SourceError;

/// An exporter cannot be opened, or does not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name cannot be a file's.
    #[error(
        "exporter name {name:?} may have letters, digits, `-`, `_` and `.` only, does not begin with `.`, and has 1 to 128 bytes"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// Another process, or another part of this one, runs it.
    #[error("exporter {name} is run by someone else already: {} is locked", path.display())]
    Locked {
        /// The exporter.
        name: String,
        /// The lock.
        path: PathBuf,
    },
    /// A file of the exporter could not be read or written.
    #[error("failed to {what} {}", path.display())]
    File {
        /// What was to be done.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Neither the cursor nor the one before it can be read.
    #[error(
        "cursor {} of exporter {name} is damaged ({reason}), and so is the one before it: restore either from a backup, or say where to go on with \
         `tollgate exporter reset {name} --to beginning` (sends every row again), `--to TIME` or `--to now` (skips what was not sent)",
        path.display()
    )]
    CursorDamaged {
        /// The exporter.
        name: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A setting cannot be used.
    #[error("exporter {name}: {field} {problem}")]
    Setting {
        /// The exporter.
        name: String,
        /// The setting.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Rows could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A replay is under way already.
    #[error("exporter {name} replays a range already: wait for its end")]
    Replaying {
        /// The exporter.
        name: String,
    },
    /// A replay came to an early end.
    #[error("the replay of exporter {name} ended early, after {delivered} rows: {reason}; start it again")]
    ReplayCut {
        /// The exporter.
        name: String,
        /// Rows that were delivered.
        delivered: u64,
        /// Why.
        reason: String,
    },
    /// The exporter was stopped before it could answer.
    #[error("exporter {name} does not run")]
    NotRunning {
        /// The exporter.
        name: String,
    },
    /// The kind cannot show what it would send.
    #[error("exporter {name} is of a kind that cannot show what it would send")]
    NoPreview {
        /// The exporter.
        name: String,
    },
}
