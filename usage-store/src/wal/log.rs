//! The log's writer: group commit, rotation, room.
//!
//! Callers queue entries; the first to find the queue unattended starts a commit, which lets every task that is ready queue its own
//! entry, then writes all of them with one `write()`. So under load an entry costs a share of a system call, and without load it waits
//! for nobody.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tollgate_record::{CallId, Record, Seq, Unavailable};

use crate::Error;
use crate::disk::{Disk, File};
use crate::stats::{Counters, Stats, add};
use crate::wal::entry::{self, Kind};
use crate::wal::poison::Poison;
use crate::wal::segment::{MAGIC, Segment};
use crate::wal::sync::Syncer;

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

/// What a log works with.
pub(crate) struct Options {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) folder: PathBuf,
    pub(crate) durability: Durability,
    /// How long entries may wait for a sync in [`Durability::Process`]; `None` leaves syncs to [`Log::sync`].
    pub(crate) sync_interval: Option<Duration>,
    /// Bytes of all segments from which on no further call is taken.
    pub(crate) bytes_max: u64,
    pub(crate) counters: Arc<Counters>,
    pub(crate) runtime: Handle,
    pub(crate) sink: Sink,
}

/// Where a log goes on.
#[derive(Default)]
pub(crate) struct Start {
    /// Number of the segment to begin.
    pub(crate) number: u64,
    /// The last place that was given.
    pub(crate) last_seq: Seq,
    /// Segments that are there, and their bytes.
    pub(crate) older: BTreeMap<u64, u64>,
}

pub(crate) struct Log {
    options: Options,
    queue: Mutex<Queue>,
    tail: Mutex<Tail>,
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
    segment: Segment,
    file: Arc<dyn File>,
    /// End of the last whole entry.
    end: u64,
    /// How much of the segment the last [`Kind::Synced`] entry covers.
    marked: u64,
    /// Older segments, and their bytes.
    older: BTreeMap<u64, u64>,
    last_seq: Seq,
    open: HashMap<CallId, Arc<[u8]>>,
    /// Rows of open calls that found the disk full: written before anything else once there is space.
    owed: Vec<(Box<Record>, Vec<u8>)>,
    buffer: Vec<u8>,
    /// Whether the log is over half its limit, which was told.
    alarmed: bool,
}

/// One group of entries, made into bytes.
#[derive(Default)]
struct Group {
    opened: Vec<(CallId, Arc<[u8]>)>,
    settled: Vec<(Box<Record>, Vec<u8>)>,
    /// Where the settled entries of this group begin, after those that were owed.
    owed: usize,
}

// === impl Log ===

impl Log {
    /// Starts a new segment after those that were read.
    ///
    /// # Errors
    /// [`Error::Io`] if the segment cannot be created.
    pub(crate) fn start(options: Options, start: Start) -> Result<Arc<Self>, Error> {
        let segment = Segment::new(&options.folder, start.number);
        // Whoever starts a log has synced the segments before: the first mark says so.
        let mut mark = Vec::new();
        entry::put(&mut mark, Kind::Synced, Seq::ZERO, &0_u64.to_le_bytes());
        let file = segment.create(&*options.disk, &mark)?;
        let poison = Arc::new(Poison::default());
        let sync = Arc::new(Syncer::new(Arc::clone(&poison), Arc::clone(&options.counters)));
        if let (Durability::Process, Some(interval)) = (options.durability, options.sync_interval) {
            let sync = Arc::clone(&sync);
            std::thread::Builder::new()
                .name("ledger-sync".into())
                .spawn(move || sync.run(interval))
                .map_err(Error::io("start a thread for", &options.folder))?;
        }
        let tail = Tail {
            segment,
            file,
            end: (MAGIC.len() + mark.len()) as u64,
            marked: 0,
            older: start.older,
            last_seq: start.last_seq,
            open: HashMap::new(),
            owed: Vec::new(),
            buffer: Vec::new(),
            alarmed: false,
        };
        Ok(Arc::new(Self {
            options,
            queue: Mutex::default(),
            tail: Mutex::new(tail),
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
            self.options.runtime.spawn(async move {
                // Every task that is ready now queues its entry before this one goes on.
                tokio::task::yield_now().await;
                // A disk's flush takes milliseconds, which no task of the request path should wait behind.
                let elsewhere = log.options.durability == Durability::Power && log.options.sync_interval.is_some();
                if elsewhere {
                    tokio::task::spawn_blocking(move || log.attend());
                } else {
                    log.attend();
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
        let mut guard = lock(&self.tail);
        let tail = &mut *guard;
        let full = tail.bytes() >= self.options.bytes_max;
        let mut writers = Vec::with_capacity(waiting.len());
        let mut refused = Vec::new();
        let mut group = Group {
            settled: std::mem::take(&mut tail.owed),
            ..Group::default()
        };
        group.owed = group.settled.len();
        for (append, done) in waiting {
            match append {
                Append::Opened { .. } if full => refused.push(done),
                Append::Opened { call_id, payload } => {
                    group.opened.push((call_id, payload));
                    writers.push(done);
                }
                // A call that is open keeps its promise of a row; one that was refused at the door has none yet.
                Append::Settled { record, .. } if full && !tail.open.contains_key(&record.call_id) => refused.push(done),
                Append::Settled { record, payload } => {
                    group.settled.push((record, payload));
                    writers.push(done);
                }
            }
        }
        let result = self.write_group(tail, group);
        drop(guard);
        if !refused.is_empty() {
            add(&self.options.counters.refused, refused.len() as u64);
            let reason = format!(
                "the log has reached its limit of {} bytes, because the table has not taken its rows; see ledger.log_bytes",
                self.options.bytes_max
            );
            let reason: Arc<str> = reason.into();
            for done in refused {
                let _ = done.send(Err(Unavailable {
                    reason: Arc::clone(&reason),
                }));
            }
        }
        for done in writers {
            // A writer that is gone needs no telling.
            let _ = done.send(result.clone());
        }
    }

    /// Writes a group and takes it over, or leaves everything as it was but for rows that are owed from now on.
    fn write_group(&self, tail: &mut Tail, group: Group) -> Result<(), Unavailable> {
        let mut buffer = std::mem::take(&mut tail.buffer);
        let marked = self.mark(tail, &mut buffer);
        for (_, payload) in &group.opened {
            entry::put(&mut buffer, Kind::Opened, Seq::ZERO, payload);
        }
        let mut seq = tail.last_seq;
        for (_, payload) in &group.settled {
            seq = seq.next();
            entry::put(&mut buffer, Kind::Settled, seq, payload);
        }
        let result = self.write(tail, &buffer);
        let bytes = buffer.len() as u64;
        buffer.clear();
        tail.buffer = buffer;
        let counters = &self.options.counters;
        match result {
            Ok(()) => {
                tail.marked = marked;
                add(&counters.commits, 1);
                add(&counters.written_bytes, bytes);
                add(&counters.opened, group.opened.len() as u64);
                add(&counters.settled, group.settled.len() as u64);
                tail.open.extend(group.opened);
                let mut rows = Vec::with_capacity(group.settled.len());
                for (mut record, _) in group.settled {
                    tail.last_seq = tail.last_seq.next();
                    record.seq = tail.last_seq;
                    tail.open.remove(&record.call_id);
                    rows.push(record);
                }
                // Inside the lock, so that rows reach the hot buffer in the order of their places.
                if !rows.is_empty() {
                    (self.options.sink)(rows);
                }
                self.alarm(tail);
                Ok(())
            }
            Err(unavailable) => {
                add(&counters.refused, group.opened.len() as u64);
                if self.poison.reason().is_none() {
                    let opened = &tail.open;
                    let owed = group
                        .settled
                        .into_iter()
                        .filter(|(record, _)| opened.contains_key(&record.call_id));
                    tail.owed = owed.collect();
                }
                Err(unavailable)
            }
        }
    }

    /// Puts a mark into the buffer if more is synced than the last one says; returns what the newest mark says then.
    fn mark(&self, tail: &Tail, buffer: &mut Vec<u8>) -> u64 {
        match self.sync.synced() {
            (number, offset) if number == tail.segment.number && offset > tail.marked => {
                entry::put(buffer, Kind::Synced, Seq::ZERO, &offset.to_le_bytes());
                offset
            }
            _ => tail.marked,
        }
    }

    fn write(&self, tail: &mut Tail, buffer: &[u8]) -> Result<(), Unavailable> {
        self.poison.check()?;
        if let Err(error) = tail.file.append(buffer) {
            add(&self.options.counters.write_failures, 1);
            // No half entry may stay, or the next one would stand behind damage.
            if let Err(cut) = tail.file.cut(tail.end) {
                return Err(self
                    .poison
                    .set(&format!("write failed: {error}; then cutting the log back failed: {cut}")));
            }
            let reason = format!("write to {} failed: {error}", tail.segment.path.display());
            if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
                tracing::error!(%error, "the disk of the ledger is full: calls are refused until there is space");
                return Err(Unavailable { reason: reason.into() });
            }
            return Err(self.poison.set(&reason));
        }
        tail.end += buffer.len() as u64;
        match self.options.durability {
            Durability::Process => self.sync.mark(&tail.segment, &tail.file, tail.end),
            Durability::Power => self.sync.sync(&tail.segment, &tail.file, tail.end)?,
        }
        Ok(())
    }

    /// Says so when the log passes half its limit, and when it is below again.
    fn alarm(&self, tail: &mut Tail) {
        let (bytes, bytes_max) = (tail.bytes(), self.options.bytes_max);
        let over = bytes >= bytes_max / 2;
        if over && !tail.alarmed {
            tracing::error!(
                bytes,
                bytes_max,
                "the log is over half its limit because the table does not take its rows; at the limit calls are refused"
            );
        }
        tail.alarmed = over;
    }

    /// Writes rows that a full disk held up, if there are any.
    pub(crate) fn retry_owed(&self) {
        let mut tail = lock(&self.tail);
        if !tail.owed.is_empty() && self.poison.reason().is_none() {
            let group = Group {
                settled: std::mem::take(&mut tail.owed),
                ..Group::default()
            };
            let rows = group.settled.len();
            if self.write_group(&mut tail, group).is_ok() {
                tracing::info!(rows, "rows that a full disk had held up were written");
            }
        }
    }

    /// Starts a new segment, and says which row is the last of the old ones and which segment is the first that is still needed.
    ///
    /// `at` is told that last row while no further one can be written.
    ///
    /// # Errors
    /// [`Error::Io`] if the new segment cannot be created; the old one stays in use. [`Error::Poisoned`] if a sync fails.
    pub(crate) fn rotate(&self, at: impl FnOnce(Seq)) -> Result<(Seq, u64), Error> {
        // Nobody else rotates: flushes come one at a time. Creating and naming the file needs no lock, and takes the disk's time.
        let number = lock(&self.tail).segment.number + 1;
        let segment = Segment::new(&self.options.folder, number);
        let file = segment.create(&*self.options.disk, &[])?;
        let (old, last) = {
            let mut tail = lock(&self.tail);
            let mut buffer = Vec::new();
            for payload in tail.open.values() {
                entry::put(&mut buffer, Kind::Opened, Seq::ZERO, payload);
            }
            if let Err(error) = self.poison.error().map_or_else(|| file.append(&buffer), Err) {
                // A segment that is not in use must not look like the newest one.
                let _ = segment.delete(&*self.options.disk);
                return Err(Error::io("write", &segment.path)(error));
            }
            let old = (tail.segment.clone(), Arc::clone(&tail.file), tail.end);
            let (old_number, old_end) = (tail.segment.number, tail.end);
            tail.older.insert(old_number, old_end);
            tail.end = (MAGIC.len() + buffer.len()) as u64;
            tail.marked = 0;
            tail.file = file;
            tail.segment = segment;
            at(tail.last_seq);
            (old, tail.last_seq)
        };
        // In order, so that a mark in a segment proves that all of its predecessors are synced.
        let (segment, file, end) = old;
        self.sync.sync(&segment, &file, end).map_err(Error::Poisoned)?;
        self.sync_and_mark()?;
        Ok((last, number))
    }

    /// Makes the newest segment durable, and says so in it.
    fn sync_and_mark(&self) -> Result<(), Error> {
        let (segment, file, end) = {
            let tail = lock(&self.tail);
            (tail.segment.clone(), Arc::clone(&tail.file), tail.end)
        };
        self.sync.sync(&segment, &file, end).map_err(Error::Poisoned)?;
        let mut tail = lock(&self.tail);
        match self.write_group(&mut tail, Group::default()) {
            // Without room for a mark there is only less to prove damage by.
            Err(_) if self.poison.reason().is_none() => Ok(()),
            other => other.map_err(Error::Poisoned),
        }
    }

    /// Deletes all segments before `number`, oldest first.
    ///
    /// # Errors
    /// [`Error::Io`] if a segment cannot be deleted; it is tried again the next time.
    pub(crate) fn forget_before(&self, number: u64) -> Result<(), Error> {
        let older: Vec<u64> = lock(&self.tail).older.range(..number).map(|(number, _)| *number).collect();
        for number in older {
            Segment::new(&self.options.folder, number).delete(&*self.options.disk)?;
            lock(&self.tail).older.remove(&number);
        }
        let mut tail = lock(&self.tail);
        self.alarm(&mut tail);
        Ok(())
    }

    /// Bytes of the newest segment.
    pub(crate) fn tail_bytes(&self) -> u64 {
        lock(&self.tail).end
    }

    /// Fills in what the log holds.
    pub(crate) fn levels(&self, stats: &mut Stats) {
        let tail = lock(&self.tail);
        stats.log_bytes = tail.bytes();
        stats.log_bytes_max = self.options.bytes_max;
        stats.open_calls = tail.open.len() as u64;
        stats.owed_rows = tail.owed.len() as u64;
        stats.last_seq = tail.last_seq.get();
        stats.poisoned = self.poison.reason().is_some();
    }

    /// Why the log takes nothing any more, if so.
    pub(crate) fn poisoned(&self) -> Option<Unavailable> {
        self.poison.check().err()
    }

    /// Makes everything that was written durable.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if the sync fails.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.sync.sync_dirty().map_err(Error::Poisoned)
    }

    /// Makes everything that was written durable, and ends the background thread.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if the sync fails.
    pub(crate) fn close(&self) -> Result<(), Error> {
        self.retry_owed();
        self.sync.stop();
        self.sync_and_mark()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.sync.stop();
    }
}

// === impl Tail ===

impl Tail {
    fn bytes(&self) -> u64 {
        self.older.values().sum::<u64>() + self.end
    }
}

/// Locks, whoever panicked before: every critical section here leaves its state whole at each step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
