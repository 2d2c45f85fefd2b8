//! Keeps table `usage_hourly`: adds up what was flushed, catches up with what it lacks, and merges its files.
//!
//! A step does one thing and is bounded: rows that were just flushed, about [`STEP_ROWS`] rows of a file that the rollup lacks, or the
//! files of one day. A table that an earlier version of Tollgate filled is caught up with in such steps.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Date32Type, Schema};
use datafusion::datasource::provider_as_source;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::{SessionConfig, SessionContext, ident, lit};
use deltalake_core::kernel::Add;
use deltalake_core::protocol::DeltaOperation;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use tollgate_record::{Name, Seq};

use super::coverage::Seen;
use super::{Coverage, Hourly, MEASURES, NAME, SUFFIX, columns, hourly_schema};
use crate::Error;
use crate::location::Location;
use crate::parquet::Encoded;
use crate::scan::{Files, Scan};
use crate::schema::{PARTITION, usage_schema};
use crate::table::Table;
use crate::table::lake::{Change, DataFile, Definition, Lake, Move, Stamp};
use crate::table::name::{date, partition};
use crate::table::upkeep::CHECKPOINT_COMMITS;
use crate::table::upload::upload;
use crate::tables::View;
use crate::wal::lock;

/// Rows of table `usage` that one step adds up at most, if files are not larger.
const STEP_ROWS: u64 = 1 << 20;
/// Files that one step looks into for whose rows they have.
const STEP_FILES: usize = 16;
/// Files of a day that are merged when they have become so many.
const DAY_FILES: usize = 16;
/// After so long the rows of another gateway are added up by this one: it should have done it itself.
const ABANDONED_MS: i64 = 10 * 60 * 1_000;
/// Bytes that a step may use; beyond, it spills to disk.
const MEMORY_BYTES: usize = 256 << 20;
/// Columns whose bounds Delta's log has.
const STATS_COLUMNS: &[&str] = &[
    "hour",
    "org",
    "team",
    "project",
    "service",
    "key_id",
    "provider_name",
    "request_model",
    "response_model",
    "outcome",
    "cost_status",
    "currency",
];

/// Rows that were just committed to table `usage`.
pub(crate) struct Flushed {
    /// The rows, in the order of their places.
    pub(crate) batches: Vec<RecordBatch>,
    /// The last place among them.
    pub(crate) last: Seq,
}

/// Keeps the rollup of one gateway's table.
pub(crate) struct Keeper {
    location: Location,
    instance: Name,
    lake: tokio::sync::Mutex<Option<Lake>>,
    seen: Seen,
}

/// What a step adds up.
struct Work {
    instance: String,
    from: Seq,
    to: Seq,
    source: Scan,
}

impl Keeper {
    /// A keeper of the rollup beside a table.
    ///
    /// # Errors
    /// [`Error::Location`] if the table's location has no place beside it.
    pub(crate) fn new(usage: &Location, instance: Name) -> Result<Self, Error> {
        Ok(Self {
            location: usage.beside(SUFFIX)?,
            instance,
            lake: tokio::sync::Mutex::default(),
            seen: Seen::default(),
        })
    }

    /// What it knows of files.
    pub(crate) fn seen(&self) -> Seen {
        Arc::clone(&self.seen)
    }

    /// Does the next thing there is to do, and shows the result to queries. Says whether there is more.
    ///
    /// Must not run while rows are moved from memory to table `usage`.
    ///
    /// # Cancel safety
    /// Nothing is lost: what was not done is done by a later step.
    pub(crate) async fn step(&self, view: &Mutex<View>, flushed: Option<Flushed>, stamp: Stamp) -> bool {
        if !lock(view).table.is_open() {
            // There is: whatever is found when the table can be reached.
            return true;
        }
        match self.try_step(view, flushed, stamp).await {
            Ok(more) => more,
            Err(error) => {
                tracing::warn!(error = %crate::error::chain(&error), "the hourly rollup was not brought forward; queries read raw rows until it is");
                false
            }
        }
    }

    async fn try_step(&self, view: &Mutex<View>, flushed: Option<Flushed>, stamp: Stamp) -> Result<bool, Error> {
        let mut held = self.lake.lock().await;
        let lake = match held.take() {
            Some(lake) => lake.newest().await?,
            None => Lake::open(&self.location, &definition()).await?,
        };
        let usage = lock(view).table.clone();
        let files = usage.scanned()?;
        let coverage = self.coverage(&lake, &files).await?;
        let (lake, more) = if let Some(work) = self.fresh(&coverage, flushed)? {
            (add_up(&lake, work, stamp).await?, false)
        } else if coverage.look_into(&files, STEP_FILES).await? {
            (lake, true)
        } else if let Some(work) = self.lacking(&coverage, &files, stamp)? {
            (add_up(&lake, work, stamp).await?, true)
        } else {
            // What this gateway shows may be older than the rollup, and lack days that another one has added up.
            merge(lake, &usage.newest().await?.scanned()?, stamp).await?
        };
        self.show(view, &usage, &lake).await?;
        *held = Some(lake);
        Ok(more)
    }

    /// The rollup's own upkeep, as that of table `usage`: a checkpoint if one is due; with `rare`, what no version needs is deleted.
    ///
    /// # Errors
    /// What the store says; a later call goes on.
    pub(crate) async fn tend(&self, history: Duration, rare: bool, stamp: Stamp) -> Result<(), Error> {
        // A step that runs meanwhile commits to the same table, which commits are made for.
        let Some(lake) = self.lake.lock().await.clone() else {
            return Ok(());
        };
        lake.set_history(history).await?;
        lake.checkpoint(CHECKPOINT_COMMITS).await?;
        if rare {
            lake.vacuum(history, stamp.now).await?;
            lake.forget_log(history, stamp.now).await?;
        }
        Ok(())
    }

    /// Shows the rollup to queries, with a version of table `usage` that was read after it.
    async fn show(&self, view: &Mutex<View>, usage: &Table, lake: &Lake) -> Result<(), Error> {
        let rolled = Files::of(lake.delta())?;
        let newest = usage.newest().await?;
        // A flush whose answer was lost may have committed rows that are still in memory: the next flush takes them out of there, and
        // then this is shown.
        if newest.committed(&self.instance).await? != usage.committed(&self.instance).await? {
            return Ok(());
        }
        let usage = newest;
        let coverage = self.coverage(lake, &usage.scanned()?).await?;
        let mut view = lock(view);
        if usage.version() > view.table.version() {
            view.table = usage;
        }
        view.hourly = Some(Hourly { files: rolled, coverage });
        Ok(())
    }

    async fn coverage(&self, lake: &Lake, usage: &Files) -> Result<Coverage, Error> {
        let coverage = Coverage::read(lake, usage, Arc::clone(&self.seen), Some(&self.instance)).await?;
        let there: BTreeSet<&str> = usage.paths().collect();
        lock(&self.seen).retain(|path, _| there.contains(path.as_str()));
        Ok(coverage)
    }

    /// What was just flushed, if it follows what the rollup has.
    fn fresh(&self, coverage: &Coverage, flushed: Option<Flushed>) -> Result<Option<Work>, Error> {
        let Some(Flushed { batches, last }) = flushed else {
            return Ok(None);
        };
        let from = coverage.of(self.instance.as_str());
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        // Places have no gaps: these are all rows beyond `from` if they are as many as there are places.
        if last.get().checked_sub(from.get()) != u64::try_from(rows).ok() {
            return Ok(None);
        }
        Ok(Some(Work {
            instance: self.instance.to_string(),
            from,
            to: last,
            source: Scan::new("usage", &usage_schema(), None, batches),
        }))
    }

    /// The next rows that the rollup lacks, all of one instance. Every file's content is known.
    fn lacking(&self, coverage: &Coverage, files: &Files, stamp: Stamp) -> Result<Option<Work>, Error> {
        let now_ms = stamp.now.unix_us() / 1_000;
        // Of each instance: the last place in a file, the first if it is known, the rows, the path.
        let mut lacking: BTreeMap<String, Vec<(Seq, Seq, u64, String)>> = BTreeMap::new();
        // Whose rows came, or were compacted, a moment ago. All of an instance's are left then: those behind a file that is left would never be added.
        let mut active = BTreeSet::new();
        for file in files.places() {
            for (instance, last) in coverage.content(&file).unwrap_or_default() {
                if last > coverage.of(&instance) {
                    if instance != self.instance.as_str() && now_ms - file.added_ms <= ABANDONED_MS {
                        active.insert(instance.clone());
                    }
                    let first = file.first.unwrap_or(Seq::ZERO);
                    let rows = file.rows.unwrap_or(STEP_ROWS);
                    lacking
                        .entry(instance)
                        .or_default()
                        .push((last, first, rows, file.path.to_owned()));
                }
            }
        }
        lacking.retain(|instance, _| !active.contains(instance));
        let chosen = lacking.remove_entry(self.instance.as_str()).or_else(|| lacking.pop_first());
        let Some((instance, mut lacking)) = chosen else {
            return Ok(None);
        };
        lacking.sort();
        let mut rows = 0;
        let within = lacking.iter().take_while(|(_, _, more, _)| {
            let takes = rows == 0 || rows + more <= STEP_ROWS;
            rows += more;
            takes
        });
        let Some(to) = within.last().map(|(last, ..)| *last) else {
            return Ok(None);
        };
        let from = coverage.of(&instance);
        // Files of one flush, and compacted ones, overlap: whatever has a place up to `to` is read.
        let wanted: BTreeSet<_> = lacking
            .iter()
            .filter(|(_, first, ..)| *first <= to)
            .map(|(.., path)| path.as_str())
            .collect();
        let chosen = files.only(|path| wanted.contains(path))?;
        Ok(Some(Work {
            source: Scan::new("usage", &usage_schema(), Some(chosen), Vec::new()),
            instance,
            from,
            to,
        }))
    }
}

/// What table `usage_hourly` is when it is created.
pub(super) fn definition() -> Definition {
    Definition {
        name: NAME,
        comment: "calls of an hour added up; a row is a part: add up the parts of an hour",
        schema: hourly_schema(),
        partition: &[PARTITION],
        properties: vec![("delta.dataSkippingStatsColumns".to_owned(), STATS_COLUMNS.join(","))],
    }
}

/// Adds rows up, appends the sums and moves the instance's transaction, in one commit.
async fn add_up(lake: &Lake, work: Work, stamp: Stamp) -> Result<Lake, Error> {
    let Work {
        instance,
        from,
        to,
        source,
    } = work;
    let place = |seq: Seq| i64::try_from(seq.get()).unwrap_or(i64::MAX);
    let filter = [
        ident("instance").eq(lit(instance.as_str())),
        ident("seq").gt(lit(place(from))),
        ident("seq").lt_eq(lit(place(to))),
    ];
    let plan = LogicalPlanBuilder::scan("usage", provider_as_source(Arc::new(source)), None)
        .and_then(|plan| match conjunction(filter) {
            Some(filter) => plan.filter(filter),
            None => Ok(plan),
        })
        .and_then(columns::rolled_up)
        .and_then(columns::sorted)
        .map_err(Error::query)?;
    let adds = write(lake, run(plan).await?, stamp).await?;
    let moved = Move {
        id: instance.clone(),
        from: Some((from > Seq::ZERO).then(|| place(from))),
        to: place(to),
    };
    let change = Change::append(PARTITION, adds, moved);
    let lake = lake.commit(&change, stamp).await?.lake();
    tracing::debug!(
        instance,
        from = from.get(),
        to = to.get(),
        version = lake.version(),
        "rows were added up by the hour"
    );
    Ok(lake)
}

/// Puts the files of the day that needs it most together. Says whether another day needs it. Table `usage` was read after the rollup.
async fn merge(lake: Lake, usage: &Files, stamp: Stamp) -> Result<(Lake, bool), Error> {
    let mut days: HashMap<String, Vec<DataFile>> = HashMap::new();
    for file in lake.files()? {
        if let Some(day) = file.partition.get(PARTITION).cloned().flatten() {
            days.entry(day).or_default().push(file);
        }
    }
    let there: BTreeSet<_> = usage.days().into_iter().map(date).collect();
    let newest = days.keys().max().cloned();
    // Rows leave table `usage` by whole days, when their retention ends. The newest day stays: the rows of it may be in memory.
    let expired = days.extract_if(|day, _| !there.contains(day) && Some(day) != newest.as_ref());
    let removes: Vec<_> = expired.flat_map(|(_, files)| files).collect();
    if !removes.is_empty() {
        let change = Change {
            operation: DeltaOperation::Delete { predicate: None },
            adds: Vec::new(),
            removes,
            moves: Vec::new(),
            data_change: true,
        };
        return Ok((lake.commit(&change, stamp).await?.lake(), true));
    }
    // Yesterday may still grow: calls that began before midnight end after it.
    let settled = date(stamp.now.day() - 1);
    days.retain(|day, files| files.len() >= DAY_FILES || (*day < settled && files.len() > 1));
    let more = days.len() > 1;
    let Some((_, removes)) = days.into_iter().max_by_key(|(_, files)| files.len()) else {
        return Ok((lake, false));
    };
    let paths: BTreeSet<_> = removes.iter().map(|file| file.path.as_str()).collect();
    let files = Files::of(lake.delta())?.only(|path| paths.contains(path))?;
    let scan = Scan::new(NAME, &hourly_schema(), Some(files), Vec::new());
    let plan = LogicalPlanBuilder::scan(NAME, provider_as_source(Arc::new(scan)), None)
        .and_then(columns::merged)
        .and_then(columns::sorted)
        .map_err(Error::query)?;
    let adds = write(&lake, run(plan).await?, stamp).await?;
    let change = Change {
        operation: DeltaOperation::Optimize {
            predicate: None,
            target_size: 0,
        },
        adds,
        removes,
        moves: Vec::new(),
        data_change: false,
    };
    Ok((lake.commit(&change, stamp).await?.lake(), more))
}

/// Runs a plan on this thread, within bounds.
pub(super) async fn run(plan: LogicalPlan) -> Result<Vec<RecordBatch>, Error> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_limit(MEMORY_BYTES, 1.0)
        .build_arc()
        .map_err(Error::query)?;
    let context = SessionContext::new_with_config_rt(SessionConfig::new().with_target_partitions(1), runtime);
    let frame = context.execute_logical_plan(plan).await.map_err(Error::query)?;
    frame.collect().await.map_err(Error::query)
}

/// Writes rows that are sorted by day, a file a day.
pub(super) async fn write(lake: &Lake, batches: Vec<RecordBatch>, stamp: Stamp) -> Result<Vec<Add>, Error> {
    let Some(schema) = batches.first().map(RecordBatch::schema) else {
        return Ok(Vec::new());
    };
    let rows = concat_batches(&schema, &batches)?;
    let days = rows
        .column_by_name(PARTITION)
        .map(|days| days.as_primitive::<Date32Type>().clone());
    let mut adds = Vec::new();
    let mut start = 0;
    for part in days
        .iter()
        .flat_map(|days| days.values().chunk_by(|left, right| left == right))
    {
        let (Some(day), rows) = (part.first(), rows.slice(start, part.len())) else {
            continue;
        };
        start += part.len();
        let (file, schema) = encode(&rows)?;
        let path = format!("{}/hourly-{}.parquet", partition(*day), stamp.id);
        let values = HashMap::from([(PARTITION.to_owned(), Some(date(*day)))]);
        adds.push(upload(&lake.store(), path, values, file, &schema, STATS_COLUMNS, stamp).await?);
    }
    Ok(adds)
}

/// How files are encoded: names by dictionary, since rows are sorted by them; sums, which hardly repeat, by what differs from the
/// neighbour's, and amounts plain. Reports read whole files, so there are no statistics of pages to read first.
fn properties() -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_created_by(format!("tollgate {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Chunk);
    for measure in MEASURES {
        let encoding = match measure.data_type() {
            DataType::Decimal128(..) => Encoding::PLAIN,
            _ => Encoding::DELTA_BINARY_PACKED,
        };
        let column = ColumnPath::from(measure.name);
        builder = builder
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, encoding);
    }
    builder.build()
}

/// Rows of one day as a file, in the types of the table.
fn encode(rows: &RecordBatch) -> Result<(Encoded, Schema), Error> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for field in hourly_schema().fields().iter().filter(|field| field.name() != PARTITION) {
        let column = rows
            .column_by_name(field.name())
            .ok_or_else(|| arrow::error::ArrowError::SchemaError(format!("the rollup lacks column {}", field.name())))?;
        columns.push(cast(column, field.data_type())?);
        fields.push(Arc::clone(field));
    }
    let schema = Schema::new(fields);
    let rows = RecordBatch::try_new(Arc::new(schema.clone()), columns)?;
    let properties = properties();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), Some(properties))?;
    writer.write(&rows)?;
    let metadata = writer.close()?;
    let bytes = bytes.into();
    Ok((Encoded { bytes, metadata }, schema))
}
