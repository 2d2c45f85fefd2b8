//! Threads that step back: whoever answers calls gets the core first.

use thread_priority::{ThreadPriority, ThreadPriorityValue, set_current_thread_priority};

/// Who steps back, and how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Threads that run queries, nice value 10: a tenth of a core where requests want all of it.
    Queries,
    /// Threads that flush and keep the table, nice value 5: a quarter of a core where requests want all of it, so that memory does not
    /// fill up with rows.
    Maintenance,
}

impl Work {
    /// Between 0 (nice value 19) and 99 (-20), as the library counts.
    const fn priority(self) -> u8 {
        match self {
            Self::Queries => 22,
            Self::Maintenance => 35,
        }
    }
}

/// Lowers the priority of the calling thread, where the system has one for a thread (Linux: setpriority(2)). Elsewhere nothing changes.
pub fn step_back(work: Work) {
    let priority = ThreadPriorityValue::try_from(work.priority());
    let lowered = priority.and_then(|priority| {
        let priority = ThreadPriority::Crossplatform(priority);
        set_current_thread_priority(priority).map_err(|error| format!("{error:?}"))
    });
    if let Err(reason) = lowered {
        tracing::debug!(reason, "a thread keeps its priority");
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    /// The nice value of the calling thread: field 19 of proc_pid_stat(5).
    fn nice() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let after_name = stat.rsplit_once(')').unwrap().1;
        after_name.split_whitespace().nth(16).unwrap().parse().unwrap()
    }

    #[test]
    fn a_thread_steps_back_alone() {
        let before = nice();
        for (work, expected) in [(Work::Queries, 10), (Work::Maintenance, 5)] {
            let lowered = std::thread::spawn(move || {
                step_back(work);
                nice()
            });
            assert_eq!(lowered.join().unwrap(), expected);
        }
        assert_eq!(nice(), before);
    }
}
