//! What the log says after a stop or a crash.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use tollgate_record::{Call, CallId, Ending, Intent, Name, Outcome, Record, Seq, Usage, UsageSource};

use crate::Error;
use crate::rating::PriceBook;
use crate::wal::entry::{self, Kind};
use crate::wal::segment::{MAGIC, Segment};

/// Bytes of a request that are taken for one input token where nothing better is known.
const BYTES_PER_TOKEN: u64 = 4;

/// What the log holds.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// Settled rows that the table lacks, in the order of their places.
    pub(crate) rows: Vec<Box<Record>>,
    /// Calls that were admitted and never ended, by time.
    pub(crate) open: Vec<Intent>,
    /// The last place in the log; 0 if it has none.
    pub(crate) last_seq: Seq,
    /// The newest segment's number; 0 if there is none.
    pub(crate) last_segment: u64,
}

impl Recovered {
    /// Reads the log. Rows up to `committed` are in the table and left out.
    ///
    /// With `repair`, a torn end is cut off, so that the log is whole when writing goes on.
    ///
    /// # Errors
    /// [`Error::Damaged`] at damage before the end, [`Error::Format`] at a log of another version, [`Error::Io`].
    pub(crate) fn read(folder: &Path, committed: impl Fn(&Name) -> Seq, repair: bool) -> Result<Self, Error> {
        let mut recovered = Self::default();
        let mut open: HashMap<CallId, Intent> = HashMap::new();
        let segments = Segment::list(folder)?;
        let newest = segments.last().map_or(0, |segment| segment.number);
        for segment in &segments {
            let contents = segment.read(segment.number == newest)?;
            if contents.end < MAGIC.len() {
                // Created and not yet begun: nothing was ever acknowledged from it.
                if repair {
                    segment.delete()?;
                }
                continue;
            }
            let damaged = |reason| Error::Damaged {
                path: segment.path.clone(),
                offset: 0,
                reason,
            };
            for entry in contents.entries() {
                match entry.kind {
                    Kind::Opened => {
                        let intent: Intent = entry::decode(entry.payload).map_err(|_| damaged("an opened entry cannot be read"))?;
                        open.insert(intent.call_id, intent);
                    }
                    Kind::Settled => {
                        let mut record: Record =
                            entry::decode(entry.payload).map_err(|_| damaged("a settled entry cannot be read"))?;
                        open.remove(&record.call_id);
                        record.seq = entry.seq;
                        recovered.last_seq = recovered.last_seq.max(entry.seq);
                        if record.seq > committed(&record.instance) {
                            recovered.rows.push(Box::new(record));
                        }
                    }
                }
            }
            if contents.torn && repair {
                tracing::warn!(segment = %segment.path.display(), offset = contents.end, "the torn end of the log was cut off");
                File::options()
                    .write(true)
                    .open(&segment.path)
                    .and_then(|file| file.set_len(contents.end as u64).and_then(|()| file.sync_all()))
                    .map_err(Error::io("cut", &segment.path))?;
            }
            recovered.last_segment = segment.number;
        }
        recovered.rows.sort_by_key(|record| record.seq);
        recovered.open = open.into_values().collect();
        recovered.open.sort_by_key(|intent| intent.call_id);
        Ok(recovered)
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
    let cost = crate::ledger::price(prices, &intent.call, &ending, intent.start_time);
    Record::new(instance.clone(), intent, ending, cost)
}

/// The columns by which a call's price is found, for the log.
pub(crate) fn describe(call: &Call) -> String {
    let text = |name: &Option<Name>| name.as_ref().map_or("-", Name::as_str).to_owned();
    format!("{}/{}", text(&call.provider_name), text(&call.request_model))
}
