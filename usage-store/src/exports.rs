//! Rows for exporters: by place, in pages, from memory or from the table, whichever has them.
//!
//! # Invariants
//! 1. Places of an instance have no gaps, so rows behind a place are read stretch by stretch, and a stretch that has been read is passed whether rows of it pass
//!    the filter or not.
//! 2. A row is in memory or in the table of one snapshot, never in neither: a flush moves it between two reads, not during one.
//! 3. Of the rows that are read from files a stretch is kept, so that a backlog does not read a file for every page. That is all the memory it takes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use datafusion::prelude::SessionContext;
use tollgate_record::{Name, Seq, Timestamp};

use crate::budgets::session;
use crate::hot::Held;
use crate::scan::{Files, Scan};
use crate::schema::usage_schema;
use crate::store::Shared;
use crate::table::Table;
use crate::table::name::FileName;
use crate::wal::lock;
use crate::{Error, Store};

/// Places that are read out of files together.
const STRETCH: u64 = 32_768;

/// By instance, a place.
pub type Places = BTreeMap<Name, Seq>;

/// Rows, and where to go on.
#[derive(Clone, Debug)]
pub struct Page {
    /// Columns of table `usage`; rows of one instance in the order of `seq`.
    pub rows: RecordBatch,
    /// Behind the last row that was looked at.
    pub next: Places,
    /// Whether there is more behind it.
    pub more: bool,
}

/// The rows of a store, for one reader: what it reads ahead is its own.
pub struct Rows {
    shared: Arc<Shared>,
    /// Where it runs, so that it takes no thread of the request path.
    threads: tokio::runtime::Handle,
    ahead: Mutex<Option<Ahead>>,
}

/// A stretch that was read and is handed out page by page.
#[derive(Clone)]
struct Ahead {
    filter: Option<String>,
    instance: Name,
    /// The place behind which the stretch begins, as far as it was handed out.
    from: Seq,
    /// Its last place.
    to: Seq,
    rows: RecordBatch,
}

/// Table and memory at one instant.
struct Seen {
    table: Table,
    hot: Vec<crate::hot::Piece>,
    /// The last place that the table has of this gateway.
    committed: Seq,
    /// The last place of this gateway.
    last: Seq,
}

// === impl Store ===

impl Store {
    /// The rows, for an exporter; `threads` is where they are read.
    pub fn rows(&self, threads: tokio::runtime::Handle) -> Rows {
        Rows {
            shared: self.shared_arc(),
            threads,
            ahead: Mutex::default(),
        }
    }
}

// === impl Rows ===

impl Rows {
    /// At most `rows_max` rows behind some places that pass a filter, an SQL boolean expression over the columns of table `usage`.
    ///
    /// # Errors
    /// What the table says, or the engine of the filter.
    pub async fn read(&self, from: &Places, filter: Option<&str>, rows_max: usize) -> Result<Page, Error> {
        let seen = self.seen();
        let ends = self.ends(&seen).await?;
        let mut next = from.clone();
        for (instance, end) in &ends {
            let place = from.get(instance).copied().unwrap_or(Seq::ZERO);
            if place >= *end {
                continue;
            }
            let ahead = match self.kept(filter, instance, place) {
                Some(ahead) => ahead,
                None => self.stretch(&seen, filter, instance, place, *end).await?,
            };
            let count = ahead.rows.num_rows().min(rows_max.max(1));
            let rows = ahead.rows.slice(0, count);
            let rest = ahead.rows.slice(count, ahead.rows.num_rows() - count);
            let reached = match rest.num_rows() {
                0 => ahead.to,
                _ => place_of(&rows, count - 1)?,
            };
            next.insert(instance.clone(), reached);
            *lock(&self.ahead) = (rest.num_rows() > 0).then(|| Ahead {
                from: reached,
                rows: rest,
                ..ahead
            });
            let more = ends
                .iter()
                .any(|(instance, end)| next.get(instance).is_none_or(|place| place < end));
            return Ok(Page { rows, next, more });
        }
        Ok(Page {
            rows: RecordBatch::new_empty(usage_schema()),
            next,
            more: false,
        })
    }

    /// The places behind every row that there is; or, given an instant, of each instance the furthest place up to which every row started before it.
    ///
    /// # Errors
    /// As of [`Rows::read`].
    pub async fn end(&self, before: Option<Timestamp>) -> Result<Places, Error> {
        let seen = self.seen();
        let mut ends = self.ends(&seen).await?;
        if let Some(before) = before {
            let us = before.unix_us();
            let text = format!(
                "SELECT instance, min(seq) AS seq FROM usage WHERE start_time >= to_timestamp_micros({us}) GROUP BY instance"
            );
            for (instance, first) in self.places(&seen, &text).await? {
                ends.insert(instance, Seq::new(first.get().saturating_sub(1)));
            }
        }
        Ok(ends)
    }

    /// Rows behind some places, and microseconds since the first of them started.
    ///
    /// # Errors
    /// As of [`Rows::read`].
    pub async fn lag(&self, from: &Places) -> Result<(u64, Option<u64>), Error> {
        let seen = self.seen();
        let ends = self.ends(&seen).await?;
        let mut rows = 0;
        let mut oldest: Option<i64> = None;
        for (instance, end) in &ends {
            let place = from.get(instance).copied().unwrap_or(Seq::ZERO);
            let behind = end.get().saturating_sub(place.get());
            if behind == 0 {
                continue;
            }
            rows += behind;
            let text = format!(
                "SELECT start_time FROM usage WHERE instance = {} AND seq > {} AND seq <= {} ORDER BY seq LIMIT 1",
                quoted(instance),
                place.get(),
                place.get() + behind.min(STRETCH)
            );
            let found = self.sql(&seen, Some((instance, place)), text).await?;
            if found.num_rows() > 0 {
                let times = cast(
                    found.column(0),
                    &DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None),
                )?;
                let time = times.as_primitive::<TimestampMicrosecondType>().value(0);
                oldest = Some(oldest.map_or(time, |known| known.min(time)));
            }
        }
        let now = self.shared.now().unix_us();
        Ok((
            rows,
            oldest.map(|oldest| u64::try_from(now.saturating_sub(oldest)).unwrap_or(0)),
        ))
    }

    fn seen(&self) -> Seen {
        // Before the view is held: the log holds itself while it shows rows.
        let last = self.shared.last_seq();
        let mut view = lock(self.shared.view());
        let hot = view.hot.pieces();
        // What is in memory follows what the table has.
        let held: u64 = hot.iter().map(|piece| piece.rows() as u64).sum();
        let last = hot.last().map_or(last, |piece| piece.last_seq());
        Seen {
            table: view.table.clone(),
            committed: Seq::new(last.get().saturating_sub(held)),
            last,
            hot,
        }
    }

    /// The last place of every instance that has rows.
    async fn ends(&self, seen: &Seen) -> Result<Places, Error> {
        let own = self.shared.recorder().instance.clone();
        let mut ends = Places::new();
        if seen.table.is_open() {
            let files = seen.table.scanned()?;
            let mut unknown = Vec::new();
            for file in files.places() {
                match FileName::one_instance(&file).and_then(|(instance, last)| Some((Name::new(&instance).ok()?, last))) {
                    Some((instance, last)) => raise(&mut ends, instance, last),
                    None => unknown.push(file.path.to_owned()),
                }
            }
            for (instance, last) in self.looked_into(&files, &unknown).await? {
                raise(&mut ends, instance, last);
            }
        }
        ends.insert(own, seen.last);
        Ok(ends)
    }

    /// The last places in files of which the log does not say whose rows they have; each is looked into once.
    async fn looked_into(&self, files: &Files, paths: &[String]) -> Result<Places, Error> {
        let known = &self.shared.exports().known;
        let fresh: Vec<&String> = paths.iter().filter(|path| !lock(known).contains_key(*path)).collect();
        for path in fresh {
            let one = files.only(|other| other == path)?;
            let usage = Scan::new("usage", &usage_schema(), Some(one), Vec::new());
            let found = self
                .ask(
                    usage,
                    "SELECT instance, max(seq) AS seq FROM usage GROUP BY instance".to_owned(),
                )
                .await?;
            lock(known).insert(path.clone(), Arc::new(read_places(&found)?));
        }
        let mut ends = Places::new();
        let mut known = lock(known);
        known.retain(|path, _| paths.contains(path));
        for (instance, last) in known.values().flat_map(|places| places.iter()) {
            raise(&mut ends, instance.clone(), *last);
        }
        Ok(ends)
    }

    fn kept(&self, filter: Option<&str>, instance: &Name, place: Seq) -> Option<Ahead> {
        let ahead = lock(&self.ahead).take()?;
        (ahead.filter.as_deref() == filter && ahead.instance == *instance && ahead.from == place).then_some(ahead)
    }

    /// Whether the rows behind a place are all in memory.
    fn only_hot(&self, seen: &Seen, instance: &Name, place: Seq) -> bool {
        *instance == self.shared.recorder().instance && place >= seen.committed
    }

    /// The rows of a stretch behind a place.
    async fn stretch(&self, seen: &Seen, filter: Option<&str>, instance: &Name, place: Seq, end: Seq) -> Result<Ahead, Error> {
        let to = Seq::new(end.get().min(place.get() + STRETCH));
        let filter_text = filter.map_or(String::new(), |filter| format!(" AND ({filter})"));
        let text = format!(
            "SELECT * FROM usage WHERE instance = {} AND seq > {} AND seq <= {}{filter_text} ORDER BY seq",
            quoted(instance),
            place.get(),
            to.get(),
        );
        let rows = self.sql(seen, Some((instance, place)), text).await?;
        Ok(Ahead {
            filter: filter.map(str::to_owned),
            instance: instance.clone(),
            from: place,
            to,
            rows,
        })
    }

    async fn places(&self, seen: &Seen, text: &str) -> Result<Places, Error> {
        read_places(&self.sql(seen, None, text.to_owned()).await?)
    }

    /// `behind` is a place, if only rows behind it are asked for: of those in memory that come before it nothing is read then.
    async fn sql(&self, seen: &Seen, behind: Option<(&Name, Seq)>, text: String) -> Result<RecordBatch, Error> {
        let only_hot = behind.is_some_and(|(instance, place)| self.only_hot(seen, instance, place));
        let own = &self.shared.recorder().instance;
        let wanted =
            |piece: &&crate::hot::Piece| behind.is_none_or(|(instance, place)| instance != own || piece.last_seq() > place);
        let hot: Vec<_> = seen.hot.iter().filter(wanted).cloned().collect();
        let files = match only_hot {
            true => None,
            false if seen.table.is_open() => Some(seen.table.scanned()?),
            // What is in it is not known.
            false => return Err(Error::Nothing),
        };
        let usage = Scan::new("usage", &usage_schema(), files, Held::of(&hot)?);
        self.ask(usage, text).await
    }

    async fn ask(&self, usage: Scan, text: String) -> Result<RecordBatch, Error> {
        let asking = self.threads.spawn(async move {
            let context = SessionContext::new_with_state(session());
            context.register_table("usage", Arc::new(usage)).map_err(Error::query)?;
            let found = context.sql(&text).await.map_err(Error::query)?;
            let schema = Arc::new(found.schema().as_arrow().clone());
            let batches = found.collect().await.map_err(Error::query)?;
            Ok(concat_batches(&schema, &batches)?)
        });
        asking.await.map_err(|_| Error::TaskEnded)?
    }
}

/// What is remembered of files for all readers.
#[derive(Default)]
pub(crate) struct Exports {
    known: Mutex<HashMap<String, Arc<Places>>>,
}

fn raise(places: &mut Places, instance: Name, last: Seq) {
    let place = places.entry(instance).or_insert(Seq::ZERO);
    *place = (*place).max(last);
}

fn read_places(found: &RecordBatch) -> Result<Places, Error> {
    let (instances, seqs) = (
        cast(found.column(0), &DataType::Utf8)?,
        cast(found.column(1), &DataType::Int64)?,
    );
    let (instances, seqs) = (instances.as_string::<i32>(), seqs.as_primitive::<Int64Type>());
    let mut places = Places::new();
    for row in 0..found.num_rows() {
        if let Ok(instance) = Name::new(instances.value(row)) {
            places.insert(instance, Seq::new(u64::try_from(seqs.value(row)).unwrap_or(0)));
        }
    }
    Ok(places)
}

/// The place of a row.
fn place_of(rows: &RecordBatch, row: usize) -> Result<Seq, Error> {
    let column = rows.column_by_name("seq").ok_or(Error::TaskEnded)?;
    let seqs = cast(column, &DataType::Int64)?;
    let seqs = seqs.as_primitive::<Int64Type>();
    Ok(Seq::new(u64::try_from(seqs.value(row)).unwrap_or(0)))
}

fn quoted(name: &Name) -> String {
    format!("'{}'", name.as_str().replace('\'', "''"))
}
