//! The engine: admits queries, runs each as one task on threads of its own, and gives out rows as they are taken.
//!
//! Invariants:
//! 1. A query holds one slot from its admission until it holds nothing else, however it ends. Telling its caller so needs no slot.
//! 2. A query's task ends when its caller drops the [`Answer`], when a limit is reached, and when the engine shuts down.
//! 3. No work of a query runs on the caller's threads: those carry requests to providers. Where both want a core, requests get it first.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tollgate_record::Timestamp;
use tollgate_usage_store::Tables;
use tollgate_usage_store::budgets::{Proof, Unproved};
use tollgate_usage_store::priority::{Work, step_back};

use crate::answer::Item;
use crate::spill::SpillDir;
use crate::stats::{Counters, add, read};
use crate::{Answer, Error, Limits, Params, Stats, check, plain, session};

/// Batches that wait for the caller.
const BATCHES_WAITING: usize = 2;
/// Stack of a query thread. Only what is touched costs memory; a statement of 128 KiB can nest its syntax tree 60,000 deep.
const STACK_BYTES: usize = 256 << 20;
/// What a refused caller is told to wait.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// How much longer than the time limit the caller waits for a task that is deep in planning, where it cannot be interrupted.
const TIMEOUT_SLACK: Duration = Duration::from_secs(1);

/// One statement and the values of its placeholders.
#[derive(Clone, Debug)]
pub struct Query {
    sql: String,
    params: Params,
}

impl Query {
    /// Makes a query without placeholders.
    pub fn new(sql: impl Into<String>) -> Self {
        Self {
            sql: sql.into(),
            params: Params::default(),
        }
    }

    /// Gives values to its placeholders.
    #[must_use]
    pub fn with_params(self, params: Params) -> Self {
        Self { params, ..self }
    }
}

/// Runs read-only SQL over the tables, bounded in time, memory, rows and number.
pub struct Engine {
    shared: Arc<Shared>,
    handle: Handle,
    // Taken once, by shutdown or drop.
    runtime: Mutex<Option<Runtime>>,
}

struct Shared {
    tables: Arc<dyn Tables>,
    base: SessionState,
    limits: Limits,
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    running: watch::Sender<usize>,
    counters: Counters,
    ids: AtomicU64,
    closing: CancellationToken,
    _spill: SpillDir,
}

impl Engine {
    /// Starts the engine's threads and prepares its folder for spill files.
    ///
    /// # Errors
    /// [`Error::SpillDir`], [`Error::Threads`], and [`Error::Internal`] if the query engine refuses its own configuration.
    pub fn new(tables: Arc<dyn Tables>, limits: Limits) -> Result<Self, Error> {
        let spill = SpillDir::create(&limits.spill_dir).map_err(|error| Error::SpillDir {
            path: limits.spill_dir.display().to_string(),
            source: Arc::new(error),
        })?;
        let base = session::base(&limits, &spill).map_err(|error| Error::internal(error.strip_backtrace()))?;
        let runtime = Builder::new_multi_thread()
            .thread_name("query")
            .on_thread_start(|| step_back(Work::Queries))
            .worker_threads(limits.threads.max(1))
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|error| Error::Threads { source: Arc::new(error) })?;
        let shared = Shared {
            tables,
            base,
            slots: Arc::new(Semaphore::new(limits.concurrency.max(1))),
            limits,
            waiting: AtomicUsize::new(0),
            running: watch::Sender::new(0),
            counters: Counters::default(),
            ids: AtomicU64::new(0),
            closing: CancellationToken::new(),
            _spill: spill,
        };
        Ok(Self {
            shared: Arc::new(shared),
            handle: runtime.handle().clone(),
            runtime: Mutex::new(Some(runtime)),
        })
    }

    /// Plans and starts a query; its rows are taken from the answer.
    ///
    /// # Errors
    /// [`Error::Busy`] if too many queries run and wait, [`Error::ShuttingDown`], and whatever is wrong with the statement.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the query.
    pub async fn query(&self, query: Query) -> Result<Answer, Error> {
        let permit = self.shared.admit().await?;
        let cancel = self.shared.closing.child_token();
        let guard = cancel.clone().drop_guard();
        let id = self.shared.ids.fetch_add(1, Relaxed) + 1;
        let (head, schema) = oneshot::channel();
        let (sender, receiver) = mpsc::channel(BATCHES_WAITING);
        let job = Job {
            running: Running::new(id, &self.shared, permit),
            query,
            head: Some(head),
            sender,
        };
        self.handle.spawn(job.run(cancel));
        let limit = self.shared.limits.timeout;
        let schema = match timeout(limit + TIMEOUT_SLACK, schema).await {
            Ok(Ok(schema)) => schema?,
            Ok(Err(_)) if self.shared.closing.is_cancelled() => return Err(Error::ShuttingDown),
            Ok(Err(_)) => return Err(Error::internal("the query's task died while planning")),
            Err(_) => return Err(Error::Timeout { limit }),
        };
        Ok(Answer::new(id, schema, receiver, self.handle.clone(), guard))
    }

    /// What a budget's counter rests on, at an instant or now.
    ///
    /// # Errors
    /// [`Unproved`].
    pub fn proof(&self, name: &str, per: &BTreeMap<String, String>, at: Option<Timestamp>) -> Result<Proof, Unproved> {
        self.shared.tables.proof(name, per, at)
    }

    /// What the engine does now and has done.
    pub fn stats(&self) -> Stats {
        let shared = &self.shared;
        let runtime = shared.base.runtime_env();
        Stats {
            running: *shared.running.borrow() as u64,
            waiting: shared.waiting.load(Relaxed) as u64,
            done: read(&shared.counters.done),
            failed: read(&shared.counters.failed),
            cancelled: read(&shared.counters.cancelled),
            refused: read(&shared.counters.refused),
            rows: read(&shared.counters.rows),
            memory_bytes: runtime.memory_pool.reserved() as u64,
            spill_bytes: runtime.disk_manager.used_disk_space(),
        }
    }

    /// Follows the number of queries that run.
    pub fn running(&self) -> watch::Receiver<usize> {
        self.shared.running.subscribe()
    }

    /// What queries may use.
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Refuses new queries, waits until those that run have ended or `deadline` has passed, cancels the rest, and ends the threads.
    pub async fn shutdown(&self, deadline: Duration) {
        self.shared.slots.close();
        let mut running = self.running();
        let drained = timeout(deadline, running.wait_for(|count| *count == 0)).await.is_ok();
        if !drained {
            tracing::warn!(queries = *self.shared.running.borrow(), "queries were cancelled by shutdown");
        }
        self.shared.closing.cancel();
        self.end_threads();
    }

    fn end_threads(&self) {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            // A runtime that is waited for must not be dropped by a task; in the background it ends by itself.
            runtime.shutdown_background();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.closing.cancel();
        self.end_threads();
    }
}

// === admission ===

/// Counts one waiting query for as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Shared {
    async fn admit(&self) -> Result<OwnedSemaphorePermit, Error> {
        match Arc::clone(&self.slots).try_acquire_owned() {
            Ok(permit) => return Ok(permit),
            Err(TryAcquireError::Closed) => return Err(Error::ShuttingDown),
            Err(TryAcquireError::NoPermits) => {}
        }
        let waiting = self.waiting.fetch_add(1, Relaxed);
        let _waiting = Waiting(&self.waiting);
        if waiting >= self.limits.queue_max {
            return Err(self.busy(waiting));
        }
        match timeout(self.limits.queue_wait, Arc::clone(&self.slots).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(Error::ShuttingDown),
            Err(_) => Err(self.busy(waiting)),
        }
    }

    fn busy(&self, waiting: usize) -> Error {
        add(&self.counters.refused, 1);
        Error::Busy {
            running: self.limits.concurrency,
            waiting,
            retry_after: RETRY_AFTER,
        }
    }
}

// === one query ===

/// How a task ended. A task that panics never says, so failure is where it starts.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    Done,
    Failed(&'static str),
    Cancelled,
}

/// A query's slot, and what is told about it when it is given back.
struct Running {
    id: u64,
    shared: Arc<Shared>,
    outcome: Outcome,
    rows: usize,
    started: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Running {
    fn new(id: u64, shared: &Arc<Shared>, permit: OwnedSemaphorePermit) -> Self {
        shared.running.send_modify(|count| *count += 1);
        Self {
            id,
            shared: Arc::clone(shared),
            outcome: Outcome::Failed("internal_error"),
            rows: 0,
            started: Instant::now(),
            _permit: permit,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let counters = &self.shared.counters;
        add(&counters.rows, self.rows);
        let (counter, outcome) = match self.outcome {
            Outcome::Done => (&counters.done, "ok"),
            Outcome::Failed(code) => (&counters.failed, code),
            Outcome::Cancelled => (&counters.cancelled, "cancelled"),
        };
        add(counter, 1);
        let took = self.started.elapsed();
        tracing::info!(
            query = self.id,
            outcome,
            rows = self.rows,
            duration_us = took.as_micros() as u64,
            "query ended"
        );
        self.shared.running.send_modify(|count| *count -= 1);
    }
}

struct Job {
    running: Running,
    query: Query,
    head: Option<oneshot::Sender<Result<SchemaRef, Error>>>,
    sender: mpsc::Sender<Item<RecordBatch>>,
}

/// Why a query stopped before its last row.
enum Stop {
    Error(Error),
    /// Nobody takes the rows.
    Left,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Job {
    async fn run(mut self, cancel: CancellationToken) {
        // The rows' future is dropped before the slot is given back, and with it everything that the query holds.
        let ended = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(Stop::Left),
            ended = self.rows() => ended,
        };
        let Self {
            mut running,
            head,
            sender,
            ..
        } = self;
        let last = match ended {
            Ok(()) => {
                running.outcome = Outcome::Done;
                Item::End
            }
            Err(Stop::Left) => {
                running.outcome = Outcome::Cancelled;
                return;
            }
            Err(Stop::Error(error)) => {
                running.outcome = Outcome::Failed(error.code());
                if let Some(detail) = error.detail() {
                    tracing::error!(
                        query = running.id,
                        code = error.code(),
                        detail,
                        "query failed inside the gateway"
                    );
                }
                Item::Failed(error)
            }
        };
        // The slot is free now: how the query ended is told whenever the caller has taken the rows before it.
        drop(running);
        match (head, last) {
            (Some(head), Item::Failed(error)) => drop(head.send(Err(error))),
            (_, last) => tokio::select! {
                () = cancel.cancelled() => {}
                _ = sender.send(last) => {}
            },
        }
    }

    async fn rows(&mut self) -> Result<(), Stop> {
        let shared = Arc::clone(&self.running.shared);
        let limits = &shared.limits;
        let mut work = Budget::new(limits.timeout, Error::Timeout { limit: limits.timeout });
        let mut patience = Budget::new(
            limits.client_wait,
            Error::ClientTooSlow {
                limit: limits.client_wait,
            },
        );

        let mut batches = work.spend(start(&shared, &self.query)).await??;
        let schema = plain::schema(&batches.schema());
        if let Some(head) = self.head.take() {
            head.send(Ok(Arc::clone(&schema))).map_err(|_| Stop::Left)?;
        }
        while let Some(batch) = work.spend(batches.next()).await? {
            let batch = batch.map_err(|error| Error::from_datafusion(error, limits))?;
            if batch.num_rows() == 0 {
                continue;
            }
            self.running.rows += batch.num_rows();
            if self.running.rows > limits.rows_max {
                return Err(Error::TooManyRows { limit: limits.rows_max }.into());
            }
            let batch = plain::batch(&batch, &schema)
                .map_err(|error| Error::internal(format!("a batch does not fit the schema of its plan: {error}")))?;
            patience
                .spend(self.sender.send(Item::Part(batch)))
                .await?
                .map_err(|_| Stop::Left)?;
        }
        Ok(())
    }
}

/// Time that may be spent on one kind of thing, in pieces.
struct Budget {
    left: Duration,
    exceeded: Error,
}

impl Budget {
    fn new(limit: Duration, exceeded: Error) -> Self {
        Self { left: limit, exceeded }
    }

    async fn spend<F: Future>(&mut self, future: F) -> Result<F::Output, Error> {
        let started = Instant::now();
        let output = timeout(self.left, future).await.map_err(|_| self.exceeded.clone())?;
        self.left = self.left.saturating_sub(started.elapsed());
        Ok(output)
    }
}

/// Parses, plans and starts a statement.
async fn start(shared: &Shared, query: &Query) -> Result<SendableRecordBatchStream, Error> {
    let limits = &shared.limits;
    let wrong = |error| Error::from_datafusion(error, limits);
    let statement = check::parse(&query.sql, limits)?;
    let (state, tables) = session::snapshot(&shared.base, shared.tables.as_ref()).await.map_err(wrong)?;
    let mut plan = state
        .statement_to_plan(statement)
        .await
        .map_err(|error| wrong(error).with_tables(&tables))?;
    if let Some(values) = query.params.clone().into_values() {
        plan = plan.with_param_values(values).map_err(wrong)?;
    }
    check::verify(&plan, limits)?;
    let plan = state.create_physical_plan(&plan).await.map_err(wrong)?;
    unique_names(&plan.schema())?;
    execute_stream(plan, state.task_ctx()).map_err(wrong)
}

/// Refuses an answer in which a name would stand for two columns: JSON objects and most readers keep only one.
fn unique_names(schema: &SchemaRef) -> Result<(), Error> {
    let mut names: Vec<_> = schema.fields().iter().map(|field| field.name()).collect();
    names.sort_unstable();
    match names.iter().zip(names.iter().skip(1)).find(|(name, next)| name == next) {
        Some((name, _)) => Err(Error::DuplicateColumn { name: (*name).clone() }),
        None => Ok(()),
    }
}
