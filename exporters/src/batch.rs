//! Making batches of what the ledger is read.
//!
//! 1. Batches come in the order of the pages; the cursor of each lies behind its last row and before the first row of the next.
//! 2. No batch has more rows than allowed, and none more bytes, by the mean of its page's rows; a single row goes out however large it is.
//! 3. In memory are at most one page, one batch that is being filled, and what was taken.

use std::collections::VecDeque;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::error::ArrowError;

use crate::schema::as_usage;
use crate::settings::BatchLimits;
use crate::shape::Shape;
use crate::{Cursor, Page, rows};

/// The wait for more rows where the ledger says that it has some, but hardly any of them leaves.
const FILLING_MAX: Duration = Duration::from_secs(1);

/// Guess of a row's bytes before the first page.
const ROW_BYTES: usize = 1024;

/// Rows on their way, and where to go on behind them.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// What leaves.
    pub(crate) rows: RecordBatch,
    /// Behind them.
    pub(crate) next: Cursor,
}

#[derive(Debug)]
struct Filling {
    parts: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    next: Cursor,
    since: Duration,
}

#[derive(Debug)]
pub(crate) struct Batcher {
    limits: BatchLimits,
    /// Behind all that was read.
    ahead: Cursor,
    ready: VecDeque<Batch>,
    filling: Option<Filling>,
    /// Whether the last page said that there is more.
    more: bool,
    row_bytes: usize,
}

// === impl Batcher ===

impl Batcher {
    pub(crate) fn new(from: Cursor, limits: BatchLimits) -> Self {
        Self {
            limits,
            ahead: from,
            ready: VecDeque::new(),
            filling: None,
            more: true,
            row_bytes: ROW_BYTES,
        }
    }

    /// Behind all that was read.
    pub(crate) fn ahead(&self) -> &Cursor {
        &self.ahead
    }

    /// Whether the ledger had more when it was last read.
    pub(crate) fn more(&self) -> bool {
        self.more
    }

    /// How many rows to read next: a batch, by the mean size of those read last.
    pub(crate) fn rows_to_read(&self) -> usize {
        (self.limits.bytes / self.row_bytes.max(1)).clamp(1, self.limits.rows.max(1))
    }

    /// Whether nothing is held that was not taken: all that was read was taken, or left out.
    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.filling.is_none()
    }

    /// Whether a batch can be taken without waiting.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Adds a page that was read behind [`Batcher::ahead`].
    ///
    /// # Errors
    /// Rows of another schema; nothing was added then.
    pub(crate) fn add(&mut self, page: &Page, shape: &Shape, now: Duration) -> Result<(), ArrowError> {
        let shaped = shape.apply(&as_usage(&page.rows)?)?;
        let (rows, bytes) = (shaped.num_rows(), rows::bytes(&shaped));
        self.more = page.more;
        if rows == 0 {
            if let Some(filling) = &mut self.filling {
                filling.next.clone_from(&page.next);
            }
            self.ahead.clone_from(&page.next);
            return Ok(());
        }
        self.row_bytes = bytes.div_ceil(rows).max(1);
        let step = self.rows_to_read();
        for start in (0..rows).step_by(step) {
            let part = shaped.slice(start, step.min(rows - start));
            let next = if start + step < rows {
                rows::behind(&part, &self.ahead)
            } else {
                page.next.clone()
            };
            self.push(part, next, now)?;
        }
        Ok(())
    }

    fn push(&mut self, part: RecordBatch, next: Cursor, now: Duration) -> Result<(), ArrowError> {
        let (rows, bytes) = (part.num_rows(), part.num_rows() * self.row_bytes);
        if self
            .filling
            .as_ref()
            .is_some_and(|filling| filling.rows + rows > self.limits.rows || filling.bytes + bytes > self.limits.bytes)
        {
            self.close()?;
        }
        self.ahead.clone_from(&next);
        let filling = self.filling.get_or_insert_with(|| Filling {
            parts: Vec::new(),
            rows: 0,
            bytes: 0,
            next: Cursor::default(),
            since: now,
        });
        filling.parts.push(part);
        filling.rows += rows;
        filling.bytes += bytes;
        filling.next = next;
        // Half a row is missing at most: a batch of the step's size is full.
        if filling.rows >= self.limits.rows || filling.bytes + self.row_bytes > self.limits.bytes {
            self.close()?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), ArrowError> {
        if let Some(filling) = self.filling.take() {
            let rows = match filling.parts.as_slice() {
                [one] => one.clone(),
                parts => concat_batches(&parts.first().expect("a batch that is filled has a part").schema(), parts)?,
            };
            self.ready.push_back(Batch {
                rows,
                next: filling.next,
            });
        }
        Ok(())
    }

    /// When the batch that is being filled goes out as it is.
    pub(crate) fn due(&self) -> Option<Duration> {
        let linger = if self.more {
            self.limits.linger.max(FILLING_MAX)
        } else {
            self.limits.linger
        };
        self.filling.as_ref().map(|filling| filling.since + linger)
    }

    /// Takes the next batch that is full or due.
    ///
    /// # Errors
    /// Parts that do not fit each other, which the schema rules out.
    pub(crate) fn take(&mut self, now: Duration) -> Result<Option<Batch>, ArrowError> {
        if self.ready.is_empty() && self.due().is_some_and(|due| due <= now) {
            self.close()?;
        }
        Ok(self.ready.pop_front())
    }
}

#[cfg(test)]
mod tests {
    use tollgate_record::{Name, Seq};

    use super::*;
    use crate::testing::rows_of;

    fn limits(rows: usize, bytes: usize) -> BatchLimits {
        BatchLimits {
            rows,
            bytes,
            linger: Duration::from_secs(5),
        }
    }

    fn cursor(seq: u64) -> Cursor {
        Cursor([(Name::new("gw-1").unwrap(), Seq::new(seq))].into())
    }

    fn page(places: std::ops::RangeInclusive<u64>, more: bool) -> Page {
        let next = cursor(*places.end());
        Page {
            rows: rows_of("gw-1", places),
            next,
            more,
        }
    }

    /// Every batch that can be taken: its rows, and the place that its cursor has.
    fn taken(batcher: &mut Batcher, now: Duration) -> Vec<(usize, u64)> {
        let place = |batch: &Batch| batch.next.0.values().next().unwrap().get();
        std::iter::from_fn(|| batcher.take(now).unwrap())
            .map(|batch| (batch.rows.num_rows(), place(&batch)))
            .collect()
    }

    #[test]
    fn full_batches_go_out_at_once_and_the_rest_when_it_has_lingered() {
        let (mut batcher, start) = (Batcher::new(Cursor::default(), limits(10, usize::MAX)), Duration::ZERO);
        batcher.add(&page(1..=10, true), &Shape::default(), start).unwrap();
        batcher.add(&page(11..=14, false), &Shape::default(), start).unwrap();
        assert_eq!(taken(&mut batcher, start), [(10, 10)]);
        assert_eq!(batcher.due(), Some(start + Duration::from_secs(5)));
        batcher
            .add(&page(15..=16, false), &Shape::default(), start + Duration::from_secs(4))
            .unwrap();
        assert_eq!(taken(&mut batcher, start + Duration::from_secs(5)), [(6, 16)]);
        assert!(batcher.is_empty());
    }

    #[test]
    fn a_page_that_is_too_large_is_cut_and_each_cursor_stands_behind_its_rows() {
        let now = Duration::ZERO;
        let bytes = rows::bytes(&rows_of("gw-1", 1..=100));
        let mut batcher = Batcher::new(Cursor::default(), limits(1000, bytes / 3));
        batcher.add(&page(1..=100, false), &Shape::default(), now).unwrap();
        let batches = taken(&mut batcher, now + Duration::from_secs(5));
        assert_eq!(batches.iter().map(|(rows, _)| rows).sum::<usize>(), 100);
        let mut behind = 0;
        for (rows, place) in &batches {
            behind += *rows as u64;
            assert!(*rows <= 34, "{batches:?}");
            assert_eq!(behind, *place);
        }
        assert!(batcher.rows_to_read() <= 34);
    }

    #[test]
    fn pages_that_are_slices_of_more_rows_fill_batches_all_the_same() {
        let stretch = rows_of("gw-1", 1..=1000);
        let row = rows::bytes(&stretch) / 1000;
        let (mut batcher, now) = (Batcher::new(Cursor::default(), limits(100, 60 * row)), Duration::ZERO);
        let (mut read, mut batches) = (0, Vec::new());
        while read < 1000 {
            let count = batcher.rows_to_read().min(1000 - read);
            let rows = stretch.slice(read, count);
            read += count;
            let next = cursor(read as u64);
            let more = read < 1000;
            batcher.add(&Page { rows, next, more }, &Shape::default(), now).unwrap();
            batches.extend(taken(&mut batcher, now));
        }
        assert!(
            (16..=22).contains(&batches.len()),
            "60 rows in each, for they are alike: {batches:?}"
        );
    }

    #[test]
    fn a_row_larger_than_the_limit_goes_out_alone() {
        let now = Duration::ZERO;
        let mut batcher = Batcher::new(Cursor::default(), limits(1000, 1));
        batcher.add(&page(1..=3, false), &Shape::default(), now).unwrap();
        assert_eq!(taken(&mut batcher, now), [(1, 1), (1, 2), (1, 3)]);
    }

    #[test]
    fn what_the_filter_leaves_out_moves_the_cursor_of_the_batch_that_is_being_filled() {
        let now = Duration::ZERO;
        let mut batcher = Batcher::new(Cursor::default(), limits(10, usize::MAX));
        batcher.add(&page(1..=2, true), &Shape::default(), now).unwrap();
        let nothing = Page {
            rows: rows_of("gw-1", 1..=1).slice(0, 0),
            next: cursor(50),
            more: false,
        };
        batcher.add(&nothing, &Shape::default(), now).unwrap();
        assert_eq!(batcher.ahead(), &cursor(50));
        assert_eq!(taken(&mut batcher, now + Duration::from_secs(5)), [(2, 50)]);
        batcher.add(&nothing, &Shape::default(), now).unwrap();
        assert!(batcher.is_empty() && batcher.due().is_none());
    }
}
