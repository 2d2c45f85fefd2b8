//! The folder that queries spill into. It is emptied by whoever comes next, since a killed process cannot do so.
//!
//! Invariant: a folder is removed only if no living process holds the lock on its file `lock`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

const PREFIX: &str = "tollgate-query-";
const LOCK: &str = "lock";
/// More folders of living processes than this in one place means that something else is wrong.
const FOLDERS_MAX: u32 = 1_000;

/// A folder of this engine's own, removed on drop.
#[derive(Debug)]
pub(crate) struct SpillDir {
    path: PathBuf,
    // Held, not read: the lock goes when the file is closed, that is at the latest when the process dies.
    _lock: File,
}

impl SpillDir {
    /// Removes what dead processes left in `parent`, and makes a new folder there.
    ///
    /// # Errors
    /// If `parent` cannot be made, read or written.
    pub(crate) fn create(parent: &Path) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        for entry in fs::read_dir(parent)? {
            let path = entry?.path();
            let ours = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
            if ours && is_abandoned(&path) {
                fs::remove_dir_all(&path)?;
            }
        }
        for number in 0..FOLDERS_MAX {
            let path = parent.join(format!("{PREFIX}{number}"));
            match fs::create_dir(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            }
            let lock = File::create(path.join(LOCK))?;
            lock.lock()?;
            return Ok(Self { path, _lock: lock });
        }
        Err(io::Error::other(format!("{FOLDERS_MAX} spill folders are in use")))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A folder without its lock file is one that is being made: it is left alone.
fn is_abandoned(path: &Path) -> bool {
    File::open(path.join(LOCK)).is_ok_and(|file| file.try_lock().is_ok())
}

impl Drop for SpillDir {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next engine.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_a_living_one_holds_is_kept() {
        let parent = tempfile::tempdir().unwrap();
        let living = SpillDir::create(parent.path()).unwrap();
        let dead = parent.path().join(format!("{PREFIX}7"));
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        fs::write(dead.join("spilled"), "rows").unwrap();
        let foreign = parent.path().join("somebody-else");
        fs::create_dir(&foreign).unwrap();

        let next = SpillDir::create(parent.path()).unwrap();
        assert!(!dead.exists());
        assert!(foreign.exists() && living.path().exists() && next.path().exists());
        assert_ne!(living.path(), next.path());

        let path = next.path().to_owned();
        drop(next);
        assert!(!path.exists());
    }
}
