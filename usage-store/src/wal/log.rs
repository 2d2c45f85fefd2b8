//! The log's writer: group commit, rotation, background sync.
//!
//! Callers queue entries; the first to find the queue unattended starts a commit, which lets every task that is ready queue its own
//! entry, then writes all of them with one `write()`. So under load an entry costs a share of a system call, and without load it waits
//! for nobody.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tollgate_record::{CallId, Record, Seq, Unavailable};

use crate::Error;
use crate::wal::entry::{self, Kind};
use crate::wal::segment::{MAGIC, Segment};

/// When an entry counts as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When the operating system has it: survives `kill -9`, and a power cut but for the last moments.
    #[default]
    Process,
    /// When the disk has it: survives a power cut.
    Power,
}

/// An entry on its way into the log.
pub(crate) enum Append {
    Opened { call_id: CallId, payload: Arc<[u8]> },
    Settled { record: Box<Record>, payload: Vec<u8> },
}

type Done = oneshot::Sender<Result<(), Unavailable>>;
/// Takes the rows of a commit, in order, before their writers are told.
type Sink = Box<dyn Fn(Vec<Box<Record>>) + Send + Sync>;

pub(crate) struct Log {
    queue: Mutex<Queue>,
    tail: Mutex<Tail>,
    durability: Durability,
    runtime: Handle,
    sink: Sink,
    sync: Arc<Syncer>,
    poison: Arc<Poison>,
}

/// Entries that wait for a commit. Guards nothing else.
#[derive(Default)]
struct Queue {
    waiting: Vec<(Append, Done)>,
    attended: bool,
}

/// The newest segment and what its successor must know.
struct Tail {
    folder: PathBuf,
    segment: Segment,
    file: Arc<File>,
    /// End of the last whole entry.
    end: u64,
    last_seq: Seq,
    open: HashMap<CallId, Arc<[u8]>>,
    buffer: Vec<u8>,
}

/// Why the log takes nothing any more, if so.
#[derive(Default)]
pub(crate) struct Poison {
    poisoned: AtomicBool,
    reason: Mutex<Option<Arc<str>>>,
}

/// What the background thread is to sync.
struct Syncer {
    dirty: Mutex<Dirty>,
    wake: Condvar,
}

#[derive(Default)]
struct Dirty {
    file: Option<Arc<File>>,
    stop: bool,
}

// === impl Log ===

impl Log {
    /// Starts a new segment after those that were read; `open` calls are carried into it.
    ///
    /// # Errors
    /// [`Error::Io`] if the segment cannot be created.
    pub(crate) fn start(
        folder: PathBuf,
        number: u64,
        last_seq: Seq,
        durability: Durability,
        sync_interval: Duration,
        runtime: Handle,
        sink: Sink,
    ) -> Result<Arc<Self>, Error> {
        let segment = Segment::new(&folder, number);
        let file = Arc::new(segment.create()?);
        file.sync_data().map_err(Error::io("sync", &segment.path))?;
        segment.sync_folder()?;
        let sync = Arc::new(Syncer {
            dirty: Mutex::default(),
            wake: Condvar::new(),
        });
        let poison = Arc::new(Poison::default());
        if durability == Durability::Process {
            let (sync, poison) = (Arc::clone(&sync), Arc::clone(&poison));
            std::thread::Builder::new()
                .name("ledger-sync".into())
                .spawn(move || sync.run(sync_interval, &poison))
                .map_err(Error::io("start a thread for", &folder))?;
        }
        let tail = Tail {
            folder,
            segment,
            file,
            end: MAGIC.len() as u64,
            last_seq,
            open: HashMap::new(),
            buffer: Vec::new(),
        };
        Ok(Arc::new(Self {
            queue: Mutex::default(),
            tail: Mutex::new(tail),
            durability,
            runtime,
            sink,
            sync,
            poison,
        }))
    }

    /// Queues an entry; the receiver is told when it is written.
    ///
    /// The entry is written even if the receiver is dropped.
    pub(crate) fn append(self: &Arc<Self>, append: Append) -> oneshot::Receiver<Result<(), Unavailable>> {
        let (done, written) = oneshot::channel();
        let mut queue = lock(&self.queue);
        queue.waiting.push((append, done));
        if !queue.attended {
            queue.attended = true;
            drop(queue);
            let log = Arc::clone(self);
            self.runtime.spawn(async move {
                // Every task that is ready now queues its entry before this one goes on.
                tokio::task::yield_now().await;
                match log.durability {
                    Durability::Process => log.attend(),
                    Durability::Power => {
                        // A disk's flush takes milliseconds, which no task of the request path should wait behind.
                        tokio::task::spawn_blocking(move || log.attend());
                    }
                }
            });
        }
        written
    }

    /// Commits until the queue is empty.
    fn attend(&self) {
        loop {
            let waiting = {
                let mut queue = lock(&self.queue);
                if queue.waiting.is_empty() {
                    queue.attended = false;
                    return;
                }
                std::mem::take(&mut queue.waiting)
            };
            self.commit(waiting);
        }
    }

    /// Writes entries, hands their rows on, and tells their writers.
    fn commit(&self, waiting: Vec<(Append, Done)>) {
        let mut tail = lock(&self.tail);
        let mut rows = Vec::new();
        let mut writers = Vec::with_capacity(waiting.len());
        let mut opened = Vec::new();
        let mut settled = Vec::new();
        let mut seq = tail.last_seq;
        let mut buffer = std::mem::take(&mut tail.buffer);
        for (append, done) in waiting {
            match append {
                Append::Opened { call_id, payload } => {
                    entry::put(&mut buffer, Kind::Opened, Seq::ZERO, &payload);
                    opened.push((call_id, payload));
                }
                Append::Settled { mut record, payload } => {
                    seq = seq.next();
                    record.seq = seq;
                    entry::put(&mut buffer, Kind::Settled, seq, &payload);
                    settled.push(record.call_id);
                    rows.push(record);
                }
            }
            writers.push(done);
        }
        let result = self.write(&mut tail, &buffer);
        buffer.clear();
        tail.buffer = buffer;
        if result.is_ok() {
            tail.last_seq = seq;
            tail.open.extend(opened);
            for call_id in &settled {
                tail.open.remove(call_id);
            }
            // Inside the lock, so that rows reach the hot buffer in the order of their places.
            if !rows.is_empty() {
                (self.sink)(rows);
            }
        }
        drop(tail);
        for done in writers {
            // A writer that is gone needs no telling.
            let _ = done.send(result.clone());
        }
    }

    fn write(&self, tail: &mut Tail, buffer: &[u8]) -> Result<(), Unavailable> {
        self.poison.check()?;
        if let Err(error) = (&*tail.file).write_all(buffer) {
            // No half entry may stay, or the next one would stand behind damage.
            if let Err(cut) = tail.file.set_len(tail.end) {
                return Err(self
                    .poison
                    .set(&format!("write failed: {error}; then cutting the log back failed: {cut}")));
            }
            let reason = format!("write to {} failed: {error}", tail.segment.path.display());
            if error.kind() == std::io::ErrorKind::StorageFull || error.kind() == std::io::ErrorKind::QuotaExceeded {
                tracing::error!(%error, "the disk of the ledger is full: calls are refused until there is space");
                return Err(Unavailable { reason: reason.into() });
            }
            return Err(self.poison.set(&reason));
        }
        tail.end += buffer.len() as u64;
        match self.durability {
            Durability::Process => self.sync.mark(&tail.file),
            Durability::Power => {
                if let Err(error) = tail.file.sync_data() {
                    return Err(self
                        .poison
                        .set(&format!("fdatasync of {} failed: {error}", tail.segment.path.display())));
                }
            }
        }
        Ok(())
    }

    /// Starts a new segment, and says which row is the last of the old ones and which segment is the first that is still needed.
    ///
    /// `at` is told that last row while no further one can be written.
    ///
    /// # Errors
    /// [`Error::Io`] if the new segment cannot be created; the old one stays in use.
    pub(crate) fn rotate(&self, at: impl FnOnce(Seq)) -> Result<(Seq, u64), Error> {
        let mut tail = lock(&self.tail);
        let segment = Segment::new(&tail.folder, tail.segment.number + 1);
        let file = Arc::new(segment.create()?);
        let mut buffer = Vec::new();
        for payload in tail.open.values() {
            entry::put(&mut buffer, Kind::Opened, Seq::ZERO, payload);
        }
        let durable = (&*file)
            .write_all(&buffer)
            .and_then(|()| file.sync_data())
            .and_then(|()| tail.file.sync_data())
            .map_err(Error::io("write", &segment.path));
        if let Err(error) = durable.and_then(|()| segment.sync_folder()) {
            // A segment that is not in use must not look like the newest one.
            let _ = segment.delete();
            return Err(error);
        }
        tail.end = (MAGIC.len() + buffer.len()) as u64;
        tail.file = file;
        tail.segment = segment;
        at(tail.last_seq);
        Ok((tail.last_seq, tail.segment.number))
    }

    /// Deletes all segments before `number`.
    ///
    /// # Errors
    /// [`Error::Io`] if a segment cannot be deleted.
    pub(crate) fn forget_before(&self, number: u64) -> Result<(), Error> {
        let folder = lock(&self.tail).folder.clone();
        for segment in Segment::list(&folder)? {
            if segment.number < number {
                segment.delete()?;
            }
        }
        Ok(())
    }

    /// Bytes of the newest segment.
    pub(crate) fn tail_bytes(&self) -> u64 {
        lock(&self.tail).end
    }

    /// Why the log takes nothing any more, if so.
    pub(crate) fn poisoned(&self) -> Option<Unavailable> {
        self.poison.check().err()
    }

    /// Makes everything that was written durable, and ends the background thread.
    ///
    /// # Errors
    /// [`Error::Io`] if the sync fails.
    pub(crate) fn close(&self) -> Result<(), Error> {
        let tail = lock(&self.tail);
        lock(&self.sync.dirty).stop = true;
        self.sync.wake.notify_all();
        tail.file.sync_data().map_err(Error::io("sync", &tail.segment.path))
    }
}

// === impl Syncer ===

impl Syncer {
    fn mark(&self, file: &Arc<File>) {
        let mut dirty = lock(&self.dirty);
        if dirty.file.is_none() {
            dirty.file = Some(Arc::clone(file));
            self.wake.notify_one();
        }
    }

    fn run(&self, interval: Duration, poison: &Poison) {
        loop {
            {
                let dirty = lock(&self.dirty);
                let dirty = self
                    .wake
                    .wait_while(dirty, |dirty| dirty.file.is_none() && !dirty.stop)
                    .unwrap_or_else(PoisonError::into_inner);
                if dirty.stop {
                    return;
                }
            }
            // Entries that come within the interval share its sync.
            std::thread::sleep(interval);
            let file = lock(&self.dirty).file.take();
            if let Some(file) = file
                && let Err(error) = file.sync_data()
            {
                poison.set(&format!("fdatasync of the log failed: {error}"));
                return;
            }
        }
    }
}

// === impl Poison ===

impl Poison {
    fn check(&self) -> Result<(), Unavailable> {
        if !self.poisoned.load(Ordering::Acquire) {
            return Ok(());
        }
        let reason = lock(&self.reason).clone().unwrap_or_else(|| "the log is poisoned".into());
        Err(Unavailable { reason })
    }

    fn set(&self, reason: &str) -> Unavailable {
        tracing::error!(
            reason,
            "the ledger was poisoned: calls are refused until the gateway is started anew"
        );
        let reason: Arc<str> = reason.into();
        *lock(&self.reason) = Some(Arc::clone(&reason));
        self.poisoned.store(true, Ordering::Release);
        Unavailable { reason }
    }
}

/// Locks, whoever panicked before: every critical section here leaves its state whole at each step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
