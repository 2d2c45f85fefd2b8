//! What keeps a table small and quick to open: checkpoints, an old log forgotten, old files deleted, old days dropped.
//!
//! Each step can be called alone and at any instant, also by several gateways at once; the clock is the caller's. [`crate::upkeep`] calls
//! them in the background.
//!
//! # Invariants
//! 1. A version reads the same until it has been out of date for longer than the history: its log, its checkpoint and its files are kept.
//! 2. A file is deleted only if no version within the history has it: it was taken out before, or no commit ever named it and it is older
//!    than the history and than [`ORPHAN_AGE`] (a file is written before its commit).
//! 3. Nothing is deleted if the table's own files are not all found where the log says: then names are read wrongly.
//! 4. Rows leave the table by whole days only, in a commit, and their files stay for the history as any other.

use std::collections::HashSet;
use std::time::Duration;

use deltalake_core::checkpoints::{cleanup_expired_logs_for, create_checkpoint};
use deltalake_core::protocol::DeltaOperation;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};
use serde::Deserialize;
use tollgate_record::Timestamp;

use super::compact::day_of;
use super::lake::{Change, Lake, Stamp};
use super::{Table, name};
use crate::Error;
use crate::schema::PARTITION;

/// Age from which on a file that no commit names is garbage, however short the history: the commit may still come.
pub(crate) const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3600);

/// Commits after which a checkpoint is written: opening the table reads the last checkpoint and the commits after it.
pub(crate) const CHECKPOINT_COMMITS: u64 = 50;

/// What a vacuum deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vacuumed {
    /// Files.
    pub(crate) files: u64,
    /// Their size.
    pub(crate) bytes: u64,
}

/// What expired.
#[derive(Debug)]
pub(crate) struct Expired {
    /// The table afterwards.
    pub(crate) table: Table,
    /// Files that are no longer part of it.
    pub(crate) files: u64,
    /// Their rows, as far as the log knows.
    pub(crate) rows: u64,
}

/// Delta's table properties for a history.
pub(crate) fn history_properties(history: Duration) -> Vec<(String, String)> {
    let interval = format!("interval {} seconds", history.as_secs());
    vec![
        ("delta.logRetentionDuration".to_owned(), interval.clone()),
        ("delta.deletedFileRetentionDuration".to_owned(), interval),
        ("delta.checkpointInterval".to_owned(), CHECKPOINT_COMMITS.to_string()),
    ]
}

impl Lake {
    /// Writes the history into the table's properties, where other programs heed it too; `None` if it is there.
    ///
    /// # Errors
    /// [`Error::Table`] if the store failed.
    pub(crate) async fn set_history(&self, history: Duration) -> Result<Option<Self>, Error> {
        let lake = self.newest().await?;
        let found = lake.delta().snapshot()?.metadata().configuration();
        let wanted = history_properties(history);
        if wanted.iter().all(|(name, value)| found.get(name) == Some(value)) {
            return Ok(None);
        }
        let set = lake.delta().clone().set_tbl_properties();
        set.with_properties(wanted.into_iter().collect()).await?;
        Ok(Some(lake.newest().await?))
    }

    /// Writes a checkpoint of the newest version if there were enough commits since the last one; returns its version.
    ///
    /// # Errors
    /// [`Error::Table`] if the store failed.
    pub(crate) async fn checkpoint(&self, commits: u64) -> Result<Option<u64>, Error> {
        #[derive(Deserialize)]
        struct Last {
            version: u64,
        }
        let lake = self.newest().await?;
        let last = match lake.store().get(&Path::from("_delta_log/_last_checkpoint")).await {
            Ok(found) => serde_json::from_slice::<Last>(&found.bytes().await?)
                .ok()
                .map(|last| last.version),
            Err(object_store::Error::NotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        if lake.version().saturating_sub(last.unwrap_or(0)) < commits {
            return Ok(None);
        }
        create_checkpoint(lake.delta(), None).await?;
        Ok(Some(lake.version()))
    }

    /// Deletes entries and checkpoints of the log that no version within the history needs; returns how many.
    ///
    /// # Errors
    /// [`Error::Table`] if the store failed; what is left is deleted the next time.
    pub(crate) async fn forget_log(&self, history: Duration, now: Timestamp) -> Result<usize, Error> {
        let lake = self.newest().await?;
        let cutoff_ms = before(now, history).unix_us() / 1000;
        Ok(cleanup_expired_logs_for(lake.version(), lake.delta().log_store().as_ref(), cutoff_ms, None).await?)
    }

    /// Deletes files that no version within the history has.
    ///
    /// # Errors
    /// [`Error::Table`] if the store failed; what is left is deleted the next time. [`Error::Conflict`] if files of the table are missing.
    ///
    /// # Cancel safety
    /// As after an error.
    pub(crate) async fn vacuum(&self, history: Duration, now: Timestamp) -> Result<Vacuumed, Error> {
        let lake = self.newest().await?;
        let mut missing: HashSet<Path> = lake.files()?.iter().map(|file| location(&file.path)).collect();
        let active = missing.clone();
        let removed_until = before(now, history);
        let log_store = lake.delta().log_store();
        let mut recent = HashSet::new();
        let mut tombstones = lake.delta().snapshot()?.all_tombstones(log_store.as_ref());
        while let Some(tombstone) = tombstones.try_next().await? {
            if tombstone.deletion_timestamp().unwrap_or(0).saturating_mul(1000) >= removed_until.unix_us() {
                recent.insert(location(&tombstone.path()));
            }
        }
        drop(tombstones);
        let orphan_until = removed_until.min(before(now, ORPHAN_AGE));
        let store = lake.store();
        let listed: Vec<ObjectMeta> = store.list(None).try_collect().await?;
        let garbage: Vec<ObjectMeta> = listed
            .into_iter()
            .filter(|file| {
                let hidden = file
                    .location
                    .parts()
                    .next()
                    .is_none_or(|part| part.as_ref().starts_with(['_', '.']));
                let known = missing.remove(&file.location) || active.contains(&file.location) || recent.contains(&file.location);
                let written = Timestamp::from_unix_us(file.last_modified.timestamp_micros());
                !hidden && !known && file.location.as_ref().ends_with(".parquet") && written < orphan_until
            })
            .collect();
        if let Some(file) = missing.into_iter().next() {
            return Err(Error::Conflict {
                url: lake.delta().table_url().to_string(),
                reason: format!("{file} is part of the table and was not found, so nothing is deleted"),
            });
        }
        let mut vacuumed = Vacuumed::default();
        let sizes: std::collections::HashMap<Path, u64> = garbage.iter().map(|file| (file.location.clone(), file.size)).collect();
        let locations = futures::stream::iter(garbage.into_iter().map(|file| Ok(file.location))).boxed();
        let mut deleted = store.delete_stream(locations);
        while let Some(location) = deleted.next().await {
            match location {
                Ok(location) => {
                    vacuumed.files += 1;
                    vacuumed.bytes += sizes.get(&location).copied().unwrap_or(0);
                }
                // Another gateway was faster.
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(vacuumed)
    }
}

impl Table {
    /// Takes the days out of the table that ended more than `days` days ago; `None` if there are none.
    ///
    /// # Errors
    /// [`Error::Conflict`] if a compaction was faster, [`Error::Table`] if the store failed.
    ///
    /// # Cancel safety
    /// As after an error.
    pub(crate) async fn expire(&self, days: u32, stamp: Stamp) -> Result<Option<Expired>, Error> {
        let lake = self.lake().newest().await?;
        let first = stamp.now.day().saturating_sub(i32::try_from(days).unwrap_or(i32::MAX));
        let old: Vec<_> = lake
            .files()?
            .into_iter()
            .filter(|file| day_of(file).is_some_and(|day| day < first))
            .collect();
        if old.is_empty() {
            return Ok(None);
        }
        let (files, rows) = (old.len() as u64, old.iter().filter_map(|file| file.rows).sum());
        let change = Change {
            operation: DeltaOperation::Delete {
                predicate: Some(format!("{PARTITION} < '{}'", name::date(first))),
            },
            adds: Vec::new(),
            removes: old,
            moves: Vec::new(),
            data_change: true,
        };
        let lake = lake.commit(&change, stamp).await?.lake();
        Ok(Some(Expired {
            table: Self::of(lake),
            files,
            rows,
        }))
    }
}

/// The instant that is some time before another.
fn before(now: Timestamp, time: Duration) -> Timestamp {
    Timestamp::from_unix_us(
        now.unix_us()
            .saturating_sub(i64::try_from(time.as_micros()).unwrap_or(i64::MAX)),
    )
}

/// Where a file of the log lies; paths of other programs may have letters that object stores encode.
fn location(path: &str) -> Path {
    Path::parse(path).unwrap_or_else(|_| Path::from(path))
}
