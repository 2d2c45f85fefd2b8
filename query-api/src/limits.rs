//! What a query may use. Every bound of the engine is a field here, with its default.

use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

/// Work of one query, from its arrival to its last row, waiting for the client not counted.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
/// Waiting for the client to take rows, added up over one query.
pub(crate) const CLIENT_WAIT: Duration = Duration::from_secs(300);
/// Rows of one answer.
pub(crate) const ROWS_MAX: usize = 1_000_000;
/// Queries that run at once.
pub(crate) const CONCURRENCY: usize = 4;
/// Queries that wait for one of those to end.
pub(crate) const QUEUE_MAX: usize = 16;
/// The longest that a query waits to start.
pub(crate) const QUEUE_WAIT: Duration = Duration::from_secs(5);
/// Bytes that all queries together may spill to disk.
pub(crate) const SPILL_BYTES: u64 = 10 << 30;
/// Bytes of one statement.
pub(crate) const SQL_BYTES_MAX: usize = 128 << 10;
/// Expressions inside expressions: a chain of so many operators, say.
pub(crate) const EXPRESSION_DEPTH_MAX: usize = 500;
/// Tables joined and queries united in one statement.
pub(crate) const RELATIONS_MAX: usize = 100;
/// Share of the machine's memory that queries may use: one in so many.
const MEMORY_SHARE: u64 = 4;
/// Used where the machine does not say how much memory it has.
const MEMORY_FALLBACK: u64 = 4 << 30;

/// What queries may use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Work of one query, waiting for the client not counted. Default: 30 s.
    pub timeout: Duration,
    /// Waiting for the client to take rows, added up over one query. Default: 300 s.
    pub client_wait: Duration,
    /// Bytes of memory of all queries together; beyond, they spill. Default: a quarter of the machine's.
    pub memory_bytes: usize,
    /// Bytes that all queries together may spill to disk. Default: 10 GiB.
    pub spill_bytes: u64,
    /// Folder for spill files; made if it is missing. Default: `tollgate-spill` in the system's folder for temporary files.
    pub spill_dir: PathBuf,
    /// Rows of one answer. Default: 1,000,000.
    pub rows_max: usize,
    /// Queries that run at once. Default: 4.
    pub concurrency: usize,
    /// Queries that wait to run; one more is refused. Default: 16.
    pub queue_max: usize,
    /// The longest that a query waits to run. Default: 5 s.
    pub queue_wait: Duration,
    /// Threads that queries run on. Default: half of the cores, at least two.
    pub threads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: TIMEOUT,
            client_wait: CLIENT_WAIT,
            memory_bytes: memory_bytes(),
            spill_bytes: SPILL_BYTES,
            spill_dir: std::env::temp_dir().join("tollgate-spill"),
            rows_max: ROWS_MAX,
            concurrency: CONCURRENCY,
            queue_max: QUEUE_MAX,
            queue_wait: QUEUE_WAIT,
            // Two at least, so that a query that is long in planning does not keep another from being cancelled.
            threads: available_parallelism().map_or(2, |cores| (cores.get() / 2).max(2)),
        }
    }
}

/// A quarter of the memory that this process may use: the machine's, or that of its control group where that is less.
pub fn memory_bytes() -> usize {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| memory_total(&text));
    let group = read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse().ok());
    let bytes = machine.into_iter().chain(group).min().unwrap_or(MEMORY_FALLBACK) / MEMORY_SHARE;
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// `MemTotal` of `/proc/meminfo` in bytes (proc_meminfo(5): the unit kB is 1,024 bytes).
fn memory_total(meminfo: &str) -> Option<u64> {
    let rest = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_memory_is_read_from_meminfo() {
        assert_eq!(
            memory_total("MemTotal:       24689764 kB\nMemFree: 1 kB\n"),
            Some(24_689_764 * 1024)
        );
        assert_eq!(memory_total("MemFree: 1 kB\n"), None);
        assert!(memory_bytes() > 0);
    }
}
