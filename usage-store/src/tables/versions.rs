//! The history of the table: table `versions`, and which version was the newest at a time.
//!
//! It is read from the commits in Delta's log, a file each, when a query asks. A commit never changes, so each is read once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex};

use arrow::array::{ArrayRef, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use deltalake_core::logstore::LogStoreRef;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::Deserialize;

use crate::Error;
use crate::wal::lock;

/// Commits that are read at once.
const READS: usize = 32;
/// Commits that are remembered: a year of one a minute is half a million, of which a query rarely wants all.
const REMEMBERED: usize = 100_000;
const LOG: &str = "_delta_log";

/// What a commit did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Commit {
    time_ms: Option<i64>,
    operation: Option<String>,
    rows_added: i64,
    files_added: i64,
    files_removed: i64,
    bytes_added: i64,
    instance: Option<String>,
    last_seq: Option<i64>,
}

/// The history of one table.
#[derive(Clone)]
pub(crate) struct Versions {
    log: LogStoreRef,
    known: Arc<Mutex<BTreeMap<u64, Arc<Commit>>>>,
}

/// What is in the log's folder.
#[derive(Debug, Default)]
pub(super) struct Listed {
    commits: BTreeSet<u64>,
    checkpoints: BTreeSet<u64>,
}

// === impl Listed ===

impl Listed {
    fn add(&mut self, name: &str) {
        let Some((digits, rest)) = name.split_once('.') else { return };
        let Ok(version) = digits.parse() else { return };
        if rest == "json" {
            self.commits.insert(version);
        } else if rest.starts_with("checkpoint.") {
            self.checkpoints.insert(version);
        }
    }

    /// The versions that can be read: those from which commits lead back to a checkpoint, or to the first.
    pub(super) fn readable(&self) -> BTreeSet<u64> {
        let mut readable = BTreeSet::new();
        for version in self.commits.union(&self.checkpoints) {
            let follows = *version == 0 || readable.contains(&(version - 1));
            if self.checkpoints.contains(version) || (follows && self.commits.contains(version)) {
                readable.insert(*version);
            }
        }
        readable
    }
}

/// Version numbers for people: the ranges without gaps.
pub(super) fn ranges(versions: &BTreeSet<u64>) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for version in versions {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *version => *last = *version,
            _ => ranges.push((*version, *version)),
        }
    }
    let texts = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first} to {last}"),
    });
    texts.collect::<Vec<_>>().join(", ")
}

// === impl Versions ===

impl Versions {
    pub(crate) fn of(log: LogStoreRef) -> Self {
        Self {
            log,
            known: Arc::default(),
        }
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        self.log.object_store(None)
    }

    /// What is in the log's folder now.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn listed(&self) -> Result<Listed, Error> {
        let store = self.store();
        let folder = Path::from(LOG);
        let mut files = store.list(Some(&folder));
        let mut listed = Listed::default();
        while let Some(file) = files.try_next().await.map_err(deltalake_core::DeltaTableError::from)? {
            // Folders in it belong to other engines.
            if file.location.parts_count() == folder.parts_count() + 1 {
                listed.add(file.location.filename().unwrap_or_default());
            }
        }
        Ok(listed)
    }

    /// What a version's commit did; none if the log was cleaned up beyond it.
    async fn commit(&self, version: u64) -> Result<Option<Arc<Commit>>, Error> {
        if let Some(known) = lock(&self.known).get(&version) {
            return Ok(Some(Arc::clone(known)));
        }
        let path = Path::from(format!("{LOG}/{version:020}.json"));
        let bytes = match self.store().get(&path).await {
            Ok(found) => found.bytes().await.map_err(deltalake_core::DeltaTableError::from)?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(deltalake_core::DeltaTableError::from(error).into()),
        };
        let commit = Arc::new(Commit::read(&bytes));
        let mut known = lock(&self.known);
        if known.len() >= REMEMBERED {
            known.pop_first();
        }
        known.insert(version, Arc::clone(&commit));
        Ok(Some(commit))
    }

    /// The newest version that was committed at `time_ms` (milliseconds since 1970) or before, among `versions`.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn at(&self, versions: &BTreeSet<u64>, time_ms: i64) -> Result<Option<u64>, Error> {
        // Times rise with versions, as far as the clocks of those who commit agree.
        let versions: Vec<_> = versions.iter().copied().collect();
        let (mut low, mut high) = (0, versions.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            let version = versions.get(middle).copied().unwrap_or_default();
            let time = self.commit(version).await?.and_then(|commit| commit.time_ms);
            // A checkpoint whose commit is gone is older than any that is there.
            match time.is_none_or(|time| time <= time_ms) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        Ok(low.checked_sub(1).and_then(|index| versions.get(index)).copied())
    }

    async fn rows(&self, limit: Option<usize>) -> Result<RecordBatch, Error> {
        let versions = self.listed().await?.readable();
        let newest = versions.into_iter().rev().take(limit.unwrap_or(usize::MAX));
        let commits: Vec<_> = stream::iter(newest)
            .map(async |version| Ok::<_, Error>((version, self.commit(version).await?)))
            .buffered(READS)
            .try_collect()
            .await?;
        Ok(batch(
            commits.into_iter().filter_map(|(version, commit)| Some((version, commit?))),
        )?)
    }
}

// === impl Commit ===

#[derive(Deserialize)]
struct Line {
    add: Option<Added>,
    remove: Option<serde::de::IgnoredAny>,
    txn: Option<Moved>,
    #[serde(rename = "commitInfo")]
    info: Option<Info>,
}

#[derive(Deserialize)]
struct Added {
    size: i64,
    #[serde(rename = "dataChange")]
    data_change: bool,
    stats: Option<String>,
}

#[derive(Deserialize)]
struct Counted {
    #[serde(rename = "numRecords")]
    records: i64,
}

#[derive(Deserialize)]
struct Moved {
    #[serde(rename = "appId")]
    app: String,
    version: i64,
}

#[derive(Deserialize)]
struct Info {
    timestamp: Option<i64>,
    operation: Option<String>,
}

impl Commit {
    /// Reads a commit's file: an action a line. What is not known of it is passed over.
    fn read(bytes: &Bytes) -> Self {
        let mut commit = Self::default();
        for line in bytes.split(|byte| *byte == b'\n') {
            let Ok(line) = serde_json::from_slice::<Line>(line) else {
                continue;
            };
            if let Some(add) = line.add {
                commit.files_added += 1;
                commit.bytes_added += add.size;
                let counted = add.stats.and_then(|stats| serde_json::from_str::<Counted>(&stats).ok());
                // Files that only take the place of others bring no rows.
                commit.rows_added += counted.filter(|_| add.data_change).map_or(0, |counted| counted.records);
            }
            commit.files_removed += i64::from(line.remove.is_some());
            if let Some(Moved { app, version }) = line.txn {
                (commit.instance, commit.last_seq) = (Some(app), Some(version));
            }
            if let Some(Info { timestamp, operation }) = line.info {
                (commit.time_ms, commit.operation) = (timestamp, operation);
            }
        }
        commit
    }
}

/// The columns of table `versions`: name, type, meaning.
pub(crate) const COLUMNS: [(&str, DataType, &str); 9] = [
    (
        "version",
        DataType::Int64,
        "Number of the version. The first, 0, made the table.",
    ),
    (
        "time",
        DataType::Utf8,
        "When it was committed, by the clock of the gateway that did.",
    ),
    (
        "operation",
        DataType::Utf8,
        "What the commit did: `WRITE` appended rows, `OPTIMIZE` put files together.",
    ),
    (
        "rows_added",
        DataType::Int64,
        "Rows that it brought; 0 where files only took the place of others.",
    ),
    ("files_added", DataType::Int64, "Files that it added."),
    ("files_removed", DataType::Int64, "Files that it removed."),
    ("bytes_added", DataType::Int64, "Bytes of the files that it added."),
    ("instance", DataType::Utf8, "Gateway whose rows it brought."),
    (
        "last_seq",
        DataType::Int64,
        "Place of the last of those rows: the table has all rows of the gateway up to it.",
    ),
];

fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let fields = COLUMNS.into_iter().map(|(name, kind, _)| match name {
            "time" => Field::new(name, time.clone(), true),
            name => Field::new(name, kind, !matches!(name, "version")),
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    });
    Arc::clone(&SCHEMA)
}

fn batch(commits: impl Iterator<Item = (u64, Arc<Commit>)>) -> Result<RecordBatch, arrow::error::ArrowError> {
    let mut version = Int64Builder::new();
    let mut time = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    let mut operation = StringBuilder::new();
    let mut counts: [Int64Builder; 4] = Default::default();
    let mut instance = StringBuilder::new();
    let mut last_seq = Int64Builder::new();
    for (number, commit) in commits {
        version.append_value(i64::try_from(number).unwrap_or(i64::MAX));
        time.append_option(commit.time_ms.map(|time| time.saturating_mul(1_000)));
        operation.append_option(commit.operation.as_deref());
        let values = [
            commit.rows_added,
            commit.files_added,
            commit.files_removed,
            commit.bytes_added,
        ];
        counts
            .iter_mut()
            .zip(values)
            .for_each(|(count, value)| count.append_value(value));
        instance.append_option(commit.instance.as_deref());
        last_seq.append_option(commit.last_seq);
    }
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(version.finish()),
        Arc::new(time.finish()),
        Arc::new(operation.finish()),
    ];
    columns.extend(counts.iter_mut().map(|count| Arc::new(count.finish()) as ArrayRef));
    columns.push(Arc::new(instance.finish()));
    columns.push(Arc::new(last_seq.finish()));
    RecordBatch::try_new(schema(), columns)
}

// === impl TableProvider ===

impl fmt::Debug for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Versions").finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl TableProvider for Versions {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let rows = self.rows(limit).await?;
        Ok(MemorySourceConfig::try_new_exec(
            &[vec![rows]],
            schema(),
            projection.cloned(),
        )?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_readable_if_commits_lead_back_to_a_checkpoint_or_the_first() {
        let mut listed = Listed::default();
        for name in [
            "00000000000000000003.json",
            "00000000000000000010.checkpoint.parquet",
            "00000000000000000010.json",
            "00000000000000000011.json",
            "00000000000000000013.json",
            "_last_checkpoint",
            "00000000000000000012.json.tmp",
        ] {
            listed.add(name);
        }
        assert_eq!(ranges(&listed.readable()), "10 to 11");
        listed.add("00000000000000000012.json");
        assert_eq!(ranges(&listed.readable()), "10 to 13");
        let mut whole = Listed::default();
        whole.add("00000000000000000000.json");
        whole.add("00000000000000000001.json");
        whole.add("00000000000000000005.checkpoint.0000000001.0000000002.parquet");
        assert_eq!(ranges(&whole.readable()), "0 to 1, 5");
    }

    #[test]
    fn a_commit_is_read_by_its_actions() {
        let text = r#"{"commitInfo":{"timestamp":1700000000123,"operation":"WRITE","other":{"a":1}}}
{"txn":{"appId":"gw","version":7}}
{"add":{"path":"a","size":10,"dataChange":true,"stats":"{\"numRecords\":3}"}}
{"add":{"path":"b","size":20,"dataChange":false,"stats":"{\"numRecords\":9}"}}
{"remove":{"path":"c"}}

not json"#;
        let commit = Commit::read(&Bytes::from(text));
        let expected = Commit {
            time_ms: Some(1_700_000_000_123),
            operation: Some("WRITE".into()),
            rows_added: 3,
            files_added: 2,
            files_removed: 1,
            bytes_added: 30,
            instance: Some("gw".into()),
            last_seq: Some(7),
        };
        assert_eq!(commit, expected);
    }
}
