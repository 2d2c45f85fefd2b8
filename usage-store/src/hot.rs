//! The hot buffer: settled rows that no commit of the table holds yet, queryable at once.
//!
//! Rows are collected as records, which costs the request path a move, and become Arrow columns in chunks: when a chunk is full, when
//! a query asks, or when a flush does, whichever is first.

use std::sync::{Arc, Mutex, OnceLock};

use arrow::array::RecordBatch;
use tollgate_record::{Record, Seq};

use crate::Error;
use crate::batch::{rows_after, usage_batch};
use crate::wal::lock;

/// Rows of a chunk: few enough that making its columns takes about a millisecond of a core that may be the only one, and that their
/// memory is used again instead of being asked of the system.
pub(crate) const CHUNK_ROWS: usize = 512;

/// Rows that do not change any more.
pub(crate) struct Chunk {
    last_seq: Seq,
    rows: usize,
    /// The rows until their columns are made.
    records: Mutex<Vec<Box<Record>>>,
    batch: OnceLock<RecordBatch>,
}

/// The hot rows in the order of their places.
#[derive(Default)]
pub(crate) struct Hot {
    sealed: Vec<Arc<Chunk>>,
    growing: Vec<Box<Record>>,
}

// === impl Chunk ===

impl Chunk {
    fn new(records: Vec<Box<Record>>) -> Self {
        let last_seq = records.last().map_or(Seq::ZERO, |record| record.seq);
        Self {
            last_seq,
            rows: records.len(),
            records: Mutex::new(records),
            batch: OnceLock::new(),
        }
    }

    /// The chunk without its rows up to a place, some of which must be behind that.
    fn after(self: &Arc<Self>, place: Seq) -> Result<Arc<Self>, Error> {
        let batch = self.batch()?;
        let rest = rows_after(&batch, place)?;
        if rest.num_rows() == batch.num_rows() {
            return Ok(Arc::clone(self));
        }
        Ok(Arc::new(Self {
            last_seq: self.last_seq,
            rows: rest.num_rows(),
            records: Mutex::default(),
            batch: OnceLock::from(rest),
        }))
    }

    /// Place of the last row.
    pub(crate) fn last_seq(&self) -> Seq {
        self.last_seq
    }

    /// The rows as columns.
    ///
    /// # Errors
    /// [`Error::Arrow`] if they do not fit the schema, which would be a defect.
    pub(crate) fn batch(&self) -> Result<RecordBatch, Error> {
        if let Some(batch) = self.batch.get() {
            return Ok(batch.clone());
        }
        let mut records = lock(&self.records);
        // Another thread may have made them while this one waited.
        if self.batch.get().is_none() {
            let made = usage_batch(&records)?;
            let _ = self.batch.set(made);
            *records = Vec::new();
        }
        drop(records);
        Ok(self.batch.get().expect("the columns were made above").clone())
    }
}

// === impl Recovering ===

/// Makes chunks of rows that are read one by one, and keeps columns only: a row as a record takes several times their memory.
#[derive(Default)]
pub(crate) struct Recovering {
    chunks: Vec<Arc<Chunk>>,
    growing: Vec<Box<Record>>,
}

impl Recovering {
    /// Adds a row, whose place follows those before.
    ///
    /// # Errors
    /// As [`Chunk::batch`].
    pub(crate) fn push(&mut self, row: Box<Record>) -> Result<(), Error> {
        self.growing.push(row);
        if self.growing.len() >= CHUNK_ROWS {
            self.end_chunk()?;
        }
        Ok(())
    }

    /// The rows.
    ///
    /// # Errors
    /// As [`Chunk::batch`].
    pub(crate) fn finish(mut self) -> Result<Vec<Arc<Chunk>>, Error> {
        self.end_chunk()?;
        Ok(self.chunks)
    }

    fn end_chunk(&mut self) -> Result<(), Error> {
        if !self.growing.is_empty() {
            let chunk = Chunk::new(std::mem::take(&mut self.growing));
            chunk.batch()?;
            self.chunks.push(Arc::new(chunk));
        }
        Ok(())
    }
}

// === impl Hot ===

impl Hot {
    /// Rows that were read from the log.
    pub(crate) fn recovered(sealed: Vec<Arc<Chunk>>) -> Self {
        Self {
            sealed,
            growing: Vec::new(),
        }
    }

    /// Adds rows; their places follow those before. Returns a chunk that became full, whose columns can be made elsewhere.
    pub(crate) fn push(&mut self, rows: Vec<Box<Record>>) -> Option<Arc<Chunk>> {
        if self.growing.is_empty() {
            self.growing = rows;
        } else {
            self.growing.extend(rows);
        }
        (self.growing.len() >= CHUNK_ROWS).then(|| self.end_chunk()).flatten()
    }

    /// All rows, as chunks.
    pub(crate) fn chunks(&mut self) -> Vec<Arc<Chunk>> {
        self.seal();
        self.sealed.clone()
    }

    /// The oldest rows up to `last`, as chunks: `rows_max` of them or a chunk more. The place must be one at which a chunk ends.
    pub(crate) fn chunks_to(&self, last: Seq, rows_max: usize) -> Vec<Arc<Chunk>> {
        let mut rows = 0;
        let mut chunks = Vec::new();
        for chunk in self.sealed.iter().take_while(|chunk| chunk.last_seq <= last) {
            chunks.push(Arc::clone(chunk));
            rows += chunk.rows;
            if rows >= rows_max {
                break;
            }
        }
        chunks
    }

    /// Forgets the rows up to `last`.
    pub(crate) fn forget_to(&mut self, last: Seq) {
        self.sealed.retain(|chunk| chunk.last_seq > last);
    }

    /// Forgets the rows up to `last`, which may stand within a chunk.
    ///
    /// # Errors
    /// [`Error::Arrow`] as [`Chunk::batch`].
    pub(crate) fn cut_to(&mut self, last: Seq) -> Result<(), Error> {
        self.seal();
        self.forget_to(last);
        if let Some(first) = self.sealed.first_mut() {
            *first = first.after(last)?;
        }
        Ok(())
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.sealed.iter().map(|chunk| chunk.rows).sum::<usize>() + self.growing.len()
    }

    /// Ends the chunk that grows, so that the rows so far are whole chunks.
    pub(crate) fn seal(&mut self) {
        self.end_chunk();
    }

    fn end_chunk(&mut self) -> Option<Arc<Chunk>> {
        if self.growing.is_empty() {
            return None;
        }
        let chunk = Arc::new(Chunk::new(std::mem::take(&mut self.growing)));
        self.sealed.push(Arc::clone(&chunk));
        Some(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_up_to_a_place_within_a_chunk_are_forgotten() {
        let mut hot = Hot::default();
        let rows = |seqs: std::ops::RangeInclusive<u64>| {
            let record = |seq| {
                let mut record = Box::new(crate::testing::record(seq));
                record.seq = Seq::new(seq);
                record
            };
            seqs.map(record).collect::<Vec<_>>()
        };
        hot.push(rows(1..=600));
        hot.push(rows(601..=700));
        hot.cut_to(Seq::new(250)).unwrap();
        assert_eq!(hot.rows(), 450);
        hot.cut_to(Seq::new(600)).unwrap();
        assert_eq!(hot.rows(), 100);
        hot.cut_to(Seq::new(700)).unwrap();
        assert_eq!(hot.rows(), 0);
    }
}
