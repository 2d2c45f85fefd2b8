//! Rows of other systems: added through the log like any row, each once however often it comes.
//!
//! # Invariants
//! 1. An imported row's `call_id` follows from the other system's id, so the same row has the same `call_id` whenever it is read.
//! 2. A row is added only if no imported row of its day, or of a day beside it, has its `call_id`: neither in the table nor in memory.
//! 3. So after a crash half way the same import adds what is missing, and nothing else.

use std::collections::HashSet;
use std::path::Path;

use arrow::array::AsArray;
use datafusion::prelude::{SessionContext, cast, col, lit};
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use tollgate_record::{CallId, Outcome, Record};

use super::{Store, lock_directory};
use crate::disk::Os;
use crate::recovery::Recovered;
use crate::wal::lock;
use crate::{Error, Tables};

/// What became of some rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Rows that are there now and were not before.
    pub added: usize,
    /// Rows that were there already.
    pub present: usize,
}

/// How many calls a crash left open in a data directory. The next [`Store::open`] records them at the prices it is given: one that is not the
/// gateway's own must not. Changes nothing.
///
/// # Errors
/// [`Error::InUse`] if a gateway runs on it, and what is wrong with its log.
pub fn open_calls(data: &Path) -> Result<usize, Error> {
    let folder = data.join("wal");
    if !folder.exists() {
        return Ok(0);
    }
    let _lock = lock_directory(&Os, data)?;
    // Rows do not matter here, so all of them count as committed.
    let recovered = Recovered::read(&Os, &folder, tollgate_record::Seq::new(u64::MAX), |_| Ok(()))?;
    Ok(recovered.open.len())
}

/// Finds those of the records that are imported already, by reading the ids of imported rows of their days and the days beside them: an
/// export in another time zone must not count as another row. Memory does not grow with the rows that are there.
///
/// # Errors
/// [`Error::Query`] if the rows cannot be read.
pub async fn imported(tables: &dyn Tables, records: &[Record]) -> Result<HashSet<CallId>, Error> {
    let days = || records.iter().map(|record| record.start_time.day());
    let (Some(first), Some(last)) = (days().min(), days().max()) else {
        return Ok(HashSet::new());
    };
    let named = tables.snapshot().await.map_err(Error::query)?;
    let usage = named.into_iter().find(|(name, _)| *name == "usage");
    let Some((_, usage)) = usage else { return Ok(HashSet::new()) };
    let day = |day: i32| lit(ScalarValue::Date32(Some(day)));
    let of_those_days = col("start_date").between(day(first.saturating_sub(1)), day(last.saturating_add(1)));
    let rows = SessionContext::new()
        .read_table(usage)
        .and_then(|usage| usage.filter(of_those_days.and(col("outcome").eq(lit(Outcome::Imported.as_str())))))
        .and_then(|usage| usage.select([cast(col("call_id"), arrow::datatypes::DataType::Utf8)]));
    let mut rows = rows.map_err(Error::query)?.execute_stream().await.map_err(Error::query)?;
    let wanted: HashSet<CallId> = records.iter().map(|record| record.call_id).collect();
    let mut found = HashSet::new();
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(Error::query)?;
        let ids = batch.column(0).as_string::<i32>();
        // Ids that are none of ours cannot be among the wanted ones.
        found.extend(
            ids.iter()
                .flatten()
                .filter_map(|id| id.parse().ok())
                .filter(|id| wanted.contains(id)),
        );
    }
    Ok(found)
}

impl Store {
    /// The most rows that [`Store::import`] should be given at once: they are in memory several times over.
    pub const IMPORT_ROWS_MAX: usize = 20_000;

    /// Adds rows of another system that are not there yet. When it returns, they are durable as any row is.
    ///
    /// One import at a time: two that run at once may both find a row missing.
    ///
    /// # Errors
    /// [`Error::Io`] if a row cannot be recorded, [`Error::Query`] if the rows that are there cannot be read. Some rows may be added then;
    /// the same import adds the rest.
    pub async fn import(&self, records: Vec<Record>) -> Result<Imported, Error> {
        let mut known = imported(&*self.tables(), &records).await?;
        let mut done = Imported::default();
        let mut writing = Vec::with_capacity(records.len());
        for mut record in records {
            if !known.insert(record.call_id) {
                done.present += 1;
                continue;
            }
            record.instance = self.shared.config.instance.clone();
            writing.push(self.shared.recorder.record(record));
        }
        for written in writing {
            written.await.map_err(|unavailable| Error::Io {
                action: "record imported rows in",
                path: self.shared.config.data.clone(),
                source: std::io::Error::other(unavailable),
            })?;
            done.added += 1;
        }
        // The flush that runs by itself may be slower than the log: then this waits for it.
        let waiting = lock(&self.shared.view).hot.rows();
        if waiting >= self.shared.config.flush_rows {
            self.flush().await?;
        }
        Ok(done)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tempfile::TempDir;
    use tollgate_record::{Name, Timestamp};

    use super::*;
    use crate::{Config, PriceBook};

    fn record(number: u64) -> Record {
        let mut record = crate::testing::record(number);
        let mut digest = [7; 16];
        digest[..8].copy_from_slice(&number.to_be_bytes());
        record.call_id = CallId::from_digest(digest);
        record.outcome = Outcome::Imported;
        record.start_time = Timestamp::from_unix_us(1_700_000_000_000_000 + number as i64 * Timestamp::DAY_US / 10);
        record
    }

    async fn open(dir: &TempDir) -> Store {
        let config = Config::new(dir.path(), Name::new("gw").unwrap()).unwrap();
        Store::open(config, PriceBook::default()).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn rows_are_added_once_be_they_in_memory_or_in_the_table_or_twice_in_the_import() {
        let dir = TempDir::new().unwrap();
        let store = open(&dir).await;
        let import = |range: std::ops::Range<u64>| store.import(range.map(record).collect());
        assert_eq!(import(0..10).await.unwrap(), Imported { added: 10, present: 0 });
        assert_eq!(import(5..15).await.unwrap(), Imported { added: 5, present: 5 });
        store.flush().await.unwrap();
        assert_eq!(import(0..30).await.unwrap(), Imported { added: 15, present: 15 });
        assert_eq!(
            store.import(vec![record(40), record(40)]).await.unwrap(),
            Imported { added: 1, present: 1 }
        );
        // The same row, a day later.
        let mut moved = record(3);
        moved.start_time = Timestamp::from_unix_us(moved.start_time.unix_us() + Timestamp::DAY_US);
        assert_eq!(store.import(vec![moved]).await.unwrap(), Imported { added: 0, present: 1 });
        store.close().await.unwrap();
        let store = open(&dir).await;
        assert_eq!(store.import((0..30).map(record).collect()).await.unwrap().present, 30);
        assert_eq!(store.import(Vec::new()).await.unwrap(), Imported::default());
        store.close().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_import_that_a_crash_cut_off_is_completed_by_the_next() {
        let dir = TempDir::new().unwrap();
        let store = open(&dir).await;
        store.import((0..12).map(record).collect()).await.unwrap();
        // Not closed: what was written is in the log only.
        drop(store);
        let store = open(&dir).await;
        assert_eq!(
            store.import((0..20).map(record).collect()).await.unwrap(),
            Imported { added: 8, present: 12 }
        );
        store.close().await.unwrap();
    }
}
