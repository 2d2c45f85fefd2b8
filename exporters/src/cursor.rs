//! The durable cursor of an exporter: where it goes on after a restart.
//!
//! 1. `NAME.cursor` is replaced whole (write beside, sync, rename, sync the folder), after the far side has accepted what it passes.
//! 2. The one before it is kept as `NAME.cursor.old`. If the newer one is missing or damaged the older one counts: rows are sent again, none is skipped.
//! 3. If there is something, and nothing of it can be read, the exporter does not guess: it stops and says so.
//! 4. `NAME.lock` is held while the exporter is open: nobody else moves the cursor.
//!
//! The file is two lines: a checksum, and JSON, which an operator may read and must not write.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tollgate_record::{Name, Seq};

use crate::durable::{sync_folder, with_suffix, write_synced};
use crate::{Cursor, Error};

/// The first word of a file, with the version of its format.
const MAGIC: &str = "tollgate-cursor-1";

/// What is kept of an exporter over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Behind the last row that was delivered, passed over, or declared dead.
    pub(crate) cursor: BTreeMap<Name, Seq>,
    /// Rows that the far side accepted, each time anew.
    pub(crate) delivered: u64,
    /// Attempts that were made again.
    pub(crate) retried: u64,
    /// Rows that the far side will never take.
    pub(crate) dead: u64,
    /// Whether it was told to pause.
    pub(crate) paused: bool,
}

/// The files of one exporter.
#[derive(Debug)]
pub(crate) struct CursorFile {
    path: PathBuf,
    /// Whether `path` holds what counts, and may become the one before.
    current: bool,
    _lock: File,
}

/// What was found when the files were opened.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing: the exporter is new.
    Nothing,
    /// What to go on with.
    Kept(Kept),
    /// The newer file cannot be read for this reason; what to go on with is the one before it.
    Older(Kept, String),
    /// Neither can be read.
    Damaged(Error),
}

// === impl Kept ===

impl Kept {
    pub(crate) fn place(&self) -> Cursor {
        Cursor(self.cursor.clone())
    }

    fn encode(&self) -> Result<Vec<u8>, io::Error> {
        let body = serde_json::to_string(self)?;
        Ok(format!("{MAGIC} {:08x}\n{body}\n", crc32fast::hash(body.as_bytes())).into_bytes())
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
        let (head, rest) = text.split_once('\n').ok_or("it has no second line")?;
        let checksum = head
            .strip_prefix(MAGIC)
            .ok_or_else(|| format!("it does not begin with {MAGIC}"))?;
        let body = rest.strip_suffix('\n').ok_or("its end is missing")?;
        if checksum.trim() != format!("{:08x}", crc32fast::hash(body.as_bytes())) {
            return Err("its checksum is wrong".to_owned());
        }
        serde_json::from_str(body).map_err(|error| error.to_string())
    }
}

// === impl CursorFile ===

impl CursorFile {
    /// Locks and reads the cursor of exporter `name` in `folder`, which is made if it is missing.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Locked`], [`Error::File`].
    pub(crate) fn open(folder: &Path, name: &str) -> Result<(Self, Found), Error> {
        check(name)?;
        fs::create_dir_all(folder).map_err(|source| Error::File {
            what: "make folder",
            path: folder.to_owned(),
            source,
        })?;
        let lock = lock(&folder.join(format!("{name}.lock")), name)?;
        let path = folder.join(format!("{name}.cursor"));
        let (newer, older) = (read(&path)?, read(&with_suffix(&path, ".old"))?);
        let current = matches!(newer, Some(Ok(_)));
        let found = match (newer, older) {
            (None, None) => Found::Nothing,
            (Some(Ok(kept)), _) => Found::Kept(kept),
            (None, Some(Ok(kept))) => Found::Older(kept, "it is missing".to_owned()),
            (Some(Err(reason)), Some(Ok(kept))) => Found::Older(kept, reason),
            (Some(Err(reason)), _) | (None, Some(Err(reason))) => Found::Damaged(Error::CursorDamaged {
                name: name.to_owned(),
                path: path.clone(),
                reason,
            }),
        };
        Ok((
            Self {
                path,
                current,
                _lock: lock,
            },
            found,
        ))
    }

    /// Replaces the cursor; what stood becomes the one before. Blocks until it is on disk.
    ///
    /// # Errors
    /// [`Error::File`]; then what stood before, or the one before that, still counts.
    pub(crate) fn save(&mut self, kept: &Kept) -> Result<(), Error> {
        let failed = |path: &Path, source| Error::File {
            what: "write cursor",
            path: path.to_owned(),
            source,
        };
        let beside = with_suffix(&self.path, ".new");
        let content = kept.encode().map_err(|source| failed(&self.path, source))?;
        write_synced(&beside, &content).map_err(|source| failed(&beside, source))?;
        if self.current {
            // What is damaged never takes the place of an older one that is sound.
            let old = with_suffix(&self.path, ".old");
            fs::rename(&self.path, &old).map_err(|source| failed(&old, source))?;
            self.current = false;
        }
        fs::rename(&beside, &self.path).map_err(|source| failed(&self.path, source))?;
        self.current = true;
        sync_folder(&self.path).map_err(|source| failed(&self.path, source))
    }
}

/// Refuses names that are no plain file name.
fn check(name: &str) -> Result<(), Error> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > 128 || name.starts_with('.') || !name.bytes().all(plain) {
        return Err(Error::Name { name: name.to_owned() });
    }
    Ok(())
}

fn lock(path: &Path, name: &str) -> Result<File, Error> {
    let failed = |source| Error::File {
        what: "lock",
        path: path.to_owned(),
        source,
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked {
            name: name.to_owned(),
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn read(path: &Path) -> Result<Option<Result<Kept, String>>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(Kept::decode(&bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File {
            what: "read cursor",
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(seq: u64) -> Kept {
        Kept {
            cursor: [(Name::new("gw-1").unwrap(), Seq::new(seq))].into(),
            delivered: seq,
            ..Kept::default()
        }
    }

    fn open(folder: &Path) -> Found {
        CursorFile::open(folder, "a").unwrap().1
    }

    /// A folder in which places 1, 2 and 3 were saved.
    fn saved() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, found) = CursorFile::open(folder.path(), "a").unwrap();
        assert!(matches!(found, Found::Nothing));
        for seq in 1..=3 {
            file.save(&kept(seq)).unwrap();
        }
        folder
    }

    #[test]
    fn what_was_saved_last_is_found() {
        assert!(matches!(open(saved().path()), Found::Kept(found) if found == kept(3)));
    }

    #[test]
    fn any_damage_of_the_newer_file_falls_back_to_the_one_before() {
        let sound = fs::read(saved().path().join("a.cursor")).unwrap();
        for at in 0..sound.len() {
            let folder = saved();
            let path = folder.path().join("a.cursor");
            let mut torn = sound.clone();
            torn[at] ^= 0x10;
            for damaged in [&sound[..at], &torn] {
                fs::write(&path, damaged).unwrap();
                assert!(
                    matches!(open(folder.path()), Found::Older(found, _) if found == kept(2)),
                    "at byte {at}"
                );
            }
        }
    }

    #[test]
    fn a_crash_between_any_two_steps_of_a_save_leaves_a_cursor() {
        let folder = saved();
        let at = |name: &str| folder.path().join(name);
        // Beside it lies what a write left half done.
        fs::write(at("a.cursor.new"), b"tollgate-c").unwrap();
        assert!(matches!(open(folder.path()), Found::Kept(found) if found == kept(3)));
        // What stood has become the one before, the new one has not taken its place.
        fs::rename(at("a.cursor"), at("a.cursor.old")).unwrap();
        assert!(matches!(open(folder.path()), Found::Older(found, _) if found == kept(3)));
        let (mut file, _) = CursorFile::open(folder.path(), "a").unwrap();
        file.save(&kept(4)).unwrap();
        drop(file);
        assert!(matches!(open(folder.path()), Found::Kept(found) if found == kept(4)));
    }

    #[test]
    fn a_damaged_file_never_becomes_the_one_before() {
        let folder = saved();
        fs::write(folder.path().join("a.cursor"), b"").unwrap();
        let (mut file, _) = CursorFile::open(folder.path(), "a").unwrap();
        file.save(&kept(9)).unwrap();
        drop(file);
        fs::write(folder.path().join("a.cursor"), b"").unwrap();
        assert!(matches!(open(folder.path()), Found::Older(found, _) if found == kept(2)));
    }

    #[test]
    fn if_both_are_damaged_the_error_names_the_file_and_what_repairs_it() {
        let folder = saved();
        for (newer, older) in [(Some("x"), Some("y")), (Some("x"), None), (None, Some("y"))] {
            for (name, content) in [("a.cursor", newer), ("a.cursor.old", older)] {
                let path = folder.path().join(name);
                let _ = fs::remove_file(&path);
                if let Some(content) = content {
                    fs::write(path, content).unwrap();
                }
            }
            let Found::Damaged(error) = open(folder.path()) else {
                panic!("{newer:?} and {older:?} were taken")
            };
            let said = error.to_string();
            assert!(
                said.contains("a.cursor") && said.contains("tollgate exporter reset a --to beginning"),
                "{said}"
            );
        }
    }

    #[test]
    fn one_at_a_time_has_it() {
        let folder = saved();
        let held = CursorFile::open(folder.path(), "a").unwrap();
        assert!(matches!(CursorFile::open(folder.path(), "a"), Err(Error::Locked { .. })));
        drop(held);
        assert!(CursorFile::open(folder.path(), "a").is_ok());
    }

    #[test]
    fn names_that_are_paths_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", ".", "..", ".a", "a/b", "a b", "\u{e4}", &"a".repeat(129)] {
            assert!(
                matches!(CursorFile::open(folder.path(), name), Err(Error::Name { .. })),
                "{name:?}"
            );
        }
    }
}
