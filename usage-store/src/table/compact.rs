//! Compaction: small files that are neighbours in time become one of about the target size.
//!
//! # Invariants
//! 1. A compaction changes no row: it commits the new file and takes the old ones out in one commit, or does nothing. It never takes rows
//!    of two days together.
//! 2. The old files stay in the store until vacuum: a version from before reads as it did.
//! 3. Of two compactions that share a file, one is committed and the other finds that its premises are gone ([`super::lake`], 2). A flush
//!    that commits meanwhile disturbs neither: it removes nothing.
//! 4. As many rows are written as the log says the old files have, or nothing is committed.
//!
//! # How much is written anew
//! Of a day that is over, all files smaller than three quarters of the target are merged, once; again only if late rows come. Of today,
//! [`FAN_IN`] neighbours of one size class (a factor of eight) are merged, so a row is written anew once a class: with flushes of 1 MB and
//! a target of 128 MB at most three times today and once after midnight. Files of today number at most eight a class, and those that are done.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::error::ArrowError;
use deltalake_core::kernel::Add;
use deltalake_core::protocol::DeltaOperation;
use object_store::ObjectStore;
use parquet::arrow::AsyncArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;

use super::lake::{Change, Committed, DataFile, Lake, Stamp};
use super::merge::{Merge, usage_keys};
use super::name::{self, FileName};
use super::stats::{earliest, statistics};
use super::upload::Sender;
use super::{STATS_COLUMNS, Table};
use crate::Error;
use crate::parquet::{file_schema, properties};
use crate::schema::PARTITION;

/// Files of today in a size class that start a merge.
const FAN_IN: usize = 8;
/// Files of one merge at most: each holds a batch of rows and a row group of bytes while it goes on.
const INPUTS_MAX: usize = 32;

/// Says of a file whether it may be merged already.
pub(crate) type May<'a> = &'a (dyn Fn(&DataFile) -> bool + Send + Sync);

/// What a compaction did.
#[derive(Debug)]
pub(crate) struct Compacted {
    /// The table afterwards.
    pub(crate) table: Table,
    /// Files that were merged.
    pub(crate) files: usize,
    /// Their rows.
    pub(crate) rows: u64,
    /// Their size.
    pub(crate) bytes_before: u64,
    /// Size of the file that replaced them.
    pub(crate) bytes_after: u64,
    /// Most rows that were in memory at one time, those of the row group being encoded not counted.
    pub(crate) rows_held_max: usize,
}

impl Table {
    /// Merges some files, if there are any to merge. Files that `may` denies stay as they are.
    ///
    /// # Errors
    /// [`Error::Conflict`] if another compaction was faster, [`Error::Table`] or [`Error::Parquet`] if a file cannot be read or written.
    /// The table is as it was, and what was written is left for vacuum.
    ///
    /// # Cancel safety
    /// As after an error.
    pub(crate) async fn compact_once(&self, target_bytes: u64, may: May<'_>, stamp: Stamp) -> Result<Option<Compacted>, Error> {
        let lake = self.lake().newest().await?;
        let Some(chosen) = choose(lake.files()?, stamp.now.day(), target_bytes, may) else {
            return Ok(None);
        };
        let bytes_before = chosen.iter().map(|file| file.bytes).sum();
        let expected: Option<u64> = chosen.iter().map(|file| file.rows).sum();
        let (add, rows, rows_held_max) = merge(&lake.store(), &chosen, stamp).await?;
        if expected.is_some_and(|expected| expected != rows) {
            let reason = format!("{} files have {rows} rows, the log says {expected:?}", chosen.len());
            return Err(Error::Arrow(ArrowError::ComputeError(reason)));
        }
        let (files, bytes_after) = (chosen.len(), u64::try_from(add.size).unwrap_or(0));
        let change = Change {
            operation: DeltaOperation::Optimize {
                predicate: None,
                target_size: i64::try_from(target_bytes).unwrap_or(i64::MAX),
            },
            adds: vec![add],
            removes: chosen,
            moves: Vec::new(),
            data_change: false,
        };
        let lake: Lake = match lake.commit(&change, stamp).await? {
            Committed::Now(lake) | Committed::Before(lake) => lake,
        };
        Ok(Some(Compacted {
            table: Self::of(lake),
            files,
            rows,
            bytes_before,
            bytes_after,
            rows_held_max,
        }))
    }
}

/// Writes the rows of some files of one day into one.
async fn merge(store: &Arc<dyn ObjectStore>, files: &[DataFile], stamp: Stamp) -> Result<(Add, u64, usize), Error> {
    let schema = file_schema();
    let partition: HashMap<String, Option<String>> = files.first().map(|file| file.partition.clone()).unwrap_or_default();
    let day = files.first().and_then(day_of).unwrap_or_default();
    let path = FileName::Compacted.path(day, stamp.id);
    let inputs = files.iter().map(|file| (file.path.clone(), file.bytes)).collect();
    let mut merge = Merge::open(store, inputs, &schema, usage_keys).await?;
    let mut sender = Sender::new(store, &path)?;
    let written = async {
        let options = ArrowWriterOptions::new()
            .with_properties(properties().build())
            .with_skip_arrow_metadata(true);
        let mut writer = AsyncArrowWriter::try_new_with_options(&mut sender, Arc::clone(&schema), options)?;
        while let Some(batch) = merge.next().await? {
            writer.write(&batch).await?;
            // The thread has flushes to do as well.
            tokio::task::yield_now().await;
        }
        Ok::<_, Error>(writer.close().await?)
    }
    .await;
    let metadata = match written {
        Ok(metadata) => metadata,
        Err(error) => {
            sender.abort().await;
            return Err(error);
        }
    };
    let add = Add {
        path,
        partition_values: partition,
        size: i64::try_from(sender.bytes()).unwrap_or(i64::MAX),
        modification_time: stamp.now.unix_us() / 1000,
        data_change: false,
        stats: Some(statistics(&metadata, &schema, STATS_COLUMNS)?),
        ..Add::default()
    };
    Ok((add, merge.rows(), merge.rows_held_max()))
}

/// Chooses the files of one merge, the oldest day first.
fn choose(files: Vec<DataFile>, today: i32, target_bytes: u64, may: May<'_>) -> Option<Vec<DataFile>> {
    let mut days: BTreeMap<i32, Vec<(Option<i64>, DataFile)>> = BTreeMap::new();
    for file in files {
        // Rows that another program deleted by a list beside the file would come back.
        if file.holed || file.bytes >= target_bytes / 4 * 3 || !may(&file) {
            continue;
        }
        let Some(day) = day_of(&file) else { continue };
        let start = file.stats.as_deref().and_then(|stats| earliest(stats, "start_time"));
        days.entry(day).or_default().push((start, file));
    }
    days.into_iter().find_map(|(day, mut files)| {
        files.sort_by(|(left, left_file), (right, right_file)| (left, &left_file.path).cmp(&(right, &right_file.path)));
        let files: Vec<_> = files.into_iter().map(|(_, file)| file).collect();
        let mut classes: BTreeMap<u32, Vec<DataFile>> = BTreeMap::new();
        for file in &files {
            classes.entry(class(file.bytes)).or_default().push(file.clone());
        }
        // Also of a day that is over: many small files are not merged into the same growing one again and again.
        let merged = classes.into_values().find_map(|files| fill(files, target_bytes, FAN_IN));
        merged.or_else(|| fill(files, target_bytes, if day < today { 2 } else { usize::MAX }))
    })
}

/// The first files whose sizes add up to the target, if they are enough.
fn fill(files: Vec<DataFile>, target_bytes: u64, least: usize) -> Option<Vec<DataFile>> {
    if files.len() < least {
        return None;
    }
    let mut bytes = 0;
    let mut chosen = Vec::new();
    for file in files {
        let fits = chosen.len() < 2 || bytes + file.bytes <= target_bytes;
        if !fits || chosen.len() == INPUTS_MAX {
            break;
        }
        bytes += file.bytes;
        chosen.push(file);
    }
    Some(chosen)
}

/// The size class of a file: each is eight times the one before.
fn class(bytes: u64) -> u32 {
    bytes.max(1).ilog2() / 3
}

/// The day of a file's rows.
pub(crate) fn day_of(file: &DataFile) -> Option<i32> {
    let date = file.partition.get(PARTITION)?.as_deref()?;
    name::day(date)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn file(day: i32, number: i64, bytes: u64) -> DataFile {
        let date = name::date(day);
        let stats = format!(
            r#"{{"minValues":{{"start_time":"{}"}}}}"#,
            name::instant(number * 60_000_000).unwrap()
        );
        let path = format!("{}/{number}.parquet", name::partition(day));
        DataFile::of_test(path, bytes, HashMap::from([(PARTITION.to_owned(), Some(date))]), stats)
    }

    const MB: u64 = 1_000_000;

    fn paths(chosen: Option<Vec<DataFile>>) -> Vec<String> {
        chosen.unwrap_or_default().into_iter().map(|file| file.path).collect()
    }

    #[test]
    fn a_day_that_is_over_becomes_few_files_of_neighbours() {
        // Out of order on purpose.
        let files: Vec<_> = [3, 1, 4, 2, 5].map(|number| file(9, number, 40 * MB)).into();
        let chosen = paths(choose(files, 10, 128 * MB, &|_| true));
        assert_eq!(
            chosen,
            ["1", "2", "3"].map(|number| format!("{}/{number}.parquet", name::partition(9)))
        );
        let done = vec![file(9, 1, 100 * MB), file(9, 2, 1)];
        assert!(choose(done, 10, 128 * MB, &|_| true).is_none());
    }

    #[test]
    fn files_of_today_wait_for_company_of_their_size() {
        let seven: Vec<_> = (0..7).map(|number| file(10, number, MB)).collect();
        assert!(choose(seven.clone(), 10, 128 * MB, &|_| true).is_none());
        let other = file(10, 7, 60 * MB);
        assert!(choose([seven.clone(), vec![other]].concat(), 10, 128 * MB, &|_| true).is_none());
        let eighth = file(10, 7, MB);
        let eight = [seven, vec![eighth]].concat();
        assert_eq!(paths(choose(eight.clone(), 10, 128 * MB, &|_| true)).len(), 8);
        assert!(choose(eight, 10, 128 * MB, &|file| !file.path.contains("/3.")).is_none());
    }

    #[test]
    fn a_row_of_today_is_written_anew_once_a_size_class() {
        // A day of flushes of one megabyte a minute, compacted after each.
        let (target, mut files, mut written) = (128 * MB, Vec::new(), 0);
        for number in 0..1440 {
            files.push(file(10, number, MB));
            while let Some(chosen) = choose(files.clone(), 10, target, &|_| true) {
                let merged: u64 = chosen.iter().map(|file| file.bytes).sum();
                written += merged;
                files.retain(|file| chosen.iter().all(|old| old.path != file.path));
                files.push(DataFile {
                    path: format!("merged-{number}-{written}"),
                    bytes: merged,
                    ..chosen[0].clone()
                });
            }
            assert!(files.len() <= 14 + number as usize / 64 + 7, "{}", files.len());
        }
        assert!(written <= 3 * 1440 * MB, "{written}");
    }

    #[test]
    fn a_merge_has_a_bounded_number_of_inputs() {
        let files: Vec<_> = (0..500).map(|number| file(9, number, 1000)).collect();
        assert_eq!(choose(files, 10, 128 * MB, &|_| true).unwrap().len(), INPUTS_MAX);
    }
}
