//! Delivers a stretch of time once more, beside what is being delivered. The cursor stays where it is, and nothing is kept over a restart.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;
use chrono::{DateTime, SecondsFormat};
use tokio_util::sync::CancellationToken;
use tollgate_record::Timestamp;

use crate::batch::Batcher;
use crate::exporter::Exporter;
use crate::flight::Course;
use crate::runner::batch_limits;
use crate::schema::as_usage;
use crate::settings::BatchLimits;
use crate::{Cursor, Error, Page, SourceError, rows};

pub(crate) struct Replay {
    exporter: Exporter,
    from: Timestamp,
    to: Timestamp,
    halt: CancellationToken,
}

// === impl Replay ===

impl Replay {
    pub(crate) fn new(exporter: Exporter, from: Timestamp, to: Timestamp, halt: CancellationToken) -> Self {
        Self {
            exporter,
            from,
            to,
            halt,
        }
    }

    pub(crate) async fn run(self) -> Result<u64, Error> {
        let (course, source) = (self.exporter.course(), self.exporter.source());
        let filter = self.filter(course.settings.filter.as_deref());
        // A call may have started before `to` and been written after any that started later: only what there is now ends the range.
        let (start, end) = (source.end(Some(self.from)).await?, source.end(None).await?);
        let limits = BatchLimits {
            linger: std::time::Duration::ZERO,
            ..batch_limits(&course)
        };
        let (mut batcher, mut delivered) = (Batcher::new(start, limits), 0);
        loop {
            while let Some(batch) = batcher.take(course.ambient.elapsed()).map_err(unusable)? {
                delivered += self.deliver(&course, batch, delivered).await?;
            }
            if !batcher.more() || passed(batcher.ahead(), &end) {
                return Ok(delivered);
            }
            let page = source.read(batcher.ahead(), Some(&filter), batcher.rows_to_read()).await;
            let page = page.map_err(|error| self.cut(delivered, error.to_string()))?;
            let rows = as_usage(&page.rows)
                .and_then(|rows| self.within(&rows, &end))
                .map_err(unusable)?;
            // At the end of the range the last batch is closed as if there were no more.
            let more = page.more && !passed(&page.next, &end);
            batcher
                .add(
                    &Page {
                        rows,
                        next: page.next,
                        more,
                    },
                    &course.settings.shape,
                    course.ambient.elapsed(),
                )
                .map_err(unusable)?;
        }
    }

    async fn deliver(&self, course: &Arc<Course>, batch: crate::batch::Batch, before: u64) -> Result<u64, Error> {
        let landing = Arc::clone(course).fly(batch, self.halt.clone()).await;
        let landing =
            landing.ok_or_else(|| self.cut(before, "the exporter was stopped or its configuration replaced".to_owned()))?;
        let (dead, file) = (landing.dead, Arc::clone(self.exporter.dead()));
        let settled = landing.delivered + dead.len() as u64;
        {
            let mut status = self.exporter.shared().lock();
            status.replayed += landing.delivered;
            status.dead += dead.len() as u64;
        }
        if !dead.is_empty() {
            self.exporter.blocking(move || file.append(&dead)).await?;
        }
        Ok(settled)
    }

    /// The exporter's own filter, and the range: the ledger leaves out files by it.
    fn filter(&self, own: Option<&str>) -> String {
        let literal = |instant: Timestamp| {
            let time = DateTime::from_timestamp_micros(instant.unix_us()).unwrap_or_default();
            format!("TIMESTAMP '{}'", time.to_rfc3339_opts(SecondsFormat::Micros, true))
        };
        let range = format!("start_time >= {} AND start_time < {}", literal(self.from), literal(self.to));
        own.map_or_else(|| range.clone(), |own| format!("({own}) AND {range}"))
    }

    fn within(&self, page: &RecordBatch, end: &Cursor) -> Result<RecordBatch, ArrowError> {
        let inside = |row| {
            let started = rows::instant(page, "start_time", row).is_some_and(|instant| self.from <= instant && instant < self.to);
            let there = rows::place(page, row).is_some_and(|(instance, seq)| end.0.get(&instance).is_some_and(|last| seq <= *last));
            started && there
        };
        let mask: BooleanArray = (0..page.num_rows()).map(|row| Some(inside(row))).collect();
        filter_record_batch(page, &mask)
    }

    fn cut(&self, delivered: u64, reason: String) -> Error {
        Error::ReplayCut {
            name: self.exporter.name().to_owned(),
            delivered,
            reason,
        }
    }
}

/// Whether a cursor lies at or behind another one.
fn passed(cursor: &Cursor, end: &Cursor) -> bool {
    end.0
        .iter()
        .all(|(instance, last)| cursor.0.get(instance).is_some_and(|place| place >= last))
}

fn unusable(error: ArrowError) -> Error {
    Error::Source(SourceError {
        reason: error.to_string(),
    })
}
