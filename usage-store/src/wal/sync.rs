//! What of the log is on the disk: syncs in the background, and how far they came.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tollgate_record::Unavailable;

use crate::disk::File;
use crate::stats::{Counters, add};
use crate::wal::lock;
use crate::wal::poison::Poison;
use crate::wal::segment::Segment;

/// Syncs segments, and remembers how far they are synced.
pub(crate) struct Syncer {
    poison: Arc<Poison>,
    counters: Arc<Counters>,
    dirty: Mutex<Dirty>,
    wake: Condvar,
    /// Number of the newest segment that was synced, and up to where. All segments before it are synced whole.
    synced: Mutex<(u64, u64)>,
}

#[derive(Default)]
struct Dirty {
    /// Segments with unsynced bytes, oldest first.
    files: Vec<Unsynced>,
    stop: bool,
}

struct Unsynced {
    segment: Segment,
    file: Arc<dyn File>,
    end: u64,
}

impl Syncer {
    pub(crate) fn new(poison: Arc<Poison>, counters: Arc<Counters>) -> Self {
        Self {
            poison,
            counters,
            dirty: Mutex::default(),
            wake: Condvar::new(),
            synced: Mutex::default(),
        }
    }

    /// Number of the newest segment that was synced, and up to where.
    pub(crate) fn synced(&self) -> (u64, u64) {
        *lock(&self.synced)
    }

    /// Asks for a sync in the background.
    pub(crate) fn mark(&self, segment: &Segment, file: &Arc<dyn File>, end: u64) {
        let mut dirty = lock(&self.dirty);
        match dirty.files.last_mut() {
            Some(last) if last.segment.number == segment.number => last.end = end,
            _ => {
                dirty.files.push(Unsynced {
                    segment: segment.clone(),
                    file: Arc::clone(file),
                    end,
                });
                self.wake.notify_one();
            }
        }
    }

    /// Syncs a segment now, which holds whole entries up to `end`.
    ///
    /// # Errors
    /// [`Unavailable`] if the sync fails: the log is poisoned then.
    pub(crate) fn sync(&self, segment: &Segment, file: &Arc<dyn File>, end: u64) -> Result<(), Unavailable> {
        self.poison.check()?;
        if let Err(error) = file.sync() {
            return Err(self
                .poison
                .set(&format!("fdatasync of {} failed: {error}", segment.path.display())));
        }
        add(&self.counters.syncs, 1);
        let mut synced = lock(&self.synced);
        *synced = (*synced).max((segment.number, end));
        Ok(())
    }

    /// Syncs what was asked for, oldest first.
    ///
    /// # Errors
    /// [`Unavailable`] if a sync fails: the log is poisoned then.
    pub(crate) fn sync_dirty(&self) -> Result<(), Unavailable> {
        let files = std::mem::take(&mut lock(&self.dirty).files);
        files
            .iter()
            .try_for_each(|unsynced| self.sync(&unsynced.segment, &unsynced.file, unsynced.end))
    }

    /// Syncs in the background until it is told to stop or a sync fails.
    pub(crate) fn run(&self, interval: Duration) {
        loop {
            {
                let dirty = lock(&self.dirty);
                let dirty = self
                    .wake
                    .wait_while(dirty, |dirty| dirty.files.is_empty() && !dirty.stop)
                    .unwrap_or_else(PoisonError::into_inner);
                if dirty.stop {
                    return;
                }
            }
            // Entries that come within the interval share its sync.
            std::thread::sleep(interval);
            if self.sync_dirty().is_err() {
                return;
            }
        }
    }

    /// Ends the background thread.
    pub(crate) fn stop(&self) {
        lock(&self.dirty).stop = true;
        self.wake.notify_all();
    }
}
