//! What this process used, as Linux tells: proc(5).

use std::fs;

/// CPU time so far, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    /// Of the calling thread.
    pub(crate) thread_us: f64,
    /// Of all threads, those that have ended included; in steps of 10 ms.
    pub(crate) process_us: f64,
}

/// Ticks a second of `/proc/PID/stat`: 100 on every Linux of today (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

impl Cpu {
    pub(crate) fn now() -> Self {
        let schedstat = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells a thread's CPU time");
        let thread_ns: f64 = schedstat
            .split_whitespace()
            .next()
            .and_then(|field| field.parse().ok())
            .expect("the first field is nanoseconds");
        let stat = fs::read_to_string("/proc/self/stat").expect("Linux tells a process's CPU time");
        let after_name = stat.rsplit_once(')').expect("the name stands in parentheses").1;
        let ticks: f64 = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse::<f64>().expect("fields 14 and 15 are numbers"))
            .sum();
        Self {
            thread_us: thread_ns / 1e3,
            process_us: ticks * 1e6 / TICKS_PER_SECOND,
        }
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            thread_us: self.thread_us - before.thread_us,
            process_us: self.process_us - before.process_us,
        }
    }
}

/// The most memory that was resident, in bytes.
pub(crate) fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells a process's memory");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) * 1024
}
