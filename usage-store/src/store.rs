//! The store: opens the data directory, recovers what a crash left, flushes, and shows one snapshot to SQL.
//!
//! # Layout of the data directory
//! - `lock`: held by the process that has the directory open.
//! - `instance`: name of the gateway whose log this is.
//! - `wal/`: the write-ahead log ([`crate::wal`]).
//! - `committed`: what is known of the table while that cannot be reached ([`crate::anchor`]).
//! - `usage/`: the table, unless it is configured elsewhere.
//! - `prices/`: every version of every price list that was ever in force here.

#[cfg(test)]
mod faults;
mod flush;
#[cfg(test)]
mod formats;
pub(crate) mod import;
#[cfg(test)]
pub(crate) mod tests;

use std::any::Any;
use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tollgate_record::rule::{Budget, RateLimit};
use tollgate_record::{Ledger, Name, Record, Seq};

use crate::Error;
use crate::anchor::Anchor;
use crate::budgets::{Budgets, RulesError};
use crate::clock::{Clock, System};
use crate::disk::{Disk, Os, replace};
use crate::error::chain;
use crate::exports::Exports;
use crate::history::History;
use crate::hot::{Hot, Piece, Recovering};
use crate::ledger::{Handle, Recorder};
use crate::location::Location;
use crate::priority::{Work, step_back};
use crate::recovery::{Recovered, interrupted};
use crate::results::Sets;
use crate::rollup::Keeper;
use crate::stats::{Counters, Stats};
use crate::table::Table;
use crate::table::lake::Stamp;
use crate::tables::View;
use crate::upkeep::Upkeep;
use crate::wal::segment::Segment;
use crate::wal::{Durability, Log, Options, Start, lock};
use tollgate_alerts::Book;
use tollgate_rating::{LimitBook, PriceBook};

/// How the store works.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data directory.
    pub data: PathBuf,
    /// Where the table lies.
    pub table: Location,
    /// Name of this gateway in its rows.
    pub instance: Name,
    /// When a row counts as written.
    pub durability: Durability,
    /// How long written rows may wait for `fdatasync()` in [`Durability::Process`].
    pub sync_interval: Duration,
    /// Bytes of the log from which on calls are refused; an alarm is raised at half of it.
    pub log_bytes_max: u64,
    /// Rows in memory that start a flush.
    pub flush_rows: usize,
    /// Bytes of the log's newest segment that start a flush.
    pub flush_bytes: u64,
    /// The longest that a row waits for a flush.
    pub flush_interval: Duration,
    /// How the table is kept.
    pub upkeep: Upkeep,
    /// The file system of the data directory.
    pub disk: Arc<dyn Disk>,
    /// Tells the time and names files.
    pub clock: Arc<dyn Clock>,
    /// Whether syncs, flushes and upkeep run by themselves, on threads of the store.
    pub background: bool,
    /// Is shown each row that is written, just before queries see it. Runs on the thread that writes the log, so it must be quick.
    pub on_row: OnRow,
    /// Where alerts of budgets are kept; with none, nobody is told.
    pub alerts: Option<Arc<Book>>,
}

/// Is shown rows.
#[derive(Clone)]
pub struct OnRow(Arc<dyn Fn(&Record) + Send + Sync>);

/// Threads for reading and writing files of the table. What one of them allocated and another thread frees stays with it until it needs memory again or
/// ends, so many of them would hold the memory of many files.
const BLOCKING_THREADS_MAX: usize = 16;
/// How long such a thread lives without work.
const BLOCKING_THREAD_IDLE: Duration = Duration::from_secs(1);

/// The ledger of one gateway.
pub struct Store {
    shared: Arc<Shared>,
    /// Runs flushes, so that they take no thread of the request path. Taken at the end.
    maintenance: Option<tokio::runtime::Runtime>,
    stop: CancellationToken,
    _lock: Box<dyn Any + Send + Sync>,
}

pub(crate) struct Shared {
    config: Config,
    recorder: Arc<Recorder>,
    view: Arc<Mutex<View>>,
    history: Mutex<History>,
    wanted: Arc<Notify>,
    counters: Arc<Counters>,
    /// None if rollups are not kept.
    rollup: Option<Keeper>,
    /// One flush at a time. What is left of earlier rotations: the last row of the older segments, and the first segment still needed then.
    flushing: tokio::sync::Mutex<VecDeque<(Seq, u64)>>,
    /// What the data directory knows of the table; changed by flushes only.
    anchor: Mutex<Anchor>,
    /// The last place that a commit of this data directory may have put into the table.
    places_tried: AtomicU64,
    /// Results of batches that were fetched last.
    results: Sets,
    budgets: Budgets,
    exports: Exports,
}

impl Config {
    /// Default of [`Config::sync_interval`].
    pub const SYNC_INTERVAL: Duration = Duration::from_millis(20);
    /// Default of [`Config::log_bytes_max`]: about 5 million calls.
    pub const LOG_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
    /// Default of [`Config::flush_rows`].
    pub const FLUSH_ROWS: usize = 262_144;
    /// Default of [`Config::flush_bytes`].
    pub const FLUSH_BYTES: u64 = 256 * 1024 * 1024;
    /// Default of [`Config::flush_interval`].
    pub const FLUSH_INTERVAL: Duration = Duration::from_secs(60);

    /// A configuration of defaults for a data directory.
    ///
    /// # Errors
    /// [`Error::Location`] if the directory cannot be named as a URL.
    pub fn new(data: impl Into<PathBuf>, instance: Name) -> Result<Self, Error> {
        let data = data.into();
        let table = Location::parse(&format!("file:{}", data.join("usage").display()))?;
        Ok(Self {
            data,
            table,
            instance,
            durability: Durability::default(),
            sync_interval: Self::SYNC_INTERVAL,
            log_bytes_max: Self::LOG_BYTES_MAX,
            flush_rows: Self::FLUSH_ROWS,
            flush_bytes: Self::FLUSH_BYTES,
            flush_interval: Self::FLUSH_INTERVAL,
            upkeep: Upkeep::default(),
            disk: Arc::new(Os),
            clock: Arc::new(System),
            background: true,
            on_row: OnRow::new(|_| {}),
            alerts: None,
        })
    }
}

impl Config {
    /// Rows that wait for a table as columns; those beyond are packed.
    fn unpacked_rows_max(&self) -> usize {
        self.flush_rows.saturating_mul(2)
    }
}

// === impl OnRow ===

impl OnRow {
    /// Calls `watch` with each row.
    pub fn new(watch: impl Fn(&Record) + Send + Sync + 'static) -> Self {
        Self(Arc::new(watch))
    }
}

impl fmt::Debug for OnRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnRow")
    }
}

// === impl Store ===

impl Store {
    /// The longest that a start waits for a table that it has seen before.
    const TABLE_WAIT: Duration = Duration::from_secs(10);
    /// The longest that an end waits for upkeep that is in the middle of something.
    const CALM_WAIT: Duration = Duration::from_secs(3);
    /// The longest that a failed flush waits before it is tried again.
    const RETRY_MAX: Duration = Duration::from_secs(30);

    /// Opens the data directory, and records what a crash left open as `interrupted`.
    ///
    /// # Errors
    /// [`Error::InUse`] if another process has it, [`Error::Damaged`] if the log is damaged, and what the file system or the table say.
    ///
    /// # Panics
    /// Outside of a Tokio runtime, on which rows are then written.
    pub async fn open(config: Config, prices: PriceBook) -> Result<Self, Error> {
        let request_path = tokio::runtime::Handle::current();
        let folder = config.data.join("wal");
        let disk = Arc::clone(&config.disk);
        disk.create_folder(&folder).map_err(Error::io("create", &folder))?;
        let lock_file = lock_directory(&*disk, &config.data)?;
        disk.sync_folder(&config.data).map_err(Error::io("sync", &config.data))?;
        let anchor = Anchor::read(&*disk, &config.data, &config.instance, &config.table)?;
        let table = open_table(&config, anchor.is_some()).await?;
        let mut history = History::open(Arc::clone(&disk), &config.data)?;
        history.add(&prices)?;

        let (table, recovered, chunks) = recover(&config, &folder, table, anchor.as_ref(), &prices).await?;
        let known = anchor.as_ref().map_or(Seq::ZERO, Anchor::seq);
        let committed = match table.is_open() {
            true => table.committed(&config.instance).await?,
            false => known,
        };
        // A table that was restored from a copy has fewer rows than it had; their places are not given again.
        let last_seq = recovered.last_seq.max(committed).max(known);
        let anchor = match anchor {
            Some(anchor) if !table.is_open() => anchor.unseen(last_seq),
            _ => Anchor::seen(&config.instance, &config.table, committed),
        };
        anchor.write(&*disk, &config.data)?;
        let view = Arc::new(Mutex::new(View {
            hot: Hot::recovered(chunks),
            table,
            hourly: None,
        }));
        let wanted = Arc::new(Notify::new());
        let budgets = Budgets::default();
        let sink = {
            let (view, wanted, rows_max) = (Arc::clone(&view), Arc::clone(&wanted), config.flush_rows);
            let (runtime, engine) = (request_path.clone(), Arc::clone(&budgets.engine));
            let OnRow(on_row) = config.on_row.clone();
            Box::new(move |rows: Vec<Box<Record>>| {
                for row in &rows {
                    on_row(row);
                }
                let (full, rows) = {
                    let mut view = lock(&view);
                    // At the instant at which queries see them, so that a counter is always the sum of its rows.
                    engine.post(rows.iter().map(|row| &**row));
                    let full = view.hot.push(rows);
                    (full, view.hot.rows())
                };
                if let Some(chunk) = full {
                    // Its columns are made now and elsewhere, so that memory stays small and no query pays for it.
                    runtime.spawn_blocking(move || chunk.batch());
                }
                if rows >= rows_max {
                    wanted.notify_one();
                }
            })
        };
        let counters = Arc::new(Counters::default());
        let options = Options {
            disk,
            folder,
            durability: config.durability,
            sync_interval: config.background.then_some(config.sync_interval),
            bytes_max: config.log_bytes_max,
            counters: Arc::clone(&counters),
            runtime: request_path,
            sink,
        };
        let start = Start {
            number: recovered.last_segment + 1,
            last_seq,
            older: recovered.segments,
        };
        let log = Log::start(options, start)?;
        let recorder = Arc::new(Recorder {
            instance: config.instance.clone(),
            log,
            prices: ArcSwap::from_pointee(prices),
            warned: Mutex::new(HashSet::new()),
        });
        let interrupts = !recovered.open.is_empty();
        for intent in recovered.open {
            tracing::warn!(call_id = %intent.call_id, "a call was interrupted by the last stop");
            let record = interrupted(&recorder.instance, intent, &recorder.prices.load());
            recorder.record(record).await.map_err(|unavailable| Error::Io {
                action: "record interrupted calls in",
                path: config.data.clone(),
                source: std::io::Error::other(unavailable),
            })?;
        }
        if interrupts {
            // What queries see from now on stays, in either durability: after a power cut these calls would get other places.
            recorder.log.sync()?;
        }
        let rollup = match config
            .background
            .then(|| Keeper::new(&config.table, config.instance.clone()))
            .transpose()
        {
            Ok(keeper) => keeper,
            Err(error) => {
                tracing::warn!(%error, "no hourly rollup is kept");
                None
            }
        };
        let shared = Arc::new(Shared {
            config,
            recorder,
            view,
            history: Mutex::new(history),
            wanted,
            counters,
            rollup,
            flushing: tokio::sync::Mutex::default(),
            anchor: Mutex::new(anchor),
            places_tried: AtomicU64::new(last_seq.get()),
            results: Sets::default(),
            budgets,
            exports: Exports::default(),
        });
        let stop = CancellationToken::new();
        let maintenance = shared.config.background.then(|| maintain(&shared, &stop)).transpose()?;
        Ok(Self {
            shared,
            maintenance,
            stop,
            _lock: lock_file,
        })
    }

    /// The side that records calls.
    pub fn ledger(&self) -> Arc<dyn Ledger> {
        Arc::new(Handle {
            recorder: Arc::clone(&self.shared.recorder),
            shared: Arc::clone(&self.shared),
            threads: self.maintenance.as_ref().map(|threads| threads.handle().clone()),
        })
    }

    /// The side that SQL reads.
    pub fn tables(&self) -> Arc<dyn crate::Tables> {
        Arc::clone(&self.shared) as Arc<dyn crate::Tables>
    }

    /// Replaces the prices for calls admitted from now on.
    ///
    /// # Errors
    /// [`Error::Io`] if the new versions cannot be kept; the old prices stay in force.
    pub fn set_prices(&self, prices: PriceBook) -> Result<(), Error> {
        lock(&self.shared.history).add(&prices)?;
        self.shared.recorder.prices.store(Arc::new(prices));
        Ok(())
    }

    /// Replaces what is known of how much models read and write at most.
    pub fn set_limits(&self, limits: LimitBook) {
        self.shared.budgets.prices.limits.store(Arc::new(limits));
    }

    /// Replaces budgets and rate limits for calls admitted from now on. What a budget has spent is read from the rows before it holds.
    ///
    /// # Errors
    /// [`RulesError::Bad`] if a condition is none; the rules before stay in force.
    pub async fn set_rules(&self, budgets: Vec<Budget>, rates: Vec<RateLimit>) -> Result<(), RulesError> {
        let shared = Arc::clone(&self.shared);
        let Some(maintenance) = self.maintenance.as_ref() else {
            return shared.set_rules(budgets, rates).await;
        };
        let setting = maintenance.spawn(async move { shared.set_rules(budgets, rates).await });
        setting.await.map_err(|_| RulesError::TaskEnded)?
    }

    /// Why no calls can be recorded, if so.
    pub fn unavailable(&self) -> Option<Arc<str>> {
        self.shared.recorder.log.poisoned().map(|unavailable| unavailable.reason)
    }

    pub(crate) fn shared_arc(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// What the store's parts share, for tests that take their steps one by one.
    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Makes everything that was acknowledged durable, as the background does.
    #[cfg(test)]
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.shared.recorder.log.sync()
    }

    /// The counters of budgets: where gateways share them, whoever speaks to the pool needs these, before the first rules are set.
    pub fn budget_engine(&self) -> Arc<tollgate_budget::Engine> {
        Arc::clone(&self.shared.budgets().engine)
    }

    /// How much of each budget's limit its fullest counter has used, in thousandths.
    pub fn fullest_budgets(&self) -> Vec<(Name, u64)> {
        self.shared.budgets().engine.fullest()
    }

    /// What the ledger has done and holds.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Moves all rows that are in memory to the table.
    ///
    /// # Errors
    /// What the table says; the rows stay in memory and in the log.
    pub async fn flush(&self) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let Some(maintenance) = self.maintenance.as_ref() else {
            return shared.flush().await;
        };
        maintenance
            .spawn(async move { shared.flush().await })
            .await
            .map_err(|_| Error::TaskEnded)?
    }

    /// Flushes and closes. Calls that are still open are recorded as `interrupted` by the next start.
    ///
    /// # Errors
    /// What the last flush says; every settled row is in the log all the same.
    pub async fn close(mut self) -> Result<(), Error> {
        self.stop.cancel();
        let flushed = self.flush().await;
        self.shared.recorder.log.close()?;
        if let Some(maintenance) = self.maintenance.take() {
            calm(maintenance.metrics()).await;
            maintenance.shutdown_background();
        }
        flushed
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(maintenance) = self.maintenance.take() {
            // A runtime must not be waited for inside another.
            maintenance.shutdown_background();
        }
    }
}

// === impl Shared ===

impl Shared {
    pub(crate) fn view(&self) -> &Mutex<View> {
        &self.view
    }

    /// Where the table lies.
    pub(crate) fn location(&self) -> &Location {
        &self.config.table
    }

    pub(crate) fn table_url(&self) -> String {
        self.config.table.url().to_string()
    }

    pub(crate) fn history(&self) -> &Mutex<History> {
        &self.history
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    pub(crate) fn exports(&self) -> &Exports {
        &self.exports
    }

    /// The last place that was given.
    pub(crate) fn last_seq(&self) -> Seq {
        let mut stats = Stats::default();
        self.recorder.log.levels(&mut stats);
        Seq::new(stats.last_seq)
    }

    pub(crate) fn alerts(&self) -> Option<&Arc<Book>> {
        self.config.alerts.as_ref()
    }

    pub(crate) fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    pub(crate) fn results(&self) -> &Sets {
        &self.results
    }

    pub(crate) fn upkeep(&self) -> Upkeep {
        self.config.upkeep
    }

    pub(crate) fn rollup(&self) -> Option<&Keeper> {
        self.rollup.as_ref()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn stamp(&self) -> Stamp {
        Stamp::of(&*self.config.clock)
    }

    /// The table as queries see it.
    pub(crate) fn table(&self) -> Table {
        lock(&self.view).table.clone()
    }

    /// Shows queries the table's newest version: what upkeep and other gateways have changed.
    pub(crate) async fn refresh(&self) -> Result<(), Error> {
        let _no_flush = self.flushing.lock().await;
        let table = self.table();
        let newest = table.newest().await?;
        // A flush whose answer was lost may have moved rows that are still in memory: the next flush takes them out of there.
        let instance = &self.config.instance;
        if newest.committed(instance).await? == table.committed(instance).await? {
            lock(&self.view).table = newest;
        }
        Ok(())
    }

    fn stats(&self) -> Stats {
        let mut stats = self.counters.read();
        self.recorder.log.levels(&mut stats);
        self.budgets.levels(&mut stats);
        let view = lock(&self.view);
        stats.hot_rows = view.hot.rows() as u64;
        stats.committed_seq = stats.last_seq.saturating_sub(stats.hot_rows);
        stats.table_version = view.table.version();
        stats
    }
}

/// Starts the threads that flush and keep the table.
fn maintain(shared: &Arc<Shared>, stop: &CancellationToken) -> Result<tokio::runtime::Runtime, Error> {
    let maintenance = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("ledger")
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_keep_alive(BLOCKING_THREAD_IDLE)
        .on_thread_start(|| step_back(Work::Maintenance))
        .enable_all()
        .build()
        .map_err(Error::io("start threads for", &shared.config.data))?;
    maintenance.spawn(Arc::clone(shared).flush_when_due(stop.clone()));
    maintenance.spawn(crate::upkeep::run(Arc::clone(shared), stop.clone()));
    maintenance.spawn(Arc::clone(shared).reconcile_when_due(stop.clone()));
    maintenance.spawn(Arc::clone(shared).look_for_anomalies_when_due(stop.clone()));
    Ok(maintenance)
}

/// Waits until what upkeep was in the middle of has ended, at most [`Store::CALM_WAIT`]. Delta's kernel blocks a thread on tasks of the same runtime, and
/// panics where they are gone before it: a panic that harms nothing and looks like one that does.
async fn calm(tasks: tokio::runtime::RuntimeMetrics) {
    let ended = async {
        let mut quiet = 0;
        // Between two of its tasks there is none for a moment.
        while quiet < 3 {
            quiet = if tasks.num_alive_tasks() == 0 { quiet + 1 } else { 0 };
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    if tokio::time::timeout(Store::CALM_WAIT, ended).await.is_err() {
        tracing::debug!("upkeep of the table was cut off by the end");
    }
}

/// Takes the data directory for this process.
pub(crate) fn lock_directory(disk: &dyn Disk, data: &Path) -> Result<Box<dyn Any + Send + Sync>, Error> {
    let path = data.join("lock");
    let taken = disk.lock(&path).map_err(Error::io("lock", path))?;
    taken.ok_or_else(|| Error::InUse { path: data.to_owned() })
}

/// Opens the table. A start that has seen it before does not wait for it to be reached: flushes do that.
async fn open_table(config: &Config, seen: bool) -> Result<Table, Error> {
    let opening = Table::open(&config.table);
    // Without threads of the store there is nobody who would try again.
    if !seen || !config.background {
        return opening.await;
    }
    let why = match tokio::time::timeout(Store::TABLE_WAIT, opening).await {
        Ok(Err(error @ Error::Table(_))) => chain(&error),
        Ok(opened) => return opened,
        Err(_) => format!("no answer within {} s", Store::TABLE_WAIT.as_secs()),
    };
    tracing::error!(
        table = %config.table.url(),
        error = why,
        "the table cannot be reached: calls are recorded in the log, and it is tried again"
    );
    Table::unopened(&config.table)
}

/// Reads the log; if it is another instance's, moves its rows to the table first, since places count per instance.
async fn recover(
    config: &Config,
    folder: &Path,
    table: Table,
    anchor: Option<&Anchor>,
    prices: &PriceBook,
) -> Result<(Table, Recovered, Vec<Piece>), Error> {
    let disk = &*config.disk;
    let name_file = config.data.join("instance");
    let owner = match disk.read(&name_file) {
        Ok(text) => Some(Name::new(String::from_utf8_lossy(&text).trim()).unwrap_or_else(|_| config.instance.clone())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(Error::io("read", name_file)(error)),
    };
    let named = owner.is_some();
    let owner = owner.unwrap_or_else(|| config.instance.clone());
    let committed = match anchor {
        Some(anchor) if !table.is_open() => anchor.seq(),
        _ => table.committed(&owner).await?,
    };
    if let Some(anchor) = anchor {
        anchor.check(committed)?;
    }
    let mut rows = Recovering::new(config.unpacked_rows_max());
    let mut recovered = Recovered::read(disk, folder, committed, |row| rows.push(row))?;
    recovered.check()?;
    recovered.settle(disk, folder)?;
    let mut table = table;
    if owner != config.instance {
        tracing::info!(%owner, instance = %config.instance, "the gateway was renamed; rows under its old name are moved to the table first");
        let logged = recovered.last_seq;
        let mut last = logged;
        // A table that is ahead of the log has the interrupted calls already.
        if committed <= logged {
            for intent in std::mem::take(&mut recovered.open) {
                let mut record = interrupted(&owner, intent, prices);
                last = last.next();
                record.seq = last;
                rows.push(Box::new(record))?;
            }
        }
        let pieces = rows.finish()?;
        if !pieces.is_empty() {
            let batches = flush::columns(&pieces)?;
            table = table.append(batches, &owner, last, Stamp::of(&*config.clock)).await?;
        }
        for number in recovered.segments.keys() {
            Segment::new(folder, *number).delete(disk)?;
        }
        recovered = Recovered {
            last_segment: recovered.last_segment,
            ..Recovered::default()
        };
        rows = Recovering::new(config.unpacked_rows_max());
    }
    if !named || owner != config.instance {
        let text = format!("{}\n", config.instance);
        replace(disk, &name_file, text.as_bytes()).map_err(Error::io("write", &name_file))?;
    }
    Ok((table, recovered, rows.finish()?))
}
