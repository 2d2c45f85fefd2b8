//! A file of lines, each with a checksum, to which lines are only added.
//!
//! 1. A line is on disk before [`Lines::append`] says so. One that could not be written is cut off before the next one is.
//! 2. What a crash left of the last line is cut off when the file is opened. A line that is not whole and has lines behind it is damage, and an error.
//! 3. [`Lines::replace`] puts another file in its place (write beside, sync, rename, sync the folder): there is the one or the other, whole.
//! 4. `lock` is held while the file is open.

use std::fs::{self, File, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::Error;

/// The first line, with the version of the format.
const MAGIC: &str = "tollgate-alerts-1\n";

/// The file.
#[derive(Debug)]
pub(crate) struct Lines {
    path: PathBuf,
    /// Bytes that count.
    bytes: u64,
    _lock: File,
}

/// What a file holds.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    lines: Vec<String>,
    /// Bytes that count.
    bytes: usize,
}

// === impl Lines ===

impl Lines {
    /// Opens the file in a folder, which is made if it is missing, and reads its lines, with the number of each. Blocks.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) fn open(folder: &Path) -> Result<(Self, Vec<String>), Error> {
        let path = folder.join("book");
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |source| Error::File { what, path, source }
        };
        fs::create_dir_all(folder).map_err(failed("make folder", folder))?;
        let lock = lock(&folder.join("lock"))?;
        let content = match fs::read(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(failed("read", &path)(source)),
        };
        let read = read(&content).map_err(|(line, reason)| Error::Damaged {
            path: path.clone(),
            line,
            reason,
        })?;
        if read.bytes < content.len() {
            let cut = content.len() - read.bytes;
            tracing::warn!(path = %path.display(), bytes = cut, "the end of the alerts' file, which a crash left half written, was cut off");
        }
        let mut lines = Self {
            path,
            bytes: read.bytes as u64,
            _lock: lock,
        };
        if lines.bytes == 0 {
            lines.replace(&[])?;
        }
        Ok((lines, read.lines))
    }

    /// Bytes of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The error of one of its lines, by its place among those that were read.
    pub(crate) fn damaged(&self, place: usize, reason: String) -> Error {
        Error::Damaged {
            path: self.path.clone(),
            line: place + 2,
            reason,
        }
    }

    /// Adds a line. Blocks until it is on disk.
    ///
    /// # Errors
    /// [`Error::File`]; then it is as if nothing had been added.
    pub(crate) fn append(&mut self, body: &str) -> Result<(), Error> {
        let line = line(body);
        let write = || -> io::Result<()> {
            let mut file = File::options().write(true).open(&self.path)?;
            // Behind the last whole line, whatever a failed write left: what was not synced is written anew.
            file.set_len(self.bytes)?;
            file.seek(SeekFrom::Start(self.bytes))?;
            file.write_all(line.as_bytes())?;
            file.sync_all()
        };
        write().map_err(|source| self.failed("append to", source))?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Puts other lines in place of all. Blocks until they are on disk.
    ///
    /// # Errors
    /// [`Error::File`]; then the old ones, or the new ones, stand.
    pub(crate) fn replace(&mut self, bodies: &[String]) -> Result<(), Error> {
        let content: String = std::iter::once(MAGIC.to_owned())
            .chain(bodies.iter().map(|body| line(body)))
            .collect();
        let beside = self.path.with_extension("new");
        let write = || -> io::Result<()> {
            let mut file = File::create(&beside)?;
            file.write_all(content.as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, &self.path)
        };
        write().map_err(|source| self.failed("write", source))?;
        // From here on the new file is the one that is appended to, synced or not.
        self.bytes = content.len() as u64;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|source| self.failed("sync the folder of", source))
    }

    fn failed(&self, what: &'static str, source: io::Error) -> Error {
        Error::File {
            what,
            path: self.path.clone(),
            source,
        }
    }
}

fn line(body: &str) -> String {
    format!("{:08x} {body}\n", crc32fast::hash(body.as_bytes()))
}

/// The lines, or the number of a damaged one and what is wrong with it.
fn read(content: &[u8]) -> Result<Read, (usize, String)> {
    let none = Read {
        lines: Vec::new(),
        bytes: 0,
    };
    let Some(mut rest) = content.strip_prefix(MAGIC.as_bytes()) else {
        let torn = MAGIC.as_bytes().starts_with(content);
        let reason = || (1, format!("it does not begin with {}", MAGIC.trim_end()));
        return torn.then_some(none).ok_or_else(reason);
    };
    let mut found = Read {
        bytes: MAGIC.len(),
        ..none
    };
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
        let (whole, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        match body(whole) {
            Ok(body) => found.lines.push(body.to_owned()),
            Err(_) if behind.is_empty() => break,
            Err(reason) => return Err((found.lines.len() + 2, reason.to_owned())),
        }
        found.bytes += whole.len();
        rest = behind;
    }
    Ok(found)
}

fn body(line: &[u8]) -> Result<&str, &'static str> {
    let text = std::str::from_utf8(line).map_err(|_| "it is not text")?;
    let text = text.strip_suffix('\n').ok_or("its end is missing")?;
    let (checksum, body) = text.split_once(' ').ok_or("it has no checksum")?;
    if checksum != format!("{:08x}", crc32fast::hash(body.as_bytes())) {
        return Err("its checksum is wrong");
    }
    Ok(body)
}

fn lock(path: &Path) -> Result<File, Error> {
    let failed = |source| Error::File {
        what: "lock",
        path: path.to_owned(),
        source,
    };
    let file = File::options().create(true).truncate(false).write(true).open(path);
    let file = file.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder in which `one`, `two` and `three` were added.
    fn written() -> (tempfile::TempDir, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let (mut lines, found) = Lines::open(folder.path()).unwrap();
        assert_eq!(found, Vec::<String>::new());
        for body in ["one", "two", "three"] {
            lines.append(body).unwrap();
        }
        let content = fs::read(folder.path().join("book")).unwrap();
        (folder, content)
    }

    fn found(folder: &Path) -> Vec<String> {
        Lines::open(folder).unwrap().1
    }

    #[test]
    fn a_crash_at_any_byte_leaves_the_lines_before_it() {
        let (folder, whole) = written();
        let path = folder.path().join("book");
        for at in 0..=whole.len() {
            fs::write(&path, &whole[..at]).unwrap();
            let ends = whole[..at].iter().filter(|byte| **byte == b'\n').count().saturating_sub(1);
            let (mut lines, found) = Lines::open(folder.path()).unwrap();
            assert_eq!(found, ["one", "two", "three"][..ends], "at byte {at}");
            lines.append("next").unwrap();
            drop(lines);
            assert_eq!(self::found(folder.path()).last().unwrap(), "next", "at byte {at}");
        }
    }

    #[test]
    fn an_end_of_zeros_is_cut_off() {
        let (folder, mut content) = written();
        content.extend([0; 4096]);
        fs::write(folder.path().join("book"), &content).unwrap();
        assert_eq!(found(folder.path()), ["one", "two", "three"]);
    }

    #[test]
    fn damage_in_the_middle_names_file_and_line() {
        let (folder, whole) = written();
        let path = folder.path().join("book");
        let second = MAGIC.len() + line("one").len();
        for at in second..second + line("two").len() - 1 {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x01;
            fs::write(&path, &damaged).unwrap();
            let error = Lines::open(folder.path()).unwrap_err();
            assert!(matches!(error, Error::Damaged { line: 3, .. }), "at byte {at}: {error}");
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        }
        fs::write(&path, b"something else\n").unwrap();
        assert!(matches!(Lines::open(folder.path()), Err(Error::Damaged { line: 1, .. })));
    }

    #[test]
    fn a_line_that_was_half_written_is_written_over() {
        let (folder, whole) = written();
        let (mut lines, _) = Lines::open(folder.path()).unwrap();
        let path = folder.path().join("book");
        fs::write(&path, [&whole[..], b"0123 ha"].concat()).unwrap();
        lines.append("four").unwrap();
        assert_eq!(fs::read(&path).unwrap(), [&whole[..], line("four").as_bytes()].concat());
    }

    #[test]
    fn one_at_a_time_has_it() {
        let (folder, _) = written();
        let held = Lines::open(folder.path()).unwrap();
        assert!(matches!(Lines::open(folder.path()), Err(Error::Locked { .. })));
        drop(held);
        assert_eq!(found(folder.path()).len(), 3);
    }
}
