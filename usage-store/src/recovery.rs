//! What the log says after a stop or a crash.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use tollgate_record::{Call, CallId, Ending, Intent, Name, Outcome, Record, Seq, Usage, UsageSource};

use crate::Error;
use crate::disk::Disk;
use crate::wal::entry::{self, Kind};
use crate::wal::segment::{Break, MAGIC, Scan, Segment};
use tollgate_rating::PriceBook;

/// Bytes of a request that are taken for one input token where nothing better is known.
const BYTES_PER_TOKEN: u64 = 4;

/// What the log holds.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// How many settled rows the table lacks.
    pub(crate) rows: usize,
    /// Calls that were admitted and never ended, by time.
    pub(crate) open: Vec<Intent>,
    /// The last place in the log; 0 if it has none.
    pub(crate) last_seq: Seq,
    /// The newest segment's number; 0 if there is none.
    pub(crate) last_segment: u64,
    /// The segments whose entries these are, and their bytes.
    pub(crate) segments: BTreeMap<u64, u64>,
    /// Segments that hold stretches without whole entries.
    pub(crate) broken: Vec<(Segment, Vec<Break>)>,
    /// Segments that a deletion left behind: the table has all their rows.
    pub(crate) leftover: Vec<Segment>,
    /// Segments that are not there, between others whose rows the table lacks.
    pub(crate) missing: Vec<PathBuf>,
}

/// An entry that opened a call, not yet decoded.
struct Opened {
    payload: Box<[u8]>,
    segment: u64,
    offset: u64,
}

impl Recovered {
    /// Reads the log, and hands out the settled rows that the table lacks, in the order of their places: those after `committed`.
    /// Changes nothing.
    ///
    /// # Errors
    /// [`Error::Format`] at a log of another version, [`Error::Unreadable`] at an entry of another version, [`Error::Io`], and what `row` says.
    pub(crate) fn read(
        disk: &dyn Disk,
        folder: &Path,
        committed: Seq,
        mut row: impl FnMut(Box<Record>) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let mut recovered = Self::default();
        // Most calls end: what opened them is decoded only if they did not.
        let mut open: HashMap<CallId, Opened> = HashMap::new();
        let segments = Segment::list(disk, folder)?;
        recovered.last_segment = segments.last().map_or(0, |segment| segment.number);
        // A mark in a segment proves that all of its predecessors were synced. Those from the last marked one on may end torn.
        let mut unproven = segments.last().map_or(0, |segment| segment.number);
        for segment in segments.iter().rev() {
            unproven = segment.number;
            if segment.is_marked(disk)? {
                break;
            }
        }
        let mut before: Option<u64> = None;
        let mut older: Vec<(Segment, u64)> = Vec::new();
        for segment in segments {
            if let Some(before) = before.filter(|before| before + 1 != segment.number) {
                // Segments are deleted oldest first: those before a gap are leftovers of a deletion that a power cut reordered, unless
                // rows of theirs were never committed.
                if recovered.rows == 0 {
                    recovered.leftover.extend(older.drain(..).map(|(segment, _)| segment));
                    recovered.broken.clear();
                    open.clear();
                } else {
                    let lost = (before + 1..segment.number).map(|number| Segment::new(folder, number).path);
                    recovered.missing.extend(lost);
                }
            }
            before = Some(segment.number);
            let Scan { length, breaks } = segment.scan(disk, segment.number >= unproven, |format, offset, entry| {
                let unreadable = |_| Error::Unreadable {
                    path: segment.path.clone(),
                    offset,
                };
                match entry.kind {
                    Kind::Opened => {
                        let opened = Opened {
                            payload: entry.payload.into(),
                            segment: segment.number,
                            offset,
                        };
                        open.insert(entry::call_id(entry.payload).map_err(unreadable)?, opened);
                    }
                    Kind::Settled => {
                        open.remove(&entry::call_id(entry.payload).map_err(unreadable)?);
                        recovered.last_seq = recovered.last_seq.max(entry.seq);
                        if entry.seq > committed {
                            let mut record = entry::record(format, entry.payload).map_err(unreadable)?;
                            record.seq = entry.seq;
                            recovered.rows += 1;
                            row(record)?;
                        }
                    }
                    Kind::Synced => {}
                }
                Ok(())
            })?;
            if !breaks.is_empty() {
                recovered.broken.push((segment.clone(), breaks));
            }
            older.push((segment, length));
        }
        recovered.segments = older.into_iter().map(|(segment, length)| (segment.number, length)).collect();
        let open = open.into_values().map(|opened| {
            entry::decode(&opened.payload).map_err(|_| Error::Unreadable {
                path: Segment::new(folder, opened.segment).path,
                offset: opened.offset,
            })
        });
        recovered.open = open.collect::<Result<_, _>>()?;
        recovered.open.sort_by_key(|intent| intent.call_id);
        Ok(recovered)
    }

    /// Refuses a log that no crash explains.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Missing`] at the first place.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if let Some(path) = self.missing.first() {
            return Err(Error::Missing { path: path.clone() });
        }
        let damage = |(segment, breaks): &(Segment, Vec<Break>)| {
            let found = breaks.iter().find(|found| found.damage)?;
            Some(Error::Damaged {
                path: segment.path.clone(),
                offset: found.start,
                bytes: found.end - found.start,
                reason: found.reason,
            })
        };
        self.broken.iter().find_map(damage).map_or(Ok(()), Err)
    }

    /// Makes the log whole and durable as it was read: cuts breaks out, deletes leftovers, syncs the rest.
    ///
    /// After this, what was read survives a power cut, and every segment is one that only damage can break.
    ///
    /// # Errors
    /// [`Error::Io`] if the disk refuses; the log reads the same then.
    pub(crate) fn settle(&mut self, disk: &dyn Disk, folder: &Path) -> Result<(), Error> {
        for (segment, breaks) in &self.broken {
            let length = self.segments.get(&segment.number).copied().unwrap_or_default();
            let lost: u64 = breaks.iter().map(|found| found.end - found.start).sum();
            tracing::warn!(
                segment = %segment.path.display(),
                offset = breaks.first().map_or(0, |found| found.start),
                bytes = lost,
                "bytes that belong to no whole entry were cut out of the log"
            );
            // Even one that was created and not yet begun stays: a gap in the numbers would look like a loss.
            segment.rewrite(disk, breaks)?;
            self.segments.insert(segment.number, (length - lost).max(MAGIC.len() as u64));
        }
        for number in self.segments.keys() {
            let path = Segment::new(folder, *number).path;
            let synced = disk.open(&path).and_then(|file| file.sync());
            synced.map_err(Error::io("sync", &path))?;
        }
        for segment in self.leftover.drain(..) {
            segment.delete(disk)?;
        }
        disk.sync_folder(folder).map_err(Error::io("sync", folder))
    }
}

/// The row of a call that was open when the gateway crashed.
///
/// Nothing of the answer is known. Its input is estimated by the request's size, its output not at all: the row is a lower bound,
/// marked `estimated`.
pub(crate) fn interrupted(instance: &Name, intent: Intent, prices: &PriceBook) -> Record {
    let mut ending = Ending::of(Outcome::Interrupted);
    if intent.bears_usage {
        ending.usage = Usage {
            source: UsageSource::Estimated,
            input: Some(intent.request_bytes.div_ceil(BYTES_PER_TOKEN)),
            ..Usage::default()
        };
    }
    let cost = crate::ledger::price(prices, &intent, &ending);
    Record::new(instance.clone(), intent, ending, cost)
}

/// The columns by which a call's price is found, for the log.
pub(crate) fn describe(call: &Call) -> String {
    let text = |name: &Option<Name>| name.as_ref().map_or("-", Name::as_str).to_owned();
    format!("{}/{}", text(&call.provider_name), text(&call.request_model))
}
