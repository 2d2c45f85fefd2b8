//! The hot buffer: settled rows that no commit of the table holds yet, queryable at once.
//!
//! Rows are collected as records, which costs the request path a move, and become Arrow columns in chunks: when a chunk is full, when
//! a query asks, or when a flush does, whichever is first. Rows that a table out of reach leaves here are packed ([`packed`]).

pub(crate) mod packed;

use std::sync::{Arc, Mutex, OnceLock};

use arrow::array::RecordBatch;
use tollgate_record::{Record, Seq};

use self::packed::Packed;
use crate::Error;
use crate::batch::{rows_after, usage_batch};
use crate::wal::lock;

/// Rows of a chunk: few enough that making its columns takes about a millisecond of a core that may be the only one, and that their
/// memory is used again instead of being asked of the system.
pub(crate) const CHUNK_ROWS: usize = 512;

/// Rows that are packed together, about.
const PACK_ROWS: usize = 65_536;

/// Rows that do not change any more.
pub(crate) struct Chunk {
    last_seq: Seq,
    rows: usize,
    /// The rows until their columns are made.
    records: Mutex<Vec<Box<Record>>>,
    batch: OnceLock<RecordBatch>,
}

/// Some of the rows; cloning is cheap.
#[derive(Clone)]
pub(crate) enum Piece {
    /// As records or columns.
    Chunk(Arc<Chunk>),
    /// As Parquet.
    Packed(Packed),
}

/// Rows in memory as a query reads them.
#[derive(Clone, Default)]
pub(crate) struct Held {
    /// Those that are columns, in any schema that has the columns of the table.
    pub(crate) batches: Vec<RecordBatch>,
    /// Those that are packed, of table `usage`.
    pub(crate) packed: Vec<Packed>,
}

/// The hot rows in the order of their places.
#[derive(Default)]
pub(crate) struct Hot {
    sealed: Vec<Piece>,
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

// === impl Piece ===

impl Piece {
    /// Rows in the order of their places, the last of which is `last_seq`, as columns.
    fn columns(rows: RecordBatch, last_seq: Seq) -> Self {
        Self::Chunk(Arc::new(Chunk {
            last_seq,
            rows: rows.num_rows(),
            records: Mutex::default(),
            batch: OnceLock::from(rows),
        }))
    }

    /// Place of the last row.
    pub(crate) fn last_seq(&self) -> Seq {
        match self {
            Self::Chunk(chunk) => chunk.last_seq,
            Self::Packed(packed) => packed.last_seq(),
        }
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Chunk(chunk) => chunk.rows,
            Self::Packed(packed) => packed.rows(),
        }
    }

    /// The rows as columns.
    ///
    /// # Errors
    /// [`Error::Arrow`] or [`Error::Parquet`] if they do not fit the schema, which would be a defect.
    pub(crate) fn batches(&self) -> Result<Vec<RecordBatch>, Error> {
        match self {
            Self::Chunk(chunk) => Ok(vec![chunk.batch()?]),
            Self::Packed(packed) => packed.batches(),
        }
    }

    /// The rows without those up to a place, some of which must be behind that.
    fn after(&self, place: Seq) -> Result<Vec<Self>, Error> {
        let batches = self.batches()?;
        let rest = batches
            .iter()
            .map(|batch| rows_after(batch, place))
            .collect::<Result<Vec<_>, _>>()?;
        if rest.iter().map(RecordBatch::num_rows).sum::<usize>() == self.rows() {
            return Ok(vec![self.clone()]);
        }
        let rest = rest.into_iter().filter(|rows| rows.num_rows() > 0);
        Ok(rest.map(|rows| Self::columns(rows, self.last_seq())).collect())
    }
}

// === impl Held ===

impl Held {
    /// What some pieces hold.
    ///
    /// # Errors
    /// As [`Chunk::batch`].
    pub(crate) fn of(pieces: &[Piece]) -> Result<Self, Error> {
        let mut held = Self::default();
        for piece in pieces {
            match piece {
                Piece::Chunk(chunk) => held.batches.push(chunk.batch()?),
                Piece::Packed(packed) => held.packed.push(packed.clone()),
            }
        }
        Ok(held)
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        let columns: usize = self.batches.iter().map(RecordBatch::num_rows).sum();
        columns + self.packed.iter().map(Packed::rows).sum::<usize>()
    }
}

impl From<Vec<RecordBatch>> for Held {
    fn from(batches: Vec<RecordBatch>) -> Self {
        Self {
            batches,
            packed: Vec::new(),
        }
    }
}

// === impl Recovering ===

/// Makes chunks of rows that are read one by one, and keeps columns only: a row as a record takes several times their memory.
pub(crate) struct Recovering {
    hot: Hot,
    /// Rows from which on the oldest are packed.
    unpacked_max: usize,
}

impl Recovering {
    /// Rows of which so many stay unpacked.
    pub(crate) fn new(unpacked_max: usize) -> Self {
        Self {
            hot: Hot::default(),
            unpacked_max,
        }
    }

    /// Adds a row, whose place follows those before.
    ///
    /// # Errors
    /// As [`Piece::batches`].
    pub(crate) fn push(&mut self, row: Box<Record>) -> Result<(), Error> {
        self.hot.growing.push(row);
        if self.hot.growing.len() >= CHUNK_ROWS {
            self.end_chunk()?;
        }
        Ok(())
    }

    /// The rows.
    ///
    /// # Errors
    /// As [`Piece::batches`].
    pub(crate) fn finish(mut self) -> Result<Vec<Piece>, Error> {
        self.end_chunk()?;
        Ok(self.hot.sealed)
    }

    fn end_chunk(&mut self) -> Result<(), Error> {
        if let Some(chunk) = self.hot.end_chunk() {
            chunk.batch()?;
        }
        while let Some(loose) = self.hot.loose(self.unpacked_max, &[]) {
            self.hot.replace(&loose, loose.pack()?);
        }
        Ok(())
    }
}

/// Chunks that follow each other and are to be packed.
pub(crate) struct Loose {
    chunks: Vec<Arc<Chunk>>,
}

impl Loose {
    /// Packs them, which takes some hundred milliseconds.
    ///
    /// # Errors
    /// As [`Piece::batches`].
    pub(crate) fn pack(&self) -> Result<Packed, Error> {
        let batches = self.chunks.iter().map(|chunk| chunk.batch()).collect::<Result<Vec<_>, _>>()?;
        Packed::of(&batches, self.chunks.last().map_or(Seq::ZERO, |chunk| chunk.last_seq))
    }
}

// === impl Hot ===

impl Hot {
    /// Rows that were read from the log.
    pub(crate) fn recovered(sealed: Vec<Piece>) -> Self {
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

    /// All rows.
    pub(crate) fn pieces(&mut self) -> Vec<Piece> {
        self.seal();
        self.sealed.clone()
    }

    /// The oldest rows up to `last`: `rows_max` of them or a piece more. The place must be one at which a piece ends.
    pub(crate) fn pieces_to(&self, last: Seq, rows_max: usize) -> Vec<Piece> {
        let mut rows = 0;
        let mut pieces = Vec::new();
        for piece in self.sealed.iter().take_while(|piece| piece.last_seq() <= last) {
            pieces.push(piece.clone());
            rows += piece.rows();
            if rows >= rows_max {
                break;
            }
        }
        pieces
    }

    /// The oldest chunks, if so many more than `unpacked_max` rows are not packed that it pays; a piece still ends at each of `ends`.
    pub(crate) fn loose(&self, unpacked_max: usize, ends: &[Seq]) -> Option<Loose> {
        let mut chunks = self.sealed.iter().filter_map(|piece| match piece {
            Piece::Chunk(chunk) => Some(chunk),
            Piece::Packed(_) => None,
        });
        let rows: usize = chunks.clone().map(|chunk| chunk.rows).sum();
        let pack = PACK_ROWS.min(unpacked_max.max(1));
        if rows < unpacked_max.saturating_add(pack) {
            return None;
        }
        let mut loose = Loose { chunks: Vec::new() };
        let mut rows = 0;
        while rows < pack
            && let Some(chunk) = chunks.next()
        {
            rows += chunk.rows;
            loose.chunks.push(Arc::clone(chunk));
            if ends.contains(&chunk.last_seq) {
                break;
            }
        }
        Some(loose)
    }

    /// Puts packed rows in the place of the chunks that they were; does nothing if these are no longer there.
    pub(crate) fn replace(&mut self, loose: &Loose, packed: Packed) {
        let is = |piece: &Piece, chunk: &Arc<Chunk>| matches!(piece, Piece::Chunk(found) if Arc::ptr_eq(found, chunk));
        let Some(first) = loose.chunks.first() else { return };
        let Some(start) = self.sealed.iter().position(|piece| is(piece, first)) else {
            return;
        };
        let end = start + loose.chunks.len();
        let there = self.sealed.get(start..end);
        if there.is_some_and(|there| there.iter().zip(&loose.chunks).all(|(piece, chunk)| is(piece, chunk))) {
            self.sealed.splice(start..end, [Piece::Packed(packed)]);
        }
    }

    /// Forgets the rows up to `last`.
    pub(crate) fn forget_to(&mut self, last: Seq) {
        self.sealed.retain(|piece| piece.last_seq() > last);
    }

    /// Forgets the rows up to `last`, which may stand within a piece.
    ///
    /// # Errors
    /// As [`Piece::batches`].
    pub(crate) fn cut_to(&mut self, last: Seq) -> Result<(), Error> {
        self.seal();
        self.forget_to(last);
        if let Some(first) = self.sealed.first() {
            let rest = first.after(last)?;
            self.sealed.splice(..1, rest);
        }
        Ok(())
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.sealed.iter().map(Piece::rows).sum::<usize>() + self.growing.len()
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
        self.sealed.push(Piece::Chunk(Arc::clone(&chunk)));
        Some(chunk)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;

    use super::*;

    fn records(seqs: std::ops::RangeInclusive<u64>) -> Vec<Box<Record>> {
        let record = |seq| {
            let mut record = Box::new(crate::testing::record(seq));
            record.seq = Seq::new(seq);
            record
        };
        seqs.map(record).collect()
    }

    #[test]
    fn rows_up_to_a_place_within_a_chunk_are_forgotten() {
        let mut hot = Hot::default();
        hot.push(records(1..=600));
        hot.push(records(601..=700));
        hot.cut_to(Seq::new(250)).unwrap();
        assert_eq!(hot.rows(), 450);
        hot.cut_to(Seq::new(600)).unwrap();
        assert_eq!(hot.rows(), 100);
        hot.cut_to(Seq::new(700)).unwrap();
        assert_eq!(hot.rows(), 0);
    }

    fn seqs(pieces: &[Piece]) -> Vec<i64> {
        let batches = pieces.iter().flat_map(|piece| piece.batches().unwrap());
        batches
            .flat_map(|batch| {
                let seqs = batch.column_by_name("seq").unwrap().as_primitive::<Int64Type>().clone();
                seqs.values().to_vec()
            })
            .collect()
    }

    #[test]
    fn packed_rows_stay_in_their_places_and_a_piece_ends_where_the_log_was_rotated() {
        let mut hot = Hot::default();
        for first in (1..=2_000).step_by(100) {
            hot.push(records(first..=first + 99));
            hot.seal();
        }
        let (rotated, unpacked_max) = (Seq::new(300), 700);
        while let Some(loose) = hot.loose(unpacked_max, &[rotated]) {
            hot.replace(&loose, loose.pack().unwrap());
        }
        let pieces = hot.pieces();
        let packed: Vec<_> = pieces.iter().filter(|piece| matches!(piece, Piece::Packed(_))).collect();
        assert_eq!(
            packed.iter().map(|piece| piece.last_seq().get()).collect::<Vec<_>>(),
            [300, 1_000]
        );
        assert_eq!((pieces.len(), hot.rows()), (2 + 10, 2_000));
        assert_eq!(seqs(&pieces), (1..=2_000).collect::<Vec<_>>());
        assert_eq!(seqs(&hot.pieces_to(rotated, 10_000)), (1..=300).collect::<Vec<_>>());
        // A table that is reached again may have some of them.
        hot.cut_to(Seq::new(650)).unwrap();
        assert_eq!(seqs(&hot.pieces()), (651..=2_000).collect::<Vec<_>>());
    }

    #[test]
    fn chunks_that_were_flushed_while_they_were_packed_do_not_come_back() {
        let mut hot = Hot::default();
        for first in (1..=500).step_by(100) {
            hot.push(records(first..=first + 99));
            hot.seal();
        }
        let loose = hot.loose(200, &[]).unwrap();
        assert_eq!(loose.chunks.len(), 2);
        hot.forget_to(Seq::new(100));
        hot.replace(&loose, loose.pack().unwrap());
        assert_eq!(seqs(&hot.pieces()), (101..=500).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_recovered_beyond_a_limit_is_packed() {
        let mut recovering = Recovering::new(1_024);
        records(1..=5_000).into_iter().for_each(|row| recovering.push(row).unwrap());
        let pieces = recovering.finish().unwrap();
        let loose: usize = pieces
            .iter()
            .filter(|piece| matches!(piece, Piece::Chunk(_)))
            .map(Piece::rows)
            .sum();
        assert!((1_024..2 * 1_024).contains(&loose), "{loose} rows are not packed");
        assert_eq!(seqs(&pieces), (1..=5_000).collect::<Vec<_>>());
    }
}
