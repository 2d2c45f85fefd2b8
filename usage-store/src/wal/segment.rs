//! Segments: their names, their order, and what can be read from them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::wal::entry::{self, Entry, HEAD_BYTES, Parsed};

/// The first bytes of a segment: the format's name and version.
pub(crate) const MAGIC: &[u8; 8] = b"TOLLWAL1";

/// A segment on disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
}

/// What one segment holds.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) bytes: Vec<u8>,
    /// Where the last whole entry ends.
    pub(crate) end: usize,
    /// Whether bytes after `end` belong to no whole entry.
    pub(crate) torn: bool,
}

impl Segment {
    pub(crate) fn new(folder: &Path, number: u64) -> Self {
        Self {
            number,
            path: folder.join(format!("{number:020}.wal")),
        }
    }

    /// The segments of a folder, oldest first, from after the last gap in their numbers.
    ///
    /// Segments are deleted oldest first, so those before a gap are leftovers of a deletion that a power cut reordered.
    pub(crate) fn list(folder: &Path) -> Result<Vec<Self>, Error> {
        let mut segments = Vec::new();
        for item in fs::read_dir(folder).map_err(Error::io("list", folder))? {
            let path = item.map_err(Error::io("list", folder))?.path();
            let number = path
                .file_name()
                .and_then(|name| name.to_str()?.strip_suffix(".wal")?.parse().ok());
            if let Some(number) = number {
                segments.push(Self { number, path });
            }
        }
        segments.sort();
        let after_gap = segments
            .windows(2)
            .rposition(|pair| matches!(pair, [older, newer] if older.number + 1 != newer.number));
        if let Some(at) = after_gap {
            let kept = segments.split_off(at + 1);
            for leftover in std::mem::replace(&mut segments, kept) {
                leftover.delete()?;
            }
        }
        Ok(segments)
    }

    /// Creates the segment with its magic, durably, and opens it for appending.
    pub(crate) fn create(&self) -> Result<fs::File, Error> {
        let mut file = fs::File::options()
            .append(true)
            .create_new(true)
            .open(&self.path)
            .map_err(Error::io("create", &self.path))?;
        file.write_all(MAGIC).map_err(Error::io("write", &self.path))?;
        Ok(file)
    }

    /// Makes the segment's name durable.
    pub(crate) fn sync_folder(&self) -> Result<(), Error> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(Error::io("sync", folder))
    }

    /// Deletes the segment, durably.
    pub(crate) fn delete(&self) -> Result<(), Error> {
        fs::remove_file(&self.path).map_err(Error::io("delete", &self.path))?;
        self.sync_folder()
    }

    /// Reads the segment. A torn end is accepted only if `newest`.
    pub(crate) fn read(&self, newest: bool) -> Result<Contents, Error> {
        let bytes = fs::read(&self.path).map_err(Error::io("read", &self.path))?;
        if bytes.len() < MAGIC.len() && newest {
            // The crash came between the segment's creation and its first write.
            return Ok(Contents {
                torn: !bytes.is_empty(),
                end: 0,
                bytes,
            });
        }
        if !bytes.starts_with(MAGIC) {
            let found = String::from_utf8_lossy(bytes.get(..MAGIC.len()).unwrap_or(&bytes)).into_owned();
            return Err(Error::Format {
                path: self.path.clone(),
                found,
                expected: "TOLLWAL1",
            });
        }
        let mut end = MAGIC.len();
        loop {
            let rest = bytes.get(end..).unwrap_or_default();
            match entry::parse(rest) {
                Parsed::Entry(_, taken) => end += taken,
                Parsed::End => return Ok(Contents { bytes, end, torn: false }),
                Parsed::Broken(_) if newest && !holds_entry(rest) => return Ok(Contents { bytes, end, torn: true }),
                Parsed::Broken(reason) => {
                    return Err(Error::Damaged {
                        path: self.path.clone(),
                        offset: end as u64,
                        reason,
                    });
                }
            }
        }
    }
}

impl Contents {
    /// The whole entries, in order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut rest = self.bytes.get(MAGIC.len()..self.end).unwrap_or_default();
        std::iter::from_fn(move || match entry::parse(rest) {
            Parsed::Entry(entry, taken) => {
                rest = rest.get(taken..).unwrap_or_default();
                Some(entry)
            }
            Parsed::End | Parsed::Broken(_) => None,
        })
    }
}

/// Whether a whole entry starts anywhere after the first byte: then the break before it is damage, not a torn end.
fn holds_entry(bytes: &[u8]) -> bool {
    (1..bytes.len().saturating_sub(HEAD_BYTES))
        .any(|at| matches!(entry::parse(bytes.get(at..).unwrap_or_default()), Parsed::Entry(..)))
}
