//! A Delta Lake table of any schema: opened or created, read as of a version, changed by commits that happen once or not at all.
//!
//! It knows nothing of usage rows: that is [`super::Table`]. Parquet files are written by [`super::upload`] and are nothing until a commit
//! names them.
//!
//! # Invariants
//! 1. A commit adds all its files, removes all its files and moves all its transactions, or does none of it.
//! 2. It is applied to the newest version only, after its premises were checked against exactly that version: its transactions are where
//!    it takes them to be, and every file that it removes is still there. A version that another writer takes meanwhile is read, and the
//!    premises are checked anew. (The library's own conflict check lets two compactions of the same files both win.)
//! 3. So it is safe to repeat after an error or a lost answer: what was done already is found and reported as [`Committed::Before`].
//! 4. Nothing here reads a clock or makes up a number that decides anything: both come with the [`Stamp`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake_core::kernel::{Action, Add, Remove, StructType, Transaction};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, DeltaTableError};
use object_store::ObjectStore;
use tollgate_record::Timestamp;
use uuid::Uuid;

use crate::Error;
use crate::clock::{Clock, System};
use crate::location::Location;

/// A Delta table as of one version; cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) struct Lake {
    delta: DeltaTable,
}

/// What a table is when it is created.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    /// Its name in Delta's metadata.
    pub(crate) name: &'static str,
    /// What it holds, in a sentence.
    pub(crate) comment: &'static str,
    /// All its columns, those that it is partitioned by included.
    pub(crate) schema: SchemaRef,
    /// The columns that it is partitioned by.
    pub(crate) partition: &'static [&'static str],
    /// Delta table properties.
    pub(crate) properties: Vec<(String, String)>,
}

/// When something is done, and a number that nothing else has: given by the caller, so that a simulation decides them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The instant.
    pub(crate) now: Timestamp,
    /// The number.
    pub(crate) id: Uuid,
}

/// What a commit does.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// What the log calls it.
    pub(crate) operation: DeltaOperation,
    /// Files that become part of the table.
    pub(crate) adds: Vec<Add>,
    /// Files that are no longer part of it.
    pub(crate) removes: Vec<DataFile>,
    /// Application transactions that it moves.
    pub(crate) moves: Vec<Move>,
    /// Whether rows come or go; `false` for a compaction.
    pub(crate) data_change: bool,
}

impl Change {
    /// Adds files, and moves the application transaction of whose rows they hold in the same commit.
    pub(crate) fn append(partition: &str, adds: Vec<Add>, moved: Move) -> Self {
        Self {
            operation: DeltaOperation::Write {
                mode: SaveMode::Append,
                partition_by: Some(vec![partition.to_owned()]),
                predicate: None,
            },
            adds,
            removes: Vec::new(),
            moves: vec![moved],
            data_change: true,
        }
    }
}

/// The move of an application transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    /// Whose.
    pub(crate) id: String,
    /// Where it must be before; `None` is anywhere below `to`.
    pub(crate) from: Option<Option<i64>>,
    /// Where it is afterwards.
    pub(crate) to: i64,
}

/// What became of a change.
#[derive(Clone, Debug)]
pub(crate) enum Committed {
    /// It was committed now, as this version.
    Now(Lake),
    /// An earlier attempt had committed it; this is the newest version.
    Before(Lake),
}

/// A file of the table.
#[derive(Clone, Debug)]
pub(crate) struct DataFile {
    /// Path relative to the table.
    pub(crate) path: String,
    /// Its size.
    pub(crate) bytes: u64,
    /// Its rows, if the log says.
    pub(crate) rows: Option<u64>,
    /// When it was added.
    pub(crate) added: Timestamp,
    /// Values of the columns that the table is partitioned by, as Delta writes them.
    pub(crate) partition: HashMap<String, Option<String>>,
    /// Statistics of its columns, as JSON.
    pub(crate) stats: Option<String>,
    /// Whether another program has deleted rows of it without writing it anew.
    pub(crate) holed: bool,
    /// What a commit says to remove it.
    pub(super) remove: Remove,
}

#[cfg(test)]
impl DataFile {
    /// A file that is nowhere.
    pub(crate) fn of_test(path: String, bytes: u64, partition: HashMap<String, Option<String>>, stats: String) -> Self {
        Self {
            path,
            bytes,
            rows: None,
            added: Timestamp::default(),
            partition,
            stats: Some(stats),
            holed: false,
            remove: Remove::default(),
        }
    }
}

// === impl Stamp ===

impl Stamp {
    /// The system's clock and randomness.
    pub(crate) fn system() -> Self {
        Self::of(&System)
    }

    /// The next one of a clock.
    pub(crate) fn of(clock: &dyn Clock) -> Self {
        Self {
            now: clock.now(),
            id: clock.id(),
        }
    }

    fn millis(self) -> i64 {
        self.now.unix_us() / 1000
    }
}

// === impl Committed ===

impl Committed {
    /// The table afterwards.
    pub(crate) fn lake(self) -> Lake {
        match self {
            Self::Now(lake) | Self::Before(lake) => lake,
        }
    }
}

// === impl Lake ===

impl Lake {
    /// Versions that other writers may take before a commit gives up.
    const ATTEMPTS: usize = 64;

    /// Opens the table, or creates it.
    ///
    /// # Errors
    /// [`Error::Location`] if the location is none, [`Error::Schema`] if another table is there, [`Error::Table`] if the store refuses.
    pub(crate) async fn open(location: &Location, definition: &Definition) -> Result<Self, Error> {
        if let Ok(path) = location.url().to_file_path() {
            std::fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
        }
        let mut delta = load(location).await?;
        if delta.version().is_none() {
            let schema: StructType = definition.schema.as_ref().try_into_kernel()?;
            let properties = definition.properties.iter().cloned().map(|(name, value)| (name, Some(value)));
            let created = delta
                .create()
                .with_table_name(definition.name)
                .with_comment(definition.comment)
                .with_columns(schema.fields().cloned())
                .with_partition_columns(definition.partition.iter().copied())
                .with_configuration(properties)
                .await;
            delta = match created {
                Ok(table) => table,
                // Another gateway may have been first, which the library says in several ways; then its table is there.
                Err(error) => {
                    let theirs = load(location).await?;
                    if theirs.version().is_none() {
                        return Err(error.into());
                    }
                    theirs
                }
            };
        }
        let lake = Self { delta };
        lake.check_schema(&definition.schema)?;
        Ok(lake)
    }

    /// The table before it was reached.
    ///
    /// # Errors
    /// [`Error::Location`] if the location is none.
    pub(crate) fn unopened(location: &Location) -> Result<Self, Error> {
        Ok(Self {
            delta: location.table()?,
        })
    }

    /// Whether it was reached.
    pub(crate) fn is_open(&self) -> bool {
        self.delta.version().is_some()
    }

    /// Opens the table if it is there; changes nothing.
    ///
    /// # Errors
    /// As [`Lake::open`].
    pub(crate) async fn open_existing(location: &Location, schema: &SchemaRef) -> Result<Option<Self>, Error> {
        if let Ok(path) = location.url().to_file_path()
            && !path.exists()
        {
            return Ok(None);
        }
        let delta = load(location).await?;
        if delta.version().is_none() {
            return Ok(None);
        }
        let lake = Self { delta };
        lake.check_schema(schema)?;
        Ok(Some(lake))
    }

    fn check_schema(&self, expected: &SchemaRef) -> Result<(), Error> {
        let expected: StructType = expected.as_ref().try_into_kernel()?;
        let found = self.delta.snapshot()?.schema();
        let types = |schema: &StructType| -> HashMap<String, String> {
            schema
                .fields()
                .map(|field| (field.name().clone(), format!("{}", field.data_type())))
                .collect()
        };
        let (expected, found) = (types(&expected), types(found.as_ref()));
        let missing: Vec<_> = expected
            .iter()
            .filter(|(name, kind)| found.get(*name) != Some(kind))
            .map(|(name, _)| name.as_str())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let reason = format!("missing or of another type: {}", missing.join(", "));
        Err(Error::Schema {
            url: self.delta.table_url().to_string(),
            reason,
        })
    }

    /// The table, for what is not offered here.
    pub(crate) fn delta(&self) -> &DeltaTable {
        &self.delta
    }

    /// The object store whose root is the table.
    pub(crate) fn store(&self) -> Arc<dyn ObjectStore> {
        self.delta.log_store().object_store(None)
    }

    /// The version.
    pub(crate) fn version(&self) -> u64 {
        self.delta.version().unwrap_or(0)
    }

    /// The table as of its newest version.
    ///
    /// # Errors
    /// [`Error::Table`] if the log cannot be read.
    pub(crate) async fn newest(&self) -> Result<Self, Error> {
        let mut delta = self.delta.clone();
        delta.update_state().await?;
        Ok(Self { delta })
    }

    /// The table as of a version.
    ///
    /// # Errors
    /// [`Error::Table`] if there is no such version, or no longer.
    pub(crate) async fn at(&self, version: u64) -> Result<Self, Error> {
        let mut delta = self.delta.clone();
        delta.load_version(version).await?;
        Ok(Self { delta })
    }

    /// Where an application transaction is; `None` if it was never moved.
    ///
    /// # Errors
    /// [`Error::Table`] if the log cannot be read.
    pub(crate) async fn transaction(&self, id: &str) -> Result<Option<i64>, Error> {
        let log_store = self.delta.log_store();
        let snapshot = self.delta.snapshot()?;
        Ok(snapshot.transaction_version(log_store.as_ref(), id).await?)
    }

    /// The files of this version.
    ///
    /// # Errors
    /// [`Error::Table`] if the table is not loaded, which would be a defect.
    pub(crate) fn files(&self) -> Result<Vec<DataFile>, Error> {
        let files = self.delta.snapshot()?.log_data();
        Ok(files
            .iter()
            .map(|view| DataFile {
                path: view.path().into_owned(),
                bytes: u64::try_from(view.size()).unwrap_or(0),
                rows: view.num_records().map(|rows| rows as u64),
                added: Timestamp::from_unix_us(view.modification_time().saturating_mul(1000)),
                partition: view.partition_values_map(),
                stats: view.stats(),
                holed: view.deletion_vector_descriptor().is_some(),
                remove: view.remove_action(true),
            })
            .collect())
    }

    /// Commits a change to the newest version. Safe to call again after an error.
    ///
    /// # Errors
    /// [`Error::Conflict`] if its premises do not hold any more: then nothing was committed, and its files are left for vacuum.
    /// [`Error::Table`] if the store failed: then it may or may not have been committed.
    ///
    /// # Cancel safety
    /// As after an error: it may or may not have been committed.
    pub(crate) async fn commit(&self, change: &Change, stamp: Stamp) -> Result<Committed, Error> {
        self.commit_on(None, change, stamp).await
    }

    /// Commits a change, on one version only if it rests on all that this has; as [`Self::commit`].
    ///
    /// # Errors
    /// As [`Self::commit`]; [`Error::Conflict`] also if the version is no longer the newest.
    pub(crate) async fn commit_on(&self, version: Option<u64>, change: &Change, stamp: Stamp) -> Result<Committed, Error> {
        let mut lake = self.clone();
        for _ in 0..Self::ATTEMPTS {
            // Also the answer to an earlier attempt that was reported as failed.
            lake = lake.newest().await?;
            if lake.holds(change).await? {
                return Ok(Committed::Before(lake));
            }
            if version.is_some_and(|version| version != lake.version()) {
                return Err(Error::Conflict {
                    url: self.delta.table_url().to_string(),
                    reason: "others committed what it has to be held against".into(),
                });
            }
            match lake.write(change, stamp).await {
                Ok(()) => return Ok(Committed::Now(lake.newest().await?)),
                // Another writer took the version, or this one did and was not told.
                Err(TransactionError::VersionAlreadyExists(_)) => {}
                Err(error) => return Err(Error::Table(error.into())),
            }
        }
        Err(Error::Conflict {
            url: self.delta.table_url().to_string(),
            reason: format!("{} commits of others came first", Self::ATTEMPTS),
        })
    }

    /// Whether this version has the change already; if it has not, the premises are checked.
    async fn holds(&self, change: &Change) -> Result<bool, Error> {
        let conflict = |reason: String| Error::Conflict {
            url: self.delta.table_url().to_string(),
            reason,
        };
        if !change.moves.is_empty() {
            let mut done = 0;
            for step in &change.moves {
                let found = self.transaction(&step.id).await?;
                let below = found.is_none_or(|found| found < step.to);
                match step.from {
                    None if !below => done += 1,
                    Some(_) if found == Some(step.to) => done += 1,
                    Some(from) if found != from => {
                        return Err(conflict(format!("transaction {} is at {found:?}, not at {from:?}", step.id)));
                    }
                    _ => {}
                }
            }
            if done == change.moves.len() {
                return Ok(true);
            }
            if done > 0 {
                return Err(conflict("some of its transactions were moved by others".into()));
            }
        }
        if !change.removes.is_empty() {
            let there: HashSet<String> = {
                let files = self.delta.snapshot()?.log_data();
                files.iter().map(|view| view.path().into_owned()).collect()
            };
            let gone = change.removes.iter().filter(|file| !there.contains(&file.path)).count();
            let added = change.adds.iter().filter(|add| there.contains(&add.path)).count();
            // Without a file of its own, a change cannot tell its own removals from another's: whoever repeats it reads the table anew.
            if added > 0 && gone == change.removes.len() && added == change.adds.len() {
                return Ok(true);
            }
            if gone > 0 {
                return Err(conflict(format!(
                    "{gone} of the files that it replaces are no longer part of the table"
                )));
            }
        }
        Ok(false)
    }

    /// Writes the version after this one.
    async fn write(&self, change: &Change, stamp: Stamp) -> Result<(), TransactionError> {
        let failed = |error: DeltaTableError| match error {
            DeltaTableError::Transaction { source } => source,
            other => TransactionError::LogStoreError {
                msg: "the commit could not be prepared".into(),
                source: Box::new(other),
            },
        };
        let log_store = self.delta.log_store();
        let snapshot = self.delta.snapshot().map_err(failed)?;
        let mut info = change.operation.get_commit_info();
        info.timestamp = Some(stamp.millis());
        info.is_blind_append = Some(change.removes.is_empty() && change.data_change);
        info.engine_info = Some(format!("tollgate {}", env!("CARGO_PKG_VERSION")));
        info.read_version = Some(self.version());
        let removes = change.removes.iter().map(|file| {
            Action::Remove(Remove {
                data_change: change.data_change,
                deletion_timestamp: Some(stamp.millis()),
                ..file.remove.clone()
            })
        });
        let adds = change.adds.iter().map(|add| {
            Action::Add(Add {
                data_change: change.data_change,
                ..add.clone()
            })
        });
        let actions = [Action::CommitInfo(info)].into_iter().chain(removes).chain(adds).collect();
        let moves = change
            .moves
            .iter()
            .map(|step| Transaction::new_with_last_update(&step.id, step.to, Some(stamp.millis())))
            .collect();
        let properties = CommitProperties::default().with_application_transactions(moves);
        let prepared = CommitBuilder::from(properties)
            .with_actions(actions)
            .with_operation_id(stamp.id)
            .build(Some(snapshot), Arc::clone(&log_store), change.operation.clone())
            .into_prepared_commit_future()
            .await
            .map_err(failed)?;
        let entry = prepared.commit_or_bytes().clone();
        log_store.write_commit_entry(self.version() + 1, entry, stamp.id).await
    }
}

/// Loads the table's newest version; it has none if there is no table.
async fn load(location: &Location) -> Result<DeltaTable, Error> {
    let mut table = location.table()?;
    match table.load().await {
        Ok(()) | Err(DeltaTableError::NotATable(_)) => Ok(table),
        Err(error) => Err(error.into()),
    }
}
