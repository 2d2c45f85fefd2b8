//! Files that are there whole or not at all, also after a power cut.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Replaces a file: writes beside it, syncs, renames, syncs the folder. The caller is alone in writing it.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = with_suffix(path, ".new");
    write_synced(&beside, content)?;
    fs::rename(&beside, path)?;
    sync_folder(path)
}

/// Writes a file and waits until it is on disk.
pub(crate) fn write_synced(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Waits until the entries of a file's folder are on disk.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// The path with a suffix behind its last part.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
