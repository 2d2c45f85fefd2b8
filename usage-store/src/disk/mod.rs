//! The file system, as far as the ledger needs it.
//!
//! The log, the price history and the directory's own files go through [`Disk`], so that a simulation can tear their writes, lose what was
//! not synced, and fail at any step. [`Os`] is the real one. Parquet files and commits of the table go through an object store instead.

mod os;
#[cfg(test)]
pub(crate) mod simulated;

use std::any::Any;
use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub use os::Os;

/// A file system.
///
/// # Guarantees
/// 1. What [`File::append`] was given is there after the process is killed, once it has returned.
/// 2. What a file holds survives a power cut once [`File::sync`] has returned after it, and only if its name does.
/// 3. A name (created, renamed, removed) survives a power cut once [`Disk::sync_folder`] has returned after it.
/// 4. Nothing else is promised: without a sync, any part of any change may be lost, in any order.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Creates a folder and those above it, if they are missing.
    ///
    /// # Errors
    /// What the system says.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Names of the files in a folder, in no order.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::NotFound`] if there is no such folder.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// A file's bytes.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::NotFound`] if there is no such file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The first bytes of a file, at most so many.
    ///
    /// # Errors
    /// As [`Disk::read`].
    fn read_start(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>>;

    /// Creates a file that must not be there yet, for appending.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::AlreadyExists`] if it is there.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens a file that is there, for appending.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Gives a file another name, replacing what has that name.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Takes a file for this process, as long as the returned value lives; `None` if another process has it.
    ///
    /// # Errors
    /// What the system says.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>>;
}

/// A file that is appended to.
pub trait File: Debug + Send + Sync + 'static {
    /// Appends bytes. After an error, any part of them may have been written.
    ///
    /// # Errors
    /// What the system says.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file to a length.
    ///
    /// # Errors
    /// What the system says.
    fn cut(&self, length: u64) -> io::Result<()>;

    /// Makes what the file holds durable. After an error nothing is known of what was not synced before, and a further sync proves nothing.
    ///
    /// # Errors
    /// What the system says.
    fn sync(&self) -> io::Result<()>;
}

/// Replaces a small file whole and durably: a reader sees the old bytes or the new ones.
///
/// # Errors
/// What the system says; the old file is then still there.
pub(crate) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = Path::new(&part);
    match disk.remove(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create(part)?;
    file.append(bytes)?;
    file.sync()?;
    disk.rename(part, path)?;
    disk.sync_folder(path.parent().unwrap_or(Path::new(".")))
}
