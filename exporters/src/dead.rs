//! Dead letters: rows that the far side will never take, and what it said of them.
//!
//! 1. `NAME.dead` holds a JSON object a line and is only appended to, synced before the cursor passes the rows.
//! 2. Nothing is dropped to make room: once the file has reached its limit the exporter sends nothing until it is cleared or the limit is raised. So
//!    a far side that suddenly refuses everything stops the exporter rather than emptying the ledger into this file.
//! 3. A row may be listed twice, if the process ended between 1. and the cursor. Reading gives each row once, with the last answer.
//! 4. A torn last line is cut off when the file is opened: its row is behind the cursor and comes again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tollgate_record::{Name, Seq};

use crate::Error;
use crate::durable::{sync_folder, with_suffix};

/// Default of the size, in bytes, from which on the exporter waits for the file to be cleared: room for some hundred thousand rows.
pub const DEAD_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Bytes of an answer that are kept.
pub(crate) const ANSWER_BYTES_MAX: usize = 2048;

/// A row that the far side will never take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The row.
    pub call_id: String,
    /// Gateway that wrote it.
    pub instance: Name,
    /// Its place there.
    pub seq: Seq,
    /// When it was refused: microseconds since 1970-01-01 UTC.
    pub time_us: i64,
    /// What the far side said, cut to 2 KiB.
    pub answer: String,
}

/// The file of one exporter's dead letters.
#[derive(Debug)]
pub(crate) struct DeadFile {
    path: PathBuf,
    /// Guards the file: bytes that it has.
    bytes: Mutex<u64>,
}

// === impl DeadFile ===

impl DeadFile {
    /// Opens the file, whose last line is cut off if it is torn. Blocks.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn open(folder: &Path, name: &str) -> Result<Self, Error> {
        let path = folder.join(format!("{name}.dead"));
        let bytes = cut_torn(&path).map_err(|source| Error::File {
            what: "open dead letters",
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            path,
            bytes: Mutex::new(bytes),
        })
    }

    /// Bytes of the file.
    pub(crate) fn bytes(&self) -> u64 {
        *self.lock()
    }

    /// Appends and syncs. Blocks.
    ///
    /// # Errors
    /// [`Error::File`]; a torn line may be left, which the next append begins behind.
    pub(crate) fn append(&self, letters: &[DeadLetter]) -> Result<(), Error> {
        let mut bytes = self.lock();
        let write = || -> io::Result<u64> {
            let mut lines = Vec::new();
            for letter in letters {
                serde_json::to_writer(&mut lines, letter)?;
                lines.push(b'\n');
            }
            let new = *bytes == 0;
            let mut file = File::options().create(true).truncate(false).write(true).open(&self.path)?;
            // Behind the last whole line, whatever a failed append left.
            file.set_len(*bytes)?;
            io::Seek::seek(&mut file, io::SeekFrom::Start(*bytes))?;
            file.write_all(&lines)?;
            file.sync_all()?;
            if new {
                sync_folder(&self.path)?;
            }
            Ok(*bytes + lines.len() as u64)
        };
        *bytes = write().map_err(|source| Error::File {
            what: "append to dead letters",
            path: self.path.clone(),
            source,
        })?;
        Ok(())
    }

    /// Every letter once, in the order of their places; a line that cannot be read is left out. Blocks.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn read(&self) -> Result<Vec<DeadLetter>, Error> {
        let _guard = self.lock();
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => {
                return Err(Error::File {
                    what: "read dead letters",
                    path: self.path.clone(),
                    source,
                });
            }
        };
        let letters = text
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice::<DeadLetter>(line).ok());
        let by_place: BTreeMap<_, _> = letters
            .map(|letter| ((letter.instance.clone(), letter.seq), letter))
            .collect();
        Ok(by_place.into_values().collect())
    }

    /// Empties the file; what was in it stays in `NAME.dead.old` until it is cleared again. Blocks.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn clear(&self) -> Result<(), Error> {
        let mut bytes = self.lock();
        let moved = match fs::rename(&self.path, with_suffix(&self.path, ".old")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            moved => moved.and_then(|()| sync_folder(&self.path)),
        };
        moved.map_err(|source| Error::File {
            what: "clear dead letters",
            path: self.path.clone(),
            source,
        })?;
        *bytes = 0;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cuts an answer to what is kept of it.
pub(crate) fn cut(answer: &str) -> String {
    let mut end = answer.len().min(ANSWER_BYTES_MAX);
    while !answer.is_char_boundary(end) {
        end -= 1;
    }
    answer.get(..end).unwrap_or_default().to_owned()
}

fn cut_torn(path: &Path) -> io::Result<u64> {
    let mut file = match File::options().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    let whole = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at as u64 + 1);
    file.set_len(whole)?;
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(seq: u64, answer: &str) -> DeadLetter {
        DeadLetter {
            call_id: format!("id-{seq}"),
            instance: Name::new("gw-1").unwrap(),
            seq: Seq::new(seq),
            time_us: 1,
            answer: answer.to_owned(),
        }
    }

    #[test]
    fn letters_survive_a_restart_and_each_row_is_given_once_with_its_last_answer() {
        let folder = tempfile::tempdir().unwrap();
        let file = DeadFile::open(folder.path(), "a").unwrap();
        file.append(&[letter(2, "bad"), letter(1, "bad")]).unwrap();
        file.append(&[letter(2, "worse\n\"")]).unwrap();
        let file = DeadFile::open(folder.path(), "a").unwrap();
        assert_eq!(file.read().unwrap(), [letter(1, "bad"), letter(2, "worse\n\"")]);
    }

    #[test]
    fn a_torn_line_is_cut_off_and_the_next_one_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        DeadFile::open(folder.path(), "a")
            .unwrap()
            .append(&[letter(1, "x"), letter(2, "y")])
            .unwrap();
        let path = folder.path().join("a.dead");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        let file = DeadFile::open(folder.path(), "a").unwrap();
        assert_eq!(file.read().unwrap(), [letter(1, "x")]);
        file.append(&[letter(2, "y")]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole);
        assert_eq!(file.bytes(), whole.len() as u64);
    }

    #[test]
    fn clearing_keeps_what_was_there_beside() {
        let folder = tempfile::tempdir().unwrap();
        let file = DeadFile::open(folder.path(), "a").unwrap();
        file.clear().unwrap();
        file.append(&[letter(1, "x")]).unwrap();
        file.clear().unwrap();
        assert_eq!((file.read().unwrap(), file.bytes()), (Vec::new(), 0));
        assert!(fs::read_to_string(folder.path().join("a.dead.old")).unwrap().contains("id-1"));
    }

    #[test]
    fn answers_are_cut_between_characters() {
        let long = "\u{e4}".repeat(ANSWER_BYTES_MAX);
        assert_eq!(cut(&format!("x{long}")).len(), ANSWER_BYTES_MAX - 1);
        assert_eq!(cut("short"), "short");
    }
}
