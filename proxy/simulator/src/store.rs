//! What the simulator keeps between requests: files, and batches on their way to their end.
//!
//! 1. Identifiers follow from what was sent, so that equal requests get equal bytes; what is sent again begins anew.
//! 2. Shelves are bounded: the oldest goes where the newest has no place.
//! 3. The lock guards the shelves; it is held for a look or a change and never across an await.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// The most files and the most batches of a kind that are kept.
const ITEMS_MAX: usize = 1000;
/// The most bytes that files and results are kept in.
const BYTES_MAX: usize = 256 * 1024 * 1024;

/// Files and batches.
#[derive(Debug, Default)]
pub(crate) struct Store(Mutex<Kept>);

/// What is kept.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) files: Shelf<File>,
    pub(crate) batches: Shelf<Batch>,
    pub(crate) message_batches: Shelf<MessageBatch>,
}

/// Items by their identifiers, the oldest first.
#[derive(Debug)]
pub(crate) struct Shelf<T> {
    items: VecDeque<(String, T)>,
    bytes: usize,
}

/// An item takes so many bytes.
pub(crate) trait Weigh {
    fn bytes(&self) -> usize;
}

/// A file of OpenAI's.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) purpose: String,
    pub(crate) content: Bytes,
}

/// A batch of OpenAI's. Its output is made when it is created and shown when it has ended.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) progress: Progress,
    pub(crate) endpoint: String,
    pub(crate) input_file_id: String,
    /// The metadata as it was sent: JSON.
    pub(crate) metadata: String,
    pub(crate) output_file_id: Option<String>,
    pub(crate) error_file_id: Option<String>,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) usage: BatchUsage,
    /// The first line that is no request, from 1: such a batch fails as a whole.
    pub(crate) broken_line: Option<u64>,
}

/// The usage of a batch: that of its lines, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BatchUsage {
    pub(crate) input: u64,
    pub(crate) cached: u64,
    pub(crate) output: u64,
    pub(crate) reasoning: u64,
}

/// A message batch of Anthropic's.
#[derive(Clone, Debug)]
pub(crate) struct MessageBatch {
    pub(crate) progress: Progress,
    pub(crate) results: Bytes,
    /// The results where it is cancelled before its end.
    pub(crate) canceled: Bytes,
    pub(crate) succeeded: u64,
    pub(crate) errored: u64,
}

/// How far a batch has come. It moves when it is looked at, not with time, so that a test need not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) stage: Stage,
    /// How many looks will still find it running.
    polls: u64,
}

/// A stage of a batch's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Created,
    Running,
    Ended,
    Cancelling,
    Cancelled,
}

impl Store {
    /// Everything that is kept, locked.
    pub(crate) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<T: Weigh> Shelf<T> {
    /// Puts an item in the place of the one with its identifier, or behind all.
    pub(crate) fn put(&mut self, id: String, item: T) {
        self.remove(&id);
        self.bytes += item.bytes();
        self.items.push_back((id, item));
        while self.items.len() > ITEMS_MAX || (self.bytes > BYTES_MAX && self.items.len() > 1) {
            if let Some((_, oldest)) = self.items.pop_front() {
                self.bytes -= oldest.bytes();
            }
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<&T> {
        self.items.iter().find(|(known, _)| known == id).map(|(_, item)| item)
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut T> {
        self.items.iter_mut().find(|(known, _)| known == id).map(|(_, item)| item)
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<T> {
        let at = self.items.iter().position(|(known, _)| known == id)?;
        let (_, item) = self.items.remove(at)?;
        self.bytes -= item.bytes();
        Some(item)
    }

    /// All items, the newest first, as providers list them.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &T)> {
        self.items.iter().rev().map(|(id, item)| (id.as_str(), item))
    }
}

impl Progress {
    /// A batch that so many looks will find running.
    pub(crate) fn new(polls: u64) -> Self {
        let stage = Stage::Created;
        Self { stage, polls }
    }

    /// Looks at the batch, by which it moves on.
    pub(crate) fn look(&mut self) {
        self.stage = match self.stage {
            Stage::Created | Stage::Running if self.polls > 0 => {
                self.polls -= 1;
                Stage::Running
            }
            Stage::Created | Stage::Running => Stage::Ended,
            Stage::Cancelling => Stage::Cancelled,
            ended => ended,
        };
    }

    /// Asks it to stop, unless it has ended.
    pub(crate) fn cancel(&mut self) {
        if matches!(self.stage, Stage::Created | Stage::Running) {
            self.stage = Stage::Cancelling;
        }
    }
}

// === impl Weigh ===

impl Weigh for File {
    fn bytes(&self) -> usize {
        self.content.len()
    }
}

impl Weigh for Batch {
    fn bytes(&self) -> usize {
        self.metadata.len()
    }
}

impl Weigh for MessageBatch {
    fn bytes(&self) -> usize {
        self.results.len() + self.canceled.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: usize) -> File {
        File {
            name: "a".to_owned(),
            purpose: "batch".to_owned(),
            content: Bytes::from(vec![0; bytes]),
        }
    }

    #[test]
    fn the_oldest_goes_where_the_newest_has_no_place() {
        let mut shelf = Shelf::default();
        for number in 0..=ITEMS_MAX {
            shelf.put(number.to_string(), file(1));
        }
        assert!(shelf.get("0").is_none() && shelf.get("1").is_some());
        shelf.put("large".to_owned(), file(BYTES_MAX));
        assert_eq!((shelf.items.len(), shelf.bytes), (1, BYTES_MAX));
        shelf.put("large".to_owned(), file(1));
        assert_eq!((shelf.items.len(), shelf.bytes), (1, 1));
    }

    #[test]
    fn a_batch_moves_when_it_is_looked_at() {
        let mut batch = Progress::new(2);
        for stage in [Stage::Running, Stage::Running, Stage::Ended] {
            batch.look();
            assert_eq!(batch.stage, stage);
        }
        batch.cancel();
        assert_eq!(batch.stage, Stage::Ended);
        let mut cancelled = Progress::new(5);
        cancelled.cancel();
        assert_eq!(cancelled.stage, Stage::Cancelling);
        cancelled.look();
        assert_eq!(cancelled.stage, Stage::Cancelled);
    }
}
