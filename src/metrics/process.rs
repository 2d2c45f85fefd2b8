//! What Prometheus's own clients tell of a process, under the names that they give: dashboards know them.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::seconds;

/// Bytes in a kilobyte of `/proc`.
const KILOBYTE: u64 = 1024;
/// `/proc/self/stat` counts hundredths of a second (USER_HZ), whatever the kernel's own clock.
const TICKS: f64 = 100.0;
/// Where user and system time stand in it, behind the name of the process.
const USER_TIME: usize = 11;

/// The process that asks. Where there is no `/proc`, it tells nothing.
#[derive(Debug)]
pub(super) struct Process {
    /// In microseconds since 1970.
    pub(super) started_us: u64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let gauges = [
            (
                "process_resident_memory_bytes",
                "Resident memory",
                status("VmRSS:").map(|kb| kb * KILOBYTE),
            ),
            (
                "process_virtual_memory_bytes",
                "Virtual memory",
                status("VmSize:").map(|kb| kb * KILOBYTE),
            ),
            ("process_threads", "Threads", status("Threads:")),
            ("process_open_fds", "Open file descriptors", open_files()),
            ("process_max_fds", "Most file descriptors that may be open", most_files()),
        ];
        for (name, help, level) in gauges {
            let Some(level) = level else { continue };
            let gauge = ConstGauge::new(i64::try_from(level).unwrap_or(i64::MAX));
            let encoder = encoder.encode_descriptor(name, help, None, EncodeMetric::metric_type(&gauge))?;
            gauge.encode(encoder)?;
        }
        let started = ConstGauge::new(seconds(self.started_us));
        let help = "When the process started, in seconds since 1970";
        started.encode(encoder.encode_descriptor(
            "process_start_time_seconds",
            help,
            None,
            EncodeMetric::metric_type(&started),
        )?)?;
        if let Some(seconds) = cpu_seconds() {
            let counter = ConstCounter::new(seconds);
            let help = "User and system time";
            let encoder = encoder.encode_descriptor("process_cpu_seconds", help, None, EncodeMetric::metric_type(&counter))?;
            counter.encode(encoder)?;
        }
        Ok(())
    }
}

/// A number of `/proc/self/status`.
fn status(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    number_behind(&status, field)
}

fn number_behind(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

fn open_files() -> Option<u64> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count() as u64)
}

fn most_files() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    number_behind(&limits, "Max open files")
}

fn cpu_seconds() -> Option<f64> {
    cpu_of(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

fn cpu_of(stat: &str) -> Option<f64> {
    // The name may have spaces and brackets of its own.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(USER_TIME);
    let (user, system): (u64, u64) = (times.next()?.parse().ok()?, times.next()?.parse().ok()?);
    Some((user + system) as f64 / TICKS)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn time_is_read_behind_a_name_with_brackets() {
        // The man page's order: pid, name, state, then ten fields, then user and system time.
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1 0";
        assert_eq!(cpu_of(stat).map(f64::to_bits), Some(3.0f64.to_bits()));
        assert_eq!(cpu_of("7 (tollgate) S 1 2"), None);
    }

    #[test]
    fn numbers_stand_behind_their_fields() {
        let status = "Name:\tx\nVmRSS:\t   1234 kB\nThreads:\t5\n";
        assert_eq!(
            (number_behind(status, "VmRSS:"), number_behind(status, "Threads:")),
            (Some(1234), Some(5))
        );
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024      4096      files\n";
        assert_eq!(number_behind(limits, "Max open files"), Some(1024));
        assert_eq!(number_behind(limits, "Max nothing"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_has_memory_threads_and_files() {
        for level in [status("VmRSS:"), status("Threads:"), open_files(), most_files()] {
            assert!(level.is_some_and(|level| level > 0), "{level:?}");
        }
        assert!(cpu_seconds().is_some());
    }
}
