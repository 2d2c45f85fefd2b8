//! Segments: their names, their order, and what can be read from them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Error;
use crate::disk::{Disk, File};
use crate::wal::entry::{self, Entry, HEAD_BYTES, Kind, Parsed};

/// The first bytes of a segment: the format's name and version.
pub(crate) const MAGIC: &[u8; 8] = Format::Three.magic();

/// The version of a segment. This version of the gateway reads all of them, and writes the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Format {
    /// Without [`Kind::Synced`] entries.
    One,
    /// With them; records as in format 1.
    Two,
    /// Records with more kinds of usage.
    Three,
}

/// Where a segment's first mark is looked for: it comes with the first write after the first sync.
const MARK_WITHIN_BYTES: u64 = 1 << 20;

/// A segment on disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
}

/// A stretch of a segment that holds no whole entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Break {
    /// Where it starts.
    pub(crate) start: u64,
    /// Where the next whole entry starts, or the segment ends.
    pub(crate) end: u64,
    /// What is wrong there.
    pub(crate) reason: &'static str,
    /// Whether these bytes had been synced: then no crash explains the break.
    pub(crate) damage: bool,
}

/// What a segment holds beside its entries.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Bytes of the segment.
    pub(crate) length: u64,
    /// Stretches without whole entries, in order.
    pub(crate) breaks: Vec<Break>,
}

// === impl Format ===

impl Format {
    const ALL: [Self; 3] = [Self::One, Self::Two, Self::Three];

    const fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::One => b"TOLLWAL1",
            Self::Two => b"TOLLWAL2",
            Self::Three => b"TOLLWAL3",
        }
    }

    /// The format of a segment that begins with these bytes.
    fn of(bytes: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|format| bytes.starts_with(format.magic()))
    }

    /// Whether its segments say what was synced.
    fn has_marks(self) -> bool {
        self >= Self::Two
    }
}

// === impl Segment ===

impl Segment {
    pub(crate) fn new(folder: &Path, number: u64) -> Self {
        Self {
            number,
            path: folder.join(format!("{number:020}.wal")),
        }
    }

    /// The segments of a folder, oldest first.
    pub(crate) fn list(disk: &dyn Disk, folder: &Path) -> Result<Vec<Self>, Error> {
        let names = disk.list(folder).map_err(Error::io("list", folder))?;
        let numbers = names.iter().filter_map(|name| name.strip_suffix(".wal")?.parse().ok());
        let mut segments: Vec<_> = numbers.map(|number| Self::new(folder, number)).collect();
        segments.sort();
        Ok(segments)
    }

    /// Creates the segment with its magic and first entries, durably, and opens it for appending.
    pub(crate) fn create(&self, disk: &dyn Disk, entries: &[u8]) -> Result<Arc<dyn File>, Error> {
        let file = disk.create(&self.path).map_err(Error::io("create", &self.path))?;
        let bytes = [MAGIC, entries].concat();
        let written = file.append(&bytes).and_then(|()| file.sync());
        let named = written.map_err(Error::io("write", &self.path)).and_then(|()| {
            let folder = self.folder();
            disk.sync_folder(folder).map_err(Error::io("sync", folder))
        });
        match named {
            Ok(()) => Ok(file),
            Err(error) => {
                // A segment that is not in use must not look like the newest one.
                let _ = disk.remove(&self.path);
                Err(error)
            }
        }
    }

    /// Deletes the segment, durably.
    pub(crate) fn delete(&self, disk: &dyn Disk) -> Result<(), Error> {
        disk.remove(&self.path).map_err(Error::io("delete", &self.path))?;
        let folder = self.folder();
        disk.sync_folder(folder).map_err(Error::io("sync", folder))
    }

    /// Whether the segment says that its predecessors were synced. Segments of format 1 were created only when they were.
    pub(crate) fn is_marked(&self, disk: &dyn Disk) -> Result<bool, Error> {
        let start = disk.read_start(&self.path, MARK_WITHIN_BYTES);
        let bytes = start.map_err(Error::io("read", &self.path))?;
        if Format::of(&bytes).is_some_and(|format| !format.has_marks()) {
            return Ok(true);
        }
        let mut rest = bytes.get(MAGIC.len()..).unwrap_or_default();
        while let Parsed::Entry(found, taken) = entry::parse(rest) {
            if found.kind == Kind::Synced {
                return Ok(true);
            }
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(false)
    }

    /// Reads the segment and hands out its whole entries in order, with the format that their payloads have and where they stand.
    ///
    /// # Errors
    /// [`Error::Format`] at a segment of another version, [`Error::Io`], and what `each` says.
    pub(crate) fn scan(
        &self,
        disk: &dyn Disk,
        newest: bool,
        mut each: impl FnMut(Format, u64, Entry<'_>) -> Result<(), Error>,
    ) -> Result<Scan, Error> {
        let bytes = disk.read(&self.path).map_err(Error::io("read", &self.path))?;
        let length = bytes.len() as u64;
        if bytes.len() < MAGIC.len() && newest {
            // The crash came between the segment's creation and its first sync.
            let torn = Break {
                start: 0,
                end: length,
                reason: "it ends within its first bytes",
                damage: false,
            };
            return Ok(Scan {
                length,
                breaks: vec![torn],
            });
        }
        // The magic is synced with the first entries before anything is acknowledged, but a power cut may keep the name and not the bytes. Such a
        // segment was never begun: it has no records, whose format it would have to say.
        let written = |format: Format| {
            bytes
                .iter()
                .zip(format.magic())
                .all(|(found, byte)| *found == *byte || *found == 0)
        };
        let known = Format::of(&bytes);
        let begun = [Format::Three, Format::Two]
            .into_iter()
            .find(|format| newest && written(*format));
        let blank = known.is_none() && begun.is_some();
        let Some(format) = known.or(begun) else {
            let found = String::from_utf8_lossy(bytes.get(..MAGIC.len()).unwrap_or(&bytes)).into_owned();
            return Err(Error::Format {
                path: self.path.clone(),
                found,
                expected: "TOLLWAL1 to TOLLWAL3",
            });
        };
        let mut at = MAGIC.len();
        let mut synced = 0;
        let mut breaks: Vec<Break> = Vec::new();
        let mut settled = false;
        if blank {
            breaks.push(Break {
                start: 0,
                end: at as u64,
                reason: "its first bytes are missing",
                damage: false,
            });
        }
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            match entry::parse(rest) {
                Parsed::End => break,
                Parsed::Entry(found, taken) => {
                    if let (Kind::Synced, Some(offset)) = (found.kind, found.payload.first_chunk()) {
                        synced = synced.max(u64::from_le_bytes(*offset));
                    }
                    settled |= found.kind == Kind::Settled;
                    each(format, at as u64, found)?;
                    at += taken;
                }
                Parsed::Broken(reason) => {
                    let start = at as u64;
                    at = next_entry(rest).map_or(bytes.len(), |skipped| at + skipped);
                    breaks.push(Break {
                        start,
                        end: at as u64,
                        reason,
                        damage: false,
                    });
                }
            }
        }
        for found in &mut breaks {
            // A successor is created only when this one is synced. Format 1 did not say what was.
            let was_synced = found.start < synced || (!format.has_marks() && found.end < length);
            found.damage = !newest || was_synced || (found.start == 0 && settled);
        }
        Ok(Scan { length, breaks })
    }

    /// Writes the segment anew without its breaks, durably: whole or not at all.
    pub(crate) fn rewrite(&self, disk: &dyn Disk, breaks: &[Break]) -> Result<(), Error> {
        let bytes = disk.read(&self.path).map_err(Error::io("read", &self.path))?;
        let mut whole = Vec::with_capacity(bytes.len());
        let mut at = 0;
        for found in breaks {
            whole.extend_from_slice(bytes.get(at..found.start as usize).unwrap_or_default());
            at = found.end as usize;
        }
        whole.extend_from_slice(bytes.get(at..).unwrap_or_default());
        if Format::of(&whole).is_none() {
            whole.splice(0..0, *MAGIC);
        }
        crate::disk::replace(disk, &self.path, &whole).map_err(Error::io("rewrite", &self.path))
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }
}

/// Where the next whole entry starts after the first byte, if there is one.
fn next_entry(bytes: &[u8]) -> Option<usize> {
    (1..bytes.len().saturating_sub(HEAD_BYTES) + 1)
        .find(|at| matches!(entry::parse(bytes.get(*at..).unwrap_or_default()), Parsed::Entry(..)))
}
