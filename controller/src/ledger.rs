//! `spec.ledger` and `spec.query` of a Gateway: how calls are made durable, and what SQL may use.

use std::time::Duration;

use crate::field::Fields;
use crate::limits::count;
use crate::table::{Store, Table};
use crate::value::Value;

const FLUSH_ROWS: u64 = 262_144;
const FLUSH_BYTES: u64 = 256 << 20;
const FLUSH_INTERVAL: Duration = Duration::from_secs(60);
const SYNC_INTERVAL: Duration = Duration::from_millis(20);
const LOG_BYTES: u64 = 4 << 30;
const COMPACTION_TARGET: u64 = 128_000_000;
const COMPACTION_INTERVAL: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);
const HISTORY_DAYS: u32 = 30;
const QUERY_TIMEOUT: Duration = Duration::from_secs(30);
const QUERY_MEMORY: Memory = Memory::Percent(25);
const QUERY_ROWS_MAX: u64 = 1_000_000;
const QUERY_CONCURRENCY: u64 = 4;
const QUERY_QUEUE_MAX: u64 = 16;
const QUERY_QUEUE_WAIT: Duration = Duration::from_secs(5);
const QUERY_CLIENT_WAIT: Duration = Duration::from_secs(300);
const QUERY_SPILL_BYTES: u64 = 10 << 30;

/// How calls are made durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// What a client that has read its answer can rely on.
    pub durability: Durability,
    /// When rows leave the hot buffer for the table.
    pub flush: Flush,
    /// Where the table lies; `None` is `usage` in the data directory.
    pub table: Option<Table>,
    /// How the table's object store is reached, if it lies in one.
    pub store: Store,
    /// Longest wait of a written row for fdatasync with [`Durability::Process`].
    pub sync_interval: Duration,
    /// Bytes of the write-ahead log from which on calls are refused; an alarm is raised at half of it.
    pub log_bytes: u64,
    /// How small files of the table become large ones.
    pub compaction: Compaction,
    /// Days after which rows are removed from the table; `None` keeps them for ever.
    pub retention_days: Option<u32>,
    /// How long a version of the table can be read after it is out of date.
    pub history: Duration,
}

/// How small files of the table become large ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// Size of the files that small ones are merged into.
    pub target: u64,
    /// How often it is looked what there is to merge.
    pub interval: Duration,
}

/// What survives when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A record survives the end of the process; a power cut may cost the last `sync_interval`.
    #[default]
    Process,
    /// A record survives a power cut.
    Power,
}

/// Bounds of what is not yet in the table; whichever is reached first starts a flush.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flush {
    /// Rows.
    pub rows: usize,
    /// Bytes of the write-ahead log that are not in the table.
    pub bytes: u64,
    /// Age of the oldest row.
    pub interval: Duration,
}

/// What SQL may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Longest work on a query, waiting for the client not counted.
    pub timeout: Duration,
    /// Longest wait for the client to take rows, added up over one query.
    pub client_wait: Duration,
    /// Memory of all queries together, beyond which they spill to disk.
    pub memory: Memory,
    /// Most bytes that all queries together spill to disk.
    pub spill_bytes: u64,
    /// Most rows of an answer.
    pub rows_max: usize,
    /// Most queries at a time.
    pub concurrency: usize,
    /// Most queries that wait for one of those to end; one more is refused.
    pub queue_max: usize,
    /// Longest wait of a query to start.
    pub queue_wait: Duration,
}

/// An amount of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Of the machine's (or the container's), 1 to 90.
    Percent(u8),
    /// In bytes.
    Bytes(u64),
}

// === impl Ledger ===

impl Default for Ledger {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            flush: Flush::default(),
            table: None,
            store: Store::default(),
            sync_interval: SYNC_INTERVAL,
            log_bytes: LOG_BYTES,
            compaction: Compaction::default(),
            retention_days: None,
            history: DAY * HISTORY_DAYS,
        }
    }
}

impl Ledger {
    pub(crate) fn read(mut fields: Fields<'_>) -> Self {
        let durabilities = [("process", Durability::Process), ("power", Durability::Power)];
        let second = Duration::from_secs(1);
        let table = fields.take("table");
        let location = table.as_ref().and_then(Table::read);
        let ledger = Self {
            durability: fields.choice("durability", Durability::default(), &durabilities),
            flush: Flush::read(fields.map("flush")),
            store: Store::read(
                fields.map("store"),
                &location,
                table.is_none() || location.is_some(),
                "spec.ledger.table",
            ),
            table: location,
            sync_interval: fields.duration("sync_interval", SYNC_INTERVAL, Duration::from_millis(1)..=10 * second),
            log_bytes: fields.size("log_bytes", LOG_BYTES, (1 << 20)..=(1 << 50)),
            compaction: Compaction::read(fields.map("compaction")),
            retention_days: fields.take("retention").and_then(|value| days(&value)),
            history: fields.duration("history", DAY * HISTORY_DAYS, Duration::from_secs(3600)..=DAY * 3650),
        };
        fields.finish();
        ledger
    }
}

/// A time that rows are kept: they leave the table by whole days.
fn days(value: &Value<'_>) -> Option<u32> {
    let kept = value.duration(DAY..=DAY * 36_500)?;
    let days = kept.as_secs() / DAY.as_secs();
    if DAY * u32::try_from(days).ok()? != kept {
        value.wrong("must be whole days");
        return None;
    }
    u32::try_from(days).ok()
}

// === impl Compaction ===

impl Default for Compaction {
    fn default() -> Self {
        Self {
            target: COMPACTION_TARGET,
            interval: COMPACTION_INTERVAL,
        }
    }
}

impl Compaction {
    fn read(mut fields: Fields<'_>) -> Self {
        let compaction = Self {
            target: fields.size("target", COMPACTION_TARGET, 64 << 10..=4 << 30),
            interval: fields.duration("interval", COMPACTION_INTERVAL, Duration::from_millis(10)..=DAY),
        };
        fields.finish();
        compaction
    }
}

// === impl Flush ===

impl Default for Flush {
    fn default() -> Self {
        Self {
            rows: count(FLUSH_ROWS),
            bytes: FLUSH_BYTES,
            interval: FLUSH_INTERVAL,
        }
    }
}

impl Flush {
    fn read(mut fields: Fields<'_>) -> Self {
        let hour = Duration::from_secs(3600);
        let flush = Self {
            rows: count(fields.integer("rows", FLUSH_ROWS, 1..=16_777_216)),
            bytes: fields.size("bytes", FLUSH_BYTES, 64 << 10..=16 << 30),
            interval: fields.duration("interval", FLUSH_INTERVAL, Duration::from_millis(10)..=24 * hour),
        };
        fields.finish();
        flush
    }
}

// === impl Query ===

impl Default for Query {
    fn default() -> Self {
        Self {
            timeout: QUERY_TIMEOUT,
            client_wait: QUERY_CLIENT_WAIT,
            memory: QUERY_MEMORY,
            spill_bytes: QUERY_SPILL_BYTES,
            rows_max: count(QUERY_ROWS_MAX),
            concurrency: count(QUERY_CONCURRENCY),
            queue_max: count(QUERY_QUEUE_MAX),
            queue_wait: QUERY_QUEUE_WAIT,
        }
    }
}

impl Query {
    pub(crate) fn read(mut fields: Fields<'_>) -> Self {
        let times = Duration::from_millis(100)..=Duration::from_secs(3600);
        let query = Self {
            timeout: fields.duration("timeout", QUERY_TIMEOUT, times.clone()),
            client_wait: fields.duration("client_wait", QUERY_CLIENT_WAIT, times.clone()),
            memory: fields.take("memory").and_then(|value| memory(&value)).unwrap_or(QUERY_MEMORY),
            spill_bytes: fields.size("spill_bytes", QUERY_SPILL_BYTES, MEMORY_MIN..=MEMORY_MAX),
            rows_max: count(fields.integer("rows_max", QUERY_ROWS_MAX, 1..=1_000_000_000)),
            concurrency: count(fields.integer("concurrency", QUERY_CONCURRENCY, 1..=256)),
            queue_max: count(fields.integer("queue_max", QUERY_QUEUE_MAX, 0..=10_000)),
            queue_wait: fields.duration("queue_wait", QUERY_QUEUE_WAIT, times),
        };
        fields.finish();
        query
    }
}

fn memory(value: &Value<'_>) -> Option<Memory> {
    // A bare number is a size in bytes, which text() would refuse as a number.
    if !value.is_string() {
        return value.size(MEMORY_MIN..=MEMORY_MAX).map(Memory::Bytes);
    }
    let text = value.text()?;
    let Some(percent) = text.resolved.strip_suffix('%') else {
        return value.size(MEMORY_MIN..=MEMORY_MAX).map(Memory::Bytes);
    };
    let percent = percent.parse().ok().filter(|percent| (1..=90).contains(percent));
    if percent.is_none() {
        value.wrong("must be from 1% to 90% of the machine's memory, or a size such as 2GiB");
    }
    percent.map(Memory::Percent)
}

const MEMORY_MIN: u64 = 16 << 20;
const MEMORY_MAX: u64 = 16 << 40;
