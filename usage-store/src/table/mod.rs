//! The table on disk: Parquet files in a Delta Lake table, partitioned by UTC day.
//!
//! - [`lake`]: any Delta table, and commits to it that happen once or not at all.
//! - [`name`]: what a file's name says of its rows.
//! - [`upload`], [`stats`]: a file on its way into the table.
//! - [`duplicates`]: results of batches that two gateways recorded.
//! - [`compact`], [`merge`]: small files become large ones.
//! - [`upkeep`]: checkpoints, log cleanup, vacuum, retention.
//!
//! # Invariants
//! 1. A commit adds its files and moves the application transaction of its instance to the last place among its rows, or does neither.
//! 2. So after a crash or a lost answer, the transaction's version says which rows are in the table, and no row is appended twice.
//! 3. A file's name says which rows it may hold ([`name`]).
//! 4. Of rows that two gateways have of the same result of a batch, it takes the first ([`duplicates`]).
//! 5. A file that was written and whose commit failed is part of no version; vacuum removes it.

pub(crate) mod compact;
mod duplicates;
#[allow(dead_code, reason = "what compaction and rollups read of a table")]
pub(crate) mod lake;
mod merge;
#[allow(dead_code, reason = "what compaction and rollups read of a name")]
pub(crate) mod name;
mod stats;
#[cfg(test)]
mod tests;
pub(crate) mod upkeep;
pub(crate) mod upload;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{max, min, take};
use arrow::datatypes::Int64Type;
use deltalake_core::kernel::Add;
use tollgate_record::{Name, Seq};
use uuid::Uuid;

use self::duplicates::have_results;
use self::lake::{Change, Committed, Definition, Lake, Move, Stamp};
use self::name::FileName;
use self::upload::upload;
use crate::Error;
use crate::batch::rows_after;
use crate::location::Location;
use crate::parquet::{encode, file_schema, order, properties};
use crate::scan::Files;
use crate::schema::{PARTITION, usage_schema};
use crate::tables::versions::Versions;

/// Columns whose bounds the log knows, so that files are left out by them: those that queries filter by. Each costs some 80 bytes of log
/// a file, which is read at every start.
pub(crate) const STATS_COLUMNS: &[&str] = &[
    "call_id",
    "request_id",
    "instance",
    "seq",
    "start_time",
    "duration_us",
    "org",
    "team",
    "project",
    "service",
    "user_id",
    "key_id",
    "session_id",
    "trace_id",
    "operation_name",
    "provider_name",
    "request_model",
    "response_model",
    "outcome",
    "status_code",
    "input_tokens",
    "output_tokens",
    "cost",
    "currency",
    "cost_status",
    "corrects",
];

/// Rows of one file at most: as many as a compacted file of the usual size has. More rows at once become more files.
const FILE_ROWS_MAX: usize = 2 << 20;

/// Versions that others may take before an append that rests on one gives up.
const APPENDS_MAX: u128 = 16;

/// The table as of one version; cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    lake: Lake,
    /// What queries read, made when the first of this version asks.
    scanned: Arc<OnceLock<Files>>,
    versions: Versions,
}

impl Table {
    fn seen_as(lake: Lake, versions: Option<&Versions>) -> Self {
        Self {
            versions: versions.map_or_else(|| Versions::of(lake.delta().log_store()), Versions::clone),
            scanned: Arc::default(),
            lake,
        }
    }

    /// Opens the table, or creates it.
    ///
    /// # Errors
    /// [`Error::Location`] if the location is none, [`Error::Schema`] if another table is there, [`Error::Table`] if the store refuses.
    pub(crate) async fn open(location: &Location) -> Result<Self, Error> {
        let lake = Lake::open(location, &definition()).await?;
        Ok(Self::seen_as(lake, None))
    }

    /// The table before it was reached: it has no version, and whatever is asked of it fails.
    ///
    /// # Errors
    /// [`Error::Location`] if the location is none.
    pub(crate) fn unopened(location: &Location) -> Result<Self, Error> {
        Ok(Self::seen_as(Lake::unopened(location)?, None))
    }

    /// Whether it was reached.
    pub(crate) fn is_open(&self) -> bool {
        self.lake.is_open()
    }

    /// Opens the table if it is there; changes nothing.
    ///
    /// # Errors
    /// As [`Table::open`].
    pub(crate) async fn open_existing(location: &Location) -> Result<Option<Self>, Error> {
        let lake = Lake::open_existing(location, &usage_schema()).await?;
        Ok(lake.map(|lake| Self::seen_as(lake, None)))
    }

    /// The table over a Delta table that is known to be one.
    pub(crate) fn of(lake: Lake) -> Self {
        Self::seen_as(lake, None)
    }

    /// The Delta table.
    pub(crate) fn lake(&self) -> &Lake {
        &self.lake
    }

    /// The last place of an instance's rows in the table.
    ///
    /// # Errors
    /// [`Error::Table`] if the log cannot be read.
    pub(crate) async fn committed(&self, instance: &Name) -> Result<Seq, Error> {
        let version = self.lake.transaction(instance.as_str()).await?;
        Ok(Seq::new(version.and_then(|version| u64::try_from(version).ok()).unwrap_or(0)))
    }

    /// Appends rows of an instance and says that its rows up to `last` are in the table: both or neither.
    ///
    /// Safe to call again after an error: rows that are in the table already are not appended. Nor are results of batches that the table has from
    /// another instance; their places stay empty.
    ///
    /// # Errors
    /// [`Error::Table`] if the store failed, [`Error::Conflict`] if too many others commit at once.
    ///
    /// # Cancel safety
    /// As after an error.
    pub(crate) async fn append(&self, batches: Vec<RecordBatch>, instance: &Name, last: Seq, stamp: Stamp) -> Result<Self, Error> {
        let checked = have_results(&batches)?;
        let mut attempt = 0;
        loop {
            // Files of an attempt that others came before have other rows.
            let id = Uuid::from_u128(stamp.id.as_u128().wrapping_add(attempt));
            let appended = self
                .try_append(&batches, instance, last, Stamp { id, ..stamp }, checked)
                .await;
            attempt += 1;
            match appended {
                Err(Error::Conflict { .. }) if checked && attempt < APPENDS_MAX => {}
                appended => return appended,
            }
        }
    }

    async fn try_append(
        &self,
        batches: &[RecordBatch],
        instance: &Name,
        last: Seq,
        stamp: Stamp,
        checked: bool,
    ) -> Result<Self, Error> {
        // An earlier attempt may have succeeded although it was reported as failed.
        let newest = self.newest().await?;
        let committed = newest.committed(instance).await?;
        if committed >= last {
            return Ok(newest);
        }
        // That attempt may have had fewer rows than this one.
        let rest = batches.iter().map(|batch| rows_after(batch, committed));
        let mut batches = rest.collect::<Result<Vec<_>, _>>()?;
        if checked {
            batches = newest.without_results_of_others(batches, instance).await?;
        }
        batches.retain(|batch| batch.num_rows() > 0);
        let mut adds = Vec::new();
        for group in groups(batches).into_iter().filter(|group| !group.is_empty()) {
            newest.write_files(&group, instance, stamp, &mut adds).await?;
        }
        let change = appending(adds, instance, None, last);
        let version = checked.then(|| newest.version());
        let lake = newest.lake.commit_on(version, &change, stamp).await?.lake();
        Ok(Self::seen_as(lake, Some(&self.versions)))
    }

    /// Appends rows of an instance, if its rows in the table still end at `from`; nothing if they do not, since then others of the same name
    /// were first. Whoever is answered so reads the table anew.
    ///
    /// # Errors
    /// [`Error::Table`] if the store failed: the rows may or may not be in the table then.
    ///
    /// # Cancel safety
    /// As after an error.
    pub(crate) async fn append_behind(
        &self,
        from: Seq,
        batches: &[RecordBatch],
        instance: &Name,
        last: Seq,
        stamp: Stamp,
    ) -> Result<Option<Self>, Error> {
        let mut adds = Vec::new();
        self.write_files(batches, instance, stamp, &mut adds).await?;
        let paths: Vec<String> = adds.iter().map(|add| add.path.clone()).collect();
        let change = appending(adds, instance, Some(from), last);
        let lake = match self.lake.commit(&change, stamp).await {
            Ok(Committed::Now(lake)) => lake,
            // Either this commit, whose answer was lost, or another's of as many rows.
            Ok(Committed::Before(lake)) if lake.files()?.iter().any(|file| paths.contains(&file.path)) => lake,
            Ok(Committed::Before(_)) | Err(Error::Conflict { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(Self::seen_as(lake, Some(&self.versions))))
    }

    /// Writes a file a day.
    async fn write_files(&self, batches: &[RecordBatch], instance: &Name, stamp: Stamp, adds: &mut Vec<Add>) -> Result<(), Error> {
        let (schema, properties) = (file_schema(), Arc::new(properties().build()));
        for day in order(batches)? {
            let (first, last) = span(batches, &day.places)?;
            let file = encode(batches, &day.places, &schema, Arc::clone(&properties))?;
            let name = FileName::Flushed {
                instance: instance.clone(),
                first,
                last,
            };
            let partition = HashMap::from([(PARTITION.to_owned(), Some(name::date(day.day)))]);
            let path = name.path(day.day, stamp.id);
            adds.push(upload(&self.lake.store(), path, partition, file, &schema, STATS_COLUMNS, stamp).await?);
        }
        Ok(())
    }

    /// The table as of its newest version.
    ///
    /// # Errors
    /// [`Error::Table`] if the log cannot be read.
    pub(crate) async fn newest(&self) -> Result<Self, Error> {
        Ok(Self::seen_as(self.lake.newest().await?, Some(&self.versions)))
    }

    /// The files of this version, for reading.
    ///
    /// # Errors
    /// As [`Files::of`].
    pub(crate) fn scanned(&self) -> Result<Files, Error> {
        if let Some(files) = self.scanned.get() {
            return Ok(files.clone());
        }
        let files = Files::of(self.lake.delta())?;
        Ok(self.scanned.get_or_init(|| files).clone())
    }

    /// The table's rows, for tests.
    #[cfg(test)]
    pub(crate) async fn provider(&self) -> Result<Arc<dyn datafusion::catalog::TableProvider>, Error> {
        let files = self.scanned()?;
        Ok(Arc::new(crate::scan::Scan::new(
            "usage",
            &usage_schema(),
            Some(files),
            Vec::new(),
        )))
    }

    /// The table's history.
    pub(crate) fn versions(&self) -> &Versions {
        &self.versions
    }

    /// The table's version.
    pub(crate) fn version(&self) -> u64 {
        self.lake.version()
    }
}

/// What table `usage` is when it is created.
pub(crate) fn definition() -> Definition {
    Definition {
        name: "usage",
        comment: "one row per call: who called which model, what it used and what it cost",
        schema: usage_schema(),
        partition: &[PARTITION],
        properties: [("delta.dataSkippingStatsColumns".to_owned(), STATS_COLUMNS.join(","))]
            .into_iter()
            .chain(upkeep::history_properties(crate::Upkeep::HISTORY))
            .collect(),
    }
}

/// A commit that appends files, and moves the transaction of their instance: from a place, or from any before.
fn appending(adds: Vec<Add>, instance: &Name, from: Option<Seq>, last: Seq) -> Change {
    let place = |seq: Seq| i64::try_from(seq.get()).unwrap_or(i64::MAX);
    let moved = Move {
        id: instance.to_string(),
        from: from.map(|from| (from > Seq::ZERO).then(|| place(from))),
        to: place(last),
    };
    Change::append(PARTITION, adds, moved)
}

/// Splits batches so that none of the files gets too large.
fn groups(batches: Vec<RecordBatch>) -> Vec<Vec<RecordBatch>> {
    let mut groups = vec![Vec::new()];
    let mut rows = 0;
    for batch in batches {
        if rows > 0 && rows + batch.num_rows() > FILE_ROWS_MAX {
            groups.push(Vec::new());
            rows = 0;
        }
        rows += batch.num_rows();
        groups.last_mut().expect("there is one from the start").push(batch);
    }
    groups
}

/// The lowest and the highest place (`seq`) among some rows.
fn span(batches: &[RecordBatch], places: &[u32]) -> Result<(Seq, Seq), Error> {
    let parts: Vec<_> = batches
        .iter()
        .filter_map(|batch| batch.column_by_name("seq"))
        .map(AsRef::as_ref)
        .collect();
    let all = arrow::compute::concat(&parts)?;
    let taken = take(&all, &arrow::array::UInt32Array::from(places.to_vec()), None)?;
    let seqs = taken.as_primitive::<Int64Type>();
    let seq = |value: Option<i64>| Seq::new(value.and_then(|value| u64::try_from(value).ok()).unwrap_or(0));
    Ok((seq(min(seqs)), seq(max(seqs))))
}
