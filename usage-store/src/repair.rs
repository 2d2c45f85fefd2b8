//! `tollgate repair`: makes a damaged log whole, keeps every whole entry, and says exactly what is missing.
//!
//! It invents nothing: a row that was in the damage is gone, and a call whose end was in it becomes `interrupted` at the next start.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tollgate_record::{Name, Seq};

use crate::Error;
use crate::anchor::Anchor;
use crate::disk::{Disk, Os, replace};
use crate::location::Location;
use crate::recovery::Recovered;
use crate::store::lock_directory;
use crate::table::Table;
use crate::wal::segment::{MAGIC, Segment};

/// What a repair found, and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// Stretches of the log that hold no whole entry.
    pub losses: Vec<Loss>,
    /// Segments that are not there, although rows before them are not in the table.
    pub missing_segments: Vec<PathBuf>,
    /// Places that are neither in the log nor in the table, as first and last of each stretch.
    pub missing_places: Vec<(u64, u64)>,
    /// Rows of the log that the table does not have yet: all of them are kept.
    pub rows: usize,
    /// Calls that the log knows to be open: each becomes a row with outcome `interrupted` at the next start.
    pub open_calls: usize,
    /// Copies of the segments as they were, if anything was changed.
    pub originals: Vec<PathBuf>,
}

/// A stretch of the log that holds no whole entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The segment.
    pub segment: PathBuf,
    /// Where the stretch starts.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
    /// What is wrong with it.
    pub reason: &'static str,
    /// Whether it had been synced; else it is what a crash leaves, which every start cuts out.
    pub damage: bool,
}

impl Repair {
    /// Whether a start would refuse the log as it is.
    pub fn is_needed(&self) -> bool {
        !self.missing_segments.is_empty() || self.losses.iter().any(|loss| loss.damage)
    }
}

/// Looks at the log of a data directory that no gateway has open, and makes it whole unless `dry_run`.
///
/// # Errors
/// [`Error::InUse`] if a gateway runs on it, [`Error::Format`] or [`Error::Unreadable`] at a log of another version, and what the file system or the table say.
pub async fn repair(data: &Path, table: &Location, dry_run: bool) -> Result<Repair, Error> {
    let disk: Arc<dyn Disk> = Arc::new(Os);
    let folder = data.join("wal");
    let _lock = lock_directory(&*disk, data)?;
    let committed = committed(&*disk, data, table).await?;
    let mut places = Vec::new();
    let mut recovered = Recovered::read(&*disk, &folder, committed, |row| {
        places.push(row.seq.get());
        Ok(())
    })?;
    let mut repair = Repair {
        losses: losses(&recovered),
        missing_segments: recovered.missing.clone(),
        missing_places: missing(committed.get(), &places),
        rows: recovered.rows,
        open_calls: recovered.open.len(),
        originals: Vec::new(),
    };
    if dry_run || repair.losses.is_empty() && repair.missing_segments.is_empty() {
        return Ok(repair);
    }
    let kept = data.join("damaged");
    disk.create_folder(&kept).map_err(Error::io("create", &kept))?;
    for (segment, _) in &recovered.broken {
        let name = segment.path.file_name().unwrap_or_default();
        let original = free_name(&*disk, &kept, &name.to_string_lossy())?;
        let bytes = disk.read(&segment.path).map_err(Error::io("read", &segment.path))?;
        replace(&*disk, &original, &bytes).map_err(Error::io("write", &original))?;
        repair.originals.push(original);
    }
    recovered.settle(&*disk, &folder)?;
    for path in &recovered.missing {
        replace(&*disk, path, MAGIC).map_err(Error::io("write", path))?;
    }
    Ok(repair)
}

/// The last place that the table has; what the data directory knows of it, if it cannot be reached.
async fn committed(disk: &dyn Disk, data: &Path, location: &Location) -> Result<Seq, Error> {
    let path = data.join("instance");
    let owner = match disk.read(&path) {
        Ok(text) => Name::new(String::from_utf8_lossy(&text).trim()).ok(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let Some(owner) = owner else { return Ok(Seq::ZERO) };
    match Table::open_existing(location).await {
        Ok(Some(table)) => table.committed(&owner).await,
        Ok(None) => Ok(Seq::ZERO),
        Err(error) => match Anchor::read(disk, data, &owner, location)? {
            Some(anchor) => Ok(anchor.seq()),
            None => Err(error),
        },
    }
}

fn losses(recovered: &Recovered) -> Vec<Loss> {
    let of = |(segment, breaks): &(Segment, Vec<_>)| {
        let path = segment.path.clone();
        let loss = move |found: &crate::wal::segment::Break| Loss {
            segment: path.clone(),
            offset: found.start,
            bytes: found.end - found.start,
            reason: found.reason,
            damage: found.damage,
        };
        breaks.iter().map(loss).collect::<Vec<_>>()
    };
    recovered.broken.iter().flat_map(of).collect()
}

/// Stretches between `committed` and the places, and between the places themselves.
fn missing(committed: u64, places: &[u64]) -> Vec<(u64, u64)> {
    let mut before = committed;
    let mut stretches = Vec::new();
    for place in places {
        if *place > before + 1 {
            stretches.push((before + 1, place - 1));
        }
        before = before.max(*place);
    }
    stretches
}

/// A name that no file of a folder has yet.
fn free_name(disk: &dyn Disk, folder: &Path, name: &str) -> Result<PathBuf, Error> {
    let taken = disk.list(folder).map_err(Error::io("list", folder))?;
    let numbered = (1..).map(|number| format!("{name}.{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    let free = names.find(|name| !taken.contains(name)).expect("numbers do not end");
    Ok(folder.join(free))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::testing::{ending, intent, name, prices};
    use crate::{Config, Store};

    async fn open(folder: &TempDir) -> Result<Store, Error> {
        Store::open(Config::new(folder.path(), name("gw")).unwrap(), prices()).await
    }

    /// A log of five rows and one open call, closed in order but for a table that never took the rows.
    async fn logged(folder: &TempDir) -> PathBuf {
        let store = open(folder).await.unwrap();
        for number in 1..=5 {
            let call = store.ledger().admit(intent(number)).await.unwrap();
            call.settle(ending()).await.unwrap();
        }
        std::mem::forget(store.ledger().admit(intent(6)).await.unwrap());
        store.sync().unwrap();
        // What comes now carries the mark that the rest is synced.
        let call = store.ledger().admit(intent(7)).await.unwrap();
        call.settle(ending()).await.unwrap();
        drop(store);
        Segment::new(&folder.path().join("wal"), 1).path
    }

    #[tokio::test]
    async fn damage_stops_the_start_and_a_repair_keeps_the_rest_and_names_what_is_missing() {
        let folder = TempDir::new().unwrap();
        let path = logged(&folder).await;
        let original = std::fs::read(&path).unwrap();
        let mut bytes = original.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let Err(Error::Damaged { offset, .. }) = open(&folder).await else {
            panic!("a start takes damage for whole")
        };
        let table = Config::new(folder.path(), name("gw")).unwrap().table;
        let looked = repair(folder.path(), &table, true).await.unwrap();
        assert!(looked.is_needed() && looked.originals.is_empty());
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "a dry run changes nothing");

        let repaired = repair(folder.path(), &table, false).await.unwrap();
        assert_eq!(repaired.losses.iter().map(|loss| loss.offset).collect::<Vec<_>>(), [offset]);
        // The flipped byte was in one entry: a row, or the entry that opened a call.
        let places: u64 = repaired.missing_places.iter().map(|(first, last)| last - first + 1).sum();
        assert_eq!(repaired.rows as u64 + places, 6);
        assert_eq!(std::fs::read(&repaired.originals[0]).unwrap(), bytes);
        assert!(!repair(folder.path(), &table, false).await.unwrap().is_needed());
        let store = open(&folder).await.unwrap();
        assert_eq!(store.stats().hot_rows, repaired.rows as u64 + repaired.open_calls as u64);
        store.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_segment_that_is_gone_is_named_and_the_others_are_kept() {
        let folder = TempDir::new().unwrap();
        logged(&folder).await;
        // Two more starts, each with a row: three segments with rows.
        for number in [8, 9] {
            let store = open(&folder).await.unwrap();
            let call = store.ledger().admit(intent(number)).await.unwrap();
            call.settle(ending()).await.unwrap();
        }
        let gone = Segment::new(&folder.path().join("wal"), 2).path;
        std::fs::remove_file(&gone).unwrap();
        assert!(matches!(open(&folder).await, Err(Error::Missing { path }) if path == gone));
        let table = Config::new(folder.path(), name("gw")).unwrap().table;
        let repaired = repair(folder.path(), &table, false).await.unwrap();
        assert_eq!(repaired.missing_segments, [gone]);
        // It held the row of the interrupted call 6, and that of call 8.
        assert_eq!(repaired.missing_places, [(7, 8)]);
        let store = open(&folder).await.unwrap();
        store.close().await.unwrap();
    }
}
