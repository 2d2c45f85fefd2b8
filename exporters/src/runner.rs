//! Follows the ledger by cursor and delivers what it reads.
//!
//! 1. The cursor moves behind rows only when all of them, and all before them, are accepted by the far side or listed as dead letters; it is on disk
//!    before anything else follows from it. So a row is delivered at least once, and at most again after a crash, a command, or a fallback to the older file.
//! 2. Batches are read in order and may be under way together; they land in order ([`FuturesOrdered`]), so 1. holds for any concurrency.
//! 3. A command halts what is under way (each attempt is waited for), is executed, and delivery begins anew behind the cursor: no configuration meets rows of
//!    another one.
//! 4. If the cursor or dead letters cannot be written nothing more is sent until they can.

mod control;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tollgate_record::BoxFuture;

use crate::ambient::Ambient;
use crate::batch::Batcher;
use crate::cursor::{CursorFile, Kept};
use crate::exporter::{Command, Exporter};
use crate::flight::{Course, Landing};
use crate::settings::{BatchLimits, Start};
use crate::status::State;
use crate::{Cursor, Error, Page, Source, SourceError};

/// Wait before a file that could not be written is written again.
const FILE_RETRY: Duration = Duration::from_secs(5);

/// The longest that a cursor which only passed over rows stays in memory.
const PASSED_SAVE: Duration = Duration::from_secs(10);

/// Whether there is a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// Not yet: where the exporter starts is to be found out.
    New,
    /// Yes.
    Set,
    /// There was one, and it cannot be read.
    Damaged,
}

/// What delivers. It does nothing until it is run.
pub struct Runner {
    exporter: Exporter,
    commands: mpsc::Receiver<Command>,
    /// Guards the file; taken by one blocking write at a time.
    file: Arc<Mutex<CursorFile>>,
    kept: Kept,
    begun: Begun,
    /// At most one replay, which ends with the runner.
    replays: JoinSet<()>,
    replay_halt: CancellationToken,
}

/// Why delivery was left.
enum Left {
    Stopped,
    Told(Command),
    /// Dead letters are full, or rows of the ledger cannot be used: nothing to do but wait.
    Blocked,
}

/// What is read, or waited for to be read.
type Reading = Option<BoxFuture<'static, Result<Page, SourceError>>>;

// === impl Runner ===

impl Runner {
    pub(crate) fn new(exporter: Exporter, commands: mpsc::Receiver<Command>, file: CursorFile, kept: Kept, begun: Begun) -> Self {
        let file = Arc::new(Mutex::new(file));
        Self {
            exporter,
            commands,
            file,
            kept,
            begun,
            replays: JoinSet::new(),
            replay_halt: CancellationToken::new(),
        }
    }

    /// Delivers until `stop`, then waits for the answers to what is under way (each within the timeout) and leaves the cursor behind what was accepted.
    ///
    /// # Cancel safety
    /// Dropped at any point it is as if the process had ended: what was accepted since the cursor was last stored is delivered again.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let left = if self.begun == Begun::Damaged {
                self.idle(State::Failed, None, &stop).await
            } else if self.kept.paused {
                self.idle(State::Paused, None, &stop).await
            } else if self.begun == Begun::New {
                self.begin(&stop).await
            } else if self.is_full() {
                let wait = self.exporter.course().settings.stuck_retry;
                self.idle(State::Stuck, Some(wait), &stop).await
            } else {
                self.exporter.shared().lock().state = State::Running;
                self.follow(&stop).await
            };
            match left {
                Some(Left::Stopped) => break,
                Some(Left::Told(command)) => self.execute(command, &stop).await,
                Some(Left::Blocked) | None => {}
            }
        }
        self.end_replay().await;
        self.exporter.shared().lock().state = State::Stopped;
    }

    /// Waits to be told something, or for `wait`.
    async fn idle(&mut self, state: State, wait: Option<Duration>, stop: &CancellationToken) -> Option<Left> {
        self.exporter.shared().lock().state = state;
        let (woken, ambient) = (Arc::clone(self.exporter.woken()), self.ambient());
        let elapsed = async {
            match wait {
                Some(wait) => tokio::select! {
                    () = ambient.sleep(wait) => {}
                    () = woken.notified() => {}
                },
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => Some(Left::Stopped),
            Some(command) = self.commands.recv() => Some(Left::Told(command)),
            () = elapsed => None,
        }
    }

    /// Finds out where a new exporter starts, and stores it before anything is delivered.
    async fn begin(&mut self, stop: &CancellationToken) -> Option<Left> {
        let course = self.exporter.course();
        let resolved = tokio::select! {
            biased;
            () = stop.cancelled() => return Some(Left::Stopped),
            Some(command) = self.commands.recv() => return Some(Left::Told(command)),
            resolved = resolve(self.exporter.source().as_ref(), course.settings.start) => resolved,
        };
        match resolved {
            Ok(cursor) => {
                self.kept.cursor = cursor.0;
                if !self.store(stop).await {
                    return Some(Left::Stopped);
                }
                self.begun = Begun::Set;
                self.exporter.shared().lock().cursor = self.kept.place();
                None
            }
            Err(error) => {
                self.went_wrong(State::Retrying, error.to_string());
                self.idle(State::Retrying, Some(course.settings.backoff.max), stop).await
            }
        }
    }

    /// Whether there is no room for dead letters.
    fn is_full(&self) -> bool {
        let (bytes, bytes_max) = (self.exporter.dead().bytes(), self.exporter.course().settings.dead_bytes_max);
        if bytes >= bytes_max {
            let name = self.exporter.name();
            self.went_wrong(
                State::Stuck,
                format!(
                    "{name}.dead has {bytes} bytes of dead letters, the limit is {bytes_max}: see why with `tollgate exporter dead {name}`, then forget them with \
                     `tollgate exporter clear-dead {name}`, or raise the limit"
                ),
            );
            return true;
        }
        false
    }

    // === delivery ===

    async fn follow(&mut self, stop: &CancellationToken) -> Option<Left> {
        let course = self.exporter.course();
        let halt = CancellationToken::new();
        let mut flights = FuturesOrdered::new();
        let mut batcher = Batcher::new(self.kept.place(), batch_limits(&course));
        let (mut reading, mut read_at): (Reading, _) = (None, course.ambient.elapsed());
        let (mut failures, mut saved, mut passed) = (0_u32, course.ambient.elapsed(), false);

        let left = loop {
            while flights.len() < course.batches_max() {
                match batcher.take(course.ambient.elapsed()) {
                    Ok(Some(batch)) => flights.push_back(Arc::clone(&course).fly(batch, halt.clone())),
                    Ok(None) => break,
                    // Parts of one shape fit each other; the rows are read again.
                    Err(error) => self.went_wrong(State::Failed, error.to_string()),
                }
            }
            // Nothing is read ahead of a batch that waits for its turn.
            if reading.is_none() && !batcher.has_ready() {
                reading = Some(self.read(&batcher, &course, read_at));
            }
            let due = batcher.due().filter(|_| flights.len() < course.batches_max());
            let lingered = async {
                match due {
                    Some(due) => course.ambient.sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => break Left::Stopped,
                Some(command) = self.commands.recv() => break Left::Told(command),
                Some(landed) = flights.next() => {
                    // It is not halted yet, so it has landed.
                    if let Some(landing) = landed && !self.land(landing, stop).await {
                        break Left::Stopped;
                    }
                    (saved, passed) = (course.ambient.elapsed(), false);
                    if self.is_full() {
                        break Left::Blocked;
                    }
                }
                page = next_page(&mut reading) => {
                    let now = course.ambient.elapsed();
                    let added = page.and_then(|page| {
                        batcher.add(&page, &course.settings.shape, now).map_err(|error| SourceError { reason: error.to_string() })
                    });
                    read_at = match added {
                        Ok(()) => {
                            failures = 0;
                            if flights.is_empty() {
                                self.exporter.shared().lock().state = State::Running;
                            }
                            if batcher.more() { now } else { now + course.settings.poll }
                        }
                        Err(error) => {
                            failures = failures.saturating_add(1);
                            self.went_wrong(State::Retrying, error.to_string());
                            now + course.settings.backoff.wait(failures, None, course.ambient.random())
                        }
                    };
                }
                () = lingered => {}
            }
            if flights.is_empty() && batcher.is_empty() && batcher.ahead() != &self.kept.place() {
                self.kept.cursor.clone_from(&batcher.ahead().0);
                self.exporter.shared().lock().cursor = self.kept.place();
                passed = true;
                if course.ambient.elapsed() >= saved + PASSED_SAVE {
                    if !self.store(stop).await {
                        break Left::Stopped;
                    }
                    (saved, passed) = (course.ambient.elapsed(), false);
                }
            }
        };

        halt.cancel();
        let mut gap = passed && !self.store(stop).await;
        while let Some(landed) = flights.next().await {
            match landed {
                Some(landing) if !gap => gap = !self.land(landing, stop).await,
                _ => gap = true,
            }
        }
        Some(left)
    }

    /// Waits until `at`, or until there are said to be new rows, and reads behind what was read.
    fn read(&self, batcher: &Batcher, course: &Course, at: Duration) -> BoxFuture<'static, Result<Page, SourceError>> {
        let (source, woken, ambient) = (
            Arc::clone(self.exporter.source()),
            Arc::clone(self.exporter.woken()),
            self.ambient(),
        );
        let (from, filter, rows) = (
            batcher.ahead().clone(),
            course.settings.filter.clone(),
            batcher.rows_to_read(),
        );
        Box::pin(async move {
            if at > ambient.elapsed() {
                tokio::select! {
                    () = ambient.sleep_until(at) => {}
                    () = woken.notified() => {}
                }
            }
            source.read(&from, filter.as_deref(), rows).await
        })
    }

    /// Lists what is dead and moves the cursor; false if it was stopped before either was on disk.
    async fn land(&mut self, landing: Landing, stop: &CancellationToken) -> bool {
        let (dead, delivered) = (landing.dead.len() as u64, landing.delivered);
        if dead > 0 {
            let letters = Arc::new(landing.dead);
            loop {
                let (file, letters) = (Arc::clone(self.exporter.dead()), Arc::clone(&letters));
                match self.exporter.blocking(move || file.append(&letters)).await {
                    Ok(()) => break,
                    Err(error) if !self.file_failed(&error, stop).await => return false,
                    Err(_) => {}
                }
            }
        }
        self.kept.cursor = landing.next.0;
        {
            let mut status = self.exporter.shared().lock();
            status.cursor = self.kept.place();
            status.delivered += delivered;
            status.dead += dead;
        }
        self.store(stop).await
    }

    /// Stores the cursor; false if it was stopped before that was on disk.
    async fn store(&mut self, stop: &CancellationToken) -> bool {
        loop {
            match self.save().await {
                Ok(()) => return true,
                Err(error) if !self.file_failed(&error, stop).await => return false,
                Err(_) => {}
            }
        }
    }

    async fn save(&mut self) -> Result<(), Error> {
        {
            let status = self.exporter.shared().lock();
            (self.kept.delivered, self.kept.retried, self.kept.dead) = (status.delivered, status.retried, status.dead);
        }
        let (file, kept) = (Arc::clone(&self.file), self.kept.clone());
        self.exporter
            .blocking(move || file.lock().unwrap_or_else(PoisonError::into_inner).save(&kept))
            .await
    }

    /// Waits before a file is written again; false if stopped.
    async fn file_failed(&self, error: &Error, stop: &CancellationToken) -> bool {
        let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        self.went_wrong(State::Failed, format!("{error}: {source}"));
        tokio::select! {
            biased;
            () = stop.cancelled() => false,
            () = self.ambient().sleep(FILE_RETRY) => true,
        }
    }

    fn ambient(&self) -> Arc<dyn Ambient> {
        Arc::clone(&self.exporter.course().ambient)
    }

    fn went_wrong(&self, state: State, error: String) {
        let now = self.ambient().now();
        self.exporter.shared().went_wrong(state, error, now);
    }
}

/// The limits of batches, the destination's own included.
pub(crate) fn batch_limits(course: &Course) -> BatchLimits {
    let batch = course.settings.batch;
    BatchLimits {
        rows: batch.rows.clamp(1, course.destination.rows_max().max(1)),
        ..batch
    }
}

/// The cursor of a start.
async fn resolve(source: &dyn Source, start: Start) -> Result<Cursor, SourceError> {
    match start {
        Start::Beginning => Ok(Cursor::default()),
        Start::Now => source.end(None).await,
        Start::At(instant) => source.end(Some(instant)).await,
    }
}

async fn next_page(reading: &mut Reading) -> Result<Page, SourceError> {
    match reading {
        Some(future) => {
            let page = future.await;
            *reading = None;
            page
        }
        None => std::future::pending().await,
    }
}
