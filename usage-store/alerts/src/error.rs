//! What can go wrong with the book.

use std::io;
use std::path::PathBuf;

/// The book cannot be opened, or does not take what it is told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has it.
    #[error("alerts are kept by someone else already: {} is locked", path.display())]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// A file could not be read or written.
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
    /// A line that was whole once is no longer.
    #[error(
        "alerts {} are damaged in line {line}: {reason}. Restore the file from a backup, or delete the line: then that alert may be raised and sent again",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}
